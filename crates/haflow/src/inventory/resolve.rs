//! Flattens groups and merges vars.

use super::ansible;
use super::file::{File, Word};
use super::pattern::MOST;
use super::raw::{Connection, Dialect, Entry, Group, Raw, Vars};
use super::warnings::Warnings;
use haflow_model::{Diagnostic, Host, HostName, Inventory, Transport, nearest};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What relative and `~` paths begin at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Folders<'a> {
    /// The inventory's.
    pub(super) own: Option<&'a Path>,
    /// The user's.
    pub(super) home: Option<&'a Path>,
}

/// Checks what was read and makes the inventory of it. What it says and haflow doesn't do is put into
/// `warnings`.
pub(super) fn resolve(
    file: &File,
    raw: Raw,
    folders: Folders<'_>,
    warnings: &mut Warnings,
) -> Result<Inventory, Diagnostic> {
    let Raw { dialect, hosts, groups, left_out, .. } = raw;
    for (at, what) in left_out {
        warnings.of_all(at, what);
    }
    if hosts.is_empty() {
        let help = match dialect {
            Dialect::Haflow => {
                "name some, for example `[groups.rabbit]` and below it `hosts = [\"rabbit1\", \"rabbit2\"]`"
            }
            Dialect::Ansible => "name some, for example a line `[rabbit]` and below it `rabbit1`",
            Dialect::AnsibleList => "look at what the program prints when called with `--list`",
        };
        return Err(Diagnostic::new(format!("the inventory `{}` has no hosts", file.name)).help(help));
    }
    if hosts.len() > MOST {
        return Err(Diagnostic::new(format!(
            "the inventory `{}` has {} hosts, more than {MOST}",
            file.name,
            hosts.len()
        ))
        .help("make its ranges smaller, or use several inventories"));
    }
    let groups = Groups::new(file, dialect, groups)?;
    let index: HashMap<&str, usize> =
        hosts.iter().enumerate().map(|(index, host)| (host.name.text.as_str(), index)).collect();
    let members = groups.members(file, dialect, &index)?;

    if dialect == Dialect::Haflow {
        misspelt(&hosts, &members, warnings);
    }
    let mut of_host: Vec<Vec<usize>> = vec![Vec::new(); hosts.len()];
    for (group, members) in members.iter().enumerate() {
        for host in members {
            of_host[*host].push(group);
        }
    }
    let mut inventory = Inventory::default();
    let mut ungrouped = Vec::new();
    for (entry, mut of) in hosts.iter().zip(of_host) {
        let mut names: Vec<String> = of.iter().map(|group| groups.all[*group].name.text.clone()).collect();
        names.retain(|name| name != "all" && name != "ungrouped");
        let name = HostName::from(entry.name.text.as_str());
        if names.is_empty() {
            ungrouped.push(name.clone());
            names.push("ungrouped".to_owned());
            of.extend(groups.at.get("ungrouped"));
        }
        names.sort();
        of.extend(groups.at.get("all"));
        let mut vars = groups.vars(of);
        vars.extend(entry.vars.clone());
        let connection = match dialect {
            Dialect::Haflow => entry.connection.clone(),
            Dialect::Ansible | Dialect::AnsibleList => ansible::connection(file, &name, &mut vars, warnings)?,
        };
        let mut host = host(file, &name, connection, folders)?;
        host.vars = vars.into_iter().map(|(name, (value, _))| (name, value)).collect();
        host.groups = names;
        inventory.hosts.push(host);
    }
    for (group, members) in groups.all.iter().zip(members) {
        let members = members.into_iter().map(|host| inventory.hosts[host].name.clone()).collect();
        inventory.groups.insert(group.name.text.clone(), members);
    }
    inventory.groups.insert("all".to_owned(), inventory.hosts.iter().map(|host| host.name.clone()).collect());
    inventory.groups.insert("ungrouped".to_owned(), ungrouped);
    Ok(inventory)
}

fn host(file: &File, name: &HostName, connection: Connection, folders: Folders<'_>) -> Result<Host, Diagnostic> {
    // Without a word on how to reach it, it is this machine.
    let is_here = name.as_str() == "localhost" && connection.is_unsaid();
    let Connection { address, port, user, key, known_hosts, jump, run_as, transport, options, config } = connection;
    let argument = |word: Option<Word>, what: &str| match word {
        None => Ok(None),
        Some(word) => check_argument(file, &word, what, name).map(|()| Some(word.text)),
    };
    Ok(Host {
        address: argument(address, "address")?.map(|text| bare(&text)),
        port,
        user: argument(user, "user")?,
        key: key.map(|word| path(file, &word, "key", name, folders)).transpose()?,
        known_hosts: known_hosts.map(|word| path(file, &word, "known_hosts", name, folders)).transpose()?,
        jump: argument(jump, "jump host")?,
        run_as: argument(run_as, "user to become")?,
        connection: match transport {
            Some(word) => word.text.into(),
            None if is_here => Transport::Local,
            None => Transport::Ssh,
        },
        ssh_options: options.into_iter().map(|word| ssh_option(file, word, name)).collect::<Result<_, _>>()?,
        ssh_config: config.map(|word| path(file, &word, "the configuration of ssh", name, folders)).transpose()?,
        ..Host::named(name.clone())
    })
}

