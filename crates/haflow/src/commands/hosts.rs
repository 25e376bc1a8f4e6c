use crate::error::Error;
use crate::exit::Exit;
use crate::report::{clean, count, say};
use crate::session::{HostKeys, Where};
use clap::{Args, ValueEnum};
use haflow_engine::{Reach, reach_all};
use std::fmt::Write as _;

/// Reach every host and say what would get in the way.
///
/// SSH and its host key, the login, sudo where the inventory says `become`, a POSIX shell and the tools that
/// haflow uses, the clock, and whether each host resolves the others' names.
#[derive(Debug, Args)]
pub(super) struct Hosts {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    keys: HostKeys,
    /// How to tell it
    #[arg(long, value_enum, default_value_t = HostsFormat::Plain)]
    format: HostsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HostsFormat {
    /// For people
    Plain,
    /// One JSON object a line
    Json,
}

/// Clocks further apart than this are worth a word, in seconds.
const CLOCK: f64 = 5.0;

impl Hosts {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let inventory = self.place.existing()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|source| Error::Io {
            doing: "start",
            path: "the runtime".into(),
            source,
        })?;
        let hosts = haflow_engine::Hosts::from_inventory(&inventory.hosts, self.keys.accept_new).map_err(|source| {
            Error::Io { doing: "make a folder for sockets in", path: std::env::temp_dir(), source }
        })?;
        let reached = runtime.block_on(reach_all(&hosts));
        for reach in &reached {
            match self.format {
                HostsFormat::Json => say(&crate::json::text(&reach.to_json())),
                HostsFormat::Plain => print!("{}", clean(&lines(reach))),
            }
        }
        let held_up = reached.iter().filter(|reach| !reach.is_fine()).count();
        if self.format == HostsFormat::Plain {
            let nameless = match reached.iter().filter(|reach| reach.lacks_names()).count() {
                0 => String::new(),
                hosts => format!(
                    "; {} can't resolve the names of all others, which only matters where they form a cluster",
                    count(hosts, "host")
                ),
            };
            say(&format!(
                "{}, {} fine, {held_up} with something in the way{nameless}",
                count(reached.len(), "host"),
                reached.len() - held_up
            ));
        }
        Ok(if held_up == 0 { Exit::Done } else { Exit::Failed })
    }
}

fn lines(reach: &Reach) -> String {
    let mut text = String::new();
    match &reach.shell {
        Ok(shell) => {
            let _ = writeln!(
                text,
                "{}  reached in {} ms as {}; {}",
                reach.host,
                shell.took.as_millis(),
                shell.user,
                if shell.system.is_empty() { "unknown system" } else { &shell.system }
            );
            if shell.clock_ahead.abs() >= CLOCK {
                let way = if shell.clock_ahead > 0.0 { "ahead" } else { "behind" };
                let _ = writeln!(text, "    its clock is {:.0} s {way}", shell.clock_ahead.abs());
            }
            if !shell.missing.is_empty() {
                let _ = writeln!(text, "    it lacks {}: install coreutils", shell.missing.join(", "));
            }
            if !shell.unlocked.is_empty() {
                let _ = writeln!(text, "    {}: two runs at once aren't kept apart", shell.unlocked);
            }
            if shell.sessions == 1 {
                text.push_str("    its sshd takes one session at a time (MaxSessions): so does a run, task by task\n");
            }
            if !shell.unresolved.is_empty() {
                let _ = writeln!(text, "    it can't resolve {}", shell.unresolved.join(", "));
            }
            if !shell.looked_up {
                text.push_str("    looking up the other hosts' names there took too long, so not all were\n");
            }
        }
        Err((step, why, hint)) => {
            let _ = writeln!(text, "{}  not reached ({}): {why}", reach.host, step.as_str());
            if let Some(hint) = hint {
                let _ = writeln!(text, "    {hint}");
            }
        }
    }
    text
}
