//! What the events so far add up to.

use super::text::{said, width};
use haflow_model::{Assumed, Decision, Event, Failure, HostName, Outcome, PlanCounts, Record, RunCounts, TaskRef};
use std::collections::{HashMap, HashSet};

/// The fold of all events: what is running, what was counted, what went wrong.
#[derive(Debug, Default)]
pub(super) struct State {
    /// When haflow began to connect, or the first thing happened, in milliseconds since 1970.
    pub(super) start: Option<u64>,
    /// Whether this is a plan rather than a run.
    pub(super) plan: bool,
    pub(super) interrupted: bool,
    pub(super) ended: bool,
    /// How many tasks there are, and how many of them are done with.
    pub(super) total: usize,
    pub(super) done: usize,
    pub(super) counts: RunCounts,
    pub(super) hosts: Vec<(HostName, RunCounts)>,
    host_at: HashMap<HostName, usize>,
    /// How wide the longest host name is.
    pub(super) host_width: usize,
    pub(super) unreachable: HashSet<HostName>,
    /// In the order in which they began.
    pub(super) running: Vec<Running>,
    pub(super) wrong: Vec<Wrong>,
    pub(super) planned: Vec<PlannedTask>,
    foreseen: PlanCounts,
    /// What was said before the first change of tasks that would fail, by their ids.
    foretold: HashMap<String, String>,
}

/// A task that was decided on.
#[derive(Debug)]
pub(super) struct PlannedTask {
    pub(super) task: TaskRef,
    pub(super) decision: Decision,
    /// Why that isn't certain, where it isn't.
    pub(super) assumed: Option<Assumed>,
}

/// A task that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: TaskRef,
    /// Milliseconds since 1970.
    pub(super) since: u64,
    pub(super) phase: Phase,
    /// When it was last told that it still runs.
    pub(super) told: u64,
}

/// What a task under way is doing.
#[derive(Debug)]
pub(super) enum Phase {
    Looking,
    Applying {
        attempt: u32,
    },
    /// Applying, and this is what it last printed.
    Saying(String),
    PickingUp,
    Pausing {
        attempt: u32,
        of: u32,
        until: u64,
    },
    Gate {
        held: u32,
        times: u32,
        seen: Option<String>,
    },
}

/// What is repeated at the end.
#[derive(Debug)]
pub(super) enum Wrong {
    Task { task: TaskRef, outcome: Outcome, took_ms: u64 },
    Host { host: HostName, why: String, hint: Option<String> },
}

impl State {
    /// Milliseconds from then to `now`.
    pub(super) fn elapsed(&self, now: u64) -> u64 {
        now.saturating_sub(self.start.unwrap_or(now))
    }

    /// Whether something in the plan would keep from running what depends on it.
    pub(super) fn bars(&self) -> bool {
        self.foreseen.failed + self.foreseen.unreachable > 0
    }

    /// Whether just that was said before the first change: it is said again at the end.
    pub(super) fn was_foretold(&self, task: &TaskRef, failure: &Failure) -> bool {
        self.foretold.get(&task.id).is_some_and(|message| *message == failure.message)
    }

    /// Whether all was cancelled before anything began, for what was known by then.
    pub(super) fn nothing_began(&self) -> bool {
        let known = !self.foretold.is_empty() || self.counts.unreachable > 0 && self.counts.changed == 0;
        known && self.counts.cancelled > 0 && !self.interrupted
    }

