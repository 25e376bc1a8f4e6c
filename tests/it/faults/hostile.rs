//! What a host prints, and what a playbook from elsewhere asks for, ends or holds up nothing but its own
//! task.

use crate::common::clean;
use crate::common::sshd::{Sshd, signal, until};
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
    assert!(begun.elapsed() < Duration::from_mins(1), "it took {:?}", begun.elapsed());
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
act(node, #{ name: "first", reason: "a test", apply: #"touch "$folder/first" "#, params: #{ folder: node.vars.folder } });
act(node, #{ name: "second", reason: "a test", apply: #"touch "$folder/second" "#, params: #{ folder: node.vars.folder } });
"##;

#[test]
fn a_pipe_that_nobody_reads_stops_no_step() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let (mut run, mut pipe) = begin(&sshd, TWO);
    until("the run's end in its journal", || journal(&sshd).contains("\"run_finished\""));
    assert!(sshd.path("second").exists());
    assert!(run.try_wait().expect("it is ours").is_none(), "it waits for whoever reads what it told");
    // A late reader gets all of it.
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
act(node, #{ name: "second", reason: "a test", apply: #"touch "$folder/second" "#, params: #{ folder: node.vars.folder } });
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

/// What a host prints is bounded wherever it goes, and says where it was cut.
#[test]
fn what_a_host_prints_fills_neither_terminal_nor_journal() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let playbook = r##"
let node = host("here");
let line = "head -c 3000000 /dev/zero | tr '\\0' x";
let used = read(node, #{ name: "used", probe: line });
let torn = read(node, #{ name: "torn", probe: #"printf 'a\0b'"# });
parallel([
    || act(node, #{ name: "fails", reason: "a test", apply: line + "; " + line + " >&2; exit 3" }),
    || act(node, #{ name: "long", reason: "a test", apply: line }),
    || read(node, #{ name: "unused", probe: "printf '[0'; yes ,1 | head -n 1000000; printf ']'", jq: "." }),
    || ensure(node, #{ kind: "state", name: "other", probe: line, want: "y", apply: ":" }),
]);
"##;
    let told = sshd.told("run", playbook).exits(1);
    let failure = &told.task("here/act:fails")["failure"];
    for stream in ["stdout", "stderr"] {
        let text = failure[stream].as_str().expect("a text");
        assert!(text.contains("bytes left out") && text.len() < 20_000, "{stream} has {} bytes", text.len());
    }
    for task in ["here/act:long", "here/read:unused"] {
        let output = told.task(task)["output"].as_str().unwrap_or_else(|| panic!("{}", told.task(task)));
        assert!(output.ends_with("bytes left out") && output.len() < 20_000, "{task} has {} bytes", output.len());
    }
    assert!(journal(&sshd).len() < 500_000, "the journal has {} bytes", journal(&sshd).len());
    assert_eq!(told.ran.stdout.len(), journal(&sshd).len());
    for (name, says) in [("used", "its output has 3000000 bytes, and others use it"), ("torn", "has a NUL byte")] {
        let begin = playbook.split("parallel").next().expect("its beginning");
        let playbook = format!("{begin}file(node, `${{node.vars.folder}}/{name}`, #{{ content: {name} }});");
        let told = sshd.told("run", &playbook).exits(1);
        let message = told.task(&format!("here/read:{name}"))["failure"]["message"].to_string();
        assert!(message.contains(says), "{message}");
        assert!(!sshd.path(name).exists());
    }
}

/// Edits of files as they are found in the field.
#[test]
fn an_edit_leaves_all_other_bytes_alone() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let write = |name: &str, bytes: &[u8]| fs::write(sshd.path(name), bytes).expect("a file");
    write("latin1", b"# M\xfcller \\ 100%\nlevel=1\n\n\n");
    write("ini", b"[s]\n# \xe9\nk = 1\n");
    write("smb", b"[global]\n  fruit:metadata = netatalk\n  idmap config * : backend = ad\n");
    write("nul", b"one\0\0\ntwo\n");
    write("long", "x".repeat(300_000).as_bytes());
    let playbook = r#"
let node = host("here");
let at = node.vars.folder + "/";
parallel([
    || line(node, at + "latin1", "level=2", #{ matching: "^level=" }),
    || ini_setting(node, at + "ini", "s", "k", 2),
    || ini_setting(node, at + "smb", "global", "fruit:metadata", "stream"),
    || line(node, at + "nul", "marker"),
    || ini_setting(node, at + "nul", "", "two", "x"),
    || line(node, at + "long", "tail"),
    || file(node, at + "moves", #{ edit: "(. // \"\") + \"x\"", kind: "grows" }),
]);
"#;
    sshd.write("playbook.rhai", playbook);
    let shown = sshd.haflow(&["plan", "playbook.rhai", "-i", "inventory.toml"]);
    let longest = shown.stdout.lines().map(str::len).max();
    assert!(longest < Some(2_000), "a line of {longest:?} bytes is shown");
    assert!(shown.stdout.contains("more characters, -v shows all"), "{}", shown.stdout);
    let told = sshd.told("run", playbook).exits(1);
    let read = |name: &str| fs::read(sshd.path(name)).expect("a file");
    assert_eq!(read("latin1"), b"# M\xfcller \\ 100%\nlevel=2\n\n\n");
    assert_eq!(read("ini"), b"[s]\n# \xe9\nk = 2\n");
    assert_eq!(read("smb"), b"[global]\n  fruit:metadata = stream\n  idmap config * : backend = ad\n");
    assert_eq!(read("nul"), b"one\0\0\ntwo\n", "it isn't text");
    let failed = told.with("failed");
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(told.ran.stdout.contains("it has a NUL byte, so it isn't text"));
    assert!(told.ran.stdout.contains("would change its own result once more, so nothing was written"));
    assert!(!sshd.path("moves").exists());
    let again = sshd.told("run", playbook).exits(1);
    assert_eq!((again.count("ok"), again.count("changed")), (4, 0));
}

/// Four million lines in a file of a user's own must not stop the run for everybody.
#[test]
fn a_long_file_holds_nobody_up() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    // In a debug build a sixteenth of it.
    fs::write(sshd.path("profile"), vec![b'\n'; 256 << 10]).expect("a file");
    let playbook = r#"
let node = host("here");
let at = node.vars.folder + "/profile";
line(node, at, "x", #{ matching: "^x?$" });
ini_setting(node, at, "a", "b", "c");
block(node, at, "m", "t\n");
line(node, at, "", #{ matching: "^$", absent: true });
"#;
    let begun = Instant::now();
    let told = sshd.told("run", playbook).exits(0);
    assert_eq!(told.count("changed"), 4);
    assert_eq!(fs::read_to_string(sshd.path("profile")).expect("a file"), "x\n[a]\nb = c\n# BEGIN m\nt\n# END m\n");
    assert!(begun.elapsed() < Duration::from_mins(1), "it took {:?}", begun.elapsed());
}
