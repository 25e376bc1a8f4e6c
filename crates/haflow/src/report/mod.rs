//! Reporters: folds over the events, and nothing else is known to them.
//!
//! Human and plain tell the same lines ([`story`]); a terminal adds what is running now ([`screen`]), a file
//! the time before each line. JSON is the events themselves. Nothing here asks the engine anything.

mod diff;
mod excerpt;
#[cfg(test)]
pub(crate) mod golden;
mod next;
mod outlook;
mod page;
mod screen;
mod state;
mod story;
mod summary;
mod teller;
#[cfg(test)]
mod tests;
mod text;
mod why;

pub(crate) use excerpt::diagnostic;
pub(crate) use next::Advice;
pub(crate) use page::Options;
pub(crate) use teller::Teller;
pub(crate) use text::{age, count, harmful, size};
pub(crate) use why::{of_plan, of_run, run_as_json};

use haflow_model::{Event, Record, Sources};
use screen::Screen;
use state::State;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{SystemTime, UNIX_EPOCH};
use story::Story;

/// The pause between two lines that say that a task still runs, in milliseconds.
const STILL_RUNNING: u64 = 30_000;

/// How what happens is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a terminal: lines, and below them what is running now.
    Human,
    /// For a file or a pipe: lines with the time before them.
    Plain,
    /// For programs: one event a line.
    Json,
}

impl Format {
    /// Human where both streams are a terminal that can be drawn on, otherwise plain.
    pub(crate) fn detect() -> Self {
        if stdout().is_terminal() && screen::is_there() { Self::Human } else { Self::Plain }
    }
}

impl Options {
    /// What the terminal and the environment ask for: `NO_COLOR`, `CLICOLOR_FORCE`, the terminal's width.
    pub(crate) fn detect(format: Format, verbose: bool) -> Self {
        let choice = match format {
            Format::Human => anstream::AutoStream::choice(&stderr()),
            Format::Plain | Format::Json => anstream::AutoStream::choice(&stdout()),
        };
        // A terminal without a name is none that is known to have colours.
        let unnamed = std::env::var_os("TERM").is_some_and(|term| term.is_empty());
        let color =
            choice != anstream::ColorChoice::Never && (!unnamed || std::env::var_os("CLICOLOR_FORCE").is_some());
        let size = rustix::termios::tcgetwinsize(stderr()).ok().filter(|_| format == Format::Human);
        let width = size.map_or(0, |size| usize::from(size.ws_col));
        Self { verbose, color, width: if width == 0 { 80 } else { width } }
    }
}

/// Tells a run or a plan.
pub(crate) struct Reporter {
    state: State,
    story: Story,
    sink: Sink,
    advice: Option<Advice>,
}

/// Where it is told.
enum Sink {
    Screen(Box<Screen>),
    Lines(Box<dyn Write + Send>),
    Json(Box<dyn Write + Send>),
}

impl Reporter {
    /// Human goes to stderr, plain and JSON to stdout. `sources` are the texts that places refer to.
    pub(crate) fn new(format: Format, sources: Sources, options: Options) -> Self {
        let sink = match format {
            // Where nothing can be drawn the lines are told all the same.
            Format::Human if screen::is_there() => Sink::Screen(Box::new(Screen::new())),
            Format::Human | Format::Plain => Sink::Lines(Box::new(stdout())),
            Format::Json => Sink::Json(Box::new(stdout())),
        };
        Self::to(sink, sources, options)
    }

    fn to(sink: Sink, sources: Sources, options: Options) -> Self {
        let timed = matches!(sink, Sink::Lines(_));
        Self { state: State::default(), story: Story { options, sources, timed }, sink, advice: None }
    }

    /// The same, and at the end of a run it says what to type next, where there is something left to do.
    pub(crate) fn advising(self, advice: Option<Advice>) -> Self {
        Self { advice, ..self }
    }

    /// Takes in one event, and tells it.
    pub(crate) fn event(&mut self, record: &Record) {
        if let Sink::Json(out) = &mut self.sink {
            // A reader that went away mustn't stop a run.
            let _ = out.write_all((crate::json::text(record) + "\n").as_bytes());
            let _ = out.flush();
            return;
        }
        self.state.take(record);
        if let Some(page) = self.story.event(&self.state, record) {
            self.print(&page.into_text());
        }
        let end = match &record.event {
            Event::RunFinished { took_ms, .. } => summary::summary(&self.story, &self.state, *took_ms),
            Event::PlanFinished { counts, critical_path, took_ms } => {
                outlook::outlook(&self.story, &self.state, counts, critical_path, *took_ms)
            }
            _ => return,
        };
        if let Sink::Screen(screen) = &mut self.sink {
            screen.clear();
        }
        let mut end = end.into_text();
        if let (Event::RunFinished { run, .. }, Some(advice)) = (&record.event, &self.advice)
            && let Some(next) = next::next(&self.story, &self.state, run, advice)
        {
            end += &next.into_text();
        }
        self.print(&end);
    }

    /// How many events weren't told, because nobody took what was told before.
    fn left_out(&mut self, number: usize) {
        let text = format!("… {} left out: what was told before wasn't read in time", count(number, "event"));
        match &mut self.sink {
            Sink::Json(out) => {
                let line = serde_json::json!({ "at": now(), "event": "left_out", "events": number });
                let _ = writeln!(out, "{line}");
                let _ = out.flush();
            }
            Sink::Screen(_) | Sink::Lines(_) => self.print(&(text + "\n")),
        }
    }

    /// To be called about ten times a second: what is running now moves on.
    pub(crate) fn tick(&mut self) {
        self.tick_at(now());
    }

    fn tick_at(&mut self, now: u64) {
        match &mut self.sink {
            Sink::Screen(screen) => screen.draw(&self.state, now, self.story.options),
            Sink::Json(_) => {}
            Sink::Lines(_) => {
                let due = |told: u64| now.saturating_sub(told) >= STILL_RUNNING;
                let still = self.state.running.iter().filter(|running| due(running.told));
                let pages: Vec<String> =
                    still.map(|running| self.story.still_running(&self.state, now, running).into_text()).collect();
                for running in self.state.running.iter_mut().filter(|running| due(running.told)) {
                    running.told = now;
                }
                self.print(&pages.concat());
            }
        }
    }

    /// Leaves the terminal as it was found.
    pub(crate) fn finish(self) {
        drop(self);
    }

    fn print(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match &mut self.sink {
            Sink::Screen(screen) => screen.print(text),
            Sink::Lines(out) | Sink::Json(out) => {
                let _ = out.write_all(text.as_bytes());
                let _ = out.flush();
            }
        }
    }
}

/// Text of several lines in which nothing that somebody else wrote does any harm to a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => text::clean(line).into_owned() + "\n",
            None => text::clean(line).into_owned(),
        })
        .collect()
}

/// Says a warning about what was asked for.
pub(crate) fn warn(text: &str) {
    eprintln!("{}", clean(&format!("warning: {text}")));
}

/// Prints an answer on stdout. A reader that has seen enough (`| head`) isn't an error.
pub(crate) fn say(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
