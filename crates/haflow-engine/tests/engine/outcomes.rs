//! What becomes of each task, and what is planned of it.

use crate::world::{World, act, decisions, ensure, local, planned, probe, read, run, run_with};
use haflow_engine::Interrupt;
use haflow_engine::lane::{Lane, LaneError};
use haflow_model::{
    Action, Change, Content, Decision, EdgeKind, Edit, Event, File, FileState, Gate, Outcome, OutputRef, Param, Place,
    Policy, Secret, SecretPart, SecretText, Secrets, Test, When,
};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[tokio::test]
async fn what_is_not_so_is_changed_once() {
    let mut world = World::new();
    world.ensure("a", "one", "1");
    world.ensure("b", "two", "2");
    let graph = world.seal();
    assert!(matches!(decisions(&graph).await["one"], Decision::Change { .. }));
    assert_eq!(world.text("one"), "", "a plan changes nothing");
    let first = run(&graph).await;
    assert_eq!((first.counts.changed, first.counts.ok), (2, 0));
    assert_eq!((world.text("one"), world.text("two")), ("1\n".into(), "2\n".into()));
    let second = run(&graph).await;
    assert_eq!((second.counts.changed, second.counts.ok), (0, 2));
    assert!(matches!(second.events.last().unwrap().event, Event::RunFinished { .. }));
    assert_eq!(decisions(&graph).await["one"], Decision::UpToDate);
}

#[tokio::test]
async fn a_failure_stops_what_depends_on_it_and_nothing_else() {
    let mut world = World::new();
    let broken = world.add("a", "broken", act("echo out; echo err >&2; exit 3"), |_| {});
    world.ensure("a", "later", "x");
    let other = world.ensure("b", "other", "x");
    let after = world.add("b", "after", act("true"), |_| {});
    world.draft.edge(broken, after, EdgeKind::Order, Place::file("test.rhai"));
    let _ = other;
    let ran = run(&world.seal()).await;
    let words: Vec<String> = ["broken", "later", "other", "after"].map(|name| ran.word(name)).into();
    assert_eq!(words, ["failed", "skipped", "changed", "skipped"]);
    let failure = ran.failure("broken");
    assert_eq!((failure.exit, failure.stdout.as_str(), failure.stderr.as_str()), (Some(3), "out", "err"));
    assert!(matches!(ran.outcome("after"), Outcome::Skipped { because: Some(id), .. } if id == "a/test:broken"));
}

