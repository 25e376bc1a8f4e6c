//! The interpreter's errors in plain words, with what to do about each.

use crate::declaration::Declaration;
use crate::errors::problem::Problem;
use crate::limits::{MAX_CALLS, MAX_ELEMENTS, MAX_OPERATIONS, MAX_TEXT, MAX_TIME};
use crate::place::{map_keys, variables};
use crate::reference::natives::NATIVES;
use haflow_model::nearest;
use rhai::{Engine, EvalAltResult, LexError, ParseErrorType};

/// What can be read of haflow's own types.
const PROPERTIES: [(&str, &[&str]); 3] = [
    ("Host", &["name", "address", "vars", "groups", "facts"]),
    ("Task", &["id", "output"]),
    ("Output", &["id", "task"]),
];

/// What an error of a running script means.
pub(crate) fn explain(declaration: &Declaration, engine: &Engine, error: &EvalAltResult, file: &str) -> Problem {
    let text = declaration.state().sources.get(file).cloned().unwrap_or_default();
    match error {
        EvalAltResult::ErrorVariableNotFound(name, _) => unknown_variable(name, &text),
        EvalAltResult::ErrorPropertyNotFound(name, _) => unknown_key(declaration, name, &text),
        EvalAltResult::ErrorDotExpr(text, _) => unknown_property(text),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unknown_function(engine, signature),
        EvalAltResult::ErrorModuleNotFound(name, _) => Problem::new(format!("there is no module `{name}`"))
            .help(format!("import it first: import \"{name}\" as {name};")),
        EvalAltResult::ErrorTooManyOperations(_) => Problem::new(format!(
            "the script takes more than {} million steps or {} seconds",
            MAX_OPERATIONS / 1_000_000,
            MAX_TIME.as_secs()
        ))
        .help("look for a loop that never ends at this line; a playbook only declares, so it has little to compute"),
        EvalAltResult::ErrorStackOverflow(_) => {
            Problem::new(format!("functions call each other more than {MAX_CALLS} deep"))
                .help("look for a function that calls itself; a `for` loop does instead")
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => too_large(what),
        EvalAltResult::ErrorTooManyVariables(_) => Problem::new("there are too many variables"),
        EvalAltResult::ErrorTooManyModules(_) => Problem::new("there are too many modules"),
        EvalAltResult::ErrorRuntime(value, _) if value.is_unit() => Problem::new("the playbook threw an error"),
        EvalAltResult::ErrorRuntime(value, _) => Problem::new(value.to_string()),
        error => explain_value(error),
    }
}

/// Errors about values.
fn explain_value(error: &EvalAltResult) -> Problem {
    match error {
        EvalAltResult::ErrorArrayBounds(length, index, _) => {
            let has = match length {
                0 => "is empty".to_owned(),
                1 => "has one element".to_owned(),
                length => format!("has {length} elements"),
            };
            Problem::new(format!("there is no [{index}]: the list {has}"))
                .help("the first is [0]; `len()` says how many there are")
        }
        EvalAltResult::ErrorStringBounds(length, index, _) => {
            Problem::new(format!("there is no [{index}]: the text has {length} characters"))
        }
        EvalAltResult::ErrorIndexNotFound(index, _) => Problem::new(format!("there is no [{index}]")),
        EvalAltResult::ErrorIndexingType(of, _) => {
            Problem::new(format!("`{}` can't be indexed like that", words_of_types(of)))
        }
        EvalAltResult::ErrorFor(_) => Problem::new("`for` can't go through that").help(
            "it goes through a list, a map's keys() or values(), or a range such as 0..3; for one host, leave the loop out",
        ),
        EvalAltResult::ErrorMismatchDataType(wanted, given, _)
        | EvalAltResult::ErrorMismatchOutputType(wanted, given, _) => {
            let problem = Problem::new(format!("{} is wanted here, not {}", word_of_type(wanted), word_of_type(given)));
            if is_secret(given) { problem.help(UNKNOWN_HERE) } else { problem }
        }
        EvalAltResult::ErrorAssignmentToConstant(name, _) => {
            Problem::new(format!("`{name}` is a constant and can't be changed")).help("define it by `let`")
        }
        EvalAltResult::ErrorNonPureMethodCallOnConstant(name, _) => {
            Problem::new(format!("`{name}` would change a constant")).help("define it by `let`")
        }
        EvalAltResult::ErrorVariableExists(name, _) => Problem::new(format!("`{name}` is defined already")),
        EvalAltResult::ErrorForbiddenVariable(name, _) => Problem::new(format!("`{name}` can't be a variable's name")),
        EvalAltResult::ErrorUnboundThis(_) => {
            Problem::new("there is no `this` here").help("pass the value as an argument instead")
        }
        EvalAltResult::ErrorDataRace(what, _) => {
            let message = match raced(what) {
                Some(name) => format!("`{name}` works on a variable that its function uses too"),
                None => format!("{what} is used while it is being changed"),
            };
            Problem::new(message).help("take what the function needs out of it before: let first = list[0];")
        }
        EvalAltResult::ErrorArithmetic(text, _) => Problem::new(lower(text)),
        EvalAltResult::ErrorParsing(kind, _) => explain_syntax(kind, ""),
        error => Problem::new(lower(&error.to_string())),
    }
}

/// What an error of the parser means.
pub(crate) fn explain_syntax(error: &ParseErrorType, text: &str) -> Problem {
    match error {
        ParseErrorType::VariableUndefined(name) => unknown_variable(name, text),
        ParseErrorType::ModuleUndefined(name) => Problem::new(format!("there is no module `{name}` here"))
            .help(format!("import it first: import \"{name}\" as {name};")),
        ParseErrorType::UnexpectedEOF => {
            Problem::new("the file ends too early").help("look for a `{`, `(` or `[` that isn't closed")
        }
        ParseErrorType::MissingToken(token, about) => {
            let help = match token.as_str() {
                ";" => "end the statement before this with `;`; a text with quotes in it is written #\"…\"#".to_owned(),
                "," => "put a comma between the two; a text with quotes in it is written #\"…\"#".to_owned(),
                "}" | ")" | "]" => format!("close with `{token}` what was opened before"),
                token => format!("put `{token}` here"),
            };
            Problem::new(format!("`{token}` is missing{}", about_end(about))).help(help)
        }
        // People who come from the shell or from YAML begin a comment with `#`.
        ParseErrorType::Reserved(word) if word == "#" => Problem::new("`#` has no meaning here")
            .help("a comment begins with `//`; a map is written `#{ name: value }`"),
        ParseErrorType::Reserved(word) => Problem::new(format!("`{word}` is a word that rhai keeps for itself"))
            .help("choose another name; as the key of a map, write it in quotes"),
        ParseErrorType::BadInput(LexError::ImproperSymbol(symbol, _)) if symbol == "eval" => {
            Problem::new("`eval` can't be called in a playbook").help("write it as a function")
        }
        ParseErrorType::BadInput(LexError::UnterminatedString) => Problem::new("a text isn't closed")
            .help("close it by `\"`; a text of several lines goes between backticks, or in #\"…\"#"),
        ParseErrorType::BadInput(LexError::MalformedEscapeSequence(sequence)) => {
            Problem::new(format!("`{sequence}` means nothing in a text"))
                .help("write `\\\\` for a backslash, or put shell and regular expressions in #\"…\"#")
        }
        ParseErrorType::DuplicatedProperty(key) => Problem::new(format!("the map has `{key}` twice")),
        ParseErrorType::FnDuplicatedDefinition(name, count) => {
            Problem::new(format!("function `{name}` with {count} argument(s) is defined twice"))
        }
        ParseErrorType::ExprTooDeep => Problem::new("expressions are too deep in each other")
            .help("put parts of it in variables or functions of their own"),
        ParseErrorType::AssignmentToConstant(name) => {
            Problem::new(format!("`{name}` is a constant and can't be changed")).help("define it by `let`")
        }
        ParseErrorType::LiteralTooLarge(what, most) => {
            Problem::new(format!("{} is beyond the limit of {most}", lower(what)))
        }
        ParseErrorType::WrongFnDefinition => {
            Problem::new("a function can only be defined at the outermost level").help("move it out of the block")
        }
        other => Problem::new(lower(&other.to_string())),
    }
}

/// The function in a text such as `argument #1 of function 'filter'`.
pub(crate) fn raced(what: &str) -> Option<&str> {
    what.split("function '").nth(1)?.strip_suffix('\'')
}

fn about_end(about: &str) -> String {
    if about.is_empty() { String::new() } else { format!(" {about}") }
}

fn unknown_variable(name: &str, text: &str) -> Problem {
    let problem = Problem::new(format!("there is no variable `{name}`"));
    if NATIVES.iter().any(|native| native.name == name) {
        return problem.help(format!("`{name}` is a function: call it as `{name}(…)`"));
    }
    match nearest(name, variables(text)) {
        Some(near) if near != name => problem.help(format!("did you mean `{near}`?")),
        Some(_) => problem.help("it is defined elsewhere; a function sees only its own arguments and variables"),
        None => problem.help(format!("define it first: let {name} = …;")),
    }
}

fn unknown_key(declaration: &Declaration, name: &str, text: &str) -> Problem {
    let problem = Problem::new(format!("the map has no key `{name}`"));
    let vars = declaration.inventory.iter().flat_map(|inventory| &inventory.hosts).flat_map(|host| host.vars.keys());
    let state = declaration.state();
    let facts =
        state.facts.values().filter_map(|of_hosts| of_hosts.values().next()).filter_map(|fact| fact.as_object());
    let facts = facts.flat_map(|fact| fact.keys());
    let known = map_keys(text).into_iter().chain(vars.chain(facts).map(String::as_str));
    match nearest(name, known.filter(|known| *known != name)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if declaration.inventory.is_none() => problem.help(format!(
            "`map.get(\"{name}\") ?? value` is that value where it isn't there, and `\"{name}\" in map` asks; \
             imagined hosts have no vars, an inventory's hosts may"
        )),
        None => problem.help(format!(
            "`map.get(\"{name}\") ?? value` is that value where it isn't there, and `\"{name}\" in map` asks"
        )),
    }
}

/// What an error says of a property, in a text such as `Unknown property 'x' - a getter is not registered for
/// type 'Host'`.
fn unknown_property(text: &str) -> Problem {
    let mut quoted = text.split('\'').skip(1).step_by(2);
    let (Some(name), Some(of)) = (quoted.next(), quoted.next()) else { return Problem::new(lower(text)) };
    if text.starts_with("No writable") {
        return Problem::new(format!("`{name}` of {} can't be changed", word_of_type(of)));
    }
    let problem = Problem::new(format!("{} has no property `{name}`", word_of_type(of)));
    let known = PROPERTIES.iter().find(|(known, _)| *known == of).map_or(&[][..], |(_, properties)| properties);
    match nearest(name, known.iter().copied()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => problem,
        None => problem.help(format!("its properties are {}", known.join(", "))),
    }
}

/// What is wrong with a call whose signature is such as `len (i64)`: where the name is known, its types don't
/// fit.
fn unknown_function(engine: &Engine, signature: &str) -> Problem {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types = words_of_types(types.trim_end_matches(')'));
    if name.starts_with("anon$") {
        return Problem::new(format!("this function can't be called with {}", or_nothing(&types)))
            .help("its arguments are between the bars: |a, b| …");
    }
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Problem::new(format!("`{name}` can't be applied to {types}"));
    }
    let known = engine.collect_fn_metadata(None, |f| (f.metadata.name == name).then_some(()), true);
    if known.is_empty() {
        return Problem::new(format!("there is no function `{name}`"));
    }
    let problem = Problem::new(format!("`{name}` can't be called with {}", or_nothing(&types)));
    if types.contains("a secret") { problem.help(UNKNOWN_HERE) } else { problem }
}

