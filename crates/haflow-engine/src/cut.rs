//! What is told and kept of a text or value is bounded, in bytes; where something was cut, that is said.

use haflow_model::{Change, Value, json_size};
use std::ops::Range;

/// The most that is told of a stream where something failed, of a value that differs, and of an output that
/// nothing uses.
pub(crate) const MOST_TOLD: usize = 16 << 10;
/// The most that a sentence quotes, in bytes.
pub(crate) const MOST_SAID: usize = 4 << 10;
/// An output that others use is at most so large: it is in the journal, so that a run can be resumed.
pub(crate) const MOST_USED: usize = 1 << 20;
/// The most that is told of all differences of a task, in bytes.
const MOST_DIFFERS: usize = 256 << 10;

const BEFORE: &str = "… ";
const BEHIND: &str = " bytes left out";

/// The last `lines` lines of what a host printed, for a person to read: at most [`MOST_TOLD`] bytes of them.
pub(crate) fn tail(bytes: &[u8], lines: usize) -> String {
    let bytes = bytes.trim_ascii_end();
    // From the end, so that a long output costs no more than what is shown of it.
    let from = match lines.checked_sub(1) {
        Some(more) => memchr::memrchr_iter(b'\n', bytes).nth(more).map_or(0, |end| end + 1),
        None => bytes.len(),
    };
    let bytes = &bytes[from..];
    let whole = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().collect::<Vec<_>>().join("\n");
    let Some(out) = bytes.len().checked_sub(MOST_TOLD).filter(|out| *out > 0) else { return whole(bytes) };
    // The cut isn't in the middle of a character.
    let start = (out..bytes.len()).find(|at| bytes[*at] & 0xc0 != 0x80).unwrap_or(out);
    format!("{BEFORE}{start}{BEHIND} … {}", whole(&bytes[start..]))
}

/// The beginning of a text: at most `most` bytes.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    format!("{} {BEFORE}{}{BEHIND}", &text[..end], text.len() - end)
}

/// The beginning of a difference of two texts, in whole lines where it has some.
pub(crate) fn unified(text: &str) -> String {
    if text.len() <= MOST_DIFFERS {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MOST_DIFFERS);
    let line = text[..end].rfind('\n').map_or(end, |at| at + 1);
    let (shown, left) = text.split_at(if line < MOST_DIFFERS / 2 { end } else { line });
    format!("{}\n{BEFORE}{}{BEHIND}\n", shown.strip_suffix('\n').unwrap_or(shown), left.len())
}

/// A value that is at most `most` bytes large, as JSON; the beginning of its text otherwise.
pub(crate) fn value(value: Value, most: usize) -> Value {
    match value {
        Value::String(text) if text.len() > most => beginning(&text, most).into(),
        Value::String(_) => value,
        value if json_size(&value) > most => beginning(&value.to_string(), most).into(),
        value => value,
    }
}

/// The differences of a task, of which each and all together are bounded.
pub(crate) fn changes(changes: Vec<Change>) -> Vec<Change> {
    let number = changes.len();
    let mut left = MOST_DIFFERS;
    let mut told = Vec::new();
    for change in changes {
        let change = match change {
            Change::Field { field, was, want } => Change::Field {
                field: beginning(&field, MOST_SAID),
                was: was.map(|was| value(was, MOST_TOLD)),
                want: want.map(|want| value(want, MOST_TOLD)),
            },
            other => other,
        };
        let sides =
            |was: &Option<Value>, want: &Option<Value>| [was, want].into_iter().flatten().map(json_size).sum::<usize>();
        let size = 64
            + match &change {
                Change::Field { field, was, want } => field.len() + sides(was, want),
                Change::Text { unified } => unified.len(),
                Change::Opaque { .. } | Change::Later { .. } | Change::Secret { .. } => 0,
            };
        if size > left && !told.is_empty() {
            let unified = format!("{BEFORE}{} of {number} differences left out\n", number - told.len());
            told.push(Change::Text { unified });
            break;
        }
        left = left.saturating_sub(size);
        told.push(change);
    }
    told
}

/// The parts of a text between the places where something was cut: each has ends of its own.
pub(crate) fn parts(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (behind, _) in text.match_indices(BEHIND) {
        let digits = text[from..behind].bytes().rev().take_while(u8::is_ascii_digit).count();
        let number = behind - digits;
        if digits > 0 && text[from..number].ends_with(BEFORE) {
            let end = number - BEFORE.len();
            // And the blank before it.
            parts.push(from..text[from..end].strip_suffix(' ').map_or(end, |before| from + before.len()));
            from = behind + BEHIND.len();
            from += if text[from..].starts_with(" … ") { " … ".len() } else { 0 };
        }
    }
    parts.push(from..text.len());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_told_of_an_output_is_bounded_in_lines_and_bytes() {
        assert_eq!(tail(b"a\r\nb\nc\n\n", 2), "b\nc");
        assert_eq!(tail(b"a\nb", 12), "a\nb");
        assert_eq!((tail(b"", 12), tail(b"\n\n", 12), tail(b"a", 0)), Default::default());
        let long = "ü".repeat(1 << 20);
        let told = tail(format!("first\n{long}").as_bytes(), 12);
        assert!(told.len() < MOST_TOLD + 100, "{}", told.len());
        let left_out = "first\n".len() + long.len() - MOST_TOLD;
        assert!(told.starts_with(&format!("… {left_out} bytes left out … ü")), "{}", &told[..60]);
        assert_eq!(beginning("aüb", 2), "a … 3 bytes left out");
        assert_eq!(beginning("aüb", 4), "aüb");
        let lines = unified(&"+line\n".repeat(1 << 20));
        assert!(
            lines.len() < MOST_DIFFERS + 100 && lines.ends_with("+line\n… 6029316 bytes left out\n"),
            "{lines:.20}"
        );
    }

    #[test]
    fn what_differs_is_bounded() {
        let field = |name: usize| Change::Field {
            field: name.to_string(),
            was: Some("x".repeat(1 << 20).into()),
            want: Some(json!({ "a": vec![1; 1 << 20] })),
        };
        let told = changes((0..100).map(field).collect());
        let size: usize = told.iter().map(|change| serde_json::to_string(change).expect("it is data").len()).sum();
        assert!(size < 2 * MOST_DIFFERS, "{size}");
        let Some(Change::Text { unified }) = told.last() else { panic!("{}", told.len()) };
        assert_eq!(unified, &format!("… {} of 100 differences left out\n", 101 - told.len()));
        let fine = vec![Change::Field { field: "a".into(), was: None, want: Some(json!([1])) }];
        assert_eq!(changes(fine.clone()), fine);
    }

    #[test]
    fn the_parts_of_what_was_cut_are_known() {
        let text = "one … 12 bytes left out … two … 3 bytes left out";
        let told: Vec<&str> = parts(text).into_iter().map(|part| &text[part]).collect();
        assert_eq!(told, ["one", "two", ""]);
        assert_eq!(parts("12 bytes left out"), vec![0..17]);
    }
}
