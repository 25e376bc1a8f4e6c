//! What ssh, sudo and shells say, as errors: which step it was, and what to do.

use crate::hosts::ssh::client::{self, Client, Resolved, lines};
use crate::hosts::unreachable::{Stage, Unreachable};
use haflow_model::Host;
use std::path::Path;
use tokio::process::Command;

/// Whether sshd was only too busy, or in the middle of a restart: trying again may help.
pub(super) fn may_pass(said: &str) -> bool {
    let signs = ["kex_exchange_identification", "banner exchange: ", "Connection reset by", "Connection closed by"];
    let reasons = [
        "verification failed",
        "Permission denied",
        "Too many authentication",
        "timed out",
        "Could not resolve",
        "connect to host",
        "open failed",
    ];
    let has = |sign: &&str| said.contains(*sign);
    signs.iter().any(has) && !reasons.iter().any(has)
}

/// Whether ssh's own log may not say it, because it was told by the ssh of a jump host.
pub(super) fn is_of_proxy(resolved: &Resolved, said: &str) -> bool {
    resolved.proxy.is_some() && (may_pass(said) || said.contains("timed out") || said.trim().is_empty())
}

/// What ssh calls the other end where a command leads to it.
const UNKNOWN: &str = "UNKNOWN port 65535";

/// Whether a command that leads to the host ended by itself and said why: trying again is no help. One that
/// says nothing may have met an sshd that is too busy.
pub(super) fn command_ended(resolved: &Resolved, said: &str) -> bool {
    let words = words_of_command(said);
    resolved.by_command && said.contains(UNKNOWN) && !words.is_empty() && !may_pass(&words.join("\n"))
}

/// What the command said, without what ssh says of it when it ends.
fn words_of_command(said: &str) -> Vec<&str> {
    let mut words: Vec<&str> = lines(said).filter(|line| !line.contains(UNKNOWN)).collect();
    // ssh's own is the last; an ssh that is the command says the same of its own connection.
    let _ = words.pop_if(|line| line.starts_with("kex_exchange_identification: "));
    words
}

/// The text between two others.
fn between<'s>(said: &'s str, before: &str, after: &str) -> Option<&'s str> {
    Some(said.split_once(before)?.1.split_once(after)?.0.trim()).filter(|found| !found.is_empty())
}

/// A step, what was seen, and what to do.
type Finding = (Stage, String, String);

/// Which step failed, from what ssh said of a connection.
pub(super) fn explain(host: &Host, client: &Client, said: &str) -> Unreachable {
    let Client { by_hand, resolved, .. } = client;
    let name = &host.name;
    let at = at(host);
    let last = lines(said).next_back().unwrap_or("ssh ended without a word");
    let has = |sign: &str| said.contains(sign);
    let (step, message, hint) = if let Some(seen) =
        of_host_key(host, client, said).or_else(|| of_way(host, client, said))
    {
        seen
    } else if has("Too many authentication failures") {
        (
            Stage::Login,
            format!("{name} closed the connection, because too many keys were tried before the right one"),
            "give the host its `key` in the inventory, or set `IdentitiesOnly yes` for it in ssh's configuration"
                .into(),
        )
    } else if has("Permission denied") {
        refused(host, client, said)
    } else if has("timed out") {
        (
            Stage::Network,
            format!("{at} can't be reached: {last}"),
            format!("is it up, and is sshd what listens on port {}?", resolved.port),
        )
    } else if has("Unable to negotiate") || has("no matching") {
        (
            Stage::Client,
            format!("ssh and the sshd on {name} have nothing in common: {last}"),
            "allow what an old sshd has in ssh's configuration of this host (HostKeyAlgorithms, KexAlgorithms, Ciphers)".into(),
        )
    } else if command_ended(resolved, said) {
        let words = words_of_command(said);
        let said = words[words.len().saturating_sub(3)..].join("; ");
        (
            Stage::Network,
            format!("the ProxyCommand that leads to {name} ended before the login: {said}"),
            format!("run it by hand to see what it needs: {}", resolved.proxy.as_deref().unwrap_or_default()),
        )
    } else if may_pass(said) && resolved.by_command {
        (
            Stage::Network,
            format!("the connection to {name} through its ProxyCommand closes before the login, and nothing says why"),
            format!("run it by hand to see: {}", resolved.proxy.as_deref().unwrap_or_default()),
        )
    } else if may_pass(said) {
        (
            Stage::Network,
            format!("{at} closes each connection before the login: {last}"),
            format!(
                "is sshd what listens on port {}? it may be too busy (MaxStartups), or take nobody from here; see its log",
                resolved.port
            ),
        )
    } else {
        (Stage::Network, format!("no connection to {at}: {last}"), format!("see what `{by_hand} -v` says"))
    };
    Unreachable { stage: step, message, hint: Some(hint) }
}

