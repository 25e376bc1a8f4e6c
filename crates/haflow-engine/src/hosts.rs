//! The hosts of a run: each is connected once, and its lanes are lent out and taken back.

use crate::lane::{Lane, LaneError, Output, Process, Script};
use crate::ssh::{Connection, Step, Unreachable, control_directory};
use haflow_model::{Host, HostName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// At most this many lanes on a host: sshd allows ten sessions, and a slot frees late.
const LANES_PER_HOST: usize = 4;
/// At most this many connects at once, well under what sshd on a bastion takes (`MaxStartups`).
const CONNECTS_AT_ONCE: usize = 8;
/// So often a lock is tried for.
const BETWEEN_LOCKS: Duration = Duration::from_millis(500);
/// How long one attempt may take.
const LOOK_AT_LOCK: Duration = Duration::from_secs(30);
/// How long a lock that was lost with its lane is tried for.
const LOCK_AGAIN: Duration = Duration::from_secs(30);
/// How long a session whose lane was closed may go on counting for sshd, and how often that is looked at.
const SESSION_ENDS: Duration = Duration::from_secs(10);
const BETWEEN_SESSIONS: Duration = Duration::from_millis(50);
/// How long a killed script may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Opens a lane on a host as a user.
pub type OpenLane =
    Arc<dyn Fn(Host, Option<String>) -> Pin<Box<dyn Future<Output = Result<Lane, Unreachable>> + Send>> + Send + Sync>;

/// The hosts of a run and their lanes.
pub struct Hosts {
    all: BTreeMap<HostName, Arc<Reached>>,
    connects: Arc<Semaphore>,
    way: Way,
    /// Who holds the hosts' locks, once they are to be held.
    holder: OnceLock<String>,
}

/// How lanes come about.
enum Way {
    /// Over OpenSSH, with the sockets in this folder; whether keys of new hosts are accepted.
    Ssh(TempDir, bool),
    /// As the caller says: without a network.
    Given(OpenLane),
}

struct Reached {
    host: Host,
    /// Made together with the first lane, which is then idle; and how long that took.
    connection: OnceCell<Result<(Option<Connection>, Duration), Unreachable>>,
    slots: Arc<Semaphore>,
    /// How many slots there are: fewer where sshd takes fewer sessions.
    width: Mutex<usize>,
    idle: Mutex<HashMap<Option<String>, Vec<Lane>>>,
    /// Whether one of its lanes holds its lock.
    locked: AtomicBool,
    /// One lane at a time tries to.
    locking: tokio::sync::Mutex<()>,
}

/// A lane lent out. It goes back when it is dropped, unless it broke.
pub struct Lent<'h> {
    lane: Option<Lane>,
    reached: &'h Reached,
    user: Option<String>,
    _slot: OwnedSemaphorePermit,
}

