//! Options that several commands have.

use crate::error::Error;
use crate::report::Format;
use crate::session::Session;
use clap::Args;
use jiff::SignedDuration;

/// How it is told.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// How to tell what happens; human on a terminal, otherwise plain
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// Tell what is as it should be too
    #[arg(short, long, overrides_with = "verbose")]
    pub(super) verbose: bool,
    /// Exit 2 where there is or was something to change
    #[arg(long)]
    pub(super) detailed_exitcode: bool,
}

impl Output {
    pub(super) fn format(&self) -> Format {
        self.format.unwrap_or_else(Format::detect)
    }
}

/// What a run does about others.
#[derive(Debug, Args)]
pub(super) struct Others {
    /// Wait so long for other runs on the same hosts to end: 30s, 5m
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = span)]
    pub(super) wait: SignedDuration,
    /// Try so long for a connection that is lost; what runs on the host goes on meanwhile
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = span)]
    pub(super) reconnect: SignedDuration,
}

impl Others {
    /// Locks the session's hosts for a run; whether that needed a wait.
    pub(super) fn lock(&self, session: &Session, run: &str) -> Result<bool, Error> {
        session.hosts.reconnect_for(self.reconnect.unsigned_abs());
        session.lock(run, self.wait)
    }

    /// The same for a run that died.
    pub(super) fn lock_again(&self, session: &Session, run: &str) -> Result<bool, Error> {
        session.hosts.reconnect_for(self.reconnect.unsigned_abs());
        session.lock_again(run, self.wait)
    }
}

/// A number and `s`, `m`, `h` or `d`.
pub(super) fn span(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{text}` isn't a time; for example 30m, 12h, 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(SignedDuration::from_secs(i64::from(number) * seconds))
}
