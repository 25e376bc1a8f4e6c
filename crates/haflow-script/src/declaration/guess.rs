//! Whether what is declared depends on facts that nobody knows: the playbook is run with one guess and with
//! others, and what it declares is compared.

use crate::request::{DeclareError, FactFailure};
use haflow_model::{Diagnostic, Graph, HostName, Task, Value};
use serde_json::json;
use std::collections::BTreeSet;

/// What stands in for a fact of a host that can't be reached, where the playbook's own code asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guess {
    /// What another host has.
    Like,
    /// Other names, numbers and texts.
    Otherwise,
    /// Another distribution besides.
    Elsewhere,
}

impl Guess {
    /// The guesses with which a playbook is run again.
    pub(crate) const OTHERS: [Self; 2] = [Self::Otherwise, Self::Elsewhere];

    /// The guess that is made of what another host has.
    pub(crate) fn of(self, standard: bool, like: &Value) -> Value {
        if self == Self::Like {
            return like.clone();
        }
        let mut value = like.clone();
        if !standard {
            return otherwise(value);
        }
        for key in ["hostname", "kernel", "os_name", "cpus", "memory_mb"] {
            if let Some(value) = value.get_mut(key) {
                *value = otherwise(value.take());
            }
        }
        if self == Self::Elsewhere {
            for (key, other) in [
                ("os", json!("rocky")),
                ("os_version", json!("9.4")),
                ("os_codename", json!("")),
                ("os_family", json!("redhat")),
                ("packages", json!("dnf")),
                ("init", json!("other")),
                ("arch", json!("aarch64")),
                ("user", json!("admin")),
                ("uid", json!(1000)),
            ] {
                value[key] = other;
            }
        }
        value
    }
}

/// Another value of the same type.
fn otherwise(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(!value),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Value::from(number.wrapping_mul(2).wrapping_add(1)),
            None => Value::from(number.as_f64().unwrap_or_default() * 2.0 + 1.0),
        },
        Value::String(text) => Value::String(next_version(&text).unwrap_or(text + "-otherwise")),
        Value::Array(items) => Value::Array(items.into_iter().map(otherwise).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, item)| (key, otherwise(item))).collect()),
    }
}

/// The next version, where a text is one: whoever reads it as a version still can.
fn next_version(text: &str) -> Option<String> {
    let (before, last) = text.rsplit_once('.')?;
    let is_version = before.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let next = last.parse::<u32>().ok().filter(|_| is_version)?.checked_add(1)?;
    Some(format!("{before}.{next}"))
}

/// What the playbook's own code got in place of facts that nobody knows.
#[derive(Debug)]
pub(crate) struct Guessed {
    /// The line that asked for one first.
    pub(super) diagnostic: Diagnostic,
    /// The hosts that couldn't be reached.
    pub(super) unreached: Vec<FactFailure>,
    /// The hosts that couldn't be reached, and those that weren't asked.
    pub(crate) unknown: BTreeSet<HostName>,
}

impl Guessed {
    /// The guess of which `diagnostic` names the line. Which hosts couldn't be reached is known at the end.
    pub(crate) fn at(diagnostic: Diagnostic) -> Self {
        Self { diagnostic, unreached: Vec::new(), unknown: BTreeSet::new() }
    }

    /// A task of a host that is known depends on a guess.
    pub(crate) fn depends(mut self, task: &str) -> DeclareError {
        self.diagnostic.message = format!("{}, on which `{task}` depends", self.diagnostic.message);
        self.refused()
    }

    /// Nobody knows whether one does.
    pub(crate) fn refused(self) -> DeclareError {
        let Self { diagnostic, unreached, unknown } = self;
        let left_out = unknown.into_iter().filter(|host| unreached.iter().all(|failure| failure.host != *host));
        DeclareError::Unreached { diagnostic: Box::new(diagnostic), left_out: left_out.collect(), hosts: unreached }
    }
}

/// A task that isn't the same in both graphs, of those that `counts` chooses, or that is in one of them only.
pub(crate) fn differing(one: &Graph, other: &Graph, counts: impl Fn(&HostName) -> bool) -> Option<String> {
    let chosen = |task: &Task| counts(&task.host);
    let (one, other) = (one.only(chosen), other.only(chosen));
    let same = |a: &Graph, b: &Graph| serde_json::to_value(a).ok() == serde_json::to_value(b).ok();
    if same(&one, &other) {
        return None;
    }
    let tasks = |graph: &Graph| graph.tasks().map(|(_, task)| task.clone()).collect::<Vec<_>>();
    let (one, other) = (tasks(&one), tasks(&other));
    let differs = |(index, task): (usize, &Task)| (other.get(index) != Some(task)).then(|| task.id());
    let missing = || other.get(one.len()).map(Task::id);
    // Where only their order differs, it is the first that stands for it.
    one.iter().enumerate().find_map(differs).or_else(missing).or_else(|| one.first().map(Task::id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::natives::facts::assumed_facts;
    use crate::request::FactQuery;
    use haflow_model::Host;

    /// What a playbook decides by must come out otherwise for one of the guesses.
    #[test]
    fn every_standard_fact_is_another_one_elsewhere() {
        let read = assumed_facts(&FactQuery::Standard, &[Host::named("a")]).expect("they are assumed");
        let like = read.values.into_values().next().expect("one host's");
        let elsewhere = Guess::Elsewhere.of(true, &like);
        let keys = like.as_object().expect("facts").keys();
        let same: Vec<&String> = keys.filter(|key| like[*key] == elsewhere[*key]).collect();
        assert_eq!(same, [""; 0]);
    }
}
