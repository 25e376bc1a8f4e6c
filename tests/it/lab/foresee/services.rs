//! Ways to fail of units.

use super::Sees::{Not, Well, Why};
use super::Way;

pub(super) const WAYS: &[Way] = &[
    Way {
        name: "a unit that isn't there",
        made_by: ":",
        tasks: r#"service(n, "nosuch");"#,
        sees: Why("there is no unit nosuch"),
        undone_by: ":",
    },
    Way {
        name: "a unit that isn't there is enabled only",
        made_by: ":",
        tasks: r#"service(n, "nosuch", #{ running: () });"#,
        sees: Why("there is no unit nosuch"),
        undone_by: ":",
    },
    Way {
        name: "an instance of a template that isn't there",
        made_by: ":",
        tasks: r#"service(n, "worker@1");"#,
        sees: Why("there is no unit worker@1"),
        undone_by: ":",
    },
    Way {
        name: "a masked unit",
        made_by: "packaged m.service '[Service]' 'ExecStart=/bin/sleep inf' '[Install]' 'WantedBy=multi-user.target'; \
            systemctl -q mask m",
        tasks: r#"service(n, "m");"#,
        sees: Why("m is masked"),
        undone_by: "systemctl -q unmask m; nounit m.service",
    },
    Way {
        name: "a unit masked for this boot",
        made_by: "packaged m.service '[Service]' 'ExecStart=/bin/sleep inf' '[Install]' 'WantedBy=multi-user.target'; \
            systemctl -q mask --runtime m",
        tasks: r#"service(n, "m");"#,
        sees: Why("m is masked"),
        undone_by: "systemctl -q unmask --runtime m; nounit m.service",
    },
    Way {
        name: "a unit without a command",
        made_by: "unit b.service '[Service]' 'Type=simple'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("b can't be loaded"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit whose program isn't there",
        made_by: "unit b.service '[Service]' 'ExecStart=/opt/nosuch/bin'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("b starts /opt/nosuch/bin, which isn't there"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit whose program can't be executed",
        made_by: "echo >/opt/b; chmod 644 /opt/b; unit b.service '[Service]' 'ExecStart=/opt/b'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("which can't be executed"),
        undone_by: "rm -f /opt/b; nounit b.service",
    },
    Way {
        name: "a unit whose user isn't there",
        made_by: "unit b.service '[Service]' 'User=nosuchuser' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("there is no such user"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit whose group isn't there",
        made_by: "unit b.service '[Service]' 'Group=nosuchgroup' 'Type=oneshot' 'ExecStart=/bin/true'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("there is no such group"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit whose environment isn't there",
        made_by: "unit b.service '[Service]' 'EnvironmentFile=/etc/nosuch.env' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("/etc/nosuch.env, which isn't there"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit whose folder isn't there",
        made_by: "unit b.service '[Service]' 'Type=oneshot' 'WorkingDirectory=/nosuchfolder' 'ExecStart=/bin/true'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("works in /nosuchfolder"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit that needs one that isn't there",
        made_by: "unit b.service '[Unit]' 'Requires=nosuch.service' '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("b needs nosuch.service"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit that needs a masked one",
        made_by: "systemctl -q mask m.service; \
            unit b.service '[Unit]' 'Requires=m.service' '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("b needs m.service, which is masked"),
        undone_by: "systemctl -q unmask m.service; nounit b.service",
    },
    Way {
        name: "a unit whose condition doesn't hold",
        made_by: "unit b.service '[Unit]' 'ConditionPathExists=/nosuch' '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("systemd would pass over b"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit whose assertion doesn't hold",
        made_by: "unit b.service '[Unit]' 'AssertPathExists=/nosuch' '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("systemd would pass over b"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit that refuses to be started",
        made_by: "unit b.service '[Unit]' 'RefuseManualStart=yes' '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("refuses to be started by hand"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit that refuses to be stopped",
        made_by: "unit b.service '[Unit]' 'RefuseManualStop=yes' '[Service]' 'ExecStart=/bin/sleep inf'; \
            systemctl start b",
        tasks: r#"service(n, "b", #{ enabled: (), running: false });"#,
        sees: Why("refuses to be stopped by hand"),
        undone_by: "systemctl kill b; nounit b.service",
    },
    Way {
        name: "a unit with a file of its own is masked",
        made_by: "unit b.service '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: false, running: false, masked: true });"#,
        sees: Why("can't be masked"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit of this boot is enabled",
        made_by: "systemd-run -q --unit=t sleep inf",
        tasks: r#"service(n, "t");"#,
        sees: Why("made for this boot"),
        undone_by: "systemctl stop t",
    },
    Way {
        name: "a unit is enabled where /etc is immutable",
        made_by: "packaged b.service '[Service]' 'ExecStart=/bin/sleep inf' \
            '[Install]' 'WantedBy=haflow-nosuch.target'; \
            chattr +i /etc/systemd/system",
        tasks: r#"service(n, "b", #{ running: () });"#,
        sees: Why("nothing can be written in /etc/systemd/system"),
        undone_by: "chattr -i /etc/systemd/system; nounit b.service",
    },
    Way {
        name: "a socket whose port another process has",
        made_by: "unit b.socket '[Socket]' 'ListenStream=22'; \
            unit b.service '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b.socket", #{ enabled: () });"#,
        sees: Why("another process listens at port 22"),
        undone_by: "nounit b.socket b.service",
    },
    Way {
        name: "a service whose settings its checker refuses is restarted",
        made_by: "printf '#!/bin/sh\\n! grep -n nonsense /srv/named.conf\\n' >/usr/local/bin/named-checkconf; \
            chmod +x /usr/local/bin/named-checkconf; echo fine >/srv/named.conf; \
            unit named.service '[Service]' 'ExecStartPre=/usr/local/bin/named-checkconf' 'ExecStart=/bin/sleep inf'; \
            systemctl start named; echo nonsense >>/srv/named.conf; newer named /srv/named.conf",
        tasks: r#"restart_if_older(n, "named", "/srv/named.conf");"#,
        sees: Why("`named-checkconf` refuses the settings of named: 2:nonsense"),
        undone_by: "rm -f /srv/named.conf /usr/local/bin/named-checkconf; nounit named.service",
    },
    Way {
        name: "a unit that can't be reloaded",
        made_by: "unit b.service '[Service]' 'ExecStart=/bin/sleep inf'; systemctl start b; newer b /srv/newer",
        tasks: r#"reload_if_older(n, "b", "/srv/newer");"#,
        sees: Why("b can't be reloaded"),
        undone_by: "rm -f /srv/newer; nounit b.service",
    },
    Way {
        name: "a running unit that was masked is restarted",
        made_by: "packaged m.service '[Service]' 'ExecStart=/bin/sleep inf'; systemctl start m; \
            systemctl -q mask m; newer m /srv/newer",
        tasks: r#"restart_if_older(n, "m", "/srv/newer");"#,
        sees: Why("m is masked"),
        undone_by: "systemctl -q unmask m; rm -f /srv/newer; nounit m.service",
    },
    Way {
        name: "a unit whose program went is restarted",
        made_by: "cp /bin/sleep /opt/s; unit b.service '[Service]' 'ExecStart=/opt/s inf'; \
            systemctl start b; rm /opt/s; newer b /srv/newer",
        tasks: r#"restart_if_older(n, "b", "/srv/newer");"#,
        sees: Why("b starts /opt/s, which isn't there"),
        undone_by: "rm -f /srv/newer; nounit b.service",
    },
    Way {
        name: "a unit's file that systemd refuses",
        made_by: ":",
        tasks: r#"unit_file(n, "b.service", "[Service]\nExecStart=bin/true\n");"#,
        sees: Why("the new content of /etc/systemd/system/b.service is refused"),
        undone_by: ":",
    },
    Way {
        name: "a unit's file where /etc is immutable",
        made_by: "chattr +i /etc/systemd/system",
        tasks: r#"unit_file(n, "b.service", "[Service]\nExecStart=/bin/true\n");"#,
        sees: Why("/etc/systemd/system is immutable"),
        undone_by: "chattr -i /etc/systemd/system",
    },
    Way {
        name: "a unit that dies as soon as it starts",
        made_by: "unit b.service '[Service]' 'Type=notify' 'ExecStart=/bin/false'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Not("what a program does shows only when it runs"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a socket that listens already is restarted",
        made_by: "unit v.socket '[Socket]' ListenStream=0.0.0.0:2299 Accept=yes; unit v@.service '[Service]' \
            ExecStart=/bin/cat; systemctl start v.socket; newer v.socket /etc/systemd/system/v.socket",
        tasks: r#"restart_if_older(n, "v.socket", "/etc/systemd/system/v.socket");"#,
        sees: Well,
        undone_by: "nounit v.socket v@.service",
    },
    Way {
        name: "a socket for IPv6 only, beside one that listens by IPv4",
        made_by: "unit w.socket '[Socket]' ListenStream=0.0.0.0:2298 Accept=yes; unit w@.service '[Service]' \
            ExecStart=/bin/cat; unit v.socket '[Socket]' 'ListenStream=[::]:2298' BindIPv6Only=ipv6-only Accept=yes; \
            unit v@.service '[Service]' ExecStart=/bin/cat; systemctl start w.socket",
        tasks: r#"service(n, "v.socket", #{ enabled: () });"#,
        sees: Well,
        undone_by: "nounit v.socket w.socket v@.service w@.service",
    },
    Way {
        name: "a condition on what systemd was told of its environment",
        made_by: "systemctl set-environment LAB=yes; \
            unit b.service '[Unit]' ConditionEnvironment=LAB=yes '[Service]' 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Well,
        undone_by: "nounit b.service; systemctl unset-environment LAB",
    },
    Way {
        name: "a program with path=/ in its arguments",
        made_by: "unit b.service '[Service]' 'ExecStart=sh -c \"exec sleep inf\" --config-path=/etc/hosts'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Well,
        undone_by: "nounit b.service",
    },
    Way {
        name: "a template whose instances are paths",
        made_by: ":",
        tasks: r#"unit_file(n, "b@.service", "[Service]\nWorkingDirectory=%I\nExecStart=/bin/sleep inf\n");
            service(n, "b@-tmp.service", #{ enabled: () });"#,
        sees: Well,
        undone_by: "systemctl stop b@-tmp; nounit b@.service",
    },
    Way {
        name: "what runs first, and a program that isn't there",
        made_by: "unit b.service '[Service]' ExecStartPre=/bin/true ExecStart=/opt/nosuch",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Not("what runs first may bring it"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "what runs first, and brings a program",
        made_by: "unit b.service '[Service]' 'ExecStartPre=/bin/cp /bin/sleep /opt/b' 'ExecStart=/opt/b inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Well,
        undone_by: "nounit b.service; rm -f /opt/b",
    },
    Way {
        name: "a restart of what takes away what a condition asks for",
        made_by: "unit b.service '[Unit]' ConditionPathExists=!/run/b.pid '[Service]' \
            'ExecStart=sh -c \"echo > /run/b.pid; exec sleep inf\"' 'ExecStopPost=rm -f /run/b.pid'; \
            systemctl start b; until [ -e /run/b.pid ]; do :; done; newer b /etc/hosts",
        tasks: r#"restart_if_older(n, "b", "/etc/hosts");"#,
        sees: Well,
        undone_by: "nounit b.service; rm -f /run/b.pid",
    },
    Way {
        name: "a restart of a oneshot that has failed, and goes well then",
        made_by: "unit b.service '[Service]' Type=oneshot 'ExecStart=test -e /run/b.ready'; \
            systemctl start b || :; touch /run/b.ready; systemctl is-failed b",
        tasks: r#"restart_if_older(n, "b", "/etc/hosts");"#,
        sees: Well,
        undone_by: "nounit b.service; rm -f /run/b.ready",
    },
    Way {
        name: "a script for an interpreter that isn't there",
        made_by: "printf '#!/usr/bin/nosuchpython\\n' >/opt/b; chmod 755 /opt/b; \
            unit b.service '[Service]' ExecStart=/opt/b",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("a script for /usr/bin/nosuchpython"),
        undone_by: "rm -f /opt/b; nounit b.service",
    },
    Way {
        name: "a unit may write in a folder that isn't there",
        made_by: "unit b.service '[Service]' ReadWritePaths=/var/lib/nosuch 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("b names /var/lib/nosuch, which isn't there"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit's output goes to a file in a folder that isn't there",
        made_by: "unit b.service '[Service]' StandardOutput=append:/var/log/nosuch/b.log 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("/var/log/nosuch"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit's input is a file that isn't there",
        made_by: "unit b.service '[Service]' StandardInput=file:/etc/nosuchinput 'ExecStart=/bin/cat'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("/etc/nosuchinput"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit's root isn't there",
        made_by: "unit b.service '[Service]' RootDirectory=/srv/nosuchroot 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("/srv/nosuchroot"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a unit's environment is a folder",
        made_by: "mkdir /etc/b.env; unit b.service '[Service]' EnvironmentFile=/etc/b.env 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("/etc/b.env, which is a folder"),
        undone_by: "nounit b.service; rmdir /etc/b.env",
    },
    Way {
        name: "a program that only root may execute, for another user",
        made_by: "install -m 700 /bin/sleep /opt/b; \
            unit b.service '[Service]' User=nobody 'ExecStart=/opt/b inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("nobody may not execute /opt/b"),
        undone_by: "nounit b.service; rm -f /opt/b",
    },
    Way {
        name: "a program that only root may execute, and does",
        made_by: "install -m 700 /bin/true /opt/b; unit b.service '[Service]' User=nobody ExecStartPre=+/opt/b \
            'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Well,
        undone_by: "nounit b.service; rm -f /opt/b",
    },
    Way {
        name: "a unit's further group isn't there",
        made_by: "unit b.service '[Service]' SupplementaryGroups=nosuchgroup 'ExecStart=/bin/sleep inf'",
        tasks: r#"service(n, "b", #{ enabled: () });"#,
        sees: Why("nosuchgroup"),
        undone_by: "nounit b.service",
    },
    Way {
        name: "a timer without its service",
        made_by: "unit lonely.timer '[Timer]' OnCalendar=daily",
        tasks: r#"service(n, "lonely.timer", #{ enabled: () });"#,
        sees: Why("lonely.timer needs lonely.service"),
        undone_by: "nounit lonely.timer",
    },
    Way {
        name: "a socket whose service runs",
        made_by: "unit d.socket '[Socket]' ListenStream=/run/d.sock; \
            unit d.service '[Service]' 'ExecStart=/bin/sleep inf'; systemctl start d.service",
        tasks: r#"service(n, "d.socket", #{ enabled: () });"#,
        sees: Why("d.socket can't listen while d.service"),
        undone_by: "nounit d.socket d.service",
    },
    Way {
        name: "a oneshot that is to run for ever",
        made_by: "unit o.service '[Service]' Type=oneshot ExecStart=/bin/true",
        tasks: r#"service(n, "o", #{ enabled: () });"#,
        sees: Why("o ends by itself"),
        undone_by: "nounit o.service",
    },
    Way {
        name: "a restart of what refuses to be stopped",
        made_by: "unit r.service '[Unit]' RefuseManualStop=yes '[Service]' 'ExecStart=/bin/sleep inf'; \
            systemctl start r; newer r /etc/systemd/system/r.service",
        tasks: r#"restart_if_older(n, "r", "/etc/systemd/system/r.service");"#,
        sees: Why("r refuses to be stopped by hand"),
        undone_by: "sed -i /Refuse/d /etc/systemd/system/r.service; systemctl daemon-reload; nounit r.service",
    },
    Way {
        name: "a restart that systemd would pass over",
        made_by: "touch /run/c; unit c.service '[Unit]' ConditionPathExists=/run/c '[Service]' \
            'ExecStart=/bin/sleep inf'; systemctl start c; rm /run/c; newer c /srv/c",
        tasks: r#"restart_if_older(n, "c", "/srv/c");"#,
        sees: Why("systemd would pass over c"),
        undone_by: "nounit c.service",
    },
    Way {
        name: "a restart of what has failed, and fails again",
        made_by: "unit f.service '[Service]' Type=exec ExecStart=/bin/false; systemctl start f; \
            until systemctl is-failed -q f; do :; done",
        tasks: r#"restart_if_older(n, "f", "/etc/systemd/system/f.service");"#,
        sees: Not("what a program does can't be told before it runs"),
        undone_by: "nounit f.service",
    },
];
