//! What a lab says while it works. It never prints.

use std::{net::IpAddr, time::Duration};

/// One thing that happened while a lab was brought up or down.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Packages that the lab needs are being installed on this machine.
    Installing {
        /// Their names.
        packages: Vec<String>,
    },
    /// Another process is building the same base or holds the lab; it is waited for.
    Waiting {
        /// What is being waited for.
        what: String,
    },
    /// A base is being built: about a minute, once per suite.
    BuildingBase {
        /// The suite, such as "bookworm".
        suite: String,
    },
    /// The base is there. Only said when it was built.
    BaseReady {
        /// The suite.
        suite: String,
        /// How long building it took.
        took: Duration,
    },
    /// A host is being started.
    Booting {
        /// The host.
        host: String,
    },
    /// A host can be logged in to.
    Ready {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// How long its boot took.
        took: Duration,
    },
    /// A host was running already and was left alone.
    TakenUp {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// A host is being shut down: its files are only whole when nothing writes them.
    ShuttingDown {
        /// The host.
        host: String,
    },
    /// A host's files are being copied.
    Copying {
        /// The host.
        host: String,
        /// The snapshot that is made of them.
        snapshot: String,
    },
    /// A snapshot is there.
    SnapshotReady {
        /// Its name.
        name: String,
        /// What it takes up on the disk.
        bytes: u64,
        /// How long taking it took.
        took: Duration,
    },
    /// A snapshot is being made by a recipe.
    Preparing {
        /// Its name.
        name: String,
    },
    /// Another firewall's forward chain drops by default: packages may be out of the hosts' reach.
    ForwardDropped {
        /// The chain, as `nft` names it.
        chain: String,
    },
    /// Something is being removed.
    Removing {
        /// What, such as "host rabbit1".
        what: String,
    },
}

/// Where progress goes.
pub(crate) type Report<'a> = &'a (dyn Fn(Progress) + Sync);
