//! Declarations and errors as compact text.

use haflow_model::{Action, Content, Diagnostic, Edit, FileState, Graph, HostName, Node, NodeId, Param, Policy, Task};
use haflow_script::{DeclareError, Declared, NoteKind, Unreached};
use std::fmt::Write as _;

/// One line for each node, param, group and note.
pub(crate) fn declared(declared: &Declared) -> String {
    let mut text = String::new();
    for param in &declared.params {
        write!(text, "param {}: {} = {}", param.name, param.kind.as_str(), param.value).unwrap();
        match &param.default {
            Some(default) if *default != param.value => write!(text, " (default {default})").unwrap(),
            Some(_) => {}
            None => text.push_str(" (must be given)"),
        }
        if !param.one_of.is_empty() {
            let one_of = serde_json::to_string(&param.one_of).unwrap();
            write!(text, " one of {one_of}").unwrap();
        }
        writeln!(text, " at {}{}", param.place.line, said(param.help.as_ref())).unwrap();
    }
    for group in &declared.groups {
        let (name, at_least, lab) = (&group.name, group.at_least, group.lab);
        writeln!(text, "group {name}: at least {at_least}, lab {lab}{}", said(group.help.as_ref())).unwrap();
    }
    for host in &declared.named {
        writeln!(text, "named {host}").unwrap();
    }
    for note in &declared.notes {
        let kind = if note.kind == NoteKind::Warn { "warn" } else { "print" };
        writeln!(text, "{kind} at {}: {}", note.place.line, note.text).unwrap();
    }
    for Unreached { failure, like } in &declared.unreached {
        let like = like.as_ref().map(|like| format!(", taken to be like {like}")).unwrap_or_default();
        writeln!(text, "unreached {}: {}{like}", failure.host, failure.why).unwrap();
    }
    if !declared.unreached.is_empty() {
        for (name, values) in &declared.facts {
            let hosts: Vec<&str> = values.keys().map(HostName::as_str).collect();
            writeln!(text, "recorded {name} of {}", hosts.join(" ")).unwrap();
        }
    }
    let hosts: Vec<&str> = declared.graph.hosts().iter().map(|host| host.name.as_str()).collect();
    writeln!(text, "hosts {}", hosts.join(" ")).unwrap();
    for index in 0..declared.graph.len() {
        node(&mut text, &declared.graph, NodeId::from_index(index));
    }
    text
}

fn said(help: Option<&String>) -> String {
    help.map(|help| format!(" — {help}")).unwrap_or_default()
}

fn node(text: &mut String, graph: &Graph, id: NodeId) {
    let edges: Vec<String> = graph
        .before(id)
        .map(|edge| {
            let at = edge.place.as_ref().map(|place| format!("@{}", place.line)).unwrap_or_default();
            format!("{}({}{at})", edge.from.0, format!("{:?}", edge.kind).to_lowercase())
        })
        .collect();
    let edges = if edges.is_empty() { String::new() } else { format!("  ← {}", edges.join(" ")) };
    match graph.node(id) {
        Node::Barrier(barrier) => {
            writeln!(text, "{}  ══ {}  {}{edges}", id.0, barrier.name, barrier.place.line).unwrap();
        }
        Node::Task(task) => {
            let place = task.place.line;
            let within = task.declared_in.as_ref().map(|place| format!(" in {}", steady(place))).unwrap_or_default();
            writeln!(text, "{}  {}  {place}{within}{edges}", id.0, task.id()).unwrap();
            details(text, task);
        }
    }
}

