//! The steps that touch a host: look at the state of a task's thing, and change it.

pub(crate) mod ahead;
pub mod facts;
pub(crate) mod gatekeeper;

use crate::cut::tail;
use crate::decide::file;
use crate::decide::seen::{self, Seen};
use crate::decide::{Ready, Variables};
use crate::events::NotKept;
use crate::filters::{Filters, Running};
use crate::hosts::lent::{Lent, PickedUp};
use crate::hosts::ssh::Unreachable;
use crate::lane::{LaneError, Output, Process, Script, Stopped};
use crate::step::gatekeeper::Closed;
use haflow_model::{Action, Failure, Probe};
use std::time::Duration;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

/// Why a step has no result.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The host did what it was told, and it went wrong.
    Failed(Box<Failure>),
    /// The host can't be reached.
    Unreachable(Unreachable),
    /// The connection was lost on the way.
    Lost(String),
    /// The connection was lost, and what a step did in the meantime isn't known.
    Gone(String),
    /// The run was interrupted twice.
    Killed(Stopped),
    /// It hasn't begun, and nothing may begin any more.
    Closed,
    /// That it begins couldn't be kept, so it didn't.
    NotKept,
}

impl From<NotKept> for Trouble {
    fn from(_: NotKept) -> Self {
        Self::NotKept
    }
}

impl From<Closed> for Trouble {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<Unreachable> for Trouble {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

impl From<LaneError> for Trouble {
    fn from(error: LaneError) -> Self {
        let message = error.to_string();
        match error {
            LaneError::Lost(why) => Self::Lost(why),
            LaneError::Killed(stopped) => Self::Killed(stopped),
            LaneError::TooMuch | LaneError::Unsendable => Failure { message, ..Failure::default() }.into(),
            LaneError::TimedOut { stdout, stderr, stopped, .. } => Failure {
                message: format!("{message}{}", told(&stopped)),
                stdout: tail(&stdout, 12),
                stderr: tail(&stderr, 12),
                hint: Some(
                    "allow it more time with the option `timeout: \"30m\"`, or look on the host at what it waits for"
                        .into(),
                ),
                ..Failure::default()
            }
            .into(),
        }
    }
}

/// What was ended with a script, behind a sentence that says so.
pub(crate) fn told(stopped: &Stopped) -> String {
    let names = |names: &[String]| {
        let mut names = names.to_vec();
        names.dedup();
        names.join(", ")
    };
    if stopped.unknown {
        return ", but nothing there answered: it may go on".into();
    }
    match (&stopped.ended[..], &stopped.left[..]) {
        ([], _) => String::new(),
        (ended, []) => format!(" ({}); nothing of it is left there", names(ended)),
        (ended, left) => format!(" ({}), but {} can't be ended there", names(ended), names(left)),
    }
}

/// A script with its own variables.
struct Prepared<'a> {
    text: &'a str,
    variables: Variables,
    process: Process<'a>,
}

impl Prepared<'_> {
    fn script(&self) -> Script<'_> {
        Script { text: self.text, variables: &self.variables.0, process: self.process }
    }
}

/// The read-only script of a task; an act has none.
fn probe<'a>(task: &'a Ready<'_>) -> Option<Prepared<'a>> {
    match probe_of(task) {
        Some(probe) => Some(Prepared { text: &probe.script, variables: task.variables(), process: Process::Own }),
        None => task.file().map(|wanted| {
            let (text, variables) = wanted.probe();
            Prepared { text, variables: Variables(variables), process: Process::Pinned }
        }),
    }
}

