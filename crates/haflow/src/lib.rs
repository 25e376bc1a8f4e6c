//! Runs playbooks across hosts as one dependency graph over SSH. The program is [`main`]; nothing else is for others to use.

mod commands;
mod error;
mod exit;
#[cfg(fuzzing)]
pub mod fuzz;
mod inventory;
mod journal;
mod json;
mod plan_file;
mod reference;
mod report;
mod secrets;
mod session;

use clap::Parser;
use commands::Cli;
use exit::Exit;
use std::process::ExitCode;

/// What the program does, from its command line to its exit code.
pub fn main() -> ExitCode {
    secrets::environment::take();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors. Where the terminal is gone there is nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    match commands::dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error.print();
            error.exit().into()
        }
    }
}
