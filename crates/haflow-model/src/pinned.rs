//! Shell functions that work on paths in which somebody else may have a hand.

use std::sync::LazyLock;

/// Folders that belong to the system: nothing that shall be absent may be one of them.
pub const SYSTEM_FOLDERS: [&str; 29] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
];

static PINNED: LazyLock<String> = LazyLock::new(|| {
    let mut text = format!("pin_system_folders='{}'\n", SYSTEM_FOLDERS.join(" "));
    text += &without_comments(include_str!("pinned.sh"));
    text
});

/// A shell's text without what is only for people: comments that are lines of their own, empty lines, and
/// blanks before lines. In no text or here-document of it may there be any.
pub fn without_comments(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The functions, as text that a script begins with. `pinned.sh` says what they do.
pub fn pinned() -> &'static str {
    &PINNED
}
