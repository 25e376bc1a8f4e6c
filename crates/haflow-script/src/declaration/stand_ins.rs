//! Hosts whose facts nobody knows: which they are, and who works with what stands in for their facts.

use crate::declaration::Declaration;
use crate::declaration::guess::Guessed;
use crate::declaration::state::{Lent, State};
use crate::declaration::stop::Stop;
use crate::place::{Site, complete};
use crate::request::{FactQuery, Unreached};
use crate::stdlib::is_embedded;
use haflow_model::{Diagnostic, Host, HostName, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The hosts in the order of the inventory; without one, in the order in which the script got them.
pub(crate) fn in_order<'a>(declaration: &'a Declaration, state: &'a State) -> impl Iterator<Item = &'a Host> {
    declaration.inventory.as_ref().map_or(&state.hosts, |inventory| &inventory.hosts).iter()
}

/// The hosts that couldn't be reached, in the order of the inventory.
pub(crate) fn unreached(declaration: &Declaration, state: &State) -> Vec<Unreached> {
    in_order(declaration, state).filter_map(|host| state.unreached.get(&host.name)).cloned().collect()
}

/// What is said of a host whose facts nobody knows.
pub(crate) fn why_unknown(declaration: &Declaration, host: &HostName) -> String {
    if declaration.state().left_out.contains(host) {
        format!("{host} isn't asked")
    } else {
        format!("{host} can't be reached")
    }
}

/// What to do about a host whose facts nobody knows.
pub(crate) fn wait_for(declaration: &Declaration, host: &HostName) -> String {
    if declaration.state().left_out.contains(host) {
        format!("take {host} into `--limit`")
    } else {
        format!("take {host} out of the inventory until it can be reached")
    }
}

/// What was guessed, if anything was.
pub(crate) fn guessed(declaration: &Declaration) -> Option<Guessed> {
    let mut state = declaration.state();
    let guessed = state.guessed.take()?;
    let unreached = unreached(declaration, &state).into_iter().map(|host| host.failure).collect();
    let unknown = state.unreached.keys().chain(&state.left_out).cloned().collect();
    Some(Guessed { diagnostic: complete(guessed.diagnostic, &state.sources), unreached, unknown })
}

/// Remembers which call has got a stand-in.
pub(crate) fn lend(declaration: &Declaration, host: &HostName, fact: &str) {
    let mut state = declaration.state();
    let Some(depth) = state.crossings.iter().rposition(|site| !is_embedded(&site.file)) else { return };
    let next = state.draft.next_id();
    let made_up = state.facts.get(fact).is_none_or(BTreeMap::is_empty);
    state.lent.push(Lent { depth, fact: fact.to_owned(), host: host.clone(), next, made_up });
}

/// A call into the stdlib that has got a stand-in must not have declared a task of a host that can be
/// reached: it might write there what is true of another host, such as an address.
pub(crate) fn returned(declaration: &Declaration, site: Site) {
    let Some((Lent { fact, host, .. }, of)) = misled(&mut declaration.state()) else { return };
    let message =
        format!("{}, and this line makes a task of {of} depend on its fact `{fact}`", why_unknown(declaration, &host));
    let trace = declaration.trace(site);
    let mut diagnostic = Diagnostic::new(&message).at(trace.place.clone(), "").help(format!(
        "say in the inventory what would be read, such as an `address`; or {}",
        wait_for(declaration, &host)
    ));
    if let Some(inner) = trace.declared_in {
        diagnostic = diagnostic.at(inner, "it is called here");
    }
    let mut state = declaration.state();
    let diagnostic = complete(diagnostic, &state.sources);
    state.refused.get_or_insert(message);
    drop(state);
    declaration.stop(Stop::Diagnostic(Arc::new(diagnostic), Some(trace.place)));
}

/// Ends the loans of the call that has just returned. Gives one that a task of a host that can be reached
/// depends on.
fn misled(state: &mut State) -> Option<(Lent, HostName)> {
    let depth = state.crossings.len();
    let mut misled = None;
    while let Some(lent) = state.lent.pop_if(|lent| lent.depth >= depth) {
        // Of the standard facts only the hostname tells hosts apart, and it isn't another's.
        if lent.fact == FactQuery::Standard.name() {
            continue;
        }
        let mut tasks = (lent.next.index()..state.draft.next_id().index()).map(NodeId::from_index);
        let of = tasks.find_map(|id| {
            let task = state.draft.task_mut(id)?;
            let (inside, host) = (task.declared_in.is_some(), task.host.clone());
            (inside && !state.is_unknown(&host)).then_some(host)
        });
        misled = of.map(|of| (lent, of)).or(misled);
    }
    misled
}
