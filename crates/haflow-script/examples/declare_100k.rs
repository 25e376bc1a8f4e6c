//! How long it takes to declare 100,000 tasks to a sealed graph.
//!
//! `cargo run --release --example declare_100k` runs it.

use haflow_script::{Request, assumed_facts, declare};
use std::collections::BTreeMap;
use std::time::Instant;

const PLAYBOOKS: [(&str, &str); 4] = [
    (
        "natively, in a loop",
        r#"let nodes = group("web", #{ lab: 10 });
        for i in 0..10000 { for node in nodes {
            ensure(node, #{ kind: "thing", name: `thing ${i}`, params: #{ number: i, text: "x" },
                probe: "echo $number", jq: ".a | select(. == $number)", want: i, apply: "true" });
        } }"#,
    ),
    (
        "by a module, in a loop",
        r#"let nodes = group("web", #{ lab: 10 });
        import "kind" as kind;
        for i in 0..10000 { for node in nodes { kind::thing(node, `thing ${i}`, #{ number: i }); } }"#,
    ),
    (
        "with their handles in a list",
        r#"let node = host("a"); let all = [];
        for i in 0..100000 { all.push(act(node, #{ name: `act ${i}`, reason: "test", apply: "true" })); }
        barrier(node);"#,
    ),
    ("flat", ""),
];

const MODULE: &str = r#"fn thing(host, name, opts) {
    let o = options("thing", opts, #{ number: 0, text: "x" });
    ensure(host, #{ kind: "thing", name: name, params: #{ number: o.own.number, text: o.own.text },
        probe: "echo $number", want: "", apply: "true" } + o.common)
}"#;

#[expect(clippy::print_stdout, reason = "it is a measurement")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("kind.rhai"), MODULE)?;
    let playbook = folder.path().join("playbook.rhai");
    for (name, text) in PLAYBOOKS {
        let flat = || {
            let mut text = "let node = host(\"a\");\n".to_owned();
            for number in 0..100_000 {
                text.push_str("act(node, #{ name: \"act ");
                text.push_str(&number.to_string());
                text.push_str("\", reason: \"test\", apply: \"true\" });\n");
            }
            text
        };
        std::fs::write(&playbook, if text.is_empty() { flat() } else { text.to_owned() })?;
        let begin = Instant::now();
        let declared = declare(Request {
            playbook: &playbook,
            inventory: None,
            params: &BTreeMap::new(),
            facts: &mut assumed_facts,
            now: jiff::Timestamp::UNIX_EPOCH,
            interrupt: None,
        })?;
        let took = begin.elapsed();
        println!("{name}: {} nodes in {:.2} s", declared.graph.len(), took.as_secs_f64());
    }
    std::fs::write(&playbook, "")?;
    let begin = Instant::now();
    declare(Request {
        playbook: &playbook,
        inventory: None,
        params: &BTreeMap::new(),
        facts: &mut assumed_facts,
        now: jiff::Timestamp::UNIX_EPOCH,
        interrupt: None,
    })?;
    println!("nothing: {:.4} s", begin.elapsed().as_secs_f64());
    Ok(())
}
