//! The options that several kinds of tasks take, each read in one place.

use crate::calls::call::Call;
use crate::calls::jq;
use crate::calls::options::Options;
use crate::calls::values::{OutputHandle, SecretHandle, TaskHandle, TestHandle, shown, to_value};
use crate::errors::problem::Problem;
use haflow_model::{NodeId, Param, Policy, Probe, Rehearsal, Thing, Things, Value, When};
use rhai::{Dynamic, ImmutableString};
use std::collections::BTreeMap;

/// The options that every task takes.
pub(crate) const COMMON: [&str; 11] =
    ["after", "on", "when", "retries", "backoff", "timeout", "user", "tags", "destroys", "reads", "touches"];

/// What to do about a value that can't be in another one.
pub(crate) const BY_ITSELF: &str = "what isn't known while the script runs, and what is no value, is handed to a \
     task by itself: params: #{ one: …, other: … }";

/// The common options.
pub(crate) struct Common {
    pub(crate) after: Vec<NodeId>,
    pub(crate) on: Vec<NodeId>,
    pub(crate) when: Option<When>,
    pub(crate) policy: Policy,
    pub(crate) user: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) destroys: Option<String>,
}

impl Common {
    pub(crate) fn new(options: &mut Options) -> Result<Self, Problem> {
        let mut edges = |key| options.any(key).map_or_else(|| Ok(Vec::new()), |given| nodes(&given, key));
        let (after, on) = (edges("after")?, edges("on")?);
        let when = options.any("when").map(|given| when(options, given)).transpose()?;
        let mut policy = Policy::default();
        policy.retries = options.count("retries", 0)?.unwrap_or(policy.retries);
        policy.backoff = options.duration("backoff")?.unwrap_or(policy.backoff);
        policy.timeout = options.duration("timeout")?.unwrap_or(policy.timeout);
        if policy.timeout.is_zero() {
            return Err(Problem::new("option `timeout` wants more than no time at all").option("timeout"));
        }
        Ok(Self {
            after,
            on,
            when,
            policy,
            user: options.account("user")?,
            tags: options.texts("tags")?,
            destroys: options.line("destroys")?.map(Into::into),
        })
    }
}

fn when(options: &Options, given: Dynamic) -> Result<When, Problem> {
    let given = match given.try_cast_result::<TestHandle>() {
        Ok(TestHandle(when)) => return Ok(when),
        Err(given) => given,
    };
    let problem = options.wrong("when", "a test on an output", &given);
    Err(if given.is_bool() {
        problem.help("what is known now is chosen by `if`; `when` is for what is known only at run time")
    } else {
        problem.help("for example `when: out.equals(\"yes\")`, or `contains`, `matches`, `is_empty`, `not(…)`")
    })
}

/// The node that a value stands for.
pub(crate) fn node(value: &Dynamic) -> Option<NodeId> {
    if let Some(task) = value.read_lock::<TaskHandle>() {
        return Some(task.node);
    }
    value.read_lock::<OutputHandle>().map(|output| output.output.task)
}

/// The nodes that an option names: one, or a list of them, in which `()` counts as nothing.
pub(crate) fn nodes(value: &Dynamic, option: &str) -> Result<Vec<NodeId>, Problem> {
    let mut nodes = Vec::new();
    collect(value, option, &mut nodes)?;
    Ok(nodes)
}

fn collect(value: &Dynamic, option: &str, nodes: &mut Vec<NodeId>) -> Result<(), Problem> {
    if let Some(node) = node(value) {
        nodes.push(node);
    } else if let Ok(list) = value.as_array_ref() {
        for item in list.iter() {
            collect(item, option, nodes)?;
        }
    } else if !value.is_unit() {
        return Err(Problem::new(format!("`{option}` wants a task or a list of tasks, not {}", shown(value)))
            .option(option)
            .help("pass what `ensure`, `file`, `service` and the like return"));
    }
    Ok(())
}

/// The options `probe`, `jq` and `raw`.
pub(crate) fn probe(
    call: &Call<'_>,
    options: &mut Options,
    params: &BTreeMap<String, Param>,
) -> Result<Probe, Problem> {
    let script = script(options, "probe")?;
    let jq = options.text("jq")?;
    let raw = options.bool("raw")?.unwrap_or(false);
    if let Some(filter) = &jq {
        jq::check(call, filter, params.keys(), "jq")?;
    } else if raw {
        return Err(Problem::new("option `raw` is about the input of `jq`, which isn't given").option("raw"));
    }
    Ok(Probe { script, jq: jq.map(Into::into), raw })
}

