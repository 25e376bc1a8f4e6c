//! A playbook's text becomes a graph.
//!
//! rhai lives here and nowhere else. A script is a pure function of its text, the inventory, the params and
//! the facts that it asks for; what it declares is data, and nothing of the interpreter outlives [`declare`].
//!
//! The rooms by floor. A file imports what is in its own room or in one on a lower floor, and no imports go
//! in a circle, neither between rooms nor between files.
//!
//! | floor | room | what it holds |
//! | --- | --- | --- |
//! | 8 | `lib` | [`declare`]: a script's thread, and the runs with other guesses |
//! | 7 | `runtime` | the interpreter, and one run of it |
//! | 6 | `natives` | the functions that a script calls |
//! | 5 | `modules` | modules found, parsed, checked and run; which files may be read |
//! | 4 | `calls` | what every native uses: registration, the call, options, values and handles |
//! | 3 | `errors` | what is wrong with a script, and the interpreter's errors in plain words |
//! | 2 | `declaration` | one declaration so far, why it stops, what stands in for facts that nobody knows |
//! | 1 | `request` | what goes into a declaration, and what comes out |
//! | 1 | `reference` | what the natives and modules are for, as text |
//! | 1 | `stdlib` | the list of the modules that are embedded |
//! | 1 | `limits` | what a script may do, and how much |
//! | 1 | `place` | where in a text something is; the declaration needs it too, so it isn't in `errors` |
//! | 1 | `label`, `sized` | names of one line; files that aren't too large |

mod calls;
mod declaration;
mod errors;
mod label;
mod limits;
mod modules;
mod natives;
mod place;
mod reference;
mod request;
mod runtime;
mod sized;
mod stdlib;

pub use errors::slips::function as known_elsewhere;
pub use natives::facts::assumed_facts;
pub use natives::secrets::name as secret_name;
pub use reference::natives::NativeDoc;
pub use reference::{FunctionDoc, ModuleDoc, module_docs, native_docs};
pub use request::{
    DeclareError, Declared, FactFailure, FactQuery, FactsRead, GroupNeed, Note, NoteKind, ParamDecl, ParamType,
    ReadFacts, RecordedFacts, Request, SecretNeed, Unreached,
};
pub use stdlib::{Called, Module, Part, is_in_stdlib, stdlib};

use declaration::guess::{self, Guess, Guessed};
use declaration::{Declaration, Message};
use errors::slips;
use haflow_model::{Diagnostic, Host, HostName, Inventory, Place};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Runs a playbook, and gives what it declares.
///
/// Where the playbook's own code asks for facts of hosts that can't be reached, it is run again with other
/// guesses in their place: what is declared of the hosts that can be reached must not depend on them.
pub fn declare(request: Request<'_>) -> Result<Declared, DeclareError> {
    let Request { playbook, inventory, params, facts, now, interrupt } = request;
    let mut answers: Vec<(FactQuery, Vec<Host>, FactsRead)> = Vec::new();
    let mut read = |query: &FactQuery, hosts: &[Host]| {
        if let Some((.., answer)) = answers.iter().find(|(asked, of, _)| asked == query && of == hosts) {
            return Ok(answer.clone());
        }
        let answer = facts(query, hosts)?;
        answers.push((query.clone(), hosts.to_vec(), answer.clone()));
        Ok(answer)
    };
    let mut declare = |guess| {
        let (inventory, interrupt) = (inventory.cloned(), interrupt.clone());
        declare_with(playbook, inventory, params, &mut read, now, interrupt, guess)
    };
    let (mut declared, guessed) = declare(Guess::Like)?;
    let Some(guessed) = guessed else { return Ok(declared) };
    let known = |host: &HostName| !guessed.unknown.contains(host);
    let mut compared = false;
    for guess in Guess::OTHERS {
        // With facts of another kind it may be no playbook at all: that says nothing.
        let Ok((other, _)) = declare(guess) else { continue };
        compared = true;
        if let Some(task) = guess::differing(&declared.graph, &other.graph, known) {
            return Err(guessed.depends(&task));
        }
        // What it says of a made-up version isn't known.
        let mut said = other.notes;
        declared.notes.retain(|note| said.iter().position(|other| other == note).map(|at| said.remove(at)).is_some());
    }
    if compared { Ok(declared) } else { Err(guessed.refused()) }
}

