//! `host.facts` and `fact`.

use crate::hosts::HostHandle;
use crate::natives::Natives;
use crate::options::Options;
use crate::raise::{Call, Problem, Raise, Stop};
use crate::request::{FactFailure, FactQuery};
use crate::tasks;
use crate::values::{from_value, to_value};
use haflow_model::{Host, HostName, Param, Value};
use rhai::Dynamic;
use serde_json::json;
use std::collections::BTreeMap;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("fact", own);
}

/// The standard facts of a host.
pub(crate) fn standard(call: &Call<'_>, host: &HostHandle) -> Result<Dynamic, Raise> {
    known_or_read(call, host, || Ok(FactQuery::Standard), "facts")
}

fn own(call: &Call<'_>, [host, name, options]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    let host = HostHandle::of(&host, "fact")?;
    let name = crate::hosts::text(&name, "fact")?;
    if &*name == FactQuery::Standard.name() || name.is_empty() {
        return Err(Problem::new(format!("a fact of one's own can't be called `{name}`")).into());
    }
    let mut options = Options::new("fact", options, ["probe", "jq", "raw", "params", "assume"])?;
    let params = options.any("params").map(tasks::params).transpose()?.unwrap_or_default();
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
    let same = (probe.clone(), format!("{params:?}"));
    let mut state = call.session.state();
    if *state.fact_probes.entry(name.to_string()).or_insert_with(|| same.clone()) != same {
        return Err(Problem::new(format!("fact `{name}` is defined twice, with another probe or other params"))
            .help("a fact is read once for all hosts; give this one a name of its own")
            .into());
    }
    drop(state);
    let query = || Ok(FactQuery::Own { name: name.to_string(), probe, params, assume });
    known_or_read(call, &host, query, &name)
}

fn known_or_read(
    call: &Call<'_>,
    host: &HostHandle,
    query: impl FnOnce() -> Result<FactQuery, Raise>,
    name: &str,
) -> Result<Dynamic, Raise> {
    let session = call.session;
    if let Some(value) = session.state().known.get(name).and_then(|known| known.get(&host.name)) {
        return Ok(value.clone());
    }
    // All hosts that the script has, at once: it will ask for the others next.
    let hosts: Vec<Host> = {
        let state = session.state();
        let known = state.facts.get(name);
        state.hosts.iter().filter(|host| !known.is_some_and(|known| known.contains_key(&host.name))).cloned().collect()
    };
    let mut answers = session.ask(query()?, hosts.clone()).map_err(|failures| Raise::Stop(Stop::Facts(failures)))?;
    let mut state = session.state();
    for Host { name: host, .. } in hosts {
        let Some(value) = answers.remove(&host) else {
            let why = format!("no answer about fact `{name}`");
            return Err(Raise::Stop(Stop::Facts(vec![FactFailure { host, why, hint: None }])));
        };
        state.known.entry(name.to_owned()).or_default().insert(host.clone(), from_value(&value));
        state.facts.entry(name.to_owned()).or_default().insert(host, value);
    }
    Ok(state.known.get(name).and_then(|known| known.get(&host.name)).cloned().unwrap_or_default())
}

/// Answers for hosts that aren't there, for `check` and `graph`: Debian 12, and what each fact `assume`s.
pub fn assumed_facts(query: &FactQuery, hosts: &[Host]) -> Result<BTreeMap<HostName, Value>, Vec<FactFailure>> {
    let answer = |host: &Host| match query {
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
    };
    hosts
        .iter()
        .map(|host| answer(host).map(|value| (host.name.clone(), value)).map_err(|failure| vec![failure]))
        .collect()
}
