//! `PostgreSQL` with Patroni and etcd on real hosts: a cluster is begun once, its leader may go and come
//! back, and what must not be gone on from is refused. Rows that a client was told are written are counted
//! after everything.

use crate::common::events::Told;
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;
use std::fs;

const HA: &str = "playbooks/postgres-ha.rhai";
const SWITCHOVER: &str = "playbooks/postgres-switchover.rhai";
const NODES: [&str; 3] = ["database1", "database2", "database3"];

/// The packages, and nothing that ever ran: no cluster of Debian's, and no etcd of one.
const POSTGRES: &str = r"
export DEBIAN_FRONTEND=noninteractive
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -qy --no-install-recommends install postgresql patroni python3-etcd etcd-server etcd-client
rm /usr/sbin/policy-rc.d
systemctl disable etcd
";

/// Writes a row where one can be written.
const WRITES: &str = r#"PGPASSWORD=shop PGCONNECT_TIMEOUT=2 timeout 5 psql -X -q -v ON_ERROR_STOP=1 \
    "host=database1,database2,database3 user=shop dbname=shop target_session_attrs=read-write" \
    -c 'insert into orders default values'"#;

/// What is the server's own user's.
fn as_postgres(statement: &str) -> String {
    format!("cd /; runuser -u postgres -- psql -X -At -v ON_ERROR_STOP=1 <<'END'\n{statement}\nEND")
}

impl World {
    fn postgres(&self, command: &str, more: &[&str]) -> Told {
        self.told(command, HA, more)
    }

    /// The members as Patroni tells of them: name, role and timeline.
    fn members(&self) -> Vec<(String, String, i64)> {
        let asked = NODES.iter().find_map(|node| {
            let asked = self.ssh(node, "timeout 30 patronictl -c /etc/patroni/config.yml list -f json");
            (asked.status.success() && asked.stdout.starts_with(b"[")).then_some(asked.stdout)
        });
        let told: serde_json::Value = serde_json::from_slice(&asked.expect("a node answers")).expect("JSON");
        let text = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let members = told.as_array().expect("a list").iter();
        members.map(|one| (text(one, "Member"), text(one, "Role"), one["TL"].as_i64().unwrap_or(0))).collect()
    }

    fn leader(&self) -> String {
        let leaders: Vec<_> = self.members().into_iter().filter(|(_, role, _)| role == "Leader").collect();
        assert_eq!(leaders.len(), 1, "{leaders:?}");
        leaders[0].0.clone()
    }

    /// What the servers themselves say, and not through haflow: one leads, two stream, all are of one system
    /// and have these rows. Returns how many rows there are.
    #[track_caller]
    fn is_led(&self) -> usize {
        let leader = self.leader();
        let streams = "select count(*) from pg_stat_replication where state = 'streaming'";
        assert_eq!(self.sh(&leader, &as_postgres(streams)), "2", "{:?}", self.members());
        let system = "select system_identifier from pg_control_system()";
        let systems = NODES.map(|node| self.sh(node, &as_postgres(system)));
        assert!(systems.iter().all(|system| *system == systems[0]), "{systems:?}");
        let follows = "select pg_is_in_recovery()";
        let following = NODES.iter().filter(|node| self.sh(node, &as_postgres(follows)) == "t").count();
        assert_eq!(following, 2);
        // Patroni tells of each node's timeline by its next look, ten seconds later.
        let timelines = || self.members().into_iter().map(|(_, _, timeline)| timeline).collect::<Vec<_>>();
        let same = (0..60).any(|_| timelines().windows(2).all(|two| two[0] == two[1]));
        assert!(same, "{:?}", timelines());
        // What is written may be on its way to those who follow.
        let count = |node: &str| self.sh(node, &as_postgres("\\c shop\nselect count(*) from orders"));
        let rows = |node: &str| count(node).lines().last().expect("a count").parse::<usize>().expect("a number");
        let there = rows(&leader);
        for node in NODES {
            let arrived = (0..50).any(|_| rows(node) == there);
            assert!(arrived, "{node} lacks rows: {} of {there}", rows(node));
        }
        there
    }

    /// A plan and a run fail with these words, and nothing is changed.
    #[track_caller]
    fn postgres_refuses(&self, why: &str) {
        self.postgres_is_refused("plan", why);
        self.postgres_is_refused("run", why);
    }

    #[track_caller]
    fn postgres_is_refused(&self, command: &str, why: &str) {
        let told = self.postgres(command, &[]).exits(1);
        let all = serde_json::to_string(&told.events).expect("JSON");
        assert!(all.contains(why), "{command} doesn't say {why:?}: {all}");
        assert_eq!(told.with("changed"), [""; 0], "{command}");
    }

