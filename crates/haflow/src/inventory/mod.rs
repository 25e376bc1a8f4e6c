//! Inventories: text in whichever form → hosts and groups, resolved.
//!
//! Each form is read into what it says ([`raw`]); one place ([`resolve`]) checks that, flattens groups and
//! merges vars. Nothing here reaches a host.

mod ansible;
mod file;
mod hosts;
mod ini;
mod literal;
mod own;
mod pattern;
mod program;
mod raw;
mod resolve;
mod ssh_arguments;
#[cfg(test)]
mod tests;
mod tree;
mod warnings;
mod yaml;

use file::{At, File};
use haflow_model::{Diagnostic, Inventory};
use raw::Raw;
use resolve::Folders;
#[cfg(fuzzing)]
pub(crate) use ssh_arguments::OWN;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tree::{Kind, Tree};
use warnings::Warnings;

/// Where an inventory comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file, or a program that prints one.
    File(PathBuf),
    /// Hosts on the command line: `user@a,user@b:2222,[::1]:22`.
    Hosts(String),
}

/// An inventory, and what it says that haflow doesn't do: a sentence each.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) inventory: Inventory,
    pub(crate) warnings: Vec<String>,
}

/// Reads an inventory. What is wrong with it comes back with the place, the line and what to do.
pub(crate) fn read(source: &Source) -> Result<Read, Diagnostic> {
    let home = std::env::home_dir();
    match source {
        Source::Hosts(list) => {
            let file = File::new("--hosts", list.as_str());
            let folders = Folders { own: None, home: home.as_deref() };
            let inventory = resolve::resolve(&file, hosts::read(&file)?, folders, &mut Warnings::default())?;
            Ok(Read { inventory, warnings: Vec::new() })
        }
        Source::File(path) => read_file(path, home.as_deref(), program::PATIENCE),
    }
}

/// An inventory's file is no larger than this, in bytes.
const LARGEST: u64 = 256 << 20;

fn read_file(path: &Path, home: Option<&Path>, patience: Duration) -> Result<Read, Diagnostic> {
    let name: Arc<str> = path.display().to_string().into();
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&name, &error))?;
    if metadata.is_dir() {
        return Err(Diagnostic::new(format!("the inventory `{name}` is a folder"))
            .help("name the file in it, for example with `-i FOLDER/inventory.toml`"));
    }
    let executable = metadata.permissions().mode() & 0o111 != 0;
    let (name, bytes) = if executable {
        (Arc::from(format!("{name} --list")), program::run(path, &["--list"], patience)?)
    } else {
        // A sparse file costs nothing on the disk, and all memory here.
        if metadata.len() > LARGEST {
            return Err(Diagnostic::new(format!("the inventory `{name}` is larger than {} MiB", LARGEST >> 20))
                .help("name a file with hosts and groups"));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(&name, &error))?;
        (name, bytes)
    };
    let file = decode(name, bytes).map_err(|wrong| {
        let help = "save the file as UTF-8, for example with `iconv -f latin1 -t utf-8`";
        wrong.help(if executable { PROGRAM_HELP } else { help })
    })?;
    raw::no_vault_file(&file)?;
    let form = if executable { Form::List } else { Form::of(path, &file.text) };
    let raw = match form {
        Form::List => {
            let tree = yaml::parse_json(&file, PROGRAM_HELP)?;
            let mut raw = ansible::read_list(&file, tree)?;
            if !raw.has_meta {
                ask_each(path, &mut raw, patience)?;
            }
            Ok(raw)
        }
        Form::Json => {
            let tree = yaml::parse_json(&file, "mend it here or just before; keys and texts are in double quotes")?;
            if is_list(&tree) { ansible::read_list(&file, tree) } else { ansible::read_yaml(&file, tree) }
        }
        Form::Yaml => ansible::read_yaml(&file, yaml::parse(&file)?),
        Form::Toml => own::read(&file),
        Form::Ini => ini::read(&file),
    }?;
    let mut warnings = Warnings::default();
    if matches!(form, Form::Ini | Form::Yaml) {
        vars_beside(path, &mut warnings);
    }
    let inventory = resolve::resolve(&file, raw, Folders { own: path.parent(), home }, &mut warnings)?;
    Ok(Read { inventory, warnings: warnings.told(&file) })
}

/// Ansible reads vars also from folders beside an inventory.
fn vars_beside(path: &Path, warnings: &mut Warnings) {
    let folder = path.parent().unwrap_or(Path::new(""));
    for name in ["group_vars", "host_vars"] {
        if folder.join(name).is_dir() {
            let folder = folder.join(name);
            let what = format!(
                "haflow doesn't read {}; an executable that runs `ansible-inventory -i … --list` gives its vars",
                folder.display()
            );
            warnings.of_all(At::default(), what);
        }
    }
}

