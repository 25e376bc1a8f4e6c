//! What makes a disk one host's: taken out of a snapshot, so that no two hosts are the same one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{LabError, Result},
    files,
};

/// Files that are of one host: its id and name, seeds and secrets of systemd's, logs of who logged in.
const FILES: &[&str] = &[
    "etc/machine-id",
    "etc/machine-info",
    "etc/hostname",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/NetworkManager/secret_key",
    "var/log/wtmp",
    "var/log/btmp",
    "var/log/lastlog",
];

/// Directories whose entries of these beginnings and ends are of one host.
const ENTRIES: &[(&str, &str, &str)] = &[
    ("etc/ssh", "ssh_host_", ""),
    ("var/lib/dhcp", "", ".leases"),
    ("var/lib/dhcpcd", "", ".lease"),
    ("var/lib/NetworkManager", "", ".lease"),
    ("var/log/journal", "", ""),
    ("var/tmp", "systemd-private-", ""),
];

/// The homes in whose `authorized_keys` a lab puts its key.
pub(crate) const HOMES: [&str; 2] = ["root", "home/debian"];

/// Refuses where a link of the host's leads elsewhere what is of one host: there it can't be taken out.
pub(crate) fn all_inside(root: &Path) -> Result<()> {
    let keys = HOMES.map(|home| format!("{home}/.ssh/authorized_keys"));
    let files = FILES.iter().copied().chain(keys.iter().map(String::as_str));
    let files = files.map(|file| (file, inside(root, file)));
    let dirs = ENTRIES.iter().map(|(dir, ..)| (*dir, inside(root, &format!("{dir}/any"))));
    match files.chain(dirs).find(|(_, inside)| inside.is_none()) {
        Some((name, _)) => Err(LabError::HostFile { path: root.join(name) }),
        None => Ok(()),
    }
}

/// Takes out of a host's files what is that host's or its lab's alone. What its services made for
/// themselves, such as keys and databases, is content and stays.
///
/// # Errors
/// If a link leads some of it elsewhere, or it can't be removed.
pub(crate) fn strip(root: &Path, login_key: &str) -> Result<()> {
    all_inside(root)?;
    for name in FILES {
        remove(&root.join(name))?;
    }
    for (dir, begins, ends) in ENTRIES {
        let dir = root.join(dir);
        if !is_dir(&dir) {
            continue;
        }
        for entry in fs::read_dir(&dir).map_err(LabError::io("list", &dir))? {
            let entry = entry.map_err(LabError::io("list", &dir))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(begins) && name.ends_with(ends) {
                remove(&entry.path())?;
            }
        }
    }
    for home in HOMES {
        let path = root.join(home).join(".ssh/authorized_keys");
        let is_file = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file());
        let Some(text) = (if is_file { files::bytes_if_there(&path)? } else { None }) else {
            continue;
        };
        match without(&text, login_key) {
            left if left.trim_ascii().is_empty() => remove(&path)?,
            // Written in place: its owner and mode stay.
            left if left != text => fs::write(&path, left).map_err(LabError::io("write", &path))?,
            _ => {}
        }
    }
    Ok(())
}

/// The text without the lines that are a key.
fn without(text: &[u8], key: &str) -> Vec<u8> {
    let is_key = |line: &&[u8]| line.trim_ascii() == key.as_bytes().trim_ascii();
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_key(line)).flatten().copied().collect()
}

/// Where a file of a disk is, or would be, if the way there leads through directories only: a link of the
/// host's could lead out of it, with the rights of this machine's root.
pub(crate) fn inside(root: &Path, name: &str) -> Option<PathBuf> {
    let path = root.join(name);
    let ways = path.ancestors().skip(1).take_while(|way| *way != root);
    // What isn't there leads nowhere.
    let mut there = ways.filter_map(|way| fs::symlink_metadata(way).ok());
    there.all(|meta| meta.is_dir()).then_some(path)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Removes what is there, a link itself and not what it leads to.
fn remove(path: &Path) -> Result<()> {
    if is_dir(path) { files::remove_tree(path) } else { files::remove_file(path) }
}

/// Thirty-two hex digits that nobody has had before.
pub(crate) fn fresh_id() -> Result<String> {
    const UUID: &str = "/proc/sys/kernel/random/uuid";
    fs::read_to_string(UUID).map(|uuid| uuid.trim().replace('-', "")).map_err(LabError::io("read", UUID))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn disk(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn what_is_one_hosts_goes_and_the_rest_stays() {
        let gone = ["etc/machine-id", "etc/hostname", "etc/ssh/ssh_host_rsa_key", "var/log/journal/1/system.journal"];
        let stays = ["etc/ssh/sshd_config", "var/log/dpkg.log", "var/lib/dhcp/README", "etc/app/machine-id"];
        let dir = disk(&[&gone[..], &stays[..]].concat());
        strip(dir.path(), "key").unwrap();
        for file in gone {
            assert!(!dir.path().join(file).exists(), "{file}");
        }
        for file in stays {
            assert!(dir.path().join(file).exists(), "{file}");
        }
    }

    #[test]
    fn the_labs_key_goes_and_others_stay() {
        let dir = disk(&["root/.ssh/authorized_keys", "home/debian/.ssh/authorized_keys"]);
        let (root, debian) =
            (dir.path().join("root/.ssh/authorized_keys"), dir.path().join("home/debian/.ssh/authorized_keys"));
        fs::write(&root, "ssh-ed25519 A lab\n").unwrap();
        fs::write(&debian, "ssh-ed25519 A lab\nssh-ed25519 B mine\n").unwrap();
        strip(dir.path(), "ssh-ed25519 A lab\n").unwrap();
        assert!(!root.exists());
        assert_eq!(fs::read_to_string(debian).unwrap(), "ssh-ed25519 B mine\n");
    }

    #[test]
    fn links_of_a_host_lead_nowhere() {
        let machine = disk(&["machine-id", "ssh_host_rsa_key", "authorized_keys"]);
        for link in ["etc", "root/.ssh", "var/log/journal", "var/log"] {
            let dir = disk(&["root/readme", "var/lib/readme"]);
            fs::create_dir_all(dir.path().join(link).parent().unwrap()).unwrap();
            symlink(machine.path(), dir.path().join(link)).unwrap();
            assert!(matches!(strip(dir.path(), "x"), Err(LabError::HostFile { .. })), "{link}");
            assert_eq!(fs::read_dir(machine.path()).unwrap().count(), 3);
        }
    }
}
