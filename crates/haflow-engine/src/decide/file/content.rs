//! How the content of a file differs, so that a person can read it: by field where it has fields, otherwise
//! line by line.

use crate::cut;
use crate::decide::differences::differences;
use crate::decide::file::settings::{Kind, Settings};
use haflow_model::{Change, Value};
use similar::TextDiff;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// How long the shortest difference is looked for; after that a longer one will do. The search takes the
/// square of the lines, which would be hours.
const LONGEST_SEARCH: Duration = Duration::from_millis(300);

/// The differences of two texts at `path`, for a task of `kind`. Never empty.
pub(crate) fn changes(path: &str, kind: &str, was: &str, want: &str) -> Vec<Change> {
    let fields = if kind == "ini" {
        settings(was, want)
    } else if Path::new(path).extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        json(was, want)
    } else {
        None
    };
    if let Some(fields) = fields.filter(|changes| !changes.is_empty()) {
        return cut::changes(fields);
    }
    // A carriage return alone ends no line for anybody who reads the file or the difference.
    let lines = |text| str::split_inclusive(text, '\n').collect::<Vec<&str>>();
    let (was, want) = (lines(was), lines(want));
    let diff = TextDiff::configure().timeout(LONGEST_SEARCH).newline_terminated(true).diff_slices(&was, &want);
    let unified = diff.unified_diff().context_radius(2).to_string();
    vec![Change::Text { unified: cut::unified(&unified) }]
}

/// The names of what differs, for content that holds a secret; none where it isn't known by name.
pub(crate) fn secrets(path: &str, kind: &str, was: &str, want: &str) -> Vec<Change> {
    let named = changes(path, kind, was, want).into_iter().filter_map(|change| match change {
        Change::Field { field, .. } => Some(Change::Secret { field }),
        _ => None,
    });
    let named: Vec<Change> = named.collect();
    if named.is_empty() { vec![Change::Secret { field: "content".into() }] } else { named }
}

/// The fields of two JSON objects.
fn json(was: &str, want: &str) -> Option<Vec<Change>> {
    let parsed = |text| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let (was, want) = (parsed(was)?, parsed(want)?);
    let mut changes = Vec::new();
    differences(String::new(), Some(&was), Some(&want), &mut changes);
    Some(changes)
}

/// The settings of two INI texts that differ in nothing else.
fn settings(was: &str, want: &str) -> Option<Vec<Change>> {
    // A byte order mark is no part of the first name.
    let (was, want) = match (was.strip_prefix('\u{feff}'), want.strip_prefix('\u{feff}')) {
        (Some(was), Some(want)) => (was, want),
        _ => (was, want),
    };
    let (was, want) = (Settings::new(was.as_bytes()), Settings::new(want.as_bytes()));
    let (was, want) = (Ini::new(&was), Ini::new(&want));
    let (old, new) = (was.settings(), want.settings());
    let names: BTreeSet<&Name> = old.keys().chain(new.keys()).collect();
    let changed: BTreeSet<&Name> = names.into_iter().filter(|name| old.get(*name) != new.get(*name)).collect();
    let sections: BTreeSet<&str> = was.sections().collect();
    if was.rest(&sections, &changed) != want.rest(&sections, &changed) {
        return None;
    }
    let value = |values: Option<&Vec<String>>| match values.map(Vec::as_slice) {
        None => None,
        Some([one]) => Some(Value::from(one.as_str())),
        Some(several) => Some(Value::from(several)),
    };
    let one = |name: &&Name| {
        let (section, key) = name;
        let field = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        Change::Field { field, was: value(old.get(*name)), want: value(new.get(*name)) }
    };
    Some(changed.iter().map(one).collect())
}

/// A section and a key.
type Name = (String, String);

/// The lines of an INI text, read as the edit of settings reads them.
struct Ini<'t>(Vec<(&'t str, Row)>);

enum Row {
    Blank,
    Comment,
    Section(String),
    Setting(Name, String),
    /// It continues the setting before it.
    More(Name, String),
}

