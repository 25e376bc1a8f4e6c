//! Random graphs, and the world in which their tasks do what they do.

use haflow_model::{
    Act, Action, Content, Draft, EdgeKind, Ensure, Event, File, FileState, Gate, Graph, Host, HostName, NodeId,
    Outcome, OutputRef, Param, Place, Policy, Probe, Read, Record, Task, Test, When,
};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Ensures a file that is there already, or isn't.
    Ensure { there: bool },
    /// Acts, and that succeeds or fails.
    Act { fails: bool },
    /// Looks once whether something holds.
    Gate { holds: bool },
    /// Reads its own name.
    Read,
    /// Has a file with a content that is there already, or isn't. Those that follow one another come
    /// together.
    File { there: bool },
}

/// A task of a random graph. An index chooses among the tasks before it.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    host: &'static str,
    does: Does,
    /// It takes a while to look at it, and to do it.
    slow: bool,
    /// It is a branch of a `parallel`, together with those beside it that are too.
    branch: bool,
    /// A barrier over all hosts comes before it, or the end of a batch.
    barrier: Option<bool>,
    after: Option<Index>,
    triggered_by: Option<Index>,
    uses: Option<Index>,
    /// Whether the test holds.
    when: Option<(Index, bool)>,
}

fn spec() -> impl Strategy<Value = Spec> {
    let does = prop_oneof![
        3 => any::<bool>().prop_map(|there| Does::Ensure { there }),
        3 => Just(Does::Act { fails: false }),
        1 => Just(Does::Act { fails: true }),
        2 => prop::bool::weighted(0.8).prop_map(|holds| Does::Gate { holds }),
        2 => Just(Does::Read),
        5 => prop::bool::weighted(0.2).prop_map(|there| Does::File { there }),
    ];
    // More branches on one host than it has lanes.
    let host = prop_oneof![6 => Just("a"), 3 => Just("b"), 1 => Just("gone")];
    let some = |likely| prop::option::weighted(likely, any::<Index>());
    (
        host,
        does,
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.7),
        prop::option::weighted(0.2, any::<bool>()),
        some(0.3),
        some(0.2),
        some(0.3),
        prop::option::weighted(0.2, any::<(Index, bool)>()),
    )
        .prop_map(|(host, does, slow, branch, barrier, after, triggered_by, uses, when)| Spec {
            host,
            does,
            slow,
            branch,
            barrier,
            after,
            triggered_by,
            uses,
            when,
        })
}

pub(crate) fn specs() -> impl Strategy<Value = Vec<Spec>> {
    prop::collection::vec(spec(), 1..20)
}

/// A graph, what its tasks do, and the folder in which they do it.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) graph: Graph,
    pub(crate) does: BTreeMap<NodeId, Does>,
}

fn probe(script: &str) -> Probe {
    Probe { script: script.into(), jq: None, raw: false }
}

