//! Where in a script's text something is, and how long it is there.

use haflow_model::{Diagnostic, Label, Place, Sources};
use rhai::Position;
use std::borrow::Cow;
use std::iter::repeat_n;
use std::sync::Arc;

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Site {
    pub(crate) fn new(file: Arc<str>, position: Position) -> Self {
        let number = |number: Option<usize>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        Self { file, line: number(position.line()), column: number(position.position()) }
    }
}

impl From<Site> for Place {
    fn from(site: Site) -> Self {
        Self { file: site.file, line: site.line, column: site.column }
    }
}

/// The line of the playbook that led to a call, and the line of a module that made it.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) place: Place,
    pub(crate) declared_in: Option<Place>,
}

/// The text as rhai must read it, so that the positions that it gives are those of `text`.
///
/// rhai 1.27 doesn't count a line that ends in a quote inside a raw string, which shell text is full of. The
/// lines that it misses are put in behind the string, as blank lines, and then blanks up to the column where
/// the string ends.
pub(crate) fn straightened(text: &str) -> Cow<'_, str> {
    let mut straight = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        let word = &text[begin..at];
        if !word.starts_with('#') || !word.ends_with('#') {
            continue;
        }
        let body = word.trim_start_matches('#').strip_prefix('"').unwrap_or_default();
        let missed = body.lines().rev().skip(1).filter(|line| line.trim_end_matches('#').ends_with('"')).count();
        if missed > 0 {
            let column = word.lines().next_back().map_or(0, |line| line.chars().count());
            straight.push_str(&text[copied..at]);
            straight.extend(repeat_n('\n', missed));
            straight.extend(repeat_n(' ', column));
            copied = at;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    straight.push_str(&text[copied..]);
    Cow::Owned(straight)
}

/// Adds the texts of the files that the labels are in, and the lengths of what they mean.
pub(crate) fn complete(mut diagnostic: Diagnostic, sources: &Sources) -> Diagnostic {
    for Label { place, length, .. } in &mut diagnostic.labels {
        if let Some((file, text)) = sources.get_key_value(&place.file) {
            if *length == 0 {
                *length = length_at(text, place);
            }
            diagnostic.sources.insert(file.clone(), text.clone());
        }
    }
    diagnostic
}

/// How many characters belong to what begins at a place: a word, a path of words, a text, or one sign.
pub(crate) fn length_at(text: &str, place: &Place) -> usize {
    let Some(offset) = offset(text, place) else { return 0 };
    Token::first(&text[offset..]).map_or(0, |(skipped, token)| {
        if skipped > 0 { 0 } else { text[offset..offset + token.end].lines().next().map_or(0, |l| l.chars().count()) }
    })
}

/// The place of an option's key in the call that begins at `place`.
pub(crate) fn find_key(text: &str, place: &Place, key: &str) -> Option<Place> {
    let from = offset(text, place)?;
    let mut at = from;
    let (mut depth, mut found) = (0_usize, None::<usize>);
    // The key that is in the fewest brackets.
    let mut best = None::<(usize, usize)>;
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        let word = &text[begin..at];
        match word {
            ":" => {
                if let Some(found) = found.filter(|_| best.is_none_or(|(least, _)| depth < least)) {
                    best = Some((depth, found));
                }
            }
            "(" | "#{" | "[" | "{" => depth += 1,
            ")" | "}" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
        found = (depth > 0 && (word == key || word.trim_matches('"') == key)).then_some(begin);
    }
    best.map(|(_, found)| place_at(text, place, from, found))
}

/// The place of the definition of a function.
pub(crate) fn find_function(text: &str, file: &Arc<str>, name: &str) -> Option<Place> {
    let defined = |place: &Place| offset(text, place).is_some_and(|at| text[..at].trim_end().ends_with("fn"));
    places_of(text, file, name).into_iter().find(defined)
}

/// All places of a word.
pub(crate) fn places_of(text: &str, file: &Arc<str>, name: &str) -> Vec<Place> {
    let start = Place::new(file.clone(), 1, 1);
    let mut places = Vec::new();
    let mut at = 0;
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        if &text[begin..at] == name {
            places.push(place_at(text, &start, 0, begin));
        }
    }
    places
}

/// Where a text between backticks has `\n` or `\t` beside something interpolated: there it is a backslash and
/// a letter.
pub(crate) fn literal_escapes(text: &str, file: &Arc<str>) -> Vec<Place> {
    let start = Place::new(file.clone(), 1, 1);
    let mut places = Vec::new();
    let mut at = 0;
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        let word = &text[begin..at];
        if word.starts_with('`')
            && word.contains("${")
            && let Some(escape) = word.find("\\n").or_else(|| word.find("\\t"))
        {
            places.push(place_at(text, &start, 0, begin + escape));
        }
    }
    places
}

