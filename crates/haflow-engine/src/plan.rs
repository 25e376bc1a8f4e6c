//! Says what a run would do: looks at every task's thing, changes nothing, and decides.

use crate::ahead::{Ahead, Looked};
use crate::decide::{Ready, decide, passes};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::state::{Known, Seen};
use crate::step::Trouble;
use crate::work::in_a_line;
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{
    Action, Decision, EdgeKind, Event, Failure, Graph, HostName, NodeId, OutputRef, Param, Plan, Planned, Task,
};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

/// What looking at a task's thing showed.
enum Look {
    Seen(Decision, Option<Known>),
    Failed(Box<Failure>),
    Unreachable(String),
    /// It uses an output that isn't known.
    Waits(NodeId),
    Skipped(String),
}

/// Decides on all tasks of `graph` and tells `events`; the last event is `PlanFinished`.
pub async fn plan(graph: &Graph, hosts: &Hosts, events: &Events, playbook: &str, stop: &CancellationToken) -> Plan {
    let started = Instant::now();
    let names: BTreeSet<HostName> = graph.tasks().map(|(_, task)| task.host.clone()).collect();
    events
        .emit(Event::PlanStarted {
            playbook: playbook.into(),
            hosts: names.iter().cloned().collect(),
            tasks: graph.tasks().count(),
        })
        .await;
    let ((), looks) = tokio::join!(crate::connect_all(hosts, &names, events), look_all(graph, hosts, events, stop));
    let plan = settle(graph, looks);
    for Planned { task, decision, assumed } in &plan.decisions {
        if let Some(task) = graph.task(*task) {
            let (decision, assumed) = (decision.clone(), assumed.clone());
            events.emit(Event::TaskPlanned { task: task.into(), decision, assumed }).await;
        }
    }
    events.emit(Event::PlanFinished { counts: plan.counts(), took_ms: crate::millis(started.elapsed()) }).await;
    plan
}

/// Looks at everything. Nothing changes, so only a used output orders one look after another.
async fn look_all(graph: &Graph, hosts: &Hosts, events: &Events, stop: &CancellationToken) -> Vec<Option<Look>> {
    let mut looks: Vec<Option<Look>> = (0..graph.len()).map(|_| None).collect();
    let mut outputs: HashMap<NodeId, Known> = HashMap::new();
    let uses = |id: NodeId| graph.before(id).filter(|edge| edge.kind == EdgeKind::Data).count();
    let mut waiting: Vec<usize> = (0..graph.len()).map(|index| uses(NodeId::from_index(index))).collect();
    let mut ahead = Ahead::new(graph);
    for id in graph.order().iter().filter(|id| waiting[id.index()] == 0) {
        ahead.offer(*id);
    }
    let mut running = FuturesUnordered::new();
    let (told, mut looked) = unbounded_channel();
    loop {
        while let Some(batch) = ahead.batch(|id| match prepare(graph.task(id)?, &outputs) {
            Ok(ready) => Some(ready),
            Err(look) => {
                looks[id.index()] = Some(look);
                None
            }
        }) {
            running.push(batch.look(hosts, stop, told.clone()));
        }
        let Looked { id, task, seen } = tokio::select! {
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
        let look = looked_at(&task, seen);
        if let Look::Seen(_, Some(output)) = &look {
            if let Known::Secret(secret) = output {
                events.conceal(secret);
            }
            outputs.insert(id, output.clone());
        }
        looks[id.index()] = Some(look);
        for edge in graph.after(id).filter(|edge| edge.kind == EdgeKind::Data) {
            waiting[edge.to.index()] -= 1;
            if waiting[edge.to.index()] == 0 {
                ahead.offer(edge.to);
            }
        }
    }
    looks
}

fn prepare<'t>(task: &'t Task, outputs: &HashMap<NodeId, Known>) -> Result<Ready<'t>, Look> {
    let output = |output: &OutputRef| outputs.get(&output.task).cloned().ok_or(Look::Waits(output.task));
    if let Some(when) = &task.when {
        passes(when, &output(&when.output)?).map_err(Look::Skipped)?;
    }
    Ready::new(task, |param| match param {
        Param::Value(value) => Ok(Known::Plain(value.clone())),
        Param::Output(used) => output(used),
    })
}

