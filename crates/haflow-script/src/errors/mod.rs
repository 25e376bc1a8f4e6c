//! What is wrong with a script, in plain words, and where.

pub(crate) mod diagnose;
pub(crate) mod explain;
pub(crate) mod problem;
pub(crate) mod slips;
