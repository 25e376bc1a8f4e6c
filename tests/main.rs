//! Tests of the whole program: one binary, so that those that mostly wait for hosts run beside each other,
//! and haflow is linked once.
//!
//! `cargo test -p haflow --test it lock` runs those of one file. What would take too long for every run is
//! sampled or left out; each such test says so on stderr, and `HAFLOW_TEST_ALL=1` runs all of it.

mod common;
#[path = "common/events.rs"]
mod events;
#[path = "common/prepared.rs"]
mod prepared;
#[path = "common/sshd.rs"]
mod server;
#[path = "common/transcript.rs"]
mod transcript;
#[path = "common/world.rs"]
mod world;

mod apply;
mod apt;
mod attacks;
mod attacks_lock;
mod bad_input;
mod faults;
mod faults_hosts;
mod faults_killed;
mod fidelity;
mod field;
mod golden;
mod guide;
mod hostile;
mod lab;
mod local;
mod lock;
mod logins;
mod openstack;
mod own;
mod plan;
mod rabbit_config;
mod refusals;
mod resume;
mod rpm;
mod rpm_rabbit;
mod secrets;
mod ssh;
mod sshd;
mod terminal;
mod tidy;
mod why;
