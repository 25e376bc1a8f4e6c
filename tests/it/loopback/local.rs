//! The transport `local`: this machine, without sshd.

use crate::common::events::Told;
use crate::common::sshd::{interrupt_again, signal, until};
use crate::common::{Ran, clean};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// An act that logs its begin and its end in the folder, and may wait for a file `go` in between.
const ACTS: &str = r##"
    let node = host("localhost");
    let folder = param("folder", "", #{ help: "where it works" });
    fn job(node, folder, name, waits) {
        act(node, #{ name: name, reason: "a test", params: #{ folder: folder, name: name, waits: waits }, timeout: "1m", apply: #"
            echo "begin $name" >> "$folder/log"
            n=0
            until [ -z "$waits" ] || [ -e "$folder/go" ] || [ "$n" = 600 ]; do n=$((n + 1)); sleep 0.1; done
            echo "end $name" >> "$folder/log"
        "# });
    }
    job(node, folder, "one", "yes");
    job(node, folder, "two", "");
"##;

struct World {
    folder: TempDir,
}

impl World {
    fn new(playbook: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("playbook.rhai"), playbook).expect("it can be written");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, words: &[&str]) -> Command {
        // Not within `timeout`: signals are for haflow itself.
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_haflow")), self.path());
        // Another lock than that of who runs the tests.
        command.env("HAFLOW_LOCK", self.path().join("lock")).env("SECRET_OF_THE_CONTROLLER", "s3cret");
        command.args(words);
        command
    }

    fn run(&self) -> Command {
        let folder = format!("folder={}", self.path().display());
        self.command(&["run", "playbook.rhai", "--hosts", "localhost", "--format", "json", "-e", &folder])
    }

    fn begin(&self) -> Child {
        let mut run = self.run();
        run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haflow starts")
    }

    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

fn ended(run: Child) -> Told {
    Told::from(Ran::from(run.wait_with_output().expect("it ends")))
}

#[test]
fn this_machine_needs_no_sshd_and_keeps_what_others_keep() {
    let world = World::new(ACTS);
    fs::write(world.path().join("go"), "").expect("it can be written");
    Told::from(Ran::from(world.run().output().expect("it runs"))).exits(0);
    assert_eq!(world.log(), ["begin one", "end one", "begin two", "end two"]);

    // What an interrupt finds under way ends, and nothing more begins.
    let world = World::new(ACTS);
    let run = world.begin();
    until("it begins", || world.log().len() == 1);
    signal(&run, Signal::INT);
    fs::write(world.path().join("go"), "").expect("it can be written");
    let told = ended(run).exits(130);
    assert_eq!((told.count("changed"), told.count("cancelled")), (1, 1));

    // It holds the machine's lock meanwhile, dies, and what it left is picked up.
    let world = World::new(ACTS);
    let run = world.begin();
    until("it begins", || world.log().len() == 1);
    let other = world.command(&["run", "playbook.rhai", "--hosts", "localhost"]).output().expect("it runs");
    assert_eq!(other.status.code(), Some(75), "{}", String::from_utf8_lossy(&other.stderr));
    signal(&run, Signal::KILL);
    run.wait_with_output().expect("it dies");
    fs::write(world.path().join("go"), "").expect("it can be written");
    let resumed = world.command(&["resume", "--format", "json"]).output().expect("it runs");
    let resumed = Told::from(Ran::from(resumed)).exits(0);
    assert_eq!((resumed.of("picking_up").count(), resumed.count("changed")), (1, 2), "{:?}", resumed.ran);
    assert_eq!(world.log(), ["begin one", "end one", "begin two", "end two"], "nothing is done twice");

    // A second interrupt kills the step with all that it started.
    let world = World::new(ACTS);
    let run = world.begin();
    until("it begins", || world.log().len() == 1);
    signal(&run, Signal::INT);
    interrupt_again(&run);
    let told = ended(run).exits(130);
    assert_eq!(told.count("in_doubt"), 1);
    fs::write(world.path().join("go"), "").expect("it can be written");
    assert_eq!(world.log(), ["begin one"]);
}

#[test]
fn a_timeout_ends_a_step_here_and_scripts_see_none_of_the_controllers_environment() {
    let world = World::new(
        r##"
        let folder = param("folder", "", #{ help: "where it works" });
        let node = host("localhost");
        command(node, "environment", #"env > "$folder/env""#, #{ params: #{ folder: folder }, creates: folder + "/env" });
        act(node, #{ name: "slow", reason: "a test", timeout: "1s", params: #{ folder: folder },
            apply: #"sh -c 'echo $$ > "$0/child"; exec sleep 300' "$folder" & sleep 300"# });
    "##,
    );
    let told = Told::from(Ran::from(world.run().output().expect("it runs"))).exits(1);
    assert_eq!((told.count("changed"), told.count("failed")), (1, 1), "{:?}", told.ran);
    let environment = fs::read_to_string(world.path().join("env")).expect("it was written");
    assert!(!environment.contains("s3cret") && environment.contains("PATH="), "{environment}");
    let child = fs::read_to_string(world.path().join("child")).expect("it began");
    // A process without a parent may stay as a zombie.
    let command = fs::read(Path::new("/proc").join(child.trim()).join("cmdline")).unwrap_or_default();
    assert!(command.is_empty(), "what the step started goes on: {}", String::from_utf8_lossy(&command));
}

/// A default ACL of a folder of one's own makes the mode of what is new another one.
#[test]
fn a_new_file_has_its_mode_also_where_its_folder_hands_on_an_acl() {
    if Command::new("setfacl").arg("--version").output().is_err() {
        crate::common::skipped("setfacl isn't installed here (Debian's package is acl)");
        return;
    }
    let world = World::new(
        r#"
        let node = host("localhost");
        let folder = param("folder", "", #{ help: "where it works" });
        file(node, folder + "/given", #{ content: "x\n", mode: "0644" });
        file(node, folder + "/usual", #{ content: "x\n" });
        file(node, folder + "/private", #{ content: "x\n", mode: "0600" });
        "#,
    );
    let set = Command::new("setfacl").args(["-d", "-m", "u:65533:rwx"]).arg(world.path()).status();
    assert!(set.expect("it was there").success());
    let told = ended(world.begin()).exits(0);
    assert_eq!(told.count("changed"), 3);
    let mode = |name: &str| {
        let about = fs::metadata(world.path().join(name)).expect("the file");
        std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o7777
    };
    assert_eq!(["given", "usual", "private"].map(mode), [0o644, 0o644, 0o600]);
    assert_eq!(ended(world.begin()).exits(0).count("changed"), 0);
}

#[test]
fn a_choice_may_have_blanks_and_commas_around_its_names() {
    let world = World::new("for node in hosts() { act(node, #{ name: \"a\", reason: \"a test\", apply: \"true\" }); }");
    fs::write(world.path().join("inventory.toml"), "[hosts.here]\nconnection = \"local\"\n[hosts.other]\n")
        .expect("it can");
    for choice in [&["-l", " here, "][..], &["--limit", ",here,,"], &["-vvv", "--limit", "! other,"]] {
        let run = ["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"];
        let ran = world.command(&[&run[..], choice].concat()).output().expect("it runs");
        assert_eq!(Told::from(Ran::from(ran)).exits(0).count("changed"), 1, "{choice:?}");
    }
}

/// The name of another is nothing that is in the way on this one.
#[test]
fn a_host_is_fine_that_cannot_resolve_anothers_name() {
    let world = World::new("");
    let inventory = "[hosts.localhost]\n[hosts.\"nowhere.invalid\"]\nconnection = \"local\"\n";
    fs::write(world.path().join("inventory.toml"), inventory).expect("it can be written");
    let ran = Ran::from(world.command(&["hosts", "-i", "inventory.toml"]).output().expect("it runs"));
    assert_eq!(ran.exit, 0, "{ran:?}");
    assert!(ran.stdout.contains("it can't resolve nowhere.invalid\n"), "{ran:?}");
    assert!(
        ran.stdout.contains("2 hosts, 2 fine, 0 with something in the way; 2 hosts can't resolve the names"),
        "{ran:?}"
    );
}

/// What runs here as another user could type into the terminal of who runs haflow.
#[test]
fn nothing_that_runs_here_has_a_terminal() {
    let world = World::new(
        r#"
        let node = host("localhost");
        ensure(node, #{ kind: "t", name: "terminal", want: "0", apply: "exit 1",
            probe: "read -r pid name state parent group session tty rest </proc/self/stat; echo $tty" });
        "#,
    );
    let told = {
        let run = world.command(&["run", "playbook.rhai", "--hosts", "localhost", "--format", "json"]);
        // In a terminal of its own, as script(1) gives it.
        let words: Vec<String> = std::iter::once(run.get_program())
            .chain(run.get_args())
            .map(|word| word.to_string_lossy().into())
            .collect();
        let mut script = Command::new("script");
        script.args(["-qec", &words.join(" "), "/dev/null"]).current_dir(world.path());
        script.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.stdin(Stdio::null()).output().expect("script starts")
    };
    let printed = String::from_utf8_lossy(&told.stdout);
    assert!(printed.contains(r#""outcome":"ok""#), "{printed}");
}
