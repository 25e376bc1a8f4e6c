//! Stands in for `sys.rs` where there is no Linux, so that haflow builds there without a lab. Nothing
//! of it is reached: every way into a lab asks for the system first.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::error::{LabError, Result};

/// Nobody asks for it elsewhere than on Linux.
pub(crate) fn is_root() -> bool {
    false
}

/// Says that this isn't Linux.
pub(crate) fn mount_overlay(_: &[PathBuf], _: &Path, _: &Path, _: &Path) -> Result<()> {
    Err(LabError::NotLinux { os: env::consts::OS })
}

/// Says that this isn't Linux.
pub(crate) fn unmount(_: &Path) -> Result<()> {
    Err(LabError::NotLinux { os: env::consts::OS })
}

/// Does nothing.
pub(crate) fn kill_if(_: i32, _: impl FnOnce() -> bool) {}

/// Does nothing.
pub(crate) fn end_if(_: i32, _: impl FnOnce() -> bool) {}
