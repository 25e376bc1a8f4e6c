//! The ways in which a text can be read: as it is, without line breaks, and with percent signs, backslashes
//! and a shell's quotes undone.

use std::ops::Range;
use zeroize::Zeroizing;

/// A text read in one way, and where each byte of that is in the text.
pub(super) struct View {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    places: Vec<Range<usize>>,
}

/// Adds what the beginning of a text stands for, and says how many bytes say it: none where it stands for
/// itself.
type Undo = fn(&[u8], &mut Vec<u8>) -> usize;

/// The ways in which a text can be read, where they aren't all the same.
pub(super) fn views(text: &str) -> impl Iterator<Item = View> {
    let ways: [(Undo, &[char]); 6] = [
        (|_, _| 0, &[]),
        (|text, _| usize::from(b"\r\n".contains(&text[0])), &['\n']),
        (percent, &['%']),
        (plus_and_percent, &['+']),
        (backslash, &['\\']),
        (quote, &['\'']),
    ];
    let ways = ways.into_iter().filter(|(_, signs)| signs.is_empty() || text.contains(*signs));
    ways.map(|(undo, _)| View::new(text.as_bytes(), undo))
}

impl View {
    fn new(text: &[u8], undo: Undo) -> Self {
        let bytes = Zeroizing::new(Vec::with_capacity(text.len()));
        let mut view = Self { bytes, places: Vec::with_capacity(text.len()) };
        let mut at = 0;
        while at < text.len() {
            let length = match undo(&text[at..], &mut view.bytes) {
                0 => {
                    view.bytes.push(text[at]);
                    1
                }
                length => length,
            };
            view.places.resize(view.bytes.len(), at..at + length);
            at += length;
        }
        view
    }

    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        self.places[range.start].start..self.places[range.end - 1].end
    }
}

/// The number that these digits are.
fn digits(text: Option<&[u8]>, base: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text?).ok()?, base).ok()
}

fn byte(text: Option<&[u8]>, base: u32) -> Option<u8> {
    digits(text, base).and_then(|number| u8::try_from(number).ok())
}

/// As in addresses.
fn percent(text: &[u8], bytes: &mut Vec<u8>) -> usize {
    let Some(byte) = byte(text.get(1..3), 16).filter(|_| text[0] == b'%') else { return 0 };
    bytes.push(byte);
    3
}

/// As in forms.
fn plus_and_percent(text: &[u8], bytes: &mut Vec<u8>) -> usize {
    if text[0] != b'+' {
        return percent(text, bytes);
    }
    bytes.push(b' ');
    1
}

/// As in JSON, and as programs show what they don't print as it is.
fn backslash(text: &[u8], bytes: &mut Vec<u8>) -> usize {
    if text[0] != b'\\' {
        return 0;
    }
    match text.get(1) {
        Some(b'n') => bytes.push(b'\n'),
        Some(b'r') => bytes.push(b'\r'),
        Some(b't') => bytes.push(b'\t'),
        Some(b'x') => match byte(text.get(2..4), 16) {
            Some(byte) => {
                bytes.push(byte);
                return 4;
            }
            None => return 0,
        },
        Some(b'u') => match digits(text.get(2..6), 16).and_then(char::from_u32) {
            Some(char) => {
                bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return 6;
            }
            None => return 0,
        },
        Some(b'0'..=b'7') => match byte(text.get(1..4), 8) {
            Some(byte) => {
                bytes.push(byte);
                return 4;
            }
            None => return 0,
        },
        Some(sign @ (b'"' | b'\\' | b'/' | b'\'' | b'$' | b'`')) => bytes.push(*sign),
        _ => return 0,
    }
    2
}

/// As a shell that traces what it does (`set -x`) shows a quotation mark.
fn quote(text: &[u8], bytes: &mut Vec<u8>) -> usize {
    let Some(shown) = [r"'\''", r#"'"'"'"#].into_iter().find(|shown| text.starts_with(shown.as_bytes())) else {
        return 0;
    };
    bytes.push(b'\'');
    shown.len()
}
