use crate::error::Error;
use crate::exit::Exit;
use crate::plan_file::{Saved, SavedNode, last};
use crate::report::{self, Format, Options, say};
use clap::Args;
use haflow_model::{Sources, nearest};
use std::path::PathBuf;

const EXAMPLE: &str = "\
For example:
    haflow plan playbooks/rabbit-ha.rhai -i inventory.toml
    haflow why rabbit1/rabbitmq_policy:ha-all";

/// Say what is behind a plan's decision on a task.
///
/// What was found, because of which tasks before it the decision isn't certain, what the task waits for, and the facts of its host that
/// the playbook asked for. Without a plan's file it is about the last plan that was made here.
#[derive(Debug, Args)]
#[command(override_usage = "haflow why [OPTIONS] [PLAN] <TASK>", after_help = EXAMPLE)]
pub(super) struct Why {
    /// The plan's file, where it isn't the last plan; then the task's id, or a part of it that no other has
    #[arg(value_name = "TASK", required = true, num_args = 1..=2)]
    of: Vec<String>,
    /// Tell differences in full
    #[arg(short, long)]
    verbose: bool,
}

impl Why {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let (plan, task) = match &self.of[..] {
            [plan, task] => (PathBuf::from(plan), task),
            [task, ..] => {
                let last = last()?;
                if !last.exists() {
                    return Err(Error::Usage {
                        message: "no plan was made here yet".into(),
                        help: "make one with `haflow plan PLAYBOOK …`, or name the file of one: `haflow why FILE TASK`"
                            .into(),
                    });
                }
                (last, task)
            }
            [] => unreachable!("one is required"),
        };
        let saved = Saved::read(&plan)?;
        let node = find(&saved, task)?;
        // A line is shown if its file is what it was.
        let mut sources = Sources::new();
        if let Some(text) = saved.unchanged_source(&node.place.file) {
            sources.insert(node.place.file.clone(), text.into());
        }
        let options = Options::detect(Format::detect(), self.verbose);
        say(&report::why(&saved, node, &sources, options));
        Ok(Exit::Done)
    }
}

/// The task of that id, or the only one that has it in its id.
fn find<'s>(saved: &'s Saved, task: &str) -> Result<&'s SavedNode, Error> {
    let tasks = || saved.nodes.iter().filter(|node| node.planned.is_some());
    if let Some(node) = tasks().find(|node| node.name == task) {
        return Ok(node);
    }
    let some: Vec<&SavedNode> = tasks().filter(|node| node.name.contains(task)).collect();
    match some[..] {
        [node] => Ok(node),
        [] => {
            let near = nearest(task, tasks().map(|node| node.name.as_str()));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(Error::Usage {
                message: format!("the plan of {} has no task `{task}`{near}", saved.asked.playbook.playbook.display()),
                help: "a task's id is `host/kind:name`; `haflow plan -v` lists them".into(),
            })
        }
        _ => {
            let names: Vec<&str> = some.iter().take(10).map(|node| node.name.as_str()).collect();
            let more = if some.len() > 10 { format!("\n  and {} more", some.len() - 10) } else { String::new() };
            Err(Error::Usage {
                message: format!("`{task}` fits {} tasks:\n  {}{more}", some.len(), names.join("\n  ")),
                help: "give more of the one that you mean".into(),
            })
        }
    }
}
