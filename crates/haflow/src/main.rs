//! haflow
fn main() {}
