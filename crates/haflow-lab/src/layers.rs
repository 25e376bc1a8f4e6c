//! The layers of a snapshot, as those who stand on them know them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::names;

/// Where snapshots are kept.
pub(crate) const SNAPSHOTS_DIR: &str = "/var/cache/haflow/lab/snapshots";

/// How many snapshots may lie over one another: their paths have to fit into one mount's options.
pub(crate) const MOST_LAYERS: usize = 16;

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

    /// Says what of it can't be.
    pub(crate) fn check(&self) -> Result<(), String> {
        names::check("snapshot", &self.name).map_err(|err| err.to_string())?;
        names::check("snapshot", &self.dir).map_err(|_| format!("its \"dir\" {:?} isn't one of ours", self.dir))?;
        if !(1..=MOST_LAYERS).contains(&self.count) {
            return Err(format!("it has {} layers, and has to have 1 to {MOST_LAYERS}", self.count));
        }
        Ok(())
    }
}