/// A host with its address.
fn at(host: &Host) -> String {
    let (name, to) = (host.name.as_str(), host.destination());
    if name == to { name.to_owned() } else { format!("{name} ({to})") }
}

/// What is wrong with the key of the host, or of one on the way.
fn of_host_key(host: &Host, client: &Client, said: &str) -> Option<Finding> {
    let Client { by_hand, resolved, .. } = client;
    let name = &host.name;
    let has = |sign: &str| said.contains(sign);
    let whose = |seen: Option<&str>| match seen {
        Some(other) if resolved.proxy.is_some() && other != resolved.known_as() => {
            format!("{other}, on the way to {name},")
        }
        _ => name.to_string(),
    };
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let seen = between(said, "Host key for ", " has changed");
        let file = between(said, "\nOffending ", ":").and_then(|line| line.split_once(" key in "));
        let file = file.map(|(_, file)| file).map_or_else(String::new, |file| format!("-f {file} "));
        let known = seen.unwrap_or(host.destination());
        Some((
            Stage::HostKey,
            format!("the host key of {} has changed", whose(seen)),
            format!(
                "either it was reinstalled or somebody is in between; if you know which, remove the old key with \
                 `ssh-keygen {file}-R '{known}'` and accept the new one with `{by_hand}`"
            ),
        ))
    } else if has("REVOKED HOST KEY DETECTED") {
        Some((Stage::HostKey, format!("the host key of {name} is revoked"), "don't trust it; see known_hosts".into()))
    } else if has("Host key verification failed") || has("host key is known") {
        let seen = between(said, "host key is known for ", " and ");
        Some((
            Stage::HostKey,
            format!("the host key of {} isn't known", whose(seen)),
            format!(
                "connect once with `{by_hand}` and compare the fingerprint, or name the file in `known_hosts`; \
                 `--accept-new` takes keys of new hosts as they are"
            ),
        ))
    } else {
        None
    }
}

/// What is in the way on the network. Of several hosts it is the first that is connected to.
fn of_way(host: &Host, client: &Client, said: &str) -> Option<Finding> {
    let resolved = &client.resolved;
    let name = &host.name;
    let at = at(host);
    let direct = resolved.proxy.is_none();
    let jump = resolved.proxy.as_deref().unwrap_or("the jump host");
    let has = |sign: &str| said.contains(sign);
    if has("Could not resolve hostname") {
        let seen = between(said, "Could not resolve hostname ", ": ").unwrap_or(&resolved.hostname);
        let why = between(said, &format!("hostname {seen}: "), "\n").unwrap_or("Name or service not known");
        let message = match (direct, name.as_str() == seen) {
            (true, true) => format!("the name `{seen}` can't be resolved"),
            (true, false) => format!("the name `{seen}` of {name} can't be resolved"),
            (false, _) => format!("the name `{seen}` of a jump host on the way to {name} can't be resolved"),
        };
        Some((
            Stage::Network,
            format!("{message}: {why}"),
            "give the host an `address` in the inventory, or correct the name".into(),
        ))
    } else if let Some(why) = between(said, "open failed: connect failed: ", "\n") {
        let step = if why.contains("refused") { Stage::Refused } else { Stage::Network };
        Some((
            step,
            format!("{at} can't be reached on port {} from {jump}: {why}", resolved.port),
            "the jump host itself was reached; log in to it and look from there".into(),
        ))
    } else if has("open failed: administratively prohibited") {
        Some((
            Stage::Network,
            format!("{jump} forwards no connection to {at}"),
            "see AllowTcpForwarding and PermitOpen in the jump host's sshd_config".into(),
        ))
    } else if let Some((seen, rest)) =
        said.split_once("connect to host ").and_then(|(_, rest)| rest.split_once(" port "))
    {
        let (port, why) = rest.lines().next().and_then(|rest| rest.split_once(": ")).unwrap_or((&resolved.port, rest));
        let at = if direct { at } else { format!("{seen}, on the way to {name},") };
        if why.contains("refused") {
            Some((
                Stage::Refused,
                format!("{at} refused the connection to port {port}"),
                "is sshd running there, and on this port?".into(),
            ))
        } else {
            Some((
                Stage::Network,
                format!("{at} can't be reached on port {port}: {why}"),
                "is it up, and is a firewall in between?".into(),
            ))
        }
    } else {
        None
    }
}

