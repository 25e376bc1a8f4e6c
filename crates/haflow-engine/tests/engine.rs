//! Plan and execute against lanes without a network: a real `sh` per host, in a folder of its own.

use haflow_engine::lane::{Lane, LaneError};
use haflow_engine::{Events, Hosts, Interrupt, OpenLane, Past, Settings, Step, Unreachable, execute, past, plan};
use haflow_model::{
    Act, Action, Change, Content, Decision, Diff, Draft, EdgeKind, Ensure, Event, File, FileState, Gate, Graph, Host,
    NodeId, Outcome, OutputRef, Param, Place, Policy, Probe, Read, Record, RunCounts, Secret, SecretPart, SecretText,
    Secrets, Task, Test, Value, When,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::Command;

/// Hosts a and b, each a folder.
struct World {
    folder: tempfile::TempDir,
    draft: Draft,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), draft: Draft::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn add(&mut self, host: &str, name: &str, action: Action, change: impl FnOnce(&mut Task)) -> NodeId {
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
    fn ensure(&mut self, host: &str, name: &str, want: &str) -> NodeId {
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

    fn seal(&mut self) -> Graph {
        std::mem::take(&mut self.draft).seal(hosts()).expect("no cycle")
    }
}

fn hosts() -> Vec<Host> {
    vec![Host::named("a"), Host::named("b")]
}

fn probe(script: &str) -> Probe {
    Probe { script: script.into(), jq: None, raw: false }
}

fn ensure(script: &str, want: Value, apply: &str) -> Action {
    Action::Ensure(Ensure { probe: probe(script), want: Param::Value(want), apply: apply.into() })
}

fn act(apply: &str) -> Action {
    Action::Act(Act { reason: "a test".into(), apply: apply.into() })
}

fn read(script: &str, secret: bool) -> Action {
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
        plan: None,
        past: None,
        secrets: Secrets::default(),
    }
}

/// A local `sh` for every lane, but for host `gone`.
fn local() -> OpenLane {
    Arc::new(|host: Host, _user| {
        Box::pin(async move {
            if host.name.as_str() == "gone" {
                return Err(Unreachable { step: Step::Network, message: "gone can't be reached".into(), hint: None });
            }
            let mut child = shell().kill_on_drop(true).spawn().expect("sh starts");
            let streams = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
            Ok(Lane::open(streams.0, streams.1, streams.2, child).await.expect("sh answers"))
        })
    })
}

struct Ran {
    counts: RunCounts,
    events: Vec<Record>,
}

impl Ran {
    fn outcome(&self, name: &str) -> &Outcome {
        self.events
            .iter()
            .find_map(|record| match &record.event {
                Event::TaskFinished { task, outcome, .. } if task.name == name => Some(outcome),
                _ => None,
            })
            .unwrap_or_else(|| panic!("{name} has no outcome"))
    }

    fn word(&self, name: &str) -> String {
        serde_json::to_value(self.outcome(name)).unwrap()["outcome"].as_str().unwrap().to_owned()
    }

    fn failure(&self, name: &str) -> &haflow_model::Failure {
        match self.outcome(name) {
            Outcome::Failed { failure } => failure,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn everything(&self) -> String {
        serde_json::to_string(&self.events).unwrap()
    }
}

async fn run_with(graph: &Graph, open: OpenLane, change: impl FnOnce(&mut Settings), interrupt: Interrupt) -> Ran {
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

/// The first events of a run that dies when it has told them and before it keeps another. What it had sent to its hosts by then has ended.
async fn run_until(graph: &Graph, dies_after: usize) -> Vec<Record> {
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

async fn run(graph: &Graph) -> Ran {
    run_with(graph, local(), |_| {}, Interrupt::default()).await
}

async fn decisions(graph: &Graph) -> BTreeMap<String, Decision> {
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
        .map(|planned| (graph.task(planned.task).unwrap().name.clone(), planned.decision))
        .collect()
}

#[tokio::test]
async fn what_is_not_so_is_changed_once() {
    let mut world = World::new();
    world.ensure("a", "one", "1");
    world.ensure("b", "two", "2");
    let graph = world.seal();
    assert!(matches!(decisions(&graph).await["one"], Decision::Change { .. }));
    assert_eq!(world.text("one"), "", "a plan changes nothing");
    let first = run(&graph).await;
    assert_eq!((first.counts.changed, first.counts.ok), (2, 0));
    assert_eq!((world.text("one"), world.text("two")), ("1\n".into(), "2\n".into()));
    let second = run(&graph).await;
    assert_eq!((second.counts.changed, second.counts.ok), (0, 2));
    assert!(matches!(second.events.last().unwrap().event, Event::RunFinished { .. }));
    assert_eq!(decisions(&graph).await["one"], Decision::UpToDate);
}

#[tokio::test]
async fn a_failure_stops_what_depends_on_it_and_nothing_else() {
    let mut world = World::new();
    let broken = world.add("a", "broken", act("echo out; echo err >&2; exit 3"), |_| {});
    world.ensure("a", "later", "x");
    let other = world.ensure("b", "other", "x");
    let after = world.add("b", "after", act("true"), |_| {});
    world.draft.edge(broken, after, EdgeKind::Order, Place::file("test.rhai"));
    let _ = other;
    let ran = run(&world.seal()).await;
    let words: Vec<String> = ["broken", "later", "other", "after"].map(|name| ran.word(name)).into();
    assert_eq!(words, ["failed", "skipped", "changed", "skipped"]);
    let failure = ran.failure("broken");
    assert_eq!((failure.exit, failure.stdout.as_str(), failure.stderr.as_str()), (Some(3), "out", "err"));
    assert!(matches!(ran.outcome("after"), Outcome::Skipped { because: Some(id), .. } if id == "a/test:broken"));
}

#[tokio::test]
async fn an_apply_that_succeeds_and_does_not_hold_has_failed() {
    let mut world = World::new();
    world.add("a", "liar", ensure("echo off", json!("on"), "true"), |_| {});
    let ran = run(&world.seal()).await;
    assert_eq!(ran.failure("liar").message, r#"applied, but it doesn't hold: it is "off", not "on""#);
}

#[tokio::test]
async fn a_probe_that_fails_is_an_error_and_not_a_state() {
    let mut world = World::new();
    world.add("a", "probe", ensure("echo half; exit 4", json!("half"), "true"), |_| {});
    let graph = world.seal();
    let ran = run(&graph).await;
    assert_eq!(ran.failure("probe").message, "the probe exited 4");
    assert!(matches!(&decisions(&graph).await["probe"], Decision::Failed { .. }));
}

#[tokio::test]
async fn a_retry_looks_again() {
    let mut world = World::new();
    let apply = r#"n=$(cat "$home/n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$home/n"; [ $n -ge 3 ]"#;
    world.add("a", "third", ensure(r#"cat "$home/n" 2>/dev/null || echo 0"#, json!("3"), apply), |task| {
        task.policy = Policy { retries: 3, backoff: Duration::from_millis(1), ..Policy::default() };
    });
    let ran = run(&world.seal()).await;
    assert_eq!(ran.word("third"), "changed");
    let retries = ran.events.iter().filter(|record| matches!(record.event, Event::TaskRetried { .. })).count();
    assert_eq!(retries, 2);
}

#[tokio::test]
async fn a_script_that_takes_too_long_fails_and_the_host_goes_on() {
    let mut world = World::new();
    world.add("a", "slow", act("sleep 60"), |task| task.policy.timeout = Duration::from_millis(200));
    let ran = run(&world.seal()).await;
    assert_eq!(ran.failure("slow").message, "it took longer than 0.2 s and was killed");
}

#[tokio::test]
async fn outputs_flow_and_secrets_stay_hidden() {
    let mut world = World::new();
    world.add("a", "make", act(r#"printf 'tOp$(touch "$home/x")"s3cret' > "$home/cookie""#), |_| {});
    let cookie = world.add("a", "cookie", read(r#"cat "$home/cookie""#, true), |_| {});
    let output = OutputRef { task: cookie, secret: true };
    let path = world.path("copy").to_str().unwrap().to_owned();
    let file = File {
        path: path.clone(),
        state: FileState::Content(Content::Is(Param::Output(output))),
        mode: Some(0o400),
        owner: None,
        group: None,
        secret: false,
    };
    world.add("b", "copy", Action::File(file), |_| {});
    world.add("b", "leak", act(r#"echo "$cookie" >&2; exit 1"#), |task| {
        task.params.insert("cookie".into(), Param::Output(output));
    });
    let graph = world.seal();
    let planned = decisions(&graph).await;
    let Decision::Change { diff } = &planned["copy"] else { panic!("whatever the cookie will be, it isn't there") };
    let later = Change::Later { field: "content".into(), output_of: "a/test:cookie".into() };
    assert!(diff.0.contains(&later), "{diff:?}");
    let ran = run(&graph).await;
    assert_eq!(ran.word("copy"), "changed");
    assert_eq!(world.text("copy"), "tOp$(touch \"$home/x\")\"s3cret");
    assert!(!world.path("x").exists(), "a value never runs");
    assert_eq!(ran.failure("leak").stderr, "‹secret›");
    assert!(!ran.everything().contains("s3cret"));
}

#[tokio::test]
async fn a_secret_goes_where_the_graph_names_it_and_comes_back_nowhere() {
    let secret = "it's a \"secret\"\n$(touch \"$home/x\") ü";
    let text =
        SecretText(vec![SecretPart::Text("[".into()), SecretPart::Secret("key".into()), SecretPart::Text("]".into())]);
    for (name, script) in [
        ("raw", r#"printf '%s' "$key"; printf '%s' "$key" >&2; exit 1"#),
        ("base64", r#"printf 'user:%s' "$key" | base64 -w 20 | tee /dev/stderr; exit 1"#),
        ("traced", r#"set -x; : "$key"; exit 1"#),
        ("output", r#"echo "$key$pin""#),
    ] {
        let mut world = World::new();
        let path = world.path("copy").to_str().unwrap().to_owned();
        let state = FileState::Content(Content::Is(Param::Secret(text.clone())));
        let file = File { path, state, mode: Some(0o400), owner: None, group: None, secret: false };
        world.add("a", "copy", Action::File(file), |_| {});
        world.add("a", name, act(script), |task| {
            task.params.insert("key".into(), Param::Secret(SecretText::of("key")));
            task.params.insert("pin".into(), Param::Secret(SecretText::of("pin")));
        });
        world.add("b", "number", read(r#"echo '{"pin": 13579, "13579": [13579]}'"#, false), |task| {
            let Action::Read(read) = &mut task.action else { unreachable!() };
            read.probe.jq = Some(".".into());
        });
        let graph = world.seal();
        assert_eq!(graph.secrets().into_iter().collect::<Vec<_>>(), ["key", "pin"]);
        let mut secrets = Secrets::default();
        secrets.insert("key", Secret::new(secret));
        secrets.insert("pin", Secret::new("13579"));
        let ran = run_with(&graph, local(), |settings| settings.secrets = secrets, Interrupt::default()).await;
        assert_eq!(world.text("copy"), format!("[{secret}]"));
        assert!(!world.path("x").exists(), "a value never runs");
        if name == "output" {
            assert_eq!(ran.word(name), "changed");
        } else {
            assert!(ran.failure(name).stderr.contains("‹secret›"), "{name}: {:?}", ran.failure(name));
        }
        let all = ran.everything();
        for part in ["a \\\"secret", "touch", "ImE", "ZWNyZXQ", "c2VjcmV0", "13579"] {
            assert!(!all.contains(part), "{part}: {all}");
        }
    }
}

#[tokio::test]
async fn a_trigger_acts_only_after_a_change() {
    let mut world = World::new();
    let config = world.ensure("a", "config", "x");
    let restart = world.add("a", "restart", act(r#"echo restarted >> "$home/log""#), |_| {});
    world.draft.edge(config, restart, EdgeKind::Trigger, Place::file("test.rhai"));
    let graph = world.seal();
    assert_eq!(run(&graph).await.word("restart"), "changed");
    let second = run(&graph).await;
    assert!(matches!(second.outcome("restart"), Outcome::Skipped { because: None, .. }));
    assert_eq!(world.text("log"), "restarted\n");
    assert!(matches!(decisions(&graph).await["restart"], Decision::Skipped { .. }));
}

#[tokio::test]
async fn when_is_a_test_on_an_output() {
    let mut world = World::new();
    let version = world.add("a", "version", read("echo 3.10.8", false), |_| {});
    for (name, pattern) in [("three", "^3\\."), ("four", "^4\\.")] {
        world.add("a", name, act("true"), |task| {
            task.when = Some(When {
                output: OutputRef { task: version, secret: false },
                test: Test::Matches(pattern.into()),
                negate: false,
            });
        });
    }
    let ran = run(&world.seal()).await;
    assert_eq!((ran.word("three"), ran.word("four")), ("changed".into(), "skipped".into()));
    let Outcome::Skipped { why, .. } = ran.outcome("four") else { panic!() };
    assert_eq!(why, r#""3.10.8" doesn't hold for: matches /^4\./"#);
}

#[tokio::test]
async fn a_gate_waits_and_tells_what_it_saw_last() {
    let mut world = World::new();
    let gate = |script: &str, within: u64| {
        Action::Gate(Gate {
            probe: probe(script),
            want: Param::Value(json!("up")),
            times: 2,
            every: Duration::from_millis(1),
            within: Duration::from_millis(within),
        })
    };
    let third = r#"n=$(cat "$home/n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$home/n"; [ $n -lt 3 ] && echo down || echo up"#;
    world.add("a", "comes", gate(third, 30_000), |_| {});
    world.add("b", "never", gate("echo down", 20), |_| {});
    let ran = run(&world.seal()).await;
    assert_eq!(ran.word("comes"), "ok");
    assert_eq!(world.text("n"), "4\n", "twice in a row after two misses");
    assert_eq!(ran.failure("never").message, r#"the gate didn't hold within 0.02 s: it is "down", not "up""#);
}

#[tokio::test]
async fn an_unreachable_host_is_told_for_each_of_its_tasks() {
    let mut world = World::new();
    let first = world.add("gone", "first", act("true"), |_| {});
    world.add("gone", "second", act("true"), |_| {});
    let after = world.add("a", "after", act("true"), |_| {});
    world.draft.edge(first, after, EdgeKind::Order, Place::file("test.rhai"));
    world.ensure("b", "other", "x");
    let ran = run(&world.seal()).await;
    let words: Vec<String> = ["first", "second", "after", "other"].map(|name| ran.word(name)).into();
    assert_eq!(words, ["unreachable", "unreachable", "skipped", "changed"]);
}

/// Ends the lane that a step was begun through: the parent of its keeper.
const CUT: &str = r#"read -r line < /proc/$PPID/stat; set -- ${line##*) }; kill -9 "$2""#;

#[tokio::test]
async fn a_step_outlives_its_lane_and_is_picked_up() {
    let mut world = World::new();
    let goes_on = format!("{CUT}; sleep 0.5; echo done >> \"$home/log\"; echo said; echo complained >&2");
    let cut = world.add("a", "cut", act(&goes_on), |_| {});
    let path = world.path("from-cut");
    world.add("a", "uses it", act(r#"printf %s "$said" > "$path""#), |task| {
        task.params.insert("path".into(), Param::Value(path.to_str().unwrap().into()));
        task.params.insert("said".into(), Param::Output(OutputRef { task: cut, secret: false }));
    });
    world.add("a", "wrong", act(&format!("{CUT}; echo why >&2; exit 7")), |_| {});
    world.ensure("b", "other", "x");
    let ran = run(&world.seal()).await;
    assert_eq!(
        (ran.word("cut"), ran.word("uses it"), ran.word("other")),
        ("changed".into(), "changed".into(), "changed".into())
    );
    assert_eq!((world.text("log").as_str(), world.text("from-cut").as_str()), ("done\n", "said"));
    let failure = ran.failure("wrong");
    assert_eq!((failure.exit, failure.stderr.as_str()), (Some(7), "why"));
    let picked_up = ran.events.iter().filter(|record| matches!(record.event, Event::PickingUp { .. })).count();
    assert_eq!(picked_up, 2);
}

#[tokio::test]
async fn a_step_whose_end_nobody_knows_is_in_doubt() {
    let mut world = World::new();
    world.add("a", "killed", act("kill -9 $PPID; sleep 1"), |_| {});
    world.ensure("b", "other", "x");
    let ran = run(&world.seal()).await;
    assert_eq!((ran.word("killed"), ran.word("other")), ("in_doubt".into(), "changed".into()));
    assert!(!ran.counts.succeeded());
}

#[tokio::test]
async fn an_interrupt_starts_nothing_new_and_tells_every_task() {
    let mut world = World::new();
    let stop = world.path("stop");
    world.add(
        "a",
        "running",
        act(r#"echo began > "$home/stop"; while [ ! -e "$home/go" ]; do sleep 0.01; done"#),
        |_| {},
    );
    world.add("a", "next", act("true"), |_| {});
    let go = world.path("go");
    let interrupt = Interrupt::default();
    let token = interrupt.stop.clone();
    let graph = world.seal();
    let press = async {
        wait_for(&stop).await;
        token.cancel();
        std::fs::write(go, "").unwrap();
    };
    let (ran, ()) = tokio::join!(run_with(&graph, local(), |_| {}, interrupt), press);
    assert_eq!((ran.word("running"), ran.word("next")), ("changed".into(), "cancelled".into()));
}

#[tokio::test]
async fn an_interrupt_does_not_wait_for_a_gate() {
    let mut world = World::new();
    let gate = Gate {
        probe: probe(r#": > "$home/looked"; echo down"#),
        want: Param::Value(json!("up")),
        times: 1,
        every: Duration::from_hours(1),
        within: Duration::from_hours(1),
    };
    world.add("a", "gate", Action::Gate(gate), |_| {});
    let looked = world.path("looked");
    let interrupt = Interrupt::default();
    let token = interrupt.stop.clone();
    let graph = world.seal();
    let press = async {
        wait_for(&looked).await;
        token.cancel();
    };
    let (ran, ()) = tokio::join!(run_with(&graph, local(), |_| {}, interrupt), press);
    let end = |record: &Record| matches!(&record.event, Event::TaskFinished { .. });
    let told: Vec<_> = ran.events.iter().filter(|record| record.event == Event::Interrupted || end(record)).collect();
    assert_eq!(told[0].event, Event::Interrupted, "it is told before what ends because of it");
    assert_eq!((told.len(), ran.word("gate").as_str()), (2, "cancelled"));
}

#[tokio::test]
async fn gates_do_not_keep_others_from_their_host() {
    let mut world = World::new();
    world.draft.open_parallel();
    for number in 0..6 {
        let gate = Gate {
            probe: probe(r#"cat "$home/opened" 2>/dev/null || echo no"#),
            want: Param::Value(json!("yes")),
            times: 1,
            every: Duration::from_millis(5),
            within: Duration::from_mins(1),
        };
        world.add("a", &format!("gate {number}"), Action::Gate(gate), |_| {});
        world.draft.end_branch();
    }
    world.add("a", "open", act(r#"echo yes > "$home/opened""#), |_| {});
    world.draft.end_branch();
    world.draft.close_parallel();
    let ran = run(&world.seal()).await;
    assert_eq!((ran.counts.ok, ran.counts.changed), (6, 1), "{}", ran.everything());
}

#[tokio::test]
async fn what_was_seen_before_a_change_is_seen_again() {
    let mut world = World::new();
    world.ensure("b", "one", "b's");
    let change = world.ensure("a", "shared", "new");
    world.ensure("b", "two", "b's");
    // Already so once `change` is through, and by nothing else.
    let after =
        world.add("b", "shared", ensure(r#"cat "$home/shared" 2>/dev/null || :"#, json!("new"), "exit 9"), |_| {});
    world.draft.edge(change, after, EdgeKind::Order, Place::file("test.rhai"));
    let ran = run(&world.seal()).await;
    assert_eq!((ran.word("shared"), ran.counts.changed), ("changed".into(), 3), "{}", ran.everything());
    assert_eq!(ran.counts.failed, 0);
}

#[tokio::test]
async fn fail_fast_starts_nothing_new() {
    let mut world = World::new();
    world.add("a", "broken", act("exit 1"), |_| {});
    world.add("b", "independent", act("true"), |_| {});
    let ran = run_with(
        &world.seal(),
        local(),
        |settings| {
            settings.fail_fast = true;
            settings.parallel = 1;
        },
        Interrupt::default(),
    )
    .await;
    assert_eq!((ran.word("broken"), ran.word("independent")), ("failed".into(), "cancelled".into()));
}

#[tokio::test]
async fn files_are_written_whole_with_their_attributes() {
    let mut world = World::new();
    let content = format!("it's $(touch x) `y` \\ \"ü\"\n{}", "line\n".repeat(200_000));
    let file = |path: PathBuf, state: FileState, mode: Option<u32>| {
        Action::File(File { path: path.to_str().unwrap().into(), state, mode, owner: None, group: None, secret: false })
    };
    let text = |text: &str| FileState::Content(Content::Is(Param::Value(text.into())));
    let folder = world.path("folder/deep");
    world.add("a", "folder", file(folder.clone(), FileState::Folder, Some(0o750)), |_| {});
    world.add("a", "big", file(folder.join("big"), text(&content), Some(0o600)), |_| {});
    world.add("a", "link", file(folder.join("link"), FileState::Link("big".into()), None), |_| {});
    let edit = r#"(. // "") | if contains("added") then . else . + "added\n" end"#;
    world.add("a", "edit", file(folder.join("edited"), FileState::Content(Content::Edit(edit.into())), None), |_| {});
    let graph = world.seal();
    let first = run(&graph).await;
    assert_eq!(first.counts.changed, 4, "{}", first.everything());
    assert_eq!(std::fs::read_to_string(folder.join("link")).unwrap(), content);
    assert_eq!(std::fs::read_to_string(folder.join("edited")).unwrap(), "added\n");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing else is left: {names:?}");
    assert_eq!(run(&graph).await.counts.ok, 4);
    std::fs::write(folder.join("edited"), "hand made\n").unwrap();
    let planned = decisions(&graph).await;
    let shown = serde_json::to_string(&planned["edit"]).unwrap();
    assert!(shown.contains("+added"), "{shown}");
    let third = run(&graph).await;
    assert_eq!(
        (third.counts.changed, std::fs::read_to_string(folder.join("edited")).unwrap().as_str()),
        (1, "hand made\nadded\n")
    );
}

#[tokio::test]
async fn what_is_in_the_way_is_refused_and_kept() {
    let mut world = World::new();
    std::fs::create_dir(world.path("thing")).unwrap();
    let file = File {
        path: world.path("thing").to_str().unwrap().into(),
        state: FileState::Content(Content::Is(Param::Value("x".into()))),
        mode: None,
        owner: None,
        group: None,
        secret: false,
    };
    world.add("a", "thing", Action::File(file), |_| {});
    let ran = run(&world.seal()).await;
    assert!(ran.failure("thing").message.starts_with("there is a folder at"));
    assert!(world.path("thing").is_dir());
}

#[tokio::test]
async fn a_plan_says_unknown_only_where_something_before_would_change() {
    let mut world = World::new();
    world.ensure("a", "installed", "yes");
    let tool = r#"[ -e "$home/installed" ] || exit 127; echo up"#;
    world.add("a", "needs it", ensure(tool, json!("up"), "true"), |_| {});
    let graph = world.seal();
    assert!(
        matches!(&decisions(&graph).await["needs it"], Decision::Unknown { because, .. } if because == "a/test:installed")
    );
    run(&graph).await;
    assert_eq!(decisions(&graph).await["needs it"], Decision::UpToDate);
}

#[tokio::test]
async fn a_plan_skips_what_depends_on_what_would_fail() {
    let mut world = World::new();
    world.add("a", "refused", ensure("exit 3", json!("up"), "true"), |_| {});
    world.ensure("a", "later", "x");
    world.ensure("b", "other", "x");
    let planned = decisions(&world.seal()).await;
    assert!(matches!(&planned["refused"], Decision::Failed { .. }));
    assert!(matches!(&planned["later"], Decision::Skipped { why } if why.contains("a/test:refused")));
    assert!(matches!(&planned["other"], Decision::Change { .. }));
}

#[tokio::test]
async fn a_lane_that_never_answers_says_so() {
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    let (read, write) = tokio::io::split(near);
    let opened = Lane::open(write, read, tokio::io::empty(), ()).await;
    assert!(matches!(opened.err(), Some(LaneError::Lost(_))));
}

async fn wait_for(path: &Path) {
    for _ in 0..1000 {
        if path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} never came", path.display());
}

/// A world in which a change triggers an act, an act's output becomes a file, and a secret is used on another host. Acts write what
/// they do in a log.
fn resumable() -> (World, Graph) {
    let mut world = World::new();
    let log = |line: &str| act(&format!("printf '{line}\\n' >> \"$home/log\"; echo {line}"));
    std::fs::write(world.path("key"), "open sesame").expect("a file");
    let config = world.ensure("a", "config", "1");
    let restart = world.add("a", "restart", log("restart"), |_| {});
    world.draft.edge(config, restart, EdgeKind::Trigger, Place::file("test.rhai"));
    let token = world.add("b", "token", log("token"), |_| {});
    let key = world.add("a", "key", read(r#"cat "$home/key""#, true), |_| {});
    for (name, source, secret) in [("from-token", token, false), ("from-key", key, true)] {
        let path = world.path(name);
        let apply = r#"printf '%s\n' "$text" > "$path""#;
        let action = Action::Ensure(Ensure {
            probe: probe(r#"cat "$path" 2>/dev/null || :"#),
            want: Param::Output(OutputRef { task: source, secret }),
            apply: apply.into(),
        });
        world.add("b", name, action, |task| {
            task.params.insert("path".into(), Param::Value(path.to_str().unwrap().into()));
            task.params.insert("text".into(), Param::Output(OutputRef { task: source, secret }));
        });
    }
    let graph = world.seal();
    (world, graph)
}

/// The run dies after each of its events in turn, and is resumed: it comes to the same end, and no act is done twice.
#[tokio::test]
async fn a_run_is_resumed_from_any_of_its_events() {
    let (world, graph) = resumable();
    let whole = run(&graph).await;
    assert_eq!(whole.counts.failed + whole.counts.in_doubt, 0);
    let end = ["config", "from-token", "from-key"].map(|name| world.text(name));
    for dies_after in 1..whole.events.len() {
        let (world, graph) = resumable();
        let first = run_until(&graph, dies_after).await;
        assert_eq!(first.len(), dies_after);
        let mut past = past(&first);
        // What nobody can know, the user looks up.
        let log = world.text("log");
        for (id, known) in &mut past {
            let name = id.rsplit(':').next().unwrap();
            if matches!(known, Past::InDoubt { step: None, .. }) && ["restart", "token"].contains(&name) {
                *known = if log.contains(name) {
                    Past::Ended { outcome: Outcome::Changed { diff: Diff::default() }, output: Some(json!(name)) }
                } else {
                    Past::Tried
                };
            }
        }
        let again = run_with(&graph, local(), |settings| settings.past = Some(past), Interrupt::default()).await;
        let told = format!("after {dies_after} of {} events: {}", whole.events.len(), again.everything());
        assert_eq!((again.counts.failed, again.counts.in_doubt), (0, 0), "{told}");
        assert_eq!(["config", "from-token", "from-key"].map(|name| world.text(name)), end, "{told}");
        let mut acts: Vec<String> = world.text("log").lines().map(str::to_owned).collect();
        acts.sort();
        assert_eq!(acts, ["restart", "token"], "{told}");
        assert!(!again.everything().contains("open sesame"), "{told}");
    }
}
