//! What the field's bug reports say about other tools, tried on a real Debian host: names of units, users and
//! groups by number, lines with tabs, virtual packages. One host serves all of it.

#![allow(clippy::needless_raw_string_hashes, reason = "the playbooks have raw strings of their own")]

use crate::common::events::Told;
use crate::common::world::World;

struct Host(World);

impl Host {
    fn sh(&self, script: &str) -> String {
        self.0.sh("web1", script)
    }

    fn told(&self, command: &str, tasks: &str) -> Told {
        self.0.write("field.rhai", &format!("let node = host(\"web1\");\n{tasks}\n"));
        self.0.told(command, "field.rhai", &[])
    }

    /// The tasks do something and hold, and a second run finds nothing to do.
    #[track_caller]
    fn converges(&self, tasks: &str) {
        assert!(self.told("run", tasks).exits(0).count("changed") > 0, "{tasks}: nothing is changed");
        self.holds(tasks);
    }

    /// A run finds nothing to do.
    #[track_caller]
    fn holds(&self, tasks: &str) {
        assert_eq!(self.told("run", tasks).exits(0).count("changed"), 0, "{tasks}: a second run changes something");
    }

    /// The tasks fail, and these words are told.
    #[track_caller]
    fn fails(&self, tasks: &str, words: &[&str]) {
        let told = serde_json::to_string(&self.told("run", tasks).exits(1).events).expect("JSON");
        for words in words {
            assert!(told.contains(words), "{tasks}: it doesn't say {words:?}: {told}");
        }
    }
}

#[test]
fn what_the_field_reports_holds_here() {
    let Some(world) = World::up("field", &["web1"], "bookworm") else { return };
    let host = Host(world);
    dots_in_names_of_units(&host);
    host.0.step("names of units have dots");
    templates(&host);
    host.0.step("templates are read");
    enabled_for_this_boot(&host);
    host.0.step("enabled for one boot isn't enabled");
    enabled_with_others_and_linked(&host);
    host.0.step("units are enabled with others, and links to units stay");
    groups_without_a_name(&host);
    groups_by_number(&host);
    owners_with_two_names(&host);
    host.0.step("groups go by their numbers");
    tabs(&host);
    host.0.step("lines and keys have tabs");
    keys_without_a_home(&host);
    host.0.step("no home is made for a key");
    virtual_packages(&host);
    host.0.step("virtual packages are refused");
}

const SLEEPS: &str = r"[Service]\nExecStart=/bin/sleep infinity\n";

