//! `pgp_key`: keys that are taken only if they are the ones that the playbook pins.

use crate::certificate::{Refusal, Terms, judge};
use crate::hosts::text;
use crate::jail;
use crate::natives::Natives;
use crate::options::Options;
use crate::raise::{Call, Problem, Raise};
use pgp::armor::{ArmorCrc24Status, Dearmor, DearmorOptions};
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
    let mut options = Options::new("pgp_key", options, ["weak_key"])?;
    let weak = options.bool("weak_key")?.unwrap_or(false);
    let key = text(&key, "pgp_key")?;
    let pin = pin(&fingerprint)?;
    // What spans lines is no path.
    let (name, bytes) = if key.trim_start().starts_with(BEGIN) || key.contains('\n') {
        (None, key.as_bytes().to_vec())
    } else {
        let (name, bytes) = read(call, &key)?;
        (Some(name), bytes)
    };
    let known = (bytes, pin, weak);
    if let Some(armored) = call.session.state().keys.get(&known) {
        return Ok(armored.clone().into());
    }
    let (bytes, pin, _) = &known;
    let judged = packets(bytes).and_then(|bytes| judge(&bytes, Terms { pin, now: call.session.now, weak }));
    let armored = judged.map_err(|refusal| {
        let which = name.as_ref().map_or_else(|| "the key".to_owned(), |name| format!("the key `{name}`"));
        Problem::new(format!("{which} {}", refusal.what)).help(refusal.help)
    })?;
    if let Some(name) = name {
        call.session.add_source(&name, &armored);
    }
    let armored = ImmutableString::from(armored);
    call.session.state().keys.insert(known, armored.clone());
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
    let Ok(text) = given.as_immutable_string_ref() else {
        return Err(problem(format!("the fingerprint must be a text, not {}", crate::values::shown(given))));
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
    let (name, file) = jail::beside(call, path, "key")?;
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
    let mut armor = Dearmor::with_options(block.as_bytes(), DearmorOptions::new().enable_crc24_check());
    armor.read_to_end(all).map_err(|e| {eprintln!("{e:?}"); Refusal::damaged()})?;
    match armor.crc24_status() {
        ArmorCrc24Status::CheckedInvalid { .. } => Err(Refusal::damaged()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn look() {
        let pins = std::fs::read_to_string("/tmp/tkeys/pins").unwrap();
        for line in pins.lines() {
            let (file, pin) = line.split_once(' ').unwrap();
            let bytes = std::fs::read(format!("/tmp/tkeys/out/{file}")).unwrap();
            for weak in [false, true] {
                let r = packets(&bytes).and_then(|b| judge(&b, Terms { pin, now: "2026-01-01T00:00:00Z".parse().unwrap(), weak }));
                println!("{file} {weak}: {}", match &r { Ok(t) => { std::fs::write(format!("/tmp/tkeys/res/{file}"), t).unwrap(); format!("OK {}", t.len()) }, Err(e) => format!("{} | {}", e.what, e.help) });
            }
        }
    }
}
