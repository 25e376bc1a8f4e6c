//! What is done with a lane that is lent out: scripts run, steps are picked up, and what takes too long is ended.

use crate::filters::Filters;
use crate::hosts::ssh::{Step, Unreachable};
use crate::hosts::transport::{Killed, Transport};
use crate::hosts::{Holder, Hosts, Link, Reached, guard};
use crate::lane::frame::FOLDER;
use crate::lane::{Lane, LaneError, Output, Process, Script, Stopped};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// How long one attempt at a lock may take: longer than ssh takes to notice a dead connection, so that this isn't taken for that.
const LOOK_AT_LOCK: Duration = Duration::from_secs(45);
/// How long it may take to look at what a step prints.
const LISTEN: Duration = Duration::from_secs(30);
/// How long it may take to take something away.
const REMOVE: Duration = Duration::from_secs(30);
/// How long a killed script may take to end by itself. A join that puts its broker back takes four seconds of it.
const GRACE: Duration = Duration::from_secs(10);

/// A lane lent out. It goes back when it is dropped, unless it broke.
pub struct Lent<'h> {
    lane: Option<Lane>,
    hosts: &'h Hosts,
    reached: &'h Reached,
    link: Arc<Link>,
    user: Option<String>,
    /// Steps to be removed with the next scripts.
    told: Vec<String>,
    _slot: OwnedSemaphorePermit,
}

/// What came of an attempt to lock a host.
pub(crate) enum Locked {
    Taken,
    /// It is, and only this lane can hold it.
    Alone,
    /// Another run holds it, and says this of itself; empty where that isn't known.
    Held(String),
    /// Another run has held it since this one did.
    Lost(String),
    /// The host has no way to: no `flock`, or no folder for it.
    Impossible,
}

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

impl<'h> Lent<'h> {
    pub(crate) fn new(
        lane: Lane,
        hosts: &'h Hosts,
        reached: &'h Reached,
        link: Arc<Link>,
        user: Option<String>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self { lane: Some(lane), hosts, reached, link, user, told: Vec::new(), _slot: slot }
    }

    /// A new id for a step of this task, where the host can keep its result.
    pub(crate) fn step(&self, task: &str) -> Option<String> {
        let step = self.lane.as_ref()?.step()?;
        self.keeps(task, &step);
        Some(step)
    }

    /// The host keeps the result of this step of a task.
    pub(crate) fn keeps(&self, task: &str, step: &str) {
        let mut kept = guard(&self.reached.kept);
        kept.entry(task.to_owned()).or_default().push((self.user.clone(), step.to_owned()));
    }

    /// Has the steps whose ends have been told by now removed together with the next scripts.
    pub(crate) fn remove_told(&mut self) {
        self.told = self.reached.take_told(self.user.as_ref());
    }

