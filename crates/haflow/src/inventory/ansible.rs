//! Ansible's YAML, its `--list` JSON, and its vars that say how to reach a host.

use super::file::{At, File, Word};
use super::raw::{Connection, Dialect, Raw, Vars, vars};
use super::tree::{Kind, Tree};
use super::warnings::Warnings;
use super::{hosts, pattern, ssh_arguments};
use haflow_model::{Diagnostic, HostName, Value, nearest};
use std::collections::HashSet;

const GROUP: [&str; 3] = ["hosts", "vars", "children"];

/// Reads groups by name, each with `hosts`, `vars` and `children`, which are groups in turn.
pub(super) fn read_yaml(file: &File, tree: Tree) -> Result<Raw, Diagnostic> {
    let mut raw = Raw::new(Dialect::Ansible);
    let entries = groups(file, tree)?;
    if let Some((key, _)) = entries.iter().find(|(key, _)| key.text == "plugin") {
        return Err(file
            .wrong(key.at, "this is the configuration of an inventory plugin of Ansible, not an inventory", "")
            .help("give haflow an executable that runs `ansible-inventory -i THIS --list`"));
    }
    for (name, group) in entries {
        read_group(file, &mut raw, &name, group)?;
    }
    Ok(raw)
}

fn groups(file: &File, tree: Tree) -> Result<Vec<(Word, Tree)>, Diagnostic> {
    let what = tree.what();
    match tree.kind {
        Kind::Map(entries) => Ok(entries),
        Kind::Null => Ok(Vec::new()),
        _ => Err(file
            .wrong(tree.at, format!("an inventory must be a map of groups, not {what}"), "")
            .help("begin with `all:`, and below it `hosts:` or `children:`")),
    }
}

fn read_group(file: &File, raw: &mut Raw, name: &Word, group: Tree) -> Result<(), Diagnostic> {
    pattern::check(file, name, "group name")?;
    let of = format!("group `{}`", name.text);
    raw.declare(name);
    let what = group.what();
    let entries = match group.kind {
        Kind::Null => return Ok(()),
        Kind::Map(entries) => entries,
        _ => {
            return Err(file
                .wrong(group.at, format!("{of} must be a map, not {what}"), "")
                .help("a group has `hosts`, `vars` and `children`"));
        }
    };
    for (key, value) in entries {
        match key.text.as_str() {
            "hosts" => {
                for (pattern, own) in named(file, value, &format!("the hosts of {of}"))? {
                    let (pattern, port) = hosts::split_port(file, &pattern)?;
                    let own = vars(file, own, &format!("host `{}`", pattern.text))?;
                    name_hosts(file, raw, Some(name), &pattern, port, &own)?;
                }
            }
            "children" => {
                for (child, inner) in named(file, value, &format!("the children of {of}"))? {
                    raw.group(name).children.push(child.clone());
                    read_group(file, raw, &child, inner)?;
                }
            }
            "vars" => {
                let vars = vars(file, value, &of)?;
                raw.group(name).vars.extend(vars);
            }
            _ => return Err(unknown(file, &key, &of)),
        }
    }
    Ok(())
}

/// Names hosts, with the port behind their name and vars. As in Ansible, the last value of a var counts, and
/// a port only where the host is named first.
pub(super) fn name_hosts(
    file: &File,
    raw: &mut Raw,
    group: Option<&Word>,
    pattern: &Word,
    port: Option<u16>,
    vars: &Vars,
) -> Result<(), Diagnostic> {
    let before = raw.hosts.len();
    let names = raw.members(file, group, pattern)?;
    let new: HashSet<String> = raw.hosts[before..].iter().map(|host| host.name.text.clone()).collect();
    for name in names {
        let host = raw.host(&name);
        if let Some(port) = port {
            let value = Value::from(port);
            if new.contains(&name.text) {
                host.vars.insert("ansible_port".to_owned(), (value, pattern.at));
            } else if host.vars.get("ansible_port").is_none_or(|(first, _)| *first != value) {
                let what = format!(
                    "port {port} of host `{}` is left out: the host is named before, and as in Ansible only the port \
                     there counts; if these are two machines, give each its own name, with `ansible_host`",
                    name.text
                );
                raw.left_out.push((pattern.at, what));
            }
        }
        raw.host(&name).vars.extend(vars.clone());
    }
    Ok(())
}

fn unknown(file: &File, key: &Word, of: &str) -> Diagnostic {
    file.wrong(key.at, format!("{of} has no key `{}`", key.text), "").help(nearest(&key.text, GROUP).map_or_else(
        || format!("a group has `hosts`, `vars` and `children`; hosts go below `hosts:`, is `{}` one?", key.text),
        |near| format!("did you mean `{near}`?"),
    ))
}

