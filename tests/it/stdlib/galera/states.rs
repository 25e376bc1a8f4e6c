//! What members can be in, and what of it must not be touched: from reports of the field, and from attacks.

use super::{HA, NODES};
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

/// What a node is started with stays as it is.
const PID: &str = "systemctl show -p MainPID --value mariadb";

#[test]
fn a_member_is_restarted_only_where_that_helps() {
    if !has_its_turn("galera_states") {
        return;
    }
    let prepared = Prepared::mariadb();
    let Some(world) = World::with("galera-states", &[(&NODES, prepared)], "bookworm") else { return };

    // Data elsewhere: joining would erase them.
    world.sh(
        "database3",
        "systemctl start mariadb; printf '[mysqld]\ndatadir = /srv/mysql\n' > /etc/mysql/mariadb.conf.d/51-data.cnf; systemctl stop mariadb; \
        cp -a /var/lib/mysql /srv/mysql; systemctl start mariadb; mariadb -e 'create database precious'",
    );
    world.galera("run").exits(1);
    world.refuses(HA, &[], "the server's data are in /srv/mysql");
    assert_eq!(world.sql("database3", "show databases like 'precious'"), "precious");
    world.sh("database3", "systemctl stop mariadb; rm /etc/mysql/mariadb.conf.d/51-data.cnf; systemctl start mariadb");
    world.galera("run").exits(0);
    world.sql("database1", "create database shop; create table shop.orders (id int primary key auto_increment)");
    let uuid = world.is_a_cluster(0);
    world.step("data that aren't where they are looked for");

    world.refuses(HA, &["-e", "cluster=other"], "can't be called other while it runs");
    world.step("a cluster's name stays");

    // Started so, it would forget which cluster it was in.
    world.sh(
        "database2",
        "systemctl stop mariadb; printf '[mysqld]\nmax_connectons = 9\n' > /etc/mysql/mariadb.conf.d/80-own.cnf",
    );
    world.refuses(HA, &[], "doesn't take its settings, and wouldn't start: unknown variable 'max_connectons");
    world.sh("database2", "rm /etc/mysql/mariadb.conf.d/80-own.cnf");
    assert_eq!(world.galera("run").exits(0).with("changed"), ["database2/galera_member:database2"]);
    assert_eq!(world.is_a_cluster(0), uuid);
    world.step("a mistake in a file of one's own");

    // Nobody else may come in: a member like the others, of which nothing can be learnt.
    world.sh("database2", "mariadb -e \"alter user root@localhost identified by 'x'\"");
    world.refuses(HA, &[], "database1 runs, and root can't ask it by its socket: ERROR 1045");
    world.sh("database2", "mariadb -uroot -px -e \"alter user root@localhost identified via unix_socket\"");
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    world.step("a server that refuses root");

    // One that doesn't see the others comes back by itself; started anew it would not.
    let others = |on: &str| {
        let route = |to: &str| {
            world.sh("database3", &format!("ip route {on} blackhole $(getent hosts {to} | cut -d ' ' -f 1)"))
        };
        route("database1");
        route("database2");
    };
    others("add");
    let status = "show status like 'wsrep_cluster_status'";
    world.sh(
        "database3",
        &format!(
            "for try in $(seq 60); do mariadb -NBe \"{status}\" | grep -q non-Primary && exit; sleep 1; done; exit 1"
        ),
    );
    let pid = world.sh("database3", PID);
    let told = world.galera("run").exits(1);
    let failure = told.task("database3/galera_member:database3")["failure"].to_string();
    assert!(failure.contains("it runs, and doesn't see the others"), "{failure}");
    assert_eq!(world.sh("database3", PID), pid);
    others("del");
    world.sh(
        "database3",
        &format!(
            "for try in $(seq 60); do mariadb -NBe \"{status}\" | grep -q non-Primary || exit 0; sleep 1; done; exit 1"
        ),
    );
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    world.step("a member that is cut off");

    // Two halves of what was one cluster.
    others("add");
    world.sh(
        "database3",
        &format!(
            "for try in $(seq 60); do mariadb -NBe \"{status}\" | grep -q non-Primary && exit; sleep 1; done; exit 1"
        ),
    );
    world.sql("database3", "set global wsrep_provider_options = 'pc.bootstrap=YES'");
    world.sql("database1", "insert into shop.orders values ()");
    world.refuses(HA, &[], "there are two clusters");
    world.sh("database3", super::ANEW);
    others("del");
    world.galera("run").exits(0);
    assert_eq!(world.is_a_cluster(1), uuid);
    world.step("two halves with one uuid");

    // What a killed bootstrap leaves on a server that runs: its next start would begin a cluster.
    world.sh("database2", "echo _WSREP_NEW_CLUSTER=--wsrep-new-cluster > /run/mariadb-wsrep-new-cluster");
    let pid = world.sh("database2", PID);
    assert_eq!(world.galera("run").exits(0).with("changed"), ["database2/galera_member:database2"]);
    world.sh("database2", "[ ! -e /run/mariadb-wsrep-new-cluster ]");
    assert_eq!(world.sh("database2", PID), pid);
    world.step("a flag on a server that runs");

    users(&world);
}

