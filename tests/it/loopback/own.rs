//! haflow's own folders on the machine that it runs on, and what it remembers of runs: against a real sshd
//! here.

use crate::common::Ran;
use crate::common::events::{Told, haflow};
use crate::common::sshd::{Sshd, signal, until};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILE: &str = r#"file(host("here"), host("here").vars.folder + "/file", #{ content: "x" });"#;

fn world() -> Option<Sshd> {
    let sshd = Sshd::start("")?;
    fs::create_dir(sshd.path("target")).expect("a folder");
    sshd.inventory(&json!({}), &json!({ "folder": sshd.path("target") }));
    sshd.write("playbook.rhai", FILE);
    Some(sshd)
}

fn run(sshd: &Sshd) -> Command {
    haflow(sshd.folder.path(), ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"])
}

/// All folders and files below, that others than their owner may do something with.
fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    let mut open = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry"));
        for path in entries.map(|entry| entry.path()).chain([folder.clone()]) {
            let metadata = path.symlink_metadata().expect("it is there");
            if metadata.permissions().mode() & 0o077 != 0 {
                open.push(path.clone());
            }
            if metadata.is_dir() && path != folder {
                folders.push(path);
            }
        }
    }
    open
}

#[test]
fn its_own_folders_are_for_its_user_alone_whatever_the_umask() {
    let Some(sshd) = world() else { return };
    // One of an older version.
    let state = sshd.path(".local/state/haflow");
    fs::create_dir_all(state.join("runs")).expect("a folder");
    for folder in [&state, &state.join("runs")] {
        fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).expect("it is ours");
    }
    sshd.write(
        "playbook.rhai",
        r##"let folder = host("here").vars.folder;
            act(host("here"), #{ name: "slow", reason: "a test", params: #{ folder: folder },
                apply: #"touch "$folder/begun"; n=0; until [ -e "$folder/go" ] || [ "$n" = 300 ]; do n=$((n + 1)); sleep 0.1; done"# });"##,
    );
    let with_umask = |arguments: &str| {
        let mut command = run(&sshd);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("umask 0; exec {} {arguments}", env!("CARGO_BIN_EXE_haflow")));
        shell.current_dir(sshd.folder.path()).env_clear();
        shell.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.env_clear();
        shell
    };
    let mut slow = with_umask("run playbook.rhai -i inventory.toml --format json")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("haflow starts");
    until("the slow step", || sshd.path("target/begun").exists());
    let entries = fs::read_dir(sshd.folder.path()).expect("a folder").map(|entry| entry.expect("an entry"));
    let control = entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("haflow-")));
    let control = control.expect("there is a folder for sockets");
    assert_eq!(control.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    fs::write(sshd.path("target/go"), "").expect("a file");
    assert!(slow.wait().expect("it ends").success());
    assert!(
        with_umask("plan playbook.rhai -i inventory.toml -o plan.json").output().expect("it ends").status.success()
    );
    let applied = with_umask("apply plan.json").output().expect("it ends");
    assert!(applied.status.success(), "{applied:?}");
    assert_eq!(open_to_others(&state), Vec::<PathBuf>::new());
}

#[test]
fn a_long_path_for_temporary_files_keeps_nobody_from_their_hosts() {
    let Some(sshd) = world() else { return };
    let long = sshd.path(&"long/".repeat(20));
    fs::create_dir_all(&long).expect("a folder");
    let told = Told::from(Ran::of(run(&sshd).env("TMPDIR", &long).env_remove("XDG_RUNTIME_DIR"))).exits(0);
    assert_eq!(told.count("changed"), 1);
    let told = Told::from(Ran::of(run(&sshd).env("TMPDIR", &long).env("XDG_RUNTIME_DIR", &long))).exits(0);
    assert_eq!(told.count("ok"), 1);
}

#[test]
fn what_was_killed_leaves_no_sockets_for_ever() {
    let Some(sshd) = world() else { return };
    let left = sshd.path("haflow-aB3dE6");
    fs::create_dir_all(left.join("hX1y2Z3")).expect("a folder");
    fs::write(left.join("alive"), "").expect("a file");
    let old = fs::FileTimes::new().set_modified(std::time::SystemTime::now() - std::time::Duration::from_mins(5));
    fs::File::open(&left).expect("it is there").set_times(old).expect("it is ours");
    Told::from(Ran::of(&mut run(&sshd))).exits(0);
    assert!(!left.exists(), "what a dead haflow had left is still there");
}

