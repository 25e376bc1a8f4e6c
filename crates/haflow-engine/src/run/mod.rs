//! Runs a graph: each task when its turn comes, as many at once as may be, and an outcome for every one.

mod at_host;
mod chain;
mod foresee;
mod gate;
pub(crate) mod past;
mod schedule;
mod state;
mod turn;

use crate::clock::millis;
use crate::decide::known::{Ended, Known};
use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::decide::{is_content, outlives_changes};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::run::chain::Chained;
use crate::run::past::Past;
use crate::run::schedule::Schedule;
use crate::run::state::Run;
use crate::run::turn::{Before, Promised, Worker};
use crate::step::Shown;
use crate::step::ahead::{Ahead, Batch, Key, Looked};
use crate::step::connect::connect_all;
use crate::step::gatekeeper::{Gatekeeper, Interrupt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{Event, Graph, HostName, NodeId, Outcome, Param, Plan, RunCounts, Secrets};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;

/// How a run goes about it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The run's id.
    pub run: String,
    /// The playbook as it was named.
    pub playbook: String,
    /// At most this many tasks at once.
    pub parallel: usize,
    /// Start nothing new after the first failure.
    pub fail_fast: bool,
    /// Change nothing where it is known before the first change that something can't be done.
    pub all_or_nothing: bool,
    /// Begin what destroys something although it is known that something after it will fail.
    pub destroy_anyway: bool,
    /// The plan that is being applied: nothing is done that it doesn't say, nor where things have moved
    /// since.
    pub plan: Option<Plan>,
    /// Where a run is resumed: what it did before, by the tasks' ids.
    pub past: Option<BTreeMap<String, Past>>,
    /// How long it took before to connect, to read facts and to lock the hosts: the run's time counts that.
    pub connecting: Duration,
    /// All secrets that the graph asks for.
    pub secrets: Secrets,
}

/// Runs all tasks of `graph`. Everything that happens is told to `events`; the last one is `RunFinished`.
pub async fn execute(
    graph: &Graph,
    hosts: &Hosts,
    events: &Events,
    settings: &Settings,
    interrupt: &Interrupt,
) -> RunCounts {
    let started = Instant::now();
    events.conceal_all(&settings.secrets);
    let names: BTreeSet<HostName> = graph.tasks().map(|(_, task)| task.host.clone()).collect();
    let past: HashMap<NodeId, &Past> = match &settings.past {
        Some(past) => graph.tasks().filter_map(|(id, task)| Some((id, past.get(&task.id())?))).collect(),
        None => HashMap::new(),
    };
    let mut run = Run {
        graph,
        hosts,
        events,
        schedule: Schedule::new(graph),
        outcomes: vec![None; graph.len()],
        outputs: HashMap::new(),
        secrets: &settings.secrets,
        counts: RunCounts::default(),
        begun: vec![false; graph.len()],
        ahead: Ahead::new(graph),
        looking: HashSet::new(),
        seen: HashMap::new(),
        held: HashMap::new(),
        promised: match &settings.plan {
            Some(plan) => {
                plan.decisions.iter().map(|planned| (planned.task, Promised { salt: &plan.salt, planned })).collect()
            }
            None => HashMap::new(),
        },
        past,
        done: HashMap::new(),
        in_chain: HashMap::new(),
        foreseen: BTreeMap::new(),
        fail_fast: settings.fail_fast,
        destroy_anyway: settings.destroy_anyway,
    };
    let mut before: BTreeMap<HostName, RunCounts> = BTreeMap::new();
    for (id, task) in graph.tasks() {
        if let Some((outcome, _)) = run.ended_before(id) {
            before.entry(task.host.clone()).or_default().add(&outcome);
            run.begun[id.index()] = true;
        }
    }
    let (id, playbook) = (settings.run.clone(), settings.playbook.clone());
    let connecting_ms = millis(settings.connecting);
    let (all, tasks) = (names.iter().cloned().collect(), graph.tasks().count());
    events
        .emit(match settings.past {
            None => Event::RunStarted { run: id, playbook, hosts: all, tasks, connecting_ms },
            Some(_) => Event::RunResumed { run: id, playbook, hosts: all, tasks, before, connecting_ms },
        })
        .await;
    let gatekeeper = Gatekeeper::new(interrupt);
    // What a dead run left under way may still change things.
    let quiet = !run.past.values().any(|past| matches!(past, Past::InDoubt { .. }));
    let (run_id, quiet) = (settings.run.as_str(), AtomicBool::new(quiet));
    let worker = Worker { run: run_id, hosts, events, interrupt, gatekeeper: &gatekeeper, quiet };
    // All connections at once, so that no host's first task waits for another host.
    let connect = connect_all(hosts, &names, events);
    let (watcher, mut seen) = unbounded_channel();
    hosts.watch(Some(watcher));
    let watch = async {
        while let Some(event) = seen.recv().await {
            events.emit(event).await;
        }
    };
    let all = async {
        let in_the_way = run.foresee(gatekeeper.token(), settings.all_or_nothing).await;
        if settings.all_or_nothing && in_the_way.is_some() {
            run.nothing(&worker).await;
        }
        // What wasn't seen by now, for want of an answer.
        for (id, _) in graph.tasks() {
            if run.is_seen_ahead(id) && !run.begun[id.index()] && !run.seen.contains_key(&id) {
                run.ahead.offer(id);
            }
        }
        run.all(&worker, settings, interrupt).await;
        hosts.watch(None);
    };
    tokio::join!(connect, all, watch);
    let took_ms = millis(settings.connecting + started.elapsed());
    events.emit(Event::RunFinished { run: settings.run.clone(), counts: run.counts, took_ms }).await;
    run.counts
}

