//! The end of a plan: what would change.

use super::diff::diff;
use super::page::{Page, Tone};
use super::state::{PlannedTask, State, Wrong};
use super::story::{Story, reasons, title};
use super::text::{clean, count, cut, cut_middle, local, local_names, pad, span, width, wrap};
use haflow_model::{Assumed, Decision, HostName, PlanCounts, TaskRef};
use std::collections::{BTreeSet, HashMap};

/// Everything that is said when a plan is made: the numbers first, then each host, then what takes longest.
pub(super) fn outlook(story: &Story, state: &State, counts: &PlanCounts, path: &[String], took_ms: u64) -> Page {
    let mut page = Page::new(story.options);
    let idle = counts.change + counts.unknown + counts.act + counts.failed + counts.unreachable == 0;
    if idle && !story.options.verbose {
        nothing(state, counts, took_ms, &mut page);
        return page;
    }
    page.blank();
    if idle {
        nothing(state, counts, took_ms, &mut page);
    } else {
        numbers(state, counts, took_ms, &mut page);
    }
    would_fail(story, state, &mut page);
    let mut planned: HashMap<&HostName, Vec<&PlannedTask>> = HashMap::new();
    for one in state.planned.iter().filter(|planned| !fails(planned)) {
        planned.entry(&one.task.host).or_default().push(one);
    }
    let (mut fine, mut of_fine) = (Vec::new(), Vec::new());
    for (host, _) in &state.hosts {
        let planned = planned.remove(host).unwrap_or_default();
        if planned.is_empty() {
            // It was told what would fail there, and there is nothing else.
        } else if planned.iter().all(|planned| is_quiet(state, planned)) && !story.options.verbose {
            fine.push(host.as_str());
            of_fine.extend(planned);
        } else {
            of_host(story, state, host, &planned, &mut page);
        }
    }
    if !fine.is_empty() {
        page.blank();
        let all = if fine.len() > FEW { format!("{} hosts", fine.len()) } else { fine.join(", ") };
        page.line(&[(Tone::Strong, &all), (Tone::Dim, &quiet(state, &of_fine))]);
    }
    critical_path(story, state, path, &mut page);
    page
}

/// More hosts than these aren't named where there is nothing to say of them.
const FEW: usize = 5;

fn nothing(state: &State, counts: &PlanCounts, took_ms: u64, page: &mut Page) {
    let are = if counts.up_to_date == 1 { "is" } else { "are" };
    let skipped = if counts.skipped > 0 { format!(", {} skipped", counts.skipped) } else { String::new() };
    let on = format!("{} on {}", count(counts.up_to_date, "task"), count(state.hosts.len(), "host"));
    let what = if state.total == 0 { "no tasks".into() } else { format!("{on} {are} up to date{skipped}") };
    let text = format!(": {what} ({})", span(took_ms));
    headed(page, Tone::Good, "nothing to change", &text);
}

fn numbers(state: &State, counts: &PlanCounts, took_ms: u64, page: &mut Page) {
    let mut numbers = Vec::new();
    if counts.failed > 0 {
        numbers.push(format!("{} would fail", counts.failed));
    }
    numbers.push(format!("{} to change", counts.change));
    for (number, word) in [
        (counts.unknown, "unknown"),
        (counts.act, "act"),
        (counts.skipped, "skipped"),
        (counts.unreachable, "unreachable"),
    ] {
        if number > 0 {
            numbers.push(format!("{number} {word}"));
        }
    }
    numbers.push(format!("{} up to date", counts.up_to_date));
    headed(page, Tone::Strong, "plan", &format!(": {} ({})", numbers.join(", "), span(took_ms)));
    let assumed = state.planned.iter().filter(|planned| planned.assumed.is_some()).count();
    if assumed > 0 {
        let (are, them) = if assumed == 1 { ("is", "it") } else { ("are", "them") };
        let text =
            format!("{assumed} of these {are} assumed, for a change before {them} or for what is said with {them}");
        page.lines(Tone::Plain, &text);
        let fail_now = |planned: &&PlannedTask| planned.assumed.as_ref().is_some_and(|why| why.fails_now.is_some());
        match state.planned.iter().filter(fail_now).count() {
            0 => {}
            number => page.lines(Tone::Change, &format!("{number} of them would fail as things are now")),
        }
    }
}

fn fails(planned: &PlannedTask) -> bool {
    matches!(planned.decision, Decision::Failed { .. })
}

