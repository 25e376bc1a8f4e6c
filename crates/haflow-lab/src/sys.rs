//! The few system calls that the standard library doesn't have.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount as umount},
    process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal},
};

use crate::error::{LabError, Result};

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Mounts an overlay of `upper` over `lower`, the uppermost of which comes first.
pub(crate) fn mount_overlay(lower: &[PathBuf], upper: &Path, work: &Path, at: &Path) -> Result<()> {
    let lower: Vec<_> = lower.iter().map(|dir| dir.display().to_string()).collect();
    let data = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.display(), work.display());
    let data = std::ffi::CString::new(data).map_err(|err| LabError::io("mount", at)(err.into()))?;
    mount("haflow", at, "overlay", MountFlags::empty(), Some(data.as_c_str()))
        .map_err(|err| LabError::io("mount the overlay at", at)(err.into()))
}

/// Unmounts what is mounted there, trying for a while: what used it may just be ending.
pub(crate) fn unmount(at: &Path) -> Result<()> {
    for _ in 0..50 {
        match umount(at, UnmountFlags::NOFOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(100)),
            Err(err) => return Err(LabError::io("unmount", at)(err.into())),
        }
    }
    // Somebody looks at it from outside: let it go when they leave.
    umount(at, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH).map_err(|err| LabError::io("unmount", at)(err.into()))
}

/// Kills a process if, once it is held fast, `still` says that it is the one that was meant. A
/// number that another process has taken over meanwhile is thus never hit.
pub(crate) fn kill_if(pid: i32, still: impl FnOnce() -> bool) {
    signal_if(pid, Signal::KILL, still);
}

/// Asks a process to end, as [`kill_if`] kills one.
pub(crate) fn end_if(pid: i32, still: impl FnOnce() -> bool) {
    signal_if(pid, Signal::TERM, still);
}

fn signal_if(pid: i32, signal: Signal, still: impl FnOnce() -> bool) {
    let Some(pid) = Pid::from_raw(pid) else {
        return;
    };
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if still() {
        pidfd_send_signal(&held, signal).ok();
    }
}
