//! `barrier`, `serial`, `rolling` and `parallel`.

use crate::calls::call::Call;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::values::{self, HostHandle, TaskHandle, shown};
use crate::errors::problem::{Problem, Raise};
use crate::label::label;
use haflow_model::HostName;
use rhai::{Dynamic, EvalAltResult, FnPtr};

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("barrier", |call, [hosts]| barrier(call, &hosts, "barrier"));
    natives.add("barrier", |call, [hosts, name]| {
        let name = values::text(&name, "barrier")?;
        barrier(call, &hosts, &name)
    });
    natives.add("serial", |call, [hosts, body]| batches(call, &hosts, 1, "batch", &body));
    natives.add("rolling", |call, [hosts, options, body]| {
        let mut options = Options::new("rolling", options, &["batch", "name"], &[])?;
        let batch = options.count("batch", 1)?.unwrap_or(1) as usize;
        let name = options.text("name")?;
        batches(call, &hosts, batch, name.as_deref().unwrap_or("batch"), &body)
    });
    natives.add("parallel", parallel);
}

fn barrier(call: &Call<'_>, hosts: &Dynamic, name: &str) -> Result<Dynamic, Raise> {
    let hosts = values::hosts(hosts, "barrier")?;
    let names: Vec<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
    let place = call.trace().place;
    let name = label(name);
    let node = call.declaration.state().draft.barrier(&name, &names, place);
    Ok(Dynamic::from(TaskHandle { node, id: name.into(), prints: false }))
}

/// Calls `body` for each host; what a batch declares comes after all that the batch before declared.
fn batches(call: &Call<'_>, hosts: &Dynamic, size: usize, name: &str, body: &Dynamic) -> Result<Dynamic, Raise> {
    let hosts = values::hosts(hosts, call.name)?;
    let body = closure(call, body, "|node| …")?;
    let place = call.trace().place;
    let outer = call.declaration.state().draft.set_floor(None);
    call.declaration.state().draft.set_floor(outer);
    let mut result = Ok(());
    for (number, batch) in hosts.chunks(size).enumerate() {
        let first = call.declaration.state().draft.next_id();
        result = batch.iter().try_for_each(|host: &HostHandle| run(call, &body, vec![Dynamic::from(host.clone())]));
        if result.is_err() {
            break;
        }
        let mut state = call.declaration.state();
        let last = (number + 1) * size >= hosts.len();
        // A batch that declared nothing has nothing to wait for.
        if !last && state.draft.next_id() != first {
            let end = state.draft.batch(first, format!("{} {}", label(name), number + 1), place.clone());
            state.draft.set_floor(Some(end));
        }
    }
    call.declaration.state().draft.set_floor(outer);
    result.map(|()| Dynamic::UNIT)
}

fn parallel(call: &Call<'_>, [branches]: [Dynamic; 1]) -> Result<Dynamic, Raise> {
    let Ok(branches) = branches.as_array_ref() else {
        return Err(Problem::new(format!("`parallel` wants a list of functions, not {}", shown(&branches)))
            .help("for example parallel([|| …, || …])")
            .into());
    };
    let branches = branches.iter().map(|branch| closure(call, branch, "|| …")).collect::<Result<Vec<_>, _>>()?;
    call.declaration.state().draft.open_parallel();
    for branch in &branches {
        run(call, branch, Vec::new())?;
        call.declaration.state().draft.end_branch();
    }
    call.declaration.state().draft.close_parallel();
    Ok(Dynamic::UNIT)
}

fn closure(call: &Call<'_>, value: &Dynamic, example: &str) -> Result<FnPtr, Problem> {
    value.clone().try_cast_result::<FnPtr>().map_err(|value| {
        Problem::new(format!("`{}` wants a function, not {}", call.name, shown(&value)))
            .help(format!("a function is written as {example}"))
    })
}

fn run(call: &Call<'_>, body: &FnPtr, args: Vec<Dynamic>) -> Result<(), Raise> {
    let count = args.len();
    match body.call_raw(call.context, None, args) {
        Ok(_) => Ok(()),
        Err(error) => Err(match *error {
            EvalAltResult::ErrorFunctionNotFound(ref signature, _)
                if signature.starts_with(body.fn_name()) || body.is_anonymous() && signature.starts_with("anon$") =>
            {
                let arguments = match count {
                    0 => "no arguments".to_owned(),
                    1 => "one argument, the host".to_owned(),
                    count => format!("{count} arguments"),
                };
                Problem::new(format!("`{}` calls its function with {arguments}", call.name))
                    .help("write it as |node| { … } in `serial` and `rolling`, as || { … } in `parallel`")
                    .into()
            }
            _ => Raise::Script(error),
        }),
    }
}
