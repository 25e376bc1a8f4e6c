//! Rehearses applies: runs the read-only scripts that say why they would fail.

use crate::decide::file::rehearse::{apart, together};
use crate::decide::ready::{Ready, names};
use crate::decide::rehearsed::{Rehearsed, rehearsed};
use crate::decide::seen::Seen;
use crate::decide::{decide, file};
use crate::lane::{Output, Process};
use crate::step::prepared::Prepared;
use haflow_model::{Decision, Thing, Things};
use std::time::Duration;

/// What a rehearsal can call: `fails WORDS [HINT]`, `lacks THING [WORDS [HINT]]`, `reads THING…` (of the
/// reason before it), `unsure WORDS`, `brings THING…`. On one line, so that the shell counts the script's.
const WORDS: &str = concat!(
    // Words of others may have line breaks.
    r#"__haflow_says() { printf '%s ' "$1"; printf '%s' "$2" | tr '\n' '?'; echo; }; "#,
    r#"fails() { __haflow_says fails "$1"; [ -z "${2-}" ] || __haflow_says hint "$2"; }; "#,
    r#"lacks() { __haflow_says lacks "$1"; [ -z "${2-}" ] || __haflow_says says "$2"; "#,
    r#"[ -z "${3-}" ] || __haflow_says hint "$3"; }; "#,
    r#"unsure() { __haflow_says unsure "$1"; }; "#,
    r#"reads() { printf 'reads %s\n' "$@"; }; brings() { printf 'brings %s\n' "$@"; }; "#,
);

/// How long a rehearsal may take, if the task's own timeout isn't less.
pub(super) const MOST: Duration = Duration::from_mins(1);

/// Whether there is something to rehearse about a task of which that was seen: it would be applied, and has a
/// rehearsal that uses nothing that isn't known yet.
pub(crate) fn is_rehearsed(task: &Ready<'_>, seen: &Seen) -> bool {
    if !matches!(decide(task, seen), Decision::Change { .. } | Decision::Act { .. }) {
        return false;
    }
    match task.task.action.rehearsal() {
        Some(rehearsal) => {
            let known = |name: &str| task.params.iter().any(|(known, _)| known == name);
            task.task.params.keys().all(|name| known(name) || !names(&rehearsal.script, name))
        }
        None => task.file().is_some(),
    }
}

/// The rehearsal that a task was declared with.
pub(super) fn own<'a>(task: &'a Ready<'_>) -> Option<Prepared<'a>> {
    let rehearsal = task.task.action.rehearsal()?;
    Some(Prepared {
        text: format!("{WORDS}{}", rehearsal.script).into(),
        variables: task.variables(),
        process: Process::Own,
    })
}

/// The rehearsal of files.
pub(super) fn files<'a>(tasks: impl Iterator<Item = &'a (Ready<'a>, Option<Seen>)>) -> Prepared<'a> {
    let (text, variables) = together(tasks.filter_map(|(task, seen)| match (task.file(), seen) {
        (Some(wanted), Some(Seen::File(seen))) => Some((wanted, seen)),
        _ => None,
    }));
    Prepared { text: text.into(), variables, process: Process::Taught(&file::FUNCTIONS) }
}

/// What the output says of the tasks that were rehearsed by one script.
pub(super) fn interpret<'a>(tasks: impl ExactSizeIterator<Item = &'a Ready<'a>>, output: &Output) -> Vec<Rehearsed> {
    let outputs = apart(output, tasks.len());
    let one = |(task, said): (&Ready<'_>, &Output)| match (task.task.action.rehearsal(), task.file()) {
        (Some(rehearsal), _) => rehearsed(output, &rehearsal.reads),
        (None, Some(wanted)) => rehearsed(said, &Things::these([Thing::new("file", &wanted.file.path)])),
        (None, None) => Rehearsed::default(),
    };
    tasks.zip(&outputs).map(one).collect()
}
