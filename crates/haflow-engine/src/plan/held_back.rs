//! What destroys something never begins while another task is known to fail.

use crate::decide::failure::held_back;
use crate::plan::certainty::skipped_for;
use crate::plan::upstream::doubt;
use haflow_model::{Assumed, Decision, Graph, NodeId, Planned};
use std::collections::HashMap;

/// Plans that those tasks fail, and that what depends on them is skipped.
pub(super) fn hold_back(graph: &Graph, decisions: &mut [Planned]) {
    let fails: Vec<(NodeId, bool)> = decisions
        .iter()
        .filter(|planned| matches!(planned.decision, Decision::Failed { .. }))
        .map(|planned| (planned.task, planned.assumed.is_none()))
        .collect();
    if fails.is_empty() {
        return;
    }
    let places: HashMap<NodeId, usize> =
        decisions.iter().enumerate().map(|(place, planned)| (planned.task, place)).collect();
    // For each node, the task before it that is held back, if one is, and whether that is certain.
    let mut barred: Vec<Option<(NodeId, bool)>> = vec![None; graph.len()];
    for id in graph.order() {
        let bar = graph.before(*id).find_map(|edge| barred[edge.from.index()]);
        barred[id.index()] = bar;
        let (Some(task), Some(planned)) = (graph.task(*id), places.get(id).map(|place| &mut decisions[*place])) else {
            continue;
        };
        // Nothing is held back that turns out to be up to date.
        let assumed = match &planned.decision {
            Decision::Change { .. } | Decision::Act { .. } => Some(planned.assumed.clone()),
            Decision::Unknown { because, why } => Some(Some(Assumed::new(because, why))),
            _ => None,
        };
        match (bar, &task.destroys, assumed) {
            (Some(_), ..) if matches!(planned.decision, Decision::Failed { .. } | Decision::Unreachable { .. }) => {}
            (Some((bar, certain)), ..) => {
                planned.decision = skipped_for(graph, bar);
                planned.assumed = (!certain).then(|| doubt(graph, bar));
            }
            (None, Some(what), Some(assumed)) => {
                let Some((fails, certain)) = fails.iter().find(|(fails, _)| fails != id) else { continue };
                let failure = Box::new(held_back(what, &graph.task_id(*fails)));
                planned.decision = Decision::Failed { failure };
                planned.assumed = assumed.or_else(|| (!certain).then(|| doubt(graph, *fails)));
                barred[id.index()] = Some((*id, planned.assumed.is_none()));
            }
            (None, ..) => {}
        }
    }
}
