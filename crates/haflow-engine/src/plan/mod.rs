//! Says what a run would do: looks at every task's thing and changes nothing. What follows from that,
//! [`settle`](crate::plan::certainty) says.

mod certainty;
mod critical_path;
mod held_back;
pub(crate) mod look;
mod upstream;

use crate::clock::millis;
use crate::decide::drift;
use crate::events::Events;
use crate::hosts::Hosts;
use crate::plan::critical_path::critical_path;
use crate::plan::held_back::hold_back;
use crate::plan::look::{Given, Showed, look_all};
use crate::random::random_hex;
use crate::step::connect::connect_all;
use haflow_model::{Decision, Event, Graph, HostName, NodeId, Plan, Planned, Secrets};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use certainty::settle;

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
    let look =
        look_all(graph, hosts, events, Given { stop, salt: Some(&salt), secrets, rehearse: true }, |_| true, |_, _| {});
    let ((), looks) = tokio::join!(connect_all(hosts, &names, events), look);
    let mut decisions = settle(graph, looks);
    hold_back(graph, &mut decisions);
    let decisions: Vec<Planned> = decisions.into_iter().map(|planned| events.redacted(planned)).collect();
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
    let chosen = |id| first.contains_key(&id) || graph.task(id).is_some_and(|task| task.action.reads().is_some());
    let given = Given { stop, salt: Some(&plan.salt), secrets, rehearse: false };
    let looks = look_all(graph, hosts, events, given, chosen, |_, _| {}).await;
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
