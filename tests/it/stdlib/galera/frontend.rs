//! Two proxies before a cluster, and an address that one of them has: rows are written through it while
//! servers and proxies are stopped, and counted afterwards.

use super::NODES;
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

const FRONTEND: &str = "playbooks/database-frontend.rhai";
const FRONTENDS: [&str; 2] = ["frontend1", "frontend2"];

/// The packages, which never ran.
const PROXY: &str = r"
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -qy --no-install-recommends install haproxy keepalived socat
rm /usr/sbin/policy-rc.d
";

/// A client that writes a row every 50 ms, and notes each that it was told is written: its number, which
/// server wrote it, and when.
const CLIENT: &str = r#"cat > /srv/client <<'END'
n=0
while [ ! -e /srv/stop ]; do
    n=$((n + 1))
    if server=$(timeout 4 mariadb -h "$1" -u app -papp --connect-timeout=2 -N -B shop \
        -e "insert into orders values ($n); select @@hostname" 2>>/srv/errors); then
        echo "$n $server $(date +%s)" >> /srv/written
    fi
    sleep 0.05
done
touch /srv/stopped
END
rm -f /srv/stop /srv/stopped /srv/errors; : > /srv/written
systemd-run --quiet sh /srv/client "#;

impl World {
    /// The frontends that have the address.
    fn holders(&self, address: &str) -> Vec<&'static str> {
        let has =
            |host: &str| !self.sh(host, &format!("ip -4 -o address show | grep -F ' {address}/' || :")).is_empty();
        FRONTENDS.into_iter().filter(|host| has(host)).collect()
    }

    /// Waits until the client has had so many rows written from now on, and all of the last five by this
    /// server.
    #[track_caller]
    fn writes_go_on(&self, server: &str) {
        let script = format!(
            "from=$(wc -l < /srv/written); for try in $(seq 150); do
                if [ $(($(wc -l < /srv/written) - from)) -ge 10 ] &&
                    [ \"$(tail -n 5 /srv/written | cut -d ' ' -f 2 | sort -u)\" = {server} ]; then exit 0; fi
                sleep 0.2
            done; tail -n 3 /srv/written /srv/errors >&2; exit 1"
        );
        self.sh("database3", &script);
    }

    /// Whom a proxy takes for what.
    fn status(&self, frontend: &str, server: &str) -> String {
        let script = "echo 'show stat' | socat - UNIX-CONNECT:/run/haproxy/admin.sock";
        self.sh(frontend, &format!("{script} | awk -F , '$1 == \"database\" && $2 == \"{server}\" {{ print $18 }}'"))
    }

    #[track_caller]
    fn waits_for(&self, host: &str, what: &str) {
        self.sh(host, &format!("for try in $(seq 150); do if {what}; then exit 0; fi; sleep 0.2; done; exit 1"));
    }
}

