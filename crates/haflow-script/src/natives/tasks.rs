//! `ensure`, `act`, `gate`, `read`, and what all tasks have in common.

use crate::calls::jq;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::values::{shown, to_value};
use crate::errors::problem::{Call, Problem, Raise};
use crate::label::label;
use crate::natives::hosts::HostHandle;
use crate::natives::outputs::{OutputHandle, TaskHandle, TestHandle, nodes};
use crate::natives::secrets::SecretHandle;
use crate::place::complete;
use crate::session::stop::Stop;
use haflow_model::{
    Act, Action, EdgeKind, Ensure, FileState, Gate, HostName, NodeId, OutputRef, Param, Policy, Probe, Read, Scope,
    Task, Thing, Things, Value, When,
};
use rhai::{Dynamic, ImmutableString};
use std::collections::BTreeMap;
use std::time::Duration;

/// The options that every task takes.
pub(crate) const COMMON: [&str; 11] =
    ["after", "on", "when", "retries", "backoff", "timeout", "user", "tags", "destroys", "reads", "touches"];

/// What to do about a value that can't be in another one.
pub(crate) const BY_ITSELF: &str = "what isn't known while the script runs, and what is no value, is handed to a task by itself: params: #{ one: …, other: … }";

const ENSURE: [&str; 9] = ["kind", "name", "params", "probe", "jq", "raw", "want", "apply", "expect"];
const ACT: [&str; 5] = ["kind", "name", "params", "reason", "apply"];
const GATE: [&str; 10] = ["kind", "name", "params", "probe", "jq", "raw", "want", "times", "every", "within"];
const READ: [&str; 7] = ["kind", "name", "params", "probe", "jq", "raw", "secret"];

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("ensure", ensure);
    natives.add("act", act);
    natives.add("gate", gate);
    natives.add("read", read);
}

fn ensure(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("ensure", options, ENSURE.into_iter().chain(COMMON))?;
    let mut head = Head::new(&host, "ensure", None, &mut options)?;
    let probe = head.probe(call, &mut options)?;
    let want = want(&mut options)?;
    let apply = script(&mut options, "apply")?;
    head.expect = expect(&mut options)?;
    head.declare(call, Action::Ensure(Ensure { probe, want, apply }), options)
}

fn act(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("act", options, ACT.into_iter().chain(COMMON))?;
    let head = Head::new(&host, "act", Some("act"), &mut options)?;
    let reason = options.text("reason")?;
    let reason = options
        .need("reason", reason)
        .map_err(|problem| problem.help("say in a few words why it can't be probed; where it can, use `ensure`"))?;
    let apply = script(&mut options, "apply")?;
    head.declare(call, Action::Act(Act { reason: reason.to_string(), apply }), options)
}

fn gate(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("gate", options, GATE.into_iter().chain(COMMON))?;
    let mut head = Head::new(&host, "gate", Some("gate"), &mut options)?;
    let probe = head.probe(call, &mut options)?;
    let want = want(&mut options)?;
    let times = options.count("times", 1)?.unwrap_or(1);
    let every = options.duration("every")?.unwrap_or(Duration::from_secs(1));
    let within = options.duration("within")?.unwrap_or(Duration::from_mins(1));
    head.declare(call, Action::Gate(Gate { probe, want, times, every, within }), options)
}

fn read(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("read", options, READ.into_iter().chain(COMMON))?;
    let mut head = Head::new(&host, "read", Some("read"), &mut options)?;
    let probe = head.probe(call, &mut options)?;
    let secret = options.bool("secret")?.unwrap_or(false);
    let task = head.declare(call, Action::Read(Read { probe, secret }), options)?.cast::<TaskHandle>();
    let output = OutputRef { task: task.node, secret };
    Ok(Dynamic::from(OutputHandle { output, id: task.id }))
}

/// What each task begins with.
pub(crate) struct Head {
    host: HostName,
    kind: String,
    name: String,
    pub(crate) params: BTreeMap<String, Param>,
    expect: Vec<(Thing, Value)>,
}

impl Head {
    pub(crate) fn new(
        host: &Dynamic,
        function: &str,
        kind: Option<&str>,
        options: &mut Options,
    ) -> Result<Self, Problem> {
        let name = options.text("name")?;
        let name = options.need("name", name)?;
        Self::named(host, function, kind, &name, options)
    }