/// What would fail, on all hosts, each with its reason and what to do.
fn would_fail(story: &Story, state: &State, page: &mut Page) {
    let failing: Vec<&PlannedTask> = state.planned.iter().filter(|planned| fails(planned)).collect();
    if failing.is_empty() {
        return;
    }
    page.blank();
    page.line(&[(Tone::Bad, "would fail"), (Tone::Plain, &format!(": {}", failing.len()))]);
    page.indented(2, |page| {
        for planned in failing {
            let title = format!("{}  {}", planned.task.host, title(&planned.task));
            let title = if story.timed { title.into() } else { cut_middle(&title, page.room()) };
            page.line(&[(Tone::Bad, &title)]);
            if let Decision::Failed { failure } = &planned.decision {
                page.indented(DETAIL, |page| story.failure(page, failure, &planned.task.place));
            }
        }
    });
}

/// A text with its first words in a tone.
fn headed(page: &mut Page, tone: Tone, head: &str, text: &str) {
    for (index, line) in wrap(&format!("{head}{text}"), page.room()).iter().enumerate() {
        match line.strip_prefix(head).filter(|_| index == 0) {
            Some(rest) => page.line(&[(tone, head), (Tone::Plain, rest)]),
            None => page.line(&[(Tone::Plain, line)]),
        }
    }
}

/// Whether there is nothing to say of a task. Where something would fail, it is told what that leaves undone.
fn is_quiet(state: &State, planned: &PlannedTask) -> bool {
    match planned.decision {
        Decision::UpToDate => true,
        Decision::Skipped { .. } => !state.bars(),
        _ => false,
    }
}

/// How many of a host's tasks, or of several hosts', there is nothing to say of.
fn quiet(state: &State, planned: &[&PlannedTask]) -> String {
    let number = |is: fn(&Decision) -> bool| planned.iter().filter(|planned| is(&planned.decision)).count();
    let is_fine = |planned: &&&PlannedTask| planned.decision == Decision::UpToDate && planned.assumed.is_some();
    let mut parts = Vec::new();
    match (number(|decision| *decision == Decision::UpToDate), planned.iter().filter(is_fine).count()) {
        (0, _) => {}
        (fine, 0) => parts.push(format!("{fine} up to date")),
        (fine, assumed) => parts.push(format!("{fine} up to date ({assumed} assumed)")),
    }
    match number(|decision| matches!(decision, Decision::Skipped { .. })) {
        0 => {}
        _ if state.bars() => {}
        skipped => parts.push(format!("{skipped} skipped")),
    }
    if parts.is_empty() { String::new() } else { format!("  {}", parts.join(", ")) }
}

