//! From what was seen of each task to what a run would do about it.
//!
//! A decision is certain where nothing that comes before the task changes what the decision was made from.
//! What a task reads and touches is in its [`Scope`](haflow_model::Scope). A task that doesn't say it counts
//! as reading and touching everything, which makes plans less certain and never wrong:
//!
//! - A decision that isn't certain may come out as a change, and counts as one.
//! - A change on the same host bears on the task where it touches what the task reads.
//! - A change on another host bears on it where the graph leads from there to here, and it may touch
//!   something shared, or the task reads everything.
//! - An output that isn't certain bears on what uses it, and on what is chosen by it; a trigger on what it
//!   triggers.

use crate::decide::always_runs;
use crate::decide::in_words::{differing, in_a_line};
use crate::decide::rehearsed::{Finding, Rehearsed};
use crate::plan::look::{Look, Showed};
use crate::plan::upstream::{Moved, Upstream};
use haflow_model::{Assumed, Decision, EdgeKind, Failure, Graph, HostName, NodeId, Planned, Task};
use std::collections::HashMap;
use std::sync::Arc;

/// Decides on each task in the order of the graph.
pub(crate) fn settle(graph: &Graph, mut looks: Vec<Option<Look>>) -> Vec<Planned> {
    let rehearsals: Vec<Option<Arc<Rehearsed>>> =
        looks.iter_mut().map(|look| look.as_mut()?.rehearsed.take()).collect();
    let mut upstream = Upstream::new(graph);
    // A host that can't be reached is that for all of its tasks, also for those that wouldn't be looked at.
    let unreachable: HashMap<&HostName, String> = graph
        .tasks()
        .filter_map(|(id, task)| match &looks[id.index()].as_ref()?.showed {
            Showed::Unreachable(why) => Some((&task.host, why.clone())),
            _ => None,
        })
        .collect();
    let mut ways: Vec<Way> = vec![Way::default(); graph.len()];
    let mut decisions = Vec::new();
    for id in graph.order() {
        upstream.arrive(*id);
        let way = graph.before(*id).fold(Way::default(), |way, edge| way.or(ways[edge.from.index()]));
        ways[id.index()] = way;
        let Some(task) = graph.task(*id) else { continue };
        let mut rehearsed = None;
        let look = looks[id.index()].take().unwrap_or_else(|| {
            // Its turn never came: an output before it isn't known.
            let source = graph.before(*id).find(|edge| edge.kind == EdgeKind::Data).map_or(*id, |edge| edge.from);
            Look::of(Showed::Waits(source))
        });
        let state = look.state.clone();
        let failed = matches!(look.showed, Showed::Failed(_));
        let doubt = |before: NodeId| {
            let is_gate = graph.task(before).is_some_and(|task| task.action.waits().is_some());
            let why = if is_gate {
                "it doesn't hold now, and nothing before it would change that"
            } else {
                "it can't be looked at now, and may fail"
            };
            Assumed::new(graph.task_id(before), why)
        };
        let (decision, assumed) = match (way.barred, unreachable.get(&task.host)) {
            (_, Some(why)) => (Decision::Unreachable { why: why.clone() }, None),
            (Some(bar), _) => (skipped_for(graph, bar), upstream.doubt(bar)),
            (None, _) => {
                if let Some(source) = upstream.skipped_source(*id) {
                    let why = format!("it uses the output of `{}`, which would be skipped", graph.task_id(source));
                    (Decision::Skipped { why }, upstream.doubt(source))
                } else {
                    rehearsed = rehearsals[id.index()].as_deref();
                    let mut settled = decided(&upstream, *id, task, look);
                    if let Some(rehearsed) = rehearsed {
                        settled = foreseen(&upstream, *id, task, rehearsed, way.patient.or(way.waits), settled);
                    }
                    triggered(&upstream, *id, settled)
                }
            }
        };
        let risk = |before| Assumed::new(graph.task_id(before), "it can't be told whether it would fail");
        let assumed = assumed.or_else(|| way.waits.map(doubt)).or_else(|| way.risky.map(risk));
        let assumed = assumed.filter(|_| !matches!(decision, Decision::Unknown { .. }));
        let acts = matches!(decision, Decision::Act { .. });
        let gate = task.action.waits();
        // What can't be looked at now may well not be then.
        let may_not_be_seen = failed && matches!(decision, Decision::Unknown { .. });
        let unsure = rehearsed.is_some_and(|rehearsed| rehearsed.unsure.is_some());
        let own = |it_is| Some(*id).filter(|_| it_is);
        ways[id.index()] = Way {
            barred: own(matches!(decision, Decision::Failed { .. } | Decision::Unreachable { .. })),
            waits: own(assumed.is_none() && gate.is_some() && acts || may_not_be_seen),
            patient: own(gate.is_some_and(|gate| !gate.within.is_zero()) && acts),
            risky: own(unsure && (acts || matches!(decision, Decision::Change { .. }))),
        }
        .or(way);
        let planned = Planned { task: *id, decision, assumed, state };
        upstream.leave(*id, task, &planned, rehearsed);
        decisions.push(planned);
    }
    decisions
}

