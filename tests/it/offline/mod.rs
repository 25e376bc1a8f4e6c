//! What needs nothing but this machine.

mod bad_input;
mod golden;
mod plan;
mod tidy;
