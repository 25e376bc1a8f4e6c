//! Chains: new files that follow one another on a host go there together, in one round trip and with one
//! process for all where each alone would need its own.
//!
//! A chain is a short cut to what the tasks' own turns would bring about. Where something isn't as it should
//! be, each task has its own turn after all, and that tells what is wrong.

use crate::decide::decide;
use crate::decide::file::chain::{Came, NewFile};
use crate::decide::known::Ended;
use crate::decide::ready::Ready;
use crate::decide::seen::Seen;
use crate::lane::Stopped;
use crate::run::state::Run;
use crate::run::turn::{MOST_LOSSES, Promised, Worker};
use crate::step::trouble::Trouble;
use crate::step::{self, Shown, judge};
use futures_util::future::try_join_all;
use haflow_model::{Decision, Diff, EdgeKind, Event, NodeId, Outcome};
use std::time::Instant;

/// At most this many tasks in a chain.
const MOST: usize = 32;

/// A task of a chain.
pub(super) struct Link<'r> {
    id: NodeId,
    task: Ready<'r>,
    seen: Seen,
    diff: Diff,
}

/// What has become of a chain.
pub(super) struct Chained<'r> {
    links: Vec<Link<'r>>,
    /// When its tasks were told to have begun, if they were.
    begun: Option<Instant>,
    /// How they ended, each in its place; those that are missing, or nothing, have their own turn.
    ended: Vec<Option<Ended>>,
}

impl<'r> Run<'r> {
    /// The chain that begins with this task, whose turn has come, if more than one is in it.
    pub(super) fn chain(&mut self, first: NodeId) -> Option<Vec<Link<'r>>> {
        let mut ids = vec![first];
        let mut links = vec![self.link(first)?];
        while links.len() < MOST {
            let last = ids[ids.len() - 1];
            let after = self.graph.after(last).map(|edge| edge.to);
            let next = after.filter(|id| self.schedule.waits_for_these_only(*id, &ids)).find_map(|id| self.link(id));
            let Some(next) = next else { break };
            let again = |link: &Link<'_>| link.file().path() == next.file().path();
            if !links[0].goes_with(&next) || links.iter().any(again) {
                break;
            }
            ids.push(next.id);
            links.push(next);
        }
        if links.len() < 2 {
            return None;
        }
        for link in &links {
            self.seen.remove(&link.id);
            self.begun[link.id.index()] = true;
        }
        Some(links)
    }

    /// The task as part of a chain, if it can be one and was seen before its turn.
    fn link(&self, id: NodeId) -> Option<Link<'r>> {
        let before = self.before(id);
        let triggered = self.graph.before(id).any(|edge| edge.kind == EdgeKind::Trigger);
        if triggered
            || before.held.is_some()
            || before.past.is_some()
            || before.in_chain.is_some()
            || self.looking.contains(&id)
        {
            return None;
        }
        let seen = self.seen.get(&id)?.clone();
        let task = self.prepare(id).ok()?;
        step::new_file(&task, &seen)?;
        let decision = decide(&task, &seen);
        let holds = |promised: Promised<'_>| promised.holds(self.events, &task, &seen, decision.clone()).is_ok();
        if !before.promised.is_none_or(holds) {
            return None;
        }
        let Decision::Change { diff } = decision else { return None };
        Some(Link { id, task, seen, diff })
    }
}

impl Link<'_> {
    /// What is to come.
    fn file(&self) -> NewFile<'_> {
        step::new_file(&self.task, &self.seen).expect("a link is a new file")
    }

    fn goes_with(&self, next: &Self) -> bool {
        let (task, other) = (self.task.task, next.task.task);
        task.host == other.host && task.user == other.user && self.file().goes_with(&next.file())
    }
}

