//! Lanes against a real sshd on this machine: what is sent arrives as it is, and what can go wrong on the way
//! to a host has a message of its own.
//!
//! Each test has its own sshd, with its own keys and configuration, on a free port of the loopback device.

use crate::common::events::Told;
use crate::common::sshd::{
    Sshd, begun, connections, free_port, installed, interrupt_again, is_root, signal, told_until, until,
};
use crate::common::{Ran, skipped};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command};

/// Values that a shell would do something with, if it got hold of them.
fn hostile(trap: &str) -> Vec<String> {
    let mut values: Vec<String> = vec![
        format!("$(touch {trap})"),
        format!("`touch {trap}`"),
        format!("'; touch {trap}; '"),
        format!("\"; touch {trap}; \""),
        format!("'\"$(touch {trap})\"'"),
        format!("\\'; touch {trap}; #"),
        format!("x\n$(touch {trap})\ntouch {trap}\n'\ntouch {trap}\n"),
        format!("EOF\ntouch {trap}\n"),
        format!("${{x:=$(touch {trap})}}"),
        format!("$((x[$(touch {trap})]))"),
        format!("& touch {trap} &"),
        format!("| touch {trap}"),
        format!("\r\ntouch {trap}\r\n"),
        "'''".into(),
        "\\".into(),
        "\\\\\\n\\0\\x41\\u00e9\\".into(),
        "%s%d%n%%".into(),
        "-n".into(),
        "-e \\a".into(),
        "--help".into(),
        "*".into(),
        "~".into(),
        "!!".into(),
        " leading and trailing ".into(),
        "\ttabs\t".into(),
        "many\n\n\nlines\n\n\n".into(),
        "\n".into(),
        "bell \u{7} escape \u{1b}[31m one \u{1}".into(),
        "Grüße, 日本語, עברית, 🦀, e\u{301}".into(),
        "\u{feff}a mark at the beginning, \u{2028} between, \u{10ffff} at the end".into(),
    ];
    let line = "one line of many: ü € 'single' \"double\" `id` $HOME \\ %s\n";
    values.push(line.repeat((1 << 20) / line.len() + 1));
    values
}

