//! What sshd, sudo and shells say where a connection is there and no lane comes of it.

use crate::hosts::ssh::client::{Client, lines};
use crate::hosts::unreachable::{Stage, Unreachable};
use haflow_model::Host;

/// Why there is no session on a connection.
pub(super) fn no_session(host: &Host, said: &str) -> Unreachable {
    let name = &host.name;
    if said.contains("refused") {
        Unreachable {
            stage: Stage::Session,
            message: format!("sshd on {name} opened no session: {said}"),
            hint: Some("look at MaxSessions in its sshd_config and at its log".into()),
        }
    } else {
        Unreachable { stage: Stage::Network, message: format!("the connection to {name} is gone: {said}"), hint: None }
    }
}

/// Why there is no lane of a user, from what came instead of it.
pub(super) fn no_sudo(host: &Host, user: &str, said: &str) -> Unreachable {
    let name = &host.name;
    // Beside the reason there are warnings, and what follows from it.
    let beside = |line: &str| line.contains("unable to resolve host") || line.contains("initializing audit plugin");
    let is_of_sudo =
        |line: &&str| (line.to_lowercase().contains("sudo") || line.starts_with("Sorry,")) && !beside(line);
    let line = lines(said).rfind(is_of_sudo);
    let line = line.or_else(|| lines(said).next_back()).unwrap_or("it ended without a word");
    let has = |sign: &str| line.to_lowercase().contains(sign);
    let (message, hint) = if has("not found") || has("unknown command") || has("no such file") {
        (format!("{name} has no sudo"), "install sudo, or log in as the user that tasks shall run as".to_owned())
    } else if has("unknown user") {
        (
            format!("{name} has no user `{user}` to become"),
            "correct `become` in the inventory, or `user` of the task".into(),
        )
    } else if has("must have a tty") {
        (
            format!("sudo on {name} asks for a terminal, which a run doesn't have"),
            "take `requiretty` out of its sudoers, for this user at least (Defaults:USER !requiretty)".into(),
        )
    } else if has("not in the sudoers") || has("not allowed") || has("may not run") {
        (
            format!("sudo on {name} doesn't let who logs in become `{user}`"),
            format!("allow it in sudoers (NOPASSWD), or log in as `{user}`"),
        )
    } else if has("password") || has("terminal is required") {
        (
            format!("sudo on {name} doesn't let tasks run as `{user}` without a password"),
            format!("allow it in sudoers (NOPASSWD), or log in as `{user}`"),
        )
    } else {
        (
            format!("sudo on {name} doesn't start a shell as `{user}`"),
            "see what `sudo -n -- sh -c true` says there".into(),
        )
    };
    Unreachable { stage: Stage::Sudo, message: format!("{message}: {line}"), hint: Some(hint) }
}

/// Why the one who logs in has no shell. `ran` is how `sh -c true` ended there, and what it printed.
pub(super) fn no_shell(host: &Host, client: &Client, said: &str, ran: Option<(i32, String)>) -> Unreachable {
    let name = &host.name;
    let user = &client.resolved.user;
    let noise = |line: &&str| !line.starts_with("Could not chdir to home directory");
    let (message, hint) = match ran {
        // 126 and 127 are a shell's own words for a program that it can't start.
        Some((exit, printed)) if exit != 0 && exit != 126 && exit != 127 => {
            let printed = lines(&printed).rfind(noise).map_or_else(String::new, |line| format!(": {line}"));
            (
                format!("the login shell of `{user}` on {name} runs nothing (it exits {exit}){printed}"),
                format!(
                    "`getent passwd {user}` there shows which it is; nologin and false are for users that nobody \
                     logs in as"
                ),
            )
        }
        _ => {
            let said = lines(said).rfind(noise).unwrap_or("it ended without a word").to_owned();
            (
                format!("{name} gave no POSIX shell: {said}"),
                format!("haflow needs `sh` there; see what `{} sh -c true` says", client.by_hand),
            )
        }
    };
    Unreachable { stage: Stage::Shell, message, hint: Some(hint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sudo_says_becomes_a_reason() {
        let host = Host::named("db1");
        for (said, message) in [
            ("sudo: a password is required", "without a password"),
            (
                "sudo: unable to resolve host db1: Name or service not known\nsudo: a password is required",
                "without a password",
            ),
            ("sudo: sorry, you must have a tty to run sudo", "asks for a terminal"),
            ("me is not in the sudoers file.", "doesn't let who logs in become `root`"),
            (
                "Sorry, user me is not allowed to execute '/usr/bin/sh' as root on db1.",
                "doesn't let who logs in become",
            ),
            ("sudo: unknown user nobody2\nsudo: error initializing audit plugin sudoers_audit", "no user `root`"),
            ("sh: 1: exec: sudo: not found", "has no sudo"),
            ("fish: Unknown command: sudo", "has no sudo"),
            ("sudo: Command not found.", "has no sudo"),
            ("sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", "doesn't start a shell"),
        ] {
            let seen = no_sudo(&host, "root", said);
            assert!(seen.message.contains(message), "{said}: {}", seen.message);
        }
    }
}
