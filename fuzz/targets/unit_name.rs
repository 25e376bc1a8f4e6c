//! Any text as the name of a unit: it is refused, or it is one by systemd's rules (`unit_name_is_valid` in
//! its unit-name.c), and arrives as it was given.

#![no_main]

use haflow_model::{Action, Param, Value};
use haflow_script::{Request, assumed_facts, declare};
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let playbook = "service(host(\"h\"), param(\"unit\"), #{ running: true });\n";
    std::fs::write(folder.path().join("playbook.rhai"), playbook).expect("a file");
    folder
});

const SUFFIXES: [&str; 11] =
    ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];

/// Whether systemd takes it for the name of something that runs: no template.
fn is_unit(name: &str) -> bool {
    let Some((prefix, suffix)) = name.rsplit_once('.') else { return false };
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let template = prefix.find('@').is_some_and(|at| at + 1 == prefix.len());
    name.len() <= 255
        && SUFFIXES.contains(&suffix)
        && name.bytes().all(characters)
        && !prefix.is_empty()
        && !prefix.starts_with('@')
        && !template
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let playbook = FOLDER.path().join("playbook.rhai");
    let declared = declare(Request {
        playbook: &playbook,
        inventory: None,
        params: &[("unit".to_owned(), text.to_owned())].into(),
        facts: &mut assumed_facts,
        now: jiff::Timestamp::UNIX_EPOCH,
        interrupt: None,
    });
    let Ok(declared) = declared else { return };
    let named = |name: &str| if is_unit(name) { name.to_owned() } else { format!("{name}.service") };
    for (_, task) in declared.graph.tasks() {
        if let (Action::Ensure(_), Some(Param::Value(Value::String(unit)))) = (&task.action, task.params.get("unit")) {
            assert!(is_unit(&named(unit)), "{text:?} became the unit {unit:?}");
            assert_eq!(named(unit), named(text), "{text:?} became another unit");
        }
    }
});
