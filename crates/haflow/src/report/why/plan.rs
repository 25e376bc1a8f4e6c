//! What is behind one decision of a kept plan.

use super::edge;
use crate::plan_file::{Saved, SavedNode, SavedTask};
use crate::report::Options;
use crate::report::diff::diff;
use crate::report::excerpt::excerpt;
use crate::report::outlook::word;
use crate::report::page::{Page, Tone};
use crate::report::story::Story;
use crate::report::text::{local, local_names};
use haflow_model::{Decision, HostName, Sources};
use std::collections::{BTreeSet, HashMap};

/// Of the standard facts, those by which playbooks choose.
const TOLD: [&str; 6] = ["os", "os_version", "os_family", "packages", "init", "hostname"];

/// Explains the decision on `node`: what was seen, because of which tasks it isn't certain, what it waits
/// for, and the facts of its host that the playbook asked for.
pub(crate) fn of_plan(saved: &Saved, node: &SavedNode, sources: &Sources, options: Options) -> String {
    let mut page = Page::new(options);
    let Some(planned) = &node.planned else { return String::new() };
    let host: HostName = node.name.split_once('/').map_or(node.name.as_str(), |(host, _)| host).into();
    headline(&mut page, node, planned);
    page.ready(&excerpt(&node.place, sources, options.color, options.width));
    page.blank();
    seen(&mut page, &host, planned);
    reasons(&mut page, saved, &host, planned);
    waits(&mut page, saved, node, &host);
    facts(&mut page, saved, &host);
    page.into_text()
}

fn headline(page: &mut Page, node: &SavedNode, planned: &SavedTask) {
    let (word, tone) = word(&planned.decision);
    let sure = if planned.assumed.is_some() {
        ", assumed"
    } else if is_open(planned) {
        ""
    } else {
        ", certain"
    };
    page.line(&[(Tone::Strong, &node.name), (Tone::Plain, "  "), (tone, word), (Tone::Plain, sure)]);
}

fn is_open(planned: &SavedTask) -> bool {
    matches!(planned.decision, Decision::Unknown { .. })
}

fn seen(page: &mut Page, host: &HostName, planned: &SavedTask) {
    page.line(&[(Tone::Strong, "what was found")]);
    page.indented(2, |page| match &planned.decision {
        Decision::UpToDate => page.lines(Tone::Plain, "what is wanted is there"),
        Decision::Change { diff: what } => diff(page, host, what),
        Decision::Unknown { why, .. } | Decision::Skipped { why } | Decision::Unreachable { why } => {
            page.lines(Tone::Plain, &local_names(why, host));
        }
        Decision::Act { reason } => page.lines(Tone::Plain, &local_names(reason, host)),
        Decision::Failed { failure } => {
            page.lines(Tone::Bad, &failure.message);
            Story::left(page, failure);
        }
    });
    if let Some(failure) = planned.assumed.as_ref().and_then(|assumed| assumed.fails_now.as_deref()) {
        page.blank();
        page.line(&[(Tone::Strong, "why it would fail as things are now")]);
        page.indented(2, |page| {
            page.lines(Tone::Change, &local_names(&failure.message, host));
            Story::left(page, failure);
        });
    }
}

/// The task because of which it isn't certain, the one because of which that isn't, and so on.
fn reasons(page: &mut Page, saved: &Saved, host: &HostName, planned: &SavedTask) {
    let tasks: HashMap<&str, &SavedTask> =
        saved.nodes.iter().filter_map(|node| Some((node.name.as_str(), node.planned.as_ref()?))).collect();
    let mut told = BTreeSet::new();
    let mut next = because(planned);
    while let Some((id, why)) = next
        && told.insert(id)
    {
        if told.len() == 1 {
            page.blank();
            page.line(&[(Tone::Strong, "why it isn't certain")]);
        }
        let other = tasks.get(id).copied();
        page.indented(2, |page| {
            let (word, tone) = other.map_or(("not in this plan", Tone::Dim), |other| word(&other.decision));
            page.line(&[
                (Tone::Plain, "because of "),
                (Tone::Plain, local(id, host)),
                (Tone::Plain, "  "),
                (tone, word),
            ]);
            page.indented(2, |page| page.lines(Tone::Dim, &local_names(why, host)));
        });
        next = other.and_then(because);
    }
}

fn because(planned: &SavedTask) -> Option<(&str, &str)> {
    match (&planned.assumed, &planned.decision) {
        (Some(assumed), _) => Some((&assumed.because, &assumed.why)),
        (None, Decision::Unknown { because, why }) => Some((because, why)),
        (None, _) => None,
    }
}

/// What comes right before it.
fn waits(page: &mut Page, saved: &Saved, node: &SavedNode, host: &HostName) {
    if node.after.is_empty() {
        return;
    }
    let nodes: HashMap<u32, &SavedNode> = saved.nodes.iter().map(|node| (node.node, node)).collect();
    page.blank();
    page.line(&[(Tone::Strong, "what it waits for")]);
    page.indented(2, |page| {
        for before in &node.after {
            let Some(other) = nodes.get(&before.node) else { continue };
            if let Some(planned) = &other.planned {
                let (word, tone) = word(&planned.decision);
                page.line(&[
                    (Tone::Plain, local(&other.name, host)),
                    (Tone::Plain, "  "),
                    (tone, word),
                    (Tone::Dim, &format!("  {}", edge(before.kind))),
                ]);
            } else {
                let all = format!("barrier \"{}\"", other.name);
                page.line(&[(Tone::Plain, &all), (Tone::Dim, "  all that was declared before it on its hosts")]);
            }
        }
    });
}

/// What the playbook could decide by.
fn facts(page: &mut Page, saved: &Saved, host: &HostName) {
    let of_host = saved.facts.iter().filter_map(|(name, of)| Some((name, of.get(host.as_str())?)));
    let mut lines = Vec::new();
    for (name, value) in of_host {
        match value.as_object() {
            Some(standard) if name == "facts" => {
                let told = TOLD.iter().filter_map(|name| Some(format!("{name} = {}", standard.get(*name)?)));
                lines.push(told.collect::<Vec<_>>().join(", "));
            }
            _ => lines.push(format!("{name} = {value}")),
        }
    }
    if lines.is_empty() {
        return;
    }
    page.blank();
    page.line(&[(Tone::Strong, &format!("facts of {host} that the playbook asked for"))]);
    page.indented(2, |page| {
        for line in lines {
            page.lines(Tone::Plain, &line);
        }
    });
}
