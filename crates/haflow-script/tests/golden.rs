//! Text in, text out: each folder of `tests/cases` has a playbook and what comes of it.
//!
//! Beside `playbook.rhai` there may be `inventory.json`, `params` (one NAME=VALUE a line), `facts.json`
//! (answers by query and host; what isn't there is assumed, and `{"unreached": WHY}` and `{"failed": WHY}`
//! are none) and further files that the playbook reads. `UPDATE_GOLDEN=1` rewrites what is expected.

mod listing;

use haflow_model::Inventory;
use haflow_script::{FactFailure, FactQuery, FactsRead, RecordedFacts, Request, assumed_facts, declare};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// When keys must hold.
const NOW: &str = "2026-01-01T00:00:00Z";

#[test]
fn every_case_declares_what_is_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = String::new();
    for folder in folders {
        let case = folder.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = outcome(&folder);
        if !case.starts_with("bad") {
            assert_eq!(outcome, self::outcome(&folder), "{case} is declared differently the second time");
        }
        let expected = folder.join("expected.txt");
        if update {
            std::fs::write(&expected, &outcome).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != outcome {
            write!(wrong, "\n=== {case}\n{outcome}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE_GOLDEN=1 rewrites):\n{wrong}");
}

fn outcome(folder: &Path) -> String {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let inventory: Option<Inventory> = read("inventory.json").map(|text| serde_json::from_str(&text).unwrap());
    let recorded: RecordedFacts =
        read("facts.json").map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default();
    let params: BTreeMap<String, String> = read("params")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut asked = Vec::new();
    let result = declare(Request {
        playbook: &folder.join("playbook.rhai"),
        inventory: inventory.as_ref(),
        params: &params,
        facts: &mut |query: &FactQuery, hosts| {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            asked.push(format!("{} of {}", query.name(), names.join(" ")));
            let Some(recorded) = recorded.get(query.name()) else { return assumed_facts(query, hosts) };
            let (mut read, mut failed) = (FactsRead::default(), Vec::new());
            for (host, value) in recorded.iter().filter(|(name, _)| hosts.iter().any(|host| host.name == **name)) {
                let failure = |why: &str| FactFailure { host: host.clone(), why: why.to_owned(), hint: None };
                if let Some(why) = value["unreached"].as_str() {
                    read.unreached.push(failure(why));
                } else if let Some(why) = value["failed"].as_str() {
                    failed.push(failure(why));
                } else {
                    read.values.insert(host.clone(), value.clone());
                }
            }
            if failed.is_empty() { Ok(read) } else { Err(failed) }
        },
        now: NOW.parse().unwrap(),
        interrupt: None,
    });
    let text = match &result {
        Ok(declared) => listing::declared(declared),
        Err(error) => listing::error(error),
    };
    let asked: String = asked.iter().fold(String::new(), |text, asked| format!("{text}asked for {asked}\n"));
    format!("{text}{asked}").replace(&format!("{}/", folder.display()), "")
}
