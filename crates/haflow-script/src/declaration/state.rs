//! What has been declared so far, and what is remembered meanwhile.

use crate::declaration::guess::Guessed;
use crate::declaration::stop::Stop;
use crate::place::Site;
use crate::request::{GroupNeed, Note, ParamDecl, RecordedFacts, SecretNeed, Unreached};
use haflow_model::{Draft, Host, HostName, NodeId, Probe, Sources, Value};
use rhai::{Dynamic, ImmutableString};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What has been declared so far.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) draft: Draft,
    pub(crate) params: Vec<ParamDecl>,
    pub(crate) groups: Vec<GroupNeed>,
    pub(crate) secrets: Vec<SecretNeed>,
    pub(crate) notes: Vec<Note>,
    pub(crate) sources: Sources,
    /// The hosts that the playbook asked for by name.
    pub(crate) named: Vec<HostName>,
    /// The hosts handed out so far.
    pub(crate) hosts: Vec<Host>,
    pub(crate) handed: BTreeSet<HostName>,
    pub(crate) facts: RecordedFacts,
    /// The facts as the script gets them.
    pub(crate) known: BTreeMap<String, BTreeMap<HostName, Dynamic>>,
    pub(crate) fact_probes: BTreeMap<String, (Probe, String)>,
    pub(crate) unreached: BTreeMap<HostName, Unreached>,
    /// The hosts that weren't asked, since none of their tasks is wanted.
    pub(crate) left_out: BTreeSet<HostName>,
    /// Where the playbook's own code asked first for a fact that nobody knows.
    pub(crate) guessed: Option<Guessed>,
    /// What the stdlib gets for facts of hosts that can't be reached.
    pub(crate) stand_ins: BTreeMap<String, BTreeMap<HostName, Value>>,
    /// Which stand-ins the calls under way have got.
    pub(crate) lent: Vec<Lent>,
    /// The message of the error that is about a fact of a host that can't be reached.
    pub(crate) refused: Option<String>,
    /// Where one file called into another, outermost first.
    pub(crate) crossings: Vec<Site>,
    /// Filters and expressions that were found to be right.
    pub(crate) checked: HashSet<String>,
    /// Keys that were judged: the file's bytes, the pin, and whether a weak one will do; then the key's text.
    pub(crate) pgp_keys: HashMap<(Vec<u8>, String, bool), ImmutableString>,
    pub(crate) templates: Option<minijinja::Environment<'static>>,
    /// An error that the interpreter would have swallowed.
    pub(crate) stop: Option<Stop>,
}

impl State {
    /// Whether nobody knows the facts of this host: it can't be reached, or it wasn't asked.
    pub(crate) fn is_unknown(&self, host: &HostName) -> bool {
        self.unreached.contains_key(host) || self.left_out.contains(host)
    }
}

/// A stand-in for a playbook's own fact, which a call into the stdlib has got.
#[derive(Debug)]
pub(crate) struct Lent {
    /// How many crossings are around that call.
    pub(super) depth: usize,
    pub(super) fact: String,
    pub(super) host: HostName,
    /// The first node that may depend on it.
    pub(super) next: NodeId,
    /// Whether no host has it: it was assumed.
    pub(super) made_up: bool,
}

impl Lent {
    /// Whether it isn't true of any host.
    pub(crate) fn is_made_up(&self) -> bool {
        self.made_up
    }
}
