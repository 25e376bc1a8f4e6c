//! The folder with the sockets, configuration and messages of a haflow's connections.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::{Builder, TempDir};

/// How such a folder's name begins; tempfile adds six letters or digits.
const PREFIX: &str = "haflow-";
/// The same of a host's folder in it.
const HOST: &str = "h";
/// Held for as long as the haflow lives whose folder it is.
const ALIVE: &str = "alive";
/// A socket's path must stay under 108 bytes: so long may be what comes before the folder's name.
const LONGEST: usize = 40;
/// A folder that is older than this has its lock, if its haflow lives.
const NEW: Duration = Duration::from_mins(1);
/// Versions without that lock had a socket within this time.
const CONNECTED: Duration = Duration::from_hours(1);

/// A new folder, which goes when it is dropped. Only the user may look into it, whatever the umask is:
/// whoever can open a socket is logged in on its host, and whoever writes the configuration decides what
/// `ssh` runs.
pub(crate) struct Control {
    folder: TempDir,
    _alive: File,
}

impl Control {
    /// Makes one, and takes away what killed haflows of this user have left.
    pub(crate) fn new() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let parents = [runtime, Some(std::env::temp_dir()), Some("/tmp".into())];
        let mut parents: Vec<PathBuf> = parents.into_iter().flatten().filter(|parent| parent.is_dir()).collect();
        parents.dedup();
        let short = parents.iter().find(|parent| parent.as_os_str().len() < LONGEST);
        let folder = private(PREFIX, short.map_or(Path::new("/tmp"), PathBuf::as_path))?;
        let alive = File::create(folder.path().join(ALIVE))?;
        alive.lock()?;
        let own = folder.path().metadata()?.uid();
        for parent in parents {
            sweep(&parent, own);
        }
        Ok(Self { folder, _alive: alive })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A new folder for one host's connection.
pub(super) fn of_host(control: &Path) -> io::Result<TempDir> {
    private(HOST, control)
}

fn private(prefix: &str, parent: &Path) -> io::Result<TempDir> {
    Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)
}

/// Takes away the folders of this user's haflows that are dead. What can't be taken away stays.
fn sweep(parent: &Path, own: u32) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if is_named(&entry.file_name().to_string_lossy(), PREFIX)
            && is_dead(&entry.path(), own).is_some_and(|dead| dead)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_named(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == 6 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether it is a folder as haflow makes them, of this user, and nobody is there any more. `None` where that
/// can't be told.
fn is_dead(folder: &Path, own: u32) -> Option<bool> {
    let made = folder.symlink_metadata().ok()?;
    if !made.is_dir() || made.uid() != own {
        return Some(false);
    }
    let mut age = CONNECTED;
    let mut is_empty = true;
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name();
        is_empty = false;
        if name == ALIVE {
            let file = File::open(entry.path()).ok()?;
            if file.try_lock_shared().is_err() {
                return Some(false);
            }
            age = NEW;
        } else if !is_named(&name.to_string_lossy(), HOST) || any_answers(&entry.path())? {
            return Some(false);
        }
    }
    Some(!is_empty && made.modified().ok()?.elapsed().ok()? > age)
}

/// Whether somebody listens at a socket in this folder: an ssh whose haflow is dead may be about to end.
fn any_answers(folder: &Path) -> Option<bool> {
    for entry in fs::read_dir(folder).ok()? {
        if UnixStream::connect(entry.ok()?.path()).is_ok() {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::SystemTime;

    #[test]
    fn what_dead_ones_left_is_swept_and_nothing_else() {
        let parent = tempfile::tempdir().expect("a folder");
        let own = parent.path().metadata().expect("it is there").uid();
        let make = |name: &str, alive: bool, socket: bool| {
            let folder = parent.path().join(name);
            fs::create_dir_all(folder.join("hAbCd12")).expect("a folder");
            fs::write(folder.join("hAbCd12/config"), "").expect("a file");
            let listener = socket.then(|| UnixListener::bind(folder.join("hAbCd12/master")).expect("a socket"));
            let alive = alive.then(|| File::create(folder.join(ALIVE)).expect("a file"));
            (listener, alive)
        };
        let old = |name: &str, age: Duration| {
            let times = fs::FileTimes::new().set_modified(SystemTime::now() - age);
            File::open(parent.path().join(name)).expect("it is there").set_times(times).expect("it is ours");
        };
        let hour = CONNECTED + Duration::from_secs(9);
        drop(make("haflow-dead01", true, true));
        let (_, held) = make("haflow-lives1", true, false);
        held.as_ref().expect("it was made").lock().expect("nobody has it");
        let _listens = make("haflow-ssh001", true, true);
        drop(make("haflow-new001", true, false));
        drop(make("haflow-older1", false, true));
        drop(make("haflow-older2", false, true));
        drop(make("haflow-step-1", true, false));
        fs::create_dir(parent.path().join("haflow-123456")).expect("a folder");
        fs::write(parent.path().join("haflow-123456/lock"), "").expect("a file");
        std::os::unix::fs::symlink("haflow-123456", parent.path().join("haflow-link01")).expect("a link");
        for name in ["dead01", "lives1", "ssh001", "step-1", "123456", "older1"] {
            old(&format!("haflow-{name}"), hour);
        }
        old("haflow-older2", CONNECTED / 2);
        sweep(parent.path(), own + 1);
        assert_eq!(fs::read_dir(parent.path()).expect("it").count(), 9, "another user's were swept");
        sweep(parent.path(), own);
        let mut left: Vec<_> = fs::read_dir(parent.path())
            .expect("it is there")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
            .collect();
        left.sort();
        let kept = ["123456", "link01", "lives1", "new001", "older2", "ssh001", "step-1"];
        assert_eq!(left, kept.map(|name| format!("haflow-{name}")));
    }
}
