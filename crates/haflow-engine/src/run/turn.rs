//! One task at its turn: look, decide, apply, look again.

use crate::cut;
use crate::decide::drift;
use crate::decide::seen::{Known, Seen, failed};
use crate::decide::{Ready, decide};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::hosts::lent::Lent;
use crate::lane::Stopped;
use crate::run::Interrupt;
use crate::run::past::{Past, in_doubt};
use crate::step::gatekeeper::Gatekeeper;
use crate::step::{self, Sight, Trouble};
use haflow_model::{Action, Change, Decision, Diff, Event, Failure, FileState, Gate, Outcome, Planned, Task, Value};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A gate's last look gets this much time, however little is left: on a busy host a few starts of rabbitmqctl take longer than ten seconds.
const SHORTEST_LOOK: Duration = Duration::from_mins(1);

/// So often a task goes on after its lane broke: what breaks each of them is the task itself.
const MOST_LOSSES: u32 = 5;

/// So often it is looked at what a step prints.
const BETWEEN_LINES: Duration = Duration::from_secs(3);

/// The longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// What a task left behind: its outcome, and its output if it has one.
pub(crate) type Ended = (Outcome, Option<Known>);

/// What the plan that is being applied says of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promised<'p> {
    pub(crate) salt: &'p str,
    pub(crate) planned: &'p Planned,
}

/// What is known of a task before its turn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before<'p> {
    /// What the plan says of it that is being applied.
    pub(crate) promised: Option<Promised<'p>>,
    /// What the run did about it before it was resumed.
    pub(crate) past: Option<&'p Past>,
}

/// What came of an attempt to apply.
#[derive(PartialEq)]
enum Tried {
    Applied(Box<step::Applied>),
    /// It isn't as it was before, or it never began: nothing was done.
    Nothing,
    /// The lane broke over a file: it is there whole or not at all.
    Unknown,
}

/// What tasks need while they run.
pub(crate) struct Worker<'r> {
    /// The run's id.
    pub(crate) run: &'r str,
    pub(crate) hosts: &'r Hosts,
    pub(crate) events: &'r Events,
    pub(crate) interrupt: &'r Interrupt,
    pub(crate) gatekeeper: &'r Gatekeeper,
    /// Whether nothing has changed since the run began: no apply has begun, and no gate has had to wait.
    pub(crate) quiet: AtomicBool,
}

impl Worker<'_> {
    /// Runs a task, and says how long that took without the time for which it queued. `ahead` is what was
    /// seen of it before its turn.
    pub(crate) async fn task(&self, task: &Ready<'_>, ahead: Option<Seen>, known: Before<'_>) -> (Ended, Duration) {
        let mut turn =
            Turn { worker: self, task, applying: false, failed: None, started: None, queued: Duration::ZERO };
        let ended = match turn.steps(ahead, known).await {
            Ok(ended) => ended,
            Err(trouble) => (turn.outcome(trouble), None),
        };
        // What needed no lane, or got none, is told to begin all the same, but for what was cancelled.
        if !matches!(ended.0, Outcome::Cancelled) {
            turn.begun().await;
        }
        let took = turn.started.map(|started| started.elapsed().saturating_sub(turn.queued));
        (ended, took.unwrap_or_default())
    }

    /// Whether what was seen before still holds.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    fn disturb(&self) {
        self.quiet.store(false, Ordering::SeqCst);
    }

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

/// One task at its turn.
struct Turn<'t> {
    worker: &'t Worker<'t>,
    task: &'t Ready<'t>,
    /// Whether something of it is under way on its host: then it is seen to, also where nothing may begin any
    /// more.
    applying: bool,
    /// Why its last attempt failed, where another one is to come.
    failed: Option<Failure>,
    /// When its host had a lane for it, or it had ended without one.
    started: Option<Instant>,
    /// How long it has waited for further lanes since.
    queued: Duration,
}

impl<'t> Turn<'t> {
    /// How a task ends that has met this.
    fn outcome(&mut self, trouble: Trouble) -> Outcome {
        let in_doubt = |why: String| Outcome::InDoubt { why };
        match trouble {
            Trouble::Failed(failure) => Outcome::Failed { failure },
            Trouble::Unreachable(error) if self.applying => {
                in_doubt(format!("it was being applied: {}", error.message))
            }
            Trouble::Unreachable(error) => Outcome::Unreachable { why: error.message },
            Trouble::Lost(why) if self.applying => {
                in_doubt(format!("the connection was lost while it was being applied: {why}"))
            }
            Trouble::Gone(why) => in_doubt(format!("the connection was lost while it was being applied, and {why}")),
            Trouble::Lost(why) => Outcome::Unreachable { why: format!("the connection was lost: {why}") },
            Trouble::Killed(stopped) if self.applying => {
                in_doubt(format!("it was killed while it was being applied{}", step::told(&stopped)))
            }
            Trouble::Closed | Trouble::Killed(_) => match self.failed.take() {
                // The attempt that was to come is the one that is cancelled.
                Some(failure) => Outcome::Failed { failure: Box::new(failure) },
                None => Outcome::Cancelled,
            },
            Trouble::NotKept => {
                self.worker.gatekeeper.close();
                Outcome::Cancelled
            }
        }
    }