fn of_host(story: &Story, state: &State, host: &HostName, planned: &[&PlannedTask], page: &mut Page) {
    let verbose = page.options.verbose;
    let is_unreachable = |planned: &&&PlannedTask| matches!(planned.decision, Decision::Unreachable { .. });
    let unreachable = planned.iter().filter(is_unreachable).count();
    page.blank();
    page.line(&[(Tone::Strong, host.as_str()), (Tone::Dim, &quiet(state, planned))]);
    page.indented(2, |page| {
        for planned in planned {
            match planned.decision {
                Decision::Unreachable { .. } => {}
                Decision::UpToDate | Decision::Skipped { .. } if !verbose => {}
                _ => one(story, page, planned),
            }
        }
        if state.bars() && !verbose {
            skipped(host, planned, page);
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

/// How many tasks of a host would be skipped for each reason.
fn skipped(host: &HostName, planned: &[&PlannedTask], page: &mut Page) {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for planned in planned {
        if let Decision::Skipped { why } = &planned.decision {
            match reasons.iter_mut().find(|(reason, _)| reason == why) {
                Some((_, number)) => *number += 1,
                None => reasons.push((why, 1)),
            }
        }
    }
    for (why, number) in reasons {
        page.line(&[(Tone::Dim, "skipped"), (Tone::Plain, "  "), (Tone::Plain, &count(number, "task"))]);
        page.indented(DETAIL, |page| page.lines(Tone::Plain, &local_names(why, host)));
    }
}

/// How far the reason of a decision stands in.
const DETAIL: usize = 4;

/// The word for a decision.
pub(super) fn word(decision: &Decision) -> (&'static str, Tone) {
    match decision {
        Decision::UpToDate => ("up to date", Tone::Good),
        Decision::Change { .. } => ("change", Tone::Change),
        Decision::Unknown { .. } => ("unknown", Tone::Change),
        Decision::Act { .. } => ("act", Tone::Change),
        Decision::Skipped { .. } => ("skipped", Tone::Dim),
        Decision::Failed { .. } => ("would fail", Tone::Bad),
        Decision::Unreachable { .. } => ("unreachable", Tone::Bad),
    }
}

fn one(story: &Story, page: &mut Page, planned: &PlannedTask) {
    let PlannedTask { task, decision, assumed } = planned;
    let (word, tone) = word(decision);
    let columns = if page.options.verbose { 10 } else { 7 };
    let title = title(task);
    // A terminal's lines stay in their columns; a file keeps names whole, to be searched for.
    let title = if story.timed { title.into() } else { cut_middle(&title, page.room().saturating_sub(columns + 2)) };
    page.line(&[(tone, &pad(word, columns)), (Tone::Plain, "  "), (Tone::Plain, &title)]);
    let host = &task.host;
    page.indented(DETAIL, |page| {
        let reason = match decision {
            Decision::Act { reason } | Decision::Skipped { why: reason } => Some(reason),
            _ => None,
        };
        match (reason, assumed) {
            // It says because of what already.
            (Some(reason), Some(assumed)) if reason.contains(&assumed.because) => {
                page.lines(Tone::Plain, &format!("assumed: {}", local_names(reason, host)));
            }
            (_, assumed) => {
                if let Some(assumed) = assumed {
                    because_of(page, assumed, task);
                }
                if let Some(reason) = reason {
                    page.lines(Tone::Plain, &local_names(reason, host));
                }
            }
        }
        match decision {
            Decision::Change { diff: what } => diff(page, host, what),
            Decision::Unknown { because, why } => {
                let text = format!("because of `{}`: {}", local(because, host), local_names(why, host));
                short(page, Tone::Plain, &text, 2);
            }
            // What would fail was told first.
            Decision::Failed { .. }
            | Decision::UpToDate
            | Decision::Act { .. }
            | Decision::Skipped { .. }
            | Decision::Unreachable { .. } => {}
        }
    });
}

/// Why a decision isn't certain.
fn because_of(page: &mut Page, assumed: &Assumed, task: &TaskRef) {
    let host = &task.host;
    let because = local(&assumed.because, host);
    let why = local_names(&assumed.why, host);
    let text = match page.options.verbose {
        // Its own doing is what isn't known.
        _ if assumed.because == task.id => format!("assumed: {why}"),
        true if assumed.why.contains(&assumed.because) => format!("assumed: {why}"),
        true => format!("assumed because of `{because}`: {why}"),
        false => format!("assumed because of `{because}`"),
    };
    short(page, Tone::Dim, &text, 2);
    if let Some(fails_now) = &assumed.fails_now {
        let message = local_names(&fails_now.message, host);
        short(page, Tone::Change, &format!("as things are now, it would fail: {message}"), 2);
    }
}

/// What takes no more than a few lines where not everything is asked for.
fn short(page: &mut Page, tone: Tone, text: &str, most: usize) {
    let room = page.room();
    let mut lines = wrap(&clean(text), room);
    if !page.options.verbose && lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        // A line that is cut ends in a sign of it.
        lines.push(cut(&rest, room).into_owned());
    }
    for line in lines {
        page.line(&[(tone, &line)]);
    }
}

/// How many tasks at either end of a long path are named where not everything is asked for.
const ENDS: usize = 3;

/// The longest path of tasks that wait for one another: more hosts at a time don't make it shorter.
fn critical_path(story: &Story, state: &State, path: &[String], page: &mut Page) {
    if path.len() < 2 {
        return;
    }
    let known: HashMap<&str, &HostName> =
        state.planned.iter().map(|planned| (planned.task.id.as_str(), &planned.task.host)).collect();
    let hosts: BTreeSet<_> = path.iter().filter_map(|id| known.get(id.as_str())).collect();
    let left_out = if story.options.verbose || path.len() <= 2 * ENDS + 1 { 0..0 } else { ENDS..path.len() - ENDS };
    let mut pieces = Vec::new();
    let mut before = None;
    for (index, id) in path.iter().enumerate() {
        if left_out.contains(&index) {
            if index == left_out.start {
                pieces.push(format!("… {} more …", left_out.len()));
            }
            before = None;
            continue;
        }
        let host = known.get(id.as_str()).copied();
        // The host is said where it is another one.
        pieces.push(match host {
            Some(host) if before == Some(host) => local(id, host).to_owned(),
            _ => id.clone(),
        });
        before = host;
    }
    page.blank();
    let tasks = format!(": {} on {}:", count(path.len(), "task"), count(hosts.len(), "host"));
    page.line(&[(Tone::Strong, "critical path"), (Tone::Plain, &tasks)]);
    page.indented(2, |page| {
        let room = page.room();
        let mut line = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            let piece = clean(piece);
            let piece = if index == 0 { piece.into_owned() } else { format!("→ {piece}") };
            let piece = if story.timed { piece } else { cut_middle(&piece, room).into_owned() };
            if !line.is_empty() && width(&line) + 1 + width(&piece) > room {
                page.line(&[(Tone::Plain, &line)]);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += &piece;
        }
        page.line(&[(Tone::Plain, &line)]);
    });
}
