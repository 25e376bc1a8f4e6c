use crate::error::Error;
use crate::exit::Exit;
use clap::{Args, Command};
use std::path::PathBuf;

/// Write the man pages, one for each command.
///
/// `haflow man /usr/local/share/man/man1`, then `man haflow-run`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The folder that they go to; it must be there
    folder: PathBuf,
}

impl Man {
    pub(super) fn run(self, program: Command) -> Result<Exit, Error> {
        clap_mangen::generate_to(program, &self.folder).map_err(|source| Error::Io {
            doing: "write the man pages to",
            path: self.folder,
            source,
        })?;
        Ok(Exit::Done)
    }
}
