//! Steps whose results a host keeps: picked up when their lane broke, looked at while they run, taken away.

use crate::hosts::Hosts;
use crate::hosts::host::guard;
use crate::hosts::lent::Lent;
use crate::lane::frame::FOLDER;
use crate::lane::{LaneError, Output, Process, Script};
use futures_util::future::join_all;
use haflow_model::HostName;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long it may take to look at what a step prints.
const LISTEN: Duration = Duration::from_secs(30);

/// What came of a step whose lane broke.
#[derive(Debug)]
pub(crate) enum PickedUp {
    /// It ended so.
    Ended(Output),
    /// It had not begun, and now never will.
    Void,
    /// Nobody knows, and why not.
    Gone(String),
}

impl Hosts {
    /// The end of a task was told: what is kept of its steps can go, unless they are in doubt.
    pub(crate) fn ended(&self, host: &HostName, task: &str, in_doubt: bool) {
        let reached = &self.all[host];
        let steps = guard(&reached.kept).remove(task).unwrap_or_default();
        if !in_doubt {
            guard(&reached.ended).extend(steps);
        }
    }

    /// The end of this step was told before the run was resumed: what may be kept of it can go.
    ///
    /// # Panics
    ///
    /// If `host` isn't one of these hosts.
    pub fn left(&self, host: &HostName, user: Option<&str>, step: &str) {
        let reached = &self.all[host];
        let user = user.or(reached.host.run_as.as_deref()).map(str::to_owned);
        guard(&reached.ended).push((user, step.to_owned()));
    }

    /// Takes away what is kept of steps whose ends have been told: nothing of the run is left on its hosts.
    /// What can't be taken away now is by a later run, after a day.
    pub async fn tidy(&self) {
        join_all(self.all.values().map(|reached| async move {
            let users: BTreeSet<Option<String>> = guard(&reached.ended).iter().map(|(user, _)| user.clone()).collect();
            for user in users {
                let link = reached.link();
                if matches!(link.connection.get(), Some(Ok(_)))
                    && let Ok(mut lane) = self.unlocked_lane(&reached.host.name, user.as_deref()).await
                {
                    lane.tidy().await;
                }
            }
        }))
        .await;
    }
}

impl Lent<'_> {
    /// What came of a step whose lane broke: waits until it ends, for at most `timeout`; then it is killed.
    pub(crate) async fn pick_up(
        &mut self,
        step: &str,
        timeout: Duration,
        kill: &CancellationToken,
    ) -> Result<PickedUp, LaneError> {
        let boot = step.split_once('.').map(|(_, boot)| boot);
        let Some(lane) = &self.lane else { return Err(LaneError::Lost("the lane broke before".into())) };
        if boot != Some(lane.boot()) {
            return Ok(PickedUp::Gone("the host has booted since".into()));
        }
        let text = format!("folder=$__haflow_run/{FOLDER}$step\n{}", include_str!("pick_up.sh"));
        let variables = [("step".to_owned(), step.to_owned())];
        let script = Script { text: &text, variables: &variables, process: Process::Forked };
        let mut output = None;
        self.run_or_end(&[script], Some((step, 0)), timeout, kill, |come| output = Some(come)).await?;
        let Some(Output { exit, stdout, stderr }) = output else {
            return Err(LaneError::Lost("an answer is missing".into()));
        };
        let (said, stdout) = match memchr::memchr(b'\n', &stdout) {
            Some(end) => (String::from_utf8_lossy(&stdout[..end]).into_owned(), stdout[end + 1..].to_vec()),
            None => (String::new(), stdout),
        };
        Ok(match said.split_once(' ').unwrap_or((&said, "")) {
            ("ended", code) => match code.parse() {
                Ok(exit) => PickedUp::Ended(Output { exit, stdout, stderr }),
                Err(_) => PickedUp::Gone(format!("what is kept of it isn't an exit code: {code:?}")),
            },
            ("void", _) => PickedUp::Void,
            ("gone", _) => PickedUp::Gone("it was killed on the host".into()),
            _ => PickedUp::Gone(format!("looking for its result exited {exit}")),
        })
    }

    /// The end of what a step that runs has printed: of its output or its messages, whichever is newer. A
    /// lane that doesn't answer is given up.
    pub(crate) async fn said(&mut self, step: &str) -> Option<String> {
        // Taken out: with half an answer in it, or where nobody waits for that any more, it isn't lent again.
        let mut lane = self.lane.take()?;
        let variables = [("name".to_owned(), format!("{FOLDER}{step}"))];
        let script = Script { text: SAID, variables: &variables, process: Process::Forked };
        let mut said = None;
        lane.run(&[script], LISTEN, |output| said = Some(output)).await.ok()?;
        self.lane = Some(lane);
        said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Prints the end of what the step in the folder `$name` has printed.
const SAID: &str = r#"
folder=$__haflow_run/$name
newest() {
  newest=
  for file in "$folder/$1" "$folder/$1.b"; do [ ! -s "$file" ] || newest=$file; done
}
newest out
out=$newest
newest err
if [ -z "$out" ] || { [ -n "$newest" ] && [ ! "$out" -nt "$newest" ]; }; then
  __haflow_printed "$folder" err 4096
else
  __haflow_printed "$folder" out 4096
fi
"#;

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// A run that is resumed for the second time asks again.
    #[test]
    fn a_step_that_never_began_is_void_whenever_it_is_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let asked = || {
            let mut sh = Command::new("sh");
            let script = concat!(include_str!("../lane/lane.sh"), include_str!("pick_up.sh"));
            sh.env("folder", folder.path().join("step")).args(["-c", script]);
            String::from_utf8(sh.output().expect("sh starts").stdout).expect("UTF-8")
        };
        assert_eq!((asked(), asked()), ("void\n".into(), "void\n".into()));
    }

    /// In `/tmp` everybody may make folders.
    #[test]
    fn a_folder_of_somebody_else_is_no_result() {
        let folder = tempfile::tempdir().expect("a folder");
        let step = folder.path().join("step");
        std::fs::create_dir(&step).expect("a folder");
        std::fs::write(step.join("exit"), "0\n").expect("a file");
        let asked = |step: &std::path::Path| {
            let mut sh = Command::new("sh");
            let script = concat!(include_str!("../lane/lane.sh"), include_str!("pick_up.sh"));
            sh.env("folder", step).args(["-c", script]);
            String::from_utf8(sh.output().expect("sh starts").stdout).expect("UTF-8")
        };
        assert_eq!(asked(&step), "ended 0\n");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&step, &link).expect("a link");
        assert_eq!(asked(&link), "gone\n");
        // Only root can give it to somebody else.
        if std::os::unix::fs::chown(&step, Some(65534), None).is_ok() {
            assert_eq!(asked(&step), "gone\n");
        }
    }
}
