//! The hosts of a run: each is connected once, and its lanes are lent out and taken back. A connection that is lost is made again.

pub(crate) mod lent;
mod local;
pub(crate) mod ssh;
pub(crate) mod survey;
mod transport;

use crate::filters::Filters;
use crate::hosts::lent::{Lent, Locked};
use crate::hosts::ssh::{Control, Step, Unreachable};
use crate::hosts::transport::{Transport, Way};
use crate::lane::{Lane, LaneError, Script, Shell};
use haflow_model::{Event, Host, HostName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OnceCell, Semaphore};

/// At most this many lanes on a host: sshd allows ten sessions, and a slot frees late.
const LANES_PER_HOST: usize = 4;
/// At most this many connects at once, well under what sshd on a bastion takes (`MaxStartups`).
const CONNECTS_AT_ONCE: usize = 8;
/// So often a lock is tried for.
const BETWEEN_LOCKS: Duration = Duration::from_millis(500);
/// How long a session whose lane was closed may go on counting for sshd, and how often that is looked at.
const SESSION_ENDS: Duration = Duration::from_secs(10);
const BETWEEN_SESSIONS: Duration = Duration::from_millis(50);
/// For how long a connection that was lost is tried for, where nobody says otherwise.
const RECONNECT: Duration = Duration::from_mins(2);
/// So often a lane that breaks while it takes the lock is replaced.
const MOST_LOSSES: u32 = 5;
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Opens a lane on a host as a user.
pub type OpenLane =
    Arc<dyn Fn(Host, Option<String>) -> Pin<Box<dyn Future<Output = Result<Lane, Unreachable>> + Send>> + Send + Sync>;

/// The hosts of a run and their lanes.
pub struct Hosts {
    all: BTreeMap<HostName, Arc<Reached>>,
    connects: Arc<Semaphore>,
    way: Way,
    /// The run that holds the hosts' locks, once they are to be held.
    holder: OnceLock<Holder>,
    /// For how long a connection that was lost is tried for.
    reconnect: Mutex<Duration>,
    /// Who is told of connections that are lost and come back.
    watcher: Mutex<Option<UnboundedSender<Event>>>,
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

pub(crate) struct Reached {
    pub(crate) host: Host,
    /// Replaced when it breaks.
    link: Mutex<Arc<Link>>,
    slots: Arc<Semaphore>,
    /// How many slots there are: fewer where sshd takes fewer sessions.
    width: Mutex<usize>,
    /// The shells of lanes that broke, and their users: they may not know it yet.
    broken: Mutex<Vec<(Option<String>, Shell)>>,
    /// The users whose lanes have held its lock: each has one of their own there.
    pub(crate) locked: Mutex<BTreeSet<Option<String>>>,
    /// Those of whose lanes only one can hold it, since they can't write down whose it is, or none.
    pub(crate) alone: Mutex<BTreeSet<Option<String>>>,
    /// Steps that are kept there, by the ids of their tasks, and their users.
    pub(crate) kept: Mutex<HashMap<String, Vec<KeptStep>>>,
    /// Those whose ends have been told: they can go.
    told: Mutex<Vec<KeptStep>>,
}

/// A step whose result is kept on the host, behind the user that it was begun as.
type KeptStep = (Option<String>, String);

/// A connection, and the idle lanes that came of it.
#[derive(Default)]
pub(crate) struct Link {
    /// Whether there was one before.
    again: bool,
    /// Made together with the first lane, which is then idle; and how long that took.
    pub(crate) connection: OnceCell<Result<(Transport, Duration), Unreachable>>,
    pub(crate) idle: Mutex<HashMap<Option<String>, Vec<Lane>>>,
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
        let all = hosts
            .iter()
            .map(|host| {
                let reached = Reached {
                    host: host.clone(),
                    link: Mutex::default(),
                    slots: Arc::new(Semaphore::new(LANES_PER_HOST)),
                    width: Mutex::new(LANES_PER_HOST),
                    broken: Mutex::default(),
                    locked: Mutex::default(),
                    alone: Mutex::default(),
                    kept: Mutex::default(),
                    told: Mutex::default(),
                };
                (host.name.clone(), Arc::new(reached))
            })
            .collect();
        let connects = Arc::new(Semaphore::new(CONNECTS_AT_ONCE));
        Self {
            all,
            connects,
            way,
            holder: OnceLock::new(),
            reconnect: Mutex::new(RECONNECT),
            watcher: Mutex::default(),
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

    fn tell(&self, event: Event) {
        if let Some(watcher) = &*guard(&self.watcher) {
            // Nobody listens any more once the run is over.
            let _ = watcher.send(event);
        }
    }

    /// A lane on `host` as `user`; `None` is the host's own `become`, or who logs in. Waits while all are lent out, and where the
    /// connection was lost until it is back.
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
                Err(error) if error.step == Step::Network && losses < MOST_LOSSES => losses += 1,
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
            None => match self.open(reached, transport, user.as_deref()).await {
                Ok(lane) => lane,
                Err(error) => {
                    if error.step == Step::Session && !link.has_idle() && reached.narrow() {
                        slot.forget();
                    }
                    return None;
                }
            },
        };
        let mut lent = Lent::new(lane, self, reached, link, user, slot);
        match self.holder.get() {
            Some(holder) => lent.lock_again(holder).await.ok().map(|()| lent),
            None => Some(lent),
        }
    }

