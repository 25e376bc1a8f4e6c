//! The graph: tasks in their order, from declaration to what may run.

mod draft;
mod only;

pub use draft::Draft;

use crate::{Diagnostic, Host, OutputRef, Param, Place, SecretText, Task};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::{Direction, algo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// A node's number: its place in the order of declaration, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The number as an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The id of the node at `index`.
    ///
    /// # Panics
    ///
    /// Beyond four thousand million nodes.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("a graph has fewer than 2^32 nodes"))
    }
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly every node is a task")]
pub enum Node {
    /// Something to be done.
    Task(Task),
    /// Nothing to be done: what comes after waits for all that comes before.
    Barrier(Barrier),
}

/// One virtual node instead of an edge from each of N to each of M.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barrier {
    /// What it separates.
    pub name: String,
    /// The line of the playbook that led to it.
    pub place: Place,
}

/// One node must come before another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// What comes first.
    pub from: NodeId,
    /// What comes later.
    pub to: NodeId,
    /// Why.
    pub kind: EdgeKind,
    /// The line of the playbook that asks for it, where it isn't the line of the later task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Why one node comes before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Declared earlier on the same host.
    Host,
    /// Asked for: `after`, a barrier, a batch.
    Order,
    /// Uses its output.
    Data,
    /// Acts only if that one changed.
    Trigger,
}

/// Everything that a playbook declares, checked: each edge leads to a node, and there is no cycle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Graph {
    hosts: Vec<Host>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// The same nodes by number, and each edge's index in `edges`.
    links: DiGraph<(), u32>,
    order: Vec<NodeId>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    hosts: Vec<Host>,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl From<Graph> for Parts {
    fn from(graph: Graph) -> Self {
        Self { hosts: graph.hosts, nodes: graph.nodes, edges: graph.edges }
    }
}

impl TryFrom<Parts> for Graph {
    type Error = Diagnostic;

    fn try_from(parts: Parts) -> Result<Self, Diagnostic> {
        Self::new(parts.hosts, parts.nodes, parts.edges)
    }
}

impl Graph {
    fn new(hosts: Vec<Host>, nodes: Vec<Node>, mut edges: Vec<Edge>) -> Result<Self, Diagnostic> {
        if let Some(edge) = edges.iter().find(|edge| edge.from.index().max(edge.to.index()) >= nodes.len()) {
            return Err(Diagnostic::new(format!("an edge names node {}, which isn't there", edge.from.max(edge.to).0)));
        }
        // The nearest reason first: a used output says more than the order on the host.
        let mut seen = HashMap::new();
        for (index, edge) in edges.iter().enumerate() {
            let best = seen.entry((edge.from, edge.to)).or_insert(index);
            if edges[*best].kind < edge.kind {
                *best = index;
            }
        }
        let mut index = 0;
        edges.retain(|edge| {
            index += 1;
            seen[&(edge.from, edge.to)] == index - 1
        });
        let links = links(nodes.len(), &edges);
        match topological(&links) {
            Some(order) => Ok(Self { hosts, nodes, edges, links, order }),
            None => Err(cycle(&nodes, &edges)),
        }
    }

    /// The hosts that tasks may name.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node.
    ///
    /// # Panics
    ///
    /// If `id` isn't of this graph.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The task of that id; `None` for a barrier.
    pub fn task(&self, id: NodeId) -> Option<&Task> {
        match self.node(id) {
            Node::Task(task) => Some(task),
            Node::Barrier(_) => None,
        }
    }

    /// The id of the task at this node; empty where there is none.
    pub fn task_id(&self, id: NodeId) -> String {
        self.task(id).map(Task::id).unwrap_or_default()
    }

    /// All tasks in the order of declaration.
    pub fn tasks(&self) -> impl Iterator<Item = (NodeId, &Task)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| match node {
            Node::Task(task) => Some((NodeId::from_index(index), task)),
            Node::Barrier(_) => None,
        })
    }

    /// The names of all secrets that its tasks use.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.tasks().flat_map(|(_, task)| task.secrets()).collect()
    }

    /// All edges in the order of declaration; of several between two nodes only the strongest.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// All nodes, each after what it depends on, otherwise as declared.
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// The edges that lead to a node.
    pub fn before(&self, id: NodeId) -> impl Iterator<Item = &Edge> {
        self.linked(id, Direction::Incoming)
    }

    /// The edges that lead away from a node.
    pub fn after(&self, id: NodeId) -> impl Iterator<Item = &Edge> {
        self.linked(id, Direction::Outgoing)
    }

    fn linked(&self, id: NodeId, direction: Direction) -> impl Iterator<Item = &Edge> {
        self.links
            .edges_directed(NodeIndex::new(id.index()), direction)
            .map(|link| &self.edges[*link.weight() as usize])
    }
}

