//! What was run.

use crate::error::Error;
use crate::kept::{KeptEdge, hash};
use crate::secrets::marks::Marks;
use crate::session::asked::Asked;
use haflow_engine::Settings;
use haflow_model::{EdgeKind, Graph, Inventory, Node, NodeId, Place, Plan, Sources};
use haflow_script::{Declared, RecordedFacts, stdlib};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The version of the file's form.
const FORMAT: u32 = 1;

/// All that a run is a function of, besides what is on the hosts. It may hold what the user gave as params or
/// vars, so it is for the user alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Input {
    format: u32,
    /// The version of haflow.
    pub(crate) haflow: String,
    /// When the run began.
    pub(crate) made: Timestamp,
    /// The folder it was started in, from which its files are named.
    pub(crate) folder: PathBuf,
    /// The command's options.
    pub(crate) asked: Asked,
    /// The playbook, its modules and templates.
    pub(crate) sources: BTreeMap<String, String>,
    /// The SHA-256 of haflow's own modules.
    stdlib: String,
    /// The hosts.
    pub(crate) inventory: Inventory,
    /// The facts that the playbook asked for: by name, then by host.
    pub(crate) facts: RecordedFacts,
    /// The SHA-256 of the graph.
    graph: String,
    /// The graph's tasks and barriers by their numbers, and what each comes after. Runs of older versions
    /// have none.
    #[serde(default)]
    pub(crate) nodes: Vec<Linked>,
    /// At most this many tasks at once.
    pub(crate) parallel: usize,
    /// Start nothing new after the first failure.
    pub(crate) fail_fast: bool,
    /// Change nothing where it is known that something can't be done.
    #[serde(default)]
    pub(crate) all_or_nothing: bool,
    /// The plan, where one was applied.
    pub(crate) plan: Option<Plan>,
    /// By what to see that a secret is another one.
    #[serde(default)]
    pub(crate) secrets: Marks,
}

/// A task or a barrier, and what it comes after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Linked {
    /// The task's id `host/kind:name`, or the barrier's name.
    pub(crate) name: String,
    /// Whether it is a barrier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) barrier: bool,
    /// The line of the playbook that led to it.
    pub(crate) place: Place,
    /// What comes right before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<KeptEdge>,
}

fn linked(graph: &Graph, id: NodeId) -> Linked {
    let (name, barrier, place) = match graph.node(id) {
        Node::Task(task) => (task.id(), false, &task.place),
        Node::Barrier(barrier) => (barrier.name.clone(), true, &barrier.place),
    };
    Linked { name, barrier, place: place.clone(), after: KeptEdge::to(graph, id) }
}

impl Input {
    pub(crate) fn new(
        asked: Asked,
        declared: &Declared,
        inventory: Inventory,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let folder = std::env::current_dir().map_err(|source| Error::Io {
            doing: "tell the path of",
            path: PathBuf::from("."),
            source,
        })?;
        Ok(Self {
            format: FORMAT,
            haflow: env!("CARGO_PKG_VERSION").into(),
            made: Timestamp::now(),
            folder,
            asked,
            sources: own(&declared.sources).map(|(file, text)| (file.to_owned(), text.to_owned())).collect(),
            stdlib: of_stdlib(),
            inventory,
            facts: declared.facts.clone(),
            graph: of_graph(&declared.graph),
            nodes: (0..declared.graph.len()).map(|index| linked(&declared.graph, NodeId::from_index(index))).collect(),
            parallel: settings.parallel,
            fail_fast: settings.fail_fast,
            all_or_nothing: settings.all_or_nothing,
            plan: settings.plan.clone(),
            secrets: Marks::of(&settings.secrets, &settings.run)?,
        })
    }

    pub(super) fn is_of_this_form(&self) -> bool {
        self.format == FORMAT
    }

    /// The texts, for reporters.
    pub(crate) fn sources(&self) -> Sources {
        self.sources.iter().map(|(file, text)| (file.as_str().into(), text.as_str().into())).collect()
    }

    /// The files whose text isn't what it was, of those that `now` says.
    pub(crate) fn changed(&self, now: &Sources) -> Vec<String> {
        let mut changed: Vec<String> = Vec::new();
        for (file, text) in &self.sources {
            if now.get(file.as_str()).is_none_or(|now| **now != **text) {
                changed.push(file.clone());
            }
        }
        changed.extend(own(now).filter(|(file, _)| !self.sources.contains_key(*file)).map(|(file, _)| file.to_owned()));
        if self.stdlib != of_stdlib() {
            changed.push(format!("haflow's own modules (the run is of haflow {})", self.haflow));
        }
        changed
    }

    /// The ids of the tasks whose outputs others use; `None` where that wasn't kept.
    pub(crate) fn used(&self) -> Option<BTreeSet<String>> {
        let data = |before: &&KeptEdge| before.kind == EdgeKind::Data;
        let used = self.nodes.iter().flat_map(|node| node.after.iter().filter(data));
        let names = used.filter_map(|before| Some(self.nodes.get(before.node as usize)?.name.clone()));
        (!self.nodes.is_empty()).then(|| names.collect())
    }

    /// Whether it is the graph that was run.
    pub(crate) fn is_graph(&self, graph: &Graph) -> bool {
        of_graph(graph) == self.graph
    }
}

/// The texts that aren't haflow's own.
fn own(sources: &Sources) -> impl Iterator<Item = (&str, &str)> {
    let embedded: BTreeSet<&str> = stdlib().iter().flat_map(|module| module.parts).map(|part| part.file).collect();
    sources.iter().map(|(file, text)| (&**file, &**text)).filter(move |(file, _)| !embedded.contains(file))
}

fn of_stdlib() -> String {
    let texts: Vec<&str> = stdlib().iter().flat_map(|module| module.parts).map(|part| part.text).collect();
    hash(&texts.concat())
}

fn of_graph(graph: &Graph) -> String {
    hash(&serde_json::to_string(graph).expect("a graph is data"))
}
