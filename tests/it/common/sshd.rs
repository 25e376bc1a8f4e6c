//! An sshd of a test's own on this machine.

use crate::common::events::{Told, haflow};
use crate::common::{Ran, clean, skipped};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An sshd that lives as long as this. Its host has a lock of its own: tests run at the same time on this
/// machine.
pub(crate) struct Sshd {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    user: String,
    pub(crate) program: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Where sshd is; it isn't always in PATH.
pub(crate) fn installed() -> Option<PathBuf> {
    let found = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists());
    if found.is_none() {
        skipped("sshd isn't installed here (Debian's package is openssh-server)");
    }
    found
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until something holds, and panics if that takes too long.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("its address").port()
}

pub(crate) fn make_key(path: &Path, passphrase: &str) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen is there").success());
}

impl Sshd {
    /// An sshd with `settings` of its own; `None`, with a word on it, if there is none on this machine.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let sshd = installed()?;
        if is_root() {
            // Its service makes this, and without it sshd doesn't start.
            fs::create_dir_all("/run/sshd").expect("a folder");
        }
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["key", "other_key", "host_key", "other_host_key"] {
            make_key(&folder.path().join(name), "");
        }
        let path = |name: &str| folder.path().join(name);
        let public = |name: &str| fs::read_to_string(path(name)).expect("a public key");
        fs::write(path("authorized_keys"), public("key.pub")).expect("a file");
        let user = Ran::of(Command::new("id").arg("-un")).stdout.trim().to_owned();
        let here = folder.path().display();
        let port = free_port();
        for (name, key) in [("known_hosts", "host_key.pub"), ("changed_hosts", "other_host_key.pub")] {
            fs::write(path(name), format!("[127.0.0.1]:{port} {}", public(key))).expect("a file");
        }
        fs::write(path("no_hosts"), "").expect("a file");
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {here}/host_key\nAuthorizedKeysFile {here}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nLogLevel VERBOSE\nPrintMotd no\nSetEnv HAFLOW_LOCK={here}/lock\n{settings}\n"
        );
        fs::write(path("config"), config).expect("a file");
        let mut program = Command::new(sshd)
            .arg("-D")
            .arg("-f")
            .arg(path("config"))
            .arg("-E")
            .arg(path("log"))
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd starts");
        until("sshd", || {
            let ended = program.try_wait().expect("it is ours");
            assert!(ended.is_none(), "sshd ended: {}", fs::read_to_string(path("log")).unwrap_or_default());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let sshd = Self { folder, port, user, program };
        sshd.inventory(&json!({}), &json!({}));
        Some(sshd)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).expect("sshd's log")
    }

    /// Writes the inventory: one host `here`, with these settings instead of the right ones, and these vars.
    pub(crate) fn inventory(&self, settings: &Value, vars: &Value) {
        let mut host = json!({
            "address": "127.0.0.1", "port": self.port, "user": self.user, "vars": vars,
            "key": self.path("key"), "known_hosts": self.path("known_hosts"),
        });
        let host = host.as_object_mut().expect("a map");
        host.extend(settings.as_object().expect("a map").clone());
        // JSON's texts and numbers are TOML's as well.
        let mut lines = vec!["[hosts.here]".to_owned()];
        lines.extend(host.iter().map(|(key, value)| format!("{key} = {}", toml(value))));
        self.write("inventory.toml", &lines.join("\n"));
    }

    pub(crate) fn told(&self, command: &str, playbook: &str) -> Told {
        self.write("playbook.rhai", playbook);
        self.haflow(&[command, "playbook.rhai", "-i", "inventory.toml", "--format", "json"]).into()
    }

    #[track_caller]
    pub(crate) fn haflow(&self, arguments: &[&str]) -> Ran {
        let ran = Ran::of(&mut haflow(self.folder.path(), arguments.iter().copied()));
        self.nothing_is_left();
        ran
    }

    /// The sockets of a run are gone, and with them the ssh that holds the connection.
    #[track_caller]
    pub(crate) fn nothing_is_left(&self) {
        // ssh ends by itself once it is told to, which may take a moment.
        until("the end of ssh", || !self.is_connected());
        let entries =
            fs::read_dir(self.folder.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let left: Vec<_> = entries.filter(|name| name.to_string_lossy().starts_with("haflow-")).collect();
        assert!(left.is_empty(), "a run has left {left:?}");
    }

    /// Whether an ssh of a run is there, seen by its socket.
    pub(crate) fn is_connected(&self) -> bool {
        let socket = format!("{}/haflow-", self.folder.path().display());
        let arguments = |process: i32| fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        processes().into_iter().any(|process| String::from_utf8_lossy(&arguments(process)).contains(&socket))
    }

    /// Starts a run, whose process is known, and leaves it running.
    pub(crate) fn begin(&self, playbook: &str) -> Child {
        self.write("playbook.rhai", playbook);
        clean(Command::new(env!("CARGO_BIN_EXE_haflow")), self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .args(["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("haflow starts")
    }
}

/// A playbook with a step in its middle that is under way from `begun` in the host's folder until there is
/// `go`.
pub(crate) fn slow(before: &str, after: &str) -> String {
    let head = "let node = host(\"here\");\nlet folder = node.vars.folder;\n";
    let step = r###"
ensure(node, #{
    kind: "step", name: "slow", params: #{ folder: folder },
    probe: #"if [ -e "$folder/slow" ]; then echo there; else echo absent; fi"#, want: "there",
    apply: ##"
        touch "$folder/begun"
        n=0
        until [ -e "$folder/go" ]; do n=$((n + 1)); [ "$n" -lt 600 ] || exit 1; sleep 0.1; done
        echo slow >> "$folder/slow"
    "##,
});
"###;
    format!("{head}{before}{step}{after}")
}

/// A run whose act `long` has written its process into `began`; and whether that process lives.
pub(crate) fn begun(sshd: &Sshd, playbook: &str) -> (Child, impl Fn() -> bool) {
    let run = sshd.begin(playbook);
    until("the act to begin", || sshd.path("began").exists());
    let script = fs::read_to_string(sshd.path("began")).expect("its process");
    let lives = move || Path::new("/proc").join(script.trim()).join("cmdline").exists();
    assert!(lives(), "the test looks for the wrong process");
    (run, lives)
}

/// Reads what a run tells until it has told an event: the rest, and what it told so far.
pub(crate) fn told_until(run: &mut Child, event: &str) -> (BufReader<ChildStdout>, String) {
    let mut told = BufReader::new(run.stdout.take().expect("it is piped"));
    let mut text = String::new();
    while !text.contains(&format!("\"event\":\"{event}\"")) {
        assert!(told.read_line(&mut text).expect("it talks") > 0, "it ended: {text}");
    }
    (told, text)
}

/// JSON as TOML has it, on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

pub(crate) fn signal(program: &Child, signal: Signal) {
    let id = Pid::from_child(program);
    kill_process(id, signal).expect("it is ours");
}

/// Interrupts a run once more, after it told of the first time.
pub(crate) fn interrupt_again(run: &Child) {
    until_another_counts();
    signal(run, Signal::INT);
}

/// Waits until an interrupt isn't the same as one that was told before: what comes within half a second is.
pub(crate) fn until_another_counts() {
    let told = Instant::now();
    until("another interrupt to count", || told.elapsed() > Duration::from_millis(500));
}

fn processes() -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("proc");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The processes of an sshd that hold its connections: one for root, and for others one more below that.
pub(crate) fn connections(of: u32) -> Vec<i32> {
    let stat = |process: i32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let parent = rest.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        Some((process, parent, name.starts_with("sshd")))
    };
    let all: Vec<(i32, u32, bool)> = processes().into_iter().filter_map(stat).collect();
    let below =
        |of: u32| all.iter().filter(move |(_, parent, sshd)| *parent == of && *sshd).map(|(process, ..)| *process);
    below(of).flat_map(|process| below(process.unsigned_abs()).chain([process])).collect()
}
