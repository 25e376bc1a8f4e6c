//! What is remembered of a lab: one small file, written before anything is made by it.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{LabError, Result},
    files,
    layers::Layers,
    names::{self, MOST_HOSTS, Range},
};

/// Where labs are kept, a directory each.
pub(crate) const STATE_DIR: &str = "/var/lib/haflow/lab";

/// A lab as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) name: String,
    /// Six hex digits that everything which the lab makes on the machine is named by.
    pub(crate) id: String,
    pub(crate) range: Range,
    /// In the order in which they were asked for.
    pub(crate) hosts: Vec<SavedHost>,
}

/// A host as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedHost {
    pub(crate) name: String,
    /// What its address, link, namespace and cgroup follow from. Never given out twice.
    pub(crate) index: u8,
    pub(crate) suite: String,
    /// The base that its own files lie over, for as long as it exists.
    pub(crate) base: PathBuf,
    /// What lies between the two, if the host was started from a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Layers>,
}

impl Saved {
    /// Adds a host with the next index.
    pub(crate) fn add(&mut self, name: &str, suite: &str, base: &Path, snapshot: Option<Layers>) -> Result<()> {
        names::check("host", name)?;
        let used = |index: &u8| self.hosts.iter().any(|host| host.index == *index);
        let too_many = LabError::TooMany { most: MOST_HOSTS, asked: self.hosts.len() + 1 };
        let most = u8::try_from(MOST_HOSTS).unwrap_or(u8::MAX);
        let index = (0..most).find(|index| !used(index)).ok_or(too_many)?;
        let (name, suite, base) = (name.to_owned(), suite.to_owned(), base.to_owned());
        self.hosts.push(SavedHost { name, index, suite, base, snapshot });
        Ok(())
    }

    /// Puts the hosts that were asked for first, in that order.
    pub(crate) fn order(&mut self, asked: &[String]) {
        let place = |host: &SavedHost| asked.iter().position(|name| *name == host.name).unwrap_or(asked.len());
        self.hosts.sort_by_key(place);
    }

    pub(crate) fn write(&self) -> Result<()> {
        let path = file(&self.name);
        let json = serde_json::to_string_pretty(self).expect("a lab is data");
        files::write(&path, json + "\n", 0o600)
    }

    /// The lab's state, or nothing where there is no such lab.
    pub(crate) fn read(name: &str) -> Result<Option<Self>> {
        let path = file(name);
        let Some(text) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        parse(&text, name).map(Some).map_err(|why| LabError::State { name: name.to_owned(), path, why })
    }
}

fn parse(text: &str, name: &str) -> Result<Saved, String> {
    let saved: Saved = serde_json::from_str(text).map_err(|err| err.to_string())?;
    if saved.name != name {
        return Err(format!("it is that of lab {:?}", saved.name));
    }
    if saved.id.len() != 6 || !saved.id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!("{:?} is not an id", saved.id));
    }
    for host in &saved.hosts {
        names::check("host", &host.name).map_err(|err| err.to_string())?;
        host.snapshot.as_ref().map_or(Ok(()), Layers::check)?;
    }
    Ok(saved)
}

/// The directory of a lab.
pub(crate) fn dir(name: &str) -> PathBuf {
    Path::new(STATE_DIR).join(name)
}

/// The state file of a lab.
fn file(name: &str) -> PathBuf {
    dir(name).join("lab.json")
}

/// Where it is remembered what the kernel's settings were before the first lab.
pub(crate) fn settings_file() -> PathBuf {
    Path::new(STATE_DIR).join(".settings-were.json")
}

/// Removes the directory of labs and the one above it, if nothing is in them.
pub(crate) fn remove_dirs() {
    let dir = Path::new(STATE_DIR);
    for dir in [Some(dir), dir.parent()].into_iter().flatten() {
        fs::remove_dir(dir).ok();
    }
}

/// The names of all labs, sorted.
pub(crate) fn names() -> Result<Vec<String>> {
    let entries = match fs::read_dir(STATE_DIR) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(LabError::io("list", STATE_DIR))?,
    };
    let fit = |name: &String| names::check("lab", name).is_ok();
    let mut found: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(fit).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Saved {
        let mut saved = Saved { name: "one".into(), id: "00ff00".into(), range: Range(1, 2), hosts: Vec::new() };
        for name in ["a", "b", "c"] {
            saved.add(name, "bookworm", Path::new("/base"), None).unwrap();
        }
        saved
    }

    #[test]
    fn what_is_written_is_read() {
        let json = serde_json::to_string(&lab()).unwrap();
        assert_eq!(parse(&json, "one").unwrap(), lab());
        assert!(parse(&json, "two").unwrap_err().contains("one"));
        assert!(parse(&json.replace("00ff00", "../../"), "one").is_err());
        assert!(parse(&json.replace("\"a\"", "\"../a\""), "one").is_err());
        assert!(parse("{", "one").is_err());
    }

    #[test]
    fn an_index_is_used_once_and_the_order_is_as_asked() {
        let mut saved = lab();
        saved.hosts.remove(0);
        saved.add("d", "trixie", Path::new("/base"), None).unwrap();
        assert_eq!(saved.hosts.iter().map(|host| host.index).collect::<Vec<_>>(), [1, 2, 0]);
        saved.order(&["d".to_owned(), "c".to_owned()]);
        assert_eq!(saved.hosts.iter().map(|host| &*host.name).collect::<Vec<_>>(), ["d", "c", "b"]);
    }

    #[test]
    fn a_lab_has_an_end() {
        let mut saved = lab();
        for number in 3..MOST_HOSTS {
            saved.add(&format!("h{number}"), "bookworm", Path::new("/base"), None).unwrap();
        }
        let err = saved.add("more", "bookworm", Path::new("/base"), None).unwrap_err();
        assert!(matches!(err, LabError::TooMany { .. }));
    }
}
