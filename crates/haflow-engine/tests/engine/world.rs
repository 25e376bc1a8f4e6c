//! Hosts that are folders, with a shell for every lane, and what a run on them told.

use haflow_engine::lane::Lane;
use haflow_engine::{Events, Hosts, Interrupt, OpenLane, Settings, Stage, Unreachable, execute, plan};
use haflow_model::{
    Act, Action, Assumed, Decision, Draft, Ensure, Event, Graph, Host, NodeId, Outcome, Param, Place, Policy, Probe,
    Read, Record, RunCounts, Secrets, Task, Value,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::process::Command;

/// Hosts a and b, each a folder.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) draft: Draft,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), draft: Draft::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(crate) fn add(&mut self, host: &str, name: &str, action: Action, change: impl FnOnce(&mut Task)) -> NodeId {
        let line = self.draft.next_id().0 + 1;
        let mut task = Task {
            host: host.into(),
            kind: "test".into(),
            name: name.into(),
            action,
            params: BTreeMap::from([("home".into(), Param::Value(self.folder.path().to_str().unwrap().into()))]),
            when: None,
            policy: Policy::default(),
            user: None,
            scope: haflow_model::Scope::default(),
            tags: vec![],
            destroys: None,
            place: Place::new("test.rhai", line, 1),
            declared_in: None,
        };
        change(&mut task);
        self.draft.task(task).expect("names differ")
    }

    /// A text in a file of that name.
    pub(crate) fn ensure(&mut self, host: &str, name: &str, want: &str) -> NodeId {
        let path = self.path(name);
        self.add(
            host,
            name,
            ensure(r#"cat "$path" 2>/dev/null || :"#, json!(want), r#"printf '%s\n' "$want" > "$path""#),
            |task| {
                task.params.insert("path".into(), Param::Value(path.to_str().unwrap().into()));
                task.params.insert("want".into(), Param::Value(want.into()));
            },
        )
    }

    pub(crate) fn seal(&mut self) -> Graph {
        std::mem::take(&mut self.draft).seal(hosts()).expect("no cycle")
    }
}

fn hosts() -> Vec<Host> {
    vec![Host::named("a"), Host::named("b")]
}

pub(crate) fn probe(script: &str) -> Probe {
    Probe { script: script.into(), jq: None, raw: false }
}

pub(crate) fn ensure(script: &str, want: Value, apply: &str) -> Action {
    Action::Ensure(Ensure { probe: probe(script), want: Param::Value(want), apply: apply.into(), rehearse: None })
}

pub(crate) fn act(apply: &str) -> Action {
    Action::Act(Act { reason: "a test".into(), apply: apply.into(), rehearse: None })
}

pub(crate) fn read(script: &str, secret: bool) -> Action {
    Action::Read(Read { probe: probe(script), secret })
}

