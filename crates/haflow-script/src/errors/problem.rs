//! What is wrong with a call, as native functions say it.

use crate::declaration::stop::Stop;
use crate::limits::forbidden;
use haflow_model::Place;
use rhai::EvalAltResult;

/// Why a native function gives up.
#[derive(Debug)]
pub(crate) enum Raise {
    /// Something is wrong with the call.
    Problem(Problem),
    /// Something is wrong, and it is known where.
    Stop(Stop),
    /// The script that the function called gave up.
    Script(Box<EvalAltResult>),
}

/// What is wrong with a call.
#[derive(Debug, Default)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The option that it is about.
    pub(crate) option: Option<String>,
    /// Another place that explains it.
    pub(crate) also: Vec<(Place, String)>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// What is wrong with the call of a function that is forbidden.
    pub(crate) fn forbidden(name: &str) -> Option<Self> {
        let instead = forbidden(name)?;
        Some(Self::new(format!("`{name}` can't be called in a playbook")).help(instead))
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn option(mut self, option: impl Into<String>) -> Self {
        self.option = Some(option.into());
        self
    }

    pub(crate) fn also(mut self, place: Place, text: impl Into<String>) -> Self {
        self.also.push((place, text.into()));
        self
    }
}

impl From<Problem> for Raise {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Box<EvalAltResult>> for Raise {
    fn from(error: Box<EvalAltResult>) -> Self {
        Self::Script(error)
    }
}
