//! A plan that is kept: a file of JSON, of which `docs/schema/plan.json` is the schema.
//!
//! It says what was asked for, by which texts and facts, what was decided and from what. It holds no secret,
//! and no digest of anything that has a secret in it. Whoever applies it declares the playbook once more,
//! from the recorded facts, and refuses to go on where anything has become another thing since.

use crate::error::Error;
use crate::kept::{KeptEdge, digests, hash, private_folder, state_folder, sync_folder};
use crate::report;
use crate::secrets::marks::Marks;
use crate::session::{Asked, Session};
use haflow_model::{Assumed, Decision, Graph, Inventory, Node, NodeId, Place, Plan, Planned, Secrets, Value};
use haflow_script::RecordedFacts;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The version of the file's form.
const FORMAT: u32 = 1;

/// The file: a plan, and by what to see that it is whole and as it was.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Envelope {
    /// The version of the form.
    format: u32,
    /// The SHA-256 of the bytes of `plan`, in hex.
    digest: String,
    #[schemars(with = "Saved")]
    plan: Box<RawValue>,
}

/// A plan as it is kept.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// Tells this plan from all others.
    pub(crate) id: String,
    /// The version of haflow that made it.
    pub(crate) haflow: String,
    /// When it was made.
    #[schemars(with = "String")]
    pub(crate) made: Timestamp,
    /// The command's options.
    pub(crate) asked: Asked,
    /// The SHA-256 of the playbook, its modules and templates.
    pub(crate) sources: BTreeMap<String, String>,
    /// The SHA-256 of the inventory, salted.
    pub(crate) inventory: String,
    /// The SHA-256 of the graph, salted.
    pub(crate) graph: String,
    /// The facts that the playbook asked for: by name, then by host.
    pub(crate) facts: BTreeMap<String, BTreeMap<String, Value>>,
    /// What each digest of a state begins with.
    pub(crate) salt: String,
    /// By what to see that a secret is another one.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    pub(crate) secrets: Marks,
    /// The tasks and barriers in the order in which they run.
    pub(crate) nodes: Vec<SavedNode>,
    /// The ids of the longest path of tasks that would change something.
    pub(crate) critical_path: Vec<String>,
}

/// A node of the graph and what was decided.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SavedNode {
    /// Its number in the graph.
    pub(crate) node: u32,
    /// The task's id `host/kind:name`, or the barrier's name.
    pub(crate) name: String,
    /// The line of the playbook that led to it.
    pub(crate) place: Place,
    /// What comes right before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<KeptEdge>,
    /// What was decided; a barrier has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planned: Option<SavedTask>,
}

/// What was decided on a task.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SavedTask {
    #[serde(flatten)]
    pub(crate) decision: Decision,
    /// Why that isn't certain; missing where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) assumed: Option<Assumed>,
    /// A digest of the state that it was decided from: the first 32 hex digits of the SHA-256 of the salt and
    /// the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
}

impl Saved {
    pub(crate) fn new(asked: Asked, session: &Session, plan: Plan, secrets: &Secrets) -> Result<Self, Error> {
        let declared = &session.declared;
        let Plan { salt, decisions, critical_path } = plan;
        let mut planned: BTreeMap<NodeId, Planned> = decisions.into_iter().map(|one| (one.task, one)).collect();
        let node = |id: &NodeId| {
            let (name, place) = match declared.graph.node(*id) {
                Node::Task(task) => (task.id(), &task.place),
                Node::Barrier(barrier) => (barrier.name.clone(), &barrier.place),
            };
            let planned = planned.remove(id);
            SavedNode {
                node: id.0,
                name,
                place: place.clone(),
                after: KeptEdge::to(&declared.graph, *id),
                planned: planned.map(|Planned { decision, assumed, state, .. }| SavedTask { decision, assumed, state }),
            }
        };
        Ok(Self {
            secrets: Marks::of(secrets, &salt)?,
            // The salt is of random bits, and in no other plan.
            id: hash(&salt)[..32].to_owned(),
            haflow: env!("CARGO_PKG_VERSION").into(),
            made: Timestamp::now(),
            asked,
            sources: digests(&declared.sources),
            inventory: of_inventory(&salt, &session.inventory),
            graph: of_graph(&salt, &declared.graph),
            facts: named(&declared.facts),
            nodes: declared.graph.order().iter().map(node).collect(),
            critical_path,
            salt,
        })
    }

