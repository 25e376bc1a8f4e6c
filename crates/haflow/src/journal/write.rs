//! Writing: a thread of its own, so that no lane waits for a disk.

use super::input::Input;
use super::runs;
use crate::error::Error;
use crate::json;
use crate::kept::sync_folder;
use haflow_engine::Told;
use haflow_model::{Event, Record};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// While so many events wait for the disk, those aren't kept that only tell how something goes on.
const MOST_WAITING: usize = 4096;
/// The most events that are written together with one.
const MOST_AT_ONCE: usize = 1023;

/// The journal of a run that is under way. While it is open nobody else can open it to write.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// The journal of a new run. Its folder and what is run are on the disk when this returns.
    pub(crate) fn create(run: &str, input: &Input) -> Result<Self, Error> {
        let folder = runs::create(run, input)?;
        let path = folder.join(runs::EVENTS);
        let failed = |source| Error::Io { doing: "write the journal", path: path.clone(), source };
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path).map_err(failed)?;
        lock(&file).map_err(failed)?;
        sync_folder(&folder).map_err(failed)?;
        runs::forget_old();
        Ok(Self { path, file })
    }

    /// The journal of a run that goes on. `None` if somebody else writes it.
    pub(crate) fn reopen(path: PathBuf) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Io { doing: "write the journal", path: path.clone(), source };
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        Ok(lock(&file).map_err(failed)?.then_some(Self { path, file }))
    }

    /// Takes it away: nothing was begun.
    pub(crate) fn discard(self) {
        if let Some(folder) = self.path.parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Goes on after byte `end`, with these events: what comes after it was half a line.
    pub(crate) fn go_on(&mut self, end: u64, records: &[Record]) -> Result<(), Error> {
        let mut write = || {
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
            for record in records {
                self.file.write_all((json::text(record) + "\n").as_bytes())?;
            }
            self.file.sync_data()
        };
        write().map_err(|source| Error::Io { doing: "write the journal", path: self.path.clone(), source })
    }

    /// Begins to write: what is sent is written, and `told` gets it then. What is awaited is on the disk
    /// before; where it can't be, nothing more is told to have been kept.
    pub(crate) fn begin(self, told: impl Fn(Record) + Send + 'static) -> Writer {
        let (sender, events) = channel();
        let Self { path, file } = self;
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&waiting);
        let thread = std::thread::spawn(move || write(file, &events, &written, &told));
        Writer { sender, thread, path, waiting }
    }
}

/// The thread that writes.
pub(crate) struct Writer {
    sender: Sender<Told>,
    thread: JoinHandle<io::Result<()>>,
    path: PathBuf,
    /// How many events wait to be written.
    waiting: Arc<AtomicUsize>,
}

impl Writer {
    /// Takes in an event, and never waits: a disk that hangs stops no step and no interrupt. What waits for
    /// it is bounded by the graph, since an apply begins only once it is on the disk; only what tells how
    /// something goes on could come without end, and isn't kept while too much waits.
    pub(crate) fn take(&self, told: Told) {
        let progress = matches!(told.record.event, Event::StepSaid { .. } | Event::GateChecked { .. });
        if progress && self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Where the thread has ended it couldn't write: its error is told at the end.
        let _ = self.sender.send(told);
    }

    /// Waits until all is written. The error is the first one, after which nothing was begun.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { sender, thread, path, .. } = self;
        drop(sender);
        let written = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map_err(|source| Error::Io { doing: "write the journal", path, source })
    }
}

/// Whether it could be locked. Whoever only looks whether a run is under way has it for a moment.
fn lock(file: &File) -> io::Result<bool> {
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

/// Writes what comes, as much at once as there is: the applies that begin at the same time share one sync.
fn write(mut file: File, events: &Receiver<Told>, waiting: &AtomicUsize, told: &impl Fn(Record)) -> io::Result<()> {
    let mut kept = Ok(());
    let mut lines = Vec::new();
    while let Ok(first) = events.recv() {
        let mut batch = vec![first];
        batch.extend(events.try_iter().take(MOST_AT_ONCE));
        if kept.is_ok() {
            lines.clear();
            for event in &batch {
                json::write(&mut lines, &event.record)?;
                lines.push(b'\n');
            }
            kept = file.write_all(&lines);
            if kept.is_ok() && batch.iter().any(Told::is_awaited) {
                kept = file.sync_data();
            }
        }
        for mut event in batch {
            if kept.is_ok() {
                event.kept();
            }
            told(event.record);
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
    kept.and_then(|()| file.sync_data())
}