/// Refuses what ssh or sudo would read as an option or as two words.
fn check_argument(file: &File, word: &Word, what: &str, host: &HostName) -> Result<(), Diagnostic> {
    let bad = if word.text.is_empty() {
        "is empty"
    } else if word.text.starts_with('-') {
        "begins with `-`"
    } else if word.text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "contains a blank or a control character"
    } else if what.starts_with("user") && !word.text.chars().all(|c| c.is_alphanumeric() || "_-.@+$\\".contains(c)) {
        "contains a character that no user's name has"
    } else {
        return Ok(());
    };
    let help = "it is handed to ssh as it is: remove that, or the whole setting";
    Err(file.wrong(word.at, format!("the {what} of host `{host}` {bad}"), "").help(help))
}

/// A host that has a table and no group, and whose name is almost that of one which is in a group: a slip,
/// often.
fn misspelt(hosts: &[Entry], members: &[BTreeSet<usize>], warnings: &mut Warnings) {
    let grouped: BTreeSet<usize> = members.iter().flatten().copied().collect();
    let known = || grouped.iter().map(|host| hosts[*host].name.text.as_str());
    for (_, host) in hosts.iter().enumerate().filter(|(index, _)| !grouped.contains(index)) {
        if let Some(near) = nearest(&host.name.text, known()) {
            let what = format!("host `{}` is in no group; did you mean `{near}`?", host.name.text);
            warnings.of_all(host.name.at, what);
        }
    }
}

/// One of ssh's options: a line of a configuration, so it must be one.
fn ssh_option(file: &File, word: Word, host: &HostName) -> Result<String, Diagnostic> {
    if word.text.chars().any(char::is_control) {
        let message = format!("an option of ssh's of host `{host}` contains a control character");
        return Err(file.wrong(word.at, message, "").help("write it on one line"));
    }
    Ok(word.text)
}

/// `[::1]` without its brackets, as ssh takes addresses.
fn bare(address: &str) -> String {
    address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address).to_owned()
}

/// Expands `~`, and takes a relative path from the inventory's folder.
fn path(file: &File, word: &Word, what: &str, host: &HostName, folders: Folders<'_>) -> Result<String, Diagnostic> {
    let text = &word.text;
    if text.is_empty() || text.chars().any(char::is_control) {
        let message = format!("`{what}` of host `{host}` is empty or contains a control character");
        return Err(file.wrong(word.at, message, "").help("write the path of a file"));
    }
    if text == "none" || text == "/dev/null" {
        return Ok(text.clone());
    }
    let from_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = match (from_home, folders.home, folders.own) {
        (Some(rest), Some(home), _) => home.join(rest.trim_start_matches('/')),
        (Some(_), None, _) => {
            return Err(file
                .wrong(word.at, format!("the home folder in `{what}` of host `{host}` isn't known"), "")
                .help("write the whole path, or set the environment variable HOME"));
        }
        (None, _, Some(own)) if !text.starts_with('~') => own.join(text),
        (None, _, _) => return Ok(text.clone()),
    };
    Ok(path.to_string_lossy().into_owned())
}

