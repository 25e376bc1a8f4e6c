//! What a script may do, and how much of it.

use std::time::Duration;

/// How deep functions may call each other.
pub(crate) const MAX_CALLS: usize = 64;

/// How deep expressions may be in each other.
pub(crate) const MAX_EXPRESSION_DEPTH: usize = 256;

/// How long all texts of a value may be together, in bytes.
pub(crate) const MAX_TEXT: usize = 64 << 20;

/// How many elements all lists of a value may have together, and likewise all maps.
pub(crate) const MAX_ELEMENTS: usize = 200_000;

/// How deep lists and maps of a value may be in each other.
pub(crate) const MAX_VALUE_DEPTH: usize = 64;

/// A script that takes more operations is taken to be endless.
pub(crate) const MAX_OPERATIONS: u64 = 50_000_000;

/// A script that takes longer is taken to be endless too, whatever its operations are.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(30);

/// The stack of the thread that a script runs in: enough for the deepest calls and expressions that the
/// limits allow.
pub(crate) const STACK: usize = 128 << 20;

/// What must not be called, because the same playbook shall always declare the same.
const FORBIDDEN: [(&str, &str); 4] = [
    ("sleep", "waiting is a task: `gate` waits until a check holds"),
    ("timestamp", "what is declared can't depend on the time; read it on a host by `read` or `fact`"),
    ("eval", "write it as a function"),
    ("exit", "end by `fail(\"why\")`, or leave a function by `return`"),
];

/// Why a function must not be called, and what to do instead. `None`: it may be called.
pub(crate) fn forbidden(name: &str) -> Option<&'static str> {
    FORBIDDEN.into_iter().find(|(forbidden, _)| *forbidden == name).map(|(_, instead)| instead)
}
