//! Failures and differences in a line.

use crate::cut;
use haflow_model::{Change, Diff, Failure, Value};

/// A failure and the last thing that was said.
pub(crate) fn in_a_line(failure: &Failure) -> String {
    match failure.stderr.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{} ({})", failure.message, line.trim()),
        None => failure.message.clone(),
    }
}

/// Which fields differ, in a line.
pub(crate) fn differing(diff: &Diff) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    let one = |change: &Change| match change {
        Change::Field { field, was, want } if field.is_empty() => format!("it is {}, not {}", value(was), value(want)),
        Change::Field { field, was, want } => format!("{field} is {}, not {}", value(was), value(want)),
        Change::Later { field, output_of } => format!("{field} will be the output of {output_of}"),
        Change::Text { .. } | Change::Opaque { .. } => "the content differs".into(),
        Change::Secret { field } if field.is_empty() => "the secret differs".into(),
        Change::Secret { field } => format!("{field} differs"),
    };
    cut::beginning(&diff.0.iter().map(one).collect::<Vec<_>>().join("; "), cut::MOST_SAID)
}
