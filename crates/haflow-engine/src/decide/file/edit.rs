//! What an edit makes of a file's text: haflow's own edits of lines and blocks, and the rule that all edits
//! keep.
//!
//! Texts are bytes: a line that isn't touched stays as it is, in whatever encoding. Everything here is linear
//! in the text.

use crate::decide::file::settings;
use crate::decide::file::text::{Edited, Params, bare, line_end, lines, missing_end, usual_end};
use haflow_model::{OwnEdit, Value};

/// What some editors put before a text in UTF-8. It is no part of the first line.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Makes the edit, whose params are the task's. A byte order mark stays where it is.
pub(crate) fn edit(edit: OwnEdit, params: &[(String, Value)], old: Option<&[u8]>) -> Edited {
    let params = Params(params);
    let text = old.map(|old| old.strip_prefix(MARK).unwrap_or(old));
    let made = match edit {
        OwnEdit::Line => line(&params, text),
        OwnEdit::Block => block(&params, text),
        OwnEdit::Settings => settings::edit(&params, text),
    };
    if text == old { made } else { Ok(made?.map(|made| [MARK, &made].concat())) }
}

/// The text so that another line can follow.
fn completed(text: &[u8], end: &[u8]) -> Vec<u8> {
    [text, missing_end(text, end)].concat()
}

fn line(params: &Params<'_>, old: Option<&[u8]>) -> Edited {
    let remove = params.is("remove");
    if old.is_none() && remove {
        return Ok(None);
    }
    let old = params.there(old)?;
    let text = params.text("text");
    if text.contains('\n') {
        return Err("the text has more than one line; `block` puts several lines into a file".into());
    }
    let text = text.as_bytes();
    let matching = params.pattern("matching")?;
    let is_it = |line: &[u8]| match &matching {
        Some(matching) => matching.is_match(bare(line)),
        None => bare(line) == text,
    };
    if remove {
        let mut left = Vec::with_capacity(old.len());
        lines(old).filter(|line| !is_it(line)).for_each(|line| left.extend_from_slice(line));
        return Ok(Some(left));
    }
    // Where the line goes: its own place, or one before which it is put.
    let (mut found, mut same) = (None, false);
    let (below, above) = (params.pattern("below")?, params.pattern("above")?);
    let (mut put, mut at) = (None, 0);
    for line in lines(old) {
        let next = at + line.len();
        same |= bare(line) == text;
        if matching.is_some() && is_it(line) {
            found = Some((at, line));
        }
        if let Some(below) = &below {
            if below.is_match(bare(line)) {
                put = Some(next);
            }
        } else if let Some(above) = &above
            && put.is_none()
            && above.is_match(bare(line))
        {
            put = Some(at);
        }
        at = next;
    }
    let end = usual_end(old);
    Ok(Some(match (found, put) {
        (Some((at, line)), _) => [&old[..at], text, line_end(line), &old[at + line.len()..]].concat(),
        (None, _) if same => old.to_vec(),
        (None, Some(at)) if at < old.len() => [&old[..at], text, end, &old[at..]].concat(),
        (None, _) => [&completed(old, end)[..], text, end].concat(),
    }))
}

