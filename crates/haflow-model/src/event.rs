use crate::{Assumed, Decision, Diff, HostName, Place, Task, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An event and when it happened: one line of a journal, one line of `--format json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// All that plan and run tell anybody. Reporters are folds over these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    RunStarted {
        /// The run's id.
        run: String,
        /// The playbook as it was named.
        playbook: String,
        /// All hosts that have a task.
        hosts: Vec<HostName>,
        /// How many tasks there are.
        tasks: usize,
        /// How long it took before to connect, to read facts and to lock the hosts, in milliseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        connecting_ms: u64,
    },
    /// A run that had died or was stopped goes on: what ended then isn't told again.
    RunResumed {
        /// The run's id.
        run: String,
        /// The playbook as it was named.
        playbook: String,
        /// All hosts that have a task.
        hosts: Vec<HostName>,
        /// How many tasks there are.
        tasks: usize,
        /// How the tasks that needn't be run again had ended, by their hosts.
        before: BTreeMap<HostName, RunCounts>,
        /// How long it took before to connect, to read facts and to lock the hosts, in milliseconds.
        #[serde(default, skip_serializing_if = "is_zero")]
        connecting_ms: u64,
    },
    /// A plan begins.
    PlanStarted {
        /// The playbook as it was named.
        playbook: String,
        /// All hosts that have a task.
        hosts: Vec<HostName>,
        /// How many tasks there are.
        tasks: usize,
    },
    /// A host's lane is open.
    HostConnected {
        /// The host.
        host: HostName,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A host can't be reached.
    HostUnreachable {
        /// The host.
        host: HostName,
        /// What was seen.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The connection to a host was lost, and is tried for. [`Event::HostConnected`] or
    /// [`Event::HostUnreachable`] tells what came of that.
    HostLost {
        /// The host.
        host: HostName,
        /// What was seen.
        why: String,
    },
    /// A task begins: its probe runs.
    TaskStarted {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
    },
    /// The probe has shown a difference, or the task always runs: its apply begins.
    ApplyStarted {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// Counted from 1.
        attempt: u32,
        /// Under which id its result is kept on the host, if it is: it outlives the connection.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// What was seen that isn't as it is wanted. An act has none.
        #[serde(default, skip_serializing_if = "Diff::is_empty")]
        diff: Diff,
    },
    /// What a task that takes its time last printed while it is being applied.
    StepSaid {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// The last line of its output or its messages, whichever is newer.
        line: String,
    },
    /// The connection was lost, or the run ended, while the task was being applied: its result is looked for
    /// on the host, and waited for while it goes on there.
    PickingUp {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
    },
    /// An apply failed and will be tried again.
    TaskRetried {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// The attempt that failed, counted from 1.
        attempt: u32,
        /// How many attempts there are at most.
        of: u32,
        /// The pause before the next one, in milliseconds.
        pause_ms: u64,
        /// What was seen.
        why: String,
    },
    /// A gate looked.
    GateChecked {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// How many times in a row it has held.
        held: u32,
        /// How many times it must.
        times: u32,
        /// What it saw, where it doesn't hold.
        seen: Option<String>,
    },
    /// A task ended.
    TaskFinished {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// How it ended.
        #[serde(flatten)]
        outcome: Outcome,
        /// What it put out, where that is no secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A task was decided on, in a plan.
    TaskPlanned {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// The decision, as things are now.
        #[serde(flatten)]
        decision: Decision,
        /// Why that isn't certain; missing where it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assumed: Option<Assumed>,
    },
    /// Before a run's first change, it is known that a task will fail, and that nothing before it will mend
    /// that.
    TaskWouldFail {
        /// The task.
        #[serde(flatten)]
        task: TaskRef,
        /// What was seen.
        failure: Failure,
    },
    /// The run was interrupted; it waits for what is running.
    Interrupted,
    /// A run ended: always its last event.
    RunFinished {
        /// The run's id.
        run: String,
        /// How many tasks ended in which way.
        #[serde(flatten)]
        counts: RunCounts,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A plan ended: always its last event.
    PlanFinished {
        /// How many tasks there are of each decision.
        #[serde(flatten)]
        counts: PlanCounts,
        /// The ids of the longest path of tasks of which each waits for the one before and would, or may,
        /// change something.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        critical_path: Vec<String>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
}

/// Nothing was said of it, or there was nothing to say.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

/// What names a task in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRef {
    /// Its id, `host/kind:name`.
    #[serde(rename = "task")]
    pub id: String,
    /// Its host.
    pub host: HostName,
    /// Its kind.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its line in the playbook.
    pub place: Place,
}

impl From<&Task> for TaskRef {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id(),
            host: task.host.clone(),
            kind: task.kind.clone(),
            name: task.name.clone(),
            place: task.place.clone(),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// What is wanted was there already, was read, or held.
    Ok,
    /// It wasn't there, and is now.
    Changed {
        /// What changed, where it could be probed.
        diff: Diff,
    },
    /// It isn't there.
    Failed {
        /// What was seen.
        failure: Box<Failure>,
    },
    /// It wasn't tried.
    Skipped {
        /// Why not.
        why: String,
        /// The id of the failed task that it depends on, if that is the reason.
        because: Option<String>,
    },
    /// Its host can't be reached.
    Unreachable {
        /// What was seen.
        why: String,
    },
    /// The run was interrupted before it began.
    Cancelled,
    /// It was under way when the connection was lost or the run was killed: it may or may not have happened.
    InDoubt {
        /// What was seen.
        why: String,
    },
}

impl Outcome {
    /// Whether what depends on the task may run.
    pub fn satisfied(&self) -> bool {
        matches!(self, Self::Ok | Self::Changed { .. })
    }
}

/// What went wrong with a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// One sentence without a full stop.
    pub message: String,
    /// The exit code of the script, if one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// The last lines of its output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// The last lines of its messages.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Things aren't as they were planned from: only another plan leads on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
}

/// How many tasks of a run ended in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each field counts the outcome of its name")]
pub struct RunCounts {
    pub ok: usize,
    pub changed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub unreachable: usize,
    pub cancelled: usize,
    pub in_doubt: usize,
}

impl RunCounts {
    /// Counts one more.
    pub fn add(&mut self, outcome: &Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Changed { .. } => &mut self.changed,
            Outcome::Failed { .. } => &mut self.failed,
            Outcome::Skipped { .. } => &mut self.skipped,
            Outcome::Unreachable { .. } => &mut self.unreachable,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::InDoubt { .. } => &mut self.in_doubt,
        } += 1;
    }

    /// Whether everything that was asked for is true now.
    pub fn succeeded(&self) -> bool {
        self.failed + self.unreachable + self.cancelled + self.in_doubt == 0
    }
}

/// How many tasks of a plan there are of each decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "each field counts the decision of its name")]
pub struct PlanCounts {
    pub up_to_date: usize,
    pub change: usize,
    pub unknown: usize,
    pub act: usize,
    pub skipped: usize,
    pub failed: usize,
    pub unreachable: usize,
}

impl PlanCounts {
    /// Counts one more.
    pub fn add(&mut self, decision: &Decision) {
        *match decision {
            Decision::UpToDate => &mut self.up_to_date,
            Decision::Change { .. } => &mut self.change,
            Decision::Unknown { .. } => &mut self.unknown,
            Decision::Act { .. } => &mut self.act,
            Decision::Skipped { .. } => &mut self.skipped,
            Decision::Failed { .. } => &mut self.failed,
            Decision::Unreachable { .. } => &mut self.unreachable,
        } += 1;
    }
}
