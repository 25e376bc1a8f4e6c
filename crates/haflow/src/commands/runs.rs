use crate::error::Error;
use crate::exit::Exit;
use crate::journal;
use crate::report::{count, say};
use clap::Args;
use haflow_model::RunCounts;
use std::fmt::Write as _;

/// List the runs that are kept, the newest first.
///
/// A run is kept in a folder of its own below `$XDG_STATE_HOME/haflow/runs`, for you alone. `haflow show`
/// tells one again, `haflow resume` goes on with one.
#[derive(Debug, Args)]
pub(super) struct Runs {
    /// Show at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    most: usize,
}

impl Runs {
    pub(super) fn run(&self) -> Result<Exit, Error> {
        let runs = journal::all()?;
        if runs.is_empty() {
            eprintln!("there was no run here yet");
            return Ok(Exit::Done);
        }
        let mut rows = vec![["run", "began (UTC)", "how it ended", "playbook"].map(str::to_owned)];
        for kept in runs.iter().take(self.most) {
            let (made, playbook) = match kept.input() {
                Ok(input) => (
                    input.made.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                    input.asked.playbook.playbook.display().to_string(),
                ),
                Err(_) => ("?".into(), "?".into()),
            };
            // Asked first: what is written before the run ends is read after.
            let how = if kept.is_running() {
                match kept.tasks() {
                    Ok(Some(tasks)) => format!("under way, {}", count(tasks, "task")),
                    _ => "under way".into(),
                }
            } else {
                match kept.ended() {
                    Ok(ended) => ended.map_or_else(|| "died: it can be resumed".to_owned(), |counts| told(&counts)),
                    Err(_) => "its journal can't be read".into(),
                }
            };
            rows.push([kept.run.clone(), made, how, playbook]);
        }
        let mut text = String::new();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let (run, made, how) = (width(0), width(1), width(2));
        for row in &rows {
            let _ = writeln!(text, "{:run$}  {:made$}  {:how$}  {}", row[0], row[1], row[2], row[3]);
        }
        if runs.len() > self.most {
            let _ = writeln!(text, "and {} more", runs.len() - self.most);
        }
        say(&crate::report::clean(&text));
        Ok(Exit::Done)
    }
}

/// What isn't zero.
fn told(counts: &RunCounts) -> String {
    let RunCounts { ok, changed, failed, skipped, unreachable, cancelled, in_doubt } = *counts;
    let all = [
        (failed, "failed"),
        (in_doubt, "in doubt"),
        (unreachable, "unreachable"),
        (cancelled, "cancelled"),
        (changed, "changed"),
        (ok, "ok"),
        (skipped, "skipped"),
    ];
    let some: Vec<String> =
        all.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if some.is_empty() { "nothing to do".into() } else { some.join(", ") }
}
