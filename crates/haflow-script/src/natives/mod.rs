//! The native functions, each group of them in a file of its own.

pub(crate) mod facts;
pub(crate) mod files;
pub(crate) mod hosts;
pub(crate) mod keys;
pub(crate) mod notes;
pub(crate) mod order;
pub(crate) mod outputs;
pub(crate) mod params;
pub(crate) mod secrets;
pub(crate) mod tasks;
pub(crate) mod templates;
