//! What goes wrong on the hosts of a lab: disks are full, memory is short, steps are killed, power fails,
//! clocks are wrong. The task that it befalls says so, nothing else is stopped, and the run that is resumed
//! converges.
//!
//! `HAFLOW_TEST_ALL=1 cargo test -p haflow --test it on_hosts` injects all of it; otherwise a sample is
//! drawn.

use super::connections::ended;
use super::interrupted::{JOINS, joining};
use crate::common::sshd::until;
use crate::common::world::World;
use crate::common::{all, draw, skipped};

/// What neither an independent task nor another host is kept from.
const BESIDE: &str = r#"
|| act(node, #{ name: "independent", reason: "a test", apply: "touch /root/independent" }),
|| act(host("b"), #{ name: "elsewhere", reason: "a test", apply: "touch /root/elsewhere" }),
"#;

/// A fault on a host: what makes it, the task that fails and why, what must hold on the host after it, and
/// what takes the fault away.
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

const BROKEN: [Broken; 7] = [
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
        what: "the kernel kills the step for want of memory",
        // The lab's hosts have no memory controller to run out of: the kernel's message is made up.
        fault: r#"printf '%s\n' '#!/bin/sh' 'read -r up rest </proc/uptime' \
            'echo "[$up] Out of memory: Killed process 4711 (beam.smp) total-vm:1kB"' >/usr/local/bin/dmesg; chmod +x /usr/local/bin/dmesg"#,
        task: r#"act(node, #{ name: "broken", reason: "a test", apply: "kill -KILL $$" })"#,
        id: "a/act:broken",
        says: "the apply exited 137; the kernel said meanwhile: Out of memory: Killed process 4711 (beam.smp)",
        holds: "true",
        mend: "rm /usr/local/bin/dmesg",
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
        let told = ended(world.start(&playbook, &[]));
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
    let told = ended(run).exits(1);
    let why = told.task("a/act:cut")["why"].to_string();
    assert!(told.task("a/act:cut")["outcome"] == "in_doubt" && why.contains("the host has booted since"), "{why}");
    assert!(told.with("in_doubt").contains(&"a/package:rabbitmq-server".to_owned()), "{:?}", told.outcomes());
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

#[test]
fn a_host_that_loses_its_power_while_it_joins_is_told_and_the_run_resumed() {
    if !all() {
        return skipped("power cuts during a join; HAFLOW_TEST_ALL=1 makes three");
    }
    for command in ["stop_app", "join_cluster", "start_app"] {
        let Some(world) = World::up("faults-join", &["rabbit1", "rabbit2"], "bookworm") else { return };
        let run = joining(&world, command);
        world.lab.kill("rabbit2").expect("its power is cut");
        world.lab.boot("rabbit2").expect("it boots");
        let told = run.ended().exits(1);
        assert_eq!(told.with("in_doubt"), [JOINS], "{:?}", told.outcomes());
        let why = told.task(JOINS)["why"].to_string();
        assert!(why.contains("the host has booted since"), "{why}");
        world.resume(&[]).exits(0);
        let again = world.rabbit_ha("run", &["--detailed-exitcode"]).exits(0);
        assert_eq!(again.count("changed"), 0);
        world.step(&format!("its power is cut at {command}: told in doubt, resumed, and converged"));
    }
}

/// Waits for what comes up by itself, then acts.
const WAITS: &str = r#"
let node = host("a");
gate(node, #{ name: "up", probe: "touch /root/looked; cat /root/up 2>/dev/null || echo no", want: "yes", within: "5m", every: "1s" });
barrier([node], "up");
act(node, #{ name: "next", reason: "a test", apply: "echo next >> /root/log" });
"#;

#[test]
fn a_host_that_reboots_at_the_wrong_time_is_waited_for() {
    let Some(world) = World::up("faults-reboot", &["a"], "bookworm") else { return };
    let run = world.start(WAITS, &[]);
    until("the gate's first look", || world.is("a", "ls /root/looked"));
    // What an administrator types: services are stopped, then it goes down.
    world.ssh("a", "systemctl poweroff");
    until("its end", || !world.is("a", "true"));
    world.lab.kill("a").expect("nothing of it is left");
    world.lab.boot("a").expect("it boots");
    world.sh("a", "echo yes > /root/up");
    let told = ended(run).exits(0);
    assert!(told.of("host_lost").count() == 1 && world.sh("a", "cat /root/log") == "next", "{:?}", told.outcomes());
    world.step("between two steps: the run goes on by itself");

    world.sh("a", "rm /root/log");
    let acts = r#"
        let node = host("a");
        act(node, #{ name: "reboots", reason: "a test", apply: "echo begun >> /root/log; sync; systemctl poweroff; sleep 60" });
        barrier([node], "rebooted");
        act(node, #{ name: "next", reason: "a test", apply: "echo next >> /root/log" });
    "#;
    world.write("playbook.rhai", acts);
    let mut run = world.begin(&["run", "playbook.rhai", "-i", "inventory.toml"]);
    run.until("apply_started", Some("a/act:reboots"));
    until("its end", || !world.is("a", "true"));
    world.lab.kill("a").expect("nothing of it is left");
    world.lab.boot("a").expect("it boots");
    let told = run.ended().exits(1);
    let (act, next) = (told.task("a/act:reboots"), told.task("a/act:next"));
    world.step(&format!("in the middle of an act: {act}"));
    assert!(act["outcome"] == "in_doubt" && act["why"].to_string().contains("booted since"), "{act}");
    assert_eq!(next["outcome"], "skipped");
    world.resume(&["--done", "a/act:reboots"]).exits(0);
    assert_eq!(world.sh("a", "cat /root/log"), "begun\nnext");
    world.step("told in doubt; the run is resumed with what is known, and nothing is done twice");
}

#[test]
fn clocks_that_are_ten_minutes_apart_change_nothing() {
    let Some(world) = World::up("faults-clocks", &["a", "b"], "bookworm") else { return };
    for (host, offset) in [("a", "-10m"), ("b", "+10m")] {
        world.sh(host, "apt-get -q update && apt-get -qy install libfaketime");
        // Hosts of a lab share their machine's clock: what ssh starts there sees another one.
        let settings = format!(
            "sed -i '1i SetEnv LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 FAKETIME={offset} FAKETIME_DONT_RESET=1' /etc/ssh/sshd_config; \
             systemctl restart ssh"
        );
        world.sh(host, &settings);
    }
    let now = |host: &str| world.sh(host, "date +%s").parse::<i64>().expect("seconds");
    let apart = now("b") - now("a");
    assert!((1195..1230).contains(&apart), "they are {apart} s apart");
    let hosts = world.haflow(&["hosts", "-i", "inventory.toml"]);
    assert!(hosts.stdout.contains("s behind") && hosts.stdout.contains("s ahead"), "{hosts:?}");
    let playbook = r#"
        for node in [host("a"), host("b")] {
            install(node, ["socat"]);
            act(node, #{ name: "once", reason: "a test", apply: "echo once >> /root/log" });
            file(node, "/root/file", #{ content: "text" });
            gate(node, #{ name: "there", probe: "cat /root/file", want: "text", within: "30s" });
        }
    "#;
    let told = ended(world.start(playbook, &[])).exits(0);
    assert_eq!((told.count("changed"), told.count("ok")), (6, 2), "{:?}", told.outcomes());
    for host in ["a", "b"] {
        assert_eq!(world.sh(host, "cat /root/log; ls -d /run/haflow-step-* 2>/dev/null || true"), "once");
    }
    let again = ended(world.start(playbook, &[])).exits(0);
    assert_eq!((again.count("changed"), again.count("ok")), (2, 6), "{:?}", again.outcomes());
    world.step("clocks that are twenty minutes apart: what is there is told, and nothing is done twice");
}
