//! Where the values of a playbook's secrets come from.
//!
//! In this order: the environment, the file `secrets.age` beside the playbook, a command that `secrets.toml`
//! there names, a question on the terminal. Only what the graph asks for is looked up, once, before anything
//! is changed.

mod command;
pub(crate) mod environment;
pub(crate) mod file;
mod guard;
mod identity;
pub(crate) mod marks;
pub(crate) mod prompt;

pub(crate) use command::text as command_text;
pub(crate) use guard::{guard, limit_memory};

use crate::error::Error;
use file::File;
use haflow_engine::Interrupt;
use haflow_model::{Diagnostic, Secret, Secrets};
use haflow_script::Declared;
use std::path::Path;

/// Adds to `known` what the graph asks for and isn't there yet.
pub(crate) fn look_up(
    declared: &Declared,
    playbook: &Path,
    interrupt: &Interrupt,
    known: &mut Secrets,
) -> Result<(), Error> {
    let wanted: Vec<&str> = declared.graph.secrets().into_iter().filter(|name| !known.has(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let folder = playbook.parent().unwrap_or(Path::new(""));
    let file = File::in_folder(folder);
    let mut kept = None;
    let commands = command::read(folder)?;
    let mut missing = Vec::new();
    for name in wanted {
        if let Some(value) = environment::get(name)? {
            known.insert(name, sound(name, &value)?);
            continue;
        }
        // It is decrypted only where it is needed: that may ask for a passphrase.
        let kept = match &mut kept {
            Some(kept) => kept,
            none => none.insert(file.read(&|| interrupt.stop.is_cancelled())?),
        };
        if let Some(value) = kept.as_ref().and_then(|kept| kept.get(name)) {
            known.insert(name, sound(name, value)?);
        } else if let Some(command) = commands.get(name) {
            known.insert(name, sound(name, &command::run(name, command, folder)?)?);
        } else if prompt::is_possible() {
            let stopped = || interrupt.stop.is_cancelled();
            let value = prompt::ask(&format!("secret {name}: "), &stopped).ok_or(Error::Interrupted)?;
            known.insert(name, sound(name, &value)?);
        } else {
            missing.push((name, kept.is_some()));
        }
    }
    match missing.first() {
        Some((name, kept)) => Err(unknown(declared, folder, name, *kept, missing.len() - 1).into()),
        None => Ok(()),
    }
}

/// A shell holds no NUL, and what is empty was left out by mistake.
fn sound(name: &str, value: &str) -> Result<Secret, Error> {
    let what = match value {
        "" => "is empty",
        value if value.contains('\0') => "has a NUL character in it, which no shell variable can have",
        _ => return Ok(Secret::new(value)),
    };
    Err(Error::Secret {
        message: format!("the secret `{name}` {what}; nothing was changed"),
        help: format!("give it another value, for example by `haflow secret set {name}`"),
    })
}

/// A secret that is nowhere, with the places that were tried.
fn unknown(declared: &Declared, folder: &Path, name: &str, kept: bool, more: usize) -> Diagnostic {
    let file = folder.join(file::NAME);
    let in_file = if kept { "has no such name" } else { "isn't there" };
    let commands = folder.join(command::NAME);
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    let message = format!(
        "the secret `{name}` isn't known{more}; nothing was changed\n\
         the environment variable {} isn't set\n\
         {} {in_file}\n\
         {} names no command for it\n\
         there is no terminal to ask on",
        environment::variable(name),
        file.display(),
        commands.display(),
    );
    let mut set = vec!["haflow", "secret", "set", name];
    let path = file.display().to_string();
    if !folder.as_os_str().is_empty() {
        set.extend(["--file", &path]);
    }
    let mut diagnostic = Diagnostic::new(message).help(format!("keep it in the file: {}", shell_words::join(set)));
    if let Some(need) = declared.secrets.iter().find(|need| need.name == name) {
        diagnostic = diagnostic.at(need.place.clone(), "");
        if let Some(text) = declared.sources.get(&need.place.file) {
            diagnostic = diagnostic.source(need.place.file.clone(), text.clone());
        }
    }
    diagnostic
}
