//! What a run that is resumed knows of its tasks from before.

use haflow_model::{Course, Done, Outcome, REDACTED, Task, Value};
use std::collections::BTreeMap;

/// What is known of a task that was begun.
#[derive(Debug, Clone, PartialEq)]
pub enum Past {
    /// It ended so, with what it put out: it isn't run again. A read whose output wasn't kept is.
    Ended {
        /// Ok or changed.
        outcome: Outcome,
        /// What it read or printed, where that may be kept.
        output: Option<Value>,
    },
    /// It was being applied, and that failed or was killed.
    Tried {
        /// Which attempt is the next, from 1.
        attempt: u32,
    },
    /// It was being applied, and nobody knows what came of it.
    InDoubt {
        /// Under which id its result is kept on the host, if it is.
        step: Option<String>,
        /// Which attempt that was, from 1.
        attempt: u32,
        /// When that began, in milliseconds since 1970-01-01 UTC.
        at: u64,
        /// Whether the user says that it may be done once more.
        again: bool,
    },
}

/// What is known of tasks, by their ids. Those that nothing was done about aren't there.
pub fn past(courses: &BTreeMap<&str, Course<'_>>) -> BTreeMap<String, Past> {
    let of = |(task, course): (&&str, &Course<'_>)| {
        let past = match course.done {
            Done::Nothing => return None,
            Done::Tried { attempt } => Past::Tried { attempt },
            Done::Open { step, attempt, at } => {
                Past::InDoubt { step: step.map(str::to_owned), attempt, at, again: false }
            }
            Done::Well { outcome, output } => {
                Past::Ended { outcome: outcome.clone(), output: output.filter(|output| !is_redacted(output)).cloned() }
            }
        };
        Some(((*task).to_owned(), past))
    };
    courses.iter().filter_map(of).collect()
}

/// Whether a secret was taken out of it.
fn is_redacted(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(REDACTED),
        Value::Array(items) => items.iter().any(is_redacted),
        Value::Object(map) => map.values().any(is_redacted),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Why it isn't known whether a task that can't be probed must be done once more, where that is so.
pub(crate) fn in_doubt(task: &Task, past: Option<&Past>, run: &str) -> Option<String> {
    task.action.always_runs()?;
    let why = match past? {
        Past::Tried { .. } | Past::InDoubt { again: true, .. } => return None,
        Past::InDoubt { .. } => "it was cut off while it was being applied, and whether it was done can't be probed",
        Past::Ended { .. } => {
            "it was done before the run died, and what it printed, which others use, held a secret and wasn't kept"
        }
    };
    let id = task.id();
    let id = shell_words::quote(&id);
    Some(format!(
        "{why}: look on the host, then `haflow resume {run} --again {id}`, or `--done {id}` if it was done and \
         nothing uses its output"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use haflow_model::{Record, courses};

    fn record(event: &str, more: &str) -> Record {
        let task = r#""task":"a/act:x","host":"a","kind":"act","name":"x","place":{"file":"p","line":1,"column":1}"#;
        let more = if more.is_empty() { String::new() } else { format!(",{more}") };
        let text = format!(r#"{{"at":1,"event":"{event}",{task}{more}}}"#);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn attempts_are_counted_across_deaths() {
        let begun = |attempt: u32| record("apply_started", &format!(r#""attempt":{attempt},"step":"s""#));
        let retried =
            |attempt: u32| record("task_retried", &format!(r#""attempt":{attempt},"of":3,"pause_ms":1,"why":"w""#));
        let failed = || record("task_finished", r#""outcome":"failed","failure":{"message":"m"},"took_ms":1"#);
        let next = |records: &[Record]| past(&courses(records))["a/act:x"].clone();
        assert_eq!(next(&[begun(1), retried(1), begun(2), retried(2)]), Past::Tried { attempt: 3 });
        // Interrupted in the pause.
        assert_eq!(next(&[begun(1), retried(1), failed()]), Past::Tried { attempt: 2 });
        // It had all that it may have.
        assert_eq!(next(&[begun(1), retried(1), begun(2), failed()]), Past::Tried { attempt: 1 });
        assert!(matches!(next(&[begun(1), retried(1), begun(2)]), Past::InDoubt { attempt: 2, .. }));
    }

    #[test]
    fn only_steps_whose_ends_were_told_need_no_result() {
        let begun = |step: &str| record("apply_started", &format!(r#""attempt":1,"step":"{step}""#));
        let ended = |outcome: &str| record("task_finished", &format!(r#""outcome":{outcome},"took_ms":1"#));
        let retried = record("task_retried", r#""attempt":1,"of":2,"pause_ms":1,"why":"w""#);
        for (end, told) in [
            (r#""ok""#, true),
            (r#""changed","diff":[]"#, true),
            (r#""failed","failure":{"message":"m"}"#, true),
            // All of these leave it in doubt, as `past` has it.
            (r#""in_doubt","why":"w""#, false),
            (r#""cancelled""#, false),
            (r#""skipped","why":"w","because":null"#, false),
            (r#""unreachable","why":"w""#, false),
        ] {
            let records = [begun("one"), retried.clone(), begun("two"), ended(end)];
            let expected = if told { vec!["one", "two"] } else { vec!["one"] };
            let courses = courses(&records);
            assert_eq!(courses["a/act:x"].ended_steps, expected, "{end}");
            let in_doubt = matches!(past(&courses)["a/act:x"], Past::InDoubt { .. });
            assert_eq!(in_doubt, !told, "{end}");
        }
        assert!(courses(&[begun("one")])["a/act:x"].ended_steps.is_empty());
    }

    #[test]
    fn what_was_seen_not_to_be_done_has_no_past() {
        let begun = || record("apply_started", r#""attempt":1"#);
        let ended = |outcome: &str| record("task_finished", &format!(r#""outcome":{outcome},"took_ms":1"#));
        let drifted = r#""failed","failure":{"message":"m","drifted":true}"#;
        for end in [drifted, r#""cancelled""#, r#""skipped","why":"w","because":null"#] {
            assert_eq!(past(&courses(&[begun(), ended(end)])).get("a/act:x"), None, "{end}");
        }
        let resumed = record("task_started", "");
        let in_doubt = past(&courses(&[begun(), resumed, ended(r#""cancelled""#)]))["a/act:x"].clone();
        assert!(matches!(in_doubt, Past::InDoubt { .. }), "what it was before is open: {in_doubt:?}");
    }
}
