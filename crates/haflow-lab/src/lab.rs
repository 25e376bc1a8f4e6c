//! A lab as a whole: brought up, found again, brought down, and its hosts one by one.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    cgroup,
    disk::Disk,
    error::{LabError, Result},
    files::{self, Lock},
    names::{self, MOST_HOSTS},
    network,
    parts::{Parts, at_once},
    progress::{Progress, Report},
    rootfs::make_key,
    settings,
    snapshot::{self, Snapshot, Taken},
    state::{self, Saved, SavedHost},
    tools,
};

/// Whom the lab's key logs in as. Every host has a user `debian` with sudo as well.
const USER: &str = "root";

/// An existing lab, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Lab {
    saved: Saved,
    hosts: Vec<LabHost>,
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabHost {
    /// Its hostname; the lab's other hosts resolve it.
    pub name: String,
    /// Its address on the lab's bridge, reachable from this machine only.
    pub address: IpAddr,
    /// Whom `key` logs in as; it logs in as `debian` (with sudo) too.
    pub user: String,
    /// The private key.
    pub key: PathBuf,
    /// The hosts' own keys, for strict checking.
    pub known_hosts: PathBuf,
    /// Debian's suite, such as "bookworm".
    pub suite: String,
    /// The snapshot that its disk was started from, if from one.
    pub snapshot: Option<String>,
    /// Whether it was running when the lab was looked at.
    pub running: bool,
    /// Whether it was cut off from the network when the lab was looked at.
    pub cut: bool,
}

impl Lab {
    /// The lab of this name, or nothing if there is none.
    ///
    /// # Errors
    /// If this isn't Linux or the user not root, or the lab's state can't be read.
    pub fn find(name: &str) -> Result<Option<Self>> {
        tools::basics()?;
        names::check("lab", name)?;
        Saved::read(name)?.map(Self::look).transpose()
    }

    /// All labs of this machine, by name; what is wrong with one that can't be read.
    ///
    /// # Errors
    /// If this isn't Linux or the user not root, or the labs can't be listed.
    pub fn list() -> Result<Vec<Result<Self>>> {
        Ok(Self::names()?.iter().filter_map(|name| Self::find(name).transpose()).collect())
    }

    /// The names of all labs of this machine, also of those that can't be read.
    ///
    /// # Errors
    /// If this isn't Linux or the user not root, or the labs can't be listed.
    pub fn names() -> Result<Vec<String>> {
        tools::basics()?;
        state::names()
    }

    /// Brings up a lab with these hosts: makes what doesn't exist, boots what isn't running and leaves
    /// the rest alone, but for a cut link, which is plugged in. Hosts that the lab has beyond these
    /// stay as they are.
    ///
    /// # Errors
    /// If the machine can't have a lab, a name is unfit, a host exists in another suite, a program that
    /// the lab runs fails, or a host can't be logged in to within 90 s. What was made by then stays,
    /// for another `up` to go on from or `down` to remove.
    pub fn up(name: &str, hosts: &[String], suite: &str, progress: Report<'_>) -> Result<Self> {
        Self::up_on(name, hosts, &Disk::Base { suite }, progress)
    }

    /// Brings up a lab as [`Lab::up`] does, but for its hosts' disks: those that don't exist start from
    /// what a snapshot keeps, each with writes, id, keys and address of its own. They have the suite of
    /// the snapshot; where one is named it has to be that.
    ///
    /// # Errors
    /// As [`Lab::up`], and if there is no such snapshot, its base is gone or was made anew, or a host
    /// exists that was started from something else.
    pub fn up_from(
        name: &str,
        hosts: &[String],
        snapshot: &str,
        suite: Option<&str>,
        progress: Report<'_>,
    ) -> Result<Self> {
        Self::up_on(name, hosts, &Disk::Snapshot { name: snapshot, suite }, progress)
    }

    fn up_on(name: &str, hosts: &[String], disk: &Disk<'_>, progress: Report<'_>) -> Result<Self> {
        tools::basics()?;
        names::check("lab", name)?;
        disk.check()?;
        check_hosts(hosts)?;
        if !state::dir(name).exists() {
            // Before minutes go into what can't work, and once more with what was missing.
            tools::supported()?;
        }
        if tools::install(progress)? {
            tools::supported()?;
        }
        let _lock = lock(name, progress)?;
        let mut saved = match Saved::read(name)? {
            Some(saved) => saved,
            None => Self::create(name, progress)?,
        };
        disk.add(&mut saved, hosts, progress)?;
        let parts = Parts::of(&saved);
        make_key(&parts.key(), &format!("haflow lab {name}"))?;
        parts.write_known_hosts()?;
        Self::prepare(&parts, progress)?;
        let asked = saved.hosts.iter().filter(|host| hosts.contains(&host.name));
        at_once(asked, |host| parts.bring_up(host, progress))?;
        // Hosts that were running already learn of the new ones.
        for host in &saved.hosts {
            parts.write_hosts(host)?;
        }
        Self::look(saved)
    }

