//! A failure with what a script left.

use crate::cut::tail;
use crate::lane::Output;
use haflow_model::Failure;

/// Why nothing was seen of a task's thing.
#[derive(Debug)]
pub(crate) enum Unseen {
    /// The look failed.
    Failed(Box<Failure>),
    /// The run was interrupted twice.
    Killed,
}

impl From<Failure> for Unseen {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// What every program says of a full disk (ENOSPC), in the language that lanes ask for.
const FULL: &str = "No space left on device";

/// Lines of each stream that a failure shows.
pub(crate) const TAIL: usize = 12;

/// The exit code of a script that refused to work on a path, after a line that says why.
const REFUSED: i32 = 77;

/// What a script said before it refused: its message, and what to do.
fn refusal(output: &Output) -> Option<Failure> {
    let stderr = tail(&output.stderr, TAIL);
    let said = |word: &str| stderr.lines().rev().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
    let message = said("haflow: ").filter(|_| output.exit == REFUSED)?;
    Some(Failure { message, exit: Some(output.exit), hint: said("hint: "), ..Failure::default() })
}

/// A failure with what a script left.
pub(crate) fn failed(message: impl Into<String>, output: &Output) -> Failure {
    if let Some(failure) = refusal(output) {
        return failure;
    }
    let stderr = tail(&output.stderr, TAIL);
    let hint = match output.exit {
        _ if stderr.contains(FULL) => Some("make room there: `df -h` shows which disk it is".to_owned()),
        _ if stderr.contains("Read-only file system") => Some("the file system is mounted read-only".to_owned()),
        127 => Some("a program that the script needs isn't installed there".to_owned()),
        137 => Some("it was killed: by the kernel for want of memory (see `dmesg`), or by somebody".to_owned()),
        _ => None,
    };
    let full = stderr.contains(FULL);
    let message = if full { format!("a disk of the host is full: {}", message.into()) } else { message.into() };
    Failure { message, exit: Some(output.exit), stdout: tail(&output.stdout, TAIL), stderr, hint, ..Failure::default() }
}

/// Why a task that would destroy `what` doesn't begin: another one, `because`, is known to fail.
pub(crate) fn held_back(what: &str, because: &str) -> Failure {
    Failure {
        message: format!("it would destroy {what}, and `{because}` is known to fail: nothing was done"),
        hint: Some("mend that first; `haflow run --destroy-anyway` begins it all the same".into()),
        ..Failure::default()
    }
}
