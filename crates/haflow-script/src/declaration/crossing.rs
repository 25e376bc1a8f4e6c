//! Calls from one file into another.

use crate::declaration::Declaration;
use crate::declaration::stand_ins::returned;
use crate::place::Site;
use std::sync::Arc;

/// A call from one file into another, until it is dropped.
pub(crate) struct Crossing(Arc<Declaration>);

impl Crossing {
    /// Notes that one file calls into another at `site`.
    pub(crate) fn at(declaration: &Arc<Declaration>, site: Site) -> Self {
        declaration.state().crossings.push(site);
        Self(declaration.clone())
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        let site = self.0.state().crossings.pop();
        if let Some(site) = site {
            returned(&self.0, site);
        }
    }
}
