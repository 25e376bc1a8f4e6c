//! jq filters: they make a state of what a probe printed, or new content of old, so that a host needs no jq.
//!
//! A filter may come from anybody's playbook, and its input from any host: it may run for ever, ask for all
//! memory or nest without end. [`crate::filters`] sees to it that nothing but the filter ends by that.

use haflow_model::Value;
use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::{Filter as Named, run as native, v};
use jaq_core::{Compiler, Ctx, Error as Raised, Exn, Native, RunPtr, Vars, unwrap_valr};
use jaq_json::Val;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex};

type Data = JustLut<Val>;
type Filter = jaq_core::compile::Filter<Native<Data>>;
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

/// The depth of the deepest value that a filter may yield: what reads it again takes no more.
const DEEPEST: usize = 127;

/// Why a filter made nothing of its input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// It says so itself, by `error("…")`.
    Raised(String),
    /// It is wrong, or not for this input.
    Broken(String),
    /// The run was interrupted twice.
    Killed,
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
            Self::Killed => f.write_str("the jq filter was ended, because the run was interrupted"),
        }
    }
}

/// What a filter gets.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// A value.
    Value(Value),
    /// A text, which needn't be UTF-8.
    Text(Vec<u8>),
}

/// What a filter yields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Yield {
    /// A text, which needn't be UTF-8 where the input wasn't.
    Text(Vec<u8>),
    /// Anything else.
    Value(Value),
}

impl Yield {
    /// As a value, in which texts are UTF-8.
    pub(crate) fn value(self) -> Result<Value, Error> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Text(text) => {
                Ok(String::from_utf8(text).map_err(|_| Error::Broken("yields a text that isn't UTF-8".into()))?.into())
            }
        }
    }
}

/// Runs `filter` on `input` and returns the first value that it yields, `null` if it yields none.
pub(crate) fn run(filter: &str, variables: Vec<(String, Value)>, input: Input) -> Result<Yield, Error> {
    let compiled = compile(filter, variables.iter().map(|(name, _)| name))?;
    let values = variables.into_iter().map(|(_, value)| to_val(value)).collect::<Result<Vec<_>, _>>()?;
    let context = Ctx::<Data>::new(&compiled.lut, Vars::new(values));
    let input = match input {
        Input::Value(value) => to_val(value)?,
        Input::Text(text) => Val::utf8_str(text),
    };
    match compiled.id.run((context, input)).map(unwrap_valr).next() {
        None => Ok(Yield::Value(Value::Null)),
        Some(Ok(Val::TStr(text))) => Ok(Yield::Text(text.to_vec())),
        Some(Ok(value)) => Ok(Yield::Value(to_value(&value, 0)?)),
        Some(Err(error)) => Err(told(&error)),
    }
}

/// What was raised is shown as JSON, and a text is the filter's own words; what jq says itself is plain text.
fn told(error: &Raised<Val>) -> Error {
    let text = error.to_string();
    match serde_json::from_str::<String>(&text) {
        Ok(own) => Error::Raised(cut(&own)),
        Err(_) => Error::Broken(format!("fails: {}", cut(&text))),
    }
}

fn cut(text: &str) -> String {
    crate::cut::beginning(text, crate::cut::MOST_SAID)
}

