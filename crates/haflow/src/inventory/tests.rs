//! Text in, text out: `cases/NAME/inventory…` is read, `cases/NAME/expected.txt` is what comes of it.

use super::file::File;
use super::resolve::Folders;
use super::warnings::Warnings;
use super::{Read, hosts, read_file, resolve};
use crate::report::{diagnostic, golden};
use haflow_model::Diagnostic;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/inventory/cases");

#[test]
fn every_case_reads_as_expected() {
    let mut cases: Vec<_> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    for case in cases {
        let inventory = fs::read_dir(&case)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_stem().is_some_and(|stem| stem == "inventory"))
            .unwrap_or_else(|| case.join("inventory.toml"));
        let home = Some(Path::new("/home/me"));
        let read = if inventory.extension().is_some_and(|extension| extension == "hosts") {
            let file = File::new("--hosts", fs::read_to_string(&inventory).unwrap().trim_end());
            let mut warnings = Warnings::default();
            let folders = Folders { own: None, home };
            let inventory = hosts::read(&file).and_then(|raw| resolve::resolve(&file, raw, folders, &mut warnings));
            inventory.map(|inventory| Read { inventory, warnings: warnings.told(&file) })
        } else {
            read_file(&inventory, home, Duration::from_secs(1))
        };
        let folder = format!("{}/", case.display());
        golden::compare(&case.join("expected.txt"), &tell(read).replace(&folder, ""));
    }
}

#[test]
fn what_isnt_there_or_is_a_folder_is_said() {
    let missing = Path::new("no/such/inventory.toml");
    let folder = Path::new(CASES);
    let wrong = [missing, folder].map(|path| read_file(path, None, Duration::ZERO).unwrap_err());
    assert_eq!(wrong[0].message, "the inventory `no/such/inventory.toml` isn't there");
    assert_eq!(wrong[1].message, format!("the inventory `{CASES}` is a folder"));
    assert!(wrong.iter().all(|wrong| wrong.help.is_some()));
}

/// One line for each host and group, or the diagnostic.
fn tell(read: Result<Read, Diagnostic>) -> String {
    let Read { inventory, warnings } = match read {
        Err(wrong) => return diagnostic(&wrong, false, 100),
        Ok(read) => read,
    };
    let mut text = String::new();
    for warning in warnings {
        writeln!(text, "warning: {warning}").unwrap();
    }
    for host in &inventory.hosts {
        writeln!(text, "{}", serde_json::to_string(host).unwrap()).unwrap();
    }
    for (name, members) in &inventory.groups {
        writeln!(text, "{name}: {}", serde_json::to_string(members).unwrap()).unwrap();
    }
    text
}
