//! Modules: the embedded stdlib, then the playbook's folder.

use crate::boundary::enclose;
use crate::check;
use crate::diagnose;
use crate::jail;
use crate::notes;
use crate::place::{Site, straightened};
use crate::raise::{NOWHERE, Stop, complete};
use crate::session::Session;
use haflow_model::{Diagnostic, nearest};
use rhai::{AST, Engine, EvalAltResult, GlobalRuntimeState, ModuleResolver, Position, Scope, Shared};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A module that is embedded in the program.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// The name by which it is imported.
    pub name: &'static str,
    /// Whether its functions are called without its name.
    pub global: bool,
    /// Its text.
    pub text: &'static str,
}

impl Module {
    /// Its file as places name it.
    pub fn file(&self) -> String {
        format!("{STDLIB_FOLDER}{}.rhai", self.name)
    }
}

/// The folder that the embedded modules are said to be in.
pub(crate) const STDLIB_FOLDER: &str = "stdlib/";

macro_rules! module {
    ($name:literal, $global:literal) => {
        Module { name: $name, global: $global, text: include_str!(concat!("../../../stdlib/", $name, ".rhai")) }
    };
}

static STDLIB: [Module; 11] = [
    module!("commands", true),
    module!("files", true),
    module!("hosts_file", true),
    module!("ini", true),
    module!("rpm", false),
    module!("packages", true),
    module!("services", true),
    module!("users", true),
    module!("waiting", true),
    module!("rabbitmq", false),
    module!("oslo_messaging", false),
];

/// The modules that are embedded in the program.
pub fn stdlib() -> &'static [Module] {
    &STDLIB
}

/// A module's text, parsed.
pub(crate) struct Parsed {
    pub(crate) file: Arc<str>,
    pub(crate) ast: AST,
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
        let parsed = if let Some(module) = STDLIB.iter().find(|module| module.name == name) {
            let file = self.session.add_source(&module.file(), module.text);
            Arc::new(Parsed { file, ast: embedded(engine, module) })
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
            let near = nearest(name, STDLIB.iter().map(|module| module.name)).map(str::to_owned);
            let help = match near.or_else(|| neighbour(&session.folder, name)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "a module is one of haflow's own, or a file in the playbook's folder".to_owned(),
            };
            wrong(format!("the module `{name}` {why}"), help)
        })?;
        let bytes = std::fs::read(&real)
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
        Ok(Arc::new(Parsed { file, ast }))
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
            .map_err(|diagnostic| Stop::from(diagnostic).raised(&self.session, NOWHERE))?;
        let loaded = locked(&self.loaded).get(&*parsed.file).cloned();
        if let Some(module) = loaded {
            return Ok(module);
        }
        let begin = locked(&self.loading).iter().position(|file| *file == parsed.file);
        if let Some(begin) = begin {
            let stop = self.circular(begin, &parsed.file, site);
            return Err(stop.raised(&self.session, NOWHERE));
        }
        locked(&self.loading).push(parsed.file.clone());
        let module = self.run(engine, &parsed, site);
        locked(&self.loading).pop();
        let module: Shared<rhai::Module> = module?.into();
        locked(&self.loaded).insert(parsed.file.to_string(), module.clone());
        Ok(module)
    }

    fn run(&self, engine: &Engine, parsed: &Parsed, site: Site) -> Result<rhai::Module, Box<EvalAltResult>> {
        let _crossing = self.session.cross(site);
        if !parsed.file.starts_with(STDLIB_FOLDER) {
            check::check(engine, self, &self.session, &parsed.ast, &parsed.file)
                .map_err(|diagnostic| Stop::from(diagnostic).raised(&self.session, NOWHERE))?;
        }
        let inner = rhai::Module::eval_ast_as_new(Scope::new(), &parsed.ast, engine).map_err(|error| {
            diagnose::stop(&self.session, engine, *error, &parsed.file).raised(&self.session, NOWHERE)
        })?;
        Ok(enclose(&self.session, &parsed.ast, inner, &parsed.file))
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

/// An embedded module, parsed once for the whole program.
fn embedded(engine: &Engine, module: &Module) -> AST {
    static PARSED: OnceLock<Mutex<BTreeMap<&'static str, AST>>> = OnceLock::new();
    let mut parsed = locked(PARSED.get_or_init(Mutex::default));
    let ast = parsed.entry(module.name).or_insert_with(|| {
        let mut ast = engine
            .compile(&*straightened(module.text))
            .unwrap_or_else(|error| panic!("the embedded module {} is broken: {error}", module.name));
        ast.set_source(module.file());
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
