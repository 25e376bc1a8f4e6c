//! What the tasks so far would change, and on which later decisions that bears.

use crate::decide::rehearsed::Rehearsed;
use haflow_model::{Assumed, Decision, EdgeKind, Graph, HostName, NodeId, Planned, Rehearsal, Task, Thing, Things};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// At most so much is kept of what comes after which task, in bytes.
const MOST_REACHED: usize = 32 << 20;

/// What bears on a decision, and how.
pub(super) struct Moved {
    pub(super) by: NodeId,
    pub(super) why: String,
}

/// What the tasks so far, in the order of the graph, would change.
pub(super) struct Upstream<'g> {
    pub(super) graph: &'g Graph,
    /// For each node, the nearest task at or before it that would change something, or may.
    any: Vec<Option<NodeId>>,
    /// The same of those that may touch what hosts share.
    wide: Vec<Option<NodeId>>,
    hosts: HashMap<&'g HostName, OnHost<'g>>,
    pub(super) changes: Vec<bool>,
    /// Whether the decision is certain. What isn't known isn't.
    certain: Vec<bool>,
    skipped: Vec<bool>,
    /// What each task that would change something touches.
    touches: Vec<Option<&'g Things>>,
    /// Of tasks about which it was asked whether others come after them, which do.
    after: RefCell<HashMap<NodeId, Vec<bool>>>,
}

/// What would change on one host.
#[derive(Default)]
struct OnHost<'g> {
    everything: Option<NodeId>,
    /// By kind and name; an empty name is all of that kind. And whether it would change.
    things: HashMap<(&'g str, &'g str), (NodeId, bool)>,
    /// By kind and folder, the latest change of what is below it; an empty folder is above all of that kind.
    below: HashMap<(&'g str, &'g str), (NodeId, bool)>,
    /// What will be there, by which task it comes, and whether that is certain.
    brought: BTreeMap<Thing, (NodeId, bool)>,
}

