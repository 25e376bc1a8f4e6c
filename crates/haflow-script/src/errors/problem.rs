//! How native functions say what is wrong.

use crate::limits::forbidden;
use crate::place::{Site, Trace, complete, find_key};
use crate::session::Session;
use crate::session::stop::Stop;
use haflow_model::{Diagnostic, Place};
use rhai::{EvalAltResult, NativeCallContext};
use std::sync::Arc;

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

/// A call of a native function.
pub(crate) struct Call<'a> {
    pub(crate) context: &'a NativeCallContext<'a>,
    pub(crate) session: &'a Arc<Session>,
    /// The function's name.
    pub(crate) name: &'a str,
}

impl Call<'_> {
    /// Where the call is.
    pub(crate) fn site(&self) -> Site {
        Site::new(self.session.file(self.context.call_source()), self.context.call_position())
    }

    /// The places that led to the call.
    pub(crate) fn trace(&self) -> Trace {
        self.session.trace(self.site())
    }

    /// The error that the interpreter passes on.
    #[expect(clippy::unnecessary_box_returns, reason = "it is what the interpreter takes")]
    pub(crate) fn raise(&self, raise: Raise) -> Box<EvalAltResult> {
        let stop = match raise {
            Raise::Script(error) => return error,
            Raise::Stop(stop) => stop,
            Raise::Problem(problem) => self.diagnose(problem),
        };
        self.session.raised(stop, self.context.call_position())
    }

    fn diagnose(&self, problem: Problem) -> Stop {
        let trace = self.trace();
        let state = self.session.state();
        let refined = |place: &Place| {
            let key = problem.option.as_ref()?;
            find_key(state.sources.get(&place.file)?, place, key)
        };
        let first = refined(&trace.place).unwrap_or_else(|| trace.place.clone());
        let mut diagnostic = Diagnostic::new(problem.message).at(first, "");
        if let Some(inner) = trace.declared_in {
            diagnostic = match self.name {
                "options" => diagnostic.at(inner, "the options are checked here"),
                name => diagnostic.at(refined(&inner).unwrap_or(inner), format!("`{name}` is called here")),
            };
        }
        for (place, text) in problem.also {
            diagnostic = diagnostic.at(place, text);
        }
        diagnostic.help = problem.help;
        Stop::Diagnostic(Arc::new(complete(diagnostic, &state.sources)), Some(trace.place))
    }
}
