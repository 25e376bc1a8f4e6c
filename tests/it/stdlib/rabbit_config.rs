//! What a broker is told in its files, and its limits and definitions, on real brokers in the lab: seen by
//! the broker's own tools, kept by a second run, and mended.

use crate::common::prepared::Prepared;
use crate::common::world::World;
use crate::common::{all, has_its_turn, skipped};
use serde_json::{Value, json};
use std::fs;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/rabbit_config");
const BROKERS: [&str; 3] = ["rabbit1", "rabbit2", "rabbit3"];
/// Not by Debian's wrapper, which expands its arguments once more.
const CTL: &str =
    "cd /; export HOME=/var/lib/rabbitmq; runuser -u rabbitmq -- /usr/lib/rabbitmq/bin/rabbitmqctl --quiet";
const SAVED: &str = "/var/backups/rabbitmq/latest.json";

/// A CA, and a certificate with its key for every broker, by the names that they will have.
const CERTIFICATES: &str = r#"set -e; mkdir -p /root/made; cd /root/made
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/CN=a CA of the test" 2>/dev/null
for name in rabbit1 rabbit2 rabbit3; do
    openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj "/CN=$name.lab.example" 2>/dev/null
    printf 'subjectAltName=DNS:%s.lab.example\n' $name > extensions
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile extensions -out $name.pem 2>/dev/null
done"#;

/// The lab, its hosts with full names and certificates, before any broker has run.
fn world(part: &str, suite: &str) -> Option<World> {
    let world = World::with(part, &[(&BROKERS, Prepared::rabbitmq())], suite)?;
    fs::copy(format!("{FOLDER}/site.rhai"), world.folder.path().join("site.rhai")).expect("the playbook");
    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("the inventory");
    // Its last table is that of the group.
    world.write("inventory.toml", &format!("{inventory}vars = {{ rabbitmq_long_names = true }}\n"));
    world.sh("rabbit1", CERTIFICATES);
    for host in BROKERS {
        world.sh(host, r"sed -i -E 's/^([0-9.]+)\s+(rabbit[0-9])$/\1 \2.lab.example \2/' /etc/hosts");
        for (from, to) in [("ca.pem", "ca"), (&format!("{host}.pem"), "certificate"), (&format!("{host}.key"), "key")] {
            let text = world.sh("rabbit1", &format!("cat /root/made/{from}"));
            world.sh(host, &format!("umask 077; cat > /root/{to}.pem <<'END'\n{text}\nEND"));
        }
    }
    Some(world)
}

fn eval(world: &World, host: &str, what: &str) -> String {
    world.sh(host, &format!("{CTL} eval '{what}'"))
}

