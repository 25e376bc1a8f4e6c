//! Secrets in haflow's own environment, which nobody that it starts inherits.

use crate::error::Error;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::OnceLock;
use zeroize::Zeroizing;

const PREFIX: &str = "HAFLOW_SECRET_";

static TAKEN: OnceLock<BTreeMap<String, Result<Zeroizing<String>, ()>>> = OnceLock::new();

/// The name of the variable that has this secret.
pub(crate) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// Takes them out of the environment, so that neither ssh nor an editor nor an inventory's program gets them.
/// To be called before there is a second thread.
pub(crate) fn take() {
    let mut taken = BTreeMap::new();
    let ours = |(name, _): &(OsString, OsString)| name.to_str().is_some_and(|name| name.starts_with(PREFIX));
    for (variable, value) in std::env::vars_os().filter(ours) {
        #[expect(unsafe_code, reason = "main calls this first, and nobody else looks at the environment yet")]
        // SAFETY: there is no other thread.
        unsafe {
            std::env::remove_var(&variable);
        }
        let value = value.into_string().map(Zeroizing::new).map_err(drop);
        taken.insert(variable.to_string_lossy().into_owned(), value);
    }
    if !taken.is_empty() {
        super::guard();
    }
    let _ = TAKEN.set(taken);
}

/// The value that the environment had.
pub(super) fn get(name: &str) -> Result<Option<Zeroizing<String>>, Error> {
    let variable = variable(name);
    match TAKEN.get().and_then(|taken| taken.get(&variable)) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.clone())),
        Some(Err(())) => Err(Error::Secret {
            message: format!("the environment variable {variable} isn't UTF-8; nothing was changed"),
            help: "a secret is a text; give bytes as base64, and decode them on the host".into(),
        }),
    }
}