    /// Tells once that the task has begun.
    async fn begun(&mut self) {
        if self.started.is_none() {
            self.started = Some(Instant::now());
            self.worker.events.emit(Event::TaskStarted { task: self.task.task.into() }).await;
        }
    }

    /// A lane on the task's host. Where something is under way there it is waited for until the run is
    /// interrupted twice, otherwise for as long as something may begin.
    async fn lane(&mut self) -> Result<Lent<'t>, Trouble> {
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
    async fn look(&mut self, left: Duration) -> Result<Seen, Trouble> {
        let (task, kill) = (self.task, &self.worker.interrupt.kill);
        if matches!(task.task.action, Action::Act(_)) {
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

    async fn steps(&mut self, ahead: Option<Seen>, before: Before<'_>) -> Result<Ended, Trouble> {
        let Self { worker, task, .. } = *self;
        let timeout = task.task.policy.timeout;
        self.applying = matches!(before.past, Some(Past::InDoubt { .. }));
        let mut attempt = match before.past {
            Some(Past::InDoubt { attempt, .. } | Past::Tried { attempt }) => *attempt,
            _ => 1,
        };
        if let Some(ended) = self.left_under_way(before.past, &mut attempt).await? {
            return Ok(ended);
        }
        self.applying = false;
        worker.gatekeeper.ask()?;
        if let Action::Gate(gate) = &task.task.action {
            return self.gate(gate).await;
        }
        let mut seen = self.sight(ahead).await?;
        // What is applied is what was planned, on what was planned from: also where a second look was needed. What was begun already
        // is no longer what was planned from.
        let keep = |seen: &Sight| match before.promised {
            Some(Promised { salt, planned }) if before.past.is_none() => {
                let now = worker.events.redacted(decide(task, seen.seen()));
                drift::check(salt, planned, task, seen.seen(), &now).map_err(Trouble::Failed)
            }
            _ => Ok(()),
        };
        keep(&seen)?;
        if let (Action::Read(read), Seen::Value(value)) = (&task.task.action, seen.seen()) {
            return Ok((Outcome::Ok, Some(Known::read(value, read.secret))));
        }
        let mut first = None;
        let (mut vain, mut begun) = (0, false);
        loop {
            let diff = match decide(task, seen.seen()) {
                // What the run did before it died has changed it, and what that triggers hasn't acted.
                Decision::UpToDate if attempt == 1 && before.past.is_some() => {
                    return Ok((Outcome::Changed { diff: Diff::default() }, None));
                }
                Decision::UpToDate if attempt == 1 && !begun => return Ok((Outcome::Ok, None)),
                Decision::UpToDate => return Ok((Outcome::Changed { diff: first.unwrap_or_default() }, None)),
                Decision::Change { diff } => diff,
                Decision::Act { .. } => Diff::default(),
                Decision::Failed { failure } => return Err(Trouble::Failed(failure)),
                decision => unreachable!("a state that was seen isn't {decision:?}"),
            };
            first.get_or_insert_with(|| diff.clone());
            worker.gatekeeper.ask()?;
            worker.disturb();
            // Lent for as long as it is needed: a task that pauses or waits doesn't keep others from their host.
            let mut lane = self.lane().await?;
            lane.remove_told();
            let kept = step::kept(&lane, task);
            let intent = Event::ApplyStarted { task: task.task.into(), attempt, step: kept.clone(), diff };
            worker.gatekeeper.ask()?;
            worker.events.intend(intent).await?;
            self.applying = true;
            let begun_at = Instant::now();
            let applied = self.apply(lane, &seen, kept.as_deref()).await?;
            self.applying = applied == Tried::Unknown;
            let applied = match applied {
                Tried::Applied(applied) => *applied,
                tried => {
                    vain += 1;
                    if vain > MOST_LOSSES {
                        return Err(Trouble::Lost("its lane breaks again and again".into()));
                    }
                    seen = Sight::Now(self.look(timeout).await?);
                    self.applying = false;
                    if tried == Tried::Nothing {
                        keep(&seen)?;
                        first = None;
                    } else {
                        begun = true;
                    }
                    continue;
                }
            };
            let failure = match judge(task, applied) {
                Ok(output) => return Ok((Outcome::Changed { diff: first.unwrap_or_default() }, output)),
                Err(failure) if failure.exit == Some(step::KILLED) => match self.lane().await {
                    Ok(mut lane) => {
                        step::why_killed(&mut lane, failure, begun_at.elapsed(), &worker.interrupt.kill).await
                    }
                    Err(_) => failure,
                },
                Err(failure) => failure,
            };
            self.retry(&mut attempt, failure).await?;
            // Others may have been at work in the meantime, and the apply itself may have got further than it said.
            seen = Sight::Now(self.look(timeout).await?);
        }
    }

    /// Waits for a task's next attempt. What failed stays failed where there is none.
    async fn retry(&mut self, attempt: &mut u32, failure: Failure) -> Result<(), Trouble> {
        let Self { worker, task, .. } = *self;
        let policy = &task.task.policy;
        let attempts = policy.retries + 1;
        if *attempt >= attempts || worker.gatekeeper.is_closed() {
            return Err(failure.into());
        }
        let pause = policy.backoff.saturating_mul(1 << (*attempt - 1).min(16)).min(LONGEST_BACKOFF);
        worker
            .events
            .emit(Event::TaskRetried {
                task: task.task.into(),
                attempt: *attempt,
                of: attempts,
                pause_ms: crate::millis(pause),
                // Before a line is taken out of it: a secret that is cut would be no longer known.
                why: in_a_line(&worker.events.redacted(failure.clone())),
            })
            .await;
        *attempt += 1;
        self.failed = Some(failure);
        Ok(worker.gatekeeper.wait_for(tokio::time::sleep(pause)).await?)
    }

    /// What a task is decided on at its turn.
    async fn sight(&mut self, ahead: Option<Seen>) -> Result<Sight, Trouble> {
        let Self { worker, task, .. } = *self;
        Ok(match ahead.filter(|seen| worker.is_quiet() || outlives_changes(task, seen)) {
            Some(seen) if worker.is_quiet() => Sight::Now(seen),
            // Something has changed since: the apply makes sure of it.
            Some(seen) => Sight::Before(seen),
            None => Sight::Now(self.look(task.task.policy.timeout).await?),
        })
    }

    /// How a task ended that the run left under way when it died; `None` where it is to be done, also once more since that failed.
    async fn left_under_way(&mut self, past: Option<&Past>, attempt: &mut u32) -> Result<Option<Ended>, Trouble> {
        if let Some(Past::InDoubt { step: Some(step), at, .. }) = past {
            match self.pick_up(step).await {
                Ok(Some(applied)) => match judge(self.task, applied) {
                    Ok(output) => return Ok(Some((Outcome::Changed { diff: Diff::default() }, output))),
                    Err(failure) => {
                        self.retry(attempt, failure).await?;
                        return Ok(None);
                    }
                },
                // It never began. What is kept is swept after a day: then that can't be told any more.
                Ok(None) if is_young(*at) => return Ok(None),
                Ok(None) | Err(Trouble::Gone(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(in_doubt(self.task.task, past, self.worker.run).map(|why| (Outcome::InDoubt { why }, None)))
    }

    /// Applies, and sees to the result also where the lane breaks meanwhile.
    async fn apply(&mut self, mut lane: Lent<'_>, seen: &Sight, step: Option<&str>) -> Result<Tried, Trouble> {
        let Self { worker, task, .. } = *self;
        let applied = async {
            let applied = step::apply(&mut lane, task, seen, step, &worker.interrupt.kill).await;
            drop(lane);
            applied
        };
        let applied = worker.listening(task, step, applied).await;
        let applied = match (applied, step) {
            (Err(Trouble::Lost(_)), Some(step)) => self.pick_up(step).await?,
            (Err(Trouble::Lost(_)), None) if matches!(task.task.action, Action::File(_)) => return Ok(Tried::Unknown),
            (applied, _) => applied?,
        };
        Ok(applied.map_or(Tried::Nothing, |applied| Tried::Applied(Box::new(applied))))
    }

    /// What came of a step whose lane broke, and what there is after it; `None` where it had not begun.
    async fn pick_up(&mut self, step: &str) -> Result<Option<step::Applied>, Trouble> {
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

    async fn gate(&mut self, gate: &Gate) -> Result<Ended, Trouble> {
        let Self { worker, task, .. } = *self;
        let started = Instant::now();
        let mut held = 0;
        loop {
            let left = gate.within.saturating_sub(started.elapsed()).max(SHORTEST_LOOK);
            // One that must hold now waits for nothing but its only look.
            let left = if gate.within.is_zero() { task.task.policy.timeout } else { left };
            let seen = match self.look(left).await {
                Ok(seen) => match decide(task, &seen) {
                    Decision::UpToDate => None,
                    Decision::Change { diff } => Some((differing(&diff), None)),
                    decision => unreachable!("a gate's state isn't {decision:?}"),
                },
                // A check that fails is one that doesn't hold: services that are coming up do that.
                Err(Trouble::Failed(failure)) => Some((failure.message.clone(), Some(failure))),
                Err(trouble) => return Err(trouble),
            };
            if seen.is_some() {
                // Something is coming up by itself.
                worker.disturb();
            }
            held = if seen.is_none() { held + 1 } else { 0 };
            let checked = Event::GateChecked {
                task: task.task.into(),
                held,
                times: gate.times,
                seen: seen.as_ref().map(|(shown, _)| shown.clone()),
            };
            worker.events.emit(checked).await;
            if held >= gate.times {
                return Ok((Outcome::Ok, None));
            }
            let left = gate.within.saturating_sub(started.elapsed());
            if left.is_zero() {
                let (saw, failure) =
                    seen.unwrap_or_else(|| (format!("it held {held} times in a row, not {}", gate.times), None));
                let within = gate.within.as_secs_f64();
                let when = if gate.within.is_zero() { String::new() } else { format!(" within {within} s") };
                return Err(Failure {
                    message: format!("the gate didn't hold{when}: {saw}"),
                    ..failure.map(|failure| *failure).unwrap_or_default()
                }
                .into());
            }
            // The last look is at the end of the time that it has.
            worker.gatekeeper.wait_for(tokio::time::sleep(gate.every.min(left))).await?;
        }
    }
}

/// Whether what began then can't have been swept from its host yet.
fn is_young(at: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(at)) < Duration::from_hours(20)
}

/// Whether what was seen of a task may be acted on although something has changed since: it must lead to an apply that makes sure
/// that it still holds. Only a file's does.
pub(crate) fn outlives_changes(task: &Ready<'_>, seen: &Seen) -> bool {
    is_content(task.task) && matches!(decide(task, seen), Decision::Change { .. })
}

/// Whether it is a file with a content.
pub(crate) fn is_content(task: &Task) -> bool {
    matches!(&task.action, Action::File(file) if matches!(file.state, FileState::Content(_)))
}

/// Whether an apply got there: by its exit code, and by what there is after it.
fn judge(task: &Ready<'_>, applied: step::Applied) -> Result<Option<Known>, Failure> {
    let step::Applied { output, after } = applied;
    if output.exit != 0 {
        return Err(failed(format!("the apply exited {}", output.exit), &output));
    }
    let doesnt_hold = |how: String| failed(format!("applied, but it doesn't hold: {how}"), &output);
    match after {
        Ok(Seen::Nothing) => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(Some(Known::Plain(Value::from(text.strip_suffix('\n').unwrap_or(&text)))))
        }
        Ok(seen) => match decide(task, &seen) {
            Decision::UpToDate => Ok(None),
            Decision::Change { diff } => Err(doesnt_hold(differing(&diff))),
            Decision::Failed { failure } => Err(doesnt_hold(failure.message)),
            decision => unreachable!("a state that was seen isn't {decision:?}"),
        },
        Err(probe) => {
            let message = format!("applied, but whether it holds can't be seen: {}", probe.message);
            Err(Failure { message, ..probe })
        }
    }
}

/// A failure and the last thing that was said.
pub(crate) fn in_a_line(failure: &Failure) -> String {
    match failure.stderr.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{} ({})", failure.message, line.trim()),
        None => failure.message.clone(),
    }
}

/// Which fields differ, in a line.
pub(crate) fn differing(diff: &Diff) -> String {
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    let one = |change: &Change| match change {
        Change::Field { field, was, want } if field.is_empty() => format!("it is {}, not {}", value(was), value(want)),
        Change::Field { field, was, want } => format!("{field} is {}, not {}", value(was), value(want)),
        Change::Later { field, output_of } => format!("{field} will be the output of {output_of}"),
        Change::Text { .. } | Change::Opaque { .. } => "the content differs".into(),
        Change::Secret { field } if field.is_empty() => "the secret differs".into(),
        Change::Secret { field } => format!("{field} differs"),
    };
    cut::beginning(&diff.0.iter().map(one).collect::<Vec<_>>().join("; "), cut::MOST_SAID)
}
