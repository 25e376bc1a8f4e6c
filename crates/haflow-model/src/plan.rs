use crate::{Failure, NodeId, PlanCounts, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What would happen to each task, in the order of the graph.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What the digests of states begin with, so that equal states of two plans can't be told from them.
    pub salt: String,
    /// One for every task.
    pub decisions: Vec<Planned>,
    /// The ids of the longest path of tasks of which each waits for the one before and would, or may, change
    /// something.
    pub critical_path: Vec<String>,
}

/// What would happen to one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The task.
    pub task: NodeId,
    /// The decision.
    pub decision: Decision,
    /// Why that isn't certain. `None` where nothing that comes before the task changes what the decision was
    /// made from.
    pub assumed: Option<Assumed>,
    /// A digest of the state that the decision was made from: the first 32 hex digits of the SHA-256 of the
    /// plan's salt and the state. `None` where there is none, or where a secret could be guessed from it.
    pub state: Option<String>,
}

/// Why a decision isn't certain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assumed {
    /// The id of a task that comes before and would change something.
    pub because: String,
    /// How that touches the decision.
    pub why: String,
    /// Why it would fail as things are now, if it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails_now: Option<Box<Failure>>,
}

impl Assumed {
    /// Because of the task with this id, and how that touches the decision.
    pub fn new(because: impl Into<String>, why: impl Into<String>) -> Self {
        Self { because: because.into(), why: why.into(), fails_now: None }
    }
}

impl Plan {
    /// How many there are of each.
    pub fn counts(&self) -> PlanCounts {
        let mut counts = PlanCounts::default();
        for planned in &self.decisions {
            counts.add(&planned.decision);
        }
        counts
    }
}

/// What is to be done about a task, seen from the host's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// What is wanted is there.
    UpToDate,
    /// It isn't, and this is the difference.
    Change {
        /// From the state to what is wanted.
        diff: Diff,
    },
    /// It can't be told yet.
    Unknown {
        /// The id of the task whose change makes it so.
        because: String,
        /// What about it.
        why: String,
    },
    /// It always runs.
    Act {
        /// Why it can't be probed.
        reason: String,
    },
    /// It won't run.
    Skipped {
        /// Why not.
        why: String,
    },
    /// Its probe failed, and nothing before it would mend that.
    Failed {
        /// What was seen.
        failure: Box<Failure>,
    },
    /// Its host can't be reached.
    Unreachable {
        /// What was seen.
        why: String,
    },
}

/// How a state differs from what is wanted; never empty in a [`Decision::Change`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Diff(pub Vec<Change>);

impl Diff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A field of a state. `field` is empty where the state is one value.
    Field {
        /// The path of the field, for example `disk_nodes[0]`.
        field: String,
        /// What is there; `None` where there is nothing.
        was: Option<Value>,
        /// What shall be there; `None` where nothing shall be.
        want: Option<Value>,
    },
    /// Text, as a unified diff without a header.
    Text {
        /// Lines that begin with `+`, `-`, a blank or `@@`.
        unified: String,
    },
    /// Content that is too large or not text, by size in bytes and the first digits of its SHA-256.
    Opaque {
        /// What is there.
        was: Option<(u64, String)>,
        /// What shall be there.
        want: (u64, String),
    },
    /// It will be an output that isn't known yet.
    Later {
        /// The field.
        field: String,
        /// The id of the task that yields it.
        output_of: String,
    },
    /// A secret differs, and that is all that is said.
    Secret {
        /// The field.
        field: String,
    },
}
