//! What the commands share: from what was asked for to a graph and its hosts.

pub(crate) mod asked;
mod holder;
mod place;
mod playbook;

pub(crate) use asked::Asked;
use holder::Held;
pub(crate) use place::{HostKeys, Where, lab_line, lab_name};
pub(crate) use playbook::Playbook;

use crate::error::Error;
use crate::journal::Journal;
use crate::report::{Advice, Format, Options, Reporter, Teller, warn};
use crate::secrets;
use haflow_engine::facts::{self, FactError, Facts};
use haflow_engine::{Events, Hosts, Interrupt, Settings, Told};
use haflow_model::{Graph, Host, Inventory, Param, Secrets, Value};
use haflow_script::{Declared, FactFailure, FactQuery, FactsRead, NoteKind, RecordedFacts, Unreached};
use jiff::SignedDuration;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A declared playbook and its hosts: ready for a plan or a run.
pub(crate) struct Session {
    /// Before the runtime, which its connections need while they are closed.
    pub(crate) hosts: Hosts,
    pub(crate) runtime: Runtime,
    pub(crate) declared: Declared,
    pub(crate) interrupt: Interrupt,
    pub(crate) playbook: String,
    pub(crate) inventory: Inventory,
    /// How long it took so far to connect, to read facts and to lock: not how long others were waited for.
    pub(crate) connecting: Cell<Duration>,
    /// The commands of a run and of a plan of the same.
    commands: [String; 2],
}

impl Session {
    /// Reads the inventory (or boots the lab) and declares the playbook; facts are read over SSH when it asks
    /// for them.
    pub(crate) fn open(asked: &Asked) -> Result<Self, Error> {
        Self::declare(asked, asked.place.reached(&asked.playbook)?, None)
    }

    /// Declares the playbook once more, from the facts that were `recorded` then.
    pub(crate) fn recall(asked: &Asked, inventory: Inventory, recorded: &RecordedFacts) -> Result<Self, Error> {
        Self::declare(asked, inventory, Some(recorded))
    }

