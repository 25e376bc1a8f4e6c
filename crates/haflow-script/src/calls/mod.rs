//! How native functions are called: their registration, their arguments, and values of scripts.

pub(crate) mod jq;
pub(crate) mod options;
pub(crate) mod register;
pub(crate) mod values;
