//! The whole in the lab: bare hosts become a cluster, what has drifted is mended and nothing else is touched,
//! and what can go wrong on a host is told.
//!
//! Where a lab can't be had (it needs root on Linux) each test says so and is skipped. A suite whose base
//! isn't built yet would take minutes: such a test is skipped as well, unless `HAFLOW_TEST_ALL=1` asks for
//! it.

use crate::common::draw;
use crate::common::world::World;
use haflow_lab::Snapshot;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Prints what a host is like: its files with everything that a change leaves behind, also a write of the
/// same bytes, but for what a broker and systemd themselves write; its services, packages and users.
const STATE: &str = r"
find /etc /usr /var/lib /root /home /opt -xdev \( -path /var/lib/rabbitmq/mnesia -o -path /var/lib/systemd \) -prune -o \
    -printf '%p %y %i %m %u:%g %s %T@ %C@ %l\n' | sort
systemctl list-units --type service --all --plain --no-legend | awk '{ print $1, $2, $3, $4 }' |
    grep -v '^\(systemd-\|user\|apt\|dpkg\|e2scrub\|fstrim\)'
dpkg-query -W
getent passwd
getent group
";

impl World {
    fn json(&self, host: &str, script: &str) -> Value {
        let text = self.sh(host, script);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{host}: {script}: {error}: {text}"))
    }

    /// What each host is like.
    fn state(&self) -> BTreeMap<String, String> {
        let hosts = self.lab.hosts().iter();
        hosts.map(|host| (host.name.clone(), self.sh(&host.name, STATE))).collect()
    }

    #[track_caller]
    fn same_as(&self, before: &BTreeMap<String, String>) {
        for (host, after) in self.state() {
            let (was, is): (BTreeSet<_>, BTreeSet<_>) = (before[&host].lines().collect(), after.lines().collect());
            let gone: Vec<_> = was.difference(&is).take(20).collect();
            let new: Vec<_> = is.difference(&was).take(20).collect();
            assert!(gone.is_empty() && new.is_empty(), "{host} has changed:\n- {gone:#?}\n+ {new:#?}");
        }
    }
}

const BROKERS: [&str; 3] = ["rabbit1", "rabbit2", "rabbit3"];
const COOKIE: &str = "/var/lib/rabbitmq/.erlang.cookie";

/// What the issue asks of a cluster, seen on the hosts themselves and not through haflow.
#[track_caller]
fn is_a_cluster(world: &World, ram: &[&str]) {
    let name = |host: &&str| format!("rabbit@{host}");
    let sorted = |value: &Value| {
        let mut names: Vec<String> = serde_json::from_value(value.clone()).expect("a list of names");
        names.sort();
        names
    };
    for host in BROKERS {
        let status = world.json(host, "rabbitmqctl --quiet cluster_status --formatter json");
        assert_eq!(sorted(&status["running_nodes"]), BROKERS.iter().map(name).collect::<Vec<_>>(), "on {host}");
        assert_eq!(sorted(&status["ram_nodes"]), ram.iter().map(name).collect::<Vec<_>>(), "on {host}");
        let disc = BROKERS.iter().filter(|host| !ram.contains(host));
        assert_eq!(sorted(&status["disk_nodes"]), disc.map(name).collect::<Vec<_>>(), "on {host}");
        assert_eq!((&status["partitions"], &status["alarms"]), (&json!({}), &json!([])), "on {host}");
        assert_eq!(world.sh(host, &format!("stat -c '%U:%G %a' {COOKIE}")), "rabbitmq:rabbitmq 400", "on {host}");
        assert_eq!(
            world.sh(host, "systemctl is-enabled rabbitmq-server; systemctl is-active rabbitmq-server"),
            "enabled\nactive"
        );
    }
    let digests = BROKERS.map(|host| world.sh(host, &format!("tr -d '\\n' < {COOKIE} | sha256sum")));
    assert!(digests.iter().all(|digest| *digest == digests[0]), "the cookies differ: {digests:?}");
    let policies = world.json("rabbit1", "rabbitmqctl --quiet list_policies --formatter json");
    let policies = policies.as_array().expect("a list");
    let [policy] = &policies[..] else { panic!("there are {} policies", policies.len()) };
    // Some versions print the definition as a text.
    let definition = match &policy["definition"] {
        Value::String(text) => serde_json::from_str(text).expect("JSON"),
        other => other.clone(),
    };
    let shown = (&policy["name"], &policy["vhost"], &policy["pattern"], &definition);
    assert_eq!(shown, (&json!("ha-all"), &json!("/"), &json!("^(?!amq\\.).*"), &json!({ "ha-mode": "all" })));
}

