//! The steps that touch a host: look at the state of a task's thing, and change it.

pub(crate) mod ahead;
pub(crate) mod connect;
pub mod facts;
pub(crate) mod gatekeeper;
pub(crate) mod killed;
mod prepared;
pub(crate) mod rehearse;
pub(crate) mod trouble;

use crate::decide::decide;
use crate::decide::failure::failed;
use crate::decide::file;
use crate::decide::file::chain::{self, Came, NewFile};
use crate::decide::in_words::differing;
use crate::decide::known::Known;
use crate::decide::ready::Ready;
use crate::decide::rehearsed::Rehearsed;
use crate::decide::seen::{self, Seen};
use crate::filters::{Filters, Running};
use crate::hosts::kept::PickedUp;
use crate::hosts::lent::Lent;
use crate::lane::{Output, Process, Script, Stopped};
use crate::step::prepared::Prepared;
use crate::step::trouble::Trouble;
use haflow_model::{Action, Decision, Failure, Value};
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

/// The read-only script of a task; an act has none.
fn probe<'a>(task: &'a Ready<'_>) -> Option<Prepared<'a>> {
    match task.task.action.probe() {
        Some(probe) => {
            Some(Prepared { text: probe.script.as_str().into(), variables: task.variables(), process: Process::Own })
        }
        None => task.file().map(|wanted| {
            let (text, variables) = wanted.probe();
            Prepared { text: text.into(), variables, process: Process::Taught(&file::FUNCTIONS) }
        }),
    }
}

/// What a probe's output shows. Filters and edits have the task's timeout for it, and hold nothing else up.
async fn interpret(
    filters: &Filters,
    task: &Ready<'_>,
    output: &Output,
    timeout: Duration,
    kill: &CancellationToken,
) -> Result<Seen, Trouble> {
    let running = Running { filters, variables: &task.values.0, timeout, kill };
    let seen = match task.task.action.probe() {
        Some(probe) => seen::of_probe(probe, output, task.structured(), running).await.map_err(Trouble::from),
        None => match (file::seen::parse(output), task.file()) {
            (Ok(mut seen), Some(wanted)) => match wanted.make_edit(&mut seen, running).await {
                Ok(()) => Ok(Seen::File(seen)),
                Err(_) => Err(Trouble::Killed(Stopped::default())),
            },
            (seen, _) => Ok(seen.map(Seen::File)?),
        },
    };
    match task.task.action.reads() {
        Some(read) if read.secret => seen.map_err(|trouble| match trouble {
            Trouble::Failed(failure) => Failure {
                // What was printed, and what a filter says of it, may hold the secret.
                message: match output.exit {
                    0 => "the secret was read, but the jq filter makes nothing of it".into(),
                    _ => failure.message,
                },
                stdout: String::new(),
                ..*failure
            }
            .into(),
            trouble => trouble,
        }),
        _ => seen,
    }
}

/// Reads the state of a task's thing. Changes nothing.
pub(crate) async fn look(lane: &mut Lent<'_>, task: &Ready<'_>, kill: &CancellationToken) -> Result<Seen, Trouble> {
    look_for(lane, task, task.task.policy.timeout, kill).await
}

/// The same, for at most `timeout` if that is less than the task's own.
pub(crate) async fn look_for(
    lane: &mut Lent<'_>,
    task: &Ready<'_>,
    timeout: Duration,
    kill: &CancellationToken,
) -> Result<Seen, Trouble> {
    let Some(probe) = probe(task) else { return Ok(Seen::Nothing) };
    let timeout = timeout.min(task.task.policy.timeout);
    let output = lane.run(probe.script(), timeout, kill).await?;
    interpret(lane.filters(), task, &output, timeout, kill).await
}

/// What a round trip shows of a task.
#[derive(Debug)]
pub(crate) enum Shown {
    /// The state of its thing.
    Seen(Result<Seen, Trouble>),
    /// What its rehearsal found.
    Rehearsed(Rehearsed),
}

