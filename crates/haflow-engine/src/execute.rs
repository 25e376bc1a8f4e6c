//! Runs a graph: each task when its turn comes, as many at once as may be, and an outcome for every one.

use crate::decide::{Ready, decide, passes};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::schedule::Schedule;
use crate::state::{Known, Seen, failed};
use crate::step::{self, Trouble};
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{
    Action, Decision, Diff, EdgeKind, Event, Failure, Gate, Graph, HostName, NodeId, Outcome, Param, RunCounts, Task,
    TaskRef, Value,
};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

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
}

/// How a run is stopped from outside.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    /// Start nothing new; what runs may end.
    pub stop: CancellationToken,
    /// Kill what runs on the hosts.
    pub kill: CancellationToken,
}

/// The longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// What a task left behind: its outcome, and its output if it has one.
type Ended = (Outcome, Option<Known>);

/// Runs all tasks of `graph`. Everything that happens is told to `events`; the last one is `RunFinished`.
pub async fn execute(
    graph: &Graph,
    hosts: &Hosts,
    events: &Events,
    settings: &Settings,
    interrupt: &Interrupt,
) -> RunCounts {
    let started = Instant::now();
    let names: BTreeSet<HostName> = graph.tasks().map(|(_, task)| task.host.clone()).collect();
    events
        .emit(Event::RunStarted {
            run: settings.run.clone(),
            playbook: settings.playbook.clone(),
            hosts: names.iter().cloned().collect(),
            tasks: graph.tasks().count(),
        })
        .await;
    let mut run = Run {
        graph,
        events,
        schedule: Schedule::new(graph),
        outcomes: vec![None; graph.len()],
        outputs: HashMap::new(),
        counts: RunCounts::default(),
    };
    let worker = Worker { hosts, events, kill: &interrupt.kill };
    // All connections at once, so that no host's first task waits for another host.
    let connect = crate::connect_all(hosts, &names, events);
    tokio::join!(connect, run.all(&worker, settings, interrupt));
    let took_ms = crate::millis(started.elapsed());
    events.emit(Event::RunFinished { run: settings.run.clone(), counts: run.counts, took_ms }).await;
    run.counts
}

/// The state of a run.
struct Run<'r> {
    graph: &'r Graph,
    events: &'r Events,
    schedule: Schedule<'r>,
    outcomes: Vec<Option<Outcome>>,
    outputs: HashMap<NodeId, Known>,
    counts: RunCounts,
}

impl<'r> Run<'r> {
    async fn all(&mut self, worker: &Worker<'r>, settings: &Settings, interrupt: &Interrupt) {
        let mut running = FuturesUnordered::new();
        let mut stopped = false;
        let mut told = false;
        loop {
            stopped |= interrupt.stop.is_cancelled();
            while !stopped
                && running.len() < settings.parallel
                && let Some(id) = self.schedule.next()
            {
                match self.prepare(id) {
                    Ok(ready) => running.push(async move {
                        let started = Instant::now();
                        let ended = worker.task(&ready).await;
                        (id, ended, started.elapsed())
                    }),
                    Err(outcome) => self.end(id, (outcome, None), Duration::ZERO).await,
                }
            }
            if interrupt.stop.is_cancelled() && !told && !running.is_empty() {
                told = true;
                self.events.emit(Event::Interrupted).await;
            }
            tokio::select! {
                ended = running.next() => match ended {
                    Some((id, ended, took)) => {
                        stopped |= settings.fail_fast && !ended.0.satisfied() && !matches!(ended.0, Outcome::Skipped { .. });
                        self.end(id, ended, took).await;
                    }
                    // Nothing runs, so nothing more becomes ready.
                    None => break,
                },
                () = interrupt.stop.cancelled(), if !stopped => {}
            }
        }
        let rest: Vec<NodeId> =
            self.graph.tasks().map(|(id, _)| id).filter(|id| self.outcomes[id.index()].is_none()).collect();
        for id in rest {
            self.record(id, Outcome::Cancelled, Duration::ZERO).await;
        }
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
        };
        if let Some(when) = &task.when {
            passes(when, &known(&Param::Output(when.output))?).map_err(skipped)?;
        }
        Ready::new(task, known)
    }

    async fn end(&mut self, id: NodeId, (outcome, output): Ended, took: Duration) {
        if let Some(output) = output {
            if let Known::Secret(secret) = &output {
                self.events.conceal(secret);
            }
            self.outputs.insert(id, output);
        }
        let satisfied = outcome.satisfied() || matches!(outcome, Outcome::Skipped { because: None, .. });
        let unreachable = match &outcome {
            Outcome::Unreachable { why } => Some(why.clone()),
            _ => None,
        };
        self.record(id, outcome, took).await;
        for (skipped, because) in self.schedule.finish(id, satisfied) {
            let task = self.graph.task(skipped).expect("the schedule skips tasks");
            let root = self.graph.task(because).expect("a task bars others");
            let outcome = match &unreachable {
                Some(why) if task.host == root.host => Outcome::Unreachable { why: why.clone() },
                _ => Outcome::Skipped { why: format!("it depends on `{}`", root.id()), because: Some(root.id()) },
            };
            self.record(skipped, outcome, Duration::ZERO).await;
        }
    }

    async fn record(&mut self, id: NodeId, outcome: Outcome, took: Duration) {
        self.counts.add(&outcome);
        let task = TaskRef::from(self.graph.task(id).expect("only tasks end"));
        self.outcomes[id.index()] = Some(outcome.clone());
        self.events.emit(Event::TaskFinished { task, outcome, took_ms: crate::millis(took) }).await;
    }
}

