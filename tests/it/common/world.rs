//! Hosts to test on: a lab of the test's own, taken down when the test is over, however it ends.

use crate::common::events::{Told, haflow};
use crate::common::prepared::Prepared;
use crate::common::{Ran, all, skipped};
use haflow_lab::{Lab, LabError};
use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;
use tempfile::TempDir;

/// A lab that lives as long as this, and a folder to work in.
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) folder: TempDir,
    /// Everything that haflow has printed.
    pub(crate) printed: RefCell<Vec<String>>,
    part: String,
    began: Instant,
    _turn: Turn,
}

/// What their secrets are: a password with all that can be mistaken for something else in a file of settings,
/// and a key that age-keygen has made for these tests alone.
const SECRETS: &str = r#"patroni = ["printf", "%s", "it's q \\ #: %x"]
galera_backup_identity = ["echo", "AGE-SECRET-KEY-1Z3PDQ2627X26MKGG2Z7CCUKH2SJCHMZVJPK54GTKUMWU0Q2AE4FQPQDDY4"]
"#;

/// How many labs are up at once: three brokers take two gigabytes, and now and then all of two processors.
const AT_ONCE: usize = 3;

static LABS: AtomicUsize = AtomicUsize::new(0);

static UP: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the labs that may be up at once.
struct Turn;

impl Turn {
    fn wait() -> Self {
        let (up, down) = &UP;
        let mut up = down.wait_while(up.lock().expect("no panic holds it"), |up| *up == AT_ONCE).expect("nor here");
        *up += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (up, down) = &UP;
        *up.lock().expect("no panic holds it") -= 1;
        down.notify_one();
    }
}

fn owned(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

/// The playbooks that come with haflow.
pub(crate) fn playbooks() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../playbooks");
    let paths = fs::read_dir(folder).expect("playbooks").map(|entry| entry.expect("a file").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "rhai")).collect()
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = Lab::down(self.lab.name(), &|_| {}) {
            eprintln!("the lab {} stays: {error}", self.lab.name());
        }
        self.step("the lab is down");
    }
}

impl World {
    /// A lab with these hosts, bare; `None`, with a word on it, if there can't be one.
    pub(crate) fn up(part: &str, hosts: &[&str], suite: &str) -> Option<Self> {
        Self::lab(part, suite, |name| Lab::up(name, &owned(hosts), suite, &|_| {}))
    }

    /// A lab with these hosts, each of which has what was prepared for it; `None`, with a word on it, if
    /// there can't be one.
    pub(crate) fn with(part: &str, hosts: &[(&[&str], Prepared)], suite: &str) -> Option<Self> {
        let world = Self::lab(part, suite, |name| {
            let mut lab = None;
            for (hosts, prepared) in hosts {
                let snapshot = prepared.snapshot(suite)?;
                lab = Some(Lab::up_from(name, &owned(hosts), &snapshot, Some(suite), &|_| {})?);
            }
            Ok(lab.expect("there are hosts"))
        })?;
        for (hosts, prepared) in hosts.iter().filter(|(_, prepared)| !prepared.own.is_empty()) {
            for host in *hosts {
                world.sh(host, prepared.own);
            }
        }
        Some(world)
    }

    fn lab(part: &str, suite: &str, up: impl FnOnce(&str) -> Result<Lab, LabError>) -> Option<Self> {
        if let Err(why) = haflow_lab::supported() {
            skipped(&why.to_string());
            return None;
        }
        let built = fs::read_dir("/var/cache/haflow/lab").is_ok_and(|mut bases| {
            bases
                .any(|base| base.is_ok_and(|base| base.file_name().to_string_lossy().starts_with(&format!("{suite}-"))))
        });
        if suite != "bookworm" && !built && !all() {
            skipped(&format!("there is no base of {suite} yet; HAFLOW_TEST_ALL=1 has it built"));
            return None;
        }
        let turn = Turn::wait();
        let began = Instant::now();
        // Two tests may call their part the same.
        let name = format!("haflow-test-{part}-{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        // The guard comes first: a lab that comes up only half goes too.
        let folder = tempfile::tempdir().expect("a folder");
        let lab = up(&name).unwrap_or_else(|error| {
            let _ = Lab::down(&name, &|_| {});
            panic!("the lab doesn't come up: {error}")
        });
        let world = Self { lab, folder, printed: RefCell::default(), part: part.into(), began, _turn: turn };
        fs::create_dir(world.folder.path().join("playbooks")).expect("a folder");
        for playbook in playbooks() {
            let to = world.folder.path().join("playbooks").join(playbook.file_name().expect("a file"));
            fs::copy(&playbook, to).expect("a playbook");
        }
        world.write("playbooks/secrets.toml", SECRETS);
        let inventory = world.haflow(&["lab", "--name", &name, "inventory"]);
        assert_eq!(inventory.exit, 0, "{}", inventory.stderr);
        world.write("inventory.toml", &inventory.stdout);
        world.step("the hosts are up");
        Some(world)
    }

    /// Says what has been shown to hold, and when.
    pub(crate) fn step(&self, what: &str) {
        println!("{}  {:6.1} s  {what}", self.part, self.began.elapsed().as_secs_f64());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("a file");
    }

    pub(crate) fn haflow(&self, arguments: &[&str]) -> Ran {
        let ran = Ran::of(&mut haflow(self.folder.path(), arguments.iter().copied()));
        self.printed.borrow_mut().extend([ran.stdout.clone(), ran.stderr.clone()]);
        ran
    }

    /// Runs or plans a playbook, and reads its events.
    pub(crate) fn told(&self, command: &str, playbook: &str, more: &[&str]) -> Told {
        let mut arguments = vec![command, playbook, "-i", "inventory.toml", "--format", "json"];
        arguments.extend(more);
        Told::from(self.haflow(&arguments))
    }

    /// Runs or plans the playbook that makes a cluster.
    pub(crate) fn rabbit_ha(&self, command: &str, more: &[&str]) -> Told {
        self.told(command, "playbooks/rabbit-ha.rhai", more)
    }

    /// Runs a script on a host, by plain ssh.
    pub(crate) fn ssh(&self, host: &str, script: &str) -> Output {
        let mut command = Command::new("ssh");
        command.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]);
        command.args(self.lab.ssh_args(host).expect("it is in the lab")).arg(script).output().expect("ssh starts")
    }

    /// What a script prints on a host, where it must succeed.
    pub(crate) fn sh(&self, host: &str, script: &str) -> String {
        let output = self.ssh(host, script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{host}: {script}: {stderr}");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }
}