fn shell() -> Command {
    let mut shell = Command::new("sh");
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn settings() -> Settings {
    Settings {
        run: "r".into(),
        playbook: "test.rhai".into(),
        parallel: 8,
        fail_fast: false,
        all_or_nothing: false,
        destroy_anyway: false,
        plan: None,
        past: None,
        connecting: std::time::Duration::ZERO,
        secrets: Secrets::default(),
    }
}

/// A local `sh` for every lane, but for host `gone`.
pub(crate) fn local() -> OpenLane {
    Arc::new(|host: Host, _user| {
        Box::pin(async move {
            if host.name.as_str() == "gone" {
                return Err(Unreachable { stage: Stage::Network, message: "gone can't be reached".into(), hint: None });
            }
            let mut child = shell().kill_on_drop(true).spawn().expect("sh starts");
            let streams = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
            Ok(Lane::open(streams.0, streams.1, streams.2, child).await.expect("sh answers"))
        })
    })
}

pub(crate) struct Ran {
    pub(crate) counts: RunCounts,
    pub(crate) events: Vec<Record>,
}

impl Ran {
    pub(crate) fn outcome(&self, name: &str) -> &Outcome {
        self.events
            .iter()
            .find_map(|record| match &record.event {
                Event::TaskFinished { task, outcome, .. } if &*task.name == name => Some(outcome),
                _ => None,
            })
            .unwrap_or_else(|| panic!("{name} has no outcome"))
    }

    pub(crate) fn word(&self, name: &str) -> String {
        serde_json::to_value(self.outcome(name)).unwrap()["outcome"].as_str().unwrap().to_owned()
    }

    pub(crate) fn failure(&self, name: &str) -> &haflow_model::Failure {
        match self.outcome(name) {
            Outcome::Failed { failure } => failure,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn everything(&self) -> String {
        serde_json::to_string(&self.events).unwrap()
    }
}

pub(crate) async fn run_with(
    graph: &Graph,
    open: OpenLane,
    change: impl FnOnce(&mut Settings),
    interrupt: Interrupt,
) -> Ran {
    let mut all = hosts();
    all.push(Host::named("gone"));
    let hosts = Hosts::with_lanes(&all, open);
    let mut settings = settings();
    change(&mut settings);
    let (events, mut records) = Events::channel();
    let execute = async {
        let counts = execute(graph, &hosts, &events, &settings, &interrupt).await;
        drop(events);
        counts
    };
    let listen = async {
        let mut all = Vec::new();
        while let Some(mut told) = records.recv().await {
            told.kept();
            all.push(told.record);
        }
        all
    };
    let (counts, events) = tokio::join!(execute, listen);
    hosts.tidy().await;
    Ran { counts, events }
}

/// The first events of a run that dies when it has told them and before it keeps another. What it had sent to
/// its hosts by then has ended.
pub(crate) async fn run_until(graph: &Graph, dies_after: usize) -> Vec<Record> {
    let shells = Arc::new(Mutex::new(Vec::new()));
    let opened = shells.clone();
    let open: OpenLane = Arc::new(move |_, _| {
        let shells = opened.clone();
        Box::pin(async move {
            let mut child = shell().spawn().expect("sh starts");
            let streams = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
            shells.lock().unwrap().push(child);
            Ok(Lane::open(streams.0, streams.1, streams.2, ()).await.expect("sh answers"))
        })
    });
    let hosts = Hosts::with_lanes(&hosts(), open);
    let settings = settings();
    let interrupt = Interrupt::default();
    let (events, mut told) = Events::channel();
    let mut first = Vec::new();
    let mut listen = Box::pin(async {
        while first.len() < dies_after {
            let mut event = told.recv().await.expect("the run goes on");
            event.kept();
            first.push(event.record);
        }
        let _lost = told.recv().await.expect("the last event is lost");
    });
    tokio::select! {
        biased;
        () = &mut listen => {}
        // All is told by then, if not heard.
        _ = execute(graph, &hosts, &events, &settings, &interrupt) => listen.as_mut().await,
    }
    drop(listen);
    drop((hosts, events, told));
    let shells = std::mem::take(&mut *shells.lock().unwrap());
    for mut shell in shells {
        shell.wait().await.expect("it ends");
    }
    first
}

pub(crate) async fn run(graph: &Graph) -> Ran {
    run_with(graph, local(), |_| {}, Interrupt::default()).await
}

pub(crate) async fn decisions(graph: &Graph) -> BTreeMap<String, Decision> {
    planned(graph).await.into_iter().map(|(name, (decision, _))| (name, decision)).collect()
}

/// What is planned of each task, and why that isn't certain.
pub(crate) async fn planned(graph: &Graph) -> BTreeMap<String, (Decision, Option<Assumed>)> {
    let mut all = hosts();
    all.push(Host::named("gone"));
    let hosts = Hosts::with_lanes(&all, local());
    let (events, mut records) = Events::channel();
    let plan = async {
        let plan = plan(graph, &hosts, &events, "test.rhai", &Secrets::default(), &Interrupt::default().stop).await;
        drop(events);
        plan
    };
    let (plan, ()) = tokio::join!(plan, async { while records.recv().await.is_some() {} });
    plan.decisions
        .into_iter()
        .map(|planned| (graph.task(planned.task).unwrap().name.to_string(), (planned.decision, planned.assumed)))
        .collect()
}
