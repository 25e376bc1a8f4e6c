//! What a plan foresees of failures: a catalogue of ways to fail over all of stdlib. Each is made on a real
//! host, planned and run: the plan says that the task would fail, and why, and the run fails.
//!
//! [`Sees::Well`] are those that only look like it: no alarm is raised, and all goes well.
//! [`Sees::Not`] are those that can't be seen, each with the reason: they fail in the run, and the plan isn't
//! certain that they would not. A test run takes a sample; `HAFLOW_TEST_ALL=1` takes all, and
//! `HAFLOW_FORESEE=immutable,masked` those with one of these words in their name.

mod files;
mod packages;
mod rabbitmq;
mod services;
mod users;

use crate::common::events::Told;
use crate::common::prepared::Prepared;
use crate::common::world::World;
use crate::common::{all, draw};
use std::fmt::Write as _;

/// A way to fail.
#[derive(Debug, Clone, Copy)]
struct Way {
    name: &'static str,
    /// What makes it, on the host.
    made_by: &'static str,
    /// A playbook about `n`, whose last task fails; `key` is a public key.
    tasks: &'static str,
    sees: Sees,
    /// What puts it right.
    undone_by: &'static str,
}

/// What a plan says of it.
#[derive(Debug, Clone, Copy)]
enum Sees {
    /// That it would fail, with these words.
    Why(&'static str),
    /// Nothing, and why it can't.
    #[allow(dead_code, reason = "the catalogue is read")]
    Not(&'static str),
    /// That it will be done, and so it is: what looks like a way to fail isn't one.
    Well,
}

/// What `key` is in the playbooks.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqfcjgXvCUkWXbtqQY6mIdUqDy3fPZpvH4XzDDmPVlC a";

/// So many are taken in every test run.
const SAMPLE: usize = 30;

/// At least so many of a hundred are foreseen.
const FORESEEN: usize = 95;

fn ways() -> Vec<&'static Way> {
    [files::WAYS, packages::WAYS, rabbitmq::WAYS, services::WAYS, users::WAYS].into_iter().flatten().collect()
}

#[test]
fn most_ways_to_fail_are_foreseen() {
    let ways = ways();
    let number = |is: fn(&Sees) -> bool| ways.iter().filter(|way| is(&way.sees)).count();
    let (seen, unseen) = (number(|sees| matches!(sees, Sees::Why(_))), number(|sees| matches!(sees, Sees::Not(_))));
    assert!(seen * 100 >= (seen + unseen) * FORESEEN, "{seen} of {}", seen + unseen);
    for way in &ways {
        assert_eq!(ways.iter().filter(|other| other.name == way.name).count(), 1, "{}", way.name);
    }
}

#[test]
fn a_plan_says_what_would_fail() {
    let chosen: Vec<&Way> = match std::env::var("HAFLOW_FORESEE") {
        Ok(words) => {
            let named = |way: &&Way| words.split(',').any(|word| way.name.contains(word));
            ways().into_iter().filter(named).collect()
        }
        Err(_) if all() => ways(),
        Err(_) => draw("ways to fail", SAMPLE, &ways()),
    };
    let hosts: [(&[&str], Prepared); 1] = [(&["h", "seed"], Prepared::rabbitmq())];
    let Some(world) = World::with("foresee", &hosts, "bookworm") else { return };
    world.sh("h", include_str!("host.sh"));
    // `seed` has the package, and no broker runs there.
    if chosen.iter().any(|way| rabbitmq::WAYS.iter().any(|one| one.name == way.name)) {
        world.sh("h", "systemctl start rabbitmq-server");
    }
    let mut wrong = String::new();
    for way in chosen {
        if let Err(what) = go(&world, way) {
            println!("          {}: {what}", way.name);
            let _ = writeln!(wrong, "{}: {what}", way.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Makes it, plans it, runs it, and puts it right.
fn go(world: &World, way: &Way) -> Result<(), String> {
    let sh = |script| {
        let done = world.ssh("h", script);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        if done.status.success() { Ok(()) } else { Err(format!("{script}: {said}")) }
    };
    sh(way.made_by)?;
    world.write("foresee.rhai", &format!("let n = host(\"h\"); let key = \"{KEY}\";\n{}\n", way.tasks));
    let planned = world.told("plan", "foresee.rhai", &[]);
    let ran = world.told("run", "foresee.rhai", &["--yes"]);
    sh(way.undone_by)?;
    let failed: Vec<&str> = ran
        .of("task_finished")
        .filter(|event| event["outcome"] == "failed")
        .filter_map(|event| event["task"].as_str())
        .collect();
    if matches!(way.sees, Sees::Well) {
        let alarm = planned.of("task_planned").find(|event| event["decision"] == "failed");
        return match (alarm, &failed[..], ran.of("run_finished").next()) {
            (None, [], Some(_)) => Ok(()),
            (alarm, failed, _) => Err(format!("it goes well, but: {alarm:?}, {failed:?}: {:?}", ran.ran)),
        };
    }
    let [task] = failed[..] else { return Err(format!("the run's failures are {failed:?}: {:?}", ran.ran)) };
    let plan = planned.of("task_planned").find(|event| event["task"] == task);
    let plan = plan.ok_or_else(|| format!("it wasn't planned: {:?}", planned.ran))?;
    let why = plan["failure"].to_string();
    match way.sees {
        Sees::Why(words) if plan["decision"] != "failed" => {
            Err(format!("it isn't foreseen ({words}): {plan}\n    {}", reason(&ran, task)))
        }
        Sees::Why(words) if !why.contains(words) => Err(format!("foreseen for another reason: {why}")),
        Sees::Not(_) if plan["decision"] == "failed" => Err(format!("it is foreseen after all: {why}")),
        Sees::Why(_) if !ran.of("task_would_fail").any(|event| event["task"] == task) => {
            Err("the run doesn't say so before its first change".into())
        }
        Sees::Why(_) | Sees::Not(_) | Sees::Well => Ok(()),
    }
}

/// Why the task failed in a run.
fn reason(ran: &Told, task: &str) -> String {
    ran.task(task)["failure"].to_string()
}
