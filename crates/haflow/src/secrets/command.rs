//! Secrets that a command prints.

use crate::child::wait;
use crate::error::Error;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The file that names the commands, beside the playbook.
pub(super) const NAME: &str = "secrets.toml";

const FORM: &str = "each line is a name and a command, for example: db_password = [\"pass\", \"show\", \"db\"]";

/// What a file of commands says, by the secrets' names.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let path = folder.join(NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(Error::Io { doing: "read", path, source }),
    };
    let wrong = |at: Option<std::ops::Range<usize>>| Error::Secret {
        // The line itself isn't shown: it may hold the secret that was to be in the other file.
        message: match line(&text, at) {
            Some(line) => format!("{}:{line} isn't a name and a command; nothing was changed", path.display()),
            None => format!("{} has an empty command; nothing was changed", path.display()),
        },
        help: format!("{FORM}; a secret itself is kept by `haflow secret set NAME`"),
    };
    let commands: BTreeMap<String, Vec<String>> = toml::from_str(&text).map_err(|error| wrong(error.span()))?;
    if commands.values().any(Vec::is_empty) { Err(wrong(None)) } else { Ok(commands) }
}

/// The number of the line that is meant, where that is known.
pub(super) fn line(text: &str, at: Option<std::ops::Range<usize>>) -> Option<usize> {
    at.and_then(|at| text.get(..at.start)).map(|before| before.matches('\n').count() + 1)
}

/// How long a command may take: somebody may be asked for a passphrase.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long the messages of a command may take after its end.
const GRACE: Duration = Duration::from_millis(500);
/// A secret is at most so large, in bytes.
const MOST: u64 = 1 << 20;
/// The most that is told of a command's messages, in bytes.
const MOST_SAID: u64 = 4 << 10;

/// What a command prints, without its last line break. No shell sees it, and it runs in the playbook's
/// folder.
pub(super) fn run(name: &str, command: &[String], folder: &Path) -> Result<Zeroizing<String>, Error> {
    run_for(name, command, folder, PATIENCE)
}

fn run_for(name: &str, command: &[String], folder: &Path, patience: Duration) -> Result<Zeroizing<String>, Error> {
    let shown = shell_words::join(command);
    let failed = |why: String| Error::Secret {
        message: format!("nothing was changed, since the command for the secret `{name}` {why}"),
        help: format!("run it by hand: {shown}"),
    };
    let (program, arguments) = command.split_first().expect("a command isn't empty");
    let mut started = Command::new(program);
    started.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !folder.as_os_str().is_empty() {
        started.current_dir(folder);
    }
    let mut child = started.spawn().map_err(|error| failed(format!("can't be started: {error}")))?;
    let deadline = Instant::now() + patience;
    let (tell, messages) = channel();
    if let Some(mut stream) = child.stderr.take() {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = (&mut stream).take(MOST_SAID).read_to_end(&mut said);
            // What it left running may hold the stream for longer.
            let _ = tell.send(said);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
    }
    let (sender, receiver) = channel();
    if let Some(stream) = child.stdout.take() {
        std::thread::spawn(move || {
            // Room for what secrets are: what grows leaves copies behind.
            let mut printed = Zeroizing::new(Vec::with_capacity(64 << 10));
            let read = stream.take(MOST + 1).read_to_end(&mut printed).map(|_| printed);
            // Nobody waits any more where it took too long.
            let _ = sender.send(read);
        });
    }
    let too_long = || format!("didn't end within {} s", patience.as_secs());
    let ended = match receiver.recv_timeout(patience) {
        Ok(Ok(printed)) if printed.len() as u64 <= MOST => {
            wait(&mut child, deadline).map(|status| (printed, status)).ok_or_else(too_long)
        }
        Ok(Ok(_)) => Err(format!("printed more than {} MiB", MOST >> 20)),
        Ok(Err(error)) => Err(format!("can't be read: {error}")),
        Err(_) => Err(too_long()),
    };
    let (printed, status) = ended.map_err(|why| {
        let _ = child.kill();
        let _ = child.wait();
        failed(why)
    })?;
    let said = messages.recv_timeout(GRACE).unwrap_or_default();
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        let said = if said.trim().is_empty() { String::new() } else { format!(":\n{}", said.trim_end()) };
        return Err(failed(format!("failed ({status}){said}")));
    }
    text(&printed).ok_or_else(|| failed("printed something that isn't UTF-8".into()))
}

/// A text without its last line break.
pub(crate) fn text(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Some(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(script: &str, patience: Duration) -> String {
        let command = ["sh", "-c", script].map(str::to_owned);
        match run_for("x", &command, Path::new(""), patience) {
            Ok(secret) => secret.to_string(),
            Err(Error::Secret { message, .. }) => message,
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_command_is_bounded_in_bytes_and_time() {
        let long = Duration::from_mins(1);
        assert_eq!(of("echo hunter2", long), "hunter2");
        assert!(of("cat /dev/zero", long).ends_with("printed more than 1 MiB"));
        assert!(of("exec sleep 1000 >&-", Duration::from_millis(20)).ends_with("didn't end within 0 s"));
        assert!(of("exec sleep 1000", Duration::from_millis(20)).ends_with("didn't end within 0 s"));
        let told = of("head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 3", long);
        assert!(told.contains("failed (exit status: 3)") && told.len() < 5000, "{}", told.len());
    }
}
