//! What is left of a graph where only some tasks are chosen.

use super::{Edge, EdgeKind, Graph, Node, NodeId};
use crate::{OutputRef, Param, Task};
use std::collections::{BTreeSet, HashMap};

impl Graph {
    /// The same graph with only the tasks that `chosen` chooses, and the reads whose outputs those use. The
    /// order among what is left stays. A task whose triggers are all left out goes with them: it would
    /// otherwise act each time.
    ///
    /// # Panics
    ///
    /// Never: leaving out nodes makes no cycle.
    #[must_use]
    pub fn only(&self, chosen: impl Fn(&Task) -> bool) -> Self {
        let mut keep: Vec<bool> = self
            .nodes
            .iter()
            .map(|node| match node {
                Node::Task(task) => chosen(task),
                Node::Barrier(_) => true,
            })
            .collect();
        for id in &self.order {
            let mut triggers = self.before(*id).filter(|edge| edge.kind == EdgeKind::Trigger).peekable();
            if triggers.peek().is_some() && !triggers.any(|edge| keep[edge.from.index()]) {
                keep[id.index()] = false;
            }
        }
        for id in self.order.iter().rev().filter(|id| keep[id.index()]).copied().collect::<Vec<_>>() {
            self.keep_sources(id, &mut keep);
        }
        let mut number = 0;
        let renumbered: Vec<Option<NodeId>> = keep
            .iter()
            .map(|keep| {
                keep.then(|| {
                    number += 1;
                    NodeId(number - 1)
                })
            })
            .collect();
        let renumber =
            |output: &mut OutputRef| output.task = renumbered[output.task.index()].expect("sources are kept");
        let nodes = self
            .nodes
            .iter()
            .zip(&keep)
            .filter(|(_, keep)| **keep)
            .map(|(node, _)| {
                let mut node = node.clone();
                if let Node::Task(task) = &mut node {
                    task.outputs_mut().for_each(renumber);
                }
                node
            })
            .collect();
        let mut edges = Vec::new();
        // For each node that is left out, what is left of what came before it.
        let mut through: HashMap<NodeId, BTreeSet<NodeId>> = HashMap::new();
        for id in &self.order {
            let mut before: BTreeSet<NodeId> = BTreeSet::new();
            for edge in self.before(*id) {
                match (renumbered[edge.from.index()], renumbered[id.index()]) {
                    (Some(from), Some(to)) => edges.push(Edge { from, to, ..edge.clone() }),
                    (Some(from), None) => drop(before.insert(from)),
                    (None, _) => before.extend(through.get(&edge.from).into_iter().flatten()),
                }
            }
            match renumbered[id.index()] {
                Some(to) => {
                    edges.extend(before.into_iter().map(|from| Edge { from, to, kind: EdgeKind::Order, place: None }));
                }
                None => drop(through.insert(*id, before)),
            }
        }
        Self::new(self.hosts.clone(), nodes, edges).expect("leaving out nodes makes no cycle")
    }

    fn keep_sources(&self, id: NodeId, keep: &mut [bool]) {
        for edge in self.before(id).filter(|edge| edge.kind == EdgeKind::Data) {
            if !std::mem::replace(&mut keep[edge.from.index()], true) {
                self.keep_sources(edge.from, keep);
            }
        }
    }
}

impl Task {
    fn outputs_mut(&mut self) -> impl Iterator<Item = &mut OutputRef> {
        self.params
            .values_mut()
            .chain(self.action.wanted_mut())
            .filter_map(|param| match param {
                Param::Output(output) => Some(output),
                Param::Value(_) | Param::Secret(_) => None,
            })
            .chain(self.when.as_mut().map(|when| &mut when.output))
    }
}
