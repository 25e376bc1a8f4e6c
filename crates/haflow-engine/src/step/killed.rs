//! Why a step was killed on its host: what the kernel says.

use crate::hosts::lent::Lent;
use crate::lane::{Process, Script};
use haflow_model::Failure;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The exit code of what SIGKILL ended.
pub(crate) const KILLED: i32 = 128 + 9;

/// How much longer ago than it can be the kernel may say that it killed a process: its clock counts from
/// another moment.
const CLOCKS: f64 = 2.0;

/// How long it may take to read what the kernel says.
const READ_KERNEL: Duration = Duration::from_secs(10);

/// Says of a step that SIGKILL ended, so long after its begin, whether the kernel killed something meanwhile,
/// which it does for want of memory.
pub(crate) async fn why_killed(
    lane: &mut Lent<'_>,
    failure: Failure,
    after: Duration,
    kill: &CancellationToken,
) -> Failure {
    const TEXT: &str = r"
        read -r up rest </proc/uptime
        printf '%s\n' $up
        dmesg 2>/dev/null | grep -i 'killed process' | tail -n 1
    ";
    let script = Script { text: TEXT, variables: &[], process: Process::Forked };
    let said = lane.run(script, READ_KERNEL, kill).await.map(|output| output.stdout).unwrap_or_default();
    match of_memory(&String::from_utf8_lossy(&said), after.as_secs_f64()) {
        Some(said) => Failure { message: format!("{}; the kernel said meanwhile: {said}", failure.message), ..failure },
        None => failure,
    }
}

/// What the kernel said of a process that it killed in the last seconds: from the seconds since the boot on a
/// line, and the last such message on another, with its own seconds in brackets.
fn of_memory(said: &str, seconds: f64) -> Option<&str> {
    let (up, line) = said.trim_end().split_once('\n')?;
    let (at, text) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let ago = up.parse::<f64>().ok()? - at.trim().parse::<f64>().ok()?;
    let text = text.split(" total-vm:").next().unwrap_or(text).trim();
    (-CLOCKS..=seconds + CLOCKS).contains(&ago).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::of_memory;

    #[test]
    fn a_kill_for_want_of_memory_is_told_from_an_older_one() {
        let line =
            "[  101.500000] Out of memory: Killed process 4711 (beam.smp) total-vm:3145728kB, anon-rss:1048576kB";
        for (up, seconds, says) in [
            ("110.02", 10.0, Some("Out of memory: Killed process 4711 (beam.smp)")),
            ("110.02", 3.0, None),
            // The clock of a container that was started later.
            ("50.00", 10.0, None),
            ("nothing", 10.0, None),
        ] {
            assert_eq!(of_memory(&format!("{up}\n{line}\n"), seconds), says, "{up} {seconds}");
        }
        assert_eq!(of_memory("110.02\n", 10.0), None);
        assert_eq!(of_memory("110.02\nKilled process", 10.0), None);
    }
}
