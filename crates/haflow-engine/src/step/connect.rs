//! Connects to the hosts of a plan or a run.

use crate::clock::millis;
use crate::events::Events;
use crate::hosts::Hosts;
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{Event, HostName};
use std::collections::BTreeSet;

/// Connects to every host, all at once, and tells which were reached.
pub(crate) async fn connect_all(hosts: &Hosts, names: &BTreeSet<HostName>, events: &Events) {
    let mut connecting: FuturesUnordered<_> =
        names.iter().map(|name| async move { (name, hosts.reach(name).await) }).collect();
    while let Some((host, reached)) = connecting.next().await {
        let host = host.clone();
        let event = match reached {
            Ok(took) => Event::HostConnected { host, took_ms: millis(took) },
            Err(error) => Event::HostUnreachable { host, why: error.message, hint: error.hint },
        };
        events.emit(event).await;
    }
}
