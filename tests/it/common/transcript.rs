//! Texts that hold commands and what they print, and are compared with what they print now.
//!
//! A transcript begins with a word on what it is about. A line `== NAME` begins a file that the commands
//! find, `== NAME x` one that can be run. A line `$ COMMAND` is run by `sh` in the folder of those files;
//! below it is what comes of it: what is printed, then the messages after a line `-- stderr`, then a line
//! `-- exit N` if N isn't 0. `UPDATE_GOLDEN=1` rewrites what is below the commands, and nothing else.

use crate::common::{Ran, clean};
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, iter, thread};

/// How many are played at once.
const AT_ONCE: usize = 4;

/// What one command of a transcript did.
pub(crate) struct Step {
    /// The command.
    pub(crate) command: String,
    /// What it did.
    pub(crate) ran: Ran,
}

/// What a transcript did.
pub(crate) struct Played {
    /// Its file's name without its extension, or its folder's name.
    pub(crate) name: String,
    /// Each command of haflow.
    pub(crate) steps: Vec<Step>,
    /// Whether anything called `ssh`.
    pub(crate) touched: bool,
    /// Whether it printed what it was expected to.
    as_expected: bool,
    /// The transcript as it is now.
    text: String,
}

/// Plays all transcripts; `folders` are the files that each of them finds, besides those in it.
pub(crate) fn play(transcripts: &[(PathBuf, Option<PathBuf>)]) -> Vec<Played> {
    assert!(!transcripts.is_empty(), "there is nothing to play");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let next = AtomicUsize::new(0);
    let take = || transcripts.get(next.fetch_add(1, Ordering::Relaxed));
    let work =
        || iter::from_fn(take).map(|(file, folder)| play_file(file, folder.as_deref(), update)).collect::<Vec<_>>();
    let mut all: Vec<Played> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it plays")).collect()
    });
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let wrong: Vec<&Played> = all.iter().filter(|played| !update && !played.as_expected).collect();
    let shown: String =
        wrong.iter().fold(String::new(), |all, wrong| format!("{all}\n=== {}\n{}", wrong.name, wrong.text));
    assert!(wrong.is_empty(), "not as expected; UPDATE_GOLDEN=1 writes them anew. They are now:{shown}");
    all
}

fn play_file(file: &Path, folder: Option<&Path>, update: bool) -> Played {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let name = folder.unwrap_or(file).file_stem().expect("it has a name").to_string_lossy().into_owned();
    let played = play_one(name, &text, folder);
    if update {
        fs::write(file, &played.text).expect("a transcript can be written");
    }
    played
}

fn play_one(name: String, text: &str, files: Option<&Path>) -> Played {
    let folder = tempfile::tempdir().expect("a folder");
    // Programs are beside the folder, so that no command sees them.
    let here = folder.path().join("here");
    let programs = folder.path().join("bin");
    fs::create_dir_all(&here).expect("a folder");
    fs::create_dir_all(&programs).expect("a folder");
    if let Some(files) = files {
        copy(files, &here);
    }
    symlink(env!("CARGO_BIN_EXE_haflow"), programs.join("haflow")).expect("a link");
    // Whatever asks for a host leaves a trace, and none is reached.
    let trace = folder.path().join("touched");
    program(&programs.join("ssh"), &format!("#!/bin/sh\necho \"$@\" >> '{}'\nexit 255\n", trace.display()));

    let mut steps = Vec::new();
    let mut now = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        now.push_str(line);
        now.push('\n');
        if let Some(head) = line.strip_prefix("== ") {
            let (file, executable) = head.strip_suffix(" x").map_or((head, false), |file| (file, true));
            let mut content = String::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("== ") && !line.starts_with("$ ")) {
                content.push_str(line);
                content.push('\n');
            }
            now.push_str(&content);
            let path = here.join(file);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            if executable { program(&path, &content) } else { fs::write(&path, &content).expect("a file") }
        } else if let Some(command) = line.strip_prefix("$ ") {
            while lines.next_if(|line| !line.starts_with("$ ")).is_some() {}
            let mut shell = clean(Command::new("timeout"), &here);
            let path = std::env::var_os("PATH").unwrap_or_default();
            shell
                .args(["--kill-after=5", "60", "sh", "-c", command])
                .env("PATH", format!("{}:{}", programs.display(), path.display()));
            let ran = Ran::of(&mut shell);
            now.push_str(&shown(&ran));
            if command.contains("haflow") {
                steps.push(Step { command: command.to_owned(), ran });
            }
        }
    }
    Played { name, steps, touched: trace.exists(), as_expected: now == text, text: now }
}

fn shown(ran: &Ran) -> String {
    let mut text = ended(&ran.stdout);
    if !ran.stderr.is_empty() {
        write!(text, "-- stderr\n{}", ended(&ran.stderr)).expect("a text takes all");
    }
    if ran.exit != 0 {
        writeln!(text, "-- exit {}", ran.exit).expect("a text takes all");
    }
    text
}

/// A text whose last line has its end.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n-- without the line's end\n")
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        let target = to.join(entry.file_name().expect("it has a name"));
        if entry.is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("a file");
        }
    }
}
