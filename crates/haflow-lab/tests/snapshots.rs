//! Snapshots for real: what a disk held is on new hosts, what made it one host's isn't.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use common::{Down, hosts, name, sh, skipped, ssh};
use haflow_lab::{Lab, LabError, Progress, Recipe, Snapshot};

const DIR: &str = "/var/cache/haflow/lab/snapshots";

/// Removes the snapshot at the end, also of a test that fails.
struct Forget(String);

impl Drop for Forget {
    fn drop(&mut self) {
        match Snapshot::remove(&self.0, &|_| {}) {
            Ok(()) | Err(LabError::NoSnapshot { .. }) => {}
            Err(err) => eprintln!("snapshot {} stays: {err}", self.0),
        }
    }
}

/// The directory that holds a snapshot's layers.
fn layers(name: &str) -> String {
    let text = fs::read_to_string(format!("{DIR}/{name}.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    format!("{DIR}/{}", json["dir"].as_str().unwrap())
}

const CHANGE: &str = "
echo kept > /srv/file; ln /srv/file /srv/link; chmod 640 /srv/file; chown debian:nogroup /srv/file
rm -r /usr/share/bash-completion; rm -r /etc/sudoers.d; mkdir /etc/sudoers.d; touch /etc/sudoers.d/only
echo 'debian ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/only; chmod 440 /etc/sudoers.d/only
echo 'ssh-ed25519 AAAA mine' >> /home/debian/.ssh/authorized_keys; journalctl --flush; systemctl start getty.target
mkfifo /srv/pipe";
const LOOK: &str = "cat /srv/file; stat -c '%a %U %G %h' /srv/file; [ /srv/file -ef /srv/link ] && echo linked
ls /usr/share/bash-completion 2>/dev/null; ls /etc/sudoers.d; stat -c %F /srv/pipe
grep -c mine /home/debian/.ssh/authorized_keys";
const SEEN: &str = "kept\n640 debian nogroup 2\nlinked\nonly\nfifo\n1";
const IDENTITY: [&str; 3] = ["cat /etc/machine-id", "cat /etc/ssh/ssh_host_ed25519_key.pub", "ls /var/log/journal"];

#[test]
fn hosts_start_from_a_disk_without_being_that_host() {
    if skipped() {
        return;
    }
    let (from, to) = (&name("snap-from"), &name("snap-to"));
    let snapshot = &format!("{from}-it");
    let (down_from, down_to) = (Down(from.clone()), Down(to.clone()));
    let forget = Forget(snapshot.clone());
    let lab = Lab::up(from, &hosts(&["one", "other"]), "bookworm", &|_| {}).unwrap();
    sh(&lab, "one", CHANGE);
    let identity = IDENTITY.map(|script| sh(&lab, "one", script));
    let since = sh(&lab, "other", "stat -c %Y /proc/1; pgrep -o systemd-journal");
    let said = Mutex::new(Vec::new());
    let taken = lab.snapshot("one", snapshot, false, &|what| said.lock().unwrap().push(what)).unwrap();
    assert_eq!((taken.name(), taken.suite()), (&**snapshot, "bookworm"));
    assert!(taken.bytes() > 0 && taken.age() < Duration::from_mins(1));
    assert!(matches!(said.lock().unwrap()[0], Progress::ShuttingDown { .. }));
    assert_eq!(Snapshot::find(snapshot).unwrap().as_ref(), Some(&taken));
    assert!(Snapshot::list().unwrap().into_iter().flatten().any(|there| there == taken));
    // The host runs again, as itself; the other ran on.
    assert_eq!(IDENTITY[..2].iter().map(|script| sh(&lab, "one", script)).collect::<Vec<_>>(), identity[..2]);
    assert_eq!(sh(&lab, "one", LOOK), SEEN);
    assert_eq!(sh(&lab, "other", "stat -c %Y /proc/1; pgrep -o systemd-journal"), since);
    assert!(matches!(lab.snapshot("one", snapshot, false, &|_| {}), Err(LabError::SnapshotExists { .. })));

    let new = Lab::up_from(to, &hosts(&["a", "b"]), snapshot, None, &|_| {}).unwrap();
    assert!(new.hosts().iter().all(|host| host.suite == "bookworm" && host.snapshot.as_ref() == Some(snapshot)));
    for host in ["a", "b"] {
        assert_eq!(sh(&new, host, LOOK), SEEN, "{host}");
        assert_eq!(sh(&new, host, "hostname; cat /etc/hostname"), format!("{host}\n{host}"));
        assert_eq!(sh(&new, host, "systemctl is-system-running --wait"), "running");
        assert!(!ssh(&new, host, &format!("grep -E '{from}|one' /etc/hosts ~/.ssh/* /etc/hostname")).status.success());
        for (script, was) in IDENTITY.iter().zip(&identity) {
            assert!(!sh(&new, host, script).contains(was.trim()), "{host}: {script}");
        }
    }
    for script in IDENTITY {
        assert_ne!(sh(&new, "a", script), sh(&new, "b", script), "{script}");
    }
    sh(&new, "a", "ping -c1 -W2 b");
    let as_debian: Vec<String> = new.ssh_args("a").unwrap().iter().map(|arg| arg.replace("root@", "debian@")).collect();
    assert!(Command::new("ssh").args(&as_debian).args(["sudo", "-n", "true"]).status().unwrap().success());

    // What one writes, none of the others sees, nor does the next host.
    sh(&new, "a", "echo a > /srv/file; rm /srv/pipe; sync");
    assert_eq!(sh(&new, "b", LOOK), SEEN);
    assert_eq!(sh(&lab, "one", LOOK), SEEN);
    let new = Lab::up_from(to, &hosts(&["c", "a"]), snapshot, Some("bookworm"), &|_| {}).unwrap();
    assert_eq!(sh(&new, "c", LOOK), SEEN);
    assert_eq!(sh(&new, "a", "cat /srv/file"), "a");

    // A snapshot of a host that stands on one holds both, also when the first is replaced and removed.
    let upper = &Forget(format!("{from}-upper"));
    sh(&new, "a", "rm /srv/link; touch /srv/more");
    assert!(new.snapshot("a", &upper.0, false, &|_| {}).is_ok());
    let before = layers(snapshot);
    new.snapshot("b", snapshot, true, &|_| {}).unwrap();
    let err = Lab::up_from(to, &hosts(&["b"]), snapshot, None, &|_| {}).unwrap_err();
    assert!(matches!(err, LabError::OtherDisk { .. }), "{err}");
    new.kill("c").unwrap();
    new.boot("c").unwrap();
    assert_eq!(sh(&new, "c", LOOK), SEEN);
    assert!(Path::new(&before).exists(), "hosts stand on it");
    drop(down_to);
    assert!(!Path::new(&before).exists(), "nobody stands on it");
    let after = layers(snapshot);
    drop(forget);
    assert!(!Path::new(&after).exists());
    let lab = Lab::up_from(from, &hosts(&["third"]), &upper.0, None, &|_| {}).unwrap();
    assert_eq!(sh(&lab, "third", "cat /srv/file; ls /srv; cat /etc/hostname"), "a\nfile\nmore\nthird");
    drop(down_from);
}

#[test]
fn what_cant_be_a_snapshots_is_refused_before_anything_is_made() {
    if skipped() {
        return;
    }
    let name = &name("snap-no");
    let _down = Down(name.clone());
    let snapshot = &Forget(format!("{name}-it"));
    let up = |suite| Lab::up_from(name, &hosts(&["two"]), &snapshot.0, suite, &|_| {});
    let err = up(None).unwrap_err();
    assert!(matches!(err, LabError::NoSnapshot { .. }), "{err}");
    assert!(Lab::find(name).unwrap().is_none());
    assert!(matches!(Snapshot::remove(&snapshot.0, &|_| {}), Err(LabError::NoSnapshot { .. })));

    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    for bad in ["", "A", "../x", "a.json", "a/b", &"a".repeat(64)] {
        let err = lab.snapshot("one", bad, false, &|_| {}).unwrap_err();
        assert!(matches!(err, LabError::Name { .. }), "{err}");
        assert!(Snapshot::find(bad).is_err());
    }
    assert!(matches!(lab.snapshot("nobody", &snapshot.0, false, &|_| {}), Err(LabError::NoHost { .. })));

    // What makes it this host would be behind a link.
    sh(&lab, "one", "mkdir /data; mv /var/log /data/log; ln -s /data/log /var/log; sync");
    assert!(matches!(lab.snapshot("one", &snapshot.0, false, &|_| {}), Err(LabError::HostFile { .. })));
    sh(&lab, "one", "rm /var/log; mv /data/log /var/log; sync");
    // One that is off is taken as it is, and stays off.
    sh(&lab, "one", "echo kept > /srv/file; sync");
    lab.kill("one").unwrap();
    lab.snapshot("one", &snapshot.0, false, &|_| {}).unwrap();
    assert!(!Lab::find(name).unwrap().unwrap().host("one").unwrap().running);
    assert!(matches!(up(Some("trixie")), Err(LabError::SnapshotSuite { .. })));
    let err = Lab::up_from(name, &hosts(&["one"]), &snapshot.0, None, &|_| {}).unwrap_err();
    assert!(matches!(err, LabError::OtherDisk { .. }), "{err}");

    // Its base made anew with other packages, its base gone, its description damaged.
    let other = Forget(format!("{name}-other"));
    let file = format!("{DIR}/{}.json", snapshot.0);
    let text = fs::read_to_string(&file).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::write(&file, text.replace(json["fingerprint"].as_str().unwrap(), "0123456789abcdef")).unwrap();
    let err = up(None).unwrap_err();
    assert!(err.to_string().contains("was made anew") && err.to_string().contains("--replace"), "{err}");
    fs::write(&file, text.replace("/bookworm-", "/bookworm-gone-")).unwrap();
    let err = up(None).unwrap_err();
    assert!(err.to_string().contains("is gone"), "{err}");
    let none = text.replace("\"layers\": 1", "\"layers\": 0");
    let many = text.replace("\"layers\": 1", "\"layers\": 4000000000");
    for damage in ["{", &text.replace("kept-", "../kept-"), &none, &many] {
        assert_ne!(damage, text);
        fs::write(&file, damage).unwrap();
        let err = up(None).unwrap_err();
        assert!(matches!(err, LabError::SnapshotDamaged { .. }), "{err}");
        assert!(Snapshot::list().unwrap().into_iter().flatten().all(|there| there.name() != snapshot.0));
        assert!(
            Snapshot::list()
                .unwrap()
                .iter()
                .any(|there| there.as_ref().is_err_and(|err| err.to_string().contains(&snapshot.0)))
        );
        // Whatever collects remains meanwhile lets its layers be.
        lab.snapshot("one", &other.0, true, &|_| {}).unwrap();
        assert!(Path::new(&format!("{DIR}/{}", json["dir"].as_str().unwrap())).exists());
    }
    Snapshot::remove(&snapshot.0, &|_| {}).unwrap();
    assert!(!Path::new(&format!("{DIR}/{}", json["dir"].as_str().unwrap())).exists());
}

#[test]
fn one_that_was_killed_while_it_was_taken_isnt_there() {
    const CHILD: &str = "HAFLOW_TEST_TAKES_SNAPSHOT";
    if let Ok(name) = std::env::var(CHILD) {
        let lab = Lab::find(&name).unwrap().unwrap();
        lab.snapshot("one", &format!("{name}-it"), false, &|_| {}).unwrap();
        return;
    }
    if skipped() {
        return;
    }
    let name = &name("snap-kill");
    let _down = Down(name.clone());
    let snapshot = &Forget(format!("{name}-it"));
    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    sh(&lab, "one", "for n in $(seq 2000); do head -c 50000 /dev/urandom > /srv/$n; done; sync");
    // Into the copy, but not to its end.
    let half = || {
        let entries = fs::read_dir(DIR).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).find(|dir| dir.join("0/srv/1000").exists())
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "one_that_was_killed_while_it_was_taken_isnt_there"])
        .env(CHILD, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let left = loop {
        if let Some(left) = half() {
            break left;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "nothing is copied");
        std::thread::sleep(Duration::from_millis(1));
    };
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was too fast to be killed");
    assert!(Snapshot::find(&snapshot.0).unwrap().is_none());
    assert!(Snapshot::list().unwrap().into_iter().flatten().all(|there| there.name() != snapshot.0));

    // The host was off by then, and is whole; the next attempt takes the place of what was left.
    let lab = Lab::up(name, &hosts(&["one"]), "bookworm", &|_| {}).unwrap();
    lab.snapshot("one", &snapshot.0, false, &|_| {}).unwrap();
    let whole = layers(&snapshot.0);
    assert_eq!(fs::read_dir(format!("{whole}/0/srv")).unwrap().count(), 2000);
    assert!(!left.exists(), "the remains of the first are still there");
}

#[test]
fn a_recipe_is_followed_once_for_all_who_wait() {
    if skipped() {
        return;
    }
    let part = &format!("{}-r", name("recipe"));
    let recipe = |script, max_age| Recipe { part, suite: "bookworm", script, max_age };
    let (day, script) = (Duration::from_hours(24), "echo one > /etc/made; hostname > /etc/made-on");
    let made = Mutex::new(0);
    let count = |what: Progress| {
        if matches!(what, Progress::Preparing { .. }) {
            *made.lock().unwrap() += 1;
        }
    };
    let names: Vec<String> = std::thread::scope(|scope| {
        let ensure = || recipe(script, day).ensure(&count).unwrap().name().to_owned();
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(ensure)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let _forget = Forget(names[0].clone());
    assert!(names.iter().all(|name| *name == names[0] && name.starts_with(part)), "{names:?}");
    assert_eq!(*made.lock().unwrap(), 1);
    let key = &names[0][part.len() + 1..];
    assert!(Lab::names().unwrap().iter().all(|lab| !lab.ends_with(key)), "its lab is still up");

    // Another script makes another, one that fails makes none, and one that is too old is made anew.
    let other = recipe("echo two > /etc/made", day).ensure(&count).unwrap();
    let _other = Forget(other.name().to_owned());
    assert_ne!(other.name(), names[0]);
    let err = recipe("echo why >&2; false; true", day).ensure(&count).unwrap_err();
    assert!(err.to_string().contains("why"), "{err}");
    assert_eq!(*made.lock().unwrap(), 3);
    let again = recipe(script, Duration::ZERO).ensure(&count).unwrap();
    assert_eq!((again.name(), *made.lock().unwrap()), (&*names[0], 4));
    assert!(Snapshot::find(other.name()).unwrap().is_none(), "it was too old as well");
}
