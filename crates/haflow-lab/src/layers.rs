//! The layers of a snapshot, as those who stand on them know them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{error::Result, names};

/// Where snapshots are kept.
pub(crate) const SNAPSHOTS_DIR: &str = "/var/cache/haflow/lab/snapshots";

/// The layers of a snapshot that a host stands on, as a lab's state has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layers {
    /// The snapshot's name.
    pub(crate) name: String,
    pub(crate) dir: String,
    pub(crate) count: usize,
}

impl Layers {
    /// Their directories, the uppermost first.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        let dir = Path::new(SNAPSHOTS_DIR).join(&self.dir);
        (0..self.count).rev().map(|layer| dir.join(layer.to_string())).collect()
    }

    /// Refuses what can't be the name of a directory of ours.
    pub(crate) fn check(&self) -> Result<()> {
        names::check("snapshot", &self.name)?;
        names::check("snapshot", &self.dir)
    }
}
