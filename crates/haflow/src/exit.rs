//! Exit codes: an interface that scripts rely on.

use std::process::ExitCode;

/// How haflow ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; nothing failed.
    Done,
    /// A task failed, a host was unreachable, or a gate refused.
    Failed,
    /// Only with `--detailed-exitcode`: a plan has changes, or a run made some.
    Changes,
    /// The command line was wrong.
    Usage,
    /// The playbook, the inventory or a param is wrong; no host was touched.
    Input,
    /// Another run is at it; nothing was changed.
    Busy,
    /// Interrupted.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Changes => 2,
            Exit::Usage => 64,
            Exit::Input => 65,
            Exit::Busy => 75,
            Exit::Interrupted => 130,
        })
    }
}
