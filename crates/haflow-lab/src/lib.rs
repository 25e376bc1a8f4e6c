//! haflow-lab
