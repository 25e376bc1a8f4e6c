//! Connections over OpenSSH: one master per host, lanes as its sessions, and errors that say what it was.

use crate::lane::{Lane, LaneError};
use haflow_model::Host;
use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Why no task can run on a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreachable {
    /// Which step it was.
    pub step: Step,
    /// What was seen, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The steps on the way to a host, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The local `ssh` program.
    Client,
    /// Name and network.
    Network,
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

impl Step {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "ssh",
            Self::Network => "network",
            Self::HostKey => "host key",
            Self::Login => "login",
            Self::Session => "session",
            Self::Shell => "shell",
            Self::Sudo => "sudo",
            Self::Lock => "lock",
        }
    }
}

/// A connection to one host.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Arc<Session>,
}

/// A new folder for control sockets, which goes when it is dropped. Only the user may see into it: whoever can open a socket
/// is logged in on its host. Its path is short, because a socket's must stay under 108 bytes.
pub(crate) fn control_directory() -> std::io::Result<TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parent = runtime.filter(|folder| folder.as_os_str().len() < 40 && folder.is_dir());
    tempfile::Builder::new().prefix("haflow-").tempdir_in(parent.unwrap_or_else(std::env::temp_dir))
}

impl Connection {
    /// Connects, strictly checking the host's key. Gives up after a few tries where sshd was only too busy.
    pub(crate) async fn open(host: &Host, control: &Path) -> Result<Self, Unreachable> {
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(Duration::from_secs(15))
            .server_alive_interval(Duration::from_secs(15))
            // A killed haflow leaves its masters behind: they end by themselves.
            .control_persist(ControlPersist::IdleFor(NonZeroUsize::new(60).expect("sixty isn't zero")))
            .control_directory(control);
        if let Some(user) = &host.user {
            builder.user(user.clone());
        }
        if let Some(port) = host.port {
            builder.port(port);
        }
        if let Some(key) = &host.key {
            builder.keyfile(key);
        }
        if let Some(file) = &host.known_hosts {
            builder.user_known_hosts_file(file);
        }
        if let Some(jump) = &host.jump {
            builder.jump_hosts(jump.split(','));
        }
        let mut tries = 0;
        loop {
            match builder.connect_mux(host.destination()).await {
                Ok(session) => return Ok(Self { session: Arc::new(session) }),
                Err(error) => {
                    let said = chain(&error);
                    tries += 1;
                    if tries < 4 && too_busy(&said) {
                        // MaxStartups: not all who were refused may come back at the same moment.
                        let spread = said.len() + host.name.as_str().bytes().map(usize::from).sum::<usize>();
                        let pause = 200 * (1 << tries) + (spread * 37 % 300) as u64;
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                        continue;
                    }
                    return Err(explain(host, &said));
                }
            }
        }
    }

    /// Opens a lane as `user`, or as the user who logged in.
    pub(crate) async fn lane(&self, host: &Host, user: Option<&str>) -> Result<Lane, Unreachable> {
        let session = Arc::clone(&self.session);
        let command = match user {
            Some(user) => format!("exec sudo -n -u {} -- sh", crate::shell::quote(user)),
            None => "exec sh".to_owned(),
        };
        let mut child = Session::to_raw_command(session, command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(|error| no_session(host, &chain(&error)))?;
        let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            unreachable!("all three are piped");
        };
        let opened = tokio::time::timeout(Duration::from_secs(30), Lane::open(stdin, stdout, stderr, child)).await;
        match opened {
            Ok(Ok(lane)) => Ok(lane),
            Ok(Err(error)) => Err(no_shell(host, user, &error)),
            Err(_) => Err(Unreachable {
                step: Step::Shell,
                message: format!("the shell on {} didn't answer within 30 s", host.name),
                hint: Some(format!(
                    "see what `ssh {} sh` does: a login script may be waiting for input",
                    host.destination()
                )),
            }),
        }
    }

    /// Kills a process group on the host: TERM, and KILL where that doesn't end it within `grace`.
    pub(crate) async fn kill(&self, user: Option<&str>, group: u32, grace: Duration) {
        let sudo = user.map(|user| format!("sudo -n -u {} -- ", crate::shell::quote(user))).unwrap_or_default();
        let tenths = grace.as_millis() / 100;
        let command = format!(
            "exec {sudo}sh -c 'kill -TERM -{group} 2>/dev/null; n=0; \
             while kill -0 -{group} 2>/dev/null; do n=$((n+1)); [ $n -lt {tenths} ] || break; sleep 0.1; done; \
             kill -KILL -{group} 2>/dev/null; true'"
        );
        let _ = self.session.raw_command(command).status().await;
    }
}

/// An error and all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Whether there is an `ssh` to be started. Where it ends without a word, its log is missing, which looks the same.
fn has_ssh() -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("ssh").is_file()))
}

