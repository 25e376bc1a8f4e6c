//! Atomic writes, locks, and looking at what is mounted.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    error::{LabError, Result},
    progress::{Progress, Report},
};

/// Where locks and network namespaces are: gone with the machine's next start, as they should be.
pub(crate) const RUN_DIR: &str = "/run/haflow";

/// Writes a file whole or not at all. A link in its place is replaced, not followed.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(LabError::io("make", dir))?;
    let mut file =
        tempfile::Builder::new().prefix(".haflow-").tempfile_in(dir).map_err(LabError::io("make a file in", dir))?;
    file.write_all(content.as_ref()).map_err(LabError::io("write", path))?;
    let permissions = fs::Permissions::from_mode(mode);
    file.as_file().set_permissions(permissions).map_err(LabError::io("set the mode of", path))?;
    file.as_file().sync_all().map_err(LabError::io("write", path))?;
    file.persist(path).map_err(|err| LabError::Io { what: "write", path: path.to_owned(), source: err.error })?;
    Ok(())
}

/// A file's text, or nothing where there is no file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(LabError::io("read", path)(err)),
    }
}

/// The bytes of a file of a host's, whose text may be in any encoding; nothing where there is no file.
pub(crate) fn bytes_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    const MOST: u64 = 4 << 20;
    if fs::metadata(path).is_ok_and(|meta| meta.len() > MOST) {
        return Err(LabError::io("read", path)(std::io::Error::other("it is larger than 4 MiB")));
    }
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(LabError::io("read", path)(err)),
    }
}

/// Makes a directory and those above it.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path).map_err(LabError::io("make", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(LabError::io("set the mode of", path))
}

/// Removes a tree that may not exist. What is mounted in it is unmounted first, never emptied.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    unmount_below(path)?;
    match fs::remove_dir_all(path) {
        Err(err) if err.kind() != ErrorKind::NotFound => Err(LabError::io("remove", path)(err)),
        _ => Ok(()),
    }
}

/// Removes a file that may not exist.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != ErrorKind::NotFound => Err(LabError::io("remove", path)(err)),
        _ => Ok(()),
    }
}

/// One line of /proc/self/mountinfo.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The device, "major:minor": the same for every mount of one file system.
    pub(crate) device: String,
    /// What of the file system is mounted.
    pub(crate) root: String,
    /// Where.
    pub(crate) at: PathBuf,
    /// The file system's type.
    pub(crate) kind: String,
}

/// Everything that is mounted, oldest first.
pub(crate) fn mounts() -> Result<Vec<Mount>> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).map_err(LabError::io("read", path))?;
    Ok(text.lines().filter_map(parse_mount).collect())
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    Some(Mount {
        device: fields.next()?.to_owned(),
        root: fields.next()?.to_owned(),
        at: PathBuf::from(fields.next()?.replace("\\040", " ")),
        kind: after.split(' ').next()?.to_owned(),
    })
}

/// Whether something is mounted exactly there.
pub(crate) fn is_mounted(path: &Path) -> Result<bool> {
    Ok(mounts()?.iter().any(|mount| mount.at == path))
}

/// Unmounts everything at and below a path, the newest first.
pub(crate) fn unmount_below(path: &Path) -> Result<()> {
    for mount in mounts()?.iter().rev().filter(|mount| mount.at.starts_with(path)) {
        crate::sys::unmount(&mount.at)?;
    }
    Ok(())
}

/// A lock that the kernel lets go of when its holder dies. Its file is there only while it is held.
#[derive(Debug)]
pub(crate) struct Lock {
    // The lock ends when this is closed.
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of this name, and says so if somebody else has to be waited for.
    pub(crate) fn take(name: &str, what: &str, report: Report<'_>) -> Result<Self> {
        let dir = Path::new(RUN_DIR);
        let path = dir.join(format!("{name}.lock"));
        let mut said = false;
        loop {
            make_dir(dir, 0o755)?;
            let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
            let file = match opened {
                // Its directory went between the two calls.
                Err(err) if err.kind() == ErrorKind::NotFound => continue,
                opened => opened.map_err(LabError::io("open", &path))?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    if !said {
                        report(Progress::Waiting { what: what.to_owned() });
                        said = true;
                    }
                    file.lock().map_err(LabError::io("lock", &path))?;
                }
                Err(fs::TryLockError::Error(err)) => return Err(LabError::io("lock", &path)(err)),
            }
            // Its last holder may have removed the file that was waited for.
            let ours = file.metadata().map_err(LabError::io("look at", &path))?;
            if fs::metadata(&path).is_ok_and(|there| there.ino() == ours.ino()) {
                return Ok(Self { _file: file, path });
            }
        }
    }
}

impl Drop for Lock {
    /// Removes the file while the lock is still held; it is let go of when the file is closed.
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
        // Goes only if it is empty.
        fs::remove_dir(RUN_DIR).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_is_read() {
        let line = "36 35 98:0 /sub /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.device, "98:0");
        assert_eq!(mount.root, "/sub");
        assert_eq!(mount.at, Path::new("/mnt/a b"));
        assert_eq!(mount.kind, "ext3");
    }

    #[test]
    fn a_write_replaces_a_link_and_sets_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (other, link) = (dir.path().join("other"), dir.path().join("link"));
        fs::write(&other, "keep").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        write(&link, "new", 0o640).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "keep");
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
        assert_eq!(fs::symlink_metadata(&link).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
