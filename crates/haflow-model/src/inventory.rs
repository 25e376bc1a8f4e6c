use crate::Value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A host's name as the inventory and the playbook use it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HostName(Arc<str>);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for HostName {
    fn from(name: T) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What carries scripts to a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
pub enum Transport {
    /// OpenSSH.
    #[default]
    Ssh,
    /// A shell of this machine's, without a network.
    Local,
    /// One that the inventory names and haflow doesn't have: no task runs there.
    Other(String),
}

impl Transport {
    /// The word for it in an inventory.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ssh => "ssh",
            Self::Local => "local",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for Transport {
    fn from(name: String) -> Self {
        match name.as_str() {
            "ssh" => Self::Ssh,
            "local" => Self::Local,
            _ => Self::Other(name),
        }
    }
}

impl From<Transport> for String {
    fn from(transport: Transport) -> Self {
        transport.as_str().to_owned()
    }
}

/// One machine and how to reach it. What is `None` is left to ssh and its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The name in the inventory.
    pub name: HostName,
    /// What ssh connects to; the name itself if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port of sshd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The user to log in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The file of the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The file of known host keys, where it isn't the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
    /// The bastions on the way, as in ssh's `-J`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<String>,
    /// The user that tasks run as, by sudo without a password; the login user if not given.
    #[serde(default, rename = "become", skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// What carries scripts to it.
    #[serde(default, skip_serializing_if = "is_ssh")]
    pub connection: Transport,
    /// Further options of ssh's, as `Name=Value` (`ssh_config(5)`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_options: Vec<String>,
    /// The configuration file that ssh reads instead of the user's and the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<String>,
    /// The host's vars, with those of its groups and of all hosts merged in (the nearest wins).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, Value>,
    /// The groups that the host is in, directly or through a child group, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Host {
    /// A host of which only the name is known.
    pub fn named(name: impl Into<HostName>) -> Self {
        Self {
            name: name.into(),
            address: None,
            port: None,
            user: None,
            key: None,
            known_hosts: None,
            jump: None,
            run_as: None,
            connection: Transport::Ssh,
            ssh_options: Vec::new(),
            ssh_config: None,
            vars: BTreeMap::new(),
            groups: Vec::new(),
        }
    }

    /// What ssh connects to.
    pub fn destination(&self) -> &str {
        self.address.as_deref().unwrap_or(self.name.as_str())
    }
}

fn is_ssh(transport: &Transport) -> bool {
    *transport == Transport::Ssh
}

/// Hosts and groups, resolved: child groups are flattened and vars merged.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// In the order in which the inventory names them first; no name twice.
    pub hosts: Vec<Host>,
    /// Members of each group in inventory order, those of child groups included.
    pub groups: BTreeMap<String, Vec<HostName>>,
}

impl Inventory {
    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name.as_str() == name)
    }

    /// The hosts of a group, in inventory order.
    pub fn group(&self, name: &str) -> Option<Vec<&Host>> {
        let members = self.groups.get(name)?;
        Some(members.iter().filter_map(|member| self.host(member.as_str())).collect())
    }
}
