//! Plan and execute against lanes without a network: a real `sh` per host, in a folder of its own.

mod chain;
mod cut_off;
mod foresee;
mod outcomes;
mod world;
