//! Plans that are kept and applied, against a real sshd on this machine: what is applied is what was planned,
//! once, and what can't be held to is refused before anything changes.

#![allow(clippy::needless_raw_string_hashes, reason = "the playbooks have raw strings of their own")]

use crate::common::events::Told;
use crate::common::sshd::{Sshd, free_port, is_root};
use crate::common::{Ran, skipped};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Two hosts, `here` and `there`, each with two files; in fact both are this machine.
const PLAYBOOK: &str = r#"
for node in hosts() {
    let folder = `${node.vars.folder}/${node.name}`;
    file(node, folder, #{ folder: true });
    file(node, folder + "/one", #{ content: "one\n", mode: "0600" });
    file(node, folder + "/two", #{ content: "two\n" });
}
"#;

struct World {
    sshd: Sshd,
}

impl World {
    fn new() -> Option<Self> {
        let sshd = Sshd::start("")?;
        fs::create_dir(sshd.path("hosts")).expect("a folder");
        sshd.inventory(&json!({}), &json!({ "folder": sshd.path("hosts") }));
        let here = fs::read_to_string(sshd.path("inventory.toml")).expect("an inventory");
        sshd.write("inventory.toml", &format!("{here}\n{}", here.replace("[hosts.here]", "[hosts.there]")));
        sshd.write("playbook.rhai", PLAYBOOK);
        Some(Self { sshd })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sshd.path("hosts").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Plans, and keeps the plan in `p.json`.
    #[track_caller]
    fn plan(&self) -> Told {
        Told::from(self.try_plan()).exits(0)
    }

    fn try_plan(&self) -> Ran {
        self.sshd.haflow(&["plan", "playbook.rhai", "-i", "inventory.toml", "-o", "p.json", "--format", "json"])
    }

    fn apply(&self, options: &[&str]) -> Ran {
        self.sshd.haflow(&[&["apply", "p.json", "--format", "json"], options].concat())
    }

    /// Applying is refused with that exit code, these words are said, and nothing changes.
    #[track_caller]
    fn refuses(&self, exit: i32, words: &[&str]) {
        let ran = self.apply(&[]);
        assert_eq!(ran.exit, exit, "{ran:?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} isn't said: {}", ran.stderr);
        }
        assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
        assert!(!self.path("here").exists() && !self.path("there").exists(), "something was changed");
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.sshd.path(file)).expect("a file");
        assert!(text.contains(from), "{file} has no {from:?}: {text}");
        self.sshd.write(file, &text.replacen(from, to, 1));
    }
}

#[test]
fn what_was_planned_is_applied_once() {
    let Some(world) = World::new() else { return };
    assert_eq!(world.plan().count("change"), 6);
    assert!(!world.path("here").exists(), "a plan changes nothing");
    let applied = Told::from(world.apply(&[])).exits(0);
    assert_eq!((applied.count("changed"), applied.count("ok")), (6, 0));
    assert_eq!(world.text("there/two"), "two\n");
    let again = world.apply(&[]);
    assert_eq!(again.exit, 65);
    assert!(again.stderr.contains("it was applied already, by run "), "{}", again.stderr);
    // A copy is the same plan.
    fs::copy(world.sshd.path("p.json"), world.sshd.path("copy.json")).unwrap();
    assert_eq!(world.sshd.haflow(&["apply", "copy.json"]).exit, 65);
}

#[test]
fn a_task_stops_where_things_have_moved_and_the_rest_goes_on() {
    let Some(world) = World::new() else { return };
    fs::create_dir(world.path("here")).unwrap();
    fs::write(world.path("here/one"), "zero\n").unwrap();
    world.plan();
    fs::write(world.path("here/one"), "by hand\n").unwrap();
    let applied = Told::from(world.apply(&[])).exits(1);
    let one = "here/file:".to_owned() + world.path("here/one").to_str().unwrap();
    let message = applied.task(&one)["failure"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "drifted since the plan: content was `zero`, is `by hand`");
    assert_eq!(world.text("here/one"), "by hand\n", "what was done by hand is left");
    assert_eq!(applied.count("changed"), 3, "the other host gets its own");
    assert_eq!((applied.count("failed"), applied.count("skipped")), (1, 1));
    world.plan();
    fs::remove_file(world.path("here/one")).unwrap();
    fs::create_dir(world.path("here/one")).unwrap();
    let applied = Told::from(world.apply(&[])).exits(1);
    let message = applied.task(&one)["failure"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("drifted since the plan: there is a folder at "), "{message}");
}

#[test]
fn nothing_is_applied_where_something_will_fail_by_now() {
    let Some(world) = World::new() else { return };
    world.plan();
    fs::write(world.path("there"), "in the way").expect("a file");
    let applied = Told::from(world.apply(&[])).exits(1);
    let foreseen: Vec<&Value> = applied.of("task_would_fail").collect();
    assert!(!foreseen.is_empty(), "{:?}", applied.ran);
    assert_eq!((applied.count("changed"), applied.count("ok")), (0, 0), "{:?}", applied.outcomes());
    assert!(!world.path("here").exists(), "something was changed");
}

#[test]
fn what_was_up_to_date_and_is_not_any_more_stops_too() {
    let Some(world) = World::new() else { return };
    world.plan();
    Told::from(world.apply(&[])).exits(0);
    world.plan();
    fs::set_permissions(world.path("there/one"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let applied = Told::from(world.apply(&[])).exits(1);
    let one = "there/file:".to_owned() + world.path("there/one").to_str().unwrap();
    let message = applied.task(&one)["failure"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "drifted since the plan: mode was \"0600\", as wanted, is \"0644\"");
    assert_eq!((applied.count("ok"), applied.count("changed")), (4, 0));
}

#[test]
fn what_comes_of_a_change_before_it_is_no_drift() {
    let Some(world) = World::new() else { return };
    world.sshd.write(
        "playbook.rhai",
        r##"
        let node = host("here");
        let folder = node.vars.folder;
        ensure(node, #{
            kind: "seed", name: "first", params: #{ folder: folder },
            probe: #"[ ! -e "$folder/a" ] || cat "$folder/a""#, want: "1",
            // It brings the second along, half.
            apply: #"echo 1 > "$folder/a"; echo half > "$folder/b""#,
        });
        ensure(node, #{
            kind: "seed", name: "second", params: #{ folder: folder },
            probe: #"[ ! -e "$folder/b" ] || cat "$folder/b""#, want: "2", apply: #"echo 2 > "$folder/b""#,
        });
        "##,
    );
    let planned = world.plan();
    assert_eq!(planned.task("here/seed:second")["assumed"]["because"], "here/seed:first");
    assert_eq!(planned.task("here/seed:first")["assumed"], Value::Null);
    assert_eq!(Told::from(world.apply(&[])).exits(0).count("changed"), 2);
    assert_eq!(world.text("b"), "2\n");
}

#[test]
fn a_file_that_is_not_what_was_written_is_refused() {
    let Some(world) = World::new() else { return };
    world.refuses(65, &["it can't be read"]);
    world.plan();
    let whole = fs::read_to_string(world.sshd.path("p.json")).unwrap();
    world.sshd.write("p.json", &whole[..whole.len() / 2]);
    world.refuses(65, &["it is cut off"]);
    world.sshd.write("p.json", "");
    world.refuses(65, &["it is cut off"]);
    world.sshd.write("p.json", "{\"resource_changes\": []}");
    world.refuses(65, &["it is no plan of haflow's"]);
    world.sshd.write("p.json", &whole.replacen("{\"format\":1,", "{\"format\":2,", 1));
    world.refuses(65, &["its form is version 2, and this haflow knows version 1"]);
    world.sshd.write("p.json", &whole.replacen("two", "owt", 1));
    world.refuses(65, &["it was edited"]);
}

#[test]
fn a_plan_of_something_else_is_refused() {
    let Some(world) = World::new() else { return };
    world.plan();
    world.edit("playbook.rhai", "two\\n", "2\\n");
    world.refuses(65, &["playbook.rhai changed since it was made"]);
    world.edit("playbook.rhai", "2\\n", "two\\n");
    world.edit("inventory.toml", "[hosts.there]", "[hosts.elsewhere]");
    world.refuses(65, &["the inventory has no host there any more"]);
    world.edit("inventory.toml", "[hosts.elsewhere]", "[groups.web]\nhosts = [\"here\"]\n[hosts.there]");
    world.refuses(65, &["it is for another inventory"]);
    world.edit("inventory.toml", "[groups.web]\nhosts = [\"here\"]\n", "");
    assert_eq!(Told::from(world.apply(&[])).exits(0).count("changed"), 6, "all is as it was again");
}

#[test]
fn a_module_that_changed_makes_it_another_playbook() {
    let Some(world) = World::new() else { return };
    world.sshd.write("own.rhai", "fn text() { \"a\\n\" }");
    world.sshd.write(
        "playbook.rhai",
        "import \"own\" as own;\nlet node = host(\"here\");\nfile(node, node.vars.folder + \"/here\", #{ content: own::text() });",
    );
    world.plan();
    world.sshd.write("own.rhai", "fn text() { \"b\\n\" }");
    world.refuses(65, &["own.rhai changed since it was made"]);
}

#[test]
fn a_plan_grows_old() {
    let Some(world) = World::new() else { return };
    world.plan();
    let ran = world.apply(&["--max-age", "0s"]);
    assert_eq!(ran.exit, 65, "{ran:?}");
    assert!(ran.stderr.contains("and may be 0 s old at most; nothing was changed"), "{}", ran.stderr);
    assert_eq!(world.apply(&["--max-age", "soon"]).exit, 64);
    assert_eq!(world.apply(&["--max-age", "1h"]).exit, 0, "nothing was used up by the refusal");
}

#[test]
fn options_that_would_make_it_another_plan_are_wrong() {
    let Some(world) = World::new() else { return };
    world.plan();
    for options in [
        &["-i", "inventory.toml"][..],
        &["--hosts", "a"],
        &["--lab"],
        &["-e", "a=b"],
        &["--limit", "here"],
        &["--tags", "x"],
    ] {
        let ran = world.apply(options);
        assert_eq!(ran.exit, 64, "{options:?} {ran:?}");
        assert!(ran.stderr.contains(&format!("{} would make it another plan", options[0])), "{}", ran.stderr);
    }
}

#[test]
fn nothing_is_applied_where_a_host_is_gone() {
    let Some(mut world) = World::new() else { return };
    world.plan();
    world.sshd.program.kill().unwrap();
    world.sshd.program.wait().unwrap();
    world.refuses(1, &["hosts of it can't be reached", "here", "there"]);
}

#[test]
fn a_plan_that_would_fail_is_not_kept() {
    let Some(world) = World::new() else { return };
    fs::write(world.path("here"), "in the way").unwrap();
    let ran = world.try_plan();
    assert_eq!(ran.exit, 1);
    assert!(ran.stderr.contains("the plan isn't kept in p.json: something in it would fail"), "{}", ran.stderr);
    assert!(!world.sshd.path("p.json").exists());
    // Nor is one with a host that can't be reached.
    fs::remove_file(world.path("here")).unwrap();
    world.edit("inventory.toml", "port = ", &format!("port = {} # ", free_port()));
    assert_eq!(world.try_plan().exit, 1);
    assert!(!world.sshd.path("p.json").exists());
}

#[test]
fn a_plan_for_the_hosts_that_are_there_can_be_applied() {
    let Some(world) = World::new() else { return };
    world.sshd.write(
        "playbook.rhai",
        r#"
        for node in hosts() {
            file(node, node.vars.folder + "/" + rabbitmq::node_name(node), #{ content: "x" });
        }
        "#,
    );
    let inventory = fs::read_to_string(world.sshd.path("inventory.toml")).unwrap();
    let (here, there) = inventory.split_once("[hosts.there]").unwrap();
    let there = there.replace("port = ", &format!("port = {} # ", free_port()));
    world.sshd.write("inventory.toml", &format!("{here}[hosts.there]{there}"));
    let plan = ["plan", "playbook.rhai", "-i", "inventory.toml", "-o", "p.json", "--limit", "here", "--format", "json"];
    assert_eq!(Told::from(world.sshd.haflow(&plan)).exits(0).count("change"), 1);
    assert_eq!(Told::from(world.apply(&[])).exits(0).count("changed"), 1);
}

#[test]
fn what_is_of_no_matter_to_a_task_may_move() {
    let Some(world) = World::new() else { return };
    fs::write(world.path("log"), "one\n").unwrap();
    world.sshd.write(
        "playbook.rhai",
        r#"let node = host("here"); file(node, node.vars.folder + "/log", #{ owner: "root" }); file(node, node.vars.folder, #{ folder: true });"#,
    );
    if !is_root() {
        skipped("only root can own what root owns");
        return;
    }
    assert_eq!(world.plan().count("up_to_date"), 2);
    fs::write(world.path("log"), "one\ntwo\n").unwrap();
    fs::write(world.path("another"), "").unwrap();
    assert_eq!(Told::from(world.apply(&[])).exits(0).count("ok"), 2);
}

#[test]
fn an_output_that_does_not_hold_still_is_said() {
    let Some(world) = World::new() else { return };
    world.sshd.write(
        "playbook.rhai",
        r#"
        let node = host("here");
        let now = output_of(node, "now", "date +%s%N");
        file(node, node.vars.folder + "/now", #{ content: now });
        "#,
    );
    let ran = world.try_plan();
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(ran.stderr.contains("here/output:now: "), "{}", ran.stderr);
}

#[test]
fn a_state_that_does_not_hold_still_is_said() {
    let Some(world) = World::new() else { return };
    world.sshd.write(
        "playbook.rhai",
        r##"
        let node = host("here");
        ensure(node, #{
            kind: "clock", name: "now",
            probe: #"printf '{"zone":"utc","now":"%s"}' "$(date +%s%N)""#,
            want: #{ zone: "berlin", now: "0" }, apply: "true",
        });
        "##,
    );
    let ran = world.try_plan();
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(ran.stderr.contains("changes from look to look"), "{}", ran.stderr);
    assert!(ran.stderr.contains("here/clock:now: now was "), "{}", ran.stderr);
    assert!(!ran.stderr.contains("zone was"), "{}", ran.stderr);
    assert!(!world.sshd.path("p.json").exists());
}

#[test]
fn a_kept_plan_holds_no_secret_and_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let Some(world) = World::new() else { return };
    fs::write(world.path("secret"), "hunter2-and-more\n").unwrap();
    fs::write(world.path("old"), "hunter2-and-less\n").unwrap();
    world.sshd.write(
        "playbook.rhai",
        r##"
        let node = host("here");
        let folder = node.vars.folder;
        let secret = read(node, #{ name: "secret", secret: true, params: #{ folder: folder }, probe: #"cat "$folder/secret""# });
        file(node, folder + "/old", #{ content: secret });
        file(node, folder + "/new", #{ content: secret });
        ensure(node, #{
            kind: "copy", name: "of it", params: #{ secret: secret, folder: folder },
            probe: #"cat "$folder/old""#, want: secret, apply: #"printf '%s\n' "$secret" > "$folder/old""#,
        });
        "##,
    );
    assert_eq!(world.plan().count("change"), 3);
    let text = fs::read_to_string(world.sshd.path("p.json")).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let saved: Value = serde_json::from_str(&text).unwrap();
    let nodes = saved["plan"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 4);
    for node in nodes {
        // A digest of a short secret could be guessed.
        assert_eq!(node["planned"]["state"], Value::Null, "{node}");
    }
    let mode = fs::metadata(world.sshd.path("p.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Told::from(world.apply(&[])).exits(0);
    assert_eq!(world.text("new"), "hunter2-and-more");
}

#[test]
fn why_tells_what_is_behind_a_decision() {
    let Some(world) = World::new() else { return };
    let none = world.sshd.haflow(&["why", "one"]);
    assert_eq!(none.exit, 64);
    assert!(none.stderr.contains("nothing was run or planned here yet"), "{}", none.stderr);
    world.sshd.write(
        "playbook.rhai",
        r##"
        let node = host("here");
        let first = act(node, #{ name: "first", reason: "it can't be seen", apply: "true" });
        ensure(node, #{ kind: "thing", name: "second", probe: "echo a", want: "b", apply: "true" });
        "##,
    );
    world.plan();
    let why = world.sshd.haflow(&["why", "second"]);
    assert_eq!(why.exit, 0, "{why:?}");
    for part in [
        "here/thing:second  change, assumed",
        "--> playbook.rhai:4:9",
        "a → b",
        "because of act:first  act",
        "it may touch anything, and comes first",
        "act:first  act  declared before it on the same host",
    ] {
        assert!(why.stdout.contains(part), "{part:?} isn't said: {}", why.stdout);
    }
    assert_eq!(world.sshd.haflow(&["why", "p.json", "here/act:first"]).exit, 0);
    let several = world.sshd.haflow(&["why", "here/"]);
    assert_eq!(several.exit, 64);
    assert!(several.stderr.contains("fits 2 tasks"), "{}", several.stderr);
    let wrong = world.sshd.haflow(&["why", "here/thing:secnod"]);
    assert!(wrong.stderr.contains("did you mean `here/thing:second`?"), "{}", wrong.stderr);
}
