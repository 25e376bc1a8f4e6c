//! One event → the lines that tell it.

use super::diff::diff;
use super::excerpt::excerpt;
use super::page::{Options, Page, Tone};
use super::state::{Running, State, Wrong};
use super::text::{clean, count, cut, cut_middle, pad, said, seconds, span, width, wrap};
use haflow_model::{Event, Failure, HostName, Outcome, Place, Record, Sources, TaskRef};

/// Host names are padded to at most as many columns.
const HOST: usize = 24;
/// The widest of the words that lines begin with.
const WORD: usize = 11;
/// More tasks than this that are waited for are told as a number.
const WAITED_FOR: usize = 10;

/// How events are told: with or without the time before each line.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) options: Options,
    pub(super) sources: Sources,
    pub(super) timed: bool,
}

impl Story {
    /// What is to be told of an event that the state has taken in already; often nothing.
    pub(super) fn event(&self, state: &State, record: &Record) -> Option<Page> {
        let line = |word, tone, host| self.line(state, record.at, word, tone, host);
        let verbose = self.options.verbose;
        match &record.event {
            Event::RunStarted { playbook, hosts, tasks, .. } => {
                let of = format!("{playbook}: {} on {}", count(*tasks, "task"), count(hosts.len(), "host"));
                Some(self.free(state, record.at, "run", &of))
            }
            Event::RunResumed { playbook, tasks, before, .. } => {
                let done: usize = before.values().map(|counts| counts.ok + counts.changed).sum();
                let of = format!("{playbook}: {done} of {} done before", count(*tasks, "task"));
                Some(self.free(state, record.at, "resumed", &of))
            }
            Event::PlanStarted { playbook, hosts, tasks } => {
                let of = format!("{playbook}: {} on {}", count(*tasks, "task"), count(hosts.len(), "host"));
                Some(self.free(state, record.at, "plan", &of))
            }
            // A plan is short where there is nothing to say.
            Event::HostConnected { .. } if state.plan && !verbose => None,
            Event::HostConnected { host, took_ms } => {
                Some(line("connected", Tone::Plain, host).with("in ", &span(*took_ms)))
            }
            Event::HostUnreachable { host, why, hint } => {
                let mut page = line("unreachable", Tone::Bad, host).page();
                page.indented(self.margin(), |page| reasons(page, why, hint.as_deref()));
                Some(page)
            }
            Event::HostLost { host, why } => Some(
                line("lost", Tone::Change, host)
                    .with("the connection, and tries for it: ", why.lines().last().unwrap_or_default()),
            ),
            Event::TaskWouldFail { task, failure } => {
                let mut page = line("would fail", Tone::Bad, &task.host).with(&title(task), "");
                page.indented(self.margin(), |page| self.failure(page, failure, &task.place));
                Some(page)
            }
            Event::PickingUp { task } => {
                Some(line("picking up", Tone::Plain, &task.host).with(&title(task), ": waiting for its result"))
            }
            Event::TaskRetried { task, attempt, of, pause_ms, why } => {
                let what = format!("attempt {attempt} of {of} failed, again in {}", span(*pause_ms));
                let mut page = line("retry", Tone::Change, &task.host).with(&title(task), &format!(": {what}"));
                page.indented(self.margin(), |page| page.lines(Tone::Plain, why));
                Some(page)
            }
            Event::StepSaid { task, line: last } if verbose => {
                Some(line("running", Tone::Plain, &task.host).with(&title(task), &format!(": {}", said(last))))
            }
            Event::GateChecked { task, held, times, seen } if verbose => {
                let seen = seen.as_ref().map_or(String::new(), |seen| format!(", saw {seen}"));
                let what = format!(": held {held} of {times}{seen}");
                Some(line("gate", Tone::Plain, &task.host).with(&title(task), &what))
            }
            Event::TaskFinished { task, outcome, took_ms, .. } => {
                self.finished(state, record.at, task, outcome, *took_ms)
            }
            Event::Interrupted => {
                let what = "waiting for what is running; interrupt again to kill it";
                let mut page = self.free(state, record.at, "interrupted", what);
                // A task that only waits is left out.
                let running = state.running.iter().filter(|running| !running.waits());
                let names: Vec<_> =
                    running.map(|running| format!("{}  {}", running.task.host, title(&running.task))).collect();
                page.indented(self.margin(), |page| {
                    for name in names.iter().take(WAITED_FOR) {
                        page.lines(Tone::Plain, name);
                    }
                    if names.len() > WAITED_FOR {
                        page.lines(Tone::Plain, &format!("… and {} more", names.len() - WAITED_FOR));
                    }
                });
                Some(page)
            }
            Event::GateChecked { .. }
            | Event::TaskStarted { .. }
            | Event::ApplyStarted { .. }
            | Event::StepSaid { .. }
            | Event::TaskPlanned { .. }
            | Event::RunFinished { .. }
            | Event::PlanFinished { .. } => None,
        }
    }

