use super::Output;
use crate::error::Error;
use crate::exit::Exit;
use crate::session::{Choice, Playbook, Session, Where};
use clap::Args;

/// Say what a run would do, and change nothing.
///
/// Every task's thing is looked at on its host, reading only: up to date, change (with the difference), unknown (and because
/// of which task before it), act (always runs), skipped.
#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    playbook: Playbook,
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    output: Output,
}

impl Plan {
    pub(super) fn run(self) -> Result<Exit, Error> {
        plan(&self.playbook, &self.place, &self.choice, &self.output)
    }
}

pub(super) fn plan(playbook: &Playbook, place: &Where, choice: &Choice, output: &Output) -> Result<Exit, Error> {
    let session = Session::open(playbook, place, choice)?;
    let counts = session
        .tell(output.format(), output.verbose, async |session, events| {
            let stop = &session.interrupt.stop;
            haflow_engine::plan(&session.declared.graph, &session.hosts, events, &session.playbook, stop).await
        })
        .counts();
    Ok(if session.interrupt.stop.is_cancelled() {
        Exit::Interrupted
    } else if counts.failed + counts.unreachable > 0 {
        Exit::Failed
    } else if output.detailed_exitcode && counts.change + counts.unknown + counts.act > 0 {
        Exit::Changes
    } else {
        Exit::Done
    })
}
