//! The state of a run: what is known of each task, and what its end brings about.

use crate::clock::millis;
use crate::cut;
use crate::decide::failure::held_back;
use crate::decide::known::{Ended, Known};
use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::decide::when::passes;
use crate::events::Events;
use crate::hosts::Hosts;
use crate::run::past::Past;
use crate::run::schedule::Schedule;
use crate::run::turn::{Before, Promised, Worker};
use crate::step::ahead::Ahead;
use haflow_model::{
    Again, EdgeKind, Event, Failure, Graph, NodeId, Outcome, Param, RunCounts, Secrets, Task, TaskRef, Value, json_size,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// The state of a run.
pub(super) struct Run<'r> {
    pub(super) graph: &'r Graph,
    pub(super) hosts: &'r Hosts,
    pub(super) events: &'r Events,
    pub(super) schedule: Schedule<'r>,
    pub(super) outcomes: Vec<Option<Outcome>>,
    pub(super) outputs: HashMap<NodeId, Known>,
    pub(super) secrets: &'r Secrets,
    pub(super) counts: RunCounts,
    pub(super) begun: Vec<bool>,
    pub(super) ahead: Ahead<'r>,
    /// Tasks that are being looked at before their turn.
    pub(super) looking: HashSet<NodeId>,
    /// What was seen of tasks whose turn hasn't come.
    pub(super) seen: HashMap<NodeId, Seen>,
    /// Tasks whose turn has come while they are being looked at.
    pub(super) held: HashMap<NodeId, Ready<'r>>,
    /// What the plan says that is being applied, if one is.
    pub(super) promised: HashMap<NodeId, Promised<'r>>,
    /// What was done before the run was resumed.
    pub(super) past: HashMap<NodeId, &'r Past>,
    /// How tasks have ended that went together with others, and whose turn to be told hasn't come.
    pub(super) done: HashMap<NodeId, (Ended, Duration)>,
    /// How long the chain took in which a task was told to have begun, and wasn't done.
    pub(super) in_chain: HashMap<NodeId, Duration>,
    /// What would fail, as was seen before the first change.
    pub(super) foreseen: BTreeMap<NodeId, Failure>,
    /// Nothing new begins after the first failure.
    pub(super) fail_fast: bool,
    /// What destroys something begins although it is known that something after it will fail.
    pub(super) destroy_anyway: bool,
}

impl<'r> Run<'r> {
    /// What is known of a task before its turn.
    pub(super) fn before(&self, id: NodeId) -> Before<'r> {
        let (promised, past) = (self.promised.get(&id).copied(), self.past.get(&id).copied());
        Before { promised, past, in_chain: self.in_chain.get(&id).copied(), held: self.held_back(id) }
    }

    /// Why a task that destroys something doesn't begin.
    fn held_back(&self, id: NodeId) -> Option<Failure> {
        let what = self.graph.task(id)?.destroys.as_deref().filter(|_| !self.destroy_anyway)?;
        let fails = self.foreseen.keys().find(|fails| **fails != id && !self.has_ended_well(**fails))?;
        Some(held_back(what, &self.graph.task_id(*fails)))
    }

    fn has_ended_well(&self, id: NodeId) -> bool {
        self.outcomes[id.index()].as_ref().is_some_and(Outcome::satisfied)
    }

    /// Whether a task is looked at before its turn.
    pub(super) fn is_seen_ahead(&self, id: NodeId) -> bool {
        self.graph.task(id).is_some_and(|task| {
            task.when.is_none() && task.outputs().next().is_none() && task.action.can_be_looked_at_ahead()
        })
    }

    /// How a task ended before the run was resumed, if it needn't be run again.
    pub(super) fn ended_before(&self, id: NodeId) -> Option<Ended> {
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
    pub(super) fn is_followed(&self, id: NodeId) -> bool {
        self.graph.after(id).any(|edge| match self.graph.task(edge.to) {
            Some(_) => self.past.contains_key(&edge.to),
            None => self.is_followed(edge.to),
        })
    }

    /// Puts in what is known by now. A task that needn't run has its outcome already.
    pub(super) fn prepare(&self, id: NodeId) -> Result<Ready<'r>, Outcome> {
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

    pub(super) async fn end(&mut self, id: NodeId, mut ended: Ended, took: Duration, worker: &Worker<'_>) {
        let used = self.graph.after(id).any(|edge| edge.kind == EdgeKind::Data);
        if used && let Some(why) = ended.1.as_ref().and_then(unusable) {
            ended = (Outcome::Failed { failure: Box::new(why) }, None);
        }
        // It was looked for in time, and is better said than by an exit code.
        if let (Outcome::Failed { failure }, Some(foreseen)) = (&mut ended.0, self.foreseen.get(&id))
            && failure.message != foreseen.message
        {
            failure.message = format!("{}, as was foreseen: {}", failure.message, foreseen.message);
            failure.hint = failure.hint.take().or_else(|| foreseen.hint.clone());
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
    pub(super) async fn settle(&mut self, id: NodeId, (outcome, output): Ended) {
        if let Some(output) = output {
            self.outputs.insert(id, output);
            for edge in self.graph.after(id).filter(|edge| edge.kind == EdgeKind::Data) {
                let is_seen = self.seen.contains_key(&edge.to);
                if self
                    .graph
                    .task(edge.to)
                    .is_some_and(|task| !is_seen && task.when.is_none() && task.action.can_be_looked_at_ahead())
                {
                    self.ahead.offer(edge.to);
                }
            }
        }
        let satisfied = outcome.satisfied() || matches!(outcome, Outcome::Skipped { because: None, .. });
        self.count(id, &outcome);
        for (skipped, because) in self.schedule.finish(id, satisfied) {
            // It had ended before the run was resumed, and that was told then.
            if let Some((outcome, _)) = self.ended_before(skipped) {
                self.count(skipped, &outcome);
                continue;
            }
            // It was written together with the file of the task that failed, and it is there.
            if let Some(((outcome, _), took)) = self.done.remove(&skipped) {
                self.count(skipped, &outcome);
                self.tell(skipped, outcome, None, took).await;
                continue;
            }
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

    pub(super) fn count(&mut self, id: NodeId, outcome: &Outcome) {
        self.counts.add(outcome);
        self.outcomes[id.index()] = Some(outcome.clone());
    }

    pub(super) async fn tell(&self, id: NodeId, outcome: Outcome, output: Option<Value>, took: Duration) {
        let task = TaskRef::from(self.graph.task(id).expect("only tasks end"));
        self.events.emit(Event::TaskFinished { task, outcome, output, took_ms: millis(took) }).await;
    }
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
