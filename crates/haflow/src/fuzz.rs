//! What the fuzz targets call: each takes any bytes, and must come back.

use crate::inventory;
use crate::journal::{History, Reader};
use crate::plan_file::Saved;
use crate::report::{self, Options};
use haflow_model::{Graph, Sources};
use std::path::Path;

/// An inventory in one of its forms, which the first byte chooses: it is read and resolved.
pub fn inventory(data: &[u8]) {
    let Some((form, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(inventory) = inventory::of_text(*form, text) {
        // What is kept of it with a run says the same.
        let kept = serde_json::to_string(&inventory).expect("an inventory is data");
        let again: haflow_model::Inventory = serde_json::from_str(&kept).expect("what was written reads");
        assert_eq!(inventory, again);
    }
}

/// What an inventory of Ansible's says to ssh: it is refused, or becomes options that leave alone what haflow
/// sets itself.
pub fn ssh_options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let vars = serde_json::json!({ "ansible_host": "h", "ansible_ssh_common_args": text });
    let written = serde_json::json!({ "all": { "hosts": { "a": vars } } }).to_string();
    let Ok(inventory) = inventory::of_text(b'j', &written) else { return };
    for host in &inventory.hosts {
        for option in &host.ssh_options {
            let (name, _) = option.split_once('=').expect("an option has a value");
            assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text:?}: {option:?}");
            let name = name.to_ascii_lowercase();
            let never = ["stricthostkeychecking", "host", "match", "include"];
            assert!(!never.iter().chain(&inventory::OWN).any(|own| **own == name), "{text:?}: {option:?}");
        }
        assert!(host.port != Some(0), "{text:?}");
    }
}

/// A journal: it is read, and told as `resume` and `why` take it.
pub fn journal(data: &[u8]) {
    let read = |data: &[u8]| {
        let mut reader = Reader::new(std::io::Cursor::new(data), Path::new("events.jsonl"));
        reader.rest(Some).map(|records| (records, reader.end))
    };
    let Ok((records, end)) = read(data) else { return };
    assert!(end <= data.len() as u64);
    // What is kept of it is a journal that reads the same: so much of it stays when a run goes on.
    let whole = &data[..usize::try_from(end).expect("it is a part")];
    assert_eq!(read(whole).expect("it was read before").0, records);
    haflow_engine::past(&haflow_model::courses(&records));
    for record in &records {
        let told = crate::json::text(record);
        assert_eq!(&serde_json::from_str::<haflow_model::Record>(&told).expect("it was told"), record);
    }
    for alive in [false, true] {
        let nodes = crate::journal::told(&records);
        let history = History::new("r", &nodes, &records, alive, false);
        for node in &nodes {
            let options = Options { verbose: false, color: false, width: 80 };
            report::of_run(&history, node, Sources::new(), options);
            report::run_as_json(&history, node).to_string();
        }
    }
}

/// A plan's file, and what is in it whatever its digest says; or a graph.
pub fn plan(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Saved::of_text(Path::new("plan.json"), text);
    let _ = serde_json::from_str::<Graph>(text);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return };
    if let Ok(saved) = serde_json::from_value::<Saved>(value.get("plan").unwrap_or(&value).clone()) {
        let options = Options { verbose: true, color: false, width: 80 };
        for node in &saved.nodes {
            report::of_plan(&saved, node, &Sources::new(), options);
        }
        let written = serde_json::to_string(&saved).expect("a plan is data");
        serde_json::from_str::<Saved>(&written).expect("what was written reads");
    }
}
