use crate::error::Error;
use crate::exit::Exit;
use crate::journal::{self, History, KeptRun, Stops};
use crate::json;
use crate::plan_file::{Saved, last};
use crate::report::{self, Format, Options, count, say};
use clap::Args;
use haflow_model::{Record, Sources, nearest};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const EXAMPLE: &str = "\
For example:
    haflow run playbooks/rabbit-ha.rhai -i inventory.toml
    haflow why rabbit1/rabbitmq_policy:ha-all
    haflow why 20261122-2107 member";

/// Say what is behind a task: what became of it in a run, or what a plan decided on it.
///
/// Of a run, also while it is under way: what the task waited for and what of that came last, what was seen
/// and done, every attempt, how it ended, and where it was skipped, the tasks because of which. Of a plan:
/// what was found, because of which tasks before it the decision isn't certain, what the task waits for, and
/// the facts of its host that the playbook asked for.
#[derive(Debug, Args)]
#[command(override_usage = "haflow why [OPTIONS] [RUN|PLAN] <TASK>", after_help = EXAMPLE)]
pub(super) struct Why {
    /// The run's id, a part of it that no other has, or `last`; or a plan's file. If not given, the last run
    /// or plan, whichever was later. Then the task's id, or a part of it that no other has
    #[arg(value_name = "TASK", required = true, num_args = 1..=2)]
    of: Vec<String>,
    /// How to tell it; json is one object
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Tell differences in full
    #[arg(short, long)]
    verbose: bool,
}

/// What the task is of.
enum Of {
    Plan(PathBuf),
    Run(KeptRun),
}

impl Why {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let (of, task) = match &self.of[..] {
            [of, task] if is_file(of) => (Of::Plan(of.into()), task),
            [of, task] => (Of::Run(journal::find(Some(of))?), task),
            [task, ..] => (latest()?, task),
            [] => unreachable!("one is required"),
        };
        let format = self.format.unwrap_or_else(Format::detect);
        let options = Options::detect(format, self.verbose);
        say(&match of {
            Of::Plan(plan) => of_plan(&plan, task, format, options)?,
            Of::Run(kept) => of_run(&kept, task, format, options)?,
        });
        Ok(Exit::Done)
    }
}

/// A run's id is no path.
fn is_file(of: &str) -> bool {
    Path::new(of).is_file() || of.contains('/') || Path::new(of).extension().is_some()
}

/// The last run or plan, whichever was told of later.
fn latest() -> Result<Of, Error> {
    let plan = last()?;
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let run = journal::all()?.into_iter().next();
    let of_run = run.as_ref().and_then(|kept| changed(&kept.journal()));
    match (run, changed(&plan)) {
        (Some(kept), planned) if of_run >= planned.or(Some(SystemTime::UNIX_EPOCH)) => Ok(Of::Run(kept)),
        (_, Some(_)) => Ok(Of::Plan(plan)),
        (_, None) => Err(Error::Usage {
            message: "nothing was run or planned here yet".into(),
            help: "`haflow run PLAYBOOK …` and `haflow plan PLAYBOOK …` do; `haflow why FILE TASK` tells of a plan that was kept".into(),
        }),
    }
}

fn of_plan(plan: &Path, task: &str, format: Format, options: Options) -> Result<String, Error> {
    let saved = Saved::read(plan)?;
    let tasks = saved.nodes.iter().filter(|node| node.planned.is_some());
    let whose = format!("the plan of {}", saved.asked.playbook.playbook.display());
    let name = find(tasks.map(|node| node.name.as_str()), task, &whose, "`haflow plan -v` lists them")?;
    let node = saved.nodes.iter().find(|node| node.name == name).expect("it was found");
    if format == Format::Json {
        return Ok(json::text(node) + "\n");
    }
    // A line is shown if its file is what it was.
    let mut sources = Sources::new();
    if let Some(text) = saved.unchanged_source(&node.place.file) {
        sources.insert(node.place.file.clone(), text.into());
    }
    Ok(report::of_plan(&saved, node, &sources, options))
}

fn of_run(kept: &KeptRun, task: &str, format: Format, options: Options) -> Result<String, Error> {
    let input = kept.input()?;
    // Asked first: what is written before the run ends is read after.
    let alive = kept.is_running();
    let whose = format!("run {}", kept.run);
    let mut nodes = input.nodes.clone();
    if nodes.is_empty() {
        eprintln!("note: {whose} is of haflow {}, which didn't keep what tasks wait for", input.haflow);
        nodes = journal::told(&kept.events()?.rest(journal::slim)?);
    }
    let tasks = nodes.iter().filter(|node| !node.barrier).map(|node| node.name.as_str());
    let help = format!("`haflow show -v {}` lists them", kept.run);
    let name = find(tasks, task, &whose, &help)?;
    let node = nodes.iter().find(|node| !node.barrier && node.name == name).expect("it was found");
    // Of the others it is enough how they ended.
    let keep = |record: Record| {
        if journal::is_of(&record.event, &name) { Some(record) } else { journal::slim(record) }
    };
    let records = kept.events()?.rest(keep)?;
    let stops = Stops { fail_fast: input.fail_fast, all_or_nothing: input.all_or_nothing };
    let history = History::new(&kept.run, &nodes, &records, alive, stops);
    if format == Format::Json {
        return Ok(json::text(&report::run_as_json(&history, node)) + "\n");
    }
    Ok(report::of_run(&history, node, input.sources(), options))
}

/// The task of that id, or the only one that has it in its id.
fn find<'s>(tasks: impl Iterator<Item = &'s str>, task: &str, whose: &str, list: &str) -> Result<String, Error> {
    let tasks: Vec<&str> = tasks.collect();
    if tasks.contains(&task) {
        return Ok(task.to_owned());
    }
    let some: Vec<&str> = tasks.iter().copied().filter(|name| name.contains(task)).collect();
    match some[..] {
        [name] => Ok(name.to_owned()),
        [] => {
            let near = nearest(task, tasks.iter().copied());
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(Error::Usage {
                message: format!("{whose} has no task `{task}`{near}"),
                help: format!("a task's id is `host/kind:name`; {list}"),
            })
        }
        _ => {
            let more = if some.len() > 10 { format!("\n  and {} more", some.len() - 10) } else { String::new() };
            Err(Error::Usage {
                message: format!(
                    "`{task}` fits {}:\n  {}{more}",
                    count(some.len(), "task"),
                    some[..some.len().min(10)].join("\n  ")
                ),
                help: "give more of the one that you mean".into(),
            })
        }
    }
}
