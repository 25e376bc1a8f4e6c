//! Facts, plan and execute: everything that talks to hosts.
//!
//! A graph comes in, events go out. Nothing here knows a playbook's language, prints, or asks whether this is
//! a dry run: [`plan()`] stops where [`execute()`] would begin.
//!
//! The rooms, from the bottom to the top; none imports one above it, which `tests/it/offline/tidy.rs` keeps:
//!
//! - `random`, `shell`, `cut`, `clock`: leaves
//! - `events`: the only way outward, where secrets are taken out
//! - `lane`: one remote shell; it knows no ssh and no hosts
//! - `filters`: jq, in processes of its own
//! - `decide`: what is to be done about a task; pure
//! - `hosts`: everything on the way to a host
//! - `step`: one round trip about tasks: look, apply, judge
//! - `plan` and `run`: all tasks of a graph

mod clock;
mod cut;
mod decide;
mod events;
pub mod filters;
#[cfg(fuzzing)]
pub mod fuzz;
mod hosts;
pub mod lane;
mod plan;
mod random;
mod run;
mod shell;
mod step;

pub use events::{Events, Told};
pub use hosts::lent::Lent;
pub use hosts::survey::{Reach, Shell, reach_all};
pub use hosts::transport::OpenLane;
pub use hosts::unreachable::{Stage, Unreachable};
pub use hosts::{Holder, Hosts};
pub use plan::{Flap, flaps, plan};
pub use run::past::{Past, past};
pub use run::{Settings, execute};
pub use step::facts;
pub use step::gatekeeper::Interrupt;
