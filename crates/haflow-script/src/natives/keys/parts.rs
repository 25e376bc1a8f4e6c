//! An `OpenPGP` key taken apart: its packets, and of what they say all that the key itself has signed.

use crate::natives::keys::refusal::{Refusal, hex, spaced};
use Kind::{Binding, Certification, Direct, KeyRevocation, Other, SubkeyRevocation, UserRevocation};
use pgp::packet::{PacketHeader, PublicKey, PublicSubkey, Signature, UserId};
use pgp::types::{KeyDetails as _, PacketLength, Tag};
use std::io::ErrorKind;

/// How many of several keys in a file a message names.
const NAMED: usize = 3;

/// A packet that isn't parsed yet.
struct Raw<'a> {
    header: PacketHeader,
    body: &'a [u8],
}

fn split(mut bytes: &[u8]) -> Result<Vec<Raw<'_>>, Refusal> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let header = PacketHeader::try_from_reader(&mut bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Refusal::truncated(),
            _ if packets.is_empty() => Refusal::not_a_key(),
            _ => Refusal::damaged(),
        })?;
        // Packets of keys have a length of their own, all others are none.
        let PacketLength::Fixed(length) = header.packet_length() else { return Err(Refusal::not_a_key()) };
        let (body, after) = bytes.split_at_checked(length as usize).ok_or_else(Refusal::truncated)?;
        packets.push(Raw { header, body });
        bytes = after;
    }
    Ok(packets)
}

/// The primary key, of which there must be one.
fn primary(packets: &[Raw<'_>]) -> Result<PublicKey, Refusal> {
    let mut keys = Vec::new();
    for Raw { header, body } in packets.iter().filter(|packet| packet.header.tag() == Tag::PublicKey) {
        keys.push(PublicKey::try_from_reader(*header, *body).map_err(|_| Refusal::unknown("the key"))?);
    }
    match keys.len() {
        0 => Err(Refusal::new(
            "holds no key",
            "give the publisher's whole key: its primary key with all that belongs to it",
        )),
        1 => Ok(keys.remove(0)),
        many => {
            let mut fingerprints: Vec<String> =
                keys.iter().take(NAMED).map(|key| spaced(&hex(&key.fingerprint()))).collect();
            if many > NAMED {
                fingerprints.push("…".to_owned());
            }
            Err(Refusal::new(
                format!("holds {many} keys, each of which would be trusted: {}", fingerprints.join("; ")),
                "give a file with the pinned one only (`gpg --armor --export FINGERPRINT`)",
            ))
        }
    }
}

/// A key with what it says of itself. Signatures that don't hold aren't here.
pub(crate) struct Parts {
    pub(crate) primary: PublicKey,
    /// Its revocations, and whether they hold; nothing for one that can't be parsed, which never does.
    pub(crate) revocations: Vec<(Option<Signature>, bool)>,
    pub(crate) direct: Vec<Signature>,
    pub(crate) users: Vec<User>,
    pub(crate) subkeys: Vec<Subkey>,
}

/// A user id with what the key says of it.
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) certifications: Vec<Signature>,
    pub(crate) revocations: Vec<Signature>,
}

/// A subkey that the key says is its own.
pub(crate) struct Subkey {
    pub(crate) key: PublicSubkey,
    pub(crate) bindings: Vec<Signature>,
    pub(crate) revocations: Vec<Signature>,
}

/// What a signature in a key says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certification,
    UserRevocation,
    Binding,
    SubkeyRevocation,
    Direct,
    KeyRevocation,
    Other,
}

impl Kind {
    /// What the packet's bytes say: also a packet that can't be parsed may be a revocation.
    fn of(body: &[u8]) -> Self {
        let kind = match body {
            [2 | 3, _, kind, ..] | [4..=6, kind, ..] => *kind,
            _ => return Other,
        };
        match kind {
            0x10..=0x13 => Certification,
            0x18 => Binding,
            0x1f => Direct,
            0x20 => KeyRevocation,
            0x28 => SubkeyRevocation,
            0x30 => UserRevocation,
            _ => Other,
        }
    }
}

/// What the signatures that follow are about.
enum About {
    Primary,
    User,
    Subkey,
    Nothing,
}

