//! A file's text and the places in it.

use haflow_model::{Diagnostic, Label, Place};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// Where something stands: line and column from 1 in characters (0: not known), and how many characters it is
/// long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct At {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) length: usize,
}

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: At,
}

/// A text that was read, by the name that messages use.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) name: Arc<str>,
    pub(super) text: Arc<str>,
    /// The byte at which each line begins.
    starts: Vec<usize>,
    /// How many names its patterns have stood for so far.
    pub(super) names: Cell<usize>,
}

impl File {
    /// The port that a word is, of what is called `name`.
    pub(super) fn port(&self, name: &str, word: &Word) -> Result<u16, Diagnostic> {
        word.text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
            self.wrong(word.at, format!("`{name}` is `{}`, which is no port", word.text), "")
                .help("a port is a number from 1 to 65535")
        })
    }

    pub(super) fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, starts, names: Cell::new(0) }
    }

    /// The place of a range of bytes.
    pub(super) fn at(&self, bytes: &Range<usize>) -> At {
        let start = bytes.start.min(self.text.len());
        let end = bytes.end.clamp(start, self.text.len());
        let line = self.starts.partition_point(|begin| *begin <= start);
        let before = self.text.get(self.starts[line - 1]..start).unwrap_or_default();
        At {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX),
            length: self.text.get(start..end).unwrap_or_default().chars().count(),
        }
    }

    /// The text at a place.
    pub(super) fn text_at(&self, at: At) -> Option<&str> {
        let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
        let rest = &self.text[*self.starts.get(line)?..];
        let nth = |text: &str, number: usize| text.char_indices().nth(number).map(|(at, _)| at);
        let rest = &rest[nth(rest, usize::try_from(at.column).ok()?.checked_sub(1)?)?..];
        Some(&rest[..nth(rest, at.length).unwrap_or(rest.len())])
    }

    /// What is wrong there. Where the place isn't known, the file alone is named.
    pub(super) fn wrong(&self, at: At, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        let diagnostic = Diagnostic::new(message).source(self.name.clone(), self.text.clone());
        self.and(diagnostic, at, label)
    }

    /// Adds a further place of this file.
    pub(super) fn and(&self, mut diagnostic: Diagnostic, at: At, label: impl Into<String>) -> Diagnostic {
        let place = Place::new(self.name.clone(), at.line, at.column);
        diagnostic.labels.push(Label { place, length: at.length, text: label.into() });
        diagnostic
    }
}