/// Which tasks at or before a node may keep what comes after them from running.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// One that would fail.
    barred: Option<NodeId>,
    /// One that may fail: a gate that doesn't hold, or what can't be looked at.
    waits: Option<NodeId>,
    /// One that waits, for as long as it may: anything may come about meanwhile.
    patient: Option<NodeId>,
    /// One of which it can't be told whether it would fail.
    risky: Option<NodeId>,
}

impl Way {
    fn or(self, other: Self) -> Self {
        Self {
            barred: self.barred.or(other.barred),
            waits: self.waits.or(other.waits),
            patient: self.patient.or(other.patient),
            risky: self.risky.or(other.risky),
        }
    }
}

/// What becomes of a task that depends on `bar`, which would fail.
pub(super) fn skipped_for(graph: &Graph, bar: NodeId) -> Decision {
    Decision::Skipped { why: format!("it depends on `{}`, which would fail", graph.task_id(bar)) }
}

type Settled = (Decision, Option<Assumed>);

/// What is to be done about a task that nothing bars.
fn decided(upstream: &Upstream<'_>, id: NodeId, task: &Task, look: Look) -> Settled {
    let moved = upstream.moves(id, task);
    let because = |moved: &Moved| upstream.graph.task_id(moved.by);
    let assumed = moved.as_ref().map(|moved| Assumed::new(because(moved), &moved.why));
    let is_gate = task.action.waits().is_some();
    match look.showed {
        Showed::Skipped(why) => (Decision::Skipped { why }, upstream.uncertain_output(id)),
        Showed::Interrupted => (Decision::Skipped { why: "the plan was interrupted".into() }, None),
        Showed::Waits(source) if is_gate => {
            let because = upstream.graph.task_id(source);
            let reason = format!("waits for the output of `{because}`");
            (Decision::Act { reason }, Some(Assumed::new(because, "what it compares with isn't known yet")))
        }
        Showed::Waits(source) => {
            let because = upstream.graph.task_id(source);
            match task.action.always_runs() {
                // It runs whatever it is given, unless that is what decides whether it runs.
                Some(reason) if task.when.as_ref().is_none_or(|when| when.output.task != source) => {
                    (always_runs(reason), Some(Assumed::new(because, "what it is given isn't known yet")))
                }
                _ => {
                    let why = "its output is known only once that has run".into();
                    (Decision::Unknown { because, why }, None)
                }
            }
        }
        Showed::Seen(_) | Showed::Failed(_) if is_gate && moved.is_some() => {
            let because = moved.as_ref().map(because).unwrap_or_default();
            (Decision::Act { reason: format!("waits for what `{because}` brings about") }, assumed)
        }
        Showed::Failed(failure) if is_gate => (gate_does_not_hold(task, *failure), None),
        Showed::Seen(Decision::Change { diff }) if is_gate => {
            let message = differing(&diff);
            (gate_does_not_hold(task, Failure { message, ..Failure::default() }), None)
        }
        showed => {
            if let Some((by, thing, index)) = upstream.expected(task)
                && let Some(decision) = look.expected.into_iter().nth(index)
            {
                let why =
                    format!("once `{}` has changed {thing}, this is what there will be", upstream.graph.task_id(by));
                return (decision, Some(Assumed::new(upstream.graph.task_id(by), why)));
            }
            match (showed, moved) {
                (Showed::Failed(failure), Some(moved)) => {
                    let why = format!("it can be told only after that; now {}", in_a_line(&failure));
                    (Decision::Unknown { because: because(&moved), why }, None)
                }
                (Showed::Failed(failure), None) => (Decision::Failed { failure }, None),
                (Showed::Seen(decision), _) => (decision, assumed),
                (Showed::Unreachable(why), _) => (Decision::Unreachable { why }, None),
                (Showed::Skipped(_) | Showed::Waits(_) | Showed::Interrupted, _) => unreachable!("told above"),
            }
        }
    }
}

