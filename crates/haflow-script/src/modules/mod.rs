//! Modules: the embedded stdlib, then the playbook's folder.

pub(crate) mod boundary;
pub(crate) mod check;
pub(crate) mod jail;

use crate::errors::diagnose;
use crate::modules::boundary::enclose;
use crate::natives::notes;
use crate::place::{Site, complete, straightened};
use crate::session::Session;
use crate::session::crossing::Crossing;
use crate::session::stop::Stop;
use crate::sized;
use crate::stdlib::{Part, STDLIB_FOLDER, stdlib};
use haflow_model::{Diagnostic, nearest};
use rhai::{AST, Engine, EvalAltResult, GlobalRuntimeState, ModuleResolver, Position, Scope, Shared};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A module's files, parsed; a user's module has one.
pub(crate) struct Parsed {
    pub(crate) parts: Vec<ParsedPart>,
}

/// A file of a module, parsed.
pub(crate) struct ParsedPart {
    file: Arc<str>,
    pub(crate) ast: AST,
}

impl Parsed {
    /// What the module is known by: its first file.
    fn file(&self) -> &Arc<str> {
        &self.parts[0].file
    }
}

/// Finds, parses and runs modules, each once.
pub(crate) struct Modules {
    session: Arc<Session>,
    parsed: Mutex<BTreeMap<String, Arc<Parsed>>>,
    loaded: Mutex<BTreeMap<String, Shared<rhai::Module>>>,
    /// The files of the modules that are being run, outermost first.
    loading: Mutex<Vec<Arc<str>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Modules {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        let playbook = session.playbook.clone();
        Self { session, parsed: Mutex::default(), loaded: Mutex::default(), loading: Mutex::new(vec![playbook]) }
    }

    /// The module of that name, parsed. `site` is where it is asked for.
    pub(crate) fn parse(&self, engine: &Engine, name: &str, site: &Site) -> Result<Arc<Parsed>, Diagnostic> {
        let name = name.strip_suffix(".rhai").unwrap_or(name).trim_start_matches("./");
        if let Some(parsed) = locked(&self.parsed).get(name) {
            return Ok(parsed.clone());
        }
        let parsed = if let Some(module) = stdlib().iter().find(|module| module.name == name) {
            let parsed = |part: &'static Part| ParsedPart {
                file: self.session.add_source(part.file, part.text),
                ast: embedded(engine, part),
            };
            Arc::new(Parsed { parts: module.parts.iter().map(parsed).collect() })
        } else {
            self.parse_file(engine, name, site)?
        };
        locked(&self.parsed).insert(name.to_owned(), parsed.clone());
        Ok(parsed)
    }

    fn parse_file(&self, engine: &Engine, name: &str, site: &Site) -> Result<Arc<Parsed>, Diagnostic> {
        let session = &self.session;
        let path = format!("{name}.rhai");
        let file = session.folder.join(&path).display().to_string();
        let wrong = |message: String, help: String| {
            let diagnostic = Diagnostic::new(message).at(site.clone().into(), "").help(help);
            complete(diagnostic, &session.state().sources)
        };
        let real = jail::inside(&session.folder, &session.folder, Path::new(&path)).map_err(|why| {
            let near = nearest(name, stdlib().iter().map(|module| module.name)).map(str::to_owned);
            let help = match near.or_else(|| neighbour(&session.folder, name)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "a module is one of haflow's own, or a file in the playbook's folder".to_owned(),
            };
            wrong(format!("the module `{name}` {why}"), help)
        })?;
        let bytes = sized::read(&real)
            .map_err(|error| wrong(format!("failed to read the module `{name}`: {error}"), file.clone()))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong(format!("the module `{name}` isn't UTF-8"), format!("save {file} as UTF-8")))?;
        let file = session.add_source(&file, &text);
        let mut ast = engine.compile(&*straightened(&text)).map_err(|error| {
            let diagnostic = diagnose::syntax(&error, &file, &text).at(site.clone().into(), "imported here");
            complete(diagnostic, &session.state().sources)
        })?;
        ast.set_source(&*file);
        notes::warn_of_escapes(session, &text, &file);
        Ok(Arc::new(Parsed { parts: vec![ParsedPart { file, ast }] }))
    }

    /// The module of that name, run once.
    pub(crate) fn load(
        &self,
        engine: &Engine,
        name: &str,
        site: Site,
    ) -> Result<Shared<rhai::Module>, Box<EvalAltResult>> {
        let parsed = self
            .parse(engine, name, &site)
            .map_err(|diagnostic| self.session.raised(diagnostic.into(), Position::NONE))?;
        let loaded = locked(&self.loaded).get(&**parsed.file()).cloned();
        if let Some(module) = loaded {
            return Ok(module);
        }
        let begin = locked(&self.loading).iter().position(|file| file == parsed.file());
        if let Some(begin) = begin {
            let stop = self.circular(begin, parsed.file(), site);
            return Err(self.session.raised(stop, Position::NONE));
        }
        locked(&self.loading).push(parsed.file().clone());
        let module = self.run(engine, &parsed, site);
        locked(&self.loading).pop();
        let module: Shared<rhai::Module> = module?.into();
        locked(&self.loaded).insert(parsed.file().to_string(), module.clone());
        Ok(module)
    }

    fn run(&self, engine: &Engine, parsed: &Parsed, site: Site) -> Result<rhai::Module, Box<EvalAltResult>> {
        let _crossing = Crossing::at(&self.session, site);
        let mut module = rhai::Module::new();
        module.set_id(&**parsed.file());
        for ParsedPart { file, ast } in &parsed.parts {
            if !file.starts_with(STDLIB_FOLDER) {
                check::check(engine, self, &self.session, ast, file)
                    .map_err(|diagnostic| self.session.raised(diagnostic.into(), Position::NONE))?;
            }
            let inner = rhai::Module::eval_ast_as_new(Scope::new(), ast, engine)
                .map_err(|error| diagnose::stop(&self.session, engine, *error, file))
                .map_err(|stop| self.session.raised(stop, Position::NONE))?;
            enclose(&self.session, ast, inner, file, &mut module);
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
        complete(diagnostic, &self.session.state().sources).into()
    }
}

/// A file of an embedded module, parsed once for the whole program.
fn embedded(engine: &Engine, part: &Part) -> AST {
    static PARSED: OnceLock<Mutex<BTreeMap<&'static str, AST>>> = OnceLock::new();
    let mut parsed = locked(PARSED.get_or_init(Mutex::default));
    let ast = parsed.entry(part.file).or_insert_with(|| {
        let mut ast = engine
            .compile(&*straightened(part.text))
            .unwrap_or_else(|error| panic!("the embedded {} is broken: {error}", part.file));
        ast.set_source(part.file);
        ast
    });
    ast.clone()
}

/// A module in the folder that has nearly that name.
fn neighbour(folder: &Path, name: &str) -> Option<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".rhai")?.to_owned()))
        .collect();
    names.retain(|found| found != name);
    names.sort();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
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
        let site = Site::new(self.0.session.file(source), position);
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
