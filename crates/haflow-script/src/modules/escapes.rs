//! The warning about escapes between backticks, where `\n` is no line break.

use crate::place::literal_escapes;
use crate::request::{Note, NoteKind};
use crate::session::Session;
use std::sync::Arc;

/// Everybody writes `\n` between backticks once, and gets a backslash and an n in a file.
pub(crate) fn warn_of_escapes(session: &Session, text: &str, file: &Arc<str>) {
    for place in literal_escapes(text, file) {
        let text =
            "`\\n` and the like are two characters between backticks: break the line there, or write … + \"\\n\""
                .to_owned();
        session.state().notes.push(Note { kind: NoteKind::Warn, place, text });
    }
}
