use crate::error::Error;
use crate::exit::Exit;
use crate::reference::{self, Page};
use crate::report::say;
use clap::Args;
use haflow_model::nearest;

/// Show what a playbook can say: the native functions and the modules of stdlib.
#[derive(Debug, Args)]
pub(super) struct Docs {
    /// A page: `native`, or a module such as `rabbitmq`; without it, the list of pages
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
            let near = nearest(&name, pages.iter().map(|page| page.name.as_str()));
            return Err(Error::Usage {
                message: format!("there is no page `{name}`"),
                help: near.map_or_else(|| "`haflow docs` lists them".into(), |near| format!("did you mean `{near}`?")),
            });
        };
        // The first line is for who edits the file.
        say(page.markdown.split_once('\n').map_or("", |(_, text)| text));
        Ok(Exit::Done)
    }
}
