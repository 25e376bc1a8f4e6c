use super::options::{Others, Output, span};
use super::run;
use crate::error::Error;
use crate::exit::Exit;
use crate::journal::{Input, Journal};
use crate::plan_file::{self, Saved};
use crate::session::{HostKeys, Session};
use clap::Args;
use haflow_engine::Settings;
use haflow_model::Secrets;
use jiff::SignedDuration;
use std::path::PathBuf;

/// Do what a kept plan says, and nothing else.
///
/// The plan is the one that `haflow plan … -o FILE` wrote, and is applied once. Each task is looked at again
/// just before its turn: where things have moved since the plan was made it stops, showing both states; what
/// doesn't depend on it goes on. Nothing is asked. A plan of another playbook, inventory or version is
/// refused, and so is one that was edited, is too old, or names a host that can't be reached.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// The plan
    plan: PathBuf,
    /// Refuse a plan that is older: 30m, 12h, 7d
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = span)]
    max_age: SignedDuration,
    /// At most this many tasks at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Start nothing new after the first failure
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    keys: HostKeys,
    #[command(flatten)]
    others: Others,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    fixed: Fixed,
}

/// Options that would make it another plan: known, so that it can be said.
#[derive(Debug, Args)]
struct Fixed {
    #[arg(short, long, hide = true)]
    inventory: Option<String>,
    #[arg(long, hide = true)]
    hosts: Option<String>,
    #[arg(long, hide = true)]
    lab: bool,
    #[arg(short = 'e', long = "param", hide = true)]
    params: Vec<String>,
    #[arg(short, long, hide = true)]
    limit: Option<String>,
    #[arg(short, long, hide = true)]
    tags: Option<String>,
}

impl Fixed {
    fn given(&self) -> Option<&'static str> {
        [
            ("-i", self.inventory.is_some()),
            ("--hosts", self.hosts.is_some()),
            ("--lab", self.lab),
            ("-e", !self.params.is_empty()),
            ("--limit", self.limit.is_some()),
            ("--tags", self.tags.is_some()),
        ]
        .into_iter()
        .find_map(|(option, given)| given.then_some(option))
    }
}

impl Apply {
    pub(super) fn run(self) -> Result<Exit, Error> {
        if let Some(option) = self.fixed.given() {
            return Err(Error::Usage {
                message: format!("{option} would make it another plan: `haflow apply` does what the plan says"),
                help: format!("give {option} to `haflow plan … -o FILE`, then apply that"),
            });
        }
        let file = self.plan.as_path();
        let mut saved = Saved::read(file)?;
        saved.asked.keys = self.keys;
        saved.is_young(file, self.max_age)?;
        saved.is_unused(file)?;
        saved.has_playbook(file)?;
        let inventory = saved.asked.place.reached(&saved.asked.playbook)?;
        saved.is_for(file, &inventory)?;
        let session = Session::recall(&saved.asked, inventory, &saved.recorded())?;
        saved.is_of(file, &session)?;
        let unreachable = session.unreachable();
        if !unreachable.is_empty() {
            return Err(Error::Hosts(unreachable));
        }
        let mut secrets = Secrets::default();
        session.secrets(&mut secrets)?;
        saved.has_secrets(file, &secrets)?;
        let run = run::run_id();
        self.others.lock(&session, &run)?;
        let id = saved.id.clone();
        let (asked, plan) = saved.into_parts();
        let settings = Settings {
            run,
            playbook: session.playbook.clone(),
            parallel: self.parallel.into(),
            fail_fast: self.fail_fast,
            all_or_nothing: true,
            destroy_anyway: false,
            plan: Some(plan),
            past: None,
            connecting: session.connecting.get(),
            secrets,
        };
        // A plan isn't used up by a run that can't be kept.
        let journal = Journal::create(
            &settings.run,
            &Input::new(asked, &session.declared, session.inventory.clone(), &settings)?,
        )?;
        if let Err(refused) = plan_file::use_up(&id, file, &settings.run) {
            journal.discard();
            return Err(refused);
        }
        run::execute_in(&session, &settings, &self.output, journal)
    }
}
