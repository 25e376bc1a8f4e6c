//! Snapshots: what a host's disk had beyond its base, kept under a name for new hosts to start from.
//!
//! A snapshot is a small file `NAME.json`, written last, that says which directory beside it holds the
//! layers. A directory that no such file and no host of a lab speaks of is a remain of something that
//! was killed, replaced or removed, and goes with the next change to the snapshots.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    base,
    command::run,
    error::{LabError, Result},
    files::{self, Lock},
    identity,
    layers::{Layers, MOST_LAYERS, SNAPSHOTS_DIR},
    names,
    progress::{Progress, Report},
    state::{self, Saved, SavedHost},
    tools,
};

/// The disk of a lab's host, kept for new hosts to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    name: String,
    description: Description,
}

/// A snapshot as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    suite: String,
    base: PathBuf,
    /// What the base was like: the layers fit no other.
    fingerprint: String,
    /// The directory with the layers, numbered from 0 upwards.
    dir: String,
    layers: usize,
    bytes: u64,
    /// When, in seconds since 1970.
    made: u64,
    /// The part of the recipe by which it was made, if by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<String>,
}

impl Snapshot {
    /// The snapshot of this name, or nothing if there is none.
    ///
    /// # Errors
    /// If this isn't Linux or the user not root, or the snapshot's description is damaged.
    pub fn find(name: &str) -> Result<Option<Self>> {
        tools::basics()?;
        names::check("snapshot", name)?;
        let Some(text) = files::read_if_there(&file(name))? else {
            return Ok(None);
        };
        let found = Self::read(name, &text)?;
        match found.layers().dirs().iter().find(|dir| !dir.is_dir()) {
            Some(dir) => Err(damaged(name, format!("{} is gone", dir.display()))),
            None => Ok(Some(found)),
        }
    }

    fn read(name: &str, text: &str) -> Result<Self> {
        let description: Description = serde_json::from_str(text).map_err(|err| damaged(name, err.to_string()))?;
        names::check("suite", &description.suite).map_err(|err| damaged(name, err.to_string()))?;
        let found = Self { name: name.to_owned(), description };
        found.layers().check().map_err(|why| damaged(name, why))?;
        Ok(found)
    }

    /// All snapshots of this machine, by name; what is wrong with one that is damaged.
    ///
    /// # Errors
    /// If this isn't Linux or the user not root, or the snapshots can't be listed.
    pub fn list() -> Result<Vec<Result<Self>>> {
        tools::basics()?;
        Ok(names()?.iter().filter_map(|name| Self::find(name).transpose()).collect())
    }

    /// Removes a snapshot, also a damaged one. What hosts stand on stays until their labs are down.
    ///
    /// # Errors
    /// If there is no such snapshot, or it can't be removed.
    pub fn remove(name: &str, progress: Report<'_>) -> Result<()> {
        tools::basics()?;
        names::check("snapshot", name)?;
        let _lock = lock(progress)?;
        if !file(name).exists() {
            return Err(none(name));
        }
        progress(Progress::Removing { what: format!("snapshot {name}") });
        files::remove_file(&file(name))?;
        collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Debian suite that it stands on, such as "bookworm".
    pub fn suite(&self) -> &str {
        &self.description.suite
    }

    /// The bytes that it takes up on this machine's disk.
    pub fn bytes(&self) -> u64 {
        self.description.bytes
    }

    /// How long ago it was taken; nothing if the clock has gone back since.
    pub fn age(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.description.made))
    }

    /// The part of the recipe that it was made by.
    pub(crate) fn part(&self) -> Option<&str> {
        self.description.part.as_deref()
    }

    /// Whether the base that it stands on is there, and what it was.
    pub(crate) fn fits(&self) -> bool {
        base::fingerprint(&self.description.base).is_ok_and(|now| now == self.description.fingerprint)
    }

    /// The layers, for a host to stand on.
    pub(crate) fn layers(&self) -> Layers {
        Layers { name: self.name.clone(), dir: self.description.dir.clone(), count: self.description.layers }
    }

    /// The base, for a host to stand on.
    pub(crate) fn base(&self) -> &Path {
        &self.description.base
    }
}

/// A snapshot that hosts of this suite, if one is asked for, can be started from.
pub(crate) fn open(name: &str, suite: Option<&str>) -> Result<Snapshot> {
    let found = Snapshot::find(name)?.ok_or_else(|| none(name))?;
    if let Some(asked) = suite.filter(|asked| *asked != found.suite()) {
        let (name, has) = (name.to_owned(), found.suite().to_owned());
        return Err(LabError::SnapshotSuite { name, has, asked: asked.to_owned() });
    }
    if !found.fits() {
        let why = if found.base().exists() { "was made anew, with other packages" } else { "is gone" };
        return Err(LabError::SnapshotBase { name: name.to_owned(), base: found.base().to_owned(), why });
    }
    Ok(found)
}

/// Refuses a name that can't be taken, before anything is done for it.
pub(crate) fn check_free(name: &str, replace: bool) -> Result<()> {
    names::check("snapshot", name)?;
    if !replace && file(name).exists() {
        return Err(LabError::SnapshotExists { name: name.to_owned() });
    }
    Ok(())
}

