//! The live part of a terminal: one bar over all, and rows of what is running now.

use super::page::Look;
use super::state::State;
use super::story::rows;
use super::text::seconds;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::tcgetwinsize;
use std::fmt::Write as _;
use std::io::stderr;

/// More rows than this are told as a number.
const ROWS: usize = 15;
/// Enough for all rows to be drawn at one tick.
const DRAWS_PER_SECOND: u8 = 200;

/// Drawn to stderr. Taken away, cursor and all, when it is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    multi: MultiProgress,
    bar: Option<ProgressBar>,
    rows: Vec<ProgressBar>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        Self { multi: MultiProgress::with_draw_target(target), bar: None, rows: Vec::new() }
    }

    /// Prints lines above the bar.
    pub(super) fn print(&self, text: &str) {
        // Where the terminal is gone there is nobody to tell.
        let _ = self.multi.println(text.strip_suffix('\n').unwrap_or(text));
    }

    /// Shows the state.
    pub(super) fn draw(&mut self, state: &State, now: u64, look: Look) {
        if state.start.is_none() || state.total == 0 || state.ended {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = self.multi.add(ProgressBar::new(0));
            bar.set_style(style("[{bar:24}]  {wide_msg}"));
            bar
        });
        bar.set_length(state.total as u64);
        let text = overall(state, now);
        if bar.position() != state.done as u64 || bar.message() != text {
            bar.update(|bar| bar.set_pos(state.done as u64));
            bar.set_message(text);
        }
        // The window may have changed by now, and what doesn't fit would scroll away.
        let size = tcgetwinsize(stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let columns = size.map_or(look.width, |size| size.ws_col.into());
        let most = size.map_or(ROWS, |size| usize::from(size.ws_row).saturating_sub(4)).min(ROWS);
        let texts = rows(state, now, columns.saturating_sub(1), most);
        while self.rows.len() > texts.len() {
            if let Some(row) = self.rows.pop() {
                row.finish_and_clear();
                self.multi.remove(&row);
            }
        }
        while self.rows.len() < texts.len() {
            let row = self.multi.add(ProgressBar::new_spinner());
            row.set_style(style("{wide_msg}"));
            self.rows.push(row);
        }
        for (row, text) in self.rows.iter().zip(texts) {
            if row.message() != text {
                row.set_message(text);
            }
        }
    }

    /// Takes bar and rows away.
    pub(super) fn clear(&mut self) {
        for row in self.rows.drain(..).chain(self.bar.take()) {
            row.finish_and_clear();
            self.multi.remove(&row);
        }
        let _ = self.multi.clear();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The text behind the overall bar.
fn overall(state: &State, now: u64) -> String {
    let mut text = format!("{}/{} tasks, {}", state.done, state.total, seconds(state.elapsed(now)));
    let counts = &state.counts;
    for (number, word) in [
        (state.running.len(), "running"),
        (counts.changed, "changed"),
        (counts.failed, "failed"),
        (counts.unreachable, "unreachable"),
    ] {
        if number > 0 {
            let _ = write!(text, ", {number} {word}");
        }
    }
    if state.interrupted {
        text += ", interrupted";
    }
    text
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉▊▋▌▍▎▏ ")
}
