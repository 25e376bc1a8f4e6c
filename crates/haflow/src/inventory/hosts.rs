//! Hosts on the command line: `user@a,user@b:2222,[::1]:22`.

use super::file::{File, Word};
use super::raw::{Dialect, Raw};
use haflow_model::Diagnostic;
use std::collections::HashMap;
use std::net::Ipv6Addr;

/// Reads a list with commas.
pub(super) fn read(file: &File) -> Result<Raw, Diagnostic> {
    let mut raw = Raw::new(Dialect::Haflow);
    let mut seen = HashMap::new();
    let list = file.text.strip_suffix(',').unwrap_or(&file.text);
    let mut start = 0;
    for part in list.split(',') {
        let from = start + part.len() - part.trim_start().len();
        let text = part.trim();
        start += part.len() + 1;
        let word = Word { text: text.to_owned(), at: file.at(&(from..from + text.len())) };
        let (user, host) = match text.rsplit_once('@') {
            Some((user, host)) => {
                let at = file.at(&(from..from + user.len()));
                let user = Word { text: user.to_owned(), at };
                let host_from = from + text.len() - host.len();
                (Some(user), Word { text: host.to_owned(), at: file.at(&(host_from..from + text.len())) })
            }
            None => (None, word),
        };
        let (name, port) = split_port(file, &host)?;
        for name in raw.members(file, None, &name)? {
            if let Some(first) = seen.insert(name.text.clone(), name.at) {
                let diagnostic = file.wrong(name.at, format!("host `{}` is there twice", name.text), "again here");
                return Err(file
                    .and(diagnostic, first, "first here")
                    .help("remove one; if they are two machines, give each its own name in an inventory file"));
            }
            let connection = &mut raw.host(&name).connection;
            connection.user.clone_from(&user);
            connection.port = port;
        }
    }
    Ok(raw)
}

/// Splits `host:22` and `[::1]:22`. Brackets around an IPv6 address go; a bare one has no port.
pub(super) fn split_port(file: &File, word: &Word) -> Result<(Word, Option<u16>), Diagnostic> {
    let text = word.text.as_str();
    let named = |name: &str| Word { text: name.to_owned(), at: word.at };
    if is_ipv6(text) {
        return Ok((word.clone(), None));
    }
    let (name, port) = if let Some((address, rest)) = bracketed(text) {
        match rest.strip_prefix(':') {
            Some(port) => (address, port),
            None if rest.is_empty() => return Ok((named(address), None)),
            None => {
                return Err(file
                    .wrong(word.at, format!("`{rest}` behind the address `{address}`"), "")
                    .help("write the port as in `[::1]:22`"));
            }
        }
    } else {
        match text.rsplit_once(':') {
            // The colon of a range is in brackets.
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => return Ok((word.clone(), None)),
        }
    };
    match port.parse::<u16>().ok().filter(|port| *port > 0) {
        Some(number) => Ok((named(name), Some(number))),
        None => Err(file
            .wrong(word.at, format!("`{port}` is no port"), "")
            .help("a port is a number from 1 to 65535, behind the host and a colon; IPv6 addresses with a port read `[::1]:22`")),
    }
}

/// Whether a text begins with an IPv6 address in brackets.
pub(super) fn starts_with_address(text: &str) -> bool {
    bracketed(text).is_some()
}

fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (address, rest) = text.strip_prefix('[')?.split_once(']')?;
    is_ipv6(address).then_some((address, rest))
}

/// Whether a text is an IPv6 address, with the interface behind it (`fe80::1%eth0`) or without.
fn is_ipv6(text: &str) -> bool {
    let (address, scope) = text.split_once('%').unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !scope.is_empty()
}
