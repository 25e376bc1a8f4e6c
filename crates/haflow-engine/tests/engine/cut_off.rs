//! Lanes that break, interrupts, and runs that die and are resumed.

use crate::world::{World, act, local, probe, read, run, run_until, run_with};
use haflow_engine::{Interrupt, Past, past};
use haflow_model::{
    Action, Diff, EdgeKind, Ensure, Event, Gate, Graph, Outcome, OutputRef, Param, Place, Record, about, courses,
};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

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

/// Acts on one host, all of which may begin at once.
fn branches(world: &mut World, number: usize, act_of: impl Fn(usize) -> Action) -> Graph {
    world.draft.open_parallel();
    for index in 0..number {
        world.add("a", &index.to_string(), act_of(index), |_| {});
        world.draft.end_branch();
    }
    world.draft.close_parallel();
    world.seal()
}

/// More of them than the host has lanes: those that wait for one haven't begun.
#[tokio::test]
async fn an_interrupt_begins_none_of_those_that_wait_for_a_lane() {
    let mut world = World::new();
    let waits = r#"echo x >> "$home/begun"; while [ ! -e "$home/go" ]; do sleep 0.01; done"#;
    let graph = branches(&mut world, 24, |_| act(waits));
    let begun = || world.text("begun").lines().count();
    let interrupt = Interrupt::default();
    let token = interrupt.stop.clone();
    let press = async {
        while begun() < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        token.cancel();
        std::fs::write(world.path("go"), "").unwrap();
    };
    let wide = |settings: &mut haflow_engine::Settings| settings.parallel = 64;
    let both = async { tokio::join!(run_with(&graph, local(), wide, interrupt), press) };
    let (ran, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.expect("three begin");
    assert!((3..=4).contains(&begun()), "{} of 24 began", begun());
    assert_eq!((ran.counts.changed, ran.counts.changed + ran.counts.cancelled), (begun(), 24));
}

#[tokio::test]
async fn a_failure_begins_none_of_those_that_wait_for_a_lane_when_it_is_to_stop_all() {
    let mut world = World::new();
    let graph = branches(&mut world, 24, |index| match index {
        0 => act("exit 1"),
        _ => act(r#"echo x >> "$home/begun"; sleep 0.3"#),
    });
    let wide = |settings: &mut haflow_engine::Settings| (settings.parallel, settings.fail_fast) = (64, true);
    let ran = run_with(&graph, local(), wide, Interrupt::default()).await;
    let begun = world.text("begun").lines().count();
    assert!(begun < 9, "{} of 24 began", begun + 1);
    assert_eq!((ran.word("0").as_str(), ran.counts.changed), ("failed", begun));
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

async fn wait_for(path: &Path) {
    for _ in 0..1000 {
        if path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} never came", path.display());
}

/// A world in which a change triggers an act, an act's output becomes a file, and a secret is used on another
/// host. Acts write what they do in a log.
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
            rehearse: None,
        });
        world.add("b", name, action, |task| {
            task.params.insert("path".into(), Param::Value(path.to_str().unwrap().into()));
            task.params.insert("text".into(), Param::Output(OutputRef { task: source, secret }));
        });
    }
    let graph = world.seal();
    (world, graph)
}

/// The run dies after each of its events in turn, and is resumed: it comes to the same end, and no act is
/// done twice.
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
        let mut past = past(&courses(&first));
        // What nobody can know, the user looks up.
        let log = world.text("log");
        for (id, known) in &mut past {
            let name = id.rsplit(':').next().unwrap();
            if matches!(known, Past::InDoubt { step: None, .. }) && ["restart", "token"].contains(&name) {
                *known = if log.contains(name) {
                    Past::Ended { outcome: Outcome::Changed { diff: Diff::default() }, output: Some(json!(name)) }
                } else {
                    Past::Tried { attempt: 1 }
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

/// What had ended well isn't told once more, also where what it came after fails again.
#[tokio::test]
async fn what_had_ended_is_not_told_as_skipped() {
    let mut world = World::new();
    world.add("a", "fails", act("exit 3"), |_| {});
    let ended = world.add("a", "ended", act("echo twice >> \"$home/log\""), |_| {});
    world.add("a", "later", act("true"), |_| {});
    let graph = world.seal();
    let id = graph.task_id(ended);
    let known = [(id, Past::Ended { outcome: Outcome::Changed { diff: Diff::default() }, output: Some(json!("")) })];
    let go_on = |settings: &mut haflow_engine::Settings| settings.past = Some(known.into());
    let ran = run_with(&graph, local(), go_on, Interrupt::default()).await;
    assert_eq!((ran.word("fails"), ran.word("later")), ("failed".into(), "skipped".into()));
    assert!(!ran.events.iter().any(|record| about(&record.event).is_some_and(|task| &*task.name == "ended")));
    assert_eq!((ran.counts.changed, ran.counts.skipped, world.text("log")), (1, 1, String::new()));
}
