//! A run as its journal tells it: what became of its tasks, and the graph that was run.

use super::input::Linked;
use haflow_model::{Course, EdgeKind, Event, HostName, Outcome, Record, State, about, courses};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// A run as its journal tells it, whether it has ended or not.
pub(crate) struct History<'k> {
    /// The run's id.
    pub(crate) run: &'k str,
    /// The graph's nodes by their numbers.
    pub(crate) nodes: &'k [Linked],
    /// Whether it is under way.
    pub(crate) alive: bool,
    /// When it began, in milliseconds since 1970.
    pub(crate) began: u64,
    /// When it begins nothing more.
    pub(crate) stops: Stops,
    courses: BTreeMap<&'k str, Course<'k>>,
    /// All events about each task.
    records: HashMap<&'k str, Vec<&'k Record>>,
    unreachable: BTreeMap<&'k HostName, &'k Record>,
    interrupted: Option<u64>,
    first_failure: Option<(&'k str, u64)>,
    foreseen: Option<&'k str>,
}

/// When a run begins nothing more, as it was told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stops {
    /// After the first failure.
    pub(crate) fail_fast: bool,
    /// Where a task is known to fail.
    pub(crate) all_or_nothing: bool,
}

/// A state in a word.
pub(crate) fn word(state: &State<'_>) -> &'static str {
    match state {
        State::Waiting => "not begun",
        State::UnderWay(_) | State::Applying(_) => "under way",
        State::CutOff => "not ended",
        State::InDoubt => "in doubt",
        State::Ended(outcome, _) => match outcome {
            Outcome::Ok => "ok",
            Outcome::Changed { .. } => "changed",
            Outcome::Failed { .. } => "failed",
            Outcome::Skipped { .. } => "skipped",
            Outcome::Unreachable { .. } => "unreachable",
            Outcome::Cancelled => "cancelled",
            Outcome::InDoubt { .. } => "in doubt",
        },
    }
}

/// Whether a task is as it is because of another one: what lies between a task and the root of the matter.
fn is_consequence(state: &State<'_>) -> bool {
    match state {
        State::Waiting => true,
        State::Ended(outcome, _) => {
            matches!(outcome, Outcome::Skipped { because: Some(_), .. } | Outcome::Cancelled)
        }
        _ => false,
    }
}

/// One step of the way from a task to why it is as it is.
pub(crate) struct Cause<'k> {
    /// What it is.
    pub(crate) node: &'k Linked,
    /// How the cause before this one hangs on it.
    pub(crate) edge: EdgeKind,
}

impl<'k> History<'k> {
    pub(crate) fn new(run: &'k str, nodes: &'k [Linked], records: &'k [Record], alive: bool, stops: Stops) -> Self {
        let mut history = Self {
            run,
            nodes,
            alive,
            stops,
            began: records.first().map_or(0, |record| record.at),
            courses: courses(records),
            records: HashMap::new(),
            unreachable: BTreeMap::new(),
            interrupted: None,
            first_failure: None,
            foreseen: None,
        };
        for record in records {
            history.take(record);
        }
        if !alive {
            history.courses.values_mut().for_each(Course::die);
        }
        history
    }

    fn take(&mut self, record: &'k Record) {
        match &record.event {
            Event::RunResumed { .. } => {
                self.unreachable.clear();
                (self.interrupted, self.first_failure, self.foreseen) = (None, None, None);
            }
            Event::TaskWouldFail { task, .. } => drop(self.foreseen.get_or_insert(&task.id)),
            Event::HostUnreachable { host, .. } => drop(self.unreachable.insert(host, record)),
            Event::Interrupted => self.interrupted = Some(record.at),
            Event::TaskFinished { task, outcome, .. }
                if !outcome.satisfied() && !matches!(outcome, Outcome::Skipped { .. }) =>
            {
                self.first_failure.get_or_insert((&task.id, record.at));
            }
            _ => {}
        }
        if let Some(task) = about(&record.event) {
            self.records.entry(&task.id).or_default().push(record);
        }
    }

    /// What is told of a task.
    pub(crate) fn records(&self, task: &str) -> &[&'k Record] {
        self.records.get(task).map_or(&[], Vec::as_slice)
    }

