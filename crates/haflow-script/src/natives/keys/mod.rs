//! `pgp_key`: keys that are taken only if they are the ones that the playbook pins.

mod certificate;
mod parts;
mod refusal;

use crate::calls::call::Call;
use crate::calls::options::Options;
use crate::calls::register::Natives;
use crate::calls::values::shown;
use crate::errors::problem::{Problem, Raise};
use crate::modules::jail;
use crate::natives::keys::certificate::{Terms, judge};
use crate::natives::keys::refusal::Refusal;
use pgp::armor::Dearmor;
use rhai::{Dynamic, ImmutableString};
use std::io::Read as _;

/// A key's file is no longer than so many bytes.
const LONGEST: u64 = 4 << 20;
/// How many digits the fingerprints of today's keys have.
const DIGITS: [usize; 2] = [40, 64];

const BEGIN: &str = "-----BEGIN ";
const PUBLIC: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const PUBLIC_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

pub(crate) fn register(natives: &mut Natives<'_>) {
    natives.add("pgp_key", pgp_key);
    natives.add("pgp_key", |call, [key, fingerprint]| pgp_key(call, [key, fingerprint, Dynamic::UNIT]));
}

fn pgp_key(call: &Call<'_>, [key, fingerprint, options]: [Dynamic; 3]) -> Result<Dynamic, Raise> {
    let mut options = Options::new("pgp_key", options, &["weak_key"], &[])?;
    let weak = options.bool("weak_key")?.unwrap_or(false);
    let key = key.as_immutable_string_ref().map(|key| key.clone()).map_err(|_| {
        Problem::new(format!("a key is a file's path or an armored text, not {}", shown(&key)))
            .option("key")
            .help("it is checked before any host is touched, so it must be here already")
    })?;
    let pin = pin(&fingerprint)?;
    // What spans lines is no path.
    let (name, bytes) = if key.trim_start().starts_with(BEGIN) || key.contains('\n') {
        (None, key.as_bytes().to_vec())
    } else {
        let (name, bytes) = read(call, &key)?;
        (Some(name), bytes)
    };
    let known = (bytes, pin, weak);
    if let Some(armored) = call.declaration.state().pgp_keys.get(&known) {
        return Ok(armored.clone().into());
    }
    let (bytes, pin, _) = &known;
    let judged = packets(bytes).and_then(|bytes| judge(&bytes, Terms { pin, now: call.declaration.now, weak }));
    let armored = judged.map_err(|refusal| {
        let which = name.as_ref().map_or_else(|| "the key".to_owned(), |name| format!("the key `{name}`"));
        Problem::new(format!("{which} {}", refusal.what)).help(refusal.help).option("key")
    })?;
    if let Some(name) = name {
        call.declaration.add_source(&name, &armored);
    }
    let armored = ImmutableString::from(armored);
    call.declaration.state().pgp_keys.insert(known, armored.clone());
    Ok(armored.into())
}

/// The digits of a fingerprint, in capitals.
fn pin(given: &Dynamic) -> Result<String, Problem> {
    let problem = |what: String| {
        Problem::new(what).option("fingerprint").help(
            "write all 40 digits of the fingerprint (64 of the newest keys), as the publisher states it elsewhere than in \
             the key's own file; blanks may be between them",
        )
    };
    if given.is_unit() {
        return Err(
            problem("a key needs its `fingerprint`: without it, any key would be taken".to_owned()).option("key")
        );
    }
    let Ok(text) = given.as_immutable_string_ref() else {
        return Err(problem(format!("the fingerprint must be a text, not {}", shown(given))));
    };
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    let digits = digits.strip_prefix("0X").unwrap_or(&digits);
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(problem(format!("`{}` isn't a fingerprint: it must be hexadecimal digits", *text)));
    }
    let why = match digits.len() {
        length if DIGITS.contains(&length) => return Ok(digits.to_owned()),
        8 => "is a short key id, and keys with the same one are made in seconds".to_owned(),
        16 => "is a key id and not a fingerprint: others can make a key with the same one".to_owned(),
        32 => "is the fingerprint of a key of the 1990s, which proves nothing today".to_owned(),
        1 => "has one digit; a fingerprint has 40".to_owned(),
        length => format!("has {length} digits; a fingerprint has 40"),
    };
    Err(problem(format!("`{}` {why}", *text)))
}

