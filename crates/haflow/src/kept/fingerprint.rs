//! Digests by which it is told whether something is still the same.

use haflow_model::Sources;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub(crate) fn digests(sources: &Sources) -> BTreeMap<String, String> {
    sources.iter().map(|(file, text)| (file.to_string(), hash(text))).collect()
}
