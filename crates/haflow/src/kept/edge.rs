//! The edges of a graph that is kept.

use haflow_model::EdgeKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a node comes after another one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeptEdge {
    /// The number of the other one.
    pub(crate) node: u32,
    /// Why.
    pub(crate) kind: EdgeKind,
}