#[test]
fn runs_that_were_cut_off_are_not_forgotten() {
    let Some(sshd) = world() else { return };
    let runs = sshd.path(".local/state/haflow/runs");
    let counts = |changed: u32, cancelled: u32| {
        format!(
            "{{\"at\":1,\"event\":\"run_finished\",\"run\":\"r\",\"took_ms\":1,\"ok\":0,\"changed\":{changed},\"failed\":0,\
             \"skipped\":0,\"unreachable\":0,\"cancelled\":{cancelled},\"in_doubt\":0}}\n"
        )
    };
    let died = "{\"at\":1,\"event\":\"run_started\",\"run\":\"r\",\"playbook\":\"p\",\"hosts\":[],\"tasks\":1}\n";
    let make = |run: &str, events: &str| {
        fs::create_dir_all(runs.join(run)).expect("a folder");
        fs::write(runs.join(run).join("events.jsonl"), events).expect("a file");
    };
    make("20200101-000000-died", died);
    make("20200101-000001-torn", &(died.to_owned() + "{\"at\":2,\"ev"));
    make("20200101-000002-intr", &counts(1, 1));
    make("20200101-000003-done", &counts(1, 0));
    for number in 0..200 {
        make(&format!("20210101-{number:06}-done"), &counts(1, 0));
    }
    Told::from(Ran::of(&mut run(&sshd))).exits(0);
    let mut left: Vec<String> = fs::read_dir(&runs)
        .expect("the runs")
        .map(|run| run.expect("an entry").file_name().into_string().expect("a text"))
        .collect();
    left.sort();
    assert_eq!(&left[..3], ["20200101-000000-died", "20200101-000001-torn", "20200101-000002-intr"]);
    // The one that is under way isn't done.
    assert_eq!((left[3].as_str(), left.len()), ("20210101-000000-done", 204));
}

#[test]
fn attempts_are_counted_across_a_death_in_the_pause() {
    let Some(sshd) = world() else { return };
    let mut killed = sshd.begin(
        r##"act(host("here"), #{ name: "fails", reason: "a test", retries: 2, backoff: "3s", params: #{ folder: host("here").vars.folder },
            apply: #"echo once >> "$folder/log"; exit 1"# });"##,
    );
    let log = || fs::read_to_string(sshd.path("target/log")).unwrap_or_default().lines().count();
    let journal = || {
        let mut runs = fs::read_dir(sshd.path(".local/state/haflow/runs")).expect("the runs");
        let run = runs.next().expect("there is one").expect("an entry").path();
        fs::read_to_string(run.join("events.jsonl")).unwrap_or_default()
    };
    until("the pause before the third attempt", || log() == 2 && journal().matches("task_retried").count() == 2);
    signal(&killed, Signal::KILL);
    killed.wait().expect("it ends");
    let resumed = Told::from(Ran::of(&mut haflow(sshd.folder.path(), ["resume", "--format", "json"]))).exits(1);
    assert_eq!((log(), resumed.count("failed")), (3, 1));
}

#[test]
fn sixty_names_of_one_machine_share_its_lock() {
    let Some(sshd) = Sshd::start("MaxStartups 100") else { return };
    fs::create_dir(sshd.path("target")).expect("a folder");
    let one = fs::read_to_string(sshd.path("inventory.toml")).expect("the inventory");
    let all: Vec<String> = (0..60).map(|number| one.replace("[hosts.here]", &format!("[hosts.n{number}]"))).collect();
    sshd.write("inventory.toml", &all.join("\n"));
    sshd.write(
        "playbook.rhai",
        &format!(
            r#"for node in hosts() {{ file(node, "{}/" + node.name, #{{ content: "x" }}); }}"#,
            sshd.path("target").display()
        ),
    );
    let told = Told::from(Ran::of(&mut run(&sshd))).exits(0);
    assert_eq!(told.count("changed"), 60, "{}", told.ran.stderr);
}
