//! A gate at its turn: looks until it holds.

use crate::decide::decide;
use crate::decide::in_words::differing;
use crate::decide::known::Ended;
use crate::decide::seen::Seen;
use crate::run::turn::Turn;
use crate::step::trouble::Trouble;
use haflow_model::{Decision, Event, Failure, Gate, Outcome};
use std::time::{Duration, Instant};

/// A gate's last look gets this much time, however little is left: on a busy host a few starts of rabbitmqctl
/// take longer than ten seconds.
const SHORTEST_LOOK: Duration = Duration::from_mins(1);

impl Turn<'_> {
    /// What was seen `ahead` counts where it holds and nothing has changed since.
    pub(super) async fn gate(&mut self, gate: &Gate, mut ahead: Option<Seen>) -> Result<Ended, Trouble> {
        let Self { worker, task, .. } = *self;
        let started = Instant::now();
        let mut held = 0;
        loop {
            let left = gate.within.saturating_sub(started.elapsed()).max(SHORTEST_LOOK);
            // One that must hold now waits for nothing but its only look.
            let left = if gate.within.is_zero() { task.task.policy.timeout } else { left };
            let holds = |seen: &Seen| worker.is_quiet() && decide(task, seen) == Decision::UpToDate;
            let looked = match ahead.take().filter(holds) {
                Some(seen) => Ok(seen),
                None => self.look(left).await,
            };
            let seen = match looked {
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
