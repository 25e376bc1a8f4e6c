//! How the `ssh` program is called for a host: the user's configuration holds, and a few things are said
//! before it.

use crate::hosts::unreachable::{Stage, Unreachable};
use haflow_model::Host;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Signs of life are asked for so often, and so many may be missed: a dead connection is noticed within 40
/// seconds.
const ALIVE: (u64, u64) = (10, 3);
/// How long the network may take, where the user's configuration doesn't say.
const CONNECT: &str = "15";
/// How long all of a connect may take: a key that has to be touched, a proxy that starts a machine.
const AT_MOST: Duration = Duration::from_mins(2);

/// ssh, for one host.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// What it is called with, the destination last.
    arguments: Vec<OsString>,
    /// The same for a person to type.
    pub(super) by_hand: String,
    /// What it makes of the host.
    pub(super) resolved: Resolved,
}

/// What ssh makes of a host, by its configuration and arguments.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolved {
    /// Name or address.
    pub(super) hostname: String,
    pub(super) port: String,
    pub(super) user: String,
    /// The name that its key is known by, where that is another one.
    pub(super) key_alias: Option<String>,
    /// What it goes through: jump hosts, or a command.
    pub(super) proxy: Option<String>,
    /// Whether that is a command of the user's (`ProxyCommand`).
    pub(super) by_command: bool,
    /// The files of private keys that may be tried.
    pub(super) identities: Vec<PathBuf>,
    /// The socket of the agent, where that is another one than the environment says.
    pub(super) agent: Option<String>,
    /// The user's home folder. It is the user database's: ssh doesn't ask the environment.
    home: PathBuf,
    alive: (u64, u64),
    has_timeout: bool,
}

impl Resolved {
    /// Reads what `ssh -G` prints.
    pub(super) fn parse(text: &str) -> Self {
        let mut resolved = Self::default();
        let home = text.lines().find_map(|line| line.strip_prefix("controlpath /"));
        resolved.home = home.map_or_else(|| "~".into(), |home| format!("/{home}").into());
        let said = |value: &str| Some(value.to_owned()).filter(|value| value != "none");
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "hostname" => value.clone_into(&mut resolved.hostname),
                "port" => value.clone_into(&mut resolved.port),
                "user" => value.clone_into(&mut resolved.user),
                "hostkeyalias" => resolved.key_alias = said(value),
                "proxyjump" => resolved.proxy = said(value).or(resolved.proxy),
                "proxycommand" => {
                    resolved.by_command = said(value).is_some();
                    resolved.proxy = said(value).or(resolved.proxy);
                }
                "identityfile" => resolved.identities.push(resolved.at_home(value)),
                "identityagent" => resolved.agent = said(value).filter(|socket| socket != "SSH_AUTH_SOCK"),
                "serveraliveinterval" => resolved.alive.0 = value.parse().unwrap_or_default(),
                "serveralivecountmax" => resolved.alive.1 = value.parse().unwrap_or_default(),
                "connecttimeout" => resolved.has_timeout = value != "none",
                _ => {}
            }
        }
        resolved
    }

    /// The name that its key is known by.
    pub(super) fn known_as(&self) -> String {
        let Self { hostname, port, .. } = self;
        let plain = if port == "22" { hostname.clone() } else { format!("[{hostname}]:{port}") };
        self.key_alias.clone().unwrap_or(plain)
    }

    /// A path as ssh understands it.
    pub(super) fn at_home(&self, path: &str) -> PathBuf {
        path.strip_prefix("~/").map_or_else(|| path.into(), |rest| self.home.join(rest))
    }

    /// What ssh is told before it reads the user's configuration, and its jump hosts' ssh as well: the first
    /// to say a thing wins.
    fn config(&self, host: &Host, accept_new: bool) -> String {
        // Nobody is asked; forwards and commands are for people; what goes wrong is to be read.
        let mut text = format!(
            "BatchMode yes\n{}\nClearAllForwardings yes\nRemoteCommand none\nRequestTTY no\nLogLevel INFO\n",
            host_keys(accept_new)
        );
        let (interval, missed) = self.alive;
        if interval == 0 || missed == 0 || interval.saturating_mul(missed + 1) > ALIVE.0 * (ALIVE.1 + 1) {
            let _ = writeln!(text, "ServerAliveInterval {}\nServerAliveCountMax {}", ALIVE.0, ALIVE.1);
        }
        if !self.has_timeout {
            let _ = writeln!(text, "ConnectTimeout {CONNECT}");
        }
        if let Some(config) = &host.ssh_config {
            let _ = writeln!(text, "Include \"{config}\"");
            return text;
        }
        let _ = writeln!(text, "Include \"{}/.ssh/config\"", self.home.display());
        text + "Include /etc/ssh/ssh_config\nInclude /usr/etc/ssh/ssh_config\n"
    }
}

impl Client {
    /// Asks ssh what it makes of the host. What it is to be told is written into `folder`.
    pub(super) async fn new(host: &Host, folder: &Path, accept_new: bool) -> Result<Self, Unreachable> {
        let own = arguments(host);
        let by_hand = by_hand(host);
        let mut command = Command::new("ssh");
        command.args(host.ssh_config.iter().flat_map(|config| ["-F", config]));
        command.args(&own).args(["-o", "ControlPath=%d", "-G"]).arg(host.destination());
        let asked = run(&mut command).await.map_err(|error| no_client(&error))?;
        if !asked.status.success() {
            return Err(bad_configuration(host, &String::from_utf8_lossy(&asked.stderr)));
        }
        let resolved = Resolved::parse(&String::from_utf8_lossy(&asked.stdout));
        let config = folder.join("config");
        std::fs::write(&config, resolved.config(host, accept_new)).map_err(|error| Unreachable {
            stage: Stage::Client,
            message: format!("{} can't be written: {error}", config.display()),
            hint: None,
        })?;
        let mut arguments: Vec<OsString> = vec!["-F".into(), config.into()];
        // For ssh an argument comes before any configuration, and the first to say a thing wins: so these are
        // arguments as well, before what an inventory says.
        for first in [host_keys(accept_new), "PermitLocalCommand=no"] {
            arguments.extend(["-o".into(), first.into()]);
        }
        arguments.extend(own);
        arguments.push(host.destination().into());
        Ok(Self { arguments, by_hand, resolved })
    }

