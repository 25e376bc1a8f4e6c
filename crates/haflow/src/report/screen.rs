//! The live part of a terminal: one bar over all, and rows of what is running now.
//!
//! Finished lines end in newlines, so that a terminal keeps them as lines whatever becomes of its size. The
//! live part is the last lines, and the cursor rests below them: what a terminal echoes, `^C` for example,
//! isn't written into them. So indicatif makes the bar's line, and it is put here: by itself indicatif fills
//! lines up to the width with blanks, and rests at their end.

use super::page::Options;
use super::state::State;
use super::story::rows;
use super::text::{seconds, width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::tcgetwinsize;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::{Arc, Mutex, PoisonError};

/// More rows than this are told as a number.
const ROWS: usize = 15;
/// Drawn to a terminal. Taken away when it is dropped.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    /// Columns and rows, where the terminal says them.
    size: fn() -> Option<(usize, usize)>,
    live: Vec<String>,
    bar: Bar,
}

/// The bar over all.
struct Bar {
    line: Line,
    progress: ProgressBar,
}

impl Bar {
    fn new() -> Self {
        let line = Line::default();
        let target = ProgressDrawTarget::term_like(Box::new(line.clone()));
        let progress = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("[{bar:24}]  {wide_msg}");
        progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉▊▋▌▍▎▏ "));
        Self { line, progress }
    }

    /// The bar's line, at most so wide.
    fn line(&self, done: usize, of: usize, text: String, columns: usize) -> String {
        self.line.0.lock().unwrap_or_else(PoisonError::into_inner).columns = columns;
        self.progress.set_length(of as u64);
        self.progress.set_position(done as u64);
        self.progress.set_message(text);
        self.progress.tick();
        self.line.0.lock().unwrap_or_else(PoisonError::into_inner).text.trim_end().to_owned()
    }
}

/// A terminal of one line, for indicatif to write to.
#[derive(Debug, Default, Clone)]
struct Line(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    columns: usize,
    text: String,
}

impl TermLike for Line {
    fn width(&self) -> u16 {
        let columns = self.0.lock().unwrap_or_else(PoisonError::into_inner).columns;
        u16::try_from(columns).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text += text;
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).text.clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
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
        Self { out, size, live: Vec::new(), bar: Bar::new() }
    }

    /// Prints lines above the bar.
    pub(super) fn print(&mut self, text: &str) {
        let live = std::mem::take(&mut self.live);
        self.put(&live, text, live.clone());
    }

    /// Shows the state.
    pub(super) fn draw(&mut self, state: &State, now: u64, options: Options) {
        if state.start.is_none() || state.total == 0 || state.ended {
            return;
        }
        // The window may have changed by now, and what doesn't fit would scroll away.
        let size = (self.size)();
        let columns = size.map_or(options.width, |(columns, _)| columns).saturating_sub(1);
        let most = size.map_or(ROWS, |(_, rows)| rows.saturating_sub(4)).min(ROWS);
        let mut live = vec![self.bar.line(state.done, state.total, overall(state, now), columns)];
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
    fn the_bar_is_a_line_that_fits() {
        let bar = Bar::new();
        let line = |done, of, columns| bar.line(done, of, "text".into(), columns);
        assert_eq!(line(0, 3, 80), format!("[{}]  text", " ".repeat(24)));
        assert_eq!(line(3, 3, 80), format!("[{}]  text", "█".repeat(24)));
        assert_eq!(line(19, 24, 80), format!("[{}▏    ]  text", "█".repeat(19)));
        assert!((0..=7).all(|done| width(&line(done, 7, 80)) == 32));
        assert!(width(&line(1, 7, 30)) <= 30, "{:?}", line(1, 7, 30));
    }
}
