//! TLS is switched on in a cluster that runs, while clients write, and certificates are replaced.

use super::NODES;
use crate::common::has_its_turn;
use crate::common::prepared::Prepared;
use crate::common::world::World;

/// A CA, and a certificate with its key for every node.
const CERTIFICATES: &str = r#"set -e; mkdir -p /srv/made; cd /srv/made
[ -e ca.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/CN=a CA" 2>/dev/null
for name in database1 database2 database3; do
    openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj "/CN=$name" 2>/dev/null
    echo "subjectAltName=$(getent hosts $name | sed 's/^\([^ ]*\) .*/IP:\1/')" > extensions
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile extensions -out $name.pem 2>/dev/null
done"#;

const TLS: &str = "playbooks/galera-tls.rhai";
const FOLDER: &str = "/etc/mysql/tls";

impl World {
    /// Certificates as somebody places them.
    fn certified(&self) {
        self.sh("database1", CERTIFICATES);
        for node in NODES {
            self.sh(node, &format!("install -d -m 750 -g mysql {FOLDER}"));
            let key = format!("{node}.key");
            let certificate = format!("{node}.pem");
            for (from, to) in [("ca.pem", "ca"), (&certificate, "certificate"), (&key, "key")] {
                let text = self.sh("database1", &format!("cat /srv/made/{from}"));
                let path = format!("{FOLDER}/{to}.pem");
                self.sh(
                    node,
                    &format!("umask 077; cat > {path} <<'END'\n{text}\nEND\nchown root:mysql {path}; chmod 640 {path}"),
                );
            }
        }
    }

    /// Each node shows its certificate to the others, and to clients.
    #[track_caller]
    fn speaks_tls(&self) {
        for node in NODES {
            let mine = self.sh(node, &format!("openssl x509 -noout -fingerprint -in {FOLDER}/certificate.pem"));
            for port in ["4567", "3306 -starttls mysql"] {
                let shown = format!(
                    "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint"
                );
                assert_eq!(self.sh(node, &shown), mine, "{node}, {port}");
            }
            assert_eq!(self.sql(node, "select @@wsrep_provider_options like '%socket.dynamic = true%'"), "0");
        }
    }
}

#[test]
fn tls_comes_without_a_break() {
    if !has_its_turn("galera_tls") {
        return;
    }
    let prepared = Prepared::mariadb();
    let Some(world) = World::with("galera-tls", &[(&NODES, prepared)], "bookworm") else { return };
    world.galera("run").exits(0);
    world.sql("database1", "create database shop; create table shop.orders (id int primary key auto_increment)");
    let tls = |command: &str| world.told(command, TLS, &[]);
    let refused = |why: &str| world.refuses(TLS, &[], why);
    refused("/etc/mysql/tls/ca.pem is missing");
    world.certified();
    world.sh("database2", &format!("chmod 600 {FOLDER}/key.pem"));
    refused("the user mysql can't read /etc/mysql/tls/key.pem");
    world.sh("database2", &format!("chmod 640 {FOLDER}/key.pem"));
    // One that is for a name alone.
    world.sh("database1", &format!(
        "cp {FOLDER}/certificate.pem /srv/kept; cd /srv/made && openssl x509 -req -in database1.csr -CA ca.pem -CAkey ca.key \
        -CAcreateserial -days 20 2>/dev/null > {FOLDER}/certificate.pem"
    ));
    refused("/etc/mysql/tls/certificate.pem isn't for ");
    world.sh("database1", &format!("cat /srv/kept > {FOLDER}/certificate.pem"));
    // One with a CA of its own, by which its certificate is fine.
    world.sh(
        "database3",
        &format!(
            "mkdir /srv/own; cp -a {FOLDER} /srv/own/kept; cd /srv/own; \
            openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out {FOLDER}/ca.pem -days 30 -subj /CN=own 2>/dev/null; \
            echo subjectAltName=$(getent hosts database3 | sed 's/^\\([^ ]*\\) .*/IP:\\1/') > extensions; \
            openssl req -new -key {FOLDER}/key.pem -out csr -subj /CN=database3; \
            openssl x509 -req -in csr -CA {FOLDER}/ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile extensions \
            2>/dev/null > {FOLDER}/certificate.pem"
        ),
    );
    refused("doesn't vouch for the certificate of database3: all hosts must have the same CA");
    world.sh("database3", &format!("cp -a /srv/own/kept/* {FOLDER}/"));
    world.step("certificates that servers couldn't use are refused");

    world.begin_clients();
    let planned = tls("plan").exits(0).with("change");
    let told = tls("run").exits(0);
    assert_eq!(told.with("changed").iter().filter(|id| id.contains("/restart:")).count(), 6);
    assert!(planned.iter().all(|id| told.with("changed").contains(id)), "{planned:?}, {:?}", told.with("changed"));
    let rows = world.written();
    world.is_a_cluster(rows);
    world.speaks_tls();
    world.step("switched on in two rounds");

    assert_eq!(tls("run").exits(0).with("changed"), [""; 0]);
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    world.step("a second run changes nothing");

    let starts = || NODES.map(|node| world.sh(node, "systemctl show -p ActiveEnterTimestampMonotonic --value mariadb"));
    let before = starts();
    world.certified();
    let told = tls("run").exits(0);
    assert_eq!(told.with("changed"), NODES.map(|node| format!("{node}/galera_certificate:{FOLDER}/certificate.pem")));
    assert_eq!(starts(), before);
    world.speaks_tls();
    assert_eq!(tls("run").exits(0).with("changed"), [""; 0]);
    world.step("new certificates, without a restart");

    world.sh("database3", super::ANEW);
    world.galera("run").exits(0);
    world.is_a_cluster(rows);
    world.step("a node gets its data by TLS");
}
