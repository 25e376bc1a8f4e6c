use crate::error::Error;
use crate::exit::Exit;
use crate::journal;
use crate::report::{Format, Options, Reporter};
use clap::Args;
use std::time::Duration;

/// Tell a run again, or go along with one that is under way.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run's id, or a part of it that no other has; the last run if not given
    run: Option<String>,
    /// How to tell it
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Tell what was as it should be too, and differences in full
    #[arg(short, long)]
    verbose: bool,
}

/// The pause between two looks at a run that is under way.
const PAUSE: Duration = Duration::from_millis(200);

impl Show {
    pub(super) fn run(&self) -> Result<Exit, Error> {
        let kept = journal::find(self.run.as_deref())?;
        let sources = kept.input()?.sources();
        // What has happened isn't drawn anew ten times a second.
        let format = self.format.unwrap_or(Format::Plain);
        let mut reporter = Reporter::new(format, sources, Options::detect(format, self.verbose));
        let mut events = kept.events()?;
        loop {
            // Asked first: what is written before the run ends is read after.
            let running = kept.is_running();
            while let Some(record) = events.record()? {
                reporter.event(&record);
            }
            if !running {
                if kept.ended()?.is_none() {
                    eprintln!("run {} died here; `haflow resume {}` goes on with it", kept.run, kept.run);
                }
                break;
            }
            std::thread::sleep(PAUSE);
        }
        reporter.finish();
        Ok(Exit::Done)
    }
}
