//! A cgroup of its own for every host in every hierarchy, v1 and v2. Without them the units of two
//! hosts collide. They also say which processes are ours: what is in a host's cgroup was started for
//! it, however the process numbers were given out since.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    error::{LabError, Result},
    files, sys,
};

/// How long processes may take to be gone after they were killed.
const KILL_WAIT: Duration = Duration::from_secs(20);
/// How long a host may take to shut down: systemd gives each service 90 s.
pub(crate) const SHUT_WAIT: Duration = Duration::from_secs(100);

/// The mounted hierarchies, each once.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for mount in files::mounts()? {
        if ["cgroup", "cgroup2"].contains(&&*mount.kind) && !seen.contains(&mount.device) {
            seen.push(mount.device);
            found.push(mount.at);
        }
    }
    if found.is_empty() {
        return Err(LabError::Kernel { what: "cgroups", seen: "no cgroup hierarchy is mounted".into() });
    }
    Ok(found)
}

/// The cgroups of one host: `<lab>/<host>/keeper` for what watches over it, `<lab>/<host>/host` for
/// the host itself.
#[derive(Debug, Clone)]
pub(crate) struct HostCgroups {
    lab: String,
    host: String,
    mounts: Vec<PathBuf>,
}

impl HostCgroups {
    /// The cgroups of a host; nothing is made yet.
    pub(crate) fn new(lab: String, host: String) -> Result<Self> {
        Ok(Self { lab, host, mounts: hierarchies()? })
    }

    /// The cgroup of this name, `keeper` or `host`, in every hierarchy.
    pub(crate) fn dirs(&self, part: &str) -> Vec<PathBuf> {
        self.mounts.iter().map(|mount| mount.join(&self.lab).join(&self.host).join(part)).collect()
    }

    /// Makes the cgroups.
    pub(crate) fn make(&self) -> Result<()> {
        for mount in &self.mounts {
            let lab = mount.join(&self.lab);
            let host = lab.join(&self.host);
            for dir in [&lab, &host] {
                make_one(dir)?;
                delegate(dir);
            }
            make_one(&host.join("keeper"))?;
            make_one(&host.join("host"))?;
        }
        Ok(())
    }

    /// The processes in the host's cgroups, by number.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for dir in self.dirs("") {
            collect(&dir, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether a process is in the host's cgroups now.
    fn holds(&self, pid: i32) -> bool {
        let inside = format!("/{}/{}/", self.lab, self.host);
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        text.lines().any(|line| line.splitn(3, ':').nth(2).is_some_and(|path| path.contains(&inside)))
    }

    /// The host's init: the process that is number 1 in its own namespace, the outermost such.
    pub(crate) fn init(&self) -> Option<i32> {
        let depth = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
            let numbers: Vec<&str> = line.split_whitespace().collect();
            (numbers.len() > 1 && numbers.last() == Some(&"1")).then_some(numbers.len())
        };
        let inits = self.processes().into_iter().filter_map(|pid| Some((depth(&pid)?, pid)));
        inits.min().map(|(_, pid)| pid)
    }

    /// Kills the host's init first, as a power cut does, then whatever is left, and waits for the end.
    pub(crate) fn kill(&self) -> Result<()> {
        if let Some(init) = self.init() {
            sys::kill_if(init, || self.holds(init));
        }
        let start = Instant::now();
        let grace = Duration::from_secs(2);
        loop {
            let left = self.processes();
            if left.is_empty() {
                return Ok(());
            }
            if start.elapsed() > KILL_WAIT {
                let seen = left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(LabError::Stuck { what: "a process", waited: KILL_WAIT, seen });
            }
            // What runs outside the host's namespace ends by itself when init has.
            if start.elapsed() > grace {
                for pid in left {
                    sys::kill_if(pid, || self.holds(pid));
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Shuts the host down as its own `poweroff` does; whether it is off within [`SHUT_WAIT`].
    pub(crate) fn shut_down(&self) -> bool {
        // systemd-nspawn hands this on to the host's init as an orderly end.
        let is_nspawn = |pid: &i32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd-nspawn")
        };
        for pid in self.processes().into_iter().filter(is_nspawn) {
            sys::end_if(pid, || self.holds(pid));
        }
        let start = Instant::now();
        while !self.processes().is_empty() {
            if start.elapsed() > SHUT_WAIT {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Removes the host's cgroups, which have to be empty of processes.
    pub(crate) fn remove(&self) -> Result<()> {
        for dir in self.dirs("") {
            remove_dirs(&dir)?;
        }
        Ok(())
    }
}

/// Removes what is left of a lab's cgroups, killing what is still in them.
pub(crate) fn remove_lab(lab: &str) -> Result<()> {
    for mount in hierarchies()? {
        let dir = mount.join(lab);
        for host in subdirs(&dir) {
            let Some(name) = host.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let left = HostCgroups::new(lab.to_owned(), name.to_owned())?;
            left.kill()?;
            left.remove()?;
        }
        remove_dirs(&dir)?;
    }
    Ok(())
}

fn make_one(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => {
            return Err(LabError::io("make the cgroup", dir)(err));
        }
        _ => {}
    }
    // A v1 cpuset takes nobody in before it has cpus and memory.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = dir.join(file);
        let v1 = !dir.join("cgroup.controllers").exists();
        if v1 && fs::read_to_string(&own).is_ok_and(|text| text.trim().is_empty()) {
            let parent = dir.parent().unwrap_or(dir).join(file);
            let value = fs::read_to_string(&parent).map_err(LabError::io("read", &parent))?;
            fs::write(&own, value.trim()).map_err(LabError::io("write", &own))?;
        }
    }
    Ok(())
}

/// Hands v2's controllers down, as far as the machine lets us: hosts boot without them too, only
/// limits in their units then have no effect.
fn delegate(dir: &Path) {
    let have = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in have.split_whitespace() {
        fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")).ok();
    }
}

fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn collect(dir: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process that can't be seen from here.
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    for sub in subdirs(dir) {
        collect(&sub, found);
    }
}

fn remove_dirs(dir: &Path) -> Result<()> {
    for sub in subdirs(dir) {
        remove_dirs(&sub)?;
    }
    // A process that has just ended may still be counted for a moment.
    for attempt in 0.. {
        match fs::remove_dir(dir) {
            Err(err) if err.kind() == ErrorKind::NotFound => break,
            Err(_) if attempt < 100 => std::thread::sleep(Duration::from_millis(20)),
            Err(err) => return Err(LabError::io("remove the cgroup", dir)(err)),
            Ok(()) => break,
        }
    }
    Ok(())
}
