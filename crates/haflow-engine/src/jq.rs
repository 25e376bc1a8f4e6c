//! jq filters, run on the controller: they make a state of what a probe printed, so that a host needs no jq.

use haflow_model::Value;
use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Native, Vars, unwrap_valr};
use jaq_json::Val;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

type Filter = jaq_core::compile::Filter<Native<JustLut<Val>>>;
/// Compiled filters by text and names of variables.
type Cache = Mutex<HashMap<(String, Vec<String>), Arc<Filter>>>;

/// What a filter must not reach: the controller's environment, its clock, its terminal, its process.
const FORBIDDEN: [&str; 10] = [
    "env",
    "now",
    "halt",
    "halt_error",
    "stderr",
    "stderr_empty",
    "debug",
    "debug_empty",
    "localtime",
    "strflocaltime",
];

/// Why a filter made nothing of its input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It says so itself, by `error("…")`.
    Raised(String),
    /// It is wrong, or not for this input.
    Broken(String),
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Broken(message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raised(message) => f.write_str(message),
            Self::Broken(message) => write!(f, "the jq filter {message}"),
        }
    }
}

/// Runs `filter` on `input` and returns the first value that it yields, `null` if it yields none.
pub(crate) fn run(filter: &str, variables: &[(String, Value)], input: Value) -> Result<Value, Error> {
    let compiled = compile(filter, variables.iter().map(|(name, _)| name))?;
    let values = variables.iter().map(|(_, value)| to_val(value.clone())).collect::<Result<Vec<_>, _>>()?;
    let context = Ctx::<JustLut<Val>>::new(&compiled.lut, Vars::new(values));
    match compiled.id.run((context, to_val(input)?)).map(unwrap_valr).next() {
        None => Ok(Value::Null),
        Some(Ok(value)) => {
            serde_json::from_str(&value.to_string()).map_err(|_| format!("yields {value}, which isn't JSON").into())
        }
        Some(Err(error)) => {
            let text = error.to_string();
            // What was raised is shown as JSON; what jaq says itself is plain text.
            Err(serde_json::from_str(&text).map_or(Error::Broken(format!("fails: {text}")), Error::Raised))
        }
    }
}

fn to_val(value: Value) -> Result<Val, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn compile<'a>(filter: &str, names: impl Iterator<Item = &'a String>) -> Result<Arc<Filter>, String> {
    static CACHE: LazyLock<Cache> = LazyLock::new(Cache::default);
    let key = (filter.to_owned(), names.map(|name| format!("${name}")).collect::<Vec<_>>());
    if let Some(compiled) = CACHE.lock().expect("no filter panics").get(&key) {
        return Ok(Arc::clone(compiled));
    }
    let allowed = |name: &str| !FORBIDDEN.contains(&name);
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).filter(|def| allowed(def.name));
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs()).filter(|fun| allowed(fun.0));
    let arena = Arena::default();
    let modules = Loader::new(defs)
        .load(&arena, File { code: filter, path: () })
        .map_err(|errors| format!("can't be parsed: {:?}", errors.first().map(|(_, error)| error)))?;
    let compiled = Compiler::default()
        .with_funs(funs)
        .with_global_vars(key.1.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| {
            let undefined =
                errors.iter().flat_map(|(_, errors)| errors).map(|(name, what)| format!("{} `{name}`", what.as_str()));
            format!("names what isn't there: {}", undefined.collect::<Vec<_>>().join(", "))
        })?;
    let compiled = Arc::new(compiled);
    CACHE.lock().expect("no filter panics").insert(key, Arc::clone(&compiled));
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_filter_sees_its_input_and_variables() {
        let variables = [("name".to_owned(), json!("ha-all"))];
        let input = json!([{"name": "other"}, {"name": "ha-all", "definition": "{\"ha-mode\":\"all\"}"}]);
        let filter = r".[] | select(.name == $name) | .definition | fromjson";
        assert_eq!(run(filter, &variables, input), Ok(json!({"ha-mode": "all"})));
        assert_eq!(run(".[] | select(false)", &[], json!([1])), Ok(Value::Null));
    }

    #[test]
    fn a_filter_cannot_reach_the_controller() {
        for filter in ["env", "now", "halt", "\"x\" | stderr", "$ENV", "input", "debug"] {
            let refused = run(filter, &[], Value::Null).unwrap_err().to_string();
            assert!(refused.contains("names what isn't there"), "{filter}: {refused}");
        }
    }

    #[test]
    fn errors_say_what() {
        assert!(run(".a", &[], json!("text")).unwrap_err().to_string().contains("cannot index"));
        assert!(run("{", &[], Value::Null).unwrap_err().to_string().contains("can't be parsed"));
        let raised = Err(Error::Raised("it holds \"x\"".into()));
        assert_eq!(run(r#"error("it holds \"x\"")"#, &[], Value::Null), raised);
    }
}
