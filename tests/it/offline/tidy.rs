//! What keeps the crates' rooms tidy: who imports whom, read from the sources as rust-analyzer's tidy test
//! does.
//!
//! `docs/architecture.md` says what each room is for. Code of tests may import what it likes.

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The rooms of a crate from the lowest to the highest. A room's files import what is in their room or in a
/// lower one. A file beside the rooms is a room of its own.
const ROOMS: [(&str, &[&str]); 2] = [
    (
        "haflow-engine",
        &[
            "random", "shell", "cut", "clock", "events", "lane", "filters", "decide", "hosts", "step", "plan", "run",
            "fuzz",
        ],
    ),
    (
        "haflow-script",
        &[
            "request",
            "reference",
            "stdlib",
            "limits",
            "place",
            "label",
            "sized",
            "declaration",
            "errors",
            "calls",
            "modules",
            "natives",
            "runtime",
        ],
    ),
];

/// A room and what none of its files may name.
const NEVER: [(&str, &str, &[&str]); 3] = [
    // Decisions are pure: the same state of a host and the same task give the same decision, at any time.
    ("haflow-engine", "decide", &["tokio", "crate::hosts", "crate::lane::Lane"]),
    // A lane knows neither ssh nor hosts.
    ("haflow-engine", "lane", &["crate::events", "crate::hosts"]),
    // A plan has no code that applies.
    ("haflow-engine", "plan", &["crate::run", "apply("]),
];

/// The widest that a line of a page or a comment may be, in characters.
const WIDEST: usize = 110;

/// The longest that a file of a crate's sources may be, in lines.
const LONGEST: usize = 500;

#[test]
fn no_imports_go_in_circles() {
    for krate in ["haflow-engine", "haflow-lab", "haflow-script"] {
        let imports = imports(&root().join("crates").join(krate));
        let mut circles = Vec::new();
        for from in imports.keys() {
            if let Some(way) = way_back(&imports, from) {
                circles.push(way.join(" -> "));
            }
        }
        assert!(circles.is_empty(), "{krate}: imports go in circles:\n{}", circles.join("\n"));
    }
}

#[test]
fn no_room_imports_one_above_it() {
    for (krate, rooms) in ROOMS {
        let floor = |file: &str| {
            let room = file.split(['/', '.']).next().unwrap_or_default();
            (room != "lib").then(|| {
                rooms.iter().position(|named| *named == room).unwrap_or_else(|| {
                    panic!(
                        "{krate}/src/{file} is in no room that tests/it/offline/tidy.rs knows: where does it belong?"
                    )
                })
            })
        };
        let mut upwards = Vec::new();
        for (from, to) in imports(&root().join("crates").join(krate)) {
            let Some(here) = floor(&from) else { continue };
            upwards.extend(to.iter().filter(|to| floor(to) > Some(here)).map(|to| format!("{from} imports {to}")));
            upwards.extend(to.iter().filter(|to| *to == "lib.rs").map(|to| format!("{from} imports {to}")));
        }
        assert!(upwards.is_empty(), "{krate}: arrows that run upwards:\n{}", upwards.join("\n"));
    }
}

#[test]
fn rooms_keep_their_rules() {
    for (krate, room, never) in NEVER {
        let source = root().join("crates").join(krate).join("src");
        let files: Vec<PathBuf> = files(&source.join(room));
        assert!(!files.is_empty(), "{krate} has no room {room}");
        for file in files {
            let text = code(&fs::read_to_string(&file).expect("a source"));
            for word in never {
                assert!(!text.contains(word), "{}: `{word}` has no place in {room}/", file.display());
            }
        }
    }
}

#[test]
fn no_source_is_too_long() {
    let sources = crates().into_iter().flat_map(|krate| files(&krate.join("src")));
    let length = |file: &Path| fs::read_to_string(file).expect("a source").lines().count();
    let long: Vec<String> = sources
        .filter(|file| length(file) > LONGEST)
        .map(|file| format!("{} has {} lines", file.display(), length(&file)))
        .collect();
    assert!(long.is_empty(), "split these, {LONGEST} lines are enough:\n{}", long.join("\n"));
}

