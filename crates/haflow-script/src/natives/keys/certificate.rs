//! `OpenPGP` keys as they are judged before anything trusts them.
//!
//! Nothing in a file is believed but what the primary key itself has signed, and what is handed on is only
//! that. Which parts these are doesn't depend on the time; whether the key is taken at all does.

use crate::natives::keys::parts::{Parts, User};
use crate::natives::keys::refusal::{Refusal, hex, spaced};
use jiff::Timestamp;
use pgp::composed::{ArmorOptions, SignedKeyDetails, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureConfig, SignatureType, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{
    Duration, EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, KeyVersion, PublicParams, RsaPublicParams,
    SignedUser,
};

/// RSA keys of fewer bits aren't taken.
const LEAST_RSA: u16 = 2048;

/// What a key is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// The fingerprint that it must have, in capitals.
    pub(crate) pin: &'a str,
    /// When it must hold.
    pub(crate) now: Timestamp,
    /// Whether old digests and small sizes will do.
    pub(crate) weak: bool,
}

/// The armored text of the one key in these bytes, if it is the pinned one and holds.
pub(crate) fn judge(bytes: &[u8], terms: Terms<'_>) -> Result<String, Refusal> {
    let parts = Parts::read(bytes)?;
    parts.is_pinned(terms.pin)?;
    parts.is_known()?;
    parts.is_not_revoked()?;
    parts.holds(terms)?;
    parts.is_strong(terms)?;
    parts.can_sign(terms)?;
    parts.armored(terms)
}

impl Parts {
    fn is_pinned(&self, pin: &str) -> Result<(), Refusal> {
        let fingerprint = hex(&self.primary.fingerprint());
        if fingerprint == pin {
            return Ok(());
        }
        let of = self.users.first().map(|user| format!(" (it says that it is of {})", printable(user.id.id())));
        let part = if self.subkeys.iter().any(|subkey| hex(&subkey.key.fingerprint()) == pin) {
            ", which is that of one of its subkeys"
        } else {
            ""
        };
        Err(Refusal::new(
            format!(
                "isn't the pinned one: its fingerprint is {}{}, not {}{part}",
                spaced(&fingerprint),
                of.unwrap_or_default(),
                spaced(pin)
            ),
            "fetch the publisher's key anew; change the pin only to what the publisher states elsewhere than in the key's own file",
        ))
    }

    fn is_known(&self) -> Result<(), Refusal> {
        match self.primary.version() {
            KeyVersion::V4 | KeyVersion::V6 if strength(self.primary.public_params()) == Strength::Unknown => {
                Err(Refusal::unknown("its algorithm"))
            }
            KeyVersion::V4 | KeyVersion::V6 => Ok(()),
            _ => Err(Refusal::unknown("its version")),
        }
    }

    fn is_not_revoked(&self) -> Result<(), Refusal> {
        let Some((revocation, holds)) = self.revocations.iter().max_by_key(|(_, holds)| *holds) else { return Ok(()) };
        let Some(revocation) = revocation.as_ref().filter(|_| *holds) else {
            return Err(Refusal::new(
                "carries a revocation that can't be checked",
                "ask the publisher whether it was revoked; a key that wasn't carries none",
            ));
        };
        let reason = match revocation.revocation_reason_code() {
            Some(RevocationCode::KeySuperseded) => ": another one has taken its place",
            Some(RevocationCode::KeyCompromised) => ": others may have its secret part",
            Some(RevocationCode::KeyRetired) => ": it is no longer used",
            _ => "",
        };
        let when = revocation.created().map(|when| format!(" on {}", date(when.as_secs().into())));
        Err(Refusal::new(
            format!("was revoked by its owner{}{reason}", when.unwrap_or_default()),
            "get the key that the publisher signs with now, and its fingerprint",
        ))
    }

    fn is_strong(&self, terms: Terms<'_>) -> Result<(), Refusal> {
        match strength(self.primary.public_params()) {
            Strength::Weak(what) if !terms.weak => Err(Refusal::weak(format!("is too weak: it is {what}"))),
            _ => Ok(()),
        }
    }

