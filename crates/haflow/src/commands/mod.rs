//! One subcommand, one file; its doc comment is its help.

mod apply;
mod check;
mod completions;
mod docs;
mod graph;
mod hosts;
mod lab;
mod man;
mod options;
mod plan;
mod resume;
mod run;
mod runs;
mod secret;
mod show;
mod slips;
mod syntax;
mod why;

use crate::error::Error;
use crate::exit::Exit;
use clap::{CommandFactory, Parser, Subcommand};

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

/// Reads the command line.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse().map_err(slips::named)
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
        Command::Completions(completions) => Ok(completions.run(Cli::command())),
        Command::Man(man) => man.run(Cli::command()),
    }
}
