//! Runs playbooks across hosts as one dependency graph over SSH. The program is [`main`]; nothing else is for
//! others to use.

mod child;
mod commands;
mod error;
mod exit;
#[cfg(fuzzing)]
pub mod fuzz;
mod inventory;
mod journal;
mod json;
mod kept;
mod plan_file;
mod reference;
mod report;
mod secrets;
mod session;

use exit::Exit;
use haflow_engine::filters;
use std::process::ExitCode;

/// What the program does, from its command line to its exit code.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == filters::SERVE) {
        return serve_filters();
    }
    secrets::environment::take();
    let cli = match commands::parse() {
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

/// What the program does where another haflow begins it to have jq filters run: what comes may be anybody's.
fn serve_filters() -> ExitCode {
    // A filter's variables may be secrets.
    secrets::guard();
    let served =
        secrets::limit_memory(filters::MEMORY).and_then(|()| filters::serve(std::io::stdin(), std::io::stdout()));
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
