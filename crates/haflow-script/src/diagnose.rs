//! Where the interpreter's errors are, and which calls led there.

use crate::explain::{explain, explain_syntax};
use crate::place::Site;
use crate::raise::{Problem, Stop, complete};
use crate::session::Session;
use haflow_model::{Diagnostic, Place};
use rhai::{Engine, EvalAltResult, ParseError, Position};
use std::sync::Arc;

/// Why a script ended, from the interpreter's error in `file`.
pub(crate) fn stop(session: &Session, engine: &Engine, error: EvalAltResult, file: &Arc<str>) -> Stop {
    let mut error = error;
    let mut file = file.clone();
    // Where each function was called from, outermost first.
    let mut calls: Vec<(Site, String)> = Vec::new();
    loop {
        error = match error {
            EvalAltResult::ErrorInFunctionCall(name, source, inner, position) => {
                calls.push((Site::new(file.clone(), position), name));
                if !source.is_empty() {
                    file = session.file(Some(&source));
                }
                *inner
            }
            EvalAltResult::ErrorInModule(_, inner, _) => *inner,
            EvalAltResult::ErrorSystem(text, inner) => match inner.downcast::<Stop>() {
                Ok(stop) => return *stop,
                Err(inner) => return placed(session, engine, &EvalAltResult::ErrorSystem(text, inner), &file, &calls),
            },
            EvalAltResult::ErrorTerminated(token, position) => match token.try_cast::<Stop>() {
                Some(Stop::Operations) | None => {
                    return placed(session, engine, &EvalAltResult::ErrorTooManyOperations(position), &file, &calls);
                }
                Some(stop) => return stop,
            },
            other => return placed(session, engine, &other, &file, &calls),
        };
    }
}

fn placed(session: &Session, engine: &Engine, error: &EvalAltResult, file: &Arc<str>, calls: &[(Site, String)]) -> Stop {
    let problem = explain(session, engine, error, file);
    let mut sites: Vec<(Site, String)> = calls.to_vec();
    if error.position() != Position::NONE {
        sites.push((Site::new(file.clone(), error.position()), String::new()));
    }
    label(session, problem, &sites).into()
}

/// The playbook's line first, then the line of a module, then the call that led there.
fn label(session: &Session, problem: Problem, sites: &[(Site, String)]) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(problem.message);
    diagnostic.help = problem.help;
    let innermost = sites.len().saturating_sub(1);
    let of_playbook = sites.iter().rposition(|(site, _)| site.file == session.playbook);
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
            let trace = session.trace(inner.clone());
            diagnostic = diagnostic.at(inner.clone().into(), "");
            if trace.place.line > 0 {
                diagnostic = diagnostic.at(trace.place, "imported here");
            }
        }
        (_, None) => diagnostic = diagnostic.at(Place::file(session.playbook.clone()), ""),
    }
    complete(diagnostic, &session.state().sources)
}

/// What is wrong with a text that can't be parsed.
pub(crate) fn syntax(error: &ParseError, file: &Arc<str>, text: &str) -> Diagnostic {
    let problem = explain_syntax(error.err_type(), text);
    let mut diagnostic = Diagnostic::new(problem.message).at(Site::new(file.clone(), error.position()).into(), "");
    diagnostic.help = problem.help;
    diagnostic.source(file.clone(), text)
}
