//! What is told of tasks of a run: journals in, text out, at 80 columns and without colour:
//! `cases/why-NAME.txt`.

use super::{of_run, run_as_json};
use crate::journal::{History, Linked, Stops};
use crate::report::{Options, golden};
use haflow_model::Record;
use serde_json::{Value, json};
use std::path::Path;

const PLAYBOOK: &str = "\
for node in group(\"web\") {
    file(node, \"/etc/app.conf\", #{ content: \"workers = 4\\n\" });
}
barrier(hosts(), \"configured\");
act(web1, #{ name: \"migrate\", apply: \"migrate\", retries: 1 });
wait_until(web1, \"the app answers\", \"curl -s localhost\", \"up\");
file(web1, \"/etc/motd\", #{ content: \"ready\\n\" });
";

/// As a run keeps it beside its journal.
fn nodes() -> Vec<Linked> {
    let nodes = json!([
        { "name": "web1/file:/etc/app.conf", "place": place(2, 5) },
        { "name": "web2/file:/etc/app.conf", "place": place(2, 5) },
        { "name": "configured", "barrier": true, "place": place(4, 1),
          "after": [{ "node": 0, "kind": "host" }, { "node": 1, "kind": "host" }] },
        { "name": "web1/act:migrate", "place": place(5, 1),
          "after": [{ "node": 2, "kind": "host" }, { "node": 0, "kind": "trigger" }] },
        { "name": "web1/gate:the app answers", "place": place(6, 1), "after": [{ "node": 3, "kind": "host" }] },
        { "name": "web1/file:/etc/motd", "place": place(7, 1), "after": [{ "node": 4, "kind": "host" }] },
    ]);
    serde_json::from_value(nodes).expect("nodes")
}

fn place(line: u32, column: u32) -> Value {
    json!({ "file": "app.rhai", "line": line, "column": column })
}

/// A journal: each event's time in milliseconds, what it is, the number of the task that it is about, and the
/// rest.
fn journal(events: &[(u64, &str, Option<usize>, Value)]) -> Vec<Record> {
    let nodes = nodes();
    let record = |(at, event, task, rest): &(u64, &str, Option<usize>, Value)| {
        let mut record = json!({ "at": 1_700_000_000_000 + at, "event": event });
        let map = record.as_object_mut().expect("a map");
        if let Some(task) = task {
            let node = &nodes[*task];
            let (host, rest) = node.name.split_once('/').expect("an id");
            let (kind, name) = rest.split_once(':').expect("an id");
            map.extend(
                json!({ "task": node.name, "host": host, "kind": kind, "name": name, "place": node.place })
                    .as_object()
                    .expect("a map")
                    .clone(),
            );
        }
        map.extend(rest.as_object().expect("a map").clone());
        serde_json::from_value(record).expect("an event")
    };
    events.iter().map(record).collect()
}

fn begun() -> (u64, &'static str, Option<usize>, Value) {
    (0, "run_started", None, json!({ "run": "r", "playbook": "app.rhai", "hosts": ["web1", "web2"], "tasks": 5 }))
}

fn configured() -> Vec<(u64, &'static str, Option<usize>, Value)> {
    let diff = json!([{ "field": { "field": "state", "was": "absent", "want": "file" } }]);
    vec![
        begun(),
        (0, "task_started", Some(0), json!({})),
        (0, "task_started", Some(1), json!({})),
        (40, "apply_started", Some(0), json!({ "attempt": 1, "diff": diff })),
        (60, "apply_started", Some(1), json!({ "attempt": 1 })),
        (80, "task_finished", Some(0), json!({ "outcome": "changed", "diff": diff, "took_ms": 80 })),
        (1300, "task_finished", Some(1), json!({ "outcome": "changed", "diff": diff, "took_ms": 1300 })),
        (1301, "task_started", Some(3), json!({})),
        (1302, "apply_started", Some(3), json!({ "attempt": 1 })),
    ]
}

fn compare(case: &str, events: &[(u64, &str, Option<usize>, Value)], alive: bool, task: usize) {
    let (nodes, records) = (nodes(), journal(events));
    // Some runs begin nothing where something is known to fail.
    let all_or_nothing = events.iter().any(|(_, event, ..)| *event == "task_would_fail");
    let stops = Stops { all_or_nothing, ..Stops::default() };
    let history = History::new("20261122-213440-1fd1", &nodes, &records, alive, stops);
    let options = Options { verbose: false, color: false, width: 80 };
    let told = of_run(&history, &nodes[task], [("app.rhai".into(), PLAYBOOK.into())].into(), options);
    let file = format!("{}/src/report/cases/why-{case}.txt", env!("CARGO_MANIFEST_DIR"));
    golden::compare(Path::new(&file), &told);
}

#[test]
fn what_changed() {
    compare("changed", &configured(), true, 0);
}

#[test]
fn nothing_began_for_what_was_foreseen() {
    let failure = json!({ "message": "there is no user app" });
    let events = [
        begun(),
        (20, "task_would_fail", Some(1), json!({ "failure": failure })),
        (30, "task_finished", Some(1), json!({ "outcome": "failed", "failure": failure, "took_ms": 0 })),
        (30, "task_finished", Some(0), json!({ "outcome": "cancelled", "took_ms": 0 })),
    ];
    compare("nothing-began", &events, false, 0);
}

#[test]
fn every_attempt_and_what_was_skipped_because_of_it() {
    let mut events = configured();
    let failure = json!({ "message": "the apply exited 3", "exit": 3, "stderr": "no such database" });
    let skipped = json!({ "outcome": "skipped", "why": "it depends on `web1/act:migrate`", "because": "web1/act:migrate", "took_ms": 0 });
    events.extend([
        (
            2300,
            "task_retried",
            Some(3),
            json!({ "attempt": 1, "of": 2, "pause_ms": 1000, "why": "the apply exited 3 (no such database)" }),
        ),
        (3300, "apply_started", Some(3), json!({ "attempt": 2 })),
        (9000, "task_finished", Some(3), json!({ "outcome": "failed", "failure": failure, "took_ms": 7699 })),
        (9000, "task_finished", Some(4), skipped.clone()),
        (9000, "task_finished", Some(5), skipped),
        (9001, "run_finished", None, json!({ "run": "r", "ok": 0, "changed": 2, "failed": 1, "skipped": 2, "unreachable": 0, "cancelled": 0, "in_doubt": 0, "took_ms": 9001 })),
    ]);
    compare("failed", &events, false, 3);
    compare("skipped", &events, false, 5);
}

#[test]
fn a_run_that_is_under_way_and_one_that_died() {
    let events = configured();
    compare("under-way", &events, true, 3);
    compare("waiting", &events, true, 5);
    compare("died", &events, false, 3);
    compare("died-before", &events, false, 4);
}

#[test]
fn a_run_that_was_interrupted_and_resumed() {
    let mut events = configured();
    events.extend([
        (2000, "interrupted", None, json!({})),
        (
            4000,
            "task_finished",
            Some(3),
            json!({ "outcome": "changed", "diff": [], "output": "12 tables", "took_ms": 2699 }),
        ),
        (4000, "task_finished", Some(4), json!({ "outcome": "cancelled", "took_ms": 0 })),
    ]);
    compare("interrupted", &events, false, 4);
    let down = json!({ "held": 0, "times": 2, "seen": "it is \"down\", not \"up\"" });
    events.extend([
        (
            60_000,
            "run_resumed",
            None,
            json!({ "run": "r", "playbook": "app.rhai", "hosts": [], "tasks": 5, "before": {} }),
        ),
        (60_000, "task_started", Some(4), json!({})),
        (60_100, "gate_checked", Some(4), down.clone()),
        (65_100, "gate_checked", Some(4), down.clone()),
        (70_100, "gate_checked", Some(4), down),
        (75_100, "gate_checked", Some(4), json!({ "held": 1, "times": 2, "seen": null })),
        (80_100, "gate_checked", Some(4), json!({ "held": 2, "times": 2, "seen": null })),
        (80_100, "task_finished", Some(4), json!({ "outcome": "ok", "took_ms": 20_100 })),
    ]);
    compare("resumed", &events, true, 4);
    compare("output", &events, true, 3);
}

#[test]
fn a_host_that_couldnt_be_reached() {
    let why = "web2 refused the connection to port 22";
    let events = [
        begun(),
        (
            10,
            "host_unreachable",
            None,
            json!({ "host": "web2", "why": why, "hint": "is sshd running there, and on this port?" }),
        ),
        (10, "task_finished", Some(1), json!({ "outcome": "unreachable", "why": why, "took_ms": 10 })),
    ];
    compare("unreachable", &events, false, 1);
}

#[test]
fn the_same_for_programs() {
    let (nodes, records) = (nodes(), journal(&configured()));
    let history = History::new("r", &nodes, &records, true, Stops::default());
    let told = run_as_json(&history, &nodes[5]);
    assert_eq!((&told["state"], &told["events"]), (&json!("not_begun"), &json!([])));
    let because: Vec<&Value> = told["because"].as_array().expect("a list").iter().map(|link| &link["task"]).collect();
    assert_eq!(because, ["web1/gate:the app answers", "web1/act:migrate"]);
    assert_eq!(told["because"][1]["state"], "under_way");
    let told = run_as_json(&history, &nodes[3]);
    assert_eq!(told["last"], "web2/file:/etc/app.conf");
    assert_eq!(told["waited_for"][0], json!({ "barrier": "configured", "edge": "host" }));
    assert_eq!(told["events"][1]["event"], "apply_started");
}
