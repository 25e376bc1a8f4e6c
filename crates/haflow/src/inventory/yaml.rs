//! YAML and JSON text → values with places.

use super::file::{At, File, Word};
use super::tree::{Kind, Tree};
use haflow_model::Diagnostic;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::Spanned;
use serde_saphyr::options::NonFiniteFloatPolicy;
use std::fmt;

/// Reads YAML as Ansible does, whose reader goes by YAML 1.1: `yes` is true, `0644` is octal, `1e3` is a
/// text.
pub(super) fn parse(file: &File) -> Result<Tree, Diagnostic> {
    let mut tree = parse_places(file)?;
    scalars(&mut tree, &|at, kind| of_plain(file.text_at(at)?, kind));
    Ok(tree)
}

/// Makes something else of scalars where `other` says so.
fn scalars(tree: &mut Tree, other: &impl Fn(At, &Kind) -> Option<Kind>) {
    match &mut tree.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| scalars(item, other)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| scalars(value, other)),
        kind => {
            if let Some(other) = other(tree.at, kind) {
                *kind = other;
            }
        }
    }
}

/// What a plain scalar is by YAML 1.1, as `PyYAML` reads it (its `resolver.py`), but that `22:30` stays a
/// text. `None` where it isn't plain.
fn of_plain(raw: &str, read: &Kind) -> Option<Kind> {
    let raw = raw.trim_end();
    if raw.starts_with(['\'', '"', '|', '>', '!', '*', '&', '[', '{']) || raw.contains(['\n', '#']) {
        return None;
    }
    // A text that was folded, or of which more is there than its place tells.
    if matches!(read, Kind::Text(text) if text != raw && !matches!(text.as_str(), "inf" | "-inf" | "NaN")) {
        return None;
    }
    let digits = raw.strip_prefix(['-', '+']).unwrap_or(raw);
    let sign = if raw.starts_with('-') { "-" } else { "" };
    let all = |text: &str, these: fn(&char) -> bool| !text.is_empty() && text.chars().all(|c| c == '_' || these(&c));
    let whole = |text: &str, radix: u32| {
        let text = format!("{sign}{}", text.replace('_', ""));
        let number = i64::from_str_radix(&text, radix).map(Number::from);
        let number = number.or_else(|_| u64::from_str_radix(&text, radix).map(Number::from));
        // A number that would lose digits stays as it is written.
        Some(number.map_or_else(|_| Kind::Text(raw.to_owned()), Kind::Number))
    };
    match raw {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Kind::Null),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Some(Kind::Bool(true)),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Some(Kind::Bool(false)),
        "0" => return whole("0", 10),
        _ => {}
    }
    if let Some(binary) = digits.strip_prefix("0b").filter(|text| all(text, |c| matches!(c, '0' | '1'))) {
        return whole(binary, 2);
    }
    if let Some(hex) = digits.strip_prefix("0x").filter(|text| all(text, char::is_ascii_hexdigit)) {
        return whole(hex, 16);
    }
    if let Some(octal) = digits.strip_prefix('0').filter(|text| all(text, |c| matches!(c, '0'..='7'))) {
        return whole(octal, 8);
    }
    if digits.starts_with(|c: char| matches!(c, '1'..='9')) && all(digits, char::is_ascii_digit) || digits == "0" {
        return whole(digits, 10);
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "+0"));
    let signed = exponent
        .strip_prefix(['-', '+'])
        .is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let is_float = signed
        && mantissa.split_once('.').is_some_and(|(before, after)| {
            let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '_');
            digits(before)
                && digits(after)
                && !before.starts_with('_')
                && (!before.is_empty() || after.starts_with(|c: char| c.is_ascii_digit()))
        });
    let float = is_float.then(|| raw.replace('_', "").parse::<f64>().ok().and_then(Number::from_f64)).flatten();
    Some(float.map_or_else(|| Kind::Text(raw.to_owned()), Kind::Number))
}

fn parse_places(file: &File) -> Result<Tree, Diagnostic> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    };
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
    let mut tree = parse_places(file).unwrap_or(plain.0);
    scalars(&mut tree, &|at, kind| match kind {
        Kind::Number(number) if number.is_f64() => {
            let raw = file.text_at(at)?;
            let whole = raw.strip_prefix('-').unwrap_or(raw).bytes().all(|byte| byte.is_ascii_digit());
            // A number that would lose digits stays as it is written.
            whole.then(|| Kind::Text(raw.to_owned()))
        }
        _ => None,
    });
    Ok(tree)
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
        // A scalar is what is written where it is defined: an alias has another text.
        let at = match spanned.value.0 {
            Kind::List(_) | Kind::Map(_) => place(&spanned.referenced),
            _ => place(&spanned.defined),
        };
        Ok(Self { at, kind: spanned.value.0 })
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