/// Why a login was refused, from what ssh said.
fn refused(host: &Host, client: &Client, said: &str) -> Finding {
    let Client { by_hand, resolved, .. } = client;
    let name = &host.name;
    let line = lines(said).find(|line| line.contains("Permission denied")).unwrap_or_default();
    let (who, methods) = line.split_once(": Permission denied").unwrap_or((line, ""));
    let (user, seen) = who.rsplit_once('@').unwrap_or((resolved.user.as_str(), ""));
    let whom = match seen {
        "" => name.to_string(),
        seen if resolved.proxy.is_none() || [resolved.hostname.as_str(), host.destination()].contains(&seen) => {
            name.to_string()
        }
        jump => format!("{jump}, on the way to {name},"),
    };
    if let Some(file) = between(said, "Load key \"", "\": bad permissions") {
        return (
            Stage::Login,
            format!("{name} refused to log in `{user}`: others may read the key {file}, so ssh doesn't use it"),
            format!("`chmod 600 {file}`"),
        );
    }
    let key = host
        .key
        .as_deref()
        .map_or_else(|| "a key from the agent or ssh's configuration".into(), |key| format!("the key {key}"));
    let hint = if methods.contains("publickey") {
        format!("`{by_hand} -v` shows which keys were tried; haflow never asks for a password")
    } else {
        format!("its sshd takes no keys, only{methods}; haflow never asks for a password")
    };
    (Stage::Login, format!("{whom} refused to log in `{user}` with {key}"), hint)
}

/// The same, where it is known only after a look at the key files: one that isn't there, or whose passphrase
/// nobody has given.
pub(super) async fn of_keys(host: &Host, client: &Client, why: Unreachable) -> Unreachable {
    if why.stage != Stage::Login {
        return why;
    }
    let said = |message: String, hint: String| Unreachable { stage: Stage::Login, message, hint: Some(hint) };
    if let Some(key) = host.key.as_deref().filter(|key| !client.resolved.at_home(key).exists()) {
        return said(
            format!("there is no key {key}, with which to log in to {}", host.name),
            "correct `key` in the inventory".into(),
        );
    }
    // ssh tries many that needn't be there.
    for key in client.resolved.identities.iter().filter(|key| key.exists()) {
        let shown = key.display();
        if !opens(key).await && !agent_has(client, key).await {
            return said(
                format!("{}; the key {shown} has a passphrase, and no agent holds it", why.message),
                format!("`ssh-add {shown}` asks for the passphrase, and an agent keeps the key"),
            );
        }
    }
    why
}

/// Whether a key can be used without a passphrase.
async fn opens(key: &Path) -> bool {
    let asked = client::run(Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(key)).await;
    asked.map_or(true, |asked| !String::from_utf8_lossy(&asked.stderr).contains("passphrase"))
}

