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

/// What parts the functions that only look from those that change something.
const NOTHING_IS_CHANGED: &str = "# So far nothing is changed: a look needs no more.";

static PINNED: LazyLock<(String, usize)> = LazyLock::new(|| {
    let mut text = format!("pin_system_folders='{}'\n", SYSTEM_FOLDERS.join(" "));
    let mut looks = 0;
    // It goes to a host with each script: without what is only for people.
    for line in include_str!("pinned.sh").lines().map(str::trim_start) {
        if line == NOTHING_IS_CHANGED {
            looks = text.len();
        } else if !line.is_empty() && !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    (text, looks)
});

/// The functions, as text that a script begins with. `pinned.sh` says what they do.
pub fn pinned() -> &'static str {
    &PINNED.0
}

/// Those of them that a script needs which only looks.
pub fn pinned_looks() -> &'static str {
    &PINNED.0[..PINNED.1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_has_no_function_that_changes_something() {
        assert!(pinned_looks().contains("pin_judge()") && pinned_looks().contains("pin_bytes()"));
        for word in ["rm ", "mv ", "chown ", "chmod ", "mkdir "] {
            let found: Vec<&str> = pinned_looks().lines().filter(|line| line.contains(word)).collect();
            assert!(found.is_empty(), "{word}: {found:?}");
        }
        assert!(pinned().len() > pinned_looks().len() && pinned().contains("pin_write()"));
    }
}
