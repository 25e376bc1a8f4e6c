//! What a host prints, and what a playbook from elsewhere asks for, ends or holds up nothing but its own task.

use crate::common::clean;
use crate::server::{Sshd, signal, until};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A broker's definition that nests without end, and filters that do.
const FILTERS: &str = r##"
let node = host("here");
fn asks(node, name, filter) {
    || read(node, #{ name: name, probe: #"printf '[{"name":"x","definition":"'; printf '%65536s' '' | tr ' ' '['; printf '"}]'"#, jq: filter, timeout: "5s" })
}
parallel([
    asks(node, "deep", ".[] | select(.name == \"x\") | .definition | fromjson"),
    asks(node, "endless", "last(range(100000000000))"),
    asks(node, "nested", "def f: [f]; f"),
    asks(node, "grown", "reduce range(100000) as $i ([]; [.])"),
    asks(node, "huge", "\"x\" * 100000000000 | length"),
    asks(node, "fine", ".[0].name"),
]);
"##;

#[test]
fn a_filter_that_nests_or_never_ends_fails_alone() {
    let Some(sshd) = Sshd::start("") else { return };
    let begun = Instant::now();
    let told = sshd.told("run", FILTERS).exits(1);
    for (name, says) in [
        ("deep", "recursion limit"),
        ("endless", "took longer than 5 s"),
        ("nested", "nests too deep, or needs more than"),
        ("grown", "nests more than 127 deep"),
        ("huge", "nests too deep, or needs more than"),
    ] {
        let task = told.task(&format!("here/read:{name}"));
        let message = task["failure"]["message"].as_str().unwrap_or_else(|| panic!("{name}: {task}"));
        assert!(message.contains(says), "{name}: {message}");
    }
    assert_eq!(told.task("here/read:fine")["output"], "x");
    assert!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
}

/// Begins a run whose stdout is a pipe that is full.
fn begin(sshd: &Sshd, playbook: &str) -> (Child, std::io::PipeReader) {
    sshd.write("playbook.rhai", playbook);
    let (read, mut write) = std::io::pipe().expect("a pipe");
    let full = rustix::pipe::fcntl_getpipe_size(&write).expect("it has a size");
    std::io::Write::write_all(&mut write, &vec![b'\n'; full]).expect("there is room");
    let run = clean(Command::new(env!("CARGO_BIN_EXE_haflow")), sshd.folder.path())
        .env("XDG_RUNTIME_DIR", sshd.folder.path())
        .args(["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"])
        .stdout(write)
        .stderr(Stdio::null())
        .spawn()
        .expect("haflow starts");
    (run, read)
}

/// The events of the run that the journal has.
fn journal(sshd: &Sshd) -> String {
    let runs = sshd.path(".local/state/haflow/runs");
    let run = fs::read_dir(runs).ok().and_then(|mut runs| runs.next()?.ok());
    run.and_then(|run| fs::read_to_string(run.path().join("events.jsonl")).ok()).unwrap_or_default()
}

const TWO: &str = r##"
let node = host("here");
act(node, #{ name: "first", reason: "a test", apply: #"touch "$folder/first""#, params: #{ folder: node.vars.folder } });
act(node, #{ name: "second", reason: "a test", apply: #"touch "$folder/second""#, params: #{ folder: node.vars.folder } });
"##;

#[test]
fn a_pipe_that_nobody_reads_stops_no_step() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let (mut run, mut pipe) = begin(&sshd, TWO);
    until("the run's end in its journal", || journal(&sshd).contains("\"run_finished\""));
    assert!(sshd.path("second").exists());
    assert!(run.try_wait().expect("it is ours").is_none(), "it waits for whoever reads what it told");
    // Whoever reads late gets all of it.
    let mut told = String::new();
    pipe.read_to_string(&mut told).expect("it is read");
    assert!(run.wait().expect("it ends").success());
    let told = told.trim_start().to_owned();
    assert_eq!(told, journal(&sshd), "what was told isn't what was kept");
}

#[test]
fn a_pipe_that_nobody_reads_delays_no_interrupt() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let playbook = r##"
let node = host("here");
act(node, #{ name: "first", reason: "a test", apply: #"touch "$folder/first"; until [ -e "$folder/go" ]; do sleep 0.1; done"#, params: #{ folder: node.vars.folder } });
act(node, #{ name: "second", reason: "a test", apply: #"touch "$folder/second""#, params: #{ folder: node.vars.folder } });
"##;
    let (mut run, _pipe) = begin(&sshd, playbook);
    until("the first act", || sshd.path("first").exists());
    signal(&run, Signal::INT);
    until("the interrupt in the journal", || journal(&sshd).contains("\"interrupted\""));
    sshd.write("go", "");
    let mut exit = None;
    until("the run's end", || {
        exit = run.try_wait().expect("it is ours");
        exit.is_some()
    });
    assert_eq!(exit.and_then(|exit| exit.code()), Some(130));
    assert!(!sshd.path("second").exists(), "it began after the interrupt");
    let told = journal(&sshd);
    assert!(told.contains("\"run_finished\""), "{told}");
}
