//! What became of one task of a run.

use super::edge;
use crate::journal::{History, Linked, word};
use crate::report::Options;
use crate::report::diff::diff;
use crate::report::excerpt::excerpt;
use crate::report::page::{Page, Tone};
use crate::report::story::{Story, reasons};
use crate::report::text::{count, local, local_names, said, span};
use haflow_model::{EdgeKind, Event, HostName, Outcome, Record, Sources, State, Value};
use serde_json::json;

/// The most that is shown of an output, in bytes.
const MOST_SHOWN: usize = 16 << 10;

/// Columns of the time before a line.
const TIME: usize = 10;

/// Tells what a task waited for, what was seen and done, how it ended, and the tasks because of which it is
/// so.
pub(crate) fn of_run(history: &History<'_>, node: &Linked, sources: Sources, options: Options) -> String {
    let mut page = Page::new(options);
    let host: HostName = node.name.split_once('/').map_or(node.name.as_str(), |(host, _)| host).into();
    let state = history.state(&node.name);
    page.line(&[
        (Tone::Strong, &node.name),
        (Tone::Plain, "  "),
        (tone(&state), word(&state)),
        (Tone::Dim, &format!("  in run {}", history.run)),
    ]);
    page.ready(&excerpt(&node.place, &sources, options.color, options.width));
    let teller = Teller { history, host, story: Story { options, sources, timed: false } };
    teller.reason(&mut page, node, state);
    teller.waited(&mut page, node);
    teller.happened(&mut page, node, state);
    page.into_text()
}

/// The same for programs: the events about the task as the journal has them, what it waited for, and because
/// of which tasks it is as it is.
pub(crate) fn run_as_json(history: &History<'_>, node: &Linked) -> Value {
    let ended = |name: &str| match history.state(name) {
        State::Ended(_, at) => Some(at),
        _ => None,
    };
    // As the events write outcomes.
    let word = |state: &State<'_>| word(state).replace(' ', "_");
    let name = |node: &Linked| (if node.barrier { "barrier" } else { "task" }, node.name.clone());
    let link = |other: &Linked, edge| {
        let (kind, name) = name(other);
        let mut link = json!({ kind: name, "edge": edge });
        if !other.barrier {
            link["state"] = word(&history.state(&other.name)).into();
            link["ended_at"] = json!(ended(&other.name));
        }
        link
    };
    let waited =
        node.after.iter().filter_map(|before| Some(link(history.nodes.get(before.node as usize)?, before.kind)));
    let host = node.name.split_once('/').map_or(node.name.as_str(), |(host, _)| host);
    json!({
        "run": history.run,
        "task": node.name,
        "place": node.place,
        "state": word(&history.state(&node.name)),
        "waited_for": waited.collect::<Vec<_>>(),
        "last": history.last_before(node).map(|(last, _)| &last.name),
        "events": history.records(&node.name),
        "because": history.causes(node).iter().map(|cause| link(cause.node, cause.edge)).collect::<Vec<_>>(),
        "host_unreachable": history.unreachable(&host.into()),
        "interrupted_at": history.interrupted(),
        "skipped_because_of_it": history.skipped_because_of(&node.name),
    })
}

fn tone(state: &State<'_>) -> Tone {
    match state {
        State::UnderWay(_) | State::Applying(_) => Tone::Change,
        State::Waiting | State::CutOff => Tone::Dim,
        State::InDoubt => Tone::Bad,
        State::Ended(outcome, _) => match outcome {
            Outcome::Ok => Tone::Good,
            Outcome::Changed { .. } | Outcome::Cancelled => Tone::Change,
            Outcome::Skipped { .. } => Tone::Dim,
            Outcome::Failed { .. } | Outcome::Unreachable { .. } | Outcome::InDoubt { .. } => Tone::Bad,
        },
    }
}

/// How a later node hangs on this one.
fn hangs(node: &Linked, kind: EdgeKind) -> &'static str {
    if node.barrier { "all that was declared before it on its hosts" } else { edge(kind) }
}

struct Teller<'t> {
    history: &'t History<'t>,
    /// The host that is spoken of: its tasks are named without it.
    host: HostName,
    story: Story,
}