/// Where a text in double quotes has `{{ name }}` or `${…}` as if a value were filled in there, with what it
/// has. Shell's `${name}` isn't meant, nor what `render` is given.
pub(crate) fn unfilled<'t>(text: &'t str, file: &Arc<str>) -> Vec<(Place, &'t str)> {
    let start = Place::new(file.clone(), 1, 1);
    let (defined, keys) = (variables(text), map_keys(text));
    let renders = text.contains("render(");
    // A key may be the name of a shell variable.
    let ours = |name: &str| defined.contains(&name) && !keys.contains(&name);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        let word = &text[begin..at];
        if !word.starts_with('"') {
            continue;
        }
        let marks = word.match_indices("${").map(|(mark, _)| (mark, "}"));
        let mut marks: Vec<_> = marks.chain(word.match_indices("{{").map(|(mark, _)| (mark, "}}"))).collect();
        marks.sort_unstable();
        for (mark, close) in marks {
            let Some(end) = word[mark + 2..].find(close).map(|end| mark + 2 + end) else { continue };
            let inner = word[mark + 2..end].trim();
            let head = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
            let (name, rest) = inner.split_at(head);
            let meant = if close == "}" {
                rest.is_empty() && ours(name) || rest.starts_with(['.', '(', '[']) && defined.contains(&name)
            } else {
                let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
                let whole = rest.is_empty() || rest.trim_start().starts_with(['.', '|', '[']);
                is_name && whole && !renders
            };
            if meant {
                found.push((place_at(text, &start, 0, begin + mark), &word[mark..end + close.len()]));
            }
        }
    }
    found
}

/// All names of variables that a text defines, as far as it shows without parsing.
pub(crate) fn variables(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut at, mut before, mut params) = (0, "", false);
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        let word = &text[begin..at];
        if before == "fn" {
            params = true;
        }
        let opens = matches!(before, "let" | "const" | "for" | "|") || params && matches!(before, "(" | ",");
        if word == ")" {
            params = false;
        }
        if opens && word.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            names.push(word);
        }
        before = word;
    }
    names
}

/// The last bracket that is opened and not closed.
pub(crate) fn unclosed(text: &str, file: &Arc<str>) -> Option<Place> {
    let start = Place::new(file.clone(), 1, 1);
    let (mut at, mut open) = (0, Vec::new());
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        match &text[begin..at] {
            "(" | "#{" | "[" | "{" => open.push(begin),
            ")" | "}" | "]" => drop(open.pop()),
            _ => {}
        }
    }
    open.pop().map(|begin| place_at(text, &start, 0, begin))
}

/// All keys of maps that a text writes out.
pub(crate) fn map_keys(text: &str) -> Vec<&str> {
    let mut keys = Vec::new();
    let (mut at, mut before) = (0, "");
    while let Some((skipped, token)) = Token::first(&text[at..]) {
        let begin = at + skipped;
        at += skipped + token.end;
        let word = &text[begin..at];
        if word == ":" {
            keys.push(before.trim_matches('"'));
        }
        before = word;
    }
    keys
}

/// The byte that a place is at.
pub(crate) fn offset(text: &str, place: &Place) -> Option<usize> {
    if place.line == 0 || place.column == 0 {
        return None;
    }
    let line = usize::try_from(place.line).ok()? - 1;
    let column = usize::try_from(place.column).ok()? - 1;
    let begin = text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    let rest = text.get(begin..)?;
    rest.char_indices().nth(column).map(|(at, _)| begin + at)
}

/// The place of byte `to`, counted on from `place`, which is at byte `from`.
fn place_at(text: &str, place: &Place, from: usize, to: usize) -> Place {
    let between = &text[from..to];
    let lines = u32::try_from(between.matches('\n').count()).unwrap_or(0);
    let column = match between.rfind('\n') {
        Some(newline) => between[newline + 1..].chars().count() + 1,
        None => place.column as usize + between.chars().count(),
    };
    Place::new(place.file.clone(), place.line + lines, u32::try_from(column).unwrap_or(0))
}

/// One token of a script: just enough of a lexer to step over texts and comments.
struct Token {
    /// Where it ends, from its beginning.
    end: usize,
}

