//! A Galera cluster on real hosts: it is begun once, members come back, and what must not be gone on from is
//! refused. Rows that were written are counted after everything.

mod arbitrator;
mod backup;
mod frontend;
mod operations;
mod recovery;
mod states;
mod tls;

use crate::common::events::Told;
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

const HA: &str = "playbooks/galera-ha.rhai";
const NODES: [&str; 3] = ["database1", "database2", "database3"];

/// A server's data is gone, as on a host that was installed anew.
const ANEW: &str = "systemctl stop mariadb; rm -rf /var/lib/mysql/*; \
    mariadb-install-db --user=mysql --datadir=/var/lib/mysql >/dev/null 2>&1";

impl World {
    fn galera(&self, command: &str) -> Told {
        self.told(command, HA, &[])
    }

    fn on_all(&self, script: &str) {
        for node in NODES {
            self.sh(node, script);
        }
    }

    fn sql(&self, node: &str, statement: &str) -> String {
        self.sh(node, &format!("mariadb -N -B -e \"{statement}\""))
    }

    /// What each node says, and not through haflow: in one cluster, with all rows. Returns its uuid.
    #[track_caller]
    fn is_a_cluster(&self, rows: usize) -> String {
        let says = |node: &str| {
            let status = "show global status where variable_name in ('wsrep_cluster_size', 'wsrep_cluster_status', \
                'wsrep_local_state_comment', 'wsrep_cluster_state_uuid')";
            let count = self.sql(node, "select count(*) from shop.orders");
            assert_eq!(count, rows.to_string(), "{node} lacks rows");
            self.sql(node, status)
        };
        let all = NODES.map(says);
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        let value = |key: &str| {
            let line = all[0].lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key}: {}", all[0])).trim().to_owned()
        };
        let said = ["wsrep_cluster_size", "wsrep_cluster_status", "wsrep_local_state_comment"].map(value);
        assert_eq!(said, ["3", "Primary", "Synced"]);
        value("wsrep_cluster_state_uuid")
    }

    /// A plan and a run of that playbook fail with these words; nothing is changed, and no server is started,
    /// stopped or restarted.
    #[track_caller]
    fn refuses(&self, playbook: &str, more: &[&str], why: &str) {
        let servers = || NODES.map(|node| self.sh(node, "systemctl show -p MainPID -p ActiveState mariadb"));
        let before = servers();
        for command in ["plan", "run"] {
            let told = self.told(command, playbook, more).exits(1);
            let all = serde_json::to_string(&told.events).expect("JSON");
            assert!(all.contains(why), "{command} doesn't say {why:?}: {all}");
            assert_eq!(told.with("changed"), [""; 0], "{command}");
        }
        assert_eq!(servers(), before);
    }
}