/// Something that went wrong on a host, and the tasks that mend it.
struct Drift {
    what: &'static str,
    host: &'static str,
    script: &'static str,
    mended_by: &'static [&'static str],
}

const DRIFTS: [Drift; 5] = [
    Drift {
        what: "a service stopped",
        host: "rabbit2",
        script: "systemctl stop rabbitmq-server",
        mended_by: &["rabbit2/service:rabbitmq-server"],
    },
    Drift {
        what: "a cookie's mode",
        host: "rabbit3",
        script: "chmod 0640 /var/lib/rabbitmq/.erlang.cookie",
        mended_by: &["rabbit3/rabbitmq_cookie:owner and mode"],
    },
    Drift {
        what: "the policy changed",
        host: "rabbit1",
        script: r#"rabbitmqctl set_policy ha-all '^x' '{"ha-mode":"exactly","ha-params":2}'"#,
        mended_by: &["rabbit1/rabbitmq_policy:ha-all"],
    },
    Drift {
        what: "the policy deleted",
        host: "rabbit1",
        script: "rabbitmqctl clear_policy ha-all",
        mended_by: &["rabbit1/rabbitmq_policy:ha-all"],
    },
    Drift {
        what: "an application stopped",
        host: "rabbit2",
        script: "rabbitmqctl stop_app",
        mended_by: &["rabbit2/rabbitmq:application"],
    },
];

const ANOTHER_COOKIE: Drift = Drift {
    what: "another cookie on a stopped node",
    host: "rabbit2",
    script: "systemctl stop rabbitmq-server; file=/var/lib/rabbitmq/.erlang.cookie; rm $file; echo another > $file; \
             chown rabbitmq:rabbitmq $file; chmod 0400 $file",
    mended_by: &["rabbit2/rabbitmq_cookie:same as on the first node", "rabbit2/service:rabbitmq-server"],
};

#[test]
fn bare_hosts_become_a_cluster_and_what_drifts_is_mended() {
    let Some(world) = World::up("rabbit", &BROKERS, "bookworm") else { return };

    let reached = world.haflow(&["hosts", "-i", "inventory.toml"]);
    assert_eq!(reached.exit, 0, "{}{}", reached.stdout, reached.stderr);
    let bare = world.state();
    let dry = world.rabbit_ha("run", &["--dry-run", "--detailed-exitcode"]).exits(2);
    assert!(dry.count("change") >= 3, "{:?}", dry.ran);
    world.same_as(&bare);
    world.step("a dry run on bare hosts changes nothing");

    let first = world.rabbit_ha("run", &[]).exits(0);
    assert!(first.count("changed") >= 9, "{:?}", first.totals());
    is_a_cluster(&world, &BROKERS[1..]);
    let cookie = world.sh("rabbit1", &format!("cat {COOKIE}"));
    assert!(cookie.len() > 8, "that is no cookie");
    world.step("a run makes a cluster of them");

    let again = world.rabbit_ha("run", &["--detailed-exitcode"]).exits(0);
    assert_eq!(again.count("changed"), 0, "{:?}", again.with("changed"));
    world.step("the next run changes nothing");

    let converged = world.state();
    let dry = world.rabbit_ha("run", &["--dry-run", "--detailed-exitcode"]).exits(0);
    assert_eq!((dry.count("change"), dry.count("unknown"), dry.count("act")), (0, 0, 0), "{:?}", dry.outcomes());
    world.same_as(&converged);
    world.step("a dry run sees nothing to do, and changes nothing");

    // Each run changes what the drift before it did, so each shows as well that nothing was left to do after
    // the last.
    for drift in draw("drifts", 2, &DRIFTS.each_ref()) {
        mends(&world, drift);
    }
    watch_for_the_cookie(&world, "rabbit2");
    mends(&world, &ANOTHER_COOKIE);
    let seen = world.sh("rabbit2", "systemctl stop watch; cat /run/watched; [ -s /run/rounds ] && echo watched");
    assert_eq!(seen, "watched", "the cookie is in a process's arguments or environment");
    is_a_cluster(&world, &BROKERS[1..]);

    for host in BROKERS {
        world.sh(host, "systemctl stop --no-block rabbitmq-server");
    }
    for host in BROKERS {
        world.sh(
            host,
            "timeout 60 sh -c 'until [ \"$(systemctl is-active rabbitmq-server)\" = inactive ]; do sleep 0.2; done'",
        );
    }
    let revived = world.rabbit_ha("run", &[]).exits(0);
    assert_eq!(revived.with("changed"), BROKERS.map(|host| format!("{host}/service:rabbitmq-server")));
    is_a_cluster(&world, &BROKERS[1..]);
    world.step("a full stop is overcome");

    let disc = world.rabbit_ha("run", &["-e", "node_type=disc"]).exits(0);
    assert_eq!(
        disc.with("changed"),
        BROKERS[1..].iter().map(|host| format!("{host}/rabbitmq_member:rabbit@{host}")).collect::<Vec<_>>()
    );
    is_a_cluster(&world, &[]);
    world.step("RAM nodes become disc nodes");

    // In what people read too, and where everything is told.
    let verbose = world.haflow(&[
        "run",
        "playbooks/rabbit-ha.rhai",
        "-i",
        "inventory.toml",
        "-e",
        "node_type=disc",
        "-v",
        "--format",
        "plain",
    ]);
    assert_eq!(verbose.exit, 0, "{}", verbose.stdout);
    let printed = world.printed.borrow().concat();
    assert!(printed.contains("rabbitmq_cookie") && !printed.contains(&cookie), "the cookie is in what haflow printed");
    let files = files(world.folder.path());
    assert!(files.iter().any(|path| path.ends_with("events.jsonl")), "no run was kept");
    for path in files {
        let text = fs::read(&path).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(&cookie), "the cookie is in {}", path.display());
    }
    world.step("the cookie is nowhere to be seen");
}

