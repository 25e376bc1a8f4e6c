//! What an inventory says and haflow doesn't do.

use super::file::{At, File};
use haflow_model::HostName;
use std::collections::BTreeMap;

/// How many hosts are named before the others are counted.
const MOST_NAMED: usize = 5;

/// Warnings by their places. The same of several hosts is one.
#[derive(Debug, Default)]
pub(super) struct Warnings(BTreeMap<(At, String), Vec<HostName>>);

impl Warnings {
    /// `what` says it in a sentence, of a host.
    pub(super) fn of_host(&mut self, host: &HostName, at: At, what: impl Into<String>) {
        self.0.entry((at, what.into())).or_default().push(host.clone());
    }

    /// The same, of no host.
    pub(super) fn of_all(&mut self, at: At, what: impl Into<String>) {
        self.0.entry((at, what.into())).or_default();
    }

    /// Each in a line, in the order of their places.
    pub(super) fn told(self, file: &File) -> Vec<String> {
        let tell = |((at, what), hosts): ((At, String), Vec<HostName>)| {
            let place = match at.line {
                0 => file.name.to_string(),
                line => format!("{}:{line}:{}", file.name, at.column),
            };
            match &hosts[..] {
                [] => format!("{what} ({place})"),
                hosts => {
                    let named: Vec<&str> = hosts.iter().take(MOST_NAMED).map(HostName::as_str).collect();
                    let more = hosts.len().saturating_sub(MOST_NAMED);
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    format!("{}{more}: {what} ({place})", named.join(", "))
                }
            }
        };
        self.0.into_iter().map(tell).collect()
    }
}
