//! Settings in INI files: how their lines are read, and the edit that makes settings what they shall be.
//!
//! Only the setting's own lines change: comments, order, blank lines and all other settings stay byte for
//! byte.

use crate::decide::file::text::{Edited, Params, bare, line_end, lines, missing_end, usual_end};
use haflow_model::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing is in it.
    Blank,
    /// It begins with `#` or `;`.
    Comment,
    /// The head of a section.
    Section,
    /// A key, and its value if it has one.
    Setting,
    /// It is further in than the setting before it, and continues its value.
    More,
    /// It is further in than the setting before a blank line: another setting, or more of that one's value.
    /// Programs differ (Python's configparser takes it for more).
    Unsure,
}

/// A line: where in the text it is, or among those that were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Old(u32, u32),
    Made(u32),
}

/// A line as it is read. Small, since a file of four million empty lines has as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    line: Line,
    section: u32,
    kind: Kind,
}

/// The lines of a text.
#[derive(Debug)]
pub(crate) struct Settings<'t> {
    text: &'t [u8],
    made: Vec<Vec<u8>>,
    rows: Vec<Row>,
    /// By number; the first is the one before all heads, without a name.
    sections: Vec<&'t [u8]>,
    /// Whether `=` ends a key here, also where a colon stands before it.
    equal: bool,
}

/// A setting's line, taken apart.
struct Parts<'l> {
    key: &'l [u8],
    /// With the blanks around it; none where there is only a key.
    sign: Option<&'l [u8]>,
    value: &'l [u8],
}

/// Without blanks at both ends, whatever blanks Unicode has.
fn trim(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.trim_ascii(), |text| text.trim().as_bytes())
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.trim_ascii_start(), |text| text.trim_start().as_bytes())
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.trim_ascii_end(), |text| text.trim_end().as_bytes())
}

/// The blanks and tabs that a line begins with.
fn indent(line: &[u8]) -> &[u8] {
    let deep = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line[..deep]
}

/// A line's key, sign and value, where its sign is at `at`.
fn split(line: &[u8], at: usize) -> Parts<'_> {
    let key = trim_start(trim_end(&line[..at]));
    let from = trim_end(&line[..at]).len();
    let to = at + 1 + indent(&line[at + 1..]).len();
    Parts { key, sign: Some(&line[from..to]), value: trim(&line[to..]) }
}

/// A line's key, sign and value. A key with a colon is found where it is looked for, or where `=` ends keys.
fn parts<'l>(line: &'l [u8], equal: bool, looked_for: Option<&[u8]>) -> Parts<'l> {
    let line = bare(line);
    let start = line.len() - trim_start(line).len();
    if let Some(key) = looked_for.filter(|key| key.contains(&b':'))
        && let Some(rest) = line[start..].strip_prefix(key)
        && let Some(b'=' | b':') = trim_start(rest).first()
    {
        return split(line, line.len() - trim_start(rest).len());
    }
    let Some(first) = line.iter().position(|byte| matches!(byte, b'=' | b':')) else {
        return Parts { key: trim(line), sign: None, value: b"" };
    };
    if equal && line[first] == b':' && line.get(first + 1).is_some_and(|next| !next.is_ascii_whitespace()) {
        // `fruit:metadata = netatalk`, but not `url: http://a?b=c`.
        let at = line[first..].iter().position(|byte| *byte == b'=').map_or(first, |more| first + more);
        return split(line, at);
    }
    split(line, first)
}