impl Teller<'_> {
    fn time(&self, at: u64) -> String {
        format!("{:>TIME$}  ", span(at.saturating_sub(self.history.began)))
    }

    /// Why it didn't do what it is for, down to the root of that.
    fn reason(&self, page: &mut Page, node: &Linked, state: State<'_>) {
        let why = match state {
            State::Ended(Outcome::Skipped { why, .. } | Outcome::Unreachable { why } | Outcome::InDoubt { why }, _) => {
                local_names(why, &self.host)
            }
            State::Ended(Outcome::Cancelled, _) => self.cancelled(),
            State::InDoubt => {
                "the run died while it was being applied: `haflow resume` looks at what came of it".to_owned()
            }
            State::CutOff => "the run died while it was being looked at; nothing was done".to_owned(),
            State::Waiting if self.history.alive => "its turn hasn't come".to_owned(),
            State::Waiting => "the run ended before its turn".to_owned(),
            _ => return,
        };
        page.blank();
        page.line(&[(Tone::Strong, "why")]);
        page.indented(2, |page| {
            let hint = self.history.unreachable(&self.host).and_then(|record| match &record.event {
                Event::HostUnreachable { hint, .. } => hint.as_deref(),
                _ => None,
            });
            reasons(page, &why, hint.filter(|_| matches!(state, State::Ended(Outcome::Unreachable { .. }, _))));
            let mut later = node;
            for cause in self.history.causes(node) {
                let name = self.name(cause.node);
                let state = self.history.state(&cause.node.name);
                let mut pieces = vec![(Tone::Dim, "after "), (Tone::Plain, &*name)];
                if !cause.node.barrier {
                    pieces.extend([(Tone::Plain, "  "), (tone(&state), word(&state))]);
                }
                let how = if later.barrier { "" } else { hangs(cause.node, cause.edge) };
                pieces.extend([(Tone::Dim, "  "), (Tone::Dim, how)]);
                page.line(&pieces);
                later = cause.node;
                page.indented(2, |page| match state {
                    State::Ended(Outcome::Failed { failure }, _) => {
                        self.story.failure(page, failure, &cause.node.place);
                    }
                    State::Ended(Outcome::InDoubt { why }, _) => self.story.reason_at(page, why, &cause.node.place),
                    State::Ended(Outcome::Cancelled, _) => page.lines(Tone::Plain, &self.cancelled()),
                    State::Ended(Outcome::Unreachable { why }, _) => page.lines(Tone::Plain, why),
                    State::UnderWay(since) | State::Applying(since) => {
                        page.lines(Tone::Plain, &format!("since {}", self.time(since).trim()));
                    }
                    _ => {}
                });
            }
        });
    }

    /// Why the run stopped before its end.
    fn cancelled(&self) -> String {
        if let Some(at) = self.history.interrupted() {
            return format!("the run was interrupted at {}", self.time(at).trim());
        }
        if let Some(what) = self.history.in_the_way() {
            let what = local(what, &self.host);
            return format!("the run begins nothing where it is known before that something fails: `{what}`");
        }
        match self.history.first_failure().filter(|_| self.history.stops.fail_fast) {
            Some((task, at)) => {
                let (task, at) = (local(task, &self.host), self.time(at));
                format!("the run begins nothing new after its first failure, `{task}` at {}", at.trim())
            }
            None => "the run was interrupted, or its journal couldn't be written".to_owned(),
        }
    }

    fn name(&self, node: &Linked) -> String {
        if node.barrier { format!("barrier \"{}\"", node.name) } else { local(&node.name, &self.host).to_owned() }
    }

    /// What comes right before it, and which of that came last.
    fn waited(&self, page: &mut Page, node: &Linked) {
        if node.after.is_empty() {
            return;
        }
        page.blank();
        page.line(&[(Tone::Strong, "what it waited for")]);
        let last = self.history.last_before(node).filter(|_| node.after.len() > 1 || self.is_behind_a_barrier(node));
        page.indented(2, |page| {
            for before in &node.after {
                let Some(other) = self.history.nodes.get(before.node as usize) else { continue };
                let name = self.name(other);
                let how = format!("  {}", hangs(other, before.kind));
                if other.barrier {
                    page.line(&[(Tone::Plain, &name), (Tone::Dim, &how)]);
                    continue;
                }
                let state = self.history.state(&other.name);
                let at = match state {
                    State::Ended(_, at) => format!(" at {}", self.time(at).trim()),
                    _ => String::new(),
                };
                page.line(&[
                    (Tone::Plain, &*name),
                    (Tone::Plain, "  "),
                    (tone(&state), word(&state)),
                    (Tone::Plain, &*at),
                    (Tone::Dim, &*how),
                ]);
            }
            if let Some((last, at)) = last {
                let what = format!("{} came last, at {}", local(&last.name, &self.host), self.time(at).trim());
                page.lines(Tone::Plain, &what);
            }
        });
    }

    fn is_behind_a_barrier(&self, node: &Linked) -> bool {
        node.after.iter().any(|before| self.history.nodes.get(before.node as usize).is_some_and(|other| other.barrier))
    }

    /// Everything that was told of it, in order.
    fn happened(&self, page: &mut Page, node: &Linked, state: State<'_>) {
        let records = self.history.records(&node.name);
        let told = matches!(state, State::Ended(Outcome::Skipped { .. } | Outcome::Cancelled, _)) && records.len() == 1;
        if records.is_empty() || told {
            return;
        }
        page.blank();
        page.line(&[(Tone::Strong, "what happened")]);
        let mut at = 0;
        while let Some(record) = records.get(at) {
            // A gate looks many times and sees the same.
            let same = records[at..].iter().take_while(|other| is_same_look(record, other)).count().max(1);
            self.step(page, record, records[at + same - 1], same);
            at += same;
        }
        let skipped = self.history.skipped_because_of(&node.name);
        if skipped > 0 {
            let were = if skipped == 1 { "was" } else { "were" };
            page.blank();
            page.lines(Tone::Plain, &format!("{} {were} skipped because of it", count(skipped, "task")));
        }
    }

    /// One event, or `times` looks of a gate of which `last` is the last.
    fn step(&self, page: &mut Page, record: &Record, last: &Record, times: usize) {
        let mut line = |tone: Tone, word: &str, rest: &str| {
            page.line(&[(Tone::Dim, &self.time(record.at)), (tone, word), (Tone::Plain, rest)]);
        };
        match &record.event {
            Event::TaskStarted { .. } => line(Tone::Plain, "begun", ""),
            Event::TaskWouldFail { .. } => line(Tone::Bad, "would fail", ", as was seen before the first change"),
            Event::ApplyStarted { attempt: 1, .. } => line(Tone::Change, "apply", ""),
            Event::ApplyStarted { attempt, .. } => line(Tone::Change, "apply", &format!(", attempt {attempt}")),
            Event::TaskRetried { attempt, of, pause_ms, .. } => {
                let what = format!(", attempt {attempt} of {of}; again in {}", span(*pause_ms));
                line(Tone::Bad, "failed", &what);
            }
            Event::GateChecked { held, times: must, .. } => {
                let until = self.time(last.at);
                let looks = if times == 1 { String::new() } else { format!(", {times} times until {}", until.trim()) };
                let held = if *held > 0 { format!(": held {held} of {must}") } else { String::new() };
                line(Tone::Plain, "looked", &format!("{looks}{held}"));
            }
            Event::TaskFinished { outcome, took_ms, .. } => {
                let state = State::Ended(outcome, record.at);
                line(tone(&state), word(&state), &format!(", after {}", span(*took_ms)));
            }
            _ => return,
        }
        page.indented(TIME + 2, |page| match &record.event {
            Event::TaskWouldFail { failure, .. } => {
                page.lines(Tone::Strong, &local_names(&failure.message, &self.host));
                Story::left(page, failure);
            }
            Event::ApplyStarted { diff: what, .. } => diff(page, &self.host, what),
            Event::TaskRetried { why, .. } => page.lines(Tone::Plain, why),
            Event::GateChecked { seen: Some(seen), .. } => page.lines(Tone::Plain, seen),
            Event::TaskFinished { outcome, output, .. } => {
                self.outcome(page, outcome);
                if let Some(output) = output {
                    let text = match output {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    page.line(&[(Tone::Dim, "output:")]);
                    let shown = text.floor_char_boundary(MOST_SHOWN);
                    page.indented(2, |page| {
                        for line in text[..shown].lines() {
                            page.line(&[(Tone::Dim, "│ "), (Tone::Plain, &said(line))]);
                        }
                    });
                    if shown < text.len() {
                        let left = format!("… {} bytes left out (--format json has all)", text.len() - shown);
                        page.line(&[(Tone::Dim, &left)]);
                    }
                }
            }
            _ => {}
        });
    }

    /// What there is to say of an outcome besides its word. What changed is told where it was applied.
    fn outcome(&self, page: &mut Page, outcome: &Outcome) {
        match outcome {
            Outcome::Failed { failure } => {
                page.lines(Tone::Strong, &local_names(&failure.message, &self.host));
                Story::left(page, failure);
            }
            Outcome::Skipped { why, .. } | Outcome::Unreachable { why } | Outcome::InDoubt { why } => {
                page.lines(Tone::Plain, &local_names(why, &self.host));
            }
            Outcome::Ok | Outcome::Changed { .. } | Outcome::Cancelled => {}
        }
    }
}

/// Whether a gate saw the same and had held as often.
fn is_same_look(one: &Record, other: &Record) -> bool {
    match (&one.event, &other.event) {
        (
            Event::GateChecked { seen: Some(one), held: 0, .. },
            Event::GateChecked { seen: Some(other), held: 0, .. },
        ) => one == other,
        _ => false,
    }
}
