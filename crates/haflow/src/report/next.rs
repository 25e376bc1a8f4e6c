//! What to type next, where a run didn't do all that it is for.

use super::page::{Page, Tone};
use super::state::{State, Wrong};
use super::story::Story;
use haflow_model::Outcome;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What the events don't say and is needed to say how a run goes on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advice {
    /// The ids of the tasks of which only a person can tell whether they were done.
    pub(crate) acts: BTreeSet<String>,
    /// The command of a new run, and that of a plan.
    pub(crate) run: String,
    pub(crate) plan: String,
    /// Whether this run can't be resumed.
    pub(crate) fresh: bool,
}

/// The commands, each on a line of its own so that it can be pasted; the last line is the one that goes on
/// with the run.
pub(super) fn next(story: &Story, state: &State, run: &str, advice: &Advice) -> Option<Page> {
    if state.counts.succeeded() {
        return None;
    }
    let mut page = Page::new(story.look);
    page.blank();
    let mut say = |why: &str, command: &str| {
        page.lines(Tone::Plain, why);
        page.line(&[(Tone::Plain, "    "), (Tone::Strong, command)]);
    };
    let run = shell_words::quote(run);
    let tasks = || {
        state.wrong.iter().filter_map(|wrong| match wrong {
            Wrong::Task { task, outcome, .. } => Some((task, outcome)),
            Wrong::Host { .. } => None,
        })
    };
    let failed = tasks().find(|(_, outcome)| matches!(outcome, Outcome::Failed { .. }));
    if let Some((task, _)) = failed {
        say("what is behind the failure:", &format!("haflow why {run} {}", shell_words::quote(&task.id)));
    }
    if advice.fresh {
        say(
            "the tasks were declared without the facts of hosts that couldn't be reached; once they can be:",
            &advice.run,
        );
        return Some(page);
    }
    let doubtful: Vec<&str> = tasks()
        .filter(|(task, outcome)| matches!(outcome, Outcome::InDoubt { .. }) && advice.acts.contains(&task.id))
        .map(|(task, _)| task.id.as_str())
        .collect();
    let drifted = tasks().any(|(_, outcome)| matches!(outcome, Outcome::Failed { failure } if failure.drifted));
    if drifted && doubtful.is_empty() {
        // A resumed run is held to the same plan.
        say("things have moved since the plan; make a new one, and apply that:", &format!("{} -o FILE", advice.plan));
        return Some(page);
    }
    if failed.is_some() {
        say("to change a param or the playbook, begin a new run; `resume` keeps both:", &advice.run);
    }
    let mut command = format!("haflow resume {run}");
    for task in &doubtful {
        let _ = write!(command, " --again {}", shell_words::quote(task));
    }
    let why = if !doubtful.is_empty() {
        "nobody knows whether what is in doubt was done: look on the host; then `--again` does it once more, and \
         `--done` in its place takes it for done:"
    } else if failed.is_some() {
        "to go on, once that is mended:"
    } else if state.counts.unreachable > 0 && !state.interrupted {
        "to go on, once the hosts can be reached:"
    } else {
        "to go on:"
    };
    say(why, &command);
    Some(page)
}
