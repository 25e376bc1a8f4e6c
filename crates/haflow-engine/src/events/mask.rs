//! Finds secrets by their values in what hosts print, also where they come back encoded, wrapped or cut.
//!
//! A text is read in several ways: as it is, without line breaks, and with percent signs, backslashes and a
//! shell's quotes undone. In each of them is looked for:
//!
//! - a secret, or a line of one that has several;
//! - at the text's beginning the rest of one, at its end the beginning of one: what is left of it where
//!   output was cut;
//! - anywhere, eight characters in a row of its base64, in whichever alphabet, and wherever it stands in what
//!   was encoded.

use crate::cut;
use crate::events::views::{View, views};
use haflow_model::{REDACTED, Secret};
use memchr::memmem;
use std::ops::Range;
use zeroize::Zeroizing;

/// A secret shorter than this isn't searched for, in bytes: it would turn up in every other word.
const SHORTEST: usize = 4;

/// Less than this of a secret is no longer taken for a part of one, in bytes.
const PART: usize = 8;

/// At the ends of a text so much may stand for a character, or for what stands for one, that was cut, in
/// bytes.
const TORN: usize = 9;

const BASE64: [&[u8; 64]; 2] = [
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
];

type Bytes = Zeroizing<Vec<u8>>;

/// All secrets that are known, in the forms that are looked for.
#[derive(Default)]
pub(crate) struct Mask {
    known: Vec<Secret>,
    /// Secrets, and their lines.
    plain: Vec<Bytes>,
    /// The first [`PART`] bytes of each of them, as a number; sorted.
    heads: Zeroizing<Vec<u64>>,
    /// All [`PART`] bytes in a row of them.
    parts: Zeroizing<Vec<u64>>,
    /// All [`PART`] characters in a row of their base64.
    encoded: Zeroizing<Vec<u64>>,
    /// What base64 makes of secrets that are too short for that.
    short: Vec<Bytes>,
}

impl Mask {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Has `secret` hidden from here on.
    pub(crate) fn add(&mut self, secret: &Secret) {
        // Blanks and line breaks around it may be gone.
        let text = secret.expose().trim();
        if text.len() < SHORTEST || self.known.contains(secret) {
            return;
        }
        self.known.push(secret.clone());
        let first = self.plain.len();
        self.plain.push(Zeroizing::new(text.into()));
        if text.contains('\n') {
            let lines = text.lines().map(str::trim).filter(|line| line.len() >= PART);
            self.plain.extend(lines.map(|line| Zeroizing::new(line.into())));
        }
        let plain = self.plain[first..].iter().filter(|form| form.len() >= PART);
        insert(&mut self.heads, plain.clone().map(|form| piece(&form[..PART])));
        insert(&mut self.parts, plain.flat_map(|form| form.windows(PART).map(piece)));
        let forms = BASE64.iter().flat_map(|alphabet| (0..3).map(move |before| (alphabet, before)));
        let forms = forms.map(|(alphabet, before)| base64(text.as_bytes(), before, alphabet));
        let (short, long): (Vec<Bytes>, Vec<Bytes>) = forms.partition(|form| form.len() < PART);
        insert(&mut self.encoded, long.iter().flat_map(|form| form.windows(PART).map(piece)));
        self.short.extend(short);
    }

    /// The text without secrets; `None` where there are none in it. Where something was cut out of it, each
    /// part has ends of its own.
    pub(crate) fn hide(&self, text: &str) -> Option<String> {
        let parts = cut::parts(text);
        if let [_] = parts[..] {
            return self.hide_in(text);
        }
        let mut hidden: Option<String> = None;
        let mut end = 0;
        for part in parts {
            let here = self.hide_in(&text[part.clone()]);
            if here.is_some() && hidden.is_none() {
                hidden = Some(text[..end].to_owned());
            }
            if let Some(hidden) = &mut hidden {
                hidden.push_str(&text[end..part.start]);
                hidden.push_str(here.as_deref().unwrap_or(&text[part.clone()]));
            }
            end = part.end;
        }
        if let Some(hidden) = &mut hidden {
            hidden.push_str(&text[end..]);
        }
        hidden
    }

