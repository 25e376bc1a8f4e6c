//! `param`.

use crate::calls::call::Call;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::values::{from_value, shown, text, to_value, type_word};
use crate::declaration::Declaration;
use crate::errors::problem::{Problem, Raise};
use crate::place::complete;
use crate::request::{Note, NoteKind, ParamDecl, ParamType};
use haflow_model::{Diagnostic, Value, nearest};
use rhai::Dynamic;

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("param", |call, [name]| param(call, [name, Dynamic::UNIT, Dynamic::UNIT]));
    natives.add("param", |call, [name, default]| param(call, [name, default, Dynamic::UNIT]));
    natives.add("param", param);
}

fn param(call: &Call<'_>, [name, default, options]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    let name = text(&name, "param")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(Problem::new(format!("{:?} can't be the name of a param", name.as_str()))
            .help("a name is made of letters, digits, `_` and `-`, so that -e NAME=VALUE can give it")
            .into());
    }
    let mut options = Options::new("param", options, &["help", "one_of", "type"], &[])?;
    let kind = kind(&mut options, &default)?;
    let default = if default.is_unit() {
        None
    } else {
        Some(to_value(&default).map_err(|why| Problem::new(format!("the default can't be that: {why}")))?)
    };
    let one_of = one_of(&mut options, kind)?;
    let help = options.text("help")?.map(Into::into);
    let given = call.declaration.given.get(&*name);
    let value = match (given, &default) {
        (Some(given), _) => parse(given, kind).ok_or_else(|| malformed(&name, given, kind))?,
        (None, Some(default)) => default.clone(),
        (None, None) if call.declaration.inventory.is_none() => placeholder(&name, kind, &one_of),
        (None, None) => return Err(missing(&name, kind, &one_of, help.as_deref()).into()),
    };
    if !one_of.is_empty() && !one_of.contains(&value) {
        return Err(not_one_of(&name, &value, &one_of, given.is_some()).into());
    }
    let result = from_value(&value);
    let place = call.trace().place;
    let decl = ParamDecl { name: name.into(), kind, default, help, one_of, value, given: given.is_some(), place };
    let mut state = call.declaration.state();
    match state.params.iter().find(|known| known.name == decl.name) {
        Some(known) if known.default == decl.default && known.kind == decl.kind => Ok(result),
        Some(known) => Err(Problem::new(format!("param `{}` is taken twice, with another default", decl.name))
            .also(known.place.clone(), "taken first here")
            .help("take it once, and use the value in both places")
            .into()),
        None => {
            state.params.push(decl);
            Ok(result)
        }
    }
}

/// The type that the option or the default says.
fn kind(options: &mut Options, default: &Dynamic) -> Result<ParamType, Problem> {
    let of_default = [
        (default.is_string(), ParamType::Text),
        (default.is_int(), ParamType::Int),
        (default.is_float(), ParamType::Float),
        (default.is_bool(), ParamType::Bool),
        (default.is_array(), ParamType::List),
        (default.is_map(), ParamType::Map),
    ];
    let of_default = of_default.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind);
    let Some(word) = options.text("type")? else {
        return match of_default {
            Some(kind) => Ok(kind),
            None if default.is_unit() => Ok(ParamType::Text),
            None => Err(Problem::new(format!("a param's default can't be {}", type_word(default)))),
        };
    };
    let words = ParamType::ALL.map(|(_, word)| word);
    let Some((kind, _)) = ParamType::ALL.into_iter().find(|(_, known)| *known == word) else {
        let problem = Problem::new(format!("`{word}` isn't a type of params")).option("type");
        return Err(match nearest(&word, words) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem.help(format!("the types are {}", words.join(", "))),
        });
    };
    if of_default.is_some_and(|of_default| of_default != kind) || of_default.is_none() && !default.is_unit() {
        let default = shown(default);
        return Err(Problem::new(format!("the default is {default}, and the type is {word}"))
            .help("leave `type` out: a param has the type of its default")
            .option("type"));
    }
    Ok(kind)
}

fn one_of(options: &mut Options, kind: ParamType) -> Result<Vec<Value>, Problem> {
    let Some(given) = options.any("one_of") else { return Ok(Vec::new()) };
    let Ok(Value::Array(values)) = to_value(&given) else {
        return Err(options.wrong("one_of", "a list of values", &given));
    };
    let fits = |value: &Value| match kind {
        ParamType::Text => value.is_string(),
        ParamType::Int => value.is_i64(),
        ParamType::Float => value.is_f64(),
        ParamType::Bool => value.is_boolean(),
        ParamType::List => value.is_array(),
        ParamType::Map => value.is_object(),
    };
    match values.iter().find(|value| !fits(value)) {
        Some(value) => {
            Err(Problem::new(format!("`one_of` has {value}, and the param is of type {}", kind.as_str()))
                .option("one_of"))
        }
        None if values.is_empty() => Err(Problem::new("`one_of` is empty: no value would do").option("one_of")),
        None => Ok(values),
    }
}

