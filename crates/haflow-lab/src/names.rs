//! Names and addresses that follow from a lab's name, and which names are fit to be used.

use std::{
    fmt::{self, Write},
    net::Ipv4Addr,
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::error::{LabError, Result};

/// How many hosts a lab holds: addresses .10 up to .249.
pub(crate) const MOST_HOSTS: usize = 240;
/// The last byte of the first host's address.
const FIRST_HOST: u8 = 10;

/// The name of a checkout's own lab: `haflow-` and six hex digits of a hash of its canonical path, so
/// that the labs of two checkouts don't collide.
pub fn default_name(dir: &Path) -> String {
    let path = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    format!("haflow-{}", hex(path.as_os_str().as_encoded_bytes(), 6))
}

/// The first `digits` hex digits of a hash.
pub(crate) fn hex(bytes: impl AsRef<[u8]>, digits: usize) -> String {
    let mut out = String::new();
    for byte in Sha256::digest(bytes) {
        write!(out, "{byte:02x}").ok();
    }
    out.truncate(digits);
    out
}

/// The `attempt`th choice of what a lab's links, cgroups and tables are named by.
pub(crate) fn lab_id(name: &str, attempt: usize) -> String {
    hex(format!("lab {name} {attempt}"), 6)
}

/// Names of what one lab makes on the machine. Links have at most 15 characters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// Six hex digits.
    pub(crate) id: &'a str,
}

impl Names<'_> {
    /// The bridge.
    pub(crate) fn bridge(self) -> String {
        format!("haflow{}", self.id)
    }
    /// A host's end of its veth pair on the machine.
    pub(crate) fn veth(self, index: u8) -> String {
        format!("haflow{}-{index:02x}", self.id)
    }
    /// The table of the firewall.
    pub(crate) fn table(self) -> String {
        format!("haflow_{}", self.id)
    }
    /// The cgroup above those of its hosts.
    pub(crate) fn cgroup(self) -> String {
        format!("haflow-{}", self.id)
    }
    /// A host's network namespace, and its name among machines.
    pub(crate) fn machine(self, index: u8) -> String {
        format!("haflow-{}-{index:02x}", self.id)
    }
}

/// A lab's address range, 10.x.y.0/24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Range(pub(crate) u8, pub(crate) u8);

impl Range {
    /// The `attempt`th choice for a lab of this name.
    pub(crate) fn choice(name: &str, attempt: usize) -> Self {
        let digest = Sha256::digest(format!("range {name} {attempt}"));
        Self(digest[0], digest[1])
    }
    /// The bridge's address.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.0, self.1, 1)
    }
    /// The address of the host with this index.
    pub(crate) fn host(self, index: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.0, self.1, FIRST_HOST.saturating_add(index))
    }
    /// An address that no host has: hosts end at .249.
    pub(crate) fn spare(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.0, self.1, 250)
    }
    /// Whether the range and a network have an address in common.
    pub(crate) fn overlaps(self, network: Ipv4Addr, prefix: u8) -> bool {
        let shorter = u32::from(prefix.min(24));
        let mask = u32::MAX.checked_shl(32 - shorter).unwrap_or(0);
        let own = u32::from(Ipv4Addr::new(10, self.0, self.1, 0));
        own & mask == u32::from(network) & mask
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "10.{}.{}.0/24", self.0, self.1)
    }
}

/// Refuses what isn't a lower-case DNS label: it becomes a hostname and a part of paths.
pub(crate) fn check(what: &'static str, name: &str) -> Result<()> {
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let why = if name.is_empty() || name.len() > 63 {
        "it has to have 1 to 63 characters"
    } else if !name.chars().all(fit) {
        "only lower-case letters a-z, digits and hyphens are allowed"
    } else if name.starts_with('-') || name.ends_with('-') {
        "it must not start or end with a hyphen"
    } else if what == "host" && name == "localhost" {
        "localhost is every host's name for itself"
    } else if what == "host" && name.chars().all(|c| c.is_ascii_digit()) {
        "it would read as an address"
    } else {
        return Ok(());
    };
    Err(LabError::Name { what, name: name.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_names_differ_by_checkout_and_stay() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let name = default_name(a.path());
        assert_eq!(name, default_name(&a.path().join(".")));
        assert_ne!(name, default_name(b.path()));
        assert_eq!(name.len(), "haflow-".len() + 6);
        check("lab", &name).unwrap();
    }

    #[test]
    fn link_names_fit_into_fifteen_characters() {
        let names = Names { id: &lab_id("some-lab", 0) };
        for name in [names.bridge(), names.veth(0), names.veth(239)] {
            assert!(name.len() <= 15 && name.starts_with("haflow"), "{name}");
        }
    }

    #[test]
    fn ranges_follow_from_the_name() {
        assert_eq!(Range::choice("one", 0), Range::choice("one", 0));
        assert_ne!(Range::choice("one", 0), Range::choice("two", 0));
        assert_ne!(Range::choice("one", 0), Range::choice("one", 1));
        let range = Range(7, 9);
        assert_eq!(range.to_string(), "10.7.9.0/24");
        assert_eq!(range.gateway(), Ipv4Addr::new(10, 7, 9, 1));
        assert_eq!(range.host(0), Ipv4Addr::new(10, 7, 9, 10));
        assert_eq!(range.host(239), Ipv4Addr::new(10, 7, 9, 249));
    }

    #[test]
    fn overlap_sees_wider_and_narrower_networks() {
        let range = Range(7, 9);
        assert!(range.overlaps(Ipv4Addr::new(10, 7, 0, 0), 16));
        assert!(range.overlaps(Ipv4Addr::new(10, 7, 9, 128), 25));
        assert!(range.overlaps(Ipv4Addr::new(10, 7, 9, 53), 32));
        assert!(range.overlaps(Ipv4Addr::UNSPECIFIED, 0));
        assert!(!range.overlaps(Ipv4Addr::new(10, 7, 8, 0), 24));
        assert!(!range.overlaps(Ipv4Addr::new(192, 168, 0, 0), 16));
    }

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "rabbit1", "web-01", "0a"] {
            check("host", good).unwrap();
        }
        for bad in ["", "Rabbit", "a.b", "-a", "a-", "a b", "../x", "localhost", "12", &"a".repeat(64)] {
            assert!(check("host", bad).is_err(), "{bad}");
        }
    }
}