    #[track_caller]
    fn postgres_is_unchanged(&self, more: &[&str], what: &str) {
        let told = self.postgres("run", more).exits(0);
        assert_eq!(told.with("changed"), [""; 0], "{what}");
        assert_eq!(self.postgres("plan", more).exits(0).with("up_to_date").len(), told.with("ok").len(), "{what}");
    }
}

#[test]
fn a_leader_may_go_and_no_row_that_was_confirmed_is_lost() {
    if !has_its_turn("postgres") {
        return;
    }
    let prepared = Prepared::by("haflow-test-postgres", POSTGRES);
    let Some(world) = World::with("postgres", &[(&NODES, prepared)], "bookworm") else { return };
    let confirmed = ["-e", "synchronous=true"];

    let told = world.postgres("run", &confirmed).exits(0);
    for task in ["patroni_cluster:begun", "etcd_member:database1"] {
        assert!(told.with("changed").contains(&format!("database1/{task}")), "{:?}", told.with("changed"));
    }
    let leader = world.leader();
    assert_eq!(leader, "database1");
    world.sh(
        &leader,
        &as_postgres(
            "create role shop login password 'shop'; create database shop owner shop;\n\\c shop\nset role shop;\n\
            create table orders (id bigserial primary key);",
        ),
    );
    assert_eq!(world.is_led(), 0);
    world.step("bare hosts are a cluster");
    world.postgres_is_unchanged(&confirmed, "a second run");
    world.step("a second run changes nothing");

    // The client is where no power is cut.
    world.begin_client("database3", WRITES);
    let change = ["-e", "to=database2"];
    assert_eq!(world.told("run", SWITCHOVER, &change).exits(0).with("changed"), ["database2/patroni_leader:openstack"]);
    assert_eq!(world.told("run", SWITCHOVER, &change).exits(0).with("changed"), [""; 0]);
    assert_eq!(world.leader(), "database2");
    world.step("another one leads, and stays the leader when that is asked for again");

    world.lab.kill("database2").expect("the lab cuts its power");
    world.sh(
        "database3",
        "for try in $(seq 60); do patronictl -c /etc/patroni/config.yml list -f json 2>/dev/null | \
        grep -v '\"database2\"' >/dev/null; \
        curl -sf -o /dev/null http://database1:8008/primary && exit; \
        curl -sf -o /dev/null http://database3:8008/primary && exit; sleep 1; done; exit 1",
    );
    world.step("the leader's power is cut, and another one leads");
    world.lab.boot("database2").expect("the lab boots it");
    world.postgres("run", &confirmed).exits(0);
    assert_ne!(world.leader(), "database2");
    let acknowledged = world.end_client("database3");
    let there = world.is_led();
    assert!(acknowledged > 100, "{acknowledged}");
    println!("{acknowledged} rows were confirmed, and {there} are there");
    assert!(there >= acknowledged, "{acknowledged} rows were confirmed, and {there} are there");
    assert!(there <= acknowledged + 20, "{there} rows are more than were sent: {acknowledged}");
    world.postgres_is_unchanged(&confirmed, "after a power cut");
    world.step("the old leader follows, and all rows are there");
}

/// A bootstrap is stopped where it has told etcd of itself, and has written nothing yet.
const STOPPED_BOOTSTRAP: &str = r#"
printf 'openstack\nYes I am aware\n' | patronictl -c /etc/patroni/config.yml remove openstack >/dev/null
systemctl start --no-block patroni
for try in $(seq 2000); do
    case $(curl -s http://database2:2379/v2/keys/service/openstack/initialize) in
        *'"value":""'*) systemctl kill -s STOP patroni; exit ;;
    esac
done
exit 1
"#;

