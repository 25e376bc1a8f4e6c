//! One host: its connection, made again when it is lost, and what is known of its lanes.

use crate::hosts::transport::Transport;
use crate::hosts::unreachable::{Stage, Unreachable};
use crate::lane::{Lane, LaneError, Process, Script, Shell};
use haflow_model::{Event, Host};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OnceCell, Semaphore};

/// At most this many lanes on a host: sshd allows ten sessions, and a slot frees late.
pub(super) const LANES_PER_HOST: usize = 4;
/// How long a session whose lane was closed may go on counting for sshd, and how often that is looked at.
const SESSION_ENDS: Duration = Duration::from_secs(10);
const BETWEEN_SESSIONS: Duration = Duration::from_millis(50);
/// How long it may take to end a shell.
const END: Duration = Duration::from_secs(30);

/// The receiver of events about connections that are lost and come back, if there is one.
pub(crate) type Watcher = Arc<Mutex<Option<UnboundedSender<Event>>>>;

pub(crate) struct Reached {
    pub(crate) host: Host,
    /// Replaced when it breaks.
    pub(super) link: Mutex<Arc<Link>>,
    pub(super) slots: Arc<Semaphore>,
    /// How many slots there are: fewer where sshd takes fewer sessions.
    pub(super) width: Mutex<usize>,
    /// The shells of lanes that broke, and their users: they may not know it yet.
    pub(super) broken: Mutex<Vec<(Option<String>, Shell)>>,
    /// The users whose lanes have held its lock: each has one of their own there.
    pub(crate) locked: Mutex<BTreeSet<Option<String>>>,
    /// Those of whose lanes only one can hold it, since they can't write down whose it is, or none.
    pub(crate) alone: Mutex<BTreeSet<Option<String>>>,
    /// Steps that are kept there, by the ids of their tasks, and their users.
    pub(crate) kept: Mutex<HashMap<String, Vec<KeptStep>>>,
    /// Those whose ends have been told: they can go.
    pub(super) ended: Mutex<Vec<KeptStep>>,
    /// The receiver of events about its connection; all hosts share it.
    pub(super) watcher: Watcher,
}

/// A step whose result is kept on the host, behind the user that it was begun as.
pub(super) type KeptStep = (Option<String>, String);

/// A connection, and the idle lanes that came of it.
#[derive(Default)]
pub(crate) struct Link {
    /// Whether there was one before.
    pub(super) again: bool,
    /// Made together with the first lane, which is then idle; and how long that took.
    pub(crate) connection: OnceCell<Result<(Transport, Duration), Unreachable>>,
    pub(crate) idle: Mutex<HashMap<Option<String>, Vec<Lane>>>,
}

impl Reached {
    /// A host that nothing is known of yet.
    pub(super) fn new(host: &Host, watcher: Watcher) -> Self {
        Self {
            host: host.clone(),
            link: Mutex::default(),
            slots: Arc::new(Semaphore::new(LANES_PER_HOST)),
            width: Mutex::new(LANES_PER_HOST),
            broken: Mutex::default(),
            locked: Mutex::default(),
            alone: Mutex::default(),
            kept: Mutex::default(),
            ended: Mutex::default(),
            watcher,
        }
    }

    /// The connection, as it is now.
    pub(super) fn link(&self) -> Arc<Link> {
        Arc::clone(&guard(&self.link))
    }

    /// The shells of this user's lanes that broke and may still live.
    fn broken(&self, user: Option<&str>) -> Vec<Shell> {
        guard(&self.broken).iter().filter(|(of, _)| of.as_deref() == user).map(|(_, shell)| *shell).collect()
    }

    /// The steps of this user's whose ends have been told.
    pub(crate) fn take_ended(&self, user: Option<&String>) -> Vec<String> {
        let mut ended = guard(&self.ended);
        ended.extract_if(.., |(of, _)| of.as_ref() == user).map(|(_, step)| step).collect()
    }

