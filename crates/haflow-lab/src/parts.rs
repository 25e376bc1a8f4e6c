//! One lab's parts on this machine, host by host: where they are, and how they come and go.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    panic::resume_unwind,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread::ScopedJoinHandle,
    time::Instant,
};

use crate::{
    cgroup::{HostCgroups, SHUT_WAIT},
    error::{LabError, Result},
    files, machine,
    names::Names,
    network::Network,
    progress::{Progress, Report},
    rootfs::Rootfs,
    state::{self, Saved, SavedHost},
};

/// A lab's state together with where its things are.
pub(crate) struct Parts<'a> {
    saved: &'a Saved,
    pub(crate) dir: PathBuf,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(saved: &'a Saved) -> Self {
        Self { saved, dir: state::dir(&saved.name) }
    }

    pub(crate) fn names(&self) -> Names<'a> {
        Names { id: &self.saved.id }
    }

    pub(crate) fn network(&self) -> Network<'a> {
        Network { names: self.names(), range: self.saved.range }
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.dir.join("id_ed25519")
    }

    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    pub(crate) fn address(&self, host: &SavedHost) -> IpAddr {
        self.saved.range.host(host.index).into()
    }

    pub(crate) fn cgroups(&self, host: &SavedHost) -> Result<HostCgroups> {
        HostCgroups::new(self.names().cgroup(), host.name.clone())
    }

    pub(crate) fn rootfs(&self, host: &SavedHost) -> Rootfs {
        Rootfs::new(&self.dir, &host.name)
    }

    pub(crate) fn write_known_hosts(&self) -> Result<()> {
        let mut text = String::new();
        for host in &self.saved.hosts {
            let key = self.rootfs(host).host_key(&host.name)?;
            writeln!(text, "{},{} {}", self.address(host), host.name, key.trim()).ok();
        }
        files::write(&self.known_hosts(), text, 0o644)
    }

    pub(crate) fn write_hosts(&self, host: &SavedHost) -> Result<()> {
        let rootfs = self.rootfs(host);
        if !files::is_mounted(&rootfs.root())? {
            return Ok(());
        }
        let hosts = self.saved.hosts.iter();
        let entries: Vec<(Ipv4Addr, &str)> =
            hosts.map(|host| (self.saved.range.host(host.index), &*host.name)).collect();
        rootfs.write_hosts(&entries)
    }

    /// Boots a host if it isn't running, and waits until it can be logged in to.
    pub(crate) fn bring_up(&self, host: &SavedHost, progress: Report<'_>) -> Result<()> {
        let (cgroups, rootfs, network) = (self.cgroups(host)?, self.rootfs(host), self.network());
        let (name, address) = (host.name.clone(), self.address(host));
        let console = rootfs.console();
        let begun = Instant::now();
        // A host whose namespace or files somebody removed under it is of no use any more.
        let whole = network.host_is_whole(host.index)? && files::is_mounted(&rootfs.root())?;
        if cgroups.init().is_some() && whole {
            network.ensure_host(host.index)?;
            match machine::wait_ready(&name, address, &cgroups, &console) {
                // It was about to be off.
                Err(LabError::BootEnded { .. }) => {}
                Err(err) => return Err(err),
                Ok(()) => {
                    progress(Progress::TakenUp { host: name, address });
                    return Ok(());
                }
            }
        }
        progress(Progress::Booting { host: name.clone() });
        cgroups.kill()?;
        cgroups.remove()?;
        rootfs.mount(host)?;
        rootfs.personalize(host, &self.key())?;
        self.write_hosts(host)?;
        network.ensure_host(host.index)?;
        machine::start(&machine::Start {
            host: &name,
            machine: &self.names().machine(host.index),
            root: &rootfs.root(),
            namespace: &network.namespace(host.index),
            console: &console,
            cgroups: &cgroups,
        })?;
        machine::wait_ready(&name, address, &cgroups, &console)?;
        progress(Progress::Ready { host: name, address, took: begun.elapsed() });
        Ok(())
    }

    /// Does something while a host is off: one that runs is shut down for it and booted again, also
    /// where what was to be done has failed. A host that doesn't shut down is left to itself.
    pub(crate) fn while_off<T>(
        &self,
        host: &SavedHost,
        progress: Report<'_>,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let cgroups = self.cgroups(host)?;
        if cgroups.init().is_none() {
            return act();
        }
        let cut = self.network().is_unplugged(host.index);
        progress(Progress::ShuttingDown { host: host.name.clone() });
        if !cgroups.shut_down() {
            return Err(LabError::NoShutdown { host: host.name.clone(), waited: SHUT_WAIT });
        }
        let outcome = act();
        let booted = self.bring_up(host, progress);
        if cut {
            self.network().plug(host.index, "down")?;
        }
        let done = outcome?;
        booted.map(|()| done)
    }

    /// Removes everything of a host but its files, which go with the lab's.
    pub(crate) fn remove(&self, host: &SavedHost) -> Result<()> {
        let cgroups = self.cgroups(host)?;
        cgroups.kill()?;
        cgroups.remove()?;
        self.network().remove_host(host.index)?;
        self.rootfs(host).unmount()
    }
}

/// How many hosts are worked on at a time: their boots share this machine's cores.
const AT_ONCE: usize = 16;

/// Does something to all hosts, many at once, each to its end, and returns the first error.
pub(crate) fn at_once<'a>(
    hosts: impl Iterator<Item = &'a SavedHost>,
    act: impl Fn(&'a SavedHost) -> Result<()> + Sync,
) -> Result<()> {
    let hosts: Vec<&SavedHost> = hosts.collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut outcome = Ok(());
        while let Some(host) = hosts.get(next.fetch_add(1, Ordering::Relaxed)) {
            outcome = outcome.and(act(host));
        }
        outcome
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..hosts.len().min(AT_ONCE)).map(|_| scope.spawn(work)).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        // Every one is joined before the first error counts.
        threads.into_iter().map(join).fold(Ok(()), Result::and)
    })
}
