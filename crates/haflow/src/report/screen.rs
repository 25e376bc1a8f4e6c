//! The live part of a terminal: one bar over all, and rows of what is running now.
//!
//! Finished lines end in newlines, so that a terminal keeps them as lines whatever becomes of its size. The live part is the
//! last lines, and the cursor rests below them: what a terminal echoes, `^C` for example, isn't written into them.

use super::page::Look;
use super::state::State;
use super::story::rows;
use super::text::{cut, seconds, width};
use rustix::termios::tcgetwinsize;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write, stderr};

/// More rows than this are told as a number.
const ROWS: usize = 15;
/// How wide the bar is.
const BAR: usize = 24;
/// A column of the bar, from an eighth to seven of them.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Drawn to a terminal. Taken away when it is dropped.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    /// Columns and rows, where the terminal says them.
    size: fn() -> Option<(usize, usize)>,
    live: Vec<String>,
}

/// Whether lines can be drawn on stderr and taken away again.
pub(super) fn is_there() -> bool {
    let term = std::env::var_os("TERM");
    stderr().is_terminal() && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

impl Screen {
    pub(super) fn new() -> Self {
        let size = || {
            let size = tcgetwinsize(stderr()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0)?;
            Some((size.ws_col.into(), size.ws_row.into()))
        };
        Self::to(Box::new(stderr()), size)
    }

    fn to(out: Box<dyn Write + Send>, size: fn() -> Option<(usize, usize)>) -> Self {
        Self { out, size, live: Vec::new() }
    }

    /// Prints lines above the bar.
    pub(super) fn print(&mut self, text: &str) {
        let live = std::mem::take(&mut self.live);
        self.put(&live, text, live.clone());
    }

    /// Shows the state.
    pub(super) fn draw(&mut self, state: &State, now: u64, look: Look) {
        if state.start.is_none() || state.total == 0 || state.ended {
            return;
        }
        // The window may have changed by now, and what doesn't fit would scroll away.
        let size = (self.size)();
        let columns = size.map_or(look.width, |(columns, _)| columns).saturating_sub(1);
        let most = size.map_or(ROWS, |(_, rows)| rows.saturating_sub(4)).min(ROWS);
        let bar = format!("[{}]  {}", bar(state.done, state.total), overall(state, now));
        let mut live = vec![cut(&bar, columns).into_owned()];
        live.extend(rows(state, now, columns, most));
        if live != self.live {
            let old = std::mem::take(&mut self.live);
            self.put(&old, "", live);
        }
    }

    /// Takes bar and rows away.
    pub(super) fn clear(&mut self) {
        let old = std::mem::take(&mut self.live);
        if !old.is_empty() {
            self.put(&old, "", Vec::new());
        }
    }

    /// Writes `text` and below it what is `live` now, where `old` was, all at once: nothing flickers.
    fn put(&mut self, old: &[String], text: &str, live: Vec<String>) {
        let mut all = String::new();
        if !old.is_empty() {
            // What was written for a wider window takes more rows in a narrower one.
            let columns = (self.size)().map_or(usize::MAX, |(columns, _)| columns);
            let rows: usize = old.iter().map(|line| width(line).div_ceil(columns).max(1)).sum();
            let _ = write!(all, "\r\x1b[{rows}A\x1b[J");
        }
        all += text;
        if !text.is_empty() && !text.ends_with('\n') {
            all.push('\n');
        }
        for line in &live {
            all += line;
            all.push('\n');
        }
        self.live = live;
        // Where the terminal is gone there is nobody to tell.
        let _ = self.out.write_all(all.as_bytes());
        let _ = self.out.flush();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How much of all is done with.
fn bar(done: usize, of: usize) -> String {
    let eighths = done.min(of) * BAR * 8 / of.max(1);
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = (eighths % 8).checked_sub(1) {
        bar.push(EIGHTHS[part]);
    }
    super::text::pad(&bar, BAR)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Out {
        fn taken(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_put_above_the_live_ones_which_are_taken_away() {
        let out = Out::default();
        let mut screen = Screen::to(Box::new(out.clone()), || Some((40, 24)));
        screen.print("one\n");
        assert_eq!(out.taken(), "one\n");
        screen.put(&[], "", vec!["bar".into(), "row".into()]);
        assert_eq!(out.taken(), "bar\nrow\n");
        screen.print("two");
        assert_eq!(out.taken(), "\r\x1b[2A\x1b[Jtwo\nbar\nrow\n");
        drop(screen);
        assert_eq!(out.taken(), "\r\x1b[2A\x1b[J");
    }

    #[test]
    fn a_window_that_became_narrower_has_more_rows_to_take_away() {
        let out = Out::default();
        let mut screen = Screen::to(Box::new(out.clone()), || Some((10, 24)));
        screen.put(&[], "", vec!["x".repeat(21), String::new()]);
        out.taken();
        screen.clear();
        assert_eq!(out.taken(), "\r\x1b[4A\x1b[J");
    }

    #[test]
    fn the_bar_has_always_the_same_width() {
        assert_eq!(bar(0, 3), " ".repeat(24));
        assert_eq!(bar(3, 3), "█".repeat(24));
        assert_eq!(bar(19, 24), "█".repeat(19) + "     ");
        assert_eq!(bar(1, 40), format!("▌{}", " ".repeat(23)));
        assert!((0..=7).all(|done| width(&bar(done, 7)) == BAR));
    }
}