/// What one task needs while it runs.
struct Worker<'r> {
    hosts: &'r Hosts,
    events: &'r Events,
    kill: &'r CancellationToken,
}

impl Worker<'_> {
    async fn task(&self, task: &Ready<'_>) -> Ended {
        let mut applying = false;
        match self.steps(task, &mut applying).await {
            Ok(ended) => ended,
            Err(trouble) => (
                match trouble {
                    Trouble::Failed(failure) => Outcome::Failed { failure },
                    Trouble::Unreachable(error) => Outcome::Unreachable { why: error.message },
                    Trouble::Lost(why) if applying => {
                        Outcome::InDoubt { why: format!("the connection was lost while it was being applied: {why}") }
                    }
                    Trouble::Lost(why) => Outcome::Unreachable { why: format!("the connection was lost: {why}") },
                    Trouble::Killed if applying => {
                        Outcome::InDoubt { why: "it was killed while it was being applied".into() }
                    }
                    Trouble::Killed => Outcome::Cancelled,
                },
                None,
            ),
        }
    }

    async fn steps(&self, task: &Ready<'_>, applying: &mut bool) -> Result<Ended, Trouble> {
        let mut lane = self.hosts.lane(&task.task.host, task.task.user.as_deref()).await?;
        self.events.emit(Event::TaskStarted { task: task.task.into() }).await;
        match &task.task.action {
            Action::Gate(gate) => return self.gate(&mut lane, task, gate).await,
            Action::Read(read) => {
                let Seen::Value(value) = step::look(&mut lane, task, self.kill).await? else {
                    unreachable!("a read shows a value")
                };
                return Ok((Outcome::Ok, Some(if read.secret { secret(&value) } else { Known::Plain(value) })));
            }
            Action::Ensure(_) | Action::File(_) | Action::Act(_) => {}
        }
        let mut seen = step::look(&mut lane, task, self.kill).await?;
        let mut first = None;
        let policy = &task.task.policy;
        let attempts = policy.retries + 1;
        for attempt in 1.. {
            let diff = match decide(task, &seen) {
                Decision::UpToDate if attempt == 1 => return Ok((Outcome::Ok, None)),
                Decision::UpToDate => return Ok((Outcome::Changed { diff: first.unwrap_or_default() }, None)),
                Decision::Change { diff } => diff,
                Decision::Act { .. } => Diff::default(),
                Decision::Failed { failure } => return Err(Trouble::Failed(failure)),
                decision => unreachable!("a state that was seen isn't {decision:?}"),
            };
            first.get_or_insert(diff);
            self.events.emit(Event::ApplyStarted { task: task.task.into(), attempt }).await;
            *applying = true;
            let applied = step::apply(&mut lane, task, &seen, self.kill).await?;
            *applying = false;
            let failure = match judge(task, applied) {
                Ok(output) => return Ok((Outcome::Changed { diff: first.unwrap_or_default() }, output)),
                Err(failure) => failure,
            };
            if attempt == attempts || self.kill.is_cancelled() {
                return Err(failure.into());
            }
            let pause = policy.backoff.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_BACKOFF);
            self.events
                .emit(Event::TaskRetried {
                    task: task.task.into(),
                    attempt,
                    of: attempts,
                    pause_ms: crate::millis(pause),
                    why: failure.message,
                })
                .await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.kill.cancelled() => return Err(Trouble::Killed),
            }
            // Others may have been at work in the meantime, and the apply itself may have got further than it said.
            seen = step::look(&mut lane, task, self.kill).await?;
        }
        unreachable!("the attempts are counted")
    }

    async fn gate(&self, lane: &mut crate::hosts::Lent<'_>, task: &Ready<'_>, gate: &Gate) -> Result<Ended, Trouble> {
        let started = Instant::now();
        let mut held = 0;
        loop {
            let seen = match step::look(lane, task, self.kill).await {
                Ok(seen) => match decide(task, &seen) {
                    Decision::UpToDate => None,
                    Decision::Change { diff } => Some((differing(&diff), None)),
                    decision => unreachable!("a gate's state isn't {decision:?}"),
                },
                // A check that fails is one that doesn't hold: services that are coming up do that.
                Err(Trouble::Failed(failure)) => Some((failure.message.clone(), Some(failure))),
                Err(trouble) => return Err(trouble),
            };
            held = if seen.is_none() { held + 1 } else { 0 };
            let checked = Event::GateChecked {
                task: task.task.into(),
                held,
                times: gate.times,
                seen: seen.as_ref().map(|(shown, _)| shown.clone()),
            };
            self.events.emit(checked).await;
            if held >= gate.times {
                return Ok((Outcome::Ok, None));
            }
            if started.elapsed() + gate.every > gate.within {
                let (saw, failure) =
                    seen.unwrap_or_else(|| (format!("it held {held} times in a row, not {}", gate.times), None));
                let within = gate.within.as_secs_f64();
                let when = if gate.within.is_zero() { String::new() } else { format!(" within {within} s") };
                return Err(Failure {
                    message: format!("the gate didn't hold{when}: {saw}"),
                    ..failure.map(|failure| *failure).unwrap_or_default()
                }
                .into());
            }
            tokio::select! {
                () = tokio::time::sleep(gate.every) => {}
                () = self.kill.cancelled() => return Err(Trouble::Killed),
            }
        }
    }
}

