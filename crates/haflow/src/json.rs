//! JSON as haflow prints and keeps it: on one line, and without characters that a terminal would obey, that
//! end a line for some, or that can't be seen.

use crate::report::harmful;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// `serde_json` escapes what JSON asks for: what is below a blank. Hosts print more than that.
struct Escaped;

impl Formatter for Escaped {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| harmful(*char)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + char.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Writes it, without a line's end.
pub(crate) fn write(writer: impl Write, value: &impl Serialize) -> io::Result<()> {
    Ok(value.serialize(&mut Serializer::with_formatter(writer, Escaped))?)
}

/// The same as text.
pub(crate) fn text(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    write(&mut text, value).expect("what is told is data");
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_terminals_is_raw_and_all_read_the_same() {
        let all: String =
            (0..0xf_0000).filter_map(char::from_u32).filter(|char| *char < '\u{2100}' || harmful(*char)).collect();
        let all = all + "🦀é\"\\";
        let value = serde_json::json!({ "a": [all, 1, null], all.clone(): { "b": "\u{9b}31m" } });
        let told = text(&value);
        assert!(!told.chars().any(harmful), "{told:?}");
        assert!(told.contains("\\u009b31m") && told.contains('é') && told.contains("\\u007f"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&told).expect("it is JSON"), value);
        assert_eq!(text(&serde_json::json!({ "a": "b", "c": [1.5] })), r#"{"a":"b","c":[1.5]}"#);
    }
}
