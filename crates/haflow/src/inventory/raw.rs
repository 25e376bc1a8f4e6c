//! What an inventory says, before groups are flattened and vars merged.

use super::file::{At, File, Word};
use super::pattern;
use super::tree::{Kind, Tree};
use haflow_model::{Diagnostic, Value};
use std::collections::{BTreeMap, HashMap};

/// Values by name, each with its place.
pub(super) type Vars = BTreeMap<String, (Value, At)>;

/// Whose words the inventory uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Our own.
    Haflow,
    /// A file of Ansible's: connection settings are vars.
    Ansible,
    /// What a program printed for Ansible: besides, child groups needn't be declared, and a host may be
    /// listed twice.
    AnsibleList,
}

/// Everything that was read.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) dialect: Dialect,
    /// In the order in which they are named first.
    pub(super) hosts: Vec<Entry>,
    pub(super) groups: Vec<Group>,
    /// Whether a program's list had the vars of its hosts in it.
    pub(super) has_meta: bool,
    /// What is said and doesn't count, each in a sentence.
    pub(super) left_out: Vec<(At, String)>,
    host_at: HashMap<String, usize>,
    group_at: HashMap<String, usize>,
}

/// What is said of one host.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Word,
    pub(super) connection: Connection,
    pub(super) vars: Vars,
}

/// How to reach a host, in our own words.
#[derive(Debug, Clone, Default)]
pub(super) struct Connection {
    pub(super) address: Option<Word>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<Word>,
    pub(super) key: Option<Word>,
    pub(super) known_hosts: Option<Word>,
    pub(super) jump: Option<Word>,
    pub(super) run_as: Option<Word>,
    /// What carries scripts there, where that isn't ssh.
    pub(super) transport: Option<Word>,
    /// Further options of ssh's, each `Name=Value`.
    pub(super) options: Vec<Word>,
    /// The configuration that ssh reads instead of the user's.
    pub(super) config: Option<Word>,
}

impl Connection {
    /// Whether nothing is said of the way to the host, or of who logs in there.
    pub(super) fn is_unsaid(&self) -> bool {
        let words =
            [&self.address, &self.user, &self.key, &self.known_hosts, &self.jump, &self.transport, &self.config];
        words.iter().all(|word| word.is_none()) && self.port.is_none() && self.options.is_empty()
    }

    /// Whether a command leads to the host.
    pub(super) fn has_proxy_command(&self) -> bool {
        self.options.iter().any(|option| option.text.to_ascii_lowercase().starts_with("proxycommand="))
    }
}

/// What is said of one group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Word,
    /// Where the group is declared; a mention as a child doesn't count.
    pub(super) declared: bool,
    pub(super) hosts: Vec<Word>,
    pub(super) children: Vec<Word>,
    pub(super) vars: Vars,
}

impl Raw {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            hosts: Vec::new(),
            groups: Vec::new(),
            has_meta: false,
            left_out: Vec::new(),
            host_at: HashMap::new(),
            group_at: HashMap::new(),
        }
    }

    /// The host of that name, made if it is named for the first time.
    pub(super) fn host(&mut self, name: &Word) -> &mut Entry {
        let index = *self.host_at.entry(name.text.clone()).or_insert(self.hosts.len());
        if index == self.hosts.len() {
            self.hosts.push(Entry { name: name.clone(), connection: Connection::default(), vars: Vars::new() });
        }
        &mut self.hosts[index]
    }

    /// The host of that name, if something but its vars has named it.
    pub(super) fn known_host(&mut self, name: &Word) -> Option<&mut Entry> {
        self.host_at.get(&name.text).map(|index| &mut self.hosts[*index])
    }

    /// The group of that name, made if it is named for the first time.
    pub(super) fn group(&mut self, name: &Word) -> &mut Group {
        let index = *self.group_at.entry(name.text.clone()).or_insert(self.groups.len());
        if index == self.groups.len() {
            self.groups.push(Group {
                name: name.clone(),
                declared: false,
                hosts: Vec::new(),
                children: Vec::new(),
                vars: Vars::new(),
            });
        }
        &mut self.groups[index]
    }

    /// The group of that name, declared here.
    pub(super) fn declare(&mut self, name: &Word) -> &mut Group {
        let group = self.group(name);
        if !group.declared {
            group.declared = true;
            group.name = name.clone();
        }
        group
    }

    /// Puts all hosts that a pattern stands for into a group, or only into the inventory. Returns their
    /// names.
    pub(super) fn members(
        &mut self,
        file: &File,
        group: Option<&Word>,
        pattern: &Word,
    ) -> Result<Vec<Word>, Diagnostic> {
        let names = pattern::expand(file, pattern)?;
        for name in &names {
            self.host(name);
        }
        if let Some(group) = group {
            self.group(group).hosts.extend(names.iter().cloned());
        }
        Ok(names)
    }

    /// Puts hosts into the order of their places in the file.
    pub(super) fn order_by_place(&mut self) {
        self.hosts.sort_by_key(|host| host.name.at);
        self.host_at = self.hosts.iter().enumerate().map(|(index, host)| (host.name.text.clone(), index)).collect();
    }
}

/// Reads a map of vars; nothing is none.
pub(super) fn vars(file: &File, tree: Tree, of: &str) -> Result<Vars, Diagnostic> {
    let what = tree.what();
    match tree.kind {
        Kind::Null => Ok(Vars::new()),
        Kind::Map(entries) => entries
            .into_iter()
            .map(|(key, value)| {
                no_vault(file, &key, &value)?;
                Ok((key.text, (value.value(), key.at)))
            })
            .collect(),
        _ => Err(file
            .wrong(tree.at, format!("the vars of {of} must be a map, not {what}"), "")
            .help("write each var by its name, for example `region: eu`, in TOML `{ region = \"eu\" }`")),
    }
}

/// How a text begins that ansible-vault has encrypted.
const VAULT: &str = "$ANSIBLE_VAULT;";

/// Refuses a file that ansible-vault has encrypted as a whole.
pub(super) fn no_vault_file(file: &File) -> Result<(), Diagnostic> {
    if !file.text.trim_start().starts_with(VAULT) {
        return Ok(());
    }
    let at = At { line: 1, column: 1, length: file.text.lines().next().unwrap_or_default().chars().count() };
    Err(file
        .wrong(at, "the whole inventory is encrypted by ansible-vault, which haflow can't read", "")
        .help("give an executable that decrypts it: `exec ansible-inventory -i THIS --list --vault-password-file …`"))
}

fn no_vault(file: &File, key: &Word, value: &Tree) -> Result<(), Diagnostic> {
    match &value.kind {
        Kind::Text(text) if text.starts_with(VAULT) => Err(file
            .wrong(key.at, format!("`{}` is encrypted by ansible-vault, which haflow can't read", key.text), "")
            .help("give it as a param (`-e NAME=VALUE`) or from an executable inventory that decrypts it")),
        Kind::List(items) => items.iter().try_for_each(|item| no_vault(file, key, item)),
        Kind::Map(entries) => entries.iter().try_for_each(|(key, item)| no_vault(file, key, item)),
        _ => Ok(()),
    }
}
