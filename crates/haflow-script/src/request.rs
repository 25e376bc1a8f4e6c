//! What goes into a declaration, and what comes out of it.

use haflow_model::{Diagnostic, Graph, Host, HostName, Inventory, Param, Place, Probe, Sources, Value};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// All that a declaration is a function of.
pub struct Request<'a> {
    /// The playbook's file, as it was named.
    pub playbook: &'a Path,
    /// The hosts. `None`: they are imagined, `rabbit1` to `rabbitN` for `group("rabbit")`.
    pub inventory: Option<&'a Inventory>,
    /// What was given with `-e NAME=VALUE`.
    pub params: &'a BTreeMap<String, String>,
    /// Reads a fact of several hosts at once.
    pub facts: &'a mut ReadFacts<'a>,
    /// When it is: keys that the playbook pins must hold then. The script has no clock, and what it declares
    /// doesn't follow from the time; a key that has expired ends the declaration.
    pub now: Timestamp,
    /// A flag that stops an endless script.
    pub interrupt: Option<Arc<AtomicBool>>,
}

/// How facts are read: on hosts, from a journal, or [`assumed_facts`](crate::assumed_facts).
pub type ReadFacts<'a> = dyn FnMut(&FactQuery, &[Host]) -> Result<FactsRead, Vec<FactFailure>> + 'a;

/// What came of reading a fact of several hosts: each of them is in one of the two.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FactsRead {
    /// The answers.
    pub values: BTreeMap<HostName, Value>,
    /// The hosts that can't be reached, and won't be while this declaration's tasks run: another host's facts
    /// stand in for theirs where no task of a further host depends on them.
    pub unreached: Vec<FactFailure>,
    /// The hosts that weren't asked, since none of their tasks is wanted. The same holds for them.
    pub left_out: Vec<HostName>,
}

/// The facts that a declaration has read: by the name of the query, then by host.
///
/// The standard facts are under `facts`.
pub type RecordedFacts = BTreeMap<String, BTreeMap<HostName, Value>>;

/// What is to be read on a host.
#[derive(Debug, Clone, PartialEq)]
pub enum FactQuery {
    /// The facts that haflow knows how to read.
    Standard,
    /// A fact of a playbook's own.
    Own {
        /// Its name.
        name: String,
        /// Prints it.
        probe: Probe,
        /// Shell variables of the probe and `$variables` of its filter: values only.
        params: BTreeMap<String, Param>,
        /// What it is taken to be where there is no host.
        assume: Option<Value>,
    },
}

impl FactQuery {
    /// The name under which the answers are recorded.
    pub fn name(&self) -> &str {
        match self {
            Self::Standard => "facts",
            Self::Own { name, .. } => name,
        }
    }
}

/// Why a host's fact couldn't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactFailure {
    /// The host.
    pub host: HostName,
    /// What was seen.
    pub why: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why there is no graph.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The playbook, a module, a param or the inventory is wrong.
    #[error(transparent)]
    Playbook(Box<Diagnostic>),
    /// Facts couldn't be read.
    #[error("failed to read facts of {} host(s)", .0.len())]
    Facts(Vec<FactFailure>),
    /// What is declared would depend on a fact of a host that can't be reached, or wasn't asked.
    #[error("{diagnostic}")]
    Unreached {
        /// The line that asks for it.
        diagnostic: Box<Diagnostic>,
        /// All hosts that couldn't be reached.
        hosts: Vec<FactFailure>,
        /// All hosts that weren't asked.
        left_out: Vec<HostName>,
    },
    /// The interrupt was set.
    #[error("the declaration was interrupted")]
    Interrupted,
}

impl From<Diagnostic> for DeclareError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Playbook(Box::new(diagnostic))
    }
}

/// What a playbook declares.
#[derive(Debug)]
pub struct Declared {
    /// The tasks.
    pub graph: Graph,
    /// The params in the order in which the playbook names them.
    pub params: Vec<ParamDecl>,
    /// The groups in the order in which the playbook names them.
    pub groups: Vec<GroupNeed>,
    /// The secrets in the order in which the playbook names them.
    pub secrets: Vec<SecretNeed>,
    /// The hosts that the playbook asks for by their own names.
    pub named: Vec<HostName>,
    /// What the playbook said by `warn` and `print`.
    pub notes: Vec<Note>,
    /// The texts of the playbook, the modules and the templates that were read.
    pub sources: Sources,
    /// The facts that were read.
    pub facts: RecordedFacts,
    /// The hosts that couldn't be reached for their facts, in the order of the inventory.
    pub unreached: Vec<Unreached>,
}

/// A host that couldn't be reached for its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreached {
    /// The host, and why.
    pub failure: FactFailure,
    /// The host whose facts stood in for its own. `None` where they were assumed, or not needed.
    pub like: Option<HostName>,
}

/// A param that a playbook takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamDecl {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ParamType,
    /// Its value where none is given; `None` if one must be.
    pub default: Option<Value>,
    /// What it is about.
    pub help: Option<String>,
    /// All values that it may have; empty if any.
    pub one_of: Vec<Value>,
    /// The value that it has. A param that must be given and wasn't has a made-up one where hosts are
    /// imagined.
    pub value: Value,
    /// Whether it was given.
    pub given: bool,
    /// The line of the playbook that takes it.
    pub place: Place,
}

/// A param's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the type of its name")]
pub enum ParamType {
    Text,
    Int,
    Float,
    Bool,
    List,
    Map,
}

impl ParamType {
    /// All, with the words for them.
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Text, "text"),
        (Self::Int, "int"),
        (Self::Float, "float"),
        (Self::Bool, "bool"),
        (Self::List, "list"),
        (Self::Map, "map"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }
}

/// A group that a playbook works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupNeed {
    /// Its name; `all` for `hosts()`.
    pub name: String,
    /// How many hosts it must have.
    pub at_least: usize,
    /// How many hosts a lab boots for it.
    pub lab: usize,
    /// What it is about.
    pub help: Option<String>,
}

/// A secret that a playbook asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretNeed {
    /// Its name.
    pub name: String,
    /// The line of the playbook that led to it first.
    pub place: Place,
}

/// Something that a playbook says while it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What kind of thing.
    pub kind: NoteKind,
    /// The line of the playbook that led to it.
    pub place: Place,
    /// What it says.
    pub text: String,
}

/// A kind of note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteKind {
    /// By `warn`: something that the user should know.
    Warn,
    /// By `print` or `debug`: something that the playbook's author wanted to see.
    Print,
}
