//! A run whose process is known, and what it leaves on its hosts.

use crate::common::events::Told;
use crate::common::world::World;
use crate::common::{Ran, clean};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
/// Prints the processes that came of an ssh session, whatever became of their sessions and parents, but for
/// the one that looks; and what is kept of steps. What a service manager starts has another environment.
const OF_RUNS: &str = r#"
for process in /proc/[0-9]*; do
    [ "$process" != "/proc/$$" ] && grep -qsz '^SSH_CONNECTION=' "$process/environ" || continue
    read -r line 2>/dev/null < "$process/stat" || continue
    set -- ${line##*) }
    [ "$1" = Z ] || printf '%s %s\n' "${process#/proc/}" "$(tr '\0\n' '  ' < "$process/cmdline" | cut -c 1-120)"
done 2>/dev/null
ls -d /run/haflow-step-* 2>/dev/null
true
"#;

/// A run whose process is known, and what it tells.
pub(crate) struct Begun {
    pub(super) program: Child,
    stdout: BufReader<ChildStdout>,
    told: String,
}

impl World {
    pub(crate) fn begin(&self, arguments: &[&str]) -> Begun {
        self.begin_with("--default-signal=HUP", arguments)
    }

    /// The same, with SIGHUP as by this option of `env`: the tests themselves may be run under nohup.
    pub(super) fn begin_with(&self, hangup: &str, arguments: &[&str]) -> Begun {
        let mut program = clean(Command::new("env"), self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .args([hangup, env!("CARGO_BIN_EXE_haflow")])
            .args(arguments)
            .args(["--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("haflow starts");
        let stdout = BufReader::new(program.stdout.take().expect("it is piped"));
        Begun { program, stdout, told: String::new() }
    }

    pub(super) fn of_runs(&self, host: &str) -> String {
        self.sh(host, OF_RUNS)
    }

    /// Nothing of a run is left on any host.
    #[track_caller]
    pub(super) fn nothing_is_left(&self) {
        self.is_left_with(|_| true);
    }

    /// The same, but for what is kept of steps: of those in doubt, and those that had ended when haflow was
    /// killed.
    #[track_caller]
    pub(super) fn nothing_is_left_but_steps(&self) {
        self.is_left_with(|line| !line.starts_with("/run/haflow-step-"));
    }

    #[track_caller]
    fn is_left_with(&self, counts: impl Fn(&str) -> bool) {
        for host in self.lab.hosts() {
            // The last that a session has to do is to end.
            let deadline = Instant::now() + Duration::from_secs(5);
            loop {
                let seen = self.of_runs(&host.name);
                let left: Vec<&str> = seen.lines().filter(|line| counts(line)).collect();
                if left.is_empty() {
                    break;
                }
                assert!(Instant::now() < deadline, "left on {}: {left:#?}", host.name);
            }
        }
    }

    /// The journal of the first run.
    pub(super) fn journal(&self) -> Vec<Value> {
        let runs = fs::read_dir(self.folder.path().join(".local/state/haflow/runs")).expect("the runs");
        let mut runs: Vec<_> = runs.map(|run| run.expect("an entry").path()).collect();
        runs.sort();
        let text = fs::read_to_string(runs[0].join("events.jsonl")).expect("the journal");
        // The last line may be about to be written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
    }
}

impl Begun {
    /// Reads one more event, unless it has ended.
    pub(super) fn next(&mut self) -> Option<Value> {
        let at = self.told.len();
        let read = self.stdout.read_line(&mut self.told).expect("a text");
        (read > 0).then(|| serde_json::from_str(&self.told[at..]).expect("an event"))
    }

    /// Reads until this event of this task, or of the run.
    #[track_caller]
    pub(crate) fn until(&mut self, event: &str, task: Option<&str>) -> Value {
        loop {
            let Some(next) = self.next() else { panic!("it ended before {event} of {task:?}: {}", self.told) };
            if next["event"] == event && task.is_none_or(|task| next["task"] == task) {
                return next;
            }
        }
    }

    pub(crate) fn ended(mut self) -> Told {
        self.stdout.read_to_string(&mut self.told).expect("a text");
        let ran = Ran::from(self.program.wait_with_output().expect("it ends"));
        Told::from(Ran { stdout: self.told, ..ran })
    }
}
