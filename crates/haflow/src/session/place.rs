//! Where the hosts come from: an inventory, the command line, or the lab.

use super::playbook::Playbook;
use crate::error::Error;
use crate::inventory::{self, Read, Source};
use crate::report::{size, warn};
use clap::Args;
use haflow_lab::{Lab, Progress};
use haflow_model::{Host, Inventory};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the hosts come from.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Where {
    /// The inventory: haflow's TOML, Ansible's INI or YAML, or a program that prints Ansible's JSON
    #[arg(short, long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Hosts without a file: user@a,user@b:2222. They are in the group "all", and in every group that the
    /// playbook asks for
    #[arg(long, value_name = "LIST", conflicts_with = "inventory")]
    hosts: Option<String>,
    /// Throwaway hosts on this machine: boots what the playbook needs (needs root on Linux)
    #[arg(long, conflicts_with_all = ["inventory", "hosts"])]
    lab: bool,
    /// The Debian release of the lab's hosts
    #[arg(long, value_name = "NAME", default_value = "bookworm", requires = "lab")]
    suite: String,
}

/// Whose keys are good enough.
#[derive(Debug, Default, Clone, Copy, Args)]
pub(crate) struct HostKeys {
    /// Accept the keys of hosts that ssh doesn't know yet, and add them to the known ones. A key that has
    /// changed is refused all the same
    #[arg(long)]
    pub(crate) accept_new: bool,
}

impl Where {
    /// The options that say so.
    pub(crate) fn words(&self) -> Vec<String> {
        let option = |name: &str, value: String| vec![name.to_owned(), value];
        match (&self.inventory, &self.hosts) {
            (Some(file), _) => option("-i", file.display().to_string()),
            (None, Some(list)) => option("--hosts", list.clone()),
            (None, None) if self.lab => vec!["--lab".into(), "--suite".into(), self.suite.clone()],
            (None, None) => Vec::new(),
        }
    }

    /// The inventory that was named; `None` if none was.
    pub(crate) fn named(&self) -> Result<Option<Inventory>, Error> {
        let source = match (&self.inventory, &self.hosts) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(list)) => Source::Hosts(list.clone()),
            (None, None) => return Ok(None),
        };
        let Read { inventory, warnings } = inventory::read(&source)?;
        for warning in warnings {
            warn(&warning);
        }
        Ok(Some(inventory))
    }

    /// The inventory for a playbook that reaches no host: the one that was named, if one was.
    pub(crate) fn imagined(&self, playbook: &Playbook) -> Result<Option<Inventory>, Error> {
        if self.lab {
            return Err(Error::Usage {
                message: "--lab has nothing to do here: no host is reached".into(),
                help: "leave it out; the hosts are imagined as the lab would have them".into(),
            });
        }
        self.named()?.map(|inventory| self.grouped(inventory, playbook)).transpose()
    }

    /// The inventory for a playbook that is going to reach its hosts.
    pub(crate) fn reached(&self, playbook: &Playbook) -> Result<Inventory, Error> {
        if self.lab {
            return lab_for(playbook, &self.suite);
        }
        let Some(inventory) = self.named()? else {
            return Err(Error::Usage {
                message: "it isn't said on which hosts".into(),
                help: "give an inventory with `-i FILE`, hosts with `--hosts a,b`, or `--lab` to try it on throwaway hosts".into(),
            });
        };
        self.grouped(inventory, playbook)
    }

    /// A list on the command line has no groups: it stands for whichever the playbook asks for.
    fn grouped(&self, mut inventory: Inventory, playbook: &Playbook) -> Result<Inventory, Error> {
        if self.hosts.is_some() {
            for need in playbook.imagine(None)?.groups {
                let all = inventory.hosts.iter().map(|host| host.name.clone()).collect();
                inventory.groups.entry(need.name).or_insert(all);
            }
        }
        Ok(inventory)
    }

    /// The inventory for a command without a playbook.
    pub(crate) fn existing(&self) -> Result<Inventory, Error> {
        if self.lab {
            let name = lab_name()?;
            let lab = Lab::find(&name)?.ok_or_else(|| Error::Usage {
                message: format!("there is no lab `{name}`"),
                help: "bring it up with `haflow lab up rabbit1 rabbit2 rabbit3`, or by a run with `--lab`".into(),
            })?;
            return Ok(lab_inventory(&lab, lab.hosts().iter().map(|host| Host::named(host.name.as_str()))));
        }
        self.named()?.ok_or_else(|| Error::Usage {
            message: "it isn't said which hosts".into(),
            help: "give an inventory with `-i FILE`, hosts with `--hosts a,b`, or `--lab`".into(),
        })
    }
}

