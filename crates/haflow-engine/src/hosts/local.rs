//! Lanes on this machine: a shell of its own for each, without sshd.

use crate::hosts::unreachable::{Stage, Unreachable};
use crate::lane::Lane;
use haflow_model::Host;
use rustix::process::geteuid;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a shell may take until it answers.
const ANSWERS: Duration = Duration::from_secs(30);

/// What a shell gets of this process's environment. The rest, in which there may be secrets, isn't for
/// scripts.
const ENVIRONMENT: [&str; 7] = ["HOME", "PATH", "USER", "LOGNAME", "SHELL", "TZ", "HAFLOW_LOCK"];

/// Opens a lane as `user`, or as who haflow runs as. Like one of sshd's it is a session of its own, so that
/// Ctrl-C on a terminal is haflow's alone, and it ends when its streams are closed.
pub(crate) async fn lane(host: &Host, user: Option<&str>) -> Result<Lane, Unreachable> {
    let root = geteuid().is_root();
    let user = user.filter(|user| !(root && *user == "root"));
    // A session of its own has no terminal: what runs as another user could type into this one's otherwise.
    let mut shell = Command::new("setsid");
    match user {
        Some(user) => shell.args(["sudo", "-n", "-u", user, "--", "sh"]),
        None => shell.arg("sh"),
    };
    shell.env_clear().envs(ENVIRONMENT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = &host.name;
    let failed = |why: String| {
        let (step, hint) = match user {
            Some(user) => (Stage::Sudo, format!("let `sudo -n -u {user} sh` work here, or run haflow as {user}")),
            None => (Stage::Shell, "haflow needs a POSIX `sh` on this machine".to_owned()),
        };
        Unreachable { stage: step, message: format!("no shell for {name} on this machine: {why}"), hint: Some(hint) }
    };
    // What isn't there is `setsid`: only that is looked for here.
    let mut child = shell.spawn().map_err(|error| Unreachable {
        stage: Stage::Shell,
        message: format!("no shell for {name} on this machine: `setsid` doesn't start: {error}"),
        hint: Some("haflow needs `setsid` (util-linux) here for tasks on this machine".to_owned()),
    })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
        unreachable!("all three are piped");
    };
    match tokio::time::timeout(ANSWERS, Lane::open(stdin, stdout, stderr, child)).await {
        Ok(Ok(lane)) => Ok(lane),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("it didn't answer within {} s", ANSWERS.as_secs()))),
    }
}
