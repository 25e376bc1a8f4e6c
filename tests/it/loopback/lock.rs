//! One run at a time on a host, against a real sshd on this machine.

use crate::common::events::{Told, haflow};
use crate::common::sshd::{Sshd, signal, slow, told_until, until};
use crate::common::{Ran, clean};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

const OTHER: &str = r#"
let node = host("here");
file(node, node.vars.folder + "/other", #{ content: "x" });
"#;

fn world() -> Option<Sshd> {
    let sshd = Sshd::start("")?;
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    sshd.inventory(&json!({}), &json!({ "folder": target }));
    sshd.write("other.rhai", OTHER);
    Some(sshd)
}

fn other(sshd: &Sshd, options: &[&str]) -> Ran {
    let arguments = ["run", "other.rhai", "-i", "inventory.toml", "--format", "json"];
    Ran::of(&mut haflow(sshd.folder.path(), arguments.iter().chain(options).copied()))
}

#[track_caller]
fn is_refused(sshd: &Sshd, ran: &Ran) {
    assert_eq!((ran.exit, ran.stdout.as_str()), (75, ""), "{ran:?}");
    assert!(ran.stderr.contains("another run is at work on the same hosts; nothing was changed"), "{ran:?}");
    assert!(!sshd.path("target/other").exists(), "something was changed");
}

#[test]
fn of_two_runs_at_once_one_goes_on() {
    let Some(sshd) = world() else { return };
    let slow = sshd.begin(&slow("", ""));
    until("the slow step", || sshd.path("target/begun").exists());
    let refused = other(&sshd, &[]);
    is_refused(&sshd, &refused);
    let runs = fs::read_dir(sshd.path(".local/state/haflow/runs")).expect("the runs");
    let runs: Vec<_> = runs.map(|run| run.expect("an entry").file_name().into_string().expect("a text")).collect();
    let [run] = &runs[..] else { panic!("a run that is refused isn't kept: {runs:?}") };
    for said in
        [format!("  here: run {run}, by "), ", since 20".into(), "help: wait for it to end, by `--wait 5m`".into()]
    {
        assert!(refused.stderr.contains(&said), "{said} isn't there: {}", refused.stderr);
    }
    // A plan changes nothing, and is free to look.
    let plan = ["plan", "other.rhai", "-i", "inventory.toml", "--format", "json"];
    assert_eq!(Told::from(Ran::of(&mut haflow(sshd.folder.path(), plan))).exits(0).count("change"), 1);
    is_refused(&sshd, &other(&sshd, &["--wait", "1s"]));

    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other(&sshd, &["--wait", "1m"]));
        fs::write(sshd.path("target/go"), "").expect("a file");
        assert!(slow.wait_with_output().expect("it ends").status.success());
        waiting.join().expect("no panic")
    });
    let waiting = Told::from(waiting).exits(0);
    assert_eq!(waiting.count("changed"), 1);
    // Times count connecting.
    let [connecting, took] = [(0, "connecting_ms"), (waiting.events.len() - 1, "took_ms")]
        .map(|(event, field)| waiting.events[event][field].as_u64().expect("a number"));
    assert!(0 < connecting && connecting < took, "{connecting} of {took}");
}

#[test]
fn a_lock_ends_with_what_its_holder_began() {
    let Some(sshd) = world() else { return };
    let mut slow = sshd.begin(&slow("", ""));
    until("the slow step", || sshd.path("target/begun").exists());
    signal(&slow, Signal::KILL);
    slow.wait().expect("it ends");
    // The step is still under way on the host.
    let refused = other(&sshd, &[]);
    is_refused(&sshd, &refused);
    let run = fs::read_dir(sshd.path(".local/state/haflow/runs")).expect("the runs").next().expect("one").expect("one");
    let help = format!("help: go on with the run that died: haflow resume {}\n", run.file_name().display());
    assert!(refused.stderr.ends_with(&help) && refused.stderr.contains("; that process is gone"), "{refused:?}");
    // A user without such a run can only wait.
    let mut elsewhere = haflow(sshd.folder.path(), ["run", "other.rhai", "-i", "inventory.toml", "--format", "json"]);
    let refused = Ran::of(elsewhere.env("XDG_STATE_HOME", sshd.path("elsewhere")));
    is_refused(&sshd, &refused);
    assert!(refused.stderr.contains("; that process is gone"), "{refused:?}");
    assert!(refused.stderr.ends_with("help: wait for it to end, by `--wait 5m` for example\n"), "{refused:?}");
    fs::write(sshd.path("target/go"), "").expect("a file");
    assert_eq!(Told::from(other(&sshd, &["--wait", "1m"])).exits(0).count("changed"), 1);
}

