//! Reading what happened.

use crate::error::Error;
use haflow_model::{Event, Record, RunCounts};
use std::path::Path;

/// What a journal says so far.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) records: Vec<Record>,
    /// Where the last whole line ends, in bytes.
    pub(crate) end: u64,
}

/// Reads a journal. A last line that isn't whole is what was being written when its writer died, and is left out.
pub(crate) fn events(path: &Path) -> Result<Events, Error> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { doing: "read the journal", path: path.into(), source })?;
    events_of(&bytes, path)
}

/// The same of the bytes in it.
pub(crate) fn events_of(bytes: &[u8], path: &Path) -> Result<Events, Error> {
    let mut events = Events::default();
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice(line) {
            Ok(record) if whole => events.records.push(record),
            // A disk that lost its power may have kept the length and not the bytes.
            _ if !whole || line.contains(&0) => break,
            Ok(_) => unreachable!("a line that is whole and reads is taken"),
            Err(error) => {
                return Err(Error::Journal {
                    message: format!("line {} of the journal {} can't be read: {error}", number + 1, path.display()),
                    help: "it was written by another version of haflow, or changed since; begin a new run".into(),
                });
            }
        }
        events.end += line.len() as u64;
    }
    Ok(events)
}

impl Events {
    /// The last event of a run that ended, whether it was resumed or not.
    pub(crate) fn finished(&self) -> Option<RunCounts> {
        match &self.records.last()?.event {
            Event::RunFinished { counts, .. } => Some(*counts),
            _ => None,
        }
    }
}
