//! The lock of a host: one run at a time.

use crate::hosts::host::guard;
use crate::hosts::lent::Lent;
use crate::hosts::unreachable::{Stage, Unreachable};
use crate::hosts::{Holder, Hosts};
use crate::lane::{LaneError, Process, Script};
use crate::random::spread;
use futures_util::future::join_all;
use haflow_model::HostName;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The pause between two attempts to take a lock.
const BETWEEN_LOCKS: Duration = Duration::from_millis(500);
/// How long one attempt at a lock may take: longer than ssh takes to notice a dead connection, so that this
/// isn't taken for that.
const LOOK_AT_LOCK: Duration = Duration::from_secs(45);

/// What came of an attempt to lock a host.
pub(crate) enum Locked {
    Taken,
    /// It is, and only this lane can hold it.
    Alone,
    /// Another run holds it, and says this of itself; empty where that isn't known.
    Held(String),
    /// Another run has held it since this one did.
    Lost(String),
    /// The host has no way to: no `flock`, or no folder for it.
    Impossible,
}

impl Hosts {
    /// Locks these hosts for `holder`, all or none, for as long as lanes or steps of it live: those that
    /// another run holds, each with what it says of itself. Hosts that can't be reached are left out.
    ///
    /// Until the locks are let go this waits for `wait` at most.
    pub async fn lock(&self, names: &BTreeSet<HostName>, holder: &Holder, wait: Duration) -> Vec<(HostName, String)> {
        let until = Instant::now() + wait;
        let mut tries = 0;
        loop {
            // The first of all alone: of two runs that want the same hosts in the same moment only one goes
            // further.
            let first: BTreeSet<_> = names.iter().take(1).cloned().collect();
            let mut held = self.try_lock(&first, holder).await;
            if held.is_empty() {
                held = self.try_lock(&names.iter().skip(1).cloned().collect(), holder).await;
            }
            tries += 1;
            if held.is_empty() {
                // From here on there is no lane without the lock.
                let _ = self.holder.set(holder.clone());
                return held;
            }
            // A run that waits for another one keeps no lock meanwhile, so that nobody waits for it.
            for reached in self.all.values() {
                let link = reached.link();
                for lanes in guard(&link.idle).values_mut() {
                    lanes.retain(|lane| !lane.locks);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            // This is tried once more in any case, after a pause that differs from run to run: each of two
            // runs may have been refused because of the other.
            if left.is_zero() && tries > 1 {
                return held;
            }
            let pause = BETWEEN_LOCKS.mul_f64(1.0 + spread());
            tokio::time::sleep(if left.is_zero() { pause } else { pause.min(left) }).await;
        }
    }

    async fn try_lock(&self, names: &BTreeSet<HostName>, holder: &Holder) -> Vec<(HostName, String)> {
        let tried = join_all(names.iter().map(|name| async move {
            let mut lane = self.unlocked_lane(name, None).await.ok()?;
            let way = if holder.resumed { "resumed" } else { "first" };
            match lane.lock(holder, way).await {
                Ok(Locked::Held(by) | Locked::Lost(by)) => Some((name.clone(), by)),
                Ok(Locked::Taken | Locked::Alone | Locked::Impossible) | Err(_) => None,
            }
        }));
        tried.await.into_iter().flatten().collect()
    }
}

impl Lent<'_> {
    /// Tries to lock the host for as long as this lane lives.
    pub(crate) async fn lock(&mut self, holder: &Holder, way: &str) -> Result<Locked, LaneError> {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = [variable("run", &holder.run), variable("holder", &holder.says), variable("way", way)];
        let script = Script { text: include_str!("lock.sh"), variables: &variables, process: Process::Lane };
        let output = self.run(script, LOOK_AT_LOCK, &CancellationToken::new()).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let locked = match said.trim_end().split_once(' ').unwrap_or((said.trim_end(), "")) {
            ("taken", _) => {
                guard(&self.reached.locked).insert(self.user.clone());
                Locked::Taken
            }
            ("alone", _) => Locked::Alone,
            ("held", by) => Locked::Held(by.to_owned()),
            ("lost", by) => Locked::Lost(by.to_owned()),
            _ => Locked::Impossible,
        };
        if let Some(lane) = &mut self.lane {
            lane.locks = matches!(locked, Locked::Taken | Locked::Alone);
        }
        if matches!(locked, Locked::Alone | Locked::Impossible) {
            guard(&self.reached.alone).insert(self.user.clone());
        }
        Ok(locked)
    }

    /// Sees to it that this lane holds the host's lock, as the others of the run do.
    pub(crate) async fn lock_again(&mut self, holder: &Holder) -> Result<(), Unreachable> {
        let has = self.lane.as_ref().is_none_or(|lane| lane.locks);
        if has || guard(&self.reached.alone).contains(&self.user) {
            return Ok(());
        }
        // Where this user has held none, or the first attempt came to nothing, nobody has been there since.
        let way = match guard(&self.reached.locked).contains(&self.user) {
            true => "again",
            false if holder.resumed => "resumed",
            false => "first",
        };
        let name = &self.reached.host.name;
        let message = match self.lock(holder, way).await {
            Ok(Locked::Taken | Locked::Alone | Locked::Impossible) => return Ok(()),
            Ok(Locked::Held(by) | Locked::Lost(by)) if way == "again" => {
                format!("the lock of {name} was lost with the connection, and another run was there since: {by}")
            }
            Ok(Locked::Held(by) | Locked::Lost(by)) => format!("another run is at work on {name}: {by}"),
            Err(LaneError::Lost(why)) => {
                return Err(Unreachable { stage: Stage::Network, message: why, hint: None });
            }
            Err(error) => format!("{name} couldn't be locked: {error}"),
        };
        let hint = Some("look at what that one did, then run again".into());
        Err(Unreachable { stage: Stage::Lock, message, hint })
    }
}
