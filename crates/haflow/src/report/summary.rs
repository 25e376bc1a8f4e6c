//! The end of a run: what failed, each host, all in all.

use super::page::{Page, Tone};
use super::state::{State, Wrong};
use super::story::{Story, reasons, title};
use super::text::{clean, count, cut_middle, pad, span, width};
use haflow_model::{Outcome, RunCounts};
use std::fmt::Write as _;

/// A column's name, its number, and how that looks.
type Column = (&'static str, fn(&RunCounts) -> usize, Tone);

/// Columns of the table, in order. The last three are there only where something was counted.
const COLUMNS: [Column; 7] = [
    ("ok", |counts| counts.ok, Tone::Good),
    ("changed", |counts| counts.changed, Tone::Change),
    ("failed", |counts| counts.failed, Tone::Bad),
    ("skipped", |counts| counts.skipped, Tone::Plain),
    ("unreachable", |counts| counts.unreachable, Tone::Bad),
    ("cancelled", |counts| counts.cancelled, Tone::Change),
    ("in doubt", |counts| counts.in_doubt, Tone::Bad),
];

/// Everything that is said when a run has ended.
pub(super) fn summary(story: &Story, state: &State, took_ms: u64) -> Page {
    let mut page = Page::new(story.options);
    wrong(story, state, &mut page);
    page.blank();
    table(state, &mut page);
    page.blank();
    let counts = &state.counts;
    let (word, tone) = match counts {
        _ if state.interrupted => ("interrupted", Tone::Bad),
        counts if counts.succeeded() => ("done", Tone::Good),
        _ => ("failed", Tone::Bad),
    };
    let parts: Vec<String> = COLUMNS
        .iter()
        .filter(|(name, of, _)| of(counts) > 0 || matches!(*name, "ok" | "changed"))
        .map(|(name, of, _)| format!("{} {name}", of(counts)))
        .collect();
    let tasks = count(state.total, "task");
    let hosts = count(state.hosts.len(), "host");
    let text = format!(": {tasks} on {hosts} in {}: {}", span(took_ms), parts.join(", "));
    page.line(&[(tone, word), (Tone::Plain, &text)]);
    page
}

/// What went wrong, in full, once more.
pub(super) fn wrong(story: &Story, state: &State, page: &mut Page) {
    for wrong in &state.wrong {
        page.blank();
        match wrong {
            Wrong::Host { host, why, hint } => {
                page.line(&[(Tone::Bad, "unreachable"), (Tone::Plain, "  "), (Tone::Strong, host.as_str())]);
                page.indented(2, |page| reasons(page, why, hint.as_deref()));
            }
            Wrong::Task { task, outcome, took_ms } => {
                let (word, time) =
                    (if matches!(outcome, Outcome::Failed { .. }) { "failed" } else { "in doubt" }, span(*took_ms));
                let (host, title) = (task.host.as_str(), title(task));
                let gap = (Tone::Plain, "  ");
                page.line(&[
                    (Tone::Bad, word),
                    gap,
                    (Tone::Strong, host),
                    gap,
                    (Tone::Plain, &title),
                    gap,
                    (Tone::Plain, &time),
                ]);
                page.indented(2, |page| match outcome {
                    Outcome::Failed { failure } => story.failure(page, failure, &task.place),
                    Outcome::InDoubt { why } => story.reason_at(page, why, &task.place),
                    _ => {}
                });
            }
        }
    }
}

/// One row for each host.
fn table(state: &State, page: &mut Page) {
    let shown: Vec<_> = COLUMNS
        .iter()
        .enumerate()
        .filter(|(index, (_, of, _))| *index < 4 || state.hosts.iter().any(|(_, counts)| of(counts) > 0))
        .map(|(_, column)| column)
        .collect();
    let numbers: usize = shown.iter().map(|(name, ..)| width(name).max(4) + 2).sum();
    let room = page.options.width.saturating_sub(numbers).max(12);
    let names: Vec<String> =
        state.hosts.iter().map(|(host, _)| cut_middle(&clean(host.as_str()), room).into_owned()).collect();
    let host_column = names.iter().map(|name| width(name)).max().unwrap_or(0).max(4);
    let mut head = pad("host", host_column);
    for (name, ..) in &shown {
        let _ = write!(head, "  {name:>0$}", width(name).max(4));
    }
    page.line(&[(Tone::Dim, &head)]);
    for (name, (_, counts)) in names.iter().zip(&state.hosts) {
        let mut cells = vec![(Tone::Plain, pad(name, host_column))];
        for (name, of, tone) in &shown {
            let number = of(counts);
            let tone = if number == 0 { Tone::Dim } else { *tone };
            cells.push((tone, format!("  {number:>0$}", width(name).max(4))));
        }
        let cells: Vec<(Tone, &str)> = cells.iter().map(|(tone, text)| (*tone, text.as_str())).collect();
        page.line(&cells);
    }
}