impl<'t> Settings<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        let (mut sections, mut numbers) = (vec![&b""[..]], HashMap::from([(&b""[..], 0)]));
        let mut section = 0;
        // How far in the setting is that a line further in continues, and the one before a blank line.
        let mut deep: Option<usize> = None;
        let mut before: Option<usize> = None;
        let mut equal = None;
        let mut at = 0;
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut rows = Vec::new();
        for line in lines(text) {
            let bare = bare(line);
            let inside = trim_start(bare);
            let indent = bare.len() - inside.len();
            let kind = if inside.is_empty() {
                before = before.or(deep);
                deep = None;
                Kind::Blank
            } else if inside.starts_with(b"#") || inside.starts_with(b";") {
                Kind::Comment
            } else if deep.is_some_and(|deep| indent > deep) {
                Kind::More
            } else if let Some(end) = inside.iter().position(|byte| *byte == b']').filter(|_| inside[0] == b'[') {
                let name = trim(&inside[1..end]);
                section = *numbers.entry(name).or_insert_with(|| {
                    sections.push(name);
                    place(sections.len() - 1)
                });
                (deep, before) = (None, None);
                Kind::Section
            } else {
                deep = Some(indent);
                before = before.filter(|before| indent > *before);
                if equal.is_none() {
                    // The first line that has only one of the signs tells which one ends keys here.
                    equal = match (inside.contains(&b'='), inside.contains(&b':')) {
                        (true, false) => Some(true),
                        (false, true) => Some(false),
                        _ => None,
                    };
                }
                if before.is_some() { Kind::Unsure } else { Kind::Setting }
            };
            rows.push(Row { line: Line::Old(place(at), place(at + line.len())), section, kind });
            at += line.len();
        }
        Self { text, made: Vec::new(), rows, sections, equal: equal == Some(true) }
    }

    fn line(&self, row: Row) -> &[u8] {
        match row.line {
            Line::Old(from, to) => &self.text[from as usize..to as usize],
            Line::Made(number) => &self.made[number as usize],
        }
    }

    /// Each line without its line break, what it is, and the section that it is in.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], Kind, &'t [u8])> {
        let row = |row: &Row| {
            let line = self.line(*row);
            (line.strip_suffix(b"\n").unwrap_or(line), row.kind, self.sections[row.section as usize])
        };
        self.rows.iter().map(row)
    }

    /// Key and value of a setting's line.
    pub(crate) fn key_and_value<'l>(&self, line: &'l [u8]) -> (&'l [u8], &'l [u8]) {
        let parts = parts(line, self.equal, None);
        (parts.key, parts.value)
    }

    /// How `=` is written here, with the blanks around it.
    fn sign(&self) -> Vec<u8> {
        let settings = self.rows.iter().filter(|row| row.kind == Kind::Setting);
        let signs = settings.filter_map(|row| parts(self.line(*row), self.equal, None).sign.map(<[u8]>::to_vec));
        let commented = || {
            let comments = self.rows.iter().filter(|row| row.kind == Kind::Comment);
            { comments }.find_map(|row| commented_sign(bare(self.line(*row))))
        };
        { signs }.next().or_else(commented).unwrap_or_else(|| b" = ".to_vec())
    }

    fn make(&mut self, line: Vec<u8>) -> Line {
        self.made.push(line);
        Line::Made(u32::try_from(self.made.len() - 1).unwrap_or(u32::MAX))
    }

    /// Makes one setting of a section what it shall be: a line for each value. Refuses where nobody knows
    /// which lines are its own.
    fn set(&mut self, name: &'t [u8], key: &[u8], values: &[String], sign: &[u8], end: &[u8]) -> Result<(), String> {
        let section = self.sections.iter().position(|known| *known == name);
        let number = section.and_then(|at| u32::try_from(at).ok());
        let own = |row: &Row| Some(row.section) == number;
        // The lines of the setting: from one to the last that continues its value.
        let mut spans: Vec<(usize, usize, Vec<u8>)> = Vec::new();
        let mut open = false;
        // The last setting that isn't unsure is this one; what may be more of its value.
        let (mut ours, mut unsure): (bool, Vec<Row>) = (false, Vec::new());
        for (at, row) in self.rows.iter().enumerate() {
            match row.kind {
                Kind::Setting | Kind::Unsure if own(row) => {
                    let parts = parts(self.line(*row), self.equal, Some(key));
                    open = parts.key == key;
                    if row.kind == Kind::Setting {
                        ours = open;
                    } else if ours {
                        unsure.push(*row);
                    }
                    if open {
                        spans.push((at, at + 1, parts.value.to_vec()));
                    }
                }
                Kind::More if open => {
                    if let Some((_, stop, value)) = spans.last_mut() {
                        *stop = at + 1;
                        value.push(b'\n');
                        value.extend_from_slice(trim(bare(self.line(*row))));
                    }
                }
                Kind::Comment => {}
                _ => open = false,
            }
        }
        let same = spans.iter().map(|(_, _, value)| &value[..]).eq(values.iter().map(String::as_bytes));
        let no_setting = |row: &&Row| !same || parts(self.line(**row), self.equal, None).sign.is_none();
        if let Some(more) = unsure.iter().find(no_setting) {
            let line = String::from_utf8_lossy(trim(bare(self.line(*more)))).into_owned();
            return Err(format!(
                "after `{}` come a blank line and `{line}`, which is further in: some programs read that as more of \
                 its value, others as a setting; remove the blank line, or the indentation",
                String::from_utf8_lossy(key)
            ));
        }
        if same {
            return Ok(());
        }
        if spans.is_empty() {
            self.add(number, name, key, values, sign, end);
            return Ok(());
        }
        let model = self.line(self.rows[spans[0].0]).to_vec();
        let model_sign = parts(&model, self.equal, Some(key)).sign.unwrap_or(sign).to_vec();
        let indent = indent(&model).to_vec();
        let rows = std::mem::take(&mut self.rows);
        let mut from = 0;
        // Line by line in the old places; what is too many goes, what is missing follows the last.
        for (index, (first, stop, there)) in spans.iter().enumerate() {
            self.rows.extend_from_slice(&rows[from..*first]);
            let row = rows[*first];
            match values.get(index) {
                Some(value) if value.as_bytes() == there => self.rows.push(row),
                Some(value) => {
                    let old = self.line(row).to_vec();
                    let sign = parts(&old, self.equal, Some(key)).sign.unwrap_or(&model_sign);
                    let line = self.make(setting_line(&indent, key, sign, value, line_end(&old)));
                    self.rows.push(Row { line, ..row });
                }
                None => {}
            }
            if index + 1 == spans.len() {
                for value in values.iter().skip(index + 1) {
                    let line = self.make(setting_line(&indent, key, &model_sign, value, end));
                    self.rows.push(Row { line, ..row });
                }
            }
            // Comments between the lines of a value stay.
            self.rows.extend(rows[*first + 1..*stop].iter().filter(|row| row.kind == Kind::Comment));
            from = *stop;
        }
        self.rows.extend_from_slice(&rows[from..]);
        Ok(())
    }

    /// Adds a setting that isn't there: below its commented-out default, or the last setting of its section,
    /// or in a new section at the end.
    fn add(&mut self, number: Option<u32>, name: &'t [u8], key: &[u8], values: &[String], sign: &[u8], end: &[u8]) {
        if values.is_empty() {
            return;
        }
        let (mut last, mut setting, mut head, mut default) = (None, None, None, None);
        for (at, row) in self.rows.iter().enumerate().filter(|(_, row)| Some(row.section) == number) {
            match row.kind {
                Kind::Setting => (last, setting) = (Some(at), Some(*row)),
                // Written as far in, it might be more of a value.
                Kind::More | Kind::Unsure => last = Some(at),
                Kind::Section => head = Some(at),
                Kind::Comment if is_default(bare(self.line(*row)), key) => default = Some(at),
                Kind::Comment | Kind::Blank => {}
            }
        }
        let indent = setting.map(|row| indent(self.line(row)).to_vec()).unwrap_or_default();
        let mut new: Vec<Row> = Vec::new();
        let section = number.unwrap_or_else(|| u32::try_from(self.sections.len()).unwrap_or(u32::MAX));
        for value in values {
            let line = self.make(setting_line(&indent, key, sign, value, end));
            new.push(Row { line, section, kind: Kind::Setting });
        }
        let blank = |section| Row { line: Line::Made(0), section, kind: Kind::Blank };
        let at = match default.or(last).or(head) {
            Some(below) => below + 1,
            None if name.is_empty() => {
                if !self.rows.is_empty() {
                    let line = self.make(end.to_vec());
                    new.push(Row { line, ..blank(section) });
                }
                0
            }
            None => {
                let mut before = Vec::new();
                if let Some(last) = self.rows.last().filter(|last| last.kind != Kind::Blank).copied() {
                    let line = self.make(end.to_vec());
                    before.push(Row { line, ..blank(last.section) });
                }
                self.sections.push(name);
                let line = self.make([b"[", name, b"]", end].concat());
                before.push(Row { line, section, kind: Kind::Section });
                before.append(&mut new);
                new = before;
                self.rows.len()
            }
        };
        self.rows.splice(at..at, new);
    }

    /// Every line but the last had an end before; the last one has none where the file had none.
    fn text(&self, end: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len() + 256);
        for (at, row) in self.rows.iter().enumerate() {
            let line = self.line(*row);
            text.extend_from_slice(line);
            if at + 1 < self.rows.len() {
                text.extend_from_slice(missing_end(line, end));
            }
        }
        text
    }
}

