//! What goes wrong between haflow and the hosts of a lab: networks are cut, connections killed, names
//! unknown. What is told is true, what can go on does, and nothing is done twice.
//!
//! `HAFLOW_TEST_ALL=1 cargo test -p haflow --test it connections` injects all of it; otherwise a sample is
//! drawn.

use crate::common::events::{Told, haflow};
use crate::common::sshd::{signal, until};
use crate::common::world::World;
use crate::common::{Ran, clean, draw};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// On each host in turn acts and ensures that take their time, each of which logs its begin and its end,
/// files and gates.
const LOGGED: &str = r##"
fn logged(name, seconds, more) {
    #{
        name: name, params: #{ name: name, seconds: seconds },
        apply: #"echo "begin $name" >> /root/log; sleep "$seconds"; echo "end $name" >> /root/log; echo "by $name""# + more,
    }
}
for node in [host("a"), host("b")] {
    let last = [];
    for i in 0..4 {
        let one = act(node, logged(`act${i}`, 2, "") + #{ reason: "a test", after: last });
        let slow = ensure(node, logged(`slow${i}`, 3, #"; touch "/root/$name""#) + #{
            kind: "step", probe: #"if [ -e "/root/$name" ]; then echo there; else echo absent; fi"#, want: "there", after: one,
        });
        file(node, `/root/file${i}`, #{ content: one.output });
        gate(node, #{ name: `gate${i}`, after: slow, params: #{ path: `/root/file${i}` }, probe: #"cat "$path""#, want: `by act${i}`, within: "1m" });
        last = [slow];
    }
}
"##;

/// The tasks on each host that log.
const LOGGING: [&str; 8] = ["act0", "slow0", "act1", "slow1", "act2", "slow2", "act3", "slow3"];

impl World {
    /// Begins a run of a playbook with this text.
    pub(crate) fn start(&self, playbook: &str, options: &[&str]) -> Child {
        self.write("playbook.rhai", playbook);
        let arguments = ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"];
        let mut command = haflow(self.folder.path(), arguments.iter().chain(options).copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haflow starts")
    }

    /// Begins one without `timeout` around it, which would be what is killed.
    fn start_bare(&self, playbook: &str) -> Child {
        self.write("playbook.rhai", playbook);
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_haflow")), self.folder.path());
        command.args(["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"]);
        command.env("XDG_RUNTIME_DIR", self.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("haflow starts")
    }

    /// Goes on with the last run.
    pub(crate) fn resume(&self, options: &[&str]) -> Told {
        Told::from(self.haflow(&[&["resume", "--format", "json"], options].concat()))
    }

    pub(crate) fn is(&self, host: &str, script: &str) -> bool {
        self.ssh(host, script).status.success()
    }

    /// Each logging task began once, and ended once, in order.
    #[track_caller]
    fn each_ran_once(&self, what: &str) {
        let expected: Vec<String> =
            LOGGING.iter().flat_map(|name| [format!("begin {name}"), format!("end {name}")]).collect();
        for host in ["a", "b"] {
            assert_eq!(self.sh(host, "cat /root/log").lines().collect::<Vec<_>>(), expected, "{what}: {host}");
            assert_eq!(self.sh(host, "ls -d /run/haflow-step-* 2>/dev/null || true"), "", "{what}: {host}");
        }
    }

    fn forget(&self) {
        for host in ["a", "b"] {
            self.sh(host, "rm -f /root/log /root/slow* /root/file*");
        }
    }

    /// Ends the local ssh that holds the connection to a host.
    fn sever(&self, host: &str) {
        let address = self.lab.host(host).map_or(host.to_owned(), |host| host.address.to_string());
        let folder = self.folder.path().display().to_string();
        let mut severed = 0;
        for process in fs::read_dir("/proc").expect("processes").flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(line) = fs::read(process.path().join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.starts_with("ssh") && line.contains(&folder) && line.contains(&address) {
                let _ = kill_process(Pid::from_raw(pid).expect("a number"), Signal::KILL);
                severed += 1;
            }
        }
        assert!(severed > 0, "no ssh of this run is connected to {host}");
    }
}

/// What a run told until its end.
pub(crate) fn ended(run: Child) -> Told {
    Told::from(Ran::from(run.wait_with_output().expect("it ends")))
}

/// What happens to a connection: after so many seconds, for so many.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Cut(f64, f64),
    Severed(f64),
}

fn losses() -> Vec<Loss> {
    let seed: u64 = std::env::var("HAFLOW_TEST_CUTS").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    // A generator by Knuth: the same numbers everywhere.
    let mut state = seed;
    let mut next = move |from: f64, to: f64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_precision_loss)]
        let part = (state >> 33) as f64 / f64::from(1_u32 << 31);
        from + (to - from) * part
    };
    (0..24)
        .map(|n| if n % 2 == 0 { Loss::Cut(next(1.0, 20.0), next(5.0, 60.0)) } else { Loss::Severed(next(1.0, 20.0)) })
        .collect()
}

fn loses_its_connection(world: &World, how: Loss) {
    world.forget();
    let run = world.start(LOGGED, &[]);
    until("the first act", || world.is("a", "[ -e /root/log ]"));
    let moment = |seconds: f64| sleep(Duration::from_secs_f64(seconds));
    match how {
        Loss::Cut(after, lasts) => {
            moment(after);
            world.lab.cut("a").expect("it is cut");
            moment(lasts);
            world.lab.heal("a").expect("it is healed");
        }
        Loss::Severed(after) => {
            moment(after);
            world.sever("a");
        }
    }
    let told = ended(run).exits(0);
    let lost = told.of("host_lost").count();
    assert!(lost <= 1 && (lost == 1 || !matches!(how, Loss::Severed(_))), "{how:?}: lost {lost} times");
    assert_eq!(told.of("host_connected").filter(|event| event["host"] == "a").count(), 1 + lost, "{how:?}");
    assert_eq!((told.count("changed"), told.count("ok")), (24, 8), "{how:?}");
    world.each_ran_once(&format!("{how:?}"));
    let picked_up = told.of("picking_up").count();
    world.step(&format!("{how:?}: lost {lost} times, {picked_up} steps were picked up, and each ran once"));
}

#[test]
fn a_lost_connection_is_made_again_and_nothing_runs_twice() {
    let Some(world) = World::up("faults-net", &["a", "b"], "bookworm") else { return };
    // In the middle of an act; the first one for longer than ssh waits for a sign of life.
    let all: Vec<Loss> = [Loss::Cut(0.5, 50.0), Loss::Severed(0.5)].into_iter().chain(losses()).collect();
    for loss in draw("losses of a connection", 2, &all) {
        loses_its_connection(&world, loss);
    }
}

/// The same with a first act that is surely still under way when the connection is lost.
fn slow_begin() -> String {
    let slow = LOGGED.replace("logged(`act${i}`, 2,", "logged(`act${i}`, if i == 0 { 10 } else { 2 },");
    assert_ne!(slow, LOGGED);
    slow
}

#[test]
fn a_connection_that_stays_away_is_told_and_the_run_resumed() {
    let Some(world) = World::up("faults-away", &["a", "b"], "bookworm") else { return };
    let run = world.start(&slow_begin(), &["--reconnect", "3s"]);
    until("the first act", || world.is("a", "[ -e /root/log ]"));
    world.lab.cut("a").expect("it is cut");
    world.sever("a");
    let told = ended(run).exits(1);
    world.step(&format!("it stays away: {:?}", told.task("a/act:act0")));
    assert_eq!(told.task("a/act:act0")["outcome"], "in_doubt");
    assert!(told.with("in_doubt").len() == 1 && told.with("failed").is_empty(), "{:?}", told.outcomes());
    assert_eq!(told.with("changed").iter().filter(|id| id.starts_with("b/")).count(), 12, "{:?}", told.outcomes());
    world.lab.heal("a").expect("it is healed");
    let resumed = world.resume(&[]).exits(0);
    assert_eq!(resumed.with("in_doubt"), [""; 0]);
    world.each_ran_once("resumed");
    world.step("it is back: the run is resumed, and each step has run once");
}

/// Runs a command that sees another `/etc/hosts` than the rest of the machine: the file's text may change
/// while it runs.
fn with_names(world: &World, arguments: &[&str]) -> Child {
    let mut command = Command::new("unshare");
    let inner = haflow(world.folder.path(), arguments.iter().copied());
    let bind = r#"mount --bind "$HOME/hosts" /etc/hosts && exec "$@""#;
    command.args(["--mount", "sh", "-c", bind, "sh"]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.current_dir(world.folder.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haflow starts")
}

#[test]
fn a_name_that_stops_resolving_is_waited_for() {
    let Some(world) = World::up("faults-name", &["a", "b"], "bookworm") else { return };
    let address = |host: &str| world.lab.host(host).expect("it is in the lab").address.to_string();
    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("an inventory");
    let known = world.lab.host("a").expect("it is in the lab").known_hosts.clone();
    let keys = fs::read_to_string(&known).expect("its keys").replace(&address("a"), "a.faults.test");
    world.write("keys", &keys);
    let by_name = inventory.replacen(&format!("{:?}", address("a")), "\"a.faults.test\"", 1).replacen(
        &format!("{:?}", known.display().to_string()),
        "\"keys\"",
        1,
    );
    world.write("inventory.toml", &by_name);
    world.write("playbook.rhai", &slow_begin());
    let names = format!("{} a.faults.test\n", address("a"));
    let arguments = ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"];

    world.write("hosts", &names);
    let run = with_names(&world, &arguments);
    until("the first act", || world.is("a", "[ -e /root/log ]"));
    world.write("hosts", "");
    world.sever("a.faults.test");
    // Tried for with pauses of half a second and more.
    until("a further step there", || world.is("a", "grep -q 'end act0' /root/log"));
    world.write("hosts", &names);
    let told = ended(run).exits(0);
    assert_eq!(told.of("host_lost").count(), 1);
    world.each_ran_once("the name came back");
    world.step("a name that was unknown for a while: the run went on by itself");

    world.forget();
    let run = with_names(&world, &[&arguments[..], &["--reconnect", "2s"]].concat());
    until("the first act", || world.is("a", "[ -e /root/log ]"));
    world.write("hosts", "");
    world.sever("a.faults.test");
    let told = ended(run).exits(1);
    let why = told.of("host_unreachable").next().expect("it is told")["why"].to_string();
    assert!(why.contains("the name `a.faults.test` of a can't be resolved"), "{why}");
    assert_eq!(told.with("in_doubt"), ["a/act:act0"]);
    world.write("hosts", &names);
    let resumed = ended(with_names(&world, &["resume", "--format", "json"])).exits(0);
    assert_eq!(resumed.with("in_doubt"), [""; 0]);
    world.each_ran_once("resumed");
    world.step("one that stayed unknown: told, and the run resumed");
}

/// An act of another user's, whose lane is a shell of sudo's, and of which another lane hears what it
/// printed.
const ANOTHERS: &str = r#"
let one = act(host("a"), #{
    name: "one", reason: "a test", user: "worker",
    apply: "echo begin >> /tmp/log; sleep 8; echo end >> /tmp/log; echo said",
});
file(host("a"), "/srv/said", #{ content: one.output });
"#;

/// What is left of a lost lane is ended. A step isn't: its keeper goes on.
#[test]
fn a_step_of_another_user_goes_on_without_its_lane() {
    let Some(world) = World::up("faults-sudo", &["a"], "bookworm") else { return };
    world.sh("a", "apt-get update -q && apt-get install -qy --no-install-recommends sudo && useradd worker");
    for dies in [false, true] {
        world.sh("a", "rm -f /tmp/log /srv/said");
        let mut run = world.start_bare(ANOTHERS);
        until("the act", || world.is("a", "[ -e /tmp/log ]"));
        let told = if dies {
            run.kill().expect("it is killed");
            run.wait().expect("it ends");
            world.resume(&[]).exits(0)
        } else {
            world.sever("a");
            ended(run).exits(0)
        };
        assert_eq!((told.count("changed"), told.of("picking_up").count()), (2, 1), "{:?}", told.ran);
        assert_eq!(world.sh("a", "cat /tmp/log /srv/said"), "begin\nend\nsaid", "{:?}", told.ran);
        assert_eq!(world.sh("a", "pgrep -u worker || true"), "", "nothing of it is left");
    }
}

/// A chain of files that takes its time, on a host whose `sync` is slow; then what works on the files.
const CHAIN: &str = r#"
let node = host("a");
act(node, #{ name: "pause", reason: "a test", apply: "sleep 1" });
for name in ["a", "b", "c", "d", "e"] { file(node, `/etc/chain/${name}`, #{ content: "content of " + name + "\n" }); }
act(node, #{ name: "more", reason: "a test", apply: "echo more >> /etc/chain/a; rm /etc/chain/e" });
"#;

/// Makes the next `sync` of several files on host a slow, once.
const SLOW_SYNC: &str = r#"
rm -rf /etc/chain; mkdir /etc/chain
cat > /usr/local/bin/sync <<'SYNC'
#!/bin/sh
if [ "$#" -gt 4 ] && mkdir /run/slow 2>/dev/null; then sleep 6; fi
exec /usr/bin/sync "$@"
SYNC
chmod 755 /usr/local/bin/sync; rm -rf /run/slow
"#;

/// On host a there is a folder in the place of the chain's file c at the moment in which the files get their
/// names.
const FOLDER_FOR_C: &str = r#"
cat > /usr/local/bin/mv <<'MV'
#!/bin/sh
if [ $# -gt 4 ]; then mkdir /etc/chain/c; fi
exec /usr/bin/mv "$@"
MV
chmod 755 /usr/local/bin/mv
"#;

/// What was sent over a lost connection, or by a run that died, doesn't come later.
#[test]
fn a_chain_that_is_cut_off_changes_nothing_later() {
    let Some(world) = World::up("faults-chain", &["a"], "bookworm") else { return };
    let start = || world.start_bare(CHAIN);
    let syncs = || world.is("a", "[ -d /run/slow ]");
    let later = |what: &str| {
        until("the slow sync is over", || !world.is("a", "pgrep -f /usr/local/bin/sync"));
        let there = world.sh("a", "cat /etc/chain/a; ls -A /etc/chain");
        assert_eq!(there, "content of a\nmore\na\nb\nc\nd", "{what}");
    };
    world.sh("a", SLOW_SYNC);
    let run = start();
    until("the chain is written", syncs);
    world.sever("a");
    let told = ended(run).exits(0);
    assert_eq!((told.of("host_lost").count(), told.count("changed")), (1, 7), "{:?}", told.ran);
    later("its connection was lost");

    world.sh("a", SLOW_SYNC);
    let mut run = start();
    until("the chain is written", syncs);
    run.kill().expect("it is killed");
    run.wait().expect("it ends");
    world.resume(&[]).exits(0);
    later("haflow was killed");

    // Interrupted once, its end is told; what came before one that can't is told too.
    world.sh("a", SLOW_SYNC);
    let run = start();
    until("the chain is written", syncs);
    world.sh("a", FOLDER_FOR_C);
    signal(&run, Signal::INT);
    let told = ended(run);
    let outcome = |name: &str| {
        let path = format!("/etc/chain/{name}");
        let is = |event: &&serde_json::Value| event["name"] == path.as_str();
        let outcome = told.of("task_finished").find(is).map(|event| event["outcome"].clone());
        (outcome.expect("each is told") == "changed", world.is("a", &format!("[ -f {path} ]")))
    };
    for name in ["a", "b", "c", "d", "e"] {
        let (changed, there) = outcome(name);
        assert_eq!(changed, there, "{name}: {:?}", told.ran);
    }
    assert!(world.is("a", "[ -f /etc/chain/a ] && [ -d /etc/chain/c ]"), "some came, and one couldn't: {:?}", told.ran);
}
