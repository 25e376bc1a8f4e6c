//! The reference of what a playbook can say, made from doc comments: for `haflow docs` and for `docs/stdlib`.

use haflow_script::{FunctionDoc, native_docs, stdlib};
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
    pages.extend(stdlib().iter().map(|module| self::module(module.name, module.global, module.text)));
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

fn module(name: &str, global: bool, text: &str) -> Page {
    let docs = haflow_script::module_docs(text);
    let called = if global { "Called without the module's name." } else { "Called with the module's name." };
    let mut markdown = format!("{GENERATED}# {name}\n\n{}\n\n{called}\n", docs.header);
    let mut told: Vec<&FunctionDoc> = Vec::new();
    for function in &docs.functions {
        // A function with fewer arguments and no comment of its own is the same with nothing asked for.
        let shorter = function.doc.is_empty() && told.iter().any(|other| other.name == function.name);
        if !shorter {
            told.push(function);
        }
    }
    for function in told {
        let prefix = if global { String::new() } else { format!("{name}::") };
        let _ =
            write!(markdown, "\n## `{prefix}{}({})`\n\n{}\n", function.name, function.params.join(", "), function.doc);
    }
    let summary = docs.header.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let summary = summary.split_inclusive(". ").next().unwrap_or_default().trim().to_owned();
    Page { name: name.into(), summary, markdown }
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
        for module in stdlib() {
            let docs = haflow_script::module_docs(module.text);
            for function in &docs.functions {
                let documented =
                    docs.functions.iter().any(|other| other.name == function.name && !other.doc.is_empty());
                assert!(documented, "{}::{} has no doc comment", module.name, function.name);
            }
        }
    }
}
