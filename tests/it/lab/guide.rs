//! The examples in the docs are run: playbooks are checked, and commands print what the page says that they
//! print.
//!
//! A comment before a fenced block says what is to be done with it, its parts apart by `;`:
//!
//! - `example: NAME`: a playbook, which is written to `NAME.rhai` and must pass `haflow check`
//! - `file: PATH`: written there, for the blocks below it
//! - `lab`: the commands reach hosts; skipped where the lab can't be had
//! - `exit: N`: the block's last command ends with this exit code rather than 0
//! - `not run: WHY`: only shown
//!
//! All blocks of the pages run in one folder, one after the other. In a `console` block each line that begins
//! with `$ ` is a command, and what follows it is what it prints. Times, addresses and run ids may differ,
//! and where several hosts are at work, so may the order of lines. `UPDATE_GOLDEN=1` writes into the pages
//! what was printed.

use crate::common::skipped;
use regex::Regex;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The pages, in the order in which their blocks run.
const PAGES: [&str; 4] = ["README.md", "docs/playbook-guide.md", "docs/inventory.md", "docs/running.md"];

#[test]
fn the_examples_in_the_docs_run() {
    let bench = Bench::new();
    let mut wrong = String::new();
    for page in PAGES {
        bench.page(page, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong}\nUPDATE_GOLDEN=1 writes into the pages what was printed");
}

#[test]
fn the_links_in_the_docs_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").expect("a regular expression");
    let mut dead = Vec::new();
    for page in PAGES.into_iter().chain(["docs/architecture.md", "docs/glossary.md"]) {
        let path = root().join(page);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        let folder = path.parent().expect("a page is in a folder");
        let links = link.captures_iter(&text).map(|found| found[1].to_owned());
        dead.extend(links.filter(|to| !folder.join(to).exists()).map(|to| format!("{page}: {to}")));
    }
    assert!(dead.is_empty(), "dead links: {dead:#?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the examples run.
struct Bench {
    folder: tempfile::TempDir,
    /// Whether hosts can be had.
    lab: bool,
    /// Whether the pages are written anew.
    update: bool,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let playbooks = folder.path().join("playbooks");
        fs::create_dir(&playbooks).expect("a folder");
        for playbook in fs::read_dir(root().join("playbooks")).expect("the playbooks") {
            let playbook = playbook.expect("a playbook").path();
            fs::copy(&playbook, playbooks.join(playbook.file_name().expect("a name"))).expect("a copy");
        }
        let supported = haflow_lab::supported();
        if let Err(why) = &supported {
            skipped(&format!("the examples that reach hosts: {why}"));
        }
        let bench = Self { folder, lab: supported.is_ok(), update: std::env::var_os("UPDATE_GOLDEN").is_some() };
        // Readers have one by then, and its path is another one each time.
        assert_eq!(bench.sh("haflow secret key > key.pub").0, Some(0));
        bench
    }

    /// Runs the blocks of a page, and adds what is wrong with them.
    fn page(&self, page: &str, wrong: &mut String) {
        let path = root().join(page);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        let mut written = String::new();
        let mut lines = text.lines().enumerate();
        let mut asked = Asked::default();
        while let Some((at, line)) = lines.next() {
            written += line;
            written.push('\n');
            if let Some(comment) = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) {
                asked = Asked::parse(comment).unwrap_or_else(|| panic!("{page}:{}: {comment}", at + 1));
                continue;
            }
            let Some(language) = line.strip_prefix("```") else {
                asked = if line.is_empty() { asked } else { Asked::default() };
                continue;
            };
            let mut body = String::new();
            for (_, line) in lines.by_ref().take_while(|(_, line)| *line != "```") {
                body += line;
                body.push('\n');
            }
            match self.block(language, &body, &std::mem::take(&mut asked)) {
                Ok(now) => written += &now,
                Err(why) => {
                    written += &body;
                    write!(wrong, "\n{page}:{}: {why}\n", at + 1).expect("text takes it");
                }
            }
            written += "```\n";
        }
        if self.update && written != text {
            fs::write(&path, written).expect("the page is written");
        }
    }

    /// Runs a block. Returns what should stand in it.
    fn block(&self, language: &str, body: &str, asked: &Asked) -> Result<String, String> {
        if asked.not_run || asked.lab && !self.lab {
            return Ok(body.to_owned());
        }
        if let Some(file) = &asked.file {
            let path = self.folder.path().join(file);
            fs::create_dir_all(path.parent().expect("it is in the folder")).map_err(|error| error.to_string())?;
            fs::write(&path, body).map_err(|error| error.to_string())?;
            if body.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt as _;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
            }
            return Ok(body.to_owned());
        }
        match (language, &asked.example) {
            ("rhai", Some(name)) => {
                fs::write(self.folder.path().join(format!("{name}.rhai")), body).map_err(|error| error.to_string())?;
                let (exit, printed) = self.sh(&format!("haflow check {name}.rhai"));
                if exit == asked.exit {
                    Ok(body.to_owned())
                } else {
                    Err(format!("`haflow check {name}.rhai` ended with {exit:?}:\n{printed}"))
                }
            }
            ("rhai", None) => Err("a playbook without a comment that says what to do with it".to_owned()),
            ("console", _) => self.console(body, asked),
            _ => Ok(body.to_owned()),
        }
    }

    /// Runs the commands of a block, and compares what they print.
    fn console(&self, body: &str, asked: &Asked) -> Result<String, String> {
        let mut commands: Vec<(&str, String)> = Vec::new();
        for line in body.lines() {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command, String::new())),
                (None, Some((_, printed))) => {
                    *printed += line;
                    printed.push('\n');
                }
                (None, None) => return Err(format!("no command above `{line}`")),
            }
        }
        let mut now = String::new();
        let mut wrong = String::new();
        let last = commands.len().saturating_sub(1);
        for (index, (command, expected)) in commands.into_iter().enumerate() {
            let (exit, printed) = self.sh(command);
            let wanted = if index == last { asked.exit } else { Some(0) };
            if exit != wanted {
                write!(wrong, "`{command}` ended with {exit:?}:\n{printed}").expect("text takes it");
            }
            let same = comparable(&expected, asked.lab) == comparable(&printed, asked.lab);
            if !same && !self.update {
                write!(wrong, "`{command}` printed:\n{printed}\nrather than:\n{expected}").expect("text takes it");
            }
            write!(now, "$ {command}\n{}", if same { expected } else { printed }).expect("text takes it");
        }
        if wrong.is_empty() { Ok(now) } else { Err(wrong) }
    }

    /// Runs a command as a person would. Returns its exit code and all that it printed.
    fn sh(&self, command: &str) -> (Option<i32>, String) {
        let haflow = Path::new(env!("CARGO_BIN_EXE_haflow"));
        let folder = haflow.parent().expect("the program is in a folder");
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("HAFLOW_IDENTITY", self.folder.path().join("identity.txt"))
            // `haflow runs` lists the pages' own runs, and `haflow resume` goes on with none but them.
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .env("NO_COLOR", "1")
            .env_remove("CLICOLOR_FORCE")
            .stdin(Stdio::null())
            .output()
            .expect("sh starts");
        let printed = String::from_utf8_lossy(&output.stdout);
        let mut text: String = printed.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n");
        if printed.is_empty() {
            text.clear();
        }
        (output.status.code(), text)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if self.lab {
            self.sh("haflow lab down");
        }
    }
}

