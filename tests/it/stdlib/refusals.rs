//! What brokers and hosts can be found like that a run mustn't go on from, on real hosts in the lab: each is
//! refused with its reason, nothing is changed and nothing is lost; and what is said to be done about it
//! does.

use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

const BROKERS: [&str; 3] = ["rabbit1", "rabbit2", "rabbit3"];
const COOKIE: &str = "/var/lib/rabbitmq/.erlang.cookie";
/// Of a joiner.
const HOLDINGS: &str = r#"cat > /run/orders.json <<'END'
{"queues":[{"name":"orders","vhost":"/","durable":true,"auto_delete":false,"arguments":{}}]}
END
rabbitmqctl --quiet import_definitions /run/orders.json && rabbitmqctl --quiet add_user shop secret"#;
/// An index with a newer package that nobody has.
const MISSING_PACKAGE: &str = r"mkdir -p /srv/repo && cd /srv/repo
{
    dpkg -s rabbitmq-server | sed -e '/^Status:/d' -e 's/^Version:.*/Version: 3.10.8-99/'
    printf 'Filename: ./rabbitmq-server.deb\nSize: 1000\nSHA256: %064d\n' 7
} > Packages
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list.d/newer.list
apt-get -qq update";

impl World {
    /// What a run must leave alone: each host's packages and services, its cookie, and what the broker has on
    /// disk.
    fn kept(&self) -> [String; 3] {
        BROKERS.map(|host| {
            let digest =
                format!("sha256sum {COOKIE} | cut -c -64; stat -c '%U:%G %a' {COOKIE}; ls /var/lib/rabbitmq/mnesia");
            self.sh(host, &format!("dpkg-query -W | sha256sum; systemctl is-active rabbitmq-server; {digest}"))
        })
    }
}

/// A run that fails, names the task that is to blame and why, and changes nothing.
#[track_caller]
fn is_refused(world: &World, task: &str, why: &[&str]) {
    let before = world.kept();
    let told = world.rabbit_ha("run", &[]).exits(1);
    assert_eq!(told.count("changed"), 0, "{:?}", told.with("changed"));
    assert_eq!(told.with("failed"), [task]);
    let failure = told.task(task)["failure"].to_string();
    for part in why {
        assert!(failure.contains(part), "{part} isn't told: {failure}");
    }
    assert_eq!(world.kept(), before);
}

