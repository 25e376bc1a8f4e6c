//! Runs a graph: each task when its turn comes, as many at once as may be, and an outcome for every one.

mod at_host;
mod gate;
pub(crate) mod past;
mod schedule;
mod turn;

use crate::clock::millis;
use crate::cut;
use crate::decide::known::{Ended, Known};
use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::decide::when::passes;
use crate::decide::{is_content, outlives_changes};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::run::past::Past;
use crate::run::schedule::Schedule;
use crate::run::turn::{Before, Promised, Worker};
use crate::step::ahead::{Ahead, Batch, Key, Looked};
use crate::step::connect::connect_all;
use crate::step::gatekeeper::{Gatekeeper, Interrupt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{
    Again, EdgeKind, Event, Failure, Graph, HostName, NodeId, Outcome, Param, Plan, RunCounts, Secrets, Task, TaskRef,
    Value, json_size,
};
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
        fail_fast: settings.fail_fast,
    };
    let mut before: BTreeMap<HostName, RunCounts> = BTreeMap::new();
    for (id, task) in graph.tasks() {
        if let Some((outcome, _)) = run.ended_before(id) {
            before.entry(task.host.clone()).or_default().add(&outcome);
            run.begun[id.index()] = true;
        } else if task.when.is_none() && task.outputs().next().is_none() && task.action.can_be_looked_at_ahead() {
            run.ahead.offer(id);
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
    let (run_id, quiet) = (settings.run.as_str(), AtomicBool::new(true));
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
        run.all(&worker, settings, interrupt).await;
        hosts.watch(None);
    };
    tokio::join!(connect, all, watch);
    let took_ms = millis(settings.connecting + started.elapsed());
    events.emit(Event::RunFinished { run: settings.run.clone(), counts: run.counts, took_ms }).await;
    run.counts
}

/// Why no other task can use an output.
fn unusable(output: &Known) -> Option<Failure> {
    let (size, nul) = match output {
        Known::Plain(Value::String(text)) => (text.len(), text.contains('\0')),
        Known::Plain(value) => (json_size(value), false),
        Known::Secret(secret) => (secret.expose().len(), secret.expose().contains('\0')),
    };
    let (message, hint) = if nul {
        ("its output has a NUL byte, which a shell can't hold, and others use it".to_owned(), "have it print text")
    } else if size > cut::MOST_USED {
        let most = cut::MOST_USED >> 20;
        (
            format!("its output has {size} bytes, and others use it: at most {most} MiB"),
            "have it print only what is used",
        )
    } else {
        return None;
    };
    Some(Failure { message, hint: Some(hint.into()), ..Failure::default() })
}