impl<'g> Upstream<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        Self {
            graph,
            any: vec![None; graph.len()],
            wide: vec![None; graph.len()],
            hosts: HashMap::new(),
            changes: vec![false; graph.len()],
            certain: vec![true; graph.len()],
            skipped: vec![false; graph.len()],
            touches: vec![None; graph.len()],
            after: RefCell::default(),
        }
    }

    /// Takes over what the nodes before this one would change.
    pub(super) fn arrive(&mut self, id: NodeId) {
        self.any[id.index()] = self.graph.before(id).filter_map(|edge| self.any[edge.from.index()]).max();
        self.wide[id.index()] = self.graph.before(id).filter_map(|edge| self.wide[edge.from.index()]).max();
    }

    /// Adds what this task would change, by what its rehearsal says of that.
    pub(super) fn leave(&mut self, id: NodeId, task: &'g Task, planned: &Planned, rehearsed: Option<&'g Rehearsed>) {
        let (decision, assumed) = (&planned.decision, planned.assumed.is_some());
        let unknown = matches!(decision, Decision::Unknown { .. });
        self.certain[id.index()] = !assumed && !unknown;
        self.skipped[id.index()] = matches!(decision, Decision::Skipped { .. });
        let changes = matches!(decision, Decision::Change { .. } | Decision::Act { .. });
        // What the rehearsal says of it holds if all is then as it is now.
        let holds = |rehearsal: &Rehearsal| !assumed && self.touching(id, &task.host, &rehearsal.reads).is_none();
        let narrower = rehearsed.and_then(|rehearsed| rehearsed.touches.as_ref());
        let narrower = narrower.filter(|these| these.within(&task.scope.touches));
        let narrower = narrower.filter(|_| task.action.rehearsal().is_some_and(holds));
        let touches = narrower.unwrap_or(&task.scope.touches);
        let looks = !task.action.changes();
        // A task that isn't certain to be up to date may change something after all: what it touches.
        if looks || !(changes || unknown || assumed) {
            return;
        }
        self.changes[id.index()] = changes || unknown;
        self.touches[id.index()] = Some(touches);
        self.any[id.index()] = Some(id);
        if touches.everything() || touches.named().any(Thing::is_shared) {
            self.wide[id.index()] = Some(id);
        }
        let on_host = self.hosts.entry(&task.host).or_default();
        if touches.everything() {
            on_host.everything = on_host.everything.max(Some(id));
            on_host.brought.clear();
        }
        for thing in touches.named() {
            on_host.touch(thing, (id, changes));
            // Whatever it was brought by, it may be another one then, or gone.
            on_host.brought.remove(thing);
        }
        let brings = rehearsed.map_or(&[][..], |rehearsed| &rehearsed.brings);
        let brings = brings.iter().cloned().chain(task.brings());
        on_host.brought.extend(brings.map(|thing| (thing, (id, changes && !assumed))));
    }

    /// The task before this one that brings that thing, if there is one, and whether it does for certain.
    pub(super) fn brought(&self, id: NodeId, task: &Task, thing: &Thing) -> Option<(NodeId, bool)> {
        let by = self.hosts.get(&task.host)?.brought.get(thing).copied();
        by.filter(|(by, _)| self.comes_after(id, *by))
    }

    /// Whether the graph leads from `before` to `id`.
    fn comes_after(&self, id: NodeId, before: NodeId) -> bool {
        let mut after = self.after.borrow_mut();
        if !after.contains_key(&before) && after.len() * self.graph.len() > MOST_REACHED {
            after.clear();
        }
        let reached = after.entry(before).or_insert_with(|| {
            let mut reached = vec![false; self.graph.len()];
            let mut left = vec![before];
            while let Some(id) = left.pop() {
                for edge in self.graph.after(id) {
                    if !std::mem::replace(&mut reached[edge.to.index()], true) {
                        left.push(edge.to);
                    }
                }
            }
            reached
        });
        reached[id.index()]
    }

    /// What bears on the decision about a task, if anything does.
    pub(super) fn moves(&self, id: NodeId, task: &Task) -> Option<Moved> {
        let reads = &task.scope.reads;
        let nearest = self.touching(id, &task.host, reads);
        if let Some(by) = nearest {
            let thing = self.touches[by.index()].and_then(|touches| {
                touches.named().find(|thing| reads.everything() || reads.named().any(|read| read.overlaps(thing)))
            });
            let what = thing.map_or_else(|| "may touch anything".to_owned(), |thing| format!("touches {thing}"));
            let why = if self.changes[by.index()] {
                format!("it {what}, and comes first")
            } else {
                format!("it comes first, may change after all, and {what}")
            };
            return Some(Moved { by, why });
        }
        let source = self.uncertain_source(id)?;
        Some(Moved { by: source, why: "its output may be another one then".into() })
    }

    /// The nearest change that touches what is read on `host`.
    pub(super) fn touching(&self, id: NodeId, host: &HostName, reads: &Things) -> Option<NodeId> {
        if reads.everything() {
            return self.any[id.index()];
        }
        let shared = if reads.named().any(Thing::is_shared) { self.wide[id.index()] } else { None };
        let Some(on_host) = self.hosts.get(host) else { return shared };
        let everything = on_host.everything.filter(|_| reads.named().next().is_some());
        let named = reads.named().filter_map(|thing| on_host.latest(thing)).map(|(id, _)| id).max();
        shared.max(everything).max(named)
    }

    /// The latest change that makes one of the states come about that the task expects, the thing that it
    /// changes, and that state's index.
    pub(super) fn expected<'t>(&self, task: &'t Task) -> Option<(NodeId, &'t Thing, usize)> {
        let on_host = self.hosts.get(&task.host)?;
        let expect = task.scope.expect.iter().enumerate();
        let found = expect.filter_map(|(index, (thing, _))| {
            let (by, certain) = on_host.latest(thing)?;
            certain.then_some((by, thing, index))
        });
        found.max_by_key(|(by, ..)| *by)
    }

    /// A task whose output is used by this one and isn't certain.
    fn uncertain_source(&self, id: NodeId) -> Option<NodeId> {
        let mut sources = self.graph.before(id).filter(|edge| edge.kind == EdgeKind::Data).map(|edge| edge.from);
        // What an act prints is known only once it has run.
        let is_act = |id| self.graph.task(id).is_some_and(|task| task.action.always_runs().is_some());
        sources.find(|source| !self.certain[source.index()] || is_act(*source))
    }

    /// A task whose output is used by this one and that would be skipped.
    pub(super) fn skipped_source(&self, id: NodeId) -> Option<NodeId> {
        let mut sources = self.graph.before(id).filter(|edge| edge.kind == EdgeKind::Data).map(|edge| edge.from);
        sources.find(|source| self.skipped[source.index()])
    }

    pub(super) fn uncertain_output(&self, id: NodeId) -> Option<Assumed> {
        let source = self.uncertain_source(id)?;
        Some(Assumed::new(self.graph.task_id(source), "its output may be another one then"))
    }

    /// Why what hangs on this task isn't certain, if it isn't.
    pub(super) fn doubt(&self, id: NodeId) -> Option<Assumed> {
        (!self.certain[id.index()]).then(|| doubt(self.graph, id))
    }
}

