//! Running other programs, with errors that say which and why.

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
};

use crate::error::{LabError, Result};

/// How many lines of a failed program's standard error are kept.
const STDERR_LINES: usize = 12;

/// Runs a program to its end and returns its standard output.
pub(crate) fn run(what: &str, program: &str, args: &[&str]) -> Result<String> {
    run_command(what, Command::new(program).args(args), "")
}

/// Runs a program with the text as its standard input.
pub(crate) fn run_with_input(what: &str, program: &str, args: &[&str], input: &str) -> Result<String> {
    run_command(what, Command::new(program).args(args), input)
}

/// Runs a prepared command with the text as its standard input.
pub(crate) fn run_command(what: &str, command: &mut Command, input: &str) -> Result<String> {
    let line = describe(command);
    let failed = |status: String, stderr: String| LabError::Command {
        what: what.to_owned(),
        command: line.clone(),
        status,
        stderr,
    };
    if command.get_envs().all(|(name, _)| name != "PATH") {
        command.env("PATH", search_path().join(":"));
    }
    let spawned = command
        .env("LC_ALL", "C")
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|err| failed("no start".into(), err.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why by its status.
        stdin.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|err| failed("no end".into(), err.to_string()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    // Debootstrap tells its errors on standard output.
    let stderr = String::from_utf8_lossy(&output.stderr);
    let told = if stderr.trim().is_empty() { &*stdout } else { &*stderr };
    Err(failed(output.status.to_string(), tail(told, STDERR_LINES)))
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The command's line for people, without its environment, cut where it gets long.
fn describe(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(arg.to_string_lossy().lines().next().unwrap_or_default());
    }
    if line.chars().count() > 200 {
        line = line.chars().take(200).collect::<String>() + "…";
    }
    line
}

/// The search path, with the administrator's programs, which a plain `su` leaves out.
pub(crate) fn search_path() -> Vec<String> {
    let path = env::var("PATH").unwrap_or_default();
    let mut dirs: Vec<String> = path.split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
    for dir in ["/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        if dirs.iter().all(|have| have != dir) {
            dirs.push(dir.to_owned());
        }
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_why() {
        let err = run("try it", "sh", &["-c", "echo first; echo oh no >&2; exit 3"]).unwrap_err();
        let text = err.to_string();
        assert!(text.contains("failed to try it") && text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("\n    oh no"), "{text}");
        assert!(run("try it", "no-such-program-here", &[]).is_err());
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(run_with_input("copy", "cat", &[], "text\n").unwrap(), "text\n");
    }

    #[test]
    fn tail_keeps_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 5), "a");
    }
}
