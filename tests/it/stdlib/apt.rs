//! Repositories with pinned keys on a Debian host with real apt, in the lab: what is signed by the key is
//! read, what isn't is refused by apt, and a key that was changed on the host is put right.

use crate::common::world::World;
use std::fs;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/apt");

const PLAYBOOK: &str = r#"
repository(host("apt1"), "example", #{
    uri: "file:/srv/repo", suites: "./",
    key: "example.asc", fingerprint: "FD39 79D6 7AC3 20B6 8D87 3DCC 9795 5758 47DA 3BC8",
});
"#;

/// The same while its publisher goes over from one key to the other.
const EITHER: &str = r#"
repository(host("apt1"), "example", #{
    uri: "file:/srv/repo", suites: "./", key: ["other.asc", "example.asc"],
    fingerprint: ["373D CC84 5703 03DD 29C0 2F80 432D A1E8 3441 D29B", "FD39 79D6 7AC3 20B6 8D87 3DCC 9795 5758 47DA 3BC8"],
});
"#;

const KEY: &str = "/etc/apt/keyrings/example.asc";

fn read(file: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{file}")).expect("it is beside this file")
}

/// Writes a file of the host.
fn put(world: &World, path: &str, text: &str) {
    world.sh("apt1", &format!("mkdir -p /srv/repo && cat >{path} <<'END'\n{text}END"));
}

#[test]
fn only_the_pinned_key_is_trusted_and_only_for_its_repository() {
    let Some(world) = World::up("apt", &["apt1"], "bookworm") else { return };
    fs::write(world.folder.path().join("key.rhai"), PLAYBOOK).expect("the playbook");
    fs::write(world.folder.path().join("example.asc"), read("example.asc")).expect("the key");
    let run = || world.told("run", "key.rhai", &[]);
    let refused = |words: &str| {
        let told = serde_json::to_string(&run().exits(1).events).expect("JSON");
        assert!(told.contains(words), "it doesn't say {words:?}: {told}");
    };
    let release = read("repo/InRelease");
    put(&world, "/srv/repo/Packages", &read("repo/Packages"));

    put(&world, "/srv/repo/InRelease", &release.replace("haflow's", "somebody's"));
    refused("BADSIG 9795575847DA3BC8");
    refused("BADSIG 9795575847DA3BC8");
    put(&world, "/srv/repo/InRelease", &release);
    assert_eq!(run().exits(0).count("changed"), 1);
    assert_eq!(run().exits(0).count("ok"), 4);
    assert_eq!(world.sh("apt1", "ls /etc/apt/trusted.gpg.d | grep -c example || :"), "0");

    // A second key in the file would be trusted too.
    let pinned = world.sh("apt1", &format!("cat {KEY}"));
    world.sh("apt1", &format!("cat >>{KEY} <<'END'\n{}END", read("other.asc")));
    let planned = world.told("plan", "key.rhai", &[]).exits(0);
    assert_eq!(planned.count("change"), 2, "the key, and the index that was perhaps read with the other one");
    assert_eq!(run().exits(0).count("changed"), 2);
    assert_eq!(world.sh("apt1", &format!("cat {KEY}")), pinned);

    // What was read with another key isn't taken for this one's.
    put(&world, KEY, &read("other.asc"));
    put(&world, "/srv/repo/InRelease", &release.replace("haflow's", "somebody's"));
    refused("BADSIG 9795575847DA3BC8");
    refused("BADSIG 9795575847DA3BC8");
    put(&world, "/srv/repo/InRelease", &release);
    run().exits(0);
    assert_eq!(run().exits(0).count("ok"), 4);

    // Of two keys each will do.
    world.write("either.rhai", EITHER);
    world.write("other.asc", &read("other.asc"));
    let told = world.told("run", "either.rhai", &[]).exits(0);
    assert_eq!(told.count("changed"), 4, "both keys, the source, and the index: {:?}", told.outcomes());
    assert_eq!(world.told("run", "either.rhai", &[]).exits(0).count("ok"), 5);
}

/// A package whose installation goes on until a file is there.
const SLOW_PACKAGE: &str = "mkdir -p /root/slow/DEBIAN && cd /root/slow && \
    printf 'Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: slow\n' > DEBIAN/control && \
    printf '#!/bin/sh\ntouch /run/held\nuntil [ -e /run/go ]; do sleep 0.1; done\n' > DEBIAN/postinst && chmod +x DEBIAN/postinst && \
    dpkg-deb -b . /root/slow.deb >/dev/null";

#[test]
fn another_that_installs_is_waited_for_and_that_is_shown() {
    let Some(world) = World::up("apt-lock", &["a"], "bookworm") else { return };
    world.sh("a", &format!("apt-get -q update && {SLOW_PACKAGE}"));
    let other = "until [ -e /run/go ]; do sleep 0.1; done";
    for (what, command, package, says) in [
        (
            "before dpkg",
            format!("apt-get -qy -o DPkg::Pre-Install-Pkgs::='touch /run/held; {other}' install tree"),
            "socat",
            "/var/lib/dpkg/lock-frontend. It is held by process",
        ),
        ("in the middle of dpkg", "dpkg -i /root/slow.deb".into(), "lsof", "was locked by another process with pid"),
    ] {
        world.sh("a", &format!("rm -f /run/held /run/go; systemd-run --quiet --unit other {command}"));
        world.sh("a", "timeout 60 sh -c 'until [ -e /run/held ]; do sleep 0.1; done'");
        world.write("install.rhai", &format!("install(host(\"a\"), [\"{package}\"]);"));
        let mut run = world.begin(&["run", "install.rhai", "-i", "inventory.toml"]);
        let id = format!("a/package:{package}");
        let said = run.until("step_said", Some(&id))["line"].to_string();
        assert!(said.contains(says), "{what}: {said}");
        world.sh("a", "touch /run/go");
        assert_eq!(run.ended().exits(0).with("changed"), [id]);
        world.step(&format!("another one is {what}: waited for, and told who it is"));
    }
    assert_eq!(
        world.sh("a", "dpkg-query -W -f '${db:Status-Abbrev}' socat tree lsof slow; dpkg --audit"),
        "ii ii ii ii"
    );
}