/// What becomes of a decision by what the rehearsal found: it fails where nothing before it mends that.
///
/// Anything may come about while a `gate` before it waits.
fn foreseen(
    upstream: &Upstream<'_>,
    id: NodeId,
    task: &Task,
    rehearsed: &Rehearsed,
    gate: Option<NodeId>,
    settled: Settled,
) -> Settled {
    let (decision, assumed) = settled;
    if !matches!(decision, Decision::Change { .. } | Decision::Act { .. }) {
        return (decision, assumed);
    }
    // What nothing before it mends, what something may mend that says nothing of it, and who would.
    let (mut sure, mut open, mut mends) = (Vec::new(), Vec::new(), None);
    for Finding { lacks, reads, failure } in &rehearsed.findings {
        let brought = lacks.as_ref().and_then(|thing| upstream.brought(id, task, thing));
        let mut reads = reads.clone();
        reads.extend(lacks.clone());
        match (brought, upstream.touching(id, &task.host, &reads).or(gate)) {
            (Some((_, true)), _) => {}
            (Some((by, false)), _) => drop(mends.get_or_insert((by, failure))),
            (None, Some(by)) => {
                mends.get_or_insert((by, failure));
                open.push(failure);
            }
            (None, None) => sure.push(failure),
        }
    }
    // What there will be is known where it is expected, if not for certain.
    let is_known = assumed.is_none() || upstream.expected(task).is_some();
    if let Some(failure) = in_one(&sure).filter(|_| is_known) {
        return (Decision::Failed { failure: Box::new(failure) }, assumed);
    }
    sure.append(&mut open);
    let because = |by| upstream.graph.task_id(by);
    let assumed = assumed
        .or_else(|| {
            let (by, failure) = mends?;
            Some(Assumed::new(because(by), format!("it may mend what fails now: {}", failure.message)))
        })
        .or_else(|| rehearsed.unsure.as_ref().map(|why| Assumed::new(because(id), why)));
    let fails_now = in_one(&sure).map(Box::new);
    (decision, assumed.map(|assumed| Assumed { fails_now, ..assumed }))
}

/// Several failures, told as one; `None` of none.
fn in_one(failures: &[&Failure]) -> Option<Failure> {
    let (first, others) = failures.split_first()?;
    let mut failure = (*first).clone();
    for other in others {
        failure.message = format!("{}; and {}", failure.message, other.message);
        let more = other.hint.clone().filter(|more| failure.hint.as_ref() != Some(more));
        failure.hint = match (failure.hint, more) {
            (Some(hint), Some(more)) => Some(format!("{hint}; {more}")),
            (hint, more) => hint.or(more),
        };
        if !other.stderr.is_empty() {
            let both = [&*failure.stderr, &*other.stderr].join("\n");
            failure.stderr = both.trim_start().into();
        }
    }
    Some(failure)
}

