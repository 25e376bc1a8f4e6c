//! The longest path of tasks that wait for each other.

use haflow_model::{Decision, Graph, NodeId, Planned};

/// The ids of the longest path of tasks of which each waits for the one before and would, or may, change
/// something. Gates that wait count too.
pub(crate) fn critical_path(graph: &Graph, decisions: &[Planned]) -> Vec<String> {
    // For each node: the length of the longest path that ends there, and the last task before it on that
    // path.
    let mut longest: Vec<(usize, Option<NodeId>)> = vec![(0, None); graph.len()];
    let mut acts = vec![false; graph.len()];
    for planned in decisions {
        acts[planned.task.index()] =
            matches!(planned.decision, Decision::Change { .. } | Decision::Act { .. } | Decision::Unknown { .. });
    }
    for id in graph.order() {
        let mut best = (0, None);
        for edge in graph.before(*id) {
            let (length, _) = longest[edge.from.index()];
            if length > best.0 {
                // A node that does nothing hands on the path before it.
                best = (length, if acts[edge.from.index()] { Some(edge.from) } else { longest[edge.from.index()].1 });
            }
        }
        longest[id.index()] = (best.0 + usize::from(acts[id.index()]), best.1);
    }
    // The last of equals is the first in the order.
    let acting = graph.order().iter().rev().copied().filter(|id| acts[id.index()]);
    let end = acting.max_by_key(|id| longest[id.index()].0);
    let mut path: Vec<String> =
        std::iter::successors(end, |id| longest[id.index()].1).map(|id| graph.task_id(id)).collect();
    path.reverse();
    path
}
