//! What is kept of runs, and how one that died goes on, against a real sshd on this machine.

use crate::common::events::{Told, haflow};
use crate::common::sshd::{Sshd, free_port, is_root, signal, slow, until};
use crate::common::{Ran, skipped};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A file whose change triggers an act, an act whose output becomes a file, a secret, and a step that waits
/// for `go`.
static PLAYBOOK: LazyLock<String> = LazyLock::new(|| {
    let before = r#"
fn logs(node, name, opts) {
    act(node, #{
        name: name, reason: "a test", params: #{ folder: node.vars.folder, name: name },
        apply: `echo "$name" >> "$folder/log"; echo "by $name"`,
    } + opts)
}
let config = file(node, folder + "/config", #{ content: "one\n" });
let token = logs(node, "token", #{});
let key = read(node, #{ name: "key", params: #{ folder: folder }, probe: `cat "$folder/key"`, secret: true });
"#;
    let after = r#"
file(node, folder + "/from-token", #{ content: token.output });
file(node, folder + "/from-key", #{ content: key });
logs(node, "restart", #{ on: config });
"#;
    slow(before, after)
});

fn world() -> Option<Sshd> {
    let sshd = Sshd::start("")?;
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    fs::write(target.join("key"), "open sesame").expect("a file");
    sshd.inventory(&json!({}), &json!({ "folder": target }));
    Some(sshd)
}

/// A run that was killed while the slow step was under way, which ended by itself then.
fn killed() -> Option<Sshd> {
    let sshd = world()?;
    kill(&sshd, &PLAYBOOK, "slow");
    Some(sshd)
}

/// The same of another playbook, whose slow step leaves this file at its end.
fn kill(sshd: &Sshd, playbook: &str, left: &str) {
    let mut run = sshd.begin(playbook);
    until("the slow step", || sshd.path("target/begun").exists());
    signal(&run, Signal::KILL);
    run.wait().expect("it ends");
    fs::write(sshd.path("target/go"), "").expect("a file");
    until("the end of the slow step", || sshd.path("target").join(left).exists());
}

fn resume(sshd: &Sshd, options: &[&str]) -> Ran {
    Ran::of(&mut haflow(sshd.folder.path(), ["resume", "--format", "json"].iter().chain(options).copied()))
}

fn text(sshd: &Sshd, path: &str) -> String {
    fs::read_to_string(sshd.path(path)).unwrap_or_default()
}

fn log(sshd: &Sshd) -> Vec<String> {
    text(sshd, "target/log").lines().map(str::to_owned).collect()
}

/// The folder of the only run.
fn kept(sshd: &Sshd) -> PathBuf {
    let mut runs = fs::read_dir(sshd.path(".local/state/haflow/runs")).expect("the runs");
    let run = runs.next().expect("there is one").expect("an entry").path();
    assert!(runs.next().is_none(), "there is more than one run");
    run
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let Some(sshd) = killed() else { return };
    let listed = sshd_haflow(&sshd, &["runs"]);
    assert!(listed.stdout.contains("died: it can be resumed") && listed.stdout.contains("playbook.rhai"), "{listed:?}");
    let shown = sshd_haflow(&sshd, &["show"]);
    assert!(shown.stdout.contains("changed      here  act token"), "{shown:?}");
    assert!(shown.stderr.contains("died here"), "{shown:?}");

    let told = Told::from(resume(&sshd, &[])).exits(0);
    let outcomes = told.outcomes();
    let ended: Vec<(&str, &str)> = outcomes.iter().map(|(id, word)| (id.as_str(), word.as_str())).collect();
    let target = sshd.path("target");
    let file = |name: &str| format!("here/file:{}", target.join(name).display());
    // The config and the token were done; the step had been begun, so that it counts as changed.
    assert_eq!(
        ended,
        [
            ("here/act:restart", "changed"),
            (&*file("from-key"), "changed"),
            (&*file("from-token"), "changed"),
            ("here/read:key", "ok"),
            ("here/step:slow", "changed")
        ]
    );
    assert_eq!((told.count("changed"), told.count("ok"), told.count("in_doubt")), (6, 1, 0));
    assert_eq!(log(&sshd), ["token", "restart"]);
    assert_eq!(text(&sshd, "target/from-token"), "by token");
    assert_eq!(text(&sshd, "target/from-key"), "open sesame");

    // Once more, there is nothing to do.
    let again = resume(&sshd, &[]);
    assert_eq!((again.exit, again.stdout.as_str()), (0, ""), "{again:?}");
    assert!(again.stderr.contains("everything that it was for is done"), "{again:?}");
    assert_eq!(log(&sshd), ["token", "restart"]);
    assert!(sshd_haflow(&sshd, &["runs"]).stdout.contains("6 changed, 1 ok"));

    // The secret is in nothing that was kept, and nobody else may read it.
    let run = kept(&sshd);
    for file in ["input.json", "events.jsonl"] {
        assert!(!fs::read_to_string(run.join(file)).expect("a text").contains("open sesame"), "{file}");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(run.join(file)).expect("it").permissions());
        assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
    }
}

fn sshd_haflow(sshd: &Sshd, arguments: &[&str]) -> Ran {
    Ran::of(&mut haflow(sshd.folder.path(), arguments.iter().copied()))
}

#[test]
fn half_a_line_at_the_end_is_understood_and_half_a_line_before_isnt() {
    let Some(sshd) = killed() else { return };
    let journal = kept(&sshd).join("events.jsonl");
    let mut torn = fs::read(&journal).expect("the journal");
    torn.extend_from_slice(b"{\"at\":17953");
    fs::write(&journal, &torn).expect("the journal");
    assert_eq!(sshd_haflow(&sshd, &["show"]).exit, 0);
    assert_eq!(Told::from(resume(&sshd, &[])).exits(0).count("changed"), 6);
    assert!(!fs::read_to_string(&journal).expect("the journal").contains("{\"at\":17953{"));

    let mut broken = fs::read(&journal).expect("the journal");
    broken[3] = b'x';
    fs::write(&journal, &broken).expect("the journal");
    for command in ["show", "resume"] {
        let refused = sshd_haflow(&sshd, &[command]);
        assert_eq!(refused.exit, 65, "{refused:?}");
        assert!(refused.stderr.contains("line 1 of the journal"), "{refused:?}");
    }
}

#[test]
fn a_changed_playbook_is_not_gone_on_with() {
    let Some(sshd) = killed() else { return };
    sshd.write("playbook.rhai", &PLAYBOOK.replace("one\\n", "two\\n"));
    let refused = resume(&sshd, &[]);
    assert_eq!((refused.exit, refused.stdout.as_str()), (65, ""), "{refused:?}");
    for said in ["playbook.rhai changed since", "nothing was changed", "haflow run playbook.rhai -i inventory.toml"] {
        assert!(refused.stderr.contains(said), "{said} isn't there: {}", refused.stderr);
    }
    assert_eq!(log(&sshd), ["token"]);
    // The inventory is taken as it was.
    sshd.write("playbook.rhai", &PLAYBOOK);
    sshd.write("inventory.toml", "[hosts.other]\n");
    Told::from(resume(&sshd, &[])).exits(0);
}

#[test]
fn tasks_that_were_declared_without_facts_are_not_gone_on_with() {
    let Some(sshd) = world() else { return };
    let inventory = text(&sshd, "inventory.toml");
    let gone = format!("\n[hosts.gone]\naddress = \"127.0.0.1\"\nport = {}\n", free_port());
    sshd.write("inventory.toml", &format!("{inventory}{gone}"));
    let playbook = r#"
        for node in [host("here"), host("gone")] { uninstall(node, ["haflow-has-no-such-package"]); }
    "#;
    assert_eq!(sshd.told("run", playbook).exits(1).count("unreachable"), 1);
    let refused = resume(&sshd, &[]);
    assert_eq!((refused.exit, refused.stdout.as_str()), (65, ""), "{refused:?}");
    assert!(refused.stderr.contains("gone couldn't be reached when it began"), "{refused:?}");
}

#[test]
fn what_failed_in_the_meantime_is_tried_again_as_often_as_it_says() {
    let Some(sshd) = world() else { return };
    let playbook = PLAYBOOK.replacen("kind: \"step\",", "kind: \"step\", retries: 1, backoff: \"0s\",", 1).replacen(
        r#"echo slow >> "$folder/slow""#,
        r#"if [ ! -e "$folder/again" ]; then touch "$folder/again"; echo "not yet" >&2; exit 7; fi
        echo slow >> "$folder/slow""#,
        1,
    );
    kill(&sshd, &playbook, "again");
    let told = Told::from(resume(&sshd, &[])).exits(0);
    let slow: Vec<_> = told.events.iter().filter(|event| event["task"] == "here/step:slow").collect();
    let words: Vec<_> = slow.iter().map(|event| json!([event["event"], event["attempt"]])).collect();
    let expected = [
        json!(["task_started", null]),
        json!(["picking_up", null]),
        json!(["task_retried", 1]),
        json!(["apply_started", 2]),
        json!(["task_finished", null]),
    ];
    assert_eq!(words, expected, "{slow:#?}");
    assert_eq!(slow[2]["why"], "the apply exited 7 (not yet)");
    assert_eq!(told.outcomes()["here/step:slow"], "changed");
}

#[test]
fn what_failed_in_the_meantime_for_the_last_time_is_not_tried_again() {
    let Some(sshd) = world() else { return };
    let playbook = PLAYBOOK.replacen("kind: \"step\",", "kind: \"step\", retries: 1, backoff: \"0s\",", 1).replacen(
        r#"touch "$folder/begun""#,
        r#"echo try >> "$folder/tries"; [ "$(wc -l < "$folder/tries")" -gt 1 ] || exit 7; touch "$folder/begun""#,
        1,
    );
    kill(&sshd, &playbook.replace(r#"echo slow >> "$folder/slow""#, r#"touch "$folder/ended"; exit 7"#), "ended");
    let told = Told::from(resume(&sshd, &[])).exits(1);
    assert_eq!((told.with("failed"), told.of("task_retried").count()), (vec!["here/step:slow".to_owned()], 0));
    assert_eq!(text(&sshd, "target/tries"), "try\ntry\n");
}

#[test]
fn a_run_that_is_under_way_is_not_resumed() {
    let Some(sshd) = world() else { return };
    let run = sshd.begin(&PLAYBOOK);
    until("the slow step", || sshd.path("target/begun").exists());
    assert!(sshd_haflow(&sshd, &["runs"]).stdout.contains("under way, 7 tasks"));
    let refused = resume(&sshd, &[]);
    assert_eq!((refused.exit, refused.stdout.as_str()), (75, ""), "{refused:?}");
    assert!(refused.stderr.contains("is still under way; nothing was changed"), "{refused:?}");
    fs::write(sshd.path("target/go"), "").expect("a file");
    // Another run that waits sees its end.
    let shown = sshd_haflow(&sshd, &["show", "--format", "json"]);
    assert_eq!(Told::from(shown).count("changed"), 6);
    assert!(run.wait_with_output().expect("it ends").status.success());
}

#[test]
fn what_cant_be_probed_is_for_the_user_to_say() {
    let Some(sshd) = world() else { return };
    let playbook = r##"
        let node = host("here");
        act(node, #{
            name: "migrate", reason: "a test", params: #{ folder: node.vars.folder },
            apply: #"echo migrate >> "$folder/log"; echo $PPID > "$folder/begun"; n=0; until [ -e "$folder/go" ] || [ "$n" = 300 ]; do n=$((n + 1)); sleep 0.1; done"#,
        });
        act(node, #{ name: "later", reason: "a test", params: #{ folder: node.vars.folder }, apply: #"echo later >> "$folder/log""# });
    "##;
    for (option, logged) in [("--done", vec!["migrate", "later"]), ("--again", vec!["migrate", "migrate", "later"])] {
        for name in ["begun", "go", "log"] {
            let _ = fs::remove_file(sshd.path("target").join(name));
        }
        let _ = fs::remove_dir_all(sshd.path(".local"));
        let mut run = sshd.begin(playbook);
        until("the migration", || sshd.path("target/begun").exists());
        signal(&run, Signal::KILL);
        run.wait().expect("it ends");
        // The keeper, which would have kept its result, is killed too.
        until("the keeper's number", || !text(&sshd, "target/begun").trim().is_empty());
        let keeper = text(&sshd, "target/begun").trim().parse().expect("a number");
        kill_process(Pid::from_raw(keeper).expect("a process"), Signal::KILL).expect("it runs");
        fs::write(sshd.path("target/go"), "").expect("a file");
        let told = Told::from(resume(&sshd, &[])).exits(1);
        assert_eq!((told.count("in_doubt"), told.count("skipped")), (1, 1), "{:?}", told.ran);
        let why = told.task("here/act:migrate")["why"].as_str().expect("a reason").to_owned();
        assert!(why.contains("--done here/act:migrate") && why.contains("--again here/act:migrate"), "{why}");
        let wrong = resume(&sshd, &[option, "here/act:migrat"]);
        assert_eq!(wrong.exit, 64, "{wrong:?}");
        assert!(wrong.stderr.contains("did you mean `here/act:migrate`?"), "{wrong:?}");
        Told::from(resume(&sshd, &[option, "here/act:migrate"])).exits(0);
        assert_eq!(log(&sshd), logged);
    }
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let Some(sshd) = world() else { return };
    fs::write(sshd.path(".local"), "in the way").expect("a file");
    fs::write(sshd.path("target/go"), "").expect("a file");
    let refused = sshd.told("run", &PLAYBOOK);
    assert_eq!((refused.ran.exit, refused.ran.stdout.as_str()), (1, ""), "{:?}", refused.ran);
    assert!(refused.ran.stderr.contains(".local/state/haflow/runs"), "{:?}", refused.ran);
    assert!(!sshd.path("target/config").exists());
}

/// 64 KiB, for as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(path).status();
        assert!(mounted.expect("mount is there").success());
        Self(path.into())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn where_the_journals_disk_is_full_nothing_more_begins() {
    if !is_root() {
        skipped("a small disk needs root");
        return;
    }
    let Some(sshd) = world() else { return };
    let state = sshd.path("state");
    fs::create_dir(&state).expect("a folder");
    let _disk = SmallDisk::at(&state);
    let playbook = r#"
        let node = host("here");
        for i in 0..500 { file(node, `${node.vars.folder}/${i}`, #{ content: "x" }); }
    "#;
    sshd.write("playbook.rhai", playbook);
    let arguments = ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"];
    let ran = Ran::of(haflow(sshd.folder.path(), arguments).env("XDG_STATE_HOME", &state));
    let journal = fs::read_dir(state.join("haflow/runs")).expect("the runs").next().expect("one").expect("an entry");
    let kept = fs::read_to_string(journal.path().join("events.jsonl")).expect("the journal");
    assert_eq!(ran.exit, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("failed to write the journal") && ran.stderr.contains("No space left"),
        "{}",
        ran.stderr
    );
    let begun = |line: &&str| line.contains("\"apply_started\"");
    let written = fs::read_dir(sshd.path("target")).expect("a folder").count() - 1;
    let intended = kept.lines().filter(begun).count();
    assert!((1..500).contains(&written), "{written} files were written");
    // Whatever was done had been written down before.
    assert!(written <= intended, "{written} files were written, and {intended} intents");
    let told = Told::from(Ran { stderr: String::new(), ..ran });
    assert!(told.count("cancelled") > 0);
}
