//! Inventories in TOML of our own.

use super::file::{At, File, Word};
use super::pattern;
use super::raw::{Dialect, Raw, vars};
use super::tree::{Kind, Tree};
use haflow_model::{Diagnostic, nearest};
use serde_json::Number;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const TOP: [&str; 3] = ["groups", "hosts", "vars"];
const GROUP: [&str; 3] = ["hosts", "children", "vars"];
const HOST: [&str; 9] = ["address", "port", "user", "key", "known_hosts", "jump", "become", "connection", "vars"];

/// Reads `[groups.NAME]`, `[hosts.NAME]` and `[vars]`.
pub(super) fn read(file: &File) -> Result<Raw, Diagnostic> {
    let table = DeTable::parse(&file.text).map_err(|error| bad(file, &error))?;
    let at = file.at(&table.span());
    let mut raw = Raw::new(Dialect::Haflow);
    for (key, value) in map(file, Tree { at, kind: self::table(file, table.into_inner()) }, "the inventory")? {
        match key.text.as_str() {
            "groups" => {
                for (name, group) in map(file, value, "`groups`")? {
                    read_group(file, &mut raw, &name, group)?;
                }
            }
            "hosts" => {
                for (name, host) in map(file, value, "`hosts`")? {
                    read_host(file, &mut raw, &name, host)?;
                }
            }
            "vars" => {
                let all = Word { text: "all".to_owned(), at: key.at };
                raw.declare(&all).vars.extend(vars(file, value, "all hosts")?);
            }
            _ => return Err(unknown(file, &key, "the inventory", &TOP)),
        }
    }
    raw.order_by_place();
    Ok(raw)
}

fn read_group(file: &File, raw: &mut Raw, name: &Word, group: Tree) -> Result<(), Diagnostic> {
    let of = format!("group `{}`", name.text);
    pattern::check(file, name, "group name")?;
    raw.declare(name);
    for (key, value) in map(file, group, &of)? {
        match key.text.as_str() {
            "hosts" => {
                for host in list(file, value, &format!("`hosts` of {of}"))? {
                    raw.members(file, Some(name), &host)?;
                }
            }
            "children" => {
                let children = list(file, value, &format!("`children` of {of}"))?;
                raw.declare(name).children.extend(children);
            }
            "vars" => {
                let vars = vars(file, value, &of)?;
                raw.declare(name).vars.extend(vars);
            }
            word if HOST.contains(&word) => {
                return Err(file.wrong(key.at, format!("{of} has no key `{word}`"), "a setting of hosts").help(
                    format!("write it into the table of each host, `[hosts.NAME]`; a group has {}", or(&GROUP)),
                ));
            }
            _ => return Err(unknown(file, &key, &of, &GROUP)),
        }
    }
    Ok(())
}

fn read_host(file: &File, raw: &mut Raw, name: &Word, host: Tree) -> Result<(), Diagnostic> {
    let of = format!("host `{}`", name.text);
    let names = raw.members(file, None, name)?;
    if names.len() > 1 {
        return Err(file
            .wrong(name.at, format!("a host's table can't be for the {} hosts of a range", names.len()), "")
            .help("give each host its own table, or put what they share into the `vars` of a group"));
    }
    for (key, value) in map(file, host, &of)? {
        let entry = raw.host(name);
        let connection = &mut entry.connection;
        let slot = match key.text.as_str() {
            "port" => {
                connection.port = Some(port(file, &value, &of)?);
                continue;
            }
            "vars" => {
                entry.vars = vars(file, value, &of)?;
                continue;
            }
            "become" if value.kind == Kind::Bool(true) => {
                connection.run_as = Some(Word { text: "root".to_owned(), at: value.at });
                continue;
            }
            "become" if value.kind == Kind::Bool(false) => continue,
            "become" => &mut connection.run_as,
            "address" => &mut connection.address,
            "user" => &mut connection.user,
            "key" => &mut connection.key,
            "known_hosts" => &mut connection.known_hosts,
            "jump" => &mut connection.jump,
            "connection" => {
                let word = text(file, value, &format!("`connection` of {of}"))?;
                if !matches!(word.text.as_str(), "ssh" | "local") {
                    return Err(file
                        .wrong(word.at, format!("`connection` of {of} is `{}`", word.text), "")
                        .help("it is `ssh`, or `local` for the machine that haflow runs on"));
                }
                connection.transport = Some(word);
                continue;
            }
            _ => return Err(unknown(file, &key, &of, &HOST)),
        };
        *slot = Some(text(file, value, &format!("`{}` of {of}", key.text))?);
    }
    Ok(())
}

