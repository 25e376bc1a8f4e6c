//! Whole runs, events in, text out.