impl<'t> Ini<'t> {
    fn new(read: &'t Settings<'t>) -> Self {
        let text = |bytes: &'t [u8]| std::str::from_utf8(bytes).unwrap_or_default();
        let mut open: Option<Name> = None;
        let row = |(line, kind, section): (&'t [u8], Kind, &'t [u8])| {
            let row = match (kind, &open) {
                (Kind::Comment, _) => Row::Comment,
                (Kind::Section, _) => Row::Section(text(section).to_owned()),
                (Kind::Setting | Kind::Unsure, _) => {
                    let (key, value) = read.key_and_value(line);
                    let name = (text(section).to_owned(), text(key).to_owned());
                    open = Some(name.clone());
                    Row::Setting(name, text(value).to_owned())
                }
                (Kind::More, Some(name)) => Row::More(name.clone(), text(line).trim().to_owned()),
                (Kind::Blank | Kind::More, _) => Row::Blank,
            };
            (text(line), row)
        };
        // Without the line breaks: the last line may have got one because others follow it now.
        Self(read.rows().map(row).collect())
    }

    /// What each setting has: one value for each time that it is there, in order.
    fn settings(&self) -> BTreeMap<Name, Vec<String>> {
        let mut settings: BTreeMap<Name, Vec<String>> = BTreeMap::new();
        for (_, row) in &self.0 {
            match row {
                Row::Setting(name, value) => settings.entry(name.clone()).or_default().push(value.clone()),
                Row::More(name, value) => {
                    if let Some(last) = settings.get_mut(name).and_then(|values| values.last_mut()) {
                        last.push('\n');
                        last.push_str(value);
                    }
                }
                Row::Blank | Row::Comment | Row::Section(_) => {}
            }
        }
        settings
    }

