//! The states that hosts are taken through, in this order, by one lab: each is made from the converged hosts,
//! but for the bare ones.

mod databases;

use Kind::{Acting, Bare, Broken, Converged, Drifted, Silent};
use Step::{Boot, Kill, On};

pub(crate) const RABBIT_HA: &str = "playbooks/rabbit-ha.rhai";
pub(crate) const ROLLING_RESTART: &str = "playbooks/rabbit-rolling-restart.rhai";
pub(crate) const COOKIE_ROTATE: &str = "playbooks/rabbit-cookie-rotate.rhai";
const RESET: &str = "playbooks/rabbit-reset-migration.rhai";
const SCALE: &str = "playbooks/rabbit-scale.rhai";
const REPLACE: &str = "playbooks/rabbit-replace-node.rhai";
const UPGRADE: &str = "playbooks/rabbit-upgrade.rhai";
const TO_QUORUM: &str = "playbooks/rabbit-mirrored-to-quorum.rhai";
pub(crate) const OPENSTACK: &str = "playbooks/openstack-messaging.rhai";
pub(crate) const SITE: &str = "tests/fidelity/site.rhai";
pub(crate) const HOSTS: [&str; 3] = ["rabbit1", "rabbit2", "rabbit3"];

/// Where hosts are before a playbook is planned.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) playbook: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The playbook's params.
    pub(crate) params: &'static [&'static str],
    /// What makes it.
    pub(crate) made_by: &'static [Step],
    /// What puts it right after the run, where the run can't.
    pub(crate) undone_by: &'static [Step],
}

/// What must hold of a state, besides that no certain decision is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing of the playbook is there: at most a fifth of the decisions is unknown.
    Bare,
    /// All of it is there: a plan says just that, for certain, and a run agrees.
    Converged,
    /// Something is no longer as it was: nothing is unknown, and a run mends it.
    Drifted,
    /// So many hosts are down that none can tell what is there: at most a fifth is unknown, and a run mends
    /// it.
    Silent,
    /// Something that a run can't mend: nothing is unknown.
    Broken,
    /// As it is, and the playbook acts each time: nothing is unknown.
    Acting,
}

/// Something that happens to a host.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A script runs there.
    On(&'static str, &'static str),
    /// Its power is cut.
    Kill(&'static str),
    /// It boots again.
    Boot(&'static str),
}

/// The groups that aren't in the lab's inventory.
pub(crate) const GROUPS: &str = r#"
[groups.telemetry]
hosts = ["rabbit3"]

[groups.database]
hosts = ["rabbit1", "rabbit2", "rabbit3"]

[groups.backup]
hosts = ["rabbit2"]

[groups.frontend]
hosts = ["rabbit1", "rabbit2"]
"#;

const fn state(playbook: &'static str, name: &'static str, kind: Kind, made_by: &'static [Step]) -> State {
    State { playbook, name, kind, params: &[], made_by, undone_by: &[] }
}

const fn broken(
    playbook: &'static str,
    name: &'static str,
    made_by: &'static [Step],
    undone_by: &'static [Step],
) -> State {
    State { playbook, name, kind: Broken, params: &[], made_by, undone_by }
}

impl State {
    const fn with(self, params: &'static [&'static str]) -> Self {
        Self { params, ..self }
    }
}

