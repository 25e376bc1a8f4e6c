//! The kernel's settings that a lab needs, raised while there are labs and put back after the last.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    error::{LabError, Result},
    files, state,
};

/// What has to be at least so much.
const WANTED: &[(&str, u64)] = &[
    // The hosts reach the package archives through this machine.
    ("net/ipv4/ip_forward", 1),
    // All hosts count as one user. Each systemd takes about four of these; 128, the usual, is thirty hosts.
    ("fs/inotify/max_user_instances", 8192),
    ("fs/inotify/max_user_watches", 262_144),
];

/// Raises what is too low, remembering what it was. The caller holds the lock of all labs.
pub(crate) fn raise() -> Result<()> {
    let mut were = remembered()?;
    for (name, wanted) in WANTED {
        let path = Path::new("/proc/sys").join(name);
        let now = fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        if now.trim().parse::<u64>().is_ok_and(|now| now < *wanted) {
            // Written down first: a crash between the two leaves nothing raised for good.
            were.insert((*name).to_owned(), now.trim().to_owned());
            write(&were)?;
            fs::write(&path, wanted.to_string()).map_err(LabError::io("write", &path))?;
        }
    }
    Ok(())
}

/// Puts back what was raised, unless somebody has changed it since. The caller holds the lock of all labs.
pub(crate) fn put_back() -> Result<()> {
    for (name, was) in remembered()? {
        let Some((_, wanted)) = WANTED.iter().find(|(have, _)| *have == name) else {
            continue;
        };
        let path = Path::new("/proc/sys").join(&name);
        let now = fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        if now.trim() == wanted.to_string() {
            fs::write(&path, was).map_err(LabError::io("write", &path))?;
        }
    }
    files::remove_file(&state::settings_file())
}

/// Settings by name, with what they were. A damaged file counts as none: the settings only stay raised.
fn remembered() -> Result<BTreeMap<String, String>> {
    let text = files::read_if_there(&state::settings_file())?.unwrap_or_default();
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn write(were: &BTreeMap<String, String>) -> Result<()> {
    let path = state::settings_file();
    let json = serde_json::to_string(were).expect("texts are data");
    files::write(&path, json + "\n", 0o600)
}
