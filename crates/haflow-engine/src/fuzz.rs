//! What the fuzz targets of the engine call.

use crate::decide::file::{edit, text};
use crate::filters::jq::{self, Input};
use crate::lane::frame::Frame;
use haflow_model::{OwnEdit, Value};

/// A stream that a host prints, with the marker wherever there is a `\xff`: its pieces are the same however
/// it is cut.
pub fn frame(data: &[u8]) {
    const MARKER: &str = "0123456789abcdef0123456789abcdef.1";
    let Some((cut, printed)) = data.split_first() else { return };
    let mut stream = Vec::new();
    for byte in printed {
        match byte {
            0xff => stream.extend_from_slice(MARKER.as_bytes()),
            byte => stream.push(*byte),
        }
    }
    let pieces = |size: usize| {
        let mut collector = Frame::new(MARKER.to_owned()).collector();
        let mut pieces = Vec::new();
        for chunk in stream.chunks(size) {
            collector.push(chunk);
            while let Some(piece) = collector.piece() {
                pieces.push(piece);
            }
        }
        (pieces, collector.rest())
    };
    let whole = pieces(stream.len().max(1));
    assert_eq!(whole, pieces(usize::from(*cut) + 1));
    assert_eq!(whole, pieces(1));
    let kept: usize = whole.0.iter().map(|piece| piece.bytes.len()).sum();
    assert!(kept + whole.1.len() <= stream.len());
}

/// An edit of a text, with params from the first lines of the data: it sees its own result, and every line
/// that it doesn't write stays.
pub fn edit(data: &[u8]) {
    let mut parts = data.splitn(5, |byte| *byte == b'\n');
    let Some(which) = parts.next().and_then(|first| first.first()) else { return };
    let mut word = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (one, two, three) = (word(), word(), word());
    let old = parts.next().unwrap_or_default();
    let param = |name: &str, value: &str| (name.to_owned(), Value::from(value));
    let remove = ("remove".to_owned(), Value::Bool(which & 4 != 0));
    let (own, params) = match which % 3 {
        0 => {
            let matching = if which & 8 == 0 { vec![] } else { vec![param("matching", &two)] };
            (OwnEdit::Line, [vec![param("text", &one), param("below", &three), remove], matching].concat())
        }
        1 => (OwnEdit::Block, vec![param("first", &one), param("last", &two), param("text", &three), remove]),
        _ => (OwnEdit::Settings, vec![param("section", &one), param("key", &two), param("value", &three)]),
    };
    let Ok(Some(once)) = edit::edit(own, &params, Some(old)) else { return };
    // What isn't a fixed point is refused before it is written; it must come to an end all the same.
    let twice = edit::edit(own, &params, Some(&once));
    if twice != Ok(Some(once.clone())) {
        return;
    }
    if matches!(own, OwnEdit::Line) && which & 4 == 0 {
        let lines =
            |old: &[u8]| text::lines(old).map(|line| text::bare(line).trim_ascii_end().to_vec()).collect::<Vec<_>>();
        let (before, after) = (lines(old), lines(&once));
        let touched = before.iter().zip(&after).take_while(|(old, new)| old == new).count();
        let rest = before.iter().rev().zip(after.iter().rev()).take_while(|(old, new)| old == new).count();
        assert!(touched + rest + 1 >= before.len(), "more than one line changed");
    }
}

/// Filters of stdlib's kind with whatever a host printed.
pub fn filter(data: &[u8]) {
    const FILTERS: [&str; 6] = [
        ".[] | select(.name == $name) | .definition | fromjson",
        "fromjson | .. | tostring",
        "split(\"\\n\") | map(select(test(\"^[a-z]+=\")) | capture(\"^(?<key>[a-z]+)=(?<value>.*)$\")) | map({(.key): .value}) | add",
        "[.. | scalars] | sort | unique | map(tojson) | join(\",\")",
        "fromjson | to_entries | map(.value |= tostring) | from_entries",
        "tonumber, length, explode, ascii_downcase, trim",
    ];
    let Some((which, printed)) = data.split_first() else { return };
    let filter = FILTERS[usize::from(*which) % FILTERS.len()];
    let input = match serde_json::from_slice(printed) {
        Ok(value) if which & 0x80 == 0 => Input::Value(value),
        _ => Input::Text(printed.to_vec()),
    };
    // It yields something or says why it doesn't.
    let _ = jq::run(filter, vec![("name".into(), "x".into())], input).and_then(jq::Yield::value);
}
