//! Says what a run would do: looks at every task's thing and changes nothing. What follows from that,
//! [`settle`](crate::plan::certainty) says.

mod certainty;
mod critical_path;
mod look;
mod upstream;

use crate::clock::millis;
use crate::decide::known::Known;
use crate::decide::ready::Ready;
use crate::decide::rehearsed::Rehearsed;
use crate::decide::seen::Seen;
use crate::decide::when::passes;
use crate::decide::{decide, drift};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::hosts::unreachable::Stage;
use crate::plan::certainty::settle;
use crate::plan::critical_path::critical_path;
use crate::plan::look::{Look, Showed};
use crate::random::random_hex;
use crate::step::ahead::{Ahead, Looked};
use crate::step::Shown;
use crate::step::connect::connect_all;
use crate::step::rehearse::is_rehearsed;
use crate::step::trouble::Trouble;
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{Decision, EdgeKind, Event, Failure, Graph, HostName, NodeId, Param, Plan, Planned, Secrets, Task};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

/// Decides on all tasks of `graph`, whose secrets are these, and tells `events`; the last event is
/// `PlanFinished`.
///
/// # Panics
///
/// Where the system has no random bits.
pub async fn plan(
    graph: &Graph,
    hosts: &Hosts,
    events: &Events,
    playbook: &str,
    secrets: &Secrets,
    stop: &CancellationToken,
) -> Plan {
    let started = Instant::now();
    events.conceal_all(secrets);
    let names: BTreeSet<HostName> = graph.tasks().map(|(_, task)| task.host.clone()).collect();
    events
        .emit(Event::PlanStarted {
            playbook: playbook.into(),
            hosts: names.iter().cloned().collect(),
            tasks: graph.tasks().count(),
        })
        .await;
    let salt = random_hex().expect("the system has random bits");
    let look = look_all(graph, hosts, events, Given { stop, salt: &salt, secrets, rehearse: true }, |_| true);
    let ((), looks) = tokio::join!(connect_all(hosts, &names, events), look);
    let decisions: Vec<Planned> = settle(graph, looks).into_iter().map(|planned| events.redacted(planned)).collect();
    for Planned { task, decision, assumed, .. } in &decisions {
        if let Some(task) = graph.task(*task) {
            let (decision, assumed) = (decision.clone(), assumed.clone());
            events.emit(Event::TaskPlanned { task: task.into(), decision, assumed }).await;
        }
    }
    let plan = Plan { salt, critical_path: critical_path(graph, &decisions), decisions };
    let critical_path = plan.critical_path.clone();
    events.emit(Event::PlanFinished { counts: plan.counts(), critical_path, took_ms: millis(started.elapsed()) }).await;
    plan
}

/// A task whose probe shows another state each time it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flap {
    /// The task's id.
    pub task: String,
    /// What it showed first and then, field by field.
    pub what: String,
}

/// Looks again at what a plan wants to change and at the outputs that it read. What doesn't hold still can't
/// be compared with later.
pub async fn flaps(
    graph: &Graph,
    hosts: &Hosts,
    events: &Events,
    plan: &Plan,
    secrets: &Secrets,
    stop: &CancellationToken,
) -> Vec<Flap> {
    let first: HashMap<NodeId, &Planned> = plan
        .decisions
        .iter()
        .filter(|planned| {
            let reads = graph.task(planned.task).is_some_and(|task| task.action.reads().is_some());
            planned.state.is_some() && (reads || matches!(planned.decision, Decision::Change { .. }))
        })
        .map(|planned| (planned.task, planned))
        .collect();
    let looks = look_all(graph, hosts, events, Given { stop, salt: &plan.salt, secrets, rehearse: false }, |id| {
        first.contains_key(&id) || graph.task(id).is_some_and(|task| task.action.reads().is_some())
    });
    let looks = looks.await;
    let mut flaps = Vec::new();
    for (id, look) in (0..).map(NodeId).zip(looks) {
        if let (Some(planned), Some(look)) = (first.get(&id), look)
            && look.state.is_some()
            && look.state != planned.state
            && let (Showed::Seen(now), Some(task)) = (look.showed, graph.task(id))
        {
            let what = drift::moved(&planned.decision, &events.redacted(now));
            flaps.push(Flap { task: task.id(), what });
        }
    }
    flaps
}

/// What all looks of a plan have in common.
#[derive(Clone, Copy)]
struct Given<'g> {
    stop: &'g CancellationToken,
    /// What each digest of a state begins with.
    salt: &'g str,
    secrets: &'g Secrets,
    /// Whether what would be applied is rehearsed.
    rehearse: bool,
}

