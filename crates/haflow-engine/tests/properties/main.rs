//! What holds of every run, tried on random graphs: lanes without a network, a real `sh` behind each, three
//! hosts of which one is gone.
//!
//! `PROPTEST_CASES=10000 cargo test -p haflow-engine --test properties` tries more of them.

mod world;

use crate::world::{Does, World, hosts, specs};
use haflow_engine::lane::Lane;
use haflow_engine::{Events, Hosts, Interrupt, OpenLane, Past, Settings, Stage, Unreachable, execute, past};
use haflow_model::{Diff, Event, Graph, Host, NodeId, Outcome, Record, Secrets, courses};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::Command;

type Shells = Arc<Mutex<Vec<tokio::process::Child>>>;

/// A shell for every lane; they are kept, so that it can be waited for their ends.
fn lanes(shells: &Shells) -> OpenLane {
    let shells = Arc::clone(shells);
    Arc::new(move |host: Host, _| {
        let shells = Arc::clone(&shells);
        Box::pin(async move {
            if host.name.as_str() == "gone" {
                return Err(Unreachable { stage: Stage::Network, message: "gone can't be reached".into(), hint: None });
            }
            let mut shell = Command::new("sh");
            shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = shell.spawn().expect("sh starts");
            let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            shells.lock().expect("no panic holds it").push(child);
            let (Some(stdin), Some(stdout), Some(stderr)) = streams else { panic!("its streams are piped") };
            Ok(Lane::open(stdin, stdout, stderr, ()).await.expect("sh answers"))
        })
    })
}

/// How a run is made an end of.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It isn't.
    Own,
    /// It is interrupted when it has told so many events.
    Interrupted(usize),
    /// It dies when it has told so many events, before another one is kept.
    Dies(usize),
    /// Its first failure stops it.
    FailFast,
}

/// Runs a graph, and returns what it told. What it had sent to its hosts has ended there.
fn run(graph: &Graph, parallel: usize, past: Option<BTreeMap<String, Past>>, end: End) -> Vec<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let shells = Shells::default();
    runtime.block_on(async {
        let hosts = Hosts::with_lanes(&hosts(), lanes(&shells));
        let interrupt = Interrupt::default();
        let settings = Settings {
            run: "r".into(),
            playbook: "p".into(),
            parallel,
            fail_fast: matches!(end, End::FailFast),
            all_or_nothing: false,
            destroy_anyway: false,
            plan: None,
            past,
            connecting: Duration::ZERO,
            secrets: Secrets::default(),
        };
        let (events, mut told) = Events::channel();
        let mut records = Vec::new();
        let listen = async {
            while let Some(mut event) = told.recv().await {
                if matches!(end, End::Dies(after) if records.len() == after) {
                    return;
                }
                event.kept();
                records.push(event.record);
                if matches!(end, End::Interrupted(after) if records.len() == after) {
                    interrupt.stop.cancel();
                }
            }
        };
        let work = async {
            execute(graph, &hosts, &events, &settings, &interrupt).await;
            drop(events);
        };
        let both = async {
            tokio::pin!(listen, work);
            tokio::select! {
                biased;
                () = &mut listen => {}
                () = &mut work => listen.await,
            }
        };
        tokio::time::timeout(Duration::from_secs(30), both).await.expect("it ends: nothing waits for ever");
        // Results go when all that was told is kept.
        if !matches!(end, End::Dies(_)) {
            hosts.tidy().await;
        }
        drop(hosts);
        let left = std::mem::take(&mut *shells.lock().expect("no panic holds it"));
        for mut shell in left {
            shell.wait().await.expect("it ends");
        }
        records
    })
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Changed { .. } => "changed",
        Outcome::Failed { .. } => "failed",
        Outcome::Skipped { .. } => "skipped",
        Outcome::Unreachable { .. } => "unreachable",
        Outcome::Cancelled => "cancelled",
        Outcome::InDoubt { .. } => "in doubt",
    }
}

/// Whether a task ended as it must. Of a host that can't be reached either is told.
fn fits(outcome: &Outcome, expected: &str) -> bool {
    match expected {
        "barred" => matches!(outcome, Outcome::Skipped { because: Some(_), .. } | Outcome::Unreachable { .. }),
        "skipped" => matches!(outcome, Outcome::Skipped { because: None, .. }),
        expected => word(outcome) == expected,
    }
}

/// Whether an apply or a task begins in these events.
fn begins(records: &[Record]) -> bool {
    records.iter().any(|record| matches!(record.event, Event::TaskStarted { .. } | Event::ApplyStarted { .. }))
}

