//! What the reference is made of: the native functions, and the doc comments of modules.

pub(crate) mod natives;

use natives::{NATIVES, NativeDoc};

/// The documentation of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleDoc {
    /// Its `//!` comment.
    pub header: String,
    /// Its public functions, in the order of the file.
    pub functions: Vec<FunctionDoc>,
}

/// The documentation of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDoc {
    /// Its name.
    pub name: String,
    /// The names of its arguments.
    pub params: Vec<String>,
    /// Its `///` comment.
    pub doc: String,
}

/// The native functions, in the order of the reference.
pub fn native_docs() -> &'static [NativeDoc] {
    NATIVES
}

/// The doc comments of a module's text.
///
/// They are read line by line rather than by the parser, so that the reference keeps the order of the file.
pub fn module_docs(text: &str) -> ModuleDoc {
    let mut docs = ModuleDoc { header: String::new(), functions: Vec::new() };
    let mut comment = String::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("//!") {
            push_line(&mut docs.header, header);
        } else if let Some(doc) = line.strip_prefix("///") {
            push_line(&mut comment, doc);
        } else if let Some(signature) = line.strip_prefix("fn ") {
            let (name, rest) = signature.split_once('(').unwrap_or((signature, ""));
            let params = rest.split(')').next().unwrap_or_default();
            docs.functions.push(FunctionDoc {
                name: name.trim().to_owned(),
                params: params.split(',').map(str::trim).filter(|param| !param.is_empty()).map(str::to_owned).collect(),
                doc: std::mem::take(&mut comment).trim().to_owned(),
            });
        } else {
            comment.clear();
        }
    }
    docs.header.truncate(docs.header.trim_end().len());
    docs
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line.strip_prefix(' ').unwrap_or(line));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use crate::calls::register::Natives;
    use crate::declaration::Declaration;
    use crate::reference::natives::NATIVES;
    use rhai::Engine;
    use std::collections::BTreeSet;
    use std::sync::{Arc, mpsc::channel};

    #[test]
    fn every_native_function_is_documented() {
        let declaration = Arc::new(Declaration::new(
            "p".into(),
            "".into(),
            None,
            [].into(),
            jiff::Timestamp::UNIX_EPOCH,
            None,
            channel().0,
        ));
        let mut engine = Engine::new_raw();
        crate::natives::register(&mut Natives { engine: &mut engine, declaration: &declaration });
        let internal = ["to_string", "to_debug", "debug", "sleep", "timestamp", "exit"];
        let registered: BTreeSet<String> = engine
            .collect_fn_metadata(None, |function| Some(function.metadata.name.to_string()), false)
            .into_iter()
            .filter(|name| {
                name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !internal.contains(&name.as_str())
            })
            .collect();
        let documented: BTreeSet<String> = NATIVES.iter().map(|native| native.name.to_owned()).collect();
        assert_eq!(registered, documented);
    }
}