/// The entries of a map; a single text is a map of that one.
fn named(file: &File, tree: Tree, of: &str) -> Result<Vec<(Word, Tree)>, Diagnostic> {
    let what = tree.what();
    match tree.kind {
        Kind::Null => Ok(Vec::new()),
        Kind::Map(entries) => Ok(entries),
        Kind::Text(text) => Ok(vec![(Word { text, at: tree.at }, Tree { at: tree.at, kind: Kind::Null })]),
        _ => Err(file
            .wrong(tree.at, format!("{of} must be a map, not {what}"), "")
            .help("write each with a colon behind it and no `-` before it, for example `rabbit1:`")),
    }
}

/// Reads what a program prints when called with `--list`.
pub(super) fn read_list(file: &File, tree: Tree) -> Result<Raw, Diagnostic> {
    let mut raw = Raw::new(Dialect::AnsibleList);
    let what = tree.what();
    let Kind::Map(entries) = tree.kind else {
        return Err(file
            .wrong(tree.at, format!("an inventory must be a map of groups, not {what}"), "")
            .help("it reads `{\"_meta\": {\"hostvars\": {}}, \"GROUP\": {\"hosts\": [\"HOST\"]}}`"));
    };
    let mut meta = None;
    for (name, group) in entries {
        if name.text == "_meta" {
            meta = Some(group);
            raw.has_meta = true;
            continue;
        }
        pattern::check(file, &name, "group name")?;
        let of = format!("group `{}`", name.text);
        raw.declare(&name);
        let what = group.what();
        match group.kind {
            Kind::Null => {}
            Kind::List(_) => list_hosts(file, &mut raw, &name, group, &of)?,
            Kind::Map(entries) => {
                for (key, value) in entries {
                    match key.text.as_str() {
                        "hosts" => list_hosts(file, &mut raw, &name, value, &format!("`hosts` of {of}"))?,
                        "children" => {
                            let children = texts(file, value, &format!("`children` of {of}"))?;
                            raw.group(&name).children.extend(children);
                        }
                        "vars" => {
                            let vars = vars(file, value, &of)?;
                            raw.group(&name).vars.extend(vars);
                        }
                        _ => return Err(unknown(file, &key, &of)),
                    }
                }
            }
            _ => {
                return Err(file
                    .wrong(group.at, format!("{of} must be a list of hosts or a map, not {what}"), "")
                    .help("a group reads `[\"HOST\"]` or `{\"hosts\": [\"HOST\"], \"vars\": {}, \"children\": []}`"));
            }
        }
    }
    for (key, value) in meta.map(|meta| named(file, meta, "`_meta`")).transpose()?.unwrap_or_default() {
        if key.text != "hostvars" {
            continue;
        }
        for (host, own) in named(file, value, "`hostvars`")? {
            let own = vars(file, own, &format!("host `{}`", host.text))?;
            pattern::check(file, &host, "host name")?;
            // Vars alone make no host: a program may know those of machines that it doesn't list.
            if let Some(host) = raw.known_host(&host) {
                host.vars.extend(own);
            }
        }
    }
    Ok(raw)
}

fn list_hosts(file: &File, raw: &mut Raw, group: &Word, value: Tree, of: &str) -> Result<(), Diagnostic> {
    for host in texts(file, value, of)? {
        pattern::check(file, &host, "host name")?;
        raw.host(&host);
        raw.group(group).hosts.push(host);
    }
    Ok(())
}

fn texts(file: &File, tree: Tree, of: &str) -> Result<Vec<Word>, Diagnostic> {
    let wrong = |tree: &Tree| {
        file.wrong(tree.at, format!("{of} must be a list of texts, not {}", tree.what()), "")
            .help("it reads `[\"rabbit1\", \"rabbit2\"]`")
    };
    match tree.kind {
        Kind::Null => Ok(Vec::new()),
        Kind::List(items) => items
            .into_iter()
            .map(|item| match item.kind {
                Kind::Text(text) => Ok(Word { text, at: item.at }),
                _ => Err(wrong(&item)),
            })
            .collect(),
        _ => Err(wrong(&tree)),
    }
}

