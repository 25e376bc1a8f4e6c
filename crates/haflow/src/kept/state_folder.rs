//! The folder of what haflow keeps on this machine, and how it is written.

use crate::error::Error;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder for what haflow has to remember: `$XDG_STATE_HOME/haflow`.
pub(crate) fn state_folder() -> Result<PathBuf, Error> {
    let set = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    folder.map(|folder| folder.join("haflow")).ok_or_else(|| Error::Usage {
        message: "there is no folder for what haflow has to remember".into(),
        help: "set HOME or XDG_STATE_HOME".into(),
    })
}

/// Makes a folder for what haflow keeps, which nobody else can look into whatever the umask is, and sees to
/// it that those above it that are haflow's are so too: older versions left them open.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let top = state_folder().ok();
    let own = folder.ancestors().take_while(|folder| top.as_ref().is_some_and(|top| folder.starts_with(top)));
    for folder in own {
        if folder.metadata()?.permissions().mode() & 0o777 != 0o700 {
            std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

/// What is in a folder is found there after a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Sees early that a file can be made there: a plan takes time.
pub(crate) fn can_be_written(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| Error::Io { doing: "write a file in", path: folder.into(), source };
    if path.is_dir() {
        return Err(Error::Usage { message: format!("{} is a folder", path.display()), help: "name a file".into() });
    }
    tempfile::NamedTempFile::new_in(folder).map(drop).map_err(failed)
}
