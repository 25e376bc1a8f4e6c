//! What holds beyond single playbooks: the reference is complete, the modules are in order, scripts can be
//! stopped.

use haflow_model::Action;
use haflow_script::{
    Called, DeclareError, Declared, Request, assumed_facts, declare, module_docs, native_docs, stdlib,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn run(text: &str, interrupt: Option<Arc<AtomicBool>>) -> Result<Declared, DeclareError> {
    let folder = tempfile::tempdir().unwrap();
    let playbook = folder.path().join("playbook.rhai");
    std::fs::write(&playbook, text).unwrap();
    declare(Request {
        playbook: &playbook,
        inventory: None,
        params: &BTreeMap::new(),
        facts: &mut assumed_facts,
        now: jiff::Timestamp::UNIX_EPOCH,
        interrupt,
    })
}

#[test]
fn every_module_of_the_folder_is_embedded() {
    fn files(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                files(&path, &format!("{name}/"), found);
            } else if path.extension().is_some_and(|extension| extension == "rhai") {
                found.insert(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../stdlib"), "stdlib/", &mut found);
    let embedded: BTreeSet<String> =
        stdlib().iter().flat_map(|module| module.parts).map(|part| part.file.to_owned()).collect();
    assert_eq!(found, embedded);
}

#[test]
fn modules_call_only_what_is_there() {
    // A module is checked as a user's is when a playbook of its text is declared under another name.
    for part in stdlib().iter().flat_map(|module| module.parts) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("my_module.rhai"), part.text).unwrap();
        let playbook = folder.path().join("playbook.rhai");
        std::fs::write(&playbook, "import \"my_module\" as mine;").unwrap();
        let declared = declare(Request {
            playbook: &playbook,
            inventory: None,
            params: &BTreeMap::new(),
            facts: &mut assumed_facts,
            now: jiff::Timestamp::UNIX_EPOCH,
            interrupt: None,
        });
        if let Err(error) = declared {
            panic!("{}: {error}", part.file);
        }
    }
}

#[test]
fn no_function_of_the_stdlib_hides_another() {
    let mut seen = BTreeMap::new();
    for module in stdlib() {
        let space = if module.called == Called::Plainly { "" } else { module.name };
        for part in module.parts {
            for function in module_docs(part.text).functions {
                let key = (space, function.name, function.params.len());
                let native = native_docs().iter().any(|native| native.name == key.1);
                assert!(!(native && space.is_empty()), "{key:?} is native");
                if let Some(other) = seen.insert(key.clone(), part.file) {
                    panic!("{key:?} is in {other} and in {}", part.file);
                }
            }
        }
    }
}

/// The shell scripts that the playbooks send to hosts have no slip that a shell sees without running them.
#[test]
fn scripts_are_shell() {
    let params = BTreeMap::from(
        [
            ("gone", "rabbit9"),
            ("node", "rabbit1"),
            ("version", "3.10.*"),
            ("remove", "rabbit3"),
            ("partition_handling", "autoheal"),
            ("recipient", "age1example"),
            ("to", "database2"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../playbooks");
    let mut scripts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let playbook = entry.unwrap().path();
        let text = std::fs::read_to_string(&playbook).unwrap();
        let mut params = params.clone();
        params.retain(|name, _| text.contains(&format!("param(\"{name}\"")));
        let declared = declare(Request {
            playbook: &playbook,
            inventory: None,
            params: &params,
            facts: &mut assumed_facts,
            now: jiff::Timestamp::UNIX_EPOCH,
            interrupt: None,
        });
        let declared = declared.unwrap_or_else(|error| panic!("{}: {error}", playbook.display()));
        for (_, task) in declared.graph.tasks() {
            let some = match &task.action {
                Action::Ensure(ensure) => vec![&ensure.probe.script, &ensure.apply],
                Action::Act(act) => vec![&act.apply],
                Action::Gate(gate) => vec![&gate.probe.script],
                Action::Read(read) => vec![&read.probe.script],
                Action::File(_) => vec![],
            };
            scripts.extend(some.into_iter().map(|script| (script.clone(), task.id())));
        }
    }
    assert!(scripts.len() > 50, "there are {} scripts", scripts.len());
    for (script, task) in scripts {
        let mut sh = Command::new("sh").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        sh.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let read = sh.wait_with_output().unwrap();
        assert!(read.status.success(), "{task}: {}\n{script}", String::from_utf8_lossy(&read.stderr));
    }
}

#[test]
fn an_endless_script_is_stopped_by_the_interrupt() {
    let interrupt = Arc::new(AtomicBool::new(false));
    let setter = interrupt.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        setter.store(true, Ordering::Relaxed);
    });
    let result = run("loop { try { loop { } } catch { } }", Some(interrupt));
    thread.join().unwrap();
    assert!(matches!(result, Err(DeclareError::Interrupted)));
}

#[test]
fn a_megabyte_of_content_is_declared() {
    let declared = run("let s = \"x\"; for i in 0..21 { s += s; } file(host(\"a\"), \"/big\", #{ content: s });", None);
    assert_eq!(declared.unwrap().graph.len(), 1);
}

#[test]
fn an_error_of_ours_is_not_caught_by_the_script() {
    let result = run("try { fail(\"no\"); } catch { print(\"caught\"); }\nprint(\"on\");", None);
    let Err(DeclareError::Playbook(diagnostic)) = result else { panic!("it went on") };
    assert_eq!((diagnostic.message.as_str(), diagnostic.labels[0].place.line), ("no", 1));
}

#[test]
fn the_docs_of_a_module_are_read() {
    let docs = module_docs(
        "//! Things.\n//!\n//! More.\n\n/// One.\n/// Two.\nfn a(host, name) {\n}\nprivate fn b() {}\nfn c() {}\n",
    );
    assert_eq!(docs.header, "Things.\n\nMore.");
    let functions: Vec<_> = docs.functions.iter().map(|f| (f.name.as_str(), f.params.len(), f.doc.as_str())).collect();
    assert_eq!(functions, [("a", 2, "One.\nTwo."), ("c", 0, "")]);
}

#[test]
fn no_depth_that_is_allowed_overflows_the_stack() {
    let deep = format!("fn f(n) {{ {}f(n + 1){} }} f(0);", "[".repeat(80), "]".repeat(80));
    let closures = "fn f(n) { [1].map(|x| [1].map(|y| f(n + x + y))) } f(0);";
    let lists = "let a = []; for i in 0..1000000 { a = [a]; if i == 1000 { break; } } print(a);";
    for text in [deep.as_str(), closures] {
        let Err(DeclareError::Playbook(diagnostic)) = run(text, None) else { panic!("{text} ended") };
        assert!(diagnostic.message.starts_with("functions call each other"), "{diagnostic}");
    }
    assert!(run(lists, None).is_ok());
}

#[test]
fn functions_that_call_each_other_through_a_module_are_stopped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.rhai"), "fn each(what) { what.call(1) }").unwrap();
    let playbook = folder.path().join("playbook.rhai");
    std::fs::write(&playbook, "import \"mine\" as mine; fn f() { mine::each(|n| f()) } f();").unwrap();
    let result = declare(Request {
        playbook: &playbook,
        inventory: None,
        params: &BTreeMap::new(),
        facts: &mut assumed_facts,
        now: jiff::Timestamp::UNIX_EPOCH,
        interrupt: None,
    });
    let Err(DeclareError::Playbook(diagnostic)) = result else { panic!("it ended") };
    assert!(diagnostic.message.starts_with("functions call each other"), "{diagnostic}");
}