/// Another cookie, of the same owner and mode.
const ANOTHER_COOKIE: &str = "file=/var/lib/rabbitmq/.erlang.cookie; rm $file; echo another > $file; chown rabbitmq:rabbitmq $file; chmod 0400 $file";
const LEAVE: &str = "rabbitmqctl stop_app; rabbitmqctl reset; rabbitmqctl start_app";
const TO_DISC: &str = "rabbitmqctl stop_app; rabbitmqctl change_cluster_node_type disc; rabbitmqctl start_app";
const TO_RAM: &str = "rabbitmqctl stop_app; rabbitmqctl change_cluster_node_type ram; rabbitmqctl start_app";
const STOP: &str = "systemctl stop rabbitmq-server";
/// A mirrored queue with a binding, and a quorum queue.
const QUEUES: &str = r#"cat > /tmp/queues.json <<'END'
{"queues":[{"name":"orders","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-queue-type":"quorum"}},
{"name":"mails","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-queue-version":2}}],
"exchanges":[{"name":"shop","vhost":"/","type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{}}],
"bindings":[{"source":"shop","vhost":"/","destination":"mails","destination_type":"queue","routing_key":"m.#","arguments":{}}]}
END
rabbitmqctl import_definitions /tmp/queues.json"#;
/// Quorum queues take this argument and don't heed it.
const UNFIT_QUEUE: &str = r#"cat > /tmp/unfit.json <<'END'
{"queues":[{"name":"unfit","vhost":"/","durable":true,"auto_delete":false,"arguments":{"x-overflow":"reject-publish-dlx"}}]}
END
rabbitmqctl import_definitions /tmp/unfit.json"#;
const MESSAGE: &str =
    r#"rabbitmqctl eval 'rabbit_basic:publish(rabbit_misc:r(<<"/">>, exchange, <<>>), <<"mails">>, [], <<"hi">>).'"#;
/// A queue that no other broker has a copy of.
const QUEUE_OF_ONE: &str = r#"cat > /tmp/queue.json <<'END'
{"queues":[{"name":"orders","vhost":"shop","durable":true,"auto_delete":false,"arguments":{}}]}
END
rabbitmqctl add_vhost shop
rabbitmqctl import_definitions /tmp/queue.json"#;
/// All that a broker has, out of the way and back.
const SET_ASIDE: &str =
    "cp -p /var/lib/rabbitmq/.erlang.cookie /root/kept-cookie; mv /var/lib/rabbitmq/mnesia /root/kept-mnesia";
const PUT_BACK: &str = "rm -rf /var/lib/rabbitmq/mnesia; mv /root/kept-mnesia /var/lib/rabbitmq/mnesia
mv /root/kept-cookie /var/lib/rabbitmq/.erlang.cookie
systemctl start rabbitmq-server; rabbitmqctl await_startup";
/// The same package under another version, in a repository on the host itself.
const NEWER_PACKAGE: &str = r#"mkdir -p /srv/repo && cd /srv/repo
there=$(dpkg-query -W -f='${Version}' rabbitmq-server)
apt-get download "rabbitmq-server=$there"
dpkg-deb -R rabbitmq-server_*.deb package
rm rabbitmq-server_*.deb
sed -i 's/^Version:.*/Version: 3.10.8-99/' package/DEBIAN/control
dpkg-deb -Zgzip -z1 -b package rabbitmq-server.deb
{
    cat package/DEBIAN/control
    echo "Filename: ./rabbitmq-server.deb"
    echo "Size: $(stat -c %s rabbitmq-server.deb)"
    echo "SHA256: $(sha256sum < rabbitmq-server.deb | cut -d ' ' -f 1)"
} > Packages
rm -r package
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list.d/newer.list
apt-get update"#;
const BROKER_IS_BACK: &str =
    "timeout 120 sh -c 'until systemctl is-active --quiet rabbitmq-server; do sleep 0.2; done'";

/// All of them.
pub(crate) fn states() -> impl Iterator<Item = &'static State> {
    MESSAGING.iter().chain(databases::STATES)
}

