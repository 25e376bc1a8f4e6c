//! A graph while a playbook declares it.

use super::{Barrier, Edge, EdgeKind, Graph, Node, NodeId};
use crate::{Diagnostic, Host, HostName, Place, Task};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A graph that is still being declared. It keeps the order of tasks on each host; [`Draft::seal`] makes it a
/// [`Graph`].
#[derive(Debug, Default)]
pub struct Draft {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    declared: HashMap<(HostName, Arc<str>, Arc<str>), NodeId>,
    /// The kinds so far: all tasks of one share its text.
    kinds: BTreeSet<Arc<str>>,
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
    pub fn task(&mut self, mut task: Task) -> Result<NodeId, Diagnostic> {
        match self.kinds.get(&task.kind) {
            Some(kind) => task.kind = kind.clone(),
            None => drop(self.kinds.insert(task.kind.clone())),
        }
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
            // A host may be named twice.
            if self.tails.get(host).is_some_and(|tails| *tails == [id]) {
                continue;
            }
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
