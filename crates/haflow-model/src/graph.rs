use crate::{Action, Content, Diagnostic, FileState, Host, HostName, OutputRef, Param, Place, Task};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::{Direction, algo};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

/// A node's number: its place in the order of declaration, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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

/// A graph that is still being declared. It keeps the order of tasks on each host; [`Draft::seal`] makes it a [`Graph`].
#[derive(Debug, Default)]
pub struct Draft {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    declared: HashMap<(HostName, String, String), NodeId>,
    /// What the next task of each host comes after.
    tails: BTreeMap<HostName, Vec<NodeId>>,
    /// Tasks whose host has done nothing since this node come after it.
    floor: Option<NodeId>,
    parallel: Vec<Branches>,
}

/// The open branches of a `parallel`.
#[derive(Debug)]
struct Branches {
    /// Where each branch begins.
    base: BTreeMap<HostName, Vec<NodeId>>,
    /// Where the branches so far ended.
    ends: BTreeMap<HostName, BTreeSet<NodeId>>,
}

impl Draft {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task after what was declared on its host before, and after the tasks whose outputs it uses.
    /// Refuses a second task of the same host, kind and name.
    pub fn task(&mut self, task: Task) -> Result<NodeId, Diagnostic> {
        let id = NodeId::from_index(self.nodes.len());
        let key = (task.host.clone(), task.kind.clone(), task.name.clone());
        if let Some(first) = self.declared.get(&key) {
            let mut diagnostic = Diagnostic::new(format!("task `{}` is declared twice", task.id()))
                .at(task.place.clone(), "declared again here");
            if let Node::Task(first) = &self.nodes[first.index()] {
                diagnostic = diagnostic.at(first.place.clone(), "declared first here");
            }
            return Err(diagnostic
                .help("remove one, or tell them apart with an option `name: \"…\"`; a task runs once per host"));
        }
        self.declared.insert(key, id);
        for output in task.outputs() {
            self.edges.push(Edge { from: output.task, to: id, kind: EdgeKind::Data, place: None });
        }
        let host = task.host.clone();
        self.nodes.push(Node::Task(task));
        self.append(&host, id);
        self.tails.insert(host, vec![id]);
        Ok(id)
    }

    /// Adds a node that comes after all that was declared on `hosts` before, and before all that will be.
    pub fn barrier(&mut self, name: impl Into<String>, hosts: &[HostName], place: Place) -> NodeId {
        let id = NodeId::from_index(self.nodes.len());
        self.nodes.push(Node::Barrier(Barrier { name: name.into(), place }));
        for host in hosts {
            self.append(host, id);
            self.tails.insert(host.clone(), vec![id]);
        }
        id
    }

    /// Ends a batch: the new node comes after everything that was declared since `first`, on whatever host.
    /// As the floor ([`Draft::set_floor`]) it comes before everything in the next batch.
    pub fn batch(&mut self, first: NodeId, name: impl Into<String>, place: Place) -> NodeId {
        let id = NodeId::from_index(self.nodes.len());
        self.nodes.push(Node::Barrier(Barrier { name: name.into(), place }));
        let ends: BTreeSet<NodeId> =
            self.tails.values().flatten().copied().filter(|tail| *tail >= first && *tail < id).collect();
        for from in ends {
            self.edges.push(Edge { from, to: id, kind: EdgeKind::Order, place: None });
        }
        id
    }

    /// From here on, each host's next task comes after `floor` too. Returns the floor before, to be put back.
    pub fn set_floor(&mut self, floor: Option<NodeId>) -> Option<NodeId> {
        std::mem::replace(&mut self.floor, floor)
    }

    /// The id that the next node gets.
    pub fn next_id(&self) -> NodeId {
        NodeId::from_index(self.nodes.len())
    }

    /// Opens a `parallel`: until [`Draft::close_parallel`], each branch begins where the host stood here.
    pub fn open_parallel(&mut self) {
        self.parallel.push(Branches { base: self.tails.clone(), ends: BTreeMap::new() });
    }

    /// Ends one branch of the innermost `parallel`.
    pub fn end_branch(&mut self) {
        if let Some(branches) = self.parallel.last_mut() {
            let tails = std::mem::replace(&mut self.tails, branches.base.clone());
            for (host, ends) in tails {
                if branches.base.get(&host) != Some(&ends) {
                    branches.ends.entry(host).or_default().extend(ends);
                }
            }
        }
    }

