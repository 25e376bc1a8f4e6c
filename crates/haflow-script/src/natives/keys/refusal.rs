//! Why a key isn't taken.

use pgp::types::Fingerprint;

/// Why a key isn't taken: the end of a sentence that begins with the key, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Refusal {
    pub(crate) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }

    pub(crate) fn truncated() -> Self {
        Self::new("ends too early: a part of it is missing", "fetch the key's file anew, to its end")
    }

    pub(crate) fn not_a_key() -> Self {
        Self::new(
            "isn't an OpenPGP key",
            "give the publisher's public key, armored (`-----BEGIN PGP PUBLIC KEY BLOCK-----`) or binary",
        )
    }

    pub(crate) fn damaged() -> Self {
        Self::new("is damaged", "fetch the key's file anew")
    }

    pub(crate) fn secret() -> Self {
        Self::new(
            "is a secret key",
            "give the public one (`gpg --armor --export`); if the secret one has been shared, its owner must know",
        )
    }

    pub(crate) fn unknown(what: &str) -> Self {
        Self::new(
            format!("can't be checked: {what} is of a kind that haflow doesn't know"),
            "ask the publisher for another key",
        )
    }

    pub(crate) fn weak(what: impl Into<String>) -> Self {
        Self::new(what, "ask the publisher for a newer key; `weak_key: true` takes it in spite of that")
    }
}

pub(crate) fn hex(fingerprint: &Fingerprint) -> String {
    format!("{fingerprint:X}")
}

/// A fingerprint as people compare it.
pub(crate) fn spaced(fingerprint: &str) -> String {
    let mut text = String::new();
    for (at, digit) in fingerprint.chars().enumerate() {
        if at > 0 && at.is_multiple_of(4) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
