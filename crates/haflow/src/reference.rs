//! The reference of what a playbook can say, made from doc comments: for `haflow docs` and for `docs/stdlib`.

use haflow_script::{Called, FunctionDoc, Module, module_docs, native_docs, stdlib};
use std::fmt::Write as _;

/// A page of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// `native`, or the module's name.
    pub(crate) name: String,
    /// Its first sentence.
    pub(crate) summary: String,
    /// The whole.
    pub(crate) markdown: String,
}

/// All pages: the native functions, then the modules by name.
pub(crate) fn pages() -> Vec<Page> {
    let mut pages = vec![native()];
    pages.extend(stdlib().iter().filter(|module| module.called != Called::Inside).map(module));
    pages
}

/// What stands above each generated page.
const GENERATED: &str = "<!-- Generated from the doc comments: UPDATE_GOLDEN=1 cargo test -p haflow reference -->\n";

fn native() -> Page {
    let summary = "What haflow itself brings: params, hosts, facts, tasks and their order.";
    let mut markdown = format!("{GENERATED}# native\n\n{summary}\n");
    for native in native_docs() {
        let _ = write!(markdown, "\n## `{}`\n\n{}\n", native.signature, native.doc);
    }
    Page { name: "native".into(), summary: summary.into(), markdown }
}

fn module(module: &Module) -> Page {
    let Module { name, called, parts } = module;
    let plainly = *called == Called::Plainly;
    let header = module_docs(parts[0].text).header;
    let called = if plainly { "Called without the module's name." } else { "Called with the module's name." };
    let mut markdown = format!("{GENERATED}# {name}\n\n{header}\n\n{called}\n");
    let prefix = if plainly { String::new() } else { format!("{name}::") };
    for (number, part) in parts.iter().enumerate() {
        let docs = module_docs(part.text);
        if number > 0 {
            let _ = write!(markdown, "\n# {}\n", docs.header);
        }
        for FunctionDoc { name, params, doc } in told(&docs.functions) {
            let _ = write!(markdown, "\n## `{prefix}{name}({})`\n\n{doc}\n", params.join(", "));
        }
    }
    let summary = header.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let summary = summary.split_inclusive(". ").next().unwrap_or_default().trim().to_owned();
    Page { name: (*name).into(), summary, markdown }
}

/// A function with fewer arguments and no comment of its own is the same with nothing asked for, and isn't
/// told.
fn told(functions: &[FunctionDoc]) -> Vec<&FunctionDoc> {
    let mut told: Vec<&FunctionDoc> = Vec::new();
    for function in functions {
        let shorter = function.doc.is_empty() && told.iter().any(|other| other.name == function.name);
        if !shorter {
            told.push(function);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// `docs/stdlib` is what the doc comments say; `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_reference_is_up_to_date() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/stdlib");
        let mut files: Vec<(String, String)> =
            pages().into_iter().map(|page| (format!("{}.md", page.name), page.markdown)).collect();
        let mut list = format!("{GENERATED}# What a playbook can say\n\n");
        for page in pages() {
            let _ = writeln!(list, "- [{0}]({0}.md): {1}", page.name, page.summary);
        }
        files.push(("README.md".into(), list));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).expect("the folder");
            for (name, text) in &files {
                std::fs::write(folder.join(name), text).expect("a page");
            }
        }
        for (name, text) in &files {
            let written = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(written == *text, "docs/stdlib/{name} is stale: run with UPDATE_GOLDEN=1");
        }
        let pages = std::fs::read_dir(&folder).expect("the folder").count();
        assert_eq!(pages, files.len(), "docs/stdlib holds a page that nothing generates");
    }

    #[test]
    fn every_function_is_documented() {
        for part in stdlib().iter().flat_map(|module| module.parts) {
            let docs = module_docs(part.text);
            for function in &docs.functions {
                let documented =
                    docs.functions.iter().any(|other| other.name == function.name && !other.doc.is_empty());
                assert!(documented, "{} in {} has no doc comment", function.name, part.file);
            }
        }
    }
}
