//! What carries scripts to a host: connects, opens lanes, kills, and says why a connection ended.

use crate::hosts::local;
use crate::hosts::ssh::{Connection, Control};
use crate::hosts::unreachable::{Stage, Unreachable};
use crate::lane::{Lane, Output, Process, Script, Shell, Stopped};
use haflow_model::{Host, Transport as Named};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Opens a lane on a host as a user.
pub type OpenLane =
    Arc<dyn Fn(Host, Option<String>) -> Pin<Box<dyn Future<Output = Result<Lane, Unreachable>> + Send>> + Send + Sync>;

/// How hosts are connected to.
pub(crate) enum Way {
    /// As the inventory says; over OpenSSH with the sockets in this folder, and whether keys of new hosts are
    /// accepted.
    Inventory(Control, bool),
    /// As the caller says: without a network.
    Given(OpenLane),
}

/// The way to a host that was connected to.
pub(crate) enum Transport {
    /// Over OpenSSH.
    Ssh(Box<Connection>),
    /// Shells of this machine's.
    Local,
    /// As the caller says.
    Given(OpenLane),
}

impl Transport {
    pub(crate) async fn connect(way: &Way, host: &Host) -> Result<Self, Unreachable> {
        match (way, &host.connection) {
            (Way::Given(open), _) => Ok(Self::Given(open.clone())),
            (Way::Inventory(control, accept_new), Named::Ssh) => {
                let connection = Connection::open(host, control.path(), *accept_new).await?;
                Ok(Self::Ssh(Box::new(connection)))
            }
            (Way::Inventory(..), Named::Local) => Ok(Self::Local),
            (Way::Inventory(..), Named::Other(name)) => Err(Unreachable {
                stage: Stage::Client,
                message: format!(
                    "the inventory says that {} is reached by `{name}`, which haflow doesn't have",
                    host.name
                ),
                hint: Some("haflow has `ssh` and `local`; leave the host out with `--limit`".into()),
            }),
        }
    }

    /// Opens a lane as `user`, or as who logs in.
    pub(crate) async fn lane(&self, host: &Host, user: Option<&str>) -> Result<Lane, Unreachable> {
        match self {
            Self::Ssh(connection) => connection.lane(host, becomes(host, user)).await,
            Self::Local => local::lane(host, user).await,
            Self::Given(open) => open(host.clone(), user.map(str::to_owned)).await,
        }
    }

    /// What was said when the connection ended by itself.
    pub(crate) fn lost(&self) -> Option<String> {
        match self {
            Self::Ssh(connection) => connection.lost(),
            Self::Local | Self::Given(_) => None,
        }
    }

    /// Whether it is there still, as far as this machine knows.
    pub(crate) async fn lives(&self) -> bool {
        match self {
            Self::Ssh(connection) => connection.lives().await,
            Self::Local | Self::Given(_) => true,
        }
    }

    /// Ends a lane's shell, the step whose folder has this name, and all that they have started: TERM, and
    /// KILL where that doesn't end it within `grace`. `None` where nothing there answers.
    pub(crate) async fn kill(
        &self,
        host: &Host,
        user: Option<&str>,
        shell: Option<Shell>,
        step: Option<&str>,
        grace: Duration,
    ) -> Option<Killed> {
        let mut lane = match self {
            Self::Ssh(connection) => match self.lane(host, user).await {
                Ok(lane) => lane,
                // No further session on this connection, or no connection.
                Err(_) => connection.lane_aside(becomes(host, user)).await.ok()?,
            },
            Self::Local => self.lane(host, user).await.ok()?,
            // What a test gives ends with its lane.
            Self::Given(_) => return Some(Killed::default()),
        };
        let variable = |name: &str, value: String| (name.to_owned(), value);
        let of_shell = |number: fn(Shell) -> String| shell.map(number).unwrap_or_default();
        let variables = [
            variable("shell", of_shell(|shell| shell.process.to_string())),
            variable("started", of_shell(|shell| shell.started.to_string())),
            variable("group", of_shell(|shell| shell.group.to_string())),
            variable("name", step.unwrap_or_default().to_owned()),
            variable("grace", (grace.as_millis() / 100).to_string()),
        ];
        let script = Script { text: include_str!("kill.sh"), variables: &variables, process: Process::Forked };
        let mut killed = None;
        let each = |output: Output| {
            let mut lines = output.stdout.splitn(3, |byte| *byte == b'\n');
            let mut names = || {
                let names = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
                names.split_whitespace().map(str::to_owned).collect()
            };
            let stopped = Stopped { ended: names(), left: names(), unknown: false };
            let stdout = lines.next().unwrap_or_default().to_vec();
            killed = Some(Killed { stopped, stdout, stderr: output.stderr });
        };
        // Where it isn't told, nobody knows what was ended.
        let _ = lane.run(&[script], grace + Duration::from_secs(30), each).await;
        killed
    }
}

/// The user to become by sudo, if that isn't who logs in.
fn becomes<'u>(host: &Host, user: Option<&'u str>) -> Option<&'u str> {
    user.filter(|user| host.user.as_deref() != Some(*user))
}

/// What was killed on a host, and what it had printed.
#[derive(Debug, Default)]
pub(crate) struct Killed {
    pub(crate) stopped: Stopped,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}
