//! Lines with colour, in which nothing that somebody else wrote does any harm.

use super::text::{clean, wrap};
use owo_colors::{OwoColorize, Style};

/// What a piece of text is, and so how it looks. Colour never says what no word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Change,
    Bad,
    Dim,
    Strong,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// Whether what is as it should be is told too, and differences in full.
    pub(crate) verbose: bool,
    /// Whether there may be colour.
    pub(crate) color: bool,
    /// Columns.
    pub(crate) width: usize,
}

/// Finished lines.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) options: Options,
    /// Blanks before each line.
    pub(super) indent: usize,
    text: String,
}

impl Page {
    pub(super) fn new(options: Options) -> Self {
        Self { options, indent: 0, text: String::new() }
    }

    /// One line of several pieces.
    pub(super) fn line(&mut self, pieces: &[(Tone, &str)]) {
        let mut line = " ".repeat(self.indent);
        for (tone, text) in pieces {
            line.push_str(&paint(self.options, *tone, &clean(text)));
        }
        self.text.push_str(line.trim_end_matches(' '));
        self.text.push('\n');
    }

    /// As many lines as the text has, and more where they are too long.
    pub(super) fn lines(&mut self, tone: Tone, text: &str) {
        let room = self.room();
        for line in text.lines().flat_map(|line| wrap(&clean(line), room)) {
            self.line(&[(tone, &line)]);
        }
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Lines of our own making that are coloured already.
    pub(super) fn ready(&mut self, text: &str) {
        for line in text.lines() {
            self.text.push_str(&" ".repeat(self.indent));
            self.text.push_str(line.trim_end_matches(' '));
            self.text.push('\n');
        }
    }

    /// Writes with more blanks before each line.
    pub(super) fn indented(&mut self, by: usize, write: impl FnOnce(&mut Self)) {
        self.indent += by;
        write(self);
        self.indent -= by;
    }

    /// The columns that are left in a line.
    pub(super) fn room(&self) -> usize {
        self.options.width.saturating_sub(self.indent).max(20)
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// The text in the colour of its tone.
pub(super) fn paint(options: Options, tone: Tone, text: &str) -> String {
    let style = match tone {
        _ if !options.color || text.is_empty() => return text.to_owned(),
        Tone::Plain => return text.to_owned(),
        Tone::Good => Style::new().green(),
        Tone::Change => Style::new().yellow(),
        Tone::Bad => Style::new().red().bold(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Strong => Style::new().bold(),
    };
    text.style(style).to_string()
}
