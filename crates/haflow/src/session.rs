//! What the commands share: which playbook, which hosts, which params, and the way from there to a graph.

use crate::error::Error;
use crate::inventory::{self, Source};
use crate::report::{Format, Options, Reporter};
use clap::Args;
use haflow_engine::facts::{self, FactError, Facts};
use haflow_engine::{Events, Hosts, Interrupt};
use haflow_lab::{Lab, Progress};
use haflow_model::{Graph, Host, HostName, Inventory, Param, Record, Value, nearest};
use haflow_script::{Declared, FactFailure, FactQuery, FactsRead, NoteKind, ReadFacts, Request, Unreached};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Where the hosts come from.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The inventory: haflow's TOML, Ansible's INI or YAML, or a program that prints Ansible's JSON
    #[arg(short, long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Hosts without a file: user@a,user@b:2222. They are in the group "all", and in every group that the playbook asks for
    #[arg(long, value_name = "LIST", conflicts_with = "inventory")]
    hosts: Option<String>,
    /// Throwaway hosts on this machine: boots what the playbook needs (needs root on Linux)
    #[arg(long, conflicts_with_all = ["inventory", "hosts"])]
    lab: bool,
    /// The Debian release of the lab's hosts
    #[arg(long, value_name = "NAME", default_value = "bookworm", requires = "lab")]
    suite: String,
}

/// A playbook and what it is told.
#[derive(Debug, Args)]
pub(crate) struct Playbook {
    /// The playbook
    pub(crate) playbook: PathBuf,
    /// Gives a param of the playbook a value; `haflow check PLAYBOOK` lists them
    #[arg(short = 'e', long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    params: Vec<(String, String)>,
}

/// Which of the tasks.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    /// Only tasks on these hosts: names, groups or patterns with `*`, separated by commas. What they read from others is read
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    limit: Vec<String>,
    /// Only tasks with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
}

impl Choice {
    /// What is left of the graph. A choice that leaves nothing was a slip.
    fn of(&self, graph: Graph) -> Result<Graph, Error> {
        if self.limit.is_empty() && self.tags.is_empty() {
            return Ok(graph);
        }
        let hosts: BTreeMap<&HostName, &Host> = graph.hosts().iter().map(|host| (&host.name, host)).collect();
        let named = |pattern: &String, host: &HostName| {
            matches(pattern, host.as_str()) || hosts.get(host).is_some_and(|host| host.groups.contains(pattern))
        };
        for pattern in &self.limit {
            if !hosts.keys().any(|host| named(pattern, host)) {
                let near = nearest(pattern, hosts.keys().map(|host| host.as_str()))
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(Error::Usage {
                    message: format!("--limit {pattern} fits no host of this playbook{near}"),
                    help: "give names, groups or patterns such as `rabbit*`".into(),
                });
            }
        }
        let left = graph.only(|task| {
            (self.limit.is_empty() || self.limit.iter().any(|pattern| named(pattern, &task.host)))
                && (self.tags.is_empty() || task.tags.iter().any(|tag| self.tags.contains(tag)))
        });
        if left.tasks().next().is_none() {
            return Err(Error::Usage {
                message: format!("no task of this playbook is chosen by --tags {}", self.tags.join(",")),
                help: "a task has the tags that its option `tags` gives it".into(),
            });
        }
        Ok(left)
    }
}