/// Reads a text in the form that a byte chooses.
#[cfg(fuzzing)]
pub(crate) fn of_text(form: u8, text: &str) -> Result<Inventory, Diagnostic> {
    let file = File::new("inventory", text);
    let raw = match form {
        b't' => own::read(&file),
        b'i' => ini::read(&file),
        b'y' => ansible::read_yaml(&file, yaml::parse(&file)?),
        b'l' => ansible::read_list(&file, yaml::parse_json(&file, "")?),
        b'j' => ansible::read_yaml(&file, yaml::parse_json(&file, "")?),
        _ => hosts::read(&file),
    }?;
    let folders = Folders { own: None, home: Some(Path::new("/root")) };
    resolve::resolve(&file, raw, folders, &mut Warnings::default())
}

const PROGRAM_HELP: &str =
    "a program's inventory is JSON in UTF-8 as Ansible takes it; anything else belongs on stderr";

/// A program whose list has no `_meta` is asked for the vars of each host, as Ansible does.
fn ask_each(program: &Path, raw: &mut Raw, patience: Duration) -> Result<(), Diagnostic> {
    for host in &mut raw.hosts {
        let name = host.name.text.as_str();
        let bytes = program::run(program, &["--host", name], patience)?;
        let file = decode(format!("{} --host {name}", program.display()).into(), bytes)?;
        let tree = yaml::parse_json(&file, PROGRAM_HELP)?;
        host.vars = raw::vars(&file, tree, &format!("host `{name}`"))?;
    }
    Ok(())
}

fn unreadable(name: &str, error: &std::io::Error) -> Diagnostic {
    let diagnostic = match error.kind() {
        ErrorKind::NotFound => Diagnostic::new(format!("the inventory `{name}` isn't there")),
        _ => Diagnostic::new(format!("failed to read the inventory `{name}`: {error}")),
    };
    match error.kind() {
        ErrorKind::NotFound => {
            diagnostic.help("look at the path after `-i`; without a file, hosts can be given with `--hosts`")
        }
        ErrorKind::PermissionDenied => diagnostic.help(format!("look at who may read it: ls -l {name}")),
        _ => diagnostic,
    }
}

fn decode(name: Arc<str>, bytes: Vec<u8>) -> Result<File, Diagnostic> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(File::new(name, text.strip_prefix('\u{feff}').unwrap_or(&text))),
        Err(error) => {
            let end = error.utf8_error().valid_up_to();
            let byte = error.as_bytes()[end];
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let file = File::new(name, text);
            let at = At { length: 1, ..file.at(&(end..end)) };
            Err(file.wrong(at, format!("the inventory isn't UTF-8: byte {byte:#04x}"), ""))
        }
    }
}

/// The forms of an inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Toml,
    Ini,
    Yaml,
    /// A file of JSON, whichever of Ansible's two shapes it has.
    Json,
    /// What a program printed.
    List,
}

impl Form {
    /// By extension, otherwise by content.
    fn of(path: &Path, text: &str) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::Toml,
            Some("ini" | "cfg") => Self::Ini,
            Some("yml" | "yaml") => Self::Yaml,
            Some("json") => Self::Json,
            _ => Self::guess(text),
        }
    }

    fn guess(text: &str) -> Self {
        let mut lines = text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';'])).unwrap_or_default();
        if first.starts_with('{') {
            return Self::Json;
        }
        if ["[groups.", "[hosts.", "[vars]"].iter().any(|head| first.starts_with(head)) {
            return Self::Toml;
        }
        if first.starts_with('[') {
            return Self::Ini;
        }
        let key = first.split(" #").next().unwrap_or_default().trim_end();
        if first.starts_with("---") || key.ends_with(':') || first.contains(": ") { Self::Yaml } else { Self::Ini }
    }
}

/// Whether JSON is of the shape that programs print, rather than that of Ansible's YAML.
fn is_list(tree: &Tree) -> bool {
    let Kind::Map(entries) = &tree.kind else { return false };
    entries.iter().any(|(key, group)| {
        key.text == "_meta"
            || match &group.kind {
                Kind::List(_) => true,
                Kind::Map(entries) => entries.iter().any(|(key, value)| {
                    matches!(key.text.as_str(), "hosts" | "children") && matches!(value.kind, Kind::List(_))
                }),
                _ => false,
            }
    })
}
