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
    // It goes to each lane: without what is only for people.
    for line in include_str!("pinned.sh").lines().map(str::trim_start) {
        if !line.is_empty() && !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
});

/// The functions, as text that a script begins with. `pinned.sh` says what they do.
pub fn pinned() -> &'static str {
    &PINNED
}
