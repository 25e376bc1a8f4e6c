//! Modules as they are before they run: found, read and parsed.

use crate::declaration::Declaration;
use crate::errors::diagnose;
use crate::modules::escapes::warn_of_texts;
use crate::modules::jail;
use crate::place::{Site, complete, straightened};
use crate::sized;
use crate::stdlib::{Part, stdlib};
use haflow_model::{Diagnostic, nearest};
use rhai::{AST, Engine};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A module's files, parsed; a user's module has one.
pub(crate) struct Parsed {
    pub(crate) parts: Vec<ParsedPart>,
}

/// A file of a module, parsed.
pub(crate) struct ParsedPart {
    pub(crate) file: Arc<str>,
    pub(crate) ast: AST,
}

impl Parsed {
    /// What the module is known by: its first file.
    pub(crate) fn file(&self) -> &Arc<str> {
        &self.parts[0].file
    }
}

/// Finds and parses modules, each once.
pub(crate) struct Parser {
    declaration: Arc<Declaration>,
    parsed: Mutex<BTreeMap<String, Arc<Parsed>>>,
}

impl Parser {
    pub(crate) fn new(declaration: Arc<Declaration>) -> Self {
        Self { declaration, parsed: Mutex::default() }
    }

    /// The module of that name, parsed. `site` is where it is asked for.
    pub(crate) fn parse(&self, engine: &Engine, name: &str, site: &Site) -> Result<Arc<Parsed>, Diagnostic> {
        let name = name.strip_suffix(".rhai").unwrap_or(name).trim_start_matches("./");
        if let Some(parsed) = locked(&self.parsed).get(name) {
            return Ok(parsed.clone());
        }
        let parsed = if let Some(module) = stdlib().iter().find(|module| module.name == name) {
            let parsed = |part: &'static Part| ParsedPart {
                file: self.declaration.add_source(part.file, part.text),
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
        let declaration = &self.declaration;
        let path = format!("{name}.rhai");
        let file = declaration.folder.join(&path).display().to_string();
        let wrong = |message: String, help: String| {
            let diagnostic = Diagnostic::new(message).at(site.clone().into(), "").help(help);
            complete(diagnostic, &declaration.state().sources)
        };
        let real = jail::inside(&declaration.folder, &declaration.folder, Path::new(&path)).map_err(|why| {
            let near = nearest(name, stdlib().iter().map(|module| module.name)).map(str::to_owned);
            let help = match near.or_else(|| neighbour(&declaration.folder, name)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "a module is one of haflow's own, or a file in the playbook's folder".to_owned(),
            };
            wrong(format!("the module `{name}` {why}"), help)
        })?;
        let bytes = sized::read(&real)
            .map_err(|error| wrong(format!("failed to read the module `{name}`: {error}"), file.clone()))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong(format!("the module `{name}` isn't UTF-8"), format!("save {file} as UTF-8")))?;
        let file = declaration.add_source(&file, &text);
        let mut ast = engine.compile(&*straightened(&text)).map_err(|error| {
            let diagnostic = diagnose::syntax(&error, &file, &text).at(site.clone().into(), "imported here");
            complete(diagnostic, &declaration.state().sources)
        })?;
        ast.set_source(&*file);
        warn_of_texts(declaration, &text, &file);
        Ok(Arc::new(Parsed { parts: vec![ParsedPart { file, ast }] }))
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

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
