//! `host.facts` and `fact`.

//!
//! The facts of a host that can't be reached aren't known. The stdlib asks for a host's facts to declare tasks of that host, and
//! none of those will run: it gets a stand-in, so that the other hosts' tasks are declared as ever. A playbook's own code decides
//! by facts what it likes: it gets a guess, and is run again with other ones ([`crate::declare`]).

use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::values::{from_value, to_value};
use crate::errors::problem::{Call, Problem, Raise, Stop};
use crate::natives::hosts::HostHandle;
use crate::natives::tasks;
use crate::place::{Site, complete};
use crate::request::{DeclareError, FactFailure, FactQuery, FactsRead, Unreached};
use crate::session::{Session, State};
use crate::stdlib::is_embedded;
use haflow_model::{Diagnostic, Host, HostName, NodeId, Param, Value};
use rhai::Dynamic;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("fact", own);
}

/// The standard facts of a host.
pub(crate) fn standard(call: &Call<'_>, host: &HostHandle) -> Result<Dynamic, Raise> {
    known_or_read(call, host, || FactQuery::Standard, "facts", None)
}

fn own(call: &Call<'_>, [host, name, options]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    let host = HostHandle::of(&host, "fact")?;
    let name = crate::natives::hosts::text(&name, "fact")?;
    if &*name == FactQuery::Standard.name() || name.is_empty() {
        return Err(Problem::new(format!("a fact of one's own can't be called `{name}`")).into());
    }
    let mut options = Options::new("fact", options, ["probe", "jq", "raw", "params", "assume", "unreached"])?;
    let params = options.any("params").map(tasks::params).transpose()?.unwrap_or_default();
    if let Some((name, _)) = params.iter().find(|(_, param)| matches!(param, Param::Secret(_))) {
        return Err(Problem::new(format!("param `{name}` is a secret, and a fact is kept and shown"))
            .help("read it in a task: `read` with `secret: true` where the output is one too")
            .option(name)
            .into());
    }
    if let Some((name, _)) = params.iter().find(|(_, param)| matches!(param, Param::Output(_))) {
        return Err(Problem::new(format!("param `{name}` is an output, and a fact is read before any task runs"))
            .option(name)
            .into());
    }
    let probe = tasks::probe(call, &mut options, &params)?;
    let assume = options
        .any("assume")
        .map(|value| to_value(&value))
        .transpose()
        .map_err(|why| Problem::new(format!("option `assume` can't be that: {why}")).option("assume"))?;
    let otherwise = options.any("unreached");
    let same = (probe.clone(), format!("{params:?}"));
    let mut state = call.session.state();
    if *state.fact_probes.entry(name.to_string()).or_insert_with(|| same.clone()) != same {
        return Err(Problem::new(format!("fact `{name}` is defined twice, with another probe or other params"))
            .help("a fact is read once for all hosts; give this one a name of its own")
            .into());
    }
    drop(state);
    let query = || FactQuery::Own { name: name.to_string(), probe, params, assume };
    known_or_read(call, &host, query, &name, otherwise)
}

fn known_or_read(
    call: &Call<'_>,
    host: &HostHandle,
    query: impl FnOnce() -> FactQuery,
    name: &str,
    otherwise: Option<Dynamic>,
) -> Result<Dynamic, Raise> {
    let session = call.session;
    if let Some(value) = known(&session.state().known, name, &host.name) {
        return Ok(value);
    }
    let for_stdlib = is_embedded(&call.site().file);
    let unknown = || session.state().is_unknown(&host.name);
    if unknown()
        && let Some(value) = otherwise.clone()
    {
        // Whoever defined the fact has said what holds then.
        return Ok(value);
    }
    let stand_in = session.state().stand_ins.get(name).and_then(|values| values.get(&host.name)).cloned();
    let value = if let Some(value) = stand_in {
        value
    } else {
        let query = query();
        read(session, &query)?;
        if !unknown() {
            return Ok(known(&session.state().known, name, &host.name).unwrap_or_default());
        }
        if let Some(value) = otherwise {
            return Ok(value);
        }
        stand_in_for(session, host, &query)?
    };
    if for_stdlib {
        lend(session, host, name);
        return Ok(from_value(&value));
    }
    guess(call, &host.name);
    Ok(from_value(&session.guess.of(name == FactQuery::Standard.name(), &value)))
}

/// Remembers where the playbook's own code asked first for a fact that nobody knows.
fn guess(call: &Call<'_>, host: &HostName) {
    let trace = call.trace();
    let message = format!("{}, and this line asks for its facts", unknown(call.session, host));
    let mut diagnostic = Diagnostic::new(message).at(trace.place, "").help(wait_for(call.session, host));
    if let Some(inner) = trace.declared_in {
        diagnostic = diagnostic.at(inner, "it is called here");
    }
    call.session.state().guessed.get_or_insert(Guessed { diagnostic, unreached: vec![], unknown: BTreeSet::new() });
}