    /// What it says of itself now, the newest last.
    fn selves(&self, terms: Terms<'_>) -> Vec<&Signature> {
        let users = self.users.iter().filter_map(|user| user.current(terms));
        let mut selves: Vec<&Signature> = newest(&self.direct, terms).into_iter().chain(users).collect();
        selves.sort_by_key(|signature| signature.created());
        selves
    }

    fn holds(&self, terms: Terms<'_>) -> Result<(), Refusal> {
        let made = i64::from(self.primary.created_at().as_secs());
        if made > terms.now.as_second() {
            return Err(Refusal::new(
                format!("was made on {}, which is yet to come", date(made)),
                "see whether this machine's clock is right",
            ));
        }
        let lax = self.selves(Terms { weak: true, ..terms });
        let Some(newest) = lax.last() else {
            return Err(Refusal::new(
                "doesn't vouch for itself: none of its user ids bears a signature of its own that holds",
                "fetch the key's file anew; if that doesn't help, ask the publisher",
            ));
        };
        let selves = self.selves(terms);
        // That it has expired says more than that it is old as well.
        match self.expiry(if selves.is_empty() { &lax } else { &selves }) {
            Some(end) if end <= terms.now.as_second() => Err(expired("expired", end)),
            _ if selves.is_empty() => {
                let digest =
                    newest.hash_alg().map_or_else(|| "an unknown digest".to_owned(), |digest| digest.to_string());
                Err(Refusal::weak(format!("is too weak: it vouches for itself by {digest} only")))
            }
            _ => Ok(()),
        }
    }

    /// When it expires, by these signatures: as `GnuPG` does, what is said of the key itself comes before
    /// what is said beside a user id.
    fn expiry(&self, selves: &[&Signature]) -> Option<i64> {
        let is_of_key = |one: &Signature| one.typ() == Some(SignatureType::Key);
        let newest = |of_key: bool| {
            let mut said = selves.iter().rev().filter(|one| !of_key || is_of_key(one));
            said.find_map(|one| one.key_expiration_time())
        };
        let after = newest(true).or_else(|| newest(false))?;
        let after = i64::from(after.as_secs());
        (after != 0).then(|| i64::from(self.primary.created_at().as_secs()) + after)
    }

    /// Whether it, or a part of it, can sign a repository now, and isn't too weak for that.
    fn can_sign(&self, terms: Terms<'_>) -> Result<(), Refusal> {
        let signs = |signature: &&Signature| !has_flags(signature) || signature.key_flags().sign();
        let mut found = self.selves(terms).last().is_some_and(signs);
        let mut ended = None;
        for subkey in self.subkeys.iter().filter(|subkey| subkey.revocations.is_empty()) {
            let Some(lax) = newest(&subkey.bindings, Terms { weak: true, ..terms }) else { continue };
            if !lax.key_flags().sign() {
                continue;
            }
            let made = i64::from(subkey.key.created_at().as_secs());
            let end = |signature: &Signature| match signature.key_expiration_time().map_or(0, Duration::as_secs) {
                0 => i64::MAX,
                after => made + i64::from(after),
            };
            if end(lax) <= terms.now.as_second() {
                ended = ended.max(Some(end(lax)));
                continue;
            }
            let name = || spaced(&hex(&subkey.key.fingerprint()));
            match (strength(subkey.key.public_params()), newest(&subkey.bindings, terms)) {
                (Strength::Unknown, _) => return Err(Refusal::unknown(&format!("its subkey {}", name()))),
                (Strength::Weak(what), _) if !terms.weak => {
                    return Err(Refusal::weak(format!("is too weak: its subkey {} is {what}", name())));
                }
                (_, None) => {
                    let digest =
                        lax.hash_alg().map_or_else(|| "an unknown digest".to_owned(), |digest| digest.to_string());
                    return Err(Refusal::weak(format!(
                        "is too weak: its subkey {} is bound to it by {digest} only",
                        name()
                    )));
                }
                (_, Some(binding)) => found |= binding.key_flags().sign() && end(binding) > terms.now.as_second(),
            }
        }
        match ended {
            _ if found => Ok(()),
            Some(end) => Err(expired("can sign nothing: its subkey for that expired", end)),
            None => Err(Refusal::new(
                "can sign nothing: neither it nor one of its subkeys is for signing",
                "give the key that the publisher signs the repository with",
            )),
        }
    }