/// Every task has ended, as it must, and the totals count that.
fn all_ended(world: &World, records: &[Record]) -> Result<(), TestCaseError> {
    let ends = world.outcomes(records)?;
    for (id, expected) in world.expected() {
        prop_assert!(
            ends.get(&id).is_some_and(|end| fits(end, expected)),
            "{id:?}: {:?}, not {expected}",
            ends.get(&id)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Each task ends once, and so as what it does and what comes before it make it end; the order holds on
    /// the hosts.
    #[test]
    fn a_run_comes_to_its_end(specs in specs(), parallel in 1_usize..9) {
        let world = World::new(&specs);
        let records = run(&world.graph, parallel, None, End::Own);
        all_ended(&world, &records)?;
        world.order_holds()?;
        let Some(Event::RunFinished { counts, .. }) = records.last().map(|record| &record.event) else {
            panic!("the last event is another one")
        };
        let ends = world.outcomes(&records)?;
        let mut counted = haflow_model::RunCounts::default();
        for end in ends.values() {
            counted.add(end);
        }
        prop_assert_eq!(*counts, counted);
        // Its events are in the order of the edges too.
        let at = |id: NodeId, ended: bool| records.iter().position(|record| match &record.event {
            Event::TaskFinished { task, .. } => ended && world.id(&task.id) == id,
            Event::TaskStarted { task } => !ended && world.id(&task.id) == id,
            _ => false,
        });
        for (id, _) in world.graph.tasks() {
            for before in world.before(id) {
                if let (Some(begun), Some(ended)) = (at(id, false), at(before, true)) {
                    let holds = ended < begun || world.may_go_together(id, before);
                    prop_assert!(holds, "{:?} is told to have begun before {:?} ended", id, before);
                }
            }
        }
    }

    /// After an interrupt nothing begins; what runs ends, and every task has an outcome: its own, or that it
    /// was cancelled, or skipped since another was.
    #[test]
    fn an_interrupt_leaves_no_task_without_an_outcome(specs in specs(), parallel in 1_usize..20, after in 1_usize..40) {
        let world = World::new(&specs);
        let records = run(&world.graph, parallel, None, End::Interrupted(after));
        let ends = world.outcomes(&records)?;
        for (id, expected) in world.expected() {
            let end = ends.get(&id);
            prop_assert!(end.is_some(), "{id:?} has no outcome");
            let end = end.expect("it was just seen");
            let stopped = matches!(end, Outcome::Cancelled | Outcome::Skipped { because: Some(_), .. });
            // What a cancelled task bars on a host that can't be reached is told to be there.
            let is_gone = world.graph.task(id).expect("a task").host.as_str() == "gone";
            let stopped = stopped || fits(end, "barred") && is_gone;
            prop_assert!(stopped || fits(end, expected), "{id:?}: {end:?}, not {expected}");
            let done = world.done(id) == 1;
            prop_assert_eq!(done, matches!(end, Outcome::Changed { .. }), "{:?}: {:?}", id, end);
        }
        world.order_holds()?;
        let told = records.iter().position(|record| record.event == Event::Interrupted);
        prop_assert!(told.is_none_or(|told| !begins(&records[told..])), "something began after the interrupt");
    }

    /// With `fail_fast`, nothing begins after the first failure; what runs ends, and every task has an
    /// outcome.
    #[test]
    fn a_run_that_fails_fast_begins_nothing_after_its_first_failure(specs in specs(), parallel in 1_usize..20) {
        let world = World::new(&specs);
        let records = run(&world.graph, parallel, None, End::FailFast);
        let ends = world.outcomes(&records)?;
        prop_assert_eq!(ends.len(), world.graph.tasks().count());
        world.order_holds()?;
        let told = records.iter().position(|record| matches!(
            &record.event,
            Event::TaskFinished { outcome: Outcome::Failed { .. } | Outcome::Unreachable { .. }, .. }
        ));
        prop_assert!(told.is_none_or(|told| !begins(&records[told..])), "something began after the first failure");
    }

    /// A run that dies after any of its events, and once more while it is resumed, comes to the same end, and
    /// nothing is done twice.
    #[test]
    fn a_run_is_resumed_from_any_prefix_of_its_journal(
        specs in specs(), parallel in 1_usize..9, first in any::<Index>(), second in any::<Index>(),
    ) {
        let world = World::new(&specs);
        let whole = run(&World::new(&specs).graph, parallel, None, End::Own).len();
        let mut journal = run(&world.graph, parallel, None, End::Dies(1 + first.index(whole)));
        let again = run(&world.graph, parallel, Some(known(&world, &journal)), End::Dies(1 + second.index(whole)));
        journal.extend(again);
        let last = run(&world.graph, parallel, Some(known(&world, &journal)), End::Own);
        // What ended well before isn't told again.
        let told = world.outcomes(&last)?;
        for (id, expected) in world.expected() {
            let past = known(&world, &journal).remove(&world.graph.task(id).expect("a task").id());
            let end = match (told.get(&id), past) {
                (Some(end), _) => end.clone(),
                (None, Some(Past::Ended { outcome, .. })) => outcome,
                (None, past) => panic!("{id:?} has no outcome, and before that {past:?}"),
            };
            prop_assert!(fits(&end, expected), "{id:?}: {end:?}, not {expected}");
        }
        world.order_holds()?;
        for (id, _) in world.graph.tasks() {
            let ends = world.done(id);
            let expected = usize::from(world.expected()[&id] == "changed");
            prop_assert_eq!(ends, expected, "{:?} was done {} times", id, ends);
        }
    }
}

/// What is known of a run that died: of acts that were under way the user looks.
fn known(world: &World, journal: &[Record]) -> BTreeMap<String, Past> {
    let mut known = past(&courses(journal));
    let log = world.log();
    for (id, task) in world.graph.tasks() {
        if let (Some(past @ Past::InDoubt { step: None, .. }), Does::Act { .. }) =
            (known.get_mut(&task.id()), world.does[&id])
        {
            *past = if log.contains(&format!("end {}", task.name)) {
                Past::Ended { outcome: Outcome::Changed { diff: Diff::default() }, output: Some(json!(task.name)) }
            } else {
                Past::Tried { attempt: 1 }
            };
        }
    }
    known
}

/// A run takes some milliseconds: so many, where nobody asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}
