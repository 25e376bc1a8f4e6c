//! What can be known to be wrong with a script before it runs: calls of functions that aren't there.

use crate::declaration::Declaration;
use crate::errors::problem::Problem;
use crate::errors::slips;
use crate::modules::parsed::{Parsed, Parser};
use crate::place::{Site, complete, find_function, offset};
use crate::reference::natives::NATIVES;
use crate::stdlib::{Called, Module, stdlib};
use haflow_model::{Diagnostic, Place, nearest};
use rhai::{AST, ASTNode, Engine, Expr, FnAccess, FnCallExpr, Position, Stmt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Functions that the interpreter knows without their being registered.
const SYNTACTIC: [&str; 7] = ["type_of", "Fn", "call", "curry", "is_def_var", "is_def_fn", "is_shared"];

/// The functions of one kind, with how many arguments each takes.
type Arities = BTreeMap<String, BTreeSet<usize>>;

/// Checks all calls in a file.
pub(crate) fn check(
    engine: &Engine,
    parser: &Parser,
    declaration: &Declaration,
    ast: &AST,
    file: &Arc<str>,
) -> Result<(), Diagnostic> {
    let text = declaration.state().sources.get(file).cloned().unwrap_or_default();
    let mut checker = Checker {
        engine,
        parser,
        file,
        text: &text,
        native: native(engine),
        own: Arities::new(),
        own_params: BTreeMap::new(),
        keys: BTreeSet::new(),
        aliases: BTreeMap::new(),
    };
    let result = checker.own_functions(ast, *file == declaration.playbook).and_then(|()| checker.calls(ast));
    result.map_err(|diagnostic| complete(diagnostic, &declaration.state().sources))
}

struct Checker<'a> {
    engine: &'a Engine,
    parser: &'a Parser,
    file: &'a Arc<str>,
    text: &'a str,
    native: Arities,
    own: Arities,
    /// The longest list of arguments of each of these.
    own_params: BTreeMap<String, Vec<String>>,
    /// Keys of maps, which may hold functions.
    keys: BTreeSet<String>,
    /// The modules that are imported under each name; `None` where it isn't known which.
    aliases: BTreeMap<String, Option<String>>,
}

/// All functions that are called without a module's name.
fn native(engine: &Engine) -> Arities {
    let mut arities = Arities::new();
    let all = engine.collect_fn_metadata(
        None,
        |function| {
            let name = function.metadata.name.as_str();
            function.namespace.is_empty().then(|| (name.to_owned(), function.metadata.num_params))
        },
        true,
    );
    for (name, arity) in all {
        arities.entry(name).or_default().insert(arity);
    }
    arities
}

