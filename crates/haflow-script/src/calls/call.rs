//! One call of a native function: where it is, and how it gives up.

use crate::declaration::Declaration;
use crate::declaration::stop::Stop;
use crate::errors::problem::{Problem, Raise};
use crate::place::{Site, Trace, complete, find_key};
use haflow_model::{Diagnostic, Place};
use rhai::{EvalAltResult, NativeCallContext};
use std::sync::Arc;

/// A call of a native function.
pub(crate) struct Call<'a> {
    pub(crate) context: &'a NativeCallContext<'a>,
    pub(crate) declaration: &'a Arc<Declaration>,
    /// The function's name.
    pub(crate) name: &'a str,
}

impl Call<'_> {
    /// Where the call is.
    pub(crate) fn site(&self) -> Site {
        Site::new(self.declaration.file(self.context.call_source()), self.context.call_position())
    }

    /// The places that led to the call.
    pub(crate) fn trace(&self) -> Trace {
        self.declaration.trace(self.site())
    }

    /// The error that the interpreter passes on.
    #[expect(clippy::unnecessary_box_returns, reason = "it is what the interpreter takes")]
    pub(crate) fn raise(&self, raise: Raise) -> Box<EvalAltResult> {
        let stop = match raise {
            Raise::Script(error) => return error,
            Raise::Stop(stop) => stop,
            Raise::Problem(problem) => self.diagnose(problem),
        };
        self.declaration.raised(stop, self.context.call_position())
    }

    fn diagnose(&self, problem: Problem) -> Stop {
        let trace = self.trace();
        let state = self.declaration.state();
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
