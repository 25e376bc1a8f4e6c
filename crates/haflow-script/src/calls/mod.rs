//! How native functions are called: their registration, their arguments, and values of scripts.

pub(crate) mod call;
pub(crate) mod jq;
pub(crate) mod options;
pub(crate) mod register;
pub(crate) mod task_options;
pub(crate) mod values;
