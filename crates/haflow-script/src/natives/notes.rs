//! `fail`, `warn`, `print`, `json` and `options`.

use crate::calls::call::Call;
use crate::calls::options::{as_map, truth, unknown_option};
use crate::calls::register::Natives;
use crate::calls::task_options::{BY_ITSELF, COMMON};
use crate::calls::values::{shown, text, to_value, type_word};
use crate::declaration::state::Lent;
use crate::errors::problem::{Problem, Raise};
use crate::request::{Note, NoteKind};
use rhai::{Array, Dynamic, ImmutableString, Map};
use std::any::TypeId;

/// The options that a function of a module hands on to its task.
const OF_ALL: [&str; 12] = {
    let mut all = ["name"; 12];
    let mut at = 0;
    while at < COMMON.len() {
        all[at + 1] = COMMON[at];
        at += 1;
    }
    all
};

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("fail", |call, [message]| Err(Problem::new(printed(call, message)?).into()));
    natives.add("warn", |call, [message]| {
        note(call, NoteKind::Warn, printed(call, message)?);
        Ok(Dynamic::UNIT)
    });
    natives.add("json", |_, [value]| {
        let value =
            to_value(&value).map_err(|why| Problem::new(format!("`json` can't write that: {why}")).help(BY_ITSELF))?;
        Ok(value.to_string().into())
    });
    natives.add("join", |call, [list, separator]| {
        let separator = text(&separator, "join")?;
        let Ok(list) = list.into_array() else {
            return Err(Problem::new("`join` wants a list").help("it is called as list.join(\", \")").into());
        };
        let texts: Result<Vec<String>, Raise> = list.into_iter().map(|item| printed(call, item)).collect();
        Ok(texts?.join(&separator).into())
    });
    natives.add("options", options);
    // The interpreter has a `print` and a `debug` of its own for each of these types, which would come first.
    let types = [
        TypeId::of::<Dynamic>(),
        TypeId::of::<ImmutableString>(),
        TypeId::of::<i64>(),
        TypeId::of::<f64>(),
        TypeId::of::<bool>(),
        TypeId::of::<char>(),
        TypeId::of::<()>(),
        TypeId::of::<Array>(),
        TypeId::of::<Map>(),
    ];
    for name in ["print", "debug"] {
        for of in types {
            natives.raw(name, [of], |call, [value]| {
                note(call, NoteKind::Print, printed(call, value)?);
                Ok("".into())
            });
        }
    }
}

fn printed(call: &Call<'_>, value: Dynamic) -> Result<String, Raise> {
    if value.is_string() || value.is_unit() {
        return Ok(value.to_string());
    }
    Ok(call.context.call_native_fn::<ImmutableString>("to_string", (value,))?.to_string())
}

fn note(call: &Call<'_>, kind: NoteKind, text: String) {
    let place = call.trace().place;
    let mut state = call.declaration.state();
    // A call into the stdlib that has got a made-up value may speak of that as if it were known.
    if !state.lent.iter().any(Lent::is_made_up) {
        state.notes.push(Note { kind, place, text });
    }
}

/// Checks the options that a function of a playbook or module was given, and fills in its defaults.
fn options(call: &Call<'_>, [function, given, defaults]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    let function = text(&function, "options")?;
    let mut own = as_map("options", defaults)?;
    let mut common = Map::new();
    for (key, value) in as_map(&function, given)? {
        if let Some(default) = own.get_mut(&key) {
            *default = fitting(&function, &key, default, value)?;
        } else if OF_ALL.contains(&key.as_str()) {
            common.insert(key, value);
        } else {
            let keys: Vec<&str> = own.keys().map(AsRef::as_ref).collect();
            return Err(unknown_option(&function, &key, keys, &OF_ALL).into());
        }
    }
    let mut result = Map::new();
    result.insert("own".into(), own.into());
    result.insert("common".into(), common.into());
    let _ = call;
    Ok(result.into())
}

/// An option's value, if it is of the type that the default is of.
fn fitting(function: &str, key: &str, default: &Dynamic, value: Dynamic) -> Result<Dynamic, Problem> {
    if value.is_unit() || default.is_unit() || type_word(default) == type_word(&value) {
        return Ok(value);
    }
    if default.is_array() && value.is_string() {
        return Ok(Dynamic::from_array(vec![value]));
    }
    if default.is_float()
        && let Ok(int) = value.as_int()
        && let Ok(small) = i32::try_from(int)
    {
        return Ok(f64::from(small).into());
    }
    let (wanted, given) = (type_word(default), shown(&value));
    let help = if wanted == "a bool" {
        match truth(&value) {
            Some(meant) => format!("write it as `{key}: {meant}`, without quotes"),
            None => format!("write it as `{key}: true` or `{key}: false`, without quotes"),
        }
    } else {
        format!("`{key}` takes {wanted}")
    };
    Err(Problem::new(format!("option `{key}` of `{function}` wants {wanted}, not {given}")).help(help).option(key))
}