    fn declare(asked: &Asked, inventory: Inventory, recorded: Option<&RecordedFacts>) -> Result<Self, Error> {
        let Asked { playbook, choice, .. } = asked;
        // After the lab was booted, whose hosts shall have limits of their own. Secrets may be read off hosts
        // too.
        secrets::guard();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|source| Error::Io {
            doing: "start",
            path: "the runtime".into(),
            source,
        })?;
        let interrupt = Interrupt::default();
        let stopped = Arc::new(AtomicBool::new(false));
        runtime.spawn(listen(interrupt.clone(), Arc::clone(&stopped)));
        let hosts = Hosts::from_inventory(&inventory.hosts, asked.keys.accept_new).map_err(|source| Error::Io {
            doing: "make a folder for sockets in",
            path: std::env::temp_dir(),
            source,
        })?;
        let hosts = hosts.filters_by(this_program()?);
        let mut unreached = Vec::new();
        let mut connecting = Duration::ZERO;
        // Hosts that are left out aren't asked, unless what is chosen depends on their facts.
        let mut leave_out = true;
        let mut read = |leave_out: bool, query: &FactQuery, of: &[Host]| {
            let (of, left_out): (Vec<Host>, Vec<Host>) =
                of.iter().cloned().partition(|host| !leave_out || choice.wants(host));
            let left_out = left_out.into_iter().map(|host| host.name).collect();
            if let Some(recorded) = recorded {
                return Ok(FactsRead { left_out, ..remembered(recorded, query, &of) });
            }
            if of.is_empty() {
                return Ok(FactsRead { left_out, ..FactsRead::default() });
            }
            let began = Instant::now();
            let read = runtime.block_on(async {
                tokio::select! {
                    biased;
                    read = read_fact(&hosts, query, &of, &interrupt) => read,
                    () = say_what_takes_long(&of) => unreachable!("it says so and waits"),
                }
            });
            connecting += began.elapsed();
            let read = read?;
            unreached.extend_from_slice(&read.unreached);
            Ok(FactsRead { left_out, ..read })
        };
        let declared = loop {
            let mut read = |query: &FactQuery, of: &[Host]| read(leave_out, query, of);
            match playbook.declare(Some(&inventory), &mut read, Some(Arc::clone(&stopped))) {
                Err(Error::Unreached { left_out, .. }) if leave_out && !left_out.is_empty() => leave_out = false,
                declared => break declared,
            }
        };
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
        Ok(Self {
            runtime,
            hosts,
            declared,
            interrupt,
            playbook: playbook.playbook.display().to_string(),
            inventory,
            connecting: Cell::new(connecting),
            commands: ["run", "plan"].map(|command| asked.command(command)),
        })
    }

    /// Adds to `known` what the tasks need of secrets and isn't there yet. Asks, where nothing else has them
    /// and there is a terminal.
    pub(crate) fn secrets(&self, known: &mut Secrets) -> Result<(), Error> {
        secrets::look_up(&self.declared, Path::new(&self.playbook), &self.interrupt, known)
    }

    /// Connects to all hosts that have a task, and says which can't be reached.
    pub(crate) fn unreachable(&self) -> Vec<FactFailure> {
        let hosts: BTreeSet<_> = self.declared.graph.tasks().map(|(_, task)| task.host.clone()).collect();
        let began = Instant::now();
        let failed = self.runtime.block_on(self.hosts.reach_all(&hosts));
        self.connecting.update(|connecting| connecting + began.elapsed());
        failed.into_iter().map(|(host, error)| FactFailure { host, why: error.message, hint: error.hint }).collect()
    }

    /// Locks all hosts that have a task for this run, for as long as it lives. Waits for other runs for
    /// `wait` at most; whether that was needed.
    pub(crate) fn lock(&self, run: &str, wait: SignedDuration) -> Result<bool, Error> {
        self.lock_as(run, wait, false)
    }

    /// The same for a run that died: what is left of it on its hosts doesn't stand in its way.
    pub(crate) fn lock_again(&self, run: &str, wait: SignedDuration) -> Result<bool, Error> {
        self.lock_as(run, wait, true)
    }

    fn lock_as(&self, run: &str, wait: SignedDuration, resumed: bool) -> Result<bool, Error> {
        let hosts: BTreeSet<_> = self.declared.graph.tasks().map(|(_, task)| task.host.clone()).collect();
        let holder = holder::holder(run, resumed);
        let lock = async {
            let began = Instant::now();
            let held = self.hosts.lock(&hosts, &holder, Duration::ZERO).await;
            self.connecting.update(|connecting| connecting + began.elapsed());
            if held.is_empty() || wait.is_zero() {
                return (held, false);
            }
            eprintln!("waiting for other runs:\n{}", crate::report::clean(&Held::new(&held).lines));
            (self.hosts.lock(&hosts, &holder, wait.unsigned_abs()).await, true)
        };
        let (held, waited) = self.runtime.block_on(async {
            tokio::select! {
                locked = lock => Ok(locked),
                () = self.interrupt.stop.cancelled() => Err(Error::Interrupted),
            }
        })?;
        if held.is_empty() { Ok(waited) } else { Err(Held::new(&held).into()) }
    }

    /// What is to be known to say how a run with these settings goes on.
    pub(crate) fn advice(&self, settings: &Settings) -> Advice {
        let acts = self.declared.graph.tasks().filter(|(_, task)| task.action.always_runs().is_some());
        let Settings { plan, all_or_nothing, fail_fast, .. } = settings;
        let [run, new_plan] = &self.commands;
        let flag = |given: &bool, flag| if *given { flag } else { "" };
        let (all, fast) = (flag(all_or_nothing, " --all-or-nothing"), flag(fail_fast, " --fail-fast"));
        Advice {
            acts: acts.map(|(_, task)| task.id()).collect(),
            anew: if plan.is_some() { format!("{new_plan} -o new.plan") } else { format!("{run}{all}{fast}") },
            planned: plan.is_some(),
            fresh: !self.declared.unreached.is_empty(),
            all_or_nothing: *all_or_nothing,
        }
    }

    /// Does `work` while its events are told, and kept where there is a journal. The session's last use. The
    /// error is the journal's.
    pub(crate) fn tell<T>(
        &self,
        format: Format,
        verbose: bool,
        advice: Option<Advice>,
        journal: Option<Journal>,
        work: impl AsyncFnOnce(&Self, &Events) -> T,
    ) -> (T, Result<(), Error>) {
        let reporter = Reporter::new(format, self.declared.sources.clone(), Options::detect(format, verbose));
        let reporter = reporter.advising(advice);
        let teller = Teller::begin(reporter);
        let (events, records) = Events::channel();
        self.runtime.block_on(async {
            let work = async {
                let done = work(self, &events).await;
                drop(events);
                done
            };
            let done = tokio::join!(work, tell_all(records, journal, &teller));
            teller.finish(&self.interrupt).await;
            done
        })
    }
}