/// A gate that doesn't hold now, and that nothing before it would help.
fn gate_does_not_hold(task: &Task, failure: Failure) -> Decision {
    match task.action.waits() {
        Some(gate) if gate.within.is_zero() => {
            let message = format!("the gate doesn't hold: {}", failure.message);
            Decision::Failed { failure: Failure { message, ..failure }.into() }
        }
        _ => Decision::Act { reason: format!("it doesn't hold now, and would be waited for: {}", in_a_line(&failure)) },
    }
}

/// What becomes of a decision on a task that acts only if another one changed.
fn triggered(upstream: &Upstream<'_>, id: NodeId, settled: Settled) -> Settled {
    let graph = upstream.graph;
    let triggers: Vec<NodeId> =
        graph.before(id).filter(|edge| edge.kind == EdgeKind::Trigger).map(|edge| edge.from).collect();
    if triggers.is_empty() {
        return settled;
    }
    let doubt = triggers.iter().find_map(|trigger| upstream.doubt(*trigger));
    match (triggers.iter().find(|trigger| upstream.changes[trigger.index()]), settled) {
        (None, _) => (Decision::Skipped { why: "nothing that triggers it would change".into() }, doubt),
        (Some(trigger), (Decision::Act { .. }, assumed)) => {
            let doubt = upstream.doubt(*trigger);
            (
                Decision::Act { reason: format!("runs because `{}` would change", graph.task_id(*trigger)) },
                assumed.or(doubt),
            )
        }
        (Some(trigger), (decision, assumed)) => (decision, assumed.or_else(|| upstream.doubt(*trigger))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haflow_model::{
        Action, Diff, Draft, Ensure, Param, Place, Policy, Probe, Rehearsal, Scope, Thing, Things, Value,
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A task of a made-up world: it wants `value` of a thing, and its apply changes another thing too.
    #[derive(Debug, Clone)]
    struct Made {
        host: u8,
        thing: u8,
        value: u8,
        /// What else its apply sets, to which value.
        besides: Option<(u8, u8)>,
        /// Whether it says what it reads and touches.
        says: bool,
        /// What it consults: where that is 0, it sets nothing besides. It touches anything then, and its
        /// rehearsal says what that is now.
        consults: Option<u8>,
    }

    impl Made {
        fn things(&self) -> impl Iterator<Item = u8> + Clone {
            [Some(self.thing), self.besides.map(|(thing, _)| thing)].into_iter().flatten()
        }

        /// What its apply sets besides, as the world is.
        fn besides(&self, world: &BTreeMap<(u8, u8), u8>) -> Option<(u8, u8)> {
            let consulted = |thing| world.get(&key(self.host, thing)).copied().unwrap_or(0);
            self.besides.filter(|_| self.consults.is_none_or(|thing| consulted(thing) != 0))
        }
    }

    fn made() -> impl Strategy<Value = Made> {
        let besides = prop::option::weighted(0.4, (0_u8..5, 0_u8..3));
        let consults = prop::option::weighted(0.3, 0_u8..5);
        (0_u8..3, 0_u8..5, 0_u8..3, besides, prop::bool::weighted(0.7), consults).prop_map(
            |(host, thing, value, besides, says, consults)| Made { host, thing, value, besides, says, consults },
        )
    }

    /// Thing 4 is shared by all hosts.
    fn thing(number: u8) -> Thing {
        if number == 4 { Thing::new("shared", "s") } else { Thing::new("thing", &number.to_string()) }
    }

    fn key(host: u8, thing: u8) -> (u8, u8) {
        (if thing == 4 { 9 } else { host }, thing)
    }

    fn graph(tasks: &[Made], edges: &[(usize, usize)]) -> Graph {
        let mut draft = Draft::new();
        let mut ids = Vec::new();
        let mut shared = None;
        for (index, one) in tasks.iter().enumerate() {
            let things = one.things().chain(one.consults);
            let rehearse = one.consults.map(|consulted| {
                Box::new(Rehearsal { script: String::new(), reads: Things::these([thing(consulted)]) })
            });
            let scope = if one.says {
                let touches = match one.consults {
                    Some(_) => Things::default(),
                    None => Things::these(one.things().map(thing)),
                };
                Scope { reads: Things::these([thing(one.thing)]), touches, ..Scope::default() }
            } else {
                Scope::default()
            };
            let probe = Probe { script: String::new(), jq: None, raw: false };
            let ensure = Ensure { probe, want: Param::Value(Value::Null), apply: String::new(), rehearse };
            let id = draft.task(Task {
                host: format!("h{}", one.host).into(),
                kind: "made".into(),
                name: index.to_string().into(),
                action: Action::Ensure(ensure),
                params: BTreeMap::new(),
                when: None,
                policy: Policy::default(),
                user: None,
                scope,
                tags: Vec::new(),
                destroys: None,
                place: Place::file("p"),
                declared_in: None,
            });
            let id = id.expect("names differ");
            // A task that uses something shared says what it comes after.
            if things.clone().any(|thing| thing == 4) {
                if let Some(before) = shared {
                    draft.edge(before, id, EdgeKind::Order, Place::file("p"));
                }
                shared = Some(id);
            }
            ids.push(id);
        }
        for (one, other) in edges {
            let (one, other) = (one % ids.len(), other % ids.len());
            if one != other {
                draft.edge(ids[one.min(other)], ids[one.max(other)], EdgeKind::Order, Place::file("p"));
            }
        }
        draft.seal(Vec::new()).expect("edges lead forward")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        /// What a plan calls certain is what a run finds, in whichever order the graph lets it go.
        #[test]
        fn what_is_certain_comes_true(
            tasks in prop::collection::vec(made(), 1..14),
            edges in prop::collection::vec((0_usize..14, 0_usize..14), 0..8),
            world in prop::collection::btree_map((0_u8..3, 0_u8..4), 0_u8..3, 0..12),
            shared in 0_u8..3,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 14),
        ) {
            let graph = graph(&tasks, &edges);
            let mut world = world;
            world.insert((9, 4), shared);
            let there = |world: &BTreeMap<(u8, u8), u8>, one: &Made| {
                world.get(&key(one.host, one.thing)).copied().unwrap_or(0) == one.value
            };
            let looks = tasks.iter().map(|one| {
                let decision = if there(&world, one) { Decision::UpToDate } else { Decision::Change { diff: Diff::default() } };
                let touches = one.consults.map(|_| {
                    let besides = one.besides(&world).map(|(thing, _)| thing);
                    Things::these([Some(one.thing), besides].into_iter().flatten().map(thing))
                });
                let rehearsed = Some(Arc::new(Rehearsed { touches, ..Rehearsed::default() }));
                Some(Look { rehearsed, ..Look::of(Showed::Seen(decision)) })
            });
            let planned = settle(&graph, looks.collect());
            prop_assert_eq!(planned.len(), tasks.len());
            // A run, in some order that the edges allow.
            let mut left: Vec<NodeId> = graph.order().to_vec();
            let mut picks = picks.into_iter().cycle();
            let mut changed = BTreeMap::new();
            while !left.is_empty() {
                let ready: Vec<usize> = (0..left.len())
                    .filter(|at| graph.before(left[*at]).all(|edge| !left.contains(&edge.from)))
                    .collect();
                let id = left.remove(ready[picks.next().expect("endless").index(ready.len())]);
                let one = &tasks[id.index()];
                changed.insert(id, !there(&world, one));
                if changed[&id] {
                    if let Some((thing, value)) = one.besides(&world) {
                        world.insert(key(one.host, thing), value);
                    }
                    world.insert(key(one.host, one.thing), one.value);
                }
            }
            for Planned { task, decision, assumed, .. } in planned {
                if assumed.is_none() {
                    prop_assert_eq!(matches!(decision, Decision::Change { .. }), changed[&task], "{:?}", task);
                }
            }
        }
    }
}