/// The value that a text of the command line stands for.
fn parse(given: &str, kind: ParamType) -> Option<Value> {
    let json = || serde_json::from_str::<Value>(given).ok();
    match kind {
        ParamType::Text => Some(Value::from(given)),
        ParamType::Int => given.trim().parse::<i64>().ok().map(Value::from),
        ParamType::Float => given.trim().parse::<f64>().ok().filter(|float| float.is_finite()).map(Value::from),
        ParamType::Bool => match given {
            "true" | "yes" => Some(Value::from(true)),
            "false" | "no" => Some(Value::from(false)),
            _ => None,
        },
        ParamType::List if given.trim_start().starts_with('[') => json().filter(Value::is_array),
        ParamType::List if given.is_empty() => Some(Value::Array(Vec::new())),
        ParamType::List => Some(given.split(',').map(|item| Value::from(item.trim())).collect()),
        ParamType::Map => json().filter(Value::is_object),
    }
}

fn malformed(name: &str, given: &str, kind: ParamType) -> Problem {
    let wanted = match kind {
        ParamType::Text => "a text",
        ParamType::Int => "a whole number",
        ParamType::Float => "a number",
        ParamType::Bool => "true or false",
        ParamType::List => "a list: JSON, or values with commas between them",
        ParamType::Map => "a map in JSON, such as {\"a\": 1}",
    };
    Problem::new(format!("param `{name}` was given as `{given}`, and wants {wanted}")).help(match second(given) {
        Some(other) => each_its_own(name, other),
        None => format!("give it as -e {name}=…"),
    })
}

/// How several params are given.
fn each_its_own(name: &str, other: &str) -> String {
    format!("each param has a `-e` of its own: -e {name}=… -e {other}=…")
}

/// The name of another param in a value, where somebody gave several in one `-e`, as Ansible takes them.
fn second(given: &str) -> Option<&str> {
    let is_name = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    given.split_whitespace().skip(1).filter_map(|word| word.split_once('=')).map(|(name, _)| name).find(is_name)
}

/// What is wrong where one value has another param of the playbook in it. Of what only reads like one, it is
/// warned.
pub(crate) fn several_in_one(declaration: &Declaration) -> Option<Diagnostic> {
    let mut state = declaration.state();
    let mut warned = Vec::new();
    for param in state.params.iter().filter(|param| param.given) {
        let Some(given) = declaration.given.get(&param.name) else { continue };
        let Some(other) = second(given) else { continue };
        let name = &param.name;
        let help = each_its_own(name, other);
        if state.params.iter().any(|known| known.name == other && !known.given) {
            let message = format!("the value of param `{name}` has another param in it, `{other}`");
            let help = format!("{help}; if ` {other}=` belongs to the value, give `{other}` too");
            return Some(complete(Diagnostic::new(message).at(param.place.clone(), "").help(help), &state.sources));
        }
        let text =
            format!("the value of param `{name}` has ` {other}=` in it; if that was to be another param: {help}");
        warned.push(Note { kind: NoteKind::Warn, place: param.place.clone(), text });
    }
    state.notes.extend(warned);
    None
}

fn missing(name: &str, kind: ParamType, one_of: &[Value], help: Option<&str>) -> Problem {
    let about = help.map(|help| format!(" ({help})")).unwrap_or_default();
    let values = if one_of.is_empty() { String::new() } else { format!(", one of {}", join(one_of)) };
    Problem::new(format!("param `{name}` must be given{about}"))
        .help(format!("give it as -e {name}=VALUE: a {}{values}", kind.as_str()))
}

fn not_one_of(name: &str, value: &Value, one_of: &[Value], given: bool) -> Problem {
    let shown = plain(value);
    let whose = if given { "was given as" } else { "has the default" };
    let problem = Problem::new(format!("param `{name}` {whose} `{shown}`, which isn't one of {}", join(one_of)));
    if let Some(other) = second(&shown).filter(|_| given) {
        return problem.help(each_its_own(name, other));
    }
    let texts: Vec<String> = one_of.iter().map(plain).collect();
    match nearest(&shown, texts.iter().map(String::as_str)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!("give it as -e {name}={}", texts.first().map_or("", String::as_str))),
    }
}

fn join(values: &[Value]) -> String {
    values.iter().map(plain).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value for a param that must be given, where the playbook is only looked at.
fn placeholder(name: &str, kind: ParamType, one_of: &[Value]) -> Value {
    match (one_of.first(), kind) {
        (Some(first), _) => first.clone(),
        (None, ParamType::Text) => Value::from(name),
        (None, ParamType::Int) => Value::from(1),
        (None, ParamType::Float) => Value::from(1.0),
        (None, ParamType::Bool) => Value::from(false),
        (None, ParamType::List) => Value::Array(Vec::new()),
        (None, ParamType::Map) => Value::Object(serde_json::Map::new()),
    }
}

/// What is wrong if a param was given that the playbook doesn't take.
pub(crate) fn unknown_param(declaration: &Declaration) -> Option<Diagnostic> {
    let state = declaration.state();
    let names: Vec<&str> = state.params.iter().map(|param| param.name.as_str()).collect();
    let unknown = declaration.given.keys().find(|given| !names.contains(&given.as_str()))?;
    let diagnostic = Diagnostic::new(format!("`{}` takes no param `{unknown}`", declaration.playbook));
    Some(match nearest(unknown, names.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => diagnostic.help("it takes none at all"),
        None => diagnostic.help(format!("its params are {}", names.join(", "))),
    })
}
