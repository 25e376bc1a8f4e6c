//! Executable inventories.

use crate::child::wait;
use haflow_model::Diagnostic;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The most that is taken of what a program prints, in bytes: an inventory of a hundred thousand hosts has
/// a tenth of it.
const MOST: u64 = 256 << 20;
/// The same of its messages, of which the last lines are told.
const MOST_SAID: u64 = 64 << 10;

/// How long a program may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a program and gives what it printed.
pub(super) fn run(program: &Path, arguments: &[&str], patience: Duration) -> Result<Vec<u8>, Diagnostic> {
    let shown = program.display();
    let command = format!("{shown} {}", arguments.join(" "));
    // Without a slash, a name would be looked for in PATH.
    let path = if program.components().count() == 1 { Path::new(".").join(program) } else { program.to_owned() };
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that nothing it has started is left behind.
        .process_group(0)
        .spawn()
        .map_err(|error| {
            Diagnostic::new(format!("failed to start the inventory program `{shown}`: {error}"))
                .help(format!("give it a first line such as `#!/bin/sh`; if it is no program: chmod -x {shown}"))
        })?;
    let stdout = collect(child.stdout.take(), MOST);
    let stderr = collect(child.stderr.take(), MOST_SAID);
    let deadline = Instant::now() + patience;
    let ended = wait(&mut child, deadline);
    let grace = match ended {
        Some(_) => deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100)),
        None => Duration::from_millis(500),
    };
    let printed = if ended.is_some() { stdout.recv_timeout(grace).ok() } else { None };
    let (status, Some(printed)) = (ended, printed) else {
        kill(&mut child);
        let messages = stderr.recv_timeout(grace).unwrap_or_default();
        let message = format!("the inventory program `{command}` didn't end within {} s", patience.as_secs());
        return Err(Diagnostic::new(message + tail(&messages).as_str()).help("run it by hand to see what it waits for"));
    };
    let messages = stderr.recv_timeout(grace).unwrap_or_default();
    if printed.len() as u64 > MOST {
        return Err(Diagnostic::new(format!("the inventory program `{command}` printed more than {} MiB", MOST >> 20))
            .help("run it by hand to see what it prints"));
    }
    match status {
        Some(status) if !status.success() => {
            Err(Diagnostic::new(format!("the inventory program `{command}` {}{}", ending(status), tail(&messages)))
                .help("it must print JSON and end with exit code 0; run it by hand to see why it doesn't"))
        }
        _ => Ok(printed),
    }
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by now.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// Reads a stream to its end on a thread of its own, so that a full pipe blocks nobody. A byte more than
/// `most` says that there was more: the rest is thrown away.
fn collect(stream: Option<impl Read + Send + 'static>, most: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut stream) = stream {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = (&mut stream).take(most + 1).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            // Nobody waits any more after a timeout.
            let _ = sender.send(bytes);
        });
    }
    receiver
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// The last lines of its messages.
fn tail(messages: &[u8]) -> String {
    let text = String::from_utf8_lossy(messages);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return ", and said nothing on stderr".to_owned();
    }
    let last = lines[lines.len().saturating_sub(10)..].join("\n");
    format!(
        "; its last messages:\n{}",
        last.get(last.floor_char_boundary(last.len().saturating_sub(4 << 10))..).unwrap_or_default()
    )
}
