//! A lab for real: hosts are booted, logged in to, cut off, killed, and nothing is left of them.

mod common;

use std::{fs, process::Command, sync::Mutex};

use common::{Down, hosts, name, sh, skipped, ssh};
use haflow_lab::{Lab, LabError, Progress};

fn printed(program: &str, args: &[&str]) -> String {
    String::from_utf8(Command::new(program).args(args).output().unwrap().stdout).unwrap()
}

/// Everything on the machine that bears the lab's id or name.
fn left_of(name: &str, id: &str) -> Vec<String> {
    let mut places = vec![
        fs::read_to_string("/proc/self/mountinfo").unwrap(),
        printed("ip", &["-o", "link"]),
        printed("ip", &["route", "show", "table", "all"]),
        printed("nft", &["list", "ruleset"]),
        printed("find", &["/sys/fs/cgroup", "-name", &format!("haflow-{id}*")]),
        printed("find", &["/run/haflow", "/run/netns", "/var/lib/haflow", "-maxdepth", "3"]),
    ];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let part = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&part("cmdline")).replace('\0', " ");
        let cgroup = String::from_utf8_lossy(&part("cgroup")).into_owned();
        // What has ended and waits for the machine's init to take note has no command line any more.
        let own = entry.file_name().to_str() == Some(&*std::process::id().to_string());
        if !own && !text.is_empty() {
            places.push(format!("{} {}", text.replace('\n', " "), cgroup.replace('\n', " ")));
        }
    }
    let marks = [format!("haflow-{id}"), format!("haflow_{id}"), format!("haflow{id}"), name.to_owned()];
    let lines = places.iter().flat_map(|text| text.lines());
    lines.filter(|line| marks.iter().any(|mark| line.contains(mark))).map(str::to_owned).collect()
}

