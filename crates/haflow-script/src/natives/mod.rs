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

use crate::calls::register::Natives;
use rhai::Dynamic;
use std::any::TypeId;

/// All native functions.
pub(crate) fn register(natives: &mut Natives<'_>) {
    hosts::register(natives);
    facts::register(natives);
    params::register(natives);
    tasks::register(natives);
    files::register(natives);
    outputs::register(natives);
    secrets::register(natives);
    order::register(natives);
    templates::register(natives);
    keys::register(natives);
    notes::register(natives);
    for (name, types) in [
        ("sleep", &[TypeId::of::<i64>()][..]),
        ("sleep", &[TypeId::of::<f64>()]),
        ("timestamp", &[]),
        ("exit", &[]),
        ("exit", &[TypeId::of::<Dynamic>()]),
    ] {
        natives.refused(name, types);
    }
}
