use crate::{Failure, NodeId, PlanCounts, Value};
use serde::{Deserialize, Serialize};

/// What would happen to each task, in the order of the graph.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// One for every task.
    pub decisions: Vec<Planned>,
}

/// What would happen to one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The task.
    pub task: NodeId,
    /// The decision, as things are now.
    pub decision: Decision,
    /// The id of a task that comes before this one and would change something: things may be otherwise then. `None` where
    /// nothing before it changes.
    pub assumed: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diff(pub Vec<Change>);

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// A secret differs, and that is all that is said.
    Secret {
        /// The field.
        field: String,
    },
}
