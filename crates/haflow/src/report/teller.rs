//! Telling on a thread of its own: a terminal that is stopped, or a pipe that nobody reads, holds up the
//! teller and nothing else.

use super::Reporter;
use haflow_engine::Interrupt;
use haflow_model::{Event, Record, json_size};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The pause between two drawings of what runs now.
const TICK: Duration = Duration::from_millis(100);
/// The most that may wait until it can be told, in bytes. What comes then is left out, and that is told.
const MOST_WAITING: usize = 32 << 20;
/// How long an interrupted run waits for somebody to take what it tells, from the last time that somebody
/// did.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells what it is given, in its own time.
pub(crate) struct Teller {
    queue: Arc<Queue>,
    done: oneshot::Receiver<()>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    come: Condvar,
    /// How many were told.
    told: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<(usize, Item)>,
    bytes: usize,
    closed: bool,
}

enum Item {
    Record(Box<Record>),
    /// How many events weren't told.
    LeftOut(usize),
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, record: Record) {
        // About as much memory as its line in a journal has bytes.
        let size = json_size(&record);
        // How it ended is told in any case.
        let must = matches!(record.event, Event::RunFinished { .. } | Event::PlanFinished { .. } | Event::Interrupted);
        if must || self.bytes + size <= MOST_WAITING {
            self.bytes += size;
            self.records.push_back((size, Item::Record(Box::new(record))));
        } else if let Some((_, Item::LeftOut(number))) = self.records.back_mut() {
            *number += 1;
        } else {
            self.records.push_back((0, Item::LeftOut(1)));
        }
    }

    fn next(&mut self) -> Option<Item> {
        let (size, told) = self.records.pop_front()?;
        self.bytes -= size;
        Some(told)
    }
}

impl Teller {
    /// Begins to tell.
    pub(crate) fn begin(reporter: Reporter) -> Self {
        let queue = Arc::<Queue>::default();
        let (ended, done) = oneshot::channel();
        let told = Arc::clone(&queue);
        std::thread::spawn(move || {
            tell(reporter, &told);
            // The receiver is gone where the task that waited was interrupted.
            let _ = ended.send(());
        });
        Self { queue, done }
    }

    /// What takes in records, and never waits.
    pub(crate) fn taker(&self) -> impl Fn(Record) + Send + 'static {
        let queue = Arc::clone(&self.queue);
        move |record| {
            queue.waiting().take(record);
            queue.come.notify_one();
        }
    }

    /// Waits until all is told, or until somebody who was waited for in vain interrupts. Whether all was.
    pub(crate) async fn finish(mut self, interrupt: &Interrupt) -> bool {
        self.queue.waiting().closed = true;
        self.queue.come.notify_one();
        let interrupted = interrupt.stop.is_cancelled();
        let again = if interrupted { &interrupt.kill } else { &interrupt.stop };
        let again_counts = !again.is_cancelled();
        loop {
            let told = self.queue.told.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                _ = &mut self.done => return true,
                () = again.cancelled(), if again_counts => return false,
                () = tokio::time::sleep(PATIENCE), if interrupted => {
                    if self.queue.told.load(Ordering::Relaxed) == told {
                        return false;
                    }
                }
            }
        }
    }
}

fn tell(mut reporter: Reporter, queue: &Queue) {
    let mut ticked = Instant::now();
    loop {
        let mut waiting = queue.waiting();
        let next = loop {
            if let Some(next) = waiting.next() {
                break Some(next);
            }
            if waiting.closed {
                reporter.finish();
                return;
            }
            let (left, timeout) = queue.come.wait_timeout(waiting, TICK).unwrap_or_else(PoisonError::into_inner);
            waiting = left;
            if timeout.timed_out() {
                break waiting.next();
            }
        };
        drop(waiting);
        queue.told.fetch_add(u64::from(next.is_some()), Ordering::Relaxed);
        match next {
            Some(Item::Record(record)) => reporter.event(&record),
            Some(Item::LeftOut(number)) => reporter.left_out(number),
            None => {}
        }
        if ticked.elapsed() >= TICK {
            reporter.tick();
            ticked = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use haflow_model::{Place, TaskRef};

    #[test]
    fn what_nobody_takes_is_left_out_and_counted() {
        let task = TaskRef {
            id: "a/x:1".into(),
            host: "a".into(),
            kind: "x".into(),
            name: "1".into(),
            place: Place::file("p.rhai"),
        };
        let said = || Record { at: 0, event: Event::StepSaid { task: task.clone(), line: "x".repeat(1 << 20) } };
        let mut waiting = Waiting::default();
        for _ in 0..100 {
            waiting.take(said());
        }
        waiting.take(Record { at: 0, event: Event::Interrupted });
        assert!(waiting.bytes <= MOST_WAITING + 100);
        let told: Vec<Item> = std::iter::from_fn(|| waiting.next()).collect();
        let (last, rest) = told.split_last().expect("there are some");
        assert!(matches!(last, Item::Record(record) if record.event == Event::Interrupted));
        let (left_out, records) = rest.split_last().expect("there are some");
        let Item::LeftOut(number) = left_out else { panic!("some are left out") };
        assert_eq!((records.len() + number, waiting.bytes), (100, 0));
    }
}
