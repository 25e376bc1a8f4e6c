//! Differences, for people.

use super::page::{Page, Tone};
use super::text::{clean, width};
use haflow_model::{Change, Diff, REDACTED, Value};

/// So many lines of one difference are shown where not everything is asked for.
const SOME: usize = 12;

/// Writes each change on lines of its own.
pub(super) fn diff(page: &mut Page, diff: &Diff) {
    let most = if page.look.verbose { usize::MAX } else { SOME };
    for change in &diff.0 {
        match change {
            Change::Field { field, was, want } => field_change(page, field, was.as_ref(), want.as_ref()),
            Change::Text { unified } => text(page, unified, most),
            Change::Opaque { was, want } => {
                let was = was.as_ref().map_or("nothing".to_owned(), opaque);
                page.line(&[(Tone::Plain, &format!("content: {was} → {}", opaque(want)))]);
            }
            Change::Later { field, output_of } => {
                let head = if field.is_empty() { String::new() } else { format!("{field}: ") };
                page.line(&[
                    (Tone::Plain, &head),
                    (Tone::Plain, &format!("the output of {output_of}, known once that has run")),
                ]);
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
}

/// A value longer than this is cut, in characters.
const LONG: usize = 300;

fn field_change(page: &mut Page, field: &str, was: Option<&Value>, want: Option<&Value>) {
    let (was, want) = (cut(value(was)), cut(value(want)));
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

/// The beginning of a long value, and how long it is.
fn cut(text: String) -> String {
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}

/// A value as short as it can be told: text without quotes where nothing is lost by that.
fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) if !text.is_empty() && text.trim() == text && !text.contains(['\n', '"']) => {
            text.clone()
        }
        Some(value) => value.to_string(),
    }
}

fn text(page: &mut Page, unified: &str, most: usize) {
    let count = unified.lines().count();
    // One line more is no longer than the line that says that it is missing.
    let shown = if count <= most.saturating_add(1) { count } else { most };
    for line in unified.lines().take(shown) {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@' | b'\\') => Tone::Dim,
            _ => Tone::Plain,
        };
        page.line(&[(tone, &clean(line))]);
    }
    if shown < count {
        page.line(&[(Tone::Dim, &format!("… {} more lines (-v shows all)", count - shown))]);
    }
}

fn opaque((bytes, sha256): &(u64, String)) -> String {
    format!("{} (sha256 {sha256}…)", size(*bytes))
}

#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
