//! The folder of all runs.

use super::input::Input;
use super::read::{self, Reader};
use crate::error::Error;
use crate::kept::{private_folder, state_folder, sync_folder};
use haflow_model::{Event, RunCounts, nearest};
use std::cmp::Reverse;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

const INPUT: &str = "input.json";
pub(super) const EVENTS: &str = "events.jsonl";

/// How many runs are kept of those that can't be resumed.
const MOST: usize = 200;

/// A run that is kept.
#[derive(Debug)]
pub(crate) struct KeptRun {
    /// Its id.
    pub(crate) run: String,
    folder: PathBuf,
}

impl KeptRun {
    /// What was run.
    pub(crate) fn input(&self) -> Result<Input, Error> {
        let path = self.folder.join(INPUT);
        let text = std::fs::read(&path).map_err(|source| Error::Io { doing: "read", path: path.clone(), source })?;
        let broken = |why: String| Error::Journal {
            message: format!("{} can't be read: {why}", path.display()),
            help: "it was written by another version of haflow, or changed since; begin a new run".into(),
        };
        let input: Input = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if input.is_of_this_form() { Ok(input) } else { Err(broken("it has another form".into())) }
    }

    /// What happened so far.
    pub(crate) fn events(&self) -> Result<Reader<BufReader<File>>, Error> {
        Reader::open(&self.journal())
    }

    /// How it ended, if it has, whether it was resumed or not.
    pub(crate) fn ended(&self) -> Result<Option<RunCounts>, Error> {
        read::ended(&self.journal())
    }

    /// How many tasks it has, once it has begun.
    pub(crate) fn tasks(&self) -> Result<Option<usize>, Error> {
        Ok(match self.events()?.record()?.map(|record| record.event) {
            Some(Event::RunStarted { tasks, .. } | Event::RunResumed { tasks, .. }) => Some(tasks),
            _ => None,
        })
    }

    /// Whether it was cut off: it can be resumed, and what it left under way may be known from its journal
    /// alone.
    fn is_interrupted(&self) -> bool {
        let cut_off = |counts: RunCounts| counts.cancelled + counts.in_doubt > 0;
        // What can't be read may be that as well.
        self.ended().map_or(true, |ended| ended.is_none_or(cut_off))
    }

    /// The file of its events.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join(EVENTS)
    }

    /// Whether it is under way: its journal is being written.
    pub(crate) fn is_running(&self) -> bool {
        let Ok(file) = File::open(self.journal()) else { return false };
        matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
    }
}

fn folder() -> Result<PathBuf, Error> {
    Ok(state_folder()?.join("runs"))
}

/// All runs, the newest first.
pub(crate) fn all() -> Result<Vec<KeptRun>, Error> {
    let folder = folder()?;
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::Io { doing: "list the runs in", path: folder, source }),
    };
    let mut runs: Vec<KeptRun> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(EVENTS).is_file())
        .filter_map(|entry| Some(KeptRun { run: entry.file_name().into_string().ok()?, folder: entry.path() }))
        .collect();
    // An id tells the second; within one the folder tells which came first, where its file system does.
    let made = |kept: &KeptRun| std::fs::metadata(&kept.folder).and_then(|folder| folder.created()).ok();
    let second =
        |kept: &KeptRun| kept.run.rsplit_once('-').map_or_else(|| kept.run.clone(), |(second, _)| second.to_owned());
    runs.sort_by_cached_key(|kept| Reverse((second(kept), made(kept), kept.run.clone())));
    Ok(runs)
}

/// The run of that id, or the only one whose id has that in it; without one, and for `last`, the last run.
pub(crate) fn find(asked: Option<&str>) -> Result<KeptRun, Error> {
    let mut runs = all()?;
    let usage = |message: String, help: &str| Error::Usage { message, help: help.into() };
    let Some(asked) = asked.filter(|asked| *asked != "last") else {
        return runs
            .into_iter()
            .next()
            .ok_or_else(|| usage("there was no run here yet".into(), "`haflow run PLAYBOOK …` begins one"));
    };
    if let Some(at) = runs.iter().position(|kept| kept.run == asked) {
        return Ok(runs.swap_remove(at));
    }
    let fit: Vec<usize> = (0..runs.len()).filter(|at| runs[*at].run.contains(asked)).collect();
    match fit[..] {
        [at] => Ok(runs.swap_remove(at)),
        [] => {
            let near = nearest(asked, runs.iter().map(|kept| kept.run.as_str()));
            let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            Err(usage(format!("there is no run `{asked}`{near}"), "`haflow runs` lists them"))
        }
        _ => Err(usage(format!("`{asked}` fits {} runs", fit.len()), "give more of the one that you mean")),
    }
}

/// Makes the folder of a new run, with what is run in it, for nobody else to read.
pub(super) fn create(run: &str, input: &Input) -> Result<PathBuf, Error> {
    let all = folder()?;
    let mine = all.join(run);
    let failed = |doing| {
        let path = mine.clone();
        move |source| Error::Io { doing, path, source }
    };
    private_folder(&all).map_err(failed("make"))?;
    DirBuilder::new().mode(0o700).create(&mine).map_err(failed("make"))?;
    let mut file = tempfile::NamedTempFile::new_in(&mine).map_err(failed("write the journal in"))?;
    serde_json::to_writer(&mut file, input)
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed("write the journal in"))?;
    file.persist(mine.join(INPUT)).map_err(|error| failed("write the journal in")(error.error))?;
    sync_folder(&all).map_err(failed("write the journal in"))?;
    // The first run's folder is new itself.
    all.parent().map_or(Ok(()), sync_folder).map_err(failed("write the journal in"))?;
    Ok(mine)
}

/// Removes the oldest runs where there are too many, but none that was cut off. What can't be removed stays.
pub(super) fn forget_old() {
    let Ok(runs) = all() else { return };
    if runs.len() <= MOST {
        return;
    }
    for old in runs.into_iter().filter(|kept| !kept.is_interrupted()).skip(MOST).filter(|old| !old.is_running()) {
        let _ = std::fs::remove_dir_all(&old.folder);
    }
}
