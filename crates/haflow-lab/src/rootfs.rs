//! A host's files: an overlay over the base, and what makes it this host rather than another.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt, lchown},
    path::{Path, PathBuf},
};

use crate::{
    command::run,
    error::{LabError, Result},
    files,
    identity::{HOMES, all_inside, fresh_id, inside},
    layers::Layers,
    network,
    state::SavedHost,
    sys,
};

const HOSTS_BEGIN: &str = "# haflow lab: begin";
const HOSTS_END: &str = "# haflow lab: end";

/// The directory of one host: its overlay, its sshd's key, its console's log.
#[derive(Debug, Clone)]
pub(crate) struct Rootfs {
    dir: PathBuf,
}

impl Rootfs {
    /// The directory of a host of the lab in `lab`; nothing is made yet.
    pub(crate) fn new(lab: &Path, host: &str) -> Self {
        Self { dir: lab.join("hosts").join(host) }
    }

    /// Where the host's files are seen when they are mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// What the host has written, changed and deleted.
    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// What the host's console printed since its last start.
    pub(crate) fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// Mounts the host's files if they aren't, made at the first time.
    pub(crate) fn mount(&self, host: &SavedHost) -> Result<()> {
        if files::is_mounted(&self.root())? {
            return Ok(());
        }
        if !host.base.join("etc").is_dir() {
            return Err(LabError::BaseGone { host: host.name.clone(), base: host.base.clone() });
        }
        let (upper, work) = (self.upper(), self.dir.join("work"));
        let mut lower = host.snapshot.as_ref().map(Layers::dirs).unwrap_or_default();
        if let (Some(layers), Some(dir)) = (&host.snapshot, lower.iter().find(|dir| !dir.is_dir())) {
            let (host, name) = (host.name.clone(), layers.name.clone());
            return Err(LabError::LayersGone { host, name, dir: dir.clone() });
        }
        lower.push(host.base.clone());
        for dir in [&upper, &work, &self.root()] {
            files::make_dir(dir, 0o755)?;
        }
        sys::mount_overlay(&lower, &upper, &work, &self.root())
    }

    /// Makes a host of the mounted files: names, keys, name servers. What a host has already stays.
    pub(crate) fn personalize(&self, host: &SavedHost, login_key: &Path) -> Result<()> {
        let machine_id = self.file("etc/machine-id")?;
        let first = files::bytes_if_there(&machine_id)?.unwrap_or_default().trim_ascii().is_empty();
        if first {
            files::write(&self.file("etc/hostname")?, format!("{}\n", host.name), 0o644)?;
        }
        // A host that has taken its name servers into its own hands keeps them.
        if let Ok(resolv) = self.file("etc/resolv.conf") {
            let (there, ours) = (files::bytes_if_there(&resolv)?, network::resolv_conf()?);
            let is_old = |text: Vec<u8>| text != ours.as_bytes() && text.starts_with(network::RESOLV_MARK.as_bytes());
            if there.is_none_or(is_old) {
                files::write(&resolv, ours, 0o644)?;
            }
        }
        for (name, mode) in [("ssh_host_ed25519_key", 0o600), ("ssh_host_ed25519_key.pub", 0o644)] {
            copy_if_missing(&self.dir.join(name), &self.file(&format!("etc/ssh/{name}"))?, mode)?;
        }
        let public = login_key.with_extension("pub");
        for home in HOMES {
            let keys = self.file(&format!("{home}/.ssh/authorized_keys"))?;
            let ssh = self.root().join(home).join(".ssh");
            copy_if_missing(&public, &keys, 0o600)?;
            if first {
                // A snapshot's own keys are there already.
                add_key(&public, &keys)?;
            }
            let owner = fs::symlink_metadata(&ssh).map_err(LabError::io("look at", &ssh))?;
            lchown(&keys, Some(owner.uid()), Some(owner.gid())).map_err(LabError::io("give away", &keys))?;
        }
        // It is written last, since it says that all of this was done.
        if first { files::write(&machine_id, fresh_id()? + "\n", 0o444) } else { Ok(()) }
    }