#[test]
fn rows_are_written_through_an_address_that_one_host_has() {
    if !has_its_turn("galera_frontend") {
        return;
    }
    let databases = Prepared::mariadb();
    let proxies = Prepared::by("haflow-test-frontend", PROXY);
    let hosts: [(&[&str], Prepared); 2] = [(&NODES, databases), (&FRONTENDS, proxies)];
    let Some(world) = World::with("frontend", &hosts, "bookworm") else { return };
    let address = world.lab.spare_address().to_string();
    world.galera("run").exits(0);
    world.sql(
        "database1",
        "create database shop; create table shop.orders (id int primary key); \
        create user app@'%' identified by 'app'; grant all on shop.* to app@'%'",
    );
    world.step("three nodes are a cluster");

    let told = world.told("run", FRONTEND, &[]).exits(0);
    assert!(told.with("changed").contains(&"frontend2/haproxy:runs its configuration".to_owned()));
    assert_eq!(world.holders(&address), ["frontend1"]);
    let unchanged = |what: &str| {
        let told = world.told("run", FRONTEND, &[]).exits(0);
        assert_eq!(told.with("changed"), [""; 0], "{what}");
    };
    unchanged("a second run");
    let planned = world.told("plan", FRONTEND, &[]).exits(0).with("up_to_date").len();
    assert_eq!(planned, world.told("run", FRONTEND, &[]).exits(0).with("ok").len());
    world.step("one host has the address, and a second run changes nothing");

    world.sh("database3", &format!("{CLIENT} {address}"));
    world.writes_go_on("database1");

    world.sh("database1", "systemctl stop mariadb");
    world.writes_go_on("database2");
    // A statement that would go on for long after the writer is back.
    let sleeper = format!("systemd-run --quiet mariadb -h {address} -u app -papp shop -e 'select sleep(300)'");
    world.sh("database3", &sleeper);
    world.waits_for("database2", "mariadb -N -B -e 'show processlist' | grep -q 'sleep(300)'");
    world.sh("database1", "systemctl start mariadb");
    world.writes_go_on("database1");
    let sessions = "mariadb -N -B -e \"select count(*) from information_schema.processlist where user = 'app'\"";
    world.waits_for("database2", &format!("[ \"$({sessions})\" = 0 ]"));
    assert_eq!(world.sh("database3", sessions), "0");
    world.step("the writer is stopped and comes back: sessions are on one server only");

    drained(&world);
    what_a_server_says(&world);

    rolling_restart(&world);

    assert_eq!(world.holders(&address), ["frontend1"]);
    world.lab.kill("frontend1").expect("the lab cuts its power");
    world.writes_go_on("database1");
    world.waits_for("frontend2", &format!("ip -4 -o address show | grep -qF ' {address}/'"));
    world.lab.boot("frontend1").expect("the lab boots it");
    unchanged("after a power cut");
    assert_eq!(world.holders(&address), ["frontend2"]);
    world.step("the power of the host that had the address is cut: another one has it, and keeps it");

    world.sh("frontend2", "systemctl stop haproxy");
    world.waits_for("frontend1", &format!("ip -4 -o address show | grep -qF ' {address}/'"));
    world.writes_go_on("database1");
    assert_eq!(world.holders(&address), ["frontend1"]);
    let told = world.told("run", FRONTEND, &[]).exits(0);
    assert_eq!(told.with("changed"), ["frontend2/haproxy:runs its configuration"]);
    world.step("the proxy of the host that had the address is stopped: another one has it");

    // It runs, answers, and has no majority.
    let others = "for one in database2 database3; do \
        ip route add blackhole \"$(getent hosts $one | cut -d ' ' -f 1)\"; done";
    world.sh("database1", others);
    world.writes_go_on("database2");
    world.sh("database1", "mariadb-admin ping && systemctl is-active mariadb");
    for frontend in FRONTENDS {
        assert_eq!(world.status(frontend, "database1"), "DOWN");
    }
    world.sh("database1", "ip route flush type blackhole");
    world.writes_go_on("database1");
    world.step("a server without a majority gets no clients");

    world.sh(
        "database3",
        "touch /srv/stop; for try in $(seq 100); do [ ! -e /srv/stopped ] || exit 0; sleep 0.1; done; exit 1",
    );
    let written = world.sh("database3", "cut -d ' ' -f 1 /srv/written");
    let there = world.sql("database3", "select id from shop.orders order by id");
    let there: Vec<&str> = there.lines().collect();
    let lost: Vec<&str> = written.lines().filter(|row| !there.contains(row)).collect();
    assert!(lost.is_empty(), "rows that a client was told are written: {lost:?}");
    let gaps = "awk 'NR > 1 && $3 - last > most { most = $3 - last } { last = $3 } END { print most }' /srv/written";
    let longest: u64 = world.sh("database3", gaps).parse().expect("seconds");
    println!("{} rows written, the longest pause took {longest} s", written.lines().count());
    assert!(longest <= 20, "no row was written for {longest} s");
    world.step("no row is lost");
}

/// What isn't ours is refused by the plan and the run, and nothing is changed.
fn refusals(world: &World) {
    let elsewhere = format!("address={}", world.lab.host("database2").expect("a host").address);
    world.refuses(FRONTEND, &["-e", &elsewhere], "which is the card of none of these hosts");
    let address = world.lab.spare_address();
    let taken = |port: &str| format!("systemd-run --quiet --collect --unit=taken socat TCP-LISTEN:{port},fork -");
    world.sh("frontend1", &taken("3306"));
    world.sh("database3", &taken("9200"));
    world.sh("frontend2", &format!("ip address add {address}/24 dev eth0"));
    world.waits_for("frontend1", "ss -Hltn | grep -q ':3306 '");
    world.waits_for("database3", "ss -Hltn | grep -q ':9200 '");
    for command in ["plan", "run"] {
        let told = world.told(command, FRONTEND, &[]).exits(1);
        let port = format!("{address}:3306");
        for (task, why) in [
            (format!("frontend1/haproxy_ports:{port}"), "socat listens at 0.0.0.0:3306 already"),
            ("database3/galera_health:port 9200 is free".into(), "socat listens at 0.0.0.0:9200 already"),
            (
                format!("frontend2/virtual_address:{address} is nobody else's"),
                "eth0 of this host has it, and keepalived isn't told to give it",
            ),
        ] {
            let failure = told.task(&task)["failure"].to_string();
            assert!(failure.contains(why), "{command}: {failure}");
        }
        assert_eq!(told.with("changed"), [""; 0], "{command}");
    }
    for host in ["frontend1", "database3"] {
        world.sh(host, "systemctl stop taken");
    }
    world.sh("frontend2", &format!("ip address del {address}/24 dev eth0"));
    world.step("an address or a port that is somebody else's is refused, and nothing is changed");
}

