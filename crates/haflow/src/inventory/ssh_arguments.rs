//! What Ansible's `ansible_ssh_args` and its like say to ssh, as far as it is about the way to a host
//! (`ssh(1)`, `ssh_config(5)`).

use super::file::{At, File, Word};
use super::raw::Connection;
use haflow_model::Diagnostic;

/// Flags of ssh's that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";
/// Options that haflow sets itself: its own do the same, or people need them and it doesn't.
pub(crate) const OWN: [&str; 13] = [
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
    let mut said = Said { file, connection, at, left_out: Vec::new() };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flags) = word.strip_prefix('-').filter(|flags| !flags.is_empty() && !flags.starts_with('-')) else {
            return Err(unfit(file, at, name, &word));
        };
        for (index, flag) in flags.char_indices() {
            if !WITH_VALUE.contains(flag) {
                match flag {
                    '4' => said.option("AddressFamily", "inet")?,
                    '6' => said.option("AddressFamily", "inet6")?,
                    'C' => said.option("Compression", "yes")?,
                    flag if OWN_FLAGS.contains(flag) => {}
                    flag => said.left_out.push(format!("-{flag}")),
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
                    let to = rest.strip_prefix('=').unwrap_or(rest).trim();
                    // ssh takes more for a name than haflow would know it by, and `Host` would be about all
                    // that follows.
                    let named = end > 0 && value[..end].bytes().all(|byte| byte.is_ascii_alphanumeric());
                    let word = value[..end].to_ascii_lowercase();
                    let unfit_here = ["host", "match", "include"].contains(&&*word);
                    if !named || unfit_here {
                        return Err(unfit(file, at, name, &format!("-o {value}")));
                    }
                    said.option(&value[..end], to)?;
                }
                'J' => said.option("ProxyJump", &value)?,
                'p' => said.option("Port", &value)?,
                'l' => said.option("User", &value)?,
                'i' => said.option("IdentityFile", &value)?,
                'F' => drop(said.connection.config.get_or_insert(Word { text: value, at })),
                'b' => said.option("BindAddress", &value)?,
                'B' => said.option("BindInterface", &value)?,
                'c' => said.option("Ciphers", &value)?,
                'm' => said.option("MACs", &value)?,
                'W' | 'w' | 'S' | 'I' => return Err(unfit(file, at, name, &format!("-{flag} {value}"))),
                flag => said.left_out.push(format!("-{flag} {value}")),
            }
            break;
        }
    }
    Ok(said.left_out)
}

/// What has been said so far.
struct Said<'a> {
    file: &'a File,
    connection: &'a mut Connection,
    at: At,
    left_out: Vec<String>,
}

impl Said<'_> {
    /// One of the options of `ssh_config(5)`. Their names are told apart without regard to case.
    fn option(&mut self, name: &str, value: &str) -> Result<(), Diagnostic> {
        let Self { file, connection, at, left_out } = self;
        let word = || Word { text: value.to_owned(), at: *at };
        match name.to_ascii_lowercase().as_str() {
            "proxyjump" if connection.has_proxy_command() => {}
            "proxyjump" => drop(connection.jump.get_or_insert_with(word)),
            "proxycommand" if connection.jump.is_some() => {}
            "user" => drop(connection.user.get_or_insert_with(word)),
            "identityfile" if connection.key.is_none() => connection.key = Some(word()),
            "userknownhostsfile" => drop(connection.known_hosts.get_or_insert_with(word)),
            "port" if connection.port.is_some() => {}
            "port" => connection.port = Some(file.port("Port", &word())?),
            // Host keys are checked, always.
            "stricthostkeychecking" if matches!(value, "yes" | "ask") => {}
            "stricthostkeychecking" => left_out.push(format!("{name}={value}")),
            "forwardagent" | "localforward" | "remoteforward" | "dynamicforward" | "localcommand" => {
                left_out.push(format!("{name}={value}"));
            }
            own if OWN.contains(&own) => {}
            _ => connection.options.push(Word { text: format!("{name}={value}"), at: *at }),
        }
        Ok(())
    }
}

fn unfit(file: &File, at: At, name: &str, word: &str) -> Diagnostic {
    file.wrong(at, format!("`{word}` in `{name}` can't be honoured, and it may be about the way to the host"), "")
        .help("say the way in ssh's own configuration (~/.ssh/config), or by `-J` or `-o ProxyCommand=…` here")
}
