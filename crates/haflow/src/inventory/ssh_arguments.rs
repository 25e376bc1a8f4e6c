//! What Ansible's `ansible_ssh_args` and its like say to ssh, as far as it is about the way to a host
//! (`ssh(1)`, `ssh_config(5)`).

use super::file::{At, File, Word};
use super::raw::Connection;
use haflow_model::Diagnostic;

/// Flags of ssh's that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
/// Options that haflow sets itself: its own do the same, or people need them and it doesn't.
const OWN: [&str; 13] = [
    "batchmode",
    "clearallforwardings",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardx11",
    "loglevel",
    "permitlocalcommand",
    "remotecommand",
    "requesttty",
    "sendenv",
    "setenv",
    "visualhostkey",
];
/// Flags about which the same holds.
const OWN_FLAGS: &str = "qvTtnNXxYk";

/// Takes these arguments into a connection; what is said already wins, as with ssh. Returns what is left out:
/// words for a person.
///
/// # Errors
///
/// Where a part about the way to the host can't be honoured: then it must not be reached on another way.
pub(super) fn read(
    file: &File,
    connection: &mut Connection,
    name: &str,
    arguments: &str,
    at: At,
) -> Result<Vec<String>, Diagnostic> {
    let words = shell_words::split(arguments).map_err(|_| {
        file.wrong(at, format!("`{name}` has a quote without its end: {arguments}"), "")
            .help("it is split into words as a shell does; close the quote")
    })?;
    let mut left_out = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flags) = word.strip_prefix('-').filter(|flags| !flags.is_empty() && !flags.starts_with('-')) else {
            return Err(unfit(file, at, name, &word));
        };
        for (index, flag) in flags.char_indices() {
            if !WITH_VALUE.contains(flag) {
                match flag {
                    '4' => option(connection, "AddressFamily", "inet", at, &mut left_out),
                    '6' => option(connection, "AddressFamily", "inet6", at, &mut left_out),
                    'C' => option(connection, "Compression", "yes", at, &mut left_out),
                    flag if OWN_FLAGS.contains(flag) => {}
                    flag => left_out.push(format!("-{flag}")),
                }
                continue;
            }
            let rest = &flags[index + flag.len_utf8()..];
            let value = if rest.is_empty() { words.next() } else { Some(rest.to_owned()) };
            let Some(value) = value else { return Err(unfit(file, at, name, &word)) };
            match flag {
                'o' => {
                    // `Name=Value`, `Name Value` or `Name = Value`.
                    let value = value.trim();
                    let end = value.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(value.len());
                    let rest = value[end..].trim_start();
                    let said = rest.strip_prefix('=').unwrap_or(rest).trim();
                    // ssh takes more for a name than haflow would know it by, and `Host` would be about all
                    // that follows.
                    let named = end > 0 && value[..end].bytes().all(|byte| byte.is_ascii_alphanumeric());
                    let word = value[..end].to_ascii_lowercase();
                    let unsaid = ["host", "match", "include"].contains(&&*word) || word == "port" && !is_port(said);
                    if !named || unsaid {
                        return Err(unfit(file, at, name, &format!("-o {value}")));
                    }
                    option(connection, &value[..end], said, at, &mut left_out);
                }
                'J' => option(connection, "ProxyJump", &value, at, &mut left_out),
                'p' if !is_port(&value) => return Err(unfit(file, at, name, &format!("-p {value}"))),
                'p' => option(connection, "Port", &value, at, &mut left_out),
                'l' => option(connection, "User", &value, at, &mut left_out),
                'i' => option(connection, "IdentityFile", &value, at, &mut left_out),
                'F' => drop(connection.config.get_or_insert(Word { text: value, at })),
                'b' => option(connection, "BindAddress", &value, at, &mut left_out),
                'B' => option(connection, "BindInterface", &value, at, &mut left_out),
                'c' => option(connection, "Ciphers", &value, at, &mut left_out),
                'm' => option(connection, "MACs", &value, at, &mut left_out),
                'W' | 'w' | 'S' | 'I' => return Err(unfit(file, at, name, &format!("-{flag} {value}"))),
                flag => left_out.push(format!("-{flag} {value}")),
            }
            break;
        }
    }
    Ok(left_out)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// One of the options of `ssh_config(5)`. Their names are told apart without regard to case.
fn option(connection: &mut Connection, name: &str, value: &str, at: At, left_out: &mut Vec<String>) {
    let word = || Word { text: value.to_owned(), at };
    match name.to_ascii_lowercase().as_str() {
        "proxyjump" if connection.has_proxy_command() => {}
        "proxyjump" => drop(connection.jump.get_or_insert_with(word)),
        "proxycommand" if connection.jump.is_some() => {}
        "user" => drop(connection.user.get_or_insert_with(word)),
        "identityfile" if connection.key.is_none() => connection.key = Some(word()),
        "userknownhostsfile" => drop(connection.known_hosts.get_or_insert_with(word)),
        "port" if connection.port.is_some() => {}
        "port" => connection.port = value.parse().ok(),
        // Host keys are checked, always.
        "stricthostkeychecking" if matches!(value, "yes" | "ask") => {}
        "stricthostkeychecking" => left_out.push(format!("{name}={value}")),
        "forwardagent" | "localforward" | "remoteforward" | "dynamicforward" | "localcommand" => {
            left_out.push(format!("{name}={value}"));
        }
        own if OWN.contains(&own) => {}
        _ => connection.options.push(Word { text: format!("{name}={value}"), at }),
    }
}

fn unfit(file: &File, at: At, name: &str, word: &str) -> Diagnostic {
    file.wrong(at, format!("`{word}` in `{name}` can't be honoured, and it may be about the way to the host"), "")
        .help("say the way in ssh's own configuration (~/.ssh/config), or by `-J` or `-o ProxyCommand=…` here")
}