#[tokio::test]
async fn an_apply_that_succeeds_and_does_not_hold_has_failed() {
    let mut world = World::new();
    world.add("a", "liar", ensure("echo off", json!("on"), "true"), |_| {});
    let ran = run(&world.seal()).await;
    assert_eq!(ran.failure("liar").message, r#"applied, but it doesn't hold: it is "off", not "on""#);
}

#[tokio::test]
async fn a_probe_that_fails_is_an_error_and_not_a_state() {
    let mut world = World::new();
    world.add("a", "probe", ensure("echo half; exit 4", json!("half"), "true"), |_| {});
    let graph = world.seal();
    let ran = run(&graph).await;
    assert_eq!(ran.failure("probe").message, "the probe exited 4");
    assert!(matches!(&decisions(&graph).await["probe"], Decision::Failed { .. }));
}

#[tokio::test]
async fn a_retry_looks_again() {
    let mut world = World::new();
    let apply = r#"n=$(cat "$home/n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$home/n"; [ $n -ge 3 ]"#;
    world.add("a", "third", ensure(r#"cat "$home/n" 2>/dev/null || echo 0"#, json!("3"), apply), |task| {
        task.policy = Policy { retries: 3, backoff: Duration::from_millis(1), ..Policy::default() };
    });
    let ran = run(&world.seal()).await;
    assert_eq!(ran.word("third"), "changed");
    let retries = ran.events.iter().filter(|record| matches!(record.event, Event::TaskRetried { .. })).count();
    assert_eq!(retries, 2);
}

#[tokio::test]
async fn a_script_that_takes_too_long_fails_and_the_host_goes_on() {
    let mut world = World::new();
    world.add("a", "slow", act("sleep 60"), |task| task.policy.timeout = Duration::from_millis(200));
    let ran = run(&world.seal()).await;
    assert_eq!(ran.failure("slow").message, "it took longer than 0.2 s and was killed");
}

#[tokio::test]
async fn outputs_flow_and_secrets_stay_hidden() {
    let mut world = World::new();
    world.add("a", "make", act(r#"printf 'tOp$(touch "$home/x")"s3cret' > "$home/cookie""#), |_| {});
    let cookie = world.add("a", "cookie", read(r#"cat "$home/cookie""#, true), |_| {});
    let output = OutputRef { task: cookie, secret: true };
    let path = world.path("copy").to_str().unwrap().to_owned();
    let file = File {
        path: path.clone(),
        state: FileState::Content(Content::Is(Param::Output(output))),
        mode: Some(0o400),
        owner: None,
        group: None,
        follow: false,
        secret: false,
        validate: None,
    };
    world.add("b", "copy", Action::File(file), |_| {});
    world.add("b", "leak", act(r#"echo "$cookie" >&2; exit 1"#), |task| {
        task.params.insert("cookie".into(), Param::Output(output));
    });
    let graph = world.seal();
    let planned = decisions(&graph).await;
    let Decision::Change { diff } = &planned["copy"] else { panic!("whatever the cookie will be, it isn't there") };
    let later = Change::Later { field: "content".into(), output_of: "a/test:cookie".into() };
    assert!(diff.0.contains(&later), "{diff:?}");
    let ran = run(&graph).await;
    assert_eq!(ran.word("copy"), "changed");
    assert_eq!(world.text("copy"), "tOp$(touch \"$home/x\")\"s3cret");
    assert!(!world.path("x").exists(), "a value never runs");
    assert_eq!(ran.failure("leak").stderr, "‹secret›");
    assert!(!ran.everything().contains("s3cret"));
}

#[tokio::test]
async fn a_secret_goes_where_the_graph_names_it_and_comes_back_nowhere() {
    let secret = "it's a \"secret\"\n$(touch \"$home/x\") ü";
    let text =
        SecretText(vec![SecretPart::Text("[".into()), SecretPart::Secret("key".into()), SecretPart::Text("]".into())]);
    for (name, script) in [
        ("raw", r#"printf '%s' "$key"; printf '%s' "$key" >&2; exit 1"#),
        ("base64", r#"printf 'user:%s' "$key" | base64 -w 20 | tee /dev/stderr; exit 1"#),
        ("traced", r#"set -x; : "$key"; exit 1"#),
        ("output", r#"echo "$key$pin""#),
    ] {
        let mut world = World::new();
        let path = world.path("copy").to_str().unwrap().to_owned();
        let state = FileState::Content(Content::Is(Param::Secret(text.clone())));
        let file = File {
            path,
            state,
            mode: Some(0o400),
            owner: None,
            group: None,
            follow: false,
            secret: false,
            validate: None,
        };
        world.add("a", "copy", Action::File(file), |_| {});
        world.add("a", name, act(script), |task| {
            task.params.insert("key".into(), Param::Secret(SecretText::of("key")));
            task.params.insert("pin".into(), Param::Secret(SecretText::of("pin")));
        });
        world.add("b", "number", read(r#"echo '{"pin": 13579, "13579": [13579]}'"#, false), |task| {
            let Action::Read(read) = &mut task.action else { unreachable!() };
            read.probe.jq = Some(".".into());
        });
        let graph = world.seal();
        assert_eq!(graph.secrets().into_iter().collect::<Vec<_>>(), ["key", "pin"]);
        let mut secrets = Secrets::default();
        secrets.insert("key", Secret::new(secret));
        secrets.insert("pin", Secret::new("13579"));
        let ran = run_with(&graph, local(), |settings| settings.secrets = secrets, Interrupt::default()).await;
        assert_eq!(world.text("copy"), format!("[{secret}]"));
        assert!(!world.path("x").exists(), "a value never runs");
        if name == "output" {
            assert_eq!(ran.word(name), "changed");
        } else {
            assert!(ran.failure(name).stderr.contains("‹secret›"), "{name}: {:?}", ran.failure(name));
        }
        let all = ran.everything();
        for part in ["a \\\"secret", "touch", "ImE", "ZWNyZXQ", "c2VjcmV0", "13579"] {
            assert!(!all.contains(part), "{part}: {all}");
        }
    }
}

#[tokio::test]
async fn a_trigger_acts_only_after_a_change() {
    let mut world = World::new();
    let config = world.ensure("a", "config", "x");
    let restart = world.add("a", "restart", act(r#"echo restarted >> "$home/log""#), |_| {});
    world.draft.edge(config, restart, EdgeKind::Trigger, Place::file("test.rhai"));
    let graph = world.seal();
    assert_eq!(run(&graph).await.word("restart"), "changed");
    let second = run(&graph).await;
    assert!(matches!(second.outcome("restart"), Outcome::Skipped { because: None, .. }));
    assert_eq!(world.text("log"), "restarted\n");
    assert!(matches!(decisions(&graph).await["restart"], Decision::Skipped { .. }));
}

#[tokio::test]
async fn when_is_a_test_on_an_output() {
    let mut world = World::new();
    let version = world.add("a", "version", read("echo 3.10.8", false), |_| {});
    for (name, pattern) in [("three", "^3\\."), ("four", "^4\\.")] {
        world.add("a", name, act("true"), |task| {
            task.when = Some(Box::new(When {
                output: OutputRef { task: version, secret: false },
                test: Test::Matches(pattern.into()),
                negate: false,
            }));
        });
    }
    let ran = run(&world.seal()).await;
    assert_eq!((ran.word("three"), ran.word("four")), ("changed".into(), "skipped".into()));
    let Outcome::Skipped { why, .. } = ran.outcome("four") else { panic!() };
    assert_eq!(why, r#""3.10.8" doesn't hold for: matches /^4\./"#);
}

/// An act runs whatever it is given, unless what it is given decides whether it runs.
#[tokio::test]
async fn a_plan_knows_that_an_act_runs_before_it_knows_its_input() {
    let mut world = World::new();
    let version = world.add("a", "version", read("echo 3.10.8", false), |_| {});
    let makes = world.add("a", "makes", act("echo made"), |_| {});
    let given = OutputRef { task: makes, secret: false };
    for (name, decided_by) in [("always", None), ("known", Some(version)), ("later", Some(makes))] {
        world.add("a", name, act("true"), |task| {
            task.params.insert("given".into(), Param::Output(given));
            task.when = decided_by.map(|task| {
                let output = OutputRef { task, secret: false };
                Box::new(When { output, test: Test::Matches(".".into()), negate: false })
            });
        });
    }
    let planned = planned(&world.seal()).await;
    for name in ["always", "known"] {
        assert!(matches!(planned[name], (Decision::Act { .. }, Some(_))), "{name}: {:?}", planned[name]);
    }
    assert!(matches!(planned["later"], (Decision::Unknown { .. }, None)), "{:?}", planned["later"]);
}

#[tokio::test]
async fn a_gate_waits_and_tells_what_it_saw_last() {
    let mut world = World::new();
    let gate = |script: &str, within: u64| {
        Action::Gate(Gate {
            probe: probe(script),
            want: Param::Value(json!("up")),
            times: 2,
            every: Duration::from_millis(1),
            within: Duration::from_millis(within),
        })
    };
    let third = r#"n=$(cat "$home/n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$home/n"; [ $n -lt 3 ] && echo down || echo up"#;
    world.add("a", "comes", gate(third, 30_000), |_| {});
    world.add("b", "never", gate("echo down", 20), |_| {});
    let ran = run(&world.seal()).await;
    assert_eq!(ran.word("comes"), "ok");
    assert_eq!(world.text("n"), "4\n", "twice in a row after two misses");
    assert_eq!(ran.failure("never").message, r#"the gate didn't hold within 0.02 s: it is "down", not "up""#);
}

#[tokio::test]
async fn an_unreachable_host_is_told_for_each_of_its_tasks() {
    let mut world = World::new();
    let first = world.add("gone", "first", act("true"), |_| {});
    world.add("gone", "second", act("true"), |_| {});
    let after = world.add("a", "after", act("true"), |_| {});
    world.draft.edge(first, after, EdgeKind::Order, Place::file("test.rhai"));
    world.ensure("b", "other", "x");
    let ran = run(&world.seal()).await;
    let words: Vec<String> = ["first", "second", "after", "other"].map(|name| ran.word(name)).into();
    assert_eq!(words, ["unreachable", "unreachable", "skipped", "changed"]);
}

#[tokio::test]
async fn gates_do_not_keep_others_from_their_host() {
    let mut world = World::new();
    world.draft.open_parallel();
    for number in 0..6 {
        let gate = Gate {
            probe: probe(r#"cat "$home/opened" 2>/dev/null || echo no"#),
            want: Param::Value(json!("yes")),
            times: 1,
            every: Duration::from_millis(5),
            within: Duration::from_mins(1),
        };
        world.add("a", &format!("gate {number}"), Action::Gate(gate), |_| {});
        world.draft.end_branch();
    }
    world.add("a", "open", act(r#"echo yes > "$home/opened""#), |_| {});
    world.draft.end_branch();
    world.draft.close_parallel();
    let ran = run(&world.seal()).await;
    assert_eq!((ran.counts.ok, ran.counts.changed), (6, 1), "{}", ran.everything());
}

#[tokio::test]
async fn what_was_seen_before_a_change_is_seen_again() {
    let mut world = World::new();
    world.ensure("b", "one", "b's");
    let change = world.ensure("a", "shared", "new");
    world.ensure("b", "two", "b's");
    // Already so once `change` is through, and by nothing else.
    let after =
        world.add("b", "shared", ensure(r#"cat "$home/shared" 2>/dev/null || :"#, json!("new"), "exit 9"), |_| {});
    world.draft.edge(change, after, EdgeKind::Order, Place::file("test.rhai"));
    let ran = run(&world.seal()).await;
    assert_eq!((ran.word("shared"), ran.counts.changed), ("changed".into(), 3), "{}", ran.everything());
    assert_eq!(ran.counts.failed, 0);
}

#[tokio::test]
async fn fail_fast_starts_nothing_new() {
    let fail_fast = async |world: &mut World| {
        let change = |settings: &mut haflow_engine::Settings| (settings.fail_fast, settings.parallel) = (true, 1);
        run_with(&world.seal(), local(), change, Interrupt::default()).await
    };
    let mut world = World::new();
    world.add("a", "broken", act("exit 1"), |_| {});
    world.add("b", "independent", act("true"), |_| {});
    let ran = fail_fast(&mut world).await;
    assert_eq!((ran.word("broken"), ran.word("independent")), ("failed".into(), "cancelled".into()));
    // It did what it should on its host, and others can't use what it printed.
    let mut world = World::new();
    let torn = world.add("a", "torn", act("printf 'a\\0b'"), |_| {});
    world.add("b", "independent", act("true"), |_| {});
    world.add("a", "user", act("true"), |task| {
        task.params.insert("said".into(), Param::Output(OutputRef { task: torn, secret: false }));
    });
    let ran = fail_fast(&mut world).await;
    assert_eq!((ran.word("torn"), ran.word("independent")), ("failed".into(), "cancelled".into()));
}

#[tokio::test]
async fn files_are_written_whole_with_their_attributes() {
    let mut world = World::new();
    let content = format!("it's $(touch x) `y` \\ \"ü\"\n{}", "line\n".repeat(200_000));
    let file = |path: PathBuf, state: FileState, mode: Option<u32>| {
        Action::File(File {
            path: path.to_str().unwrap().into(),
            state,
            mode,
            owner: None,
            group: None,
            follow: false,
            secret: false,
            validate: None,
        })
    };
    let text = |text: &str| FileState::Content(Content::Is(Param::Value(text.into())));
    let folder = world.path("folder/deep");
    world.add("a", "folder", file(folder.clone(), FileState::Folder, Some(0o750)), |_| {});
    world.add("a", "big", file(folder.join("big"), text(&content), Some(0o600)), |_| {});
    world.add("a", "link", file(folder.join("link"), FileState::Link("big".into()), None), |_| {});
    let edit = r#"(. // "") | if contains("added") then . else . + "added\n" end"#;
    world.add(
        "a",
        "edit",
        file(folder.join("edited"), FileState::Content(Content::Edit(Edit::Filter(edit.into()))), None),
        |_| {},
    );
    let graph = world.seal();
    let first = run(&graph).await;
    assert_eq!(first.counts.changed, 4, "{}", first.everything());
    assert_eq!(std::fs::read_to_string(folder.join("link")).unwrap(), content);
    assert_eq!(std::fs::read_to_string(folder.join("edited")).unwrap(), "added\n");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "nothing else is left: {names:?}");
    assert_eq!(run(&graph).await.counts.ok, 4);
    std::fs::write(folder.join("edited"), "hand made\n").unwrap();
    let planned = decisions(&graph).await;
    let shown = serde_json::to_string(&planned["edit"]).unwrap();
    assert!(shown.contains("+added"), "{shown}");
    let third = run(&graph).await;
    assert_eq!(
        (third.counts.changed, std::fs::read_to_string(folder.join("edited")).unwrap().as_str()),
        (1, "hand made\nadded\n")
    );
}

#[tokio::test]
async fn what_is_in_the_way_is_refused_and_kept() {
    let mut world = World::new();
    std::fs::create_dir(world.path("thing")).unwrap();
    let file = File {
        path: world.path("thing").to_str().unwrap().into(),
        state: FileState::Content(Content::Is(Param::Value("x".into()))),
        mode: None,
        owner: None,
        group: None,
        follow: false,
        secret: false,
        validate: None,
    };
    world.add("a", "thing", Action::File(file), |_| {});
    let ran = run(&world.seal()).await;
    assert!(ran.failure("thing").message.starts_with("there is a folder at"));
    assert!(world.path("thing").is_dir());
}

#[tokio::test]
async fn a_plan_says_unknown_only_where_something_before_would_change() {
    let mut world = World::new();
    world.ensure("a", "installed", "yes");
    let tool = r#"[ -e "$home/installed" ] || exit 127; echo up"#;
    world.add("a", "needs it", ensure(tool, json!("up"), "true"), |_| {});
    let graph = world.seal();
    assert!(
        matches!(&decisions(&graph).await["needs it"], Decision::Unknown { because, .. } if because == "a/test:installed")
    );
    run(&graph).await;
    assert_eq!(decisions(&graph).await["needs it"], Decision::UpToDate);
}

#[tokio::test]
async fn a_plan_skips_what_depends_on_what_would_fail() {
    let mut world = World::new();
    world.add("a", "refused", ensure("exit 3", json!("up"), "true"), |_| {});
    world.ensure("a", "later", "x");
    world.ensure("b", "other", "x");
    let planned = decisions(&world.seal()).await;
    assert!(matches!(&planned["refused"], Decision::Failed { .. }));
    assert!(matches!(&planned["later"], Decision::Skipped { why } if why.contains("a/test:refused")));
    assert!(matches!(&planned["other"], Decision::Change { .. }));
}

#[tokio::test]
async fn a_lane_that_never_answers_says_so() {
    let (near, far) = tokio::io::duplex(64);
    drop(far);
    let (read, write) = tokio::io::split(near);
    let opened = Lane::open(write, read, tokio::io::empty(), ()).await;
    assert!(matches!(opened.err(), Some(LaneError::Lost(_))));
}

#[tokio::test]
async fn a_runs_time_counts_what_it_took_to_connect() {
    let graph = World::new().seal();
    let connecting = Duration::from_millis(3_600);
    let ran = run_with(&graph, local(), |settings| settings.connecting = connecting, Interrupt::default()).await;
    assert!(matches!(ran.events[0].event, Event::RunStarted { connecting_ms: 3_600, .. }));
    assert!(matches!(ran.events.last().unwrap().event, Event::RunFinished { took_ms: 3_600.., .. }));
}