    fn hide_in(&self, text: &str) -> Option<String> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for view in views(text) {
            self.find(&view, &mut found);
        }
        if found.is_empty() {
            return None;
        }
        found.sort_unstable_by_key(|range| range.start);
        let mut hidden = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            let start = (0..=range.start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let stop = (range.end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            if start > end || end == 0 {
                hidden.push_str(&text[end..start]);
                hidden.push_str(REDACTED);
            }
            end = end.max(stop);
        }
        hidden.push_str(&text[end..]);
        Some(hidden)
    }

    fn find(&self, view: &View, found: &mut Vec<Range<usize>>) {
        let text = view.bytes.as_slice();
        for form in self.plain.iter().filter(|form| form.len() < PART) {
            found.extend(all(text, form).map(|range| view.source(range)));
        }
        let encoded = |range: Range<usize>| view.source(with_neighbours(text, range));
        for form in &self.short {
            found.extend(all(text, form).map(encoded));
        }
        // One way through the text, whatever there is to be found: the last eight bytes, and how many in a
        // row may be base64.
        let (mut last, mut in_a_row) = (0_u64, 0);
        for (end, byte) in (1_usize..).zip(text) {
            last = last << 8 | u64::from(*byte);
            in_a_row = if is_base64(*byte) { in_a_row + 1 } else { 0 };
            let Some(at) = end.checked_sub(PART) else { continue };
            if self.heads.binary_search(&last).is_ok() {
                let here = self.plain.iter().filter(|form| form.len() >= PART && text[at..].starts_with(form));
                found.extend(here.map(|form| view.source(at..at + form.len())));
            }
            if in_a_row >= PART && self.encoded.binary_search(&last).is_ok() {
                found.push(encoded(at..end));
            }
        }
        found.extend(self.cut(text).into_iter().map(|range| view.source(range)));
    }

    /// What is left of secrets at the ends of a text that was cut.
    fn cut(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for skipped in 0..=TORN.min(text.len()) {
            let rest = &text[skipped..];
            for (form, at) in self.places(rest.first_chunk()) {
                let same = rest.iter().zip(&form[at.start..]).take_while(|(one, other)| one == other).count();
                if at.start + same == form.len() || same + TORN >= rest.len() {
                    found.push(skipped..skipped + same);
                }
            }
            let rest = &text[..text.len() - skipped];
            for (form, at) in self.places(rest.last_chunk()) {
                let before = form[..at.end].iter().rev();
                let same = rest.iter().rev().zip(before).take_while(|(one, other)| one == other).count();
                if same == at.end || same + TORN >= rest.len() {
                    found.push(rest.len() - same..rest.len());
                }
            }
        }
        found
    }

