use crate::error::Error;
use crate::exit::Exit;
use crate::report::say;
use crate::session::{Playbook, Where};
use clap::{Args, ValueEnum};
use haflow_model::{EdgeKind, Node, NodeId};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Draw the graph that a playbook declares, without reaching a host.
///
/// For pictures: `haflow graph PLAYBOOK --format dot | dot -Tsvg > graph.svg`, or mermaid in Markdown.
#[derive(Debug, Args)]
pub(super) struct Graph {
    #[command(flatten)]
    playbook: Playbook,
    #[command(flatten)]
    place: Where,
    /// The language of the drawing
    #[arg(long, value_enum, default_value_t = Language::Mermaid)]
    format: Language,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// Graphviz
    Dot,
    /// Mermaid, as GitHub and GitLab draw it
    Mermaid,
}

impl Graph {
    pub(super) fn run(self) -> Result<Exit, Error> {
        let inventory = self.place.imagined(&self.playbook)?;
        let declared = self.playbook.imagine(inventory.as_ref())?;
        say(&draw(&declared.graph, self.format));
        Ok(Exit::Done)
    }
}

fn draw(graph: &haflow_model::Graph, language: Language) -> String {
    let mut hosts: BTreeMap<&str, Vec<(NodeId, String)>> = BTreeMap::new();
    let mut barriers = Vec::new();
    for id in (0..graph.len()).map(NodeId::from_index) {
        match graph.node(id) {
            Node::Task(task) => {
                hosts.entry(task.host.as_str()).or_default().push((id, format!("{} {}", task.kind, task.name)));
            }
            Node::Barrier(barrier) => barriers.push((id, barrier.name.clone())),
        }
    }
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(line);
        text.push('\n');
    };
    match language {
        Language::Dot => {
            line(format_args!("digraph playbook {{\n  rankdir=TB; node [shape=box, fontname=\"sans-serif\"];"));
            for (index, (host, tasks)) in hosts.iter().enumerate() {
                line(format_args!("  subgraph cluster_{index} {{\n    label={};", quoted(host)));
                for (id, label) in tasks {
                    line(format_args!("    n{} [label={}];", id.0, quoted(label)));
                }
                line(format_args!("  }}"));
            }
            for (id, name) in barriers {
                line(format_args!("  n{} [label={}, shape=plain];", id.0, quoted(&name)));
            }
            for edge in graph.edges() {
                line(format_args!("  n{} -> n{}{};", edge.from.0, edge.to.0, dot_style(edge.kind)));
            }
            line(format_args!("}}"));
        }
        Language::Mermaid => {
            line(format_args!("flowchart TB"));
            for (index, (host, tasks)) in hosts.iter().enumerate() {
                line(format_args!("  subgraph h{index}[{}]", escaped(host)));
                for (id, label) in tasks {
                    line(format_args!("    n{}[{}]", id.0, escaped(label)));
                }
                line(format_args!("  end"));
            }
            for (id, name) in barriers {
                line(format_args!("  n{}([{}])", id.0, escaped(&name)));
            }
            for edge in graph.edges() {
                line(format_args!("  n{} {} n{}", edge.from.0, mermaid_arrow(edge.kind), edge.to.0));
            }
        }
    }
    text
}

/// The order on a host is a plain arrow; what was asked for, what is used and what triggers are told apart.
fn dot_style(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Host => "",
        EdgeKind::Order => " [style=bold]",
        EdgeKind::Data => " [style=bold, label=\"output\"]",
        EdgeKind::Trigger => " [style=dashed, label=\"trigger\"]",
    }
}

fn mermaid_arrow(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Host => "-->",
        EdgeKind::Order => "==>",
        EdgeKind::Data => "==>|output|",
        EdgeKind::Trigger => "-.->|trigger|",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "))
}

/// Mermaid takes HTML's entities, by number too.
fn escaped(text: &str) -> String {
    let mut escaped = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '<' | '>' | '&' | '#' | ';' | '`' => {
                let _ = write!(escaped, "#{};", u32::from(char));
            }
            char if char.is_control() => escaped.push(' '),
            char => escaped.push(char),
        }
    }
    escaped.push('"');
    escaped
}
