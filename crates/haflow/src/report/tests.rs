//! Whole runs: records in, text out, at 80 columns and without colour.
//!
//! `cases/NAME.plain.txt` is what a file gets, `cases/NAME.human.txt` what a terminal shows above its bar.

mod foreseen;
mod next;

use super::{Advice, Options, Reporter, Sink, golden, story};
use haflow_model::{
    Assumed, Change, Decision, Diff, Event, Failure, HostName, Outcome, Place, PlanCounts, Record, RunCounts, Sources,
    TaskRef,
};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const START: u64 = 1_700_000_000_000;
const PLAYBOOK: &str = "\
let brokers = group(\"rabbit\");
for node in brokers {
    rabbitmq::install(node);
    service(node, \"rabbitmq-server\", #{ enabled: true, running: true });
}
gate(brokers[0], #{ kind: \"cluster\", name: \"is whole\" });
";

/// A run that is told event by event.
struct Tale {
    now: u64,
    records: Vec<Record>,
    counts: RunCounts,
    planned: PlanCounts,
    critical_path: Vec<String>,
}

impl Tale {
    fn new(hosts: &[&str], tasks: usize) -> Self {
        let hosts = hosts.iter().map(|host| HostName::from(*host)).collect();
        let mut tale = Self {
            now: START,
            records: vec![],
            counts: RunCounts::default(),
            planned: PlanCounts::default(),
            critical_path: vec![],
        };
        tale.then(
            0,
            Event::RunStarted {
                run: "01HF".into(),
                playbook: "playbooks/rabbit-ha.rhai".into(),
                hosts,
                tasks,
                connecting_ms: 0,
            },
        );
        tale
    }

    fn plan(hosts: &[&str], tasks: usize) -> Self {
        let mut tale = Self::new(hosts, tasks);
        let hosts = hosts.iter().map(|host| HostName::from(*host)).collect();
        tale.records[0].event = Event::PlanStarted { playbook: "playbooks/rabbit-ha.rhai".into(), hosts, tasks };
        tale
    }

    fn then(&mut self, after_ms: u64, event: Event) -> &mut Self {
        self.now += after_ms;
        self.records.push(Record { at: self.now, event });
        self
    }

    fn connected(&mut self, host: &str) -> &mut Self {
        self.then(10, Event::HostConnected { host: host.into(), took_ms: 280 })
    }

    fn started(&mut self, task: &TaskRef) -> &mut Self {
        self.then(0, Event::TaskStarted { task: task.clone() })
    }

    fn finished(&mut self, task: &TaskRef, took_ms: u64, outcome: Outcome) -> &mut Self {
        self.counts.add(&outcome);
        self.then(took_ms, Event::TaskFinished { task: task.clone(), outcome, output: None, took_ms })
    }

    fn planned(&mut self, task: &TaskRef, decision: Decision) -> &mut Self {
        self.planned_after(task, decision, None)
    }

    fn planned_after(&mut self, task: &TaskRef, decision: Decision, assumed: Option<&str>) -> &mut Self {
        self.planned.add(&decision);
        self.then(
            20,
            Event::TaskPlanned {
                task: task.clone(),
                decision,
                assumed: assumed.map(|because| Assumed::new(because, "it may touch anything, and comes first")),
            },
        )
    }

    fn end(&mut self) -> &mut Self {
        let event = match self.records[0].event {
            Event::PlanStarted { .. } => Event::PlanFinished {
                counts: self.planned,
                critical_path: self.critical_path.clone(),
                took_ms: self.now - START,
            },
            _ => Event::RunFinished { run: "01HF".into(), counts: self.counts, took_ms: self.now - START },
        };
        self.then(0, event)
    }

    /// Compares both ways of telling with the case's files.
    fn compare(&self, case: &str, verbose: bool) {
        for (way, timed) in [("plain", true), ("human", false)] {
            let text = self.tell(timed, Options { verbose, color: false, width: 80 });
            golden::compare(&file(&format!("{case}.{way}")), &text);
        }
    }

    fn tell(&self, timed: bool, options: Options) -> String {
        let run = "haflow run site.rhai".into();
        self.advised(timed, options, Advice { anew: run, ..Advice::default() })
    }

    fn advised(&self, timed: bool, options: Options, advice: Advice) -> String {
        let out = Out::default();
        let mut reporter = Reporter::to(Sink::Lines(Box::new(out.clone())), sources(), options).advising(Some(advice));
        reporter.story.timed = timed;
        for record in &self.records {
            if timed {
                reporter.tick_at(record.at);
            }
            reporter.event(record);
        }
        reporter.finish();
        out.text()
    }
}

fn file(case: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/cases")).join(format!("{case}.txt"))
}

/// What a reporter wrote.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn sources() -> Sources {
    [("playbooks/rabbit-ha.rhai".into(), PLAYBOOK.into())].into()
}

fn task(host: &str, kind: &str, name: &str, line: u32, column: u32) -> TaskRef {
    let id = format!("{host}/{kind}:{name}");
    let place = Place::new("playbooks/rabbit-ha.rhai", line, column);
    TaskRef { id, host: host.into(), kind: kind.into(), name: name.into(), place }
}

fn package(host: &str) -> TaskRef {
    task(host, "package", "rabbitmq-server", 3, 15)
}

fn service(host: &str) -> TaskRef {
    task(host, "service", "rabbitmq-server", 4, 5)
}

fn changed(changes: Vec<Change>) -> Outcome {
    Outcome::Changed { diff: Diff(changes) }
}

fn field(field: &str, was: Option<serde_json::Value>, want: Option<serde_json::Value>) -> Change {
    Change::Field { field: field.into(), was, want }
}

fn all_changes() -> Vec<Change> {
    let lines = "+queue\n".repeat(30);
    vec![
        field("mode", Some(json!("0644")), Some(json!("0400"))),
        field("owner", None, Some(json!("rabbitmq"))),
        field("enabled", Some(json!(false)), Some(json!(true))),
        field("", Some(json!("stopped")), Some(json!("running"))),
        field("note", Some(json!("")), Some(json!("two\nlines"))),
        field(
            "definition",
            Some(json!({"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "manual"})),
            Some(json!({"ha-mode": "all", "ha-sync-mode": "automatic"})),
        ),
        Change::Text {
            unified: format!("@@ -1,3 +1,33 @@\n # managed\n-listeners = 5672\n+listeners = 5671\n{lines}"),
        },
        Change::Opaque { was: Some((120, "1f3a".into())), want: (1_234_567, "9bc0".into()) },
        Change::Opaque { was: None, want: (4096, "00aa".into()) },
        Change::Secret { field: "content".into() },
    ]
}

fn failure() -> Failure {
    Failure {
        message: "the apply ended with exit code 100".into(),
        exit: Some(100),
        stdout: "Reading package lists...\nBuilding dependency tree...\n".into(),
        stderr: "\x1b[31mE: Unable to locate package rabbitmq-server\x1b[0m\x1b[2J\n".into(),
        hint: Some("the host's package lists may be old: declare `apt_update` before it".into()),
        ..Failure::default()
    }
}

#[test]
fn all_ok() {
    let mut tale = Tale::new(&["rabbit1", "rabbit2"], 4);
    tale.connected("rabbit1").connected("rabbit2");
    for host in ["rabbit1", "rabbit2"] {
        tale.finished(&package(host), 120, Outcome::Ok).finished(&service(host), 45, Outcome::Ok);
    }
    tale.end().compare("all-ok", false);
    tale.compare("all-ok-verbose", true);
}

#[test]
fn changed_with_diffs() {
    let mut tale = Tale::new(&["rabbit1"], 2);
    tale.connected("rabbit1").finished(&package("rabbit1"), 61_300, changed(all_changes()));
    tale.finished(&task("rabbit1", "act", "reset", 3, 5), 900, changed(vec![])).end();
    tale.compare("changed", false);
    tale.compare("changed-verbose", true);
}

#[test]
fn failed_and_skipped() {
    let mut tale = Tale::new(&["rabbit1", "rabbit2"], 4);
    tale.connected("rabbit1").connected("rabbit2").finished(&package("rabbit1"), 300, changed(vec![]));
    let failed = Outcome::Failed { failure: Box::new(failure()) };
    tale.finished(&package("rabbit2"), 2_140, failed);
    let because = Some(package("rabbit2").id);
    tale.finished(&service("rabbit2"), 0, Outcome::Skipped { why: "it depends on what failed".into(), because });
    let why = "not wanted: `cluster_status` isn't empty".into();
    tale.finished(&service("rabbit1"), 10, Outcome::Skipped { why, because: None }).end();
    tale.compare("failed", false);
}

#[test]
fn a_failure_without_source_or_output() {
    let mut tale = Tale::new(&["rabbit1"], 1);
    let mut task = package("rabbit1");
    task.place = Place::new("stdlib/gone.rhai", 7, 1);
    let failure = Failure { message: "applied, but `mode` is still 0644".into(), ..Failure::default() };
    tale.finished(&task, 300, Outcome::Failed { failure: Box::new(failure) }).end().compare("failed-bare", false);
}

#[test]
fn unreachable() {
    let mut tale = Tale::new(&["rabbit1", "rabbit2", "rabbit3"], 6);
    let why = "no route to rabbit2 (10.0.0.12 port 22)".to_owned();
    tale.connected("rabbit1");
    let hint = Some("is it up? try: ssh rabbit2 true".to_owned());
    tale.then(3000, Event::HostUnreachable { host: "rabbit2".into(), why: why.clone(), hint });
    for host in ["rabbit1", "rabbit2", "rabbit3"] {
        let outcome = match host {
            "rabbit1" => Outcome::Ok,
            "rabbit2" => Outcome::Unreachable { why: why.clone() },
            _ => Outcome::Unreachable { why: "the connection was lost".into() },
        };
        tale.finished(&package(host), 20, outcome.clone()).finished(&service(host), 20, outcome);
    }
    tale.end().compare("unreachable", false);
}

#[test]
fn retried() {
    let mut tale = Tale::new(&["rabbit1"], 1);
    let task = package("rabbit1");
    tale.connected("rabbit1").started(&task);
    for attempt in 1..=2 {
        tale.then(1500, Event::ApplyStarted { task: task.clone(), attempt, step: None, diff: Diff::default() });
        let why = "the apply ended with exit code 100\nE: Could not get lock".into();
        let pause_ms = 1000 << attempt;
        tale.then(800, Event::TaskRetried { task: task.clone(), attempt, of: 3, pause_ms, why });
    }
    tale.finished(&task, 4000, changed(vec![])).end().compare("retried", false);
}

#[test]
fn a_gate_that_takes_its_time() {
    let mut tale = Tale::new(&["rabbit1"], 1);
    let task = task("rabbit1", "cluster", "is whole", 6, 1);
    tale.connected("rabbit1").started(&task);
    for held in [0, 0, 1, 2, 3] {
        let seen = (held == 0).then(|| "{\"running\":2,\"alarms\":[]}".to_owned());
        tale.then(21_000, Event::GateChecked { task: task.clone(), held, times: 3, seen });
    }
    tale.counts.ok = 1;
    tale.then(0, Event::TaskFinished { task, outcome: Outcome::Ok, output: None, took_ms: 105_000 }).end();
    tale.compare("gate", false);
    tale.compare("gate-verbose", true);
}

#[test]
fn interrupted() {
    let mut tale = Tale::new(&["rabbit1", "rabbit2"], 4);
    tale.connected("rabbit1").finished(&package("rabbit1"), 900, Outcome::Ok);
    tale.then(0, Event::TaskStarted { task: service("rabbit1") })
        .then(0, Event::TaskStarted { task: package("rabbit2") });
    tale.then(40, Event::Interrupted);
    tale.finished(&service("rabbit1"), 400, changed(vec![])).finished(&service("rabbit2"), 0, Outcome::Cancelled);
    let why = "the connection was lost while its apply ran".into();
    tale.finished(&package("rabbit2"), 6_000, Outcome::InDoubt { why }).end().compare("interrupted", false);
}

#[test]
fn many_hosts_with_long_names() {
    let names: Vec<String> =
        (1..=50).map(|n| format!("rabbit-{n}.messaging.eu-central-1.internal.example.com")).collect();
    let hosts: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut tale = Tale::new(&hosts, 50);
    let name = "/etc/systemd/system/rabbitmq-server.service.d/10-limits-and-more-than-that.conf";
    for host in &hosts {
        tale.finished(&task(host, "file", name, 3, 1), 7, changed(vec![]));
    }
    tale.finished(&service(hosts[7]), 7, Outcome::Cancelled);
    tale.end().compare("many", false);
}

/// A plan in which there is one of everything.
fn eventful() -> Tale {
    let mut tale = Tale::plan(&["rabbit1", "rabbit2", "rabbit3", "rabbit4", "rabbit5"], 20);
    tale.connected("rabbit1");
    let hint = Some("is it up? try: ssh rabbit3 true".to_owned());
    let why = "no route to rabbit3";
    tale.then(2_000, Event::HostUnreachable { host: "rabbit3".into(), why: why.into(), hint });
    let cookie = task("rabbit1", "file", "/var/lib/rabbitmq/.erlang.cookie", 3, 15);
    let (first, second) = (package("rabbit1"), package("rabbit2"));
    tale.planned(&first, Decision::UpToDate);
    tale.planned(&second, Decision::Change { diff: Diff(all_changes()) });
    tale.planned(&package("rabbit3"), Decision::Unreachable { why: why.into() });
    let secret =
        Diff(vec![field("mode", Some(json!("0644")), Some(json!("0400"))), Change::Secret { field: "content".into() }]);
    tale.planned(&cookie, Decision::Change { diff: secret });
    let missing =
        "that comes first; before it, the probe exited 1 (cat: /var/lib/rabbitmq/.erlang.cookie: No such file)";
    let (because, why_unknown) = (second.id.clone(), missing.into());
    tale.planned(&service("rabbit2"), Decision::Unknown { because, why: why_unknown });
    // A reason that names the task says it all; one that doesn't needs a line more.
    let reason = format!("waits for what `{}` brings about", second.id);
    let gate = task("rabbit2", "rabbitmq_version", "below 4", 6, 1);
    tale.planned_after(&gate, Decision::Act { reason }, Some(&second.id));
    let reason = "always runs: a reset leaves nothing to look at".into();
    tale.planned_after(&task("rabbit2", "act", "reset", 3, 1), Decision::Act { reason }, Some(&cookie.id));
    let enabled = Diff(vec![field("enabled", Some(json!(false)), Some(json!(true)))]);
    let settings =
        task("rabbit2", "ini", "/etc/nova/nova.conf: [DEFAULT] debug, [oslo_messaging_rabbit] heartbeat", 3, 1);
    tale.planned_after(&settings, Decision::Change { diff: enabled }, Some(&second.id));
    let later = Change::Later { field: "content".into(), output_of: second.id.clone() };
    tale.planned(&task("rabbit2", "file", "/etc/motd", 3, 1), Decision::Change { diff: Diff(vec![later]) });
    tale.planned(&task("rabbit2", "line", "x", 3, 1), Decision::Skipped { why: "not wanted: it is Debian".into() });
    for name in ["a", "b"] {
        let why = format!("it depends on `{}`, which would fail", service("rabbit1").id);
        tale.planned(&task("rabbit2", "line", name, 3, 1), Decision::Skipped { why });
    }
    tale.planned_after(&task("rabbit2", "user", "nova", 3, 1), Decision::UpToDate, Some(&second.id));
    let failed = Decision::Failed { failure: Box::new(failure()) };
    tale.planned(&service("rabbit1"), failed).planned(&service("rabbit3"), Decision::Unreachable { why: why.into() });
    for host in ["rabbit4", "rabbit5"] {
        tale.planned(&package(host), Decision::UpToDate);
        tale.planned_after(&service(host), Decision::UpToDate, Some(&second.id));
    }
    let path = [&second, &gate, &settings, &cookie];
    tale.critical_path = path.map(|task| task.id.clone()).into();
    tale.end();
    tale
}

#[test]
fn a_plan() {
    let tale = eventful();
    tale.compare("plan", false);
    tale.compare("plan-verbose", true);
}

#[test]
fn a_plan_on_a_narrow_terminal() {
    let text = eventful().tell(false, Options { verbose: false, color: false, width: 46 });
    golden::compare(&file("plan-narrow.human"), &text);
}

#[test]
fn a_plan_with_a_long_way() {
    let mut tale = Tale::plan(&["rabbit1", "rabbit2"], 12);
    for number in 1..=6 {
        for host in ["rabbit1", "rabbit2"] {
            let one = task(host, "rabbitmq_member", &format!("number {number}"), 3, 1);
            let diff = Diff(vec![field("", Some(json!("stopped")), Some(json!("running")))]);
            tale.critical_path.push(one.id.clone());
            tale.planned(&one, Decision::Change { diff });
        }
    }
    tale.end();
    tale.compare("plan-long", false);
    tale.compare("plan-long-verbose", true);
}

#[test]
fn a_plan_without_changes() {
    let mut tale = Tale::plan(&["rabbit1", "rabbit2"], 3);
    tale.connected("rabbit1").connected("rabbit2");
    tale.planned(&package("rabbit1"), Decision::UpToDate).planned(&package("rabbit2"), Decision::UpToDate);
    let why = "nothing that triggers it would change".into();
    tale.planned(&task("rabbit2", "act", "reload", 3, 1), Decision::Skipped { why }).end();
    tale.compare("plan-fine", false);
    tale.compare("plan-fine-verbose", true);
}

#[test]
fn long_differences_are_cut_unless_all_is_asked_for() {
    let mut tale = Tale::plan(&["web1"], 1);
    let fields = (10..40).map(|number| field(&format!("users[{number}].name"), None, Some(json!("x")))).collect();
    let definitions = task("web1", "file", "/etc/rabbitmq/definitions.json", 3, 1);
    tale.planned(&definitions, Decision::Change { diff: Diff(fields) }).end();
    tale.compare("plan-many-fields", false);
}

#[test]
fn json_is_the_records_themselves() {
    let mut tale = Tale::new(&["rabbit1"], 1);
    tale.finished(&package("rabbit1"), 10, Outcome::Failed { failure: Box::new(failure()) }).end();
    let out = Out::default();
    let options = Options { verbose: false, color: true, width: 80 };
    let mut reporter = Reporter::to(Sink::Json(Box::new(out.clone())), sources(), options);
    for record in &tale.records {
        reporter.event(record);
        reporter.tick_at(record.at + 60_000);
    }
    let text = out.text();
    let back: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(back, tale.records);
    assert!(
        text.lines().last().unwrap().contains(r#""event":"run_finished","run":"01HF","ok":0,"changed":0,"failed":1"#)
    );
}

#[test]
fn colour_changes_no_word() {
    let mut tale = Tale::new(&["rabbit1"], 2);
    let failed = Outcome::Failed { failure: Box::new(failure()) };
    tale.finished(&package("rabbit1"), 10, changed(all_changes())).finished(&service("rabbit1"), 10, failed).end();
    let [plain, coloured] = [false, true].map(|color| tale.tell(true, Options { verbose: true, color, width: 80 }));
    assert!(coloured.contains('\x1b'));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn rows_fit_whatever_is_in_them() {
    let mut tale = Tale::new(&["rabbit1", "a-host.with.quite-a-long-name.example.com"], 20);
    for number in 0..9 {
        tale.started(&task("rabbit1", "package", &format!("number-{number}"), 3, 1));
    }
    let gate = task("a-host.with.quite-a-long-name.example.com", "cluster", &"is whole ".repeat(12), 6, 1);
    tale.started(&gate);
    let seen = Some("{\"running\":2}\n\x1b[2J".repeat(9));
    tale.then(0, Event::GateChecked { task: gate, held: 1, times: 3, seen });
    let retried = package("rabbit1");
    tale.then(0, Event::TaskRetried { task: retried, attempt: 1, of: 3, pause_ms: 8000, why: "lock".into() });
    let out = Out::default();
    let options = Options { verbose: false, color: false, width: 80 };
    let mut reporter = Reporter::to(Sink::Lines(Box::new(out)), sources(), options);
    tale.records.iter().for_each(|record| reporter.event(record));
    let rows = |width, most| story::rows(&reporter.state, START + 65_000, width, most);
    assert!(rows(40, 15).iter().all(|row| super::text::width(row) <= 40));
    let text = format!("{}\n\n{}\n", rows(79, 15).join("\n"), rows(79, 4).join("\n"));
    golden::compare(&file("rows"), &text);
}
