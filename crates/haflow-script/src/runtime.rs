//! The interpreter: how it is set up, and one run of it.

use crate::calls::register::Natives;
use crate::declaration::guess::Guessed;
use crate::declaration::stop::Stop;
use crate::declaration::{Declaration, stand_ins};
use crate::errors::diagnose;
use crate::limits::{MAX_CALLS, MAX_ELEMENTS, MAX_EXPRESSION_DEPTH, MAX_TEXT};
use crate::modules::escapes::warn_of_texts;
use crate::modules::{Modules, Resolver};
use crate::natives::{self, params};
use crate::place::{Site, complete, straightened};
use crate::request::{DeclareError, Declared};
use crate::stdlib::{Called, stdlib};
use haflow_model::Diagnostic;
use rhai::{Engine, EvalAltResult, OptimizationLevel, Position};
use std::sync::Arc;

/// An interpreter with all native functions and the stdlib.
pub(crate) fn engine(declaration: &Arc<Declaration>) -> Result<(Engine, Arc<Modules>), Box<EvalAltResult>> {
    let mut engine = Engine::new();
    engine
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .set_max_call_levels(MAX_CALLS)
        .set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH)
        .set_max_string_size(MAX_TEXT)
        .set_max_array_size(MAX_ELEMENTS)
        .set_max_map_size(MAX_ELEMENTS)
        .disable_symbol("eval");
    engine.set_optimization_level(OptimizationLevel::None);
    engine.on_print(|_| {}).on_debug(|_, _, _| {});
    let watched = declaration.clone();
    engine.on_progress(move |_| watched.progress().map(Stop::token));
    // No `on_map_missing_property`: it is called for `map[new] = value` as well, which must work.
    natives::register(&mut Natives { engine: &mut engine, declaration });
    let modules = Arc::new(Modules::new(declaration.clone()));
    engine.set_module_resolver(Resolver(modules.clone()));
    // A module calls others by their names, which the interpreter wants to know before their functions.
    for module in stdlib() {
        engine.register_static_module(module.name, rhai::Module::new().into());
    }
    for module in stdlib() {
        let nowhere = Site::new(declaration.playbook.clone(), Position::NONE);
        let loaded = modules.load(&engine, module.name, nowhere)?;
        if module.called == Called::Plainly {
            engine.register_global_module(loaded.clone());
        }
        engine.register_static_module(module.name, loaded);
    }
    Ok((engine, modules))
}

/// Runs a playbook from its text to its graph.
pub(crate) fn run(declaration: &Arc<Declaration>, text: &str) -> Result<(Declared, Option<Guessed>), DeclareError> {
    declaration.add_source(&declaration.playbook, text);
    let file = declaration.playbook.clone();
    let failed = |engine: &Engine, error: Box<EvalAltResult>| {
        declare_error(declaration, diagnose::why_ended(declaration, engine, *error, &file))
    };
    let (engine, modules) = engine(declaration).map_err(|error| failed(&Engine::new_raw(), error))?;
    let mut ast = engine
        .compile(&*straightened(text))
        .map_err(|error| complete(diagnose::syntax(&error, &file, text), &declaration.state().sources))?;
    ast.set_source(&*file);
    modules.check(&engine, &ast, &file)?;
    warn_of_texts(declaration, text, &file);
    engine.run_ast(&ast).map_err(|error| failed(&engine, error))?;
    let stop = declaration.state().stop.take();
    if let Some(stop) = stop {
        return Err(declare_error(declaration, stop));
    }
    if let Some(diagnostic) = params::unknown_param(declaration).or_else(|| params::several_in_one(declaration)) {
        return Err(diagnostic.into());
    }
    let guessed = stand_ins::guessed(declaration);
    Ok((seal(declaration)?, guessed))
}

fn seal(declaration: &Declaration) -> Result<Declared, DeclareError> {
    let mut state = declaration.state();
    let state = std::mem::take(&mut *state);
    let unreached = stand_ins::unreached(declaration, &state);
    let mut hosts = state.hosts;
    if let Some(inventory) = &declaration.inventory {
        let place = |name| inventory.hosts.iter().position(|host| host.name == name);
        hosts.sort_by_cached_key(|host| place(host.name.clone()));
    }
    let graph = state.draft.seal(hosts).map_err(|diagnostic| complete(diagnostic, &state.sources))?;
    Ok(Declared {
        graph,
        params: state.params,
        groups: state.groups,
        secrets: state.secrets,
        named: state.named,
        notes: state.notes,
        sources: state.sources,
        facts: state.facts,
        unreached,
    })
}

fn declare_error(declaration: &Declaration, stop: Stop) -> DeclareError {
    let state = declaration.state();
    match stop {
        Stop::Diagnostic(diagnostic, _) if state.refused.as_ref() == Some(&diagnostic.message) => {
            DeclareError::Unreached {
                diagnostic: Box::new(Arc::unwrap_or_clone(diagnostic)),
                hosts: stand_ins::unreached(declaration, &state).into_iter().map(|host| host.failure).collect(),
                left_out: state.left_out.iter().cloned().collect(),
            }
        }
        Stop::Diagnostic(diagnostic, _) => DeclareError::Playbook(Box::new(Arc::unwrap_or_clone(diagnostic))),
        Stop::Facts(failures) => DeclareError::Facts(failures),
        Stop::Interrupted => DeclareError::Interrupted,
        Stop::Operations => Diagnostic::new("the script takes too many steps").into(),
    }
}
