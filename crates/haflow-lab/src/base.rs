//! Bases: one Debian file system per suite, built once, under every host's own files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{
    command::run_command,
    error::{LabError, Result},
    files::{self, Lock},
    names,
    progress::{Progress, Report},
    tools,
};

/// Where finished bases are kept.
const CACHE_DIR: &str = "/var/cache/haflow/lab";
const MIRROR: &str = "http://deb.debian.org/debian";
/// What debootstrap's own scripts are looked for in.
const SCRIPTS_DIR: &str = "/usr/share/debootstrap/scripts";
/// What a small server has on top of the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,iproute2,iputils-ping,procps,\
    sudo,ca-certificates,netbase,kmod,less,curl,gnupg,tzdata,apt-utils,bash-completion";
const SETUP: &str = include_str!("base.sh");

/// The finished base of a suite, built if it doesn't exist.
pub(crate) fn ensure(suite: &str, report: Report<'_>) -> Result<PathBuf> {
    names::check("suite", suite)?;
    let settings = tools::apt_settings();
    let recipe = names::hex([suite, MIRROR, PACKAGES, SETUP, &settings].join("\0"), 12);
    let base = Path::new(CACHE_DIR).join(format!("{suite}-{recipe}"));
    if base.is_dir() {
        return Ok(base);
    }
    let _lock = Lock::take(&format!("base-{suite}"), &format!("another build of the {suite} base"), report)?;
    if !base.is_dir() {
        report(Progress::BuildingBase { suite: suite.to_owned() });
        let start = Instant::now();
        build(suite, &settings, &base)?;
        report(Progress::BaseReady { suite: suite.to_owned(), took: start.elapsed() });
    }
    Ok(base)
}

/// What a base is like: its path, by which it was made, and the versions of its packages.
pub(crate) fn fingerprint(base: &Path) -> Result<String> {
    let status = base.join("var/lib/dpkg/status");
    let packages = fs::read(&status).map_err(LabError::io("read", &status))?;
    Ok(names::hex([base.as_os_str().as_encoded_bytes(), &packages].concat(), 16))
}

/// Builds under another name and renames at the end: a base that is there is whole.
fn build(suite: &str, settings: &str, base: &Path) -> Result<()> {
    // Nobody else shall run what is setuid in a base, or was before it was mended upstream.
    files::make_dir(Path::new(CACHE_DIR), 0o700)?;
    let building = base.with_extension("building");
    files::remove_tree(&building)?;
    let outcome = debootstrap(suite, &building).and_then(|()| configure(suite, settings, &building));
    if let Err(err) = outcome {
        // The reason matters more than what is left, which the next build removes.
        files::remove_tree(&building).ok();
        return Err(err);
    }
    fs::rename(&building, base).map_err(LabError::io("name the finished base", base))
}

fn debootstrap(suite: &str, target: &Path) -> Result<()> {
    let mut command = apart();
    command.args(["debootstrap", "--variant=minbase"]).arg(format!("--include={PACKAGES}"));
    command.arg(suite).arg(target).arg(MIRROR);
    // A debootstrap that is older than the suite has no script of its name; all are alike since sid's.
    if !Path::new(SCRIPTS_DIR).join(suite).exists() {
        command.arg(Path::new(SCRIPTS_DIR).join("sid"));
    }
    run_command(&format!("build the base of {suite}"), &mut command, "").map(drop)
}

fn configure(suite: &str, settings: &str, target: &Path) -> Result<()> {
    if !settings.is_empty() {
        files::write(&target.join("etc/apt/apt.conf.d/80haflow-machine"), settings, 0o644)?;
    }
    files::write(&target.join("etc/resolv.conf"), crate::network::resolv_conf()?, 0o644)?;
    let archives = if ["sid", "unstable"].contains(&suite) { "" } else { "security" };
    let mut command = apart();
    command.arg(format!("--mount-proc={}", target.join("proc").display()));
    command.arg("chroot").arg(target).args(["/bin/sh", "-c", SETUP, "sh", suite, archives]);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    run_command(&format!("configure the base of {suite}"), &mut command, "").map(drop)
}

/// Runs what follows in namespaces of its own: its mounts and processes end with it, and with us.
fn apart() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    command
}