    #[cfg(test)]
    pub(super) fn imagined(by_hand: &str, resolved: Resolved) -> Self {
        Self { arguments: Vec::new(), by_hand: by_hand.to_owned(), resolved }
    }

    /// Starts a master in `folder`, with its socket `master` and its `log`. The error is what ssh says.
    pub(super) async fn start_master(&self, folder: &Path) -> Result<(), String> {
        let log = folder.join("log");
        let _ = std::fs::remove_file(&log);
        let mut command = Command::new("ssh");
        command.arg("-E").arg(&log).arg("-S").arg(folder.join("master"));
        // A killed haflow leaves its masters behind: they end by themselves.
        command.args(["-M", "-f", "-N", "-o", "ControlPersist=60s"]).args(&self.arguments);
        // The master that it leaves behind would keep pipes open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(AT_MOST, command.status()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(_)) => Err(std::fs::read_to_string(&log).unwrap_or_default()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("ssh wasn't done within {} s: it timed out", AT_MOST.as_secs())),
        }
    }

    /// Runs a command over a connection of its own.
    pub(super) async fn run(&self, command: &str) -> io::Result<Output> {
        run(&mut self.aside(command)).await
    }

    fn aside(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-T", "-S", "none", "-o", "ControlMaster=no"]).args(&self.arguments).arg(command);
        ssh
    }

    /// Begins a command over a connection of its own. It ends when it is dropped.
    pub(super) fn spawn(&self, command: &str) -> io::Result<Child> {
        let mut ssh = self.aside(command);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()
    }
}

/// Runs a program to its end, within bounds.
pub(super) async fn run(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    tokio::time::timeout(AT_MOST, command.output()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn no_client(error: &io::Error) -> Unreachable {
    let (message, hint) = match error.kind() {
        io::ErrorKind::NotFound => ("there is no `ssh` program here".into(), Some("install OpenSSH's client".into())),
        _ => (format!("`ssh` can't be run: {error}"), None),
    };
    Unreachable { stage: Stage::Client, message, hint }
}

/// Whether keys of hosts that aren't known yet are accepted; another key than the known one never is.
fn host_keys(accept_new: bool) -> &'static str {
    if accept_new { "StrictHostKeyChecking=accept-new" } else { "StrictHostKeyChecking=yes" }
}

/// What the inventory says, as options.
fn arguments(host: &Host) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    if let Some(user) = &host.user {
        option("-l", user.into());
    }
    if let Some(port) = host.port {
        option("-p", port.to_string().into());
    }
    if let Some(key) = &host.key {
        option("-i", key.into());
        option("-o", "IdentitiesOnly=yes".into());
    }
    if let Some(file) = &host.known_hosts {
        option("-o", format!("UserKnownHostsFile={file}").into());
    }
    if let Some(jump) = &host.jump {
        option("-J", jump.into());
    }
    for said in &host.ssh_options {
        option("-o", said.into());
    }
    arguments
}

/// The command with which a person logs in.
fn by_hand(host: &Host) -> String {
    let mut text = "ssh".to_owned();
    let mut option = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = write!(text, " {name} {value}");
        }
    };
    option("-p", host.port.map(|port| port.to_string()).as_deref());
    option("-i", host.key.as_deref());
    option("-J", host.jump.as_deref());
    option("-o", host.known_hosts.as_ref().map(|file| format!("UserKnownHostsFile={file}")).as_deref());
    option("-l", host.user.as_deref());
    option("-F", host.ssh_config.as_deref());
    for said in &host.ssh_options {
        option("-o", Some(&crate::shell::quote(said)));
    }
    format!("{text} {}", host.destination())
}

/// ssh's configuration is no good, or it takes no such host.
fn bad_configuration(host: &Host, said: &str) -> Unreachable {
    let first = lines(said).next().unwrap_or("it ended without a word").to_owned();
    Unreachable {
        stage: Stage::Client,
        message: format!("ssh can't do with its configuration for {}: {first}", host.name),
        hint: Some(format!("see what `ssh -G {}` says", host.destination())),
    }
}

/// The lines that say something.
pub(super) fn lines(said: &str) -> impl DoubleEndedIterator<Item = &str> {
    said.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_said_holds_where_it_notices_a_dead_connection_in_time() {
        for (interval, missed, ours) in [(0, 3, true), (5, 3, false), (10, 3, false), (60, 10, true), (5, 0, true)] {
            let text = format!("serveraliveinterval {interval}\nserveralivecountmax {missed}\nconnecttimeout none");
            let config = Resolved::parse(&text).config(&Host::named("a"), false);
            assert_eq!(config.contains("ServerAliveInterval 10\n"), ours, "{text}");
            assert!(
                config.contains("ConnectTimeout 15\n") && config.contains("StrictHostKeyChecking=yes\n"),
                "{config}"
            );
        }
        let config = Resolved::parse("connecttimeout 60").config(&Host::named("a"), true);
        assert!(
            !config.contains("ConnectTimeout") && config.contains("StrictHostKeyChecking=accept-new\n"),
            "{config}"
        );
    }
}
