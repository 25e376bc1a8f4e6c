//! States of the databases' playbooks. Each is made from the one before.

use super::Kind::{Acting, Bare, Converged, Drifted};
use super::Step::On;
use super::{State, broken, state};

const BACKUP: &str = "playbooks/galera-backup.rhai";
const FRONTEND: &str = "playbooks/database-frontend.rhai";
const GALERA: &str = "playbooks/galera-ha.rhai";
const RECOVER: &str = "playbooks/galera-recover.rhai";
const RESTORE: &str = "playbooks/galera-restore.rhai";
const RESTART_DATABASES: &str = "playbooks/galera-rolling-restart.rhai";
const TLS: &str = "playbooks/galera-tls.rhai";
const UPGRADE_DATABASES: &str = "playbooks/galera-upgrade.rhai";
const POSTGRES: &str = "playbooks/postgres-ha.rhai";
const SWITCHOVER: &str = "playbooks/postgres-switchover.rhai";
const RESTART_POSTGRES: &str = "playbooks/postgres-rolling-restart.rhai";
/// A database server's data is gone, as on a host that was installed anew.
const ANEW: &str = "systemctl stop mariadb; rm -rf /var/lib/mysql/*
mariadb-install-db --user=mysql --datadir=/var/lib/mysql >/dev/null 2>&1";
const MOVED_AWAY: &str = "systemctl stop mariadb; rm -rf /var/lib/mysql";
/// A database server that doesn't see the others, and has noticed.
const CUT_OFF: &str = r#"for one in rabbit1 rabbit2; do ip route add blackhole "$(getent hosts $one | cut -d ' ' -f 1)"; done
for try in $(seq 60); do
    mariadb -N -B -e "show status like 'wsrep_cluster_status'" | grep -q non-Primary && exit
    sleep 1
done"#;
/// It sees them again.
const SEES_AGAIN: &str = r#"ip route flush type blackhole
for try in $(seq 60); do
    mariadb -N -B -e "show status like 'wsrep_local_state_comment'" | grep -q Synced && exit
    sleep 1
done"#;
/// A CA, and a certificate of each host, which come to the hosts by the cluster itself.
const CERTIFICATES: &str = r#"set -e; mkdir -p /srv/made; cd /srv/made
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=CA
mariadb -e 'create database pki; create table pki.files (name varchar(50) primary key, content text)'
for name in rabbit1 rabbit2 rabbit3; do
    echo "subjectAltName=IP:$(getent hosts $name | cut -d ' ' -f 1)" > extensions
    openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile extensions -out $name.pem
done
for file in *.pem *.key; do mariadb -e "insert into pki.files values ('$file', '$(cat $file)')"; done"#;
const TAKE_THEM: &str = r#"cd /etc/mysql; install -d -m 750 -g mysql tls
take() {
    mariadb -N -B --raw -e "select content from pki.files where name = '$1'" > tls/$2.pem
    chown root:mysql tls/$2.pem; chmod 640 tls/$2.pem
}
take ca.pem ca; take $(hostname).pem certificate; take $(hostname).key key"#;

/// A public key for backups; the other one is a secret of the lab's tests.
const RECIPIENT: &str = "recipient=age1nykzuwlj7vj9rulmethem9q22u2zxhet8c5ct3n6hap2pzv89s4qhttqta";
/// Another cluster's data take the place of a node's.
const DATA_OF_ANOTHER: &str = "systemctl stop patroni; cd /var/lib/postgresql/15; mv main kept
runuser -u postgres -- /usr/lib/postgresql/15/bin/initdb -D /var/lib/postgresql/15/main >/dev/null 2>&1";
/// Its own come back.
const DATA_OF_ITS_OWN: &str = "cd /var/lib/postgresql/15; systemctl stop patroni; rm -r main; mv kept main";
/// A node follows again.
const FOLLOWS_AGAIN: &str = r#"systemctl start patroni
for try in $(seq 60); do
    [ "$(cd /; runuser -u postgres -- psql -XAt -c 'select status from pg_stat_wal_receiver')" = streaming ] && exit
    sleep 1