/// Pages and comments are at most so wide, in characters: [`WIDEST`]. Tables, code and what can't be broken
/// are as wide as they are.
#[test]
fn prose_is_not_too_wide() {
    static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^ *(//[/!]?|#) (.*)$").expect("a pattern"));
    let pages = [root().join("docs"), root().join("docs/playbooks")].into_iter().chain([root()]);
    let mut wide = Vec::new();
    let mut look = |file: &Path, prose: &dyn Fn(&str) -> Option<String>| {
        let mut code = false;
        for (number, line) in (1..).zip(fs::read_to_string(file).expect("a text").lines()) {
            let Some(text) = prose(line) else { continue };
            code ^= text.trim_start().starts_with("```");
            let is_prose = !code && !text.starts_with(['|', '<']) && !text.starts_with("    ") && text.contains(' ');
            if is_prose && line.chars().count() > WIDEST {
                wide.push(format!("{}:{number}", file.display()));
            }
        }
    };
    for page in pages.flat_map(|folder| of_kind(&folder, "md", false)) {
        // A test writes this one.
        if !page.ends_with("fidelity.md") {
            look(&page, &|line| Some(line.to_owned()));
        }
    }
    // Playbooks and modules that tests read are any text.
    let sources = [("crates", "rs"), ("crates", "sh"), ("tests/it", "rs"), ("stdlib", "rhai"), ("playbooks", "rhai")];
    for (folder, kind) in sources {
        for source in of_kind(&root().join(folder), kind, true) {
            look(&source, &|line| COMMENT.captures(line).map(|parts| parts[2].to_owned()));
        }
    }
    assert!(wide.is_empty(), "these are wider than {WIDEST} characters:\n{}", wide.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn crates() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(root().join("crates")).expect("the crates").map(|one| one.expect("a crate").path()).collect();
    all.sort();
    all
}

/// All Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    of_kind(folder, "rs", true)
}

/// The files in a folder, or below it, whose names end so.
fn of_kind(folder: &Path, kind: &str, below: bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(if below { of_kind(&entry, kind, below) } else { Vec::new() });
        } else if entry.extension().is_some_and(|extension| extension == kind) {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// A source without comments, texts and the module of its tests.
fn code(text: &str) -> String {
    static PARTS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r##"(?s)//[^\n]*|r#".*?"#|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)'"##).expect("a regular expression")
    });
    // Not `mod tests;`: what comes behind that is the program's.
    static TESTS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]\nmod \w+ \{").expect("a regular expression"));
    let code = PARTS.replace_all(text, " ");
    TESTS.split(&code).next().unwrap_or_default().to_owned()
}

/// Which file imports which others of its crate, by their paths below `src`.
fn imports(krate: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let source = krate.join("src");
    let paths = files(&source);
    let name = |path: &Path| path.strip_prefix(&source).expect("it is below").to_string_lossy().into_owned();
    // A module's path is that of its file: `decide::file` is `decide/file.rs` or `decide/file/mod.rs`.
    let modules: BTreeMap<Vec<String>, String> = paths.iter().map(|path| (module(&name(path)), name(path))).collect();
    let mut imports = BTreeMap::new();
    for path in &paths {
        let file = name(path);
        let here = module(&file);
        let text = code(&fs::read_to_string(path).expect("a source"));
        let to: BTreeSet<String> = named(&text)
            .into_iter()
            .filter_map(|path| absolute(&path, &here, &modules))
            .filter_map(|path| (0..=path.len()).rev().find_map(|length| modules.get(&path[..length])).cloned())
            .filter(|to| *to != file)
            .collect();
        imports.insert(file, to);
    }
    imports
}

/// The module that a file holds.
fn module(file: &str) -> Vec<String> {
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Every path that a source names, in `use` and elsewhere.
fn named(text: &str) -> Vec<Vec<String>> {
    static USE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)\buse\s+([^;]+);").expect("a regular expression"));
    static PATH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b[a-z_][a-z_0-9]*(?:::[A-Za-z_][A-Za-z_0-9]*)+").expect("a regular expression"));
    let mut paths = Vec::new();
    for used in USE.captures_iter(text) {
        expand(&mut Vec::new(), &used[1], &mut paths);
    }
    paths.extend(PATH.find_iter(text).map(|path| path.as_str().split("::").map(str::to_owned).collect()));
    paths
}

/// Adds what a `use` brings in: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(before: &mut Vec<String>, tree: &str, paths: &mut Vec<Vec<String>>) {
    let (head, group) = match tree.split_once('{') {
        Some((head, rest)) => (head, rest.rsplit_once('}').map(|(group, _)| group)),
        None => (tree, None),
    };
    let length = before.len();
    let head = head.split(" as ").next().unwrap_or_default();
    before
        .extend(head.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty() && part != "self"));
    match group {
        None => paths.push(before.clone()),
        Some(group) => {
            let mut depth = 0;
            let parts = group.split(|letter| {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                letter == ',' && depth == 0
            });
            for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
                expand(before, part, paths);
            }
        }
    }
    before.truncate(length);
}

/// A path from the crate's root, if it stays in the crate.
fn absolute(path: &[String], here: &[String], modules: &BTreeMap<Vec<String>, String>) -> Option<Vec<String>> {
    let mut from = here.to_vec();
    let first = path.first()?;
    let rest = match first.as_str() {
        "crate" => {
            from.clear();
            &path[1..]
        }
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            from.truncate(from.len().checked_sub(up)?);
            &path[up..]
        }
        _ => {
            // One of this module's own children.
            let child: Vec<String> = here.iter().chain([first]).cloned().collect();
            modules.get(&child)?;
            path
        }
    };
    from.extend(rest.iter().cloned());
    Some(from)
}

/// The shortest way from a file back to itself.
fn way_back(imports: &BTreeMap<String, BTreeSet<String>>, from: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut further = Vec::new();
        for way in ways {
            for to in &imports[way.last().expect("it has a beginning")] {
                let mut way = way.clone();
                way.push(to.clone());
                if to == from {
                    return Some(way);
                }
                if seen.insert(to.clone()) {
                    further.push(way);
                }
            }
        }
        ways = further;
    }
    None
}