/// What the playbook's own code got in place of facts that nobody knows.
#[derive(Debug)]
pub(crate) struct Guessed {
    /// The line that asked for one first.
    diagnostic: Diagnostic,
    /// The hosts that couldn't be reached.
    unreached: Vec<FactFailure>,
    /// These, and those that weren't asked.
    pub(crate) unknown: BTreeSet<HostName>,
}

impl Guessed {
    /// A task of a host that is known depends on a guess.
    pub(crate) fn depends(mut self, task: &str) -> DeclareError {
        self.diagnostic.message = format!("{}, on which `{task}` depends", self.diagnostic.message);
        self.refused()
    }

    /// It can't be told whether one does.
    pub(crate) fn refused(self) -> DeclareError {
        let Self { diagnostic, unreached, unknown } = self;
        let left_out = unknown.into_iter().filter(|host| unreached.iter().all(|failure| failure.host != *host));
        DeclareError::Unreached { diagnostic: Box::new(diagnostic), left_out: left_out.collect(), hosts: unreached }
    }
}

/// What was guessed, if anything was.
pub(crate) fn guessed(session: &Session) -> Option<Guessed> {
    let mut state = session.state();
    let guessed = state.guessed.take()?;
    let unreached = unreached(session, &state).into_iter().map(|host| host.failure).collect();
    let unknown = state.unreached.keys().chain(&state.left_out).cloned().collect();
    Some(Guessed { diagnostic: complete(guessed.diagnostic, &state.sources), unreached, unknown })
}

/// What is said of a host whose facts nobody knows.
fn unknown(session: &Session, host: &HostName) -> String {
    if session.state().left_out.contains(host) {
        format!("{host} isn't asked")
    } else {
        format!("{host} can't be reached")
    }
}

fn known(facts: &BTreeMap<String, BTreeMap<HostName, Dynamic>>, name: &str, host: &HostName) -> Option<Dynamic> {
    facts.get(name)?.get(host).cloned()
}

/// Reads a fact of all hosts that the script has, at once: it will ask for the others next.
fn read(session: &Session, query: &FactQuery) -> Result<(), Raise> {
    let name = query.name();
    let hosts: Vec<Host> = {
        let state = session.state();
        let known = state.facts.get(name);
        let missing =
            |host: &&Host| !known.is_some_and(|known| known.contains_key(&host.name)) && !state.is_unknown(&host.name);
        state.hosts.iter().filter(missing).cloned().collect()
    };
    if hosts.is_empty() {
        return Ok(());
    }
    let FactsRead { mut values, unreached, left_out } =
        session.ask(query.clone(), hosts.clone()).map_err(|failures| Raise::Stop(Stop::Facts(failures)))?;
    let mut state = session.state();
    for failure in unreached {
        state.unreached.insert(failure.host.clone(), Unreached { failure, like: None });
    }
    state.left_out.extend(left_out);
    for Host { name: host, .. } in hosts {
        if let Some(value) = values.remove(&host) {
            state.known.entry(name.to_owned()).or_default().insert(host.clone(), from_value(&value));
            state.facts.entry(name.to_owned()).or_default().insert(host, value);
        } else if !state.is_unknown(&host) {
            let why = format!("no answer about fact `{name}`");
            return Err(Raise::Stop(Stop::Facts(vec![FactFailure { host, why, hint: None }])));
        }
    }
    Ok(())
}

/// What stands in for a fact of a host that can't be reached: what the first host has that was read. It stays
/// that.
fn stand_in_for(session: &Session, host: &Host, query: &FactQuery) -> Result<Value, Raise> {
    let name = query.name();
    let mut state = session.state();
    let read = in_order(session, &state)
        .find_map(|host| Some((host.name.clone(), state.facts.get(name)?.get(&host.name)?.clone())));
    let (like, mut value) = if let Some((like, value)) = read {
        (Some(like), value)
    } else if let Ok(value) = assumed(query, host) {
        (None, value)
    } else {
        let failures = unreached(session, &state).into_iter().map(|host| host.failure).collect();
        return Err(Raise::Stop(Stop::Facts(failures)));
    };
    if *query == FactQuery::Standard {
        // What is told apart by their hostnames, such as brokers, must not be taken for one and the same.
        value["hostname"] = hostname(&host.name).into();
    }
    if let Some(unreached) = state.unreached.get_mut(&host.name) {
        unreached.like = unreached.like.take().or(like);
    }
    state.stand_ins.entry(name.to_owned()).or_default().insert(host.name.clone(), value.clone());
    Ok(value)
}

/// What a host probably calls itself.
fn hostname(name: &HostName) -> String {
    let name = name.as_str();
    if name.parse::<IpAddr>().is_ok() {
        return name.replace(['.', ':'], "-");
    }
    name.split('.').next().unwrap_or(name).to_owned()
}

fn in_order<'a>(session: &'a Session, state: &'a State) -> impl Iterator<Item = &'a Host> {
    session.inventory.as_ref().map_or(&state.hosts, |inventory| &inventory.hosts).iter()
}

