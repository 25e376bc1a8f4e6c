//! What a probe saw: from the bytes that a host printed to a state that can be compared.

use crate::cut::tail;
use crate::decide::Ready;
use crate::decide::file::FileSeen;
use crate::filters::Running;
use crate::filters::jq::{self, Input, Yield};
use crate::lane::{Output, Stopped};
use crate::step::Trouble;
use haflow_model::{Action, Failure, Probe, Secret, Value};

/// The state of one task's thing on its host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    /// What an ensure's, a gate's or a read's probe showed.
    Value(Value),
    /// What is at a path.
    File(FileSeen),
    /// An act has no probe.
    Nothing,
}

impl Seen {
    /// A digest of the state, by which it can be told later whether it moved. There is none where a secret is part of it: a
    /// short one could be guessed.
    pub(crate) fn digest(&self, salt: &str, task: &Ready<'_>) -> Option<String> {
        let secret = |known: &Known| matches!(known, Known::Secret(_));
        if task.want.as_ref().is_some_and(secret) || task.params.iter().any(|(_, known)| secret(known)) {
            return None;
        }
        let text = match (self, &task.task.action) {
            (_, Action::Read(read)) if read.secret => return None,
            (Self::Value(value), _) => value.to_string(),
            (Self::File(seen), _) => seen.state(),
            (Self::Nothing, _) => return None,
        };
        let mut digest = crate::decide::file::sha256(format!("{salt}\n{text}").as_bytes());
        digest.truncate(32);
        Some(digest)
    }
}

/// A value once it is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// It may be shown.
    Plain(Value),
    /// It may not.
    Secret(Secret),
}

impl Known {
    /// What a read yields.
    pub(crate) fn read(value: &Value, secret: bool) -> Self {
        if secret { Self::Secret(Secret::new(crate::shell::variable(value))) } else { Self::Plain(value.clone()) }
    }

    /// The value as the text of a shell variable.
    pub(crate) fn variable(&self) -> String {
        match self {
            Self::Plain(value) => crate::shell::variable(value),
            Self::Secret(secret) => secret.expose().to_owned(),
        }
    }

    /// The value for a comparison or a filter. What comes of a secret is compared, and never shown.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Secret(secret) => Value::from(secret.expose()),
        }
    }
}

/// What every program says of a full disk (ENOSPC), in the language that lanes ask for.
const FULL: &str = "No space left on device";

/// Lines of each stream that a failure shows.
const TAIL: usize = 12;

/// The exit code of a script that refused to work on a path, after a line that says why.
const REFUSED: i32 = 77;

/// What a script said before it refused: its message, and what to do.
fn refusal(output: &Output) -> Option<Failure> {
    let stderr = tail(&output.stderr, TAIL);
    let said = |word: &str| stderr.lines().rev().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
    let message = said("haflow: ").filter(|_| output.exit == REFUSED)?;
    Some(Failure { message, exit: Some(output.exit), hint: said("hint: "), ..Failure::default() })
}

/// A failure with what a script left.
pub(crate) fn failed(message: impl Into<String>, output: &Output) -> Failure {
    if let Some(failure) = refusal(output) {
        return failure;
    }
    let stderr = tail(&output.stderr, TAIL);
    let hint = match output.exit {
        _ if stderr.contains(FULL) => Some("make room there: `df -h` shows which disk it is".to_owned()),
        _ if stderr.contains("Read-only file system") => Some("the file system is mounted read-only".to_owned()),
        127 => Some("a program that the script needs isn't installed there".to_owned()),
        137 => Some("it was killed: by the kernel for want of memory (see `dmesg`), or by somebody".to_owned()),
        _ => None,
    };
    let full = stderr.contains(FULL);
    let message = if full { format!("a disk of the host is full: {}", message.into()) } else { message.into() };
    Failure { message, exit: Some(output.exit), stdout: tail(&output.stdout, TAIL), stderr, hint }
}

/// The state that a probe's output shows: text, JSON where `structured`, or what its jq filter makes of either.
pub(crate) async fn of_probe(
    probe: &Probe,
    output: &Output,
    structured: bool,
    running: Running<'_>,
) -> Result<Seen, Trouble> {
    if output.exit != 0 {
        let mut failure = failed(format!("the probe exited {}", output.exit), output);
        if output.stderr.is_empty() && failure.hint.is_none() {
            failure.hint =
                Some("a probe ends with 0 whatever it sees: add `|| true` where finding nothing is an answer".into());
        }
        return Err(failure.into());
    }
    let text =
        std::str::from_utf8(&output.stdout).map_err(|_| failed("the probe printed bytes that aren't UTF-8", output))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let Some(filter) = &probe.jq else {
        return Ok(Seen::Value(if structured { json(text, output)? } else { Value::from(text) }));
    };
    let input = Input::Value(if probe.raw { Value::from(text) } else { json(text, output)? });
    match running.run(filter, input).await.and_then(Yield::value) {
        Ok(value) => Ok(Seen::Value(value)),
        // The task's own words: what was printed adds nothing to them.
        Err(jq::Error::Raised(message)) => Err(Failure { message, ..Failure::default() }.into()),
        Err(jq::Error::Killed) => Err(Trouble::Killed(Stopped::default())),
        Err(error @ jq::Error::Broken(_)) => Err(failed(error.to_string(), output).into()),
    }
}

/// What a probe printed, as JSON.
fn json(text: &str, output: &Output) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| failed(format!("the probe printed no JSON: {error}"), output))
}
