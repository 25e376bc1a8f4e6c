//! What a command was asked for: which playbook, told what, and which of its tasks on which hosts.

use super::place::{HostKeys, Where};
use super::playbook::Playbook;
use crate::error::Error;
use clap::Args;
use haflow_model::{Graph, Host, HostName, nearest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that a plan and a run are a function of, besides what is on the hosts.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Asked {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) playbook: Playbook,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) place: Where,
    /// Not kept: who goes on, or applies a plan, says it anew.
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) keys: HostKeys,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) choice: Choice,
}

/// Which of the tasks.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Choice {
    /// Only tasks on these hosts: names, groups or patterns with `*`, separated by commas; `!` before one
    /// leaves its hosts out. What they read from others is read
    #[arg(short, long, value_name = "PATTERN", value_parser = list)]
    limit: Vec<String>,
    /// Only tasks with one of these tags
    #[arg(short, long, value_name = "TAG", value_parser = list)]
    tags: Vec<String>,
}

impl Asked {
    /// The command line that asks for the same.
    pub(crate) fn command(&self, command: &str) -> String {
        let mut words = vec![self.playbook.playbook.display().to_string()];
        words.extend(self.place.words());
        let params = self.playbook.params.iter();
        words.extend(params.flat_map(|(name, value)| ["-e".to_owned(), format!("{name}={value}")]));
        for (option, given) in [("--limit", &self.choice.limit), ("--tags", &self.choice.tags)] {
            if !given.is_empty() {
                words.extend([option.to_owned(), given.join(",")]);
            }
        }
        let quoted: Vec<String> = words.iter().map(|word| shell_words::quote(word).into_owned()).collect();
        format!("haflow {command} {}", quoted.join(" "))
    }
}

impl Choice {
    /// Whether tasks of this host may be chosen.
    pub(super) fn wants(&self, host: &Host) -> bool {
        let (out, only): (Vec<&str>, Vec<&str>) = each(&self.limit).partition(|pattern| pattern.starts_with('!'));
        (only.is_empty() || only.into_iter().any(|pattern| fits(pattern, host)))
            && !out.into_iter().any(|pattern| fits(&pattern[1..], host))
    }

    /// What is left of the graph. A choice that leaves nothing was a slip.
    pub(super) fn of(&self, graph: Graph) -> Result<Graph, Error> {
        if self.limit.is_empty() && self.tags.is_empty() {
            return Ok(graph);
        }
        let hosts: BTreeMap<&HostName, &Host> = graph.hosts().iter().map(|host| (&host.name, host)).collect();
        for pattern in each(&self.limit) {
            let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
            if !hosts.values().any(|host| fits(pattern, host)) {
                let near = nearest(pattern, hosts.keys().map(|host| host.as_str()))
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(Error::Usage {
                    message: format!("--limit {pattern} fits no host of this playbook{near}"),
                    help: "give names, groups or patterns such as `rabbit*`, with commas between them and `!` before \
                           what is left out; Ansible's `a:b`, `a:&b`, `a[0]`, `~regex` and `@file` aren't there"
                        .into(),
                });
            }
        }
        let left = graph.only(|task| {
            hosts.get(&task.host).is_some_and(|host| self.wants(host))
                && (self.tags.is_empty() || task.tags.iter().any(|tag| each(&self.tags).any(|wanted| wanted == tag)))
        });
        if left.tasks().next().is_none() {
            let given = [("--limit", &self.limit), ("--tags", &self.tags)];
            let given = given.iter().filter(|(_, given)| !given.is_empty());
            let given: Vec<String> = given.map(|(option, given)| format!("{option} {}", given.join(","))).collect();
            return Err(Error::Usage {
                message: format!("no task of this playbook is chosen by {}", given.join(" and ")),
                help: "a task has the tags that its option `tags` gives it".into(),
            });
        }
        Ok(left)
    }
}

/// Whether a host is meant by a name, a group or a pattern.
fn fits(pattern: &str, host: &Host) -> bool {
    pattern == "all" || matches(pattern, host.name.as_str()) || host.groups.iter().any(|group| group == pattern)
}

/// Whether `text` fits a pattern in which `*` stands for any number of characters.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, rest)) => text.strip_prefix(before).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// What is given by one option, and by several of the same.
fn each(given: &[String]) -> impl Iterator<Item = &str> {
    given.iter().flat_map(|list| list.split(','))
}

/// Names with commas between them, without blanks around them. Who names none has made a slip: a shell's
/// variable is empty, and that doesn't mean all.
fn list(text: &str) -> Result<String, String> {
    let name = |name: &str| match name.trim().strip_prefix('!') {
        Some(out) => format!("!{}", out.trim()),
        None => name.trim().to_owned(),
    };
    let names: Vec<String> =
        text.split(',').map(name).filter(|name| !name.trim_start_matches('!').is_empty()).collect();
    if names.is_empty() { Err("it names nothing; leave the option out for all".into()) } else { Ok(names.join(",")) }
}