/// The sign of a default that is commented out.
fn commented_sign(line: &[u8]) -> Option<Vec<u8>> {
    let inside = trim_start(line).get(1..)?;
    let inside = match inside.split_first() {
        Some((first, rest)) if first.is_ascii_whitespace() => rest,
        _ => inside,
    };
    let key = inside.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte)).count();
    let blanks = inside[key..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let sign = key + blanks;
    if key == 0 || inside.get(sign) != Some(&b'=') {
        return None;
    }
    let after = usize::from(inside.get(sign + 1).is_some_and(u8::is_ascii_whitespace));
    Some(inside[key..=sign + after].to_vec())
}

/// Whether a comment is a setting's default, commented out.
fn is_default(comment: &[u8], key: &[u8]) -> bool {
    let text = trim_start(&trim_start(comment)[1..]);
    text.strip_prefix(key).is_some_and(|rest| matches!(trim_start(rest).first(), Some(b'=' | b':')))
}

fn setting_line(indent: &[u8], key: &[u8], sign: &[u8], value: &str, end: &[u8]) -> Vec<u8> {
    let value = value.as_bytes();
    // Where the old value was empty, the blank after the sign is missing.
    let blank: &[u8] = match sign {
        [first, .., last] if first.is_ascii_whitespace() && !last.is_ascii_whitespace() && !value.is_empty() => b" ",
        _ => b"",
    };
    let sign = if value.is_empty() { sign.strip_suffix(b" ").unwrap_or(sign) } else { sign };
    [indent, key, sign, blank, value, end].concat()
}

