//! What a task at its turn does on its host: it waits for a lane, looks, applies, and picks up what it began.

use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::hosts::lent::Lent;
use crate::lane::Stopped;
use crate::run::turn::{MOST_LOSSES, Tried, Turn, Worker};
use crate::step::trouble::Trouble;
use crate::step::{self, Sight};
use haflow_model::Event;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// The pause between two looks at what a step prints.
const BETWEEN_LINES: Duration = Duration::from_secs(3);

impl Worker<'_> {
    /// Runs this, and tells meanwhile what a step prints.
    fn listening<T>(
        &self,
        task: &Ready<'_>,
        step: Option<&str>,
        runs: impl Future<Output = T>,
    ) -> Pin<Box<impl Future<Output = T>>> {
        Box::pin(async move {
            let Some(step) = step else { return runs.await };
            tokio::select! {
                biased;
                done = runs => done,
                never = self.listen(task, step) => match never {},
            }
        })
    }

    async fn listen(&self, task: &Ready<'_>, step: &str) -> Infallible {
        let mut last = String::new();
        loop {
            tokio::time::sleep(BETWEEN_LINES).await;
            if self.interrupt.kill.is_cancelled() {
                continue;
            }
            let Some(mut lane) = self.hosts.spare_lane(&task.task.host, task.task.user.as_deref()).await else {
                continue;
            };
            let Some(said) = lane.said(step).await else { continue };
            drop(lane);
            // Before a line is taken out of it: a secret that is cut would be no longer known.
            let said = self.events.redacted(said);
            let newest = said.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty());
            if let Some(newest) = newest.filter(|newest| *newest != last) {
                last = newest.to_owned();
                self.events.emit(Event::StepSaid { task: task.task.into(), line: last.clone() }).await;
            }
        }
    }
}

impl<'t> Turn<'t> {
    /// A lane on the task's host. Where something is under way there it is waited for until the run is
    /// interrupted twice, otherwise for as long as something may begin.
    pub(super) async fn lane(&mut self) -> Result<Lent<'t>, Trouble> {
        let Worker { hosts, interrupt, gatekeeper, .. } = self.worker;
        let since = Instant::now();
        let lane = async {
            tokio::select! {
                lane = hosts.lane(&self.task.task.host, self.task.task.user.as_deref()) => Ok(lane?),
                // A connection that is lost may be tried for as long as a user waits for it.
                () = interrupt.kill.cancelled() => Err(Trouble::Killed(Stopped::default())),
            }
        };
        let lane = if self.applying { lane.await? } else { gatekeeper.wait_for(lane).await?? };
        if self.started.is_some() {
            self.queued += since.elapsed();
        }
        self.begun().await;
        Ok(lane)
    }

    /// Looks, for at most `left`; once more where the connection is lost over it and comes back.
    pub(super) async fn look(&mut self, left: Duration) -> Result<Seen, Trouble> {
        let (task, kill) = (self.task, &self.worker.interrupt.kill);
        if task.task.action.always_runs().is_some() {
            // An act shows nothing.
            return Ok(Seen::Nothing);
        }
        let mut losses = 0;
        loop {
            match step::look_for(&mut self.lane().await?, task, left, kill).await {
                Err(Trouble::Lost(_)) if losses < MOST_LOSSES => losses += 1,
                look => return look,
            }
        }
    }

    /// Applies, and sees to the result also where the lane breaks meanwhile.
    pub(super) async fn apply(
        &mut self,
        mut lane: Lent<'_>,
        seen: &Sight,
        step: Option<&str>,
    ) -> Result<Tried, Trouble> {
        let Self { worker, task, .. } = *self;
        let applied = async {
            let applied = step::apply(&mut lane, task, seen, step, &worker.interrupt.kill).await;
            drop(lane);
            applied
        };
        let applied = worker.listening(task, step, applied).await;
        let applied = match (applied, step) {
            (Err(Trouble::Lost(_)), Some(step)) => self.pick_up(step).await?,
            (Err(Trouble::Lost(_)), None) if task.file().is_some() => return Ok(Tried::Unknown),
            (applied, _) => applied?,
        };
        Ok(applied.map_or(Tried::Nothing, |applied| Tried::Applied(Box::new(applied))))
    }

    /// What came of a step whose lane broke, and what there is after it; `None` where it had not begun.
    pub(super) async fn pick_up(&mut self, step: &str) -> Result<Option<step::Applied>, Trouble> {
        let Self { worker, task, .. } = *self;
        let mut losses = 0;
        loop {
            let mut lane = self.lane().await?;
            lane.keeps(&task.task.id(), step);
            worker.events.emit(Event::PickingUp { task: task.task.into() }).await;
            let picked = step::pick_up(&mut lane, task, step, &worker.interrupt.kill);
            match worker.listening(task, Some(step), picked).await {
                Err(Trouble::Lost(_)) if losses < MOST_LOSSES => losses += 1,
                picked => return picked,
            }
        }
    }
}