/// Why what hangs on this task isn't certain.
pub(super) fn doubt(graph: &Graph, id: NodeId) -> Assumed {
    Assumed::new(graph.task_id(id), "what becomes of it isn't certain")
}

impl<'g> OnHost<'g> {
    /// Adds a change of `thing`.
    fn touch(&mut self, thing: &'g Thing, by: (NodeId, bool)) {
        let (kind, name) = (thing.kind(), thing.name().unwrap_or_default());
        self.things.insert((kind, name), by);
        let mut add = |folder| {
            let latest = self.below.entry((kind, folder)).or_insert(by);
            *latest = by.max(*latest);
        };
        if !name.is_empty() {
            add("");
        }
        if matches!(kind, "file" | "folder") {
            name.match_indices('/').filter(|(at, _)| *at > 0).for_each(|(at, _)| add(&name[..at]));
        }
    }

    /// The latest change that touches `thing`.
    fn latest(&self, thing: &Thing) -> Option<(NodeId, bool)> {
        match (thing.kind(), thing.name()) {
            ("file" | "folder", None) => self.below("file", "").max(self.below("folder", "")),
            (kind, None) => self.below(kind, ""),
            ("file", Some(path)) => {
                let above = self.at_or_above("file", path);
                above.max(self.below("file", path)).max(self.of("folder", "")).max(self.below("folder", path))
            }
            ("folder", Some(path)) => {
                self.at_or_above("file", path).max(self.of("folder", "")).max(self.of("folder", path))
            }
            (kind, Some(name)) => self.of(kind, "").max(self.of(kind, name)),
        }
    }

    fn of(&self, kind: &str, name: &str) -> Option<(NodeId, bool)> {
        self.things.get(&(kind, name)).copied()
    }

    /// Of what a path is below, and of the path itself.
    fn at_or_above(&self, kind: &str, path: &str) -> Option<(NodeId, bool)> {
        let above = path.match_indices('/').map(|(at, _)| self.of(kind, &path[..at.max(1)]));
        above.fold(self.of(kind, "").max(self.of(kind, path)), Option::max)
    }

    /// Of what is below a path, and of the path itself.
    fn below(&self, kind: &str, path: &str) -> Option<(NodeId, bool)> {
        let below = self.below.get(&(kind, path.trim_end_matches('/'))).copied();
        below.max(self.of(kind, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some_thing() -> impl Strategy<Value = Thing> {
        let path = prop::sample::select(vec!["/", "/a", "/a-b", "/a/b", "/a/b/c", "/ab"]);
        (prop::sample::select(vec!["file", "folder", "thing"]), prop::option::weighted(0.9, path)).prop_map(
            |(kind, path)| {
                path.map_or_else(|| Thing::try_from(kind.to_owned()).expect("a kind"), |path| Thing::new(kind, path))
            },
        )
    }

    proptest! {
        /// What was changed is found by its index exactly where it overlaps.
        #[test]
        fn the_latest_change_is_one_that_overlaps(
            touched in prop::collection::vec(some_thing(), 0..8),
            read in some_thing(),
        ) {
            let mut on_host = OnHost::default();
            let mut latest = None;
            for (index, thing) in touched.iter().enumerate() {
                let by = (NodeId::from_index(index), true);
                on_host.touch(thing, by);
                latest = if thing.overlaps(&read) { Some(by) } else { latest };
            }
            prop_assert_eq!(on_host.latest(&read), latest);
        }
    }
}
