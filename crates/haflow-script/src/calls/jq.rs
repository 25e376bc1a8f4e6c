//! Checks of jq filters, which run elsewhere.

use crate::calls::call::Call;
use crate::errors::problem::Problem;
use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, compile};
use jaq_json::Val;

/// Checks that a filter can be run with params of these names.
pub(crate) fn check<'a>(
    call: &Call<'_>,
    filter: &str,
    params: impl Iterator<Item = &'a String>,
    option: &str,
) -> Result<(), Problem> {
    let vars: Vec<String> = params.map(|name| format!("${name}")).collect();
    let key = format!("jq {}\n{filter}", vars.join(" "));
    if call.declaration.state().checked.contains(&key) {
        return Ok(());
    }
    if filter.len() > LONGEST {
        return Err(Problem::new(format!("the filter of option `{option}` is longer than {} KiB", LONGEST >> 10))
            .option(option));
    }
    on_a_large_stack(|| compiles(filter, &vars)).map_err(|why| {
        Problem::new(format!("the filter of option `{option}` is wrong: {why}")).option(option).help(
            if why.contains('$') {
                "a filter's variables are the task's params"
            } else if why == IMPORTS {
                "what it needs is to be in the filter itself"
            } else {
                "it is jq's language, as jaq has it"
            },
        )
    })?;
    call.declaration.state().checked.insert(key);
    Ok(())
}

/// How many bytes a filter may have.
const LONGEST: usize = 64 << 10;
/// A stack that is enough to take apart whatever a filter of that length nests.
const STACK: usize = 512 << 20;
const IMPORTS: &str = "there is nothing that it could import or include";

/// Does the work on a stack of its own, which is large enough for whatever the longest filter nests.
fn on_a_large_stack<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| format!("there is no thread to check it: {error}"))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn compiles(filter: &str, vars: &[String]) -> Result<(), String> {
    let arena = Arena::default();
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs::<JustLut<Val>>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let modules = Loader::new(defs)
        .load(&arena, File { code: filter, path: () })
        .map_err(|errors| errors.into_iter().next().map_or_else(String::new, |(_, error)| syntax(filter, error)))?;
    // Data that is imported isn't looked for while modules are loaded.
    load::import(&modules, |_| Err(String::new())).map_err(|_| IMPORTS.to_owned())?;
    Compiler::default()
        .with_funs(funs)
        .with_global_vars(vars.iter().map(String::as_str))
        .compile(modules)
        .map(|_| ())
        .map_err(|errors| {
            let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
            first.map_or_else(String::new, |(name, kind)| match kind {
                compile::Undefined::Filter(arity) => format!("there is no function `{name}/{arity}`"),
                kind => format!("there is no {} `{name}`", kind.as_str()),
            })
        })
}

fn syntax(filter: &str, error: load::Error<&str>) -> String {
    match error {
        load::Error::Io(_) => IMPORTS.to_owned(),
        load::Error::Lex(errors) => errors.into_iter().next().map_or_else(String::new, |(expected, found)| {
            format!("expected {} {}", expected.as_str(), before(filter, found))
        }),
        load::Error::Parse(errors) => errors.into_iter().next().map_or_else(String::new, |(expected, found)| {
            format!("expected {} {}", expected.as_str(), before(filter, found))
        }),
    }
}

/// Where in a filter something is missing.
fn before(filter: &str, found: &str) -> String {
    let rest: String = found.lines().next().unwrap_or_default().chars().take(20).collect();
    let line = filter[..load::span(filter, found).start.min(filter.len())].matches('\n').count() + 1;
    let at = if filter.contains('\n') { format!(" in its line {line}") } else { String::new() };
    if rest.is_empty() { format!("at the end{at}") } else { format!("before `{rest}`{at}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_filter_is_said() {
        let vars = ["$zone".to_owned()];
        assert_eq!(compiles(".a | select(. == $zone)", &vars), Ok(()));
        assert_eq!(compiles(".a | $zon", &vars).unwrap_err(), "there is no variable `$zon`");
        assert_eq!(compiles(".a | selec(.)", &vars).unwrap_err(), "there is no function `selec/1`");
        assert_eq!(compiles("if . then 1", &vars).unwrap_err(), "expected else or end at the end");
        for import in [r#"import "a" as a; ."#, r#"import "a" as $d; $d"#, r#"include "a"; ."#] {
            assert_eq!(compiles(import, &vars).unwrap_err(), IMPORTS);
        }
        assert_eq!(compiles("(.a", &vars).unwrap_err(), "expected closing parenthesis at the end");
    }
}
