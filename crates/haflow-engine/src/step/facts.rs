//! Facts: what is read off hosts without changing them, each in one round trip, all hosts at once.

use crate::cut::MOST_USED;
use crate::decide::failure::Unseen;
use crate::decide::seen::{self, Seen};
use crate::filters::Running;
use crate::hosts::Hosts;
use crate::lane::{Process, Script};
use haflow_model::{Host, HostName, Probe, Value, json_size};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SCRIPT: &str = include_str!("facts.sh");
const TIMEOUT: Duration = Duration::from_mins(1);

/// Why a fact couldn't be read from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactError {
    /// The host.
    pub host: HostName,
    /// What was seen.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What came of reading a fact of several hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The answers.
    pub values: BTreeMap<HostName, Value>,
    /// The hosts that can't be connected to. That is remembered: no task of theirs will run.
    pub unreached: Vec<FactError>,
}

/// The standard facts of some hosts. Fails if one of them is reached and still doesn't answer.
pub async fn standard(hosts: &Hosts, of: &[Host], kill: &CancellationToken) -> Result<Facts, Vec<FactError>> {
    let probe = Probe { script: SCRIPT.into(), jq: None, raw: false };
    let Facts { mut values, unreached } = own(hosts, of, &probe, &[], kill).await?;
    for value in values.values_mut() {
        *value = parse(value.as_str().unwrap_or_default());
    }
    Ok(Facts { values, unreached })
}

/// A fact of a playbook's own, read from some hosts by `probe`. Fails as [`standard`] does.
pub async fn own(
    hosts: &Hosts,
    of: &[Host],
    probe: &Probe,
    params: &[(String, Value)],
    kill: &CancellationToken,
) -> Result<Facts, Vec<FactError>> {
    let variables: Vec<_> = params.iter().map(|(name, value)| (name.clone(), crate::shell::variable(value))).collect();
    let read = |host: HostName| {
        let variables = &variables;
        async move {
            let failed = |why: String, hint| FactError { host: host.clone(), why, hint };
            if let Err(error) = hosts.reach(&host).await {
                return Ok((host.clone(), Err(failed(error.message, error.hint))));
            }
            // Beyond this point an error may go by, and then the host's tasks would run.
            let mut lane = hosts.lane(&host, None).await.map_err(|error| failed(error.message, error.hint))?;
            let script = Script { text: &probe.script, variables, process: Process::Own };
            let output = lane.run(script, TIMEOUT, kill).await.map_err(|error| failed(error.to_string(), None))?;
            let running = Running { filters: &hosts.filters, variables: params, timeout: TIMEOUT, kill };
            match seen::of_probe(probe, &output, false, running).await {
                Ok(Seen::Value(value)) if json_size(&value) > MOST_USED => {
                    let most = MOST_USED >> 20;
                    Err(failed(format!("the fact is larger than {most} MiB"), Some("have it print less".into())))
                }
                Ok(Seen::Value(value)) => Ok((host, Ok(value))),
                Ok(_) => unreachable!("a probe shows a value"),
                Err(Unseen::Failed(failure)) => {
                    let failure = *failure;
                    let said = if failure.stderr.is_empty() { failure.stdout } else { failure.stderr };
                    Err(failed(format!("{}: {said}", failure.message), failure.hint))
                }
                Err(_) => Err(failed("the run was interrupted".into(), None)),
            }
        }
    };
    let mut found = Facts::default();
    let mut failed = Vec::new();
    for result in futures_util::future::join_all(of.iter().map(|host| read(host.name.clone()))).await {
        match result {
            Ok((host, Ok(value))) => drop(found.values.insert(host, value)),
            Ok((_, Err(error))) => found.unreached.push(error),
            Err(error) => failed.push(error),
        }
    }
    if failed.is_empty() {
        return Ok(found);
    }
    failed.extend(found.unreached);
    Err(failed)
}

fn parse(text: &str) -> Value {
    let lines: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim_matches(['"', '\''])))
        .collect();
    let text = |name: &str, otherwise: &str| Value::from(*lines.get(name).unwrap_or(&otherwise));
    let number = |name: &str| lines.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let like = [lines.get("os"), lines.get("os_like")].into_iter().flatten().copied().collect::<Vec<_>>().join(" ");
    let family = like.split_whitespace().find_map(|id| match id {
        "debian" | "ubuntu" => Some("debian"),
        "rhel" | "fedora" | "centos" => Some("redhat"),
        "suse" | "opensuse" | "sles" => Some("suse"),
        id if id.starts_with("opensuse") => Some("suse"),
        _ => None,
    });
    let facts = [
        ("os", text("os", "unknown")),
        ("os_version", text("os_version", "")),
        ("os_codename", text("os_codename", "")),
        ("os_name", text("os_name", "unknown")),
        ("os_family", family.unwrap_or("other").into()),
        ("arch", text("arch", "")),
        ("kernel", text("kernel", "")),
        ("hostname", text("hostname", "")),
        ("packages", text("packages", "none")),
        ("init", text("init", "other")),
        ("user", text("user", "")),
        ("uid", number("uid").into()),
        ("cpus", number("cpus").into()),
        ("memory_mb", (number("memory_kb") / 1024).into()),
    ];
    Value::Object(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_follow_from_what_a_system_is_like() {
        for (printed, family) in [
            ("os=debian", "debian"),
            ("os=\"linuxmint\"\nos_like=\"ubuntu debian\"", "debian"),
            ("os=\"rocky\"\nos_like=\"rhel centos fedora\"", "redhat"),
            ("os=\"opensuse-leap\"\nos_like=\"suse opensuse\"", "suse"),
            ("os=void", "other"),
            ("", "other"),
        ] {
            assert_eq!(parse(printed)["os_family"], family, "{printed}");
        }
    }

    #[test]
    fn the_script_reads_this_machine() {
        let output = std::process::Command::new("sh").args(["-c", SCRIPT]).output().expect("sh starts");
        let facts = parse(&String::from_utf8_lossy(&output.stdout));
        assert!(facts["cpus"].as_u64() > Some(0) && facts["memory_mb"].as_u64() > Some(0), "{facts}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
