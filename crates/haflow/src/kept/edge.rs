//! The edges of a graph that is kept.

use haflow_model::{EdgeKind, Graph, NodeId};
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

impl KeptEdge {
    /// The edges that lead to a node.
    pub(crate) fn to(graph: &Graph, id: NodeId) -> Vec<Self> {
        graph.before(id).map(|edge| Self { node: edge.from.0, kind: edge.kind }).collect()
    }
}