/// Whether an apply got there: by its exit code, and by what there is after it.
fn judge(task: &Ready<'_>, applied: step::Applied) -> Result<Option<Known>, Failure> {
    let step::Applied { output, after } = applied;
    if output.exit != 0 {
        return Err(failed(format!("the apply exited {}", output.exit), &output));
    }
    let doesnt_hold = |how: String| failed(format!("applied, but it doesn't hold: {how}"), &output);
    match after {
        Ok(Seen::Nothing) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(Some(Known::Plain(Value::from(text.strip_suffix('\n').unwrap_or(&text)))))
        }
        Ok(seen) => match decide(task, &seen) {
            Decision::UpToDate => Ok(None),
            Decision::Change { diff } => Err(doesnt_hold(differing(&diff))),
            Decision::Failed { failure } => Err(doesnt_hold(failure.message)),
            decision => unreachable!("a state that was seen isn't {decision:?}"),
        },
        Err(probe) => {
            let message = format!("applied, but whether it holds can't be seen: {}", probe.message);
            Err(Failure { message, ..probe })
        }
    }
}

fn secret(value: &Value) -> Known {
    Known::Secret(haflow_model::Secret::new(crate::shell::variable(value)))
}

/// Which fields differ, in a line.
fn differing(diff: &Diff) -> String {
    use haflow_model::Change;
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    let one = |change: &Change| match change {
        Change::Field { field, was, want } if field.is_empty() => format!("it is {}, not {}", value(was), value(want)),
        Change::Field { field, was, want } => format!("{field} is {}, not {}", value(was), value(want)),
        Change::Text { .. } | Change::Opaque { .. } => "the content differs".into(),
        Change::Secret { field } if field.is_empty() => "the secret differs".into(),
        Change::Secret { field } => format!("{field} differs"),
    };
    diff.0.iter().map(one).collect::<Vec<_>>().join("; ")
}
