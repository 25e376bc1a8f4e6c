//! rabbit-ha on hosts of the rpm families, in the lab: Debian hosts with real rpm, dnf and zypper, and a
//! signed repository with a package of `RabbitMQ` that is made like the `RabbitMQ` team's own. Bare hosts
//! become a cluster, and the next run changes nothing.
//!
//! With zypper only by `HAFLOW_TEST_ALL=1`: it differs in how the package comes.

use crate::common::prepared::Prepared;
use crate::common::world::World;
use crate::common::{all, has_its_turn, skipped};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/rpm");
const BROKERS: [&str; 2] = ["rabbit1", "rabbit2"];

/// As the documentation has it: the repository comes by a playbook of its own.
const REPOSITORY: &str = r#"
let pin = param("fingerprint");
for node in group("rabbit") {
    repository(node, "rabbitmq", #{ uri: "http://rabbit1:8000/pinned", key: "pinned.asc", fingerprint: pin });
}
"#;

/// What a plan could change on a host, but for what `SQLite` keeps beside rpm's database.
const FILES: &str = r"
find /etc /usr /var /root -xdev \( -path /var/log -o -path /var/lib/systemd -o -path /var/lib/rabbitmq/mnesia -o -name 'rpmdb.sqlite-*' \) -prune -o \
    ! -type d -printf '%p %y %i %m %u:%g %s %T@ %C@ %l\n' | sort
";

fn scripts(files: &[&str]) -> String {
    files.iter().map(|file| fs::read_to_string(format!("{FOLDER}/{file}")).expect("it is beside this file")).collect()
}

/// Runs a script on all hosts at once.
fn everywhere(world: &World, script: &str) {
    let start = |host: &&str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-o", "BatchMode=yes"]).args(world.lab.ssh_args(host).expect("it is in the lab"));
        ssh.arg(script).spawn().expect("ssh starts")
    };
    let running: Vec<Child> = BROKERS.iter().map(start).collect();
    for mut ssh in running {
        assert!(ssh.wait().expect("it ends").success(), "{script}");
    }
}

#[test]
fn brokers_of_the_rpm_families_become_a_cluster() {
    if !has_its_turn("rpm_rabbit") {
        return;
    }
    let erlang = Prepared::by("haflow-test-rpm-erlang", &scripts(&["host.sh", "erlang.sh"]));
    let Some(world) = World::with("rpm-rabbit", &[(&BROKERS, erlang)], "bookworm") else { return };
    world.sh("rabbit1", &scripts(&["packages.sh", "broker.sh"]));
    world.write("repository.rhai", REPOSITORY);
    world.write("pinned.asc", &world.sh("rabbit1", "cat /srv/pinned.asc"));
    world.step("the hosts look like Fedora's");
    from_bare_to_cluster(&world, "dnf");
    if !all() {
        skipped("with zypper; HAFLOW_TEST_ALL=1 runs it");
        return;
    }
    everywhere(
        &world,
        "systemctl disable --now rabbitmq-server; rpm -e rabbitmq-server; pkill epmd; \
         rm -rf /var/lib/rabbitmq /etc/rabbitmq /etc/pki/rpm-gpg/* /etc/yum.repos.d/* /etc/zypp/repos.d/*; rpm -e --allmatches gpg-pubkey",
    );
    everywhere(&world, &format!("repositories=rabbit1\n{}", scripts(&["suse.sh"])));
    world.step("the hosts look like openSUSE's");
    from_bare_to_cluster(&world, "zypper");
}

#[track_caller]
fn from_bare_to_cluster(world: &World, manager: &str) {
    let fingerprint = world
        .sh("rabbit1", "gpg --with-colons --list-keys pinned@example.org | sed -n 's/^fpr:*\\([0-9A-F]*\\):$/\\1/p'");
    let rabbit_ha = |command: &str| world.told(command, "playbooks/rabbit-ha.rhai", &[]);
    let files = || BROKERS.map(|host| world.sh(host, FILES));

    let early = rabbit_ha("plan").exits(65);
    assert!(early.ran.stderr.contains("which version of rabbitmq rabbit1 would get isn't known"), "{:?}", early.ran);
    let pin = format!("fingerprint={fingerprint}");
    let added = world.told("run", "repository.rhai", &["-e", &pin]).exits(0);
    assert_eq!(added.count("changed"), 8, "{manager}: {:?}", added.outcomes());

    let before = files();
    let planned = rabbit_ha("plan").exits(0);
    for host in BROKERS {
        assert_eq!(planned.task(&format!("{host}/package:rabbitmq-server"))["decision"], "change", "{manager}");
    }
    for (before, after) in before.iter().zip(files()) {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.lines().collect(), after.lines().collect());
        let changed: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(changed.is_empty(), "{manager}: a plan changed {changed:#?}");
    }
    world.step("the repository is there, and a plan changes nothing");

    let ran = rabbit_ha("run").exits(0);
    assert_eq!(ran.task("rabbit1/rabbitmq_cookie:there is one")["outcome"], "changed", "{manager}");
    assert_eq!(ran.outcomes().get("rabbit2/rabbitmq_cookie:there is one"), None, "{manager}: it gets the first one's");
    world.step("a run makes a cluster");
    let mut cookies = Vec::new();
    for host in BROKERS {
        let status = world.sh(host, "HOME=/root rabbitmqctl --quiet cluster_status --formatter json");
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let mut running: Vec<String> = serde_json::from_value(status["running_nodes"].clone()).expect("names");
        running.sort();
        assert_eq!(running, ["rabbit@rabbit1", "rabbit@rabbit2"], "{manager}: on {host}");
        assert_eq!(status["ram_nodes"], json!(["rabbit@rabbit2"]), "{manager}: on {host}");
        let file = "/var/lib/rabbitmq/.erlang.cookie";
        assert_eq!(world.sh(host, &format!("stat -c '%U:%G %a' {file}")), "rabbitmq:rabbitmq 400", "{manager}");
        let state = world.sh(host, "systemctl is-enabled rabbitmq-server; systemctl is-active rabbitmq-server");
        assert_eq!(state, "enabled\nactive", "{manager}: on {host}");
        assert_eq!(world.sh(host, "rpm -q --qf '%{NAME}' rabbitmq-server"), "rabbitmq-server", "{manager}");
        world.sh(host, "! test -e /var/lib/dpkg/info/rabbitmq-server.list");
        cookies.push(world.sh(host, &format!("cat {file}")));
    }
    assert!(cookies[0] == cookies[1] && cookies[0].len() == 40, "{manager}: that is no cookie, or there are two");
    assert!(!world.printed.borrow().concat().contains(&cookies[0]), "{manager}: the cookie is in what haflow printed");

    let again = rabbit_ha("run").exits(0);
    assert_eq!(again.count("changed"), 0, "{manager}: {:?}", again.with("changed"));
    let planned = rabbit_ha("plan").exits(0);
    let left = (planned.count("change"), planned.count("unknown"), planned.count("act"));
    assert_eq!(left, (0, 0, 0), "{manager}: {:?}", planned.outcomes());
    world.step("the next run changes nothing");
}
