//! What destroys something never begins while another task is known to fail.

use crate::decide::failure::held_back;
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
        let assumed = |(because, certain): (NodeId, bool)| {
            let assumed = Assumed::new(graph.task_id(because), "what becomes of it isn't certain");
            Some(assumed).filter(|_| !certain)
        };
        // Nothing is held back that turns out to be up to date.
        let doubt = match &planned.decision {
            Decision::Change { .. } | Decision::Act { .. } => Some(planned.assumed.clone()),
            Decision::Unknown { because, why } => Some(Some(Assumed::new(because, why))),
            _ => None,
        };
        match (bar, &task.destroys, doubt) {
            (Some(_), ..) if matches!(planned.decision, Decision::Failed { .. } | Decision::Unreachable { .. }) => {}
            (Some(bar), ..) => {
                let why = format!("it depends on `{}`, which would fail", graph.task_id(bar.0));
                (planned.decision, planned.assumed) = (Decision::Skipped { why }, assumed(bar));
            }
            (None, Some(what), Some(doubt)) => {
                let Some(fails) = fails.iter().find(|(fails, _)| fails != id) else { continue };
                let failure = Box::new(held_back(what, &graph.task_id(fails.0)));
                (planned.decision, planned.assumed) = (Decision::Failed { failure }, doubt.or_else(|| assumed(*fails)));
                barred[id.index()] = Some((*id, planned.assumed.is_none()));
            }
            (None, ..) => {}
        }
    }
}
