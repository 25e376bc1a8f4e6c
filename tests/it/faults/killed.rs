//! haflow is killed after any of its events, in the lab.
//!
//! A sample in every run. All of it:
//! `cargo test -p haflow --test it killed -- --include-ignored --nocapture`.

use crate::common::events::Told;
use crate::common::prepared::Prepared;
use crate::common::sshd::signal;
use crate::common::world::World;
use crate::common::{Ran, skipped};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
/// A playbook, and two hosts for it.
struct Killed {
    playbook: &'static str,
    hosts: fn() -> Option<World>,
    /// How many events a run of it on these hosts tells, about: its gates may look more often.
    events: usize,
}

const RABBIT: Killed = Killed {
    playbook: "playbooks/rabbit-ha.rhai",
    hosts: || World::up("killed", &["rabbit1", "rabbit2"], "bookworm"),
    events: 68,
};
/// On hosts that have the packages.
const GALERA: Killed = Killed {
    playbook: "playbooks/galera-ha.rhai",
    hosts: || World::with("killed-db", &[(&["database1", "database2"], Prepared::mariadb())], "bookworm"),
    events: 62,
};

/// haflow is killed after its k-th event. `None` where it had ended before, or there is no lab.
fn killed_after(k: usize, Killed { playbook, hosts, .. }: &Killed) -> Option<()> {
    let world = hosts()?;
    let mut run = world.begin(&["run", playbook, "-i", "inventory.toml"]);
    let mut last = Value::Null;
    for _ in 0..k {
        last = run.next()?;
        // What steps say depends on how long they take.
        while last["event"] == "step_said" {
            last = run.next()?;
        }
    }
    signal(&run.program, Signal::KILL);
    run.program.wait().expect("it ends");
    let at = format!("event {k}, {} {}", last["event"], last["task"]);
    let resumed = Ran::of(&mut crate::common::events::haflow(world.folder.path(), ["resume", "--format", "json"]));
    let resumed_nothing = resumed.stdout.is_empty();
    if resumed_nothing {
        // It had ended: it may have got further than was read of it.
        let ended = world.journal().iter().any(|event| event["event"] == "run_finished");
        assert!(ended && resumed.exit == 0, "{at}: {resumed:?}");
    } else {
        let resumed = Told::from(resumed).exits(0);
        assert_eq!((resumed.count("failed"), resumed.count("in_doubt")), (0, 0), "{at}");
    }
    let again = world.told("run", playbook, &["--detailed-exitcode"]).exits(0);
    assert_eq!(again.count("changed"), 0, "{at}: {:?}", again.with("changed"));
    no_finished_apply_is_repeated(&world.journal(), &at);
    if resumed_nothing {
        // Its results go after that was told, and a run that has ended isn't gone on with.
        world.nothing_is_left_but_steps();
    } else {
        world.nothing_is_left();
    }
    world.step(&format!("killed after {at}: resumed, and converged"));
    Some(())
}

fn no_finished_apply_is_repeated(journal: &[Value], at: &str) {
    let (mut done, mut begun) = (BTreeSet::new(), BTreeMap::<_, Vec<_>>::new());
    for event in journal {
        let task = event["task"].as_str().unwrap_or_default();
        match event["event"].as_str() {
            Some("apply_started") => {
                assert!(!done.contains(task), "{at}: {task} had ended, and was applied again");
                begun.entry(task).or_default().push(event["step"].to_string());
            }
            Some("task_finished") if ["ok", "changed"].contains(&event["outcome"].as_str().unwrap_or_default()) => {
                done.insert(task);
            }
            _ => {}
        }
    }
    assert!(!begun.is_empty(), "{at}: nothing was applied");
    for (task, steps) in begun.iter().filter(|(_, steps)| steps.len() > 1) {
        // A step that had not begun when haflow died is begun by the run that is resumed, and one that failed
        // is retried.
        println!("{at}: {task} was applied as {}", steps.join(", "));
        assert!(!task.contains("/act:"), "{at}: {task} was applied {} times", steps.len());
    }
}

/// After one of the events, another one each time.
fn killed_after_some_event(of: &Killed) {
    // All of them take hours: they have a test of their own.
    let seed = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").subsec_micros() as usize;
    let k = 1 + seed % of.events;
    skipped(&format!(
        "{} of {} events of {} after which haflow is killed; HAFLOW_FAULT_KS={k} with --ignored repeats this one",
        of.events - 1,
        of.events,
        of.playbook
    ));
    let _ = killed_after(k, of);
}

/// After each event, or those of `HAFLOW_FAULT_KS=5,17,40`.
fn killed_after_every_event(of: &Killed) {
    let ks: Vec<usize> = match std::env::var("HAFLOW_FAULT_KS") {
        Ok(ks) => ks.split(',').map(|k| k.trim().parse().expect("HAFLOW_FAULT_KS are numbers")).collect(),
        Err(_) => (1..=of.events).collect(),
    };
    let survived: Vec<usize> = ks.iter().copied().filter(|k| killed_after(*k, of).is_some()).collect();
    println!("killed after {} events, and went on after all of them: {survived:?}", survived.len());
}

#[test]
fn killed_after_an_event_a_run_is_resumed_and_converges() {
    killed_after_some_event(&RABBIT);
}

#[test]
fn killed_after_an_event_a_database_is_resumed_and_converges() {
    killed_after_some_event(&GALERA);
}

#[test]
#[ignore = "takes two hours"]
fn killed_after_every_event_a_run_is_resumed_and_converges() {
    killed_after_every_event(&RABBIT);
}

#[test]
#[ignore = "takes an hour"]
fn killed_after_every_event_a_database_is_resumed_and_converges() {
    killed_after_every_event(&GALERA);
}