    /// Where in which secrets this is.
    fn places(&self, part: Option<&[u8; PART]>) -> Vec<(&Bytes, Range<usize>)> {
        match part {
            Some(part) if self.parts.binary_search(&piece(part)).is_ok() => {
                self.plain.iter().flat_map(|form| all(form, part).map(move |at| (form, at))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Adds numbers, and keeps all of them sorted. What grows leaves copies behind, so it is made anew.
fn insert(numbers: &mut Zeroizing<Vec<u64>>, more: impl Iterator<Item = u64> + Clone) {
    let mut all = Zeroizing::new(Vec::with_capacity(numbers.len() + more.clone().count()));
    all.extend_from_slice(numbers);
    all.extend(more);
    all.sort_unstable();
    all.dedup();
    *numbers = all;
}

fn piece(part: &[u8]) -> u64 {
    part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The characters that base64 makes of these bytes alone, where so many come `before` them in a group of
/// three.
fn base64(bytes: &[u8], before: usize, alphabet: &[u8; 64]) -> Bytes {
    let bits = bytes.len() * 8;
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let first = (6 - before * 8 % 6) % 6;
    let mut form = Zeroizing::new(Vec::with_capacity(bits / 6 + 1));
    let whole = (first..).step_by(6).take_while(|from| from + 6 <= bits);
    form.extend(whole.map(|from| alphabet[(from..from + 6).fold(0, |number, at| number << 1 | usize::from(bit(at)))]));
    form
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// The characters on both sides hold some bits of the secret too, and the signs after it tell its length.
fn with_neighbours(text: &[u8], Range { start, end }: Range<usize>) -> Range<usize> {
    let before = text[..start].last().is_some_and(|byte| is_base64(*byte));
    let after = text[end..].first().is_some_and(|byte| is_base64(*byte));
    let end = end + usize::from(after);
    let fill = text[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
    start - usize::from(before)..end + fill
}

/// Where `form` is, overlapping itself or not.
fn all(text: &[u8], form: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let finder = memmem::Finder::new(form).into_owned();
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + finder.find(text.get(from..)?)?;
        from = at + 1;
        Some(at..at + finder.needle().len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(secrets: &[&str]) -> Mask {
        let mut mask = Mask::default();
        for secret in secrets {
            mask.add(&Secret::new(*secret));
        }
        mask
    }

    fn hidden(secrets: &[&str], text: &str) -> String {
        mask(secrets).hide(text).unwrap_or_else(|| text.to_owned())
    }

    /// Base64 as everybody writes it.
    fn whole_base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let number = group
                .iter()
                .chain([0, 0].iter())
                .take(3)
                .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
            for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                text.push(if at <= group.len() { char::from(alphabet[number >> shift & 63]) } else { '=' });
            }
        }
        text
    }

    fn percent_encoded(text: &str, space: &str) -> String {
        text.bytes().fold(String::new(), |text, byte| match byte {
            b' ' => text + space,
            byte if byte.is_ascii_alphanumeric() => text + &char::from(byte).to_string(),
            byte => format!("{text}%{byte:02X}"),
        })
    }

    fn folded(text: &str, columns: usize) -> String {
        text.as_bytes().chunks(columns).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect()
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in ["nothing of it", "", "hunter", "aHVudG", "%68%75%6e", "rabbit1:5672"] {
            assert_eq!(mask(&["hunter2-and-more", "abc"]).hide(text), None, "{text}");
        }
        assert_eq!(hidden(&["hunter2"], "it is hunter2, no?"), "it is ‹secret›, no?");
        assert_eq!(hidden(&["hunter2", "ter2x"], "hunter2x"), "‹secret›");
        assert_eq!(hidden(&["ü€ü€"], "(ü€ü€)"), "(‹secret›)");
    }

    #[test]
    fn a_part_of_a_secret_in_the_middle_of_a_text_stays() {
        // Else an address would take the names of hosts out of everything that is told.
        let address = "rabbit://nova:hunter2@rabbit1.example.org:5672/shop";
        assert_eq!(
            hidden(&[address], "connected to rabbit1.example.org:5672."),
            "connected to rabbit1.example.org:5672."
        );
        assert_eq!(hidden(&[address], &format!("url={address}.")), "url=‹secret›.");
    }

    #[test]
    fn encoded_secrets_are_known() {
        let secret = "it's \"quoted\" & $(more)\twith ünïcödé";
        for text in [
            whole_base64(secret.as_bytes(), BASE64[0]),
            whole_base64(format!("user:{secret}").as_bytes(), BASE64[0]),
            whole_base64(format!("u:{secret}\n").as_bytes(), BASE64[1]),
            percent_encoded(secret, "%20"),
            percent_encoded(secret, "+").to_lowercase().replace("ünï", ""),
            serde_json::to_string(secret).unwrap().trim_matches('"').to_owned(),
            secret.replace('\'', r"'\''"),
            secret.replace('\'', r#"'"'"'"#),
        ] {
            let shown = hidden(&[secret], &format!("a {text} b"));
            let rest = shown.replace(REDACTED, "");
            assert!(shown.contains(REDACTED) && rest.len() < 14, "{text}: {shown}");
        }
        // The last character of the user is in the same one as the first of the secret.
        assert_eq!(hidden(&["hunter2"], "Basic dXNlcjpodW50ZXIy"), "Basic dXNlcj‹secret›");
        assert_eq!(hidden(&["abcd"], "YWJjZA=="), "‹secret›");
    }

    #[test]
    fn wrapped_and_traced_secrets_are_known() {
        let long = "0123456789 abcdefghijklmnopqrstuvwxyz ".repeat(20);
        let wrapped = folded(&whole_base64(format!("user:{long}").as_bytes(), BASE64[0]), 76);
        assert!(hidden(&[&long], &wrapped).replace(REDACTED, "").len() < 12);
        // What of it is in the last lines alone.
        let tail: Vec<&str> = wrapped.lines().skip(5).take(2).collect();
        assert_eq!(hidden(&[&long], &format!("lost: {}", tail.join("\n"))), "lost: ‹secret›");
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
        assert_eq!(hidden(&[key], "+MIIEvQIBADANBgkq\n+hkiG9w0BAQEFAASC\n"), "+‹secret›\n+‹secret›\n");
        assert_eq!(hidden(&[key], "NBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\nbye"), "‹secret›\nbye");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn nothing_of_a_secret_is_left_wherever_it_is_cut(
            secret in "[!-~üß€\n ]{8,120}",
            (before, after) in ("[ -~\n]{0,40}", "[ -~\n]{0,40}"),
            encoding in 0_usize..7,
            (from, to) in (0.0..1.0, 0.0..1.0),
        ) {
            let encode = |text: &str| match encoding {
                0 => text.to_owned(),
                1 => whole_base64(text.as_bytes(), BASE64[0]),
                2 => whole_base64(text.as_bytes(), BASE64[1]),
                3 => folded(&whole_base64(text.as_bytes(), BASE64[0]), 76),
                4 => percent_encoded(text, "%20"),
                5 => percent_encoded(text, "+"),
                _ => serde_json::to_string(text).unwrap(),
            };
            let text = encode(&format!("{before}{secret}{after}"));
            // Bytes, as a stream is cut, and read as what hosts print is.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
            let at = |part: f64| (text.len() as f64 * part) as usize;
            let (from, to) = (at(from).min(at(to)), at(from).max(at(to)));
            let text = String::from_utf8_lossy(&text.as_bytes()[from..to]);
            let shown = mask(&[&secret]).hide(&text).unwrap_or_else(|| text.clone().into_owned());
            let seen: String = shown.split(REDACTED).collect::<Vec<_>>().join("\u{0}");
            // What is around it may look like it.
            let around = format!("{}\u{0}{}", encode(&before), encode(&after));
            let undone = |text: &str| -> Vec<Vec<u8>> { views(text).map(|view| view.bytes.to_vec()).collect() };
            let seen = undone(&seen);
            let around = undone(&around);
            let has = |texts: &[Vec<u8>], part: &[u8]| texts.iter().any(|text| memmem::find(text, part).is_some());
            for part in secret.trim().as_bytes().windows(PART) {
                prop_assert!(!has(&seen, part) || has(&around, part), "{:?} is left in {shown:?}", String::from_utf8_lossy(part));
            }
            for alphabet in BASE64 {
                for before in 0..3 {
                    let form = base64(secret.trim().as_bytes(), before, alphabet);
                    // The number of characters that say eight bytes of it.
                    for part in form.windows(PART * 4 / 3) {
                        prop_assert!(!has(&seen, part) || has(&around, part), "base64 of it is left in {shown:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_secret_that_was_cut_with_words_about_it_is_hidden() {
        let mut mask = Mask::default();
        mask.add(&Secret::new("correct horse battery staple"));
        let cut = |text: &str| mask.hide(text);
        assert_eq!(
            cut("it is correct horse ba … 12 bytes left out").as_deref(),
            Some("it is ‹secret› … 12 bytes left out")
        );
        assert_eq!(
            cut("… 12 bytes left out … battery staple, no?").as_deref(),
            Some("… 12 bytes left out … ‹secret›, no?")
        );
        assert_eq!(cut("nothing … 12 bytes left out … here"), None);
    }
}
