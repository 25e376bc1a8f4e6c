//! Rehearses applies: runs the read-only scripts that say why they would fail.

use crate::decide::file;
use crate::decide::file::rehearse::{apart, together};
use crate::decide::ready::{Ready, names};
use crate::decide::rehearsed::{Rehearsed, WORDS, rehearsed};
use crate::decide::seen::Seen;
use crate::lane::{Output, Process};
use crate::step::prepared::Prepared;
use crate::step::trouble::Trouble;
use haflow_model::Things;

/// Whether a task has a rehearsal, and one that uses nothing that isn't known yet.
pub(crate) fn has_rehearsal(task: &Ready<'_>) -> bool {
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
        text: format!("{}{}", *WORDS, rehearsal.script).into(),
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

/// What is known where a rehearsal didn't come to its end.
pub(super) fn not_run(trouble: &Trouble) -> Rehearsed {
    let why = match trouble {
        Trouble::Failed(failure) => &failure.message,
        Trouble::Unreachable(error) => &error.message,
        Trouble::Lost(why) | Trouble::Gone(why) => why,
        Trouble::Killed(_) | Trouble::Closed | Trouble::NotKept => return Rehearsed::default(),
    };
    Rehearsed { unsure: Some(format!("its rehearsal couldn't be run: {why}")), ..Rehearsed::default() }
}

/// What the output says of the tasks that were rehearsed by one script.
pub(super) fn interpret<'a>(tasks: impl ExactSizeIterator<Item = &'a Ready<'a>>, output: &Output) -> Vec<Rehearsed> {
    let outputs = apart(output, tasks.len());
    let one = |(task, said): (&Ready<'_>, &Output)| match task.task.action.rehearsal() {
        Some(rehearsal) => rehearsed(output, &rehearsal.reads),
        // It says what it reads.
        None => rehearsed(said, &Things::these([])),
    };
    tasks.zip(&outputs).map(one).collect()
}
