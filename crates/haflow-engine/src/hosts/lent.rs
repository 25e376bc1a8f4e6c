//! What is done with a lane that is lent out: scripts run, steps are picked up, and what takes too long is
//! ended.

use crate::filters::Filters;
use crate::hosts::host::{Link, Reached, guard};
use crate::hosts::transport::Killed;
use crate::lane::frame::FOLDER;
use crate::lane::{Lane, LaneError, Output, Process, Script, Stopped};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// How long it may take to take something away.
const REMOVE: Duration = Duration::from_secs(30);
/// How long a killed script may take to end by itself. A join that puts its broker back takes four seconds of
/// it.
const GRACE: Duration = Duration::from_secs(10);

/// A lane lent out. It goes back when it is dropped, unless it broke.
pub struct Lent<'h> {
    pub(super) lane: Option<Lane>,
    filters: &'h Filters,
    pub(super) reached: &'h Reached,
    link: Arc<Link>,
    pub(super) user: Option<String>,
    /// Steps to be removed with the next scripts.
    ended: Vec<String>,
    _slot: OwnedSemaphorePermit,
}

impl<'h> Lent<'h> {
    pub(crate) fn new(
        lane: Lane,
        filters: &'h Filters,
        reached: &'h Reached,
        link: Arc<Link>,
        user: Option<String>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self { lane: Some(lane), filters, reached, link, user, ended: Vec::new(), _slot: slot }
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
    pub(crate) fn remove_ended(&mut self) {
        self.ended = self.reached.take_ended(self.user.as_ref());
    }

    /// What runs the filters of what comes from the host.
    pub(crate) fn filters(&self) -> &'h Filters {
        self.filters
    }

    /// Runs one script. If it takes longer than `timeout`, or is running when `kill` is cancelled, it is
    /// killed with all that it started.
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

    /// Runs scripts one after the other with a single round trip, each as [`Lent::run`] does, and hands over
    /// each output when it has come.
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
        let ended = std::mem::take(&mut self.ended);
        if ended.is_empty() {
            return self.run_or_end(scripts, step, timeout, kill, each).await;
        }
        let variables = [("steps".to_owned(), ended.join("\n"))];
        let mut all = vec![Script { text: REMOVE_STEPS, variables: &variables, process: Process::Forked }];
        all.extend_from_slice(scripts);
        let mut first = true;
        let rest = |output| if std::mem::take(&mut first) { drop(output) } else { each(output) };
        let ran = self.run_or_end(&all, step.map(|(step, index)| (step, index + 1)), timeout, kill, rest).await;
        if first {
            // Nobody knows whether they are gone.
            self.reached.ended_again(self.user.as_ref(), ended);
        }
        ran
    }

    /// The same; what is ended includes this step, unless more outputs than these have come: then it has
    /// ended.
    pub(super) async fn run_or_end(
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
                self.reached.broke(&self.link, self.user.as_ref(), lane, &why).await;
                Err(LaneError::Lost(why))
            }
            Err(error) => {
                let nothing_answers =
                    || Killed { stopped: Stopped { unknown: true, ..Stopped::default() }, ..Killed::default() };
                let killed = match self.link.connection.get() {
                    Some(Ok((transport, _))) => {
                        let runs = step.filter(|(_, before)| lane.keeps() && come <= *before);
                        let folder = runs.map(|(step, _)| format!("{FOLDER}{step}"));
                        let (host, user) = (&self.reached.host, self.user.as_deref());
                        let killed = transport.kill(host, user, lane.shell(), folder.as_deref(), GRACE).await;
                        // It isn't the script that took too long.
                        if killed.is_none() && matches!(error, LaneError::TimedOut { .. }) && !transport.lives().await {
                            let why = transport.lost().unwrap_or_else(|| "nothing answered".into());
                            self.reached.broke(&self.link, self.user.as_ref(), lane, &why).await;
                            return Err(LaneError::Lost(why));
                        }
                        killed.unwrap_or_else(nothing_answers)
                    }
                    Some(Err(_)) | None => Killed::default(),
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

    /// Takes away what is kept of steps whose ends have been told. What is left is taken away by a later run.
    pub(crate) async fn tidy(&mut self) {
        self.remove_ended();
        let _ = self.run_all(&[], REMOVE, &CancellationToken::new(), drop).await;
    }
}

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