/// Looks at everything, and rehearses what would be applied. Nothing changes, so only a used output orders one look after another.
async fn look_all(
    graph: &Graph,
    hosts: &Hosts,
    events: &Events,
    given: Given<'_>,
    chosen: impl Fn(NodeId) -> bool,
) -> Vec<Option<Look>> {
    let mut looks: Vec<Option<Look>> = (0..graph.len()).map(|_| None).collect();
    let mut outputs: HashMap<NodeId, Known> = HashMap::new();
    let uses = |id: NodeId| graph.before(id).filter(|edge| edge.kind == EdgeKind::Data).count();
    let mut waiting: Vec<usize> = (0..graph.len()).map(|index| uses(NodeId::from_index(index))).collect();
    let mut ahead = Ahead::new(graph);
    for id in graph.order().iter().filter(|id| waiting[id.index()] == 0 && chosen(**id)) {
        ahead.offer(*id);
    }
    let mut running = FuturesUnordered::new();
    let (told, mut looked) = unbounded_channel();
    loop {
        while let Some(batch) = ahead.batch(|id| match prepare(graph, graph.task(id)?, &outputs, given.secrets) {
            Ok(ready) => Some(ready),
            Err(showed) => {
                looks[id.index()] = Some(Look::of(showed));
                None
            }
        }) {
            running.push(batch.look(hosts, given.stop, given.stop, told.clone()));
        }
        let Looked { id, task, shown } = tokio::select! {
            biased;
            Some(looked) = looked.recv() => looked,
            key = running.next() => match key {
                Some(key) => {
                    ahead.free(&key);
                    continue;
                }
                None => break,
            },
        };
        let seen = match shown {
            Shown::Seen(seen) => seen,
            Shown::Rehearsed(mut found) => {
                for finding in &mut found.findings {
                    finding.failure = events.redacted(finding.failure.clone());
                }
                if let Some(look) = &mut looks[id.index()] {
                    look.rehearsed = found;
                }
                continue;
            }
        };
        if let (Some(read), Ok(Seen::Value(value))) = (task.task.action.reads(), &seen) {
            let output = Known::read(value, read.secret);
            if let Known::Secret(secret) = &output {
                events.conceal(secret);
            }
            outputs.insert(id, output);
        }
        if let Some(seen) = seen.as_ref().ok().filter(|seen| given.rehearse && is_rehearsed(&task, seen)) {
            ahead.rehearse(id, task.clone(), seen.clone());
        }
        looks[id.index()] = Some(looked_at(&task, seen, given.salt, events));
        for edge in graph.after(id).filter(|edge| edge.kind == EdgeKind::Data) {
            waiting[edge.to.index()] -= 1;
            if waiting[edge.to.index()] == 0 && chosen(edge.to) {
                ahead.offer(edge.to);
            }
        }
    }
    looks
}

fn prepare<'t>(
    graph: &Graph,
    task: &'t Task,
    outputs: &HashMap<NodeId, Known>,
    secrets: &Secrets,
) -> Result<Ready<'t>, Showed> {
    if let Some(when) = &task.when {
        let output = outputs.get(&when.output.task).ok_or(Showed::Waits(when.output.task))?;
        passes(when, output).map_err(Showed::Skipped)?;
    }
    let known = |param: &Param| match param {
        Param::Value(value) => Ok(Known::Plain(value.clone())),
        Param::Output(used) => outputs.get(&used.task).cloned().ok_or(used.task),
        Param::Secret(text) => Ok(Known::Secret(secrets.fill(text))),
    };
    Ready::new(task, known).or_else(|waits| {
        let id = |id| graph.task(id).map(Task::id).unwrap_or_default();
        Ready::without(task, known, id).ok_or(Showed::Waits(waits))
    })
}

fn looked_at(task: &Ready<'_>, seen: Result<Seen, Trouble>, salt: &str, events: &Events) -> Look {
    // Before a line is taken out of what a host said: a secret that it cuts would be no longer known.
    let failed = |failure: &Failure| Showed::Failed(Box::new(events.redacted(failure.clone())));
    let showed = match &seen {
        Ok(seen) => match decide(task, seen) {
            Decision::Failed { failure } => failed(&failure),
            decision => Showed::Seen(decision),
        },
        Err(Trouble::Failed(failure)) => failed(failure),
        // The user may be made by a task before it; the host is there.
        Err(Trouble::Unreachable(error)) if error.stage == Stage::Sudo && task.task.user.is_some() => {
            let (message, hint) = (error.message.clone(), error.hint.clone());
            failed(&Failure { message, hint, ..Failure::default() })
        }
        Err(Trouble::Unreachable(error)) => Showed::Unreachable(error.message.clone()),
        Err(Trouble::Lost(why) | Trouble::Gone(why)) => Showed::Unreachable(format!("the connection was lost: {why}")),
        Err(Trouble::Killed(_) | Trouble::Closed | Trouble::NotKept) => {
            Showed::Skipped("the plan was interrupted".into())
        }
    };
    let expect = task.task.scope.expect.iter();
    let expected = expect.map(|(_, state)| decide(task, &Seen::Value(state.clone()))).collect();
    let state = seen.ok().and_then(|seen| seen.digest(salt, task));
    Look { showed, expected, state, rehearsed: Rehearsed::default() }
}