    pub(crate) fn named(
        host: &Dynamic,
        function: &str,
        kind: Option<&str>,
        name: &str,
        options: &mut Options,
    ) -> Result<Self, Problem> {
        let host = HostHandle::of(host, function)?.name.clone();
        let kind = match (options.text("kind")?, kind) {
            (Some(given), _) => given.to_string(),
            (None, Some(kind)) => kind.to_owned(),
            (None, None) => options.need::<String>("kind", None)?,
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if !kind.starts_with(|c: char| c.is_ascii_lowercase()) || !kind.chars().all(fits) {
            return Err(Problem::new(format!("`{kind}` can't be a task's kind"))
                .option("kind")
                .help("a kind is a word of small letters, digits, `_` and `-`, for example \"package\""));
        }
        if name.is_empty() || name.contains('\n') {
            return Err(Problem::new(format!("{name:?} can't be a task's name"))
                .option("name")
                .help("a name is one line that isn't empty; it tells the task from others of its kind on the host"));
        }
        let params = match options.any("params") {
            Some(given) => params(given)?,
            None => BTreeMap::new(),
        };
        Ok(Self { host, kind, name: label(name), params, expect: Vec::new() })
    }

    /// The options `probe`, `jq` and `raw`.
    fn probe(&mut self, call: &Call<'_>, options: &mut Options) -> Result<Probe, Problem> {
        probe(call, options, &self.params)
    }

    /// Adds the task, with the common options, to what is declared.
    pub(crate) fn declare(self, call: &Call<'_>, action: Action, mut options: Options) -> Result<Dynamic, Raise> {
        let common = Common::new(&mut options)?;
        let scope = scope(&action, self.expect, &mut options)?;
        let trace = call.trace();
        let place = trace.place.clone();
        let prints = matches!(action, Action::Act(_) | Action::Read(_));
        let task = Task {
            host: self.host,
            kind: self.kind,
            name: self.name,
            action,
            params: self.params,
            when: common.when,
            policy: common.policy,
            user: common.user,
            scope,
            tags: common.tags,
            destroys: common.destroys,
            place: trace.place,
            declared_in: trace.declared_in,
        };
        let id = task.id();
        let mut state = call.session.state();
        let node = match state.draft.task(task) {
            Ok(node) => node,
            Err(diagnostic) => {
                let diagnostic = complete(diagnostic, &state.sources);
                return Err(Raise::Stop(Stop::Diagnostic(diagnostic.into(), Some(place))));
            }
        };
        for from in common.after {
            state.draft.edge(from, node, EdgeKind::Order, place.clone());
        }
        for from in common.on {
            state.draft.edge(from, node, EdgeKind::Trigger, place.clone());
        }
        Ok(Dynamic::from(TaskHandle { node, id: id.into(), prints }))
    }
}

/// What the task reads and touches: what the options say, or what follows from the action.
fn scope(action: &Action, expect: Vec<(Thing, Value)>, options: &mut Options) -> Result<Scope, Problem> {
    let (reads, touches) = (things("reads", options)?, things("touches", options)?);
    if touches.is_some() && matches!(action, Action::Gate(_) | Action::Read(_)) {
        return Err(Problem::new("what only looks touches nothing").option("touches"));
    }
    let by_default = match action {
        Action::Ensure(_) => (Things::default(), Things::default()),
        Action::File(file) => {
            let path = Thing::new("file", &file.path);
            let accounts = [("user", &file.owner), ("group", &file.group)];
            let accounts = accounts.into_iter().filter_map(|(kind, name)| Some(Thing::new(kind, name.as_ref()?)));
            let touches = if file.state == FileState::Folder {
                // Its parents are made too.
                let ends = file.path.match_indices('/').map(|(at, _)| at).chain([file.path.len()]).filter(|at| *at > 0);
                Things::these(ends.map(|end| Thing::new("folder", &file.path[..end])))
            } else {
                Things::these([path.clone()])
            };
            (Things::these([path].into_iter().chain(accounts)), touches)
        }
        Action::Act(_) => (Things::these([]), Things::default()),
        Action::Gate(_) | Action::Read(_) => (Things::default(), Things::these([])),
    };
    Ok(Scope { reads: reads.unwrap_or(by_default.0), touches: touches.unwrap_or(by_default.1), expect })
}

fn things(key: &'static str, options: &mut Options) -> Result<Option<Things>, Problem> {
    if !options.has(key) {
        return Ok(None);
    }
    let things = options.texts(key)?.into_iter().map(|text| thing(text, key)).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Things::these(things)))
}

fn thing(text: String, key: &'static str) -> Result<Thing, Problem> {
    Thing::try_from(text).map_err(|why| Problem::new(why).option(key))
}

/// The option `expect`.
fn expect(options: &mut Options) -> Result<Vec<(Thing, Value)>, Problem> {
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

/// The common options.
struct Common {
    after: Vec<NodeId>,
    on: Vec<NodeId>,
    when: Option<When>,
    policy: Policy,
    user: Option<String>,
    tags: Vec<String>,
    destroys: Option<String>,
}

impl Common {
    fn new(options: &mut Options) -> Result<Self, Problem> {
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
            destroys: options.text("destroys")?.map(Into::into),
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

fn want(options: &mut Options) -> Result<Param, Problem> {
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
