//! haflow is interrupted in each way and at each kind of work, and begun twice at once, in the lab.

use super::begun::Begun;
use crate::common::events::Told;
use crate::common::sshd::{interrupt_again, signal, until, until_another_counts};
use crate::common::world::World;
use crate::common::{all, clean, draw, skipped};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::process::{Command, Stdio};
const INSTALLS: &str = r#"
for node in group("web") {
    install(node, param("package"));
}
barrier(group("web"), "installed");
for node in group("web") {
    act(node, #{ name: "next", reason: "a test", apply: "touch /root/next" });
}
"#;

/// dpkg is at work, and a package is half installed.
const HALF_INSTALLED: &str = "timeout 120 sh -c 'until dpkg -l | grep -q \"^[ir][HUFWt]\"; do :; done'";

/// A run on a host that installs this package, and is at it.
fn installing(world: &World, package: &str) -> Begun {
    world.write("install.rhai", INSTALLS);
    let param = format!("package={package}");
    let mut run = world.begin(&["run", "install.rhai", "-i", "inventory.toml", "-e", &param]);
    run.until("apply_started", Some(&format!("web1/package:{package}")));
    world.sh("web1", HALF_INSTALLED);
    run
}

#[test]
fn interrupted_during_an_install_a_run_waits_for_its_end() {
    let Some(world) = World::up("apt", &["web1", "web2"], "bookworm") else { return };
    let ways = [("erlang-base", Signal::INT), ("python3-babel", Signal::TERM), ("nginx", Signal::HUP)];
    for (package, way) in draw("signals during an install", 1, &ways) {
        let run = installing(&world, package);
        assert_ne!(world.of_runs("web1"), "", "the look for what is left sees nothing");
        signal(&run.program, way);
        let told = run.ended().exits(130);
        assert_eq!(told.of("interrupted").count(), 1);
        assert_eq!(told.with("changed"), ["web1", "web2"].map(|host| format!("{host}/package:{package}")));
        assert_eq!(told.with("cancelled"), ["web1/act:next", "web2/act:next"]);
        assert_eq!(world.sh("web1", "ls -A /root/next 2>/dev/null || dpkg --audit"), "", "something else was begun");
        world.nothing_is_left();
        world.step(&format!("{way:?} once during an install: waited for, and nothing more begun"));
    }
}

#[test]
fn interrupted_twice_during_an_install_it_is_killed_and_mended() {
    let Some(world) = World::up("twice", &["web1", "web2"], "bookworm") else { return };
    let mut run = installing(&world, "rabbitmq-server");
    signal(&run.program, Signal::INT);
    run.until("interrupted", None);
    interrupt_again(&run.program);
    let told = run.ended().exits(130);
    world.nothing_is_left_but_steps();
    let broken = world.sh("web1", "dpkg --audit; dpkg -l | grep -c '^[ir][HUFWt]' || true");
    for host in ["web1", "web2"] {
        let task = told.task(&format!("{host}/package:rabbitmq-server"));
        let why = task["why"].as_str().unwrap_or_default();
        println!("{host}: {} {why}", task["outcome"]);
        assert!(task["outcome"] != "in_doubt" || why.contains("apt-get") || why.contains("dpkg"), "{host}: {task}");
    }
    assert_eq!(told.task("web1/package:rabbitmq-server")["outcome"], "in_doubt");
    println!("the install that was killed left: {broken}");
    world.step("twice during an install: killed, told, and nothing left running");

    let resumed = Told::from(world.haflow(&["resume", "--format", "json"])).exits(0);
    assert_eq!(resumed.count("in_doubt"), 0);
    assert_eq!(world.sh("web1", "dpkg --audit; dpkg-query -W -f '${db:Status-Status}' rabbitmq-server"), "installed");
    let param = ["-e", "package=rabbitmq-server"];
    assert_eq!(world.told("run", "install.rhai", &param).exits(0).with("changed"), ["web1/act:next", "web2/act:next"]);
    world.nothing_is_left();
    world.step("the run that is resumed mends it");
}

/// The task by which a broker joins.
pub(crate) const JOINS: &str = "rabbit2/rabbitmq_member:rabbit@rabbit2";

/// A run on two bare hosts, one of which joins the other, and is at this command of `rabbitmqctl`.
pub(crate) fn joining(world: &World, command: &str) -> Begun {
    let mut run = world.begin(&["run", "playbooks/rabbit-ha.rhai", "-i", "inventory.toml"]);
    run.until("apply_started", Some(JOINS));
    // In brackets: the shell that looks isn't what is looked for.
    world.sh("rabbit2", &format!("timeout 60 sh -c 'until pgrep -f \"[r]abbitmqctl .*{command}\"; do :; done'"));
    run
}

#[test]
fn interrupted_twice_during_a_join_a_run_is_resumed() {
    if !all() {
        return skipped("interrupts during a join; HAFLOW_TEST_ALL=1 makes three");
    }
    for command in ["stop_app", "join_cluster", "start_app"] {
        let Some(world) = World::up("twice-join", &["rabbit1", "rabbit2"], "bookworm") else { return };
        let mut run = joining(&world, command);
        signal(&run.program, Signal::INT);
        run.until("interrupted", None);
        interrupt_again(&run.program);
        let told = run.ended().exits(130);
        world.nothing_is_left_but_steps();
        Told::from(world.haflow(&["resume", "--format", "json"])).exits(0);
        assert_eq!(world.rabbit_ha("run", &["--detailed-exitcode"]).exits(0).count("changed"), 0);
        let outcome = &told.task(JOINS)["outcome"];
        world.step(&format!("twice at {command}: {outcome}, resumed, and converged"));
    }
}

#[test]
fn interrupted_at_a_gate_a_run_ends() {
    let Some(world) = World::up("gate", &["web1"], "bookworm") else { return };
    world.write(
        "gate.rhai",
        r#"
        let node = host("web1");
        gate(node, #{
            name: "never", want: "yes", within: "10m", every: "1s",
            probe: "if [ -e /run/slow ]; then echo >> /run/looks; sleep 300; fi; echo no",
        });
        act(node, #{ name: "next", reason: "a test", apply: "true" });
        "#,
    );
    for way in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut run = world.begin(&["run", "gate.rhai", "-i", "inventory.toml"]);
        run.until("gate_checked", None);
        signal(&run.program, way);
        let told = run.ended().exits(130);
        assert_eq!(
            (told.with("cancelled"), told.with("skipped")),
            (vec!["web1/gate:never".to_owned()], vec!["web1/act:next".to_owned()])
        );
        world.nothing_is_left();
        world.step(&format!("{way:?} at a gate: it is let go"));
    }
    let mut run = world.begin_with("--ignore-signal=HUP", &["run", "gate.rhai", "-i", "inventory.toml"]);
    run.until("gate_checked", None);
    signal(&run.program, Signal::HUP);
    run.until("gate_checked", None);
    run.until("gate_checked", None);
    signal(&run.program, Signal::TERM);
    assert_eq!(run.ended().exits(130).of("interrupted").count(), 1);
    world.step("SIGHUP under nohup: the run goes on");
    world.sh("web1", "touch /run/slow");
    let mut run = world.begin(&["run", "gate.rhai", "-i", "inventory.toml"]);
    // A run looks at it before its turn, too, and not for long.
    world.sh("web1", "timeout 60 sh -c 'until [ $(wc -l < /run/looks) -eq 2 ]; do sleep 0.1; done' 2>/dev/null");
    signal(&run.program, Signal::INT);
    run.until("interrupted", None);
    interrupt_again(&run.program);
    let told = run.ended().exits(130);
    assert_eq!(told.with("cancelled"), ["web1/gate:never"], "{:?}", told.outcomes());
    world.nothing_is_left();
    world.step("twice while a gate looks: killed, and nothing left");
}

