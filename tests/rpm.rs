//! Packages on hosts of the rpm families, in the lab: a Debian host with real rpm, dnf and zypper, and a signed repository of small
//! packages. What isn't Debian's own there (the distribution's name, its packages) is made up; the package managers are real.

mod common;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "common/events.rs"]
mod events;
#[path = "common/world.rs"]
mod world;

use events::Told;
use std::fs;
use world::World;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/rpm");

/// Each of these is one run, by the param `does`.
const PLAYBOOK: &str = r#"
let does = param("does");
let node = host("rpm1");
switch does {
    "install" => install(node, "hello"),
    "extra" => install(node, "hello-extra"),
    "1.0" | "1.1" | "2.0" | "3.0" => install(node, "hello", #{ version: does }),
    "back to 1.0" => install(node, "hello", #{ version: "1.0", downgrade: true }),
    "remove" => uninstall(node, "hello"),
    "remove all" => uninstall(node, "hello", #{ remove_others: true }),
    "hold" => hold(node, "hello"),
    "let go" => hold(node, "hello", #{ held: false }),
    "index" => update_index(node, #{ age: "1d" }),
    "stale index" => { command(node, "age it", "find /var/cache/dnf /var/cache/zypp -type f -delete 2>/dev/null; true", #{ reason: "for the test" }); update_index(node); },
}
"#;

fn script(world: &World, file: &str) {
    world.sh("rpm1", &fs::read_to_string(format!("{FOLDER}/{file}")).expect("it is beside this file"));
}

#[test]
fn packages_come_and_go_by_dnf_and_by_zypper() {
    let Some(world) = World::up("rpm", &["rpm1"], "bookworm") else { return };
    fs::write(world.folder.path().join("packages.rhai"), PLAYBOOK).expect("the playbook");
    script(&world, "host.sh");
    come_and_go(&world, "dnf");
    script(&world, "suse.sh");
    come_and_go(&world, "zypper");
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
    changes("install", "2.0");
    fails("1.1", "hello is installed in the newer version 2.0-1");
    changes("back to 1.0", "1.0");
    changes("1.1", "1.1");
    fails("3.0", "hello");
    assert_eq!(there(), "1.1", "{manager}: what failed has changed nothing");
    changes("extra", "1.1");
    fails("remove", "hello is needed by (installed) hello-extra");
    changes("hold", "1.1");
    changes("let go", "1.1");
    assert_eq!(run("index").exits(0).count("ok"), 1);
    assert_eq!(run("stale index").exits(0).count("changed"), 2);
    changes("remove all", "package hello is not installed");
    assert_eq!(world.sh("rpm1", "rpm -q hello-extra || :"), "package hello-extra is not installed");
}