#[test]
fn what_a_run_must_not_go_on_from_is_refused() {
    if !has_its_turn("refusals") {
        return;
    }
    let Some(world) = World::with("refusals", &[(&BROKERS, Prepared::rabbitmq())], "bookworm") else { return };

    world.write("missing.rhai", r#"install(host("rabbit1"), ["tree", "no-such-thing"]);"#);
    let told = world.told("run", "missing.rhai", &[]).exits(1);
    let failure = &told.task("rabbit1/package:tree, no-such-thing")["failure"];
    assert!(failure.to_string().contains("Unable to locate package no-such-thing"), "{failure}");
    world.sh("rabbit1", "! dpkg-query -W tree 2>/dev/null");
    world.step("a package that doesn't exist: its name is told, and the others aren't installed");

    world.rabbit_ha("run", &[]).exits(0);
    world.step("a cluster");

    world.sh(
        "rabbit3",
        &format!("rabbitmqctl --quiet stop_app; rabbitmqctl --quiet reset; rabbitmqctl --quiet start_app; {HOLDINGS}"),
    );
    is_refused(
        &world,
        "rabbit3/rabbitmq_member:rabbit@rabbit3",
        &["rabbit@rabbit3 holds user shop, queue orders, which joining would erase"],
    );
    let held = world.sh("rabbit3", "rabbitmqctl --quiet list_users; rabbitmqctl --quiet list_queues name");
    assert!(held.contains("shop") && held.contains("orders"), "{held}");
    world.step("a joiner that holds something: it is told what, and it is still there");

    world.sh("rabbit3", "rabbitmqctl --quiet delete_user shop; rabbitmqctl --quiet delete_queue orders");
    world.sh("rabbit2", "systemctl stop rabbitmq-server");
    world.sh("rabbit1", "rabbitmqctl --quiet forget_cluster_node rabbit@rabbit2");
    is_refused(
        &world,
        "rabbit2/rabbitmq_member:not forgotten",
        &["rabbit@rabbit2 was forgotten by its cluster", "move /var/lib/rabbitmq/mnesia away and run again"],
    );
    world.step("a member that was forgotten: it isn't started");

    // What was said to do about both.
    world.sh("rabbit2", "mv /var/lib/rabbitmq/mnesia /root/mnesia");
    let mended = world.rabbit_ha("run", &[]).exits(0);
    assert_eq!(
        mended.with("changed"),
        [
            "rabbit2/rabbitmq_member:rabbit@rabbit2",
            "rabbit2/service:rabbitmq-server",
            "rabbit3/rabbitmq_member:rabbit@rabbit3"
        ]
    );
    world.step("both join once that is done");

    an_upgrade_that_cannot_be_had(&world);

    world.sh("rabbit1", &format!("systemctl stop rabbitmq-server; cp -p {COOKIE} /root/cookie; rm {COOKIE}; printf ABCDEFGHIJKLMNOPQRST > {COOKIE}; chown rabbitmq: {COOKIE}; chmod 400 {COOKIE}"));
    is_refused(
        &world,
        "rabbit1/rabbitmq_cookie:fit to be shared",
        &["twenty capitals, which Debian's package replaces at its next upgrade: write a longer one, on all nodes"],
    );
    world.sh("rabbit1", &format!("cp -p /root/cookie {COOKIE}"));
    world.step("a cookie of twenty capitals: it is given to nobody");

    let mended = world.rabbit_ha("run", &[]).exits(0);
    assert_eq!(mended.with("changed"), ["rabbit1/service:rabbitmq-server"]);
    world.step("the seed alone was stopped: it is started");

    world.lab.kill("rabbit1").expect("its power is cut");
    let told = world.rabbit_ha("run", &[]).exits(1);
    assert_eq!((told.count("changed"), told.count("failed")), (0, 0), "{:?}", told.outcomes());
    let dead = told.of("host_unreachable").map(|event| event["host"].as_str().expect("a name")).collect::<Vec<_>>();
    assert_eq!(dead, ["rabbit1"]);
    for (task, outcome) in told.outcomes().iter().filter(|(task, _)| task.starts_with("rabbit1/")) {
        assert!(["unreachable", "skipped"].contains(&&**outcome), "{task}: {outcome}");
    }
    let running = world.sh("rabbit2", "rabbitmqctl --quiet cluster_status --formatter json");
    assert!(
        running.contains(r#""running_nodes":["rabbit@rabbit2","rabbit@rabbit3"]"#)
            || running.contains(r#""running_nodes":["rabbit@rabbit3","rabbit@rabbit2"]"#),
        "{running}"
    );
    world.step("the seed's host lost its power: that is told, and the others are left as they are");
}

/// All brokers go on where one couldn't be upgraded.
fn an_upgrade_that_cannot_be_had(world: &World) {
    for host in BROKERS {
        world.sh(host, MISSING_PACKAGE);
    }
    let starts = || BROKERS.map(|host| world.sh(host, "systemctl show -p ActiveEnterTimestamp rabbitmq-server"));
    let (before, kept) = (starts(), world.kept());
    let told = world.told("run", "playbooks/rabbit-upgrade.rhai", &["-e", "version=3.10.*"]).exits(1);
    assert_eq!(told.with("failed"), BROKERS.map(|host| format!("{host}/download:rabbitmq-server")));
    let failure = &told.task("rabbit2/download:rabbitmq-server")["failure"];
    assert!(failure.to_string().contains("Failed to fetch file:/srv/repo/./rabbitmq-server.deb"), "{failure}");
    assert_eq!((starts(), world.kept()), (before, kept));
    world.step("an upgrade that can't be downloaded: no broker is stopped");
}