fn looked_at(task: &Ready<'_>, seen: Result<Seen, Trouble>) -> Look {
    match seen {
        Ok(seen) => match (decide(task, &seen), &task.task.action, seen) {
            (Decision::Failed { failure }, ..) => Look::Failed(failure),
            (decision, Action::Read(read), Seen::Value(value)) => {
                Look::Seen(decision, Some(Known::read(&value, read.secret)))
            }
            (decision, ..) => Look::Seen(decision, None),
        },
        Err(Trouble::Failed(failure)) => Look::Failed(failure),
        Err(Trouble::Unreachable(error)) => Look::Unreachable(error.message),
        Err(Trouble::Lost(why)) => Look::Unreachable(format!("the connection was lost: {why}")),
        Err(Trouble::Killed) => Look::Skipped("the plan was interrupted".into()),
    }
}

/// Decides on each task in the order of the graph: what was seen, and what those before it will change.
fn settle(graph: &Graph, mut looks: Vec<Option<Look>>) -> Plan {
    // For each node, the nearest task at or before it that will change something, or may.
    let mut moved: Vec<Option<NodeId>> = vec![None; graph.len()];
    // For each node, the task before it that would fail, if one would.
    let mut barred: Vec<Option<NodeId>> = vec![None; graph.len()];
    let mut may_trigger = vec![false; graph.len()];
    let mut decisions = Vec::new();
    for id in graph.order() {
        let before = graph.before(*id).filter_map(|edge| moved[edge.from.index()]).max();
        let Some(task) = graph.task(*id) else {
            moved[id.index()] = before;
            barred[id.index()] = graph.before(*id).find_map(|edge| barred[edge.from.index()]);
            continue;
        };
        let look = looks[id.index()].take().unwrap_or_else(|| {
            // Its turn never came: an output before it isn't known.
            let source = graph.before(*id).find(|edge| edge.kind == EdgeKind::Data).map_or(*id, |edge| edge.from);
            Look::Waits(source)
        });
        let mut triggers = graph.before(*id).filter(|edge| edge.kind == EdgeKind::Trigger).peekable();
        let triggered = triggers.peek().is_some();
        let trigger = triggers.find(|edge| may_trigger[edge.from.index()]).and_then(|edge| graph.task(edge.from));
        let bar = graph.before(*id).find_map(|edge| barred[edge.from.index()]);
        let decision = match (decided(graph, task, look, before), trigger) {
            (Decision::Unreachable { why }, _) => Decision::Unreachable { why },
            (_, _) if bar.is_some() => {
                let source = bar.and_then(|bar| graph.task(bar)).map(Task::id).unwrap_or_default();
                Decision::Skipped { why: format!("it depends on `{source}`, which would fail") }
            }
            (_, None) if triggered => Decision::Skipped { why: "nothing that triggers it would change".into() },
            (Decision::Act { .. }, Some(trigger)) => {
                Decision::Act { reason: format!("runs because `{}` would change", trigger.id()) }
            }
            (decision, _) => decision,
        };
        let changes = matches!(decision, Decision::Change { .. } | Decision::Act { .. } | Decision::Unknown { .. });
        may_trigger[id.index()] = changes;
        let fails = matches!(decision, Decision::Failed { .. } | Decision::Unreachable { .. });
        barred[id.index()] = if fails { Some(*id) } else { bar };
        let reads = matches!(task.action, Action::Read(_) | Action::Gate(_));
        moved[id.index()] = if changes && !reads { Some(*id) } else { before };
        let from_now = matches!(decision, Decision::UpToDate | Decision::Change { .. });
        let assumed = before.filter(|_| from_now).and_then(|before| graph.task(before)).map(Task::id);
        decisions.push(Planned { task: *id, decision, assumed });
    }
    Plan { decisions }
}

fn decided(graph: &Graph, task: &Task, look: Look, before: Option<NodeId>) -> Decision {
    let name = |id: NodeId| graph.task(id).map(Task::id).unwrap_or_default();
    match (look, before) {
        (Look::Skipped(why), _) => Decision::Skipped { why },
        (Look::Unreachable(why), _) => Decision::Unreachable { why },
        (Look::Waits(source), _) => {
            Decision::Unknown { because: name(source), why: "its output is known only once that has run".into() }
        }
        (Look::Failed(failure), Some(before)) => Decision::Unknown {
            because: name(before),
            why: format!("that comes first; before it, {}", in_a_line(&failure)),
        },
        (Look::Failed(failure), None) => Decision::Failed { failure },
        (Look::Seen(..), Some(before)) if matches!(task.action, Action::Gate(_)) => {
            Decision::Unknown { because: name(before), why: "it waits for what that brings about".into() }
        }
        (Look::Seen(Decision::Change { .. }, _), None) if matches!(task.action, Action::Gate(_)) => {
            Decision::Act { reason: "it doesn't hold now, and would be waited for".into() }
        }
        (Look::Seen(decision, _), _) => decision,
    }
}
