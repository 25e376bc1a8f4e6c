//! `host.facts` and `fact`.
//!
//! The facts of a host that can't be reached aren't known. The stdlib asks for a host's facts to declare
//! tasks of that host, and none of those will run: it gets a stand-in, so that the other hosts' tasks are
//! declared as ever. A playbook's own code decides by facts what it likes: it gets a guess, and is run again
//! with other ones ([`crate::declare`]).

use crate::calls::call::Call;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::task_options;
use crate::calls::values::{HostHandle, from_value, text, to_value};
use crate::declaration::Declaration;
use crate::declaration::guess::Guessed;
use crate::declaration::stand_ins::{in_order, lend, unreached, wait_for, why_unknown};
use crate::declaration::stop::Stop;
use crate::errors::problem::{Problem, Raise};
use crate::request::{FactFailure, FactQuery, FactsRead, Unreached};
use crate::stdlib::is_embedded;
use haflow_model::{Diagnostic, Host, HostName, Param, Value};
use rhai::Dynamic;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("fact", own);
}

/// The standard facts of a host.
pub(crate) fn standard(call: &Call<'_>, host: &HostHandle) -> Result<Dynamic, Raise> {
    known_or_read(call, host, || FactQuery::Standard, "facts", None)
}

fn own(call: &Call<'_>, [host, name, options]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    let host = HostHandle::of(&host, "fact")?;
    let name = text(&name, "fact")?;
    if &*name == FactQuery::Standard.name() || name.is_empty() {
        return Err(Problem::new(format!("a fact of one's own can't be called `{name}`")).into());
    }
    let mut options = Options::new("fact", options, &["probe", "jq", "raw", "params", "assume", "unreached"], &[])?;
    let params = options.any("params").map(task_options::params).transpose()?.unwrap_or_default();
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
    let probe = task_options::probe(call, &mut options, &params)?;
    let assume = options
        .any("assume")
        .map(|value| to_value(&value))
        .transpose()
        .map_err(|why| Problem::new(format!("option `assume` can't be that: {why}")).option("assume"))?;
    let otherwise = options.any("unreached");
    let same = (probe.clone(), format!("{params:?}"));
    let mut state = call.declaration.state();
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
    let declaration = call.declaration;
    if let Some(value) = known(&declaration.state().known, name, &host.name) {
        return Ok(value);
    }
    let for_stdlib = is_embedded(&call.site().file);
    let unknown = || declaration.state().is_unknown(&host.name);
    if unknown()
        && let Some(value) = otherwise.clone()
    {
        // The author of the fact has said what holds then.
        return Ok(value);
    }
    let stand_in = declaration.state().stand_ins.get(name).and_then(|values| values.get(&host.name)).cloned();
    let value = if let Some(value) = stand_in {
        value
    } else {
        let query = query();
        read(declaration, &query)?;
        if !unknown() {
            return Ok(known(&declaration.state().known, name, &host.name).unwrap_or_default());
        }
        if let Some(value) = otherwise {
            return Ok(value);
        }
        stand_in_for(declaration, host, &query)?
    };
    if for_stdlib {
        lend(declaration, &host.name, name);
        return Ok(from_value(&value));
    }
    note_guess(call, &host.name);
    Ok(from_value(&declaration.guess.of(name == FactQuery::Standard.name(), &value)))
}

/// Remembers where the playbook's own code asked first for a fact that nobody knows.
fn note_guess(call: &Call<'_>, host: &HostName) {
    let trace = call.trace();
    let message = format!("{}, and this line asks for its facts", why_unknown(call.declaration, host));
    let mut diagnostic = Diagnostic::new(message).at(trace.place, "").help(wait_for(call.declaration, host));
    if let Some(inner) = trace.declared_in {
        diagnostic = diagnostic.at(inner, "it is called here");
    }
    call.declaration.state().guessed.get_or_insert(Guessed::at(diagnostic));
}

fn known(facts: &BTreeMap<String, BTreeMap<HostName, Dynamic>>, name: &str, host: &HostName) -> Option<Dynamic> {
    facts.get(name)?.get(host).cloned()
}

/// Reads a fact of all hosts that the script has, at once: it will ask for the others next.
fn read(declaration: &Declaration, query: &FactQuery) -> Result<(), Raise> {
    let name = query.name();
    let hosts: Vec<Host> = {
        let state = declaration.state();
        let known = state.facts.get(name);
        let missing =
            |host: &&Host| !known.is_some_and(|known| known.contains_key(&host.name)) && !state.is_unknown(&host.name);
        state.hosts.iter().filter(missing).cloned().collect()
    };
    if hosts.is_empty() {
        return Ok(());
    }
    let FactsRead { mut values, unreached, left_out } =
        declaration.ask(query.clone(), hosts.clone()).map_err(|failures| Raise::Stop(Stop::Facts(failures)))?;
    let mut state = declaration.state();
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

/// What stands in for a fact of a host that can't be reached: what the first host has that was read. Later
/// questions get the same.
fn stand_in_for(declaration: &Declaration, host: &Host, query: &FactQuery) -> Result<Value, Raise> {
    let name = query.name();
    let mut state = declaration.state();
    let read = in_order(declaration, &state)
        .find_map(|host| Some((host.name.clone(), state.facts.get(name)?.get(&host.name)?.clone())));
    let (like, mut value) = if let Some((like, value)) = read {
        (Some(like), value)
    } else if let Ok(value) = assumed(query, host) {
        (None, value)
    } else {
        let failures = unreached(declaration, &state).into_iter().map(|host| host.failure).collect();
        return Err(Raise::Stop(Stop::Facts(failures)));
    };
    if *query == FactQuery::Standard {
        // Brokers and the like, which only their hostnames tell apart, must not be taken for one and the
        // same.
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