#[test]
fn what_holds_something_is_left_alone() {
    if !has_its_turn("postgres_refusals") {
        return;
    }
    let prepared = Prepared::by("haflow-test-postgres", POSTGRES);
    let Some(world) = World::with("postgres-not", &[(&NODES, prepared)], "bookworm") else { return };
    let main = "pg_createcluster 15 main --start >/dev/null 2>&1";
    let etcd = "systemctl start etcd && ETCDCTL_API=3 etcdctl";

    world.sh("database2", &format!("{main}; {}", as_postgres("create database precious")));
    world.postgres_refuses("15/main is there, and it holds the database precious");
    world.sh("database2", &as_postgres("drop database precious; create table precious ()"));
    world.postgres_is_refused("plan", "its database postgres holds 1 tables");
    world.sh("database2", "systemctl stop postgresql@15-main");
    world.sh("database3", &format!("{etcd} put precious 1"));
    world.postgres_is_refused("plan", "it doesn't run, so what it holds can't be told");
    world.postgres_refuses("it is a cluster of its own, of one member, and it holds keys (1 were counted)");
    assert_eq!(world.sh("database3", &format!("{etcd} get precious --print-value-only")), "1");
    world.step("a cluster of Debian's that holds something, and an etcd of one that does");

    world.sh("database2", &format!("systemctl start postgresql@15-main; {}", as_postgres("drop table precious")));
    world.sh("database3", &format!("{etcd} del precious"));
    let told = world.postgres("run", &[]).exits(0);
    for task in ["database2/postgresql_main:15/main", "database3/etcd_alone:database3"] {
        assert!(told.with("changed").contains(&task.to_owned()), "{:?}", told.with("changed"));
    }
    world.sh(
        "database1",
        &as_postgres("create database shop;\n\\c shop\ncreate table orders (); insert into orders default values"),
    );
    assert_eq!(world.is_led(), 1);
    world.step("what is empty goes");

    world.sh("database3", "systemctl stop patroni");
    assert_eq!(world.postgres("run", &[]).exits(0).with("changed"), ["database3/patroni_member:database3"]);
    assert_eq!(world.is_led(), 1);
    let members = NODES.map(|node| format!("{node}/patroni_member:{node}"));
    // What only the last leader has.
    world.sh("database1", "systemctl stop patroni");
    world.sh("database2", "systemctl stop patroni");
    let leads =
        "for try in $(seq 60); do curl -sf -o /dev/null http://localhost:8008/primary && exit; sleep 1; done; exit 1";
    world.sh("database3", leads);
    world.sh("database3", &as_postgres("\\c shop\ninsert into orders default values"));
    world.sh("database3", "systemctl stop patroni");
    let furthest = "database3/patroni_member:goes furthest";
    let told = world.postgres("run", &[]).exits(0);
    assert_eq!(told.with("changed"), [members[0].as_str(), members[1].as_str(), furthest]);
    assert_eq!(world.is_led(), 2);
    world.step("what was stopped is started, and nothing is begun anew");

    let secrets = fs::read_to_string(world.folder.path().join("playbooks/secrets.toml")).expect("they are there");
    world.write("playbooks/secrets.toml", "patroni = [\"echo\", \"another one\"]\n");
    world.postgres_is_refused("plan", "knows another password of the role rewind");
    world.write("playbooks/secrets.toml", &secrets);
    world.step("a password that the servers don't know");

    let folder = "/var/lib/postgresql/15/main";
    world.sh(
        "database3",
        &format!(
            "systemctl stop patroni; mv {folder} {folder}.kept; cd /; \
            runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb -D {folder} >/dev/null 2>&1"
        ),
    );
    world.postgres_refuses("it holds data of the cluster");
    world.sh("database3", &format!("[ -e {folder}/PG_VERSION ] && rm -r {folder} && mv {folder}.kept {folder}"));
    world.postgres("run", &[]).exits(0);
    world.sh("database3", &format!("systemctl stop patroni; rm -r {folder}"));
    assert_eq!(world.postgres("run", &[]).exits(0).with("changed"), [members[2].as_str()]);
    assert_eq!(world.is_led(), 2);
    world.step("data of another cluster; and a node without data gets them");

    world.sh("database2", "systemctl stop etcd; mv /var/lib/etcd/default /srv/etcd");
    world.postgres_is_refused("plan", "was a member of the cluster of database1, and its data are gone");
    world.sh("database2", "mv /srv/etcd /var/lib/etcd/default");
    assert_eq!(world.postgres("run", &[]).exits(0).with("changed"), ["database2/etcd_member:database2"]);
    world.step("a member of etcd without its data");

    for node in NODES {
        world.sh(node, &format!("systemctl stop patroni; rm -r {folder}"));
    }
    world.postgres_is_refused("plan", "and no node has its data");
    world.sh("database1", STOPPED_BOOTSTRAP);
    world.lab.kill("database1").expect("the lab cuts its power");
    world.lab.boot("database1").expect("the lab boots it");
    world.postgres_refuses("an empty key /service/openstack/initialize: a bootstrap was interrupted");
    world.sh(
        "database1",
        "printf 'openstack\\nYes I am aware\\n' | patronictl -c /etc/patroni/config.yml remove openstack",
    );
    world.postgres("run", &[]).exits(0);
    assert_eq!(world.members().len(), 3);
    world.postgres_is_unchanged(&[], "after a bootstrap that was interrupted");
    world.step("an interrupted bootstrap");
}