    /// Reads a file and sees that it is whole, as it was written, and of this version.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
                refused(path, &format!("it can't be read: {source}"), "`haflow plan PLAYBOOK … -o FILE` makes one")
            }
            _ => Error::Io { doing: "read", path: path.into(), source },
        })?;
        Self::of_text(path, &text)
    }

    /// The same of the text in it.
    pub(crate) fn of_text(path: &Path, text: &str) -> Result<Self, Error> {
        let again = "plan again: `haflow plan PLAYBOOK … -o FILE`";
        let form: Result<Form, _> = serde_json::from_str(text);
        if let Ok(Form { format }) = form
            && format != FORMAT
        {
            let what = format!("its form is version {format}, and this haflow knows version {FORMAT}");
            return Err(refused(path, &what, again));
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(|error| {
            let what = if error.is_eof() { "it is cut off" } else { "it is no plan of haflow's" };
            refused(path, &format!("{what}: {error}"), again)
        })?;
        if hash(envelope.plan.get()) != envelope.digest {
            return Err(refused(path, "it was edited since it was made", again));
        }
        serde_json::from_str(envelope.plan.get())
            .map_err(|error| refused(path, &format!("it was made by another version of haflow: {error}"), again))
    }

    /// Writes the file, whole or not at all, for nobody else to read.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Io { doing: "write", path: path.into(), source };
        let plan = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let digest = hash(&plan);
        let envelope = Envelope {
            format: FORMAT,
            digest,
            plan: RawValue::from_string(plan).map_err(|error| failed(error.into()))?,
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        serde_json::to_writer(&mut file, &envelope).map_err(|error| failed(error.into()))?;
        file.write_all(b"\n").and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        sync_folder(folder).map_err(failed)
    }

    /// Keeps it as the last plan that was made.
    pub(crate) fn remember(mut self) -> Result<(), Error> {
        // Nobody applies it, and they may be anything.
        self.asked.playbook.params.clear();
        let path = last()?;
        if let Some(folder) = path.parent() {
            private_folder(folder).map_err(|source| Error::Io { doing: "make", path: folder.into(), source })?;
        }
        self.write(&path)
    }

    /// Refuses a plan that is older than `most`.
    pub(crate) fn is_young(&self, path: &Path, most: SignedDuration) -> Result<(), Error> {
        let age = Timestamp::now().duration_since(self.made);
        if age <= most {
            return Ok(());
        }
        let what = format!(
            "it was made {} ago, at {}, and may be {} old at most",
            report::age(age.unsigned_abs()),
            self.made.strftime("%Y-%m-%d %H:%M UTC"),
            report::age(most.unsigned_abs())
        );
        Err(refused(path, &what, "plan again, or allow it more with `--max-age`"))
    }

    /// Refuses an inventory that isn't the one that was planned with.
    pub(crate) fn is_for(&self, path: &Path, inventory: &Inventory) -> Result<(), Error> {
        let tasks = self.nodes.iter().filter(|node| node.planned.is_some());
        let mut gone: Vec<&str> = tasks
            .filter_map(|node| node.name.split_once('/').map(|(host, _)| host))
            .filter(|host| !inventory.hosts.iter().any(|there| there.name.as_str() == *host))
            .collect();
        gone.sort_unstable();
        gone.dedup();
        if !gone.is_empty() {
            let what = format!("the inventory has no host {} any more", gone.join(", "));
            return Err(refused(path, &what, "plan again with the inventory as it is now"));
        }
        if of_inventory(&self.salt, inventory) != self.inventory {
            let what = "it is for another inventory: hosts, groups or vars have changed since";
            return Err(refused(path, what, "plan again with the inventory as it is now"));
        }
        Ok(())
    }

    /// Refuses a playbook that has changed since.
    pub(crate) fn is_of(&self, path: &Path, session: &Session) -> Result<(), Error> {
        let now = digests(&session.declared.sources);
        let mut changed: Vec<&String> = self
            .sources
            .iter()
            .filter(|(file, digest)| now.get(*file) != Some(digest))
            .map(|(file, _)| file)
            .chain(now.keys().filter(|file| !self.sources.contains_key(*file)))
            .collect();
        changed.sort();
        if !changed.is_empty() {
            let files: Vec<&str> = changed.into_iter().map(String::as_str).collect();
            let what = format!("{} changed since it was made", files.join(", "));
            return Err(refused(path, &what, "plan again with the playbook as it is now"));
        }
        if of_graph(&self.salt, &session.declared.graph) != self.graph {
            let what = format!("the playbook declares something else now (the plan is of haflow {})", self.haflow);
            return Err(refused(path, &what, "plan again"));
        }
        Ok(())
    }

    /// Refuses secrets that aren't those that were planned with, where that can be told.
    pub(crate) fn has_secrets(&self, path: &Path, secrets: &Secrets) -> Result<(), Error> {
        match self.secrets.changed(&Marks::of(secrets, &self.salt)?) {
            Some(changed) if changed.is_empty() => Ok(()),
            Some(changed) => {
                let what = format!("the value of {} changed since it was made", changed.join(", "));
                Err(refused(path, &what, "plan again with the secrets as they are now"))
            }
            None => {
                eprintln!(
                    "note: the plan was made by another user or elsewhere, so it can't be told whether its secrets had the same values"
                );
                Ok(())
            }
        }
    }

    /// Refuses a playbook whose file has changed, before it is declared.
    pub(crate) fn has_playbook(&self, path: &Path) -> Result<(), Error> {
        let playbook = &self.asked.playbook.playbook;
        let name = playbook.display().to_string();
        let text = std::fs::read_to_string(playbook).map_err(|error| {
            let what = format!("its playbook {name} can't be read here: {error}");
            refused(path, &what, "apply it in the folder in which it was made")
        })?;
        match self.sources.get(&name) {
            Some(digest) if *digest == hash(&text) => Ok(()),
            _ => Err(refused(
                path,
                &format!("{name} changed since it was made"),
                "plan again with the playbook as it is now",
            )),
        }
    }

    /// The text of a source, if it is here and what it was.
    pub(crate) fn unchanged_source(&self, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(file).ok()?;
        (*self.sources.get(file)? == hash(&text)).then_some(text)
    }

    /// The facts as a declaration takes them.
    pub(crate) fn recorded(&self) -> RecordedFacts {
        let hosts = |of: &BTreeMap<String, Value>| {
            of.iter().map(|(host, value)| (host.as_str().into(), value.clone())).collect()
        };
        self.facts.iter().map(|(name, of)| (name.clone(), hosts(of))).collect()
    }

    /// What was asked for, and the plan for the engine.
    pub(crate) fn into_parts(self) -> (Asked, Plan) {
        let decisions = self.nodes.into_iter().filter_map(|node| {
            let SavedTask { decision, assumed, state } = node.planned?;
            Some(Planned { task: NodeId(node.node), decision, assumed, state })
        });
        let plan = Plan { salt: self.salt, decisions: decisions.collect(), critical_path: self.critical_path };
        (self.asked, plan)
    }

    /// Refuses a plan that was applied.
    pub(crate) fn is_unused(&self, path: &Path) -> Result<(), Error> {
        match std::fs::read_to_string(state_folder()?.join("applied").join(&self.id)) {
            Ok(run) => Err(used(path, &run)),
            // `use_up` has the last word.
            Err(_) => Ok(()),
        }
    }
}