/// What a comment asks for the block below it.
struct Asked {
    example: Option<String>,
    file: Option<String>,
    lab: bool,
    exit: Option<i32>,
    not_run: bool,
}

impl Default for Asked {
    fn default() -> Self {
        Self { example: None, file: None, lab: false, exit: Some(0), not_run: false }
    }
}

impl Asked {
    fn parse(comment: &str) -> Option<Self> {
        let mut asked = Self::default();
        for part in comment.split(';').map(str::trim) {
            match part.split_once(": ").unwrap_or((part, "")) {
                ("example", name) => asked.example = Some(name.to_owned()),
                ("file", path) => asked.file = Some(path.to_owned()),
                ("lab", "") => asked.lab = true,
                ("exit", code) => asked.exit = Some(code.parse().ok()?),
                ("not run", why) if !why.is_empty() => asked.not_run = true,
                _ => return None,
            }
        }
        Some(asked)
    }
}

/// What differs from run to run, and what stands for it.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // The lab says more where it has to be prepared first.
        (r"(?m)^lab: (installing|building|the base|waiting|the firewall).*\n", ""),
        // A slow machine says what it waits for.
        (r"(?m)^reading facts of .*\n", ""),
        (r"(?m)^ +(\d+ min )?\d+(\.\d+)? s  ", "‹time›  "),
        (r"\b(\d+ min )?\d+(\.\d+)? m?s\b", "‹time›"),
        (r#"("at"|"took_ms"|"connecting_ms"|"clock_ahead_s"):-?[0-9.e-]+"#, "$1:‹number›"),
        (r"\d{8}-\d{6}-[0-9a-f]{4}", "‹run›"),
        // Which host fails first, and so is the one to ask about.
        (r"(?m)^    haflow why ‹run› .*$", "    haflow why ‹run› ‹task›"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "‹date›"),
        (r"haflow-[0-9a-f]{6}\b", "‹lab›"),
        (r"10\.\d+\.\d+\.(\d+) *", "‹address›.$1 "),
    ]
    .map(|(regex, text)| (Regex::new(regex).expect("a regular expression"), text))
    .into()
});

/// What was printed, less what differs from run to run.
fn comparable(printed: &str, hosts: bool) -> Vec<String> {
    let mut text = printed.to_owned();
    for (regex, stands_for) in &*VARYING {
        text = regex.replace_all(&text, *stands_for).into_owned();
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if hosts {
        lines.sort();
    }
    lines
}