impl Checker<'_> {
    /// Learns which functions the file has itself.
    fn own_functions(&mut self, ast: &AST, is_playbook: bool) -> Result<(), Diagnostic> {
        for function in ast.iter_functions().filter(|function| !function.name.starts_with("anon$")) {
            let (name, arity) = (function.name, function.params.len());
            if is_playbook && let Some(whose) = self.taken(name, arity) {
                let place = find_function(self.text, self.file, name).unwrap_or_else(|| Place::file(self.file.clone()));
                return Err(Diagnostic::new(format!("`{name}` is {whose} own, and can't be defined again"))
                    .at(place, "")
                    .help("give your function another name"));
            }
            self.own.entry(name.to_owned()).or_default().insert(arity);
            let params: Vec<String> = function.params.iter().map(|param| (*param).to_owned()).collect();
            let longest = self.own_params.entry(name.to_owned()).or_default();
            if longest.len() <= params.len() {
                *longest = params;
            }
        }
        Ok(())
    }

    /// Whose a name is, if it isn't free.
    fn taken(&self, name: &str, arity: usize) -> Option<&'static str> {
        if NATIVES.iter().any(|native| native.name == name) {
            return Some("haflow's");
        }
        let embedded = |module: &&Module| module.called == Called::Plainly;
        for module in stdlib().iter().filter(embedded) {
            let site = Site::new(self.file.clone(), Position::NONE);
            let parsed = self.parser.parse(self.engine, module.name, &site).ok()?;
            if public(&parsed).contains_key(name) {
                return Some("haflow's");
            }
        }
        self.native.get(name).is_some_and(|arities| arities.contains(&arity)).then_some("rhai's")
    }

    fn calls(&mut self, ast: &AST) -> Result<(), Diagnostic> {
        let mut problem = None;
        ast.walk(&mut |path| {
            if let Some(node) = path.last() {
                problem = self.learn(node).err();
            }
            problem.is_none()
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        let mut problem = None;
        ast.walk(&mut |path| {
            problem = self.node(path).err();
            problem.is_none()
        });
        problem.map_or(Ok(()), Err)
    }

    /// Learns names that later calls may use.
    fn learn(&mut self, node: &ASTNode<'_>) -> Result<(), Diagnostic> {
        match node {
            ASTNode::Expr(Expr::Map(map, _)) => self.keys.extend(map.0.iter().map(|(key, _)| key.name.to_string())),
            ASTNode::Expr(Expr::Property(property, _)) => {
                self.keys.insert(property.2.to_string());
            }
            ASTNode::Stmt(Stmt::Import(import, _)) => {
                let (path, alias) = (&import.0, import.1.name.to_string());
                let path = match path {
                    Expr::StringConstant(path, position) => {
                        let site = Site::new(self.file.clone(), *position);
                        self.parser.parse(self.engine, path, &site)?;
                        Some(path.to_string())
                    }
                    _ => None,
                };
                let known = self.aliases.entry(alias).or_insert_with(|| path.clone());
                if *known != path {
                    *known = None;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn node(&self, path: &[ASTNode<'_>]) -> Result<(), Diagnostic> {
        match path {
            [.., ASTNode::Stmt(Stmt::FnCall(call, position)) | ASTNode::Expr(Expr::FnCall(call, position))] => {
                if call.namespace.is_empty() {
                    self.function(call, *position)?;
                } else {
                    self.qualified(call, *position)?;
                }
                self.modes(call)
            }
            [.., ASTNode::Expr(Expr::MethodCall(call, position))] => self.method(call, *position),
            _ => Ok(()),
        }
    }

    fn function(&self, call: &FnCallExpr, position: Position) -> Result<(), Diagnostic> {
        let name = call.name.as_str();
        if call.op_token.is_some()
            || SYNTACTIC.contains(&name)
            || !name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            return Ok(());
        }
        if let Some(problem) = Problem::forbidden(name).filter(|_| !self.own.contains_key(name)) {
            return Err(self.wrong(problem, position));
        }
        let arities: BTreeSet<usize> = [&self.own, &self.native]
            .into_iter()
            .filter_map(|functions| functions.get(name))
            .flatten()
            .copied()
            .collect();
        self.known(name, &arities, call.args.len(), position, self.own.keys().chain(self.native.keys()))
    }

    fn method(&self, call: &FnCallExpr, position: Position) -> Result<(), Diagnostic> {
        let name = call.name.as_str();
        if SYNTACTIC.contains(&name) || self.keys.contains(name) {
            return Ok(());
        }
        let of_native = self.native.get(name).into_iter().flatten().filter_map(|arity| arity.checked_sub(1));
        let of_own = self.own.get(name).into_iter().flatten().copied();
        let arities = of_native.chain(of_own).collect();
        self.known(name, &arities, call.args.len(), position, self.own.keys().chain(self.native.keys()))
    }

    fn qualified(&self, call: &FnCallExpr, position: Position) -> Result<(), Diagnostic> {
        let root = call.namespace.root();
        let module = match self.aliases.get(root) {
            Some(Some(module)) => module.as_str(),
            None if stdlib().iter().any(|module| module.name == root) => root,
            _ => return Ok(()),
        };
        let site = Site::new(self.file.clone(), position);
        let public = public(&*self.parser.parse(self.engine, module, &site)?);
        let arities = public.get(call.name.as_str()).cloned().unwrap_or_default();
        let name = format!("{root}::{}", call.name);
        let names: Vec<String> = public.keys().map(|name| format!("{root}::{name}")).collect();
        self.known(&name, &arities, call.args.len(), position, names.iter())
    }

    /// Says what is wrong if no function of that name takes so many arguments.
    fn known<'n>(
        &self,
        name: &str,
        arities: &BTreeSet<usize>,
        given: usize,
        position: Position,
        names: impl Iterator<Item = &'n String>,
    ) -> Result<(), Diagnostic> {
        if arities.contains(&given) {
            return Ok(());
        }
        if !arities.is_empty() {
            let counts: Vec<String> = arities.iter().map(ToString::to_string).collect();
            let (noun, counts) = match counts.as_slice() {
                [one] if one == "1" => ("argument", "1".to_owned()),
                [first @ .., last] if !first.is_empty() => ("arguments", format!("{} or {last}", first.join(", "))),
                _ => ("arguments", counts.join("")),
            };
            let mut problem = Problem::new(format!("`{name}` takes {counts} {noun}, not {given}"));
            let takes = |module: &&Module| module.called == Called::ByName && self.takes(module, name, given);
            if let Some(module) = stdlib().iter().find(takes) {
                problem = problem.help(format!("did you mean `{}::{name}`?", module.name));
            } else if let Some(signature) = self.signature(name) {
                problem = problem.help(format!("it is called as {signature}"));
            }
            return Err(self.wrong(problem, position));
        }
        let words = names
            .map(String::as_str)
            .filter(|name| name.starts_with(|c: char| c.is_alphabetic()) && !name.contains('$'));
        let problem = Problem::new(format!("there is no function `{name}`"));
        let module = |module: &&Module| module.called == Called::ByName && self.in_module(module, name);
        Err(self.wrong(
            match (nearest(name, words), stdlib().iter().find(module)) {
                _ if slips::function(name).is_some() => problem.help(slips::function(name).unwrap_or_default()),
                (_, Some(module)) => problem.help(format!("did you mean `{}::{name}`?", module.name)),
                (Some(near), None) => problem.help(format!("did you mean `{near}`?")),
                (None, None) => problem.help("`haflow docs` lists all functions; your own begin with `fn`"),
            },
            position,
        ))
    }

    /// How a function is called, by the longest list of its arguments.
    fn signature(&self, name: &str) -> Option<String> {
        if let Some(native) = NATIVES.iter().find(|native| native.name == name) {
            return Some(native.signature.to_owned());
        }
        let written = |params: &[&str]| format!("{name}({})", params.join(", "));
        let longest = |params: Option<Vec<&str>>| params.map(|params| written(&params));
        if let Some(own) = longest(self.own_params.get(name).map(|params| params.iter().map(String::as_str).collect()))
        {
            return Some(own);
        }
        let (module, function) = name.split_once("::").unwrap_or(("", name));
        let module = match self.aliases.get(module) {
            Some(Some(module)) => module.as_str(),
            _ => module,
        };
        let site = Site::new(self.file.clone(), Position::NONE);
        let plain = stdlib().iter().filter(|_| module.is_empty()).filter(|module| module.called == Called::Plainly);
        let names = plain.map(|module| module.name).chain(Some(module).filter(|module| !module.is_empty()));
        names.into_iter().find_map(|module| {
            let parsed = self.parser.parse(self.engine, module, &site).ok()?;
            let functions = parsed.parts.iter().flat_map(|part| part.ast.iter_functions());
            let params = functions
                .filter(|of| of.name == function && of.access == FnAccess::Public)
                .map(|of| of.params.clone())
                .max_by_key(Vec::len)?;
            Some(written(&params))
        })
    }

    /// Whether a module has a function of that name with so many arguments.
    fn takes(&self, module: &Module, name: &str, given: usize) -> bool {
        let site = Site::new(self.file.clone(), Position::NONE);
        let parsed = self.parser.parse(self.engine, module.name, &site);
        parsed.is_ok_and(|parsed| public(&parsed).get(name).is_some_and(|arities| arities.contains(&given)))
    }

    fn in_module(&self, module: &Module, name: &str) -> bool {
        let site = Site::new(self.file.clone(), Position::NONE);
        self.parser.parse(self.engine, module.name, &site).is_ok_and(|parsed| public(&parsed).contains_key(name))
    }

    /// Permission bits that were written as a decimal number.
    fn modes(&self, call: &FnCallExpr) -> Result<(), Diagnostic> {
        let ours = call.name == "file" || call.namespace.is_empty() && self.taken_by_stdlib(&call.name);
        for argument in call.args.iter().filter(|_| ours) {
            let Expr::Map(map, _) = argument else { continue };
            for (key, value) in &map.0 {
                let Expr::IntegerConstant(mode, position) = value else { continue };
                let place: Place = Site::new(self.file.clone(), *position).into();
                let literal = offset(self.text, &place).map_or("", |at| &self.text[at..]);
                let octal = mode.to_string().chars().all(|digit| ('0'..='7').contains(&digit));
                if key.name == "mode"
                    && *mode >= 100
                    && octal
                    && literal.starts_with(|c: char| c.is_ascii_digit())
                    && !literal.starts_with("0o")
                {
                    let problem =
                        Problem::new(format!("`mode: {mode}` is a decimal number, which isn't what chmod means"))
                            .help(format!("write \"0{mode}\" or 0o{mode}"));
                    return Err(self.wrong(problem, *position));
                }
            }
        }
        Ok(())
    }

    fn taken_by_stdlib(&self, name: &str) -> bool {
        stdlib().iter().any(|module| module.called == Called::Plainly && self.in_module(module, name))
    }

    fn wrong(&self, problem: Problem, position: Position) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(problem.message).at(Site::new(self.file.clone(), position).into(), "");
        diagnostic.help = problem.help;
        diagnostic
    }
}

/// The functions of a module that others may call.
fn public(module: &Parsed) -> Arities {
    let mut arities = Arities::new();
    for function in module.parts.iter().flat_map(|part| part.ast.iter_functions()) {
        if function.access == FnAccess::Public && function.this_type.is_none() && !function.name.starts_with("anon$") {
            arities.entry(function.name.to_owned()).or_default().insert(function.params.len());
        }
    }
    arities
}
