//! The hosts of a run: each is connected once, and its lanes are lent out and taken back. A connection that
//! is lost is made again.

mod host;
pub(crate) mod kept;
pub(crate) mod lent;
mod local;
mod lock;
mod ssh;
pub(crate) mod survey;
pub(crate) mod transport;
pub(crate) mod unreachable;

use crate::clock::millis;
use crate::filters::Filters;
use crate::hosts::host::{LANES_PER_HOST, Link, Reached, Watcher, guard};
use crate::hosts::lent::Lent;
use crate::hosts::ssh::Control;
use crate::hosts::transport::{OpenLane, Transport, Way};
use crate::hosts::unreachable::{Stage, Unreachable};
use futures_util::future::join_all;
use haflow_model::{Event, Host, HostName};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

/// At most this many connects at once, well under what sshd on a bastion takes (`MaxStartups`).
const CONNECTS_AT_ONCE: usize = 8;
/// For how long a connection that was lost is tried for, where nobody says otherwise.
const RECONNECT: Duration = Duration::from_mins(2);
/// How often a lane that breaks while it takes the lock is replaced.
const MOST_LOSSES: u32 = 5;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The hosts of a run and their lanes.
pub struct Hosts {
    pub(super) all: BTreeMap<HostName, Arc<Reached>>,
    connects: Arc<Semaphore>,
    way: Way,
    /// The run that holds the hosts' locks, once they are to be held.
    pub(super) holder: OnceLock<Holder>,
    /// For how long a connection that was lost is tried for.
    reconnect: Mutex<Duration>,
    /// The receiver of events about connections that are lost and come back.
    watcher: Watcher,
    /// What runs the filters of what comes from them.
    pub(crate) filters: Filters,
}

/// A run that locks hosts.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Its id.
    pub run: String,
    /// What another run is told: which run, by whom, from where, since when.
    pub says: String,
    /// Whether it died and is resumed: then what is left of it on the hosts doesn't stand in its way.
    pub resumed: bool,
}

impl Hosts {
    /// Hosts that are reached as the inventory says, each when it is first needed. `accept_new` adds the keys
    /// of hosts that aren't known yet to the known ones. Fails where no folder for sockets can be made.
    pub fn from_inventory(hosts: &[Host], accept_new: bool) -> io::Result<Self> {
        Ok(Self::new(hosts, Way::Inventory(Control::new()?, accept_new)))
    }

    /// Hosts whose lanes `open` makes.
    pub fn with_lanes(hosts: &[Host], open: OpenLane) -> Self {
        Self::new(hosts, Way::Given(open))
    }

    fn new(hosts: &[Host], way: Way) -> Self {
        let watcher = Watcher::default();
        let all =
            hosts.iter().map(|host| (host.name.clone(), Arc::new(Reached::new(host, Arc::clone(&watcher))))).collect();
        let connects = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
        Self {
            all,
            connects,
            way,
            holder: OnceLock::new(),
            reconnect: Mutex::new(RECONNECT),
            watcher,
            filters: Filters::new(None),
        }
    }

    /// Has jq filters run in processes of their own: `program` serves them where it is begun with
    /// [`crate::filters::SERVE`].
    #[must_use]
    pub fn filters_by(self, program: PathBuf) -> Self {
        Self { filters: Filters::new(Some(program)), ..self }
    }

    /// From here on, a connection that is lost is tried for during `time`; two minutes where nobody says so.
    pub fn reconnect_for(&self, time: Duration) {
        *guard(&self.reconnect) = time;
    }

