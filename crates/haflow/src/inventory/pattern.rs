//! Host names and the patterns that stand for several.

use super::file::{File, Word};
use haflow_model::Diagnostic;
use std::net::Ipv6Addr;

/// More hosts than this, in one pattern or in all, are taken for a slip.
pub(super) const MOST: usize = 100_000;
/// All patterns together stand for no more names: a host may be in several groups.
const MOST_NAMES: usize = 10 * MOST;

/// All names that a pattern stands for: `web[01:10]`, `db[a:c]`, `n[0:8:2]`, or a plain name.
pub(super) fn expand(file: &File, pattern: &Word) -> Result<Vec<Word>, Diagnostic> {
    let mut names = vec![String::new()];
    let mut rest = pattern.text.as_str();
    if rest.parse::<Ipv6Addr>().is_ok() {
        return checked(file, pattern, vec![rest.to_owned()]);
    }
    while let Some((head, tail)) = rest.split_once('[') {
        let Some((range, tail)) = tail.split_once(']').filter(|(range, _)| range.contains(':')) else {
            break;
        };
        let parts = span(range).map_err(|why| {
            file.wrong(pattern.at, format!("bad range `[{range}]` in `{}`: {why}", pattern.text), "")
                .help("ranges read `[1:3]`, `[01:10]`, `[a:f]` or, with a step, `[0:8:2]`")
        })?;
        if names.len().saturating_mul(parts.len()) > MOST {
            return Err(file
                .wrong(pattern.at, format!("`{}` stands for more than {MOST} hosts", pattern.text), "")
                .help("make the range smaller"));
        }
        names = names.iter().flat_map(|name| parts.iter().map(move |part| format!("{name}{head}{part}"))).collect();
        rest = tail;
    }
    file.names.set(file.names.get() + names.len());
    if file.names.get() > MOST_NAMES {
        return Err(file
            .wrong(pattern.at, format!("with `{}` the inventory has more than {MOST_NAMES} names", pattern.text), "")
            .help("make its ranges smaller"));
    }
    for name in &mut names {
        name.push_str(rest);
    }
    checked(file, pattern, names)
}

fn checked(file: &File, pattern: &Word, names: Vec<String>) -> Result<Vec<Word>, Diagnostic> {
    if let Some(name) = names.first() {
        check(file, &Word { text: name.clone(), at: pattern.at }, "host name")?;
    }
    Ok(names.into_iter().map(|text| Word { text, at: pattern.at }).collect())
}

/// The values of `1:3`, `01:10`, `a:f` or `0:8:2`, both ends included.
fn span(range: &str) -> Result<Vec<String>, String> {
    let mut parts = range.split(':');
    let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let step = match parts.next() {
        None => 1,
        Some(step) => step.parse::<usize>().ok().filter(|step| *step > 0).ok_or("the step isn't a number above 0")?,
    };
    if parts.next().is_some() {
        return Err("it has too many parts".to_owned());
    }
    if let (Some(first), Some(last)) = (letter(from), letter(to)) {
        return if first <= last {
            Ok((first..=last).step_by(step).map(|letter| char::from(letter).to_string()).collect())
        } else {
            Err("it ends before it begins".to_owned())
        };
    }
    let number = |text: &str| {
        text.parse::<usize>()
            .ok()
            .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or(format!("`{text}` is neither a number nor a letter"))
    };
    let first = if from.is_empty() { 0 } else { number(from)? };
    let last = number(to)?;
    if first > last {
        return Err("it ends before it begins".to_owned());
    }
    let width = if from.starts_with('0') && from.len() > 1 { from.len() } else { 0 };
    if width > 0 && width != to.len() {
        return Err("with leading zeros, both ends must be equally long".to_owned());
    }
    Ok((first..=last).step_by(step).take(MOST + 1).map(|value| format!("{value:0width$}")).collect())
}

fn letter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(*byte),
        _ => None,
    }
}

/// Refuses what would be something else than a name where ssh reads it: an option, a user, a path, shell.
pub(super) fn check(file: &File, word: &Word, what: &str) -> Result<(), Diagnostic> {
    let text = &word.text;
    if text.is_empty() {
        return Err(file.wrong(word.at, format!("an empty {what}"), "").help("give it a name, or remove it"));
    }
    if text.starts_with('-') {
        return Err(file
            .wrong(word.at, format!("{what} `{text}` begins with `-`"), "ssh would read it as an option")
            .help("remove the `-`"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(file
            .wrong(word.at, format!("{what} {text:?} contains {}", spell(bad)), "")
            .help("names are of letters, digits, `.`, `-`, `_` and `:`"));
    }
    if let Some(bad) = text.chars().find(|c| "/@,*?!\\\"'`$;&|<>(){}[]#=".contains(*c)) {
        let help = match bad {
            '@' => "the user is a setting of its own: `user` (in Ansible's words `ansible_user`)",
            '[' | ']' => "ranges read `[1:3]`, `[01:10]`, `[a:f]` or, with a step, `[0:8:2]`",
            _ => "names are of letters, digits, `.`, `-`, `_` and `:`",
        };
        return Err(file.wrong(word.at, format!("{what} `{text}` contains `{bad}`"), "").help(help));
    }
    Ok(())
}

fn spell(c: char) -> String {
    match c {
        ' ' => "a blank".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        _ => format!("the control character U+{:04X}", u32::from(c)),
    }
}
