//! A cluster is backed up while clients write, and another one is begun from that. All rows are counted.

use super::{ANEW, NODES};
use crate::common::events::Told;
use crate::common::has_its_turn;
use crate::common::prepared::{MARIADB, Prepared};
use crate::common::world::World;

const BACKUP: &str = "playbooks/galera-backup.rhai";
const RESTORE: &str = "playbooks/galera-restore.rhai";
const STORE: &str = "backup1";
const FOLDER: &str = "/var/backups/galera/openstack";

const SOCAT: &str = r"
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -qy --no-install-recommends install socat
";

/// What both ends have, so that the test needn't install it.
const AGE: &str = r"
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install age zstd
";

/// Keys of this test alone, made by age-keygen.
const RECIPIENT: &str = "recipient=age1nykzuwlj7vj9rulmethem9q22u2zxhet8c5ct3n6hap2pzv89s4qhttqta";
const IDENTITY: &str = "AGE-SECRET-KEY-1Z3PDQ2627X26MKGG2Z7CCUKH2SJCHMZVJPK54GTKUMWU0Q2AE4FQPQDDY4";
const ANOTHER: &str = "AGE-SECRET-KEY-1CEGPV77VS3DHTRZUXXRMHXAAGLTHUMYNENUFQHXEP08JL9SJA7VQQLPZSH";

impl World {
    fn backup(&self, command: &str, more: &[&str]) -> Told {
        self.told(command, BACKUP, &[&["-e", RECIPIENT], more].concat())
    }

    /// The key that a restore gets.
    fn key(&self, identity: &str) {
        self.write("playbooks/secrets.toml", &format!("galera_backup_identity = [\"echo\", \"{identity}\"]\n"));
    }

    /// A run of the restore fails with these words, and no node's data are touched.
    #[track_caller]
    fn no_restore(&self, why: &str) {
        let told = self.told("run", RESTORE, &[]).exits(1);
        let all = serde_json::to_string(&told.events).expect("JSON");
        assert!(all.contains(why), "it doesn't say {why:?}: {all}");
        assert!(!told.with("changed").iter().any(|id| id.contains("galera_cluster:begun")), "{all}");
    }

    /// All servers are stopped, and their data are gone: one host's as messages say it, and the others' as on
    /// hosts that were installed anew.
    fn is_bare(&self) {
        self.on_all(&format!("{ANEW}; systemctl reset-failed mariadb 2>/dev/null || :"));
        for node in &NODES[..2] {
            self.sh(node, "mv /var/lib/mysql /var/lib/mysql.old");
        }
    }
}