/// Notes for good that the plan with this id is being applied now. Refuses it if it was before: of two at
/// once, one goes on.
pub(crate) fn use_up(id: &str, path: &Path, run: &str) -> Result<(), Error> {
    let folder = state_folder()?.join("applied");
    let mark = folder.join(id);
    let failed = |source| Error::Io { doing: "note that the plan is applied in", path: folder.clone(), source };
    private_folder(&folder).map_err(failed)?;
    let mut file = match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&mark) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(used(path, &std::fs::read_to_string(&mark).unwrap_or_default()));
        }
        Err(error) => return Err(failed(error)),
    };
    writeln!(file, "{run} at {}", Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder(&folder))
        .map_err(failed)
}

/// The version alone, of a file of whichever form.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// The file of the last plan that was made.
pub(crate) fn last() -> Result<PathBuf, Error> {
    Ok(state_folder()?.join("last-plan.json"))
}

fn refused(path: &Path, what: &str, help: &str) -> Error {
    Error::Plan {
        message: format!("the plan {} is refused: {what}; nothing was changed", path.display()),
        help: help.into(),
    }
}

fn used(path: &Path, run: &str) -> Error {
    let what = format!("it was applied already, by run {}", run.trim());
    refused(path, &what, "a plan is applied once: plan again to see what is left")
}

fn named(facts: &RecordedFacts) -> BTreeMap<String, BTreeMap<String, Value>> {
    let hosts = |of: &BTreeMap<haflow_model::HostName, Value>| {
        of.iter().map(|(host, value)| (host.to_string(), value.clone())).collect()
    };
    facts.iter().map(|(name, of)| (name.clone(), hosts(of))).collect()
}

fn of_inventory(salt: &str, inventory: &Inventory) -> String {
    hash(&format!("{salt}\n{}", serde_json::to_string(inventory).expect("an inventory is data")))
}

fn of_graph(salt: &str, graph: &Graph) -> String {
    hash(&format!("{salt}\n{}", serde_json::to_string(graph).expect("a graph is data")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::golden::compare;
    use haflow_model::Record;
    use schemars::{Schema, schema_for};

    /// `docs/schema` is what is written; `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_schemas_are_up_to_date() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
        let text = |schema: &Schema| serde_json::to_string_pretty(schema).expect("a schema is JSON") + "\n";
        compare(&folder.join("plan.json"), &text(&schema_for!(Envelope)));
        compare(&folder.join("event.json"), &text(&schema_for!(Record)));
    }
}