    fn finished(&self, state: &State, at: u64, task: &TaskRef, outcome: &Outcome, took_ms: u64) -> Option<Page> {
        let line = |word, tone| self.line(state, at, word, tone, &task.host);
        let title = title(task);
        let took = format!("  {}", span(took_ms));
        Some(match outcome {
            Outcome::Ok if self.options.verbose => line("ok", Tone::Good).with(&title, &took),
            Outcome::Changed { diff: what } => {
                let mut page = line("changed", Tone::Change).with(&title, &took);
                page.indented(self.margin(), |page| diff(page, &task.host, what));
                page
            }
            Outcome::Failed { failure: what } if state.was_foretold(task, what) => {
                line("failed", Tone::Bad).with(&title, &format!("{took}, as was foreseen"))
            }
            Outcome::Failed { failure: what } => {
                let mut page = line("failed", Tone::Bad).with(&title, &took);
                page.indented(self.margin(), |page| self.failure(page, what, &task.place));
                page
            }
            Outcome::InDoubt { why } => {
                let mut page = line("in doubt", Tone::Bad).with(&title, &took);
                page.indented(self.margin(), |page| self.reason_at(page, why, &task.place));
                page
            }
            Outcome::Skipped { why, because } => {
                let because = because.as_ref().filter(|id| !why.contains(id.as_str()));
                let because = because.map_or(String::new(), |id| format!(" ({id})"));
                line("skipped", Tone::Dim).with(&title, &format!(": {why}{because}"))
            }
            // Where the host hasn't been told of before.
            Outcome::Unreachable { why } if first_to_tell(state, task) => {
                let mut page = line("unreachable", Tone::Bad).page();
                page.indented(self.margin(), |page| reasons(page, why, None));
                page
            }
            Outcome::Unreachable { .. } if self.options.verbose => line("unreachable", Tone::Bad).with(&title, ""),
            Outcome::Cancelled if self.options.verbose => line("cancelled", Tone::Change).with(&title, ""),
            Outcome::Ok | Outcome::Unreachable { .. } | Outcome::Cancelled => return None,
        })
    }

    fn line<'a>(&'a self, state: &'a State, at: u64, word: &'a str, tone: Tone, host: &'a HostName) -> Line<'a> {
        Line { story: self, state, at, word, tone, host }
    }

    /// A line that is about no host.
    fn free(&self, state: &State, at: u64, word: &str, text: &str) -> Page {
        let mut page = Page::new(self.options);
        let (time, word) = (self.time(state, at), pad(word, WORD));
        page.line(&[(Tone::Dim, &time), (Tone::Strong, &word), (Tone::Plain, "  "), (Tone::Plain, text)]);
        page
    }

    /// That a task still runs.
    pub(super) fn still_running(&self, state: &State, now: u64, running: &Running) -> Page {
        let line = self.line(state, now, "running", Tone::Plain, &running.task.host);
        let doing = Some(running.doing(now)).filter(|doing| !doing.is_empty());
        let doing = doing.map_or(String::new(), |doing| format!(", {doing}"));
        let since = seconds(now.saturating_sub(running.since));
        line.with(&title(&running.task), &format!(": still running, {since}{doing}"))
    }

    /// Everything that is known about a failure but its task.
    pub(super) fn failure(&self, page: &mut Page, failure: &Failure, place: &Place) {
        self.reason_at(page, &failure.message, place);
        Self::left(page, failure);
    }

    /// What a script left that failed, and what to do.
    pub(super) fn left(page: &mut Page, failure: &Failure) {
        if let Some(exit) = failure.exit {
            page.line(&[(Tone::Plain, &format!("exit code {exit}"))]);
        }
        for (stream, text) in [("stdout", &failure.stdout), ("stderr", &failure.stderr)] {
            let lines = text.lines().count();
            if lines > 0 {
                let lines = if lines == 1 { "the last line".to_owned() } else { format!("the last {lines} lines") };
                page.line(&[(Tone::Dim, &format!("{stream}, {lines}:"))]);
                page.indented(2, |page| {
                    for line in text.lines() {
                        page.line(&[(Tone::Dim, "│ "), (Tone::Plain, &said(line))]);
                    }
                });
            }
        }
        if let Some(hint) = &failure.hint {
            help(page, hint);
        }
    }

    /// What was seen, and the line of the playbook.
    pub(super) fn reason_at(&self, page: &mut Page, why: &str, place: &Place) {
        page.lines(Tone::Strong, why);
        page.ready(&excerpt(place, &self.sources, self.options.color, page.room()));
    }

