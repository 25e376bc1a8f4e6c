//! The programs that the lab runs, and whether it can be had on this machine.

use std::{env, path::Path, process::Command};

use crate::{
    command::{run, run_command, search_path},
    error::{LabError, Result},
    files,
    progress::{Progress, Report},
    state, sys,
};

/// What the lab runs, and the Debian package that carries it.
const PROGRAMS: &[(&str, &str)] = &[
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
];

/// Debian's keys, which Ubuntu doesn't come with. Without them debootstrap verifies nothing.
const KEYRINGS: &[&str] =
    &["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// Whether the lab can be had here: Ok, or the reason why not, such as another system than Linux, no
/// root, or a kernel without overlay mounts. Changes nothing and installs nothing.
pub fn supported() -> Result<()> {
    basics()?;
    let (missing, _) = missing_on(&search_path());
    if !missing.is_empty() && !has_program(&search_path(), "apt-get") {
        return Err(no_installer(&search_path()));
    }
    let missing = |program: &str| missing.iter().any(|name| name == program);
    let overlay = "mkdir l u w m && mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m";
    // Where the labs' files will be: an overlay can't lie on every file system.
    let place = Path::new(state::STATE_DIR);
    let place = place.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    let dir = tempfile::Builder::new()
        .prefix(".haflow-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir_in(place)
        .map_err(LabError::io("make a directory in", place))?;
    if !missing("unshare") {
        try_apart("overlay mounts", &["--mount"], overlay, dir.path())?;
    }
    if !missing("unshare") && !missing("ip") {
        let links = "ip link add haflow0 type bridge && ip link add haflow1 type veth peer name haflow2";
        try_apart("bridges and veth pairs", &["--net"], links, dir.path())?;
    }
    if !missing("unshare") && !missing("nft") {
        let rules = "nft 'table ip haflow { chain out { type nat hook postrouting priority 100; masquerade; }; }'";
        try_apart("masquerading by nftables", &["--net"], rules, dir.path())?;
    }
    if files::mounts()?.iter().any(|mount| mount.kind.starts_with("cgroup")) {
        return Ok(());
    }
    Err(LabError::Kernel { what: "cgroups", seen: "no cgroup hierarchy is mounted".into() })
}

/// The system and the user: cheap, and true of everything that touches a lab.
pub(crate) fn basics() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(LabError::NotLinux { os: env::consts::OS });
    }
    if !sys::is_root() {
        return Err(LabError::NotRoot);
    }
    Ok(())
}

/// Runs a script in namespaces of its own, which take all that it makes with them.
fn try_apart(what: &'static str, namespaces: &[&str], script: &str, dir: &Path) -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-ec", script]).current_dir(dir);
    match run_command(what, &mut command, "") {
        Err(LabError::Command { stderr, .. }) => {
            let seen = stderr.lines().next().unwrap_or("it failed without a word").to_owned();
            Err(LabError::Kernel { what, seen })
        }
        other => other.map(drop),
    }
}

/// Installs what is missing, where apt-get is there to do it, and says whether anything was.
pub(crate) fn install(report: Report<'_>) -> Result<bool> {
    let path = search_path();
    let (missing, packages) = missing_on(&path);
    if missing.is_empty() {
        return Ok(false);
    }
    if !has_program(&path, "apt-get") {
        return Err(no_installer(&path));
    }
    report(Progress::Installing { packages: packages.clone() });
    apt_get(&["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(packages.iter().map(String::as_str));
    apt_get(&args)?;
    match missing_on(&path) {
        (missing, _) if missing.is_empty() => Ok(true),
        (programs, packages) => Err(LabError::StillMissing { programs, packages, path: path.join(":") }),
    }
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["--quiet", "--option", "DPkg::Lock::Timeout=120"]).args(args);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    run_command("install what the lab needs", &mut command, "").map(drop)
}

fn no_installer(path: &[String]) -> LabError {
    let (programs, packages) = missing_on(path);
    LabError::NoInstaller { programs, packages }
}

fn has_program(path: &[String], program: &str) -> bool {
    path.iter().any(|dir| Path::new(dir).join(program).is_file())
}

/// The programs that aren't on the path, and the packages that carry them, each once.
fn missing_on(path: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut programs, mut packages): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for (program, package) in PROGRAMS {
        if !has_program(path, program) {
            programs.push((*program).to_owned());
            if packages.iter().all(|have| have != package) {
                packages.push((*package).to_owned());
            }
        }
    }
    if !KEYRINGS.iter().any(|file| Path::new(file).is_file()) {
        programs.push("Debian's archive keyring".to_owned());
        packages.push("debian-archive-keyring".to_owned());
    }
    (programs, packages)
}

/// The machine's apt settings that a base needs as well to reach the archive as this machine does.
pub(crate) fn apt_settings() -> String {
    if !has_program(&search_path(), "apt-config") {
        return String::new();
    }
    // A machine whose apt is broken gets a base with apt's defaults.
    pick_apt_settings(&run("read apt's settings", "apt-config", &["dump"]).unwrap_or_default())
}

/// Proxies, and whether dates are checked (a mirror may be a snapshot). A proxy on the machine's
/// own loopback is out of the hosts' reach and left out.
fn pick_apt_settings(dump: &str) -> String {
    const WANTED: &[&str] = &[
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::Max-FutureTime",
        "Acquire::Min-ValidTime",
        "Acquire::Max-ValidTime",
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
    ];
    let mut out = String::new();
    for line in dump.lines() {
        let Some((key, value)) = line.split_once(' ') else {
            continue;
        };
        let wanted =
            WANTED.iter().any(|name| key == *name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")));
        let loopback = ["//127.", "//localhost", "//[::1]"].iter().any(|place| value.contains(place));
        if wanted && !loopback && value != "\"\";" {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_packages() {
        let (programs, packages) = missing_on(&["/no/such/dir".to_owned()]);
        assert!(programs.iter().any(|name| name == "systemd-nspawn"));
        assert!(packages.iter().any(|name| name == "systemd-container"));
        assert_eq!(packages.iter().filter(|name| *name == "openssh-client").count(), 1);
        let text = LabError::NoInstaller { programs, packages }.to_string();
        assert!(text.contains("debootstrap") && text.contains("install"), "{text}");
    }

    #[test]
    fn a_program_on_the_path_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("nft"), "").unwrap();
        let path = [dir.path().to_string_lossy().into_owned()];
        assert!(has_program(&path, "nft"));
        let (programs, _) = missing_on(&path);
        assert!(!programs.iter().any(|name| name == "nft"));
    }

    #[test]
    fn only_what_reaching_the_archive_takes_is_copied() {
        let dump = "Acquire \"\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::GzipIndexes \"true\";\n\
            Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::Proxy \"http://127.0.0.1:1\";\n\
            Acquire::http::Proxy::local.example \"DIRECT\";\nDir \"/\";\n";
        assert_eq!(
            pick_apt_settings(dump),
            "Acquire::Check-Valid-Until \"false\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n\
             Acquire::http::Proxy::local.example \"DIRECT\";\n"
        );
    }
}
