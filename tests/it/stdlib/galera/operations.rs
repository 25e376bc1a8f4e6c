//! Servers of a cluster are restarted and upgraded one at a time, while clients write.

use super::NODES;
use crate::common::has_its_turn;
use crate::common::prepared::{MARIADB, Prepared};
use crate::common::world::World;
use std::fs;

/// The packages of the release as it came out, which are older than those of its security updates.
const OLDER: &str = r"
printf 'Package: src:mariadb\nPin: release l=Debian-Security\nPin-Priority: -1\n' > /etc/apt/preferences.d/older
";

impl World {
    /// A client writes on each node.
    pub(super) fn begin_clients(&self) {
        for node in NODES {
            self.begin_client(node, "echo 'insert into shop.orders values ()' | mariadb");
        }
    }

    /// How many rows the clients were told are written, once they have ended.
    pub(super) fn written(&self) -> usize {
        NODES.map(|node| self.end_client(node)).iter().sum()
    }

    /// The version that runs on each node.
    fn versions(&self) -> Vec<String> {
        NODES.map(|node| self.sql(node, "select version()")).to_vec()
    }
}

#[test]
fn servers_are_restarted_and_upgraded_while_clients_write() {
    if !has_its_turn("galera_operations") {
        return;
    }
    let prepared = Prepared::by("haflow-test-galera-older", &format!("{OLDER}{MARIADB}"));
    let Some(world) = World::with("galera-ops", &[(&NODES, prepared)], "bookworm") else { return };
    world.galera("run").exits(0);
    world.sql("database1", "create database shop; create table shop.orders (id int primary key auto_increment)");
    world.step("three nodes are a cluster");
    let starts = || NODES.map(|node| world.sh(node, "systemctl show -p ActiveEnterTimestampMonotonic --value mariadb"));
    let restart = "playbooks/galera-rolling-restart.rhai";

    world.sh("database3", "systemctl stop mariadb");
    world.refuses(restart, &[], "in a cluster of 2 members, and 3 are named");
    world.galera("run").exits(0);
    world.begin_clients();
    let before = starts();
    let restarts = NODES.map(|node| format!("{node}/galera_restart:{node}"));
    assert_eq!(world.told("run", restart, &[]).exits(0).with("changed"), restarts);
    let after = starts();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?}, {after:?}");
    let rows = world.written();
    assert!(rows > 100, "{rows}");
    world.is_a_cluster(rows);
    world.step("restarted one after the other, and no row is lost");

    world.sh("database3", "systemctl stop mariadb");
    world.sh("database2", "systemctl stop mariadb");
    world.write("restart.rhai", r#"galera::restart(host("database1"));"#);
    let told = world.told("run", "restart.rhai", &[]).exits(1);
    assert!(told.task(&restarts[0])["failure"].to_string().contains("it is the only member that runs"));
    world.galera("run").exits(0);
    world.is_a_cluster(rows);
    world.step("the last one that runs isn't restarted");

    let older = world.versions();
    world.on_all("rm /etc/apt/preferences.d/older; apt-get -q update");
    let upgrade = "playbooks/galera-upgrade.rhai";
    let not_there = world.haflow(&["plan", upgrade, "-i", "inventory.toml", "-e", "version=1:11.8.*"]);
    assert!(not_there.stderr.contains("have no mariadb-server 1:11.8.*"), "{}", not_there.stderr);
    world.begin_clients();
    let told = world.told("run", upgrade, &["-e", "version=1:10.11.*"]).exits(0);
    let changed = told.with("changed");
    for node in NODES {
        for task in ["galera_stop", "galera_member"] {
            let id = format!("{node}/{task}:{node}");
            assert!(changed.contains(&id), "{id} isn't in {changed:?}");
        }
    }
    let rows = rows + world.written();
    world.is_a_cluster(rows);
    let newer = world.versions();
    assert!(newer.iter().all(|version| *version != older[0] && *version == newer[0]), "{older:?}, {newer:?}");
    assert_eq!(world.told("run", upgrade, &["-e", "version=1:10.11.*"]).exits(0).with("changed"), [""; 0]);
    world.is_a_cluster(rows);
    world.step("upgraded one after the other, and no row is lost");

    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("the inventory");
    world.write("inventory.toml", &inventory.replace(r#", "database3"]"#, "]"));
    let told = world.galera("run").exits(1);
    assert!(
        serde_json::to_string(&told.events).expect("JSON").contains("the cluster has 3 members, and 2 are named here")
    );
    assert_eq!(told.with("changed").iter().filter(|id| id.contains("restart")).count(), 0);
    world.sh("database3", "systemctl stop mariadb");
    world.galera("run").exits(0);
    assert_eq!(world.sql("database1", "show status like 'wsrep_cluster_size'"), "wsrep_cluster_size\t2");
    world.write("inventory.toml", &inventory);
    world.sh("database3", super::ANEW);
    world.galera("run").exits(0);
    world.is_a_cluster(rows);
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    world.step("a host goes, and another one comes");
}
