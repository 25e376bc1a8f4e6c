//! What the whole-program tests share: programs are run in a clean environment, and what they did is text.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

/// A program to be run in `folder` with nothing of the environment but where programs are.
pub(crate) fn clean(mut command: Command, folder: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.current_dir(folder).env_clear().env("PATH", path).env("HOME", folder).env("LC_ALL", "C.UTF-8");
    command
}

/// What a program did.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub(crate) exit: i32,
    /// What it printed.
    pub(crate) stdout: String,
    /// Its messages.
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs a program to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?} doesn't start: {error}"));
        Self::from(output)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("haflow prints UTF-8");
        Self {
            exit: output.status.code().or(output.status.signal().map(|signal| 128 + signal)).expect("it ended"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