/// A script that must be given.
pub(crate) fn script(options: &mut Options, key: &str) -> Result<String, Problem> {
    let text = options.text(key)?;
    let text: ImmutableString = options.need(key, text)?;
    if text.contains('\0') {
        return Err(
            Problem::new(format!("option `{key}` has a NUL character, which no shell script can have")).option(key)
        );
    }
    Ok(text.to_string())
}

/// The option `rehearse`: a script, or a map of one and of what it reads.
pub(crate) fn rehearsal(options: &mut Options) -> Result<Option<Box<Rehearsal>>, Problem> {
    let mut own = match options.any("rehearse") {
        None => return Ok(None),
        Some(given) if given.is_string() => {
            let map = rhai::Map::from([("script".into(), given)]);
            Options::new("rehearse", Dynamic::from(map), &["script"], &[])?
        }
        Some(given) if given.is_map() => Options::new("rehearse", given, &["script", "reads"], &[])?,
        Some(given) => return Err(options.wrong("rehearse", "a text, or a map of `script` and `reads`", &given)),
    };
    let script = script(&mut own, "script")?;
    let reads = things("reads", &mut own)?.unwrap_or_default();
    Ok(Some(Box::new(Rehearsal { script, reads })))
}

pub(crate) fn want(options: &mut Options) -> Result<Param, Problem> {
    let given = options.any("want");
    let given = options.need("want", given)?;
    param(&given)
        .map_err(|why| Problem::new(format!("option `want` can't be that: {why}")).option("want").help(BY_ITSELF))
}

/// A value that is known now, an output, or a secret.
pub(crate) fn param(given: &Dynamic) -> Result<Param, String> {
    if let Some(secret) = given.read_lock::<SecretHandle>() {
        return Ok(Param::Secret(secret.0.clone()));
    }
    match given.read_lock::<OutputHandle>() {
        Some(output) => Ok(Param::Output(output.output)),
        None => to_value(given).map(Param::Value),
    }
}

/// The option `params`.
pub(crate) fn params(given: Dynamic) -> Result<BTreeMap<String, Param>, Problem> {
    let given = match given.try_cast_result::<rhai::Map>() {
        Ok(map) => map,
        Err(given) => {
            return Err(Problem::new(format!("option `params` wants a map, not {}", shown(&given)))
                .option("params")
                .help("for example params: #{ zone: \"Europe/Berlin\" }; then `$zone` in probe and apply"));
        }
    };
    given
        .into_iter()
        .map(|(name, value)| {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if !name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') || !name.chars().all(fits) {
                return Err(Problem::new(format!("`{name}` can't be the name of a param"))
                    .option(name.as_str())
                    .help("it becomes a shell variable: small letters, digits and `_`, and no digit first"));
            }
            let param = param(&value).map_err(|why| {
                Problem::new(format!("param `{name}` can't be that: {why}")).option(name.as_str()).help(BY_ITSELF)
            })?;
            if let Param::Value(Value::String(text)) = &param
                && text.contains('\0')
            {
                return Err(Problem::new(format!(
                    "param `{name}` has a NUL character, which no shell variable can have"
                ))
                .option(name.as_str()));
            }
            Ok((name.to_string(), param))
        })
        .collect()
}

pub(crate) fn things(key: &'static str, options: &mut Options) -> Result<Option<Things>, Problem> {
    if !options.has(key) {
        return Ok(None);
    }
    let things = options.texts(key)?.into_iter().map(|text| thing(text, key)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Things::these(things)))
}

pub(crate) fn thing(text: String, key: &'static str) -> Result<Thing, Problem> {
    Thing::try_from(text).map_err(|why| Problem::new(why).option(key))
}

/// The option `brings`.
pub(crate) fn brings(options: &mut Options) -> Result<Vec<Thing>, Problem> {
    options.texts("brings")?.into_iter().map(|text| thing(text, "brings")).collect()
}

/// The option `expect`.
pub(crate) fn expect(options: &mut Options) -> Result<Vec<(Thing, Value)>, Problem> {
    let Some(given) = options.any("expect") else { return Ok(Vec::new()) };
    let given = given.try_cast_result::<rhai::Map>().map_err(|given| {
        Problem::new(format!("option `expect` wants a map, not {}", shown(&given))).option("expect").help(
            "for example expect: #{ \"service:nginx\": \"running\" }: the state once a task before it has changed that",
        )
    })?;
    given
        .into_iter()
        .map(|(text, value)| {
            let value = to_value(&value)
                .map_err(|why| Problem::new(format!("option `expect` can't have that: {why}")).option("expect"))?;
            Ok((thing(text.to_string(), "expect")?, value))
        })
        .collect()
}