/// Whether the agent holds a key.
async fn agent_has(client: &Client, key: &Path) -> bool {
    let mut agent = Command::new("ssh-add");
    if let Some(socket) = &client.resolved.agent {
        agent.env("SSH_AUTH_SOCK", socket);
    }
    let (Ok(key), Ok(held)) =
        (client::run(Command::new("ssh-keygen").arg("-lf").arg(key)).await, client::run(agent.arg("-l")).await)
    else {
        return false;
    };
    let (key, held) = (String::from_utf8_lossy(&key.stdout), String::from_utf8_lossy(&held.stdout));
    key.split_whitespace().nth(1).is_some_and(|print| held.contains(print))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each as OpenSSH 9.2 and sudo 1.9 say it.
    #[test]
    #[expect(clippy::too_many_lines, reason = "it is a list")]
    fn what_ssh_says_becomes_a_step_and_a_hint() {
        let mut host = Host::named("db1");
        host.address = Some("192.0.2.1".into());
        host.user = Some("root".into());
        let direct = Resolved::parse("hostname 192.0.2.1\nport 22\nuser root");
        let jump = Resolved::parse("hostname 192.0.2.1\nport 22\nuser root\nproxyjump me@bastion");
        let command = Resolved::parse("hostname 192.0.2.1\nport 22\nuser root\nproxycommand sh -c login");
        for (resolved, said, step, message) in [
            (
                &command,
                "token expired, log in first\nkex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                Stage::Network,
                "the ProxyCommand that leads to db1 ended before the login: token expired, log in first",
            ),
            (
                &command,
                "kex_exchange_identification: Connection closed by remote host\r\nkex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                Stage::Network,
                "closes before the login, and nothing says why",
            ),
            (
                &command,
                "root@192.0.2.1: Permission denied (publickey,password).\r\n",
                Stage::Login,
                "refused to log in `root`",
            ),
            (
                &command,
                "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535\r\n",
                Stage::Network,
                "closes before the login, and nothing says why",
            ),
            (
                &direct,
                "ssh: Could not resolve hostname 192.0.2.1: Name or service not known\r\n",
                Stage::Network,
                "can't be resolved",
            ),
            (
                &jump,
                "ssh: Could not resolve hostname bastion: Temporary failure in name resolution\r\nkex_exchange_identification: Connection closed by remote host\r\n",
                Stage::Network,
                "`bastion` of a jump host on the way to db1 can't be resolved: Temporary",
            ),
            (
                &direct,
                "ssh: connect to host 192.0.2.1 port 2222: Connection refused\r\n",
                Stage::Refused,
                "db1 (192.0.2.1) refused the connection to port 2222",
            ),
            (
                &jump,
                "ssh: connect to host bastion port 22: Connection refused\r\nkex_exchange_identification: Connection closed by remote host\r\n",
                Stage::Refused,
                "bastion, on the way to db1, refused the connection to port 22",
            ),
            (
                &jump,
                "channel 0: open failed: connect failed: No route to host\r\nstdio forwarding failed\r\n",
                Stage::Network,
                "can't be reached on port 22 from me@bastion: No route",
            ),
            (
                &jump,
                "channel 0: open failed: administratively prohibited: open failed\r\nstdio forwarding failed\r\n",
                Stage::Network,
                "me@bastion forwards no connection",
            ),
            (
                &direct,
                "ssh: connect to host 192.0.2.1 port 22: Connection timed out\r\n",
                Stage::Network,
                "can't be reached on port 22: Connection timed out",
            ),
            (
                &direct,
                "Connection timed out during banner exchange\r\nConnection to 192.0.2.1 port 22 timed out\r\n",
                Stage::Network,
                "can't be reached: Connection to 192.0.2.1 port 22 timed out",
            ),
            (
                &direct,
                "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 192.0.2.1 port 22\r\n",
                Stage::Network,
                "closes each connection before the login",
            ),
            (
                &direct,
                "root@192.0.2.1: Permission denied (publickey,password).\r\n",
                Stage::Login,
                "refused to log in `root`",
            ),
            (
                &jump,
                "me@bastion: Permission denied (publickey).\r\n",
                Stage::Login,
                "bastion, on the way to db1, refused to log in `me`",
            ),
            (
                &direct,
                "Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures\r\nDisconnected from 192.0.2.1 port 22\r\n",
                Stage::Login,
                "too many keys",
            ),
            (
                &direct,
                "No ED25519 host key is known for 192.0.2.1 and you have requested strict checking.\r\nHost key verification failed.\r\n",
                Stage::HostKey,
                "the host key of db1 isn't known",
            ),
            (
                &jump,
                "No ED25519 host key is known for bastion and you have requested strict checking.\r\nHost key verification failed.\r\n",
                Stage::HostKey,
                "the host key of bastion, on the way to db1, isn't known",
            ),
            (
                &direct,
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n",
                Stage::HostKey,
                "has changed",
            ),
        ] {
            let client = Client::imagined("ssh db1", resolved.clone());
            let seen = explain(&host, &client, said);
            assert_eq!(seen.stage, step, "{said}");
            assert!(seen.message.contains(message), "{}", seen.message);
            assert!(seen.hint.is_some() && !seen.message.contains(['\r', '\n']), "{seen:?}");
        }
    }
}