/// A key's file, and its name in places.
fn read(call: &Call<'_>, path: &str) -> Result<(String, Vec<u8>), Problem> {
    let (name, file) = jail::beside(call, path, "key").map_err(|problem| problem.option("key"))?;
    let failed = |error: std::io::Error| Problem::new(format!("failed to read the key `{name}`: {error}"));
    let mut bytes = Vec::new();
    std::fs::File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Problem::new(format!("the key `{name}` is longer than {} MiB", LONGEST >> 20))
            .help("give a file with the pinned key only"));
    }
    Ok((name, bytes))
}

/// The packets of a file that is binary or armored.
fn packets(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let blank = bytes.trim_ascii_start();
    if blank.is_empty() {
        return Err(Refusal::new("is empty", "fetch the key's file anew"));
    }
    if bytes[0] & 0x80 != 0 && !bytes.starts_with("\u{feff}".as_bytes()) {
        return Ok(bytes.to_vec());
    }
    if bytes.get(8..12) == Some(b"KBXf") {
        return Err(Refusal::new(
            "is a keybox of GnuPG",
            "export the key from it (`gpg --armor --export FINGERPRINT`)",
        ));
    }
    let text = String::from_utf8_lossy(bytes);
    if blank.starts_with(b"<") {
        return Err(Refusal::new(
            "is a web page and not a key",
            "fetch the file that the page links to; an address that is wrong often answers with a page",
        ));
    }
    if text.contains("PRIVATE KEY BLOCK-----") || text.contains("PRIVATE KEY-----") {
        return Err(Refusal::secret());
    }
    let mut all = Vec::new();
    let mut rest = &*text;
    while let Some(begin) = rest.find(PUBLIC) {
        let block = &rest[begin..];
        let end = block.find(PUBLIC_END).ok_or_else(Refusal::truncated)? + PUBLIC_END.len();
        dearmor(&block[..end], &mut all)?;
        rest = &block[end..];
    }
    if !all.is_empty() {
        return Ok(all);
    }
    match text.split_once(BEGIN).and_then(|(_, after)| after.split_once("-----")) {
        Some((what, _)) if what.len() < 40 && what.chars().all(|c| c.is_ascii_uppercase() || c == ' ') => {
            Err(Refusal::new(format!("is a {what} and not a public key"), Refusal::not_a_key().help))
        }
        _ => Err(Refusal::not_a_key()),
    }
}

fn dearmor(block: &str, all: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut armor = Dearmor::new(block.as_bytes());
    let start = all.len();
    armor.read_to_end(all).map_err(|_| Refusal::damaged())?;
    match armor.checksum {
        Some(checksum) if checksum != u64::from(crc24(&all[start..])) => Err(Refusal::damaged()),
        _ => Ok(()),
    }
}

