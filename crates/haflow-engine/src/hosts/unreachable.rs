//! What is in the way to a host.

/// Why no task can run on a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreachable {
    /// How far it got.
    pub stage: Stage,
    /// What was seen, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The stages of the way to a host, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The local `ssh` program.
    Client,
    /// Name and network.
    Network,
    /// The port, where nobody listens.
    Refused,
    /// The host's key.
    HostKey,
    /// The user's key.
    Login,
    /// A further session on a connection that there is.
    Session,
    /// A POSIX shell.
    Shell,
    /// Becoming another user.
    Sudo,
    /// The lock that lets one run at a time at a host.
    Lock,
}

impl Stage {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "ssh",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::HostKey => "host key",
            Self::Login => "login",
            Self::Session => "session",
            Self::Shell => "shell",
            Self::Sudo => "sudo",
            Self::Lock => "lock",
        }
    }
}