    /// All hosts, sorted by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.all.values().map(|reached| &reached.host)
    }

    /// Tells `watcher` of connections that are lost and come back, or nobody.
    pub(crate) fn watch(&self, watcher: Option<UnboundedSender<Event>>) {
        *guard(&self.watcher) = watcher;
    }

    /// A lane on `host` as `user`; `None` is the host's own `become`, or who logs in. Waits while all are
    /// lent out, and where the connection was lost until it is back.
    ///
    /// # Panics
    ///
    /// If `host` isn't one of these hosts.
    pub async fn lane(&self, host: &HostName, user: Option<&str>) -> Result<Lent<'_>, Unreachable> {
        let mut losses = 0;
        loop {
            let mut lent = self.unlocked_lane(host, user).await?;
            let Some(holder) = self.holder.get() else { return Ok(lent) };
            match lent.lock_again(holder).await {
                Err(error) if error.stage == Stage::Network && losses < MOST_LOSSES => losses += 1,
                locked => return locked.map(|()| lent),
            }
        }
    }

    /// A lane as by [`Hosts::lane`] where one can be had at once, and nobody waits for it or depends on it.
    pub(crate) async fn spare_lane(&self, host: &HostName, user: Option<&str>) -> Option<Lent<'_>> {
        let reached = &*self.all[host];
        let user = user.or(reached.host.run_as.as_deref()).map(str::to_owned);
        // The one that holds the lock might be lost over it.
        if guard(&reached.alone).contains(&user) {
            return None;
        }
        let slot = Arc::clone(&reached.slots).try_acquire_owned().ok()?;
        let link = reached.link();
        let Some(Ok((transport, _))) = link.connection.get() else { return None };
        let idle = guard(&link.idle).get_mut(&user).and_then(Vec::pop);
        let lane = match idle {
            Some(lane) => lane,
            None => match reached.open(transport, user.as_deref()).await {
                Ok(lane) => lane,
                Err(error) => {
                    if error.stage == Stage::Session && !link.has_idle() && reached.narrow() {
                        slot.forget();
                    }
                    return None;
                }
            },
        };
        let mut lent = Lent::new(lane, &self.filters, reached, link, user, slot);
        match self.holder.get() {
            Some(holder) => lent.lock_again(holder).await.ok().map(|()| lent),
            None => Some(lent),
        }
    }

    /// A lane as by [`Hosts::lane`], whether it holds the lock or not.
    pub(super) async fn unlocked_lane(&self, host: &HostName, user: Option<&str>) -> Result<Lent<'_>, Unreachable> {
        let reached = &*self.all[host];
        let user = user.or(reached.host.run_as.as_deref()).map(str::to_owned);
        let mut losses = 0;
        loop {
            let slot = Arc::clone(&reached.slots).acquire_owned().await.expect("never closed");
            let link = reached.link();
            let made = link.connection.get_or_init(|| self.connect(reached, &link)).await;
            let (transport, _) = made.as_ref().map_err(Clone::clone)?;
            let idle = guard(&link.idle).get_mut(&user).and_then(Vec::pop);
            let opened = match idle {
                Some(lane) => Ok(lane),
                None => reached.open(transport, user.as_deref()).await,
            };
            let lane = match opened {
                // The host makes do with the lanes that it has.
                Err(error) if error.stage == Stage::Session && !link.has_idle() && reached.narrow() => {
                    slot.forget();
                    continue;
                }
                Err(error) if error.stage == Stage::Session => {
                    reached.open_instead(&link, transport, user.as_deref()).await
                }
                Err(error) if error.stage == Stage::Network && losses < MOST_LOSSES => {
                    losses += 1;
                    reached.lost(&link, &error.message);
                    continue;
                }
                opened => opened,
            }?;
            return Ok(Lent::new(lane, &self.filters, reached, link, user, slot));
        }
    }

    /// Connects to these hosts, all at once; those that can't be reached.
    pub async fn reach_all(&self, names: &BTreeSet<HostName>) -> Vec<(HostName, Unreachable)> {
        let tried = join_all(names.iter().map(|name| async move { (name, self.reach(name).await) })).await;
        tried.into_iter().filter_map(|(name, reached)| Some((name.clone(), reached.err()?))).collect()
    }

    /// Why `host` can't be reached, where that is known already.
    pub(crate) fn unreachable(&self, host: &HostName) -> Option<Unreachable> {
        self.all.get(host)?.link().connection.get()?.as_ref().err().cloned()
    }

    /// How many lanes `host` takes at once, of those that a run would have, while one is lent out.
    pub(crate) async fn sessions(&self, host: &HostName) -> usize {
        let reached = &self.all[host];
        let link = reached.link();
        let Some(Ok((transport, _))) = link.connection.get() else { return 0 };
        let user = reached.host.run_as.as_deref();
        let further = (1..LANES_PER_HOST).map(|_| reached.open(transport, user));
        1 + join_all(further).await.into_iter().flatten().count()
    }

    /// Connects to `host` if that hasn't been done yet: how long it took, or why it can't be reached.
    pub(crate) async fn reach(&self, host: &HostName) -> Result<Duration, Unreachable> {
        let reached = &self.all[host];
        let link = reached.link();
        let connection = link.connection.get_or_init(|| self.connect(reached, &link)).await;
        connection.as_ref().map(|(_, took)| *took).map_err(Clone::clone)
    }

    async fn connect(&self, reached: &Reached, link: &Link) -> Result<(Transport, Duration), Unreachable> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(500);
        loop {
            let error = match self.try_connect(reached, link).await {
                Ok(transport) => {
                    let took = started.elapsed();
                    if link.again {
                        let (host, took_ms) = (reached.host.name.clone(), millis(took));
                        reached.tell(Event::HostConnected { host, took_ms });
                    }
                    return Ok((transport, took));
                }
                Err(error) => error,
            };
            if !link.again {
                return Err(error);
            }
            let within = *guard(&self.reconnect);
            let left = within.saturating_sub(started.elapsed());
            if left.is_zero() || !matches!(error.stage, Stage::Network | Stage::Refused | Stage::Session | Stage::Shell)
            {
                let message =
                    format!("the connection was lost and isn't back within {} s: {}", within.as_secs(), error.message);
                let (host, why, hint) = (reached.host.name.clone(), message.clone(), error.hint.clone());
                reached.tell(Event::HostUnreachable { host, why, hint });
                return Err(Unreachable { message, ..error });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_connect(&self, reached: &Reached, link: &Link) -> Result<Transport, Unreachable> {
        let _turn = self.connects.acquire().await.expect("never closed");
        let transport = Transport::connect(&self.way, &reached.host).await?;
        let user = reached.host.run_as.clone();
        let lane = reached.open(&transport, user.as_deref()).await?;
        guard(&link.idle).entry(user).or_default().push(lane);
        Ok(transport)
    }
}