/// Takes the vars that say how to reach a host out of its vars, and passwords. What isn't honoured is put
/// into `warnings`.
pub(super) fn connection(
    file: &File,
    host: &HostName,
    vars: &mut Vars,
    warnings: &mut Warnings,
) -> Result<Connection, Diagnostic> {
    let mut connection = Connection::default();
    for (slot, names) in [
        (&mut connection.address, ["ansible_host", "ansible_ssh_host"]),
        (&mut connection.user, ["ansible_user", "ansible_ssh_user"]),
        (&mut connection.key, ["ansible_ssh_private_key_file", "ansible_private_key_file"]),
    ] {
        // The first is the newer name, and wins.
        for name in names {
            if let Some((value, at)) = vars.remove(name)
                && slot.is_none()
            {
                *slot = text(file, name, value, at)?;
            }
        }
    }
    for name in ["ansible_port", "ansible_ssh_port"] {
        if let Some((value, at)) = vars.remove(name)
            && connection.port.is_none()
        {
            connection.port = text(file, name, value, at)?.map(|word| file.port(name, &word)).transpose()?;
        }
    }
    let user = vars.get("ansible_become_user").cloned();
    if let Some((value, at)) = vars.remove("ansible_become")
        && truth(file, &value, at)?
    {
        vars.remove("ansible_become_user");
        let user = user.map(|(user, at)| text(file, "ansible_become_user", user, at)).transpose()?.flatten();
        connection.run_as = user.or(Some(Word { text: "root".to_owned(), at }));
    }
    if let Some((value, at)) = vars.remove("ansible_connection")
        && let Some(word) = text(file, "ansible_connection", value, at)?
    {
        match word.text.rsplit('.').next().unwrap_or_default() {
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" => {}
            "local" => connection.transport = Some(Word { text: "local".to_owned(), at }),
            _ => {
                let what =
                    format!("`ansible_connection` is `{}`, which haflow doesn't have: no task runs there", word.text);
                warnings.of_host(host, at, what);
                connection.transport = Some(word);
            }
        }
    }
    for name in ["ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"] {
        if let Some((Value::String(arguments), at)) = vars.get(name) {
            for left_out in ssh_arguments::read(file, &mut connection, name, arguments, *at)? {
                let left_out_of = format!("`{left_out}` in `{name}` is left out");
                let what = if left_out.to_ascii_lowercase().starts_with("stricthostkeychecking") {
                    format!("{left_out_of}: haflow checks host keys always (`--accept-new` takes new ones)")
                } else {
                    format!("{left_out_of}: haflow doesn't do that")
                };
                warnings.of_host(host, *at, what);
            }
        }
    }
    not_honoured(host, vars, warnings);
    Ok(connection)
}

/// Vars that mean something to Ansible and nothing here. Passwords are taken out, so that nothing keeps them.
fn not_honoured(host: &HostName, vars: &mut Vars, warnings: &mut Warnings) {
    let passwords = vars.extract_if(.., |name, _| {
        name.starts_with("ansible_") && (name.ends_with("_pass") || name.ends_with("_password"))
    });
    for (name, (_, at)) in passwords {
        warnings.of_host(
            host,
            at,
            format!("`{name}` is left out: haflow logs in by keys, and sudo must ask for no password"),
        );
    }
    if let Some((Value::String(method), at)) = vars.get("ansible_become_method")
        && !matches!(method.as_str(), "sudo" | "ansible.builtin.sudo")
    {
        warnings.of_host(
            host,
            *at,
            format!("`ansible_become_method` is `{method}`: haflow becomes another user by sudo only"),
        );
    }
    if let Some((Value::String(shell), at)) = vars.get("ansible_shell_type")
        && shell != "sh"
    {
        warnings.of_host(host, *at, format!("`ansible_shell_type` is `{shell}`: haflow needs a POSIX sh there"));
    }
}

fn text(file: &File, name: &str, value: Value, at: At) -> Result<Option<Word>, Diagnostic> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => {
            return Err(file
                .wrong(at, format!("`{name}` must be a text"), "")
                .help("write one value, without brackets or braces"));
        }
    };
    if text.contains("{{") {
        return Err(file
            .wrong(at, format!("`{name}` is a template, which haflow doesn't fill in here"), "")
            .help("write the value itself, or use an executable that runs `ansible-inventory --list`"));
    }
    Ok(Some(Word { text, at }))
}

fn truth(file: &File, value: &Value, at: At) -> Result<bool, Diagnostic> {
    let text = match value {
        Value::Bool(value) => return Ok(*value),
        Value::Null => return Ok(false),
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    };
    match text.as_str() {
        "yes" | "true" | "on" | "1" | "y" | "t" => Ok(true),
        "no" | "false" | "off" | "0" | "n" | "f" | "" => Ok(false),
        _ => Err(file
            .wrong(at, format!("`ansible_become` is `{text}`, which is neither true nor false"), "")
            .help("write `true` or `false`; the user is `ansible_become_user`")),
    }
}
