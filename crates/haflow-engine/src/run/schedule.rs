//! Which task may run now: the graph's order, without any I/O.

use haflow_model::{Graph, NodeId};
use std::collections::BTreeSet;

/// The state of every node during one run.
#[derive(Debug)]
pub(crate) struct Schedule<'g> {
    graph: &'g Graph,
    /// How many of the nodes before each one haven't ended.
    waiting: Vec<u32>,
    /// For each node that won't run: the failed task because of which.
    barred: Vec<Option<NodeId>>,
    /// Tasks that may run.
    ready: BTreeSet<NodeId>,
}

impl<'g> Schedule<'g> {
    /// Nothing has run yet.
    pub(crate) fn new(graph: &'g Graph) -> Self {
        let ids = (0..graph.len()).map(NodeId::from_index);
        let waiting: Vec<u32> = ids.map(|id| u32::try_from(graph.before(id).count()).unwrap_or(u32::MAX)).collect();
        let first = (0..graph.len()).filter(|index| waiting[*index] == 0).map(NodeId::from_index);
        let (ready, barriers): (BTreeSet<NodeId>, BTreeSet<NodeId>) = first.partition(|id| graph.task(*id).is_some());
        let mut schedule = Self { graph, waiting, barred: vec![None; graph.len()], ready };
        for barrier in barriers {
            let skipped = schedule.finish(barrier, true);
            debug_assert!(skipped.is_empty(), "nothing has failed yet");
        }
        schedule
    }

    /// The next task that may run, the first declared first, if there is one now.
    pub(crate) fn next(&mut self) -> Option<NodeId> {
        self.ready.pop_first()
    }

    /// Whether a node waits for one of these and for nothing else.
    pub(crate) fn waits_for_these_only(&self, id: NodeId, these: &[NodeId]) -> bool {
        let before = self.graph.before(id).filter(|edge| these.contains(&edge.from)).count();
        before > 0 && self.waiting[id.index()] as usize == before && self.barred[id.index()].is_none()
    }

    /// Takes a node that may run, as [`Schedule::next`] would; `false` where it may not, or has been taken.
    pub(crate) fn take(&mut self, id: NodeId) -> bool {
        self.ready.remove(&id)
    }

    /// `id` has ended. If what depends on it may not run, those tasks are returned, each with the task that
    /// bars it.
    pub(crate) fn finish(&mut self, id: NodeId, satisfied: bool) -> Vec<(NodeId, NodeId)> {
        let mut skipped = Vec::new();
        let mut ended = vec![(id, (!satisfied).then_some(id))];
        while let Some((id, bar)) = ended.pop() {
            for edge in self.graph.after(id) {
                let index = edge.to.index();
                self.waiting[index] -= 1;
                if let Some(bar) = bar {
                    self.barred[index].get_or_insert(bar);
                }
                if self.waiting[index] == 0 {
                    match (self.barred[index], self.graph.task(edge.to)) {
                        (None, Some(_)) => drop(self.ready.insert(edge.to)),
                        // A barrier has nothing to do. What comes after it may be barred by something else.
                        (None, None) => ended.push((edge.to, None)),
                        (Some(bar), task) => {
                            skipped.extend(task.map(|_| (edge.to, bar)));
                            ended.push((edge.to, Some(bar)));
                        }
                    }
                }
            }
        }
        skipped.sort_unstable();
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haflow_model::{Act, Action, Draft, EdgeKind, Place, Policy, Task};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// A barrier is of all hosts, or, where its number is odd, the end of a batch of the tasks before it.
    fn graph(hosts: &[u8], extra: &[(usize, usize)], barriers: &[usize]) -> Graph {
        let mut draft = Draft::new();
        let mut tasks = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            if barriers.contains(&index) && index % 2 == 1 {
                let first = tasks.len() / 2;
                if let Some(first) = tasks.get(first) {
                    let floor = draft.batch(*first, "batch", Place::file("p"));
                    draft.set_floor(Some(floor));
                }
            } else if barriers.contains(&index) {
                let all: Vec<_> = (0..4).map(|host: u8| format!("h{host}").into()).collect();
                draft.barrier("all", &all, Place::file("p"));
            }
            let task = Task {
                host: format!("h{host}").into(),
                kind: "act".into(),
                name: index.to_string().into(),
                action: Action::Act(Act { reason: String::new(), apply: String::new(), rehearse: None }),
                params: BTreeMap::new(),
                when: None,
                policy: Policy::default(),
                user: None,
                scope: haflow_model::Scope::default(),
                tags: vec![],
                destroys: None,
                place: Place::file("p"),
                declared_in: None,
            };
            tasks.push(draft.task(task).expect("names differ"));
        }
        for (one, other) in extra {
            let (one, other) = (one % tasks.len(), other % tasks.len());
            if one != other {
                draft.edge(tasks[one.min(other)], tasks[one.max(other)], EdgeKind::Order, Place::file("p"));
            }
        }
        draft.seal(vec![]).expect("edges lead forward")
    }

