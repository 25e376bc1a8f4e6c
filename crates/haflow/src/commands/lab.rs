use crate::error::Error;
use crate::exit::Exit;
use crate::report::{age, say, size, warn};
use crate::session::{lab_line, lab_name};
use clap::{Args, Subcommand};
use haflow_lab::{Lab as Hosts, LabError, Progress, Snapshot};
use haflow_model::nearest;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Throwaway Debian hosts on this machine: booted with systemd, each with its own sshd, address and hostname.
///
/// Needs root on Linux. On Debian and Ubuntu it installs what it needs (debootstrap, systemd-container,
/// iproute2, nftables) and says so. A lab belongs to the folder it was brought up in; `run --lab` brings up
/// what its playbook needs.
#[derive(Debug, Args)]
pub(super) struct Lab {
    /// The lab's name, if it isn't this folder's
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Boot hosts that aren't up
    Up {
        /// Their names
        #[arg(required = true)]
        hosts: Vec<String>,
        /// Their Debian release [default: bookworm, or that of the snapshot]
        #[arg(long, value_name = "NAME")]
        suite: Option<String>,
        /// Start from a snapshot (`haflow lab snapshot`); hosts that are there have to stand on it already
        #[arg(long, value_name = "SNAPSHOT")]
        from: Option<String>,
    },
    /// Remove the lab and everything that it made
    Down {
        /// All labs of this machine
        #[arg(long)]
        all: bool,
    },
    /// List the labs and their hosts
    List,
    /// Print the lab as an inventory
    Inventory,
    /// Log in to a host, or run a command there
    Ssh {
        /// The host
        host: String,
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Unplug a host's network cable
    Cut {
        /// The host
        host: String,
    },
    /// Plug it in again
    Heal {
        /// The host
        host: String,
    },
    /// Cut a host's power
    Kill {
        /// The host
        host: String,
    },
    /// Boot a host again, with the files that it had
    Boot {
        /// The host
        host: String,
    },
    /// Keep a host's disk, for new hosts to start from
    ///
    /// A host that runs is shut down for it, so that its files are whole, and booted again; the
    /// lab's other hosts run on. What makes the disk this one host's isn't kept: its id, name,
    /// host keys, journal, leases and the lab's key. What services made for themselves is kept,
    /// such as a broker's cookie or a database's id.
    ///
    ///     haflow lab up web1
    ///     haflow lab ssh web1 'apt-get update && apt-get install -y nginx'
    ///     haflow lab snapshot web1 nginx
    ///     haflow lab --name other up a b c --from nginx
    #[command(verbatim_doc_comment)]
    Snapshot {
        /// The host
        host: String,
        /// The snapshot's name
        #[arg(value_name = "SNAPSHOT")]
        snapshot: String,
        /// Replace a snapshot of this name; hosts that stand on that one keep it
        #[arg(long)]
        replace: bool,
    },
    /// List the snapshots, or remove one
    ///
    ///     haflow lab snapshots
    ///     haflow lab snapshots --remove nginx
    #[command(verbatim_doc_comment)]
    Snapshots {
        /// Remove this one; what hosts stand on stays until their labs are down
        #[arg(long, value_name = "SNAPSHOT")]
        remove: Option<String>,
    },
}

impl Lab {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let name = self.name.map_or_else(lab_name, Ok)?;
        let find = || {
            Hosts::find(&name)?.ok_or_else(|| Error::Usage {
                message: format!("there is no lab `{name}`"),
                help: "`haflow lab list` shows which there are; `haflow lab up HOST…` makes this one".into(),
            })
        };
        match self.what {
            What::Up { hosts, suite, from: None } => {
                print_hosts(&Hosts::up(&name, &hosts, suite.as_deref().unwrap_or("bookworm"), &tell)?);
            }
            What::Up { hosts, suite, from: Some(from) } => {
                print_hosts(&Hosts::up_from(&name, &hosts, &from, suite.as_deref(), &tell).map_err(no_snapshot)?);
            }
            What::Down { all: false } => Hosts::down(&name, &tell)?,
            What::Down { all: true } => {
                for lab in Hosts::names()? {
                    Hosts::down(&lab, &tell)?;
                }
            }
            What::List => {
                let labs = Hosts::list()?;
                if labs.is_empty() {
                    say("no lab is there");
                }
                for lab in &labs {
                    match lab {
                        Ok(lab) => {
                            let here = if lab.name() == name { ", of this folder" } else { "" };
                            say(&format!("{} ({}){here}", lab.name(), lab.range()));
                            print_hosts(lab);
                        }
                        Err(error) => warn(&error.to_string()),
                    }
                }
            }
            What::Inventory => print!("{}", inventory(&find()?)),
            What::Ssh { host, command } => {
                let args = find()?.ssh_args(&host)?;
                // Only comes back if ssh couldn't be started.
                let source = Command::new("ssh").args(args).args(command).exec();
                return Err(Error::Io { doing: "start", path: "ssh".into(), source });
            }
            What::Cut { host } => find()?.cut(&host)?,
            What::Heal { host } => find()?.heal(&host)?,
            What::Kill { host } => find()?.kill(&host)?,
            What::Boot { host } => find()?.boot(&host)?,
            What::Snapshot { host, snapshot, replace } => {
                find()?.snapshot(&host, &snapshot, replace, &tell)?;
            }
            What::Snapshots { remove: Some(name) } => Snapshot::remove(&name, &tell).map_err(no_snapshot)?,
            What::Snapshots { remove: None } => print_snapshots(&Snapshot::list()?),
        }
        Ok(Exit::Done)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the lab hands it over")]
fn tell(progress: Progress) {
    eprintln!("{}", lab_line(&progress));
}

fn print_hosts(lab: &Hosts) {
    let width = lab.hosts().iter().map(|host| host.name.len()).max().unwrap_or(0);
    for host in lab.hosts() {
        let state = match (host.running, host.cut) {
            (true, false) => "running",
            (true, true) => "running, cut off",
            (false, _) => "stopped",
        };
        let from = host.snapshot.as_ref().map(|name| format!(", from snapshot {name}")).unwrap_or_default();
        say(&format!("  {:width$}  {:15}  {:8}  {state}{from}", host.name, host.address, host.suite));
    }
}

/// An unknown name is the command line's mistake, as an unknown lab is.
fn no_snapshot(error: LabError) -> Error {
    let LabError::NoSnapshot { name, has } = &error else { return Error::Lab(error) };
    let help = match nearest(name, has.iter().map(String::as_str)) {
        _ if has.is_empty() => "there is none yet; `haflow lab snapshot HOST NAME` takes one".to_owned(),
        Some(near) => format!("did you mean `{near}`? `haflow lab snapshots` shows which there are"),
        None => format!("there {} {}", if has.len() == 1 { "is" } else { "are" }, has.join(", ")),
    };
    Error::Usage { message: format!("there is no snapshot `{name}`"), help }
}

fn print_snapshots(snapshots: &[Result<Snapshot, LabError>]) {
    if snapshots.is_empty() {
        say("no snapshot is there");
    }
    let width = snapshots.iter().flatten().map(|snapshot| snapshot.name().len()).max().unwrap_or(0);
    for snapshot in snapshots {
        match snapshot {
            Ok(snapshot) => {
                let (name, suite, age) = (snapshot.name(), snapshot.suite(), age(snapshot.age()));
                say(&format!("{name:width$}  {suite:8}  {:>10}  {age} old", size(snapshot.bytes())));
            }
            Err(error) => warn(&error.to_string()),
        }
    }
}

fn inventory(lab: &Hosts) -> String {
    use std::fmt::Write as _;
    let mut text = format!("[vars]\nvirtual_address = \"{}\"\n\n", lab.spare_address());
    for host in lab.hosts() {
        let _ = writeln!(
            text,
            "[hosts.{}]\naddress = \"{}\"\nuser = \"{}\"\nkey = \"{}\"\nknown_hosts = \"{}\"\n",
            host.name,
            host.address,
            host.user,
            host.key.display(),
            host.known_hosts.display()
        );
    }
    // Names end in a number, as the lab gives them: rabbit1 is in the group rabbit.
    let mut groups: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for host in lab.hosts() {
        let group = host.name.trim_end_matches(|char: char| char.is_ascii_digit());
        groups.entry(if group.is_empty() { "lab" } else { group }).or_default().push(&host.name);
    }
    for (group, hosts) in groups {
        let _ = writeln!(text, "[groups.{group}]\nhosts = {hosts:?}\n");
    }
    text
}