/// A setting's values: none, one, or one for each line.
fn values(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    };
    if values.iter().any(|value| value.contains(['\n', '\r'])) {
        return Err(format!("the value of `{key}` spans lines; a list gives one line to each of its elements"));
    }
    Ok(values)
}

/// As it is written in a file.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Makes settings what they shall be.
pub(crate) fn edit(params: &Params<'_>, old: Option<&[u8]>) -> Edited {
    let one;
    let wanted = if let Some(settings) = params.get("settings") {
        settings
    } else {
        let value = params.get("value").cloned().unwrap_or_default();
        one = serde_json::json!({ params.text("section"): { params.text("key"): value } });
        &one
    };
    let Value::Object(wanted) = wanted else { return Err("the settings are a map of sections".into()) };
    let mut sections = Vec::new();
    for (section, settings) in wanted {
        let Value::Object(settings) = settings else { return Err(format!("the section `{section}` isn't a map")) };
        let settings = settings.iter().map(|(key, value)| Ok((key, values(key, value)?)));
        sections.push((section, settings.collect::<Result<Vec<_>, String>>()?));
    }
    let anything = sections.iter().flat_map(|(_, settings)| settings).any(|(_, values)| !values.is_empty());
    if old.is_none() && !anything {
        return Ok(None);
    }
    let old = params.there(old)?;
    let end = usual_end(old);
    let mut file = Settings::new(old);
    let sign = file.sign();
    let before = file.rows.clone();
    for (section, settings) in &sections {
        for (key, values) in settings {
            file.set(section.as_bytes(), key.as_bytes(), values, &sign, end)?;
        }
    }
    Ok(Some(if file.rows == before { Cow::Borrowed(old) } else { Cow::Owned(file.text(end)) }.into_owned()))
}

#[cfg(test)]
mod tests;
