//! Lines of playbooks and inventories, with what is wrong below them.

use super::text::clean;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use haflow_model::{Diagnostic, Label, Place, Sources};
use std::ops::Range;

/// What is wrong with something that a person wrote: message, lines, help. Ends in a line break.
pub(crate) fn diagnostic(diagnostic: &Diagnostic, color: bool, width: usize) -> String {
    let (message, more) = split(&diagnostic.message);
    let renderer = renderer(color, width);
    if diagnostic.labels.is_empty() {
        let mut text =
            renderer.render(&[Group::with_title(Level::ERROR.primary_title(message))]) + more.as_str() + "\n";
        if let Some(help) = &diagnostic.help {
            text += &renderer.render(&[Group::with_title(Level::HELP.primary_title(clean_lines(help)))]);
            text.push('\n');
        }
        return text;
    }
    let mut group = Level::ERROR.primary_title(message).elements(std::iter::empty::<Snippet<'_, Annotation<'_>>>());
    group = labels(group, &diagnostic.labels, &diagnostic.sources);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(clean_lines(help)));
    }
    let mut text = renderer.render(&[group]);
    if !more.is_empty() {
        // Long texts, such as a program's last messages, stand below the first line.
        let at = text.find('\n').unwrap_or(text.len());
        text.insert_str(at, &more);
    }
    text + "\n"
}

/// The line of a place, marked. Without its text only the place.
pub(super) fn excerpt(place: &Place, sources: &Sources, color: bool, width: usize) -> String {
    let label = [Label { place: place.clone(), length: 0, text: String::new() }];
    let group = labels(Group::with_level(Level::ERROR), &label, sources);
    renderer(color, width).render(&[group])
}

fn renderer(color: bool, width: usize) -> Renderer {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.term_width(width)
}

/// The first line, and the others, indented.
fn split(message: &str) -> (String, String) {
    let mut lines = message.lines();
    let first = clean(lines.next().unwrap_or_default()).into_owned();
    let more = lines.fold(String::new(), |text, line| text + "\n    " + &*clean(line));
    (first, more)
}

fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// Adds one excerpt for each file, in the order of the labels.
fn labels<'a>(mut group: Group<'a>, labels: &'a [Label], sources: &'a Sources) -> Group<'a> {
    let mut done: Vec<&str> = Vec::new();
    for label in labels {
        let file = &*label.place.file;
        if done.contains(&file) {
            continue;
        }
        let of_file: Vec<(usize, &Label)> = labels.iter().enumerate().filter(|(_, l)| &*l.place.file == file).collect();
        let text = sources.get(file).filter(|text| of_file.iter().all(|(_, label)| span(text, label).is_some()));
        let Some(text) = text else {
            group = group.element(origin(&label.place));
            if !label.text.is_empty() {
                group = group.element(Level::NOTE.message(clean_lines(&label.text)));
            }
            continue;
        };
        done.push(file);
        let mut snippet = Snippet::source(&**text).path(clean(file));
        for (index, label) in of_file {
            let kind = if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let annotation = kind.span(span(text, label).unwrap_or_default());
            snippet = snippet.annotation(if label.text.is_empty() {
                annotation
            } else {
                annotation.label(clean_lines(&label.text))
            });
        }
        group = group.element(snippet);
    }
    group
}

fn origin(place: &Place) -> Origin<'_> {
    let mut origin = Origin::path(clean(&place.file));
    if place.line > 0 {
        origin = origin.line(place.line as usize);
        if place.column > 0 {
            origin = origin.char_column(place.column as usize);
        }
    }
    origin
}

/// The bytes that a label means: so many characters, or the word there, or the whole line.
fn span(text: &str, label: &Label) -> Option<Range<usize>> {
    let line = (label.place.line as usize).checked_sub(1)?;
    let start = if line == 0 { 0 } else { text.match_indices('\n').nth(line - 1)?.0 + 1 };
    let rest = &text[start..];
    let line = rest.lines().next().unwrap_or_default();
    let Some(column) = (label.place.column as usize).checked_sub(1) else {
        let from = start + line.len() - line.trim_start().len();
        return Some(from..(start + line.trim_end().len()).max(from));
    };
    let from = rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at).min(line.len());
    let here = &rest[from..];
    let length = if label.length > 0 {
        here.char_indices().nth(label.length).map_or(here.len(), |(at, _)| at)
    } else {
        let word = here.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(here.len());
        word.max(here.chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8))
    };
    Some(start + from..start + from + length)
}
