//! What goes wrong around a run, on hosts of a lab: networks are cut, power fails, disks are full, steps are killed. What is told is true, what can go
//! on does, and nothing is done twice.
//!
//! `HAFLOW_TEST_ALL=1 cargo test -p haflow --test it faults` injects all of it; otherwise a sample is drawn.

use crate::common::{Ran, draw};
use crate::events::{Told, haflow};
use crate::server::until;
use crate::world::World;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// On each host in turn acts and ensures that take their time, each of which logs its begin and its end, files and gates.
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
    fn start(&self, playbook: &str, options: &[&str]) -> Child {
        self.write("playbook.rhai", playbook);
        let arguments = ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"];
        let mut command = haflow(self.folder.path(), arguments.iter().chain(options).copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haflow starts")
    }

    fn run(&self, playbook: &str) -> Told {
        Told::from(Ran::from(self.start(playbook, &[]).wait_with_output().expect("it ends")))
    }

    /// Goes on with the last run.
    fn resume(&self, options: &[&str]) -> Told {
        Told::from(self.haflow(&[&["resume", "--format", "json"], options].concat()))
    }

    fn is(&self, host: &str, script: &str) -> bool {
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
        let address = self.lab.host(host).expect("it is in the lab").address.to_string();
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
    let told = Told::from(Ran::from(run.wait_with_output().expect("it ends"))).exits(0);
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

/// What neither an independent task nor another host is kept from.
const BESIDE: &str = r#"
|| act(node, #{ name: "independent", reason: "a test", apply: "touch /root/independent" }),
|| act(host("b"), #{ name: "elsewhere", reason: "a test", apply: "touch /root/elsewhere" }),
"#;

/// A fault on a host: what makes it, the task that fails and why, what must hold on the host after it, and what takes the fault away.
#[derive(Debug)]
struct Broken {
    what: &'static str,
    fault: &'static str,
    task: &'static str,
    id: &'static str,
    says: &'static str,
    holds: &'static str,
    mend: &'static str,
}

const BROKEN: [Broken; 6] = [
    Broken {
        what: "the disk of a file is full",
        fault: "mkdir -p /srv/app; mount -t tmpfs -o size=64k none /srv/app; printf old > /srv/app/config",
        task: r#"file(node, "/srv/app/config", #{ content: big })"#,
        id: "a/file:/srv/app/config",
        says: "No space left on device",
        holds: "[ $(cat /srv/app/config) = old ] && [ $(ls -A /srv/app | wc -l) = 1 ]",
        mend: "umount --lazy /srv/app",
    },
    Broken {
        what: "/etc/app can only be read",
        fault: "mkdir -p /etc/app; printf old > /etc/app/config; mount --bind /etc/app /etc/app; mount -o remount,ro,bind /etc/app",
        task: r#"file(node, "/etc/app/config", #{ content: big })"#,
        id: "a/file:/etc/app/config",
        says: "Read-only file system",
        holds: "[ $(cat /etc/app/config) = old ] && [ $(ls -A /etc/app | wc -l) = 1 ]",
        mend: "umount /etc/app",
    },
    Broken {
        what: "the disk of downloaded packages is full",
        fault: "mount -t tmpfs -o size=64k none /var/cache/apt",
        task: r#"install(node, ["socat"])"#,
        id: "a/package:socat",
        says: "space",
        holds: "! dpkg -s socat && [ -z \"$(dpkg --audit)\" ]",
        mend: "umount /var/cache/apt",
    },
    Broken {
        what: "the step gets no more memory",
        fault: "true",
        task: r#"act(node, #{ name: "broken", reason: "a test", apply: "ulimit -v 20000; head -c 50M /dev/zero | tail" })"#,
        id: "a/act:broken",
        says: "memory exhausted",
        holds: "true",
        mend: "true",
    },
    Broken {
        what: "the step itself is killed",
        fault: "true",
        task: r#"act(node, #{ name: "broken", reason: "a test", apply: "touch /root/begun; kill -KILL $$; touch /root/never" })"#,
        id: "a/act:broken",
        says: "exited 137",
        holds: "[ ! -e /root/never ]",
        mend: "true",
    },
    Broken {
        what: "/run is full, where what a step prints is kept",
        fault: "mount -o remount,size=$(($(df -k --output=used /run | tail -n 1) + 64))k /run",
        task: r#"act(node, #{ name: "broken", reason: "a test", apply: "echo once >> /root/once; seq 1000000; exit 3" })"#,
        id: "a/act:broken",
        says: "exited 3",
        holds: "[ $(cat /root/once) = once ]",
        mend: "mount -o remount,size=20% /run",
    },
];

#[test]
fn what_breaks_on_a_host_fails_its_task_alone() {
    let Some(world) = World::up("faults-host", &["a", "b"], "bookworm") else { return };
    for broken in draw("faults on a host", 2, &BROKEN.each_ref()) {
        let Broken { what, fault, task, id, says, holds, mend } = broken;
        for host in ["a", "b"] {
            world.sh(host, "rm -f /root/independent /root/elsewhere /root/once");
        }
        world.sh("a", fault);
        let playbook = format!(
            "let big = \"x\"; for i in 0..17 {{ big += big; }}\nlet node = host(\"a\");\nparallel([|| {task}, {BESIDE}]);"
        );
        let told = world.run(&playbook);
        let seen = (told.ran.exit, told.with("failed"));
        assert_eq!(seen, (1, vec![(*id).to_owned()]), "{what}: {:?}", told.outcomes());
        let failure = told.task(id)["failure"].to_string();
        assert!(failure.contains(says), "{what}: {says} isn't there: {failure}");
        assert!(world.is("a", holds), "{what}: {holds} doesn't hold");
        assert!(world.is("a", "[ -e /root/independent ]") && world.is("b", "[ -e /root/elsewhere ]"), "{what}");
        world.sh("a", mend);
        world.step(what);
    }
}

#[test]
fn a_host_that_loses_its_power_in_the_middle_of_something_is_told_in_doubt() {
    let Some(world) = World::up("faults-power", &["a", "b"], "bookworm") else { return };
    let playbook = r#"
        let node = host("a");
        parallel([
            || act(node, #{ name: "cut", reason: "a test", apply: "echo cut >> /root/log; sync; sleep 60; echo end >> /root/log" }),
            || act(host("b"), #{ name: "elsewhere", reason: "a test", apply: "touch /root/elsewhere" }),
            || install(node, ["rabbitmq-server"]),
        ]);
    "#;
    let run = world.start(playbook, &[]);
    until("dpkg at work", || {
        world.is("a", "grep -q cut /root/log && grep -q ' status half-installed erlang' /var/log/dpkg.log && sync")
    });
    world.lab.kill("a").expect("its power is cut");
    world.lab.boot("a").expect("it boots");
    let told = Told::from(Ran::from(run.wait_with_output().expect("it ends"))).exits(1);
    assert!(told.with("in_doubt").contains(&"a/act:cut".to_owned()), "{:?}", told.outcomes());
    assert!(world.is("b", "[ -e /root/elsewhere ]"));
    world.step(&format!("told in doubt: {:?}", told.with("in_doubt")));
    let resumed = world.resume(&["--done", "a/act:cut"]).exits(0);
    assert!(resumed.with("changed").iter().any(|id| id.contains("rabbitmq-server")), "{:?}", resumed.outcomes());
    assert_eq!(world.sh("a", "cat /root/log; dpkg --audit"), "cut");
    assert_eq!(world.sh("a", "dpkg-query -W -f '${db:Status-Status}' rabbitmq-server"), "installed");
    world.step("the run is resumed: dpkg is mended and the package installed, and the act wasn't done again");
    let again = world.told("plan", "playbook.rhai", &[]);
    assert!(again.with("change").is_empty(), "{:?}", again.outcomes());
}