/// All files below a folder: also what haflow keeps of its runs.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .flat_map(|entry| {
            let is_folder = entry.file_type().expect("a type").is_dir();
            if is_folder { files(&entry.path()) } else { vec![entry.path()] }
        })
        .collect()
}

/// Lets a drift happen: a plan must see it, and a run must mend just that.
fn mends(world: &World, drift: &Drift) {
    world.sh(drift.host, drift.script);
    let what = drift.what;
    let plan = world.rabbit_ha("plan", &["--detailed-exitcode"]).exits(2);
    assert!(plan.with("change").contains(&drift.mended_by[0].to_owned()), "{what}: {:?}", plan.outcomes());
    let run = world.rabbit_ha("run", &[]).exits(0);
    assert_eq!(run.with("changed"), drift.mended_by, "{what}");
    world.step(&format!("{what}: mended, and nothing else touched"));
}

/// Looks on a host, again and again, for the cookie in arguments and environments.
fn watch_for_the_cookie(world: &World, host: &str) {
    let script = "tr -d '\\n' < /var/lib/rabbitmq/.erlang.cookie > /run/pattern; : > /run/watched; \
                  systemd-run --quiet --unit watch sh -c 'while :; do \
                  cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -qaf /run/pattern && echo found > /run/watched; \
                  echo once >> /run/rounds; sleep 0.02; done'";
    world.sh(host, script);
}