/// The name of the lab that belongs to the folder haflow runs in.
pub(crate) fn lab_name() -> Result<String, Error> {
    let here = Path::new(".");
    let folder = here.canonicalize().map_err(|source| Error::Io { doing: "find", path: here.into(), source })?;
    Ok(haflow_lab::default_name(&folder))
}

/// Boots what a playbook needs.
fn lab_for(playbook: &Playbook, suite: &str) -> Result<Inventory, Error> {
    let needs = playbook.imagine(None)?;
    let names: Vec<String> = needs.graph.hosts().iter().map(|host| host.name.to_string()).collect();
    let lab = Lab::up(&lab_name()?, &names, suite, &|progress| eprintln!("{}", lab_line(&progress)))?;
    Ok(lab_inventory(&lab, needs.graph.hosts().iter().cloned()))
}

/// These hosts, as the lab has them.
fn lab_inventory(lab: &Lab, hosts: impl Iterator<Item = Host>) -> Inventory {
    let mut inventory = Inventory::default();
    for mut host in hosts {
        if let Some(booted) = lab.hosts().iter().find(|booted| booted.name == host.name.as_str()) {
            host.address = Some(booted.address.to_string());
            host.user = Some(booted.user.clone());
            host.key = Some(booted.key.display().to_string());
            host.known_hosts = Some(booted.known_hosts.display().to_string());
            host.vars.insert("virtual_address".into(), lab.spare_address().to_string().into());
        }
        for group in host.groups.iter().map(String::as_str).chain(["all"]) {
            let members = inventory.groups.entry(group.to_owned()).or_default();
            if !members.contains(&host.name) {
                members.push(host.name.clone());
            }
        }
        inventory.hosts.push(host);
    }
    inventory
}

/// What a lab is doing, in a line.
pub(crate) fn lab_line(progress: &Progress) -> String {
    match progress {
        Progress::Installing { packages } => format!("lab: installing {} on this machine", packages.join(" ")),
        Progress::Waiting { what } => format!("lab: waiting for {what}"),
        Progress::BuildingBase { suite } => {
            format!("lab: building the base of {suite}; this takes about a minute, once")
        }
        Progress::BaseReady { suite, took } => {
            format!("lab: the base of {suite} is ready ({:.0} s)", took.as_secs_f64())
        }
        Progress::Booting { host } => format!("lab: booting {host}"),
        Progress::Ready { host, address, took } => {
            format!("lab: {host} is up at {address} ({:.1} s)", took.as_secs_f64())
        }
        Progress::TakenUp { host, address } => format!("lab: {host} is up already at {address}"),
        Progress::ForwardDropped { chain } => {
            format!("lab: the firewall chain {chain} drops what is forwarded: the hosts may not reach their packages")
        }
        Progress::Removing { what } => format!("lab: removing {what}"),
        Progress::ShuttingDown { host } => format!("lab: shutting down {host}"),
        Progress::Copying { host, snapshot } => format!("lab: copying the files of {host} to snapshot {snapshot}"),
        Progress::SnapshotReady { name, bytes, took } => {
            format!("lab: snapshot {name} is ready ({}, {:.1} s)", size(*bytes), took.as_secs_f64())
        }
        Progress::Preparing { name } => format!("lab: making snapshot {name}"),
        other => format!("lab: {other:?}"),
    }
}
