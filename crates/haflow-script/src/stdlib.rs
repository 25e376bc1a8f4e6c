//! The modules that are embedded in the program: which files each is made of, and how it is called.

use haflow_model::Place;

/// A module that is embedded in the program.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// The name by which it is imported.
    pub name: &'static str,
    /// How its functions are called.
    pub called: Called,
    /// The files that it is made of, one or several. Each has private functions of its own.
    pub parts: &'static [Part],
}

/// How the functions of an embedded module are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Called {
    /// Without the module's name.
    Plainly,
    /// With the module's name.
    ByName,
    /// With the module's name, by the stdlib only.
    Inside,
}

/// A file of an embedded module.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The file as places name it.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The folder that the embedded modules are said to be in.
pub(crate) const STDLIB_FOLDER: &str = "stdlib/";

/// Whether a place is in one of the embedded modules.
pub fn is_in_stdlib(place: &Place) -> bool {
    place.file.starts_with(STDLIB_FOLDER)
}

macro_rules! module {
    ($name:literal, $called:ident, [$($part:literal),+]) => {
        Module {
            name: $name,
            called: Called::$called,
            parts: &[$(Part {
                file: concat!("stdlib/", $part, ".rhai"),
                text: include_str!(concat!("../../../stdlib/", $part, ".rhai")),
            }),+],
        }
    };
    ($name:literal, $called:ident) => { module!($name, $called, [$name]) };
}

static STDLIB: &[Module] = &[
    module!("commands", Plainly),
    module!("files", Plainly),
    module!("hosts_file", Plainly),
    module!("ini", Plainly),
    module!("checks", Inside),
    module!("package_tools", Inside, ["packages/tools"]),
    module!("apt", Inside, ["packages/apt"]),
    module!("rpm", Inside, ["packages/rpm"]),
    module!("package_managers", Inside, ["packages/managers"]),
    module!("packages", Plainly, ["packages/install", "packages/repository"]),
    module!("rehearsals", Inside),
    module!("certificates", Inside),
    module!("units", Inside),
    module!("services", Plainly),
    module!("users", Plainly),
    module!("waiting", Plainly),
    module!("rabbitmq_tools", Inside, ["rabbitmq/tools"]),
    module!(
        "rabbitmq",
        ByName,
        [
            "rabbitmq/nodes",
            "rabbitmq/service",
            "rabbitmq/cookie",
            "rabbitmq/cluster",
            "rabbitmq/leaving",
            "rabbitmq/upgrade",
            "rabbitmq/queues",
            "rabbitmq/access",
            "rabbitmq/config",
            "rabbitmq/tls"
        ]
    ),
    module!("oslo_messaging", ByName),
    module!("galera_tools", Inside, ["galera/tools"]),
    module!("backup_tools", Inside, ["galera/backup_tools"]),
    module!(
        "galera",
        ByName,
        [
            "galera/cluster",
            "galera/access",
            "galera/operations",
            "galera/recovery",
            "galera/tls",
            "galera/arbitrator",
            "galera/backup",
            "galera/health"
        ]
    ),
    module!("haproxy", ByName),
    module!("keepalived", ByName),
    module!("etcd", ByName, ["etcd/cluster"]),
    module!("patroni_tools", Inside, ["patroni/tools"]),
    module!("patroni", ByName, ["patroni/cluster", "patroni/operations"]),
];

/// The modules that are embedded in the program.
pub fn stdlib() -> &'static [Module] {
    STDLIB
}

/// Whether a file is a module of the stdlib. (A folder of the user's own may be called `stdlib` too.)
pub(crate) fn is_embedded(file: &str) -> bool {
    stdlib().iter().flat_map(|module| module.parts).any(|part| part.file == file)
}