fn block(params: &Params<'_>, old: Option<&[u8]>) -> Edited {
    let remove = params.is("remove");
    if old.is_none() && remove {
        return Ok(None);
    }
    let old = params.there(old)?;
    let (first, last, text) = (params.text("first"), params.text("last"), params.text("text"));
    let end = usual_end(old);
    let mut block = Vec::with_capacity(text.len() + 256);
    let inner = lines(text.as_bytes()).map(bare);
    for line in std::iter::once(first.as_bytes()).chain(inner).chain([last.as_bytes()]) {
        block.extend_from_slice(line);
        block.extend_from_slice(end);
    }
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    let mut at = 0;
    for line in lines(old) {
        if bare(line) == first.as_bytes() {
            firsts.push(at);
        } else if bare(line) == last.as_bytes() {
            lasts.push(at + line.len());
        }
        at += line.len();
    }
    Ok(Some(match (&firsts[..], &lasts[..]) {
        ([], []) if remove => old.to_vec(),
        ([], []) => [completed(old, end), block].concat(),
        ([from], [to]) if from < to => {
            if remove {
                block.clear();
            }
            [&old[..*from], &block, &old[*to..]].concat()
        }
        _ => return Err(format!("{}: the marker lines `{first}` and `{last}` aren't one pair", params.text("file"))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::{Duration, Instant};

    fn params(value: Value) -> Vec<(String, Value)> {
        let Value::Object(map) = value else { panic!("it is a map") };
        map.into_iter().collect()
    }

    fn made(which: OwnEdit, given: Value, old: &[u8]) -> Result<String, String> {
        let made = edit(which, &params(given), Some(old))?.expect("there was a file");
        Ok(String::from_utf8_lossy(&made).into_owned())
    }

    #[test]
    fn a_line_goes_where_it_belongs() {
        for (given, old, new) in [
            (json!({"text": "b"}), "a\n", "a\nb\n"),
            (json!({"text": "b"}), "a", "a\nb\n"),
            (json!({"text": "b"}), "a\r\n", "a\r\nb\r\n"),
            (json!({"text": "b"}), "b\r\na", "b\r\na"),
            (json!({"text": "k=2", "matching": "^k="}), "k=0\nx\nk=1", "k=0\nx\nk=2"),
            (json!({"text": "k=2", "matching": "^k="}), "k=1\r\nx", "k=2\r\nx"),
            (json!({"text": "b", "below": "^a"}), "a1\na2\nc\n", "a1\na2\nb\nc\n"),
            (json!({"text": "b", "below": "^c"}), "a\nc", "a\nc\nb\n"),
            (json!({"text": "b", "above": "^a"}), "x\na1\na2\n", "x\nb\na1\na2\n"),
            (json!({"text": "b", "above": "^z"}), "x\n", "x\nb\n"),
            (json!({"text": "b", "remove": true}), "b\na\nb", "a\n"),
            (json!({"text": "", "matching": "^#", "remove": true}), "#a\nb\n#", "b\n"),
        ] {
            assert_eq!(made(OwnEdit::Line, given.clone(), old.as_bytes()).as_deref(), Ok(new), "{given} {old:?}");
        }
        let given = params(json!({"text": "a", "file": "/x", "remove": false}));
        let missing = edit(OwnEdit::Line, &given, None).unwrap_err();
        assert_eq!(missing, "/x isn't there; the option create: true makes it");
        assert_eq!(edit(OwnEdit::Line, &params(json!({"text": "a", "remove": true})), None), Ok(None));
        assert_eq!(edit(OwnEdit::Line, &params(json!({"text": "a", "create": true})), None), Ok(Some(b"a\n".into())));
        assert!(made(OwnEdit::Line, json!({"text": "a\nb"}), b"").unwrap_err().contains("more than one line"));
    }

    #[test]
    fn a_block_is_between_its_marker_lines() {
        let given = |text: &str, remove: bool| json!({"first": "# B", "last": "# E", "text": text, "remove": remove});
        for (given, old, new) in [
            (given("x\ny\n", false), "a", "a\n# B\nx\ny\n# E\n"),
            (given("x", false), "a\r\n", "a\r\n# B\r\nx\r\n# E\r\n"),
            (given("x", false), "a\n# B\nold\n# E\nz", "a\n# B\nx\n# E\nz"),
            (given("x", true), "a\n# B\nold\n# E\nz", "a\nz"),
            (given("x", true), "a\n", "a\n"),
        ] {
            assert_eq!(made(OwnEdit::Block, given, old.as_bytes()).as_deref(), Ok(new), "{old:?}");
        }
        for old in ["# B\n", "# E\n# B\n", "# B\n# E\n# B\n# E\n"] {
            let refused = made(OwnEdit::Block, given("x", false), old.as_bytes()).unwrap_err();
            assert!(refused.contains("aren't one pair"), "{refused}");
        }
    }

    /// The bytes of old encodings, in lines that aren't touched and in one that is.
    #[test]
    fn bytes_that_are_not_utf_8_stay() {
        let given = params(json!({"text": "level=2", "matching": "^level="}));
        let new = edit(OwnEdit::Line, &given, Some(b"# M\xfcller\nlevel=\xe9\n"));
        assert_eq!(new, Ok(Some(b"# M\xfcller\nlevel=2\n".to_vec())));
    }

    #[test]
    fn a_byte_order_mark_stays_and_is_no_part_of_a_line() {
        let mark = "\u{feff}";
        for (which, given, old, new) in [
            (OwnEdit::Line, json!({"text": "a"}), "a\nb\n", "a\nb\n"),
            (OwnEdit::Line, json!({"text": "a=2", "matching": "^a="}), "a=1\n", "a=2\n"),
            (OwnEdit::Line, json!({"text": "a", "remove": true}), "a\n", ""),
            (OwnEdit::Block, json!({"first": "# B", "last": "# E", "text": "x\n"}), "# B\n# E\n", "# B\nx\n# E\n"),
            (OwnEdit::Settings, json!({"section": "s", "key": "k", "value": "w"}), "[s]\nk=v\n", "[s]\nk=w\n"),
            (OwnEdit::Settings, json!({"section": "", "key": "k", "value": "w"}), "k=v\n", "k=w\n"),
            (OwnEdit::Settings, json!({"section": "", "key": "k", "value": "w"}), "[s]\n", "k = w\n\n[s]\n"),
        ] {
            let old = format!("{mark}{old}");
            assert_eq!(made(which, given.clone(), old.as_bytes()), Ok(format!("{mark}{new}")), "{given} {old:?}");
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just(b"a".to_vec()),
            Just(b"# B".to_vec()),
            Just(b"# E".to_vec()),
            Just(b"".to_vec()),
            prop::collection::vec(prop_oneof![Just(b'a'), Just(b'='), Just(b' '), Just(0xfc), Just(b'\r')], 0..6)
        ];
        let end = prop_oneof![Just(&b"\n"[..]), Just(&b"\n"[..]), Just(&b"\r\n"[..])];
        (prop::collection::vec((line, end), 0..8), any::<bool>()).prop_map(|(lines, open)| {
            let mut text: Vec<u8> = lines.iter().flat_map(|(line, end)| [&line[..], end].concat()).collect();
            if open {
                text.pop();
            }
            text
        })
    }

    proptest! {
        #[test]
        fn an_edit_is_made_once_and_touches_nothing_else(old in text(), remove: bool, which in 0..4) {
            let (which, given) = match which {
                0 => (OwnEdit::Line, json!({"text": "a", "remove": remove})),
                1 => (OwnEdit::Line, json!({"text": "a=1", "matching": "^a=", "remove": remove})),
                2 => (OwnEdit::Line, json!({"text": "x", "below": "^a", "remove": remove})),
                _ => (OwnEdit::Block, json!({"first": "# B", "last": "# E", "text": "a\n", "remove": remove})),
            };
            let given = params(given);
            let Ok(Some(once)) = edit(which, &given, Some(&old)) else { return Ok(()) };
            prop_assert_eq!(edit(which, &given, Some(&once)), Ok(Some(once.clone())));
            // All other lines are there as before, in their order.
            // But for the line break that the last one may get.
            let bare = |line| bare(line).trim_ascii_end();
            let mut rest = lines(&once).map(bare);
            let touched = |line: &[u8]| match which {
                OwnEdit::Block => true,
                _ => line == b"a" || line == b"x" || line.starts_with(b"a="),
            };
            for line in lines(&old).map(bare).filter(|line| !touched(line)) {
                prop_assert!(rest.any(|left| left == line), "{:?} is missing in {:?}", line, &once);
            }
        }
    }

    /// What kept a run for minutes when it took the square of the lines.
    #[test]
    fn a_long_file_is_edited_at_once() {
        // Without optimization a sixteenth takes as long. The square of the lines would be hours in either.
        let size = if cfg!(debug_assertions) { 256 << 10 } else { 4 << 20 };
        let empty = b"\n".repeat(size);
        let keys = b"k = v\n".repeat(size / 6);
        let heads = b"[s]\n".repeat(size / 4);
        let line = json!({"text": "a", "matching": "^$"});
        let absent = json!({"text": "a", "matching": "^$|k", "remove": true});
        let block = json!({"first": "# B", "last": "# E", "text": "a\n"});
        let one = json!({"section": "s", "key": "k", "value": "w"});
        let none = json!({"section": "", "key": "k", "value": null});
        let many = json!({"section": "", "key": "k", "value": vec!["w"; 1000]});
        for old in [&empty, &keys, &heads] {
            for (which, given) in [
                (OwnEdit::Line, &line),
                (OwnEdit::Line, &absent),
                (OwnEdit::Block, &block),
                (OwnEdit::Settings, &one),
                (OwnEdit::Settings, &none),
                (OwnEdit::Settings, &many),
            ] {
                let begun = Instant::now();
                let made = edit(which, &params(given.clone()), Some(old));
                assert!(begun.elapsed() < Duration::from_secs(3), "{which:?} took {:?}", begun.elapsed());
                assert!(made.is_ok());
            }
        }
    }
}
