//! Booting a host with systemd-nspawn, and knowing when it can be logged in to.

use std::{
    fs,
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    cgroup::HostCgroups,
    command::{search_path, tail},
    error::{LabError, Result},
};

/// How long a host may take until it can be logged in to.
const BOOT_WAIT: Duration = Duration::from_secs(90);
const KEEPER: &str = include_str!("keeper.sh");
/// What servers' packages ask for beyond nspawn's own choice: addresses, locked memory, priorities.
const CAPABILITIES: &str = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK,CAP_SYS_NICE,CAP_SYS_RESOURCE";

/// What a host is started from.
pub(crate) struct Start<'a> {
    pub(crate) host: &'a str,
    /// The name among machines.
    pub(crate) machine: &'a str,
    pub(crate) root: &'a Path,
    pub(crate) namespace: &'a Path,
    pub(crate) console: &'a Path,
    pub(crate) cgroups: &'a HostCgroups,
}

/// Starts a host, detached: it goes on when we end.
pub(crate) fn start(start: &Start<'_>) -> Result<()> {
    start.cgroups.make()?;
    let log = File::create(start.console).map_err(LabError::io("make", start.console))?;
    let errors = log.try_clone().map_err(LabError::io("open", start.console))?;
    let join = |part: &str| {
        let dirs = start.cgroups.dirs(part);
        dirs.iter().map(|dir| dir.to_string_lossy().into_owned()).collect::<Vec<_>>().join("\n")
    };
    let mut command = Command::new("setsid");
    command.args(["--fork", "sh", "-c", KEEPER, "haflow-lab", "systemd-nspawn"]);
    command.args(["--quiet", "--boot", "--settings=no", "--register=no", "--keep-unit", "--private-users=no"]);
    command.args(["--console=read-only", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
    command.arg(format!("--directory={}", start.root.display()));
    command.arg(format!("--machine={}", start.machine));
    command.arg(format!("--hostname={}", start.host));
    command.arg(format!("--network-namespace-path={}", start.namespace.display()));
    command.arg(format!("--capability={CAPABILITIES}"));
    // The newest suites' systemd refuses cgroup v1; the older boot with v2 as well.
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    // Its own network settings are the host's to change, the rest of /proc/sys is the machine's.
    command.env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network");
    command.env("PATH", search_path().join(":"));
    command.env("KEEPER", join("keeper")).env("HOST", join("host"));
    command.current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
    let failed = |status: String| LabError::Command {
        what: format!("start host {}", start.host),
        command: "setsid --fork sh".into(),
        status,
        stderr: String::new(),
    };
    let status = command.status().map_err(|err| failed(err.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// Waits until a host can be logged in to: its sshd answers and its systemd lets users in.
pub(crate) fn wait_ready(host: &str, address: IpAddr, cgroups: &HostCgroups, console: &Path) -> Result<()> {
    let start = Instant::now();
    let log = || {
        let bytes = fs::read(console).unwrap_or_default();
        tail(&plain(&String::from_utf8_lossy(&bytes)), 15)
    };
    loop {
        // The keeper takes a moment to get into its cgroup.
        if start.elapsed() > Duration::from_secs(3) && cgroups.processes().is_empty() {
            return Err(LabError::BootEnded { host: host.to_owned(), log: log() });
        }
        let seen = match banner(address) {
            Err(err) => format!("port 22 of {address} says {err}"),
            Ok(()) if !lets_in(cgroups) => "its systemd doesn't let users in yet".to_owned(),
            Ok(()) => return Ok(()),
        };
        let waited = start.elapsed();
        if waited > BOOT_WAIT {
            return Err(LabError::BootTimeout { host: host.to_owned(), waited, seen, log: log() });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether sshd itself, not only the kernel, answers.
fn banner(address: IpAddr) -> std::io::Result<()> {
    let wait = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, 22), wait)?;
    stream.set_read_timeout(Some(wait))?;
    let mut start = [0; 255];
    let length = stream.read(&mut start)?;
    if start[..length].starts_with(b"SSH-") {
        Ok(())
    } else {
        Err(std::io::Error::other("something else than sshd's greeting"))
    }
}

/// Whether `pam_nologin`'s file is gone from the host's /run, which only its own processes see.
fn lets_in(cgroups: &HostCgroups) -> bool {
    cgroups.init().is_some_and(|init| {
        let run = format!("/proc/{init}/root/run");
        Path::new(&run).is_dir() && !Path::new(&run).join("nologin").exists()
    })
}

/// A console's text without its colours.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().filter(|c| *c != '\r');
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // "[", numbers, and a letter that ends them.
            chars.find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(plain("[\u{1b}[0;32m  OK  \u{1b}[0m] Started\r\n"), "[  OK  ] Started\n");
    }
}
