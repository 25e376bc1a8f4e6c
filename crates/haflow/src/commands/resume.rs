use super::options::{Others, Output};
use super::run;
use crate::error::Error;
use crate::exit::Exit;
use crate::journal::{self, Input, Journal, KeptRun};
use crate::secrets::marks::Marks;
use crate::session::{HostKeys, Session};
use clap::Args;
use haflow_engine::{Past, Settings};
use haflow_model::{Diff, Event, Outcome, Record, Secrets, Task, nearest};
use haflow_script::Unreached;
use std::collections::{BTreeMap, BTreeSet};

const EXAMPLE: &str = "\
For example:
    haflow runs
    haflow resume
    haflow resume 20261122-2107 --again 'db1/act:migrate'";

/// Go on with a run that died, was stopped, or failed.
///
/// The same tasks are declared again, from what was recorded. What ended well isn't done again. What was
/// under way is in doubt: it is looked at, and what a finished task would have triggered acts. Where the
/// playbook has changed since, nothing is done: a new run takes the playbook as it is now.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Resume {
    /// The run's id, or a part of it that no other has; the last run if not given
    run: Option<String>,
    /// This task, of which nobody knows whether it was done, was done
    #[arg(long, value_name = "TASK")]
    done: Vec<String>,
    /// This task, of which nobody knows whether it was done, is done again
    #[arg(long, value_name = "TASK")]
    again: Vec<String>,
    /// Begin tasks that destroy something although it is known that another one will fail
    #[arg(long)]
    destroy_anyway: bool,
    #[command(flatten)]
    keys: HostKeys,
    #[command(flatten)]
    others: Others,
    #[command(flatten)]
    output: Output,
}

impl Resume {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let kept = journal::find(self.run.as_deref())?;
        let run = kept.run.clone();
        let Some(mut journal) = Journal::reopen(kept.journal())? else {
            return Err(Error::Busy { message: format!("run {run} is still under way") });
        };
        // What can't be read in the middle isn't taken for done because of its end.
        let mut input = kept.input()?;
        input.asked.keys = self.keys;
        let mut events = kept.events()?;
        let used = input.used();
        let records = events.rest(|record| without_the_unused(record, used.as_ref()))?;
        if kept.ended()?.is_some_and(|counts| counts.succeeded()) {
            eprintln!("run {run} has ended, and everything that it was for is done");
            return Ok(Exit::Done);
        }
        let courses = haflow_model::courses(&records);
        let mut past = haflow_engine::past(&courses);
        self.decided(&mut past)?;
        let session = declare(&kept, &input)?;
        let mut secrets = Secrets::default();
        session.secrets(&mut secrets)?;
        same_secrets(&kept, &input, &secrets)?;
        self.others.lock_again(&session, &run)?;
        for (_, task) in session.declared.graph.tasks() {
            for step in courses.get(&*task.id()).into_iter().flat_map(|course| &course.ended_steps) {
                session.hosts.left(&task.host, task.user.as_deref(), step);
            }
        }
        journal.go_on(events.end, &self.said(&session))?;
        eprintln!("resuming run {run} of {}", input.made.strftime("%Y-%m-%d %H:%M:%S UTC"));
        let settings = Settings {
            run,
            playbook: session.playbook.clone(),
            parallel: input.parallel,
            fail_fast: input.fail_fast,
            all_or_nothing: input.all_or_nothing,
            destroy_anyway: self.destroy_anyway,
            plan: input.plan,
            past: Some(past),
            connecting: session.connecting.get(),
            secrets,
        };
        run::execute_in(&session, &settings, &self.output, journal)
    }

    /// What the user says was done, as events: it holds for later resumes too.
    fn said(&self, session: &Session) -> Vec<Record> {
        let at = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        let tasks = session.declared.graph.tasks().filter(|(_, task)| self.done.contains(&task.id()));
        let ended = |task: &Task| Event::TaskFinished { task: task.into(), outcome: done(), output: None, took_ms: 0 };
        tasks.map(|(_, task)| Record { at, event: ended(task) }).collect()
    }

    /// Puts in what the user knows of tasks that are in doubt.
    fn decided(&self, past: &mut BTreeMap<String, Past>) -> Result<(), Error> {
        let done_tasks = self.done.iter().map(|task| ("--done", task));
        for (option, task) in done_tasks.chain(self.again.iter().map(|task| ("--again", task))) {
            let Some(known) = past.get_mut(task) else {
                let near = nearest(task, past.keys().map(String::as_str));
                let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(Error::Usage {
                    message: format!("{option} {task}: the run had begun no such task{near}"),
                    help: "a task's id is `host/kind:name`; `haflow show` tells which are in doubt".into(),
                });
            };
            match known {
                _ if option == "--done" => *known = Past::Ended { outcome: done(), output: None },
                // Its step may still be under way: that is seen first.
                Past::InDoubt { again, .. } => *again = true,
                Past::Tried { .. } => {}
                Past::Ended { .. } => *known = Past::Tried { attempt: 1 },
            }
        }
        Ok(())
    }
}

/// An event with so much as is needed to go on: outputs that others use.
fn without_the_unused(mut record: Record, used: Option<&BTreeSet<String>>) -> Option<Record> {
    let output = match &mut record.event {
        Event::TaskFinished { task, output, .. } if used.is_none_or(|used| used.contains(&task.id)) => output.take(),
        _ => None,
    };
    let mut record = journal::slim(record)?;
    if let Event::TaskFinished { output: kept, .. } = &mut record.event {
        *kept = output;
    }
    Some(record)
}

/// The outcome of a task of which the user says that it was done.
fn done() -> Outcome {
    Outcome::Changed { diff: Diff::default() }
}

/// Why a run isn't resumed.
fn refused(kept: &KeptRun, input: &Input, what: &str) -> Error {
    Error::Journal {
        message: format!("run {} isn't resumed: {what}; nothing was changed", kept.run),
        help: format!("begin a new run, which takes it as it is now: {}", input.asked.command("run")),
    }
}

/// Refuses secrets that aren't what they were: what has ended has the old ones.
fn same_secrets(kept: &KeptRun, input: &Input, secrets: &Secrets) -> Result<(), Error> {
    match input.secrets.changed(&Marks::of(secrets, &kept.run)?) {
        Some(changed) if !changed.is_empty() => {
            Err(refused(kept, input, &format!("the value of {} changed since", changed.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Declares what was run, once more.
fn declare(kept: &KeptRun, input: &Input) -> Result<Session, Error> {
    std::env::set_current_dir(&input.folder).map_err(|source| Error::Io {
        doing: "go back to the folder of the run,",
        path: input.folder.clone(),
        source,
    })?;
    let session = Session::recall(&input.asked, input.inventory.clone(), &input.facts)?;
    let changed = input.changed(&session.declared.sources);
    let refused = |what: String| refused(kept, input, &what);
    if let Some(Unreached { failure, .. }) = session.declared.unreached.first() {
        return Err(refused(format!(
            "{} couldn't be reached when it began, so its tasks were declared without its facts",
            failure.host
        )));
    }
    if !changed.is_empty() {
        return Err(refused(format!("{} changed since", changed.join(", "))));
    }
    if !input.is_graph(&session.declared.graph) {
        return Err(refused(format!(
            "the playbook declares something else now (the run is of haflow {})",
            input.haflow
        )));
    }
    Ok(session)
}
