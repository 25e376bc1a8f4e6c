//! Values in Ansible's INI: Python literals where they are one, otherwise text.

use haflow_model::Value;
use serde_json::{Map, Number};

/// The value that a text stands for.
pub(super) fn value(text: &str) -> Value {
    let mut reader = Reader { rest: text.trim(), depth: 0 };
    match reader.literal() {
        // Python reads a comment behind it, and so does Ansible.
        Some(value) if reader.rest.is_empty() || reader.rest.starts_with('#') => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Lists and maps may be as deep as this.
const DEEPEST: usize = 32;

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    /// The literal at the front, and the blanks behind it. `None` if there is none.
    fn literal(&mut self) -> Option<Value> {
        self.depth += 1;
        let value = match self.rest.chars().next().filter(|_| self.depth < DEEPEST)? {
            '\'' | '"' => self.text().map(Value::String),
            '[' => self.items(']').map(Value::Array),
            '(' => self.items(')').map(Value::Array),
            '{' => self.map(),
            _ => self.word(),
        }?;
        self.depth -= 1;
        self.blanks();
        Some(value)
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        if rest.is_some() {
            self.blanks();
        }
        rest.is_some()
    }

    fn text(&mut self) -> Option<String> {
        let mut characters = self.rest.char_indices();
        let (_, mark) = characters.next()?;
        let mut text = String::new();
        while let Some((index, c)) = characters.next() {
            if c == mark {
                self.rest = &self.rest[index + c.len_utf8()..];
                return Some(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match characters.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                c @ ('\\' | '\'' | '"') => text.push(c),
                c => text.extend(['\\', c]),
            }
        }
        None
    }

    fn items(&mut self, end: char) -> Option<Vec<Value>> {
        self.rest = &self.rest[1..];
        self.blanks();
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.literal()?);
            // `(1)` is no tuple in Python, but the value 1.
            if !self.take(',') && (!self.rest.starts_with(end) || (end == ')' && items.len() == 1)) {
                return None;
            }
        }
        Some(items)
    }

    fn map(&mut self) -> Option<Value> {
        self.rest = &self.rest[1..];
        self.blanks();
        let mut map = Map::new();
        while !self.take('}') {
            let key = match self.literal()? {
                Value::String(key) => key,
                Value::Array(_) | Value::Object(_) => return None,
                other => other.to_string(),
            };
            if !self.take(':') {
                return None;
            }
            map.insert(key, self.literal()?);
            if !self.take(',') && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(Value::Object(map))
    }

    /// A number, `True`, `False` or `None`.
    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| c.is_whitespace() || ",:]})#".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            _ => number(word)?,
        };
        self.rest = rest;
        Some(value)
    }
}

fn number(word: &str) -> Option<Value> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    // Python has no `0644`: a mode stays text.
    let padded = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if padded && digits.bytes().any(|byte| byte != b'0') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.strip_prefix('+').unwrap_or(word).parse::<i64>().ok().map(Value::from);
    }
    word.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::value;
    use serde_json::json;

    #[test]
    fn texts_become_what_python_reads() {
        for (text, want) in [
            ("22", json!(22)),
            ("-1.5", json!(-1.5)),
            ("0644", json!("0644")),
            ("True", json!(true)),
            ("true", json!("true")),
            ("None", json!(null)),
            ("'a b'", json!("a b")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("[1, 'x', [2]]", json!([1, "x", [2]])),
            ("{'a': 1, 'b': (1, 2)}", json!({"a": 1, "b": [1, 2]})),
            ("[a, b]", json!("[a, b]")),
            ("/etc/x # y", json!("/etc/x # y")),
            ("a#b", json!("a#b")),
            ("#", json!("#")),
            ("'a#b'", json!("a#b")),
            ("\"#1\" # why", json!("#1")),
            ("8080 # why", json!(8080)),
            ("['#', 2]#why", json!(["#", 2])),
            ("[1, # why", json!("[1, # why")),
            ("'a' b # why", json!("'a' b # why")),
            ("", json!("")),
            ("it's", json!("it's")),
        ] {
            assert_eq!(value(text), want, "{text}");
        }
    }
}
