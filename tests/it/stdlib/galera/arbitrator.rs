//! Two servers and an arbitrator: one server may be lost.

use super::NODES;
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

const ARBITRATOR: &str = "arbitrator1";

/// As the package leaves it where it isn't kept from being started.
const GARB: &str = r"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -qy --no-install-recommends install galera-arbitrator-4
";

#[test]
fn two_servers_and_an_arbitrator_are_a_majority() {
    if !has_its_turn("galera_arbitrator") {
        return;
    }
    let hosts = [(&NODES[..2], Prepared::mariadb()), (&[ARBITRATOR][..], Prepared::by("haflow-test-arbitrator", GARB))];
    let Some(world) = World::with("galera-arbitrator", &hosts, "bookworm") else { return };
    assert_eq!(world.sh(ARBITRATOR, "systemctl is-active garb || :"), "failed");
    let told = world.galera("run").exits(0);
    assert!(told.with("ok").contains(&"database1/galera_arbitrators:counted".to_owned()));
    assert_eq!(world.sql("database1", "show status like 'wsrep_cluster_size'"), "wsrep_cluster_size\t3");
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    world.step("it is one of three, and a second run changes nothing");

    world.sql("database1", "create database shop; create table shop.orders (id int primary key)");
    world.lab.kill("database1").expect("the lab cuts its power");
    world.sh(
        "database2",
        "for try in $(seq 60); do mariadb -e 'insert into shop.orders values (1)' && exit; sleep 0.5; done; exit 1",
    );
    world.lab.boot("database1").expect("the lab boots it");
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    assert_eq!(world.sql("database1", "select count(*) from shop.orders"), "1");
    world.step("the other server goes on where one loses its power");

    // It runs, and nobody counts it.
    world.sh(
        ARBITRATOR,
        "sed -i s/openstack/elsewhere/ /etc/default/garb && systemctl restart garb && systemctl is-active garb",
    );
    let mended = ["arbitrator1/file:/etc/default/garb", "arbitrator1/restart:garb"];
    assert_eq!(world.galera("plan").exits(0).with("change"), mended);
    assert_eq!(world.galera("run").exits(0).with("changed"), mended);
    assert_eq!(world.sql("database1", "show status like 'wsrep_cluster_size'"), "wsrep_cluster_size\t3");
    world.step("one that is in another cluster is brought back");

    let gone = "galera::arbitrators([], group(\"database\"), #{ within: \"0s\" });";
    world.write("gone.rhai", gone);
    let told = world.told("plan", "gone.rhai", &[]).exits(1);
    let failure = told.task("database1/galera_arbitrators:counted")["failure"].to_string();
    assert!(failure.contains("1 of them, and 0 are named"), "{failure}");
    world.step("one that isn't named is noticed");
}
