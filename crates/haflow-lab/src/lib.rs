//! Throwaway Debian hosts on the user's own machine, as root on Linux: systemd-nspawn on an overlay
//! of one cached base, in network namespaces on one bridge, with sshd and a key of their own.
//!
//! A lab outlives the process that brought it up; its state is in `/var/lib/haflow/lab`, the bases in
//! `/var/cache/haflow/lab`, and in `snapshots` below it the disks that [`Lab::snapshot`] has kept for hosts
//! to start from ([`Lab::up_from`], [`Recipe`]). Everything else that it makes (links, cgroups, namespaces,
//! the firewall's table) bears a name that starts with `haflow` and is gone after [`Lab::down`].
//!
//! This crate never prints: what happens goes to a callback as [`Progress`]. It blocks its caller; the
//! hosts are booted in parallel.

mod base;
mod cgroup;
mod command;
mod disk;
mod error;
mod files;
mod identity;
mod lab;
mod layers;
mod machine;
mod names;
mod network;
mod parts;
mod progress;
mod recipe;
mod rootfs;
mod settings;
mod snapshot;
mod state;
#[cfg_attr(not(target_os = "linux"), path = "sys_other.rs")]
mod sys;
mod tools;

pub use crate::{
    error::LabError,
    lab::{Lab, LabHost},
    names::default_name,
    progress::Progress,
    recipe::Recipe,
    snapshot::Snapshot,
    tools::supported,
};
