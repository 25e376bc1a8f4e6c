//! Facts, plan and execute: everything that talks to hosts.
//!
//! A graph comes in, events go out. Nothing here knows a playbook's language, prints, or asks whether this is a dry run:
//! [`plan()`] stops where [`execute()`] would begin.

mod cut;
mod decide;
mod events;
pub mod filters;
#[cfg(fuzzing)]
pub mod fuzz;
mod hosts;
pub mod lane;
mod plan;
mod run;
mod shell;
mod step;

pub use events::{Events, Told};
pub use hosts::lent::Lent;
pub use hosts::ssh::{Step, Unreachable};
pub use hosts::survey::{Reach, Shell, reach_all};
pub use hosts::{Holder, Hosts, OpenLane};
pub use plan::{Flap, flaps, plan};
pub use run::past::{Past, past, told_steps};
pub use run::{Interrupt, Settings, execute};
pub use step::facts;

use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{Event, HostName};
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

/// 128 random bits, in hex.
fn random_hex() -> Result<String, getrandom::Error> {
    let mut bits = [0_u8; 16];
    getrandom::fill(&mut bits)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bits)))
}

/// A random number from 0 to 1: those who were turned away together shouldn't come back together.
fn spread() -> f64 {
    let random = random_hex().ok().and_then(|hex| u8::from_str_radix(&hex[..2], 16).ok());
    f64::from(random.unwrap_or(128)) / 255.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Awaits all at once; the results in the order of the futures.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

/// Connects to every host, all at once, and tells which were reached.
async fn connect_all(hosts: &Hosts, names: &BTreeSet<HostName>, events: &Events) {
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