#[test]
fn a_step_on_any_lane_keeps_the_host_locked() {
    let Some(sshd) = world() else { return };
    // Four lanes at once: whichever took the lock first, the slow step is on another than the last one that
    // ends.
    let more = r#"
        parallel(["a", "b", "c"].map(|name| || act(node, #{ name: name, reason: "a test", apply: "sleep 0.2" })));
    "#;
    let playbook = slow("", more);
    let playbook = playbook.replace(
        "ensure(node",
        "parallel([|| gate(node, #{ name: \"held\", probe: \"sleep 0.3\", want: \"\" }), || ensure(node",
    );
    let playbook = playbook.replacen("});\n", "})]);\n", 1);
    let mut slow = sshd.begin(&playbook);
    until("the slow step", || sshd.path("target/begun").exists());
    signal(&slow, Signal::KILL);
    slow.wait().expect("it ends");
    let refused = other(&sshd, &[]);
    is_refused(&sshd, &refused);
    fs::write(sshd.path("target/go"), "").expect("a file");
    assert_eq!(Told::from(other(&sshd, &["--wait", "1m"])).exits(0).count("changed"), 1);
}

#[test]
fn a_run_that_is_resumed_picks_up_what_it_left_under_way() {
    let Some(sshd) = world() else { return };
    let mut slow = sshd.begin(&slow("", ""));
    until("the slow step", || sshd.path("target/begun").exists());
    signal(&slow, Signal::KILL);
    slow.wait().expect("it ends");
    let mut resumed = clean(Command::new(env!("CARGO_BIN_EXE_haflow")), sshd.folder.path())
        .args(["resume", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("haflow starts");
    let (mut stdout, mut told) = told_until(&mut resumed, "picking_up");
    fs::write(sshd.path("target/go"), "").expect("a file");
    stdout.read_to_string(&mut told).expect("a text");
    let ended = resumed.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0), "{told}{ended:?}");
    assert_eq!(fs::read_to_string(sshd.path("target/slow")).expect("it was written"), "slow\n", "the step ran twice");
}

#[test]
fn of_two_runs_that_begin_together_one_goes_on() {
    let Some(sshd) = world() else { return };
    sshd.write("slow.rhai", &slow("", ""));
    let begin = || {
        let arguments = ["run", "slow.rhai", "-i", "inventory.toml", "--format", "json"];
        haflow(sshd.folder.path(), arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("haflow starts")
    };
    let runs = [begin(), begin()];
    until("the slow step", || sshd.path("target/begun").exists());
    // The other one has been refused before the step may end.
    let mut ended: Vec<_> = std::thread::scope(|scope| {
        let waits: Vec<_> =
            runs.into_iter().map(|run| scope.spawn(|| run.wait_with_output().expect("it ends"))).collect();
        until("the end of one", || waits.iter().any(std::thread::ScopedJoinHandle::is_finished));
        fs::write(sshd.path("target/go"), "").expect("a file");
        waits.into_iter().map(|wait| wait.join().expect("no panic").status.code()).collect()
    });
    ended.sort_unstable();
    assert_eq!(ended, [Some(0), Some(75)]);
}

#[test]
fn a_run_keeps_its_lock_when_a_lane_breaks() {
    let Some(sshd) = world() else { return };
    let playbook = r##"
        let node = host("here");
        let folder = node.vars.folder;
        parallel([
            || act(node, #{ name: "hangs", reason: "a test", apply: "sleep 60", timeout: "1s" }),
            || {
                gate(node, #{ name: "the first has broken its lane", probe: "sleep 2", want: "" });
                act(node, #{
                    name: "slow", reason: "a test", params: #{ folder: folder },
                    apply: #"touch "$folder/begun"; n=0; until [ -e "$folder/go" ] || [ "$n" = 300 ]; do n=$((n + 1)); sleep 0.1; done"#,
                });
            },
        ]);
    "##;
    let slow = sshd.begin(playbook);
    until("the slow step", || sshd.path("target/begun").exists());
    is_refused(&sshd, &other(&sshd, &[]));
    fs::write(sshd.path("target/go"), "").expect("a file");
    let ended = slow.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(Told::from(other(&sshd, &["--wait", "1m"])).exits(0).count("changed"), 1);
}