/// Runs a playbook once; and where its own code asked for a fact that was guessed, if it did.
fn declare_with(
    playbook: &Path,
    inventory: Option<Inventory>,
    params: &BTreeMap<String, String>,
    facts: &mut ReadFacts<'_>,
    now: Timestamp,
    interrupt: Option<Arc<AtomicBool>>,
    guess: Guess,
) -> Result<(Declared, Option<Guessed>), DeclareError> {
    let name: Arc<str> = playbook.display().to_string().into();
    let text = read(playbook, &name)?;
    let folder = playbook.parent().unwrap_or(Path::new("")).to_owned();
    let (ask, asked) = channel();
    let done = Done(ask.clone());
    let mut declaration = Declaration::new(name.clone(), folder, inventory, params.clone(), now, interrupt, ask);
    declaration.guess = guess;
    let declaration = Arc::new(declaration);
    thread::scope(|scope| {
        // A thread of its own, for its stack, and because the interpreter takes nothing that is borrowed.
        let script = thread::Builder::new().name("playbook".to_owned()).stack_size(limits::STACK).spawn_scoped(
            scope,
            move || {
                let _done = done;
                runtime::run(&declaration, &text)
            },
        );
        let script = script.map_err(|error| {
            Diagnostic::new(format!("failed to start a thread for the playbook: {error}"))
                .at(Place::file(name.clone()), "")
        })?;
        while let Ok(Message::Ask(ask)) = asked.recv() {
            // The script may have been stopped in the meantime.
            let _ = ask.answer.send(facts(&ask.query, &ask.hosts));
        }
        script.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn read(playbook: &Path, name: &Arc<str>) -> Result<String, Diagnostic> {
    let place = Place::file(name.clone());
    let bytes = sized::read(playbook).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(playbook, name),
        std::io::ErrorKind::IsADirectory => {
            Diagnostic::new(format!("the playbook `{name}` is a folder")).help("name the file in it")
        }
        _ => Diagnostic::new(format!("failed to read the playbook `{name}`: {error}")),
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let before = String::from_utf8_lossy(valid);
        let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(0);
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let place = Place::new(place.file, line, u32::try_from(column).unwrap_or(0));
        Diagnostic::new(format!("the playbook `{name}` isn't UTF-8"))
            .at(place, "this byte isn't")
            .help("save it as UTF-8")
            .source(name.clone(), String::from_utf8_lossy(error.as_bytes()).as_ref())
    })?;
    match slips::yaml(playbook, name, &text) {
        Some(diagnostic) => Err(diagnostic),
        None => Ok(text),
    }
}

fn missing(playbook: &Path, name: &str) -> Diagnostic {
    let diagnostic = Diagnostic::new(format!("there is no playbook `{name}`"));
    let beside = |end: &str| Some(playbook.with_extension(end)).filter(|file| file.is_file());
    if let Some(rhai) = beside("rhai").filter(|_| slips::is_yaml(playbook)) {
        return diagnostic.help(format!("did you mean `{}`?", rhai.display()));
    }
    match beside("yml").or_else(|| beside("yaml")) {
        Some(yaml) => {
            diagnostic.help(format!("`{}` is YAML, and playbooks are Rhai: {}", yaml.display(), slips::IN_RHAI))
        }
        None => diagnostic.help("check the path; a playbook is a file whose name ends in .rhai"),
    }
}

/// Tells the thread that waits for questions that there will be no more, also if the script's thread panics.
struct Done(Sender<Message>);

impl Drop for Done {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Done);
    }
}