/// Groups whose children are all there and none of which contains itself.
struct Groups {
    all: Vec<Group>,
    at: HashMap<String, usize>,
    /// Each after its parents.
    order: Vec<usize>,
    /// The length of the longest way from the top.
    depth: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Groups {
    fn new(file: &File, dialect: Dialect, mut all: Vec<Group>) -> Result<Self, Diagnostic> {
        let mut at: HashMap<String, usize> =
            all.iter().enumerate().map(|(index, group)| (group.name.text.clone(), index)).collect();
        let mut children = vec![Vec::new(); all.len()];
        for parent in 0..all.len() {
            for child in all[parent].children.clone() {
                let known = at.get(&child.text).copied().filter(|index| all[*index].declared);
                let index = match known {
                    Some(index) => index,
                    None if dialect == Dialect::AnsibleList || child.text == "ungrouped" => {
                        at.insert(child.text.clone(), all.len());
                        children.push(Vec::new());
                        all.push(Group {
                            name: child.clone(),
                            declared: true,
                            hosts: Vec::new(),
                            children: Vec::new(),
                            vars: Vars::new(),
                        });
                        all.len() - 1
                    }
                    None if child.text == "all" => return Err(all_as_child(file, &all[parent], &child)),
                    None => return Err(unknown_child(file, &all, &all[parent], &child)),
                };
                if child.text == "all" {
                    return Err(all_as_child(file, &all[parent], &child));
                }
                if !children[parent].contains(&index) {
                    children[parent].push(index);
                }
            }
        }
        let mut parents = vec![0_usize; all.len()];
        for child in children.iter().flatten() {
            parents[*child] += 1;
        }
        let mut order: Vec<usize> = (0..all.len()).filter(|group| parents[*group] == 0).collect();
        let mut depth = vec![1; all.len()];
        let mut next = 0;
        while let Some(&group) = order.get(next) {
            next += 1;
            for &child in &children[group] {
                depth[child] = depth[child].max(depth[group] + 1);
                parents[child] -= 1;
                if parents[child] == 0 {
                    order.push(child);
                }
            }
        }
        if order.len() < all.len() {
            return Err(circle(file, &all, &children, &parents));
        }
        if let Some(&index) = at.get("all") {
            depth[index] = 0;
        }
        Ok(Self { all, at, order, depth, children })
    }

    /// The hosts of each group by number, those of its children included.
    fn members(
        &self,
        file: &File,
        dialect: Dialect,
        index: &HashMap<&str, usize>,
    ) -> Result<Vec<BTreeSet<usize>>, Diagnostic> {
        let mut members: Vec<BTreeSet<usize>> = Vec::with_capacity(self.all.len());
        for group in &self.all {
            let mut seen: BTreeMap<usize, &Word> = BTreeMap::new();
            for word in &group.hosts {
                if let Some(first) = seen.insert(index[word.text.as_str()], word)
                    && dialect != Dialect::AnsibleList
                {
                    let message = format!("host `{}` is twice in group `{}`", word.text, group.name.text);
                    let diagnostic = file.wrong(word.at, message, "again here");
                    return Err(file.and(diagnostic, first.at, "first here").help("remove one of them"));
                }
            }
            members.push(seen.into_keys().collect());
        }
        for &group in self.order.iter().rev() {
            for &child in &self.children[group] {
                let inherited = members[child].clone();
                members[group].extend(inherited);
            }
        }
        Ok(members)
    }

    /// The vars of some groups, merged: the deeper a group the nearer, then by priority, then by name.
    fn vars(&self, mut groups: Vec<usize>) -> Vars {
        groups.sort_by(|a, b| self.rank(*a).cmp(&self.rank(*b)));
        groups.dedup();
        let mut vars = Vars::new();
        for group in groups {
            vars.extend(self.all[group].vars.clone());
        }
        vars.remove("ansible_group_priority");
        vars
    }

    fn rank(&self, group: usize) -> (usize, i64, &str) {
        let priority = self.all[group].vars.get("ansible_group_priority").and_then(|(value, _)| value.as_i64());
        (self.depth[group], priority.unwrap_or(1), &self.all[group].name.text)
    }
}

fn all_as_child(file: &File, parent: &Group, child: &Word) -> Diagnostic {
    let message = format!("group `{}` has `all` as its child, which contains every group", parent.name.text);
    file.wrong(child.at, message, "").help("remove it from the children")
}

fn unknown_child(file: &File, all: &[Group], parent: &Group, child: &Word) -> Diagnostic {
    let known = all.iter().filter(|group| group.declared).map(|group| group.name.text.as_str());
    let message = format!("group `{}` has a child `{}`, which isn't there", parent.name.text, child.text);
    let help = match nearest(&child.text, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("declare the group `{}`, or remove it from the children; hosts go into `hosts`", child.text),
    };
    file.wrong(child.at, message, "no such group").help(help)
}

/// Names the groups that contain each other. Those with parents left have such a circle above them.
fn circle(file: &File, all: &[Group], children: &[Vec<usize>], parents: &[usize]) -> Diagnostic {
    let mut way: Vec<usize> = Vec::new();
    let mut group = (0..all.len()).find(|group| parents[*group] > 0).unwrap_or_default();
    while !way.contains(&group) {
        way.push(group);
        // Upwards: a group that is left has a parent that is left.
        group =
            (0..all.len()).find(|parent| parents[*parent] > 0 && children[*parent].contains(&group)).unwrap_or(group);
    }
    let from = way.iter().position(|other| *other == group).unwrap_or_default();
    let mut circle = way.split_off(from);
    circle.reverse();
    // Told from the group that stands first in the file.
    let first = circle.iter().enumerate().min_by_key(|(_, group)| **group).map_or(0, |(at, _)| at);
    circle.rotate_left(first);
    let name = |group: &usize| all[*group].name.text.as_str();
    let mut names: Vec<&str> = circle.iter().map(name).collect();
    names.extend(circle.first().map(name));
    let message = if circle.len() == 1 {
        format!("group `{}` is its own child", names[0])
    } else {
        format!("group `{}` contains itself: {}", names[0], names.join(" → "))
    };
    let mut diagnostic = Diagnostic::new(message).source(file.name.clone(), file.text.clone());
    for (at, group) in circle.iter().enumerate() {
        let child = names[at + 1];
        if let Some(word) = all[*group].children.iter().find(|word| word.text == child) {
            diagnostic = file.and(diagnostic, word.at, format!("`{}` contains `{child}`", names[at]));
        }
    }
    diagnostic.help("remove one of these children")
}