    /// Refuses where the host has made a link of something that makes it this host: that could neither be
    /// taken out of a snapshot nor be written again.
    pub(crate) fn check(&self) -> Result<()> {
        let of_host = ["etc/machine-id", "etc/hostname", "etc/ssh/ssh_host_ed25519_key"].map(str::to_owned);
        let keys = HOMES.map(|home| format!("{home}/.ssh/authorized_keys"));
        of_host.iter().chain(&keys).try_for_each(|name| self.file(name).map(drop))?;
        all_inside(&self.root())
    }

    /// A file of the host's that is to be read or written: a plain one, or none yet, with only directories on
    /// the way.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let root = self.root();
        let is_fit = |path: &PathBuf| fs::symlink_metadata(path).map_or(true, |meta| meta.is_file());
        inside(&root, name).filter(is_fit).ok_or_else(|| LabError::HostFile { path: root.join(name) })
    }

    /// The public half of the host's own key, made at the first time.
    pub(crate) fn host_key(&self, host: &str) -> Result<String> {
        let key = self.dir.join("ssh_host_ed25519_key");
        make_key(&key, host)
    }

    /// Writes the lab's hosts into the host's /etc/hosts, beside whatever else it lists.
    pub(crate) fn write_hosts(&self, entries: &[(Ipv4Addr, &str)]) -> Result<()> {
        let path = self.file("etc/hosts")?;
        let before = files::bytes_if_there(&path)?.unwrap_or_else(|| LOCALHOST.into());
        let after = merge_hosts(&before, entries);
        if before == after { Ok(()) } else { files::write(&path, after, 0o644) }
    }

    /// Unmounts the host's files.
    pub(crate) fn unmount(&self) -> Result<()> {
        files::unmount_below(&self.dir)
    }
}

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
    ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// The text with our block in it replaced, or added at the end. What follows half a block may be anybody's.
fn merge_hosts(before: &[u8], entries: &[(Ipv4Addr, &str)]) -> Vec<u8> {
    let mut lines = lines(before);
    let end = lines.iter().position(|line| *line == HOSTS_END.as_bytes()).map_or(0, |end| end + 1);
    if let Some(begin) = lines[..end].iter().rposition(|line| *line == HOSTS_BEGIN.as_bytes()) {
        lines.drain(begin..end);
    }
    lines.retain(|line| *line != HOSTS_BEGIN.as_bytes() && *line != HOSTS_END.as_bytes());
    let ours: Vec<String> = entries.iter().map(|(address, name)| format!("{address}\t{name}")).collect();
    let ours = [HOSTS_BEGIN].into_iter().chain(ours.iter().map(String::as_str)).chain([HOSTS_END]);
    lines.into_iter().chain(ours.map(str::as_bytes)).flat_map(|line| [line, b"\n"]).flatten().copied().collect()
}

/// The lines of a text in any encoding.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line)).collect()
}

/// Makes a key pair if it isn't there, and returns its public half.
pub(crate) fn make_key(path: &Path, comment: &str) -> Result<String> {
    let public = path.with_extension("pub");
    let whole = path.is_file() && public.is_file();
    if !whole {
        files::make_dir(path.parent().unwrap_or(path), 0o755)?;
        // Half a pair is left of a crash; ssh-keygen would ask about it.
        files::remove_file(path)?;
        files::remove_file(&public)?;
        let file = path.to_string_lossy();
        run("make a key", "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", &file])?;
    }
    fs::read_to_string(&public).map_err(LabError::io("read", &public))
}

fn copy_if_missing(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    let content = fs::read(from).map_err(LabError::io("read", from))?;
    files::write(to, content, mode)
}