fn id_of(name: &str) -> String {
    let text = fs::read_to_string(format!("/var/lib/haflow/lab/{name}/lab.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["id"].as_str().unwrap().to_owned()
}

#[test]
fn two_hosts_live_are_cut_killed_booted_and_gone() {
    if skipped() {
        return;
    }
    let name = &name("life");
    let down = Down(name.clone());
    let said = Mutex::new(Vec::new());
    let progress = |what: Progress| said.lock().unwrap().push(what);
    assert!(Lab::find(name).unwrap().is_none());
    let lab = Lab::up(name, &hosts(&["one", "two"]), "bookworm", &progress).unwrap();
    let id = id_of(name);
    assert!(!left_of(name, &id).is_empty(), "the look for remains sees nothing");

    assert_eq!(lab.hosts().iter().map(|host| &*host.name).collect::<Vec<_>>(), ["one", "two"]);
    assert!(lab.hosts().iter().all(|host| host.running && host.user == "root" && host.suite == "bookworm"));
    assert_eq!(sh(&lab, "one", "hostname; cat /etc/hostname"), "one\none");
    assert_eq!(sh(&lab, "two", "systemctl is-system-running --wait"), "running");
    let two = lab.host("two").unwrap().address.to_string();
    assert_eq!(sh(&lab, "one", "getent hosts two | cut -d' ' -f1"), two);
    assert_eq!(sh(&lab, "two", "getent hosts two | cut -d' ' -f1"), two);
    sh(&lab, "one", "ping -c1 -W2 two");
    sh(&lab, "one", "apt-get -q update");
    assert_ne!(sh(&lab, "one", "cat /etc/machine-id"), sh(&lab, "two", "cat /etc/machine-id"));
    let as_debian: Vec<String> =
        lab.ssh_args("one").unwrap().iter().map(|arg| arg.replace("root@", "debian@")).collect();
    let output = Command::new("ssh").args(&as_debian).args(["sudo", "-n", "id", "-u"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");

    // A second `up` changes nothing.
    let boot_id = sh(&lab, "one", "stat -c %Y /proc/1; pgrep -o systemd-journal");
    let again = Lab::up(name, &hosts(&["two", "one"]), "bookworm", &progress).unwrap();
    assert_eq!(again.hosts().iter().map(|host| &*host.name).collect::<Vec<_>>(), ["two", "one"]);
    assert_eq!(sh(&lab, "one", "stat -c %Y /proc/1; pgrep -o systemd-journal"), boot_id);
    let taken_up = |what: &&Progress| matches!(what, Progress::TakenUp { .. });
    assert_eq!(said.lock().unwrap().iter().filter(taken_up).count(), 2);
    assert!(Lab::list().unwrap().iter().flatten().any(|lab| lab.name() == name));

    lab.cut("two").unwrap();
    assert!(Lab::find(name).unwrap().unwrap().host("two").unwrap().cut);
    assert!(!ssh(&lab, "one", "ping -c1 -W1 two").status.success());
    lab.heal("two").unwrap();
    sh(&lab, "one", "ping -c1 -W5 two");

    // A power cut takes what runs, and leaves what is on the disk.
    sh(&lab, "two", "echo kept > /root/file; sync; systemd-run --quiet sleep 1000");
    lab.kill("two").unwrap();
    assert!(!Lab::find(name).unwrap().unwrap().host("two").unwrap().running);
    lab.boot("two").unwrap();
    assert_eq!(sh(&lab, "two", "cat /root/file"), "kept");
    assert!(!ssh(&lab, "two", "pgrep -x sleep").status.success());
    sh(&lab, "one", "ping -c1 -W2 two");

    drop(down);
    assert_eq!(left_of(name, &id), [""; 0]);
    assert!(Lab::find(name).unwrap().is_none());
    Lab::down(name, &progress).unwrap();
}

#[test]
fn a_host_that_joins_later_is_known_to_all() {
    if skipped() {
        return;
    }
    let name = &name("join");
    let _down = Down(name.clone());
    Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    let lab = Lab::up(name, &hosts(&["three"]), "bookworm", &|_| {}).unwrap();
    assert_eq!(lab.hosts().len(), 2);
    sh(&lab, "one", "ping -c1 -W2 three");
    let err = Lab::up(name, &hosts(&["one"]), "trixie", &|_| {}).unwrap_err();
    assert!(matches!(err, LabError::Suite { .. }), "{err}");
}

#[test]
fn a_crashs_remains_are_taken_up_and_removed() {
    if skipped() {
        return;
    }
    let name = &name("crash");
    let down = Down(name.clone());
    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    let id = id_of(name);
    sh(&lab, "one", "echo kept > /root/file; sync");

    // The host's link is gone, as after half a `down`: the next `up` makes it whole again.
    assert!(Command::new("ip").args(["link", "del", &format!("haflow{id}-00")]).status().unwrap().success());
    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    assert_eq!(sh(&lab, "one", "cat /root/file"), "kept");

    // So is the bridge, with a host that was powered off.
    ssh(&lab, "one", "systemctl poweroff");
    assert!(Command::new("ip").args(["link", "del", &format!("haflow{id}")]).status().unwrap().success());
    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    assert_eq!(sh(&lab, "one", "cat /root/file"), "kept");

    // Without its state a lab can still be removed, running host and all.
    fs::write(format!("/var/lib/haflow/lab/{name}/lab.json"), "{").unwrap();
    assert!(matches!(Lab::find(name), Err(LabError::State { .. })));
    drop(down);
    assert_eq!(left_of(name, &id), [""; 0]);
}

#[test]
fn a_host_reboots_itself() {
    if skipped() {
        return;
    }
    let name = &name("reboot");
    let _down = Down(name.clone());
    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    sh(&lab, "one", "touch /run/before");
    ssh(&lab, "one", "systemctl reboot");
    // The old sshd may answer for a moment.
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        ssh(&lab, "one", "test ! -e /run/before").status.success()
    });
    assert!(gone, "the host didn't come back");
    assert!(Lab::find(name).unwrap().unwrap().host("one").unwrap().running);
}

#[test]
fn unfit_names_are_refused_before_anything_is_made() {
    if skipped() {
        return;
    }
    let name = &name("names");
    for bad in ["Rabbit", "a.b", "../etc", ""] {
        let err = Lab::up(name, &hosts(&[bad]), "bookworm", &|_| {}).unwrap_err();
        assert!(matches!(err, LabError::Name { .. }), "{err}");
    }
    let err = Lab::up(name, &hosts(&["a", "a"]), "bookworm", &|_| {}).unwrap_err();
    assert!(matches!(err, LabError::Twice { .. }), "{err}");
    assert!(Lab::find(name).unwrap().is_none());
    assert!(Lab::find("../etc").is_err());
}
