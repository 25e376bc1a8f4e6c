//! `group`, `host`, `hosts`, `rest`, and what scripts see of a host.

use crate::calls::call::Call;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::values::{HostHandle, from_value, shown, text};
use crate::declaration::Declaration;
use crate::errors::problem::{Problem, Raise};
use crate::natives::facts;
use crate::request::GroupNeed;
use haflow_model::{Host, Inventory, nearest};
use rhai::{Dynamic, ImmutableString, Map};
use std::sync::Arc;

/// How many hosts a lab boots for a group that doesn't say.
const LAB: usize = 3;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.engine.register_type_with_name::<HostHandle>("Host");
    natives.add("group", group);
    natives.add("group", |call, [name]| group(call, [name, Dynamic::UNIT]));
    natives.add("host", host);
    natives.add("hosts", |call, []| hosts(call));
    natives.add("rest", rest);
    natives
        .engine
        .register_get("name", |host: &mut HostHandle| ImmutableString::from(host.name.as_str()))
        .register_get("address", |host: &mut HostHandle| ImmutableString::from(host.destination()))
        .register_get("groups", |host: &mut HostHandle| {
            host.groups.iter().map(|group| Dynamic::from(group.clone())).collect::<rhai::Array>()
        })
        .register_get("vars", |host: &mut HostHandle| {
            host.vars.iter().map(|(key, value)| (key.as_str().into(), from_value(value))).collect::<Map>()
        })
        .register_fn("to_string", |host: &mut HostHandle| ImmutableString::from(host.name.as_str()))
        .register_fn("to_debug", |host: &mut HostHandle| format!("host {}", host.name))
        .register_fn("==", |a: HostHandle, b: HostHandle| a.name == b.name)
        .register_fn("!=", |a: HostHandle, b: HostHandle| a.name != b.name);
    natives.getter::<HostHandle>("facts", |call, host| facts::standard(call, &host.cast::<HostHandle>()));
}

fn group(call: &Call<'_>, [name, options]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let name = text(&name, "group")?;
    let mut options = Options::new("group", options, &["at_least", "lab", "help"], &[])?;
    let at_least = options.count("at_least", 0)?.unwrap_or(1) as usize;
    let need = GroupNeed {
        name: name.to_string(),
        at_least,
        lab: options.count("lab", 0)?.map_or_else(|| at_least.max(LAB), |lab| lab as usize),
        help: options.text("help")?.map(Into::into),
    };
    if need.lab < at_least {
        return Err(Problem::new("`lab` is fewer hosts than `at_least`").option("lab").into());
    }
    let Some(inventory) = &call.declaration.inventory else {
        let lab = note_need(call.declaration, need);
        return Ok(hand_out(call.declaration, imagined(&name, lab)));
    };
    let members = members(inventory, &name, at_least)?;
    note_need(call.declaration, need);
    let one_of = |count: usize| if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") };
    if members.is_empty() && at_least > 0 {
        return Err(Problem::new(format!("group `{name}` has no hosts"))
            .help("add hosts to it in the inventory; `#{ at_least: 0 }` lets it be empty")
            .into());
    }
    if members.len() < at_least {
        let has = one_of(members.len());
        return Err(Problem::new(format!("group `{name}` has {has}, and the playbook needs at least {at_least}"))
            .help("add hosts to it in the inventory")
            .into());
    }
    Ok(hand_out(call.declaration, members))
}

/// A group that may be empty may be missing as well, unless the inventory has one of almost that name.
fn members(inventory: &Inventory, name: &str, at_least: usize) -> Result<Vec<Host>, Problem> {
    if let Some(members) = inventory.group(name) {
        return Ok(members.into_iter().cloned().collect());
    }
    let near = nearest(name, inventory.groups.keys().map(String::as_str));
    if at_least == 0 && near.is_none() {
        return Ok(Vec::new());
    }
    let problem = Problem::new(format!("the inventory has no group `{name}`"));
    Err(match near {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if inventory.groups.is_empty() => problem.help("it has no groups at all; add this one"),
        None => {
            let names: Vec<&str> = inventory.groups.keys().map(String::as_str).collect();
            problem.help(format!("its groups are {}; add this one", names.join(", ")))
        }
    })
}

fn host(call: &Call<'_>, [name]: [Dynamic; 1]) -> Result<Dynamic, Raise> {
    let name = text(&name, "host")?;
    let host = match &call.declaration.inventory {
        None => {
            let state = call.declaration.state();
            let known = state.hosts.iter().find(|host| host.name.as_str() == &*name);
            known.cloned().unwrap_or_else(|| Host::named(&*name))
        }
        Some(inventory) => inventory.host(&name).cloned().ok_or_else(|| {
            let problem = Problem::new(format!("the inventory has no host `{name}`"));
            match nearest(&name, inventory.hosts.iter().map(|host| host.name.as_str())) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("add it to the inventory"),
            }
        })?,
    };
    let mut state = call.declaration.state();
    if !state.named.contains(&host.name) {
        state.named.push(host.name.clone());
    }
    drop(state);
    let mut handed = hand_out(call.declaration, vec![host]).cast::<rhai::Array>();
    Ok(handed.pop().unwrap_or_default())
}

fn hosts(call: &Call<'_>) -> Result<Dynamic, Raise> {
    let declaration = call.declaration;
    let hosts = if let Some(inventory) = &declaration.inventory {
        if inventory.hosts.is_empty() {
            return Err(Problem::new("the inventory has no hosts").help("add hosts to it").into());
        }
        inventory.hosts.clone()
    } else {
        let so_far = declaration.state().hosts.clone();
        if so_far.is_empty() {
            note_need(declaration, GroupNeed { name: "all".to_owned(), at_least: 1, lab: LAB, help: None });
            imagined("host", LAB)
        } else {
            so_far
        }
    };
    Ok(hand_out(declaration, hosts))
}

/// Makes up hosts that are called after their group.
fn imagined(name: &str, count: usize) -> Vec<Host> {
    let host = |number| Host { groups: vec![name.to_owned()], ..Host::named(format!("{name}{number}")) };
    (1..=count).map(host).collect()
}

/// Notes what the playbook needs of a group. Returns how many hosts a lab boots for it.
fn note_need(declaration: &Declaration, need: GroupNeed) -> usize {
    let mut state = declaration.state();
    if let Some(known) = state.groups.iter_mut().find(|known| known.name == need.name) {
        known.at_least = known.at_least.max(need.at_least);
        known.lab = known.lab.max(need.lab);
        known.help = known.help.take().or(need.help);
        return known.lab;
    }
    let lab = need.lab;
    state.groups.push(need);
    lab
}

/// Gives hosts to the script, and remembers that it has them.
fn hand_out(declaration: &Declaration, hosts: Vec<Host>) -> Dynamic {
    let mut state = declaration.state();
    let handles = hosts
        .into_iter()
        .map(|host| {
            if state.handed.insert(host.name.clone()) {
                state.hosts.push(host.clone());
            }
            Dynamic::from(HostHandle(Arc::new(host)))
        })
        .collect();
    Dynamic::from_array(handles)
}

/// A list without its first element.
fn rest(_: &Call<'_>, [list]: [Dynamic; 1]) -> Result<Dynamic, Raise> {
    match list.try_cast_result::<rhai::Array>() {
        Ok(mut list) => {
            drop(list.drain(..list.len().min(1)));
            Ok(list.into())
        }
        Err(other) => Err(Problem::new(format!("`rest` wants a list, not {}", shown(&other))).into()),
    }
}
