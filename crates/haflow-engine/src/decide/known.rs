//! Values once they are known.

use crate::shell;
use haflow_model::{Outcome, Secret, Value};
use zeroize::Zeroize;

/// A value once it is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// It may be shown.
    Plain(Value),
    /// It may not.
    Secret(Secret),
}

impl Known {
    /// What a read yields.
    pub(crate) fn read(value: &Value, secret: bool) -> Self {
        if secret { Self::Secret(Secret::new(shell::variable(value))) } else { Self::Plain(value.clone()) }
    }

    /// The value as the text of a shell variable.
    pub(crate) fn variable(&self) -> String {
        match self {
            Self::Plain(value) => shell::variable(value),
            Self::Secret(secret) => secret.expose().to_owned(),
        }
    }

    /// The value for a comparison or a filter. What comes of a secret is compared, and never shown.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Secret(secret) => Value::from(secret.expose()),
        }
    }
}

/// What a task left behind: its outcome, and its output if it has one.
pub(crate) type Ended = (Outcome, Option<Known>);

/// Shell variables. Gone from memory when they are dropped, since some may be secrets.
#[derive(Clone)]
pub(crate) struct Variables(pub(crate) Vec<(String, String)>);

impl Drop for Variables {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}
