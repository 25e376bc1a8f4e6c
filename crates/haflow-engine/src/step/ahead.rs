//! Looks at tasks before their turn, many in one round trip.
//!
//! A plan looks at everything this way. A run does so until its first change: what was seen before it is what
//! a task would see at its turn, and a converged host answers for all of its tasks in a few round trips.
//! After it a run goes on with files that are to be written: their apply makes sure by itself that what was
//! seen still holds.

use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::hosts::Hosts;
use crate::step::trouble::Trouble;
use crate::step::{self, Shown, rehearse};
use haflow_model::{Graph, HostName, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// At most this many tasks in one round trip.
const MOST: usize = 32;

/// A lane: a host, and the user of its tasks.
pub(crate) type Key = (HostName, Option<String>);

/// The tasks that may be looked at, by lane.
#[derive(Debug)]
pub(crate) struct Ahead<'g> {
    graph: &'g Graph,
    lanes: BTreeMap<Key, Queue<'g>>,
    /// Lanes that aren't at work and may have tasks: at each event only these are looked through.
    free: BTreeSet<Key>,
}

#[derive(Debug)]
struct Queue<'g> {
    tasks: VecDeque<NodeId>,
    /// Tasks to be rehearsed, and what was seen of them: they go with the next looks, so that few are kept.
    rehearsals: Vec<(NodeId, Box<(Ready<'g>, Seen)>)>,
    busy: bool,
    /// How many looks go into the next batch. It grows, so that the first answer comes soon and long queues
    /// need few round trips.
    size: usize,
}

impl Queue<'_> {
    fn new() -> Self {
        Self { tasks: VecDeque::new(), rehearsals: Vec::new(), busy: false, size: 1 }
    }

    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.rehearsals.is_empty()
    }
}

/// Tasks to be looked at, or rehearsed, in one round trip.
#[derive(Debug)]
pub(crate) struct Batch<'g> {
    key: Key,
    ids: Vec<NodeId>,
    tasks: Vec<(Ready<'g>, Option<Seen>)>,
}

impl<'g> Ahead<'g> {
    pub(crate) fn new(graph: &'g Graph) -> Self {
        Self { graph, lanes: BTreeMap::new(), free: BTreeSet::new() }
    }

    /// Puts a task at the end of its lane's queue.
    pub(crate) fn offer(&mut self, id: NodeId) {
        self.push(id, |queue| queue.tasks.push_back(id));
    }

    /// Has a task, of which that was seen, rehearsed with the next looks of its lane.
    pub(crate) fn rehearse(&mut self, id: NodeId, task: Ready<'g>, seen: Seen) {
        self.push(id, |queue| queue.rehearsals.push((id, Box::new((task, seen)))));
    }

    fn push(&mut self, id: NodeId, push: impl FnOnce(&mut Queue<'g>)) {
        if let Some(task) = self.graph.task(id) {
            let key = (task.host.clone(), task.user.clone());
            let queue = self.lanes.entry(key.clone()).or_insert_with(Queue::new);
            push(queue);
            if !queue.busy {
                self.free.insert(key);
            }
        }
    }

    /// The next batch of a lane that isn't at work. `prepare` gives what is known of a task, or nothing if it
    /// needn't be looked at any more.
    pub(crate) fn batch(&mut self, mut prepare: impl FnMut(NodeId) -> Option<Ready<'g>>) -> Option<Batch<'g>> {
        while let Some(key) = self.free.pop_first() {
            let Some(queue) = self.lanes.get_mut(&key) else { continue };
            let (mut ids, mut tasks) = (Vec::new(), Vec::new());
            for (id, told) in std::mem::take(&mut queue.rehearsals) {
                ids.push(id);
                tasks.push((told.0, Some(told.1)));
            }
            let most = tasks.len() + queue.size;
            while tasks.len() < most
                && let Some(id) = queue.tasks.pop_front()
            {
                if let Some(task) = prepare(id) {
                    ids.push(id);
                    tasks.push((task, None));
                }
            }
            if !tasks.is_empty() {
                queue.busy = true;
                queue.size = (queue.size * 2).min(MOST);
                return Some(Batch { key, ids, tasks });
            }
        }
        None
    }

    /// Looks at no more tasks of a host.
    pub(crate) fn give_up(&mut self, host: &HostName) {
        let of_host = self.lanes.range_mut((host.clone(), None)..).take_while(|((of, _), _)| of == host);
        for (_, queue) in of_host {
            queue.tasks.clear();
            queue.rehearsals.clear();
        }
    }

    /// The lane of a batch is free again.
    pub(crate) fn free(&mut self, key: &Key) {
        if let Some(queue) = self.lanes.get_mut(key) {
            queue.busy = false;
            if !queue.is_empty() {
                self.free.insert(key.clone());
            }
        }
    }
}

/// What a look before a task's turn showed, or its rehearsal.
#[derive(Debug)]
pub(crate) struct Looked<'g> {
    pub(crate) id: NodeId,
    pub(crate) task: Ready<'g>,
    pub(crate) shown: Shown,
}

impl<'g> Batch<'g> {
    /// The tasks in it.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.ids.iter().copied()
    }

    /// Looks at all of them, tells each when it has been seen, and returns the lane's key. Where one of
    /// several breaks the lane or takes too long, the rest are looked at one by one. When it is to `stop` it
    /// waits for no further lane, and `kill` ends what is looking.
    pub(crate) async fn look(
        self,
        hosts: &Hosts,
        stop: &CancellationToken,
        kill: &CancellationToken,
        told: UnboundedSender<Looked<'g>>,
    ) -> Key {
        let (host, user) = &self.key;
        let lane = async || {
            tokio::select! {
                biased;
                () = stop.cancelled() => Err(Trouble::Closed),
                lane = hosts.lane(host, user.as_deref()) => lane.map_err(Trouble::from),
            }
        };
        let (ids, tasks) = (self.ids, self.tasks);
        let mut done: Vec<bool> = vec![false; ids.len()];
        let tell = |index: usize, shown| {
            // The receiver is gone where the run has ended.
            let _ = told.send(Looked { id: ids[index], task: tasks[index].0.clone(), shown });
        };
        let all = async {
            let mut lane = lane().await?;
            let each = |index, shown| {
                done[index] = true;
                tell(index, shown);
            };
            step::look_all(&mut lane, &tasks, kill, each).await
        };
        if let Err(trouble) = all.await {
            let left: Vec<usize> = (0..ids.len()).filter(|index| !done[*index]).collect();
            let none = |index: usize, trouble| match tasks[index].1 {
                Some(_) => Shown::Rehearsed(rehearse::not_run(&trouble)),
                None => Shown::Seen(Err(trouble)),
            };
            if let [only] = left[..] {
                tell(only, none(only, trouble));
            } else {
                for index in left {
                    let one = async {
                        let mut lane = lane().await?;
                        let mut shown = None;
                        step::look_all(&mut lane, &tasks[index..=index], kill, |_, one| shown = Some(one)).await?;
                        shown.ok_or_else(|| Trouble::Lost("an answer is missing".into()))
                    };
                    tell(index, one.await.unwrap_or_else(|trouble| none(index, trouble)));
                }
            }
        }
        self.key
    }
}
