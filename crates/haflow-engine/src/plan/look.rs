//! Looks at everything, and rehearses what would be applied.

use crate::decide::decide;
use crate::decide::known::Known;
use crate::decide::ready::Ready;
use crate::decide::rehearsed::Rehearsed;
use crate::decide::seen::Seen;
use crate::decide::when::passes;
use crate::events::Events;
use crate::hosts::Hosts;
use crate::hosts::unreachable::Stage;
use crate::step::Shown;
use crate::step::ahead::{Ahead, Looked};
use crate::step::rehearse::has_rehearsal;
use crate::step::trouble::Trouble;
use futures_util::stream::{FuturesUnordered, StreamExt};
use haflow_model::{Decision, EdgeKind, Failure, Graph, NodeId, Param, Secrets, Task};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

/// What came of looking at a task's thing.
pub(crate) struct Look {
    pub(crate) showed: Showed,
    /// What would be decided on each of the states that the task expects.
    pub(crate) expected: Vec<Decision>,
    /// The digest of the state.
    pub(crate) state: Option<String>,
    /// What its rehearsal found, if that was anything. Files of one folder share it.
    pub(crate) rehearsed: Option<Arc<Rehearsed>>,
}

/// What looking at a task's thing showed.
pub(crate) enum Showed {
    Seen(Decision),
    Failed(Box<Failure>),
    Unreachable(String),
    /// It uses an output that isn't known.
    Waits(NodeId),
    Skipped(String),
    /// There was no time for it.
    Interrupted,
}

impl Look {
    pub(crate) fn of(showed: Showed) -> Self {
        Self { showed, expected: Vec::new(), state: None, rehearsed: None }
    }

    /// Whether it showed that something is to be applied.
    fn is_to_be_applied(&self) -> bool {
        matches!(self.showed, Showed::Seen(Decision::Change { .. } | Decision::Act { .. }))
    }
}

/// What all looks of a plan have in common.
#[derive(Clone, Copy)]
pub(crate) struct Given<'g> {
    pub(crate) stop: &'g CancellationToken,
    /// What each digest of a state begins with, where digests are asked for.
    pub(crate) salt: Option<&'g str>,
    pub(crate) secrets: &'g Secrets,
    /// Whether what would be applied is rehearsed.
    pub(crate) rehearse: bool,
}

/// Looks at everything that is chosen, and rehearses what would be applied; hands over what was seen. Nothing
/// changes, so only a used output orders one look after another.
pub(crate) async fn look_all(
    graph: &Graph,
    hosts: &Hosts,
    events: &Events,
    given: Given<'_>,
    chosen: impl Fn(NodeId) -> bool,
    mut hand_over: impl FnMut(NodeId, &Seen),
) -> Vec<Option<Look>> {
    let mut looks: Vec<Option<Look>> = (0..graph.len()).map(|_| None).collect();
    let mut outputs: HashMap<NodeId, Known> = HashMap::new();
    let uses = |id: NodeId| graph.before(id).filter(|edge| edge.kind == EdgeKind::Data).count();
    let mut waiting: Vec<usize> = (0..graph.len()).map(|index| uses(NodeId::from_index(index))).collect();
    let mut ahead = Ahead::new(graph);
    for id in graph.order().iter().filter(|id| waiting[id.index()] == 0 && chosen(**id)) {
        ahead.offer(*id);
    }
    let mut last: Option<Arc<Rehearsed>> = None;
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
            Shown::Rehearsed(found) => {
                if let (Some(look), Some(found)) = (&mut looks[id.index()], found.kept(|one| events.redacted(one))) {
                    let found = last.take().filter(|last| **last == found).unwrap_or_else(|| Arc::new(found));
                    look.rehearsed = Some(Arc::clone(&found));
                    last = Some(found);
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
        let look = looked_at(&task, &seen, given.salt, events);
        if let Ok(seen) = seen {
            hand_over(id, &seen);
            if given.rehearse && look.is_to_be_applied() && has_rehearsal(&task) {
                ahead.rehearse(id, task, seen);
            }
        }
        looks[id.index()] = Some(look);
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

fn looked_at(task: &Ready<'_>, seen: &Result<Seen, Trouble>, salt: Option<&str>, events: &Events) -> Look {
    // Before a line is taken out of what a host said: a secret that it cuts would be no longer known.
    let failed = |failure: &Failure| Showed::Failed(Box::new(events.redacted(failure.clone())));
    let showed = match seen {
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
        Err(Trouble::Killed(_) | Trouble::Closed | Trouble::NotKept) => Showed::Interrupted,
    };
    let expect = task.task.scope.expect.iter();
    let expected = expect.map(|(_, state)| decide(task, &Seen::Value(state.clone()))).collect();
    let state = seen.as_ref().ok().zip(salt).and_then(|(seen, salt)| seen.digest(salt, task));
    Look { showed, expected, state, rehearsed: None }
}