    async fn unlocked_lane(&self, host: &HostName, user: Option<&str>) -> Result<Lent<'_>, Unreachable> {
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
                None => self.open(reached, transport, user.as_deref()).await,
            };
            let lane = match opened {
                // The host makes do with the lanes that it has.
                Err(error) if error.step == Step::Session && !link.has_idle() && reached.narrow() => {
                    slot.forget();
                    continue;
                }
                Err(error) if error.step == Step::Session => {
                    self.open_instead(reached, &link, transport, user.as_deref()).await
                }
                Err(error) if error.step == Step::Network && losses < MOST_LOSSES => {
                    losses += 1;
                    self.lost(reached, &link, &error.message);
                    continue;
                }
                opened => opened,
            }?;
            return Ok(Lent::new(lane, self, reached, link, user, slot));
        }
    }

    /// A lane of this link broke. Where the connection is gone too, the next who needs a lane makes another one.
    pub(crate) async fn broke(
        &self,
        reached: &Reached,
        link: &Arc<Link>,
        user: Option<&String>,
        lane: Lane,
        why: &str,
    ) {
        if let Some(shell) = lane.shell() {
            guard(&reached.broken).push((user.cloned(), shell));
        }
        drop(lane);
        if let Some(Ok((transport, _))) = link.connection.get()
            && !transport.lives().await
        {
            self.lost(reached, link, why);
        }
    }

    fn lost(&self, reached: &Reached, link: &Arc<Link>, why: &str) {
        let mut current = guard(&reached.link);
        if Arc::ptr_eq(&current, link) {
            *current = Arc::new(Link { again: true, ..Link::default() });
            self.tell(Event::HostLost { host: reached.host.name.clone(), why: why.to_owned() });
        }
    }

    /// Locks these hosts for `holder`, all or none, for as long as lanes or steps of it live: those that another run holds, each with what it says
    /// of itself. Hosts that can't be reached are left out.
    ///
    /// Until the locks are let go this waits for `wait` at most.
    pub async fn lock(&self, names: &BTreeSet<HostName>, holder: &Holder, wait: Duration) -> Vec<(HostName, String)> {
        let until = Instant::now() + wait;
        let mut tries = 0;
        loop {
            // The first of all alone: of two runs that want the same hosts in the same moment only one goes further.
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
            // Whoever waits for others keeps nobody waiting.
            for reached in self.all.values() {
                let link = reached.link();
                for lanes in guard(&link.idle).values_mut() {
                    lanes.retain(|lane| !lane.locks);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            // Once more in any case, and not both at once: others may have been refused by us.
            if left.is_zero() && tries > 1 {
                return held;
            }
            let pause = BETWEEN_LOCKS.mul_f64(1.0 + crate::spread());
            tokio::time::sleep(if left.is_zero() { pause } else { pause.min(left) }).await;
        }
    }

    async fn try_lock(&self, names: &BTreeSet<HostName>, holder: &Holder) -> Vec<(HostName, String)> {
        let tried = crate::join_all(names.iter().map(|name| async move {
            let mut lane = self.unlocked_lane(name, None).await.ok()?;
            let way = if holder.resumed { "resumed" } else { "first" };
            match lane.lock(holder, way).await {
                Ok(Locked::Held(by) | Locked::Lost(by)) => Some((name.clone(), by)),
                Ok(Locked::Taken | Locked::Alone | Locked::Impossible) | Err(_) => None,
            }
        }));
        tried.await.into_iter().flatten().collect()
    }

    /// Connects to these hosts, all at once; those that can't be reached.
    pub async fn reach_all(&self, names: &BTreeSet<HostName>) -> Vec<(HostName, Unreachable)> {
        let tried = crate::join_all(names.iter().map(|name| async move { (name, self.reach(name).await) })).await;
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
        let further = (1..LANES_PER_HOST).map(|_| self.open(reached, transport, user));
        1 + crate::join_all(further).await.into_iter().flatten().count()
    }

    /// Connects to `host` if that hasn't been done yet: how long it took, or why it can't be reached.
    pub(crate) async fn reach(&self, host: &HostName) -> Result<Duration, Unreachable> {
        let reached = &self.all[host];
        let link = reached.link();
        let connection = link.connection.get_or_init(|| self.connect(reached, &link)).await;
        connection.as_ref().map(|(_, took)| *took).map_err(Clone::clone)
    }

    /// The end of a task was told: what is kept of its steps can go, unless they are in doubt.
    pub(crate) fn told(&self, host: &HostName, task: &str, in_doubt: bool) {
        let reached = &self.all[host];
        let steps = guard(&reached.kept).remove(task).unwrap_or_default();
        if !in_doubt {
            guard(&reached.told).extend(steps);
        }
    }

    /// The end of this step was told before the run was resumed: what may be kept of it can go.
    ///
    /// # Panics
    ///
    /// If `host` isn't one of these hosts.
    pub fn left(&self, host: &HostName, user: Option<&str>, step: &str) {
        let reached = &self.all[host];
        let user = user.or(reached.host.run_as.as_deref()).map(str::to_owned);
        guard(&reached.told).push((user, step.to_owned()));
    }

    /// Takes away what is kept of steps whose ends have been told: nothing of the run is left on its hosts. What can't be taken away now is by a
    /// later run, after a day.
    pub async fn tidy(&self) {
        crate::join_all(self.all.values().map(|reached| async move {
            let users: BTreeSet<Option<String>> = guard(&reached.told).iter().map(|(user, _)| user.clone()).collect();
            for user in users {
                let link = reached.link();
                if matches!(link.connection.get(), Some(Ok(_)))
                    && let Ok(mut lane) = self.unlocked_lane(&reached.host.name, user.as_deref()).await
                {
                    lane.tidy().await;
                }
            }
        }))
        .await;
    }

    async fn connect(&self, reached: &Reached, link: &Link) -> Result<(Transport, Duration), Unreachable> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(500);
        loop {
            let error = match self.try_connect(reached, link).await {
                Ok(transport) => {
                    let took = started.elapsed();
                    if link.again {
                        let (host, took_ms) = (reached.host.name.clone(), crate::millis(took));
                        self.tell(Event::HostConnected { host, took_ms });
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
            if left.is_zero() || !matches!(error.step, Step::Network | Step::Refused | Step::Session | Step::Shell) {
                let message =
                    format!("the connection was lost and isn't back within {} s: {}", within.as_secs(), error.message);
                let (host, why, hint) = (reached.host.name.clone(), message.clone(), error.hint.clone());
                self.tell(Event::HostUnreachable { host, why, hint });
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
        let lane = self.open(reached, &transport, user.as_deref()).await?;
        guard(&link.idle).entry(user).or_default().push(lane);
        Ok(transport)
    }

    /// Opens a lane where sshd takes no further session, in the place of idle lanes of other users.
    async fn open_instead(
        &self,
        reached: &Reached,
        link: &Link,
        transport: &Transport,
        user: Option<&str>,
    ) -> Result<Lane, Unreachable> {
        let until = Instant::now() + SESSION_ENDS;
        loop {
            link.end_idle();
            match self.open(reached, transport, user).await {
                Err(error) if error.step == Step::Session && Instant::now() < until => {
                    tokio::time::sleep(BETWEEN_SESSIONS).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open(&self, reached: &Reached, transport: &Transport, user: Option<&str>) -> Result<Lane, Unreachable> {
        let mut lane = transport.lane(&reached.host, user).await?;
        let broken = reached.broken(user);
        if !broken.is_empty() && end_shells(&mut lane, &broken).await.is_ok() {
            guard(&reached.broken).retain(|(_, shell)| !broken.contains(shell));
        }
        Ok(lane)
    }
}

/// What a mutex guards. Nothing that holds one panics.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic holds it")
}

/// How long it may take to end a shell.
const END: Duration = Duration::from_secs(30);

/// Ends the shells of lanes that broke, so that nothing that was sent to them can still begin. What they have begun goes on.
async fn end_shells(lane: &mut Lane, shells: &[Shell]) -> Result<(), LaneError> {
    const TEXT: &str = r#"
        printf '%s\n' "$shells" | while read -r process started; do
            __haflow_process "$process" && [ "$__haflow_start" = "$started" ] || continue
            __haflow_owner "$process" && [ "$__haflow_owner" = "$__haflow_uid" ] || continue
            kill -KILL "$process"
        done
    "#;
    let shells: Vec<String> = shells.iter().map(|shell| format!("{} {}", shell.process, shell.started)).collect();
    let variables = [("shells".to_owned(), shells.join("\n"))];
    let script = Script { text: TEXT, variables: &variables, process: crate::lane::Process::Forked };
    lane.run(&[script], END, drop).await
}

impl Reached {
    fn link(&self) -> Arc<Link> {
        Arc::clone(&guard(&self.link))
    }

    /// The shells of this user's lanes that broke and may still live.
    fn broken(&self, user: Option<&str>) -> Vec<Shell> {
        guard(&self.broken).iter().filter(|(of, _)| of.as_deref() == user).map(|(_, shell)| *shell).collect()
    }

    /// The steps of this user's whose ends have been told.
    pub(crate) fn take_told(&self, user: Option<&String>) -> Vec<String> {
        let mut told = guard(&self.told);
        told.extract_if(.., |(of, _)| of.as_ref() == user).map(|(_, step)| step).collect()
    }

    /// These weren't taken away: somebody else has to.
    pub(crate) fn told_again(&self, user: Option<&String>, steps: Vec<String>) {
        guard(&self.told).extend(steps.into_iter().map(|step| (user.cloned(), step)));
    }

    /// Takes one slot for good, if that isn't the last.
    fn narrow(&self) -> bool {
        let mut width = guard(&self.width);
        let several = *width > 1;
        *width -= usize::from(several);
        several
    }
}

impl Link {
    fn has_idle(&self) -> bool {
        guard(&self.idle).values().any(|lanes| !lanes.is_empty())
    }

    /// Ends an idle lane.
    fn end_idle(&self) {
        let mut idle = guard(&self.idle);
        let _ = idle.values_mut().find_map(Vec::pop);
    }
}
