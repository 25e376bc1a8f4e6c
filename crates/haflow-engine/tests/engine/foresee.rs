//! What is known to fail before the first change: in a plan, and in a run.

use crate::world::{Ran, World, act, decisions, ensure, local, planned, probe, run, run_with};
use haflow_engine::Interrupt;
use haflow_model::{
    Action, Content, Decision, Event, File, FileState, Gate, Param, Rehearsal, Scope, Task, Thing, Things,
};
use serde_json::json;
use std::time::Duration;

fn thing(text: &str) -> Thing {
    Thing::try_from(text.to_owned()).expect("a thing")
}

/// With a rehearsal that was read from these.
fn rehearsed(mut action: Action, script: &str, reads: Things) -> Action {
    let rehearsal = Some(Box::new(Rehearsal { script: script.into(), reads }));
    match &mut action {
        Action::Ensure(ensure) => ensure.rehearse = rehearsal,
        Action::Act(act) => act.rehearse = rehearsal,
        other => panic!("{other:?} has no rehearsal of its own"),
    }
    action
}

/// A task that touches and brings these, and reads nothing.
fn scope(touches: &[&str], brings: &[&str]) -> impl FnOnce(&mut Task) {
    let of = |things: &[&str]| things.iter().map(|text| thing(text)).collect::<Vec<_>>();
    let (touches, brings) = (Things::these(of(touches)), of(brings));
    move |task| task.scope = Scope { reads: Things::these([]), touches, brings, expect: Vec::new() }
}