    /// Ends the innermost `parallel`: what follows on a host comes after all branches.
    pub fn close_parallel(&mut self) {
        if let Some(branches) = self.parallel.pop() {
            self.tails = branches.base;
            for (host, ends) in branches.ends {
                self.tails.insert(host, ends.into_iter().collect());
            }
        }
    }

    /// Adds an edge that was asked for.
    pub fn edge(&mut self, from: NodeId, to: NodeId, kind: EdgeKind, place: Place) {
        self.edges.push(Edge { from, to, kind, place: Some(place) });
    }

    /// The task of that id, to be completed while it is being declared.
    pub fn task_mut(&mut self, id: NodeId) -> Option<&mut Task> {
        match self.nodes.get_mut(id.index()) {
            Some(Node::Task(task)) => Some(task),
            _ => None,
        }
    }

    /// Checks the whole and makes it final. `hosts` are all that tasks may name.
    pub fn seal(self, hosts: Vec<Host>) -> Result<Graph, Diagnostic> {
        Graph::new(hosts, self.nodes, self.edges)
    }

    fn append(&mut self, host: &HostName, id: NodeId) {
        let tails = self.tails.get(host).map(Vec::as_slice).unwrap_or_default();
        for from in tails {
            self.edges.push(Edge { from: *from, to: id, kind: EdgeKind::Host, place: None });
        }
        if let Some(floor) = self.floor
            && tails.iter().all(|tail| *tail < floor)
        {
            self.edges.push(Edge { from: floor, to: id, kind: EdgeKind::Order, place: None });
        }
    }
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

    /// The same graph with only the tasks that `chosen` chooses, and the reads whose outputs those use. The order among what
    /// is left stays. A task whose triggers are all left out goes with them: it would otherwise act each time.
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

    /// All tasks in the order of declaration.
    pub fn tasks(&self) -> impl Iterator<Item = (NodeId, &Task)> {
        self.nodes.iter().enumerate().filter_map(|(index, node)| match node {
            Node::Task(task) => Some((NodeId::from_index(index), task)),
            Node::Barrier(_) => None,
        })
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
        match &self.action {
            Action::Ensure(ensure) => Some(&ensure.want),
            Action::Gate(gate) => Some(&gate.want),
            Action::File(file) => match &file.state {
                FileState::Content(Content::Is(param)) => Some(param),
                _ => None,
            },
            Action::Act(_) | Action::Read(_) => None,
        }
    }

    /// All outputs that the task uses.
    pub fn outputs(&self) -> impl Iterator<Item = OutputRef> {
        self.params
            .values()
            .chain(self.wanted())
            .filter_map(|param| match param {
                Param::Output(output) => Some(*output),
                Param::Value(_) => None,
            })
            .chain(self.when.as_ref().map(|when| when.output))
    }
}