    /// All that it says of itself, and nothing that others say.
    fn armored(self, terms: Terms<'_>) -> Result<String, Refusal> {
        let kept = |signatures: Vec<Signature>| signatures.into_iter().filter(move |one| terms.weak || is_strong(one));
        let users = self.users.into_iter().map(|user| SignedUser {
            id: user.id,
            signatures: user.revocations.into_iter().chain(kept(user.certifications)).collect(),
        });
        let subkeys = self.subkeys.into_iter().map(|subkey| SignedPublicSubKey {
            key: subkey.key,
            signatures: subkey.revocations.into_iter().chain(kept(subkey.bindings)).collect(),
        });
        let key = SignedPublicKey {
            primary_key: self.primary,
            details: SignedKeyDetails {
                revocation_signatures: Vec::new(),
                direct_signatures: kept(self.direct).collect(),
                users: users.filter(|user| !user.signatures.is_empty()).collect(),
                user_attributes: Vec::new(),
            },
            public_subkeys: subkeys.filter(|subkey| !subkey.signatures.is_empty()).collect(),
        };
        key.to_armored_string(ArmorOptions::default()).map_err(|_| Refusal::unknown("a part of it"))
    }
}

impl User {
    /// What the key says beside this user id now; nothing if it took that back.
    fn current(&self, terms: Terms<'_>) -> Option<&Signature> {
        let newest = newest(&self.certifications, terms)?;
        let taken_back = self.revocations.iter().any(|revocation| revocation.created() >= newest.created());
        (!taken_back).then_some(newest)
    }
}

/// The newest that holds now, and by a digest that will do.
fn newest<'a>(signatures: &'a [Signature], terms: Terms<'_>) -> Option<&'a Signature> {
    let now = terms.now.as_second();
    let holds = |signature: &&Signature| {
        let Some(made) = signature.created().map(|made| i64::from(made.as_secs())) else { return false };
        let lasts = signature.signature_expiration_time().map_or(0, |after| i64::from(after.as_secs()));
        made <= now && (lasts == 0 || made + lasts > now) && (terms.weak || is_strong(signature))
    };
    signatures.iter().filter(holds).max_by_key(|signature| signature.created())
}

fn has_flags(signature: &Signature) -> bool {
    let mut parts = signature.config().into_iter().flat_map(SignatureConfig::hashed_subpackets);
    parts.any(|part| matches!(part.data, SubpacketData::KeyFlags(_)))
}

fn is_strong(signature: &Signature) -> bool {
    let strong = |digest: Option<HashAlgorithm>| {
        digest.is_some_and(|digest| {
            !matches!(digest, HashAlgorithm::Md5 | HashAlgorithm::Sha1 | HashAlgorithm::Ripemd160)
        })
    };
    strong(signature.hash_alg()) && signature.embedded_signature().is_none_or(|back| strong(back.hash_alg()))
}

#[derive(PartialEq, Eq)]
enum Strength {
    Enough,
    Weak(String),
    Unknown,
}

fn strength(params: &PublicParams) -> Strength {
    match params {
        PublicParams::RSA(params) => match bits(params) {
            bits if bits < LEAST_RSA => Strength::Weak(format!("RSA of {bits} bits, fewer than {LEAST_RSA}")),
            _ => Strength::Enough,
        },
        PublicParams::DSA(_) => Strength::Weak("a DSA key".to_owned()),
        PublicParams::Elgamal(_) => Strength::Weak("an Elgamal key".to_owned()),
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { .. })
        | PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { .. }) => Strength::Unknown,
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Strength::Enough
        }
        _ => Strength::Unknown,
    }
}

/// How long the modulus is: it is written first, after its length.
fn bits(params: &RsaPublicParams) -> u16 {
    match params.to_bytes().as_deref() {
        Ok([high, low, ..]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

fn expired(what: &str, when: i64) -> Refusal {
    Refusal::new(
        format!("{what} on {}", date(when)),
        "get the publisher's renewed key; one with another fingerprint is another key",
    )
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| "an unknown day".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// What a key says of its owner: anybody's text.
fn printable(id: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(id).chars().filter(|c| !c.is_control()).take(100).collect();
    format!("`{text}`")
}