/// Grants and accounts that look like what is asked for, and aren't.
fn users(world: &World) {
    world.write(
        "users.rhai",
        r#"let n = host("database1");
galera::database(n, "my_db");
galera::user(n, "shop", #{ password: "pw", from: "Web1.Example", grants: #{ my_db: "ALL PRIVILEGES" } });
galera::user(n, "plain", #{ password: "pw" });
"#,
    );
    let run = |words: &[&str]| {
        let told = world.told("run", "users.rhai", &[]).exits(0);
        assert_eq!(told.with("changed"), words, "{:?}", world.printed.borrow().last());
    };
    let [database, shop, plain] =
        ["database1/galera_database:my_db", "database1/galera_user:shop@web1.example", "database1/galera_user:plain@%"];
    run(&[database, plain, shop]);
    run(&[]);
    let sql = |statement: &str| world.sh("database2", &format!("mariadb -N -B <<'END'\n{statement}\nEND"));
    for (statement, whose) in [
        ("revoke all on `my\\_db`.* from shop@web1.example; grant all on `my_db`.* to shop@web1.example", shop),
        ("grant all on `my\\_db`.* to shop@web1.example with grant option", shop),
        ("grant select on mysql.* to plain with grant option", plain),
        ("alter user shop@web1.example account lock", shop),
        ("alter user shop@web1.example password expire", shop),
        ("alter user plain identified via mysql_native_password using password('pw') or unix_socket", plain),
    ] {
        sql(statement);
        run(&[whose]);
        run(&[]);
    }
    assert_eq!(sql("show grants for plain").lines().count(), 1);
    assert!(!sql("show grants for shop@web1.example").contains("GRANT OPTION"));
    // On this node alone, and in another way of writing.
    world.sql("database1", "set global wsrep_OSU_method = 'RSU', sql_mode = 'ANSI_QUOTES'");
    sql("drop user plain; drop database my_db");
    run(&[database, plain]);
    assert_eq!(world.sql("database3", "show databases like 'my_db'"), "my_db");
    world.sql("database1", "set global wsrep_OSU_method = 'TOI', sql_mode = default");
    run(&[]);
    world.step("users who only look as they should");

    // What the server says where it doesn't take a statement isn't the statement.
    world.sql("database1", "set global wsrep_reject_queries = ALL");
    world.write("users.rhai", r#"galera::user(host("database1"), "shop", #{ password: "hunter2-Secret" });"#);
    let told = world.told("run", "users.rhai", &[]).exits(1);
    let all = serde_json::to_string(&told.events).expect("JSON");
    assert!(!all.contains("68756e74657232") && !all.contains("hunter2"), "{all}");
    world.sh("database1", "mariadb -e 'set global wsrep_reject_queries = NONE' || :");
    let kept = NODES.map(|node| world.sh(node, "grep -a -c hunter2 /var/lib/mysql/galera.cache || :"));
    assert_eq!(kept, ["0", "0", "0"]);
    world.step("a password is in nobody's logs");
}
