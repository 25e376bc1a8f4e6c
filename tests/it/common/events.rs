//! Runs of haflow whose events are read: `--format json`, one event a line.

use crate::common::{Ran, clean};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What a run or a plan told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// What the program did.
    pub(crate) ran: Ran,
    /// Its events.
    pub(crate) events: Vec<Value>,
}

/// haflow with these arguments, bounded in time, to be run in `folder`.
pub(crate) fn haflow<'a>(folder: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = clean(Command::new("timeout"), folder);
    command.args(["--kill-after=5", "300", env!("CARGO_BIN_EXE_haflow")]).args(arguments);
    // Where its sockets are: beside the test's other files, so that it is seen what is left of them.
    command.env("XDG_RUNTIME_DIR", folder);
    command
}

impl Told {
    /// All events of one kind.
    pub(crate) fn of(&self, event: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |told| told["event"] == event)
    }

    /// The last event: the totals.
    pub(crate) fn totals(&self) -> &Value {
        self.events.last().unwrap_or_else(|| panic!("nothing was told: {:?}", self.ran))
    }

    /// How many tasks ended in that way.
    pub(crate) fn count(&self, outcome: &str) -> u64 {
        self.totals()[outcome].as_u64().unwrap_or_else(|| panic!("{outcome} isn't counted: {:?}", self.ran))
    }

    /// Each task's outcome, or each decision of a plan, by the task's id.
    pub(crate) fn outcomes(&self) -> BTreeMap<String, String> {
        let word = |event: &Value| {
            let word = event["outcome"].as_str().or(event["decision"].as_str()).expect("it has one");
            (event["task"].as_str().expect("it has an id").to_owned(), word.to_owned())
        };
        self.of("task_finished").chain(self.of("task_planned")).map(word).collect()
    }

    /// The ids of the tasks that ended in that way.
    pub(crate) fn with(&self, outcome: &str) -> Vec<String> {
        self.outcomes().into_iter().filter(|(_, word)| word == outcome).map(|(id, _)| id).collect()
    }

    /// The outcome event of a task.
    pub(crate) fn task(&self, id: &str) -> &Value {
        self.of("task_finished")
            .chain(self.of("task_planned"))
            .find(|event| event["task"] == id)
            .unwrap_or_else(|| panic!("{id} isn't told: {:?}", self.ran))
    }

    /// Panics with what went wrong if the exit code is another one.
    #[track_caller]
    pub(crate) fn exits(self, exit: i32) -> Self {
        let fine = ["ok", "up_to_date"].map(|word| format!("\"{word}\",\"took_ms\""));
        let told = self
            .ran
            .stdout
            .lines()
            .filter(|line| line.contains("finished") && !fine.iter().any(|fine| line.contains(fine)));
        let told: Vec<&str> = told.collect();
        assert_eq!(self.ran.exit, exit, "{}\n{}", told.join("\n"), self.ran.stderr);
        self
    }
}

impl From<Ran> for Told {
    fn from(ran: Ran) -> Self {
        let event = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{line:?} isn't an event ({error}): {}", ran.stderr))
        };
        let events = ran.stdout.lines().map(event).collect();
        Self { ran, events }
    }
}
