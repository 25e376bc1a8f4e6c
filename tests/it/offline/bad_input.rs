//! Bad input: what haflow says to each thing that a person can write wrongly, and that it reaches no host
//! then.
//!
//! `tests/bad_input/NAME.txt` holds the files, the command and the message, to be read as text by whoever
//! changes one.

use crate::common::transcript::{Played, Step, play};
use crate::common::{Ran, clean};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/bad_input");

/// Cases whose wrong thing has no line: it isn't a file, it can't be read, or it is what a program did.
const WITHOUT_A_PLACE: [&str; 15] = [
    "hosts-none",
    "inventory-folder",
    "inventory-missing",
    "inventory-program-dies",
    "inventory-program-fails",
    "inventory-program-not-runnable",
    "inventory-program-silent",
    "param-several",
    "param-unknown",
    "playbook-folder",
    "playbook-missing",
    "playbook-yaml-missing",
    "json-on-missing-files",
    "secret-command",
    "secret-file",
];

/// Cases whose message is the playbook's own.
const OWN_WORDS: [&str; 2] = ["fail", "throw"];

fn cases() -> Vec<(PathBuf, Option<PathBuf>)> {
    let mut files: Vec<_> =
        fs::read_dir(CASES).unwrap().map(|entry| (entry.unwrap().path().canonicalize().unwrap(), None)).collect();
    files.sort();
    files
}

#[test]
fn each_says_what_where_and_what_to_do() {
    let mut wrong = Vec::new();
    for played in play(&cases()) {
        if played.touched {
            wrong.push(format!("{}: it reached for a host", played.name));
        }
        assert!(!played.steps.is_empty(), "{} runs nothing", played.name);
        for step in &played.steps {
            if let Err(why) = judge(&played, step) {
                wrong.push(format!("{}: {}\n    {why}", played.name, step.command));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn judge(played: &Played, Step { command, ran }: &Step) -> Result<(), String> {
    let of_command_line = played.name.starts_with("command-line-");
    let exit = if of_command_line { 64 } else { 65 };
    if ran.exit != exit {
        return Err(format!("it exits {}, not {exit}", ran.exit));
    }
    if !ran.stdout.is_empty() {
        return Err("something is on stdout".into());
    }
    if ran.stderr.contains('\u{1b}') {
        return Err("there are escape sequences where there is no terminal".into());
    }
    // Nothing asked for is no mistake: the usage says what can be.
    if !ran.stderr.lines().any(|line| line.starts_with("error: ") || line.starts_with("Usage: ")) {
        return Err("it doesn't say that it is an error".into());
    }
    // On the command line, clap points at the help.
    let advice = if of_command_line { &["help: ", "tip: ", "--help"][..] } else { &["help: "] };
    let own_words = OWN_WORDS.contains(&played.name.as_str());
    if !own_words && !advice.iter().any(|advice| ran.stderr.contains(advice)) {
        return Err("it doesn't say what to do".into());
    }
    if !of_command_line && !WITHOUT_A_PLACE.contains(&played.name.as_str()) {
        let Some(place) = ran.stderr.lines().find_map(|line| line.trim_start().strip_prefix("--> ")) else {
            return Err("it doesn't say where".into());
        };
        let numbers: Vec<_> = place.rsplit(':').take(2).collect();
        if !numbers.iter().all(|number| number.parse::<u32>().is_ok_and(|number| number > 0)) {
            return Err(format!("`{place}` isn't FILE:LINE:COLUMN"));
        }
        let line = numbers[1];
        if !ran.stderr.lines().any(|shown| shown.trim_start().starts_with(&format!("{line} | "))) {
            return Err(format!("line {line} isn't shown"));
        }
    }
    let noise = ["panicked", "RUST_BACKTRACE", "ErrorRuntime", "EvalAltResult", "&str |", "/tmp/"];
    match noise.iter().find(|noise| ran.stderr.contains(*noise)) {
        Some(noise) => Err(format!("`{noise}` in `{command}` is nothing for users")),
        None => Ok(()),
    }
}

#[test]
fn every_exception_is_a_case() {
    for name in WITHOUT_A_PLACE.iter().chain(&OWN_WORDS) {
        assert!(Path::new(CASES).join(name).with_extension("txt").exists(), "{name} isn't there");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("playbook.rhai"), "let node = hsot(1);\n").unwrap();
    // `script` gives a terminal to what it runs.
    let told = |before: &str| {
        let command = format!("{before} {} check playbook.rhai", env!("CARGO_BIN_EXE_haflow"));
        let mut script = clean(Command::new("script"), folder.path());
        Ran::of(script.env("TERM", "xterm").args(["-qec", &command, "/dev/null"])).stdout
    };
    let colourful = told("");
    assert!(colourful.contains('\u{1b}') && colourful.contains("hsot"), "{colourful}");
    let plain = told("NO_COLOR=1");
    assert!(!plain.contains('\u{1b}') && plain.contains("hsot"), "{plain}");
}