static MESSAGING: &[State] = &[
    state(SITE, "bare", Bare, &[]),
    state(SITE, "converged", Converged, &[]),
    state(
        SITE,
        "an edited config file",
        Drifted,
        &[
            On("rabbit1", "echo 'workers 9' >> /etc/site.conf"),
            On("rabbit2", "sed -i 's/^pool.*/pool = 99/' /etc/site.ini"),
        ],
    ),
    state(
        SITE,
        "hosts entries missing",
        Drifted,
        &[
            On("rabbit1", "sed '/db.example.org/d' /etc/hosts > /etc/new; cat /etc/new > /etc/hosts; rm /etc/new"),
            On("rabbit2", "sed '/rabbit[13]/d' /etc/hosts > /etc/new; cat /etc/new > /etc/hosts; rm /etc/new"),
        ],
    ),
    state(SITE, "a service stopped", Drifted, &[On("rabbit3", "systemctl stop site")]),
    state(
        SITE,
        "a service disabled",
        Drifted,
        &[On("rabbit1", "systemctl disable site"), On("rabbit2", "systemctl stop site; systemctl disable site")],
    ),
    state(
        SITE,
        "a unit file edited",
        Drifted,
        &[
            On("rabbit1", "sed -i 's/infinity/1000000/' /etc/systemd/system/site.service"),
            On(
                "rabbit2",
                "sed -i 's/infinity/1000000/' /etc/systemd/system/site.service; systemctl daemon-reload; \
                    systemctl restart site",
            ),
            On("rabbit3", "rm -r /etc/systemd/system/site.service.d"),
        ],
    ),
    state(SITE, "a package removed", Drifted, &[On("rabbit2", "apt-get -y purge tree")]),
    state(
        SITE,
        "half an apt install",
        Drifted,
        &[On(
            "rabbit3",
            "apt-get -y purge tree; cd /tmp; apt-get download tree; dpkg --unpack tree_*.deb; rm tree_*.deb",
        )],
    ),
    state(
        SITE,
        "a user missing",
        Drifted,
        &[On("rabbit2", "userdel deploy"), On("rabbit3", "userdel deploy; groupdel deployers")],
    ),
    state(
        SITE,
        "files gone, and others in their place",
        Drifted,
        &[
            On("rabbit1", "rm -r /srv/site /var/lib/site/tokens; mkdir -p /srv/old/er"),
            On(
                "rabbit2",
                "chmod 0777 /srv/site; chown root /srv/site/motto; ln -sfn /srv /srv/current; \
                    rm /etc/site.peer",
            ),
            On("rabbit3", "rm /srv/current /etc/site.conf.local; echo 'a motto that is too long' > /srv/site/motto"),
        ],
    ),
    state(SITE, "an output is another one", Drifted, &[On("rabbit1", "echo two > /etc/site.id")]),
    broken(
        SITE,
        "a host down",
        &[Kill("rabbit2")],
        &[
            Boot("rabbit2"),
            On("rabbit2", "timeout 60 sh -c 'until systemctl is-active --quiet site; do sleep 0.2; done'"),
        ],
    ),
    broken(
        SITE,
        "a folder where a file shall be",
        &[On("rabbit2", "rm /etc/site.conf; mkdir /etc/site.conf")],
        &[On(
            "rabbit2",
            "rmdir /etc/site.conf; printf 'workers 2\\nlevel info\\n' > /etc/site.conf; \
                systemctl restart site",
        )],
    ),
    broken(
        SITE,
        "a package that no list has",
        &[On(
            "rabbit1",
            "apt-get -qy purge tree; \
                printf 'Package: tree\\nPin: release *\\nPin-Priority: -1\\n' > /etc/apt/preferences.d/none; \
                apt-get -q update",
        )],
        &[On("rabbit1", "rm /etc/apt/preferences.d/none; apt-get -qy install tree")],
    ),
    broken(
        SITE,
        "/etc is read-only",
        &[On("rabbit2", "echo 'workers 9' >> /etc/site.conf; mount --bind /etc /etc; mount -o remount,bind,ro /etc")],
        &[On("rabbit2", "umount -l /etc; printf 'workers 2\\nlevel info\\n' > /etc/site.conf; systemctl restart site")],
    ),
    broken(
        SITE,
        "no room",
        &[On(
            "rabbit3",
            "mount -t tmpfs -o size=16k,mode=0750,uid=deploy,gid=2100 tmpfs /srv/site; \
                head -c 20000 /dev/zero > /srv/site/all || :",
        )],
        &[On("rabbit3", "umount /srv/site")],
    ),
    broken(
        SITE,
        "a group's number is another's",
        &[On("rabbit1", "groupdel deployers; groupadd -g 2100 squatters")],
        &[On("rabbit1", "groupdel squatters; groupadd -g 2100 deployers; usermod -aG deployers deploy")],
    ),
    broken(
        SITE,
        "a content that its checker refuses",
        &[On("rabbit3", "touch /etc/site.closed; echo 'workers 9' >> /etc/site.conf")],
        &[On(
            "rabbit3",
            "rm /etc/site.closed; printf 'workers 2\\nlevel info\\n' > /etc/site.conf; \
                systemctl restart site",
        )],
    ),
    state(RABBIT_HA, "bare", Bare, &[]),
    state(RABBIT_HA, "converged", Converged, &[]),
    broken(
        RABBIT_HA,
        "a masked unit",
        &[On("rabbit2", "systemctl stop rabbitmq-server; systemctl mask rabbitmq-server")],
        &[On(
            "rabbit2",
            "systemctl unmask rabbitmq-server; systemctl start rabbitmq-server; rabbitmqctl await_startup",
        )],
    ),
    state(
        RABBIT_HA,
        "installed, not clustered",
        Drifted,
        &[On("rabbit3", LEAVE), On("rabbit2", LEAVE), On("rabbit1", LEAVE)],
    ),
    state(RABBIT_HA, "clustered but for one", Drifted, &[On("rabbit3", LEAVE)]),
    broken(RABBIT_HA, "a member down", &[Kill("rabbit3")], &[Boot("rabbit3"), On("rabbit3", BROKER_IS_BACK)]),
    state(RABBIT_HA, "a service stopped", Drifted, &[On("rabbit2", STOP)]),
    state(RABBIT_HA, "all services stopped", Silent, &[On("rabbit3", STOP), On("rabbit2", STOP), On("rabbit1", STOP)]),
    state(
        RABBIT_HA,
        "an application stopped, and another's service disabled",
        Drifted,
        &[On("rabbit3", "rabbitmqctl stop_app"), On("rabbit2", "systemctl disable rabbitmq-server")],
    ),
    state(
        RABBIT_HA,
        "another cookie under a running broker, and on a stopped node",
        Drifted,
        &[On("rabbit2", ANOTHER_COOKIE), On("rabbit3", STOP), On("rabbit3", ANOTHER_COOKIE)],
    ),
    broken(
        RABBIT_HA,
        "another cookie under the first broker",
        &[On("rabbit1", "cp -p /var/lib/rabbitmq/.erlang.cookie /root/kept"), On("rabbit1", ANOTHER_COOKIE)],
        &[On("rabbit1", "mv /root/kept /var/lib/rabbitmq/.erlang.cookie")],
    ),
    state(
        RABBIT_HA,
        "cookies of another mode, and of another owner",
        Drifted,
        &[
            On("rabbit1", "chmod 0640 /var/lib/rabbitmq/.erlang.cookie"),
            On("rabbit2", "chown root:root /var/lib/rabbitmq/.erlang.cookie"),
            On("rabbit3", "chmod 0640 /var/lib/rabbitmq/.erlang.cookie"),
        ],
    ),
    state(RABBIT_HA, "the policy missing", Drifted, &[On("rabbit1", "rabbitmqctl clear_policy ha-all")]),
    state(
        RABBIT_HA,
        "another policy",
        Drifted,
        &[On("rabbit1", r#"rabbitmqctl set_policy ha-all '^x' '{"ha-mode":"exactly","ha-params":2}'"#)],
    ),
    State {
        undone_by: &[On("rabbit2", TO_RAM)],
        ..state(RABBIT_HA, "a disc node among RAM nodes", Converged, &[On("rabbit2", TO_DISC)])
    },
    state(RABBIT_HA, "a disc node that should be RAM", Drifted, &[On("rabbit2", TO_DISC)]).with(&["node_type=ram"]),
    state(RABBIT_HA, "RAM and disc mixed up", Drifted, &[On("rabbit2", TO_DISC), On("rabbit1", TO_RAM)])
        .with(&["node_type=ram"]),
    broken(
        RABBIT_HA,
        "another type that would lose a queue",
        &[On("rabbit2", TO_DISC), On("rabbit2", QUEUE_OF_ONE)],
        &[On("rabbit2", "rabbitmqctl delete_vhost shop"), On("rabbit2", TO_RAM)],
    )
    .with(&["node_type=ram"]),
    broken(
        RABBIT_HA,
        "a first host that was installed anew",
        &[On("rabbit1", STOP), On("rabbit1", SET_ASIDE), On("rabbit1", ANOTHER_COOKIE)],
        &[
            // The others went on.
            On("rabbit2", "systemctl is-active rabbitmq-server"),
            On("rabbit3", "systemctl is-active rabbitmq-server"),
            On("rabbit1", STOP),
            On("rabbit1", PUT_BACK),
        ],
    ),
    broken(
        RABBIT_HA,
        "hosts entries missing",
        &[On("rabbit2", "cp /etc/hosts /root/kept; sed '/rabbit[13]/d' /root/kept > /etc/hosts")],
        &[On("rabbit2", "cat /root/kept > /etc/hosts; rm /root/kept")],
    ),
    state(
        RABBIT_HA,
        "half an apt install",
        Drifted,
        &[
            On("rabbit3", STOP),
            On("rabbit1", "rabbitmqctl forget_cluster_node rabbit@rabbit3"),
            On(
                "rabbit3",
                "apt-get -y purge rabbitmq-server; cd /tmp; apt-get download rabbitmq-server; \
                 dpkg --unpack rabbitmq-server_*.deb; rm rabbitmq-server_*.deb",
            ),
        ],
    ),
    state(ROLLING_RESTART, "a whole cluster", Acting, &[]),
    broken(
        ROLLING_RESTART,
        "a member's service stopped",
        &[On("rabbit2", "systemctl stop rabbitmq-server")],
        &[On("rabbit2", "systemctl start rabbitmq-server; rabbitmqctl await_startup")],
    ),
    // With a password that is there: what one that is yet to be made up will be is unknown, and all that
    // follows from it.
    state(
        OPENSTACK,
        "bare",
        Bare,
        &[
            On("rabbit1", "umask 077; echo 'p$w@:%' > /root/rabbit-openstack.password"),
            On(
                "rabbit3",
                "DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends install ceilometer-agent-notification",
            ),
        ],
    ),
    state(OPENSTACK, "converged", Converged, &[]),
    state(
        OPENSTACK,
        "a file edited by hand",
        Drifted,
        &[On(
            "rabbit3",
            "sed -i 's/^rabbit_retry_backoff.*/rabbit_retry_backoff = 9/; \
                s/@rabbit2:/@rabbit9:/' /etc/ceilometer/ceilometer.conf",
        )],
    ),
    state(
        OPENSTACK,
        "a file newer than the service's start",
        Drifted,
        &[On("rabbit3", "touch /etc/ceilometer/ceilometer.conf")],
    ),
    state(OPENSTACK, "the user missing", Drifted, &[On("rabbit1", "rabbitmqctl delete_user openstack")]),
    state(OPENSTACK, "another password", Drifted, &[On("rabbit1", "echo another > /root/rabbit-openstack.password")]),
    state(
        OPENSTACK,
        "a password that others can read",
        Drifted,
        &[On("rabbit1", "chmod 0644 /root/rabbit-openstack.password")],
    ),
    broken(
        OPENSTACK,
        "a password with a slash",
        &[On("rabbit1", "echo 'half/half' > /root/rabbit-openstack.password")],
        &[On("rabbit1", "echo another > /root/rabbit-openstack.password")],
    ),
    // A new cookie isn't known before it is made.
    state(COOKIE_ROTATE, "a whole cluster", Bare, &[]),
    broken(
        COOKIE_ROTATE,
        "a member's service stopped",
        &[On("rabbit2", "systemctl stop rabbitmq-server")],
        &[On("rabbit2", "systemctl start rabbitmq-server; rabbitmqctl await_startup")],
    ),
    broken(RESET, "the only disc node", &[], &[]).with(&["node=rabbit1"]),
    state(RESET, "a member", Drifted, &[On("rabbit1", QUEUES)]).with(&["node=rabbit3"]),
    state(RESET, "a blank broker", Converged, &[]).with(&["node=rabbit3"]),
    state(SCALE, "a host that isn't a member", Drifted, &[]),
    state(SCALE, "all are members", Converged, &[]),
    state(SCALE, "a member to be removed", Drifted, &[]).with(&["remove=rabbit3"]),
    state(SCALE, "a removed host", Converged, &[]).with(&["remove=rabbit3"]),
    state(SCALE, "a removed host to come back", Silent, &[]),
    broken(
        SCALE,
        "a member's service stopped",
        &[On("rabbit2", "systemctl stop rabbitmq-server")],
        &[On("rabbit2", "systemctl start rabbitmq-server; rabbitmqctl await_startup")],
    ),
    state(REPLACE, "a member of that name that runs", Converged, &[]).with(&["gone=rabbit@rabbit2"]),
    state(
        REPLACE,
        "a host made anew",
        Drifted,
        &[On("rabbit3", "systemctl stop rabbitmq-server; apt-get -y purge rabbitmq-server; rm -rf /var/lib/rabbitmq")],
    )
    .with(&["gone=rabbit3"]),
    state(REPLACE, "a replaced host", Converged, &[]).with(&["gone=rabbit3"]),
    state(
        UPGRADE,
        "a newer package",
        Drifted,
        &[On("rabbit1", NEWER_PACKAGE), On("rabbit2", NEWER_PACKAGE), On("rabbit3", NEWER_PACKAGE)],
    )
    .with(&["version=3.10.*"]),
    state(UPGRADE, "all upgraded", Converged, &[]).with(&["version=3.10.*"]),
    broken(
        UPGRADE,
        "a member's service stopped",
        &[
            On("rabbit2", "systemctl stop rabbitmq-server"),
            On("rabbit1", "apt-get -y --allow-downgrades install rabbitmq-server=3.10.8-1.1*"),
        ],
        &[On("rabbit2", "systemctl start rabbitmq-server; rabbitmqctl await_startup")],
    )
    .with(&["version=3.10.*", "within=1s"]),
    broken(
        TO_QUORUM,
        "a queue that holds a message",
        &[On("rabbit1", QUEUES), On("rabbit1", MESSAGE)],
        &[On("rabbit1", "rabbitmqctl purge_queue mails")],
    ),
    broken(
        TO_QUORUM,
        "a queue that can't be a quorum queue",
        &[On("rabbit1", UNFIT_QUEUE)],
        &[On("rabbit1", "rabbitmqctl delete_queue unfit")],
    ),
    broken(
        TO_QUORUM,
        "a RAM node with a quorum queue's member",
        &[],
        &[On("rabbit1", "rabbitmqctl delete_queue orders")],
    ),
    state(TO_QUORUM, "mirrored queues", Drifted, &[]),
    state(TO_QUORUM, "quorum queues", Converged, &[]),
];