/// Whether `text` fits a pattern in which `*` stands for any number of characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => text.strip_prefix(before).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }),
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` isn't NAME=VALUE")),
    }
}

impl Playbook {
    fn params(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut params = BTreeMap::new();
        for (name, value) in &self.params {
            if params.insert(name.clone(), value.clone()).is_some() {
                return Err(Error::Usage {
                    message: format!("the param `{name}` is given twice"),
                    help: "keep one of the two".into(),
                });
            }
        }
        Ok(params)
    }

    /// What the playbook declares where no host is asked: facts are assumed, and hosts imagined if there is no inventory.
    pub(crate) fn imagine(&self, inventory: Option<&Inventory>) -> Result<Declared, Error> {
        self.declare(inventory, &mut haflow_script::assumed_facts, None)
    }

    fn declare(
        &self,
        inventory: Option<&Inventory>,
        facts: &mut ReadFacts<'_>,
        interrupt: Option<Arc<AtomicBool>>,
    ) -> Result<Declared, Error> {
        let request = Request { playbook: &self.playbook, inventory, params: &self.params()?, facts, interrupt };
        Ok(haflow_script::declare(request)?)
    }
}

impl Where {
    /// The inventory that was named; `None` if none was.
    pub(crate) fn named(&self) -> Result<Option<Inventory>, Error> {
        let source = match (&self.inventory, &self.hosts) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(list)) => Source::Hosts(list.clone()),
            (None, None) => return Ok(None),
        };
        Ok(Some(inventory::read(&source)?))
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
    fn reached(&self, playbook: &Playbook) -> Result<Inventory, Error> {
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
        other => format!("lab: {other:?}"),
    }
}

/// A declared playbook and its hosts: ready for a plan or a run.
pub(crate) struct Session {
    /// Before the runtime, which its connections need while they are closed.
    pub(crate) hosts: Hosts,
    pub(crate) runtime: Runtime,
    pub(crate) declared: Declared,
    pub(crate) interrupt: Interrupt,
    pub(crate) playbook: String,
}

impl Session {
    /// Reads the inventory (or boots the lab) and declares the playbook; facts are read over SSH when it asks for them.
    pub(crate) fn open(playbook: &Playbook, place: &Where, choice: &Choice) -> Result<Self, Error> {
        let inventory = place.reached(playbook)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|source| Error::Io {
            doing: "start",
            path: "the runtime".into(),
            source,
        })?;
        let interrupt = Interrupt::default();
        let stopped = Arc::new(AtomicBool::new(false));
        runtime.spawn(listen(interrupt.clone(), Arc::clone(&stopped)));
        let hosts = Hosts::over_ssh(&inventory.hosts).map_err(|source| Error::Io {
            doing: "make a folder for sockets in",
            path: std::env::temp_dir(),
            source,
        })?;
        let mut unreached = Vec::new();
        let mut read = |query: &FactQuery, of: &[Host]| {
            let read = runtime.block_on(async {
                tokio::select! {
                    biased;
                    read = read_fact(&hosts, query, of, &interrupt) => read,
                    () = say_what_takes_long(of) => unreachable!("it says so and waits"),
                }
            })?;
            unreached.extend_from_slice(&read.unreached);
            Ok(read)
        };
        let declared = playbook.declare(Some(&inventory), &mut read, Some(stopped));
        if let Err(Error::Input(_)) = declared {
            // It may have to do with what is wrong, which speaks of these hosts as if they were known.
            for failure in &unreached {
                warn(&format!("{}; facts of {} are made up", failure.why, failure.host));
            }
        }
        let mut declared = declared?;
        declared.graph = choice.of(declared.graph)?;
        if declared.graph.tasks().next().is_none() {
            eprintln!("note: {} declares no task", playbook.playbook.display());
        }
        for host in &declared.unreached {
            warn_of(host, &declared.graph);
        }
        for note in &declared.notes {
            let word = if note.kind == NoteKind::Warn { "warning" } else { "note" };
            eprintln!("{}", crate::report::clean(&format!("{word}: {} ({})", note.text, note.place)));
        }
        Ok(Self { runtime, hosts, declared, interrupt, playbook: playbook.playbook.display().to_string() })
    }

    /// Does `work` while its events are told. The session's last use.
    pub(crate) fn tell<T>(&self, format: Format, verbose: bool, work: impl AsyncFnOnce(&Self, &Events) -> T) -> T {
        let mut reporter = Reporter::new(format, self.declared.sources.clone(), Options::detect(format, verbose));
        let (events, records) = Events::channel();
        let done = self.runtime.block_on(async {
            let work = async {
                let done = work(self, &events).await;
                drop(events);
                done
            };
            tokio::join!(work, tell_all(records, &mut reporter)).0
        });
        reporter.finish();
        done
    }
}

fn warn(text: &str) {
    eprintln!("{}", crate::report::clean(&format!("warning: {text}")));
}

/// What it means that a host can't be reached. Why that may be is told with its tasks, if it has any.
fn warn_of(Unreached { failure, like }: &Unreached, graph: &Graph) {
    let FactFailure { host, why, hint } = failure;
    let declared = match like {
        Some(like) => format!("as if it were like {like}"),
        None => "without its facts".to_owned(),
    };
    warn(&format!("{why}; tasks of {host} are declared {declared}, and none of them runs"));
    if let Some(hint) = hint
        && !graph.tasks().any(|(_, task)| task.host == *host)
    {
        eprintln!("    {}", crate::report::clean(hint));
    }
}

async fn tell_all(mut records: mpsc::Receiver<Record>, reporter: &mut Reporter) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            biased;
            record = records.recv() => match record {
                Some(record) => reporter.event(&record),
                None => break,
            },
            _ = tick.tick() => reporter.tick(),
        }
    }
}

/// The first signal stops, the second kills what runs on the hosts, a third ends at once.
async fn listen(interrupt: Interrupt, stopped: Arc<AtomicBool>) {
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    for count in 1.. {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
        stopped.store(true, Ordering::Relaxed);
        interrupt.stop.cancel();
        match count {
            1 => {}
            2 => interrupt.kill.cancel(),
            _ => std::process::exit(130),
        }
    }
}

/// After a second of silence somebody at a terminal wants to know what is waited for.
async fn say_what_takes_long(of: &[Host]) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let names: Vec<&str> = of.iter().take(5).map(|host| host.name.as_str()).collect();
    let more = if of.len() > 5 { format!(" and {} more", of.len() - 5) } else { String::new() };
    eprintln!("reading facts of {}{more} …", names.join(", "));
    std::future::pending::<()>().await;
}

async fn read_fact(
    hosts: &Hosts,
    query: &FactQuery,
    of: &[Host],
    interrupt: &Interrupt,
) -> Result<FactsRead, Vec<FactFailure>> {
    let found = match query {
        FactQuery::Standard => facts::standard(hosts, of, &interrupt.stop).await,
        FactQuery::Own { probe, params, .. } => {
            let values: Vec<(String, Value)> = params
                .iter()
                .filter_map(|(name, param)| match param {
                    Param::Value(value) => Some((name.clone(), value.clone())),
                    Param::Output(_) => None,
                })
                .collect();
            facts::own(hosts, of, probe, &values, &interrupt.stop).await
        }
    };
    let failures = |errors: Vec<FactError>| {
        errors.into_iter().map(|error| FactFailure { host: error.host, why: error.why, hint: error.hint }).collect()
    };
    match found {
        Ok(Facts { values, unreached }) => Ok(FactsRead { values, unreached: failures(unreached) }),
        Err(errors) => Err(failures(errors)),
    }
}
