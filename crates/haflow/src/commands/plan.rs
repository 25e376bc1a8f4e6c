use super::options::Output;
use super::run::tell_what_is_destroyed;
use crate::error::Error;
use crate::exit::Exit;
use crate::kept::can_be_written;
use crate::plan_file::Saved;
use crate::report::clean;
use crate::session::{Asked, Session};
use clap::Args;
use haflow_engine::flaps;
use haflow_model::{Decision, Secrets};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Say what a run would do, and change nothing.
///
/// Every task's thing is looked at on its host, reading only: up to date, change (with the difference),
/// unknown (and because of which task before it), act (always runs), skipped. What would be applied is
/// rehearsed, reading only: would fail (and why). A decision is certain unless it says on which change before
/// it it depends. With -o the plan is kept in a file: `haflow apply FILE` does
/// that and nothing else.
#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    asked: Asked,
    /// Keep the plan in this file, for `haflow apply`
    #[arg(short, long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Plan {
    pub(super) fn run(self) -> Result<Exit, Error> {
        plan(self.asked, self.out.as_deref(), &self.output)
    }
}

pub(super) fn plan(asked: Asked, out: Option<&Path>, output: &Output) -> Result<Exit, Error> {
    if let Some(out) = out {
        can_be_written(out)?;
    }
    let session = Session::open(&asked)?;
    let stop = &session.interrupt.stop;
    let mut secrets = Secrets::default();
    session.secrets(&mut secrets)?;
    let ((plan, flaps), _) = session.tell(output.format(), output.verbose, None, None, async |session, events| {
        let Session { declared, hosts, playbook, .. } = session;
        let plan = haflow_engine::plan(&declared.graph, hosts, events, playbook, &secrets, stop).await;
        let flaps = match out {
            Some(_) => flaps(&declared.graph, hosts, events, &plan, &secrets, stop).await,
            None => Vec::new(),
        };
        (plan, flaps)
    });
    let counts = plan.counts();
    if stop.is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    let may_apply = plan.decisions.iter().filter(|planned| {
        matches!(planned.decision, Decision::Change { .. } | Decision::Act { .. } | Decision::Unknown { .. })
    });
    tell_what_is_destroyed(may_apply.filter_map(|planned| session.declared.graph.task(planned.task)));
    let saved = Saved::new(asked, &session, plan, &secrets)?;
    let mut failed = counts.failed + counts.unreachable > 0;
    if let Some(out) = out {
        let why = if failed {
            Some("something in it would fail, so it can't be held to".to_owned())
        } else if flaps.is_empty() {
            None
        } else {
            let mut why =
                "what these tasks look at changes from look to look, so it can't be compared later".to_owned();
            for flap in &flaps {
                let _ = write!(why, "\n  {}: {}", flap.task, flap.what);
            }
            Some(why)
        };
        if let Some(why) = why {
            eprintln!("{}", clean(&format!("error: the plan isn't kept in {}: {why}", out.display())));
            failed = true;
        } else {
            saved.write(out)?;
            eprintln!(
                "{}",
                clean(&format!("kept in {0}; `haflow apply {0}` does that and nothing else", out.display()))
            );
        }
    }
    // A convenience: a folder that can't be written is no reason to fail.
    if let Err(error) = saved.remember() {
        eprintln!("{}", clean(&format!("note: `haflow why` won't know of this plan: {error}")));
    }
    Ok(if failed {
        Exit::Failed
    } else if output.detailed_exitcode && counts.change + counts.unknown + counts.act > 0 {
        Exit::Changes
    } else {
        Exit::Done
    })
}
