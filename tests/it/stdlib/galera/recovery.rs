//! A cluster of which no server works any more goes on at the one with the newest data.

use super::NODES;
use crate::common::events::Told;
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

const RECOVER: &str = "playbooks/galera-recover.rhai";

impl World {
    fn recover(&self, command: &str, more: &[&str]) -> Told {
        self.told(command, RECOVER, more)
    }

    /// The plan and the run tell the same: it goes on at `node`. Returns what the run changed.
    #[track_caller]
    fn goes_on_at(&self, node: &str, more: &[&str]) -> Vec<String> {
        let goes_on = format!("{node}/galera_cluster:resumed");
        let planned = self.recover("plan", more).exits(0).with("change");
        let changed = self.recover("run", &[more, &["--yes"]].concat()).exits(0).with("changed");
        assert!(changed.contains(&goes_on), "{changed:?}");
        assert_eq!(changed.iter().filter(|id| id.contains("galera_cluster")).count(), 1, "{changed:?}");
        assert!(planned.iter().all(|id| changed.contains(id)), "{planned:?} isn't all in {changed:?}");
        changed
    }

    fn stop_all_at_once(&self) {
        for node in NODES {
            self.sh(node, "systemctl stop --no-block mariadb");
        }
        for node in NODES {
            self.sh(node, "for try in $(seq 60); do systemctl is-active mariadb || exit 0; sleep 1; done; exit 1");
        }
    }
}

#[test]
fn a_cluster_goes_on_where_its_data_are_newest() {
    if !has_its_turn("galera_recovery") {
        return;
    }
    let prepared = Prepared::mariadb();
    let Some(world) = World::with("galera-recovery", &[(&NODES, prepared)], "bookworm") else { return };
    world.refuses(RECOVER, &[], "none of these has been in a cluster: galera-ha begins one");
    world.galera("run").exits(0);
    world.sql("database3", "create database shop; create table shop.orders (id int primary key auto_increment)");
    world.sql("database2", "insert into shop.orders values (), (), ()");
    let uuid = world.is_a_cluster(3);
    assert_eq!(world.recover("run", &[]).exits(0).with("changed"), [""; 0]);
    world.step("a cluster that works is left alone");

    world.on_all("systemctl stop mariadb");
    let changed = world.goes_on_at("database3", &[]);
    assert_eq!(changed.len(), 3, "{changed:?}");
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("one stopped after the other, and it goes on at the last");

    world.stop_all_at_once();
    let flags = || NODES.map(|node| world.sh(node, "sed -n 's/^safe_to_bootstrap: *//p' /var/lib/mysql/grastate.dat"));
    let changed = world.recover("run", &[]).exits(0).with("changed");
    assert_eq!(changed.len(), 3, "{changed:?}");
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("all stopped at the same moment");

    // One that has lost its position, as after a start that failed, and an older one that says it was last.
    world.on_all("systemctl stop mariadb");
    world.sh("database3", "sed -i '/^seqno:/d; /^safe/d' /var/lib/mysql/grastate.dat");
    let planned = world.recover("plan", &[]).exits(0);
    let position = "database3/galera_position:database3".to_owned();
    assert!(planned.with("change").contains(&position), "{:?}", planned.with("change"));
    let changed = world.recover("run", &[]).exits(0).with("changed");
    assert!(changed.contains(&"database3/galera_cluster:resumed".to_owned()), "{changed:?}");
    assert_eq!(world.is_a_cluster(3), uuid);
    world.on_all("systemctl stop mariadb");
    world.sh("database1", "sed -i 's/^safe.*/safe_to_bootstrap: 1/' /var/lib/mysql/grastate.dat");
    world.sh("database3", "sed -i 's/^safe.*/safe_to_bootstrap: 0/' /var/lib/mysql/grastate.dat");
    world.refuses(RECOVER, &[], "database1 says that it left last, and others are newer");
    assert_eq!(flags(), ["1", "0", "0"]);
    world.sh("database3", "sed -i 's/^safe.*/safe_to_bootstrap: 1/' /var/lib/mysql/grastate.dat");
    world.refuses(RECOVER, &[], "more than one says that it left last: database1, database3");
    world.sh("database1", "sed -i 's/^safe.*/safe_to_bootstrap: 0/' /var/lib/mysql/grastate.dat");
    world.sh(
        "database1",
        "sed -i 's/^uuid:.*/uuid:    11111111-2222-3333-4444-555555555555/' /var/lib/mysql/grastate.dat",
    );
    world.refuses(RECOVER, &[], "they have been in different clusters: ");
    world.sh("database1", &format!("sed -i 's/^uuid:.*/uuid:    {uuid}/' /var/lib/mysql/grastate.dat"));
    world.goes_on_at("database3", &[]);
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("what a person has to say is refused");

    for node in NODES {
        world.lab.kill(node).expect("the lab cuts its power");
    }
    for node in ["database1", "database2"] {
        world.lab.boot(node).expect("the lab boots it");
    }
    let told = world.recover("run", &[]).exits(1);
    assert_eq!(told.with("changed"), [""; 0]);
    world.step("a host that can't be reached, of which nothing is said");
    let lost = ["-e", "lost=database3"];
    world.recover("run", &lost).exits(64);
    let told = world.recover("run", &["-e", "lost=database3", "--yes"]).exits(0);
    let changed = told.with("changed");
    assert_eq!(changed.iter().filter(|id| id.contains("resumed")).count(), 1, "{changed:?}");
    assert_eq!(world.sql("database2", "select count(*) from shop.orders"), "3");
    world.sql("database1", "insert into shop.orders values ()");
    world.lab.boot("database3").expect("the lab boots it");
    world.galera("run").exits(0);
    assert_eq!(world.is_a_cluster(4), uuid);
    world.step("with a host that is lost, once somebody says so");

    // The rest isn't a majority, and none of it stops by that.
    for node in ["database2", "database3"] {
        world.lab.kill(node).expect("the lab cuts its power");
    }
    world.sh(
        "database1",
        "for try in $(seq 60); do mariadb -N -B -e \"show status like 'wsrep_cluster_status'\" | grep -q non-Primary && exit; \
        sleep 1; done; exit 1",
    );
    let lost = ["-e", "lost=database2,database3"];
    assert_eq!(world.goes_on_at("database1", &lost), ["database1/galera_cluster:resumed"]);
    world.sql("database1", "insert into shop.orders values ()");
    for node in ["database2", "database3"] {
        world.lab.boot(node).expect("the lab boots it");
    }
    world.galera("run").exits(0);
    assert_eq!(world.is_a_cluster(5), uuid);
    world.step("where the rest isn't a majority");
}
