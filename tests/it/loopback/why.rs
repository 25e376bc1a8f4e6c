//! What is behind a task of a run, against a real sshd on this machine: of a run that is under way, that
//! died, and that was resumed.

use crate::common::Ran;
use crate::common::events::{Told, haflow};
use crate::common::sshd::{Sshd, signal, slow, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// What comes after the slow step.
const AFTER: &str = r#"act(node, #{ name: "after", reason: "a test", apply: "echo it was done" });"#;

/// While a run is under way, or died, it has left things: that is for other tests.
fn why(sshd: &Sshd, arguments: &[&str]) -> Ran {
    Ran::of(&mut haflow(sshd.folder.path(), [&["why"], arguments].concat()))
}

#[track_caller]
fn tells(sshd: &Sshd, arguments: &[&str], parts: &[&str]) {
    let ran = why(sshd, arguments);
    assert_eq!(ran.exit, 0, "{ran:?}");
    for part in parts {
        assert!(ran.stdout.contains(part), "{part:?} isn't said: {}", ran.stdout);
    }
}

/// The only run's folder.
fn run(sshd: &Sshd) -> PathBuf {
    let mut runs = fs::read_dir(sshd.path(".local/state/haflow/runs")).expect("the runs");
    runs.next().expect("a run").expect("an entry").path()
}

#[test]
fn of_a_run_from_its_beginning_to_its_end() {
    let Some(sshd) = Sshd::start("") else { return };
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    sshd.inventory(&json!({}), &json!({ "folder": target }));
    let mut slow = sshd.begin(&slow("", AFTER));
    until("the slow step", || sshd.path("target/begun").exists());
    let under_way = why(&sshd, &["last", "slow"]);
    for part in ["here/step:slow  under way  in run", "apply\n            absent → there"] {
        assert!(under_way.stdout.contains(part), "{part:?} isn't said: {under_way:?}");
    }
    let waiting: Value = serde_json::from_str(&why(&sshd, &["after", "--format", "json"]).stdout).expect("JSON");
    assert_eq!((&waiting["state"], &waiting["because"][0]["task"]), (&json!("not_begun"), &json!("here/step:slow")));
    let wrong = why(&sshd, &["last", "here/step:slwo"]);
    assert_eq!(wrong.exit, 64);
    assert!(wrong.stderr.contains("did you mean `here/step:slow`?"), "{wrong:?}");

    signal(&slow, Signal::KILL);
    slow.wait().expect("it ends");
    // As a disk keeps it whose power went.
    let journal = run(&sshd).join("events.jsonl");
    let text = fs::read_to_string(&journal).expect("a journal");
    fs::write(&journal, format!("{text}{{\"at\":17")).expect("a file");
    fs::write(sshd.path("target/go"), "").expect("a file");
    let died = "in doubt  in run";
    tells(&sshd, &["slow"], &[died, "the run died while it was being applied", "apply\n            absent → there"]);
    tells(&sshd, &["after"], &["not begun", "after step:slow  in doubt  declared before it on the same host"]);

    let resumed = Told::from(Ran::of(&mut haflow(sshd.folder.path(), ["resume", "--format", "json"]))).exits(0);
    assert_eq!(resumed.count("changed"), 2);
    tells(&sshd, &["step:slow"], &["changed  in run", "begun\n", "changed, after"]);
    tells(&sshd, &["act:after"], &["step:slow  changed at", "output:\n              │ it was done"]);

    // Of an older haflow: without the graph, and without what was seen.
    let input = run(&sshd).join("input.json");
    let mut old: Value = serde_json::from_str(&fs::read_to_string(&input).expect("a file")).expect("JSON");
    old.as_object_mut().expect("a map").remove("nodes").expect("it was kept");
    fs::write(&input, old.to_string()).expect("a file");
    let ran = why(&sshd, &["slow"]);
    assert!(ran.exit == 0 && ran.stderr.contains("didn't keep what tasks wait for"), "{ran:?}");
    assert!(ran.stdout.contains("changed  in run") && !ran.stdout.contains("waited for"), "{ran:?}");
}
