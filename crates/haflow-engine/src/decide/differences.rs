//! How two values differ, field by field.

use haflow_model::{Change, Value};

/// The fields in which two values differ, in the order of their names.
pub(crate) fn differences(field: String, was: Option<&Value>, want: Option<&Value>, changes: &mut Vec<Change>) {
    match (was, want) {
        (Some(Value::Object(was)), Some(Value::Object(want))) => {
            let mut names: Vec<&String> = was.keys().chain(want.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                differences(path, was.get(name), want.get(name), changes);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(want))) if was != want && is_long(was, want) => {
            elements(&field, was, want, changes);
        }
        (None | Some(Value::Null), Some(Value::Object(want))) if field.is_empty() => {
            for (name, want) in want {
                differences(name.clone(), None, Some(want), changes);
            }
        }
        (was, want) if was == want => {}
        (was, want) => changes.push(Change::Field { field, was: was.cloned(), want: want.cloned() }),
    }
}

/// Whether two lists are better told element by element.
fn is_long(was: &[Value], want: &[Value]) -> bool {
    was.len().max(want.len()) > 8 || was.iter().chain(want).any(|value| value.is_object() || value.is_array())
}

/// The elements in which two lists differ: what goes by its old index, what comes by its new one.
fn elements(field: &str, was: &[Value], want: &[Value], changes: &mut Vec<Change>) {
    let texts = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>();
    let at = |index: usize| format!("{field}[{index}]");
    for op in similar::capture_diff_slices(similar::Algorithm::Myers, &texts(was), &texts(want)) {
        let (tag, old, new) = op.as_tag_tuple();
        if tag == similar::DiffTag::Equal {
            continue;
        }
        let both = old.len().min(new.len());
        for (old, new) in old.clone().zip(new.clone()) {
            differences(at(new), was.get(old), want.get(new), changes);
        }
        for index in old.skip(both) {
            differences(at(index), was.get(index), None, changes);
        }
        for index in new.skip(both) {
            differences(at(index), None, want.get(index), changes);
        }
    }
}