/// `HAProxy` refuses it, or can't start with it: the one before goes on.
fn a_bad_configuration(world: &World) {
    let playbook = r#"let node = host("frontend1");
haproxy::config(node, #{ listen: #{ wrong: #{ bind: "*:3999", blance: "roundrobin" } } });
haproxy::running(node);"#;
    world.write("refused.rhai", playbook);
    for command in ["plan", "run"] {
        let told = world.told(command, "refused.rhai", &[]).exits(1);
        let failure = told.task("frontend1/file:/etc/haproxy/haproxy.cfg")["failure"].to_string();
        assert!(failure.contains("unknown keyword 'blance'"), "{failure}");
        assert_eq!(told.with("changed"), [""; 0]);
    }
    world.sh("frontend1", "cp -a /etc/haproxy/haproxy.cfg /srv/kept.cfg");
    world.sh("frontend1", "systemd-run --quiet --collect --unit=taken socat TCP-LISTEN:3999,fork -");
    world.waits_for("frontend1", "ss -Hltn | grep -q ':3999 '");
    world.write("taken.rhai", &playbook.replace("blance: \"roundrobin\"", "mode: \"tcp\", timeout: \"connect 5s\""));
    let told = world.told("run", "taken.rhai", &[]).exits(1);
    let failure = told.task("frontend1/haproxy:runs its configuration")["failure"].to_string();
    assert!(failure.contains("goes on with its old configuration") && failure.contains("3999"), "{failure}");
    world.sh(
        "frontend1",
        "systemctl stop taken; cp -a /srv/kept.cfg /etc/haproxy/haproxy.cfg; systemctl reload haproxy",
    );
    world.waits_for("frontend1", "echo 'show info' | socat - UNIX-CONNECT:/run/haproxy/admin.sock | grep -q ^Pid");
    world.step("a configuration that HAProxy refuses, or can't start with, is told, and the old one goes on");
}

/// What a proxy is told of a server that works, that sends its data to another one, that is read-only, and
/// that doesn't run.
fn what_a_server_says(world: &World) {
    let says = |wanted: &str| {
        let asked = "curl -s -w ' %{http_code}' http://127.0.0.1:9200";
        assert_eq!(world.sh("database2", asked).replace('\n', ""), wanted);
    };
    says("Primary, Synced 200");
    world.sql("database2", "set global read_only = on");
    says("Primary, Synced, read-only 503");
    world.sql("database2", "set global read_only = off; set global wsrep_desync = on");
    says("Primary, Donor/Desynced 503");
    world.write("donor.rhai", "galera::health(host(\"database2\"), #{ donor: true });");
    let told = world.told("run", "donor.rhai", &[]).exits(0);
    assert_eq!(told.with("changed"), ["database2/file:/usr/local/lib/galera-check"]);
    says("Primary, Donor/Desynced 200");
    world.sql("database2", "set global wsrep_desync = off");
    world.sh("database2", "systemctl stop mariadb");
    says("the server gives no answer 503");
    world.sh("database2", "systemctl start mariadb");
    assert_eq!(world.sh("database2", "journalctl -u 'galera-check@*' -q -o cat | wc -l"), "0");
    let told = world.told("run", FRONTEND, &[]).exits(0);
    assert_eq!(told.with("changed"), ["database2/file:/usr/local/lib/galera-check"]);
    world.step("a server says what it is, and a donor what it was told to");
}

/// Each server is drained before it is restarted.
fn rolling_restart(world: &World) {
    let errors = || -> usize { world.sh("database3", "grep -c ERROR /srv/errors || :").parse().expect("a count") };
    let before = errors();
    let told = world.told("run", "playbooks/galera-rolling-restart.rhai", &["-e", "times=1"]).exits(0);
    let drains = told.with("changed").iter().filter(|task| task.ends_with(" drain")).count();
    assert_eq!((drains, told.with("changed").len()), (6, 15), "{:?}", told.with("changed"));
    world.writes_go_on("database1");
    // As the writer goes, and as it comes back: one statement each may be cut off.
    let cut_off = errors() - before;
    assert!(cut_off <= 2, "{cut_off} statements failed");
    world.step("servers are restarted one after the other, each without clients");
}

/// The writer gets no clients until it is ready again; the only server that is UP can't be drained.
fn drained(world: &World) {
    let playbook = |what: &str| {
        format!("for node in group(\"frontend\") {{ haproxy::{what}(node, \"database\", \"database1\"); }}")
    };
    world.write("drain.rhai", &playbook("drain"));
    world.write("ready.rhai", &playbook("ready"));
    let tasks = |what: &str| FRONTENDS.map(|node| format!("{node}/haproxy_server:database/database1 {what}"));
    assert_eq!(world.told("run", "drain.rhai", &[]).exits(0).with("changed"), tasks("drain"));
    assert_eq!(world.told("run", "drain.rhai", &[]).exits(0).with("changed"), [""; 0]);
    world.writes_go_on("database2");
    let address = world.lab.spare_address();
    world
        .sh("database3", &format!("systemd-run --quiet mariadb -h {address} -u app -papp shop -e 'select sleep(299)'"));
    world.waits_for("database2", "mariadb -N -B -e 'show processlist' | grep -q 'sleep(299)'");
    assert_eq!(world.told("run", "ready.rhai", &[]).exits(0).with("changed"), tasks("ready"));
    world.writes_go_on("database1");
    world.waits_for("database2", "! mariadb -N -B -e 'show processlist' | grep -q app");
    for server in ["database2", "database3"] {
        world.sh(
            "frontend1",
            &format!("echo 'set server database/{server} state maint' | socat - UNIX-CONNECT:/run/haproxy/admin.sock"),
        );
    }
    for command in ["plan", "run"] {
        let told = world.told(command, "drain.rhai", &[]).exits(1);
        let failure = told.task(&tasks("drain")[0])["failure"].to_string();
        assert!(failure.contains("database1 is the only server of database that is UP"), "{failure}");
    }
    for server in ["database2", "database3"] {
        world.sh(
            "frontend1",
            &format!("echo 'set server database/{server} state ready' | socat - UNIX-CONNECT:/run/haproxy/admin.sock"),
        );
    }
    world.told("run", "ready.rhai", &[]).exits(0);
    world.writes_go_on("database1");
    world.step("a server that is drained gets no clients, and the only one isn't drained");
}

/// Without a database: what patroni says is a stand-in's, and so is the server.
#[test]
fn clients_come_to_the_server_that_says_it_is_the_leader() {
    if !has_its_turn("galera_frontend") {
        return;
    }
    let proxies = || Prepared::by("haflow-test-frontend", PROXY);
    let servers = NODES;
    let hosts: [(&[&str], Prepared); 2] = [(&servers, proxies()), (&FRONTENDS, proxies())];
    let Some(world) = World::with("frontend-pg", &hosts, "bookworm") else { return };
    let address = world.lab.spare_address().to_string();
    refusals(&world);
    let rest = r#"cat > /srv/rest <<'END'
read -r line
printf 'HTTP/1.0 %s\r\n\r\n' "$(cat /srv/answer)"
END
echo '503 no' > /srv/answer
systemd-run --quiet socat TCP-LISTEN:5432,fork,reuseaddr SYSTEM:hostname
systemd-run --quiet socat TCP-LISTEN:8008,fork,reuseaddr SYSTEM:'sh /srv/rest'"#;
    for server in servers {
        world.sh(server, rest);
    }
    let leads = |server: &str, other: &str| {
        world.sh(other, "echo '503 no' > /srv/answer");
        world.sh(server, "echo '200 OK' > /srv/answer");
        let asked = format!("[ \"$(socat -t 2 - TCP:{address}:5432 < /dev/null)\" = {server} ]");
        asked
    };
    let asked = leads("database2", "database1");
    let told = world.told("run", FRONTEND, &["-e", "database=postgresql"]).exits(0);
    assert!(!told.with("changed").iter().any(|task| task.starts_with("database")), "{:?}", told.with("changed"));
    world.waits_for("database1", &asked);
    assert_eq!(["database1", "database2"].map(|server| world.status("frontend1", server)), ["DOWN", "UP"]);
    let asked = leads("database1", "database2");
    world.waits_for("database2", &asked);
    let told = world.told("run", FRONTEND, &["-e", "database=postgresql"]).exits(0);
    assert_eq!(told.with("changed"), [""; 0]);
    world.write("state.rhai", "haproxy::state(host(\"frontend1\"));");
    let told = world.told("run", "state.rhai", &[]).exits(0);
    let state = &told.task("frontend1/haproxy:servers")["output"]["database"];
    assert_eq!([&state["database1"]["status"], &state["database1"]["check"]], ["UP", "L7OK"]);
    assert!(state["database1"]["sessions"].is_u64() && state["database1"]["backup"] == false, "{state}");
    assert_eq!(state["database2"]["status"], "DOWN");
    world.step("clients come to the leader");

    a_bad_configuration(&world);
    world.waits_for("database2", &asked);
}