/// The state of a run.
struct Run<'r> {
    graph: &'r Graph,
    hosts: &'r Hosts,
    events: &'r Events,
    schedule: Schedule<'r>,
    outcomes: Vec<Option<Outcome>>,
    outputs: HashMap<NodeId, Known>,
    secrets: &'r Secrets,
    counts: RunCounts,
    begun: Vec<bool>,
    ahead: Ahead<'r>,
    /// Tasks that are being looked at before their turn.
    looking: HashSet<NodeId>,
    /// What was seen of tasks whose turn hasn't come.
    seen: HashMap<NodeId, Seen>,
    /// Tasks whose turn has come while they are being looked at.
    held: HashMap<NodeId, Ready<'r>>,
    /// What the plan says that is being applied, if one is.
    promised: HashMap<NodeId, Promised<'r>>,
    /// What was done before the run was resumed.
    past: HashMap<NodeId, &'r Past>,
    /// Nothing new begins after the first failure.
    fail_fast: bool,
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
            self.count(id, &Outcome::Cancelled);
            self.tell(id, Outcome::Cancelled, None, Duration::ZERO).await;
        }
    }

    /// What is known of a task before its turn.
    fn before(&self, id: NodeId) -> Before<'r> {
        Before { promised: self.promised.get(&id).copied(), past: self.past.get(&id).copied() }
    }

    /// How a task ended before the run was resumed, if it needn't be run again.
    fn ended_before(&self, id: NodeId) -> Option<Ended> {
        let Some(Past::Ended { outcome, output }) = self.past.get(&id) else { return None };
        let output = output.clone().map(Known::Plain);
        let has_ended = |id: &NodeId| matches!(self.past.get(id), Some(Past::Ended { .. }));
        let mut users = self.graph.after(id).filter(|edge| edge.kind == EdgeKind::Data).map(|edge| edge.to);
        let done = match self.graph.task(id)?.action.again() {
            Again::Never => true,
            Again::WhereFollowed => self.is_followed(id),
            Again::WhereUsed => output.is_some() || users.next().is_none(),
            Again::WhereStillUsed => output.is_some() || users.all(|user| has_ended(&user)),
        };
        done.then(|| (outcome.clone(), output))
    }

    /// Whether something that comes right after it, barriers aside, had begun before the run was resumed.
    fn is_followed(&self, id: NodeId) -> bool {
        self.graph.after(id).any(|edge| match self.graph.task(edge.to) {
            Some(_) => self.past.contains_key(&edge.to),
            None => self.is_followed(edge.to),
        })
    }

    /// A task was looked at before its turn. What can't be seen now is looked at again then. The number of
    /// tasks that were to begin now and don't, since nothing may begin any more.
    fn looked(&mut self, looked: Looked<'r>, worker: &'r Worker<'r>, running: &mut Running<'r>) -> usize {
        let Looked { id, task, seen } = looked;
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

    /// Puts in what is known by now. A task that needn't run has its outcome already.
    fn prepare(&self, id: NodeId) -> Result<Ready<'r>, Outcome> {
        let task = self.graph.task(id).expect("the schedule gives tasks");
        let skipped = |why: String| Outcome::Skipped { why, because: None };
        let triggers: Vec<NodeId> =
            self.graph.before(id).filter(|edge| edge.kind == EdgeKind::Trigger).map(|edge| edge.from).collect();
        let changed = |from: &NodeId| matches!(self.outcomes[from.index()], Some(Outcome::Changed { .. }));
        if !triggers.is_empty() && !triggers.iter().any(changed) {
            return Err(skipped("nothing that triggers it has changed".into()));
        }
        let known = |param: &Param| match param {
            Param::Value(value) => Ok(Known::Plain(value.clone())),
            Param::Output(output) => self.outputs.get(&output.task).cloned().ok_or_else(|| {
                let source = self.graph.task(output.task).map(Task::id).unwrap_or_default();
                skipped(format!("it uses the output of `{source}`, which was skipped"))
            }),
            Param::Secret(text) => Ok(Known::Secret(self.secrets.fill(text))),
        };
        if let Some(when) = &task.when {
            passes(when, &known(&Param::Output(when.output))?).map_err(skipped)?;
        }
        Ready::new(task, known)
    }

    async fn end(&mut self, id: NodeId, mut ended: Ended, took: Duration, worker: &Worker<'_>) {
        let used = self.graph.after(id).any(|edge| edge.kind == EdgeKind::Data);
        if used && let Some(why) = ended.1.as_ref().and_then(unusable) {
            ended = (Outcome::Failed { failure: Box::new(why) }, None);
        }
        // Before anybody is told: what waits to begin ends now.
        if self.fail_fast && !ended.0.satisfied() && !matches!(ended.0, Outcome::Skipped { .. }) {
            worker.gatekeeper.close();
        }
        let output = match &ended.1 {
            Some(Known::Plain(output)) if used => Some(output.clone()),
            Some(Known::Plain(output)) => Some(cut::value(output.clone(), cut::MOST_TOLD)),
            _ => None,
        };
        if let Some(Known::Secret(secret)) = &ended.1 {
            self.events.conceal(secret);
        }
        self.tell(id, ended.0.clone(), output, took).await;
        if let Some(task) = self.graph.task(id) {
            self.hosts.ended(&task.host, &task.id(), matches!(ended.0, Outcome::InDoubt { .. }));
        }
        self.settle(id, ended).await;
    }

    /// Puts to use how a task ended.
    async fn settle(&mut self, id: NodeId, (outcome, output): Ended) {
        if let Some(output) = output {
            self.outputs.insert(id, output);
            for edge in self.graph.after(id).filter(|edge| edge.kind == EdgeKind::Data) {
                if self
                    .graph
                    .task(edge.to)
                    .is_some_and(|task| task.when.is_none() && task.action.can_be_looked_at_ahead())
                {
                    self.ahead.offer(edge.to);
                }
            }
        }
        let satisfied = outcome.satisfied() || matches!(outcome, Outcome::Skipped { because: None, .. });
        self.count(id, &outcome);
        for (skipped, because) in self.schedule.finish(id, satisfied) {
            let task = self.graph.task(skipped).expect("the schedule skips tasks");
            let root = self.graph.task(because).expect("a task bars others");
            let outcome = match (&self.outcomes[because.index()], self.hosts.unreachable(&task.host)) {
                // The nearer reason.
                (_, Some(error)) => Outcome::Unreachable { why: error.message.clone() },
                (Some(Outcome::Unreachable { why }), _) if task.host == root.host => {
                    Outcome::Unreachable { why: why.clone() }
                }
                _ => Outcome::Skipped { why: format!("it depends on `{}`", root.id()), because: Some(root.id()) },
            };
            self.count(skipped, &outcome);
            self.tell(skipped, outcome, None, Duration::ZERO).await;
        }
    }

    fn count(&mut self, id: NodeId, outcome: &Outcome) {
        self.counts.add(outcome);
        self.outcomes[id.index()] = Some(outcome.clone());
    }

    async fn tell(&self, id: NodeId, outcome: Outcome, output: Option<Value>, took: Duration) {
        let task = TaskRef::from(self.graph.task(id).expect("only tasks end"));
        self.events.emit(Event::TaskFinished { task, outcome, output, took_ms: millis(took) }).await;
    }
}