#[test]
fn a_cluster_begins_from_a_backup_with_all_its_rows() {
    if !has_its_turn("galera_backup") {
        return;
    }
    let hosts = [
        (&NODES[..], Prepared::by("haflow-test-galera-age", &format!("{MARIADB}{AGE}"))),
        (&[STORE][..], Prepared::by("haflow-test-socat", SOCAT)),
    ];
    let Some(world) = World::with("galera-backup", &hosts, "bookworm") else { return };
    world.galera("run").exits(0);
    world.sql("database1", "create database shop; create table shop.orders (id int primary key auto_increment)");
    world.sql("database1", "create table shop.words (word varchar(100)); insert into shop.words values ('plainly')");
    world.begin_clients();
    world.step("a cluster, and clients that write");

    let refused = world.told("run", BACKUP, &[]);
    assert!(refused.ran.stderr.contains("age-keygen -o key.txt"), "{}", refused.ran.stderr);
    let before = world.sql("database1", "select count(*) from shop.orders").parse::<usize>().expect("a number");
    assert_eq!(world.backup("plan", &[]).exits(0).with("failed"), [""; 0]);
    world.backup("run", &[]).exits(0);
    let after = world.sql("database1", "select count(*) from shop.orders").parse::<usize>().expect("a number");
    let rows = world.written();
    assert!(before < after && after <= rows, "clients write: {before}, {after}, {rows}");
    world.is_a_cluster(rows);
    let kept = world.sh(STORE, &format!("cd {FOLDER}; ls; stat -c '%a %U' .; grep -c plainly *.age || :"));
    let [data, about, folder, found] = kept.lines().collect::<Vec<_>>()[..] else { panic!("{kept}") };
    assert_eq!((about.replace(".json", ".age").as_str(), folder, found), (data, "700 root", "0"), "{kept}");
    world.step("a backup is made while clients write, and nobody reads it");

    let told = world.backup("run", &["-e", "max_age=1h"]).exits(0);
    assert_eq!(told.with("changed"), [""; 0]);
    world.sql("database2", "insert into shop.orders values (), ()");
    // What is left of one that was interrupted, and what is somebody's own.
    world.sh(STORE, &format!("touch {FOLDER}/.2026-01-01T00-00-00Z.part {FOLDER}/0-notes.json"));
    world.backup("run", &["-e", "keep=1", "--yes"]).exits(0);
    let names = world.sh(STORE, &format!("ls -A {FOLDER}"));
    assert!(names.lines().count() == 3 && !names.contains(about), "{names}");
    world.step("one that is new enough will do, and older ones are removed");

    world.key(IDENTITY);
    world.no_restore("a server runs on database1: a restore is for hosts that hold nothing");
    world.on_all("systemctl stop mariadb");
    world.no_restore("database1 holds shop of the cluster ");
    world.is_bare();
    world.sh("database3", "mkdir /var/lib/mysql/precious");
    world.no_restore("database3 holds precious: a restore is for hosts that hold nothing");
    world.sh("database3", "rmdir /var/lib/mysql/precious");
    world.key(ANOTHER);
    let told = world.told("plan", RESTORE, &[]).exits(1);
    let all = serde_json::to_string(&told.events).expect("JSON");
    assert!(all.contains("the identity doesn't open this backup, which is for age1nykzuw"), "{all}");
    world.no_restore("the identity doesn't open this backup");
    assert!(!all.contains("SECRET-KEY"), "the key is told");
    world.key(IDENTITY);
    let flip = format!("cd {FOLDER}; printf x | dd of=$(ls *.age) bs=1 seek=200000 conv=notrunc status=none");
    world.sh(STORE, &format!("cp -a {FOLDER} /srv/kept; {flip}"));
    world.no_restore("its digest is another one, and nothing is restored");
    assert_eq!(world.sh("database1", "ls -A /var/lib/mysql 2>/dev/null || :"), "");
    world.sh(STORE, &format!("cp /srv/kept/* {FOLDER}/"));
    world.step("a host that holds something, another key and a damaged backup are refused");

    // The server's user would have it that all has come already.
    let name = world.sh(STORE, &format!("ls {FOLDER}/2*.json | sed 's/.*\\///; s/.json//'"));
    world.sh(
        "database1",
        &format!(
            "runuser -u mysql -- sh -c 'cd /var/lib/mysql; mkdir -p .haflow-restore/data; printf {name} > .haflow-restore/complete'"
        ),
    );
    let told = world.told("run", RESTORE, &[]).exits(0);
    assert!(told.with("changed").contains(&"database1/galera_restore:database1".to_owned()));
    let uuid = world.is_a_cluster(rows + 2);
    assert_eq!(world.sql("database2", "select word from shop.words"), "plainly");
    world.step("a cluster begins from a backup, with all its rows");

    assert_eq!(world.told("run", RESTORE, &[]).exits(0).with("changed"), [""; 0]);
    assert_eq!(world.galera("run").exits(0).with("changed"), [""; 0]);
    assert_eq!(world.is_a_cluster(rows + 2), uuid);
    world.step("a second run changes nothing");

    // As a power cut leaves it while what has come is put in place.
    for node in &NODES[1..] {
        world.sh(node, ANEW);
    }
    world.sh(
        "database1",
        &format!(
            "set -e; systemctl stop mariadb; cd /var/lib/mysql; rm haflow-restored grastate.dat galera.cache; \
            chown root:root .; chmod 700 .; mkdir -m 700 .haflow-restore .haflow-restore/data; \
            mv shop mysql ib_logfile0 .haflow-restore/data; printf {name} > .haflow-restore/complete"
        ),
    );
    assert_ne!(world.sh("database1", "systemctl start mariadb; echo $?"), "0", "a server starts with a part of it");
    let told = world.told("run", RESTORE, &[]).exits(0);
    assert!(told.with("changed").contains(&"database1/galera_restore:database1".to_owned()));
    world.is_a_cluster(rows + 2);
    assert_eq!(
        world.sh("database1", "ls -d /var/lib/mysql/.haflow-restore 2>/dev/null; stat -c '%U %a' /var/lib/mysql"),
        "mysql 755"
    );
    let printed = world.printed.borrow().concat();
    assert!(!printed.contains(IDENTITY), "the key is told");
    world.step("one that was interrupted is finished");
}
