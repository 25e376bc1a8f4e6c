//! Text in, text out, from a playbook and facts over the graph to the plan.
//!
//! Each folder of `tests/plans` has a `playbook.rhai` and an `inventory.json`, and there may be `facts.json`
//! (answers by query and host; what isn't there is assumed to be as on a Debian 12). `hosts/NAME` is the home
//! of a host: its scripts run here, in a shell whose `$HOME` that is, and the host's var `home` names it too.
//! A host without a home can't be reached. `expected.txt` is what comes of it; `UPDATE_GOLDEN=1` rewrites it.

use haflow_engine::lane::Lane;
use haflow_engine::{Events, Hosts, Interrupt, OpenLane, Stage, Unreachable, plan};
use haflow_model::{EdgeKind, Graph, Host, Inventory, Node, NodeId};
use haflow_script::{FactQuery, RecordedFacts, Request, assumed_facts, declare};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::Command;

#[tokio::test]
async fn every_case_is_planned_as_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plans").canonicalize().unwrap();
    let mut folders: Vec<PathBuf> = fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = String::new();
    for folder in folders {
        let world = tempfile::tempdir().unwrap();
        let homes = world.path().canonicalize().unwrap();
        copy(&folder.join("hosts"), &homes);
        let before = listing(&homes);
        let outcome = outcome(&folder, &homes).await;
        let again = self::outcome(&folder, &homes).await;
        let case = folder.file_name().unwrap().to_string_lossy();
        assert_eq!(outcome, again, "{case} is planned differently the second time");
        assert_eq!(before, listing(&homes), "{case}: a plan has changed something");
        let expected = folder.join("expected.txt");
        if update {
            fs::write(&expected, &outcome).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != outcome {
            write!(wrong, "\n=== {case}\n{outcome}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "not as expected; UPDATE_GOLDEN=1 rewrites it. It is now:{wrong}");
}

async fn outcome(folder: &Path, homes: &Path) -> String {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let mut inventory: Inventory = serde_json::from_str(&read("inventory.json").expect("an inventory")).unwrap();
    for host in &mut inventory.hosts {
        let home = homes.join(host.name.as_str());
        host.vars.insert("home".into(), home.to_str().unwrap().into());
    }
    let recorded: RecordedFacts =
        read("facts.json").map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
    let mut asked = String::new();
    let declared = declare(Request {
        playbook: &folder.join("playbook.rhai"),
        inventory: Some(&inventory),
        params: &BTreeMap::new(),
        facts: &mut |query: &FactQuery, hosts| {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            writeln!(asked, "asked for {} of {}", query.name(), names.join(" ")).unwrap();
            let mut answers = assumed_facts(query, hosts)?;
            for (host, answer) in recorded.get(query.name()).into_iter().flatten() {
                if let Some(known) = answers.values.get_mut(host) {
                    *known = answer.clone();
                }
            }
            Ok(answers)
        },
        now: jiff::Timestamp::UNIX_EPOCH,
        interrupt: None,
    })
    .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let hosts = Hosts::with_lanes(&inventory.hosts, lanes(homes.to_owned()));
    let (events, mut records) = Events::channel();
    let stop = Interrupt::default().stop;
    let planned = async {
        let planned =
            plan(&declared.graph, &hosts, &events, "playbook.rhai", &haflow_model::Secrets::default(), &stop).await;
        drop(events);
        planned
    };
    let (planned, ()) = tokio::join!(planned, async { while records.recv().await.is_some() {} });
    let mut text = asked;
    drawn(&mut text, &declared.graph);
    for planned in &planned.decisions {
        let mut decision = serde_json::to_value(&planned.decision).unwrap();
        let word = decision.as_object_mut().unwrap().remove("decision").unwrap();
        write!(text, "\n{} {}", planned.task.0, word.as_str().unwrap()).unwrap();
        if let Some(assumed) = &planned.assumed {
            write!(text, ", assumed because of {}: {}", assumed.because, assumed.why).unwrap();
        }
        for (name, value) in decision.as_object().unwrap() {
            write!(text, "\n     {name}: {value}").unwrap();
        }
    }
    writeln!(text, "\n\n{}", serde_json::to_string(&planned.counts()).unwrap()).unwrap();
    text.replace(homes.to_str().unwrap(), "‹homes›")
}

/// The graph, a line for each node.
fn drawn(text: &mut String, graph: &Graph) {
    for id in (0..graph.len()).map(NodeId::from_index) {
        let (name, place) = match graph.node(id) {
            Node::Task(task) => (task.id(), &task.place),
            Node::Barrier(barrier) => (format!("══ {}", barrier.name), &barrier.place),
        };
        write!(text, "{}  {name}  line {}", id.0, place.line).unwrap();
        for edge in graph.before(id) {
            let kind = match edge.kind {
                EdgeKind::Host => "",
                EdgeKind::Order => " (order)",
                EdgeKind::Data => " (output)",
                EdgeKind::Trigger => " (trigger)",
            };
            write!(text, "  ← {}{kind}", edge.from.0).unwrap();
        }
        text.push('\n');
    }
}

/// A local `sh` for every lane, at home where its host is.
fn lanes(homes: PathBuf) -> OpenLane {
    Arc::new(move |host: Host, _user| {
        let home = homes.join(host.name.as_str());
        Box::pin(async move {
            if !home.exists() {
                let message = format!("{} can't be reached", host.name);
                return Err(Unreachable { stage: Stage::Network, message, hint: None });
            }
            let mut child = Command::new("sh")
                .env("HOME", home)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("sh starts");
            let streams = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
            Ok(Lane::open(streams.0, streams.1, streams.2, child).await.expect("sh answers"))
        })
    })
}

/// Copies a folder; the modes are always the same, whatever those of a checkout are.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

/// All that there is in a folder, with when it changed.
fn listing(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        all.push(format!("{} {:?} {:?}", entry.path().display(), metadata.permissions(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}
