//! Digests of contents, and how they are shown.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// The SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The part of a digest that is shown.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
