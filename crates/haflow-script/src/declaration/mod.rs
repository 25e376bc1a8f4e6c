//! What the native functions of one declaration share.

pub(crate) mod crossing;
pub(crate) mod guess;
pub(crate) mod stand_ins;
pub(crate) mod state;
pub(crate) mod stop;

use crate::declaration::guess::Guess;
use crate::declaration::state::State;
use crate::declaration::stop::Stop;
use crate::limits::{MAX_OPERATIONS, MAX_TIME};
use crate::place::{Site, Trace};
use crate::request::{FactFailure, FactQuery, FactsRead};
use haflow_model::{Host, Inventory, Place};
use jiff::Timestamp;
use rhai::{Dynamic, EvalAltResult, Position};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One declaration under way.
pub(crate) struct Declaration {
    /// The playbook's file as places name it.
    pub(crate) playbook: Arc<str>,
    /// The folder that modules and templates are read from.
    pub(crate) folder: PathBuf,
    /// The hosts, if they are real.
    pub(crate) inventory: Option<Inventory>,
    /// What was given with `-e`.
    pub(crate) given: BTreeMap<String, String>,
    /// When keys must hold.
    pub(crate) now: Timestamp,
    /// What stands in for facts that the playbook's own code asks for and nobody knows.
    pub(crate) guess: Guess,
    pub(crate) interrupt: Option<Arc<AtomicBool>>,
    started: Instant,
    /// How long the script has waited for facts.
    waited: Mutex<Duration>,
    /// Operations so far, over all calls.
    operations: AtomicU64,
    /// Whether `stop` in the state is set.
    stopping: AtomicBool,
    state: Mutex<State>,
    ask: Mutex<Sender<Message>>,
}

/// What the script thread tells the thread that called it.
pub(crate) enum Message {
    /// Facts are needed.
    Ask(Ask),
    /// The script has ended.
    Done,
}

/// A fact that the script waits for.
pub(crate) struct Ask {
    pub(crate) query: FactQuery,
    pub(crate) hosts: Vec<Host>,
    pub(crate) answer: Sender<Result<FactsRead, Vec<FactFailure>>>,
}

impl Declaration {
    pub(crate) fn new(
        playbook: Arc<str>,
        folder: PathBuf,
        inventory: Option<Inventory>,
        given: BTreeMap<String, String>,
        now: Timestamp,
        interrupt: Option<Arc<AtomicBool>>,
        ask: Sender<Message>,
    ) -> Self {
        Self {
            playbook,
            folder,
            inventory,
            given,
            now,
            guess: Guess::Like,
            interrupt,
            operations: AtomicU64::new(0),
            started: Instant::now(),
            waited: Mutex::default(),
            stopping: AtomicBool::new(false),
            state: Mutex::default(),
            ask: Mutex::new(ask),
        }
    }

    /// The state. Never hold it while the script runs.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation, and says why the script must stop if it must.
    pub(crate) fn progress(&self) -> Option<Stop> {
        // Only the script's thread counts.
        let operations = self.operations.load(Ordering::Relaxed) + 1;
        self.operations.store(operations, Ordering::Relaxed);
        // A step may be slow: rhai measures a list each time that something is pushed to it.
        if operations > MAX_OPERATIONS || operations.is_multiple_of(1024) && self.ran() > MAX_TIME {
            return Some(Stop::Operations);
        }
        if self.interrupt.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Some(Stop::Interrupted);
        }
        if self.stopping.load(Ordering::Relaxed) { self.state().stop.clone() } else { None }
    }

    /// How long the script has run, without the time that it waited for facts.
    fn ran(&self) -> Duration {
        let waited = *self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        self.started.elapsed().saturating_sub(waited)
    }

    /// Stops the script at its next operation.
    pub(crate) fn stop(&self, stop: Stop) {
        self.state().stop.get_or_insert(stop);
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The error by which the script ends: the interpreter passes it on, and the declaration remembers it.
    #[expect(clippy::unnecessary_box_returns, reason = "it is what the interpreter takes")]
    pub(crate) fn raised(&self, stop: Stop, position: Position) -> Box<EvalAltResult> {
        self.stop(stop.clone());
        EvalAltResult::ErrorRuntime(Dynamic::from(stop), position).into()
    }

    /// Adds a file's text, and gives its name as places use it.
    pub(crate) fn add_source(&self, file: &str, text: &str) -> Arc<str> {
        let file: Arc<str> = file.into();
        self.state().sources.entry(file.clone()).or_insert_with(|| text.into());
        file
    }

    /// Asks the caller for facts, and waits.
    pub(crate) fn ask(&self, query: FactQuery, hosts: Vec<Host>) -> Result<FactsRead, Vec<FactFailure>> {
        let (answer, answered) = channel();
        let began = Instant::now();
        let sent =
            self.ask.lock().unwrap_or_else(PoisonError::into_inner).send(Message::Ask(Ask { query, hosts, answer }));
        let answered = sent.map(|()| answered.recv());
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner) += began.elapsed();
        match answered {
            Ok(Ok(answer)) => answer,
            _ => Err(Vec::new()),
        }
    }

    /// The places that a native function was called from at `site`.
    pub(crate) fn trace(&self, site: Site) -> Trace {
        if site.file == self.playbook {
            return Trace { place: site.into(), declared_in: None };
        }
        let state = self.state();
        let outer = state.crossings.iter().rev().find(|crossing| crossing.file == self.playbook);
        let place = outer.map_or_else(|| Place::file(self.playbook.clone()), |outer| outer.clone().into());
        Trace { place, declared_in: Some(site.into()) }
    }

    /// The name of a source as places use it.
    pub(crate) fn file(&self, source: Option<&str>) -> Arc<str> {
        match source {
            Some(source) if source != &*self.playbook => {
                self.state().sources.get_key_value(source).map_or_else(|| source.into(), |(file, _)| file.clone())
            }
            _ => self.playbook.clone(),
        }
    }
}
