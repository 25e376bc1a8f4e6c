use super::*;
use crate::{Act, Action, Policy, Probe, Read, Scope};
use std::collections::BTreeMap;

fn task(host: &str, name: &str, line: u32) -> Task {
    Task {
        host: host.into(),
        kind: "act".into(),
        name: name.into(),
        action: Action::Act(Act { reason: "test".into(), apply: "true".into(), rehearse: None }),
        params: BTreeMap::new(),
        when: None,
        policy: Policy::default(),
        user: None,
        scope: Scope::default(),
        tags: Vec::new(),
        destroys: None,
        place: Place::new("p.rhai", line, 1),
        declared_in: None,
    }
}

fn pairs(graph: &Graph) -> Vec<(u32, u32)> {
    graph.edges().iter().map(|edge| (edge.from.0, edge.to.0)).collect()
}

#[test]
fn tasks_of_one_host_keep_their_order_and_hosts_are_independent() {
    let mut draft = Draft::new();
    for (host, name) in [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")] {
        draft.task(task(host, name, 1)).unwrap();
    }
    assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 2), (1, 3)]);
}

#[test]
fn a_barrier_is_one_node() {
    let mut draft = Draft::new();
    draft.task(task("a", "1", 1)).unwrap();
    draft.task(task("b", "1", 1)).unwrap();
    draft.barrier("all", &["a".into(), "b".into()], Place::file("p.rhai"));
    draft.task(task("a", "2", 1)).unwrap();
    draft.task(task("b", "2", 1)).unwrap();
    assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 2), (1, 2), (2, 3), (2, 4)]);
}

#[test]
fn branches_of_a_parallel_have_no_order_among_them() {
    let mut draft = Draft::new();
    draft.task(task("a", "before", 1)).unwrap();
    draft.open_parallel();
    draft.task(task("a", "left", 1)).unwrap();
    draft.task(task("a", "left2", 1)).unwrap();
    draft.end_branch();
    draft.task(task("a", "right", 1)).unwrap();
    draft.end_branch();
    draft.close_parallel();
    draft.task(task("a", "after", 1)).unwrap();
    assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 1), (1, 2), (0, 3), (2, 4), (3, 4)]);
}

#[test]
fn a_batch_waits_for_the_one_before_on_whatever_host() {
    let mut draft = Draft::new();
    let first = draft.next_id();
    draft.task(task("b", "join", 1)).unwrap();
    let batch = draft.batch(first, "batch 1", Place::file("p.rhai"));
    draft.set_floor(Some(batch));
    draft.task(task("c", "join", 1)).unwrap();
    draft.task(task("c", "check", 1)).unwrap();
    assert_eq!(pairs(&draft.seal(vec![]).unwrap()), [(0, 1), (1, 2), (2, 3)]);
}

#[test]
fn a_second_task_of_the_same_name_is_refused_with_both_places() {
    let mut draft = Draft::new();
    draft.task(task("a", "1", 3)).unwrap();
    let refused = draft.task(task("a", "1", 7)).unwrap_err();
    let lines: Vec<u32> = refused.labels.iter().map(|label| label.place.line).collect();
    assert_eq!((refused.message.as_str(), lines), ("task `a/act:1` is declared twice", vec![7, 3]));
}

#[test]
fn a_cycle_is_refused_at_the_edge_that_closes_it() {
    let mut draft = Draft::new();
    let one = draft.task(task("a", "1", 1)).unwrap();
    let two = draft.task(task("a", "2", 2)).unwrap();
    let other = draft.task(task("b", "1", 3)).unwrap();
    draft.edge(two, other, EdgeKind::Order, Place::new("p.rhai", 4, 1));
    draft.edge(other, one, EdgeKind::Order, Place::new("p.rhai", 5, 1));
    draft.edge(one, other, EdgeKind::Order, Place::new("p.rhai", 6, 1));
    let refused = draft.seal(vec![]).unwrap_err();
    assert_eq!(refused.message, "tasks wait for each other in a circle: a/act:1 → a/act:2 → b/act:1 → a/act:1");
    assert_eq!((refused.labels[0].place.line, refused.labels[1].place.line), (5, 1));
}

#[test]
fn what_is_left_of_a_graph_keeps_its_order_and_its_sources() {
    let mut draft = Draft::new();
    draft.task(task("a", "1", 1)).unwrap();
    let mut read = task("a", "read", 2);
    read.action = Action::Read(Read { probe: Probe { script: "true".into(), jq: None, raw: false }, secret: false });
    let read = draft.task(read).unwrap();
    draft.task(task("a", "2", 3)).unwrap();
    let mut uses = task("b", "uses", 4);
    uses.params.insert("x".into(), Param::Output(OutputRef { task: read, secret: false }));
    draft.task(uses).unwrap();
    draft.task(task("a", "3", 5)).unwrap();
    let graph = draft.seal(vec![]).unwrap();
    let left = graph.only(|task| task.host.as_str() == "b" || &*task.name == "3");
    let names: Vec<String> = left.tasks().map(|(_, task)| task.id()).collect();
    assert_eq!(names, ["a/act:read", "b/act:uses", "a/act:3"]);
    assert_eq!(pairs(&left), [(0, 1), (0, 2)]);
    assert_eq!(left.task(NodeId(1)).unwrap().outputs().next().unwrap().task, NodeId(0));
}

#[test]
fn a_graph_comes_back_from_json_as_it_was() {
    let mut draft = Draft::new();
    draft.task(task("a", "1", 1)).unwrap();
    draft.task(task("a", "2", 2)).unwrap();
    let graph = draft.seal(vec![Host::named("a")]).unwrap();
    let text = serde_json::to_string(&graph).unwrap();
    let back: Graph = serde_json::from_str(&text).unwrap();
    assert_eq!(text, serde_json::to_string(&back).unwrap());
}
