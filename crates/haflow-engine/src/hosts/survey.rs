//! What would get in the way on each host, before anything is tried: for `haflow hosts`.

use crate::hosts::Hosts;
use crate::hosts::unreachable::Stage;
use crate::lane::{LaneError, Process, Script};
use haflow_model::{HostName, Value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// What was found out about one host.
#[derive(Debug, Clone, PartialEq)]
pub struct Reach {
    /// The host.
    pub host: HostName,
    /// Its system and clock, or why there is no shell.
    pub shell: Result<Shell, (Stage, String, Option<String>)>,
}

/// A host that answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Shell {
    /// From the start of the connection to the first shell's answer.
    pub took: Duration,
    /// The user that tasks run as.
    pub user: String,
    /// What the system calls itself.
    pub system: String,
    /// How far its clock is ahead of this one, in seconds.
    pub clock_ahead: f64,
    /// Names of other hosts of the inventory that it can't resolve.
    pub unresolved: Vec<String>,
    /// Whether all names were looked up: a host without a name server may take longer than anybody waits.
    pub looked_up: bool,
    /// Programs that haflow needs and that it lacks.
    pub missing: Vec<String>,
    /// How many scripts can run there at once: what its sshd allows (`MaxSessions`), up to what haflow uses.
    pub sessions: usize,
    /// Why two runs at once can't be kept apart there; empty if they can.
    pub unlocked: String,
}

const SCRIPT: &str = r#"
printf 'now=%s\n' "$(date +%s.%N)"
printf 'user=%s\n' "$(id -un)"
[ ! -r /etc/os-release ] || sed -n 's/^PRETTY_NAME=/system=/p' /etc/os-release
for tool in stat sha256sum mktemp sync chown chmod mv readlink; do
  command -v "$tool" >/dev/null 2>&1 || printf 'missing=%s\n' "$tool"
done
if ! command -v flock >/dev/null; then
  echo 'unlocked=it has no flock'
elif ! { [ -w /run ] || [ -w /run/lock ] || [ -w /tmp ] || [ -w /dev/shm ] || [ -d "/run/lock/haflow-$(id -u)" ]; }; then
  echo 'unlocked=none of /run, /run/lock, /tmp and /dev/shm can be written'
fi
exit 0
"#;

/// Looks up several names at once: one that can't be resolved may take seconds.
const NAMES: &str = r#"
count=0
while IFS= read -r name; do
  [ -n "$name" ] || continue
  { getent hosts "$name" >/dev/null 2>&1 || printf 'unresolved=%s\n' "$name"; } &
  count=$((count + 1))
  [ $((count % 32)) != 0 ] || wait
done <<END
$names
END
wait
exit 0
"#;

/// How long that may take.
const LOOK_UP: Duration = Duration::from_secs(30);

/// Reaches every host, all at once.
pub async fn reach_all(hosts: &Hosts) -> Vec<Reach> {
    let names: Vec<String> = hosts.hosts().map(|host| host.name.to_string()).collect();
    let names = names.join("\n");
    let all: Vec<HostName> = hosts.hosts().map(|host| host.name.clone()).collect();
    futures_util::future::join_all(all.into_iter().map(|host| reach(hosts, host, &names))).await
}

async fn reach(hosts: &Hosts, host: HostName, names: &str) -> Reach {
    let started = Instant::now();
    let shell = async {
        let mut lane = hosts.lane(&host, None).await.map_err(|error| (error.stage, error.message, error.hint))?;
        let took = started.elapsed();
        let sent = SystemTime::now();
        let script = Script { text: SCRIPT, variables: &[], process: Process::Own };
        let kill = CancellationToken::new();
        let output = lane
            .run(script, Duration::from_mins(1), &kill)
            .await
            .map_err(|error| (Stage::Shell, error.to_string(), None))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            found.entry(name).or_default().push(value.trim_matches('"'));
        }
        let list =
            |name: &str| found.get(name).into_iter().flatten().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let first = |name: &str| list(name).into_iter().next().unwrap_or_default();
        let variables = [("names".to_owned(), names.to_owned())];
        let script = Script { text: NAMES, variables: &variables, process: Process::Own };
        let (said, looked_up) = match lane.run(script, LOOK_UP, &kill).await {
            Ok(output) => (output.stdout, true),
            // Killed for it; what it had found by then stays.
            Err(LaneError::TimedOut { stdout, .. }) => (stdout, false),
            Err(_) => (Vec::new(), false),
        };
        let said = String::from_utf8_lossy(&said).into_owned();
        let mut unresolved: Vec<String> =
            said.lines().filter_map(|line| line.strip_prefix("unresolved=")).map(str::to_owned).collect();
        unresolved.sort();
        let here = sent.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let there = first("now").parse::<f64>().unwrap_or(here);
        Ok(Shell {
            took,
            user: first("user"),
            system: first("system"),
            clock_ahead: there - here,
            unresolved,
            looked_up,
            missing: list("missing"),
            sessions: hosts.sessions(&host).await,
            unlocked: first("unlocked"),
        })
    };
    let shell = shell.await;
    Reach { host, shell }
}

impl Reach {
    /// Whether a run would be held up here. A name that it can't resolve is another host's, and a matter of
    /// those who need it.
    pub fn is_fine(&self) -> bool {
        matches!(&self.shell, Ok(shell) if shell.missing.is_empty() && shell.clock_ahead.abs() < 5.0)
    }

    /// Whether it can't resolve all names of the others.
    pub fn lacks_names(&self) -> bool {
        matches!(&self.shell, Ok(shell) if !shell.unresolved.is_empty())
    }

    /// The same as data.
    pub fn to_json(&self) -> Value {
        match &self.shell {
            Ok(shell) => serde_json::json!({
                "host": self.host, "reached": true, "took_ms": crate::clock::millis(shell.took),
                "user": shell.user, "system": shell.system, "clock_ahead_s": shell.clock_ahead,
                "unresolved": shell.unresolved, "looked_up": shell.looked_up, "missing": shell.missing,
                "sessions": shell.sessions, "unlocked": shell.unlocked,
            }),
            Err((step, why, hint)) => serde_json::json!({
                "host": self.host, "reached": false, "step": step.as_str(), "why": why, "hint": hint,
            }),
        }
    }
}
