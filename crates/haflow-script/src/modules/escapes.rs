//! Warnings about texts: escapes between backticks, where `\n` is no line break, and values in double quotes,
//! where none is filled in.

use crate::declaration::Declaration;
use crate::place::{literal_escapes, unfilled};
use crate::request::{Note, NoteKind};
use std::sync::Arc;

/// Everybody writes `\n` between backticks once, and gets a backslash and an n in a file. And whoever knows
/// templates, or backticks, writes a value into double quotes once, and gets what is written.
pub(crate) fn warn_of_texts(declaration: &Declaration, text: &str, file: &Arc<str>) {
    let warn = |place, text| declaration.state().notes.push(Note { kind: NoteKind::Warn, place, text });
    for place in literal_escapes(text, file) {
        let told =
            "`\\n` and the like are two characters between backticks: break the line there, or write … + \"\\n\"";
        warn(place, told.to_owned());
    }
    for (place, what) in unfilled(text, file) {
        let name = what.trim_matches(['{', '}', '$']).split('|').next().unwrap_or_default().trim();
        let told = format!(
            "`{what}` stays as it is in double quotes: write `…${{{name}}}…` between backticks; a text in #\"…\"# \
             isn't warned of"
        );
        warn(place, told);
    }
}
