//! Calls from one file into another.

use crate::place::Site;
use crate::session::Session;
use crate::session::stand_ins::returned;
use std::sync::Arc;

/// A call from one file into another, until it is dropped.
pub(crate) struct Crossing(Arc<Session>);

impl Crossing {
    /// Notes that one file calls into another at `site`.
    pub(crate) fn at(session: &Arc<Session>, site: Site) -> Self {
        session.state().crossings.push(site);
        Self(session.clone())
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
