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
    /// The command with which all begins anew: a run's, or that of a new plan where one is applied.
    pub(crate) anew: String,
    /// Whether a plan is applied.
    pub(crate) planned: bool,
    /// Whether this run can't be resumed.
    pub(crate) fresh: bool,
    /// Whether nothing begins where a task is known to fail.
    pub(crate) all_or_nothing: bool,
}

/// The commands, each on a line of its own so that it can be pasted; the last line is the one that goes on
/// with the run.
pub(super) fn next(story: &Story, state: &State, run: &str, advice: &Advice) -> Option<Page> {
    if state.counts.succeeded() {
        return None;
    }
    let mut page = Page::new(story.options);
    page.blank();
    let say = |page: &mut Page, why: &str, command: &str| {
        page.lines(Tone::Plain, why);
        page.line(&[(Tone::Plain, "    "), (Tone::Strong, command)]);
    };
    if advice.all_or_nothing && state.nothing_began() {
        let why = if advice.planned { "`haflow apply`" } else { "`--all-or-nothing`" };
        page.lines(
            Tone::Plain,
            &format!("nothing was changed: something is known to fail, and with {why} nothing begins then"),
        );
    }
    let run = shell_words::quote(run);
    let tasks = || {
        state.wrong.iter().filter_map(|wrong| match wrong {
            Wrong::Task { task, outcome, .. } => Some((task, outcome)),
            Wrong::Host { .. } => None,
        })
    };
    let failed = tasks().find(|(_, outcome)| matches!(outcome, Outcome::Failed { .. }));
    if let Some((task, _)) = failed {
        say(&mut page, "what is behind the failure:", &format!("haflow why {run} {}", shell_words::quote(&task.id)));
    }
    if advice.fresh {
        say(
            &mut page,
            "the tasks were declared without the facts of hosts that couldn't be reached; once they can be:",
            &advice.anew,
        );
        return Some(page);
    }
    let doubtful: Vec<&str> = tasks()
        .filter(|(task, outcome)| matches!(outcome, Outcome::InDoubt { .. }) && advice.acts.contains(&task.id))
        .map(|(task, _)| task.id.as_str())
        .collect();
    let drifted = tasks().any(|(_, outcome)| matches!(outcome, Outcome::Failed { failure } if failure.drifted));
    if drifted {
        if !doubtful.is_empty() {
            page.lines(Tone::Plain, "nobody knows whether what is in doubt was done: look on the host first");
        }
        // A resumed run is held to the same plan.
        say(&mut page, "things have moved since the plan; make a new one, then `haflow apply new.plan`:", &advice.anew);
        return Some(page);
    }
    if failed.is_some() {
        let what = if advice.planned { "make a new plan" } else { "begin a new run" };
        let why = format!("to change a param or the playbook, {what}; `resume` keeps both:");
        say(&mut page, &why, &advice.anew);
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
    say(&mut page, why, &command);
    Some(page)
}
