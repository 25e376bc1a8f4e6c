use crate::{HostName, NodeId, Place, SecretText, Thing, Things, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Something that shall be true of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The host that it is about.
    pub host: HostName,
    /// What kind of thing it is: `package`, `file`, `service`, a user's own word.
    pub kind: Arc<str>,
    /// Which one of that kind; kind and name are unique on a host.
    pub name: Arc<str>,
    /// What it does.
    pub action: Action,
    /// Shell variables of its scripts and `$variables` of its jq filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
    /// A test on an output; the task is skipped where it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Box<When>>,
    /// How often and how long it is tried.
    #[serde(default)]
    pub policy: Policy,
    /// The user that its scripts run as, where it isn't the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it reads and touches.
    #[serde(flatten)]
    pub scope: Scope,
    /// Words by which `--tags` chooses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What will be lost, where the playbook declares the task destructive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroys: Option<String>,
    /// The line of the playbook that led to it.
    pub place: Place,
    /// The line that declares it, where that is in a module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_in: Option<Place>,
}

/// What a task has to do with others: how a plan knows which changes bear on which decisions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// What its probe looks at.
    #[serde(default, skip_serializing_if = "Things::is_default")]
    pub reads: Things,
    /// What its apply changes.
    #[serde(default, skip_serializing_if = "Things::is_default")]
    pub touches: Things,
    /// What is there once its apply has ended well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brings: Vec<Thing>,
    /// What the state will be once a task before it has changed this thing, where that is known in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<(Thing, Value)>,
}

impl Task {
    /// What is there once its apply has ended well: what it says, and what a file's state says.
    pub fn brings(&self) -> impl Iterator<Item = Thing> {
        let made = self.action.makes_what_it_touches().then_some(&self.scope.touches);
        self.scope.brings.iter().chain(made.into_iter().flat_map(Things::named)).cloned()
    }

    /// The task's id: `host/kind:name`.
    pub fn id(&self) -> String {
        format!("{}/{}:{}", self.host, self.kind, self.name)
    }
}

/// The closed set of what a task can do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Probe, compare with want, apply, probe again.
    Ensure(Ensure),
    /// A file, folder or link, written atomically.
    File(File),
    /// A script that always runs.
    Act(Act),
    /// Waits until a check holds.
    Gate(Gate),
    /// Reads an output.
    Read(Read),
}

/// A read-only script and how its output becomes a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// POSIX shell.
    pub script: String,
    /// A jq filter that makes the state of what the script printed, run on the controller. Its input is the
    /// JSON that was printed; its `$variables` are the task's params.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jq: Option<String>,
    /// The filter's input is the text that was printed, as one JSON string, rather than the JSON in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
}

/// Probe → compare with want → apply → probe again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ensure {
    /// Prints the state.
    pub probe: Probe,
    /// The state asked for. A text is compared with the output without its last newline, anything else with
    /// the JSON printed; the comparison is structural and exact.
    pub want: Param,
    /// POSIX shell that gets from the one to the other.
    pub apply: String,
    /// Says why the apply would fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<Box<Rehearsal>>,
}

/// A read-only script that says why an apply would fail. It runs only where there is something to apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// POSIX shell. It ends with 0 where it sees nothing that makes the apply fail.
    pub script: String,
    /// What it looks at: another change of that may mend what fails now.
    #[serde(default, skip_serializing_if = "Things::is_default")]
    pub reads: Things,
}

/// Something in the file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute.
    pub path: String,
    /// What shall be there.
    pub state: FileState,
    /// Permission bits, at most `0o7777`; left as they are if not given (0644 or 0755 for what is made new).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Owner's name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group's name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether a link at the path is followed, where nobody else may have put it there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Whether its content, the old one too, is a secret.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// POSIX shell that checks a new content before it is written: the file `$candidate` has it, in a folder
    /// of its own. Where it doesn't end with 0, nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validate: Option<Box<str>>,
}

/// What shall be at a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// A file with this content.
    Content(Content),
    /// A file with whatever content; it must be there already.
    Present,
    /// A folder; its parents are made too.
    Folder,
    /// A symbolic link that points there.
    Link(String),
    /// Nothing. A folder goes with all that is in it.
    Absent,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// This text, or the text of an output or a secret, byte for byte.
    Is(Param),
    /// What an edit makes of the text that is there.
    Edit(Edit),
}

/// How a file's text becomes another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// By this jq filter, whose input is the text (`null` where there is no file).
    Filter(String),
    /// By one of haflow's own edits, whose params are the task's.
    Own(OwnEdit),
}

/// The edits that haflow makes itself: linear in the text, and by bytes. With the param `create` they make a
/// file where there is none; `file` names it in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnEdit {
    /// One line: `text`, `matching`, `below`, `above`, `remove`.
    Line,
    /// Lines between two others: `first`, `last`, `text`, `remove`.
    Block,
    /// Settings of an INI file: `settings`, or `section`, `key` and `value`.
    Settings,
}

impl OwnEdit {
    /// The params that it knows.
    pub fn params(self) -> &'static [&'static str] {
        match self {
            Self::Line => &["file", "create", "text", "matching", "below", "above", "remove"],
            Self::Block => &["file", "create", "text", "first", "last", "remove"],
            Self::Settings => &["file", "create", "settings", "section", "key", "value"],
        }
    }

    /// The edit of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|edit| edit.name() == name)
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Line, Self::Block, Self::Settings];

    /// What a playbook calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Block => "block",
            Self::Settings => "settings",
        }
    }
}

/// A script that always runs, because nothing can be probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// Why it can't be probed.
    pub reason: String,
    /// POSIX shell. What it prints is the task's output.
    pub apply: String,
    /// Says why the apply would fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearse: Option<Box<Rehearsal>>,
}

/// Waits until a check holds several times in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Prints the state.
    pub probe: Probe,
    /// What it must be.
    pub want: Param,
    /// How many times in a row; at least 1.
    pub times: u32,
    /// The pause between two checks.
    pub every: Duration,
    /// How long it may take in all.
    pub within: Duration,
}

/// Reads an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Prints it.
    pub probe: Probe,
    /// Whether it is a secret.
    #[serde(default)]
    pub secret: bool,
}

/// A value that is known now, or once a task has run, or that the graph only knows by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Param {
    /// Known at declaration.
    Value(Value),
    /// The output of a task.
    Output(OutputRef),
    /// A text with secrets in it.
    Secret(SecretText),
}

/// A task's output, before it has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRef {
    /// The task that yields it.
    pub task: NodeId,
    /// Whether it is a secret.
    pub secret: bool,
}

/// A test on an output, made at run time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The output.
    pub output: OutputRef,
    /// The test that it must pass.
    pub test: Test,
    /// Turns the test round.
    #[serde(default)]
    pub negate: bool,
}

/// A test as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Is the same value.
    Equals(Value),
    /// A text has this part; a list has this element; a map has this key.
    Contains(Value),
    /// A text matches this regular expression somewhere.
    Matches(String),
    /// Null, or an empty text, list or map.
    IsEmpty,
}

/// How often and how long a task is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How many more times an apply is tried after it failed.
    pub retries: u32,
    /// The pause before the first retry; doubled before each further one, up to a minute.
    pub backoff: Duration,
    /// How long one script may take before its process group is killed.
    pub timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { retries: 0, backoff: Duration::from_secs(1), timeout: Duration::from_mins(10) }
    }
}
