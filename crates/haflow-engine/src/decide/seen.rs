//! What a probe saw: from the bytes that a host printed to a state that can be compared.

use crate::decide::digest::sha256;
use crate::decide::failure::{Unseen, failed};
use crate::decide::file::seen::FileSeen;
use crate::decide::known::Known;
use crate::decide::ready::Ready;
use crate::filters::Running;
use crate::filters::jq::{self, Input, Yield};
use crate::lane::Output;
use haflow_model::{Failure, Probe, Value};

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
    /// A digest of the state, by which it can be told later whether it moved. There is none where a secret is
    /// part of it: a short one could be guessed.
    pub(crate) fn digest(&self, salt: &str, task: &Ready<'_>) -> Option<String> {
        let secret = |known: &Known| matches!(known, Known::Secret(_));
        if task.want.as_ref().is_some_and(secret) || task.params.iter().any(|(_, known)| secret(known)) {
            return None;
        }
        let text = match (self, task.task.action.reads()) {
            (_, Some(read)) if read.secret => return None,
            (Self::Value(value), _) => value.to_string(),
            (Self::File(seen), _) => seen.state(),
            (Self::Nothing, _) => return None,
        };
        let mut digest = sha256(format!("{salt}\n{text}").as_bytes());
        digest.truncate(32);
        Some(digest)
    }
}

/// The state that a probe's output shows: text, JSON where `structured`, or what its jq filter makes of
/// either.
pub(crate) async fn of_probe(
    probe: &Probe,
    output: &Output,
    structured: bool,
    running: Running<'_>,
) -> Result<Seen, Unseen> {
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
        Err(jq::Error::Killed) => Err(Unseen::Killed),
        Err(error @ jq::Error::Broken(_)) => Err(failed(error.to_string(), output).into()),
    }
}

/// What a probe printed, as JSON.
fn json(text: &str, output: &Output) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| failed(format!("the probe printed no JSON: {error}"), output))
}
