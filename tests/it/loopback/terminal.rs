//! What somebody at a terminal sees: haflow on a pseudo-terminal of script(1), against a real sshd on this
//! machine.

use crate::common::sshd::{Sshd, until};
use crate::common::{Ran, clean, skipped};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

const COLUMNS: usize = 70;

/// One task that fails, with a blank in its name.
const FAILS: &str = r#"
let node = host("here");
act(node, #{ name: "job 1", reason: "a test", apply: "exit 3" });
"#;

/// Two steps, of which the first ends when there is `go`.
const SLOW: &str = r##"
let node = host("here");
act(node, #{
    name: "job 1", reason: "a test", params: #{ folder: node.vars.folder },
    apply: #"touch "$folder/begun"; n=0; until [ -e "$folder/go" ] || [ "$n" = 300 ]; do n=$((n + 1)); sleep 0.1; done"#,
});
act(node, #{ name: "job 2", reason: "a test", apply: "true" });
"##;

fn world(playbook: &str) -> Option<Sshd> {
    if !Ran::of(Command::new("sh").args(["-c", "command -v script"])).stdout.contains("script") {
        skipped("script isn't installed here (Debian's package is bsdutils)");
        return None;
    }
    let sshd = Sshd::start("")?;
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    sshd.inventory(&json!({}), &json!({ "folder": target }));
    sshd.write("playbook.rhai", playbook);
    Some(sshd)
}

/// Begins a command on a terminal of its own. What is written to its stdin is typed.
fn on_terminal(sshd: &Sshd, term: Option<&str>, command: &str) -> Child {
    let command = format!("stty cols {COLUMNS} rows 30; exec '{}' {command}", env!("CARGO_BIN_EXE_haflow"));
    let mut script = clean(Command::new("script"), sshd.folder.path());
    script.env("XDG_RUNTIME_DIR", sshd.folder.path()).env("SHELL", "/bin/sh");
    if let Some(term) = term {
        script.env("TERM", term);
    }
    script
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts")
}

/// Its exit code, and what the terminal got.
fn ended(mut script: Child) -> (Option<i32>, String) {
    let mut told = String::new();
    script.stdout.take().expect("it is piped").read_to_string(&mut told).expect("a text");
    (script.wait().expect("it ends").code(), told)
}

/// The lines that a terminal shows after all this: it knows what haflow needs of it, and nothing else.
fn shown(told: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::<char>::new()], 0, 0);
    let mut rest = told.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(rest.next(), Some('['), "in {told:?}");
                let mut code = String::new();
                while !code.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    code.push(rest.next().expect("the end of a sequence"));
                }
                match code.chars().last() {
                    Some('A') => row -= code[..code.len() - 1].parse::<usize>().expect("a number").min(row),
                    Some('J') => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    Some('m') => {}
                    other => panic!("a terminal may not know {other:?}"),
                }
            }
            c => {
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                }
                lines.resize(lines.len().max(row + 1), Vec::new());
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    lines.into_iter().map(|line| line.into_iter().collect()).collect()
}

/// The last line that isn't empty.
fn last(lines: &[String]) -> &str {
    lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty()).expect("something is shown")
}

#[test]
fn a_terminal_that_cant_be_drawn_on_is_told_everything() {
    let Some(sshd) = world(FAILS) else { return };
    for term in [Some("dumb"), Some(""), None] {
        for command in ["run", "plan"] {
            let (exit, told) = ended(on_terminal(&sshd, term, &format!("{command} playbook.rhai -i inventory.toml")));
            let (code, word) = if command == "run" { (1, "failed: 1 task on 1 host") } else { (0, "1 act") };
            assert_eq!(exit, Some(code), "{told}");
            assert!(told.contains(word) && !told.contains("\x1b["), "{command} with TERM {term:?}: {told:?}");
        }
    }
}

#[test]
fn lines_of_a_terminal_end_where_their_text_ends() {
    let Some(sshd) = world(FAILS) else { return };
    let (exit, told) = ended(on_terminal(&sshd, Some("xterm"), "run playbook.rhai -i inventory.toml --format human"));
    assert_eq!(exit, Some(1), "{told}");
    let lines = shown(&told);
    assert!(lines.iter().any(|line| line.starts_with("failed       here  act job 1")), "{lines:#?}");
    let filled: Vec<&String> = lines.iter().filter(|line| line.ends_with(' ')).collect();
    assert!(filled.is_empty(), "{filled:#?}");
    // What is told is told in lines: nothing goes on where a terminal wraps.
    assert!(told.split("\r\n").all(|line| shown(line).len() == 1 || line.contains("\x1b[")), "{told:?}");
    let run =
        &fs::read_dir(sshd.path(".local/state/haflow/runs")).expect("the runs").next().expect("one").expect("one");
    let resume = format!("haflow resume {}", run.file_name().display());
    assert_eq!(last(&lines), resume, "{lines:#?}");
    let why = lines.iter().find(|line| line.starts_with("    haflow why ")).expect("why");
    assert!(why.ends_with(" 'here/act:job 1'"), "{why}");
}

#[test]
fn no_bar_stays_after_an_interrupt() {
    let Some(sshd) = world(SLOW) else { return };
    let mut script = on_terminal(&sshd, Some("xterm"), "run playbook.rhai -i inventory.toml --format human");
    until("the slow step", || sshd.path("target/begun").exists());
    let mut stdout = script.stdout.take().expect("it is piped");
    let mut told = Vec::new();
    let mut read_until = |what: &str| {
        let mut bytes = [0; 4096];
        while !String::from_utf8_lossy(&told).contains(what) {
            let read = stdout.read(&mut bytes).expect("it can be read");
            assert_ne!(read, 0, "it ended before {what}: {}", String::from_utf8_lossy(&told));
            told.extend_from_slice(&bytes[..read]);
        }
    };
    read_until("1 running");
    script.stdin.as_mut().expect("it is piped").write_all(b"\x03").expect("it is typed");
    read_until("waiting for what is running");
    fs::write(sshd.path("target/go"), "").expect("a file");
    stdout.read_to_end(&mut told).expect("it ends");
    let told = String::from_utf8(told).expect("a text");
    assert_eq!(script.wait().expect("it ends").code(), Some(130), "{told}");
    assert!(told.contains("[ "), "there was no bar: {told:?}");
    let lines = shown(&told);
    let bars: Vec<&String> = lines.iter().filter(|line| line.contains("/2 tasks, ") || line.contains("^C")).collect();
    assert!(bars.is_empty(), "{lines:#?}");
    assert!(last(&lines).starts_with("haflow resume 20"), "{lines:#?}");
}
