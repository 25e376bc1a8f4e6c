//! Everything that can go wrong with a lab, said with what was seen and what to do.

use std::{io, path::PathBuf, time::Duration};

/// Why something about a lab didn't work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The lab needs Linux: namespaces, cgroups, overlay mounts.
    #[error("the lab needs Linux; this machine runs {os}")]
    NotLinux {
        /// The operating system as Rust names it.
        os: &'static str,
    },
    /// Mounts and namespaces need root.
    #[error("the lab needs root (it mounts, makes network namespaces and boots systemd); run it with sudo")]
    NotRoot,
    /// A program is missing, and there is no apt-get to install it with.
    #[error("the lab needs {}, and this machine has no apt-get to install it with; install {} and try again",
        .programs.join(", "), .packages.join(", "))]
    NoInstaller {
        /// The programs that were looked for and not found.
        programs: Vec<String>,
        /// The packages that carry them, by Debian's names.
        packages: Vec<String>,
    },
    /// A program is still missing after its package was installed.
    #[error("the lab needs {}, which {} not found in {path} although {} installed",
        .programs.join(", "), if .programs.len() == 1 { "is" } else { "are" }, .packages.join(", ") + if .packages.len() == 1 { " is" } else { " are" })]
    StillMissing {
        /// The programs that were looked for and not found.
        programs: Vec<String>,
        /// The packages that should carry them.
        packages: Vec<String>,
        /// Where they were looked for.
        path: String,
    },
    /// The kernel can't do something that the lab is made of.
    #[error("this machine's kernel can't do {what}, which the lab is made of: {seen}")]
    Kernel {
        /// What was tried, such as "overlay mounts".
        what: &'static str,
        /// What trying it printed.
        seen: String,
    },
    /// A program that the lab runs failed.
    #[error("failed to {what}: `{command}` ended with {status}{}", indent(.stderr))]
    Command {
        /// What it was run for.
        what: String,
        /// The program and its arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The last of what it printed to its standard error.
        stderr: String,
    },
    /// A file couldn't be read, written, made or removed.
    #[error("failed to {what} {}", .path.display())]
    Io {
        /// The verb, such as "write".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state of a lab doesn't read as one.
    #[error("{} is not a lab's state ({why}); `haflow lab --name {name} down` removes the lab", .path.display())]
    State {
        /// The lab.
        name: String,
        /// The state file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A host's, lab's, suite's or snapshot's name can't be used.
    #[error("{name:?} can't be the name of a {what}: {why}")]
    Name {
        /// "host", "lab", "suite" or "snapshot".
        what: &'static str,
        /// The name.
        name: String,
        /// What it has to be.
        why: &'static str,
    },
    /// A name was asked for twice.
    #[error("host {host} was asked for twice")]
    Twice {
        /// The host.
        host: String,
    },
    /// More hosts than a lab's address range holds.
    #[error("a lab holds at most {most} hosts; {asked} were asked for")]
    TooMany {
        /// How many fit.
        most: usize,
        /// How many there would be.
        asked: usize,
    },
    /// A host exists already, of another suite.
    #[error("host {host} of this lab is {has} already, not {asked}; take the lab down first, or ask for {has}")]
    Suite {
        /// The host.
        host: String,
        /// Its suite.
        has: String,
        /// The suite that was asked for.
        asked: String,
    },
    /// The lab has no such host.
    #[error("lab {lab} has no host {host}; it has {}", .has.join(", "))]
    NoHost {
        /// The lab.
        lab: String,
        /// The host that was asked for.
        host: String,
        /// The hosts that there are.
        has: Vec<String>,
    },
    /// No lab of this name.
    #[error("there is no lab {name}; `haflow lab up` makes one")]
    NoLab {
        /// The lab.
        name: String,
    },
    /// The base that a host's files lie over is gone.
    #[error("the base of host {host} is gone ({}); `haflow lab down` and `up` make the host anew", .base.display())]
    BaseGone {
        /// The host.
        host: String,
        /// Where the base was.
        base: PathBuf,
    },
    /// A layer of the snapshot that a host stands on is gone.
    #[error(
        "what host {host} stands on of snapshot {name} is gone ({}); `haflow lab down` and `up` make the host anew",
        .dir.display()
    )]
    LayersGone {
        /// The host.
        host: String,
        /// The snapshot.
        name: String,
        /// Where the layer was.
        dir: PathBuf,
    },
    /// A file of a host that the lab has to write isn't one, or a link leads to it.
    #[error(
        "{} isn't a plain file, or a link leads to it: the lab follows no link of a host; put a file there, or take \
         the lab down",
        .path.display()
    )]
    HostFile {
        /// The file, as this machine sees it.
        path: PathBuf,
    },
    /// No snapshot of this name.
    #[error("there is no snapshot {name}; {}", have(.has))]
    NoSnapshot {
        /// The snapshot that was asked for.
        name: String,
        /// The snapshots that there are.
        has: Vec<String>,
    },
    /// A snapshot of this name exists already.
    #[error("snapshot {name} exists already; take another name, or replace it (`--replace`)")]
    SnapshotExists {
        /// The snapshot.
        name: String,
    },
    /// The description of a snapshot doesn't read as one.
    #[error(
        "snapshot {name} is damaged ({}: {why}); `haflow lab snapshots --remove {name}` removes it",
        .path.display()
    )]
    SnapshotDamaged {
        /// The snapshot.
        name: String,
        /// Its description.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The base that a snapshot stands on isn't what it was.
    #[error(
        "the base of snapshot {name} {why} ({}); take the snapshot anew with \
         `haflow lab snapshot HOST {name} --replace`, or remove it with `haflow lab snapshots --remove {name}`",
        .base.display()
    )]
    SnapshotBase {
        /// The snapshot.
        name: String,
        /// The base.
        base: PathBuf,
        /// What happened to it.
        why: &'static str,
    },
    /// A snapshot is of another suite.
    #[error("snapshot {name} is {has}, not {asked}; leave the suite out, or ask for {has}")]
    SnapshotSuite {
        /// The snapshot.
        name: String,
        /// Its suite.
        has: String,
        /// The suite that was asked for.
        asked: String,
    },
    /// A host exists already, and was started from something else.
    #[error("host {host} of this lab exists and stands on {has}, not on snapshot {asked}; take the lab down first")]
    OtherDisk {
        /// The host.
        host: String,
        /// What it stands on.
        has: String,
        /// The snapshot that was asked for.
        asked: String,
    },
    /// Snapshots lie over one another too often.
    #[error(
        "host {host} stands on {most} layers of snapshots, which is as many as can be; start from a host without --from"
    )]
    TooManyLayers {
        /// The host.
        host: String,
        /// How many there may be.
        most: usize,
    },
    /// A host that was to be shut down runs on.
    #[error(
        "host {host} has not shut down within {} s, so no snapshot was taken; it may go off later: `haflow lab kill \
         {host}` cuts its power, and `haflow lab boot {host}` starts it again",
        .waited.as_secs()
    )]
    NoShutdown {
        /// The host.
        host: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// No free address range was found.
    #[error(
        "found no free range for the lab's addresses in 10.0.0.0/8: every one of {tried} collides with a route of this machine"
    )]
    NoRange {
        /// How many were tried.
        tried: usize,
    },
    /// The lab's range has come to collide with a route.
    #[error(
        "the lab's addresses {range} collide with this machine's route to {route}; `haflow lab down` and `up` choose others"
    )]
    RangeTaken {
        /// The lab's range.
        range: String,
        /// The route.
        route: String,
    },
    /// A host ended before it could be logged in to.
    #[error("host {host} ended while it was booting{}", indent(.log))]
    BootEnded {
        /// The host.
        host: String,
        /// The end of its console's log.
        log: String,
    },
    /// A host didn't get so far that it could be logged in to.
    #[error("host {host} could not be logged in to within {} s of its start: {seen}{}", .waited.as_secs(), indent(.log))]
    BootTimeout {
        /// The host.
        host: String,
        /// How long it was waited for.
        waited: Duration,
        /// What was seen last.
        seen: String,
        /// The end of its console's log.
        log: String,
    },
    /// A process or a mount of the lab won't go.
    #[error("{what} of the lab is still there after {} s: {seen}", .waited.as_secs())]
    Stuck {
        /// What it is.
        what: &'static str,
        /// How long it was waited for.
        waited: Duration,
        /// Which.
        seen: String,
    },
}

/// Which snapshots there are, or how to make one.
fn have(names: &[String]) -> String {
    match names {
        [] => "there is none yet, `haflow lab snapshot HOST NAME` takes one".to_owned(),
        names => format!("there {} {}", if names.len() == 1 { "is" } else { "are" }, names.join(", ")),
    }
}

/// The text on lines of its own below the sentence, or nothing.
fn indent(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        out.push_str("\n    ");
        out.push_str(line.trim_end());
    }
    out
}

impl LabError {
    /// An I/O error at a path, ready for `map_err`.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// The result of everything fallible here.
pub(crate) type Result<T, E = LabError> = std::result::Result<T, E>;
