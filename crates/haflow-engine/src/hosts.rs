//! The hosts of a run: each is connected once, and its lanes are lent out and taken back.

use crate::lane::{Lane, LaneError, Output, Script};
use crate::ssh::{Connection, Unreachable, control_directory};
use haflow_model::{Host, HostName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// At most this many lanes on a host: sshd allows ten sessions, and a slot frees late.
const LANES_PER_HOST: usize = 4;
/// At most this many connects at once, well under what sshd on a bastion takes (`MaxStartups`).
const CONNECTS_AT_ONCE: usize = 8;
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
}

/// How lanes come about.
enum Way {
    /// Over OpenSSH, with the sockets in this folder.
    Ssh(TempDir),
    /// As the caller says: without a network.
    Given(OpenLane),
}

struct Reached {
    host: Host,
    /// Made together with the first lane, which is then idle; and how long that took.
    connection: OnceCell<Result<(Option<Connection>, Duration), Unreachable>>,
    slots: Arc<Semaphore>,
    idle: Mutex<HashMap<Option<String>, Vec<Lane>>>,
}

/// A lane lent out. It goes back when it is dropped, unless it broke.
pub struct Lent<'h> {
    lane: Option<Lane>,
    reached: &'h Reached,
    user: Option<String>,
    _slot: OwnedSemaphorePermit,
}

impl Hosts {
    /// Hosts that are reached over SSH, each when it is first needed. Fails where no folder for sockets can be made.
    pub fn over_ssh(hosts: &[Host]) -> io::Result<Self> {
        Ok(Self::new(hosts, Way::Ssh(control_directory()?)))
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
                    idle: Mutex::default(),
                };
                (host.name.clone(), Arc::new(reached))
            })
            .collect();
        Self { all, connects: Arc::new(Semaphore::new(CONNECTS_AT_ONCE)), way }
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
        let slot = Arc::clone(&reached.slots).acquire_owned().await.expect("never closed");
        let connection = reached.connection.get_or_init(|| self.connect(reached)).await;
        let (connection, _) = connection.as_ref().map_err(Clone::clone)?;
        let idle = reached.idle.lock().expect("no panic holds it").get_mut(&user).and_then(Vec::pop);
        let lane = match idle {
            Some(lane) => lane,
            None => self.open(reached, connection.as_ref(), user.as_deref()).await?,
        };
        Ok(Lent { lane: Some(lane), reached, user, _slot: slot })
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
            Way::Ssh(control) => Some(Connection::open(&reached.host, control.path()).await?),
            Way::Given(_) => None,
        };
        let user = reached.host.run_as.clone();
        let lane = self.open(reached, connection.as_ref(), user.as_deref()).await?;
        reached.idle.lock().expect("no panic holds it").entry(user).or_default().push(lane);
        Ok((connection, started.elapsed()))
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
            (None, Way::Ssh(_)) => unreachable!("over ssh there is a connection"),
        }
    }
}

impl Lent<'_> {
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
        match &ran {
            Ok(()) => self.lane = Some(lane),
            Err(LaneError::TimedOut { .. } | LaneError::Killed | LaneError::TooMuch) => {
                if let (Some(group), Some(Ok((Some(connection), _)))) = (lane.group(), self.reached.connection.get()) {
                    connection.kill(self.reached.sudo(self.user.as_deref()), group, GRACE).await;
                }
            }
            Err(LaneError::Lost(_)) => {}
        }
        ran
    }
}

impl Reached {
    /// The user to become by sudo, if that isn't who logs in.
    fn sudo<'u>(&self, user: Option<&'u str>) -> Option<&'u str> {
        user.filter(|user| self.host.user.as_deref() != Some(*user))
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
