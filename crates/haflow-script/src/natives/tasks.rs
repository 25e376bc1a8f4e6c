//! `ensure`, `act`, `gate`, `read`, and what all tasks have in common.

use crate::calls::call::Call;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::task_options::{COMMON, Common, brings, expect, params, probe, rehearsal, script, things, want};
use crate::calls::values::{HostHandle, OutputHandle, TaskHandle};
use crate::declaration::stop::Stop;
use crate::errors::problem::{Problem, Raise};
use crate::label::label;
use crate::place::complete;
use haflow_model::{
    Act, Action, EdgeKind, Ensure, FileState, Gate, HostName, OutputRef, Param, Probe, Read, Scope, Task, Thing,
    Things, Value,
};
use rhai::Dynamic;
use std::collections::BTreeMap;
use std::time::Duration;

const ENSURE: [&str; 11] =
    ["kind", "name", "params", "probe", "jq", "raw", "want", "apply", "rehearse", "expect", "brings"];
const ACT: [&str; 7] = ["kind", "name", "params", "reason", "apply", "rehearse", "brings"];
const GATE: [&str; 10] = ["kind", "name", "params", "probe", "jq", "raw", "want", "times", "every", "within"];
const READ: [&str; 7] = ["kind", "name", "params", "probe", "jq", "raw", "secret"];

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("ensure", ensure);
    natives.add("act", act);
    natives.add("gate", gate);
    natives.add("read", read);
}

fn ensure(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("ensure", options, &ENSURE, &COMMON)?;
    let mut head = Head::new(&host, "ensure", None, &mut options)?;
    let probe = head.probe(call, &mut options)?;
    let want = want(&mut options)?;
    let apply = script(&mut options, "apply")?;
    let rehearse = rehearsal(&mut options)?;
    head.expect = expect(&mut options)?;
    head.brings = brings(&mut options)?;
    head.declare(call, Action::Ensure(Ensure { probe, want, apply, rehearse }), options)
}

fn act(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("act", options, &ACT, &COMMON)?;
    let mut head = Head::new(&host, "act", Some("act"), &mut options)?;
    let reason = options.line("reason")?;
    let reason = options
        .need("reason", reason)
        .map_err(|problem| problem.help("say in a few words why it can't be probed; where it can, use `ensure`"))?;
    let apply = script(&mut options, "apply")?;
    let rehearse = rehearsal(&mut options)?;
    head.brings = brings(&mut options)?;
    head.declare(call, Action::Act(Act { reason: reason.to_string(), apply, rehearse }), options)
}

fn gate(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("gate", options, &GATE, &COMMON)?;
    let mut head = Head::new(&host, "gate", Some("gate"), &mut options)?;
    let probe = head.probe(call, &mut options)?;
    let want = want(&mut options)?;
    let times = options.count("times", 1)?.unwrap_or(1);
    let every = options.duration("every")?.unwrap_or(Duration::from_secs(1));
    let within = options.duration("within")?.unwrap_or(Duration::from_mins(1));
    head.declare(call, Action::Gate(Gate { probe, want, times, every, within }), options)
}

fn read(call: &Call<'_>, [host, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("read", options, &READ, &COMMON)?;
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
    brings: Vec<Thing>,
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
        Ok(Self { host, kind, name: label(name), params, expect: Vec::new(), brings: Vec::new() })
    }

    /// The options `probe`, `jq` and `raw`.
    fn probe(&mut self, call: &Call<'_>, options: &mut Options) -> Result<Probe, Problem> {
        probe(call, options, &self.params)
    }

    /// Adds the task, with the common options, to what is declared.
    pub(crate) fn declare(self, call: &Call<'_>, action: Action, mut options: Options) -> Result<Dynamic, Raise> {
        let common = Common::new(&mut options)?;
        let mut scope = scope(&action, self.expect, self.brings, &mut options)?;
        // Without its user it can't be looked at.
        scope.reads.extend(common.user.as_ref().map(|user| Thing::new("user", user)));
        let trace = call.trace();
        let place = trace.place.clone();
        let prints = action.has_output();
        let task = Task {
            host: self.host,
            kind: self.kind.into(),
            name: self.name.into(),
            action,
            params: self.params,
            when: common.when.map(Box::new),
            policy: common.policy,
            user: common.user,
            scope,
            tags: common.tags,
            destroys: common.destroys,
            place: trace.place,
            declared_in: trace.declared_in,
        };
        let id = task.id();
        let mut state = call.declaration.state();
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
fn scope(
    action: &Action,
    expect: Vec<(Thing, Value)>,
    brings: Vec<Thing>,
    options: &mut Options,
) -> Result<Scope, Problem> {
    let (reads, touches) = (things("reads", options)?, things("touches", options)?);
    if touches.is_some() && !action.changes() {
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
    Ok(Scope { reads: reads.unwrap_or(by_default.0), touches: touches.unwrap_or(by_default.1), brings, expect })
}