fn links(nodes: usize, edges: &[Edge]) -> DiGraph<(), u32> {
    let mut links = DiGraph::with_capacity(nodes, edges.len());
    for _ in 0..nodes {
        links.add_node(());
    }
    for (index, edge) in edges.iter().enumerate() {
        let weight = NodeId::from_index(index).0;
        links.add_edge(NodeIndex::new(edge.from.index()), NodeIndex::new(edge.to.index()), weight);
    }
    links
}

/// Kahn's sort that takes the node declared first among those that are ready. `None` if there is a cycle.
fn topological(links: &DiGraph<(), u32>) -> Option<Vec<NodeId>> {
    let mut missing: Vec<usize> =
        links.node_indices().map(|node| links.edges_directed(node, Direction::Incoming).count()).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        missing.iter().enumerate().filter(|(_, count)| **count == 0).map(|(node, _)| Reverse(node)).collect();
    let mut order = Vec::with_capacity(missing.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(NodeId::from_index(node));
        for next in links.neighbors(NodeIndex::new(node)) {
            missing[next.index()] -= 1;
            if missing[next.index()] == 0 {
                ready.push(Reverse(next.index()));
            }
        }
    }
    (order.len() == missing.len()).then_some(order)
}

/// Names the edge that closes the first cycle, and the way back from its end to its beginning.
fn cycle(nodes: &[Node], edges: &[Edge]) -> Diagnostic {
    // The host's own order is declared with the tasks and never closes a cycle by itself: it goes first.
    let mut edges: Vec<Edge> = edges.to_vec();
    edges.sort_by_key(|edge| edge.kind != EdgeKind::Host);
    let closing = partition(edges.len(), |count| topological(&links(nodes.len(), &edges[..count])).is_some());
    let edge = &edges[closing - 1];
    let before = links(nodes.len(), &edges[..closing - 1]);
    let (from, to) = (NodeIndex::new(edge.from.index()), NodeIndex::new(edge.to.index()));
    let path = algo::astar(&before, to, |node| node == from, |_| 1, |_| 0).map_or_else(Vec::new, |(_, path)| path);
    let name = |node: &NodeIndex| match &nodes[node.index()] {
        Node::Task(task) => task.id(),
        Node::Barrier(barrier) => barrier.name.clone(),
    };
    let place = |node: NodeIndex| match &nodes[node.index()] {
        Node::Task(task) => task.place.clone(),
        Node::Barrier(barrier) => barrier.place.clone(),
    };
    let mut names: Vec<String> = path.iter().map(name).collect();
    names.extend(names.first().cloned());
    let closed_at = edge.place.clone().unwrap_or_else(|| place(to));
    Diagnostic::new(format!("tasks wait for each other in a circle: {}", names.join(" → ")))
        .at(closed_at, format!("this asks that `{}` comes before `{}`", name(&from), name(&to)))
        .at(place(to), format!("`{}` is declared here and comes before `{}` already", name(&to), name(&from)))
        .help("remove one of the orders named here; on one host, tasks run in the order in which they are declared")
}

/// The smallest count for which `holds` is false, where it holds for all smaller ones.
fn partition(most: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

impl Task {
    /// The value that the action asks for: an ensure's or a gate's `want`, a file's content.
    pub fn wanted(&self) -> Option<&Param> {
        self.action.wanted()
    }

    /// All outputs that the task uses.
    pub fn outputs(&self) -> impl Iterator<Item = OutputRef> {
        self.params
            .values()
            .chain(self.wanted())
            .filter_map(|param| match param {
                Param::Output(output) => Some(*output),
                Param::Value(_) | Param::Secret(_) => None,
            })
            .chain(self.when.as_ref().map(|when| when.output))
    }

    /// The names of all secrets that the task uses.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let texts = self.params.values().chain(self.wanted()).filter_map(|param| match param {
            Param::Secret(text) => Some(text),
            Param::Value(_) | Param::Output(_) => None,
        });
        texts.flat_map(SecretText::names)
    }
}

#[cfg(test)]
mod tests;
