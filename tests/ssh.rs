//! SSH as people have it, against real sshds on this machine.

mod common;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "common/events.rs"]
mod events;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "common/sshd.rs"]
mod server;

use server::{Sshd, is_root};
use std::path::Path;

/// Tasks that would all run at once, as three users where that can be had.
fn crowd() -> String {
    let users: &[&str] = if has_sudo() { &["()", "\"nobody\"", "\"daemon\""] } else { &["()"] };
    let tasks = users.iter().flat_map(|user| (0..8).map(move |number| (user, number)));
    let branches = tasks.map(|(user, number)| {
        let name = format!("{} {number}", user.trim_matches('"'));
        format!("|| act(node, #{{ name: \"{name}\", reason: \"a test\", user: {user}, apply: \"sleep 0.05\" }}),\n")
    });
    format!("let node = host(\"here\");\nparallel([\n{}]);", branches.collect::<String>())
}

fn has_sudo() -> bool {
    is_root() && Path::new("/usr/bin/sudo").exists()
}

#[test]
fn a_host_makes_do_with_the_sessions_that_it_gets() {
    for most in [1, 2, 3] {
        let Some(sshd) = Sshd::start(&format!("MaxSessions {most}")) else { return };
        let told = sshd.told("run", &crowd()).exits(0);
        assert_eq!(told.count("changed"), told.outcomes().len() as u64, "MaxSessions {most}");
        let log = sshd.log();
        assert!(log.contains("no more sessions"), "MaxSessions {most}: all of them fit:\n{log}");
        assert_eq!(log.matches("Accepted publickey").count(), 1, "MaxSessions {most}:\n{log}");
    }
}
