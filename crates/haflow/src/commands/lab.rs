use crate::error::Error;
use crate::exit::Exit;
use crate::report::say;
use crate::session::{lab_line, lab_name};
use clap::{Args, Subcommand};
use haflow_lab::{Lab as Hosts, Progress};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Throwaway Debian hosts on this machine: booted with systemd, each with its own sshd, address and hostname.
///
/// Needs root on Linux. On Debian and Ubuntu it installs what it needs (debootstrap, systemd-container, iproute2, nftables) and
/// says so. A lab belongs to the folder it was brought up in; `run --lab` brings up what its playbook needs.
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
        /// Their Debian release
        #[arg(long, default_value = "bookworm")]
        suite: String,
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
            What::Up { hosts, suite } => {
                let lab = Hosts::up(&name, &hosts, &suite, &tell)?;
                print_hosts(&lab);
            }
            What::Down { all: false } => Hosts::down(&name, &tell)?,
            What::Down { all: true } => {
                for lab in Hosts::list()? {
                    Hosts::down(lab.name(), &tell)?;
                }
            }
            What::List => {
                let labs = Hosts::list()?;
                if labs.is_empty() {
                    say("no lab is there");
                }
                for lab in &labs {
                    say(&format!(
                        "{} ({}){}",
                        lab.name(),
                        lab.range(),
                        if lab.name() == name { ", of this folder" } else { "" }
                    ));
                    print_hosts(lab);
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
        say(&format!("  {:width$}  {:15}  {:8}  {state}", host.name, host.address, host.suite));
    }
}

fn inventory(lab: &Hosts) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
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
