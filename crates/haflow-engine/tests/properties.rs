//! What holds of every run, tried on random graphs: lanes without a network, a real `sh` behind each, three
//! hosts of which one is gone.
//!
//! `PROPTEST_CASES=10000 cargo test -p haflow-engine --test properties` tries more of them.

use haflow_engine::lane::Lane;
use haflow_engine::{Events, Hosts, Interrupt, OpenLane, Past, Settings, Stage, Unreachable, execute, past};
use haflow_model::{
    Act, Action, Content, Diff, Draft, EdgeKind, Ensure, Event, File, FileState, Gate, Graph, Host, HostName, NodeId,
    Outcome, OutputRef, Param, Place, Policy, Probe, Read, Record, Secrets, Task, Test, When, courses,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::Command;

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
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
struct Spec {
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

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    prop::collection::vec(spec(), 1..20)
}

/// A graph, what its tasks do, and the folder in which they do it.
struct World {
    folder: tempfile::TempDir,
    graph: Graph,
    does: BTreeMap<NodeId, Does>,
}

fn probe(script: &str) -> Probe {
    Probe { script: script.into(), jq: None, raw: false }
}

impl World {
    fn new(specs: &[Spec]) -> Self {
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
    fn before(&self, id: NodeId) -> BTreeSet<NodeId> {
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
    fn expected(&self) -> BTreeMap<NodeId, &'static str> {
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

    fn id(&self, task: &str) -> NodeId {
        self.graph.tasks().find(|(_, one)| one.id() == task).expect("a task of the graph").0
    }

    /// How often a task was done to its end: as it has logged, or as its file says.
    fn done(&self, id: NodeId) -> usize {
        let name = &self.graph.task(id).expect("a task").name;
        match self.does[&id] {
            Does::File { there } => usize::from(!there && self.folder.path().join(&**name).exists()),
            _ => self.log().iter().filter(|line| **line == format!("end {name}")).count(),
        }
    }

    /// Whether a task may go together with one that it waits for: a new file right after another one on the
    /// same host, which nothing triggers.
    fn may_go_together(&self, id: NodeId, before: NodeId) -> bool {
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
    fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The outcomes that were told, of each task at most one.
    fn outcomes(&self, records: &[Record]) -> Result<BTreeMap<NodeId, Outcome>, TestCaseError> {
        let mut ends = BTreeMap::new();
        for record in records {
            if let Event::TaskFinished { task, outcome, .. } = &record.event {
                prop_assert!(ends.insert(self.id(&task.id), outcome.clone()).is_none(), "{} ends twice", task.id);
            }
        }
        Ok(ends)
    }

    /// On the hosts nothing began before what it waits for had ended, and nothing was done twice, to its end.
    fn order_holds(&self) -> Result<(), TestCaseError> {
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
        }),
        Does::Act { fails } => {
            let apply = if fails { done("exit 3") } else { done("echo \"$name\"") };
            Action::Act(Act { reason: "a test".into(), apply })
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

fn hosts() -> Vec<Host> {
    ["a", "b", "gone"].map(Host::named).into()
}

type Shells = Arc<Mutex<Vec<tokio::process::Child>>>;

/// A shell for every lane; they are kept, so that it can be waited for their ends.
fn lanes(shells: &Shells) -> OpenLane {
    let shells = Arc::clone(shells);
    Arc::new(move |host: Host, _| {
        let shells = Arc::clone(&shells);
        Box::pin(async move {
            if host.name.as_str() == "gone" {
                return Err(Unreachable { stage: Stage::Network, message: "gone can't be reached".into(), hint: None });
            }
            let mut shell = Command::new("sh");
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = shell.spawn().expect("sh starts");
            let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            shells.lock().expect("no panic holds it").push(child);
            let (Some(stdin), Some(stdout), Some(stderr)) = streams else { panic!("its streams are piped") };
            Ok(Lane::open(stdin, stdout, stderr, ()).await.expect("sh answers"))
        })
    })
}

/// How a run is made an end of.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It isn't.
    Own,
    /// It is interrupted when it has told so many events.
    Interrupted(usize),
    /// It dies when it has told so many events, before another one is kept.
    Dies(usize),
    /// Its first failure stops it.
    FailFast,
}

/// Runs a graph, and returns what it told. What it had sent to its hosts has ended there.
fn run(graph: &Graph, parallel: usize, past: Option<BTreeMap<String, Past>>, end: End) -> Vec<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let shells = Shells::default();
    runtime.block_on(async {
        let hosts = Hosts::with_lanes(&hosts(), lanes(&shells));
        let interrupt = Interrupt::default();
        let settings = Settings {
            run: "r".into(),
            playbook: "p".into(),
            parallel,
            fail_fast: matches!(end, End::FailFast),
            plan: None,
            past,
            connecting: Duration::ZERO,
            secrets: Secrets::default(),
        };
        let (events, mut told) = Events::channel();
        let mut records = Vec::new();
        let listen = async {
            while let Some(mut event) = told.recv().await {
                if matches!(end, End::Dies(after) if records.len() == after) {
                    return;
                }
                event.kept();
                records.push(event.record);
                if matches!(end, End::Interrupted(after) if records.len() == after) {
                    interrupt.stop.cancel();
                }
            }
        };
        let work = async {
            execute(graph, &hosts, &events, &settings, &interrupt).await;
            drop(events);
        };
        let both = async {
            tokio::pin!(listen, work);
            tokio::select! {
                biased;
                () = &mut listen => {}
                () = &mut work => listen.await,
            }
        };
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("it ends: nothing waits for ever");
        // Results go when all that was told is kept.
        if !matches!(end, End::Dies(_)) {
            hosts.tidy().await;
        }
        drop(hosts);
        let left = std::mem::take(&mut *shells.lock().expect("no panic holds it"));
        for mut shell in left {
            shell.wait().await.expect("it ends");
        }
        records
    })
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Changed { .. } => "changed",
        Outcome::Failed { .. } => "failed",
        Outcome::Skipped { .. } => "skipped",
        Outcome::Unreachable { .. } => "unreachable",
        Outcome::Cancelled => "cancelled",
        Outcome::InDoubt { .. } => "in doubt",
    }
}

/// Whether a task ended as it must. Of a host that can't be reached either is told.
fn fits(outcome: &Outcome, expected: &str) -> bool {
    match expected {
        "barred" => matches!(outcome, Outcome::Skipped { because: Some(_), .. } | Outcome::Unreachable { .. }),
        "skipped" => matches!(outcome, Outcome::Skipped { because: None, .. }),
        expected => word(outcome) == expected,
    }
}

/// Whether an apply or a task begins in these events.
fn begins(records: &[Record]) -> bool {
    records.iter().any(|record| matches!(record.event, Event::TaskStarted { .. } | Event::ApplyStarted { .. }))
}

/// Every task has ended, as it must, and the totals count that.
fn all_ended(world: &World, records: &[Record]) -> Result<(), TestCaseError> {
    let ends = world.outcomes(records)?;
    for (id, expected) in world.expected() {
        prop_assert!(
            ends.get(&id).is_some_and(|end| fits(end, expected)),
            "{id:?}: {:?}, not {expected}",
            ends.get(&id)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Each task ends once, and so as what it does and what comes before it make it end; the order holds on
    /// the hosts.
    #[test]
    fn a_run_comes_to_its_end(specs in specs(), parallel in 1_usize..9) {
        let world = World::new(&specs);
        let records = run(&world.graph, parallel, None, End::Own);
        all_ended(&world, &records)?;
        world.order_holds()?;
        let Some(Event::RunFinished { counts, .. }) = records.last().map(|record| &record.event) else {
            panic!("the last event is another one")
        };
        let ends = world.outcomes(&records)?;
        let mut counted = haflow_model::RunCounts::default();
        for end in ends.values() {
            counted.add(end);
        }
        prop_assert_eq!(*counts, counted);
        // Its events are in the order of the edges too.
        let at = |id: NodeId, ended: bool| records.iter().position(|record| match &record.event {
            Event::TaskFinished { task, .. } => ended && world.id(&task.id) == id,
            Event::TaskStarted { task } => !ended && world.id(&task.id) == id,
            _ => false,
        });
        for (id, _) in world.graph.tasks() {
            for before in world.before(id) {
                if let (Some(begun), Some(ended)) = (at(id, false), at(before, true)) {
                    let holds = ended < begun || world.may_go_together(id, before);
                    prop_assert!(holds, "{:?} is told to have begun before {:?} ended", id, before);
                }
            }
        }
    }

    /// After an interrupt nothing begins; what runs ends, and every task has an outcome: its own, or that it
    /// was cancelled, or skipped since another was.
    #[test]
    fn an_interrupt_leaves_no_task_without_an_outcome(specs in specs(), parallel in 1_usize..20, after in 1_usize..40) {
        let world = World::new(&specs);
        let records = run(&world.graph, parallel, None, End::Interrupted(after));
        let ends = world.outcomes(&records)?;
        for (id, expected) in world.expected() {
            let end = ends.get(&id);
            prop_assert!(end.is_some(), "{id:?} has no outcome");
            let end = end.expect("it was just seen");
            let stopped = matches!(end, Outcome::Cancelled | Outcome::Skipped { because: Some(_), .. });
            // What a cancelled task bars on a host that can't be reached is told to be there.
            let stopped = stopped || fits(end, "barred") && world.graph.task(id).expect("a task").host.as_str() == "gone";
            prop_assert!(stopped || fits(end, expected), "{id:?}: {end:?}, not {expected}");
            let done = world.done(id) == 1;
            prop_assert_eq!(done, matches!(end, Outcome::Changed { .. }), "{:?}: {:?}", id, end);
        }
        world.order_holds()?;
        let told = records.iter().position(|record| record.event == Event::Interrupted);
        prop_assert!(told.is_none_or(|told| !begins(&records[told..])), "something began after the interrupt");
    }

    /// With `fail_fast`, nothing begins after the first failure; what runs ends, and every task has an
    /// outcome.
    #[test]
    fn a_run_that_fails_fast_begins_nothing_after_its_first_failure(specs in specs(), parallel in 1_usize..20) {
        let world = World::new(&specs);
        let records = run(&world.graph, parallel, None, End::FailFast);
        let ends = world.outcomes(&records)?;
        prop_assert_eq!(ends.len(), world.graph.tasks().count());
        world.order_holds()?;
        let told = records.iter().position(|record| matches!(
            &record.event,
            Event::TaskFinished { outcome: Outcome::Failed { .. } | Outcome::Unreachable { .. }, .. }
        ));
        prop_assert!(told.is_none_or(|told| !begins(&records[told..])), "something began after the first failure");
    }

    /// A run that dies after any of its events, and once more while it is resumed, comes to the same end, and
    /// nothing is done twice.
    #[test]
    fn a_run_is_resumed_from_any_prefix_of_its_journal(
        specs in specs(), parallel in 1_usize..9, first in any::<Index>(), second in any::<Index>(),
    ) {
        let world = World::new(&specs);
        let whole = run(&World::new(&specs).graph, parallel, None, End::Own).len();
        let mut journal = run(&world.graph, parallel, None, End::Dies(1 + first.index(whole)));
        let again = run(&world.graph, parallel, Some(known(&world, &journal)), End::Dies(1 + second.index(whole)));
        journal.extend(again);
        let last = run(&world.graph, parallel, Some(known(&world, &journal)), End::Own);
        // What ended well before isn't told again.
        let told = world.outcomes(&last)?;
        for (id, expected) in world.expected() {
            let past = known(&world, &journal).remove(&world.graph.task(id).expect("a task").id());
            let end = match (told.get(&id), past) {
                (Some(end), _) => end.clone(),
                (None, Some(Past::Ended { outcome, .. })) => outcome,
                (None, past) => panic!("{id:?} has no outcome, and before that {past:?}"),
            };
            prop_assert!(fits(&end, expected), "{id:?}: {end:?}, not {expected}");
        }
        world.order_holds()?;
        for (id, _) in world.graph.tasks() {
            let ends = world.done(id);
            let expected = usize::from(world.expected()[&id] == "changed");
            prop_assert_eq!(ends, expected, "{:?} was done {} times", id, ends);
        }
    }
}

/// What is known of a run that died: of acts that were under way the user looks.
fn known(world: &World, journal: &[Record]) -> BTreeMap<String, Past> {
    let mut known = past(&courses(journal));
    let log = world.log();
    for (id, task) in world.graph.tasks() {
        if let (Some(past @ Past::InDoubt { step: None, .. }), Does::Act { .. }) =
            (known.get_mut(&task.id()), world.does[&id])
        {
            *past = if log.contains(&format!("end {}", task.name)) {
                Past::Ended { outcome: Outcome::Changed { diff: Diff::default() }, output: Some(json!(task.name)) }
            } else {
                Past::Tried { attempt: 1 }
            };
        }
    }
    known
}

/// A run takes some milliseconds: so many, where nobody asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}
