//! Whose a lock is: the line that a run writes on its hosts, and what another run reads out of it.

use crate::error::Error;
use crate::journal;
use haflow_engine::Holder;
use haflow_model::HostName;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// What this run says on its hosts.
pub(super) fn holder(run: &str, resumed: bool) -> Holder {
    let user = std::env::var("USER").unwrap_or_else(|_| format!("user {}", rustix::process::getuid().as_raw()));
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC");
    let says = format!("run {run}, by {user} on {} (process {}), since {since}", here(), std::process::id());
    Holder { run: run.to_owned(), says, resumed }
}

/// This machine's name.
fn here() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Which hosts others are at work on.
pub(super) struct Held {
    /// A line for each host.
    pub(super) lines: String,
    /// What to do.
    help: String,
}

impl From<Held> for Error {
    fn from(Held { lines, help }: Held) -> Self {
        Self::Locked { hosts: lines, help }
    }
}

impl Held {
    pub(super) fn new(held: &[(HostName, String)]) -> Self {
        let mut lines = Vec::new();
        let mut died: Vec<&str> = Vec::new();
        let mut wait = false;
        for (host, by) in held {
            let dead = said(by).filter(Said::is_dead);
            let more = if dead.is_some() { "; that process is gone, what it began on the host isn't" } else { "" };
            let by = if by.is_empty() { "a run that doesn't say whose it is" } else { by };
            lines.push(format!("  {host}: {by}{more}"));
            match dead.filter(Said::is_kept) {
                Some(said) if !died.contains(&said.run) => died.push(said.run),
                Some(_) => {}
                None => wait = true,
            }
        }
        let mut todo: Vec<String> = died
            .iter()
            .map(|run| format!("go on with the run that died: haflow resume {}", shell_words::quote(run)))
            .collect();
        if wait {
            todo.push("wait for it to end, by `--wait 5m` for example".to_owned());
        }
        Self { lines: lines.join("\n"), help: todo.join("\n      ") }
    }
}

/// What a holder says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Said<'s> {
    run: &'s str,
    machine: &'s str,
    process: i32,
}

fn said(by: &str) -> Option<Said<'_>> {
    let (run, rest) = by.strip_prefix("run ")?.split_once(", by ")?;
    let (rest, _) = rest.rsplit_once("), since ")?;
    let (rest, process) = rest.rsplit_once(" (process ")?;
    let (_, machine) = rest.rsplit_once(" on ")?;
    Some(Said { run, machine, process: process.parse().ok()? })
}

impl Said<'_> {
    /// Whether its process was on this machine and is there no more. Of a run that is kept here its journal
    /// tells it, which a process has open that lives: a process's number may be another's by now.
    fn is_dead(&self) -> bool {
        if self.machine != here() {
            return false;
        }
        if let Some(kept) = self.kept() {
            return !kept.is_running();
        }
        Pid::from_raw(self.process).is_some_and(|process| test_kill_process(process) == Err(Errno::SRCH))
    }

    fn is_kept(&self) -> bool {
        self.kept().is_some()
    }

    fn kept(&self) -> Option<journal::KeptRun> {
        journal::find(Some(self.run)).ok().filter(|kept| kept.run == self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_holder_says_is_understood() {
        let by = "run 20261122-1-ab, by ann (process on) on vm (process 15831), since 2026-11-22 15:49:00 UTC";
        assert_eq!(said(by), Some(Said { run: "20261122-1-ab", machine: "vm", process: 15831 }));
        assert_eq!(said(""), None);
        assert_eq!(said("run x, by y"), None);
        let mine = holder("20261122-1-ab", false).says;
        assert_eq!(said(&mine).map(|said| said.process), i32::try_from(std::process::id()).ok());
    }

    #[test]
    fn only_a_process_of_this_machine_that_is_gone_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = i32::try_from(child.id()).unwrap();
        child.wait().unwrap();
        let alive = i32::try_from(std::process::id()).unwrap();
        let machine = here();
        let dead = |machine: &str, process| Said { run: "there is no such run", machine, process }.is_dead();
        assert!(dead(&machine, gone));
        assert!(!dead(&machine, alive));
        assert!(!dead("elsewhere", gone));
    }
}