fn probe_of<'a>(task: &'a Ready<'_>) -> Option<&'a Probe> {
    match &task.task.action {
        Action::Ensure(ensure) => Some(&ensure.probe),
        Action::Gate(gate) => Some(&gate.probe),
        Action::Read(read) => Some(&read.probe),
        Action::File(_) | Action::Act(_) => None,
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
    let seen = match probe_of(task) {
        Some(probe) => seen::of_probe(probe, output, task.structured(), running).await,
        None => match (file::parse(output), task.file()) {
            (Ok(mut seen), Some(wanted)) => match wanted.make_edit(&mut seen, running).await {
                Ok(()) => Ok(Seen::File(seen)),
                Err(_) => Err(Trouble::Killed(Stopped::default())),
            },
            (seen, _) => Ok(seen.map(Seen::File)?),
        },
    };
    match &task.task.action {
        Action::Read(read) if read.secret => seen.map_err(|trouble| match trouble {
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

/// Reads the states of several tasks' things on one host, as one user, in one round trip. Each is handed over, with the
/// task's index, when it has come.
pub(crate) async fn look_all(
    lane: &mut Lent<'_>,
    tasks: &[Ready<'_>],
    kill: &CancellationToken,
    mut each: impl FnMut(usize, Result<Seen, Trouble>),
) -> Result<(), Trouble> {
    let timeout = tasks.iter().map(|task| task.task.policy.timeout).max().unwrap_or_default();
    let mut order = Vec::new();
    let mut prepared = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        match probe(task) {
            Some(probe) => {
                order.push(index);
                prepared.push(probe);
            }
            None => each(index, Ok(Seen::Nothing)),
        }
    }
    let scripts: Vec<Script<'_>> = prepared.iter().map(Prepared::script).collect();
    let filters = lane.filters();
    let mut order = order.into_iter();
    let (come, mut outputs) = unbounded_channel();
    let run = async move {
        // Who takes the outputs waits for all of them.
        let come = |output: Output| drop(order.next().map(|index| come.send((index, output))));
        lane.run_all(&scripts, timeout, kill, come).await
    };
    let interpret = async {
        while let Some((index, output)) = outputs.recv().await {
            let task = &tasks[index];
            each(index, interpret(filters, task, &output, task.task.policy.timeout, kill).await);
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
    /// Something has: who acts on it makes sure first that it still holds.
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

/// The id under which the host keeps the result of what [`apply`] does, where it does that. A file is written at once or not at all.
pub(crate) fn kept(lane: &Lent<'_>, task: &Ready<'_>) -> Option<String> {
    match task.task.action {
        Action::Ensure(_) | Action::Act(_) => lane.step(&task.task.id()),
        Action::File(_) | Action::Read(_) | Action::Gate(_) => None,
    }
}

/// Changes the thing from what was seen, and looks again: one round trip. `None` where what was seen before no longer holds;
/// then nothing was changed. With a step its result is kept on the host under that id.
pub(crate) async fn apply(
    lane: &mut Lent<'_>,
    task: &Ready<'_>,
    sight: &Sight,
    step: Option<&str>,
    kill: &CancellationToken,
) -> Result<Option<Applied>, Trouble> {
    let timeout = task.task.policy.timeout;
    let process = step.map_or(Process::Own, Process::Kept);
    let prepared = match (&task.task.action, task.file(), sight.seen()) {
        (Action::Ensure(ensure), ..) => Prepared { text: &ensure.apply, variables: task.variables(), process },
        (Action::Act(act), ..) => Prepared { text: &act.apply, variables: task.variables(), process },
        (_, Some(wanted), Seen::File(seen)) => {
            // Both scripts are haflow's own and share a shell: a hundred files are a hundred shells fewer.
            let (text, variables) = wanted.apply_and_probe(seen, matches!(sight, Sight::Before(_)))?;
            let variables = Variables(variables);
            let output = lane
                .run(Script { text: &text, variables: &variables.0, process: Process::Pinned }, timeout, kill)
                .await?;
            if output.exit == 0 && output.stdout == file::MOVED {
                return Ok(None);
            }
            let after = seen_after(lane.filters(), task, &output, kill).await?;
            return Ok(Some(Applied { output, after }));
        }
        (action, ..) => unreachable!("nothing to apply in {action:?}"),
    };
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

/// What a step whose lane broke did, and what there is after it. `None` where it had not begun, and now never will.
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

/// The exit code of what SIGKILL ended.
pub(crate) const KILLED: i32 = 128 + 9;
/// How much longer ago than it can be the kernel may say that it killed a process: its clock counts from another moment.
const CLOCKS: f64 = 2.0;
/// How long it may take to read what the kernel says.
const READ_KERNEL: Duration = Duration::from_secs(10);

/// Says of a step that SIGKILL ended, so long after its begin, whether the kernel killed something meanwhile, which it does for want of memory.
pub(crate) async fn why_killed(
    lane: &mut Lent<'_>,
    failure: Failure,
    after: Duration,
    kill: &CancellationToken,
) -> Failure {
    const TEXT: &str = r"
        read -r up rest </proc/uptime
        printf '%s\n' $up
        dmesg 2>/dev/null | grep -i 'killed process' | tail -n 1
    ";
    let script = Script { text: TEXT, variables: &[], process: Process::Forked };
    let said = lane.run(script, READ_KERNEL, kill).await.map(|output| output.stdout).unwrap_or_default();
    match of_memory(&String::from_utf8_lossy(&said), after.as_secs_f64()) {
        Some(said) => Failure { message: format!("{}; the kernel said meanwhile: {said}", failure.message), ..failure },
        None => failure,
    }
}

/// What the kernel said of a process that it killed in the last seconds: from the seconds since the boot on a line, and the last such message on another,
/// with its own seconds in brackets.
fn of_memory(said: &str, seconds: f64) -> Option<&str> {
    let (up, line) = said.trim_end().split_once('\n')?;
    let (at, text) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let ago = up.parse::<f64>().ok()? - at.trim().parse::<f64>().ok()?;
    let text = text.split(" total-vm:").next().unwrap_or(text).trim();
    (-CLOCKS..=seconds + CLOCKS).contains(&ago).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::of_memory;

    #[test]
    fn a_kill_for_want_of_memory_is_told_from_an_older_one() {
        let line =
            "[  101.500000] Out of memory: Killed process 4711 (beam.smp) total-vm:3145728kB, anon-rss:1048576kB";
        for (up, seconds, says) in [
            ("110.02", 10.0, Some("Out of memory: Killed process 4711 (beam.smp)")),
            ("110.02", 3.0, None),
            // The clock of a container that was started later.
            ("50.00", 10.0, None),
            ("nothing", 10.0, None),
        ] {
            assert_eq!(of_memory(&format!("{up}\n{line}\n"), seconds), says, "{up} {seconds}");
        }
        assert_eq!(of_memory("110.02\n", 10.0), None);
        assert_eq!(of_memory("110.02\nKilled process", 10.0), None);
    }
}
