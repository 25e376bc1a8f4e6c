//! YAML and JSON text → values with places.

use super::file::{At, File, Word};
use super::tree::{Kind, Tree};
use haflow_model::Diagnostic;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;
use std::fmt;

/// Reads YAML as Ansible does: `yes` is true and `0644` is octal.
pub(super) fn parse(file: &File) -> Result<Tree, Diagnostic> {
    let options = serde_saphyr::options! { with_snippet: false, legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(&file.text, options).map_err(|error| {
        let at = error.location().map_or_else(At::default, |location| place(&location));
        let text = error.render();
        // The place is told by the label already.
        let message = text.split(" at line ").next().unwrap_or(&text);
        if let Some(key) = message.strip_prefix("duplicate mapping key: ") {
            let key = key.split(", set ").next().unwrap_or(key);
            return file
                .wrong(at, format!("`{key}` is there twice"), "again here")
                .help("keep one, or put both into one");
        }
        file.wrong(at, format!("bad YAML: {message}"), "").help(
            "mend it here or just above: what belongs together is indented alike, by blanks, and a quote is closed",
        )
    })
}

/// Reads JSON. `help` says what to do where it is none.
pub(super) fn parse_json(file: &File, help: &str) -> Result<Tree, Diagnostic> {
    let plain = serde_json::from_str::<Plain>(&file.text).map_err(|error| {
        let at = At {
            line: u32::try_from(error.line()).unwrap_or_default(),
            column: u32::try_from(error.column().max(1)).unwrap_or_default(),
            length: 0,
        };
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or(&text);
        file.wrong(at, format!("bad JSON: {message}"), "").help(help)
    })?;
    // Nearly all JSON is YAML, and only the YAML reader tells places.
    Ok(parse(file).unwrap_or(plain.0))
}

#[expect(clippy::cast_possible_truncation, reason = "lines and columns of saphyr are 32 bits wide")]
fn place(location: &serde_saphyr::Location) -> At {
    At {
        line: location.line() as u32,
        column: location.column() as u32,
        length: usize::try_from(location.span().len()).unwrap_or_default(),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Node<true>>::deserialize(deserializer)?;
        Ok(Self { at: place(&spanned.referenced), kind: spanned.value.0 })
    }
}

/// A value of a format that doesn't tell places.
struct Plain(Tree);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node::<false>::deserialize(deserializer).map(|node| Self(Tree { at: At::default(), kind: node.0 }))
    }
}

/// What a value is; `PLACES` tells whether the values in it know where they stand.
struct Node<const PLACES: bool>(Kind);

impl<'de, const PLACES: bool> Deserialize<'de> for Node<PLACES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor::<PLACES>).map(Self)
    }
}

struct NodeVisitor<const PLACES: bool>;

impl<'de, const PLACES: bool> Visitor<'de> for NodeVisitor<PLACES> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Number::from_f64(value).map_or_else(|| Kind::Text(value.to_string()), Kind::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Kind, E> {
        Ok(Kind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = next(&mut items, PLACES)? {
            list.push(item);
        }
        Ok(Kind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kind, A::Error> {
        let mut map: Vec<(Word, Tree)> = Vec::new();
        if PLACES {
            // As it is written: a host may be called `no` or `1.10`.
            while let Some(key) = entries.next_key::<Spanned<String>>()? {
                let at = place(&key.referenced);
                map.push((Word { text: key.value, at }, entries.next_value()?));
            }
        } else {
            while let Some(text) = entries.next_key::<String>()? {
                if map.iter().any(|(word, _)| word.text == text) {
                    return Err(A::Error::custom(format!("duplicate key `{text}`")));
                }
                map.push((Word { text, at: At::default() }, entries.next_value::<Plain>()?.0));
            }
        }
        Ok(Kind::Map(map))
    }
}

fn next<'de, A: SeqAccess<'de>>(items: &mut A, places: bool) -> Result<Option<Tree>, A::Error> {
    if places { items.next_element::<Tree>() } else { Ok(items.next_element::<Plain>()?.map(|plain| plain.0)) }
}
