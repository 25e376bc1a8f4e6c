//! Values of scripts: handles of what only haflow knows, and values as the model has them.

use crate::errors::problem::Problem;
use crate::limits::MAX_VALUE_DEPTH;
use haflow_model::{Host, NodeId, OutputRef, SecretText, Value, When};
use rhai::{Dynamic, FnPtr, ImmutableString, Map};
use std::sync::Arc;

/// A host as scripts have it.
#[derive(Debug, Clone)]
pub(crate) struct HostHandle(pub(crate) Arc<Host>);

impl std::ops::Deref for HostHandle {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl HostHandle {
    /// The host that a function wants as its first argument.
    pub(crate) fn of(value: &Dynamic, function: &str) -> Result<Self, Problem> {
        value.clone().try_cast_result::<Self>().map_err(|value| {
            let problem = Problem::new(format!("`{function}` wants a host, not {}", shown(&value)));
            if value.as_immutable_string_ref().is_ok_and(|text| text.starts_with('/')) {
                problem.help(format!("the host comes first: {function}(node, …)"))
            } else if value.is_string() {
                problem.help(format!("host(\"{value}\") is the host of that name"))
            } else if value.is_array() {
                problem.help("for several hosts, write `for node in nodes { … }`")
            } else {
                problem.help("a host comes from `group`, `host` or `hosts`")
            }
        })
    }
}

/// A task as scripts have it.
#[derive(Debug, Clone)]
pub(crate) struct TaskHandle {
    pub(crate) node: NodeId,
    pub(crate) id: Arc<str>,
    /// Whether what it prints is an output.
    pub(crate) prints: bool,
}

/// An output as scripts have it.
#[derive(Debug, Clone)]
pub(crate) struct OutputHandle {
    pub(crate) output: OutputRef,
    pub(crate) id: Arc<str>,
}

/// A test on an output as scripts have it.
#[derive(Debug, Clone)]
pub(crate) struct TestHandle(pub(crate) When);

/// A secret, or a text with secrets in it, as scripts have it. Its value isn't there: nothing in the
/// interpreter can give it away.
#[derive(Debug, Clone)]
pub(crate) struct SecretHandle(pub(crate) SecretText);

/// The word for a value's type, as it stands in messages.
pub(crate) fn type_word(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "nothing: ()"
    } else if value.is_string() {
        "a text"
    } else if value.is_int() {
        "an int"
    } else if value.is_float() {
        "a float"
    } else if value.is_bool() {
        "a bool"
    } else if value.is_char() {
        "a character"
    } else if value.is_array() {
        "a list"
    } else if value.is_map() {
        "a map"
    } else if value.is::<HostHandle>() {
        "a host"
    } else if value.is::<OutputHandle>() {
        "an output"
    } else if value.is::<SecretHandle>() {
        "a secret"
    } else if value.is::<TaskHandle>() {
        "a task"
    } else if value.is::<TestHandle>() {
        "a test on an output"
    } else if value.is::<FnPtr>() {
        "a function"
    } else {
        "a value of another type"
    }
}

/// A short view of a value for messages.
pub(crate) fn shown(value: &Dynamic) -> String {
    let word = type_word(value);
    if value.is_unit() || value.is_array() || value.is_map() || !is_plain(value) {
        return word.to_owned();
    }
    let text = if value.is_string() { format!("\"{value}\"") } else { value.to_string() };
    if text.chars().count() > 60 || text.contains('\n') {
        word.to_owned()
    } else {
        format!("the {} {text}", word.trim_start_matches("an ").trim_start_matches("a "))
    }
}

fn is_plain(value: &Dynamic) -> bool {
    value.is_string() || value.is_int() || value.is_float() || value.is_bool() || value.is_char()
}

/// A value as the model has it, or why it has none.
pub(crate) fn to_value(value: &Dynamic) -> Result<Value, String> {
    convert(value, 0)
}

pub(crate) fn too_deep() -> String {
    format!("lists and maps can be at most {MAX_VALUE_DEPTH} deep in each other")
}

fn convert(value: &Dynamic, depth: usize) -> Result<Value, String> {
    if depth > MAX_VALUE_DEPTH {
        return Err(too_deep());
    }
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Value::from(text.as_str()));
    }
    if let Ok(int) = value.as_int() {
        return Ok(Value::from(int));
    }
    if let Ok(bool) = value.as_bool() {
        return Ok(Value::from(bool));
    }
    if let Ok(float) = value.as_float() {
        return serde_json::Number::from_f64(float)
            .map(Value::Number)
            .ok_or_else(|| format!("{float} isn't a number that JSON has"));
    }
    if let Ok(char) = value.as_char() {
        return Ok(Value::from(char.to_string()));
    }
    if let Ok(list) = value.as_array_ref() {
        return list.iter().map(|item| convert(item, depth + 1)).collect::<Result<_, _>>().map(Value::Array);
    }
    if let Ok(map) = value.as_map_ref() {
        return map
            .iter()
            .map(|(key, item)| Ok((key.to_string(), convert(item, depth + 1)?)))
            .collect::<Result<_, _>>()
            .map(Value::Object);
    }
    if value.is::<OutputHandle>() {
        return Err("an output is known only at run time and can't be part of a list or map".to_owned());
    }
    if value.is::<SecretHandle>() {
        return Err("a secret can't be part of a list or map; `render` and `template` put it into a text".to_owned());
    }
    if value.is::<HostHandle>() {
        return Err("a host isn't a value; use its `.name` or `.address`".to_owned());
    }
    Err(format!("{} isn't a value that a task can have", type_word(value)))
}

/// A value as scripts have it.
pub(crate) fn from_value(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(bool) => (*bool).into(),
        Value::Number(number) => match number.as_i64() {
            Some(int) => int.into(),
            None => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(list) => Dynamic::from_array(list.iter().map(from_value).collect()),
        Value::Object(map) => {
            let map: Map = map.iter().map(|(key, value)| (key.as_str().into(), from_value(value))).collect();
            Dynamic::from_map(map)
        }
    }
}

/// The hosts of a list.
pub(crate) fn hosts(value: &Dynamic, function: &str) -> Result<Vec<HostHandle>, Problem> {
    if let Some(host) = value.clone().try_cast::<HostHandle>() {
        return Ok(vec![host]);
    }
    let Ok(list) = value.as_array_ref() else {
        return Err(Problem::new(format!("`{function}` wants a list of hosts, not {}", shown(value)))
            .help("for example group(\"rabbit\")"));
    };
    list.iter().map(|item| HostHandle::of(item, function)).collect()
}

/// A name given as a text.
pub(crate) fn text(value: &Dynamic, function: &str) -> Result<ImmutableString, Problem> {
    match value.as_immutable_string_ref() {
        Ok(text) => Ok(text.clone()),
        Err(_) => Err(Problem::new(format!("`{function}` wants a name as a text, not {}", shown(value)))),
    }
}