/// The program that runs, to be begun once more. On Linux also where it was replaced meanwhile.
fn this_program() -> Result<PathBuf, Error> {
    let program = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && program.exists() {
        return Ok(program);
    }
    std::env::current_exe().map_err(|source| Error::Io {
        doing: "find the program itself",
        path: "haflow".into(),
        source,
    })
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

/// Has events told as they come. With a journal, each is told when it has been written.
async fn tell_all(mut events: mpsc::Receiver<Told>, journal: Option<Journal>, teller: &Teller) -> Result<(), Error> {
    let Some(journal) = journal else {
        let tell = teller.taker();
        while let Some(mut event) = events.recv().await {
            event.kept();
            tell(event.record);
        }
        return Ok(());
    };
    let writer = journal.begin(teller.taker());
    while let Some(event) = events.recv().await {
        writer.take(event);
    }
    writer.finish()
}

/// Signals that come within this time are one interrupt: timeout(1), and whatever else signals its child and
/// then their process group, sends two.
const ONE_INTERRUPT: Duration = Duration::from_millis(500);

/// The first signal stops, the second kills what runs on the hosts, a third ends at once. A terminal that is
/// closed says so several times, by the shell and by the kernel, and nobody there means more than the first.
/// Under `nohup` it says nothing.
async fn listen(interrupt: Interrupt, stopped: Arc<AtomicBool>) {
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    let mut hup = if hangups_are_ignored() { None } else { signal(SignalKind::hangup()).ok() };
    let mut count = 0;
    let mut last: Option<Instant> = None;
    loop {
        let hung_up = tokio::select! {
            _ = int.recv() => false,
            _ = term.recv() => false,
            Some(()) = async { hup.as_mut()?.recv().await } => true,
        };
        if (hung_up && count > 0) || last.is_some_and(|last| last.elapsed() < ONE_INTERRUPT) {
            continue;
        }
        count += 1;
        last = Some(Instant::now());
        stopped.store(true, Ordering::Relaxed);
        interrupt.stop.cancel();
        match count {
            1 => {}
            2 => interrupt.kill.cancel(),
            _ => std::process::exit(130),
        }
    }
}

/// Whether whoever began this has it ignore SIGHUP: the first bit of `SigIgn` in proc(5), `/proc/pid/status`.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// After a second of silence somebody at a terminal wants to know what is waited for.
async fn say_what_takes_long(of: &[Host]) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let names: Vec<&str> = of.iter().take(5).map(|host| host.name.as_str()).collect();
    let more = if of.len() > 5 { format!(" and {} more", of.len() - 5) } else { String::new() };
    eprintln!("reading facts of {}{more} …", names.join(", "));
    std::future::pending::<()>().await;
}

/// A fact as it was recorded. A host that wasn't reached then is one that isn't now: none of its tasks is in
/// the plan.
fn remembered(recorded: &RecordedFacts, query: &FactQuery, of: &[Host]) -> FactsRead {
    let known = recorded.get(query.name());
    let find = |host: &Host| {
        let value = known.and_then(|known| known.get(&host.name)).cloned();
        value.map(|value| (host.name.clone(), value)).ok_or_else(|| FactFailure {
            host: host.name.clone(),
            why: format!("{} couldn't be reached when its facts were to be recorded", host.name),
            hint: None,
        })
    };
    let mut read = FactsRead::default();
    for found in of.iter().map(find) {
        match found {
            Ok((host, value)) => drop(read.values.insert(host, value)),
            Err(failure) => read.unreached.push(failure),
        }
    }
    read
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
                    Param::Output(_) | Param::Secret(_) => None,
                })
                .collect();
            facts::own(hosts, of, probe, &values, &interrupt.stop).await
        }
    };
    let failures = |errors: Vec<FactError>| {
        errors.into_iter().map(|error| FactFailure { host: error.host, why: error.why, hint: error.hint }).collect()
    };
    match found {
        Ok(Facts { values, unreached }) => {
            Ok(FactsRead { values, unreached: failures(unreached), left_out: Vec::new() })
        }
        Err(errors) => Err(failures(errors)),
    }
}
