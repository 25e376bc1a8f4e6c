//! The end of a plan: what would change.

use super::diff::diff;
use super::page::{Page, Tone};
use super::state::{PlannedTask, State, Wrong};
use super::story::{Story, reasons, title};
use super::text::{count, pad, span};
use haflow_model::{Assumed, Decision, HostName, PlanCounts};
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
    let assumed = state.planned.iter().filter(|planned| planned.assumed.is_some() && is_fine(planned)).count();
    if assumed > 0 {
        let (are, them) = if assumed == 1 { ("is", "it") } else { ("are", "them") };
        page.lines(
            Tone::Plain,
            &format!("{assumed} of those up to date {are} so now, and a change comes before {them}: a run looks again"),
        );
    }
    let mut planned: HashMap<&HostName, Vec<&PlannedTask>> = HashMap::new();
    for one in &state.planned {
        planned.entry(&one.task.host).or_default().push(one);
    }
    let mut fine = Vec::new();
    for (host, _) in &state.hosts {
        let planned = planned.remove(host).unwrap_or_default();
        if planned.iter().all(|planned| is_fine(planned) && planned.assumed.is_none()) && !story.look.verbose {
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

fn is_fine(planned: &PlannedTask) -> bool {
    planned.decision == Decision::UpToDate
}

/// More hosts than these aren't named where there is nothing to say of them.
const FEW: usize = 5;

fn of_host(story: &Story, state: &State, host: &HostName, planned: &[&PlannedTask], page: &mut Page) {
    let verbose = page.look.verbose;
    let fine = planned.iter().filter(|planned| is_fine(planned)).count();
    let assumed = planned.iter().filter(|planned| is_fine(planned) && planned.assumed.is_some()).count();
    let is_unreachable = |planned: &&&PlannedTask| matches!(planned.decision, Decision::Unreachable { .. });
    let unreachable = planned.iter().filter(is_unreachable).count();
    page.blank();
    let up_to_date = match (fine, assumed) {
        (0, _) => String::new(),
        (fine, 0) => format!("  {fine} up to date"),
        (fine, assumed) => format!("  {fine} up to date, {assumed} of them only as things are now"),
    };
    page.line(&[(Tone::Strong, host.as_str()), (Tone::Dim, &up_to_date)]);
    page.indented(2, |page| {
        for planned in planned {
            match planned.decision {
                Decision::UpToDate if !verbose => {}
                Decision::Unreachable { .. } => {}
                _ => one(story, page, planned),
            }
        }
        let told = |wrong: &&Wrong| matches!(wrong, Wrong::Host { host: other, .. } if other == host);
        let why = planned.iter().find_map(|planned| match &planned.decision {
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

fn one(story: &Story, page: &mut Page, planned: &PlannedTask) {
    let PlannedTask { task, decision, assumed } = planned;
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
        Decision::Act { reason } => page.lines(Tone::Plain, reason),
        Decision::Skipped { why } | Decision::Unreachable { why } => page.lines(Tone::Plain, why),
        Decision::Failed { failure } => story.failure(page, failure, &task.place),
        Decision::UpToDate => {
            if let Some(Assumed { because, .. }) = assumed {
                page.lines(Tone::Dim, &format!("as things are now; {because} comes first"));
            }
        }
    });
}
