//! Text in, text out: what `check` and `graph` say of a playbook, without any host.
//!
//! Each folder of `tests/cases` has a playbook, what it needs, and a transcript `expected.txt`.
//! `UPDATE_GOLDEN=1` rewrites what is expected.

use crate::common::transcript::play;
use std::fs;
use std::path::{Path, PathBuf};

fn cases() -> Vec<(PathBuf, Option<PathBuf>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases").canonicalize().unwrap();
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|case| (case.join("expected.txt"), Some(case)))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_case_prints_what_is_expected() {
    for played in play(&cases()) {
        assert!(!played.touched, "{} reached for a host", played.name);
        assert!(!played.steps.is_empty(), "{} runs nothing", played.name);
        for step in &played.steps {
            assert!(
                !step.ran.stdout.contains('\u{1b}'),
                "{}: {}: escape sequences without a terminal",
                played.name,
                step.command
            );
        }
    }
}