impl World {
    pub(crate) fn new(specs: &[Spec]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut draft = Draft::new();
        let mut ids: Vec<NodeId> = Vec::new();
        // Those that put something out.
        let mut sources: Vec<NodeId> = Vec::new();
        let mut does = BTreeMap::new();
        let mut branching = false;
        for (number, spec) in specs.iter().enumerate() {
            if branching && (spec.barrier.is_some() || !spec.branch) {
                draft.close_parallel();
                branching = false;
            }
            if spec.barrier == Some(true)
                && let Some(first) = ids.get(ids.len() / 2)
            {
                let floor = draft.batch(*first, "batch", Place::file("p"));
                draft.set_floor(Some(floor));
            } else if spec.barrier.is_some() {
                let hosts: Vec<HostName> = ["a", "b", "gone"].map(HostName::from).into();
                draft.barrier("all", &hosts, Place::file("p"));
            }
            if spec.branch && !branching {
                draft.open_parallel();
                branching = true;
            }
            let name = number.to_string();
            let chosen = |index: &Option<Index>, of: &[NodeId]| {
                index.as_ref().filter(|_| !of.is_empty()).map(|index| of[index.index(of.len())])
            };
            let output = |task| OutputRef { task, secret: false };
            let mut params = BTreeMap::from([
                ("home".into(), Param::Value(folder.path().to_str().expect("UTF-8").into())),
                ("name".into(), Param::Value(name.as_str().into())),
            ]);
            params.extend(chosen(&spec.uses, &sources).map(|task| ("used".into(), Param::Output(output(task)))));
            let when = spec.when.as_ref().and_then(|(index, holds)| {
                let task = chosen(&Some(*index), &sources)?;
                let name = draft.task_mut(task).expect("a task").name.clone();
                Some(When { output: output(task), test: Test::Equals((&*name).into()), negate: !holds })
            });
            let task = Task {
                host: spec.host.into(),
                kind: "test".into(),
                name: name.as_str().into(),
                action: match spec.does {
                    Does::File { .. } => content(&folder.path().join(&name)),
                    does => action(does, spec.slow),
                },
                params,
                when: when.map(Box::new),
                policy: Policy::default(),
                user: None,
                scope: haflow_model::Scope::default(),
                tags: vec![],
                destroys: None,
                place: Place::file("p"),
                declared_in: None,
            };
            let id = draft.task(task).expect("names differ");
            for (index, kind) in [(&spec.after, EdgeKind::Order), (&spec.triggered_by, EdgeKind::Trigger)] {
                if let Some(from) = chosen(index, &ids) {
                    draft.edge(from, id, kind, Place::file("p"));
                }
            }
            if matches!(spec.does, Does::Ensure { there: true } | Does::File { there: true }) {
                let content = if matches!(spec.does, Does::File { .. }) { "a content\n" } else { &name };
                std::fs::write(folder.path().join(&name), content).expect("a file");
            }
            if matches!(spec.does, Does::Act { .. } | Does::Read) {
                sources.push(id);
            }
            if branching {
                draft.end_branch();
            }
            ids.push(id);
            does.insert(id, spec.does);
        }
        if branching {
            draft.close_parallel();
        }
        Self { folder, graph: draft.seal(hosts()).expect("edges lead forward"), does }
    }

    /// The tasks that must have ended before this one, through barriers.
    pub(crate) fn before(&self, id: NodeId) -> BTreeSet<NodeId> {
        let mut before = BTreeSet::new();
        for edge in self.graph.before(id) {
            if self.graph.task(edge.from).is_some() {
                before.insert(edge.from);
            } else {
                before.extend(self.before(edge.from));
            }
        }
        before
    }