#[test]
fn what_takes_too_long_is_killed_wherever_it_went() {
    let Some(world) = World::up("timeout", &["web1"], "bookworm") else { return };
    let ways = [
        ("ignores TERM", "sh -c 'trap \"\" TERM; while :; do sleep 1; done' & wait"),
        ("has a session of its own", "setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & wait"),
        ("has left its parent", "(setsid sleep 300 &); sleep 300"),
        (
            "begins more when it is told to end",
            "trap 'sh -c \"trap : TERM; sleep 301; sleep 301\" & sleep 300; sleep 300' TERM; sleep 300 & wait",
        ),
    ];
    for (name, script) in ways {
        let playbook = format!(
            "act(host(\"web1\"), #{{ name: `hangs`, reason: \"a test\", apply: ##\"{script}\"##, timeout: \"1s\" }});"
        );
        world.write("hangs.rhai", &playbook);
        let told = world.told("run", "hangs.rhai", &[]).exits(1);
        let message = told.task("web1/act:hangs")["failure"]["message"].as_str().expect("a message").to_owned();
        println!("{name}: {message}");
        world.nothing_is_left();
        assert!(message.contains("longer than 1 s") && message.contains("nothing of it is left there"), "{message}");
        world.step(&format!("what {name} is killed when it takes too long"));
    }
}