    fn time(&self, state: &State, at: u64) -> String {
        let tenths = state.elapsed(at) / 100;
        if self.timed { format!("{:>6}.{} s  ", tenths / 10, tenths % 10) } else { String::new() }
    }

    /// How far details stand in.
    fn margin(&self) -> usize {
        if self.timed { 12 } else { 2 }
    }
}

/// A line about a host.
struct Line<'a> {
    story: &'a Story,
    state: &'a State,
    at: u64,
    word: &'a str,
    tone: Tone,
    host: &'a HostName,
}

impl Line<'_> {
    fn page(&self) -> Page {
        self.with("", "")
    }

    /// Task and what there is to say: on one line if it fits, otherwise below.
    fn with(&self, title: &str, text: &str) -> Page {
        let mut page = Page::new(self.story.options);
        let time = self.story.time(self.state, self.at);
        let word = pad(self.word, WORD);
        let column = host_column(self.state);
        let (host, title) = (clean(self.host.as_str()), clean(title));
        // A terminal's lines stay in their columns; a file keeps names whole, to be searched for.
        let (host, title) = if self.story.timed {
            (host, title)
        } else {
            let room = self.story.options.width.saturating_sub(WORD + column + 4 + width(text).min(12)).max(20);
            (cut_middle(&host, column), cut_middle(&title, room))
        };
        let host = pad(&host, column);
        let gap = (Tone::Plain, "  ");
        let head = [(Tone::Dim, &*time), (self.tone, &*word), gap, (Tone::Plain, &*host), gap, (Tone::Plain, &*title)];
        let used: usize = head.iter().map(|(_, text)| width(text)).sum();
        if used + width(text) <= self.story.options.width || text.len() < 12 {
            page.line(&[&head[..], &[(Tone::Plain, text)]].concat());
        } else {
            page.line(&head);
            page.indented(self.story.margin(), |page| page.lines(Tone::Plain, text.trim_start_matches([':', ' '])));
        }
        page
    }
}

/// Whether the task is the first that tells that its host can't be reached.
fn first_to_tell(state: &State, task: &TaskRef) -> bool {
    let of_host = state.hosts.iter().find(|(host, _)| *host == task.host).map_or(0, |(_, counts)| counts.unreachable);
    let told = |wrong: &Wrong| matches!(wrong, Wrong::Host { host, hint: None, .. } if *host == task.host);
    of_host == 1 && state.wrong.last().is_some_and(told)
}

/// A task's kind and name.
pub(super) fn title(task: &TaskRef) -> String {
    format!("{} {}", task.kind, task.name)
}

fn host_column(state: &State) -> usize {
    state.host_width.min(HOST)
}

/// What was seen, and what to do.
pub(super) fn reasons(page: &mut Page, why: &str, hint: Option<&str>) {
    page.lines(Tone::Strong, why);
    if let Some(hint) = hint {
        help(page, hint);
    }
}

fn help(page: &mut Page, hint: &str) {
    let room = page.room().saturating_sub(6);
    for (index, line) in hint.lines().flat_map(|line| wrap(&clean(line), room)).enumerate() {
        page.line(&[(Tone::Good, if index == 0 { "help: " } else { "      " }), (Tone::Plain, &line)]);
    }
}

/// The rows of what is running now, the longest first, each at most `columns` wide.
pub(super) fn rows(state: &State, now: u64, columns: usize, most: usize) -> Vec<String> {
    let shown = if state.running.len() > most { most.saturating_sub(1) } else { state.running.len() };
    let host_columns = host_column(state).min(columns / 4);
    let mut rows: Vec<String> = state.running[..shown]
        .iter()
        .map(|running| {
            let host = pad(&cut_middle(&clean(running.task.host.as_str()), host_columns), host_columns);
            let since = seconds(now.saturating_sub(running.since));
            let doing = running.doing(now);
            let title = title(&running.task);
            // What it is doing may take half of the rest, and the name what that leaves.
            let rest = columns.saturating_sub(host_columns + 18);
            let left = rest.saturating_sub(width(&clean(&title)));
            let doing_room = if doing.is_empty() { 0 } else { left.max(rest / 2) };
            let doing = cut(&clean(&doing), doing_room).into_owned();
            let title = cut(&clean(&title), rest.saturating_sub(width(&doing))).into_owned();
            let row = format!("  {host}  {since:>10}  {title}  {doing}");
            cut(row.trim_end(), columns).into_owned()
        })
        .collect();
    if most > 0 && shown < state.running.len() {
        rows.push(format!("  … and {} more", state.running.len() - shown));
    }
    rows
}