const VALUES: &str = r##"
let node = host("here");
let folder = node.vars.folder;
for i in 0..node.vars.values.len() {
    let value = node.vars.values[i];
    file(node, `${folder}/content-${i}`, #{ content: value });
    ensure(node, #{
        kind: "param", name: `${i}`, params: #{ value: value, path: `${folder}/param-${i}` },
        probe: #"[ ! -e "$path" ] || cat -- "$path" "#,
        want: value,
        apply: #"printf '%s\n' "$value" > "$path" "#,
    });
}
for name in node.vars.names {
    file(node, `${folder}/${name}`, #{ content: name });
}
"##;

#[test]
fn values_arrive_byte_for_byte_and_never_run() {
    let Some(sshd) = Sshd::start("") else { return };
    let trap = sshd.path("trap");
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    let values = hostile(trap.to_str().expect("a path"));
    // What a path may hold: no control character; a file's name has no slash and isn't too long.
    let mut names: Vec<String> = values.iter().map(|value| value.replace('/', "_")).collect();
    names.retain(|name| (1..200).contains(&name.len()) && !name.contains(char::is_control));
    sshd.inventory(&json!({}), &json!({ "folder": target, "values": values, "names": names }));

    let told = sshd.told("run", VALUES).exits(0);
    let tasks = (2 * values.len() + names.len()) as u64;
    assert_eq!((told.count("changed"), told.count("ok")), (tasks, 0));
    assert!(!trap.exists(), "a value ran");
    for (index, value) in values.iter().enumerate() {
        let read = |name: &str| fs::read(target.join(format!("{name}-{index}"))).expect("it was written");
        assert!(read("content") == value.as_bytes(), "content {index} isn't {:?}…", &value[..value.len().min(80)]);
        assert!(read("param") == format!("{value}\n").as_bytes(), "param {index} isn't as given");
    }
    for name in &names {
        assert_eq!(fs::read_to_string(target.join(name)).expect("it was written"), *name);
    }

    let again = sshd.told("run", VALUES).exits(0);
    assert_eq!((again.count("changed"), again.count("ok")), (0, tasks));
    let entries = fs::read_dir(&target).expect("a folder").count();
    assert_eq!(entries as u64, tasks, "something else was left in the folder");

    // Nothing that a terminal would obey comes through, and a value of 1 MB isn't printed.
    fs::remove_dir_all(&target).expect("it is ours");
    fs::create_dir(&target).expect("a folder");
    let plain = sshd.haflow(&["run", "playbook.rhai", "-i", "inventory.toml", "--format", "plain"]);
    assert_eq!(plain.exit, 0, "{}", plain.stderr);
    let obeyed = plain.stdout.chars().find(|char| char.is_control() && *char != '\n');
    assert_eq!(obeyed, None, "a control character is printed");
    assert!(plain.stdout.len() < 100_000, "{} bytes are printed", plain.stdout.len());
    assert!(!trap.exists(), "a value ran");
}

#[test]
fn targets_of_links_and_what_goes_away_can_be_called_anything() {
    let Some(sshd) = Sshd::start("") else { return };
    let (trap, target) = (sshd.path("trap"), sshd.path("target"));
    let evil = format!("$(touch {0})';touch {0};'", trap.display());
    let gone = sshd.path(&evil.replace('/', "_"));
    fs::write(&gone, "x").expect("a file");
    sshd.inventory(&json!({}), &json!({ "target": target, "evil": evil, "gone": gone }));
    let playbook = r#"
        let node = host("here");
        file(node, node.vars.target, #{ link: node.vars.evil });
        file(node, node.vars.gone, #{ absent: true });
    "#;
    assert_eq!(sshd.told("run", playbook).exits(0).count("changed"), 2);
    assert_eq!(sshd.told("run", playbook).exits(0).count("changed"), 0);
    assert_eq!(fs::read_link(&target).expect("a link").to_str(), Some(evil.as_str()));
    assert!(!gone.exists() && !trap.exists(), "a value ran, or a file is still there");
}

#[test]
fn a_hundred_tasks_share_one_connection_and_nothing_is_left_of_it() {
    let Some(sshd) = Sshd::start("") else { return };
    let playbook = r#"
        let node = host("here");
        parallel([
            || for i in 0..50 { read(node, #{ name: `a${i}`, probe: "echo $PPID" }); },
            || for i in 0..50 { act(node, #{ name: `b${i}`, reason: "a test", apply: "true" }); },
        ]);
    "#;
    let told = sshd.told("run", playbook).exits(0);
    assert_eq!((told.count("ok"), told.count("changed")), (50, 50));
    let count = |sign: &str| sshd.log().lines().filter(|line| line.contains(sign)).count();
    assert_eq!(count("Accepted publickey"), 1, "{}", sshd.log());
    let sessions = count("Starting session");
    assert!((1..=4).contains(&sessions), "{sessions} sessions for 100 tasks:\n{}", sshd.log());
    until("the connection's end", || count("Disconnected from") + count("Connection closed by") >= 1);
}

/// A way in which a host can't be used, and what is to be said of it.
struct Barred {
    name: &'static str,
    /// sshd's settings.
    sshd: &'static str,
    /// The host's settings in the inventory.
    host: fn(&Sshd) -> Value,
    step: &'static str,
    message: &'static str,
    hint: &'static str,
    /// Only root can bring it about.
    root: bool,
}

const BARRED: [Barred; 9] = [
    Barred {
        name: "key refused",
        sshd: "",
        host: |sshd| json!({ "key": sshd.path("other_key") }),
        step: "login",
        message: "refused to log in",
        hint: "never asks for a password",
        root: false,
    },
    Barred {
        name: "host key unknown",
        sshd: "",
        host: |sshd| json!({ "known_hosts": sshd.path("no_hosts") }),
        step: "host key",
        message: "the host key of here isn't known",
        hint: "compare the fingerprint",
        root: false,
    },
    Barred {
        name: "host key changed",
        sshd: "",
        host: |sshd| json!({ "known_hosts": sshd.path("changed_hosts") }),
        step: "host key",
        message: "the host key of here has changed",
        hint: "changed_hosts -R '[127.0.0.1]:",
        root: false,
    },
    Barred {
        name: "nobody listens",
        sshd: "",
        host: |_| json!({ "port": free_port() }),
        step: "refused",
        message: "refused the connection to port",
        hint: "is sshd running there",
        root: false,
    },
    Barred {
        name: "name unknown",
        sshd: "",
        host: |_| json!({ "address": "no-such-host.invalid" }),
        step: "network",
        message: "`no-such-host.invalid` of here can't be resolved",
        hint: "give the host an `address`",
        root: false,
    },
    Barred {
        name: "no sh",
        sshd: "ForceCommand env PATH=/nonexistent /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
        host: |_| json!({}),
        step: "shell",
        message: "here gave no POSIX shell",
        hint: "haflow needs `sh` there",
        root: false,
    },
    Barred {
        name: "no sudo",
        sshd: "ForceCommand env PATH=/nonexistent /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
        host: |_| json!({ "become": "nobody" }),
        step: "sudo",
        message: "here has no sudo",
        hint: "install sudo",
        root: false,
    },
    Barred {
        name: "no such user",
        sshd: "",
        host: |_| json!({ "become": "no-such-user" }),
        step: "sudo",
        message: "here has no user `no-such-user` to become",
        hint: "correct `become`",
        root: true,
    },
    Barred {
        name: "no right to sudo",
        sshd: "ForceCommand setpriv --reuid 65534 --regid 65534 --clear-groups sh -c \"$SSH_ORIGINAL_COMMAND\"",
        host: |_| json!({ "become": "daemon" }),
        step: "sudo",
        message: "doesn't let tasks run as `daemon` without a password",
        hint: "NOPASSWD",
        root: true,
    },
];

const THREE: &str = r#"
    let node = host("here");
    for i in 1..=3 { act(node, #{ name: `${i}`, reason: "a test", apply: "true" }); }
    read(node, #{ name: "four", probe: "echo 4" });
"#;

#[test]
fn each_bar_on_the_way_has_its_own_message_and_every_task_is_told() {
    let Some(sshd) = installed() else { return };
    drop(sshd);
    let mut messages = Vec::new();
    for barred in BARRED {
        if barred.root && !(is_root() && Path::new("/usr/bin/sudo").exists()) {
            skipped(&format!("{}: needs root and sudo", barred.name));
            continue;
        }
        let Some(sshd) = Sshd::start(barred.sshd) else { return };
        sshd.inventory(&(barred.host)(&sshd), &json!({}));
        let run = sshd.told("run", THREE).exits(1);
        let name = barred.name;
        assert_eq!((run.count("unreachable"), run.outcomes().len()), (4, 4), "{name}: {:?}", run.ran);
        let seen: Vec<&Value> = run.of("host_unreachable").collect();
        let [seen] = seen[..] else { panic!("{name}: the host is told {} times", seen.len()) };
        let why = seen["why"].as_str().expect("a reason");
        assert!(why.contains(barred.message), "{name}: {why}");
        assert!(seen["hint"].as_str().is_some_and(|hint| hint.contains(barred.hint)), "{name}: {seen}");
        assert!(!why.contains('\n'), "{name}: more than a line: {why}");
        for event in run.of("task_finished") {
            assert_eq!(event["why"], why, "{name}");
        }
        let plan = sshd.told("plan", THREE).exits(1);
        let looked = plan.with("unreachable").len() + plan.with("act").len();
        assert_eq!((plan.outcomes().len(), looked), (4, 4), "{name}: {:?}", plan.ran);

        let hosts = Told::from(sshd.haflow(&["hosts", "-i", "inventory.toml", "--format", "json"])).exits(1);
        assert_eq!(hosts.events[0]["step"], barred.step, "{name}: {:?}", hosts.ran);
        messages.push(why.to_owned());
    }
    let count = messages.len();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), count, "two of them read alike");
}

/// Asks for facts by the stdlib; the first host can't be reached.
const BOTH: &str = r#"
    let nodes = group("both");
    for node in nodes { read(node, #{ name: "broker", probe: "echo", params: #{ name: rabbitmq::node_name(node) } }); }
    act(nodes[1], #{ name: "alone", reason: "a test", apply: "true" });
    barrier(nodes, "both");
    act(nodes[1], #{ name: "after both", reason: "a test", apply: "true" });
"#;

#[test]
fn a_host_that_is_gone_stops_what_depends_on_it_and_nothing_else() {
    let Some(sshd) = Sshd::start("") else { return };
    let gone = |name: &str| format!("[hosts.{name}]\naddress = \"127.0.0.1\"\nport = {}\n", free_port());
    let here = fs::read_to_string(sshd.path("inventory.toml")).expect("the inventory");
    sshd.write("inventory.toml", &format!("{}\n{here}\n[groups.both]\nhosts = [\"gone\", \"here\"]\n", gone("gone")));

    let run = sshd.told("run", BOTH).exits(1);
    let outcomes = [
        ("gone/read:broker", "unreachable"),
        ("here/act:after both", "skipped"),
        ("here/act:alone", "changed"),
        ("here/read:broker", "ok"),
    ];
    let outcomes = outcomes.map(|(task, outcome)| (task.to_owned(), outcome.to_owned()));
    assert_eq!(run.outcomes().into_iter().collect::<Vec<_>>(), outcomes);
    for (outcome, count) in [("ok", 1), ("changed", 1), ("skipped", 1), ("unreachable", 1), ("failed", 0)] {
        assert_eq!(run.count(outcome), count, "{outcome}: {:?}", run.ran);
    }
    assert_eq!(run.task("here/act:after both")["because"], "gone/read:broker");
    let warnings: Vec<&str> = run.ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    let [warning] = warnings[..] else { panic!("one host is gone: {}", run.ran.stderr) };
    assert!(warning.contains("refused the connection") && warning.contains("as if it were like here"), "{warning}");

    let plan = sshd.told("plan", BOTH).exits(1);
    assert_eq!((plan.outcomes().len(), plan.count("unreachable"), plan.count("skipped")), (4, 1, 1), "{:?}", plan.ran);

    let only = ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json", "--limit", "here"];
    let limited = Told::from(sshd.haflow(&only)).exits(0);
    assert_eq!((limited.count("ok"), limited.count("changed")), (1, 2));

    assert!(!limited.ran.stderr.contains("gone"), "it is connected to: {}", limited.ran.stderr);

    // What the playbook itself decides by a fact isn't guessed where a task of another host depends on it.
    let own = "for node in group(\"both\") {\n    let name = rabbitmq::node_name(node);\n    if node.facts.init == \"systemd\" { }\n}\n";
    let depends = "let first = group(\"both\")[0];\nact(group(\"both\")[1], #{ name: first.facts.hostname, reason: \"a test\", apply: \"true\" });\n";
    for arguments in [&only[..], &only[..6]] {
        sshd.write("playbook.rhai", &format!("{own}{depends}"));
        let refused = sshd.haflow(arguments);
        assert_eq!((refused.exit, refused.stdout.as_str()), (1, ""), "{}", refused.stderr);
        let dependent = "on which `here/act:gone` depends";
        for said in ["gone can't be reached", "refused the connection", dependent, "help: take gone out of"] {
            assert!(refused.stderr.contains(said), "{said} isn't there: {}", refused.stderr);
        }
        sshd.write(
            "playbook.rhai",
            &format!("{own}act(group(\"both\")[1], #{{ name: \"x\", reason: \"a test\", apply: \"true\" }});"),
        );
        let limited = arguments.contains(&"--limit");
        let ran = Told::from(sshd.haflow(arguments)).exits(0);
        assert_eq!((ran.count("changed"), ran.ran.stderr.contains("gone")), (1, !limited), "{}", ran.ran.stderr);
    }

    // A host that is reached and doesn't answer is no such thing.
    sshd.write(
        "playbook.rhai",
        "for node in group(\"both\") { fact(node, \"none\", #{ probe: \"exit 3\", assume: 1 }); }",
    );
    let failed = sshd.haflow(&only);
    assert_eq!((failed.exit, failed.stdout.as_str()), (1, ""), "{}", failed.stderr);
    assert!(!failed.stderr.contains("gone"), "it is connected to: {}", failed.stderr);
    for said in ["they couldn't be read", "  here: the probe exited 3"] {
        assert!(failed.stderr.contains(said), "{said} isn't there: {}", failed.stderr);
    }

    // Where nobody can be reached there is an outcome for every task all the same.
    sshd.write(
        "inventory.toml",
        &format!("{}{}[groups.both]\nhosts = [\"gone\", \"here\"]\n", gone("gone"), gone("here")),
    );
    let none = sshd.told("run", BOTH).exits(1);
    assert_eq!((none.outcomes().len(), none.count("ok"), none.count("changed")), (4, 0, 0), "{:?}", none.ran);
    assert_eq!(none.of("host_unreachable").count(), 2);
}

#[test]
fn a_slow_login_that_talks_a_lot_is_survived() {
    // As a login script might: banners on both streams, and no newline at their end.
    let talk = "#!/bin/sh\nn=0\nwhile [ $n -lt 3000 ]; do echo 'Welcome! *** 0 end $(id)'; echo 'Mind the gap' >&2; n=$((n+1)); done\n\
                sleep 1\nprintf 'no end of line'\nprintf 'here neither' >&2\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let login = folder.path().join("login");
    fs::write(&login, talk).expect("a file");
    let Some(sshd) = Sshd::start(&format!("ForceCommand sh {}", login.display())) else { return };
    let told = sshd.told(
        "run",
        r##"
        let node = host("here");
        let said = read(node, #{ name: "said", probe: "echo exactly this" });
        gate(node, #{
            name: "exact", within: 0, params: #{ said: said }, probe: #"printf '%s' "$said" "#, want: "exactly this",
        });
        "##,
    );
    assert_eq!(told.exits(0).count("ok"), 2);
}

#[test]
fn tasks_run_as_the_users_that_they_name() {
    if !is_root() || !Path::new("/usr/bin/sudo").exists() {
        skipped("becoming another user needs root and sudo");
        return;
    }
    let Some(sshd) = Sshd::start("") else { return };
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    // Anybody may write there, and get there.
    for (path, mode) in [(sshd.folder.path(), 0o755), (&target, 0o1777)] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("it is ours");
    }
    let playbook = r##"
        let node = host("here");
        let folder = node.vars.folder;
        for user in ["nobody", "daemon", ()] {
            act(node, #{
                name: `as ${user ?? "root"}`, reason: "a test", user: user,
                params: #{ folder: folder }, apply: #"touch "$folder/$(id -un)" "#,
            });
        }
        file(node, folder + "/file", #{ content: "x", user: "daemon" });
    "##;
    sshd.inventory(&json!({}), &json!({ "folder": target }));
    assert_eq!(sshd.told("run", playbook).exits(0).count("changed"), 4);
    let owner = |name: &str| Ran::of(Command::new("stat").args(["-c", "%U"]).arg(target.join(name))).stdout;
    for user in ["nobody", "daemon", "root"] {
        assert_eq!(owner(user), format!("{user}\n"));
    }
    assert_eq!(owner("file"), "daemon\n");

    // The same where the inventory says it.
    sshd.inventory(&json!({ "become": "nobody" }), &json!({ "folder": target }));
    let me = r##"
        let node = host("here");
        act(node, #{ name: "me", reason: "a test", apply: #"touch "$folder/me" "#, params: #{ folder: node.vars.folder } });
    "##;
    sshd.told("run", me).exits(0);
    assert_eq!(owner("me"), "nobody\n");
}

/// An act that says that it has begun, and then waits for a file `go`.
const LONG: &str = r##"
    let node = host("here");
    act(node, #{
        name: "long", reason: "a test", params: #{ folder: node.vars.folder }, timeout: "1m",
        apply: #"
            echo $$ > "$folder/began.new"
            mv "$folder/began.new" "$folder/began"
            while [ ! -e "$folder/go" ]; do sleep 0.05; done
            echo done > "$folder/done"
        "#,
    });
    act(node, #{ name: "next", reason: "a test", apply: "true" });
"##;

fn ended(sshd: &Sshd, run: Child) -> Told {
    let ran = Ran::from(run.wait_with_output().expect("it ends"));
    sshd.nothing_is_left();
    Told::from(ran)
}

#[test]
fn an_interrupt_lets_what_runs_end_and_begins_nothing_more() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let run = sshd.begin(LONG);
    until("the act to begin", || sshd.path("began").exists());
    assert!(sshd.is_connected(), "the look for ssh sees nothing");
    // Two at once are one.
    signal(&run, Signal::INT);
    signal(&run, Signal::TERM);
    // It must wait now: the act hasn't ended, and can't before it may.
    sshd.write("go", "");
    let told = ended(&sshd, run).exits(130);
    assert!(sshd.path("done").exists(), "the act was cut off");
    assert_eq!(told.with("changed"), ["here/act:long"]);
    assert_eq!(told.with("cancelled"), ["here/act:next"]);
    assert_eq!(told.of("interrupted").count(), 1);
}

#[test]
fn a_second_interrupt_kills_what_runs_with_all_that_it_started() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let (mut run, lives) = begun(&sshd, LONG);
    signal(&run, Signal::INT);
    // The first one has come when it is told.
    let (mut told, mut text) = told_until(&mut run, "interrupted");
    interrupt_again(&run);
    told.read_to_string(&mut text).expect("it talks");
    let exit = run.wait().expect("it ends").code();
    assert_eq!(exit, Some(130), "{text}");
    sshd.nothing_is_left();
    let told = Told::from(Ran { exit: 130, stdout: text, stderr: String::new() });
    assert_eq!(told.with("in_doubt"), ["here/act:long"], "{:?}", told.ran);
    assert_eq!(told.with("skipped"), ["here/act:next"]);
    until("the script's end", || !lives());
    assert!(!sshd.path("done").exists(), "the act went on");
}

#[test]
fn an_act_outlives_its_connection_and_is_picked_up() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let mut run = sshd.begin(LONG);
    until("the act to begin", || sshd.path("began").exists());
    for process in connections(sshd.program.id()) {
        let _ = kill_process(Pid::from_raw(process).expect("a process"), Signal::KILL);
    }
    let (mut stdout, mut text) = told_until(&mut run, "picking_up");
    assert!(text.contains("\"host_lost\""), "{text}");
    sshd.write("go", "");
    stdout.read_to_string(&mut text).expect("it talks");
    assert_eq!(run.wait().expect("it ends").code(), Some(0), "{text}");
    let told = Told::from(Ran { exit: 0, stdout: text, stderr: String::new() });
    assert_eq!(told.with("changed"), ["here/act:long", "here/act:next"]);
    assert!(sshd.path("done").exists());
    sshd.nothing_is_left();
}
