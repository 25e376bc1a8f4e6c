//! Text for a POSIX shell.

use haflow_model::Value;

/// `value` as one word of a shell, whatever it holds. A NUL can't be held by a shell and is refused where params are declared.
pub(crate) fn quote(value: &str) -> String {
    // Room for all of it: what grows leaves copies behind, and the value may be a secret.
    let marks = value.bytes().filter(|byte| *byte == b'\'').count();
    let mut quoted = String::with_capacity(value.len() + 2 + 3 * marks);
    quoted.push('\'');
    for part in value.split_inclusive('\'') {
        match part.strip_suffix('\'') {
            Some(before) => {
                quoted.push_str(before);
                quoted.push_str("'\\''");
            }
            None => quoted.push_str(part),
        }
    }
    quoted.push('\'');
    quoted
}

/// A param's value as the text of a shell variable: texts as they are, nothing as empty, lists and maps as compact JSON.
pub(crate) fn variable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// At most so much of a stream is told where something failed, in bytes.
pub(crate) const MOST_TOLD: usize = 16 << 10;

/// The last `lines` lines of what a host printed, for a person to read: at most [`MOST_TOLD`] bytes of them. What is missing of a line is said.
pub(crate) fn tail(bytes: &[u8], lines: usize) -> String {
    let bytes = bytes.trim_ascii_end();
    // From the end, so that a long output costs no more than what is shown of it.
    let from = memchr::memrchr_iter(b'\n', bytes).nth(lines.saturating_sub(1)).map_or(0, |end| end + 1);
    ending(&bytes[if lines == 0 { bytes.len() } else { from }..], MOST_TOLD)
}

/// The end of a text: at most `most` bytes, and how many are missing before them.
pub(crate) fn ending(bytes: &[u8], most: usize) -> String {
    let Some(out) = bytes.len().checked_sub(most).filter(|out| *out > 0) else {
        return lines_of(&String::from_utf8_lossy(bytes));
    };
    // Not in the middle of a character.
    let start = (out..bytes.len()).find(|at| bytes[*at] & 0xc0 != 0x80).unwrap_or(out);
    format!("… {start} bytes left out … {}", lines_of(&String::from_utf8_lossy(&bytes[start..])))
}

/// The beginning of a text: at most `most` bytes, and how many are missing behind them.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    format!("{} … {} bytes left out", &text[..end], text.len() - end)
}

fn lines_of(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_output_is_bounded_in_lines_and_bytes() {
        assert_eq!(tail(b"a\r\nb\nc\n\n", 2), "b\nc");
        assert_eq!(tail(b"a\nb", 12), "a\nb");
        assert_eq!((tail(b"", 12), tail(b"\n\n", 12)), (String::new(), String::new()));
        let long = "ü".repeat(1 << 20);
        let told = tail(format!("first\n{long}").as_bytes(), 12);
        assert!(told.len() < MOST_TOLD + 100, "{}", told.len());
        let left_out = "first\n".len() + long.len() - MOST_TOLD;
        assert!(told.starts_with(&format!("… {left_out} bytes left out … ü")), "{}", &told[..60]);
        assert_eq!(beginning("aüb", 2), "a … 3 bytes left out");
        assert_eq!(beginning("aüb", 4), "aüb");
    }
}
