//! Connections over OpenSSH: one master per host, lanes as its sessions, and errors that say what it was.

mod client;
mod control;
mod diagnosis;
mod no_lane;

use crate::hosts::unreachable::{Stage, Unreachable};
use crate::lane::{Lane, LaneError};
use client::Client;
pub(crate) use control::Control;
use haflow_model::Host;
use openssh::{Session, Stdio};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connect is tried again where sshd is too busy.
const BUSY: Duration = Duration::from_secs(45);
/// How long a shell may keep silent. It is longer than ssh takes to notice a dead connection, so that a dead
/// connection isn't taken for a silent shell.
const ANSWERS: Duration = Duration::from_secs(45);
/// The first pause between two tries, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// A connection to one host.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    session: Arc<Session>,
    /// What ssh says of it.
    log: PathBuf,
}

impl Connection {
    /// Connects. A host's key must be known, or new where `accept_new` says so. Tries for a while where sshd
    /// is only too busy.
    pub(crate) async fn open(host: &Host, control: &Path, accept_new: bool) -> Result<Self, Unreachable> {
        let folder = control::of_host(control).map_err(|error| Unreachable {
            stage: Stage::Client,
            message: format!("there can be no folder for sockets in {}: {error}", control.display()),
            hint: None,
        })?;
        let client = Client::new(host, folder.path(), accept_new).await?;
        let (began, mut pause) = (Instant::now(), PAUSES.0);
        while let Err(mut said) = client.start_master(folder.path()).await {
            // What a jump host's ssh says isn't in the log. It costs a connection to be told.
            if diagnosis::is_of_proxy(&client.resolved, &said)
                && (pause > PAUSES.0 || client.resolved.by_command || !diagnosis::may_pass(&said))
                && let Ok(again) = client.run("exit 0").await
            {
                let again = String::from_utf8_lossy(&again.stderr);
                said = if client.resolved.by_command { again.into_owned() } else { format!("{again}{said}") };
            }
            // MaxStartups: not all who were refused may come back at the same moment.
            let vain = diagnosis::command_ended(&client.resolved, &said);
            if diagnosis::may_pass(&said) && !vain && began.elapsed() + pause < BUSY {
                tokio::time::sleep(pause.mul_f64(0.5 + crate::random::spread())).await;
                pause = (pause * 2).min(PAUSES.1);
                continue;
            }
            return Err(diagnosis::of_keys(host, &client, diagnosis::explain(host, &client, &said)).await);
        }
        let log = folder.path().join("log");
        Ok(Self { client, session: Arc::new(Session::new_native_mux(folder)), log })
    }

    /// Opens a lane as `user`, or as the user who logged in.
    pub(crate) async fn lane(&self, host: &Host, user: Option<&str>) -> Result<Lane, Unreachable> {
        let session = Arc::clone(&self.session);
        let command = shell_of(user);
        let mut child = Session::to_raw_command(session, command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(|error| {
                let said = chain(&error);
                // Where the connection ended, ssh has said why.
                let lost = self.lost().filter(|_| !said.contains("refused"));
                no_lane::no_session(host, &lost.unwrap_or(said))
            })?;
        let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            unreachable!("all three are piped");
        };
        let opened = tokio::time::timeout(ANSWERS, Lane::open(stdin, stdout, stderr, child)).await;
        match opened {
            Ok(Ok(lane)) => Ok(lane),
            Ok(Err(error)) => Err(self.no_lane(host, user, &error).await),
            Err(_) => Err(Unreachable {
                stage: Stage::Shell,
                message: format!("the shell on {} didn't answer within {} s", host.name, ANSWERS.as_secs()),
                hint: Some(format!(
                    "see what `{} sh -c true` does: a login script may be waiting for input",
                    self.client.by_hand
                )),
            }),
        }
    }

    /// Why a lane didn't come about.
    async fn no_lane(&self, host: &Host, user: Option<&str>, error: &LaneError) -> Unreachable {
        if let Some(said) = self.lost() {
            return no_lane::no_session(host, &said);
        }
        let said = match error {
            LaneError::Lost(said) => said.clone(),
            other => other.to_string(),
        };
        // Without sudo: whether it is the login shell.
        let mut command = self.session.raw_command("exec sh -c true");
        let ran = tokio::time::timeout(Duration::from_secs(30), command.stdin(Stdio::null()).output()).await;
        let ran = ran.ok().and_then(Result::ok).map(|ran| {
            let printed = [ran.stdout, ran.stderr].concat();
            (ran.status.code().unwrap_or(-1), String::from_utf8_lossy(&printed).into_owned())
        });
        match user {
            Some(user) if ran.as_ref().is_none_or(|(exit, _)| [0, 126, 127].contains(exit)) => {
                no_lane::no_sudo(host, user, &said)
            }
            _ => no_lane::no_shell(host, &self.client, &said, ran),
        }
    }

    /// What ssh said when the connection ended by itself.
    pub(crate) fn lost(&self) -> Option<String> {
        let said = std::fs::read_to_string(&self.log).ok()?;
        let silent = said.lines().any(|line| line.starts_with("Timeout, server"));
        let last = said.lines().rfind(|line| line.contains("Connection") || line.contains("disconnect"));
        if silent { Some("the host gave no sign of life for too long".into()) } else { Some(last?.trim().to_owned()) }
    }

    /// Whether it is there still, as far as the local `ssh` knows.
    pub(crate) async fn lives(&self) -> bool {
        self.session.check().await.is_ok()
    }

    /// A lane over a connection of its own.
    pub(crate) async fn lane_aside(&self, user: Option<&str>) -> Result<Lane, LaneError> {
        let lost = |error: std::io::Error| LaneError::Lost(error.to_string());
        let mut child = self.client.spawn(&shell_of(user)).map_err(lost)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            unreachable!("all three are piped");
        };
        let opened = tokio::time::timeout(Duration::from_secs(30), Lane::open(stdin, stdout, stderr, child)).await;
        opened.unwrap_or_else(|_| Err(LaneError::Lost("no answer".into())))
    }
}

/// The command that begins a lane. Login shells that are no POSIX shells know it too: fish, csh.
fn shell_of(user: Option<&str>) -> String {
    match user {
        Some(user) => format!("exec sudo -n -u {} -- sh", crate::shell::quote(user)),
        None => "exec sh".to_owned(),
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
