use crate::error::Error;
use crate::exit::Exit;
use crate::reference::{self, Page};
use crate::report::say;
use clap::Args;
use haflow_model::nearest;
use haflow_script::known_elsewhere;

/// Show what a playbook can say: the native functions and the modules of stdlib, or one function.
#[derive(Debug, Args)]
pub(super) struct Docs {
    /// A page: `native`, or a module such as `rabbitmq`; or a function such as `line` or `rabbitmq::join`;
    /// without it, the list of pages
    page: Option<String>,
}

impl Docs {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let pages = reference::pages();
        let Some(name) = self.page else {
            for Page { name, summary, .. } in &pages {
                say(&format!("{name:12} {summary}"));
            }
            return Ok(Exit::Done);
        };
        let Some(page) = pages.iter().find(|page| page.name == name) else {
            let functions: Vec<(&str, &str)> = pages.iter().flat_map(functions).collect();
            let told: Vec<&str> =
                functions.iter().filter(|(function, _)| *function == name).map(|(_, text)| *text).collect();
            if !told.is_empty() {
                say(&told.join("\n"));
                return Ok(Exit::Done);
            }
            let of_module = |function: &str| function.rsplit_once("::").is_some_and(|(_, function)| function == name);
            let known = || pages.iter().map(|page| page.name.as_str()).chain(functions.iter().map(|(name, _)| *name));
            let near = known().find(|known| of_module(known)).or_else(|| nearest(&name, known()));
            return Err(Error::Usage {
                message: format!("there is no page and no function `{name}`"),
                help: known_elsewhere(&name)
                    .or_else(|| near.map(|near| format!("did you mean `{near}`?")))
                    .unwrap_or_else(|| "`haflow docs` lists them".into()),
            });
        };
        // The first line is for who edits the file.
        say(page.markdown.split_once('\n').map_or("", |(_, text)| text));
        Ok(Exit::Done)
    }
}

/// The functions of a page, each with what is said of it.
fn functions(page: &Page) -> impl Iterator<Item = (&str, &str)> {
    let sections = page.markdown.match_indices("\n## `").map(|(at, _)| &page.markdown[at + 1..]);
    sections.map(|text| {
        let end = text[3..].find("\n#").map_or(text.len(), |end| end + 3);
        let heading = text.trim_start_matches("## `");
        (heading.split(['(', '`']).next().unwrap_or_default(), text[..end].trim_end())
    })
}
