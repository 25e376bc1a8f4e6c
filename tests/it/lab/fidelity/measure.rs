//! What a plan said, task by task, beside what the run after it did.

use super::states::{State, states};
use crate::common::events::Told;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One state's row in the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) state: &'static State,
    pub(crate) tasks: usize,
    pub(crate) right: usize,
    pub(crate) wrong: Vec<Miss>,
    pub(crate) assumed_right: usize,
    pub(crate) otherwise: Vec<Miss>,
    /// What was planned unknown: the task, why, and what became of it.
    pub(crate) unknown: Vec<Miss>,
}

/// A task that came otherwise than it was planned.
#[derive(Debug)]
pub(crate) struct Miss {
    pub(crate) task: String,
    /// The decision in one word.
    pub(crate) said: String,
    /// The outcome in one word.
    pub(crate) did: String,
    /// The task that failed before it, if that is why it was skipped.
    pub(crate) because: Option<String>,
    /// Both in full.
    pub(crate) whole: String,
}

/// Compares each task's decision with its outcome.
pub(crate) fn compare(state: &'static State, plan: &Told, run: &Told) -> Row {
    // Only a gate checks; an act that doesn't do what it shall has failed.
    let gates: BTreeSet<&str> = run.of("gate_checked").filter_map(|event| event["task"].as_str()).collect();
    let mut row =
        Row { state, tasks: 0, right: 0, wrong: vec![], assumed_right: 0, otherwise: vec![], unknown: vec![] };
    for planned in plan.of("task_planned") {
        let task = planned["task"].as_str().expect("it has an id");
        let ended = run.task(task);
        let (said, did) = (word(planned, "decision"), word(ended, "outcome"));
        let fits = match said {
            "up_to_date" => did == "ok",
            // A gate that would be waited for: what it comes to is what the wait is for.
            "act" if gates.contains(task) => matches!(did, "ok" | "failed"),
            "change" | "act" => did == "changed",
            "failed" | "skipped" | "unreachable" => did == said,
            _ => true,
        };
        let miss = || Miss {
            task: task.into(),
            said: said.into(),
            did: did.into(),
            because: ended["because"].as_str().map(Into::into),
            whole: format!("planned {}\n    ended   {}", detail(planned), detail(ended)),
        };
        row.tasks += 1;
        match (said, planned["assumed"].is_null(), fits) {
            ("unknown", ..) => row.unknown.push(miss()),
            (_, true, true) => row.right += 1,
            (_, true, false) => row.wrong.push(miss()),
            (_, false, true) => row.assumed_right += 1,
            (_, false, false) => row.otherwise.push(miss()),
        }
    }
    row
}

/// A task's event without what only names it.
fn detail(event: &Value) -> String {
    let mut event = event.clone();
    for key in ["event", "at", "task", "host", "kind", "name", "place", "took_ms"] {
        event.as_object_mut().expect("an event").remove(key);
    }
    let mut text = event.to_string();
    if let Some((end, _)) = text.char_indices().nth(600) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn word<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_else(|| panic!("no {key}: {event}"))
}

const HEAD: &str = "\
<!-- Written by a test: UPDATE_GOLDEN=1 cargo test -p haflow --test it fidelity -->
# Fidelity: how true plans are

Three lab hosts are taken through the states below. In each, a playbook is planned and then run, and what the
plan said is compared with what the run did, task by task. To do it again, as root on Linux:

    UPDATE_GOLDEN=1 cargo test -p haflow --test it fidelity -- --nocapture

Without `UPDATE_GOLDEN=1` the test writes no page and measures a sample of the states (all of them with
`HAFLOW_TEST_ALL=1`). It fails where

- a certain decision was wrong;
- on bare hosts more decisions are unknown than the table says, or more than a fifth, or on drifted hosts any;
- a plan for converged hosts says anything but up to date.

*Up to date* fits ok, *change* and *act* fit changed, and *failed*, *skipped* and *unreachable* fit
themselves. A gate that is planned *act* would be waited for, and fits ok and failed; *unknown* fits anything.
A decision is certain where nothing before the task would change what it was made from, and assumed otherwise;
only a certain one can be wrong.

";

/// The first two cells of a state's row.
pub(crate) fn cells(state: &State) -> String {
    let playbook = state.playbook;
    format!("| [{}](../{playbook}) | {} |", playbook.rsplit('/').next().unwrap_or(playbook), state.name)
}

/// The page. Rows of states that weren't measured now are those of the page `before`.
pub(crate) fn page(rows: &[Row], before: &str) -> String {
    let mut page = HEAD.to_owned();
    page += "| playbook | state | tasks | certain, right | certain, wrong | assumed, right | assumed, otherwise | unknown |\n";
    page += "| --- | --- | --: | --: | --: | --: | --: | --: |\n";
    let mut parts = before.split("\n## ");
    let counted = of_each(rows, parts.next().unwrap_or_default(), |row| {
        let counts = [row.tasks, row.right, row.wrong.len(), row.assumed_right, row.otherwise.len(), row.unknown.len()];
        vec![format!("{}{}", cells(row.state), counts.map(|count| format!(" {count} |")).concat())]
    });
    let mut sums = [0; 6];
    for line in &counted {
        let counts = line.trim_end_matches('|').rsplit('|').take(6).map(|count| count.trim().parse::<usize>());
        for (sum, count) in sums.iter_mut().rev().zip(counts) {
            *sum += count.expect("a number");
        }
    }
    page += &(counted.join("\n") + "\n");
    let _ = writeln!(page, "| all | |{}", sums.map(|count| format!(" {count} |")).concat());
    page += "\n## What came otherwise than assumed\n\n";
    page += "A plan says of each of these that it isn't certain, and why.\n\n";
    list(&mut page, &of_each(rows, parts.next().unwrap_or_default(), |row| lines(row, &row.otherwise)));
    page += "\n## What was unknown\n\n";
    list(&mut page, &of_each(rows, parts.next().unwrap_or_default(), |row| lines(row, &row.unknown)));
    page
}

/// The lines of each state, in their order: of those that were measured these, of others what `before` has.
fn of_each(rows: &[Row], before: &str, lines: impl Fn(&Row) -> Vec<String>) -> Vec<String> {
    let of = |state: &State| match rows.iter().find(|row| cells(row.state) == cells(state)) {
        Some(row) => lines(row),
        None => {
            before.lines().filter(|line| line.starts_with(&format!("{} ", cells(state)))).map(str::to_owned).collect()
        }
    };
    states().flat_map(of).collect()
}

fn list(page: &mut String, lines: &[String]) {
    if lines.is_empty() {
        page.push_str("Nothing.\n");
        return;
    }
    page.push_str("| playbook | state | task | planned | ended | tasks |\n| --- | --- | --- | --- | --- | --: |\n");
    page.push_str(&(lines.join("\n") + "\n"));
}

fn lines(row: &Row, of: &[Miss]) -> Vec<String> {
    // What was skipped because of the same task is told in one line.
    let mut lines: Vec<(String, &str, &str, usize)> = Vec::new();
    for miss in of {
        let what = match &miss.because {
            Some(because) => format!("after `{because}`, which failed"),
            None => format!("`{}`", miss.task),
        };
        match lines.iter_mut().find(|line| miss.because.is_some() && (&line.0, line.1) == (&what, &*miss.said)) {
            Some(line) => line.3 += 1,
            None => lines.push((what, &miss.said, &miss.did, 1)),
        }
    }
    let line = |(what, said, did, times)| format!("{} {what} | {said} | {did} | {times} |", cells(row.state));
    lines.into_iter().map(line).collect()
}
