//! The end of a plan: what would change.

use super::diff::diff;
use super::page::{Page, Tone};
use super::state::{State, Wrong};
use super::story::{Story, reasons, title};
use super::text::{count, pad, span};
use haflow_model::{Decision, HostName, PlanCounts, TaskRef};
use std::collections::HashMap;

/// Everything that is said when a plan is made: the numbers first, then each host.
pub(super) fn outlook(story: &Story, state: &State, counts: &PlanCounts, took_ms: u64) -> Page {
    let mut page = Page::new(story.look);
    page.blank();
    let of = format!(" of {}", state.playbook);
    let time = format!(" ({} in {})", count(state.hosts.len(), "host"), span(took_ms));
    page.line(&[(Tone::Strong, "plan"), (Tone::Plain, &of), (Tone::Dim, &time)]);
    let mut numbers = vec![format!("{} to change", counts.change)];
    for (number, word) in [
        (counts.unknown, "unknown"),
        (counts.act, "act"),
        (counts.skipped, "skipped"),
        (counts.failed, "failed"),
        (counts.unreachable, "unreachable"),
    ] {
        if number > 0 {
            numbers.push(format!("{number} {word}"));
        }
    }
    numbers.push(format!("{} up to date", counts.up_to_date));
    page.lines(Tone::Plain, &numbers.join(", "));
    let mut planned: HashMap<&HostName, Vec<&(TaskRef, Decision)>> = HashMap::new();
    for one in &state.planned {
        planned.entry(&one.0.host).or_default().push(one);
    }
    let mut fine = Vec::new();
    for (host, _) in &state.hosts {
        let planned = planned.remove(host).unwrap_or_default();
        if planned.iter().all(|(_, decision)| *decision == Decision::UpToDate) && !story.look.verbose {
            fine.push(host.as_str());
        } else {
            of_host(story, state, host, &planned, &mut page);
        }
    }
    if !fine.is_empty() {
        page.blank();
        let all = if fine.len() > FEW { format!("{} hosts", fine.len()) } else { fine.join(", ") };
        page.line(&[(Tone::Strong, &all), (Tone::Good, "  up to date")]);
    }
    page
}

/// More hosts than these aren't named where there is nothing to say of them.
const FEW: usize = 5;

fn of_host(story: &Story, state: &State, host: &HostName, planned: &[&(TaskRef, Decision)], page: &mut Page) {
    let verbose = page.look.verbose;
    let fine = planned.iter().filter(|(_, decision)| *decision == Decision::UpToDate).count();
    let unreachable = planned.iter().filter(|(_, decision)| matches!(decision, Decision::Unreachable { .. })).count();
    page.blank();
    let up_to_date = if fine > 0 { format!("  {fine} up to date") } else { String::new() };
    page.line(&[(Tone::Strong, host.as_str()), (Tone::Dim, &up_to_date)]);
    page.indented(2, |page| {
        for (task, decision) in planned {
            match decision {
                Decision::UpToDate if !verbose => {}
                Decision::Unreachable { .. } => {}
                decision => one(story, page, task, decision),
            }
        }
        let told = |wrong: &&Wrong| matches!(wrong, Wrong::Host { host: other, .. } if other == host);
        let why = planned.iter().find_map(|(_, decision)| match decision {
            Decision::Unreachable { why } => Some(why.as_str()),
            _ => None,
        });
        let (why, hint) = match state.wrong.iter().find(told) {
            Some(Wrong::Host { why, hint, .. }) => (Some(why.as_str()), hint.as_deref()),
            _ => (why, None),
        };
        if let Some(why) = why {
            let tasks = format!("  {}", count(unreachable, "task"));
            page.line(&[(Tone::Bad, "unreachable"), (Tone::Plain, &tasks)]);
            page.indented(DETAIL, |page| reasons(page, why, hint));
        }
    });
}

/// How far the reason of a decision stands in.
const DETAIL: usize = 4;

fn one(story: &Story, page: &mut Page, task: &TaskRef, decision: &Decision) {
    let (word, tone) = match decision {
        Decision::UpToDate => ("up to date", Tone::Good),
        Decision::Change { .. } => ("change", Tone::Change),
        Decision::Unknown { .. } => ("unknown", Tone::Change),
        Decision::Act { .. } => ("act", Tone::Change),
        Decision::Skipped { .. } => ("skipped", Tone::Dim),
        Decision::Failed { .. } => ("failed", Tone::Bad),
        Decision::Unreachable { .. } => ("unreachable", Tone::Bad),
    };
    let columns = if page.look.verbose { 10 } else { 7 };
    page.line(&[(tone, &pad(word, columns)), (Tone::Plain, "  "), (Tone::Plain, &title(task))]);
    page.indented(DETAIL, |page| match decision {
        Decision::Change { diff: what } => diff(page, what),
        Decision::Unknown { because, why } => {
            page.lines(Tone::Plain, &format!("{why} (because of {because})"));
        }
        Decision::Act { reason } => page.lines(Tone::Plain, &format!("always runs: {reason}")),
        Decision::Skipped { why } | Decision::Unreachable { why } => page.lines(Tone::Plain, why),
        Decision::Failed { failure } => story.failure(page, failure, &task.place),
        Decision::UpToDate => {}
    });
}