#[test]
fn what_goes_wrong_on_a_host_is_told_and_the_others_go_on() {
    let Some(world) = World::up("hosts", &["web1", "web2"], "bookworm") else { return };

    world.write(
        "touch.rhai",
        r#"
        let nodes = group("web");
        for node in nodes { act(node, #{ name: "one", reason: "a test", apply: "true" }); }
        for node in nodes { act(node, #{ name: "two", reason: "a test", apply: "true" }); }
        "#,
    );
    world.lab.cut("web2").expect("the lab cuts it off");
    let began = Instant::now();
    let told = world.told("run", "touch.rhai", &[]).exits(1);
    let took = began.elapsed().as_secs();
    assert!(took < 90, "it took {took} s to give up");
    assert_eq!(told.with("unreachable"), ["web2/act:one", "web2/act:two"]);
    assert_eq!(told.with("changed"), ["web1/act:one", "web1/act:two"]);
    let seen: Vec<&Value> = told.of("host_unreachable").collect();
    assert!(seen.len() == 1 && seen[0]["host"] == "web2" && seen[0]["hint"].is_string(), "{seen:?}");
    world.lab.heal("web2").expect("the lab plugs it in");
    assert_eq!(world.told("run", "touch.rhai", &[]).exits(0).count("changed"), 4);
    world.step("a host that is cut off: told for its tasks, the others go on");

    world.sh("web1", "mkdir /mnt/small && mount -t tmpfs -o size=64k tmpfs /mnt/small && echo old > /mnt/small/file");
    world.write(
        "full.rhai",
        r#"
        let node = host("web1");
        let text = "0123456789";
        while text.len() < 200000 { text += text; }
        file(node, "/mnt/small/file", #{ content: text });
        file(node, "/mnt/small/later", #{ content: "x" });
        file(host("web2"), "/root/elsewhere", #{ content: "x" });
        "#,
    );
    let told = world.told("run", "full.rhai", &[]).exits(1);
    assert_eq!(told.with("failed"), ["web1/file:/mnt/small/file"]);
    assert_eq!(told.with("skipped"), ["web1/file:/mnt/small/later"]);
    assert_eq!(told.with("changed"), ["web2/file:/root/elsewhere"]);
    assert_eq!(world.sh("web1", "cat /mnt/small/file; ls -A /mnt/small; umount /mnt/small"), "old\nfile");
    let failure = &told.task("web1/file:/mnt/small/file")["failure"];
    assert!(failure.to_string().contains("No space left on device"), "{failure}");
    world.step("a full disk: the reason is told, and the old file is whole");
}

#[test]
fn mirrored_queues_are_refused_where_the_broker_has_none() {
    let Some(world) = World::up("four", &["rabbit1", "rabbit2"], "trixie") else { return };
    let before = world.state();
    let ran = world.haflow(&["run", "playbooks/rabbit-ha.rhai", "-i", "inventory.toml", "-e", "node_type=ram"]);
    assert_eq!(ran.exit, 65, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    for part in ["rabbitmq 4.", "rabbit1", "mirrored queues", "playbooks/rabbit-ha.rhai:", "requires_mirroring"] {
        assert!(ran.stderr.contains(part), "{part} isn't told: {}", ran.stderr);
    }
    world.same_as(&before);
    world.step("RAM nodes are refused on RabbitMQ 4, and nothing is changed");
}

/// Removes a snapshot at the end, also of a test that fails.
struct Forget(String);

impl Drop for Forget {
    fn drop(&mut self) {
        let _ = Snapshot::remove(&self.0, &|_| {});
    }
}

#[test]
fn a_disk_is_kept_listed_started_from_and_removed() {
    let Some(world) = World::up("disk", &["web1"], "bookworm") else { return };
    let name = world.lab.name();
    let kept = Forget(format!("{name}-kept"));
    let lab = |arguments: &[&str]| world.haflow(&[&["lab", "--name", name], arguments].concat());
    world.sh("web1", "echo kept > /root/file");
    let taken = lab(&["snapshot", "web1", &kept.0]);
    assert_eq!((taken.exit, &*taken.stdout), (0, ""), "{}", taken.stderr);
    let said: Vec<&str> = taken.stderr.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(said, ["shutting", "copying", "snapshot", "booting", "web1"], "{}", taken.stderr);
    let again = lab(&["snapshot", "web1", &kept.0]);
    assert!(
        again.exit == 1 && again.stderr.contains("exists already") && again.stderr.contains("--replace"),
        "{again:?}"
    );
    assert_eq!(lab(&["snapshot", "web1", &kept.0, "--replace"]).exit, 0);
    let listed = lab(&["snapshots"]).stdout;
    let line = listed.lines().find(|line| line.starts_with(&kept.0)).expect("it is listed");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words.len() == 7 && words[1] == "bookworm" && words[3] == "kB" && words[6] == "old", "{line}");
    world.step("a disk is kept and listed");

    let slip = kept.0.replace("kept", "kpt");
    for command in [["up", "web2", "--from", &slip].as_slice(), &["snapshots", "--remove", &slip]] {
        let unknown = lab(command);
        assert_eq!(unknown.exit, 64, "{unknown:?}");
        assert!(unknown.stderr.contains(&format!("did you mean `{}`?", kept.0)), "{}", unknown.stderr);
    }
    let other = lab(&["up", "web2", "--from", &kept.0, "--suite", "trixie"]);
    assert!(other.exit == 1 && other.stderr.contains("is bookworm, not trixie"), "{other:?}");
    let there = lab(&["up", "web1", "--from", &kept.0]);
    assert!(there.exit == 1 && there.stderr.contains("host web1 of this lab exists"), "{there:?}");
    let up = lab(&["up", "web2", "--from", &kept.0]);
    assert!(up.exit == 0 && up.stdout.contains(&format!("running, from snapshot {}", kept.0)), "{up:?}");
    let seen = lab(&["ssh", "web2", "cat", "/root/file", "/etc/hostname"]);
    assert_eq!(seen.stdout, "kept\nweb2\n", "{}", seen.stderr);
    assert_eq!(lab(&["snapshots", "--remove", &kept.0]).exit, 0);
    assert!(!lab(&["snapshots"]).stdout.contains(&kept.0));
    assert_eq!(lab(&["ssh", "web2", "cat", "/root/file"]).stdout, "kept\n");
    world.step("a host starts from it, and runs on when it is removed");
}