impl Hosts {
    /// Hosts that are reached over SSH, each when it is first needed. `accept_new` adds the keys of hosts that aren't known yet to
    /// the known ones. Fails where no folder for sockets can be made.
    pub fn over_ssh(hosts: &[Host], accept_new: bool) -> io::Result<Self> {
        Ok(Self::new(hosts, Way::Ssh(control_directory()?, accept_new)))
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
                    connection: OnceCell::new(),
                    slots: Arc::new(Semaphore::new(LANES_PER_HOST)),
                    width: Mutex::new(LANES_PER_HOST),
                    idle: Mutex::default(),
                    locked: AtomicBool::new(false),
                    locking: tokio::sync::Mutex::default(),
                };
                (host.name.clone(), Arc::new(reached))
            })
            .collect();
        Self { all, connects: Arc::new(Semaphore::new(CONNECTS_AT_ONCE)), way, holder: OnceLock::new() }
    }

    /// All hosts, sorted by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.all.values().map(|reached| &reached.host)
    }

    /// A lane on `host` as `user`; `None` is the host's own `become`, or who logs in. Waits while all are lent out.
    ///
    /// # Panics
    ///
    /// If `host` isn't one of these hosts.
    pub async fn lane(&self, host: &HostName, user: Option<&str>) -> Result<Lent<'_>, Unreachable> {
        let reached = &self.all[host];
        let user = user.or(reached.host.run_as.as_deref()).map(str::to_owned);
        let (lane, slot) = loop {
            let slot = Arc::clone(&reached.slots).acquire_owned().await.expect("never closed");
            let connection = reached.connection.get_or_init(|| self.connect(reached)).await;
            let (connection, _) = connection.as_ref().map_err(Clone::clone)?;
            let idle = reached.idle.lock().expect("no panic holds it").get_mut(&user).and_then(Vec::pop);
            if let Some(lane) = idle {
                break (lane, slot);
            }
            match self.open(reached, connection.as_ref(), user.as_deref()).await {
                Ok(lane) => break (lane, slot),
                // The host makes do with the lanes that it has.
                Err(error) if error.step == Step::Session && !reached.has_idle() && reached.narrow() => slot.forget(),
                Err(error) if error.step == Step::Session => {
                    break (self.open_instead(reached, connection.as_ref(), user.as_deref()).await?, slot);
                }
                Err(error) => return Err(error),
            }
        };
        let mut lent = Lent { lane: Some(lane), reached, user, _slot: slot };
        if let Some(holder) = self.holder.get() {
            lent.lock_again(holder).await?;
        }
        Ok(lent)
    }

    /// Locks these hosts for `holder`, all or none, for as long as their lanes live: those that another run holds, each with what it says of
    /// itself. Hosts that can't be reached are left out.
    ///
    /// Until the locks are let go this waits for `wait` at most.
    pub async fn lock(&self, names: &BTreeSet<HostName>, holder: &str, wait: Duration) -> Vec<(HostName, String)> {
        let until = Instant::now() + wait;
        loop {
            let tried = crate::join_all(names.iter().map(|name| async move {
                let mut lane = self.lane(name, None).await.ok()?;
                match lane.lock(holder).await {
                    Ok(Locked::Held(by)) => Some((name.clone(), by)),
                    Ok(Locked::Taken | Locked::Impossible) | Err(_) => None,
                }
            }));
            let held: Vec<(HostName, String)> = tried.await.into_iter().flatten().collect();
            if held.is_empty() {
                // From here on a lane that breaks is no reason to go on without the lock.
                let _ = self.holder.set(holder.to_owned());
                return held;
            }
            // Whoever waits for others keeps nobody waiting.
            self.unlock();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return held;
            }
            tokio::time::sleep(BETWEEN_LOCKS.min(left)).await;
        }
    }

    /// Ends the lanes that hold a lock.
    fn unlock(&self) {
        for reached in self.all.values() {
            for lanes in reached.idle.lock().expect("no panic holds it").values_mut() {
                lanes.retain(|lane| !lane.locks);
            }
            reached.locked.store(false, Ordering::SeqCst);
        }
    }

    /// Connects to these hosts, all at once; those that can't be reached.
    pub async fn reach_all(&self, names: &BTreeSet<HostName>) -> Vec<(HostName, Unreachable)> {
        let tried = crate::join_all(names.iter().map(|name| async move { (name, self.reach(name).await) })).await;
        tried.into_iter().filter_map(|(name, reached)| Some((name.clone(), reached.err()?))).collect()
    }

    /// Why `host` can't be reached, where that is known already.
    pub(crate) fn unreachable(&self, host: &HostName) -> Option<&Unreachable> {
        self.all.get(host)?.connection.get()?.as_ref().err()
    }

    /// How many lanes `host` takes at once, of those that a run would have, while one is lent out.
    pub(crate) async fn sessions(&self, host: &HostName) -> usize {
        let reached = &self.all[host];
        let Some(Ok((connection, _))) = reached.connection.get() else { return 0 };
        let user = reached.host.run_as.as_deref();
        let further = (1..LANES_PER_HOST).map(|_| self.open(reached, connection.as_ref(), user));
        1 + crate::join_all(further).await.into_iter().flatten().count()
    }

    /// Connects to `host` if that hasn't been done yet: how long it took, or why it can't be reached.
    pub(crate) async fn reach(&self, host: &HostName) -> Result<Duration, Unreachable> {
        let reached = &self.all[host];
        let connection = reached.connection.get_or_init(|| self.connect(reached)).await;
        connection.as_ref().map(|(_, took)| *took).map_err(Clone::clone)
    }

    async fn connect(&self, reached: &Reached) -> Result<(Option<Connection>, Duration), Unreachable> {
        let started = Instant::now();
        let _turn = self.connects.acquire().await.expect("never closed");
        let connection = match &self.way {
            Way::Ssh(control, accept_new) => Some(Connection::open(&reached.host, control.path(), *accept_new).await?),
            Way::Given(_) => None,
        };
        let user = reached.host.run_as.clone();
        let lane = self.open(reached, connection.as_ref(), user.as_deref()).await?;
        reached.idle.lock().expect("no panic holds it").entry(user).or_default().push(lane);
        Ok((connection, started.elapsed()))
    }

    /// Opens a lane where sshd takes no further session, in the place of idle lanes of other users.
    async fn open_instead(
        &self,
        reached: &Reached,
        connection: Option<&Connection>,
        user: Option<&str>,
    ) -> Result<Lane, Unreachable> {
        let until = Instant::now() + SESSION_ENDS;
        loop {
            reached.end_idle();
            match self.open(reached, connection, user).await {
                Err(error) if error.step == Step::Session && Instant::now() < until => {
                    tokio::time::sleep(BETWEEN_SESSIONS).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open(
        &self,
        reached: &Reached,
        connection: Option<&Connection>,
        user: Option<&str>,
    ) -> Result<Lane, Unreachable> {
        match (connection, &self.way) {
            (Some(connection), _) => connection.lane(&reached.host, reached.sudo(user)).await,
            (None, Way::Given(open)) => open(reached.host.clone(), user.map(str::to_owned)).await,
            (None, Way::Ssh(..)) => unreachable!("over ssh there is a connection"),
        }
    }
}

/// What came of an attempt to lock a host.
enum Locked {
    Taken,
    /// Another run holds it, and says this of itself; empty where that isn't known.
    Held(String),
    /// The host has no way to: no `flock`, or no folder for it.
    Impossible,
}

impl Lent<'_> {
    /// Tries to lock the host for as long as this lane lives.
    async fn lock(&mut self, holder: &str) -> Result<Locked, LaneError> {
        let variables = [("holder".to_owned(), holder.to_owned())];
        let script = Script { text: include_str!("lock.sh"), variables: &variables, process: Process::Lane };
        let output = self.run(script, LOOK_AT_LOCK, &CancellationToken::new()).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(match said.trim_end().split_once(' ').unwrap_or((said.trim_end(), "")) {
            ("taken", _) => {
                if let Some(lane) = &mut self.lane {
                    lane.locks = true;
                }
                self.reached.locked.store(true, Ordering::SeqCst);
                Locked::Taken
            }
            // The same machine under another name.
            ("held", by) if by == holder => {
                self.reached.locked.store(true, Ordering::SeqCst);
                Locked::Taken
            }
            ("held", by) => Locked::Held(by.to_owned()),
            _ => Locked::Impossible,
        })
    }

    /// Sees to it that the host is locked, where the lane that held the lock has broken.
    async fn lock_again(&mut self, holder: &str) -> Result<(), Unreachable> {
        let reached = self.reached;
        if reached.locked.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _one = reached.locking.lock().await;
        let until = Instant::now() + LOCK_AGAIN;
        while !reached.locked.load(Ordering::SeqCst) {
            match self.lock(holder).await {
                Ok(Locked::Taken) => {}
                Ok(Locked::Impossible) => reached.locked.store(true, Ordering::SeqCst),
                // What the broken lane was running may still be on its way out.
                Ok(Locked::Held(_)) if Instant::now() < until => tokio::time::sleep(BETWEEN_LOCKS).await,
                Ok(Locked::Held(by)) => {
                    let name = &reached.host.name;
                    return Err(Unreachable {
                        step: Step::Lock,
                        message: format!(
                            "the lock of {name} was lost with its lane, and another run holds it now: {by}"
                        ),
                        hint: Some("look at what that one did, then run again".into()),
                    });
                }
                Err(error) => {
                    let message = format!("{} couldn't be locked again: {error}", reached.host.name);
                    return Err(Unreachable { step: Step::Lock, message, hint: None });
                }
            }
        }
        Ok(())
    }

    /// Runs one script. If it takes longer than `timeout`, or is running when `kill` is cancelled, it is killed with all
    /// that it started.
    pub async fn run(
        &mut self,
        script: Script<'_>,
        timeout: Duration,
        kill: &CancellationToken,
    ) -> Result<Output, LaneError> {
        let mut output = None;
        self.run_all(&[script], timeout, kill, |come| output = Some(come)).await?;
        output.ok_or_else(|| LaneError::Lost("an answer is missing".into()))
    }

    /// Runs scripts one after the other with a single round trip, each as [`Lent::run`] does, and hands over each output
    /// when it has come.
    pub async fn run_all(
        &mut self,
        scripts: &[Script<'_>],
        timeout: Duration,
        kill: &CancellationToken,
        each: impl FnMut(Output),
    ) -> Result<(), LaneError> {
        // Taken out for as long as the scripts run: a lane with half an answer in it isn't lent again.
        let Some(mut lane) = self.lane.take() else {
            return Err(LaneError::Lost("the lane broke before".into()));
        };
        let ran = tokio::select! {
            ran = lane.run(scripts, timeout, each) => ran,
            () = kill.cancelled() => Err(LaneError::Killed),
        };
        if ran.is_err() && lane.locks {
            self.reached.locked.store(false, Ordering::SeqCst);
        }
        match &ran {
            Ok(()) => self.lane = Some(lane),
            Err(LaneError::TimedOut { .. } | LaneError::Killed | LaneError::TooMuch) => {
                if let (Some(group), Some(Ok((Some(connection), _)))) = (lane.group(), self.reached.connection.get()) {
                    connection.kill(self.reached.sudo(self.user.as_deref()), group, GRACE).await;
                }
            }
            Err(LaneError::Lost(_)) => {
                if let Some(Ok((Some(connection), _))) = self.reached.connection.get()
                    && let Some(said) = connection.lost()
                {
                    return Err(LaneError::Lost(said));
                }
            }
        }
        ran
    }
}

impl Reached {
    /// The user to become by sudo, if that isn't who logs in.
    fn sudo<'u>(&self, user: Option<&'u str>) -> Option<&'u str> {
        user.filter(|user| self.host.user.as_deref() != Some(*user))
    }

    fn has_idle(&self) -> bool {
        self.idle.lock().expect("no panic holds it").values().any(|lanes| !lanes.is_empty())
    }

    /// Ends an idle lane: the one with the lock last.
    fn end_idle(&self) {
        let mut idle = self.idle.lock().expect("no panic holds it");
        let lanes = idle.values_mut().filter(|lanes| !lanes.is_empty());
        let lane = lanes.min_by_key(|lanes| lanes.iter().all(|lane| lane.locks)).map(|lanes| {
            let at = lanes.iter().position(|lane| !lane.locks).unwrap_or_default();
            lanes.swap_remove(at)
        });
        if lane.is_some_and(|lane| lane.locks) {
            self.locked.store(false, Ordering::SeqCst);
        }
    }

    /// Takes one slot for good, if that isn't the last.
    fn narrow(&self) -> bool {
        let mut width = self.width.lock().expect("no panic holds it");
        let several = *width > 1;
        *width -= usize::from(several);
        several
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            let mut idle = self.reached.idle.lock().expect("no panic holds it");
            idle.entry(self.user.take()).or_default().push(lane);
        }
    }
}