/// Adds a public key to those that may log in, if it isn't among them.
fn add_key(public: &Path, keys: &Path) -> Result<()> {
    let key = fs::read(public).map_err(LabError::io("read", public))?;
    let have = files::bytes_if_there(keys)?.unwrap_or_default();
    if lines(&have).iter().any(|line| line.trim_ascii() == key.trim_ascii()) {
        return Ok(());
    }
    files::write(keys, [have.trim_ascii_end(), b"\n", key.trim_ascii(), b"\n"].concat(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_block_is_replaced_and_the_rest_stays() {
        let one = (Ipv4Addr::new(10, 1, 2, 10), "a");
        let two = (Ipv4Addr::new(10, 1, 2, 11), "b");
        let merged = |before: &str, entries: &[_]| String::from_utf8(merge_hosts(before.as_bytes(), entries)).unwrap();
        let first = merged("127.0.0.1\tlocalhost\n", &[one]);
        assert_eq!(first, "127.0.0.1\tlocalhost\n# haflow lab: begin\n10.1.2.10\ta\n# haflow lab: end\n");
        let added = format!("{first}192.0.2.1\tmirror\n");
        let second = merged(&added, &[one, two]);
        assert!(second.contains("192.0.2.1\tmirror\n"));
        assert_eq!(second.matches(HOSTS_BEGIN).count(), 1);
        assert_eq!(second.matches("10.1.2.10\ta\n").count(), 1);
        assert!(second.ends_with("10.1.2.11\tb\n# haflow lab: end\n"));
        assert_eq!(merged(&second, &[one, two]), second);
        let ours = "# haflow lab: begin\n10.1.2.10\ta\n# haflow lab: end\n";
        let half = "# haflow lab: begin\n192.0.2.1\tmirror\n";
        assert_eq!(merged(half, &[one]), format!("192.0.2.1\tmirror\n{ours}"));
        assert_eq!(merged(&format!("{half}{ours}"), &[one]), format!("192.0.2.1\tmirror\n{ours}"));
    }

    /// Bytes that are blanks in Unicode may end a letter in another encoding.
    #[test]
    fn a_hosts_text_may_be_in_any_encoding() {
        let dir = tempfile::tempdir().unwrap();
        let (public, keys) = (dir.path().join("key.pub"), dir.path().join("keys"));
        fs::write(&public, "ssh-ed25519 A lab\n").unwrap();
        fs::write(&keys, b"ssh-ed25519 B voil\xc3\xa0").unwrap();
        add_key(&public, &keys).unwrap();
        add_key(&public, &keys).unwrap();
        assert_eq!(fs::read(&keys).unwrap(), b"ssh-ed25519 B voil\xc3\xa0\nssh-ed25519 A lab\n");
        let ours = b"# haflow lab: begin\n# haflow lab: end\n";
        assert_eq!(merge_hosts(b"10.9.9.9\tB\xfcro", &[]), [&b"10.9.9.9\tB\xfcro\n"[..], ours].concat());
    }

    #[test]
    fn no_link_of_a_host_is_followed() {
        let (dir, machine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rootfs = Rootfs { dir: dir.path().to_owned() };
        let root = rootfs.root();
        fs::create_dir_all(root.join("etc/real")).unwrap();
        fs::write(machine.path().join("shadow"), "secret").unwrap();
        std::os::unix::fs::symlink(machine.path().join("shadow"), root.join("etc/hosts")).unwrap();
        std::os::unix::fs::symlink(machine.path(), root.join("etc/ssh")).unwrap();
        fs::create_dir(root.join("root")).unwrap();
        std::os::unix::fs::symlink(machine.path(), root.join("root/.ssh")).unwrap();
        assert!(rootfs.check().is_err());
        for name in ["etc/hosts", "etc/ssh/shadow", "etc/ssh/new", "etc/real", "root/.ssh/authorized_keys"] {
            assert!(matches!(rootfs.file(name), Err(LabError::HostFile { .. })), "{name}");
        }
        assert!(rootfs.write_hosts(&[(Ipv4Addr::LOCALHOST, "a")]).is_err());
        for name in ["etc/real/new", "etc/none/new", "etc/hostname"] {
            assert_eq!(rootfs.file(name).unwrap(), root.join(name));
        }
    }

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id_ed25519");
        let public = make_key(&path, "lab").unwrap();
        assert!(public.starts_with("ssh-ed25519 "));
        assert_eq!(make_key(&path, "lab").unwrap(), public);
        fs::remove_file(path.with_extension("pub")).unwrap();
        assert_ne!(make_key(&path, "lab").unwrap(), public);
    }
}
