//! One task at its turn: look, decide, apply, look again.

use crate::clock::millis;
use crate::decide::in_words::in_a_line;
use crate::decide::known::{Ended, Known};
use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::decide::{decide, drift, outlives_changes};
use crate::events::Events;
use crate::hosts::Hosts;
use crate::run::past::{Past, in_doubt};
use crate::step::gatekeeper::{Gatekeeper, Interrupt};
use crate::step::trouble::Trouble;
use crate::step::{self, Sight, judge, killed};
use haflow_model::{Decision, Diff, Event, Failure, FileState, Outcome, Planned};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// What the plan that is being applied says of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promised<'p> {
    pub(crate) salt: &'p str,
    pub(crate) planned: &'p Planned,
}

impl Promised<'_> {
    /// Whether a task may go on from what was seen, by the plan.
    pub(super) fn holds(
        &self,
        events: &Events,
        task: &Ready<'_>,
        seen: &Seen,
        now: Decision,
    ) -> Result<(), Box<Failure>> {
        drift::check(self.salt, self.planned, task, seen, &events.redacted(now))
    }
}

/// What is known of a task before its turn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before<'p> {
    /// What the plan says of it that is being applied.
    pub(crate) promised: Option<Promised<'p>>,
    /// What the run did about it before it was resumed.
    pub(crate) past: Option<&'p Past>,
    /// How long the chain took in which it was told to have begun, and wasn't done.
    pub(crate) in_chain: Option<Duration>,
    /// Why it isn't applied, whatever it would change.
    pub(crate) held: Option<Failure>,
}

/// How often a task goes on after its lane broke. After that the task itself is what breaks its lanes.
pub(super) const MOST_LOSSES: u32 = 5;

/// What came of an attempt to apply.
#[derive(PartialEq)]
pub(super) enum Tried {
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
        let started = known.in_chain.and_then(|took| Instant::now().checked_sub(took));
        let mut turn = Turn { worker: self, task, applying: false, failed: None, started, queued: Duration::ZERO };
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

    pub(super) fn disturb(&self) {
        self.quiet.store(false, Ordering::SeqCst);
    }
}

/// One task at its turn.
pub(super) struct Turn<'t> {
    pub(super) worker: &'t Worker<'t>,
    pub(super) task: &'t Ready<'t>,
    /// Whether something of it is under way on its host: then it is seen to, also where nothing may begin any
    /// more.
    pub(super) applying: bool,
    /// Why its last attempt failed, where another one is to come.
    pub(super) failed: Option<Failure>,
    /// When its host had a lane for it, or it had ended without one.
    pub(super) started: Option<Instant>,
    /// How long it has waited for further lanes since.
    pub(super) queued: Duration,
}

impl Turn<'_> {
    /// How a task ends that has met this.
    fn outcome(&mut self, trouble: Trouble) -> Outcome {
        if (self.applying || matches!(trouble, Trouble::Gone(_)))
            && let Some(why) = trouble.while_applied()
        {
            return Outcome::InDoubt { why };
        }
        match trouble {
            Trouble::Failed(failure) => Outcome::Failed { failure },
            Trouble::Unreachable(error) => Outcome::Unreachable { why: error.message },
            Trouble::Lost(why) | Trouble::Gone(why) => {
                Outcome::Unreachable { why: format!("the connection was lost: {why}") }
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
    pub(super) async fn begun(&mut self) {
        if self.started.is_none() {
            self.started = Some(Instant::now());
            self.worker.events.emit(Event::TaskStarted { task: self.task.task.into() }).await;
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
        if let Some(gate) = task.task.action.waits() {
            return self.gate(gate, ahead).await;
        }
        let mut seen = self.sight(ahead).await?;
        // What is applied is what was planned, on what was planned from: also where a second look was needed.
        // What was begun already is no longer what was planned from, but for a file's text: it is there
        // whole, or as it was.
        let keep = |seen: &Sight| {
            let Some(promised) = before.promised else { return Ok(()) };
            let decision = decide(task, seen.seen());
            let has_text = task.file().is_some_and(|wanted| matches!(wanted.file.state, FileState::Content(_)));
            if before.past.is_some() && (!has_text || decision == Decision::UpToDate) {
                return Ok(());
            }
            promised.holds(worker.events, task, seen.seen(), decision).map_err(Trouble::Failed)
        };
        keep(&seen)?;
        if let (Some(read), Seen::Value(value)) = (task.task.action.reads(), seen.seen()) {
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
            if let Some(failure) = before.held {
                return Err(failure.into());
            }
            first.get_or_insert_with(|| diff.clone());
            worker.gatekeeper.ask()?;
            worker.disturb();
            // Lent for as long as it is needed: a task that pauses or waits doesn't keep others from their
            // host.
            let mut lane = self.lane().await?;
            lane.remove_ended();
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
                Err(failure) if failure.exit == Some(killed::KILLED) => match self.lane().await {
                    Ok(mut lane) => {
                        killed::why_killed(&mut lane, failure, begun_at.elapsed(), &worker.interrupt.kill).await
                    }
                    Err(_) => failure,
                },
                Err(failure) => failure,
            };
            self.retry(&mut attempt, failure).await?;
            // Others may have been at work in the meantime, and the apply itself may have got further than it
            // said.
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
                pause_ms: millis(pause),
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

    /// How a task ended that the run left under way when it died; `None` where it is to be done, also once
    /// more since that failed.
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
}

/// Whether what began then can't have been swept from its host yet.
fn is_young(at: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(at)) < Duration::from_hours(20)
}
