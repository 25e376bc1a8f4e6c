//! Reading what happened: a line at a time, since a journal may be larger than memory.

use crate::error::Error;
use haflow_model::{Event, Outcome, Record, RunCounts};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The end of a run is told within so many bytes.
const END: u64 = 64 << 10;
/// How much of what a failed task printed is kept to tell why others didn't run, in bytes.
const SAID: usize = 16 << 10;

/// A journal that is read.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: R,
    path: PathBuf,
    /// How many lines were read.
    lines: usize,
    /// Where the last whole line ends, in bytes.
    pub(crate) end: u64,
}

impl Reader<BufReader<File>> {
    /// The journal in this file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(failed(path))?;
        Ok(Self::new(BufReader::new(file), path))
    }
}

impl<R: BufRead + Seek> Reader<R> {
    pub(crate) fn new(input: R, path: &Path) -> Self {
        Self { input, path: path.into(), lines: 0, end: 0 }
    }

    /// The next event; `None` where there is none yet. A last line that isn't whole is what is being written,
    /// or was when its writer died.
    pub(crate) fn record(&mut self) -> Result<Option<Record>, Error> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line).map_err(failed(&self.path))?;
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice(&line) {
            Ok(record) if whole => {
                self.lines += 1;
                self.end += line.len() as u64;
                Ok(Some(record))
            }
            // A disk that lost its power may have kept the length and not the bytes.
            _ if !whole || line.contains(&0) => {
                self.input.seek(SeekFrom::Start(self.end)).map_err(failed(&self.path))?;
                Ok(None)
            }
            Ok(_) => unreachable!("a line that is whole and reads is taken"),
            Err(error) => Err(unreadable(&self.path, &format!("line {}", self.lines + 1), &error)),
        }
    }

    /// All events that are there, as far as `keep` keeps them.
    pub(crate) fn rest(&mut self, mut keep: impl FnMut(Record) -> Option<Record>) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        while let Some(record) = self.record()? {
            records.extend(keep(record));
        }
        Ok(records)
    }
}

/// How the run ended whose journal ends so; `None` of one that hasn't. Nothing else is read.
pub(super) fn ended(path: &Path) -> Result<Option<RunCounts>, Error> {
    let mut file = File::open(path).map_err(failed(path))?;
    let length = file.metadata().map_err(failed(path))?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END))).map_err(failed(path))?;
    let mut text = Vec::new();
    file.take(END).read_to_end(&mut text).map_err(failed(path))?;
    // What follows the last line isn't whole.
    let line_end = |text: &[u8]| text.iter().rposition(|byte| *byte == b'\n');
    let Some(end) = line_end(&text) else { return Ok(None) };
    let line = match line_end(&text[..end]) {
        Some(before) => &text[before + 1..end],
        None if length <= END => &text[..end],
        None => return Ok(None),
    };
    if line.contains(&0) {
        return Ok(None);
    }
    match serde_json::from_slice::<Record>(line) {
        Ok(Record { event: Event::RunFinished { counts, .. }, .. }) => Ok(Some(counts)),
        Ok(_) => Ok(None),
        Err(error) => Err(unreadable(path, "the last line", &error)),
    }
}

/// Whether an event is about this task.
pub(crate) fn is_of(event: &Event, id: &str) -> bool {
    match event {
        Event::TaskStarted { task }
        | Event::TaskRetried { task, .. }
        | Event::TaskWouldFail { task, .. }
        | Event::ApplyStarted { task, .. }
        | Event::GateChecked { task, .. }
        | Event::StepSaid { task, .. }
        | Event::TaskFinished { task, .. } => task.id == id,
        _ => false,
    }
}

/// An event without what is large in it and nobody needs in order to know what became of its task:
/// differences, outputs, and what only goes along with what happens.
pub(crate) fn slim(mut record: Record) -> Option<Record> {
    match &mut record.event {
        Event::ApplyStarted { diff, .. } => *diff = haflow_model::Diff::default(),
        Event::TaskFinished { outcome, output, .. } => {
            *output = None;
            match outcome {
                Outcome::Changed { diff } => *diff = haflow_model::Diff::default(),
                Outcome::Failed { failure } => {
                    for said in [&mut failure.stdout, &mut failure.stderr] {
                        let from = said.floor_char_boundary(said.len().saturating_sub(SAID));
                        said.drain(..from);
                        said.shrink_to_fit();
                    }
                }
                _ => {}
            }
        }
        Event::GateChecked { .. } | Event::StepSaid { .. } => return None,
        _ => {}
    }
    Some(record)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing: "read the journal", path: path.clone(), source }
}

fn unreadable(path: &Path, which: &str, error: &serde_json::Error) -> Error {
    Error::Journal {
        message: format!("{which} of the journal {} can't be read: {error}", path.display()),
        help: "it was written by another version of haflow, or changed since; begin a new run".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const BEGAN: &str = r#"{"at":1,"event":"interrupted"}"#;
    const ENDED: &str = r#"{"at":2,"event":"run_finished","run":"r","took_ms":1,"ok":1,"changed":0,"failed":0,"skipped":0,"unreachable":0,"cancelled":0,"in_doubt":0}"#;

    #[test]
    fn how_a_run_ended_is_in_its_last_whole_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let large = format!("{{\"at\":1,\"event\":\"{}", "x".repeat(100_000));
        for (text, finished) in [
            (String::new(), Some(false)),
            (BEGAN.to_owned(), Some(false)),
            (format!("{BEGAN}\n"), Some(false)),
            (format!("{ENDED}\n"), Some(true)),
            (format!("{BEGAN}\n{ENDED}\n"), Some(true)),
            (format!("{BEGAN}\n{ENDED}\n{{\"at\":3"), Some(true)),
            (format!("{BEGAN}\n{ENDED}\n{BEGAN}\n"), Some(false)),
            (format!("{ENDED}\n\0\0\0\n"), Some(false)),
            (format!("{ENDED}\n{large}"), Some(false)),
            (format!("{large}\"}}\n{ENDED}\n"), Some(true)),
            (format!("{ENDED}\nno event\n"), None),
        ] {
            std::fs::write(file.path(), &text).expect("it is ours");
            let told = ended(file.path()).ok().map(|counts| counts.is_some());
            assert_eq!(told, finished, "{:?}", &text[..text.len().min(200)]);
        }
    }

    #[test]
    fn half_a_line_is_read_once_it_is_whole() {
        let mut reader = Reader::new(Cursor::new(format!("{BEGAN}\n{}", &ENDED[..20]).into_bytes()), Path::new("j"));
        assert_eq!(reader.rest(Some).expect("it reads").len(), 1);
        assert_eq!(reader.end, BEGAN.len() as u64 + 1);
        *reader.input.get_mut() = format!("{BEGAN}\n{ENDED}\n").into_bytes();
        assert_eq!(reader.rest(Some).expect("it reads").len(), 1);
        assert_eq!(reader.end, (BEGAN.len() + ENDED.len()) as u64 + 2);
    }
}
