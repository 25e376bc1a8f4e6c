//! What the disks of new hosts start from: a suite's base alone, or a snapshot over its base.

use crate::{
    base,
    error::{LabError, Result},
    names,
    progress::Report,
    snapshot,
    state::{Saved, SavedHost},
};

/// What new hosts start from.
pub(crate) enum Disk<'a> {
    /// The base of a suite.
    Base { suite: &'a str },
    /// A snapshot, of this suite where one is named.
    Snapshot { name: &'a str, suite: Option<&'a str> },
}

impl Disk<'_> {
    /// Refuses what can't be, before anything is made.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Base { suite } => names::check("suite", suite),
            Self::Snapshot { name, suite } => snapshot::open(name, *suite).map(drop),
        }
    }

    /// Adds those of the hosts that the lab doesn't have, and writes its state. The others have to be
    /// what is asked for already.
    pub(crate) fn add(&self, saved: &mut Saved, hosts: &[String], progress: Report<'_>) -> Result<()> {
        let new: Vec<&String> =
            hosts.iter().filter(|host| saved.hosts.iter().all(|have| have.name != **host)).collect();
        let had: Vec<&SavedHost> = saved.hosts.iter().filter(|host| hosts.contains(&host.name)).collect();
        // A snapshot's layers are held from here on by the state that speaks of them.
        let _lock = matches!(self, Self::Snapshot { .. }).then(|| snapshot::lock(progress)).transpose()?;
        let (suite, base, layers) = match self {
            Self::Base { suite } => {
                if let Some(other) = had.iter().find(|host| host.suite != *suite) {
                    let (host, has) = (other.name.clone(), other.suite.clone());
                    return Err(LabError::Suite { host, has, asked: (*suite).to_owned() });
                }
                let base = if new.is_empty() { None } else { Some(base::ensure(suite, progress)?) };
                ((*suite).to_owned(), base, None)
            }
            Self::Snapshot { name, suite } => {
                let found = snapshot::open(name, *suite)?;
                let layers = found.layers();
                if let Some(other) = had.iter().find(|host| host.snapshot.as_ref() != Some(&layers)) {
                    let has = match &other.snapshot {
                        None => "no snapshot".to_owned(),
                        Some(other) if other.name == layers.name => format!("what snapshot {name} was before"),
                        Some(other) => format!("snapshot {}", other.name),
                    };
                    return Err(LabError::OtherDisk { host: other.name.clone(), has, asked: (*name).to_owned() });
                }
                (found.suite().to_owned(), Some(found.base().to_owned()), Some(layers))
            }
        };
        for host in new {
            if let Some(base) = &base {
                saved.add(host, &suite, base, layers.clone())?;
            }
        }
        saved.order(hosts);
        saved.write()
    }
}
