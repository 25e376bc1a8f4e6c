use crate::Place;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The texts of the files that places refer to, by the name that places use.
pub type Sources = BTreeMap<Arc<str>, Arc<str>>;

/// What is wrong with something that a person wrote, where, and what to do about it.
///
/// Everything that makes haflow end with exit code 65 is one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostic {
    /// One sentence without a full stop: what is wrong.
    pub message: String,
    /// Where it is: the first is the main place, the others explain it.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
    /// The texts of the files that the labels are in, as far as they were read.
    pub sources: Sources,
}

/// A place with what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub place: Place,
    /// How many characters from there on are meant; 0 where that isn't known.
    pub length: usize,
    /// A few words; may be empty.
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push(Label { place, length: 0, text: text.into() });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the text of a file, so that the line can be shown.
    #[must_use]
    pub fn source(mut self, file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        self.sources.insert(file.into(), text.into());
        self
    }

    /// The main place.
    pub fn place(&self) -> Option<&Place> {
        self.labels.first().map(|label| &label.place)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// The candidate most like `word`, if one is like it at all: for "did you mean …?".
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + word.len().min(candidate.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        let words = ["running", "enabled", "mode", "owner"];
        assert_eq!(nearest("runing", words), Some("running"));
        assert_eq!(nearest("enalbed", words), Some("enabled"));
        assert_eq!(nearest("colour", words), None);
    }
}
