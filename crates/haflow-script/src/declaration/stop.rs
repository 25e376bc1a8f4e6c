//! Why a script ends before its end.

use crate::request::FactFailure;
use haflow_model::{Diagnostic, Place};
use rhai::Dynamic;
use std::sync::Arc;

/// Why a script ends before its end. It passes through the interpreter as an error of the script, so that the
/// calls that led to it can be named; the declaration remembers it, so that no `try` catches it.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    /// Something is wrong: a diagnostic that has its places already, and the playbook's call if it came from
    /// one.
    Diagnostic(Arc<Diagnostic>, Option<Place>),
    /// Facts couldn't be read.
    Facts(Vec<FactFailure>),
    /// The user interrupted it.
    Interrupted,
    /// The script took too many operations, or too long.
    Operations,
}

impl From<Diagnostic> for Stop {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Diagnostic(Arc::new(diagnostic), None)
    }
}

impl Stop {
    /// The token by which the interpreter learns that it is to end.
    pub(crate) fn token(self) -> Dynamic {
        Dynamic::from(self)
    }
}
