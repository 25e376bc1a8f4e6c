//! New files that follow one another on a host go there together.

use crate::world::{World, act, local, run, run_with};
use haflow_engine::{Hosts, Interrupt, past, plan};
use haflow_model::{
    Action, Content, Event, File, FileState, Graph, Host, NodeId, Param, Plan, Scope, Secrets, Thing, Things, courses,
};
use std::fs::metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

impl World {
    /// A file with a content.
    fn file(&mut self, name: &str, content: &str, mode: Option<u32>) -> NodeId {
        let path = self.path(name).to_str().expect("UTF-8").to_owned();
        let state = FileState::Content(Content::Is(Param::Value(content.into())));
        let file = File { path, state, owner: None, group: None, mode, secret: false, follow: false, validate: None };
        self.add("a", name, Action::File(file), |_| {})
    }
}

/// The place of the first event of a task that fits.
fn at(ran: &crate::world::Ran, fits: impl Fn(&Event) -> bool) -> usize {
    ran.events.iter().position(|record| fits(&record.event)).expect("it was told")
}

/// How often a task was told to be about to be applied.
fn intents(ran: &crate::world::Ran, name: &str) -> usize {
    let of = |event: &Event| matches!(event, Event::ApplyStarted { task, .. } if &*task.name == name);
    ran.events.iter().filter(|record| of(&record.event)).count()
}

fn began_before(ran: &crate::world::Ran, one: &str, other_ended: &str) -> bool {
    let began = at(ran, |event| matches!(event, Event::ApplyStarted { task, .. } if &*task.name == one));
    began < at(ran, |event| matches!(event, Event::TaskFinished { task, .. } if &*task.name == other_ended))
}

async fn planned(graph: &Graph) -> Plan {
    let hosts = Hosts::with_lanes(&[Host::named("a")], local());
    let (events, mut records) = haflow_engine::Events::channel();
    let making = async {
        let plan = plan(graph, &hosts, &events, "p", &Secrets::default(), &Interrupt::default().stop).await;
        drop(events);
        plan
    };
    tokio::join!(making, async { while records.recv().await.is_some() {} }).0
}

#[tokio::test]
async fn files_that_follow_one_another_come_together() {
    let mut world = World::new();
    // Until they have been looked at, the first ones come alone.
    world.add("a", "wait", act("sleep 0.3"), |_| {});
    let long = "x".repeat(5000);
    let texts = [("one", "1\n"), ("-two 2", "no newline"), ("three'$x", "it's\n\n"), ("empty", ""), ("long", &long)];
    for (name, text) in texts {
        world.file(name, text, None);
    }
    world.file("other", "another mode\n", Some(0o750));
    world.file("last", "too\n", Some(0o750));
    let graph = world.seal();
    let ran = run(&graph).await;
    assert_eq!((ran.counts.changed, ran.counts.failed), (8, 0), "{}", ran.everything());
    for (name, text) in texts {
        assert_eq!(world.text(name), text, "{name}");
        assert_eq!(metadata(world.path(name)).expect("it is there").mode() & 0o7777, 0o644, "{name}");
    }
    assert_eq!(metadata(world.path("last")).expect("it is there").mode() & 0o7777, 0o750);
    assert!(began_before(&ran, "long", "one") && began_before(&ran, "last", "other"), "{}", ran.everything());
    assert!(!began_before(&ran, "other", "long"), "the modes differ");
    let left = std::fs::read_dir(world.folder.path()).expect("a folder").flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with(".haflow")));
    assert_eq!(run(&graph).await.counts.ok, 7);
}

/// What came after it was looked at isn't lost sight of: its own turn sees it.
#[tokio::test]
async fn what_came_meanwhile_has_its_own_turn() {
    let mut world = World::new();
    // It says that it touches nothing, which isn't true.
    world.add("a", "wait", act(r#"sleep 0.3; [ -e "$home/two" ] || echo theirs > "$home/two""#), |task| {
        task.scope.touches = Things::these([]);
    });
    for name in ["one", "two", "three"] {
        let file = world.file(name, "ours\n", None);
        let path = Thing::new("file", world.path(name).to_str().expect("UTF-8"));
        world.draft.task_mut(file).expect("a task").scope =
            Scope { reads: Things::these([path.clone()]), touches: Things::these([path]), ..Scope::default() };
    }
    let graph = world.seal();
    let kept = planned(&graph).await;
    let hold = |settings: &mut haflow_engine::Settings| settings.plan = Some(kept.clone());
    let ran = run_with(&graph, local(), hold, Interrupt::default()).await;
    assert!(began_before(&ran, "three", "one"), "{}", ran.everything());
    // The plan knew nothing of it.
    assert_eq!((ran.word("one"), world.text("one")), ("changed".into(), "ours\n".into()));
    assert!(ran.failure("two").drifted, "{}", ran.everything());
    assert_eq!(
        (world.text("two"), ran.word("three"), world.text("three")),
        ("theirs\n".into(), "skipped".into(), String::new())
    );
    // That all of them had begun doesn't let a resumed run go past the plan: neither from there nor from
    // where it had told no more than that.
    let begun = at(&ran, |event| matches!(event, Event::TaskFinished { task, .. } if &*task.name == "one"));
    for told in [&ran.events[..], &ran.events[..begun]] {
        let (kept, known) = (kept.clone(), past(&courses(told)));
        let go_on = |settings: &mut haflow_engine::Settings| (settings.plan, settings.past) = (Some(kept), Some(known));
        let ran = run_with(&graph, local(), go_on, Interrupt::default()).await;
        assert!(ran.failure("two").drifted, "{}", ran.everything());
        assert_eq!((world.text("two"), ran.word("three")), ("theirs\n".into(), "skipped".into()));
    }
    let ran = run(&graph).await;
    assert_eq!(["one", "two", "three"].map(|name| ran.word(name)), ["ok", "changed", "changed"]);
    assert_eq!(world.text("two"), "ours\n");
}

#[tokio::test]
async fn what_fails_is_told_of_the_task_that_fails() {
    let mut world = World::new();
    world.add("a", "wait", act(r#"sleep 0.3; rmdir "$home/gone""#), |_| {});
    std::fs::create_dir(world.path("gone")).expect("a folder");
    for name in ["gone/one", "gone/two", "gone/three"] {
        world.file(name, "ours\n", None);
    }
    let ran = run(&world.seal()).await;
    assert_eq!(intents(&ran, "gone/two"), 1, "they were tried together: {}", ran.everything());
    let said = format!("there is no folder {}", world.path("gone").display());
    assert_eq!(ran.failure("gone/one").message, said);
    assert_eq!((ran.word("gone/two"), ran.word("gone/three")), ("skipped".into(), "skipped".into()));
}

/// In a folder that others may write, each file is written with the care that this takes.
#[tokio::test]
async fn in_others_folders_each_comes_alone() {
    let mut world = World::new();
    world.add("a", "wait", act("sleep 0.3"), |_| {});
    std::fs::create_dir(world.path("open")).expect("a folder");
    std::fs::set_permissions(world.path("open"), PermissionsExt::from_mode(0o777)).expect("it is ours");
    for name in ["open/one", "open/two"] {
        world.file(name, "ours\n", None);
    }
    let ran = run(&world.seal()).await;
    assert_eq!((ran.word("open/one"), ran.word("open/two")), ("changed".into(), "changed".into()));
    // The one that was tried together with the other, and the one that was kept to.
    assert_eq!((intents(&ran, "open/one"), intents(&ran, "open/two")), (2, 2));
}