    /// A host's next task waits for its own last one, which has failed, and for the batch before it.
    #[test]
    fn what_is_barred_behind_a_barrier_is_told_when_that_passes() {
        let graph = graph(&[0, 1, 1, 0], &[], &[3]);
        let [failed, one, two, barred] = [0, 1, 2, 4].map(NodeId::from_index);
        let mut schedule = Schedule::new(&graph);
        assert_eq!((schedule.next(), schedule.next(), schedule.next()), (Some(failed), Some(one), None));
        assert_eq!(schedule.finish(failed, false), []);
        assert_eq!(schedule.finish(one, true), []);
        assert_eq!((schedule.next(), schedule.next()), (Some(two), None));
        assert_eq!(schedule.finish(two, true), [(barred, failed)]);
        assert_eq!(schedule.next(), None);
    }

    proptest! {
        /// Order is never violated, nothing is run that depends on a failure, and every task has an outcome.
        #[test]
        fn every_task_ends_and_in_order(
            hosts in prop::collection::vec(0_u8..4, 1..40),
            extra in prop::collection::vec((0_usize..40, 0_usize..40), 0..40),
            barriers in prop::collection::vec(0_usize..40, 0..3),
            fails in prop::collection::btree_set(0_u32..45, 0..6),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 100),
        ) {
            let graph = graph(&hosts, &extra, &barriers);
            let mut schedule = Schedule::new(&graph);
            let mut running: Vec<NodeId> = Vec::new();
            let mut ended: BTreeMap<NodeId, bool> = BTreeMap::new();
            let mut skipped: BTreeSet<NodeId> = BTreeSet::new();
            let mut picks = picks.into_iter().cycle();
            loop {
                while let Some(id) = schedule.next() {
                    for edge in graph.before(id) {
                        if graph.task(edge.from).is_some() {
                            prop_assert_eq!(ended.get(&edge.from), Some(&true), "{:?} before {:?}", edge.from, id);
                        }
                    }
                    running.push(id);
                }
                if running.is_empty() {
                    break;
                }
                let id = running.remove(picks.next().expect("endless").index(running.len()));
                let satisfied = !fails.contains(&id.0);
                prop_assert!(ended.insert(id, satisfied).is_none());
                for (task, because) in schedule.finish(id, satisfied) {
                    prop_assert_eq!(ended.get(&because), Some(&false));
                    prop_assert!(skipped.insert(task));
                }
            }
            let all: BTreeSet<NodeId> = graph.tasks().map(|(id, _)| id).collect();
            let told: BTreeSet<NodeId> = ended.keys().copied().chain(skipped.iter().copied()).collect();
            prop_assert_eq!(told.len(), ended.len() + skipped.len());
            prop_assert_eq!(all, told);
        }
    }
}
