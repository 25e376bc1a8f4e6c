//! A script that is ready to be sent.

use crate::decide::known::Variables;
use crate::lane::{Process, Script};
use std::borrow::Cow;

/// A script with its own variables.
pub(super) struct Prepared<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) variables: Variables,
    pub(super) process: Process<'a>,
}

impl Prepared<'_> {
    pub(super) fn script(&self) -> Script<'_> {
        Script { text: &self.text, variables: &self.variables.0, process: self.process }
    }
}