    /// What all hosts have in common: the kernel's settings, the bridge, the firewall's table.
    fn prepare(parts: &Parts<'_>, progress: Report<'_>) -> Result<()> {
        let _lock = Lock::take("labs", "another lab", progress)?;
        settings::raise()?;
        parts.network().ensure(progress)
    }

    /// The first thing of a lab is its state: from then on `down` knows what to remove.
    fn create(name: &str, progress: Report<'_>) -> Result<Saved> {
        let _lock = Lock::take("labs", "another lab to be made", progress)?;
        let others: Vec<Saved> = Self::list()?.into_iter().flatten().map(|lab| lab.saved).collect();
        let taken: Vec<_> = others.iter().map(|other| other.range).collect();
        let range = network::choose_range(name, &taken)?;
        let free = |id: &String| others.iter().all(|other| other.id != *id);
        // One more attempt than there are labs always finds one.
        let id = (0..=others.len()).map(|attempt| names::lab_id(name, attempt)).find(free);
        let id = id.unwrap_or_else(|| names::lab_id(name, 0));
        let saved = Saved { name: name.to_owned(), id, range, hosts: Vec::new() };
        files::make_dir(Path::new(state::STATE_DIR), 0o700)?;
        saved.write()?;
        Ok(saved)
    }

    /// Removes a lab and everything that it made, also one that is half made or that a crash left
    /// behind. Removing a lab that doesn't exist is fine. Bases and snapshots
    /// are kept.
    ///
    /// # Errors
    /// If something can't be removed; another `down` goes on from there.
    pub fn down(name: &str, progress: Report<'_>) -> Result<()> {
        tools::basics()?;
        names::check("lab", name)?;
        if !state::dir(name).exists() {
            return Ok(());
        }
        let _held = lock(name, progress)?;
        // Without a readable state what it would say first is the best guess.
        let guess = || Saved {
            name: name.to_owned(),
            id: names::lab_id(name, 0),
            range: names::Range::choice(name, 0),
            hosts: Vec::new(),
        };
        let saved = Saved::read(name).ok().flatten().unwrap_or_else(guess);
        let parts = Parts::of(&saved);
        at_once(saved.hosts.iter(), |host| {
            progress(Progress::Removing { what: format!("host {}", host.name) });
            parts.remove(host)
        })?;
        progress(Progress::Removing { what: format!("lab {name}") });
        cgroup::remove_lab(&parts.names().cgroup())?;
        network::remove_remains(parts.names())?;
        parts.network().remove()?;
        files::remove_tree(&parts.dir)?;
        if saved.hosts.iter().any(|host| host.snapshot.is_some()) {
            let _snapshots = snapshot::lock(progress)?;
            snapshot::collect()?;
        }
        let _shared = Lock::take("labs", "another lab", progress)?;
        if state::names()?.is_empty() {
            settings::put_back()?;
            state::remove_dirs();
        }
        Ok(())
    }

    fn look(saved: Saved) -> Result<Self> {
        let parts = Parts::of(&saved);
        let look = |host: &SavedHost| {
            Ok(LabHost {
                name: host.name.clone(),
                address: parts.address(host),
                user: USER.to_owned(),
                key: parts.key(),
                known_hosts: parts.known_hosts(),
                suite: host.suite.clone(),
                snapshot: host.snapshot.as_ref().map(|layers| layers.name.clone()),
                running: parts.cgroups(host)?.init().is_some(),
                cut: parts.network().is_unplugged(host.index),
            })
        };
        let hosts = saved.hosts.iter().map(look).collect::<Result<_>>()?;
        Ok(Self { saved, hosts })
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.saved.name
    }

    /// The range of its hosts' addresses, such as "10.7.9.0/24".
    pub fn range(&self) -> String {
        self.saved.range.to_string()
    }

    /// An address of its network that none of its hosts ever has: for one that goes from host to host.
    pub fn spare_address(&self) -> IpAddr {
        self.saved.range.spare().into()
    }

    /// Its hosts, in the order in which they were asked for.
    pub fn hosts(&self) -> &[LabHost] {
        &self.hosts
    }

    /// The host of this name.
    ///
    /// # Errors
    /// If the lab has no such host.
    pub fn host(&self, host: &str) -> Result<&LabHost> {
        let found = self.hosts.iter().find(|have| have.name == host);
        found.ok_or_else(|| self.no_host(host))
    }

    /// The arguments with which `ssh` logs in to a host, whatever the user's own settings say.
    ///
    /// # Errors
    /// If the lab has no such host.
    pub fn ssh_args(&self, host: &str) -> Result<Vec<String>> {
        let host = self.host(host)?;
        let mut args = vec!["-F".to_owned(), "none".to_owned(), "-i".to_owned(), host.key.display().to_string()];
        let known = format!("UserKnownHostsFile={}", host.known_hosts.display());
        for option in ["IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none", &known] {
            args.extend(["-o".to_owned(), option.to_owned()]);
        }
        args.push(format!("{}@{}", host.user, host.address));
        Ok(args)
    }