fn asked(world: &World, what: &str) -> Value {
    let text = world.sh("rabbit1", &format!("{CTL} {what} --formatter json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
}

/// Everything that the playbook asks for, seen without haflow.
#[track_caller]
fn holds(world: &World, mirrored: bool, between: bool) {
    for host in BROKERS {
        // How it talks to the other brokers, not to the tool that asks.
        let seen = eval(
            world,
            host,
            "io:format(\"~0p~n\", [{node(), length(nodes()), application:get_env(rabbit, heartbeat), \
             application:get_env(rabbit, cluster_partition_handling), [element(4, proplists:get_value(address, Info)) || \
             {Node, Info} <- element(2, net_kernel:nodes_info()), lists:member(Node, nodes())]}]).",
        );
        // 4.3 knows no such setting.
        let handling = if mirrored { "{ok,pause_minority}" } else { "undefined" };
        let link = if between { "tls" } else { "tcp" };
        let wanted = format!("{{'rabbit@{host}.lab.example',2,{{ok,30}},{handling},[{link},{link}]}}");
        assert_eq!(seen.lines().next(), Some(&*wanted), "on {host}");
        let limit = world.sh(host, "sed -n 's/^Max open files *\\([0-9]*\\).*/\\1/p' /proc/$(systemctl show -p MainPID --value rabbitmq-server)/limits");
        assert_eq!(limit, "10000", "on {host}");
        assert_eq!(world.sh(host, "stat -c '%U:%G %a' /etc/rabbitmq/rabbitmq.conf"), "root:rabbitmq 640");
    }
    let verified = "openssl s_client -connect rabbit1.lab.example:5671 -verify_hostname rabbit1.lab.example -CAfile /root/ca.pem \
                    -verify_return_error </dev/null 2>&1 | grep -c 'Verify return code: 0 (ok)'";
    assert_ne!(world.sh("rabbit2", verified), "0");
    let limits: Value =
        serde_json::from_str(asked(world, "list_vhost_limits -p shop")["value"].as_str().expect("a text"))
            .expect("JSON");
    assert_eq!(limits, json!({ "max-connections": 200, "max-queues": 50 }));
    assert_eq!(asked(world, "list_user_limits --user guest")["message"], json!(r#"{"max-channels":10}"#));
    let policies = asked(world, "list_operator_policies -p /");
    assert_eq!((&policies[0]["name"], &policies[0]["pattern"]), (&json!("short"), &json!("^tmp")));
    let parameters = asked(world, "list_global_parameters").to_string();
    assert!(parameters.contains("$(id) 'blue'"), "{parameters}");
}

/// What differs between brokers of different versions is in the playbook.
fn is_configured(part: &str, suite: &str, mirrored: bool) {
    let Some(world) = world(part, suite) else { return };
    let between = all();
    let param = format!("between={between}");
    let run = || world.told("run", "site.rhai", &["-e", &param]);
    let shown = |world: &World| world.printed.borrow().concat();

    run().exits(0);
    world.step("a cluster with settings of its own");
    holds(&world, mirrored, between);
    let saved: Value = serde_json::from_str(&world.sh("rabbit1", &format!("cat {SAVED}"))).expect("JSON");
    assert!(saved["vhosts"].as_array().expect("a list").iter().any(|vhost| vhost["name"] == "shop"), "{saved}");
    assert_eq!(
        world.sh("rabbit1", &format!("stat -Lc '%U %a' {SAVED} {}", "/var/backups/rabbitmq")),
        "root 600\nroot 700"
    );
    let hash = saved["users"][0]["password_hash"].as_str().expect("a hash");
    assert!(!shown(&world).contains(hash) && !shown(&world).contains("PRIVATE KEY"), "a secret was shown");
    let again = run().exits(0);
    assert_eq!((again.count("changed"), again.count("failed")), (0, 0));
    world.step("a second run changes nothing");

    // What is lost comes back from the export; but for operator policies, whose export RabbitMQ 3.10 itself
    // doesn't read.
    let mut saved = saved;
    let parameters = saved["parameters"].as_array_mut().expect("a list");
    parameters.retain(|parameter| parameter["component"] != "operator_policy");
    let copy = format!("cat > /run/copy.json <<'END'\n{saved}\nEND");
    world.sh("rabbit1", &format!("{copy}\n{CTL} delete_vhost shop; {CTL} import_definitions /run/copy.json"));
    assert!(asked(&world, "list_vhosts name").to_string().contains("shop"));

    // One broker with another setting, and without its limits.
    world.sh(
        "rabbit2",
        "sed -i 's/^heartbeat = 30/heartbeat = 77/' /etc/rabbitmq/rabbitmq.conf; systemctl restart rabbitmq-server",
    );
    world.sh("rabbit1", &format!("{CTL} clear_vhost_limits -p shop; {CTL} clear_operator_policy short"));
    let planned = world.told("plan", "site.rhai", &["-e", &param]).exits(0);
    // A later setting may write the same file: the restart isn't certain, and must not be said to be.
    let restart = planned.task("rabbit2/restart:rabbitmq-server");
    assert!(restart["decision"] == "change" || !restart["assumed"].is_null(), "{restart}");
    let mended = run().exits(0);
    let restarted: Vec<_> = mended.with("changed").into_iter().filter(|task| task.contains("/restart:")).collect();
    assert_eq!(restarted, ["rabbit2/restart:rabbitmq-server"]);
    holds(&world, mirrored, between);
    world.step("what was changed on the hosts is put right, with one restart");

    // What the broker wouldn't start with isn't written.
    world.write(
        "wrong.rhai",
        r#"rabbitmq::config(host("rabbit1"), #{ "heartbeet": 1, "ssl_options.cacertfile": "/nowhere" });"#,
    );
    let before = world.sh("rabbit1", "cksum /etc/rabbitmq/rabbitmq.conf");
    let told = world.told("run", "wrong.rhai", &[]).exits(1);
    assert!(serde_json::to_string(&told.events).expect("JSON").contains("unknown variable: heartbeet"));
    assert_eq!(world.sh("rabbit1", "cksum /etc/rabbitmq/rabbitmq.conf"), before);
    world.sh(
        "rabbit1",
        "cd /etc/rabbitmq/tls; openssl genrsa -out other.pem 2048 2>/dev/null; chown root:rabbitmq other.pem; chmod 640 other.pem",
    );
    world.write(
        "wrong.rhai",
        r#"let tls = "/etc/rabbitmq/tls/";
           rabbitmq::tls(host("rabbit1"), #{ ca: tls + "ca.pem", certificate: tls + "certificate.pem", key: tls + "other.pem" });"#,
    );
    let told = world.told("run", "wrong.rhai", &[]).exits(1);
    let text = serde_json::to_string(&told.events).expect("JSON");
    assert!(
        text.contains("the key in /etc/rabbitmq/tls/other.pem isn't that of /etc/rabbitmq/tls/certificate.pem"),
        "{text}"
    );
    assert_eq!(world.sh("rabbit1", "cksum /etc/rabbitmq/rabbitmq.conf"), before);
    world.sh("rabbit3", "sed -i 's/^[0-9.]* rabbit2/10.255.255.1 rabbit2/' /etc/hosts");
    let told = run().exits(1);
    let text = serde_json::to_string(&told.events).expect("JSON");
    assert!(text.contains("10.255.255.1 here"), "{text}");
    assert_eq!(told.count("changed"), 0, "something was changed");
    world.step("what would harm is refused");
}

#[test]
fn a_broker_is_as_its_files_say() {
    if !has_its_turn("rabbit_config") {
        return;
    }
    is_configured("config", "bookworm", true);
}

#[test]
fn a_broker_of_today_is_as_its_files_say() {
    if !all() {
        skipped("it takes minutes; HAFLOW_TEST_ALL=1 runs it");
        return;
    }
    is_configured("config-forky", "forky", false);
}
