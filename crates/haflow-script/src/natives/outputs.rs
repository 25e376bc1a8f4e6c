//! Tests on outputs for `when`, `after`, and what can't be done with an output.

use crate::calls::call::Call;
use crate::calls::register::Natives;
use crate::calls::task_options::{node, nodes};
use crate::calls::values::{OutputHandle, TaskHandle, TestHandle, shown, to_value};
use crate::errors::problem::{Problem, Raise};
use haflow_model::{EdgeKind, OutputRef, Test, When};
use rhai::{Dynamic, Engine};

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.engine.register_type_with_name::<TaskHandle>("Task");
    natives.engine.register_type_with_name::<OutputHandle>("Output");
    natives.engine.register_type_with_name::<TestHandle>("Test");
    natives.add("after", after);
    natives.add("equals", |call, [output, value]| test(call, &output, Test::Equals(comparable(&value, "equals")?)));
    natives.method::<OutputHandle, 2>("contains", |call, [output, value]| {
        test(call, &output, Test::Contains(comparable(&value, "contains")?))
    });
    natives.add("matches", |call, [output, pattern]| {
        let Ok(pattern) = pattern.into_immutable_string() else {
            return Err(Problem::new("`matches` wants a regular expression as a text").into());
        };
        check_regex(call, &pattern)?;
        test(call, &output, Test::Matches(pattern.to_string()))
    });
    natives.method::<OutputHandle, 1>("is_empty", |call, [output]| test(call, &output, Test::IsEmpty));
    natives.add("not", |_, [value]| {
        if let Ok(value) = value.as_bool() {
            return Ok((!value).into());
        }
        match value.clone().try_cast::<TestHandle>() {
            Some(TestHandle(when)) => Ok(Dynamic::from(TestHandle(When { negate: !when.negate, ..when }))),
            None => Err(Problem::new(format!("`not` wants a test on an output, not {}", shown(&value)))
                .help("for example `when: not(status.contains(\"running\"))`")
                .into()),
        }
    });
    getters(natives.engine);
    unknown_now(natives);
}

fn getters(engine: &mut Engine) {
    engine
        .register_get("id", |task: &mut TaskHandle| task.id.to_string())
        .register_get("id", |output: &mut OutputHandle| output.id.to_string())
        .register_get("task", |output: &mut OutputHandle| TaskHandle {
            node: output.output.task,
            id: output.id.clone(),
            prints: true,
        })
        .register_fn("to_string", |task: &mut TaskHandle| task.id.to_string())
        .register_fn("to_debug", |task: &mut TaskHandle| task.id.to_string())
        .register_fn("to_debug", |output: &mut OutputHandle| format!("output of {}", output.id))
        .register_fn("==", |a: TaskHandle, b: TaskHandle| a.node == b.node)
        .register_fn("!=", |a: TaskHandle, b: TaskHandle| a.node != b.node);
}

/// What can't be done with an output because nobody knows it yet.
fn unknown_now(natives: &mut Natives<'_>) {
    natives.getter::<TaskHandle>("output", |_, task| {
        let task = task.cast::<TaskHandle>();
        if task.prints {
            let output = OutputRef { task: task.node, secret: false };
            return Ok(Dynamic::from(OutputHandle { output, id: task.id }));
        }
        Err(Problem::new(format!("`{}` has no output", task.id))
            .help("only `read` and `act` have one: declare a `read` after it")
            .into())
    });
    // The interpreter swallows an error of to_string; the declaration remembers it, and the script ends at
    // its next step.
    natives.method::<OutputHandle, 1>("to_string", |_, [output]| Err(only_later(&output, "put into a text").into()));
    for operator in ["==", "!=", "<", ">", "<=", ">=", "+", "-"] {
        natives.operator::<OutputHandle>(operator, |_, [left, right]| {
            let output = if left.is::<OutputHandle>() { left } else { right };
            Err(only_later(&output, "compared or computed with here").into())
        });
    }
}

fn only_later(output: &Dynamic, what: &str) -> Problem {
    let id = output.read_lock::<OutputHandle>().map(|output| output.id.clone()).unwrap_or_default();
    Problem::new(format!("the output of `{id}` is known only at run time and can't be {what}")).help(
        "pass it to a task as one of its `params`, as `want` or as `content`, or test it by `when: output.equals(…)`",
    )
}

fn comparable(value: &Dynamic, name: &str) -> Result<haflow_model::Value, Raise> {
    to_value(value).map_err(|why| Problem::new(format!("`{name}` can't compare with that: {why}")).into())
}

fn test(call: &Call<'_>, output: &Dynamic, test: Test) -> Result<Dynamic, Raise> {
    match output.read_lock::<OutputHandle>() {
        Some(output) => Ok(Dynamic::from(TestHandle(When { output: output.output, test, negate: false }))),
        None => Err(Problem::new(format!("`{}` is a test on an output, not on {}", call.name, shown(output)))
            .help("values that are known now are compared by `==` and chosen by `if`")
            .into()),
    }
}

pub(crate) fn check_regex(call: &Call<'_>, pattern: &str) -> Result<(), Problem> {
    let key = format!("regex {pattern}");
    if call.declaration.state().checked.contains(&key) {
        return Ok(());
    }
    match regex::Regex::new(pattern) {
        Ok(_) => {
            call.declaration.state().checked.insert(key);
            Ok(())
        }
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(Problem::new(format!("`{pattern}` isn't a regular expression: {why}"))
                .help("the syntax is that of Rust's crate regex: no lookaround, no backreferences"))
        }
    }
}

/// `task.after(other)`.
fn after(call: &Call<'_>, [task, other]: [Dynamic; 2]) -> Result<Dynamic, Raise> {
    let Some(to) = node(&task) else {
        return Err(Problem::new(format!("`after` is called on a task, not on {}", shown(&task))).into());
    };
    let place = call.trace().place;
    for from in nodes(&other, "after")? {
        if from == to {
            return Err(Problem::new("a task can't come after itself")
                .help("name the task that it shall come after, or leave `after` out")
                .into());
        }
        call.declaration.state().draft.edge(from, to, EdgeKind::Order, place.clone());
    }
    Ok(task)
}