/// What to do where a script works on a secret.
const UNKNOWN_HERE: &str =
    "the script doesn't know a secret's value: pass it to a task as one of its `params`, as `want` or as `content`";

fn is_secret(of: &str) -> bool {
    word_of_type(of) == "a secret"
}

fn or_nothing(types: &str) -> &str {
    if types.is_empty() { "no arguments" } else { types }
}

fn too_large(what: &str) -> Problem {
    if what.contains("string") {
        Problem::new(format!("the texts of a value are longer than {} MB together", MAX_TEXT >> 20))
            .help("copy large files to the hosts by other means, or have the hosts fetch them")
    } else {
        let what = if what.contains("map") { "maps" } else { "lists" };
        Problem::new(format!("the {what} of a value have more than {MAX_ELEMENTS} elements together"))
            .help("look for a loop that adds to it without end")
    }
}

/// The words for a list of the interpreter's type names.
fn words_of_types(types: &str) -> String {
    let types = types.replace("&str | ImmutableString | String", "string");
    let words: Vec<String> =
        types.split(", ").filter(|of| !of.is_empty()).map(|of| word_of_type(of.trim_end_matches(']'))).collect();
    match words.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        words => words.concat(),
    }
}

fn word_of_type(of: &str) -> String {
    // The interpreter doesn't always use the name that a type was registered by:
    // `haflow_script::…::SecretHandle`.
    let handle = of.strip_prefix("haflow_script::").and_then(|path| path.rsplit("::").next()?.strip_suffix("Handle"));
    let of = handle.unwrap_or(of);
    match of {
        "string" | "&str" | "ImmutableString" | "alloc::string::String" => "a text",
        "i64" => "an int",
        "f64" => "a float",
        "bool" => "a bool",
        "char" => "a character",
        "()" => "nothing: ()",
        "array" => "a list",
        "map" => "a map",
        "Fn" => "a function",
        "Host" => "a host",
        "Task" => "a task",
        "Output" => "an output",
        "Secret" => "a secret",
        "Test" => "a test on an output",
        other => return other.to_owned(),
    }
    .to_owned()
}

fn lower(text: &str) -> String {
    let text = text.split(" (line ").next().unwrap_or(text);
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect::<String>().replace('\'', "`"))
}
