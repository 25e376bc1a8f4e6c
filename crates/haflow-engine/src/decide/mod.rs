//! The one place where it is decided what is to be done about a task.

mod differences;
mod digest;
pub(crate) mod drift;
pub(crate) mod failure;
pub(crate) mod file;
pub(crate) mod in_words;
pub(crate) mod known;
pub(crate) mod ready;
pub(crate) mod rehearsed;
pub(crate) mod seen;
pub(crate) mod when;

use crate::cut;
use crate::decide::differences::differences;
use crate::decide::known::Known;
use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use haflow_model::{Action, Change, Decision, Diff, FileState, Task, Value};

/// What is to be done about `task`, seen from the state of its host. Plan and execute both ask here.
pub(crate) fn decide(task: &Ready<'_>, seen: &Seen) -> Decision {
    if let Some(source) = &task.later {
        return decide_without_want(task, seen, source);
    }
    match &task.task.action {
        Action::File(_) => match (task.file(), seen) {
            (Some(wanted), Seen::File(seen)) => wanted.decide(seen),
            _ => unreachable!("a file's look shows a file"),
        },
        Action::Ensure(_) | Action::Gate(_) => match seen {
            Seen::Value(state) => compare(state, task.want.as_ref()),
            Seen::File(_) | Seen::Nothing => unreachable!("a probe shows a value"),
        },
        Action::Act(act) => always_runs(&act.reason),
        // What is read is an output, not a difference.
        Action::Read(_) => Decision::UpToDate,
    }
}

/// What is to be done about what runs whatever there is.
pub(crate) fn always_runs(reason: &str) -> Decision {
    Decision::Act { reason: format!("always runs: {reason}") }
}

/// What can be told where what is wanted is an output that isn't known yet: whatever it is, it isn't nothing.
fn decide_without_want(task: &Ready<'_>, seen: &Seen, source: &str) -> Decision {
    let changes = match seen {
        Seen::File(seen) => task.file().and_then(|wanted| wanted.made_new(seen, source)),
        Seen::Value(Value::Null) => Some(vec![Change::Later { field: String::new(), output_of: source.into() }]),
        Seen::Value(Value::String(text)) if text.is_empty() => {
            Some(vec![Change::Later { field: String::new(), output_of: source.into() }])
        }
        Seen::Value(_) | Seen::Nothing => None,
    };
    match changes {
        Some(changes) => Decision::Change { diff: Diff(changes) },
        None => Decision::Unknown {
            because: source.into(),
            why: "what is wanted is its output, which is known only once that has run".into(),
        },
    }
}

fn compare(state: &Value, want: Option<&Known>) -> Decision {
    let (want, secret) = match want {
        Some(Known::Plain(want)) => (want.clone(), false),
        Some(Known::Secret(secret)) => (Value::from(secret.expose()), true),
        None => return Decision::UpToDate,
    };
    if *state == want {
        return Decision::UpToDate;
    }
    let mut changes = Vec::new();
    if secret {
        changes.push(Change::Secret { field: String::new() });
    } else {
        differences(String::new(), Some(state), Some(&want), &mut changes);
    }
    Decision::Change { diff: Diff(cut::changes(changes)) }
}

/// Whether what was seen of a task may be acted on although something has changed since: it must lead to an
/// apply that makes sure that it still holds. Only a file's does.
pub(crate) fn outlives_changes(task: &Ready<'_>, seen: &Seen) -> bool {
    is_content(task.task) && matches!(decide(task, seen), Decision::Change { .. })
}

/// Whether it is a file with a content.
pub(crate) fn is_content(task: &Task) -> bool {
    matches!(&task.action, Action::File(file) if matches!(file.state, FileState::Content(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_names_its_field() {
        let state = json!({"enabled": true, "nested": {"mode": "ram", "same": 1}, "extra": 1});
        let want = Known::Plain(json!({"enabled": false, "nested": {"mode": "disc", "same": 1}}));
        let Decision::Change { diff } = compare(&state, Some(&want)) else { panic!("there is a difference") };
        let fields: Vec<_> = diff
            .0
            .iter()
            .map(|change| match change {
                Change::Field { field, was, want } => (field.as_str(), was.is_some(), want.is_some()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(fields, [("enabled", true, true), ("extra", true, false), ("nested.mode", true, true)]);
    }

    #[test]
    fn a_secret_that_differs_is_not_shown() {
        let want = Known::Secret(haflow_model::Secret::new("hunter2"));
        let decision = compare(&json!("hunter1"), Some(&want));
        assert!(!serde_json::to_string(&decision).unwrap().contains("hunter"));
        assert_eq!(compare(&json!("hunter2"), Some(&want)), Decision::UpToDate);
    }
}
