//! What a run knows before its first change: how everything is, and what would fail.

use crate::decide::seen::Seen;
use crate::plan::look::{Given, Look, Showed, look_all};
use crate::plan::settle;
use crate::run::state::Run;
use crate::run::turn::Worker;
use haflow_model::{Decision, Event, Failure, NodeId, Outcome, Planned};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl Run<'_> {
    /// Looks at everything that hasn't ended, rehearses what would be applied, and tells what would fail.
    /// Returns the first task of which it isn't known that it can be done, if there is one.
    pub(super) async fn foresee(&mut self, stop: &CancellationToken) -> Option<NodeId> {
        let Self { graph, hosts, events, secrets, .. } = *self;
        let begun = |id: NodeId| self.begun[id.index()];
        let mut seen: Vec<(NodeId, Seen)> = Vec::new();
        let given = Given { stop, salt: "", secrets, rehearse: true };
        let looks = look_all(graph, hosts, events, given, |id| !begun(id), |id, one| seen.push((id, one.clone())));
        let mut looks = looks.await;
        if stop.is_cancelled() {
            return None;
        }
        for (id, _) in graph.tasks().filter(|(id, _)| begun(*id)) {
            looks[id.index()] = Some(Look::of(Showed::Seen(Decision::UpToDate)));
        }
        seen.retain(|(id, _)| self.is_seen_ahead(*id));
        self.seen.extend(seen);
        let mut first = None;
        for Planned { task: id, decision, .. } in settle(graph, looks) {
            let Some(task) = graph.task(id) else { continue };
            match decision {
                Decision::Failed { failure } => {
                    let failure: Failure = *failure;
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