impl Worker<'_> {
    /// Does what a chain's tasks would do one after the other.
    pub(super) async fn chain<'r>(&self, links: Vec<Link<'r>>) -> Chained<'r> {
        let mut begun = None;
        // What didn't work is told by the tasks' own turns.
        let ended = self.together(&links, &mut begun).await.unwrap_or_default();
        Chained { links, begun, ended }
    }

    /// Tells that a task of a chain begins, and returns when that is kept: of all at once, with one sync.
    async fn intends(&self, Link { task, diff, .. }: &Link<'_>) -> Result<(), Trouble> {
        self.gatekeeper.ask()?;
        self.events.emit(Event::TaskStarted { task: task.task.into() }).await;
        let (task, diff) = (task.task.into(), diff.clone());
        Ok(self.events.intend(Event::ApplyStarted { task, attempt: 1, step: None, diff }).await?)
    }

    async fn together(&self, links: &[Link<'_>], begun: &mut Option<Instant>) -> Result<Vec<Option<Ended>>, Trouble> {
        self.gatekeeper.ask()?;
        self.disturb();
        let first = links[0].task.task;
        let lane = self.hosts.lane(&first.host, first.user.as_deref());
        let mut lane = self.gatekeeper.wait_for(lane).await??;
        lane.remove_ended();
        self.gatekeeper.ask()?;
        *begun = Some(Instant::now());
        try_join_all(links.iter().map(|link| self.intends(link))).await?;
        let tasks: Vec<(&Ready<'_>, NewFile<'_>)> = links.iter().map(|link| (&link.task, link.file())).collect();
        let applied = step::apply_together(&mut lane, &tasks, &self.interrupt.kill).await;
        drop(lane);
        Ok(match applied {
            Ok(Came::Together(applied)) => {
                let ended = |(link, applied): (&Link<'_>, _)| match judge(&link.task, applied) {
                    Ok(output) => Some((Outcome::Changed { diff: link.diff.clone() }, output)),
                    Err(_) if link.task.task.policy.retries > 0 => None,
                    Err(failure) => Some((Outcome::Failed { failure: Box::new(failure) }, None)),
                };
                links.iter().zip(applied).map(ended).collect()
            }
            Ok(Came::Apart) => Vec::new(),
            Err(killed @ Trouble::Killed(_)) => links.iter().map(|_| Some(in_doubt(&killed))).collect(),
            // Some may be there. Whatever may begin by now, what has begun is seen to.
            Ok(Came::Unknown) | Err(_) => self.found(links).await,
        })
    }

    /// How those of a chain's tasks have ended whose files are there, or can't be looked at; once more where
    /// the connection is lost over it and comes back.
    async fn found(&self, links: &[Link<'_>]) -> Vec<Option<Ended>> {
        let (task, kill) = (links[0].task.task, &self.interrupt.kill);
        let tasks: Vec<(Ready<'_>, Option<Seen>)> = links.iter().map(|link| (link.task.clone(), None)).collect();
        let mut found: Vec<Option<Ended>> = vec![None; links.len()];
        let mut losses = 0;
        loop {
            let look = async {
                let mut lane = tokio::select! {
                    lane = self.hosts.lane(&task.host, task.user.as_deref()) => lane?,
                    () = kill.cancelled() => return Err(Trouble::Killed(Stopped::default())),
                };
                let each = |index: usize, shown: Shown| {
                    found[index] = match shown {
                        Shown::Seen(Ok(seen)) if decide(&tasks[index].0, &seen) == Decision::UpToDate => {
                            Some((Outcome::Changed { diff: links[index].diff.clone() }, None))
                        }
                        Shown::Seen(Err(trouble)) => Some(in_doubt(&trouble)),
                        Shown::Seen(Ok(_)) | Shown::Rehearsed(_) => None,
                    };
                };
                step::look_all(&mut lane, &tasks, kill, each).await
            };
            match look.await {
                Ok(()) => return found,
                Err(Trouble::Lost(_)) if losses < MOST_LOSSES => losses += 1,
                Err(trouble) => return links.iter().map(|_| Some(in_doubt(&trouble))).collect(),
            }
        }
    }
}

fn in_doubt(trouble: &Trouble) -> Ended {
    let why = trouble.while_applied().unwrap_or_else(|| match trouble {
        Trouble::Failed(failure) => format!("it was being applied, and can't be looked at: {}", failure.message),
        _ => "it was being applied".to_owned(),
    });
    (Outcome::InDoubt { why }, None)
}

impl<'r> Run<'r> {
    /// Ends the tasks of a chain that are done, each at its turn. The first one, if it isn't done, has its
    /// own turn now.
    pub(super) async fn chained(&mut self, chained: Chained<'r>, worker: &Worker<'_>) -> Option<(NodeId, Ready<'r>)> {
        let Chained { links, begun, ended } = chained;
        let took = begun.map(|begun| begun.elapsed());
        let mut ended = ended.into_iter();
        for link in &links {
            match ended.next().flatten() {
                Some(ended) => drop(self.done.insert(link.id, (ended, took.unwrap_or_default()))),
                None => self.in_chain.extend(took.map(|took| (link.id, took))),
            }
        }
        let first = links[0].id;
        if !self.done.contains_key(&first) {
            return links.into_iter().next().map(|link| (first, link.task));
        }
        for Link { id, .. } in links {
            let may_end = self.done.contains_key(&id) && (id == first || self.schedule.take(id));
            if may_end && let Some((ended, took)) = self.done.remove(&id) {
                self.end(id, ended, took, worker).await;
            }
        }
        None
    }
}