/// What a snapshot is taken of: a host that isn't running.
pub(crate) struct Taken<'a> {
    pub(crate) host: &'a SavedHost,
    /// The host's own files, above everything that it stands on.
    pub(crate) upper: &'a Path,
    /// The public key of its lab.
    pub(crate) login_key: &'a str,
    pub(crate) part: Option<&'a str>,
}

/// Copies what a host has beyond its base. The caller holds the lock of all snapshots.
pub(crate) fn take(name: &str, taken: &Taken<'_>) -> Result<Snapshot> {
    // Remains first: their room may be needed.
    collect()?;
    let host = taken.host;
    // From the lowest to the host's own.
    let mut from: Vec<PathBuf> = host.snapshot.as_ref().map(Layers::dirs).unwrap_or_default();
    from.reverse();
    from.push(taken.upper.to_owned());
    if from.len() > MOST_LAYERS {
        return Err(LabError::TooManyLayers { host: host.name.clone(), most: MOST_LAYERS });
    }
    let fingerprint = base::fingerprint(&host.base)?;
    let dir = format!("kept-{}", names::hex(format!("{name} {}", identity::fresh_id()?), 12));
    let path = Path::new(SNAPSHOTS_DIR).join(&dir);
    let outcome = copy(&from, &path, taken.login_key);
    let description = outcome.map(|bytes| Description {
        suite: host.suite.clone(),
        base: host.base.clone(),
        fingerprint,
        dir,
        layers: from.len(),
        bytes,
        made: now(),
        part: taken.part.map(str::to_owned),
    });
    let written = description.and_then(|description| {
        let json = serde_json::to_string_pretty(&description).expect("a snapshot is data");
        files::write(&file(name), json + "\n", 0o600)?;
        Ok(Snapshot { name: name.to_owned(), description })
    });
    // What was replaced goes, or what was copied for nothing; the reason matters more than what is left.
    collect().ok();
    written
}

/// Copies the layers, takes out of the uppermost what makes it one host's, and returns their size.
fn copy(from: &[PathBuf], to: &Path, login_key: &str) -> Result<u64> {
    files::make_dir(Path::new(SNAPSHOTS_DIR), 0o700)?;
    files::make_dir(to, 0o700)?;
    let target = to.to_string_lossy();
    for (layer, from) in from.iter().enumerate() {
        let (from, to) = (from.to_string_lossy(), format!("{target}/{layer}"));
        // What overlays note beside files (a directory that hides those below) is in their attributes.
        // The copy ends with us.
        let keep = "--preserve=mode,ownership,timestamps,links,xattr";
        let args = ["--pdeathsig", "KILL", "cp", "--archive", keep, "--no-target-directory", "--", &from, &to];
        run("copy a host's files", "setpriv", &args)?;
    }
    identity::strip(&to.join((from.len() - 1).to_string()), login_key)?;
    // A snapshot that is there is whole, also after this machine has lost its power.
    run("write the snapshot to the disk", "sync", &["--file-system", &target])?;
    let printed = run("measure the snapshot", "du", &["--summarize", "--block-size=1", &target])?;
    Ok(printed.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
}

/// Removes what no snapshot and no host speaks of. The caller holds the lock of all snapshots.
pub(crate) fn collect() -> Result<()> {
    let mut used = Vec::new();
    for name in state::names()? {
        match Saved::read(&name) {
            Ok(saved) => used.extend(saved.into_iter().flat_map(|saved| saved.hosts).filter_map(|host| host.snapshot)),
            // Nobody knows what its hosts stand on. `down` of it makes the way free.
            Err(_) => return Ok(()),
        }
    }
    let mut dirs: Vec<String> = used.into_iter().map(|layers| layers.dir).collect();
    for name in names()? {
        let Some(text) = files::read_if_there(&file(&name))? else { continue };
        match Snapshot::read(&name, &text) {
            Ok(found) => dirs.push(found.description.dir),
            // Nobody knows which layers are its. Removing it makes the way free.
            Err(_) => return Ok(()),
        }
    }
    for entry in entries()? {
        if entry.strip_suffix(".json").is_some() || dirs.contains(&entry) {
            continue;
        }
        let path = Path::new(SNAPSHOTS_DIR).join(&entry);
        if entry.starts_with("kept-") {
            files::remove_tree(&path)?;
        } else if entry.starts_with(".haflow-") {
            files::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The lock of all snapshots, taken after a lab's own.
pub(crate) fn lock(progress: Report<'_>) -> Result<Lock> {
    Lock::take("snapshots", "another haflow that works on the snapshots", progress)
}

fn damaged(name: &str, why: String) -> LabError {
    LabError::SnapshotDamaged { name: name.to_owned(), path: file(name), why }
}

fn none(name: &str) -> LabError {
    LabError::NoSnapshot { name: name.to_owned(), has: names().unwrap_or_default() }
}

fn file(name: &str) -> PathBuf {
    Path::new(SNAPSHOTS_DIR).join(format!("{name}.json"))
}

/// The names of all snapshots, sorted.
fn names() -> Result<Vec<String>> {
    let mut found: Vec<String> =
        entries()?.iter().filter_map(|entry| entry.strip_suffix(".json")).map(str::to_owned).collect();
    found.retain(|name| names::check("snapshot", name).is_ok());
    found.sort();
    Ok(found)
}

fn entries() -> Result<Vec<String>> {
    match fs::read_dir(SNAPSHOTS_DIR) {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(LabError::io("list", SNAPSHOTS_DIR)(err)),
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()),
    }
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