    /// How each task ends in a run that nothing interrupts: a word of an outcome, or `barred`.
    pub(crate) fn expected(&self) -> BTreeMap<NodeId, &'static str> {
        let mut ends: BTreeMap<NodeId, &'static str> = BTreeMap::new();
        for id in self.graph.order() {
            let Some(task) = self.graph.task(*id) else { continue };
            let lets_on = |from: &NodeId| matches!(ends[from], "ok" | "changed" | "skipped");
            let triggers: Vec<NodeId> =
                self.graph.before(*id).filter(|edge| edge.kind == EdgeKind::Trigger).map(|edge| edge.from).collect();
            let unread = task.outputs().any(|output| ends[&output.task] == "skipped");
            let end = if !self.before(*id).iter().all(lets_on) {
                "barred"
            } else if (!triggers.is_empty() && !triggers.iter().any(|from| ends[from] == "changed"))
                || unread
                || task.when.as_ref().is_some_and(|when| when.negate)
            {
                "skipped"
            } else if task.host.as_str() == "gone" {
                "unreachable"
            } else {
                match self.does[id] {
                    Does::Ensure { there: true }
                    | Does::Gate { holds: true }
                    | Does::Read
                    | Does::File { there: true } => "ok",
                    Does::Ensure { there: false } | Does::Act { fails: false } | Does::File { there: false } => {
                        "changed"
                    }
                    Does::Act { fails: true } | Does::Gate { holds: false } => "failed",
                }
            };
            ends.insert(*id, end);
        }
        ends
    }

    pub(crate) fn id(&self, task: &str) -> NodeId {
        self.graph.tasks().find(|(_, one)| one.id() == task).expect("a task of the graph").0
    }

    /// How often a task was done to its end: as it has logged, or as its file says.
    pub(crate) fn done(&self, id: NodeId) -> usize {
        let name = &self.graph.task(id).expect("a task").name;
        match self.does[&id] {
            Does::File { there } => usize::from(!there && self.folder.path().join(&**name).exists()),
            _ => self.log().iter().filter(|line| **line == format!("end {name}")).count(),
        }
    }

    /// Whether a task may go together with one that it waits for: a new file right after another one on the
    /// same host, which nothing triggers.
    pub(crate) fn may_go_together(&self, id: NodeId, before: NodeId) -> bool {
        let is_new_file = |id| self.does[id] == Does::File { there: false };
        let host = |id| &self.graph.task(id).expect("a task").host;
        let edges = || self.graph.before(id);
        is_new_file(&id)
            && is_new_file(&before)
            && host(id) == host(before)
            && edges().any(|edge| edge.from == before)
            && edges().all(|edge| edge.kind != EdgeKind::Trigger)
    }

    /// What the tasks have logged on their hosts: `begin NAME` and `end NAME`.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The outcomes that were told, of each task at most one.
    pub(crate) fn outcomes(&self, records: &[Record]) -> Result<BTreeMap<NodeId, Outcome>, TestCaseError> {
        let mut ends = BTreeMap::new();
        for record in records {
            if let Event::TaskFinished { task, outcome, .. } = &record.event {
                prop_assert!(ends.insert(self.id(&task.id), outcome.clone()).is_none(), "{} ends twice", task.id);
            }
        }
        Ok(ends)
    }

    /// On the hosts nothing began before what it waits for had ended, and nothing was done twice, to its end.
    pub(crate) fn order_holds(&self) -> Result<(), TestCaseError> {
        let log = self.log();
        let at = |what: &str, id: NodeId| {
            let line = format!("{what} {}", self.graph.task(id).expect("a task").name);
            log.iter().enumerate().filter(move |(_, logged)| **logged == line).map(|(at, _)| at).collect::<Vec<_>>()
        };
        for (id, _) in self.graph.tasks() {
            let begun = at("begin", id);
            // A script outlives its lane: what ends well was begun once.
            let done = at("end", id).len();
            prop_assert!(done <= 1 && (done == 0 || begun.len() == 1), "{:?} was done {} times: {:?}", id, done, log);
            for before in self.before(id) {
                let ended = at("end", before);
                if let (Some(begun), Some(ended)) = (begun.first(), ended.last()) {
                    prop_assert!(ended < begun, "{:?} began before {:?} had ended: {:?}", id, before, log);
                }
            }
        }
        Ok(())
    }
}

fn content(path: &std::path::Path) -> Action {
    Action::File(File {
        path: path.to_str().expect("UTF-8").into(),
        state: FileState::Content(Content::Is(Param::Value("a content\n".into()))),
        owner: None,
        group: None,
        mode: None,
        secret: false,
        follow: false,
        validate: None,
    })
}

fn action(does: Does, slow: bool) -> Action {
    let wait = if slow { "sleep 0.02" } else { ":" };
    let probe = |script: &str| probe(&format!("{wait}; {script}"));
    let done =
        |work: &str| format!(r#"echo "begin $name" >> "$home/log"; {wait}; {work}; echo "end $name" >> "$home/log""#);
    match does {
        Does::Ensure { .. } => Action::Ensure(Ensure {
            probe: probe(r#"if [ -e "$home/$name" ]; then echo there; else echo absent; fi"#),
            want: Param::Value("there".into()),
            apply: done(r#"echo > "$home/$name""#),
            rehearse: None,
        }),
        Does::Act { fails } => {
            let apply = if fails { done("exit 3") } else { done("echo \"$name\"") };
            Action::Act(Act { reason: "a test".into(), apply, rehearse: None })
        }
        Does::Gate { holds } => Action::Gate(Gate {
            probe: probe(if holds { "echo up" } else { "echo down" }),
            want: Param::Value("up".into()),
            times: 1,
            every: Duration::from_millis(1),
            within: Duration::ZERO,
        }),
        Does::Read => Action::Read(Read { probe: probe(r#"echo "$name""#), secret: false }),
        Does::File { .. } => unreachable!("it has a path"),
    }
}

pub(crate) fn hosts() -> Vec<Host> {
    ["a", "b", "gone"].map(Host::named).into()
}
