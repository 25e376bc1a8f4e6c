//! Holds a run to the plan that it applies: a task acts only as was planned, on the state that was planned
//! from.

use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use haflow_model::{Change, Decision, Failure, Planned, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

/// Whether a task may go on as it is `now`, by what was planned.
pub(crate) fn check(
    salt: &str,
    planned: &Planned,
    task: &Ready<'_>,
    seen: &Seen,
    now: &Decision,
) -> Result<(), Box<Failure>> {
    let was = &planned.decision;
    match was {
        // It couldn't be told, and the plan said so.
        Decision::Unknown { .. } => return Ok(()),
        Decision::Act { .. } if task.task.action.always_runs().is_some() => return Ok(()),
        // Nothing was to be done, and nothing is: whatever else has moved isn't the task's.
        Decision::UpToDate if matches!(now, Decision::UpToDate) && task.task.action.reads().is_none() => {
            return Ok(());
        }
        // Its turn came after all: the state is of no matter.
        Decision::Skipped { .. } if !matches!(now, Decision::UpToDate) => {
            return stop(format!("the plan doesn't have this change: {}", moved(was, now)));
        }
        _ => {}
    }
    if planned.assumed.is_some() {
        let announced = matches!(was, Decision::Change { .. } | Decision::Act { .. });
        if announced || matches!(now, Decision::UpToDate) {
            return Ok(());
        }
        return stop(format!("the plan doesn't have this change: {}", moved(was, now)));
    }
    let same = match (&planned.state, seen.digest(salt, task)) {
        (Some(was), Some(now)) => *was == now,
        _ => match (was, now) {
            (Decision::Change { diff: was }, Decision::Change { diff: now }) => was == now,
            (was, now) => discriminant(was) == discriminant(now),
        },
    };
    if same { Ok(()) } else { stop(format!("drifted since the plan: {}", moved(was, now))) }
}

/// What would fail now, and wouldn't when the plan was made.
pub(crate) fn into_failing(planned: &Planned, failure: Failure) -> Failure {
    if planned.assumed.is_some() || matches!(planned.decision, Decision::Failed { .. } | Decision::Unknown { .. }) {
        return failure;
    }
    Failure { message: format!("drifted since the plan: {}", failure.message), drifted: true, ..failure }
}

fn stop(message: String) -> Result<(), Box<Failure>> {
    let hint = Some("nothing was done about it; look at it, then plan again".into());
    Err(Box::new(Failure { message, hint, drifted: true, ..Failure::default() }))
}

/// What was seen when the plan was made and what is seen now, field by field.
pub(crate) fn moved(was: &Decision, now: &Decision) -> String {
    let (before, after) = (fields(was), fields(now));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told: Vec<String> = names
        .into_iter()
        .filter(|name| before.get(*name).map(|field| &field.there) != after.get(*name).map(|field| &field.there))
        .map(|name| {
            // What isn't among the differences is as it is wanted.
            let there = |one: Option<&Field>, other: Option<&Field>| match (one, other) {
                (Some(field), _) => field.there.clone(),
                (None, Some(Field { wanted: Some(wanted), .. })) => format!("{wanted}, as wanted"),
                (None, _) => "as wanted".into(),
            };
            let (one, other) = (before.get(name), after.get(name));
            let name = if name.is_empty() { "it" } else { name };
            format!("{name} was {}, is {}", there(one, other), there(other, one))
        })
        .collect();
    match (told.is_empty(), was, now) {
        (_, _, Decision::Failed { failure }) => failure.message.clone(),
        (false, ..) => told.join("; "),
        (true, Decision::Skipped { why }, _) => format!("it was to be skipped ({why}), and now would act"),
        (true, ..) => "its state is another one now".into(),
    }
}

/// One field of a difference.
struct Field {
    there: String,
    /// What is wanted, where that is short.
    wanted: Option<String>,
}

/// What there is of each field that isn't as it is wanted.
fn fields(decision: &Decision) -> BTreeMap<String, Field> {
    let Decision::Change { diff } = decision else { return BTreeMap::new() };
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    let only = |there: String| Field { there, wanted: None };
    let one = |change: &Change| match change {
        Change::Field { field, was, want } => (field.clone(), Field { there: value(was), wanted: Some(value(want)) }),
        Change::Text { unified } => {
            let there: Vec<&str> = unified.lines().filter_map(|line| line.strip_prefix('-')).collect();
            let there = match there[..] {
                [] => "less than what is wanted".to_owned(),
                _ => format!("`{}`", there.join("`, `")),
            };
            ("content".into(), only(there))
        }
        Change::Opaque { was, .. } => {
            let there = was.as_ref().map(|(bytes, digest)| format!("{bytes} bytes, sha256 {digest}…"));
            ("content".into(), only(there.unwrap_or_else(|| "nothing".into())))
        }
        Change::Later { field, .. } => (field.clone(), only("nothing".into())),
        Change::Secret { field } => (field.clone(), only("another secret".into())),
    };
    diff.0.iter().map(one).collect()
}
