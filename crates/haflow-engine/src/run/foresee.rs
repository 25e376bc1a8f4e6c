//! What a run knows before its first change: how everything is, and what would fail.

use crate::decide::drift;
use crate::decide::seen::Seen;
use crate::plan::look::{Given, Look, Showed, look_all};
use crate::plan::settle;
use crate::run::state::Run;
use crate::run::turn::Worker;
use haflow_model::{Action, Decision, EdgeKind, Event, Failure, Graph, NodeId, Outcome, Planned};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a run looks ahead before its first change. What doesn't answer by then isn't waited for.
const LONGEST: Duration = Duration::from_mins(2);

/// How long it looks at the gates that it would wait for.
const LONGEST_GATE: Duration = Duration::from_secs(10);

impl Run<'_> {
    /// Looks at everything that hasn't ended, rehearses what would be applied, and tells what would fail.
    /// Returns the first task of which it isn't known that it can be done, if there is one; where `all` must
    /// be known, that may take as long as the tasks' own timeouts.
    pub(super) async fn foresee(&mut self, stop: &CancellationToken, all: bool) -> Option<NodeId> {
        let Self { graph, events, .. } = *self;
        let is_left_out = |id: NodeId| self.begun[id.index()];
        let waits =
            |id: NodeId| graph.task(id).and_then(|task| task.action.waits()).is_some_and(|gate| !gate.within.is_zero());
        let mut seen: Vec<(NodeId, Seen)> = Vec::new();
        let limit = (!all).then_some(LONGEST);
        let mut looks = self.look(stop, limit, |id| !is_left_out(id) && !waits(id), &mut seen).await;
        // What is waited for may take its time to answer.
        let gates = self.look(stop, Some(LONGEST_GATE), |id| !is_left_out(id) && waits(id), &mut seen).await;
        if stop.is_cancelled() {
            return None;
        }
        for (look, gate) in looks.iter_mut().zip(gates) {
            *look = look.take().or(gate).filter(|look| !matches!(look.showed, Showed::Interrupted));
        }
        for (id, _) in graph.tasks().filter(|(id, _)| is_left_out(*id)) {
            looks[id.index()] = Some(Look::of(Showed::Seen(Decision::UpToDate)));
        }
        // What the others were seen with is what they will be given, until something changes.
        let is_read = |id: NodeId| graph.task(id).is_some_and(|task| task.action.reads().is_some());
        let read: BTreeSet<NodeId> = seen.iter().map(|(id, _)| *id).filter(|id| is_read(*id)).collect();
        seen.retain(|(id, _)| self.is_seen_ahead(*id) || is_seen_with(graph, *id, &read));
        self.seen.extend(seen);
        let mut first = None;
        for Planned { task: id, decision, .. } in settle(graph, looks) {
            let Some(task) = graph.task(id) else { continue };
            match decision {
                Decision::Failed { failure } => {
                    let failure: Failure = match self.promised.get(&id) {
                        Some(promised) => drift::into_failing(promised.planned, *failure),
                        None => *failure,
                    };
                    events.emit(Event::TaskWouldFail { task: task.into(), failure: failure.clone() }).await;
                    self.foreseen.insert(id, failure);
                }
                Decision::Unreachable { .. } => {}
                _ => continue,
            }
            first.get_or_insert(id);
        }
        first
    }

    /// Looks at what is chosen, for no longer than that, and adds what was seen to `seen`.
    async fn look(
        &self,
        stop: &CancellationToken,
        longest: Option<Duration>,
        chosen: impl Fn(NodeId) -> bool,
        seen: &mut Vec<(NodeId, Seen)>,
    ) -> Vec<Option<Look>> {
        let enough = stop.child_token();
        let given = Given { stop: &enough, salt: None, secrets: self.secrets, rehearse: true };
        let looks =
            look_all(self.graph, self.hosts, self.events, given, chosen, |id, one| seen.push((id, one.clone())));
        let limit = async {
            if let Some(longest) = longest {
                tokio::time::sleep(longest).await;
                enough.cancel();
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            looks = looks => looks,
            never = limit => match never {},
        }
    }

    /// Nothing begins: what would fail has failed, and all else is cancelled.
    pub(super) async fn nothing(&mut self, worker: &Worker<'_>) {
        worker.gatekeeper.close();
        for (id, failure) in std::mem::take(&mut self.foreseen) {
            let outcome = Outcome::Failed { failure: Box::new(failure) };
            self.count(id, &outcome);
            self.tell(id, outcome, None, Duration::ZERO).await;
        }
    }
}

/// Whether a task was seen with the very outputs that it uses: those of tasks that only read.
fn is_seen_with(graph: &Graph, id: NodeId, read: &BTreeSet<NodeId>) -> bool {
    let mut sources = graph.before(id).filter(|edge| edge.kind == EdgeKind::Data).map(|edge| edge.from);
    let is_file = graph.task(id).is_none_or(|task| matches!(task.action, Action::File(_)));
    !is_file && sources.all(|source| read.contains(&source))
}