fn dots_in_names_of_units(host: &Host) {
    host.sh(&format!(
        "cd /etc/systemd/system && for unit in php8.2-fpm vpn@; do printf '{SLEEPS}' > $unit.service; done
         systemctl daemon-reload && systemctl start php8.2-fpm vpn@site.example.org"
    ));
    host.converges(
        r#"parallel([
            || unit_drop_in(node, "php8.2-fpm", "limits", "[Service]\nLimitNOFILE=4096\n"),
            || unit_drop_in(node, "vpn@site.example.org", "limits", "[Service]\nLimitNOFILE=4096\n"),
            || unit_drop_in(node, "php8.2-fpm.service", "nice", "[Service]\nNice=5\n"),
        ]);"#,
    );
    let read = |unit: &str| host.sh(&format!("systemctl show -p LimitNOFILE --value {unit}"));
    assert_eq!((read("php8.2-fpm"), read("vpn@site.example.org")), ("4096".into(), "4096".into()));
    host.converges(r#"restart_if_older(node, "php8.2-fpm", "/etc/systemd/system/php8.2-fpm.service.d");"#);
    // An alias is another name of the unit.
    host.sh(
        "ln -sfn /etc/systemd/system/php8.2-fpm.service /etc/systemd/system/php.service && systemctl daemon-reload",
    );
    host.converges(r#"unit_drop_in(node, "php", "alias", "[Service]\nLimitNPROC=77\n");"#);
    assert_eq!(host.sh("systemctl show -p LimitNPROC --value php8.2-fpm"), "77");
    host.converges(r#"unit_drop_in(node, "php", "alias", "", #{ absent: true });"#);
}

fn templates(host: &Host) {
    let declared = r#"parallel([
        || unit_file(node, "worker@.service", "[Service]\nExecStart=/bin/sleep infinity\nNice=NICE\n"),
        || unit_drop_in(node, "vpn@", "nice", "[Service]\nNice=NICE\n"),
    ]);"#;
    host.converges(&declared.replace("NICE", "5"));
    assert_eq!(host.sh("systemctl show -p Nice --value vpn@site.example.org"), "5");
    host.converges(r#"service(node, "worker@a", #{ enabled: () });"#);
    // The instance that runs was loaded from the old file.
    host.converges(&declared.replace("NICE", "6"));
    assert_eq!(host.sh("systemctl show -p Nice --value worker@a vpn@site.example.org | tr -d '\\n'"), "66");
    // What systemd hasn't read is seen, also where the file is as it shall be.
    host.sh("printf '[Service]\\nExecStart=/bin/sleep infinity\\nNice=6\\n' > /etc/systemd/system/worker@.service");
    host.sh("touch -d '+2 seconds' /etc/systemd/system/worker@.service");
    assert_eq!(host.told("run", &declared.replace("NICE", "6")).exits(0).with("changed").len(), 1);
    // An instance's own files, and their going.
    host.converges(r#"unit_file(node, "worker@a.service", "[Service]\nExecStart=/bin/sleep infinity\nNice=7\n");"#);
    host.converges(r#"unit_drop_in(node, "vpn@site.example.org", "nice", "[Service]\nNice=8\n");"#);
    host.holds(&declared.replace("NICE", "6"));
    assert_eq!(host.sh("systemctl show -p Nice --value worker@a vpn@site.example.org | tr -d '\\n'"), "78");
    host.converges(r#"unit_drop_in(node, "worker@", "nice", "[Service]\nNice=9\n");"#);
    host.converges(
        r#"unit_file(node, "worker@a.service", "", #{ absent: true });
        unit_drop_in(node, "vpn@site.example.org", "nice", "", #{ absent: true });
        unit_drop_in(node, "vpn@", "nice", "", #{ absent: true });
        unit_drop_in(node, "worker@", "nice", "", #{ absent: true });"#,
    );
    assert_eq!(host.sh("systemctl show -p Nice --value worker@a vpn@site.example.org | tr -d '\\n'"), "60");
    host.sh("systemctl stop worker@a vpn@site.example.org");
    host.converges(r#"unit_file(node, "worker@.service", "", #{ absent: true });"#);
}

fn enabled_for_this_boot(host: &Host) {
    host.sh(&format!(
        "cd /etc/systemd/system && for unit in rt2 rt3; do
             printf '{SLEEPS}[Install]\\nWantedBy=multi-user.target\\n' > $unit.service
         done
         printf '{SLEEPS}' > /usr/lib/systemd/system/rt4.service
         systemctl daemon-reload && systemctl enable --runtime --now rt2 && systemctl enable --runtime rt3
         systemctl mask --runtime rt4"
    ));
    host.converges(
        r#"parallel([ || service(node, "rt2"), || service(node, "rt2.service", #{ running: (), name: "only enabled" }) ]);"#,
    );
    let is_enabled = |unit: &str| host.sh(&format!("systemctl is-enabled {unit} || :"));
    assert_eq!(is_enabled("rt2"), "enabled");
    host.converges(r#"service(node, "rt3", #{ enabled: false, running: false });"#);
    assert_eq!(is_enabled("rt3"), "disabled");
    // Enabled in both ways.
    host.sh("systemctl enable --runtime rt2");
    host.converges(r#"service(node, "rt2", #{ enabled: false, running: () });"#);
    assert_eq!(is_enabled("rt2"), "disabled");
    host.converges(r#"service(node, "rt4", #{ enabled: false, running: false, masked: true });"#);
    assert_eq!(is_enabled("rt4"), "masked");
    host.sh("systemctl unmask rt4 && systemctl mask --runtime rt4");
    host.converges(r#"service(node, "rt4", #{ masked: false });"#);
    assert_eq!(is_enabled("rt4"), "static");
    // Gone with the next boot: not what was asked for.
    host.sh("systemd-run --unit=rt5 --quiet sleep infinity");
    host.fails(r#"service(node, "rt5");"#, &["rt5"]);
    host.holds(r#"service(node, "rt5", #{ enabled: false });"#);
}

fn enabled_with_others_and_linked(host: &Host) {
    host.sh(&format!(
        "cd /etc/systemd/system
         printf '{SLEEPS}[Install]\\nAlso=with1.service \\\\\\n with2.timer\\n' > with.service
         printf '{SLEEPS}[Install]\\nWantedBy=multi-user.target\\n' > with1.service
         printf '[Timer]\\nOnCalendar=daily\\nUnit=with.service\\n[Install]\\nWantedBy=timers.target\\n' > with2.timer
         printf '{SLEEPS}[Install]\\nWantedBy=multi-user.target\\n' > named.service
         ln -s /etc/systemd/system/named.service other-name.service
         mkdir -p /opt/units
         printf '{SLEEPS}[Install]\\nWantedBy=multi-user.target\\n' > /opt/units/far.service
         printf '{SLEEPS}' > /opt/units/near.service
         systemctl link /opt/units/far.service && systemctl link --runtime /opt/units/near.service
         systemctl daemon-reload"
    ));
    let is_enabled = |units: &str| host.sh(&format!("systemctl is-enabled {units} | tr '\\n' ' '"));
    assert_eq!(is_enabled("with with1 with2.timer"), "indirect disabled disabled");
    host.holds(r#"service(node, "with", #{ enabled: false, running: () });"#);
    host.converges(r#"service(node, "with");"#);
    assert_eq!(is_enabled("with with1 with2.timer"), "indirect enabled enabled");
    host.sh("systemctl disable with1");
    host.converges(r#"service(node, "with");"#);
    assert_eq!(is_enabled("with1 with2.timer"), "enabled enabled");
    host.sh("systemctl disable with1 && systemctl enable --runtime with1");
    host.converges(r#"service(node, "with", #{ enabled: false, running: () });"#);
    assert_eq!(is_enabled("with with1 with2.timer"), "indirect disabled disabled");
    // In use by another name, and not enabled.
    assert_eq!(is_enabled("named"), "indirect");
    host.converges(r#"service(node, "named", #{ running: () });"#);
    assert_eq!(is_enabled("named"), "enabled");
    // Linked: enabling and disabling leave the link alone.
    assert_eq!(is_enabled("far near"), "linked linked-runtime");
    host.holds(r#"service(node, "far", #{ enabled: false, running: () });"#);
    host.holds(r#"service(node, "near", #{ enabled: true, running: () });"#);
    host.converges(r#"service(node, "far");"#);
    assert_eq!(is_enabled("far"), "enabled");
    host.converges(r#"service(node, "far", #{ enabled: false, running: false });"#);
    assert_eq!(is_enabled("far near"), "linked linked-runtime");
    assert_eq!(host.sh("readlink /etc/systemd/system/far.service"), "/opt/units/far.service");
}

fn groups_without_a_name(host: &Host) {
    host.sh("groupadd -g 4242 orphans && useradd -m -g orphans orphan && sed -i '/^orphans:/d' /etc/group /etc/gshadow
         getent passwd orphan");
    host.converges(r#"user(node, "orphan", #{ shell: "/bin/bash" });"#);
    host.holds(r#"user(node, "orphan", #{ groups: [], only_these_groups: true });"#);
    host.holds(r#"user(node, "orphan", #{ group: 4242 });"#);
    host.fails(r#"user(node, "orphan", #{ group: "4343" });"#, &["there is no group 4343"]);
    host.converges(r#"user(node, "orphan", #{ group: "users" });"#);
    assert_eq!(host.sh("id -g orphan"), "100");
}

fn groups_by_number(host: &Host) {
    host.converges(r#"user(node, "dup", #{ groups: ["adm", "www-data", "adm"] });"#);
    host.holds(r#"user(node, "dup", #{ groups: ["www-data", "adm"] });"#);
    host.converges(r#"user(node, "numgroup", #{ group: "100" });"#);
    host.holds(r#"user(node, "numgroup", #{ group: 100 });"#);
    host.holds(r#"user(node, "numgroup", #{ group: "users" });"#);
    // Two names for one group, and for one user.
    host.sh("groupadd -o -g 100 everybody && useradd -o -u 0 -g 0 -M -d /root toor");
    host.holds(r#"user(node, "numgroup", #{ group: "everybody" });"#);
    host.converges(r#"user(node, "both", #{ groups: ["users", "everybody", 100, "4"] });"#);
    host.holds(r#"user(node, "both", #{ groups: ["4", "users"], only_these_groups: true });"#);
    host.holds(r#"user(node, "both", #{ groups: ["adm", 100], only_these_groups: true });"#);
    host.converges(r#"user(node, "both", #{ groups: "everybody", only_these_groups: true });"#);
    host.converges(r#"user(node, "toor", #{ uid: 0, group: "root", groups: ["adm"], shell: "/bin/bash" });"#);
    assert_eq!(host.sh("id -u toor; id -G root"), "0\n0", "the other user of that number is left alone");
    host.fails(r#"user(node, "both", #{ groups: [7777] });"#, &["there is no group 7777"]);
}

/// The first of two names for a number is the one that `stat` prints.
fn owners_with_two_names(host: &Host) {
    host.sh("groupadd -g 777 agroup && groupadd -o -g 777 rabbitmq
         useradd -u 777 -g 777 -M auser && useradd -o -u 777 -g 777 -M rabbitmq
         mkdir -p /var/lib/rabbitmq && echo cookie > /var/lib/rabbitmq/.erlang.cookie
         chown -R 777:777 /var/lib/rabbitmq && chmod 0600 /var/lib/rabbitmq/.erlang.cookie
         stat -c %U:%G /var/lib/rabbitmq/.erlang.cookie | grep -qx auser:agroup");
    host.converges("rabbitmq::cookie_owner(node);");
    assert_eq!(host.sh("stat -c '%u %g %a' /var/lib/rabbitmq/.erlang.cookie"), "777 777 400");
}

fn tabs(host: &Host) {
    host.converges(r#"line(node, "/etc/fstab", "tmpfs\t/srv/t\ttmpfs\tdefaults\t0\t0");"#);
    assert_eq!(host.sh("grep -c '^tmpfs\t/srv/t\ttmpfs\tdefaults\t0\t0$' /etc/fstab"), "1");
    // Each is a task of its own, and another line.
    host.converges(
        r#"line(node, "/etc/tabs", "a\tb", #{ create: true });
        line(node, "/etc/tabs", "a\\tb");
        line(node, "/etc/tabs", "a b");
        line(node, "/etc/tabs", "x\x1b[1m\ry");
        block(node, "/etc/tabs", "a\tb", "y\n");"#,
    );
    host.converges(
        r#"user(node, "anna");
        authorized_key(node, "anna", "ssh-ed25519\tAAAAC3NzaC1lZDI1NTE5AAAAIJqfcjgXvCUkWXbtqQY6mIdUqDy3fPZpvH4XzDDmPVlC\tanna@desk");"#,
    );
}

fn keys_without_a_home(host: &Host) {
    let key = r#"authorized_key(node, "homeless", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqfcjgXvCUkWXbtqQY6mIdUqDy3fPZpvH4XzDDmPVlC a");"#;
    host.sh("useradd -M -d /home/far/homeless homeless");
    host.fails(key, &["there is no folder /home/far/homeless, the home of homeless", "create_home: true"]);
    assert_eq!(host.sh("ls -d /home/far 2>/dev/null || :"), "");
    host.holds(&key.replace("\");", "\", #{ absent: true });"));
    host.converges(&format!(r#"user(node, "homeless", #{{ create_home: true }}); {key}"#));
    assert_eq!(host.sh("stat -c '%U %a' /home/far/homeless/.ssh"), "homeless 700");
}

/// Two packages with the same virtual name, one with a name of its own, and one that is real.
const REPOSITORY: &str = r#"
set -eu
mkdir -p /srv/repo && cd /srv/repo
for spec in prov1:onlyone prov2a:two prov2b:two real:none; do
    mkdir -p tree/DEBIAN
    cat >tree/DEBIAN/control <<END
Package: ${spec%:*}
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.org>
Provides: ${spec#*:}
Description: a package of the tests
END
    dpkg-deb -b tree "${spec%:*}.deb" >/dev/null
    { dpkg-deb -f "${spec%:*}.deb"
      printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${spec%:*}.deb" "$(stat -c %s "${spec%:*}.deb")" "$(sha256sum "${spec%:*}.deb" | cut -d ' ' -f 1)"
    } >>Packages
done
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/tests.list
"#;

fn virtual_packages(host: &Host) {
    host.sh(REPOSITORY);
    let installed = || host.sh("dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | sort");
    let before = installed();
    host.fails(r#"install(node, "onlyone");"#, &["onlyone is a virtual package", "name one that provides it: prov1"]);
    host.fails(r#"install(node, "two");"#, &["two is a virtual package", "prov2a", "prov2b"]);
    host.fails(r#"install(node, ["real", "onlyone"]);"#, &["onlyone is a virtual package"]);
    host.fails(r#"download(node, "onlyone");"#, &["onlyone is a virtual package"]);
    assert_eq!(installed(), before, "a refusal installs nothing");
    host.converges(r#"install(node, ["prov1", "real"]);"#);
    host.fails(
        r#"install(node, "onlyone");"#,
        &["name one that provides it: prov1", "prov1, which provides it, is installed"],
    );
    host.fails(r#"install(node, "nothing-of-this-name");"#, &["Unable to locate package nothing-of-this-name"]);
    assert_eq!(host.sh("ls -A /usr/sbin/policy-rc.d* 2>/dev/null | grep -c haflow || :"), "0");
}