/// The hosts that couldn't be reached, in the order of the inventory.
pub(crate) fn unreached(session: &Session, state: &State) -> Vec<Unreached> {
    in_order(session, state).filter_map(|host| state.unreached.get(&host.name)).cloned().collect()
}

fn wait_for(session: &Session, host: &HostName) -> String {
    if session.state().left_out.contains(host) {
        format!("take {host} into `--limit`")
    } else {
        format!("take {host} out of the inventory until it can be reached")
    }
}

/// A stand-in for a playbook's own fact, which a call into the stdlib has got.
#[derive(Debug)]
pub(crate) struct Lent {
    /// How many crossings are around that call.
    depth: usize,
    fact: String,
    host: HostName,
    /// The first node that may depend on it.
    next: NodeId,
    /// Whether no host has it: it was assumed.
    made_up: bool,
}

impl Lent {
    /// Whether it isn't true of any host.
    pub(crate) fn is_made_up(&self) -> bool {
        self.made_up
    }
}

/// Remembers which call has got a stand-in.
fn lend(session: &Session, host: &HostHandle, fact: &str) {
    let mut state = session.state();
    let Some(depth) = state.crossings.iter().rposition(|site| !is_embedded(&site.file)) else { return };
    let next = state.draft.next_id();
    let made_up = state.facts.get(fact).is_none_or(BTreeMap::is_empty);
    state.lent.push(Lent { depth, fact: fact.to_owned(), host: host.name.clone(), next, made_up });
}

/// A call into the stdlib that has got a stand-in must not have declared a task of a host that can be reached: it might write
/// there what is true of another host, such as an address.
pub(crate) fn returned(session: &Session, site: Site) {
    let Some((Lent { fact, host, .. }, of)) = misled(&mut session.state()) else { return };
    let message =
        format!("{}, and this line makes a task of {of} depend on its fact `{fact}`", unknown(session, &host));
    let trace = session.trace(site);
    let mut diagnostic = Diagnostic::new(&message).at(trace.place.clone(), "").help(format!(
        "say in the inventory what would be read, such as an `address`; or {}",
        wait_for(session, &host)
    ));
    if let Some(inner) = trace.declared_in {
        diagnostic = diagnostic.at(inner, "it is called here");
    }
    let mut state = session.state();
    let diagnostic = complete(diagnostic, &state.sources);
    state.refused.get_or_insert(message);
    drop(state);
    session.stop(Stop::Diagnostic(Arc::new(diagnostic), Some(trace.place)));
}

/// Ends the loans of the call that has just returned. Gives one that a task of a host that can be reached depends on.
fn misled(state: &mut State) -> Option<(Lent, HostName)> {
    let depth = state.crossings.len();
    let mut misled = None;
    while let Some(lent) = state.lent.pop_if(|lent| lent.depth >= depth) {
        // Of the standard facts only the hostname tells hosts apart, and it isn't another's.
        if lent.fact == FactQuery::Standard.name() {
            continue;
        }
        let mut tasks = (lent.next.index()..state.draft.next_id().index()).map(NodeId::from_index);
        let of = tasks.find_map(|id| {
            let task = state.draft.task_mut(id)?;
            let (inside, host) = (task.declared_in.is_some(), task.host.clone());
            (inside && !state.is_unknown(&host)).then_some(host)
        });
        misled = of.map(|of| (lent, of)).or(misled);
    }
    misled
}

/// Answers for hosts that aren't there, for `check` and `graph`: Debian 12, and what each fact `assume`s.
pub fn assumed_facts(query: &FactQuery, hosts: &[Host]) -> Result<FactsRead, Vec<FactFailure>> {
    let answer =
        |host: &Host| assumed(query, host).map(|value| (host.name.clone(), value)).map_err(|failure| vec![failure]);
    Ok(FactsRead { values: hosts.iter().map(answer).collect::<Result<_, _>>()?, ..FactsRead::default() })
}

fn assumed(query: &FactQuery, host: &Host) -> Result<Value, FactFailure> {
    match query {
        FactQuery::Standard => Ok(json!({
            "os": "debian", "os_version": "12", "os_codename": "bookworm", "os_family": "debian",
            "os_name": "Debian GNU/Linux 12 (bookworm)", "arch": "x86_64", "kernel": "6.1.0",
            "hostname": host.name.as_str(), "packages": "apt", "init": "systemd",
            "user": "root", "uid": 0, "cpus": 2, "memory_mb": 2048,
        })),
        FactQuery::Own { assume: Some(value), .. } => Ok(value.clone()),
        FactQuery::Own { name, assume: None, .. } => Err(FactFailure {
            host: host.name.clone(),
            why: format!("fact `{name}` can't be read without hosts, and doesn't say what to assume"),
            hint: Some("give the fact an option `assume`, or use an inventory".to_owned()),
        }),
    }
}
