//! What came of looking at a task's thing.

use crate::decide::rehearsed::Rehearsed;
use haflow_model::{Decision, Failure, NodeId};

/// What came of looking at a task's thing.
pub(crate) struct Look {
    pub(crate) showed: Showed,
    /// What would be decided on each of the states that the task expects.
    pub(crate) expected: Vec<Decision>,
    /// The digest of the state.
    pub(crate) state: Option<String>,
    /// What its rehearsal found.
    pub(crate) rehearsed: Rehearsed,
}

/// What looking at a task's thing showed.
pub(crate) enum Showed {
    Seen(Decision),
    Failed(Box<Failure>),
    Unreachable(String),
    /// It uses an output that isn't known.
    Waits(NodeId),
    Skipped(String),
}

impl Look {
    pub(crate) fn of(showed: Showed) -> Self {
        Self { showed, expected: Vec::new(), state: None, rehearsed: Rehearsed::default() }
    }
}
