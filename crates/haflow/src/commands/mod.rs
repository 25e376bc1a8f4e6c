//! One subcommand, one file; its doc comment is its help.

mod apply;
mod check;
mod completions;
mod docs;
mod graph;
mod hosts;
mod lab;
mod man;
mod plan;
mod resume;
mod run;
mod runs;
mod secret;
mod show;
mod syntax;
mod why;

use crate::error::Error;
use crate::exit::Exit;
use crate::report::Format;
use crate::session::Session;
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;

/// Runs playbooks across hosts as one dependency graph over SSH.
///
/// A playbook is a Rhai script that declares tasks; haflow plans them against the real
/// hosts, shows what would change, and runs them in order. Nothing is installed on a host.
///
/// Try it on throwaway hosts of your own machine:
///
///     haflow run playbooks/rabbit-ha.rhai --lab
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done; nothing failed
    1  a task failed, a host was unreachable, or a gate refused
    2  only with --detailed-exitcode: a plan has changes, or a run made some
   64  the command line was wrong
   65  the playbook, the inventory or a param is wrong; no host was touched
   75  another run is at work on a host, or the run is still under way; nothing was changed
  130  interrupted";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Runs(runs::Runs),
    Show(show::Show),
    Resume(resume::Resume),
    Why(why::Why),
    Check(check::Check),
    Graph(graph::Graph),
    Secret(secret::SecretCommand),
    Hosts(hosts::Hosts),
    Lab(lab::Lab),
    Docs(docs::Docs),
    Completions(completions::Completions),
    Man(man::Man),
}

/// How it is told.
#[derive(Debug, Args)]
struct Output {
    /// How to tell what happens; human on a terminal, otherwise plain
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Tell what is as it should be too
    #[arg(short, long)]
    verbose: bool,
    /// Exit 2 where there is or was something to change
    #[arg(long)]
    detailed_exitcode: bool,
}

/// What a run does about others.
#[derive(Debug, Args)]
struct Others {
    /// Wait so long for other runs on the same hosts to end: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = span)]
    wait: SignedDuration,
    /// Try so long for a connection that is lost; what runs on the host goes on meanwhile
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = span)]
    reconnect: SignedDuration,
}

impl Others {
    /// Locks the session's hosts for a run; whether that needed a wait.
    fn lock(&self, session: &Session, run: &str) -> Result<bool, Error> {
        session.hosts.reconnect_for(self.reconnect.unsigned_abs());
        session.lock(run, self.wait)
    }

    /// The same for a run that died.
    fn lock_again(&self, session: &Session, run: &str) -> Result<bool, Error> {
        session.hosts.reconnect_for(self.reconnect.unsigned_abs());
        session.lock_again(run, self.wait)
    }
}

/// A number and `s`, `m`, `h` or `d`.
fn span(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{text}` isn't a time; for example 30m, 12h, 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(SignedDuration::from_secs(i64::from(number) * seconds))
}

impl Output {
    fn format(&self) -> Format {
        self.format.unwrap_or_else(Format::detect)
    }
}

/// Does what was asked for.
pub(crate) fn dispatch(cli: Cli) -> Result<Exit, Error> {
    match cli.command {
        Command::Run(run) => run.run(),
        Command::Plan(plan) => plan.run(),
        Command::Apply(apply) => apply.run(),
        Command::Runs(runs) => runs.run(),
        Command::Show(show) => show.run(),
        Command::Resume(resume) => resume.run(),
        Command::Why(why) => why.run(),
        Command::Check(check) => check.run(),
        Command::Graph(graph) => graph.run(),
        Command::Secret(secret) => secret.run(),
        Command::Hosts(hosts) => hosts.run(),
        Command::Lab(lab) => lab.run(),
        Command::Docs(docs) => docs.run(),
        Command::Completions(completions) => Ok(completions.run()),
        Command::Man(man) => man.run(),
    }
}