/// Reads the states of several tasks' things on one host, as one user, or rehearses those of which something
/// was seen already, in one round trip. Each is handed over, with the task's index, when it has come.
pub(crate) async fn look_all(
    lane: &mut Lent<'_>,
    tasks: &[(Ready<'_>, Option<Seen>)],
    kill: &CancellationToken,
    mut each: impl FnMut(usize, Shown),
) -> Result<(), Trouble> {
    let timeout = tasks.iter().map(|(task, _)| task.task.policy.timeout).max().unwrap_or_default();
    // Which tasks each script is about: files are rehearsed together.
    let (mut about, mut prepared, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (task, seen)) in tasks.iter().enumerate() {
        let script = match seen {
            None => probe(task),
            Some(_) if task.file().is_some() => {
                files.push(index);
                continue;
            }
            Some(_) => rehearse::own(task),
        };
        match script {
            Some(script) => {
                about.push(vec![index]);
                prepared.push(script);
            }
            None => each(index, Shown::Seen(Ok(Seen::Nothing))),
        }
    }
    if !files.is_empty() {
        prepared.push(rehearse::files(files.iter().map(|index| &tasks[*index])));
        about.push(files);
    }
    let scripts: Vec<Script<'_>> = prepared.iter().map(Prepared::script).collect();
    let filters = lane.filters();
    let mut about = about.into_iter();
    let (come, mut outputs) = unbounded_channel();
    let run = async move {
        // The receiver lives until all outputs have come.
        let come = |output: Output| drop(about.next().map(|about| come.send((about, output))));
        lane.run_all(&scripts, timeout, kill, come).await
    };
    let interpret = async {
        while let Some((about, output)) = outputs.recv().await {
            if let [index] = about[..]
                && let (task, None) = &tasks[index]
            {
                let seen = interpret(filters, task, &output, task.task.policy.timeout, kill).await;
                each(index, Shown::Seen(seen));
                continue;
            }
            let about_tasks = about.iter().map(|index| &tasks[*index].0);
            for (index, found) in about.iter().zip(rehearse::interpret(about_tasks, &output)) {
                each(*index, Shown::Rehearsed(found));
            }
        }
    };
    let (ran, ()) = tokio::join!(run, interpret);
    Ok(ran?)
}

/// What was seen of a task's thing, and how far that can be relied on.
#[derive(Debug)]
pub(crate) enum Sight {
    /// Nothing has happened since.
    Now(Seen),
    /// Something has: an apply makes sure first that it still holds.
    Before(Seen),
}

impl Sight {
    pub(crate) fn seen(&self) -> &Seen {
        match self {
            Self::Now(seen) | Self::Before(seen) => seen,
        }
    }
}

/// What an apply did, and what there is after it.
#[derive(PartialEq)]
pub(crate) struct Applied {
    pub(crate) output: Output,
    pub(crate) after: Result<Seen, Failure>,
}

/// The id under which the host keeps the result of what [`apply`] does, where it does that. A file is written
/// at once or not at all.
pub(crate) fn kept(lane: &Lent<'_>, task: &Ready<'_>) -> Option<String> {
    if task.task.action.is_kept() { lane.step(&task.task.id()) } else { None }
}

/// Changes the thing from what was seen, and looks again: one round trip. `None` where what was seen before
/// no longer holds; then nothing was changed. With a step its result is kept on the host under that id.
pub(crate) async fn apply(
    lane: &mut Lent<'_>,
    task: &Ready<'_>,
    sight: &Sight,
    step: Option<&str>,
    kill: &CancellationToken,
) -> Result<Option<Applied>, Trouble> {
    let timeout = task.task.policy.timeout;
    let process = step.map_or(Process::Own, Process::Kept);
    let text = match &task.task.action {
        Action::Ensure(ensure) => &ensure.apply,
        Action::Act(act) => &act.apply,
        Action::File(_) => return apply_file(lane, task, sight, kill).await,
        Action::Gate(_) | Action::Read(_) => unreachable!("what only looks is never to be changed"),
    };
    let prepared = Prepared { text: text.as_str().into(), variables: task.variables(), process };
    if let Some(probe) = probe(task) {
        let mut outputs = Vec::new();
        lane.run_all(&[prepared.script(), probe.script()], timeout, kill, |output| outputs.push(output)).await?;
        let (Some(after), Some(output)) = (outputs.pop(), outputs.pop()) else {
            return Err(Trouble::Lost("an answer is missing".into()));
        };
        let after = seen_after(lane.filters(), task, &after, kill).await?;
        return Ok(Some(Applied { output, after }));
    }
    let output = lane.run(prepared.script(), timeout, kill).await?;
    Ok(Some(Applied { output, after: Ok(Seen::Nothing) }))
}

/// Writes a file and looks again. Both scripts are haflow's own and share a shell: a hundred files are a
/// hundred shells fewer.
async fn apply_file(
    lane: &mut Lent<'_>,
    task: &Ready<'_>,
    sight: &Sight,
    kill: &CancellationToken,
) -> Result<Option<Applied>, Trouble> {
    let (Some(wanted), Seen::File(seen)) = (task.file(), sight.seen()) else {
        unreachable!("a file's look shows a file")
    };
    let (text, variables) = wanted.apply_and_probe(seen, matches!(sight, Sight::Before(_)))?;
    let script = Script { text: &text, variables: &variables.0, process: Process::Taught(&file::FUNCTIONS) };
    let output = lane.run(script, task.task.policy.timeout, kill).await?;
    if output.exit == 0 && output.stdout == file::MOVED {
        return Ok(None);
    }
    let after = seen_after(lane.filters(), task, &output, kill).await?;
    // What was printed is the look's, and has the digest of the content, which may be a secret.
    Ok(Some(Applied { output: Output { stdout: Vec::new(), ..output }, after }))
}

/// The new file of a task that can come into its folder with others, by what was seen of it.
pub(crate) fn new_file<'a>(task: &'a Ready<'_>, seen: &Seen) -> Option<NewFile<'a>> {
    match (task.file(), seen) {
        (Some(wanted), Seen::File(seen)) => NewFile::of(wanted, seen),
        _ => None,
    }
}

/// Makes the new files of several tasks, all of which go with one another, and looks at each: one round trip.
pub(crate) async fn apply_together(
    lane: &mut Lent<'_>,
    tasks: &[(&Ready<'_>, NewFile<'_>)],
    kill: &CancellationToken,
) -> Result<Came<Applied>, Trouble> {
    let files: Vec<NewFile<'_>> = tasks.iter().map(|(_, file)| *file).collect();
    let (text, variables) = chain::together(&files);
    let script = Script { text: &text, variables: &variables.0, process: Process::Taught(&file::FUNCTIONS) };
    let timeout = tasks.iter().map(|(task, _)| task.task.policy.timeout).min().unwrap_or_default();
    let output = lane.run(script, timeout, kill).await?;
    let shown = match chain::came(&output, tasks.len()) {
        Came::Together(shown) => shown,
        Came::Apart => return Ok(Came::Apart),
        Came::Unknown => return Ok(Came::Unknown),
    };
    let mut applied = Vec::new();
    for ((task, _), shown) in tasks.iter().zip(shown) {
        let after = seen_after(lane.filters(), task, &shown, kill).await?;
        applied.push(Applied { output: Output { stdout: Vec::new(), ..shown }, after });
    }
    Ok(Came::Together(applied))
}

/// What there is after an apply.
async fn seen_after(
    filters: &Filters,
    task: &Ready<'_>,
    output: &Output,
    kill: &CancellationToken,
) -> Result<Result<Seen, Failure>, Trouble> {
    match interpret(filters, task, output, task.task.policy.timeout, kill).await {
        Ok(seen) => Ok(Ok(seen)),
        Err(Trouble::Failed(failure)) => Ok(Err(*failure)),
        Err(trouble) => Err(trouble),
    }
}

/// What a step whose lane broke did, and what there is after it. `None` where it had not begun, and now never
/// will.
pub(crate) async fn pick_up(
    lane: &mut Lent<'_>,
    task: &Ready<'_>,
    step: &str,
    kill: &CancellationToken,
) -> Result<Option<Applied>, Trouble> {
    let output = match lane.pick_up(step, task.task.policy.timeout, kill).await? {
        PickedUp::Ended(output) => output,
        PickedUp::Void => return Ok(None),
        PickedUp::Gone(why) => return Err(Trouble::Gone(why)),
    };
    let after = match look(lane, task, kill).await {
        Ok(seen) => Ok(seen),
        Err(Trouble::Failed(failure)) => Err(*failure),
        Err(trouble) => return Err(trouble),
    };
    Ok(Some(Applied { output, after }))
}

/// Whether an apply got there: by its exit code, and by what there is after it.
pub(crate) fn judge(task: &Ready<'_>, applied: Applied) -> Result<Option<Known>, Failure> {
    let Applied { output, after } = applied;
    if output.exit != 0 {
        return Err(failed(format!("the apply exited {}", output.exit), &output));
    }
    let doesnt_hold = |how: String| failed(format!("applied, but it doesn't hold: {how}"), &output);
    match after {
        Ok(Seen::Nothing) if !task.task.action.has_output() => Ok(None),
        Ok(Seen::Nothing) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(Some(Known::Plain(Value::from(text.strip_suffix('\n').unwrap_or(&text)))))
        }
        Ok(seen) => match decide(task, &seen) {
            Decision::UpToDate => Ok(None),
            Decision::Change { diff } => Err(doesnt_hold(differing(&diff))),
            Decision::Failed { failure } => Err(doesnt_hold(failure.message)),
            decision => unreachable!("a state that was seen isn't {decision:?}"),
        },
        Err(probe) => {
            let message = format!("applied, but whether it holds can't be seen: {}", probe.message);
            Err(Failure { message, ..probe })
        }
    }
}