    /// Cuts a host's power: its init and with it everything in it dies at once. Its files stay.
    ///
    /// # Errors
    /// If the lab has no such host, or the host's processes don't end.
    pub fn kill(&self, host: &str) -> Result<()> {
        self.on(host, |parts, host| parts.cgroups(host)?.kill())
    }

    /// Boots a host that isn't running on the files that it has, and waits until it can be logged in to.
    ///
    /// # Errors
    /// If the lab has no such host, or it can't be logged in to within 90 s.
    pub fn boot(&self, host: &str) -> Result<()> {
        self.on(host, |parts, host| {
            Self::prepare(parts, &|_| {})?;
            parts.bring_up(host, &|_| {})
        })
    }

    /// Pulls a host's network cable: nobody reaches it, it reaches nobody, and it runs on.
    ///
    /// # Errors
    /// If the lab has no such host, or its link can't be switched.
    pub fn cut(&self, host: &str) -> Result<()> {
        self.on(host, |parts, host| parts.network().plug(host.index, "down"))
    }

    /// Plugs a host's network cable in again.
    ///
    /// # Errors
    /// If the lab has no such host, or its link can't be switched.
    pub fn heal(&self, host: &str) -> Result<()> {
        self.on(host, |parts, host| parts.network().plug(host.index, "up"))
    }

    /// Keeps the disk of a host under a name, for [`Lab::up_from`]. A host that runs is shut down, so that
    /// its files are whole, and booted again; one that doesn't is taken as it is. The lab's other hosts
    /// aren't touched. What makes the disk this one host's (its id, name, sshd's keys, the lab's key, its
    /// journal, leases) isn't kept; what services made for themselves is. `replace` takes the place of a
    /// snapshot of this name; hosts that stand on that one keep it.
    ///
    /// # Errors
    /// If the lab has no such host, the name is unfit or in use, the host doesn't shut down within 100 s,
    /// its files can't be copied, or it can't be logged in to afterwards. A snapshot is there whole or not
    /// at all; one that is replaced stays until then.
    pub fn snapshot(&self, host: &str, name: &str, replace: bool, progress: Report<'_>) -> Result<Snapshot> {
        self.take(host, name, replace, None, progress)
    }

    pub(crate) fn take(
        &self,
        host: &str,
        name: &str,
        replace: bool,
        part: Option<&str>,
        progress: Report<'_>,
    ) -> Result<Snapshot> {
        snapshot::check_free(name, replace)?;
        self.on(host, |parts, host| {
            let begun = Instant::now();
            let rootfs = parts.rootfs(host);
            rootfs.check()?;
            let upper = rootfs.upper();
            let login_key = files::read_if_there(&parts.key().with_extension("pub"))?.unwrap_or_default();
            parts.while_off(host, progress, || {
                let _lock = snapshot::lock(progress)?;
                snapshot::check_free(name, replace)?;
                progress(Progress::Copying { host: host.name.clone(), snapshot: name.to_owned() });
                let taken = snapshot::take(name, &Taken { host, upper: &upper, login_key: &login_key, part })?;
                let (name, bytes) = (name.to_owned(), taken.bytes());
                progress(Progress::SnapshotReady { name, bytes, took: begun.elapsed() });
                Ok(taken)
            })
        })
    }

    /// Does something to one host of the lab as it is now, while nobody else does.
    fn on<T>(&self, host: &str, act: impl FnOnce(&Parts<'_>, &SavedHost) -> Result<T>) -> Result<T> {
        let no_lab = || LabError::NoLab { name: self.name().to_owned() };
        if !state::dir(self.name()).exists() {
            return Err(no_lab());
        }
        let _lock = lock(self.name(), &|_| {})?;
        let saved = Saved::read(self.name())?.ok_or_else(no_lab)?;
        let found = saved.hosts.iter().find(|have| have.name == host);
        act(&Parts::of(&saved), found.ok_or_else(|| self.no_host(host))?)
    }

    fn no_host(&self, host: &str) -> LabError {
        let has = self.hosts.iter().map(|have| have.name.clone()).collect();
        LabError::NoHost { lab: self.name().to_owned(), host: host.to_owned(), has }
    }
}

fn lock(name: &str, progress: Report<'_>) -> Result<Lock> {
    Lock::take(&format!("lab-{name}"), &format!("another haflow that works on lab {name}"), progress)
}

fn check_hosts(hosts: &[String]) -> Result<()> {
    if hosts.len() > MOST_HOSTS {
        return Err(LabError::TooMany { most: MOST_HOSTS, asked: hosts.len() });
    }
    for (place, host) in hosts.iter().enumerate() {
        names::check("host", host)?;
        if hosts[..place].contains(host) {
            return Err(LabError::Twice { host: host.clone() });
        }
    }
    Ok(())
}
