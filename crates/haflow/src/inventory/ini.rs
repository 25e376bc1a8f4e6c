//! Ansible's INI.

use super::file::{File, Word};
use super::literal;
use super::raw::{Dialect, Raw, Vars};
use super::{ansible, hosts, pattern};
use haflow_model::{Diagnostic, Value, nearest};

/// What the lines of a section are.
enum Section {
    Hosts(Word),
    Children(Word),
    Vars(Word),
}

/// Reads `[group]`, `[group:children]` and `[group:vars]`. Hosts before the first of them are in no group.
pub(super) fn read(file: &File) -> Result<Raw, Diagnostic> {
    let mut raw = Raw::new(Dialect::Ansible);
    let mut section = None;
    // Vars of groups that aren't declared yet.
    let mut awaited: Vec<Word> = Vec::new();
    let mut start = 0;
    for line in file.text.split_inclusive('\n') {
        let text = line.trim();
        let at = start + line.len() - line.trim_start().len();
        start += line.len();
        if text.is_empty() || text.starts_with('#') || text.starts_with(';') {
            continue;
        }
        if text.starts_with('[') && !hosts::starts_with_address(text) {
            let next = header(file, text, at)?;
            match &next {
                Section::Hosts(name) | Section::Children(name) => {
                    raw.declare(name);
                }
                Section::Vars(name) => awaited.push(name.clone()),
            }
            section = Some(next);
            continue;
        }
        match &section {
            None => host(file, &mut raw, None, text, at)?,
            Some(Section::Hosts(group)) => host(file, &mut raw, Some(group), text, at)?,
            Some(Section::Children(group)) => {
                let words = words(file, text, at)?;
                if let Some(extra) = words.get(1) {
                    return Err(file
                        .wrong(extra.at, "a line of children is the name of one group", "")
                        .help("write one child group a line"));
                }
                raw.group(group).children.extend(words);
            }
            Some(Section::Vars(group)) => {
                let (name, value) = var(file, text, at)?;
                raw.group(group).vars.insert(name.text, (value, name.at));
            }
        }
    }
    for name in awaited {
        if !raw.group(&name).declared && name.text != "all" && name.text != "ungrouped" {
            let known: Vec<String> =
                raw.groups.iter().filter(|group| group.declared).map(|group| group.name.text.clone()).collect();
            let diagnostic = file.wrong(name.at, format!("vars of group `{}`, which isn't there", name.text), "");
            return Err(match nearest(&name.text, known.iter().map(String::as_str)) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic.help(format!("declare it with a line `[{}]`", name.text)),
            });
        }
    }
    Ok(raw)
}

/// `[name]`, `[name:children]` or `[name:vars]`.
fn header(file: &File, text: &str, at: usize) -> Result<Section, Diagnostic> {
    let whole = file.at(&(at..at + text.len()));
    let help = "sections read `[group]`, `[group:children]` or `[group:vars]`";
    let Some((inner, rest)) = text[1..].split_once(']') else {
        return Err(file.wrong(whole, "a section without its `]`", "").help(help));
    };
    let rest = rest.trim();
    if !(rest.is_empty() || rest.starts_with('#') || rest.starts_with(';')) {
        return Err(file.wrong(whole, "text behind a section's `]`", "").help(help));
    }
    let (name, kind) = inner.split_once(':').unwrap_or((inner, ""));
    let word = Word { text: name.trim().to_owned(), at: file.at(&(at + 1..at + 1 + name.len())) };
    pattern::check(file, &word, "group name")?;
    match kind.trim() {
        "" if !inner.contains(':') => Ok(Section::Hosts(word)),
        "children" => Ok(Section::Children(word)),
        "vars" => Ok(Section::Vars(word)),
        other => {
            let from = at + 2 + name.len();
            let place = file.at(&(from..from + kind.len()));
            let help = match nearest(other, ["children", "vars"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None => help.to_owned(),
            };
            Err(file.wrong(place, format!("unknown kind of section `{other}`"), "").help(help))
        }
    }
}

/// `name[:port] var=value …`.
fn host(file: &File, raw: &mut Raw, group: Option<&Word>, text: &str, at: usize) -> Result<(), Diagnostic> {
    let mut words = words(file, text, at)?.into_iter();
    let Some(first) = words.next() else { return Ok(()) };
    let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    if let Some((head, _)) = first.text.split_once('=').filter(|(head, _)| is_name(head)) {
        return Err(file.wrong(first.at, "a line of hosts begins with a host's name", "this is a var").help(format!(
            "vars of all hosts of a group go below a line `[group:vars]`; is the name before `{head}` missing?"
        )));
    }
    let (name, port) = hosts::split_port(file, &first)?;
    let mut vars = Vars::new();
    for word in words {
        let Some((key, value)) = word.text.split_once('=') else {
            return Err(file
                .wrong(word.at, format!("`{}` is no var of host `{}`", word.text, name.text), "no `=` in it")
                .help("write vars as `name=value`, values with blanks in quotes, and one host a line"));
        };
        vars.insert(key.to_owned(), (literal::value(value), word.at));
    }
    ansible::name_hosts(file, raw, group, &name, port, &vars)
}

/// `name = value`: the value is the rest of the line.
fn var(file: &File, text: &str, at: usize) -> Result<(Word, Value), Diagnostic> {
    let whole = file.at(&(at..at + text.len()));
    let Some((name, value)) = text.split_once('=') else {
        return Err(file.wrong(whole, "a line of vars without `=`", "").help("write vars as `name=value`, one a line"));
    };
    let name = name.trim();
    if name.is_empty() {
        return Err(file.wrong(whole, "a var without a name", "").help("write vars as `name=value`, one a line"));
    }
    let place = file.at(&(at..at + name.len()));
    Ok((Word { text: name.to_owned(), at: place }, literal::value(value.trim())))
}

/// A line's words as a shell splits them, up to a comment.
fn words(file: &File, text: &str, at: usize) -> Result<Vec<Word>, Diagnostic> {
    let mut words = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut end = text.len();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match (c, quote) {
            (_, Some((mark, _))) if c == mark => quote = None,
            ('\'' | '"', None) => {
                quote = Some((c, index));
                word.get_or_insert((index, String::new()));
            }
            ('\\', None | Some(('"', _))) => {
                let word = word.get_or_insert((index, String::new()));
                match characters.next() {
                    // In quotes, a backslash is special only before a quote or itself.
                    Some((_, next)) if quote.is_some() && next != '"' && next != '\\' => word.1.extend(['\\', next]),
                    Some((_, next)) => word.1.push(next),
                    None => {
                        let place = file.at(&(at + index..at + index + 1));
                        return Err(file.wrong(place, "a backslash at the end of a line", "").help("remove it"));
                    }
                }
            }
            ('#', None) => {
                end = index;
                break;
            }
            (c, None) if c.is_whitespace() => words.extend(finish(file, &mut word, at, index)),
            (c, _) => word.get_or_insert((index, String::new())).1.push(c),
        }
    }
    if let Some((mark, index)) = quote {
        let place = file.at(&(at + index..at + index + 1));
        return Err(file
            .wrong(place, format!("a quote {mark} without its end"), "opened here")
            .help(format!("close it with {mark} on the same line")));
    }
    words.extend(finish(file, &mut word, at, end));
    Ok(words)
}

fn finish(file: &File, word: &mut Option<(usize, String)>, at: usize, end: usize) -> Option<Word> {
    word.take().map(|(from, text)| Word { text, at: file.at(&(at + from..at + end)) })
}