fn details(text: &mut String, task: &Task) {
    // What is the same in each such script says nothing.
    let mut line = |key: &str, value: &str| {
        let value = value.replace(haflow_model::pinned(), "pinned() + ");
        writeln!(text, "     {key}: {value}").unwrap();
    };
    match &task.action {
        Action::Ensure(ensure) => {
            line("probe", &probe(&ensure.probe));
            line("want", &param(&ensure.want));
            line("apply", &ensure.apply);
        }
        Action::File(file) => {
            let state = match &file.state {
                FileState::Content(Content::Is(content)) => format!("content {}", param(content)),
                FileState::Content(Content::Edit(Edit::Filter(filter))) => format!("edit {filter}"),
                FileState::Content(Content::Edit(Edit::Own(edit))) => format!("edit of haflow's own: {}", edit.name()),
                FileState::Present => "present".to_owned(),
                FileState::Folder => "folder".to_owned(),
                FileState::Link(to) => format!("link to {to}"),
                FileState::Absent => "absent".to_owned(),
            };
            let mode = file.mode.map(|mode| format!(" {mode:04o}")).unwrap_or_default();
            let owner = format!("{}:{}", file.owner.as_deref().unwrap_or(""), file.group.as_deref().unwrap_or(""));
            let owner = if owner == ":" { String::new() } else { format!(" {owner}") };
            line("file", &format!("{} {state}{mode}{owner}", file.path));
        }
        Action::Act(act) => line("act", &format!("{} ({})", act.apply, act.reason)),
        Action::Gate(gate) => {
            line("probe", &probe(&gate.probe));
            line(
                "want",
                &format!("{} {}× every {:?} within {:?}", param(&gate.want), gate.times, gate.every, gate.within),
            );
        }
        Action::Read(read) => {
            line("read", &format!("{}{}", probe(&read.probe), if read.secret { " (secret)" } else { "" }));
        }
    }
    for (name, value) in &task.params {
        line("param", &format!("{name} = {}", param(value)));
    }
    if let Some(when) = &task.when {
        let not = if when.negate { "not " } else { "" };
        line("when", &format!("{not}output of {} {:?}", when.output.task.0, when.test));
    }
    let policy = &task.policy;
    if *policy != Policy::default() {
        line(
            "policy",
            &format!("{} retries, backoff {:?}, timeout {:?}", policy.retries, policy.backoff, policy.timeout),
        );
    }
    if let Some(user) = &task.user {
        line("user", user);
    }
    if !task.tags.is_empty() {
        line("tags", &task.tags.join(" "));
    }
    if let Some(destroys) = &task.destroys {
        line("destroys", destroys);
    }
}

fn probe(probe: &haflow_model::Probe) -> String {
    let raw = if probe.raw { " of the text" } else { "" };
    probe.jq.as_ref().map_or_else(|| probe.script.clone(), |jq| format!("{} | jq{raw} {jq}", probe.script))
}

fn param(param: &Param) -> String {
    match param {
        Param::Value(value) => value.to_string(),
        Param::Secret(text) => format!("‹secret {}›", text.names().collect::<Vec<_>>().join(", ")),
        Param::Output(output) if output.secret => format!("‹output of {}, secret›", output.task.0),
        Param::Output(output) => format!("‹output of {}›", output.task.0),
    }
}

/// What is wrong, with the lines and what in them is meant.
pub(crate) fn error(error: &DeclareError) -> String {
    match error {
        DeclareError::Playbook(diagnostic) => self::diagnostic(diagnostic),
        DeclareError::Facts(failures) => failures
            .iter()
            .fold("facts:\n".to_owned(), |text, failure| format!("{text}  {}: {}\n", failure.host, failure.why)),
        DeclareError::Unreached { diagnostic, hosts, .. } => {
            hosts.iter().fold(self::diagnostic(diagnostic), |text, host| {
                format!("{text}  unreached {}: {}\n", host.host, host.why)
            })
        }
        DeclareError::Interrupted => "interrupted\n".to_owned(),
    }
}

fn diagnostic(diagnostic: &Diagnostic) -> String {
    let mut text = format!("error: {}\n", diagnostic.message);
    for label in &diagnostic.labels {
        let said = if label.text.is_empty() { String::new() } else { format!("  {}", label.text) };
        writeln!(text, "  {}{said}", steady(&label.place)).unwrap();
        if label.place.file.starts_with("stdlib/") {
            continue;
        }
        let source = diagnostic.sources.get(&label.place.file).map_or("", |text| &**text);
        let line = (label.place.line as usize).checked_sub(1).and_then(|line| source.lines().nth(line));
        if let Some(line) = line {
            writeln!(text, "    {line}").unwrap();
            if label.place.column > 0 {
                let blank: String = line
                    .chars()
                    .take(label.place.column as usize - 1)
                    .map(|c| if c == '\t' { c } else { ' ' })
                    .collect();
                writeln!(text, "    {blank}{}", "^".repeat(label.length.max(1))).unwrap();
            }
        }
    }
    if let Some(help) = &diagnostic.help {
        writeln!(text, "  help: {help}").unwrap();
    }
    text
}

/// A place without what changes with the stdlib: its lines.
fn steady(place: &haflow_model::Place) -> String {
    if place.file.starts_with("stdlib/") { place.file.to_string() } else { place.to_string() }
}