fn too_busy(said: &str) -> bool {
    ["kex_exchange_identification", "Connection reset by peer", "banner exchange", "Connection closed by"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// Which step failed, from what ssh said.
fn explain(host: &Host, said: &str) -> Unreachable {
    let name = &host.name;
    let to = host.destination();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(said).trim();
    let last = last.strip_prefix("failed to connect to the remote host: ").unwrap_or(last);
    let has = |sign: &str| said.contains(sign);
    let at = if name.as_str() == to { name.to_string() } else { format!("{name} ({to})") };
    let (step, message, hint) = if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        (
            Step::HostKey,
            format!("the host key of {name} has changed"),
            Some(format!(
                "either {name} was reinstalled or somebody is in between; if you know which, remove the old key with \
                 `ssh-keygen -R {to}` and accept the new one with `ssh {to}`"
            )),
        )
    } else if has("Host key verification failed") || has("host key is known") {
        (
            Step::HostKey,
            format!("the host key of {name} isn't known"),
            Some(format!(
                "connect once with `ssh {to}` and compare the fingerprint, or name the file in `known_hosts`"
            )),
        )
    } else if has("Permission denied") || has("Too many authentication failures") {
        let user = host.user.as_deref().map_or_else(|| "the user".to_owned(), |user| format!("`{user}`"));
        let key = host
            .key
            .as_deref()
            .map_or_else(|| "a key from the agent or ssh's configuration".into(), |key| format!("the key {key}"));
        (
            Step::Login,
            format!("{name} refused to log in {user} with {key}"),
            Some(format!("`ssh -v {to}` shows which keys were tried; haflow never asks for a password")),
        )
    } else if has("Could not resolve hostname") {
        (
            Step::Network,
            if name.as_str() == to {
                format!("the name `{to}` can't be resolved")
            } else {
                format!("the name `{to}` of {name} can't be resolved")
            },
            Some("give the host an `address` in the inventory, or correct the name".into()),
        )
    } else if has("Connection refused") {
        (
            Step::Network,
            format!("{at} refused the connection to port {}", host.port.unwrap_or(22)),
            Some("is sshd running there, and on this port?".into()),
        )
    } else if has("timed out") || has("No route to host") || has("Network is unreachable") || has("Host is down") {
        (
            Step::Network,
            format!("{at} can't be reached: {last}"),
            Some("is it up, and is a firewall in between?".into()),
        )
    } else if !has_ssh() {
        (Step::Client, "there is no `ssh` program here".into(), Some("install OpenSSH's client".into()))
    } else {
        (Step::Network, format!("no connection to {at}: {last}"), Some(format!("see what `ssh -v {to}` says")))
    };
    Unreachable { step, message, hint }
}

/// Why there is no session on a connection.
fn no_session(host: &Host, said: &str) -> Unreachable {
    let name = &host.name;
    if said.contains("refused") {
        Unreachable {
            step: Step::Session,
            message: format!("sshd on {name} opened no session: {said}"),
            hint: Some("look at MaxSessions in its sshd_config and at its log".into()),
        }
    } else {
        Unreachable { step: Step::Network, message: format!("the connection to {name} is gone: {said}"), hint: None }
    }
}

fn no_shell(host: &Host, user: Option<&str>, error: &LaneError) -> Unreachable {
    let name = &host.name;
    let said = match error {
        LaneError::Lost(said) => said.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string(),
    };
    match user {
        Some(user) => {
            let (message, hint) = if said.contains("sudo: not found") || said.contains("sudo: command not found") {
                (
                    format!("{name} has no sudo"),
                    "install sudo, or log in as the user that tasks shall run as".to_owned(),
                )
            } else if said.contains("unknown user") {
                (
                    format!("{name} has no user `{user}` to become"),
                    "correct `become` in the inventory, or `user` of the task".into(),
                )
            } else {
                (
                    format!("sudo on {name} doesn't let tasks run as `{user}` without a password"),
                    format!("allow it in sudoers (NOPASSWD), or log in as `{user}`"),
                )
            };
            Unreachable { step: Step::Sudo, message: format!("{message}: {said}"), hint: Some(hint) }
        }
        None => Unreachable {
            step: Step::Shell,
            message: format!("{name} gave no POSIX shell: {said}"),
            hint: Some(format!("haflow needs `sh` there; see what `ssh {} sh -c true` says", host.destination())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_becomes_a_step_and_a_hint() {
        let mut host = Host::named("db1");
        host.address = Some("192.0.2.1".into());
        host.user = Some("root".into());
        for (said, step, message) in [
            ("ssh: Could not resolve hostname db1: Name or service not known", Step::Network, "can't be resolved"),
            (
                "connect to host 192.0.2.1 port 22: Connection refused",
                Step::Network,
                "refused the connection to port 22",
            ),
            ("connect to host 192.0.2.1 port 22: Connection timed out", Step::Network, "can't be reached"),
            ("root@192.0.2.1: Permission denied (publickey,password).", Step::Login, "refused to log in `root`"),
            ("No ED25519 host key is known for db1\r\nHost key verification failed.", Step::HostKey, "isn't known"),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.",
                Step::HostKey,
                "has changed",
            ),
        ] {
            let seen = explain(&host, said);
            assert_eq!(seen.step, step, "{said}");
            assert!(seen.message.contains(message), "{}", seen.message);
            assert!(seen.hint.is_some());
        }
    }
}
