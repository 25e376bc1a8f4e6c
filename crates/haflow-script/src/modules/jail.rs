//! Files that a playbook may read: those in its own folder.

use crate::calls::call::Call;
use crate::errors::problem::Problem;
use crate::stdlib::STDLIB_FOLDER;
use std::path::{Component, Path, PathBuf};

/// The name in places of a file that a script asks for, and the file: beside the file that calls, or beside
/// that which called the stdlib. `what` is the word for it.
pub(crate) fn beside(call: &Call<'_>, path: &str, what: &str) -> Result<(String, PathBuf), Problem> {
    let own = call.site().file;
    let caller = if own.starts_with(STDLIB_FOLDER) {
        let state = call.declaration.state();
        let outer = state.crossings.iter().rev().find(|site| !site.file.starts_with(STDLIB_FOLDER));
        outer.map_or_else(|| call.declaration.playbook.clone(), |site| site.file.clone())
    } else {
        own
    };
    let beside = Path::new(&*caller).parent().unwrap_or(Path::new(""));
    let name = beside.join(path);
    let file = inside(&call.declaration.folder, beside, Path::new(path)).map_err(|why| {
        Problem::new(format!("the {what} `{path}` {why}")).help(format!("looked for as `{}`", name.display()))
    })?;
    Ok((name.display().to_string(), file))
}

/// The file `name` beside a file whose folder is `beside`, if it is in `root`. Otherwise what about it is
/// wrong, as the end of a sentence.
pub(crate) fn inside(root: &Path, beside: &Path, name: &Path) -> Result<PathBuf, String> {
    if name.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err("is outside the playbook's folder, where nothing is read".to_owned());
    }
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
    let file = beside.join(name);
    let real = file.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "isn't there".to_owned(),
        _ => format!("can't be read: {error}"),
    })?;
    let root = root.canonicalize().map_err(|error| format!("can't be read: {error}"))?;
    if !real.starts_with(&root) {
        return Err("leads out of the playbook's folder by a symbolic link".to_owned());
    }
    if !real.is_file() {
        return Err("isn't a file".to_owned());
    }
    Ok(file)
}