#[test]
fn the_terminal_is_left_as_it_was_found() {
    let Some(world) = World::up("tty", &["web1"], "bookworm") else { return };
    world.write(
        "sleeps.rhai",
        r#"act(host("web1"), #{ name: "long", reason: "a test", apply: "touch /run/begun; until [ -e /run/go ]; do sleep 0.1; done" });"#,
    );
    let haflow = env!("CARGO_BIN_EXE_haflow");
    for (times, said) in [(1, "waiting for"), (2, "in doubt")] {
        world.sh("web1", "rm -f /run/begun /run/go");
        let shell = format!(
            "trap : INT; stty -a > before; {haflow} run sleeps.rhai -i inventory.toml --format human; echo $? > exit; stty -a > after"
        );
        let mut script = clean(Command::new("script"), world.folder.path())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .args(["--quiet", "--command", &shell, "typescript"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        let mut keys = script.stdin.take().expect("it is piped");
        let mut shown = BufReader::new(script.stdout.take().expect("it is piped"));
        until("the act to begin", || world.ssh("web1", "test -e /run/begun").status.success());
        let mut text = Vec::new();
        for time in 0..times {
            if time > 0 {
                until_another_counts();
            }
            keys.write_all(b"\x03").expect("a key");
            // The first has come when it is told.
            while !String::from_utf8_lossy(&text).contains("interrupted") {
                let mut more = [0; 1024];
                let read = shown.read(&mut more).expect("a text");
                assert_ne!(read, 0, "{}", String::from_utf8_lossy(&text));
                text.extend_from_slice(&more[..read]);
            }
        }
        if times == 1 {
            world.sh("web1", "touch /run/go");
        }
        shown.read_to_end(&mut text).expect("a text");
        drop(keys);
        script.wait().expect("it ends");
        let text = String::from_utf8_lossy(&text).into_owned();
        let read = |name: &str| fs::read_to_string(world.folder.path().join(name)).expect("it was written");
        assert_eq!(read("exit"), "130\n", "{text}");
        assert_eq!(read("before"), read("after"));
        assert!(text.contains(said), "{said} isn't told: {text}");
        // Whatever was hidden is shown again, and the bar isn't the last that is there.
        assert!(text.rfind("\x1b[?25l") <= text.rfind("\x1b[?25h"), "the cursor stays hidden: {text:?}");
        let last = text.rsplit("\x1b[J").next().expect("a text");
        assert!(last.contains(": 1 task on 1 host in ") && !last.contains("[ "), "{text:?}");
        world.nothing_is_left_but_steps();
        world.step(&format!("{times} × Ctrl-C at a terminal: as it was found"));
    }
}

#[test]
fn a_terminal_that_is_closed_is_one_interrupt() {
    let Some(world) = World::up("closed", &["web1"], "bookworm") else { return };
    world.write(
        "long.rhai",
        r#"
        let node = host("web1");
        act(node, #{ name: "long", reason: "a test", apply: "touch /run/begun; until [ -e /run/go ]; do sleep 0.1; done; touch /run/done" });
        act(node, #{ name: "next", reason: "a test", apply: "touch /run/next" });
        "#,
    );
    let shell = format!("{} run long.rhai -i inventory.toml --format human; true", env!("CARGO_BIN_EXE_haflow"));
    let mut script = clean(Command::new("env"), world.folder.path())
        .env("TERM", "xterm")
        .env("SHELL", "/bin/bash")
        .args(["--default-signal=HUP", "script", "--quiet", "--command", &shell, "typescript"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("script starts");
    until("the act to begin", || world.ssh("web1", "test -e /run/begun").status.success());
    signal(&script, Signal::KILL);
    script.wait().expect("it ends");
    until("the interrupt", || world.journal().iter().any(|event| event["event"] == "interrupted"));
    world.sh("web1", "touch /run/go");
    until("the end of the run", || world.journal().iter().any(|event| event["event"] == "run_finished"));
    let journal = world.journal();
    let last = journal.last().expect("the end");
    assert_eq!(
        (&last["changed"], &last["cancelled"], &last["in_doubt"]),
        (&json!(1), &json!(1), &json!(0)),
        "{journal:#?}"
    );
    assert_eq!(journal.iter().filter(|event| event["event"] == "interrupted").count(), 1);
    assert_eq!(world.sh("web1", "cd /run; ls -d done next 2>/dev/null || true"), "done");
    world.nothing_is_left();
    world.step("a terminal that is closed: waited for, and nothing more begun");
}

// Two runs at once.

const OVERLAPPING: &str = r##"
let name = param("name");
for node in group(name) {
    act(node, #{
        name: name, reason: "a test", params: #{ name: name },
        apply: #"touch "/run/test-$name"; n=0; until [ -e /run/go ] || [ "$n" = 600 ]; do n=$((n + 1)); sleep 0.1; done"#,
    });
}
"##;

#[test]
fn of_two_runs_at_once_on_overlapping_hosts_one_goes_on() {
    let Some(world) = World::up("two", &["web1", "web2", "web3"], "bookworm") else { return };
    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("the inventory");
    // Either meets the other at its first host, at its second, or at two of three.
    let groups = [
        [vec!["web1", "web2"], vec!["web2", "web3"]],
        [vec!["web1", "web3"], vec!["web2", "web3"]],
        [vec!["web1", "web2", "web3"], vec!["web2", "web3"]],
    ];
    world.write("two.rhai", OVERLAPPING);
    let hosts = ["web1", "web2", "web3"];
    let all: Vec<usize> = (1..=10).collect();
    let mut winners = Vec::new();
    for round in draw("rounds of two runs at once", 3, &all) {
        for host in hosts {
            world.sh(host, "rm -f /run/go /run/test-*");
        }
        let groups = &groups[round % groups.len()];
        let names = ["left", "right"];
        let tables = names.iter().zip(groups).map(|(name, hosts)| format!("\n[groups.{name}]\nhosts = {hosts:?}\n"));
        world.write("inventory.toml", &(inventory.clone() + tables.collect::<String>().as_str()));
        let begin =
            |name: &str| world.begin(&["run", "two.rhai", "-i", "inventory.toml", "-e", &format!("name={name}")]);
        let runs = if round % 2 == 0 {
            [begin(names[0]), begin(names[1])]
        } else {
            let right = begin(names[1]);
            [begin(names[0]), right]
        };
        let ended: Vec<Told> = std::thread::scope(|scope| {
            let waits: Vec<_> = runs.into_iter().map(|run| scope.spawn(|| run.ended())).collect();
            until("the end of one", || waits.iter().any(std::thread::ScopedJoinHandle::is_finished));
            for host in hosts {
                world.sh(host, "touch /run/go");
            }
            waits.into_iter().map(|wait| wait.join().expect("no panic")).collect()
        });
        let exits: Vec<i32> = ended.iter().map(|told| told.ran.exit).collect();
        let winner = usize::from(exits[0] != 0);
        assert_eq!(
            (exits[winner], exits[1 - winner]),
            (0, 75),
            "round {round}: {:?}",
            ended.iter().map(|told| &told.ran).collect::<Vec<_>>()
        );
        assert_eq!(ended[winner].count("changed"), groups[winner].len() as u64);
        let refused = &ended[1 - winner].ran;
        assert!(refused.stdout.is_empty() && refused.stderr.contains(": run "), "{refused:?}");
        for host in hosts {
            let expected =
                if groups[winner].contains(&host) { format!("test-{}", names[winner]) } else { "test-*".into() };
            assert_eq!(world.sh(host, "cd /run; echo test-*"), expected, "{host} in round {round}");
        }
        winners.push(names[winner]);
    }
    world.nothing_is_left();
    world.step(&format!("two at once: one of them each time, {winners:?}"));
}
