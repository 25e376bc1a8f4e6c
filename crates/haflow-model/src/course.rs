//! What became of each task of a run: the one fold over the events of its journal. A resume asks it what may
//! be done, and `why` what to tell.

use crate::{Event, Outcome, Record, TaskRef, Value};
use std::collections::BTreeMap;

/// How far a task got.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum State<'r> {
    /// Its turn hasn't come.
    #[default]
    Waiting,
    /// It is under way, since that time.
    UnderWay(u64),
    /// It is being applied, since that time.
    Applying(u64),
    /// It was being looked at when the run died: nothing was done.
    CutOff,
    /// It was being applied when the run died.
    InDoubt,
    /// It ended so, and then.
    Ended(&'r Outcome, u64),
}

impl State<'_> {
    /// Whether what comes after it may begin.
    pub fn lets_on(&self) -> bool {
        matches!(self, Self::Ended(outcome, _)
            if outcome.satisfied() || matches!(outcome, Outcome::Skipped { because: None, .. }))
    }
}

/// What was done about a task, all in all.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Done<'r> {
    /// Nothing.
    #[default]
    Nothing,
    /// It was applied, and that failed or was killed.
    Tried {
        /// Which attempt is the next, from 1.
        attempt: u32,
    },
    /// It was being applied, and the end of that wasn't told.
    Open {
        /// Under which id its host keeps the result, if it does.
        step: Option<&'r str>,
        /// Which attempt that is, from 1.
        attempt: u32,
        /// When that began, in milliseconds since 1970-01-01 UTC.
        at: u64,
    },
    /// It ended well, with what it put out.
    Well {
        /// Ok or changed.
        outcome: &'r Outcome,
        /// What it read or printed.
        output: Option<&'r Value>,
    },
}

/// What became of one task.
#[derive(Debug, Clone, Default)]
pub struct Course<'r> {
    /// How far it got the last time.
    pub state: State<'r>,
    /// What was done about it, also before it was resumed.
    pub done: Done<'r>,
    /// The steps whose ends were told: nobody needs what its host keeps of them.
    pub ended_steps: Vec<&'r str>,
    /// The step that has begun and whose end wasn't told.
    step: Option<&'r str>,
}

impl<'r> Course<'r> {
    /// Takes in an event about the task.
    pub fn take(&mut self, record: &'r Record) {
        let at = record.at;
        match &record.event {
            Event::TaskStarted { .. } => self.state = State::UnderWay(at),
            Event::ApplyStarted { attempt, step, .. } => {
                self.state = State::Applying(at);
                self.done = Done::Open { step: step.as_deref(), attempt: (*attempt).max(1), at };
                self.step = step.as_deref().or(self.step);
            }
            Event::TaskRetried { attempt, .. } => {
                self.state = State::UnderWay(at);
                self.done = Done::Tried { attempt: attempt.saturating_add(1) };
                self.ended_steps.extend(self.step.take());
            }
            Event::TaskFinished { outcome, output, .. } => {
                let was = std::mem::replace(&mut self.state, State::Ended(outcome, at));
                match outcome {
                    Outcome::Ok | Outcome::Changed { .. } => {
                        self.done = Done::Well { outcome, output: output.as_ref() };
                        self.ended_steps.extend(self.step.take());
                    }
                    // What has drifted from its plan was left as it is.
                    Outcome::Failed { failure } if failure.drifted => {
                        self.done = Done::Nothing;
                        self.ended_steps.extend(self.step.take());
                    }
                    Outcome::Failed { .. } => {
                        // It has all its attempts again, unless it was in the pause before one.
                        if matches!(self.done, Done::Open { .. } | Done::Well { .. }) {
                            self.done = Done::Tried { attempt: 1 };
                        }
                        self.ended_steps.extend(self.step.take());
                    }
                    // Its apply had begun: what is known of that stays.
                    Outcome::InDoubt { .. } => {
                        if self.done == Done::Nothing {
                            self.done = Done::Open { step: None, attempt: 1, at };
                        }
                    }
                    // It was to be applied with others, and was seen not to have been.
                    Outcome::Skipped { .. } | Outcome::Cancelled
                        if self.step.is_none() && matches!(was, State::Applying(_)) =>
                    {
                        self.done = Done::Nothing;
                    }
                    // One that is still to be picked up stays that.
                    Outcome::Skipped { .. } | Outcome::Unreachable { .. } | Outcome::Cancelled => {}
                }
            }
            _ => {}
        }
    }

    /// The run is known to have died.
    pub fn die(&mut self) {
        self.state = match self.state {
            State::UnderWay(_) => State::CutOff,
            State::Applying(_) => State::InDoubt,
            other => other,
        };
    }

    /// The run goes on, so it had died: what ended badly is tried again.
    pub fn resume(&mut self) {
        self.die();
        if !self.state.lets_on() && self.state != State::InDoubt {
            self.state = State::Waiting;
        }
    }
}

/// What became of the tasks that these events are about, by their ids.
pub fn courses<'r>(records: impl IntoIterator<Item = &'r Record>) -> BTreeMap<&'r str, Course<'r>> {
    let mut courses: BTreeMap<&str, Course<'r>> = BTreeMap::new();
    for record in records {
        if let Event::RunResumed { .. } = &record.event {
            courses.values_mut().for_each(Course::resume);
        }
        if let Some(task) = about(&record.event) {
            courses.entry(&task.id).or_default().take(record);
        }
    }
    courses
}

/// The task whose course an event is about.
pub fn about(event: &Event) -> Option<&TaskRef> {
    match event {
        Event::TaskStarted { task }
        | Event::ApplyStarted { task, .. }
        | Event::TaskRetried { task, .. }
        | Event::GateChecked { task, .. }
        | Event::TaskFinished { task, .. } => Some(task),
        _ => None,
    }
}