/// What is told of failures to come before anything begins to change.
fn foretold(ran: &Ran) -> Vec<String> {
    let changes = |event: &Event| matches!(event, Event::ApplyStarted { .. });
    let before = ran.events.iter().map(|record| &record.event).take_while(|event| !changes(event));
    before
        .filter_map(|event| match event {
            Event::TaskWouldFail { task, failure } => Some(format!("{}: {}", task.name, failure.message)),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn what_would_fail_is_planned_failed_and_what_depends_on_it_skipped() {
    let mut world = World::new();
    let fails = rehearsed(ensure("echo off", json!("on"), "true"), "echo 'no power' >&2; exit 1", Things::default());
    world.add("a", "fails", fails, |_| {});
    world.ensure("a", "later", "x");
    let acts = rehearsed(act("true"), "echo fails the act would fail", Things::default());
    world.add("b", "acts", acts, |_| {});
    let planned = decisions(&world.seal()).await;
    let failed = |name: &str| match &planned[name] {
        Decision::Failed { failure } => failure.message.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!((failed("fails").as_str(), failed("acts").as_str()), ("no power", "the act would fail"));
    assert!(matches!(&planned["later"], Decision::Skipped { why } if why.contains("a/test:fails")));
}

/// Nothing is rehearsed that is as it shall be.
#[tokio::test]
async fn only_what_would_be_applied_is_rehearsed() {
    let mut world = World::new();
    let script = r#"echo x >> "$home/rehearsed""#;
    for (name, there) in [("up-to-date", "on"), ("change", "off")] {
        let action = rehearsed(ensure(&format!("echo {there}"), json!("on"), "true"), script, Things::default());
        world.add("a", name, action, |_| {});
    }
    let graph = world.seal();
    let _ = decisions(&graph).await;
    assert_eq!(world.text("rehearsed"), "x\n");
}

#[tokio::test]
async fn a_task_before_it_may_mend_it() {
    for (touches, brings, expected) in [
        // What it lacks will be there.
        (&["user:bob"][..], &["user:bob"][..], "change"),
        // It may, or may not.
        (&["user:bob"], &[], "assumed"),
        (&["*"], &[], "assumed"),
        (&["user:alice"], &["user:alice"], "failed"),
    ] {
        let mut world = World::new();
        let first = act("true");
        world.add("a", "first", first, scope(touches, brings));
        let lacks = rehearsed(ensure("echo off", json!("on"), "true"), "echo lacks user:bob", Things::these([]));
        world.add("a", "second", lacks, scope(&[], &[]));
        let planned = planned(&world.seal()).await;
        let (decision, assumed) = &planned["second"];
        let told = match (decision, assumed) {
            (Decision::Failed { .. }, None) => "failed",
            (Decision::Change { .. }, None) => "change",
            (Decision::Change { .. }, Some(assumed)) if assumed.why.contains("there is no user:bob") => "assumed",
            other => panic!("{other:?}"),
        };
        assert_eq!(told, expected, "{touches:?} {brings:?}");
    }
}

/// What was read from something that another task touches isn't certain to fail; what was read from
/// something else is.
#[tokio::test]
async fn a_rehearsal_reads_what_it_says() {
    for (reads, fails) in [("package:a", false), ("package:b", true)] {
        let mut world = World::new();
        world.add("a", "first", act("true"), scope(&["package:a"], &[]));
        let action = ensure("echo off", json!("on"), "true");
        world.add("a", "second", rehearsed(action, "exit 1", Things::these([thing(reads)])), scope(&[], &[]));
        let planned = decisions(&world.seal()).await;
        assert_eq!(matches!(planned["second"], Decision::Failed { .. }), fails, "{reads}");
    }
}

/// Where it can't be told whether a task would fail, it isn't certain that those behind it run; what failed
/// for certain still does.
#[tokio::test]
async fn what_comes_behind_a_task_that_may_fail_is_assumed() {
    for (says, certain) in [("unsure 'nobody knows'", false), ("true", true)] {
        let mut world = World::new();
        let first = rehearsed(ensure("echo off", json!("on"), "true"), says, Things::these([]));
        world.add("a", "first", first, scope(&["other:thing"], &[]));
        world.add("a", "done", ensure("echo on", json!("on"), "true"), scope(&[], &[]));
        let fails = rehearsed(ensure("echo off", json!("on"), "true"), "echo fails no", Things::these([]));
        world.add("a", "fails", fails, scope(&[], &[]));
        world.add("b", "elsewhere", ensure("echo on", json!("on"), "true"), scope(&[], &[]));
        let planned = planned(&world.seal()).await;
        let behind = &planned["done"];
        assert!(matches!(behind.0, Decision::UpToDate) && behind.1.is_none() == certain, "{says}: {behind:?}");
        assert!(matches!(planned["fails"].0, Decision::Failed { .. }), "{says}: {:?}", planned["fails"]);
        assert!(planned["elsewhere"].1.is_none());
    }
}

/// A rehearsal knows better what its apply touches, as long as nothing has changed what it was read from.
#[tokio::test]
async fn a_rehearsal_says_what_its_apply_touches_now() {
    for (says, before, certain) in [
        ("", "other:thing", false),
        ("touches user:bob file:/home/bob", "other:thing", true),
        ("touches user:bob file:/etc/motd", "other:thing", false),
        ("touches user:bob 'Not a thing'", "other:thing", false),
        ("touches user:bob", "file:/etc/login.defs", false),
    ] {
        let mut world = World::new();
        world.add("a", "before", act("true"), scope(&[before], &[]));
        let reads = Things::these([thing("file:/etc/login.defs")]);
        world.add("a", "wide", rehearsed(ensure("echo off", json!("on"), "true"), says, reads), scope(&["*"], &[]));
        world.add("a", "later", ensure("echo off", json!("on"), "true"), |task| {
            task.scope = Scope { reads: Things::these([thing("file:/etc/motd")]), ..Scope::default() };
        });
        let planned = planned(&world.seal()).await;
        assert!(planned["wide"].1.is_none());
        assert_eq!(planned["later"].1.is_none(), certain, "{says} {before}");
    }
}

#[tokio::test]
async fn a_run_says_before_its_first_change_what_will_fail_and_goes_on_with_the_rest() {
    let mut world = World::new();
    world.ensure("a", "one", "1");
    world.add("a", "fails", rehearsed(act("exit 3"), "exit 1", Things::these([])), scope(&[], &[]));
    world.ensure("a", "later", "x");
    world.ensure("b", "other", "2");
    let ran = run(&world.seal()).await;
    assert_eq!(foretold(&ran).len(), 1, "{}", ran.everything());
    let words: Vec<String> = ["one", "fails", "later", "other"].map(|name| ran.word(name)).into();
    assert_eq!(words, ["changed", "failed", "skipped", "changed"]);
}

#[tokio::test]
async fn all_or_nothing_changes_nothing_where_something_will_fail() {
    let mut world = World::new();
    world.ensure("a", "one", "1");
    world.add("b", "fails", rehearsed(act("exit 3"), "echo no >&2; exit 1", Things::these([])), |_| {});
    let graph = world.seal();
    let ran = run_with(&graph, local(), |settings| settings.all_or_nothing = true, Interrupt::default()).await;
    assert_eq!(foretold(&ran), ["fails: no"]);
    assert_eq!((ran.word("one").as_str(), ran.word("fails").as_str()), ("cancelled", "failed"));
    assert_eq!(world.text("one"), "");
    assert_eq!(ran.counts.failed + ran.counts.cancelled, 2);

    let mut world = World::new();
    world.ensure("a", "one", "1");
    world.ensure("gone", "away", "1");
    let graph = world.seal();
    let ran = run_with(&graph, local(), |settings| settings.all_or_nothing = true, Interrupt::default()).await;
    assert_eq!((ran.word("one").as_str(), world.text("one").as_str()), ("cancelled", ""));
}

#[tokio::test]
async fn nothing_is_destroyed_while_something_else_is_known_to_fail() {
    for (fails, anyway, begins) in [(true, false, false), (true, true, true), (false, false, true)] {
        let mut world = World::new();
        world.add("a", "destroys", act(r#"echo gone > "$home/gone""#), |task| task.destroys = Some("all".into()));
        world.add("a", "follows", act("true"), |_| {});
        // What is as it shall be has nothing to destroy.
        world.add("b", "done", ensure("echo on", json!("on"), "true"), |task| task.destroys = Some("it".into()));
        let script = if fails { "exit 1" } else { "exit 0" };
        world.add("b", "fails", rehearsed(act("exit 3"), script, Things::these([])), |_| {});
        let graph = world.seal();
        let planned = decisions(&graph).await;
        match (&planned["destroys"], &planned["follows"], &planned["done"]) {
            (Decision::Failed { failure }, Decision::Skipped { .. }, Decision::UpToDate) if fails => {
                assert_eq!(
                    failure.message,
                    "it would destroy all, and `b/test:fails` is known to fail: nothing was done"
                );
            }
            (Decision::Act { .. }, Decision::Act { .. }, Decision::UpToDate) if !fails => {}
            other => panic!("{other:?}"),
        }
        let ran = run_with(&graph, local(), |settings| settings.destroy_anyway = anyway, Interrupt::default()).await;
        assert_eq!(world.text("gone") == "gone\n", begins, "{}", ran.everything());
        let words: Vec<String> = ["destroys", "follows", "done"].map(|name| ran.word(name)).into();
        assert_eq!(words, if begins { ["changed", "changed", "ok"] } else { ["failed", "skipped", "ok"] });
    }
}

/// What may turn out to be up to date isn't certain to be held back.
#[tokio::test]
async fn what_is_held_back_is_as_certain_as_that_it_would_destroy() {
    let mut world = World::new();
    world.add("a", "before", act("true"), scope(&["package:a"], &[]));
    world.add("a", "destroys", ensure("echo off", json!("on"), "true"), |task| {
        task.scope = Scope { reads: Things::these([thing("package:a")]), ..Scope::default() };
        task.destroys = Some("all".into());
    });
    world.add("b", "fails", rehearsed(act("exit 3"), "exit 1", Things::these([])), |_| {});
    let planned = planned(&world.seal()).await;
    assert!(matches!(&planned["destroys"], (Decision::Failed { .. }, Some(_))), "{:?}", planned["destroys"]);
    assert!(matches!(&planned["fails"], (Decision::Failed { .. }, None)));
}

/// Anything may come about while a gate waits: a run doesn't know more than a plan.
#[tokio::test]
async fn what_comes_behind_a_gate_that_waits_is_not_known_to_fail() {
    let mut world = World::new();
    // It holds at its third look.
    let third = r#"n=$(cat "$home/n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$home/n"
        [ $n -lt 3 ] && echo down || { : > "$home/ready"; echo up; }"#;
    let gate = Gate {
        probe: probe(third),
        want: Param::Value(json!("up")),
        times: 1,
        every: Duration::from_millis(1),
        within: Duration::from_secs(20),
    };
    world.add("a", "gate", Action::Gate(gate), |_| {});
    let behind = rehearsed(act("true"), r#"[ -e "$home/ready" ]"#, Things::these([]));
    world.add("a", "behind", behind, |_| {});
    let graph = world.seal();
    let ran = run_with(&graph, local(), |settings| settings.all_or_nothing = true, Interrupt::default()).await;
    assert_eq!(foretold(&ran), [""; 0]);
    assert_eq!(ran.word("behind"), "changed", "{}", ran.everything());
}

/// A checker quotes what it doesn't like, and that may be a secret.
#[tokio::test]
async fn what_a_checker_says_of_a_secret_file_is_not_shown() {
    for (secret, shown) in [(true, false), (false, true)] {
        let mut world = World::new();
        let path = world.path("file").to_str().expect("UTF-8").to_owned();
        let file = File {
            path,
            state: FileState::Content(Content::Is(Param::Value("password=hunter2\n".into()))),
            mode: None,
            owner: None,
            group: None,
            follow: false,
            secret,
            validate: Some(r#"cat "$candidate"; exit 1"#.into()),
        };
        world.add("a", "file", Action::File(file), |_| {});
        let graph = world.seal();
        let told = format!("{:?}", decisions(&graph).await["file"]);
        assert!(told.contains("is refused"), "{told}");
        assert_eq!(told.contains("hunter2"), shown, "{told}");
        let ran = run(&graph).await;
        assert_eq!((ran.word("file").as_str(), world.text("file").as_str()), ("failed", ""));
        assert_eq!(ran.everything().contains("hunter2"), shown);
    }
}
