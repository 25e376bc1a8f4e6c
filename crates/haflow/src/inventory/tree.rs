//! Values that know where they stand, as TOML, YAML and JSON give them.

use super::file::{At, Word};
use haflow_model::Value;
use serde_json::Number;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) at: At,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    /// In the order of the file; no key twice.
    Map(Vec<(Word, Tree)>),
}

impl Tree {
    /// What the value is called in a message.
    pub(super) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(number) if number.is_f64() => "a number with a fraction",
            Kind::Number(_) => "a whole number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// The value without its places.
    pub(super) fn value(self) -> Value {
        match self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(value),
            Kind::Number(value) => Value::Number(value),
            Kind::Text(value) => Value::String(value),
            Kind::List(items) => Value::Array(items.into_iter().map(Self::value).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.into_iter().map(|(key, value)| (key.text, value.value())).collect())
            }
        }
    }
}
