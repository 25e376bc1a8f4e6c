//! Texts in bytes and their lines, and what an edit is given and makes.

use crate::shell;
use haflow_model::Value;
use regex::bytes::Regex;

/// What is to be there instead of a text, or of nothing; `None`: nothing, as before.
pub(crate) type Edited = Result<Option<Vec<u8>>, String>;

/// Why a text can't be edited at all.
pub(crate) fn refused(text: &[u8]) -> Option<&'static str> {
    text.contains(&0).then_some("it has a NUL byte, so it isn't text")
}

/// The params of an edit.
pub(crate) struct Params<'p>(pub(crate) &'p [(String, Value)]);

impl<'p> Params<'p> {
    pub(crate) fn get(&self, name: &str) -> Option<&'p Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// A param's text; empty where it isn't given.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).map(shell::variable).unwrap_or_default()
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    pub(crate) fn pattern(&self, name: &str) -> Result<Option<Regex>, String> {
        let pattern = |value: &Value| {
            let pattern = shell::variable(value);
            Regex::new(&pattern).map_err(|error| format!("`{name}` isn't a regular expression: {error}"))
        };
        self.get(name).map(pattern).transpose()
    }

    /// The text that is there, where the edit makes a file of nothing or there is one.
    pub(crate) fn there<'t>(&self, old: Option<&'t [u8]>) -> Result<&'t [u8], String> {
        match old {
            Some(old) => Ok(old),
            None if self.is("create") => Ok(b""),
            None => Err(format!("{} isn't there; the option create: true makes it", self.text("file"))),
        }
    }
}

/// A line with its line end.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// A line without its line end.
pub(crate) fn bare(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What a line ends with.
pub(crate) fn line_end(line: &[u8]) -> &'static [u8] {
    match line {
        [.., b'\r', b'\n'] => b"\r\n",
        [.., b'\n'] => b"\n",
        _ => b"",
    }
}

/// What a new line ends with. A last line that ends with half a line end counts: it gets the other half.
pub(crate) fn usual_end(text: &[u8]) -> &'static [u8] {
    if text.ends_with(b"\r") || memchr::memmem::find(text, b"\r\n").is_some() { b"\r\n" } else { b"\n" }
}

/// What a last line needs so that another can follow, where lines end so.
pub(crate) fn missing_end<'e>(text: &[u8], end: &'e [u8]) -> &'e [u8] {
    match text {
        [] | [.., b'\n'] => b"",
        [.., b'\r'] => end.strip_prefix(b"\r").unwrap_or(end),
        _ => end,
    }
}