    /// These weren't taken away: somebody else has to.
    pub(crate) fn ended_again(&self, user: Option<&String>, steps: Vec<String>) {
        guard(&self.ended).extend(steps.into_iter().map(|step| (user.cloned(), step)));
    }

    /// Takes one slot for good, if that isn't the last.
    pub(super) fn narrow(&self) -> bool {
        let mut width = guard(&self.width);
        let several = *width > 1;
        *width -= usize::from(several);
        several
    }

    /// A lane of this link broke. Where the connection is gone too, the next who needs a lane makes another
    /// one.
    pub(crate) async fn broke(&self, link: &Arc<Link>, user: Option<&String>, lane: Lane, why: &str) {
        if let Some(shell) = lane.shell() {
            guard(&self.broken).push((user.cloned(), shell));
        }
        drop(lane);
        if let Some(Ok((transport, _))) = link.connection.get()
            && !transport.lives().await
        {
            self.lost(link, why);
        }
    }

    /// The connection of this link is gone: whoever needs a lane next makes another one.
    pub(super) fn lost(&self, link: &Arc<Link>, why: &str) {
        let mut current = guard(&self.link);
        if Arc::ptr_eq(&current, link) {
            *current = Arc::new(Link { again: true, ..Link::default() });
            self.tell(Event::HostLost { host: self.host.name.clone(), why: why.to_owned() });
        }
    }

    /// Opens a lane on a transport, after the shells of lanes that broke have been ended.
    pub(super) async fn open(&self, transport: &Transport, user: Option<&str>) -> Result<Lane, Unreachable> {
        let mut lane = transport.lane(&self.host, user).await?;
        let broken = self.broken(user);
        if !broken.is_empty() && end_shells(&mut lane, &broken).await.is_ok() {
            guard(&self.broken).retain(|(_, shell)| !broken.contains(shell));
        }
        Ok(lane)
    }

    /// Opens a lane where sshd takes no further session, in the place of idle lanes of other users.
    pub(super) async fn open_instead(
        &self,
        link: &Link,
        transport: &Transport,
        user: Option<&str>,
    ) -> Result<Lane, Unreachable> {
        let until = Instant::now() + SESSION_ENDS;
        loop {
            link.end_idle();
            match self.open(transport, user).await {
                Err(error) if error.stage == Stage::Session && Instant::now() < until => {
                    tokio::time::sleep(BETWEEN_SESSIONS).await;
                }
                opened => return opened,
            }
        }
    }

    /// Tells the watcher, if there is one.
    pub(super) fn tell(&self, event: Event) {
        if let Some(watcher) = &*guard(&self.watcher) {
            // Nobody listens any more once the run is over.
            let _ = watcher.send(event);
        }
    }
}

impl Link {
    pub(super) fn has_idle(&self) -> bool {
        guard(&self.idle).values().any(|lanes| !lanes.is_empty())
    }

    /// Ends an idle lane.
    fn end_idle(&self) {
        let mut idle = guard(&self.idle);
        let _ = idle.values_mut().find_map(Vec::pop);
    }
}

/// What a mutex guards. Nothing that holds one panics.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic holds it")
}

/// Ends the shells of lanes that broke, with the scripts that run in them, so that nothing that was sent to
/// them can still happen. Steps that a keeper keeps go on.
async fn end_shells(lane: &mut Lane, shells: &[Shell]) -> Result<(), LaneError> {
    const TEXT: &str = r#"
        printf '%s\n' "$shells" | while read -r process started; do
            __haflow_process "$process" && [ "$__haflow_start" = "$started" ] || continue
            __haflow_owner "$process" && [ "$__haflow_owner" = "$__haflow_uid" ] || continue
            __haflow_end_lane "$process"
        done
    "#;
    let shells: Vec<String> = shells.iter().map(|shell| format!("{} {}", shell.process, shell.started)).collect();
    let variables = [("shells".to_owned(), shells.join("\n"))];
    let script = Script { text: TEXT, variables: &variables, process: Process::Forked };
    lane.run(&[script], END, drop).await
}
