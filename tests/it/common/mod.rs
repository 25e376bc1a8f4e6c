//! What the whole-program tests share: programs are run in a clean environment, and what they did is text.

pub(crate) mod client;
pub(crate) mod events;
pub(crate) mod prepared;
pub(crate) mod sshd;
pub(crate) mod transcript;
pub(crate) mod world;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

/// A program to be run in `folder` with nothing of the environment but where programs are.
pub(crate) fn clean(mut command: Command, folder: &Path) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.current_dir(folder).env_clear().env("PATH", path).env("HOME", folder).env("LC_ALL", "C.UTF-8");
    command
}

/// Says what isn't tested now, and why: past the capture of a test's output, so that it is seen.
pub(crate) fn skipped(what: &str) {
    // A test's thread has its name.
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "skipped in {}: {what}", thread.name().unwrap_or("a test"));
}

/// Whether everything is to be tested, however long it takes.
pub(crate) fn all() -> bool {
    std::env::var_os("HAFLOW_TEST_ALL").is_some()
}

/// What is drawn goes by this: in each run another number, unless `HAFLOW_TEST_SEED` is what one has told.
static SEED: LazyLock<u64> = LazyLock::new(|| match std::env::var("HAFLOW_TEST_SEED") {
    Ok(seed) => seed.parse().expect("HAFLOW_TEST_SEED is a number"),
    Err(_) => std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs(),
});

/// Those that bring up a cluster and take minutes. One of them is drawn for each run.
const LONG: [&str; 14] = [
    "openstack",
    "rabbit_config",
    "refusals",
    "rpm_rabbit",
    "galera",
    "galera_recovery",
    "galera_operations",
    "galera_tls",
    "galera_states",
    "galera_backup",
    "galera_arbitrator",
    "galera_frontend",
    "postgres",
    "postgres_refusals",
];

/// Whether one of the long tests has its turn; a word on it where it hasn't.
pub(crate) fn has_its_turn(test: &str) -> bool {
    let index = LONG.iter().position(|long| *long == test).expect("it is one of them");
    let has = all() || chosen(1, LONG.len()).contains(&index);
    if !has {
        skipped(&format!("it isn't the one of {} long tests that was drawn; {}", LONG.len(), again()));
    }
    has
}

/// All of these, where everything is to be tested. Otherwise `number` of them, in their order.
pub(crate) fn draw<T: Copy>(what: &str, number: usize, of: &[T]) -> Vec<T> {
    if all() {
        return of.to_vec();
    }
    let chosen = chosen(number, of.len());
    skipped(&format!("{} of {} {what}; {}", of.len() - chosen.len(), of.len(), again()));
    chosen.into_iter().map(|index| of[index]).collect()
}

/// `number` numbers below `of`, by the seed.
fn chosen(number: usize, of: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..of).collect();
    chosen.sort_by_key(|index| {
        let mut hasher = DefaultHasher::new();
        (*SEED, index).hash(&mut hasher);
        hasher.finish()
    });
    chosen.truncate(number);
    chosen.sort_unstable();
    chosen
}

/// How the same is drawn again, and all of it.
fn again() -> String {
    format!("HAFLOW_TEST_SEED={} draws the same again, HAFLOW_TEST_ALL=1 runs all", *SEED)
}

/// What a program did.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub(crate) exit: i32,
    /// What it printed.
    pub(crate) stdout: String,
    /// Its messages.
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs a program to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?} doesn't start: {error}"));
        Self::from(output)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("haflow prints UTF-8");
        Self {
            exit: output.status.code().or(output.status.signal().map(|signal| 128 + signal)).expect("it ended"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