impl Task {
    fn outputs_mut(&mut self) -> impl Iterator<Item = &mut OutputRef> {
        let wanted = match &mut self.action {
            Action::Ensure(ensure) => Some(&mut ensure.want),
            Action::Gate(gate) => Some(&mut gate.want),
            Action::File(file) => match &mut file.state {
                FileState::Content(Content::Is(param)) => Some(param),
                _ => None,
            },
            Action::Act(_) | Action::Read(_) => None,
        };
        self.params
            .values_mut()
            .chain(wanted)
            .filter_map(|param| match param {
                Param::Output(output) => Some(output),
                Param::Value(_) => None,
            })
            .chain(self.when.as_mut().map(|when| &mut when.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, Policy, Probe, Read};

    fn task(host: &str, name: &str, line: u32) -> Task {
        Task {
            host: host.into(),
            kind: "act".into(),
            name: name.into(),
            action: Action::Act(Act { reason: "test".into(), apply: "true".into() }),
            params: BTreeMap::new(),
            when: None,
            policy: Policy::default(),
            user: None,
            tags: Vec::new(),
            destroys: None,
            place: Place::new("p.rhai", line, 1),
            declared_in: None,
        }
    }

    fn pairs(graph: &Graph) -> Vec<(u32, u32)> {
        graph.edges().iter().map(|edge| (edge.from.0, edge.to.0)).collect()
    }

    #[test]
    fn tasks_of_one_host_keep_their_order_and_hosts_are_independent() {
        let mut draft = Draft::new();
        for (host, name) in [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")] {
            draft.task(task(host, name, 1)).unwrap();
        }
        assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 2), (1, 3)]);
    }

    #[test]
    fn a_barrier_is_one_node() {
        let mut draft = Draft::new();
        draft.task(task("a", "1", 1)).unwrap();
        draft.task(task("b", "1", 1)).unwrap();
        draft.barrier("all", &["a".into(), "b".into()], Place::file("p.rhai"));
        draft.task(task("a", "2", 1)).unwrap();
        draft.task(task("b", "2", 1)).unwrap();
        assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 2), (1, 2), (2, 3), (2, 4)]);
    }

    #[test]
    fn branches_of_a_parallel_have_no_order_among_them() {
        let mut draft = Draft::new();
        draft.task(task("a", "before", 1)).unwrap();
        draft.open_parallel();
        draft.task(task("a", "left", 1)).unwrap();
        draft.task(task("a", "left2", 1)).unwrap();
        draft.end_branch();
        draft.task(task("a", "right", 1)).unwrap();
        draft.end_branch();
        draft.close_parallel();
        draft.task(task("a", "after", 1)).unwrap();
        assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4)]);
    }

    #[test]
    fn a_batch_waits_for_the_one_before_on_whatever_host() {
        let mut draft = Draft::new();
        let first = draft.next_id();
        draft.task(task("b", "join", 1)).unwrap();
        let batch = draft.batch(first, "batch 1", Place::file("p.rhai"));
        draft.set_floor(Some(batch));
        draft.task(task("c", "join", 1)).unwrap();
        draft.task(task("c", "check", 1)).unwrap();
        assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 1), (1, 2), (2, 3)]);
    }

    #[test]
    fn a_second_task_of_the_same_name_is_refused_with_both_places() {
        let mut draft = Draft::new();
        draft.task(task("a", "1", 3)).unwrap();
        let refused = draft.task(task("a", "1", 7)).unwrap_err();
        let lines: Vec<u32> = refused.labels.iter().map(|label| label.place.line).collect();
        assert_eq!((refused.message.as_str(), lines), ("task `a/act:1` is declared twice", vec![7, 3]));
    }

    #[test]
    fn a_cycle_is_refused_at_the_edge_that_closes_it() {
        let mut draft = Draft::new();
        let one = draft.task(task("a", "1", 1)).unwrap();
        let two = draft.task(task("a", "2", 2)).unwrap();
        let other = draft.task(task("b", "1", 3)).unwrap();
        draft.edge(two, other, EdgeKind::Order, Place::new("p.rhai", 4, 1));
        draft.edge(other, one, EdgeKind::Order, Place::new("p.rhai", 5, 1));
        draft.edge(one, other, EdgeKind::Order, Place::new("p.rhai", 6, 1));
        let refused = draft.seal(vec![]).unwrap_err();
        assert_eq!(refused.message, "tasks wait for each other in a circle: a/act:1 → a/act:2 → b/act:1 → a/act:1");
        assert_eq!((refused.labels[0].place.line, refused.labels[1].place.line), (5, 1));
    }

    #[test]
    fn what_is_left_of_a_graph_keeps_its_order_and_its_sources() {
        let mut draft = Draft::new();
        draft.task(task("a", "1", 1)).unwrap();
        let mut read = task("a", "read", 2);
        read.action =
            Action::Read(Read { probe: Probe { script: "true".into(), jq: None, raw: false }, secret: false });
        let read = draft.task(read).unwrap();
        draft.task(task("a", "2", 3)).unwrap();
        let mut uses = task("b", "uses", 4);
        uses.params.insert("x".into(), Param::Output(OutputRef { task: read, secret: false }));
        draft.task(uses).unwrap();
        draft.task(task("a", "3", 5)).unwrap();
        let graph = draft.seal(vec![]).unwrap();
        let left = graph.only(|task| task.host.as_str() == "b" || task.name == "3");
        let names: Vec<String> = left.tasks().map(|(_, task)| task.id()).collect();
        assert_eq!(names, ["a/act:read", "b/act:uses", "a/act:3"]);
        assert_eq!(pairs(&left), [(0, 1), (0, 2)]);
        assert_eq!(left.task(NodeId(1)).unwrap().outputs().next().unwrap().task, NodeId(0));
    }

    #[test]
    fn a_graph_comes_back_from_json_as_it_was() {
        let mut draft = Draft::new();
        draft.task(task("a", "1", 1)).unwrap();
        draft.task(task("a", "2", 2)).unwrap();
        let graph = draft.seal(vec![Host::named("a")]).unwrap();
        let text = serde_json::to_string(&graph).unwrap();
        let back: Graph = serde_json::from_str(&text).unwrap();
        assert_eq!(text, serde_json::to_string(&back).unwrap());
    }
}
