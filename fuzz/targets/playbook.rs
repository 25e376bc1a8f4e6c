//! Any text as a playbook: it declares a graph, or is refused with a message.

#![no_main]

use haflow_script::{Request, assumed_facts, declare};
use std::collections::BTreeMap;
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let playbook = FOLDER.path().join("playbook.rhai");
    std::fs::write(&playbook, text).expect("a file");
    let declared = |playbook| {
        declare(Request {
            playbook,
            inventory: None,
            params: &BTreeMap::new(),
            facts: &mut assumed_facts,
            now: jiff::Timestamp::UNIX_EPOCH,
            interrupt: None,
        })
    };
    if let Ok(first) = declared(&playbook) {
        // The same text declares the same graph.
        let second = declared(&playbook).expect("it did the first time");
        let [first, second] = [first, second].map(|declared| serde_json::to_string(&declared.graph).expect("data"));
        assert_eq!(first, second);
    }
});