fn port(file: &File, value: &Tree, of: &str) -> Result<u16, Diagnostic> {
    let Kind::Number(number) = &value.kind else {
        return Err(wrong_type(file, value, &format!("`port` of {of}"), "a whole number"));
    };
    number.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0).ok_or_else(|| {
        file.wrong(value.at, format!("port {number} of {of} is out of range"), "").help("a port is from 1 to 65535")
    })
}

/// The entries of a map, in the order of the file.
fn map(file: &File, tree: Tree, of: &str) -> Result<Vec<(Word, Tree)>, Diagnostic> {
    match tree.kind {
        Kind::Map(entries) => Ok(entries),
        _ => Err(wrong_type(file, &tree, of, "a table")),
    }
}

/// The texts of a list.
fn list(file: &File, tree: Tree, of: &str) -> Result<Vec<Word>, Diagnostic> {
    match tree.kind {
        Kind::List(items) => items.into_iter().map(|item| text(file, item, &format!("each of {of}"))).collect(),
        _ => Err(wrong_type(file, &tree, of, "a list of texts")),
    }
}

fn text(file: &File, tree: Tree, of: &str) -> Result<Word, Diagnostic> {
    match tree.kind {
        Kind::Text(text) => Ok(Word { text, at: tree.at }),
        _ => Err(wrong_type(file, &tree, of, "a text")),
    }
}

fn wrong_type(file: &File, tree: &Tree, of: &str, want: &str) -> Diagnostic {
    let help = match want {
        "a text" => "put it in quotes, for example `\"rabbit1\"`",
        "a whole number" => "write it without quotes, for example `22`",
        "a table" => "a table begins with a line such as `[hosts.rabbit1]`",
        _ => "write it like `[\"rabbit1\", \"rabbit2\"]`",
    };
    file.wrong(tree.at, format!("{of} must be {want}, not {}", tree.what()), "").help(help)
}

fn unknown(file: &File, key: &Word, of: &str, known: &[&str]) -> Diagnostic {
    let diagnostic = file.wrong(key.at, format!("{of} has no key `{}`", key.text), "");
    match nearest(&key.text, known.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if known == TOP => diagnostic.help(format!("it has {}; a group reads `[groups.{}]`", or(known), key.text)),
        None => diagnostic.help(format!("it has {}", or(known))),
    }
}

/// `a`, `b` and `c`.
fn or(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn bad(file: &File, error: &toml::de::Error) -> Diagnostic {
    let at = error.span().map_or_else(At::default, |span| file.at(&span));
    let message = error.message().replace('\n', ", ");
    if message.contains("duplicate key") {
        let bytes = error.span().unwrap_or_default();
        let key = file.text.get(bytes).unwrap_or_default().trim();
        return file.wrong(at, format!("`{key}` is there twice"), "again here").help("keep one, or put both into one");
    }
    file.wrong(at, format!("bad TOML: {message}"), "")
        .help("mend it here or just above: texts are in quotes, lists in brackets, and each line is a table, a key or a comment")
}

fn table(file: &File, table: DeTable<'_>) -> Kind {
    let mut entries: Vec<(Word, Tree)> = table
        .into_iter()
        .map(|(key, value)| {
            let at = file.at(&key.span());
            (Word { text: key.into_inner().into_owned(), at }, tree(file, value))
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.at);
    Kind::Map(entries)
}

fn tree(file: &File, value: Spanned<DeValue<'_>>) -> Tree {
    let at = file.at(&value.span());
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text.into_owned()),
        DeValue::Boolean(value) => Kind::Bool(value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Kind::Text(number.to_string()), |value| Kind::Number(value.into())),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(Number::from_f64)
            .map_or_else(|| Kind::Text(number.to_string()), Kind::Number),
        DeValue::Datetime(time) => Kind::Text(time.to_string()),
        DeValue::Array(items) => Kind::List(items.into_iter().map(|item| tree(file, item)).collect()),
        DeValue::Table(entries) => table(file, entries),
    };
    Tree { at, kind }
}
