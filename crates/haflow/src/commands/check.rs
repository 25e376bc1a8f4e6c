use crate::error::Error;
use crate::exit::Exit;
use crate::report::{clean, count, say};
use crate::session::{Playbook, Where};
use clap::Args;
use haflow_model::{Graph, Place};
use haflow_script::{NoteKind, ParamDecl, is_in_stdlib};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Check a playbook without reaching a host, and list its params and groups.
///
/// Facts are assumed to be those of a Debian 12. Without an inventory the hosts are imagined: `rabbit1`,
/// `rabbit2`, … for the group "rabbit".
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    playbook: Playbook,
    #[command(flatten)]
    place: Where,
}

impl Check {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let inventory = self.place.imagined(&self.playbook)?;
        let declared = self.playbook.imagine(inventory.as_ref())?;
        super::syntax::check(&declared.graph, &declared.sources)?;
        let hosts: BTreeSet<_> = declared.graph.tasks().map(|(_, task)| &task.host).collect();
        let host = if inventory.is_none() { "imagined host" } else { "host" };
        let mut text = format!(
            "{}: fine; {} on {}\n",
            self.playbook.playbook.display(),
            count(declared.graph.tasks().count(), "task"),
            count(hosts.len(), host)
        );
        if !declared.params.is_empty() {
            text.push_str("\nParams (-e NAME=VALUE):\n");
            for param in &declared.params {
                text.push_str(&param_lines(param));
            }
        }
        if !declared.groups.is_empty() {
            text.push_str("\nGroups:\n");
            for group in &declared.groups {
                let help = group.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
                let _ = writeln!(text, "  {}  at least {}, {} in the lab{help}", group.name, group.at_least, group.lab);
            }
        }
        if !declared.secrets.is_empty() {
            text.push_str("\nSecrets:\n");
            for secret in &declared.secrets {
                let _ = writeln!(text, "  {}", secret.name);
            }
        }
        let not_rehearsed = not_rehearsed(&declared.graph);
        if !not_rehearsed.is_empty() {
            text.push_str("\nWithout `rehearse`, so that no plan says whether they would fail:\n");
            for (kind, place) in not_rehearsed {
                let _ = writeln!(text, "  {kind}  {place}");
            }
        }
        if !declared.notes.is_empty() {
            text.push('\n');
        }
        for note in &declared.notes {
            let word = if note.kind == NoteKind::Warn { "warning" } else { "note" };
            let _ = writeln!(text, "{word}: {} ({})", note.text, note.place);
        }
        say(&clean(&text));
        Ok(Exit::Done)
    }
}

/// The kinds of tasks of the playbook's own, and of its modules, whose applies aren't rehearsed, and where
/// each is declared first.
fn not_rehearsed(graph: &Graph) -> BTreeMap<&str, &Place> {
    let mut found = BTreeMap::new();
    for (_, task) in graph.tasks() {
        let place = task.declared_in.as_ref().unwrap_or(&task.place);
        if task.action.lacks_rehearsal() && !is_in_stdlib(place) {
            found.entry(&*task.kind).or_insert(place);
        }
    }
    found
}

fn param_lines(param: &ParamDecl) -> String {
    let default = match &param.default {
        Some(default) => format!("default {default}"),
        None => "must be given".into(),
    };
    let values: Vec<String> = param.one_of.iter().map(ToString::to_string).collect();
    let values = if values.is_empty() { String::new() } else { format!(", one of {}", values.join(", ")) };
    let help = param.help.as_deref().map(|help| format!("\n      {help}")).unwrap_or_default();
    format!("  {}  {}, {default}{values}{help}\n", param.name, param.kind.as_str())
}