    /// How far a task got.
    pub(crate) fn state(&self, task: &str) -> State<'k> {
        self.courses.get(task).map_or(State::Waiting, |course| course.state)
    }

    /// That a host couldn't be reached, where that was told.
    pub(crate) fn unreachable(&self, host: &HostName) -> Option<&'k Record> {
        self.unreachable.get(host).copied()
    }

    /// When the run was interrupted, the last time that it was under way.
    pub(crate) fn interrupted(&self) -> Option<u64> {
        self.interrupted
    }

    /// The task that failed first, the last time that the run was under way, and when.
    pub(crate) fn first_failure(&self) -> Option<(&'k str, u64)> {
        self.first_failure
    }

    /// The task, or the host, for which nothing began, where that is so.
    pub(crate) fn in_the_way(&self) -> Option<&'k str> {
        let host = || self.unreachable.keys().next().map(|host| host.as_str());
        self.foreseen.or_else(host).filter(|_| self.stops.all_or_nothing)
    }

    /// How many tasks were skipped because of this one.
    pub(crate) fn skipped_because_of(&self, task: &str) -> usize {
        let because = |state: State<'k>| match state {
            State::Ended(Outcome::Skipped { because: Some(because), .. }, _) => because == task,
            _ => false,
        };
        self.courses.values().filter(|course| because(course.state)).count()
    }

    /// The task that ended last of those before a node, through barriers; `None` if not all have.
    pub(crate) fn last_before(&self, node: &'k Linked) -> Option<(&'k Linked, u64)> {
        let mut last = None;
        let mut seen = HashSet::new();
        let mut open: Vec<u32> = node.after.iter().map(|before| before.node).collect();
        while let Some(index) = open.pop() {
            let Some(other) = self.nodes.get(index as usize).filter(|_| seen.insert(index)) else { continue };
            if other.barrier {
                open.extend(other.after.iter().map(|before| before.node));
                continue;
            }
            let State::Ended(_, at) = self.state(&other.name) else { return None };
            if last.is_none_or(|(_, latest)| at >= latest) {
                last = Some((other, at));
            }
        }
        last
    }

    /// The shortest way from a task that was skipped, or that waits, to the one because of which that is.
    /// Empty where there is none.
    pub(crate) fn causes(&self, node: &'k Linked) -> Vec<Cause<'k>> {
        let state = self.state(&node.name);
        let is_root = |other: &Linked| match state {
            State::Ended(Outcome::Skipped { because: Some(root), .. }, _) => other.name == *root,
            State::Waiting => matches!(
                self.state(&other.name),
                State::UnderWay(_) | State::Applying(_) | State::CutOff | State::InDoubt
            ),
            _ => false,
        };
        // Each node with the one that it was reached from, nearer to the task.
        let mut from: HashMap<u32, (Option<u32>, EdgeKind)> = HashMap::new();
        let mut open: VecDeque<(Option<u32>, &Linked)> = [(None, node)].into();
        while let Some((index, at)) = open.pop_front() {
            for before in &at.after {
                let Some(other) = self.nodes.get(before.node as usize) else { continue };
                if from.contains_key(&before.node) {
                    continue;
                }
                from.insert(before.node, (index, before.kind));
                if is_root(other) {
                    return self.way(&from, before.node);
                }
                if other.barrier || is_consequence(&self.state(&other.name)) {
                    open.push_back((Some(before.node), other));
                }
            }
        }
        Vec::new()
    }

    /// The nodes from the one next to the task to `root`.
    fn way(&self, from: &HashMap<u32, (Option<u32>, EdgeKind)>, root: u32) -> Vec<Cause<'k>> {
        let mut way = Vec::new();
        let mut next = Some(root);
        while let Some(index) = next {
            let (nearer, edge) = from[&index];
            way.push(Cause { node: &self.nodes[index as usize], edge });
            next = nearer;
        }
        way.reverse();
        way
    }
}

/// The tasks that events are about, where what they come after wasn't kept.
pub(crate) fn told(records: &[Record]) -> Vec<Linked> {
    let mut nodes: Vec<Linked> = Vec::new();
    let mut known: HashSet<&str> = HashSet::new();
    for record in records {
        if let Event::TaskStarted { task } | Event::TaskFinished { task, .. } = &record.event
            && known.insert(&task.id)
        {
            nodes.push(Linked { name: task.id.clone(), barrier: false, place: task.place.clone(), after: vec![] });
        }
    }
    nodes
}
