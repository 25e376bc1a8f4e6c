//! Files that a playbook may read: those in its own folder.

use std::path::{Component, Path, PathBuf};

/// The file `name` beside a file whose folder is `beside`, if it is in `root`. Otherwise what about it is wrong,
/// as the end of a sentence.
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
