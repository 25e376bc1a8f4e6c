//! The one place where it is decided what is to be done about a task.

pub(crate) mod drift;
pub(crate) mod file;
pub(crate) mod seen;

use crate::cut;
use crate::decide::seen::{Known, Seen};
use haflow_model::{
    Act, Action, Change, Content, Decision, Diff, Edit, Ensure, File, FileState, NodeId, Param, Task, Test, Value, When,
};
use zeroize::Zeroize;

/// A task whose params and outputs are known.
#[derive(Debug, Clone)]
pub(crate) struct Ready<'t> {
    /// The task as it was declared.
    pub(crate) task: &'t Task,
    /// Its params, in the order of their names.
    pub(crate) params: Vec<(String, Known)>,
    /// Its `want`, or its content.
    pub(crate) want: Option<Known>,
    /// The same params for a jq filter.
    pub(crate) values: Values,
    /// The id of the task whose output its `want` will be, where that isn't known yet: in a plan only.
    pub(crate) later: Option<String>,
}

/// Shell variables. Gone from memory when they are dropped, since some may be secrets.
#[derive(Clone)]
pub(crate) struct Variables(pub(crate) Vec<(String, String)>);

impl Drop for Variables {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// Params for a jq filter. Gone from memory when they are dropped, since some may be secrets.
#[derive(Clone)]
pub(crate) struct Values(pub(crate) Vec<(String, Value)>);

impl Values {
    fn of(params: &[(String, Known)]) -> Self {
        Self(params.iter().map(|(name, known)| (name.clone(), known.value())).collect())
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl<'t> Ready<'t> {
    /// Puts what is known in the place of outputs; the first output that isn't known is the error.
    pub(crate) fn new<E>(task: &'t Task, mut known: impl FnMut(&Param) -> Result<Known, E>) -> Result<Self, E> {
        let params =
            task.params.iter().map(|(name, param)| Ok((name.clone(), known(param)?))).collect::<Result<Vec<_>, E>>()?;
        let want = task.wanted().map(known).transpose()?;
        let values = Values::of(&params);
        Ok(Self { task, params, want, values, later: None })
    }

    /// The same where outputs aren't known yet: enough to look at the task's thing, if its probe doesn't use them. `id` names
    /// tasks.
    pub(crate) fn without(
        task: &'t Task,
        mut known: impl FnMut(&Param) -> Result<Known, NodeId>,
        id: impl Fn(NodeId) -> String,
    ) -> Option<Self> {
        let named = |text: &str, name: &str| {
            let ways = ["$", "${", "${#"].map(|sign| format!("{sign}{name}"));
            // In arithmetic a name alone is enough.
            ways.iter().any(|way| text.contains(way)) || text.contains("$((") && text.contains(name)
        };
        let uses = |name: &str| match &task.action {
            Action::Ensure(Ensure { probe, .. }) => {
                named(&probe.script, name) || probe.jq.as_ref().is_some_and(|filter| named(filter, name))
            }
            Action::File(File { state: FileState::Content(Content::Edit(Edit::Filter(filter))), .. }) => {
                named(filter, name)
            }
            // An own edit uses all of its params. An act has nothing to look at, a gate waits anyway, and a
            // read must be right.
            Action::File(File { state: FileState::Content(Content::Edit(Edit::Own(_))), .. })
            | Action::Act(_)
            | Action::Gate(_)
            | Action::Read(_) => true,
            Action::File(_) => false,
        };
        let mut params = Vec::new();
        for (name, param) in &task.params {
            match known(param) {
                Ok(value) => params.push((name.clone(), value)),
                Err(_) if !uses(name) => {}
                Err(_) => return None,
            }
        }
        let (want, later) = match task.wanted().map(known).transpose() {
            Ok(want) => (want, None),
            Err(source) => (None, Some(id(source))),
        };
        let values = Values::of(&params);
        Some(Self { task, params, want, values, later })
    }

    /// The shell variables of the task's scripts.
    pub(crate) fn variables(&self) -> Variables {
        Variables(self.params.iter().map(|(name, known)| (name.clone(), known.variable())).collect())
    }

    /// Whether the state is JSON rather than text.
    pub(crate) fn structured(&self) -> bool {
        matches!(&self.want, Some(Known::Plain(value)) if !value.is_string())
    }

    /// The file that a file task wants.
    pub(crate) fn file(&self) -> Option<file::Wanted<'_>> {
        match &self.task.action {
            Action::File(file) => Some(file::Wanted {
                file,
                kind: &self.task.kind,
                content: self.want.as_ref(),
                params: &self.values.0,
                secret: file.secret || self.params.iter().any(|(_, known)| matches!(known, Known::Secret(_))),
            }),
            _ => None,
        }
    }
}

/// What is to be done about `task`, seen from the state of its host. Plan and execute both ask here.
pub(crate) fn decide(task: &Ready<'_>, seen: &Seen) -> Decision {
    if let Some(source) = &task.later {
        return decide_without_want(task, seen, source);
    }
    match (&task.task.action, seen) {
        (Action::File(_), Seen::File(seen)) => match task.file() {
            Some(wanted) => wanted.decide(seen),
            None => Decision::UpToDate,
        },
        (Action::Ensure(_) | Action::Gate(_), Seen::Value(state)) => compare(state, task.want.as_ref()),
        (Action::Act(act), _) => always_runs(act),
        // What is read is an output, not a difference.
        _ => Decision::UpToDate,
    }
}

/// An act runs, whatever there is.
pub(crate) fn always_runs(act: &Act) -> Decision {
    Decision::Act { reason: format!("always runs: {}", act.reason) }
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