    /// What runs the filters of what comes from the host.
    pub(crate) fn filters(&self) -> &'h Filters {
        &self.hosts.filters
    }

    /// Tries to lock the host for as long as this lane lives.
    pub(crate) async fn lock(&mut self, holder: &Holder, way: &str) -> Result<Locked, LaneError> {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = [variable("run", &holder.run), variable("holder", &holder.says), variable("way", way)];
        let script = Script { text: include_str!("lock.sh"), variables: &variables, process: Process::Lane };
        let output = self.run(script, LOOK_AT_LOCK, &CancellationToken::new()).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let locked = match said.trim_end().split_once(' ').unwrap_or((said.trim_end(), "")) {
            ("taken", _) => {
                guard(&self.reached.locked).insert(self.user.clone());
                Locked::Taken
            }
            ("alone", _) => Locked::Alone,
            ("held", by) => Locked::Held(by.to_owned()),
            ("lost", by) => Locked::Lost(by.to_owned()),
            _ => Locked::Impossible,
        };
        if let Some(lane) = &mut self.lane {
            lane.locks = matches!(locked, Locked::Taken | Locked::Alone);
        }
        if matches!(locked, Locked::Alone | Locked::Impossible) {
            guard(&self.reached.alone).insert(self.user.clone());
        }
        Ok(locked)
    }

    /// Sees to it that this lane holds the host's lock, as the others of the run do.
    pub(crate) async fn lock_again(&mut self, holder: &Holder) -> Result<(), Unreachable> {
        let has = self.lane.as_ref().is_none_or(|lane| lane.locks);
        if has || guard(&self.reached.alone).contains(&self.user) {
            return Ok(());
        }
        // Where this user has held none, or the first attempt came to nothing, nobody has been there since.
        let way = match guard(&self.reached.locked).contains(&self.user) {
            true => "again",
            false if holder.resumed => "resumed",
            false => "first",
        };
        let name = &self.reached.host.name;
        let message = match self.lock(holder, way).await {
            Ok(Locked::Taken | Locked::Alone | Locked::Impossible) => return Ok(()),
            Ok(Locked::Held(by) | Locked::Lost(by)) if way == "again" => {
                format!("the lock of {name} was lost with the connection, and another run was there since: {by}")
            }
            Ok(Locked::Held(by) | Locked::Lost(by)) => format!("another run is at work on {name}: {by}"),
            Err(LaneError::Lost(why)) => {
                return Err(Unreachable { step: Step::Network, message: why, hint: None });
            }
            Err(error) => format!("{name} couldn't be locked: {error}"),
        };
        let hint = Some("look at what that one did, then run again".into());
        Err(Unreachable { step: Step::Lock, message, hint })
    }

    /// Runs one script. If it takes longer than `timeout`, or is running when `kill` is cancelled, it is killed with all
    /// that it started.
    pub async fn run(
        &mut self,
        script: Script<'_>,
        timeout: Duration,
        kill: &CancellationToken,
    ) -> Result<Output, LaneError> {
        let mut output = None;
        self.run_all(&[script], timeout, kill, |come| output = Some(come)).await?;
        output.ok_or_else(|| LaneError::Lost("an answer is missing".into()))
    }

    /// Runs scripts one after the other with a single round trip, each as [`Lent::run`] does, and hands over each output
    /// when it has come.
    pub async fn run_all(
        &mut self,
        scripts: &[Script<'_>],
        timeout: Duration,
        kill: &CancellationToken,
        mut each: impl FnMut(Output),
    ) -> Result<(), LaneError> {
        let step = scripts.iter().enumerate().find_map(|(index, script)| match script.process {
            Process::Kept(step) => Some((step, index)),
            _ => None,
        });
        let told = std::mem::take(&mut self.told);
        if told.is_empty() {
            return self.run_or_end(scripts, step, timeout, kill, each).await;
        }
        let variables = [("steps".to_owned(), told.join("\n"))];
        let mut all = vec![Script { text: REMOVE_STEPS, variables: &variables, process: Process::Forked }];
        all.extend_from_slice(scripts);
        let mut first = true;
        let rest = |output| if std::mem::take(&mut first) { drop(output) } else { each(output) };
        let ran = self.run_or_end(&all, step.map(|(step, index)| (step, index + 1)), timeout, kill, rest).await;
        if first {
            // Nobody knows whether they are gone.
            self.reached.told_again(self.user.as_ref(), told);
        }
        ran
    }

    /// The same; what is ended includes this step, unless more outputs than these have come: then it has ended.
    async fn run_or_end(
        &mut self,
        scripts: &[Script<'_>],
        step: Option<(&str, usize)>,
        timeout: Duration,
        kill: &CancellationToken,
        mut each: impl FnMut(Output),
    ) -> Result<(), LaneError> {
        // Taken out for as long as the scripts run: a lane with half an answer in it isn't lent again.
        let Some(mut lane) = self.lane.take() else {
            return Err(LaneError::Lost("the lane broke before".into()));
        };
        let mut come = 0;
        let each = |output| {
            come += 1;
            each(output);
        };
        let ran = tokio::select! {
            ran = lane.run(scripts, timeout, each) => ran,
            () = kill.cancelled() => Err(LaneError::Killed(Stopped::default())),
        };
        match ran {
            Ok(()) => {
                self.lane = Some(lane);
                Ok(())
            }
            Err(LaneError::Lost(why)) => {
                let said = match self.link.connection.get() {
                    Some(Ok((transport, _))) => transport.lost(),
                    _ => None,
                };
                let why = said.unwrap_or(why);
                self.hosts.broke(self.reached, &self.link, self.user.as_ref(), lane, &why).await;
                Err(LaneError::Lost(why))
            }
            Err(error) => {
                let nothing_answers =
                    || Killed { stopped: Stopped { unknown: true, ..Stopped::default() }, ..Killed::default() };
                let killed = match self.link.connection.get() {
                    Some(Ok((transport @ (Transport::Ssh(_) | Transport::Local), _))) => {
                        let runs = step.filter(|(_, before)| lane.keeps() && come <= *before);
                        let folder = runs.map(|(step, _)| format!("{FOLDER}{step}"));
                        let (host, user) = (&self.reached.host, self.user.as_deref());
                        let killed = transport.kill(host, user, lane.shell(), folder.as_deref(), GRACE).await;
                        // It isn't the script that took too long.
                        if killed.is_none() && matches!(error, LaneError::TimedOut { .. }) && !transport.lives().await {
                            let why = transport.lost().unwrap_or_else(|| "nothing answered".into());
                            self.hosts.broke(self.reached, &self.link, self.user.as_ref(), lane, &why).await;
                            return Err(LaneError::Lost(why));
                        }
                        killed.unwrap_or_else(nothing_answers)
                    }
                    _ => Killed::default(),
                };
                Err(match error {
                    LaneError::TimedOut { after, mut stdout, mut stderr, .. } => {
                        stdout.extend(killed.stdout);
                        stderr.extend(killed.stderr);
                        LaneError::TimedOut { after, stdout, stderr, stopped: killed.stopped }
                    }
                    LaneError::Killed(_) => LaneError::Killed(killed.stopped),
                    error => error,
                })
            }
        }
    }

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

    /// The end of what a step that runs has printed: of its output or its messages, whichever is newer. A lane that doesn't answer is given up.
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

    /// Takes away what is kept of steps whose ends have been told. What is left is taken away by a later run.
    pub(crate) async fn tidy(&mut self) {
        self.remove_told();
        let _ = self.run_all(&[], REMOVE, &CancellationToken::new(), drop).await;
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

/// Takes away what is kept of `$steps`.
const REMOVE_STEPS: &str = r#"
set --
while read -r step; do set -- "$@" "$__haflow_run/haflow-step-$step"; done <<END
$steps
END
rm -rf -- "$@"
"#;

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            let mut idle = guard(&self.link.idle);
            idle.entry(self.user.take()).or_default().push(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Also by a run that is resumed for the second time.
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