fn to_val(value: Value) -> Result<Val, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// The same the other way round. Not by way of its text: that would need as much stack as the value is deep.
fn to_value(value: &Val, depth: usize) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err(format!("yields a value that nests more than {DEEPEST} deep"));
    }
    let text = |text: &[u8]| String::from_utf8(text.to_vec()).map_err(|_| "yields a text that isn't UTF-8".to_owned());
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(is) => Value::Bool(*is),
        Val::Num(number) => {
            let text = number.to_string();
            serde_json::from_str(&text).map_err(|_| format!("yields {}, which isn't JSON", cut(&text)))?
        }
        Val::TStr(bytes) => Value::String(text(bytes)?),
        Val::BStr(_) => return Err("yields bytes, which aren't JSON".into()),
        Val::Arr(items) => Value::Array(items.iter().map(|item| to_value(item, depth + 1)).collect::<Result<_, _>>()?),
        Val::Obj(fields) => {
            let field = |(key, value): (&Val, &Val)| match key {
                Val::TStr(key) => Ok((text(key)?, to_value(value, depth + 1)?)),
                _ => Err("yields a map with a key that isn't a text".to_owned()),
            };
            Value::Object(fields.iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

/// What is ours instead of jaq's.
const OWN: &str = "fromjson";

/// `fromjson` with a limit to how deep a text may nest: jaq's own knows none, and what a host prints would
/// end the program.
fn from_json() -> Named<RunPtr<Data>> {
    (OWN, v(0), |cv| {
        let text = match cv.1.try_as_utf8_bytes_owned() {
            Ok(text) => text,
            Err(error) => return Box::new(std::iter::once(Err(Exn::from(error)))),
        };
        let values: Vec<_> = serde_json::Deserializer::from_slice(&text).into_iter::<Val>().collect();
        Box::new(values.into_iter().map(move |value| {
            value.map_err(|error| {
                let text = crate::cut::beginning(&String::from_utf8_lossy(&text), 200);
                Exn::from(Raised::str(format_args!("cannot parse {text:?} as JSON: {error}")))
            })
        }))
    })
}

fn compile<'a>(filter: &str, names: impl Iterator<Item = &'a String>) -> Result<Arc<Filter>, String> {
    static CACHE: LazyLock<Cache> = LazyLock::new(Cache::default);
    let cache = || CACHE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let key = (filter.to_owned(), names.map(|name| format!("${name}")).collect::<Vec<_>>());
    if let Some(compiled) = cache().get(&key) {
        return Ok(Arc::clone(compiled));
    }
    let allowed = |name: &str| !FORBIDDEN.contains(&name);
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).filter(|def| allowed(def.name));
    let own = native::<Data>(from_json());
    let json = jaq_json::funs().filter(|fun| fun.0 != OWN);
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(json).filter(|fun| allowed(fun.0)).chain([own]);
    let arena = Arena::default();
    let modules = Loader::new(defs)
        .load(&arena, File { code: filter, path: () })
        .map_err(|errors| format!("can't be parsed: {:?}", errors.first().map(|(_, error)| error)))?;
    load::import(&modules, |_| Err(String::new())).map_err(|_| "imports or includes what isn't there".to_owned())?;
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
    cache().insert(key, Arc::clone(&compiled));
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(filter: &str, variables: &[(&str, Value)], input: Value) -> Result<Value, Error> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        run(filter, variables, Input::Value(input))?.value()
    }

    #[test]
    fn a_filter_sees_its_input_and_variables() {
        let input = json!([{"name": "other"}, {"name": "ha-all", "definition": "{\"ha-mode\":\"all\"}"}]);
        let filter = r".[] | select(.name == $name) | .definition | fromjson";
        assert_eq!(of(filter, &[("name", json!("ha-all"))], input), Ok(json!({"ha-mode": "all"})));
        assert_eq!(of(".[] | select(false)", &[], json!([1])), Ok(Value::Null));
        let all = json!({"a": [1, 2.5, "x", null, true], "b": 12_345_678_901_234_567_890_u64});
        assert_eq!(of(".", &[], all.clone()), Ok(all));
    }

    #[test]
    fn a_text_is_bytes() {
        let yielded = run(r#"split("\n") | join(";")"#, Vec::new(), Input::Text(b"M\xfcller\nx".to_vec()));
        assert_eq!(yielded, Ok(Yield::Text(b"M\xfcller;x".to_vec())));
        assert!(yielded.unwrap().value().unwrap_err().to_string().contains("isn't UTF-8"));
    }

    #[test]
    fn a_filter_cannot_reach_the_controller() {
        for filter in ["env", "now", "halt", "\"x\" | stderr", "$ENV", "input", "debug"] {
            let refused = of(filter, &[], Value::Null).unwrap_err().to_string();
            assert!(refused.contains("names what isn't there"), "{filter}: {refused}");
        }
    }

    /// A broker's definition, as a host may print it.
    #[test]
    fn what_a_host_prints_is_read_only_so_deep() {
        let deep = |depth: usize| json!("[".repeat(depth) + &"]".repeat(depth));
        assert!(of("fromjson", &[], deep(100)).is_ok());
        for depth in [200, 65_536, 1_000_000] {
            let refused = of("fromjson", &[], deep(depth)).unwrap_err().to_string();
            assert!(refused.contains("recursion limit"), "{refused}");
            assert!(refused.len() < 1000, "{refused}");
        }
        assert!(of(r#""[1] x" | fromjson"#, &[], Value::Null).is_ok(), "the first value is there");
        assert!(of("fromjson", &[], json!("x")).unwrap_err().to_string().contains("cannot parse \"x\" as JSON"));
        assert_eq!(of(r#""12" | tonumber"#, &[], Value::Null), Ok(json!(12)));
        let nests = of("reduce range(200) as $i ([]; [.])", &[], Value::Null).unwrap_err().to_string();
        assert_eq!(nests, "the jq filter yields a value that nests more than 127 deep");
    }

    #[test]
    fn errors_say_what() {
        assert!(of(".a", &[], json!("text")).unwrap_err().to_string().contains("cannot index"));
        let import = of(r#"import "a" as $d; $d"#, &[], Value::Null).unwrap_err().to_string();
        assert_eq!(import, "the jq filter imports or includes what isn't there");
        assert!(of("{", &[], Value::Null).unwrap_err().to_string().contains("can't be parsed"));
        let raised = Err(Error::Raised("it holds \"x\"".into()));
        assert_eq!(of(r#"error("it holds \"x\"")"#, &[], Value::Null), raised);
        let said = of(r#"error("x" * 1000000)"#, &[], Value::Null).unwrap_err().to_string();
        assert!(said.len() < 5000 && said.contains("bytes left out"), "{}", said.len());
        assert_eq!(of("error({a: 1})", &[], Value::Null), Err(Error::Broken("fails: {\"a\":1}".into())));
        assert_eq!(of("nan", &[], Value::Null).unwrap_err().to_string(), "the jq filter yields NaN, which isn't JSON");
    }
}
