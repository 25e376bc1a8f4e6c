use super::options::{Others, Output};
use super::plan;
use crate::error::Error;
use crate::exit::Exit;
use crate::journal::{Input, Journal};
use crate::session::{Asked, Session};
use clap::Args;
use haflow_engine::Settings;
use haflow_model::{Secrets, Task};
use std::io::{IsTerminal, Write, stderr, stdin};

/// Run a playbook.
///
/// Each task is looked at first and changed only where it isn't as it should be. A failed task stops what
/// depends on it; the rest goes on. Ctrl-C starts nothing new and waits for what is running; a second one
/// kills that on the hosts.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    output: Output,
    /// Say what would be done, and change nothing: the same as `haflow plan`
    #[arg(long = "dry-run")]
    plan_only: bool,
    /// At most this many tasks at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Start nothing new after the first failure
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    foreseen: Foreseen,
    #[command(flatten)]
    others: Others,
    /// Answer yes where the playbook declares a task destructive
    #[arg(long)]
    yes: bool,
}

/// What a run does where it knows before its first change that a task will fail.
#[derive(Debug, Args)]
struct Foreseen {
    /// Change nothing where it is known before the first change that a task will fail
    #[arg(long)]
    all_or_nothing: bool,
    /// Begin tasks that destroy something although it is known that another one will fail
    #[arg(long)]
    destroy_anyway: bool,
}

impl Run {
    pub(super) fn run(self) -> Result<Exit, Error> {
        if self.plan_only {
            return plan::plan(self.asked, None, &self.output);
        }
        let run = run_id();
        let mut secrets = Secrets::default();
        let session = loop {
            let session = Session::open(&self.asked)?;
            if !self.yes {
                confirm(&session)?;
            }
            session.secrets(&mut secrets)?;
            // After a wait the facts may be others, and with them the tasks.
            if !self.others.lock(&session, &run)? {
                break session;
            }
        };
        let settings = Settings {
            run,
            playbook: session.playbook.clone(),
            parallel: self.parallel.into(),
            fail_fast: self.fail_fast,
            all_or_nothing: self.foreseen.all_or_nothing,
            destroy_anyway: self.foreseen.destroy_anyway,
            plan: None,
            past: None,
            connecting: session.connecting.get(),
            secrets,
        };
        execute(self.asked, &session, &settings, &self.output)
    }
}

/// Runs what the session declares as a new run.
pub(super) fn execute(asked: Asked, session: &Session, settings: &Settings, output: &Output) -> Result<Exit, Error> {
    let journal =
        Journal::create(&settings.run, &Input::new(asked, &session.declared, session.inventory.clone(), settings)?)?;
    execute_in(session, settings, output, journal)
}

/// Runs what the session declares, tells it, and keeps it in the journal.
pub(super) fn execute_in(
    session: &Session,
    settings: &Settings,
    output: &Output,
    journal: Journal,
) -> Result<Exit, Error> {
    let advice = Some(session.advice(settings));
    let (counts, kept) =
        session.tell(output.format(), output.verbose, advice, Some(journal), async |session, events| {
            haflow_engine::execute(&session.declared.graph, &session.hosts, events, settings, &session.interrupt).await
        });
    kept?;
    session.runtime.block_on(session.hosts.tidy());
    Ok(if session.interrupt.stop.is_cancelled() {
        Exit::Interrupted
    } else if !counts.succeeded() {
        Exit::Failed
    } else if output.detailed_exitcode && counts.changed > 0 {
        Exit::Changes
    } else {
        Exit::Done
    })
}

/// The time, and something that tells two runs of one second apart.
pub(super) fn run_id() -> String {
    // Numbers of processes are the same in many containers; the standard library's hashes begin with random
    // bits.
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0) & 0xffff;
    format!("{}-{random:04x}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"))
}

/// Tells which of these tasks their playbook declares destructive, and returns them.
pub(super) fn tell_what_is_destroyed<'t>(tasks: impl Iterator<Item = &'t Task>) -> Vec<&'t Task> {
    let (destructive, lines): (Vec<_>, Vec<_>) = tasks
        .filter_map(|task| {
            let what = task.destroys.as_ref()?;
            Some((task, format!("  {}: {what} ({})", task.id(), task.place)))
        })
        .unzip();
    if !destructive.is_empty() {
        eprintln!("These tasks destroy something:\n{}", crate::report::clean(&lines.join("\n")));
    }
    destructive
}

/// Asks before tasks that their playbook declares destructive: for the names of their hosts, which a habit
/// doesn't type.
fn confirm(session: &Session) -> Result<(), Error> {
    let destructive = tell_what_is_destroyed(session.declared.graph.tasks().map(|(_, task)| task));
    if destructive.is_empty() {
        return Ok(());
    }
    if stdin().is_terminal() && stderr().is_terminal() {
        let mut hosts: Vec<&str> = destructive.iter().map(|task| task.host.as_str()).collect();
        hosts.dedup();
        let hosts = hosts.join(" ");
        eprint!("To go on, type {}: ", crate::report::clean(&hosts));
        let _ = stderr().flush();
        let mut answer = String::new();
        let _ = stdin().read_line(&mut answer);
        if answer.split_whitespace().eq(hosts.split_whitespace()) {
            return Ok(());
        }
    }
    Err(Error::Usage {
        message: "the playbook has destructive tasks and nobody agreed; nothing was changed".into(),
        help: "look at them with `haflow plan`, then run with `--yes`".into(),
    })
}
