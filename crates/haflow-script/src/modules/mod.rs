//! Modules: the embedded stdlib, then the playbook's folder.

mod boundary;
mod check;
pub(crate) mod escapes;
pub(crate) mod jail;
mod parsed;

use crate::declaration::Declaration;
use crate::declaration::crossing::Crossing;
use crate::declaration::stop::Stop;
use crate::errors::diagnose;
use crate::modules::boundary::enclose;
use crate::modules::parsed::{Parsed, ParsedPart, Parser, locked};
use crate::place::{Site, complete};
use crate::stdlib::STDLIB_FOLDER;
use haflow_model::Diagnostic;
use rhai::{AST, Engine, EvalAltResult, GlobalRuntimeState, ModuleResolver, Position, Scope, Shared};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Checks and runs modules, each once.
pub(crate) struct Modules {
    declaration: Arc<Declaration>,
    parser: Parser,
    loaded: Mutex<BTreeMap<String, Shared<rhai::Module>>>,
    /// The files of the modules that are being run, outermost first.
    loading: Mutex<Vec<Arc<str>>>,
}

impl Modules {
    pub(crate) fn new(declaration: Arc<Declaration>) -> Self {
        let playbook = declaration.playbook.clone();
        let parser = Parser::new(declaration.clone());
        Self { declaration, parser, loaded: Mutex::default(), loading: Mutex::new(vec![playbook]) }
    }

    /// Checks all calls in a file.
    pub(crate) fn check(&self, engine: &Engine, ast: &AST, file: &Arc<str>) -> Result<(), Diagnostic> {
        check::check(engine, &self.parser, &self.declaration, ast, file)
    }

    /// The module of that name, run once.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        name: &str,
        site: Site,
    ) -> Result<Shared<rhai::Module>, Box<EvalAltResult>> {
        let parsed = self
            .parser
            .parse(engine, name, &site)
            .map_err(|diagnostic| self.declaration.raised(diagnostic.into(), Position::NONE))?;
        let loaded = locked(&self.loaded).get(&**parsed.file()).cloned();
        if let Some(module) = loaded {
            return Ok(module);
        }
        let begin = locked(&self.loading).iter().position(|file| file == parsed.file());
        if let Some(begin) = begin {
            let stop = self.circular(begin, parsed.file(), site);
            return Err(self.declaration.raised(stop, Position::NONE));
        }
        locked(&self.loading).push(parsed.file().clone());
        let module = self.run(engine, &parsed, site);
        locked(&self.loading).pop();
        let module: Shared<rhai::Module> = module?.into();
        locked(&self.loaded).insert(parsed.file().to_string(), module.clone());
        Ok(module)
    }

    fn run(&self, engine: &Engine, parsed: &Parsed, site: Site) -> Result<rhai::Module, Box<EvalAltResult>> {
        let _crossing = Crossing::at(&self.declaration, site);
        let mut module = rhai::Module::new();
        module.set_id(&**parsed.file());
        for ParsedPart { file, ast } in &parsed.parts {
            if !file.starts_with(STDLIB_FOLDER) {
                self.check(engine, ast, file)
                    .map_err(|diagnostic| self.declaration.raised(diagnostic.into(), Position::NONE))?;
            }
            let inner = rhai::Module::eval_ast_as_new(Scope::new(), ast, engine)
                .map_err(|error| diagnose::why_ended(&self.declaration, engine, *error, file))
                .map_err(|stop| self.declaration.raised(stop, Position::NONE))?;
            enclose(&self.declaration, ast, inner, file, &mut module);
        }
        module.build_index();
        Ok(module)
    }

    fn circular(&self, begin: usize, file: &Arc<str>, site: Site) -> Stop {
        let loading = locked(&self.loading);
        let stem = |file: &Arc<str>| {
            Path::new(&**file).file_stem().map_or_else(|| file.to_string(), |stem| stem.to_string_lossy().into_owned())
        };
        let mut chain: Vec<String> = loading[begin..].iter().map(stem).collect();
        chain.push(stem(file));
        let diagnostic = Diagnostic::new(format!("modules import each other in a circle: {}", chain.join(" → ")))
            .at(site.into(), "this closes the circle")
            .help("move what both need to a module of its own");
        complete(diagnostic, &self.declaration.state().sources).into()
    }
}

/// The resolver that the interpreter asks.
pub(crate) struct Resolver(pub(crate) Arc<Modules>);

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        position: Position,
    ) -> Result<Shared<rhai::Module>, Box<EvalAltResult>> {
        let site = Site::new(self.0.declaration.file(source), position);
        self.0.load(engine, path, site)
    }

    fn resolve_raw(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        _: &mut Scope<'_>,
        path: &str,
        position: Position,
    ) -> Result<Shared<rhai::Module>, Box<EvalAltResult>> {
        self.resolve(engine, global.source(), path, position)
    }
}