#[test]
fn a_cluster_is_begun_once_and_no_row_is_lost() {
    if !has_its_turn("galera") {
        return;
    }
    let prepared = Prepared::mariadb();
    let Some(world) = World::with("galera", &[(&NODES, prepared)], "bookworm") else { return };

    let told = world.galera("run").exits(0);
    let members = NODES.map(|node| format!("{node}/galera_member:{node}"));
    assert!(told.with("changed").contains(&"database1/galera_cluster:begun".to_owned()));
    assert!(members[1..].iter().all(|member| told.with("changed").contains(member)), "{:?}", told.with("changed"));
    world.sql("database3", "create database shop; create table shop.orders (id int primary key auto_increment)");
    world.sql("database2", "insert into shop.orders values (), (), ()");
    let uuid = world.is_a_cluster(3);
    world.step("three nodes are a cluster");

    let unchanged = |what: &str| {
        let told = world.galera("run").exits(0);
        assert_eq!(told.with("changed"), [""; 0], "{what}");
        assert_eq!(world.galera("plan").exits(0).with("up_to_date").len(), told.with("ok").len(), "{what}");
    };
    unchanged("a second run");
    world.step("a second run changes nothing");

    let playbook = r#"let nodes = group("database");
galera::config(nodes[1], nodes, #{ settings: #{ no_such_setting: 1 } });"#;
    world.write("refused.rhai", playbook);
    // The server that checks them writes nothing over that of the one that runs.
    let says = || world.sh("database2", "sha256sum /var/lib/mysql/wsrep-status.json");
    let before = says();
    for command in ["plan", "run"] {
        let told = world.told(command, "refused.rhai", &[]).exits(1);
        let failure = told.task("database2/file:/etc/mysql/mariadb.conf.d/70-cluster.cnf")["failure"].to_string();
        assert!(failure.contains("unknown variable 'no_such_setting=1'"), "{failure}");
    }
    assert_eq!(says(), before);
    unchanged("a setting that was refused");
    world.step("settings that the server doesn't know are refused");

    databases_and_users(&world);

    // The first one too: the cluster goes on with the others.
    for (node, member) in NODES.iter().zip(&members) {
        world.sh(node, "systemctl stop mariadb");
        assert_eq!(world.galera("run").exits(0).with("changed"), [member.as_str()]);
    }
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("a member that was stopped is started, and nobody begins another cluster");

    world.sh("database2", ANEW);
    assert_eq!(world.galera("run").exits(0).with("changed"), [members[1].as_str()]);
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("a node that was installed anew has all rows again");

    world.sh("database3", &format!("{ANEW}; mkdir -m 700 /var/lib/mysql/precious"));
    world.refuses(HA, &[], "it holds precious, which joining would erase");
    world.sh("database3", "rmdir /var/lib/mysql/precious && systemctl start mariadb");
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("a node with data of its own is refused");

    // What a script leaves that was killed while it bootstrapped: each start would bootstrap.
    world.sh(
        "database2",
        "systemctl stop mariadb; echo _WSREP_NEW_CLUSTER=--wsrep-new-cluster | \
        tee /run/mariadb-wsrep-new-cluster > /run/mysqld/wsrep-new-cluster",
    );
    assert_eq!(world.galera("run").exits(0).with("changed"), [members[1].as_str()]);
    assert_eq!(world.is_a_cluster(3), uuid);
    world.sh("database2", "[ ! -e /run/mariadb-wsrep-new-cluster ] && [ ! -e /run/mysqld/wsrep-new-cluster ]");
    world.step("a bootstrap that was killed doesn't come back");

    for node in NODES {
        world.lab.kill(node).expect("the lab cuts its power");
    }
    for node in NODES {
        world.lab.boot(node).expect("the lab boots it");
    }
    unchanged("after a power cut");
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("after a power cut of all the members find each other");

    world.on_all("systemctl stop mariadb");
    world.refuses(HA, &[], "have been in a cluster, and none is in one now");
    world.step("where all have stopped nobody begins anew");

    world.sh("database3", &format!("galera_new_cluster && echo {uuid}"));
    world.sh("database2", &format!("{ANEW}; galera_new_cluster"));
    world.refuses(HA, &[], "there are two clusters");
    assert_eq!(world.sql("database3", "select count(*) from shop.orders"), "3");
    world.step("two clusters are refused");

    world.sh("database2", ANEW);
    let told = world.galera("run").exits(0);
    assert_eq!(told.with("changed"), [members[0].as_str(), members[1].as_str()]);
    assert_eq!(world.is_a_cluster(3), uuid);
    world.step("once the other is gone the rest comes back");
}

/// Told once on one node, compared before, with a password that has all that can be mistaken for something
/// else.
fn databases_and_users(world: &World) {
    let password = |text: &str| {
        for node in ["database1", "database3"] {
            world.sh(node, &format!("umask 077; cat > /srv/password <<'END'\n{text}\nEND"));
        }
    };
    let playbook = |grants: &str| {
        let text = format!(
            r#"let n = host("database1");
let password = read(n, #{{ kind: "password", name: "shop", probe: "cat /srv/password", secret: true }});
galera::database(n, "shop_2", #{{ charset: "utf8mb3" }});
galera::user(n, "shop", #{{ password: password, grants: {grants} }});
galera::user(n, "watcher", #{{ from: "localhost" }});
"#
        );
        world.write("users.rhai", &text);
    };
    // On another node, and by the network.
    let works = || {
        world.sh(
            "database3",
            "MYSQL_PWD=$(cat /srv/password) mariadb --no-defaults -h 127.0.0.1 -u shop -N -B shop_2 -e 'select 1'",
        );
    };
    let changed = || world.told("run", "users.rhai", &[]).exits(0).with("changed");
    let all =
        ["database1/galera_database:shop_2", "database1/galera_user:shop@%", "database1/galera_user:watcher@localhost"];

    password(r#"it's "q" \ $(id) `id` @/:%ü"#);
    playbook(r#"#{ shop_2: "ALL PRIVILEGES" }"#);
    assert_eq!(world.told("plan", "users.rhai", &[]).exits(0).with("change"), all);
    assert_eq!(changed(), all);
    assert_eq!(changed(), [""; 0]);
    works();
    assert_eq!(
        world.sql(
            "database2",
            "select default_character_set_name from information_schema.schemata \
        where schema_name = 'shop_2'"
        ),
        "utf8mb3"
    );

    password("another; drop database shop");
    assert_eq!(changed(), [all[1]]);
    works();
    playbook(r#"#{ shop_2: ["SELECT", "INSERT"] }"#);
    assert_eq!(changed(), [all[1]]);
    assert_eq!(changed(), [""; 0]);
    let printed = world.printed.borrow().concat();
    assert!(!printed.contains("drop database shop") && !printed.contains("$(id)"), "a password is told");
    world.step("databases and users are the same everywhere");
}
