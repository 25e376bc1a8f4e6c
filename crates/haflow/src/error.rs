//! Errors that end a command, printed once, by `main`.

use crate::exit::Exit;
use crate::report::{self, Format, Options};
use haflow_lab::LabError;
use haflow_model::{Diagnostic, HostName};
use haflow_script::{DeclareError, FactFailure};
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

/// Why a command couldn't do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line was wrong in a way that only shows later.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// Something that a person wrote is wrong.
    #[error(transparent)]
    Input(#[from] Box<Diagnostic>),
    /// Facts that the playbook asks for couldn't be read.
    #[error(
        "the playbook asks for facts of its hosts, and they couldn't be read: nothing was declared, nothing was changed"
    )]
    Facts(Vec<FactFailure>),
    /// The playbook decides by a fact of a host that can't be reached.
    #[error("{diagnostic}")]
    Unreached {
        /// The line that does.
        diagnostic: Box<Diagnostic>,
        /// All hosts that can't be reached.
        hosts: Vec<FactFailure>,
        /// All hosts that weren't asked.
        left_out: Vec<HostName>,
    },
    /// A plan that can't be applied.
    #[error("{message}")]
    Plan {
        /// Why not.
        message: String,
        /// What to do.
        help: String,
    },
    /// A journal that can't be used.
    #[error("{message}")]
    Journal {
        /// Why not.
        message: String,
        /// What to do.
        help: String,
    },
    /// A secret, or what keeps secrets, isn't what it should be.
    #[error("{message}")]
    Secret {
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// Another process is at it.
    #[error("{message}; nothing was changed")]
    Busy {
        /// Who.
        message: String,
    },
    /// Other runs hold the locks of hosts.
    #[error("another run is at work on the same hosts; nothing was changed\n{hosts}")]
    Locked {
        /// A line for each host.
        hosts: String,
        /// What to do.
        help: String,
    },
    /// Hosts of a plan can't be reached.
    #[error("the plan isn't applied, since hosts of it can't be reached; nothing was changed")]
    Hosts(Vec<FactFailure>),
    /// Ctrl-C before anything was declared.
    #[error("interrupted; nothing was changed")]
    Interrupted,
    /// The lab.
    #[error("failed to work with the lab")]
    Lab(#[from] LabError),
    /// A file of ours, or the local machine.
    #[error("failed to {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl From<DeclareError> for Error {
    fn from(error: DeclareError) -> Self {
        match error {
            DeclareError::Playbook(diagnostic) => Self::Input(diagnostic),
            DeclareError::Facts(failures) => Self::Facts(failures),
            DeclareError::Unreached { diagnostic, hosts, left_out } => Self::Unreached { diagnostic, hosts, left_out },
            DeclareError::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Input(Box::new(diagnostic))
    }
}

impl Error {
    /// The exit code that tells a script what this is.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Input(_) | Self::Plan { .. } | Self::Journal { .. } | Self::Secret { .. } => Exit::Input,
            Self::Busy { .. } | Self::Locked { .. } => Exit::Busy,
            Self::Facts(_) | Self::Hosts(_) | Self::Unreached { .. } | Self::Lab(_) | Self::Io { .. } => Exit::Failed,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// Prints what happened and what to do on stderr.
    pub(crate) fn print(&self) {
        match self {
            Self::Input(diagnostic) => return print(diagnostic),
            Self::Unreached { diagnostic, hosts, .. } => {
                let mut diagnostic = diagnostic.clone();
                diagnostic.message += ": nothing was declared, nothing was changed\n";
                diagnostic.message += &reasons(hosts);
                return print(&diagnostic);
            }
            _ => {}
        }
        let mut text = format!("error: {self}\n");
        let mut cause = self.source();
        while let Some(error) = cause {
            let _ = writeln!(text, "  {error}");
            cause = error.source();
        }
        if let Self::Facts(failures) | Self::Hosts(failures) = self {
            text += &reasons(failures);
        }
        if let Self::Usage { help, .. }
        | Self::Plan { help, .. }
        | Self::Journal { help, .. }
        | Self::Locked { help, .. }
        | Self::Secret { help, .. } = self
        {
            let _ = writeln!(text, "help: {help}");
        }
        eprint!("{}", report::clean(&text));
    }
}

fn print(diagnostic: &Diagnostic) {
    let options = Options::detect(Format::Human, false);
    eprint!("{}", report::diagnostic(diagnostic, options.color, options.width));
}

/// A line for each host, and one for what to do about it.
fn reasons(failures: &[FactFailure]) -> String {
    let mut text = String::new();
    for failure in failures {
        let _ = writeln!(text, "  {}: {}", failure.host, failure.why);
        if let Some(hint) = &failure.hint {
            let _ = writeln!(text, "      {hint}");
        }
    }
    text
}