    /// Takes in one event.
    pub(super) fn take(&mut self, record: &Record) {
        let before = match record.event {
            Event::RunStarted { connecting_ms, .. } | Event::RunResumed { connecting_ms, .. } => connecting_ms,
            _ => 0,
        };
        self.start.get_or_insert(record.at.saturating_sub(before));
        match &record.event {
            Event::RunStarted { hosts, tasks, .. } => self.begin(false, hosts, *tasks),
            Event::RunResumed { hosts, tasks, before, .. } => {
                self.begin(false, hosts, *tasks);
                for (host, counts) in before {
                    *self.counts_of(host) = *counts;
                    self.done += counts.ok + counts.changed;
                }
            }
            Event::PlanStarted { hosts, tasks, .. } => self.begin(true, hosts, *tasks),
            Event::HostConnected { .. } | Event::HostLost { .. } => {}
            Event::TaskWouldFail { task, failure } => {
                self.foretold.insert(task.id.clone(), failure.message.clone());
            }
            Event::HostUnreachable { host, why, hint } => {
                if self.unreachable.insert(host.clone()) {
                    self.wrong.push(Wrong::Host { host: host.clone(), why: why.clone(), hint: hint.clone() });
                }
            }
            Event::TaskStarted { task } => {
                let (task, at) = (task.clone(), record.at);
                self.running.push(Running { task, since: at, phase: Phase::Looking, told: at });
            }
            Event::ApplyStarted { task, attempt, .. } => {
                self.phase(task, record.at, Phase::Applying { attempt: *attempt });
            }
            Event::StepSaid { task, line } => self.phase(task, record.at, Phase::Saying(line.clone())),
            Event::PickingUp { task } => self.phase(task, record.at, Phase::PickingUp),
            Event::TaskRetried { task, attempt, of, pause_ms, .. } => {
                let until = record.at.saturating_add(*pause_ms);
                self.phase(task, record.at, Phase::Pausing { attempt: *attempt, of: *of, until });
            }
            Event::GateChecked { task, held, times, seen } => {
                let seen = seen.clone();
                self.phase(task, record.at, Phase::Gate { held: *held, times: *times, seen });
            }
            Event::TaskFinished { task, outcome, took_ms, .. } => self.finished(task, outcome, *took_ms),
            Event::TaskPlanned { task, decision, assumed } => {
                self.end(task);
                self.foreseen.add(decision);
                let (task, decision, assumed) = (task.clone(), decision.clone(), assumed.clone());
                self.planned.push(PlannedTask { task, decision, assumed });
            }
            Event::Interrupted => self.interrupted = true,
            Event::RunFinished { counts, .. } => {
                self.counts = *counts;
                self.ended = true;
            }
            Event::PlanFinished { .. } => self.ended = true,
        }
    }

    fn begin(&mut self, plan: bool, hosts: &[HostName], tasks: usize) {
        // A program may plan first and run then.
        *self = Self { start: self.start, plan, total: tasks, ..Self::default() };
        for host in hosts {
            self.counts_of(host);
        }
    }

    fn finished(&mut self, task: &TaskRef, outcome: &Outcome, took_ms: u64) {
        self.end(task);
        self.counts.add(outcome);
        self.counts_of(&task.host).add(outcome);
        let told = match outcome {
            Outcome::Failed { .. } | Outcome::InDoubt { .. } => false,
            // The host tells it for all its tasks.
            Outcome::Unreachable { .. } => !self.unreachable.insert(task.host.clone()),
            Outcome::Ok | Outcome::Changed { .. } | Outcome::Skipped { .. } | Outcome::Cancelled => true,
        };
        if !told {
            self.wrong.push(match outcome {
                Outcome::Unreachable { why } => Wrong::Host { host: task.host.clone(), why: why.clone(), hint: None },
                _ => Wrong::Task { task: task.clone(), outcome: outcome.clone(), took_ms },
            });
        }
    }

    fn end(&mut self, task: &TaskRef) {
        self.done += 1;
        self.running.retain(|running| running.task.id != task.id);
    }

    fn phase(&mut self, task: &TaskRef, at: u64, phase: Phase) {
        if let Some(running) = self.running.iter_mut().find(|running| running.task.id == task.id) {
            running.phase = phase;
        } else {
            self.running.push(Running { task: task.clone(), since: at, phase, told: at });
        }
    }

    fn counts_of(&mut self, host: &HostName) -> &mut RunCounts {
        let index = *self.host_at.entry(host.clone()).or_insert(self.hosts.len());
        if index == self.hosts.len() {
            self.host_width = self.host_width.max(width(host.as_str()));
            self.hosts.push((host.clone(), RunCounts::default()));
        }
        &mut self.hosts[index].1
    }
}

impl Running {
    /// Whether nothing of it is under way: an interrupt lets it go.
    pub(super) fn waits(&self) -> bool {
        matches!(self.phase, Phase::Pausing { .. } | Phase::Gate { .. })
    }

    /// What it is doing, in a few words; empty where there is nothing to add.
    pub(super) fn doing(&self, now: u64) -> String {
        match &self.phase {
            Phase::Looking | Phase::Applying { attempt: 0 | 1 } => String::new(),
            Phase::Saying(line) => said(line),
            Phase::PickingUp => "picking up".into(),
            Phase::Applying { attempt } => format!("attempt {attempt}"),
            Phase::Pausing { attempt, of, until } => {
                let left = until.saturating_sub(now).div_ceil(1000);
                format!("attempt {attempt} of {of} failed, again in {left} s")
            }
            Phase::Gate { held, times, seen: None } => format!("held {held} of {times}"),
            Phase::Gate { held, times, seen: Some(seen) } => format!("held {held} of {times}, saw {seen}"),
        }
    }
}
