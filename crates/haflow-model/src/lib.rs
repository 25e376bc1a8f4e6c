//! The nouns of haflow: what a playbook declares, what a plan decides, what a run reports.
//!
//! Plain, owned, serializable data. Nothing here reads a file, opens a connection, runs a script or
//! prints; no rhai, no tokio, no clap.

mod action;
mod course;
mod diagnostic;
mod event;
mod graph;
mod inventory;
mod pinned;
mod place;
mod plan;
mod secret;
mod size;
mod task;
mod thing;

pub use action::Again;
pub use course::{Course, Done, State, about, courses};
pub use diagnostic::{Diagnostic, Label, Sources, nearest};
pub use event::{Event, Failure, Outcome, PlanCounts, Record, RunCounts, TaskRef};
pub use graph::{Barrier, Draft, Edge, EdgeKind, Graph, Node, NodeId};
pub use inventory::{Host, HostName, Inventory, Transport};
pub use pinned::{SYSTEM_FOLDERS, pinned, without_comments};
pub use place::Place;
pub use plan::{Assumed, Change, Decision, Diff, Plan, Planned};
pub use secret::{REDACTED, Secret, SecretPart, SecretText, Secrets};
pub use size::json_size;
pub use task::{
    Act, Action, Content, Edit, Ensure, File, FileState, Gate, OutputRef, OwnEdit, Param, Policy, Probe, Read,
    Rehearsal, Scope, Task, Test, When,
};
pub use thing::{Thing, Things};

/// A value of a param, a fact or an output: JSON's data model.
pub use serde_json::Value;
