//! Packages on hosts of the rpm families, in the lab: a Debian host with real rpm, dnf and zypper, and a
//! signed repository of small packages. What isn't Debian's own there (the distribution's name, its packages)
//! is made up; the package managers are real.

use crate::common::draw;
use crate::common::events::Told;
use crate::common::prepared::Prepared;
use crate::common::world::World;
use std::collections::BTreeSet;
use std::fs;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/rpm");

/// Each of these is one run, by the param `does`.
const PLAYBOOK: &str = r#"
fn with_key(node, fingerprint, more) {
    repository(node, "pinned", #{
        uri: "http://127.0.0.1:8000/pinned", key: "pinned.asc", fingerprint: fingerprint,
        // These are for apt.
        suites: "bookworm", components: ["main"],
    } + more);
}
let does = param("does");
let pin = param("pin", "none");
let other = param("other", "none");
let node = host("rpm1");
switch does {
    "install" => install(node, "hello"),
    "virtual" => install(node, "greeting"),
    "download virtual" => download(node, ["hello-extra", "greeting"]),
    "extra" => install(node, "hello-extra"),
    "1.0" | "1.1" | "2.0" | "3.0" => install(node, "hello", #{ version: does }),
    "back to 1.0" => install(node, "hello", #{ version: "1.0", downgrade: true }),
    "remove" => uninstall(node, "hello"),
    "remove all" => uninstall(node, "hello", #{ remove_others: true }),
    "hold" => hold(node, "hello"),
    "let go" => hold(node, "hello", #{ held: false }),
    "pinned" => with_key(node, pin, #{}),
    "either" => with_key(node, [pin, other], #{ key: ["pinned.asc", "other.asc"] }),
    "not pinned" => with_key(node, pin, #{ absent: true }),
    "elsewhere" => with_key(node, pin, #{ uri: "http://127.0.0.1:8001/pinned" }),
    "signed" | "unsigned" | "starter" => install(node, does),
    "download signed" => download(node, "signed"),
    "starter, quiet" => install(node, "starter", #{ start: false }),
    "no starter" => uninstall(node, "starter"),
    "index" => update_index(node, #{ age: "1d" }),
    "stale index" => { command(node, "age it", "find /var/cache/dnf /var/cache/zypp -type f -delete 2>/dev/null; true", #{ reason: "for the test" }); update_index(node); },
}
"#;

fn script(world: &World, file: &str) {
    world.sh("rpm1", &text(file));
}

fn text(file: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{file}")).expect("it is beside this file")
}

#[test]
fn packages_come_and_go_by_dnf_and_by_zypper() {
    let host = Prepared::by("haflow-test-rpm", &text("host.sh"));
    let Some(world) = World::with("rpm", &[(&["rpm1"], host)], "bookworm") else { return };
    fs::write(world.folder.path().join("packages.rhai"), PLAYBOOK).expect("the playbook");
    script(&world, "packages.sh");
    for key in ["pinned.asc", "other.asc"] {
        world.write(key, &world.sh("rpm1", &format!("cat /srv/{key}")));
    }
    for (manager, sources) in
        draw("package managers", 1, &[("dnf", "/etc/yum.repos.d"), ("zypper", "/etc/zypp/repos.d")])
    {
        if manager == "zypper" {
            script(&world, "suse.sh");
        }
        come_and_go(&world, manager);
        only_the_pinned_key_vouches(&world, manager, sources);
        world.step(manager);
    }
}

/// Everything on a host that a plan could change: its files but for what is only in memory, and what `SQLite`
/// keeps beside rpm's database, which every `rpm -q` of root touches.
const FILES: &str = r"
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /var/log -o -path /var/lib/systemd -o -name 'rpmdb.sqlite-*' \) -prune -o \
    ! -type d -printf '%p %y %i %m %u:%g %s %T@ %C@ %l\n' | sort
";

/// Puts another index in place of the good one: what a script makes of it, in its folder.
fn index(world: &World, script: &str) {
    world.sh(
        "rpm1",
        &format!(
            "rm -rf /srv/pinned/repodata && cp -r /srv/good /srv/pinned/repodata && cd /srv/pinned/repodata && export HOME=/root && {script}"
        ),
    );
}

#[track_caller]
fn only_the_pinned_key_vouches(world: &World, manager: &str, sources: &str) {
    let fingerprint = |name: &str| {
        let list = format!("gpg --with-colons --list-keys {name}@example.org");
        world.sh("rpm1", &format!("{list} | sed -n 's/^fpr:*\\([0-9A-F]*\\):$/\\1/p'"))
    };
    let pin = fingerprint("pinned");
    let pins = [format!("pin={pin}"), format!("other={}", fingerprint("other"))];
    let told = |command: &str, does: &str| {
        world.told(command, "packages.rhai", &["-e", &format!("does={does}"), "-e", &pins[0], "-e", &pins[1]])
    };
    let refused = |does: &str, words: &str| {
        let told = serde_json::to_string(&told("run", does).exits(1).events).expect("JSON");
        assert!(told.contains(words), "{manager}: {does} doesn't say {words:?}: {told}");
    };
    // The plan says it too, with what is to be done.
    let foreseen = |does: &str, words: &str, hint: &str| {
        let told = told("plan", does).exits(1);
        assert_eq!(told.with("failed"), ["rpm1/repository:pinned"], "{manager}: {does}");
        let failure = told.task("rpm1/repository:pinned")["failure"].to_string();
        assert!(failure.contains(words) && failure.contains(hint), "{manager}: {does}: {failure}");
    };
    let trusted = || {
        world.sh("rpm1", "rpm -q gpg-pubkey --qf '%{SUMMARY}\n' | sed 's/^.*<\\(.*\\)@.*$/\\1/' | sort | paste -sd ,")
    };

    let unchanged = |decision: &str, tasks: u64| {
        let before = world.sh("rpm1", FILES);
        assert_eq!(told("plan", "pinned").exits(0).count(decision), tasks, "{manager}");
        let after = world.sh("rpm1", FILES);
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.lines().collect(), after.lines().collect());
        let changed: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(changed.is_empty(), "{manager}: a plan changed {changed:#?}");
    };
    unchanged("change", 4);
    let unreached = if manager == "dnf" { "Cannot download repomd.xml" } else { "is invalid" };
    foreseen("elsewhere", unreached, "is the address right");

    let signature = if manager == "dnf" { "Bad GPG signature" } else { "is signed with an unknown key" };
    index(world, "gpg --batch --yes -u other@example.org --detach-sign --armor repomd.xml");
    let by_another = if manager == "dnf" { signature } else { "not signed by the pinned key" };
    foreseen("pinned", by_another, "is the key the one");
    refused("pinned", signature);
    // The next run is no more content than that one.
    refused("pinned", signature);
    index(world, "rm repomd.xml.asc");
    let unsigned = if manager == "dnf" { "GPG signature is not available" } else { "not signed by the pinned key" };
    foreseen("pinned", unsigned, "is the key the one");
    refused("pinned", if manager == "dnf" { "GPG signature is not available" } else { "is unsigned" });
    index(world, "echo '<!-- changed -->' >> repomd.xml");
    refused("pinned", if manager == "dnf" { "Bad GPG signature" } else { "Signature verification failed" });
    assert_eq!(trusted(), "lab,pinned");
    // zypper believes every key that rpm knows, for every repository.
    index(
        world,
        "rpm --import /srv/other.asc && gpg --batch --yes -u other@example.org --detach-sign --armor repomd.xml",
    );
    refused("pinned", if manager == "dnf" { signature } else { "it is said: not signed by the pinned key" });
    world.sh(
        "rpm1",
        "for key in $(rpm -q gpg-pubkey); do rpm -qi \"$key\" | grep -q other@ && rpm -e \"$key\"; done; :",
    );
    refused("signed", if manager == "dnf" { "Unable to find a match" } else { "not found" });
    world.step("an index that the pinned key hasn't signed");

    index(world, ":");
    assert_eq!(told("run", "pinned").exits(0).count("changed"), 1);
    unchanged("up_to_date", 5);
    assert_eq!(told("run", "pinned").exits(0).count("ok"), 5);
    told("run", "download signed").exits(0);
    assert_eq!(world.sh("rpm1", "rpm -q signed || :"), "package signed is not installed");
    world.sh(
        "rpm1",
        "mkdir /srv/away && find /srv/pinned -name 'signed-*.rpm' -exec mv {} /srv/away \\; && ls /srv/away/*",
    );
    assert_eq!(told("run", "signed").exits(0).count("changed"), 1, "{manager}: what was downloaded is there");
    world.sh("rpm1", "mv /srv/away/* /srv/pinned && rmdir /srv/away");
    refused("unsigned", "is not signed");
    assert_eq!(world.sh("rpm1", "rpm -q unsigned || :"), "package unsigned is not installed");
    world.sh("rpm1", "rpm -e signed");

    world.sh("rpm1", "cp /srv/other.asc /etc/pki/rpm-gpg/haflow-pinned.asc; rpm --import /srv/other.asc");
    let planned = told("plan", "pinned").exits(0);
    assert_eq!(
        planned.with("change"),
        ["rpm1/file:/etc/pki/rpm-gpg/haflow-pinned.asc", "rpm1/repository:pinned", "rpm1/rpm_key:pinned"]
    );
    assert_eq!(told("run", "pinned").exits(0).with("changed"), planned.with("change"));
    assert_eq!(told("run", "pinned").exits(0).count("ok"), 5);
    assert_eq!(trusted(), "lab,pinned");
    world.step("a key that changed on the host");

    index(world, "gpg --batch --yes -u other@example.org --detach-sign --armor repomd.xml");
    assert_eq!(told("run", "either").exits(0).with("changed"), planned.with("change"));
    assert_eq!(trusted(), "lab,other,pinned");
    assert_eq!(told("run", "either").exits(0).count("ok"), 5);
    index(world, ":");
    assert_eq!(told("run", "pinned").exits(0).with("changed"), planned.with("change"));
    assert_eq!(trusted(), "lab,pinned");
    world.step("a second key that comes and goes");

    // What rpm calls a key by says nothing: here a package has the pinned key's name.
    world
        .sh("rpm1", "rpm -e $(rpm -q gpg-pubkey --qf '%{NAME}-%{VERSION} %{SUMMARY}\n' | sed -n 's/ .*<pinned@.*//p')");
    let id = pin[pin.len() - 8..].to_lowercase();
    world.sh("rpm1", &format!("cd /root && printf 'Name: gpg-pubkey\nVersion: {id}\nRelease: 1\nSummary: a key\nLicense: MIT\n%%description\nx\n%%files\n' > fake.spec && HOME=/root rpmbuild -bb --quiet fake.spec && rpm -i --nodeps --force /root/rpmbuild/RPMS/*/gpg-pubkey-{id}-1.*.rpm"));
    refused("pinned", "another key with the same short id");
    world.sh("rpm1", &format!("rpm -e gpg-pubkey-{id}-1"));
    assert_eq!(told("run", "pinned").exits(0).with("changed"), ["rpm1/rpm_key:pinned"]);

    nothing_is_started(world, manager);

    // A key that another file has too stays trusted.
    world.sh("rpm1", "cp /etc/pki/rpm-gpg/haflow-pinned.asc /etc/pki/rpm-gpg/other.asc");
    assert_eq!(told("run", "not pinned").exits(0).count("changed"), 2);
    assert_eq!(trusted(), "lab,pinned");
    world.sh("rpm1", "mv /etc/pki/rpm-gpg/other.asc /etc/pki/rpm-gpg/haflow-pinned.asc");
    assert_eq!(told("run", "not pinned").exits(0).count("changed"), 2);
    assert_eq!(told("run", "not pinned").exits(0).count("ok"), 3);
    assert_eq!(trusted(), "lab");
    assert_eq!(world.sh("rpm1", &format!("ls {sources} /etc/pki/rpm-gpg | grep -c pinned || :")), "0");
    world.step("a repository that goes, with its key");
}

#[track_caller]
fn nothing_is_started(world: &World, manager: &str) {
    let state = || world.sh("rpm1", "systemctl is-active starter; systemctl is-enabled starter; :");
    let run = |does: &str| world.told("run", "packages.rhai", &["-e", &format!("does={does}")]).exits(0);
    run("starter, quiet");
    assert_eq!(state(), "inactive\nenabled", "{manager}");
    run("no starter");
    world.sh("rpm1", "systemctl disable starter");
    run("starter");
    assert_eq!(state(), "active\nenabled", "{manager}");
    run("no starter");
    let clean = "systemctl disable --now starter; rm /etc/systemd/system/starter.service; systemctl daemon-reload";
    world.sh("rpm1", clean);
    world.step("services that are started by an install, and that aren't");
}

#[track_caller]
fn come_and_go(world: &World, manager: &str) {
    let run = |does: &str| world.told("run", "packages.rhai", &["-e", &format!("does={does}")]);
    let there = || world.sh("rpm1", "rpm -q --qf '%{VERSION}' hello || :");
    let changes = |does: &str, version: &str| {
        let planned = world.told("plan", "packages.rhai", &["-e", &format!("does={does}")]).exits(0);
        assert_eq!(planned.count("change"), 1, "{manager}: {does}");
        let ran: Told = run(does).exits(0);
        assert_eq!(ran.count("changed"), 1, "{manager}: {does}");
        assert_eq!(there(), version, "{manager}: {does}");
        assert_eq!(run(does).exits(0).count("ok"), 1, "{manager}: {does} again");
    };
    let fails = |does: &str, words: &str| {
        let ran: Told = run(does).exits(1);
        let told = serde_json::to_string(&ran.events).expect("JSON");
        assert!(told.contains(words), "{manager}: {does} doesn't say {words:?}: {told}");
    };
    assert_eq!(there(), "package hello is not installed");
    for does in ["virtual", "download virtual"] {
        fails(does, "no package is called greeting, and nothing was installed; name one that provides it: hello-extra");
    }
    assert_eq!(there(), "package hello is not installed", "{manager}: a refusal installs nothing");
    changes("install", "2.0");
    fails("1.1", "hello is installed in the newer version 2.0-1");
    changes("back to 1.0", "1.0");
    changes("1.1", "1.1");
    fails("3.0", "hello");
    assert_eq!(there(), "1.1", "{manager}: what failed has changed nothing");
    changes("extra", "1.1");
    fails("virtual", "hello-extra, which provides it, is installed already");
    fails("remove", "hello is needed by (installed) hello-extra");
    changes("hold", "1.1");
    changes("let go", "1.1");
    assert_eq!(run("index").exits(0).count("ok"), 1);
    assert_eq!(run("stale index").exits(0).count("changed"), 2);
    changes("remove all", "package hello is not installed");
    assert_eq!(world.sh("rpm1", "rpm -q hello-extra || :"), "package hello-extra is not installed");
}
