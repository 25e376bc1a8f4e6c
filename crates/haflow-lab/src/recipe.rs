//! Snapshots that are made when they are first asked for, by a script, and found again by it.

use std::{process::Command, time::Duration};

use crate::{
    base,
    command::run_command,
    error::Result,
    files::Lock,
    lab::Lab,
    names,
    progress::{Progress, Report},
    snapshot::Snapshot,
    tools,
};

/// How a snapshot is made: a host of a suite on which a script has run.
///
/// The snapshot's name follows from all of what it is made of: the part, the suite's base with the
/// versions of its packages, and the script. A change to any of them makes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe<'a> {
    /// What its names begin with, such as "rabbitmq"; at most 40 characters.
    pub part: &'a str,
    /// The Debian suite, such as "bookworm".
    pub suite: &'a str,
    /// What root's shell runs on the host, with `set -e`.
    pub script: &'a str,
    /// From which age on it is made anew: what the script downloads changes.
    pub max_age: Duration,
}

/// The name of the only host of a lab that a snapshot is made in.
const HOST: &str = "prepared";

impl Recipe<'_> {
    /// The snapshot of this recipe, made if there is none that is young enough. Whoever asks while
    /// another makes it waits for that. Older ones of the same part go when a new one is made.
    ///
    /// # Errors
    /// If the machine can't have a lab, the script fails, or a snapshot can't be taken. Nothing is left
    /// of a host that was booted for it.
    pub fn ensure(&self, progress: Report<'_>) -> Result<Snapshot> {
        tools::basics()?;
        names::check("snapshot", self.part)?;
        if tools::install(progress)? {
            tools::supported()?;
        }
        let base = base::ensure(self.suite, progress)?;
        let key = names::hex([&*base::fingerprint(&base)?, self.script].join("\0"), 12);
        let name = &format!("{}-{key}", self.part);
        names::check("snapshot", name)?;
        let _lock =
            Lock::take(&format!("prepare-{key}"), &format!("another haflow that makes snapshot {name}"), progress)?;
        if let Ok(Some(found)) = Snapshot::find(name)
            && found.age() < self.max_age
        {
            return Ok(found);
        }
        progress(Progress::Preparing { name: name.clone() });
        let lab = format!("haflow-prepare-{key}");
        // What is left of one that was killed.
        Lab::down(&lab, progress)?;
        let made = self.make(&lab, name, progress);
        // The reason why nothing was made matters more than what is left.
        let down = Lab::down(&lab, progress);
        let made = made?;
        down?;
        self.drop_old(name, progress)?;
        Ok(made)
    }

    fn make(&self, lab: &str, name: &str, progress: Report<'_>) -> Result<Snapshot> {
        let lab = Lab::up(lab, &[HOST.to_owned()], self.suite, progress)?;
        let mut command = Command::new("ssh");
        command.args(["-o", "BatchMode=yes"]).args(lab.ssh_args(HOST)?).args(["sh", "-e"]);
        // Read whole before it runs, and nothing in it reads the rest of it.
        let script = format!("{{\n{}\n}} </dev/null\n", self.script);
        run_command(&format!("make snapshot {name}"), &mut command, &script)?;
        lab.take(HOST, name, true, Some(self.part), progress)
    }

    /// Removes what the same part has left and nobody has made anew.
    fn drop_old(&self, name: &str, progress: Report<'_>) -> Result<()> {
        for old in Snapshot::list()?.into_iter().flatten() {
            let ours = old.part() == Some(self.part) && old.name() != name;
            if ours && (old.age() >= self.max_age || !old.fits()) {
                Snapshot::remove(old.name(), progress)?;
            }
        }
        Ok(())
    }
}