done; exit 1"#;

pub(super) static STATES: &[State] = &[
    state(GALERA, "bare", Bare, &[]),
    state(GALERA, "converged", Converged, &[]),
    state(GALERA, "a member stopped", Drifted, &[On("rabbit2", "systemctl stop mariadb")]),
    state(
        GALERA,
        "settings that were edited",
        Drifted,
        &[On("rabbit2", "echo max_connections = 7 >> /etc/mysql/mariadb.conf.d/70-cluster.cnf")],
    ),
    state(
        GALERA,
        "what a killed bootstrap leaves",
        Drifted,
        &[On("rabbit3", "echo _WSREP_NEW_CLUSTER=--wsrep-new-cluster > /run/mariadb-wsrep-new-cluster")],
    ),
    state(GALERA, "a host installed anew", Drifted, &[On("rabbit3", ANEW)]),
    state(GALERA, "the first host installed anew", Drifted, &[On("rabbit1", ANEW)]),
    broken(GALERA, "another name", &[], &[]).with(&["cluster=other"]),
    broken(GALERA, "a member that doesn't see the others", &[On("rabbit3", CUT_OFF)], &[On("rabbit3", SEES_AGAIN)]),
    broken(
        GALERA,
        "two clusters",
        &[On("rabbit2", ANEW), On("rabbit2", "systemctl stop mariadb; galera_new_cluster")],
        &[On("rabbit2", ANEW), On("rabbit2", "systemctl restart mariadb")],
    ),
    // The servers listen at 3306 of all addresses of these hosts.
    state(FRONTEND, "bare", Bare, &[]).with(&["port=3307"]),
    state(FRONTEND, "converged", Converged, &[]).with(&["port=3307"]),
    state(FRONTEND, "a proxy stopped", Drifted, &[On("rabbit2", "systemctl stop haproxy")]).with(&["port=3307"]),
    state(
        FRONTEND,
        "settings that were edited",
        Drifted,
        &[
            On("rabbit1", "echo '# mine' >> /etc/keepalived/keepalived.conf"),
            On("rabbit2", "echo '# mine' >> /etc/haproxy/haproxy.cfg; chmod 700 /usr/local/lib/galera-check"),
        ],
    )
    .with(&["port=3307"]),
    broken(FRONTEND, "a port that the servers have", &[], &[]),
    broken(
        FRONTEND,
        "a server that is drained",
        &[On(
            "rabbit1",
            "echo 'set server database/rabbit3 state drain' | socat - UNIX-CONNECT:/run/haproxy/admin.sock",
        )],
        &[On(
            "rabbit1",
            "echo 'set server database/rabbit3 state ready' | socat - UNIX-CONNECT:/run/haproxy/admin.sock",
        )],
    )
    .with(&["port=3307"]),
    broken(
        GALERA,
        "all stopped",
        &[
            On("rabbit1", "systemctl stop mariadb"),
            On("rabbit2", "systemctl stop mariadb"),
            On("rabbit3", "systemctl stop mariadb"),
        ],
        &[],
    ),
    broken(
        RECOVER,
        "an older one that says it left last",
        &[On("rabbit1", "sed -i 's/^safe_to.*/safe_to_bootstrap: 1/' /var/lib/mysql/grastate.dat")],
        &[On("rabbit1", "sed -i 's/^safe_to.*/safe_to_bootstrap: 0/' /var/lib/mysql/grastate.dat")],
    ),
    state(RECOVER, "stopped one after the other", Drifted, &[]),
    state(RECOVER, "a cluster that works", Converged, &[]),
    state(
        RECOVER,
        "stopped at the same moment",
        Drifted,
        &[
            On("rabbit1", "systemctl stop --no-block mariadb"),
            On("rabbit2", "systemctl stop --no-block mariadb"),
            On("rabbit3", "systemctl stop mariadb"),
        ],
    ),
    state(
        TLS,
        "no TLS",
        Drifted,
        &[On("rabbit1", CERTIFICATES), On("rabbit1", TAKE_THEM), On("rabbit2", TAKE_THEM), On("rabbit3", TAKE_THEM)],
    ),
    state(TLS, "TLS", Converged, &[]),
    broken(
        TLS,
        "a key that anybody can read",
        &[On("rabbit2", "chmod 644 /etc/mysql/tls/key.pem")],
        &[On("rabbit2", "chmod 640 /etc/mysql/tls/key.pem")],
    ),
    state(RESTART_DATABASES, "all members", Acting, &[]).with(&["times=1"]),
    broken(
        RESTART_DATABASES,
        "a member stopped",
        &[On("rabbit2", "systemctl stop mariadb")],
        &[On("rabbit2", "systemctl start mariadb")],
    ),
    state(UPGRADE_DATABASES, "all upgraded", Converged, &[]),
    state(
        UPGRADE_DATABASES,
        "a member that an upgrade left stopped",
        Drifted,
        &[On("rabbit2", "systemctl stop mariadb")],
    ),
    state(BACKUP, "no backup yet", Bare, &[]).with(&[RECIPIENT, "max_age=1d"]),
    state(BACKUP, "a backup that is new enough", Converged, &[]).with(&[RECIPIENT, "max_age=1d"]),
    state(BACKUP, "always another one", Acting, &[]).with(&[RECIPIENT]),
    broken(
        BACKUP,
        "the member that makes it is stopped",
        &[On("rabbit3", "systemctl stop mariadb")],
        &[On("rabbit3", "systemctl start mariadb")],
    )
    .with(&[RECIPIENT]),
    broken(RESTORE, "a cluster that runs", &[], &[]),
    state(
        RESTORE,
        "hosts that hold nothing",
        Bare,
        &[On("rabbit1", MOVED_AWAY), On("rabbit2", MOVED_AWAY), On("rabbit3", MOVED_AWAY)],
    ),
    state(RESTORE, "restored", Converged, &[]),
    state(POSTGRES, "bare", Bare, &[]),
    state(POSTGRES, "converged", Converged, &[]),
    state(POSTGRES, "a node stopped", Drifted, &[On("rabbit2", "systemctl stop patroni")]),
    state(POSTGRES, "a member of etcd stopped", Drifted, &[On("rabbit3", "systemctl stop etcd")]),
    state(
        POSTGRES,
        "settings that were edited",
        Drifted,
        &[On("rabbit2", "echo 'loop_wait: 7' >> /etc/patroni/config.yml")],
    ),
    state(POSTGRES, "a setting of all that is new", Drifted, &[]).with(&["parameters={\"max_connections\":150}"]),
    state(
        POSTGRES,
        "a node without data",
        Drifted,
        &[On("rabbit3", "systemctl stop patroni; rm -r /var/lib/postgresql/15/main")],
    ),
    broken(
        POSTGRES,
        "data of another cluster",
        &[On("rabbit2", DATA_OF_ANOTHER)],
        &[On("rabbit2", DATA_OF_ITS_OWN), On("rabbit2", FOLLOWS_AGAIN)],
    ),
    broken(
        POSTGRES,
        "a member of etcd without its data",
        &[On("rabbit2", "systemctl stop etcd; mv /var/lib/etcd/default /srv/etcd")],
        &[On("rabbit2", "mv /srv/etcd /var/lib/etcd/default; systemctl start etcd")],
    ),
    state(SWITCHOVER, "another one leads", Drifted, &[]).with(&["to=rabbit3"]),
    state(SWITCHOVER, "it leads", Converged, &[]).with(&["to=rabbit3"]),
    broken(
        SWITCHOVER,
        "one that doesn't follow",
        &[On("rabbit2", "systemctl stop patroni")],
        &[On("rabbit2", FOLLOWS_AGAIN)],
    )
    .with(&["to=rabbit2"]),
    state(RESTART_POSTGRES, "all follow", Acting, &[]),
    broken(
        RESTART_POSTGRES,
        "a node stopped",
        &[On("rabbit2", "systemctl stop patroni")],
        &[On("rabbit2", FOLLOWS_AGAIN)],
    ),
];
