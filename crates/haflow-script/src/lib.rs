//! haflow-script
