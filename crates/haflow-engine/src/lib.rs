//! haflow-engine