    fn sections(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, row)| match row {
            Row::Section(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The lines that stay what they are where only `changed` settings change: those of a section that wasn't
    /// there don't count.
    fn rest(&self, sections: &BTreeSet<&str>, changed: &BTreeSet<&Name>) -> Vec<&'t str> {
        let stays = |row: &Row| match row {
            Row::Blank => false,
            Row::Comment => true,
            Row::Section(name) => sections.contains(name.as_str()),
            Row::Setting(name, _) | Row::More(name, _) => !changed.contains(name),
        };
        self.0.iter().filter(|(_, row)| stays(row)).map(|(line, _)| *line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each field, the text of anything else.
    fn told(changes: &[Change]) -> Vec<String> {
        let value = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        let one = |change: &Change| match change {
            Change::Field { field, was, want } => format!("{field}: {} → {}", value(was), value(want)),
            Change::Text { unified } => unified.clone(),
            Change::Secret { field } => format!("{field}: secret"),
            other => panic!("{other:?}"),
        };
        changes.iter().map(one).collect()
    }

    fn of_json(was: &str, want: &str) -> Vec<String> {
        told(&changes("/etc/app/app.json", "file", was, want))
    }

    fn of_ini(was: &str, want: &str) -> Vec<String> {
        told(&changes("/etc/app/app.conf", "ini", was, want))
    }

    fn is_unified(told: &[String]) -> bool {
        told.len() == 1 && told[0].starts_with("@@")
    }

    #[test]
    fn json_differs_by_field_in_the_order_of_the_names() {
        let was = r#"{"z": 1, "a": {"level": "info", "same": [1, 2]}, "gone": null, "ports": [1, 2]}"#;
        let want = r#"{"new": {"x": true}, "a": {"same": [1, 2], "level": "debug"}, "z": 2, "ports": [1, 3]}"#;
        assert_eq!(
            of_json(was, want),
            [
                r#"a.level: "info" → "debug""#,
                "gone: null → nothing",
                r#"new: nothing → {"x":true}"#,
                "ports: [1,2] → [1,3]",
                "z: 1 → 2",
            ]
        );
    }

    #[test]
    fn json_lists_of_objects_differ_by_element() {
        let was = r#"{"users": [{"name": "a", "tags": []}, {"name": "b", "tags": []}, {"name": "c", "tags": []}]}"#;
        let want = r#"{"users": [{"name": "b", "tags": ["x"]}, {"name": "c", "tags": []}, {"name": "d", "tags": []}]}"#;
        assert_eq!(
            of_json(was, want),
            [
                r#"users[0].name: "a" → "b""#,
                r#"users[0].tags: [] → ["x"]"#,
                r#"users[1]: {"name":"b","tags":[]} → nothing"#,
                r#"users[2]: nothing → {"name":"d","tags":[]}"#,
            ]
        );
    }

    #[test]
    fn what_is_not_two_objects_stays_text() {
        for (was, want) in [
            ("", "{}\n"),
            ("{\"a\": 1}\n", "{\"a\":1}\n"),
            ("[1]\n", "[2]\n"),
            ("{\"a\": 1", "{\"a\": 1}"),
            ("{\"a\": 1}", "{\"a\": 1}\n"),
        ] {
            assert!(is_unified(&of_json(was, want)), "{was:?} {want:?}");
        }
        // Elsewhere a text is a text, whatever it looks like.
        assert!(is_unified(&told(&changes("/etc/motd", "file", "{\"a\": 1}\n", "{\"a\": 2}\n"))));
        assert!(is_unified(&told(&changes("/etc/a.ini", "file", "a = 1\n", "a = 2\n"))));
    }

    #[test]
    fn ini_differs_by_setting() {
        let was = "# head\ntop=1\n\n[DEFAULT]\ndebug = false\n#debug = true\nmulti = a\nmulti = b\nlong = x\n  y\n[db]\nurl = old";
        let want = "# head\ntop=2\n\n[DEFAULT]\n#debug = true\nverbose = yes\nmulti = a\nlong = x\n  z\n[db]\nurl = old\n\n[new]\nkey =\n";
        assert_eq!(
            of_ini(was, want),
            [
                r#"top: "1" → "2""#,
                r#"DEFAULT.debug: "false" → nothing"#,
                r#"DEFAULT.long: "x\ny" → "x\nz""#,
                r#"DEFAULT.multi: ["a","b"] → "a""#,
                r#"DEFAULT.verbose: nothing → "yes""#,
                r#"new.key: nothing → """#,
            ]
        );
        assert_eq!(of_ini("", "[DEFAULT]\na = 1\n"), [r#"DEFAULT.a: nothing → "1""#]);
        assert_eq!(of_ini("\u{feff}[s]\na = 1\n", "\u{feff}[s]\na = 2\n"), [r#"s.a: "1" → "2""#]);
    }

    #[test]
    fn ini_that_differs_in_more_than_settings_stays_text() {
        for (was, want) in [
            // A comment goes, a comment moves, a line is written in another way, settings change places, a
            // heading goes.
            ("# old\na = 1\n", "a = 2\n"),
            ("# c\n[s]\na = 1\n", "[s]\n# c\na = 2\n"),
            ("a = 1\nb=1\n", "a = 2\nb = 1\n"),
            ("a = 1\nb = 1\nc = 1\n", "b = 1\na = 1\nc = 2\n"),
            ("[s]\na = 1\n[t]\n", "[s]\na = 2\n"),
            ("a = 1\r\nb = 1\r\n", "a = 2\nb = 1\n"),
            ("a = 1\n\n\n", "a = 1\n"),
        ] {
            assert!(is_unified(&of_ini(was, want)), "{was:?} {want:?}");
        }
    }

    #[test]
    fn of_secrets_only_the_names_are_told() {
        let was = "[DEFAULT]\ntransport_url = rabbit://old\n";
        let want = "[DEFAULT]\ntransport_url = rabbit://new\n";
        assert_eq!(told(&secrets("/etc/app.conf", "ini", was, want)), ["DEFAULT.transport_url: secret"]);
        assert_eq!(told(&secrets("/etc/app.conf", "line", was, want)), ["content: secret"]);
        assert_eq!(told(&secrets("/etc/app.conf", "ini", "# a\n", "b = 1\n")), ["content: secret"]);
    }
}
