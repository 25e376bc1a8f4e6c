//! Names of tasks, barriers and batches: one line, whatever text they are made from.

/// A text with its control characters as escapes that can be seen: `\t`, `\r`, `\u{1b}`.
///
/// Two texts never become one name: a backslash that would read as such an escape is doubled.
pub(crate) fn label(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let bare = rest.trim_start_matches('\\');
        let backslashes = &rest[..rest.len() - bare.len()];
        if backslashes.is_empty() {
            rest = &rest[first.len_utf8()..];
            if first.is_control() {
                name.extend(first.escape_default());
            } else {
                name.push(first);
            }
            continue;
        }
        let next = bare.chars().next();
        let escapes = bare.starts_with(['t', 'n', 'r']) || bare.starts_with("u{") || next.is_some_and(char::is_control);
        name.push_str(backslashes);
        if escapes {
            name.push_str(backslashes);
        }
        rest = bare;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::label;
    use std::collections::BTreeMap;

    #[test]
    fn control_characters_are_escapes() {
        assert_eq!(label("tmpfs\t/srv\tdefaults\r"), r"tmpfs\t/srv\tdefaults\r");
        assert_eq!(label("\u{1b}[1m\u{7f}\u{85}\0"), r"\u{1b}[1m\u{7f}\u{85}\u{0}");
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in
            ["", "/etc/fstab: größer", r"^\s*#?\s*Port\b", r"dev-sda\x2d1.swap", r"a\", r"\\server\share", "…\\"]
        {
            assert_eq!(label(text), text);
        }
    }

    #[test]
    fn two_texts_never_have_one_name() {
        let parts = ["\\", "t", "\t", "u{9}", "u", "r", "\r", "\u{1b}", "x"];
        let mut seen = BTreeMap::new();
        for number in 0..parts.len().pow(5) {
            let digits = (0..5).map(|place| number / parts.len().pow(place) % parts.len());
            let text: String = digits.map(|digit| parts[digit]).collect();
            let before = seen.insert(label(&text), text.clone());
            assert!(before.is_none() || before.as_ref() == Some(&text), "{text:?} and {before:?} have one name");
        }
    }
}
