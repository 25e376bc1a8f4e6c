//! Tests of the whole program: one binary, so that those that mostly wait for hosts run beside each other,
//! and haflow is linked once.
//!
//! `cargo test -p haflow --test it loopback::lock` runs those of one file, and `faults::` those of one
//! folder: a folder says what its tests need. What would take too long for every run is
//! sampled or left out; each such test says so on stderr, and `HAFLOW_TEST_ALL=1` runs all of it.

mod common;

mod faults;
mod lab;
mod loopback;
mod offline;
mod stdlib;
