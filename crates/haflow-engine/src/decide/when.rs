//! Whether an output lets a task run: `when`.

use crate::cut;
use crate::decide::known::Known;
use haflow_model::{Test, Value, When};

/// Whether an output passes a `when`; the reason if it doesn't.
pub(crate) fn passes(when: &When, output: &Known) -> Result<(), String> {
    let value = output.value();
    let holds = match &when.test {
        Test::Equals(other) => value == *other,
        Test::Contains(part) => match (&value, part) {
            (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
            (Value::Array(items), part) => items.contains(part),
            (Value::Object(map), Value::String(key)) => map.contains_key(key),
            _ => false,
        },
        // A number matches by its digits.
        Test::Matches(pattern) => {
            regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(&crate::shell::variable(&value)))
        }
        Test::IsEmpty => match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        },
    };
    if holds != when.negate {
        return Ok(());
    }
    let shown = match output {
        Known::Plain(value) => cut::beginning(&value.to_string(), cut::MOST_SAID),
        Known::Secret(secret) => secret.to_string(),
    };
    let not = if when.negate { "not " } else { "" };
    Err(match &when.test {
        Test::Equals(other) => format!("{shown} doesn't hold for: {not}equals {other}"),
        Test::Contains(part) => format!("{shown} doesn't hold for: {not}contains {part}"),
        Test::Matches(pattern) => format!("{shown} doesn't hold for: {not}matches /{pattern}/"),
        Test::IsEmpty => format!("{shown} doesn't hold for: {not}is empty"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tests_on_outputs() {
        let output = haflow_model::OutputRef { task: haflow_model::NodeId(0), secret: false };
        for (test, value, holds) in [
            (Test::Equals(json!("a")), json!("a"), true),
            (Test::Contains(json!("b")), json!("abc"), true),
            (Test::Contains(json!(2)), json!([1, 2]), true),
            (Test::Contains(json!("k")), json!({"k": 1}), true),
            (Test::Matches("^3\\.".into()), json!("3.10.8"), true),
            (Test::Matches("^4\\.".into()), json!("3.10.8"), false),
            (Test::Matches("^9".into()), json!(90), true),
            (Test::IsEmpty, json!([]), true),
            (Test::IsEmpty, json!(false), false),
        ] {
            for negate in [false, true] {
                let when = When { output, test: test.clone(), negate };
                assert_eq!(passes(&when, &Known::Plain(value.clone())).is_ok(), holds != negate, "{when:?} {value}");
            }
        }
    }
}
