//! Where the interpreter's errors are, and which calls led there.

use crate::declaration::Declaration;
use crate::declaration::stop::Stop;
use crate::errors::explain::{explain, explain_syntax, raced};
use crate::errors::problem::Problem;
use crate::errors::slips;
use crate::place::{Site, complete, offset, places_of, unclosed};
use haflow_model::{Diagnostic, Place};
use rhai::{Engine, EvalAltResult, ParseError, Position};
use std::sync::Arc;

/// Why a script ended, from the interpreter's error in `file`.
pub(crate) fn why_ended(declaration: &Declaration, engine: &Engine, error: EvalAltResult, file: &Arc<str>) -> Stop {
    let mut error = error;
    let mut file = file.clone();
    // Where each function was called from, outermost first.
    let mut calls: Vec<(Site, String)> = Vec::new();
    loop {
        error = match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                calls.push((Site::new(file.clone(), position), name));
                if !source.is_empty() {
                    file = declaration.file(Some(&source));
                }
                *inner
            }
            EvalAltResult::ErrorInModule(_, inner, _) => *inner,
            EvalAltResult::ErrorRuntime(value, position) => match value.try_cast_result::<Stop>() {
                Ok(stop) => return called(declaration, stop, &calls),
                Err(value) => {
                    return placed(declaration, engine, &EvalAltResult::ErrorRuntime(value, position), &file, &calls);
                }
            },
            EvalAltResult::ErrorTerminated(token, position) => match token.try_cast::<Stop>() {
                Some(Stop::Operations) | None => {
                    return placed(
                        declaration,
                        engine,
                        &EvalAltResult::ErrorTooManyOperations(position),
                        &file,
                        &calls,
                    );
                }
                Some(stop) => return stop,
            },
            other => return placed(declaration, engine, &other, &file, &calls),
        };
    }
}

/// Adds the call of the playbook's function that the playbook's line is in.
fn called(declaration: &Declaration, stop: Stop, calls: &[(Site, String)]) -> Stop {
    let Stop::Diagnostic(diagnostic, Some(place)) = stop else { return stop };
    let elsewhere = |(site, function): &&(Site, String)| {
        site.file == declaration.playbook && site.line != place.line && !function.starts_with("anon$")
    };
    let Some((site, function)) = calls.iter().rev().find(elsewhere) else {
        return Stop::Diagnostic(diagnostic, None);
    };
    let diagnostic = Arc::unwrap_or_clone(diagnostic).at(site.clone().into(), format!("`{function}` is called here"));
    complete(diagnostic, &declaration.state().sources).into()
}

fn placed(
    declaration: &Declaration,
    engine: &Engine,
    error: &EvalAltResult,
    file: &Arc<str>,
    calls: &[(Site, String)],
) -> Stop {
    let problem = explain(declaration, engine, error, file);
    let mut sites: Vec<(Site, String)> = calls.to_vec();
    if error.position() != Position::NONE {
        sites.push((Site::new(file.clone(), error.position()), String::new()));
    } else if let EvalAltResult::ErrorDataRace(what, _) = error
        && let Some(site) = raced(what).and_then(|name| only_call(declaration, file, name))
    {
        // The interpreter doesn't say where.
        sites.push((site, String::new()));
    }
    with_labels(declaration, problem, &sites).into()
}

/// The place of a name that a file has once.
fn only_call(declaration: &Declaration, file: &Arc<str>, name: &str) -> Option<Site> {
    let text = declaration.state().sources.get(file).cloned()?;
    let mut places = places_of(&text, file, name).into_iter();
    let place = places.next()?;
    places.next().is_none().then_some(Site { file: place.file, line: place.line, column: place.column })
}

/// The playbook's line first, then the line of a module, then the call that led there.
fn with_labels(declaration: &Declaration, problem: Problem, sites: &[(Site, String)]) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(problem.message);
    diagnostic.help = problem.help;
    let innermost = sites.len().saturating_sub(1);
    let of_playbook = sites.iter().rposition(|(site, _)| site.file == declaration.playbook);
    match (of_playbook, sites.last()) {
        (Some(index), Some((inner, _))) => {
            let (site, function) = &sites[index];
            diagnostic = diagnostic.at(site.clone().into(), "");
            if index != innermost {
                let text = format!("in `{function}`, which is called there");
                diagnostic = diagnostic.at(inner.clone().into(), text);
            } else if let Some((outer, function)) = index.checked_sub(1).map(|outer| &sites[outer])
                && outer.line != site.line
                && !function.starts_with("anon$")
            {
                diagnostic = diagnostic.at(outer.clone().into(), format!("`{function}` is called here"));
            }
        }
        (None, Some((inner, _))) => {
            let trace = declaration.trace(inner.clone());
            diagnostic = diagnostic.at(inner.clone().into(), "");
            if trace.place.line > 0 {
                diagnostic = diagnostic.at(trace.place, "imported here");
            }
        }
        (_, None) => diagnostic = diagnostic.at(Place::file(declaration.playbook.clone()), ""),
    }
    complete(diagnostic, &declaration.state().sources)
}

/// What is wrong with a text that can't be parsed.
pub(crate) fn syntax(error: &ParseError, file: &Arc<str>, text: &str) -> Diagnostic {
    let place: Place = Site::new(file.clone(), error.position()).into();
    let problem = slips::syntax(error.err_type(), text, &place);
    let problem = problem.unwrap_or_else(|| explain_syntax(error.err_type(), text));
    let mut diagnostic = Diagnostic::new(problem.message);
    diagnostic = match unclosed(text, file).filter(|_| offset(text, &place).is_none()) {
        Some(opening) => diagnostic.at(opening, "this isn't closed"),
        None => diagnostic.at(place, ""),
    };
    diagnostic.help = problem.help;
    let sources = [(file.clone(), Arc::from(text))].into();
    complete(diagnostic, &sources)
}
