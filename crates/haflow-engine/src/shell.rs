//! Text for a POSIX shell.

use haflow_model::Value;

/// `value` as one word of a shell, whatever it holds. A NUL can't be held by a shell and is refused where
/// params are declared.
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

/// A param's value as the text of a shell variable: texts as they are, nothing as empty, lists and maps as
/// compact JSON.
pub(crate) fn variable(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