fn begin<'f>(
    worker: &'f Worker<'f>,
    id: NodeId,
    ready: Ready<'f>,
    seen: Option<Seen>,
    before: Before<'f>,
) -> Pin<Box<dyn Future<Output = Progress<'f>> + Send + 'f>> {
    Box::pin(async move {
        let (ended, took) = worker.task(&ready, seen, before).await;
        Progress::Ended(id, ended, took)
    })
}

/// What the run goes on with.
enum Progress<'r> {
    /// A lane has nothing more to look at before its turn.
    Free(Key),
    /// A task was looked at before its turn.
    Looked(Looked<'r>),
    /// A task ended.
    Ended(NodeId, Ended, Duration),
    /// Tasks that were to go together have, or haven't.
    Chained(Chained<'r>),
    /// The run is to stop.
    Interrupted,
}

type Running<'f> = FuturesUnordered<Pin<Box<dyn Future<Output = Progress<'f>> + Send + 'f>>>;

impl<'r> Run<'r> {
    async fn all(&mut self, worker: &'r Worker<'r>, settings: &Settings, interrupt: &Interrupt) {
        let mut running = Running::new();
        let (ahead, mut looked) = unbounded_channel();
        let gatekeeper = worker.gatekeeper;
        let mut tasks = 0;
        let mut interrupted = false;
        loop {
            while !gatekeeper.is_closed()
                && tasks < settings.parallel
                && let Some(id) = self.schedule.next()
            {
                if let Some(ended) = self.ended_before(id) {
                    self.settle(id, ended).await;
                    continue;
                }
                if let Some((ended, took)) = self.done.remove(&id) {
                    self.end(id, ended, took, worker).await;
                    continue;
                }
                if let Some(chain) = self.chain(id) {
                    running.push(Box::pin(async { Progress::Chained(worker.chain(chain).await) }));
                    tasks += 1;
                    continue;
                }
                match self.prepare(id) {
                    Ok(ready) if self.is_looking(id, worker) => drop(self.held.insert(id, ready)),
                    Ok(ready) => {
                        let seen = self.seen.remove(&id);
                        running.push(begin(worker, id, ready, seen, self.before(id)));
                    }
                    Err(outcome) => {
                        self.end(id, (outcome, None), Duration::ZERO, worker).await;
                        continue;
                    }
                }
                self.begun[id.index()] = true;
                tasks += 1;
            }
            if !gatekeeper.is_closed() {
                while let Some(batch) = self.batch(worker.is_quiet()) {
                    self.looking.extend(batch.ids());
                    let look = batch.look(worker.hosts, gatekeeper.token(), &worker.interrupt.kill, ahead.clone());
                    running.push(Box::pin(async { Progress::Free(look.await) }));
                }
            }
            let step = tokio::select! {
                biased;
                Some(looked) = looked.recv() => Some(Progress::Looked(looked)),
                step = running.next() => step,
                () = interrupt.stop.cancelled(), if !interrupted => Some(Progress::Interrupted),
            };
            // Before what ends because of it.
            if interrupt.stop.is_cancelled() && !interrupted {
                interrupted = true;
                if tasks > 0 {
                    self.events.emit(Event::Interrupted).await;
                }
            }
            match step {
                Some(Progress::Interrupted) => {}
                Some(Progress::Looked(looked)) => {
                    tasks -= self.looked(looked, worker, &mut running);
                }
                Some(Progress::Ended(id, ended, took)) => {
                    tasks -= 1;
                    self.end(id, ended, took, worker).await;
                }
                Some(Progress::Chained(chained)) => {
                    tasks -= 1;
                    if let Some((id, ready)) = self.chained(chained, worker).await {
                        running.push(begin(worker, id, ready, None, self.before(id)));
                        tasks += 1;
                    }
                }
                Some(Progress::Free(key)) => self.ahead.free(&key),
                // Nothing runs, so nothing more becomes ready.
                None => break,
            }
        }
        let rest: Vec<NodeId> =
            self.graph.tasks().map(|(id, _)| id).filter(|id| self.outcomes[id.index()].is_none()).collect();
        for id in rest {
            if let Some((outcome, _)) = self.ended_before(id) {
                self.count(id, &outcome);
                continue;
            }
            let (outcome, took) =
                self.done.remove(&id).map_or((Outcome::Cancelled, Duration::ZERO), |done| (done.0.0, done.1));
            self.count(id, &outcome);
            self.tell(id, outcome, None, took).await;
        }
    }

    /// A task was looked at before its turn. What can't be seen now is looked at again then. The number of
    /// tasks that were to begin now and don't, since nothing may begin any more.
    fn looked(&mut self, looked: Looked<'r>, worker: &'r Worker<'r>, running: &mut Running<'r>) -> usize {
        let Looked { id, task, shown } = looked;
        let Shown::Seen(seen) = shown else { return 0 };
        self.looking.remove(&id);
        if worker.gatekeeper.is_closed() && self.held.remove(&id).is_some() {
            return 1;
        }
        let seen = seen.ok().filter(|seen| worker.is_quiet() || outlives_changes(&task, seen));
        if seen.is_none() && !worker.is_quiet() {
            // What isn't to be written is looked at in vain.
            self.ahead.give_up(&task.task.host);
        }
        match self.held.remove(&id) {
            Some(ready) => running.push(begin(worker, id, ready, seen, self.before(id))),
            None => self.seen.extend(seen.map(|seen| (id, seen))),
        }
        0
    }

    /// Whether a task is being looked at, to some purpose.
    fn is_looking(&self, id: NodeId, worker: &Worker<'_>) -> bool {
        self.looking.contains(&id) && (worker.is_quiet() || self.graph.task(id).is_some_and(is_content))
    }

    /// Tasks to look at before their turn.
    fn batch(&mut self, quiet: bool) -> Option<Batch<'r>> {
        let Self { graph, ahead, begun, outputs, secrets, .. } = self;
        ahead.batch(|id| {
            let task = graph.task(id).filter(|task| !begun[id.index()] && (quiet || is_content(task)))?;
            Ready::new(task, |param| match param {
                Param::Value(value) => Ok(Known::Plain(value.clone())),
                Param::Output(output) => outputs.get(&output.task).cloned().ok_or(()),
                Param::Secret(text) => Ok(Known::Secret(secrets.fill(text))),
            })
            .ok()
        })
    }
}