/// The checksum of armored data. Only by it is damage to what no signature covers told from a wrong key.
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00b7_04ce, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 16, |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ 0x0186_4cfb }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "FD3979D67AC320B68D873DCC9795575847DA3BC8";

    /// What comes of a key of `tests/keys`: its text, or why it isn't taken.
    fn judged(file: &str, pin: &str, now: &str, weak: bool) -> Result<String, String> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");
        let bytes = std::fs::read(format!("{path}{file}")).unwrap();
        let terms = Terms { pin, now: format!("{now}T00:00:00Z").parse().unwrap(), weak };
        packets(&bytes).and_then(|bytes| judge(&bytes, terms)).map_err(|refusal| refusal.what)
    }

    #[track_caller]
    fn refused(file: &str, pin: &str, why: &str) {
        assert_eq!(judged(file, pin, "2026-01-01", false).unwrap_err(), why, "{file}");
    }

    #[test]
    fn a_key_that_is_pinned_and_holds_is_taken() {
        for file in ["good.asc", "good.gpg", "certified.asc"] {
            let text = judged(file, GOOD, "2026-01-01", false).unwrap();
            assert!(text.starts_with(&format!("{PUBLIC}\n\n")) && text.ends_with(&format!("{PUBLIC_END}\n")), "{text}");
            // What another key has signed isn't handed on.
            assert_eq!(
                packets(text.as_bytes()).unwrap(),
                packets(include_bytes!("../../../tests/keys/good.gpg")).unwrap(),
                "{file}"
            );
            assert_eq!(packets(text.as_bytes()).and_then(|bytes| judge(&bytes, terms(GOOD))).unwrap(), text, "{file}");
        }
        judged("subkey.asc", "A1FC91BB65556C3C21D4150E9153B452CEA652C6", "2026-01-01", false).unwrap();
        // Its first self-signature says 2020, its newest that it doesn't expire.
        judged("renewed.asc", "38E9ACBE2BB50AE909E13EA8B4C3196F60CF9F8A", "2026-01-01", false).unwrap();
    }

    #[test]
    fn a_key_expires_on_its_day() {
        let pin = "6BE2F962B72E5B0BAF7095ADBB1065C21A54654D";
        judged("expired.asc", pin, "2015-12-17", false).unwrap();
        refused("expired.asc", pin, "expired on 2015-12-17");
        assert_eq!(judged("expired.asc", pin, "2015-12-18", true).unwrap_err(), "expired on 2015-12-17");
        // It is a DSA key and signed by SHA-1 as well.
        refused("expired-weak.asc", "05921B71B6373920FB78B19B7A875324C3E0DBC1", "expired on 2015-12-17");
        let early = judged("expired.asc", pin, "2013-10-08", false).unwrap_err();
        assert_eq!(early, "was made on 2013-10-08, which is yet to come");
    }

    #[test]
    fn a_key_that_does_not_hold_is_refused() {
        refused("revoked.asc", "910A26AA29372FA380D6CEB085F09A9012CDCFD8", "was revoked by its owner on 2024-01-01");
        for file in ["two.asc", "two-blocks.asc"] {
            let why = judged(file, GOOD, "2026-01-01", false).unwrap_err();
            assert!(why.starts_with("holds 2 keys, each of which would be trusted: FD39 79D6 "), "{why}");
        }
        refused(
            "certonly.asc",
            "5BA22A997705E7DF1176C1A13DD33286BA95F622",
            "can sign nothing: neither it nor one of its subkeys is for signing",
        );
        refused(
            "ended.asc",
            "9A1386A0F8EEE70D04BAEA565E943784748E9BC3",
            "can sign nothing: its subkey for that expired on 2024-03-01",
        );
    }

    #[test]
    fn an_old_key_is_taken_only_by_an_explicit_word() {
        for (file, pin, why) in [
            ("sha1.asc", "A74F0281D9BBC6B2A27E5BCCCD4C21B2EA5EDB7F", "is too weak: it vouches for itself by SHA1 only"),
            (
                "rsa1024.asc",
                "835EFD6656014CC6C851C95C11FF9B3D4D540EEA",
                "is too weak: it is RSA of 1024 bits, fewer than 2048",
            ),
        ] {
            refused(file, pin, why);
            judged(file, pin, "2026-01-01", true).unwrap();
        }
    }

    #[test]
    fn what_is_no_whole_public_key_is_refused() {
        let why = |bytes: &[u8]| packets(bytes).and_then(|bytes| judge(&bytes, terms(GOOD))).unwrap_err().what;
        let armored = include_str!("../../../tests/keys/good.asc");
        let binary = include_bytes!("../../../tests/keys/good.gpg");
        assert_eq!(why(b" \n"), "is empty");
        assert_eq!(why(b"<!DOCTYPE html>\n<p>Not found</p>\n"), "is a web page and not a key");
        assert_eq!(why(b"pub   ed25519 2024-01-01 [SC]\n"), Refusal::not_a_key().what);
        assert_eq!(why(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), "is a CERTIFICATE and not a public key");
        assert_eq!(why(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA"), Refusal::secret().what);
        assert_eq!(why(b"\x94\x02\x04\x00"), Refusal::secret().what, "a secret key's packet");
        assert_eq!(why(&armored.as_bytes()[..armored.len() / 2]), Refusal::truncated().what);
        assert_eq!(why(&binary[..binary.len() - 1]), Refusal::truncated().what);
        assert_eq!(why(armored.replacen("QXBh", "QYBh", 1).replacen('4', "5", 1).as_bytes()), Refusal::damaged().what);
        // Whole packets are missing: all after the key itself.
        let alone = &binary[..2 + usize::from(binary[1])];
        assert!(why(alone).starts_with("doesn't vouch for itself"), "{}", why(alone));
        for end in 0..binary.len() {
            why(&binary[..end]);
        }
    }

    #[test]
    fn a_key_is_changed_by_no_byte() {
        // Whatever is changed, the key isn't taken; but for the hint by which key it was signed, which
        // nothing vouches for.
        let binary = include_bytes!("../../../tests/keys/good.gpg");
        let id = [0x97, 0x95, 0x57, 0x58, 0x47, 0xda, 0x3b, 0xc8];
        let hint = binary.windows(id.len()).rposition(|window| window == id).unwrap();
        let text = judged("good.gpg", GOOD, "2026-01-01", false).unwrap();
        for at in 0..binary.len() {
            for bit in [0, 7] {
                let mut bytes = binary.to_vec();
                bytes[at] ^= 1 << bit;
                let taken = judge(&bytes, terms(GOOD));
                let same = taken.as_ref().is_ok_and(|taken| *taken == text);
                assert!(taken.is_err() || same || (hint - 1..hint + id.len()).contains(&at), "bit {bit} of byte {at}");
            }
        }
    }

    /// The packets of a key of `tests/keys`.
    fn parts(file: &str) -> Vec<Vec<u8>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");
        let bytes = packets(&std::fs::read(format!("{path}{file}")).unwrap()).unwrap();
        let (mut rest, mut parts) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            // All of these have the old kind of header.
            let (header, length) = match rest[0] & 3 {
                0 => (2, usize::from(rest[1])),
                _ => (3, usize::from(u16::from_be_bytes([rest[1], rest[2]]))),
            };
            let (part, after) = rest.split_at(header + length);
            parts.push(part.to_vec());
            rest = after;
        }
        parts
    }

    #[test]
    fn what_others_add_to_a_key_is_left_out_or_refused() {
        let good = parts("good.gpg");
        let text = judged("good.gpg", GOOD, "2026-01-01", false).unwrap();
        let taken = |parts: &[&[Vec<u8>]]| judge(&parts.concat().concat(), terms(GOOD)).map_err(|refusal| refusal.what);
        // Another key's user id and subkeys, with the signatures by which they are that key's.
        let other = parts("subkey.asc");
        assert_eq!(taken(&[&good, &other[1..]]).unwrap(), text);
        // A user id and a subkey that nothing vouches for.
        assert_eq!(taken(&[&good, &other[1..2], &other[3..4]]).unwrap(), text);
        // A revocation by another key, perhaps one that may.
        let revocation = &parts("revoked.asc")[1..2];
        let unsure = "carries a revocation that can't be checked";
        assert_eq!(taken(&[&good[..1], revocation, &good[1..]]).unwrap_err(), unsure);
        // One that can't be parsed, of the key and of its user id: a signature of version 4 that ends after
        // its kind.
        assert_eq!(taken(&[&good[..1], &[vec![0x88, 2, 4, 0x20]], &good[1..]]).unwrap_err(), unsure);
        let unsaid = taken(&[&good, &[vec![0x88, 2, 4, 0x30]]]).unwrap_err();
        assert!(unsaid.starts_with("doesn't vouch for itself"), "{unsaid}");
        // Another key's signatures in the place of its own.
        let unsaid = taken(&[&good[..2], &other[2..3]]).unwrap_err();
        assert!(unsaid.starts_with("doesn't vouch for itself"), "{unsaid}");
        // The subkey that signs without what says that it belongs to the key: nothing is left that signs.
        let alone = judge(&other[..3].concat(), terms("A1FC91BB65556C3C21D4150E9153B452CEA652C6")).unwrap_err().what;
        assert!(alone.starts_with("can sign nothing"), "{alone}");
    }

    fn terms(pin: &str) -> Terms<'_> {
        Terms { pin, now: "2026-01-01T00:00:00Z".parse().unwrap(), weak: false }
    }

    #[test]
    fn a_pin_is_all_of_a_fingerprint() {
        let pin = |text: &str| pin(&text.into()).map_err(|problem| problem.message);
        for text in
            [GOOD, "fd39 79d6 7ac3 20b6 8d87  3dcc 9795 5758 47da 3bc8", "0xFD3979D67AC320B68D873DCC9795575847DA3BC8"]
        {
            assert_eq!(pin(text).unwrap(), GOOD);
        }
        for text in ["47DA3BC8", "9795575847DA3BC8", "", "0x", "FD39 79D6", "rabbitmq", &GOOD[1..], &format!("{GOOD}0")]
        {
            assert!(pin(text).is_err(), "{text}");
        }
    }
}