impl Token {
    /// The first token, and how many bytes come before it.
    fn first(text: &str) -> Option<(usize, Self)> {
        let mut skipped = 0;
        loop {
            let rest = &text[skipped..];
            let blank = rest.len() - rest.trim_start().len();
            let rest = &rest[blank..];
            skipped += blank;
            if rest.starts_with("//") {
                skipped += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                skipped += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else if rest.is_empty() {
                return None;
            } else {
                return Some((skipped, Self { end: Self::end(rest) }));
            }
        }
    }

    fn end(text: &str) -> usize {
        let first = text.chars().next().unwrap_or(' ');
        if first.is_alphanumeric() || first == '_' {
            let mut end = 0;
            loop {
                let word = &text[end..];
                end += word.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(word.len());
                // A path of names is one.
                match text[end..].strip_prefix("::") {
                    Some(next) if next.starts_with(|c: char| c.is_alphanumeric() || c == '_') => end += 2,
                    _ => return end,
                }
            }
        }
        match first {
            '"' | '`' | '\'' => quoted(text, first),
            '#' => {
                let hashes = text.len() - text.trim_start_matches('#').len();
                if text[hashes..].starts_with('"') {
                    let close = format!("\"{}", &text[..hashes]);
                    text[hashes + 1..].find(&close).map_or(text.len(), |end| hashes + 1 + end + close.len())
                } else if text.starts_with("#{") {
                    2
                } else {
                    1
                }
            }
            ':' if text.starts_with("::") => 2,
            _ => first.len_utf8(),
        }
    }
}

/// The end of a text in quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in text.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if sign == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_call_and_not_in_a_text() {
        let text = "let a = 1;\nensure(h, #{ // mode: no\n  params: #{ mode: 2 }, name: \"mode: x\",\n  mode: 1 });\nfile(h, #{ owner: 2 })";
        let call = Place::new("p", 2, 1);
        assert_eq!(find_key(text, &call, "mode"), Some(Place::new("p", 4, 3)));
        assert_eq!(find_key(text, &call, "owner"), None);
    }

    #[test]
    fn lengths_are_those_of_words_paths_and_texts() {
        let text = "rabbitmq::join(a, \"é b\")";
        let at = |column| length_at(text, &Place::new("p", 1, column));
        assert_eq!([at(1), at(15), at(16), at(19)], [14, 1, 1, 5]);
    }

    #[test]
    fn lines_that_end_in_a_quote_inside_a_raw_string_are_counted() {
        let mut engine = rhai::Engine::new();
        engine.set_strict_variables(true);
        let error_at = |text: &str| {
            let error = engine.compile(&*straightened(text)).expect_err("a variable is unknown");
            (error.position().line(), error.position().position())
        };
        let text = "let a = ##\"\nx \"$u\"\ny \"#\n\"\nz\"##; b\n";
        assert_eq!(error_at(text), (Some(5), Some(7)));
        assert_eq!(error_at("let a = ##\"\nx \"$u\"\n\"##;\nlet c = d;"), (Some(4), Some(9)));
        assert!(matches!(straightened("let a = #\"x\ny\"#;"), Cow::Borrowed(_)));
    }

    #[test]
    fn escapes_between_backticks_are_found_where_something_is_interpolated() {
        let text = "let a = `plain\\n`;\nlet b = `${a}\\n`; let c = \"x\\n\";";
        assert_eq!(literal_escapes(text, &"p".into()), [Place::new("p", 2, 14)]);
    }

    #[test]
    fn values_that_are_not_filled_in_are_found() {
        let found =
            |text: &str| unfilled(text, &"p".into()).into_iter().map(|(_, what)| what.to_owned()).collect::<Vec<_>>();
        let defined = "let node = 1; let name = 2; let zone = 3;";
        assert_eq!(found(&format!("{defined} f(\"a ${{node.name}} ${{name}}\");")), ["${node.name}", "${name}"]);
        assert_eq!(
            found("f(\"{{ ansible_host }} {{item.path | default('x')}}\")"),
            ["{{ ansible_host }}", "{{item.path | default('x')}}"]
        );
        assert_eq!(unfilled("f(\n \"é {{ x }}\")", &"p".into())[0].0, Place::new("p", 2, 5));
        // Shell's own, a shell variable of a task's, templates of others, and where it is filled in.
        for text in [
            "f(\"${HOME} ${name:-x}\")",
            "f(#{ params: #{ zone: zone }, apply: \"echo ${zone}\" })",
            "f(\"{{ .Names }} {{ key \\\"x\\\" }} {{}} {{\")",
            "f(#\"{{ x }} ${node.name}\"#); f(`${node.name} {{ x }}`)",
            "render(\"{{ x }}\", #{ x: 1 })",
        ] {
            assert_eq!(found(&format!("{defined} {text}")), [""; 0], "{text}");
        }
    }

    #[test]
    fn variables_are_those_that_are_defined() {
        let text = "let a = b; fn f(c, d) { e } for g in h { x.map(|i| i) }";
        assert_eq!(variables(text), ["a", "c", "d", "g", "i", "i"]);
    }
}