impl Parts {
    /// The one key in these bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let packets = split(bytes)?;
        if packets.iter().any(|packet| matches!(packet.header.tag(), Tag::SecretKey | Tag::SecretSubkey)) {
            return Err(Refusal::secret());
        }
        let primary = primary(&packets)?;
        let start = packets.iter().position(|packet| packet.header.tag() == Tag::PublicKey).unwrap_or(0);
        Ok(Self::of(&packets[start + 1..], primary))
    }

    fn of(packets: &[Raw<'_>], primary: PublicKey) -> Self {
        let mut parts =
            Self { primary, revocations: Vec::new(), direct: Vec::new(), users: Vec::new(), subkeys: Vec::new() };
        let mut about = About::Primary;
        for Raw { header, body } in packets {
            match header.tag() {
                Tag::UserId => {
                    about = match UserId::try_from_reader(*header, *body) {
                        Ok(id) => {
                            parts.users.push(User { id, certifications: Vec::new(), revocations: Vec::new() });
                            About::User
                        }
                        Err(_) => About::Nothing,
                    };
                }
                Tag::PublicSubkey => {
                    about = match PublicSubkey::try_from_reader(*header, *body) {
                        Ok(key) => {
                            parts.subkeys.push(Subkey { key, bindings: Vec::new(), revocations: Vec::new() });
                            About::Subkey
                        }
                        Err(_) => About::Nothing,
                    };
                }
                Tag::Signature => {
                    if !parts.add(&about, Kind::of(body), Signature::try_from_reader(*header, *body).ok()) {
                        // A revocation that can't be checked: what it is about isn't handed on.
                        match about {
                            About::User => drop(parts.users.pop()),
                            About::Subkey => drop(parts.subkeys.pop()),
                            About::Primary | About::Nothing => {}
                        }
                        about = About::Nothing;
                    }
                }
                Tag::Trust | Tag::Marker | Tag::Padding => {}
                _ => about = About::Nothing,
            }
        }
        parts.users.retain(|user| !user.certifications.is_empty());
        parts.subkeys.retain(|subkey| !subkey.bindings.is_empty());
        parts
    }

    /// Adds a signature if it holds. False where it is the revocation of a part of the key and can't be
    /// checked.
    fn add(&mut self, about: &About, kind: Kind, signature: Option<Signature>) -> bool {
        let primary = &self.primary;
        match (about, kind) {
            (About::Primary, KeyRevocation) => {
                let holds = signature.as_ref().is_some_and(|signature| signature.verify_key(primary).is_ok());
                self.revocations.push((signature, holds));
            }
            (About::Primary, Direct) => {
                self.direct.extend(signature.filter(|signature| signature.verify_key(primary).is_ok()));
            }
            (About::User, Certification | UserRevocation) => {
                let Some(user) = self.users.last_mut() else { return true };
                if kind == UserRevocation && signature.is_none() {
                    return false;
                }
                let own = signature.filter(|signature| is_by(signature, primary));
                let holds =
                    |signature: &Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
                match (kind, own) {
                    (UserRevocation, Some(signature)) if !holds(&signature) => return false,
                    (UserRevocation, own) => user.revocations.extend(own),
                    (_, own) => user.certifications.extend(own.filter(holds)),
                }
            }
            (About::Subkey, Binding | SubkeyRevocation) => {
                let Some(subkey) = self.subkeys.last_mut() else { return true };
                let holds = |signature: &Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
                match (kind, signature) {
                    (SubkeyRevocation, Some(signature)) if holds(&signature) => subkey.revocations.push(signature),
                    (SubkeyRevocation, _) => return false,
                    (_, signature) => {
                        let bound =
                            signature.filter(holds).filter(|binding| is_bound_back(binding, &subkey.key, primary));
                        subkey.bindings.extend(bound);
                    }
                }
            }
            _ => {}
        }
        true
    }
}

/// Whether a signature says that it was made by this key, or doesn't say by which.
fn is_by(signature: &Signature, key: &PublicKey) -> bool {
    let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    ids.is_empty() && fingerprints.is_empty()
        || ids.contains(&&key.legacy_key_id())
        || fingerprints.contains(&&key.fingerprint())
}

/// A subkey for signing must say itself that it belongs to the key.
fn is_bound_back(binding: &Signature, subkey: &PublicSubkey, primary: &PublicKey) -> bool {
    let back = binding.embedded_signature();
    !binding.key_flags().sign() || back.is_some_and(|back| back.verify_primary_key_binding(subkey, primary).is_ok())
}
