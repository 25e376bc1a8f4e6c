//! Secrets that a command prints.

use crate::error::Error;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Command, Stdio};
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
        // Not the line itself: it may hold the secret that was to be in the other file.
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

/// What a command prints, without its last line break. No shell sees it, and it runs in the playbook's folder.
pub(super) fn run(name: &str, command: &[String], folder: &Path) -> Result<Zeroizing<String>, Error> {
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
    let messages = child.stderr.take().map(|mut stream| {
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said);
            said
        })
    });
    // Room for what secrets are: what grows leaves copies behind.
    let mut printed = Zeroizing::new(Vec::with_capacity(64 << 10));
    if let Some(mut stream) = child.stdout.take() {
        stream.read_to_end(&mut printed).map_err(|error| failed(format!("can't be read: {error}")))?;
    }
    let status = child.wait().map_err(|error| failed(format!("is lost: {error}")))?;
    let said = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
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
