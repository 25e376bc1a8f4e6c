//! What is behind a task: a plan's decision on it, or what became of it in a run.

mod plan;
mod run;

#[cfg(test)]
mod tests;

pub(crate) use plan::of_plan;
pub(crate) use run::{of_run, run_as_json};

use haflow_model::EdgeKind;

/// Why one task comes before another.
fn edge(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Host => "declared before it on the same host",
        EdgeKind::Order => "ordered before it",
        EdgeKind::Data => "it uses its output",
        EdgeKind::Trigger => "it acts only if that changes",
    }
}
