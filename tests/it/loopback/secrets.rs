//! Secrets: they arrive byte for byte, and are found nowhere else.

use crate::common::Ran;
use crate::common::world::World;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How much of a secret in a row is looked for, in bytes: less turns up by chance.
const PART: usize = 12;

/// What no text shall have in it: a secret, and its base64 wherever it stands in what was encoded.
struct Needles(HashSet<Vec<u8>>);

impl Needles {
    fn of(secrets: &[&[u8]]) -> Self {
        let mut parts = HashSet::new();
        for secret in secrets {
            parts.extend(secret.windows(PART).map(<[u8]>::to_vec));
            for before in ["", "x", "xx"] {
                let encoded = pipe("base64 -w 0", &[before.as_bytes(), secret].concat());
                // The ends are made of what is around it too.
                let inner = &encoded[4..encoded.len() - 4];
                parts.extend(inner.windows(PART).map(<[u8]>::to_vec));
                let url: Vec<u8> = inner
                    .iter()
                    .map(|byte| match byte {
                        b'+' => b'-',
                        b'/' => b'_',
                        byte => *byte,
                    })
                    .collect();
                parts.extend(url.windows(PART).map(<[u8]>::to_vec));
            }
        }
        Self(parts)
    }

    /// The first part of a secret that is in `text`, with what is around it.
    fn within(&self, text: &[u8]) -> Option<String> {
        let at = text.windows(PART).position(|part| self.0.contains(part))?;
        Some(String::from_utf8_lossy(&text[at.saturating_sub(40)..(at + 60).min(text.len())]).into_owned())
    }
}

/// What a shell command makes of `input`.
fn pipe(command: &str, input: &[u8]) -> Vec<u8> {
    let mut sh = std::process::Command::new("sh");
    let mut child = sh.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends").stdout
}

/// Looks at the arguments and the environment of all processes of this machine, those of the lab's hosts
/// among them, until it is stopped.
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    /// How often it looked.
    rounds: usize,
    /// How many texts it read.
    texts: usize,
    /// The programs that it saw.
    programs: BTreeSet<String>,
    /// What it found, and of which program: `cmdline` or `environ`.
    found: BTreeMap<(String, &'static str), String>,
}

impl Sampler {
    fn begin(needles: Needles) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut samples = Samples::default();
            while !stopped.load(Ordering::Relaxed) {
                samples.round(&needles);
            }
            samples
        });
        Self { stop, thread }
    }

    fn end(self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it samples")
    }
}

impl Samples {
    fn round(&mut self, needles: &Needles) {
        let own = std::process::id().to_string();
        for process in fs::read_dir("/proc").expect("processes").flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            if !name.starts_with(|c: char| c.is_ascii_digit()) || name == own {
                continue;
            }
            // What has ended in the meantime is read no more.
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default().trim().to_owned();
            for what in ["cmdline", "environ"] {
                let Ok(text) = fs::read(process.path().join(what)) else { continue };
                self.texts += 1;
                if let Some(found) = needles.within(&text) {
                    self.found.entry((program.clone(), what)).or_insert(found);
                }
            }
            self.programs.insert(program);
        }
        self.rounds += 1;
    }
}

/// Quotes, line breaks, shell, other alphabets, and 4 KiB that nobody guesses.
fn hostile() -> Vec<u8> {
    let random = pipe("head -c 3100 /dev/urandom | base64 -w 61", b"");
    let mut secret =
        "it's a \"secret\" \\ `touch /pwned` $(touch /pwned) ${HOME} %s\n\n  ünïcödé 漢字 🦀\t'; touch /pwned; '\n"
            .as_bytes()
            .to_vec();
    secret.extend(random);
    secret.extend(b"the end of it, and 'no line break");
    assert!(secret.len() > 4096);
    secret
}

fn set(world: &World, name: &str, value: &[u8]) {
    let mut command = crate::common::events::haflow(world.folder.path(), ["secret", "set", name]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haflow starts");
    child.stdin.take().expect("it is piped").write_all(value).expect("it reads");
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""), "{ran:?}");
    world.printed.borrow_mut().push(ran.stderr);
}

/// All files in a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() => all.extend(walk(&entry.path())),
            kind if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}

/// All that haflow has printed, and every file in the folder, which is its home too.
fn found_in(world: &World, needles: &Needles) -> Vec<String> {
    let all = walk(world.folder.path());
    assert!(all.iter().any(|path| path.ends_with("events.jsonl")), "there is no journal");
    let in_file = |path: &PathBuf| {
        let found = needles.within(&fs::read(path).expect("a file"))?;
        Some(format!("{}: {found}", path.display()))
    };
    let printed = world.printed.borrow();
    all.iter().filter_map(in_file).chain(printed.iter().filter_map(|text| needles.within(text.as_bytes()))).collect()
}

/// Gives a secret to a file, in a text and by itself, and to an apply. `marker` is no secret: it goes where a
/// secret must not.
const ARRIVES: &str = r###"
let node = group("web", #{ lab: 1 })[0];
let password = secret("db_password");
let token = secret("token");
file(node, "/root/alone", #{ content: password, mode: "0600" });
file(node, "/root/within", #{ content: render("[{{ it }}]\n", #{ it: password }), mode: "0600" });
ensure(node, #{
    kind: "copy", name: "by an apply",
    probe: #"cat /root/copy 2>/dev/null | sha256sum"#, jq: ##". | split(" ")[0] == $sum"##, raw: true,
    params: #{ password: password, token: token, sum: node.vars.sum },
    want: true,
    apply: #"umask 077; printf '%s' "$password" > /root/copy; printf '%s' "$token" > /root/token"#,
});
act(node, #{
    name: "give away", reason: "a test", params: #{ marker: node.vars.marker },
    apply: #"sh -c 'sleep 0.5; true' "$marker"; MARK="$marker" sleep 0.5"#,
});
"###;

/// Gives away all that it knows, and fails.
const LEAKS: &str = r###"
let node = group("web", #{ lab: 1 })[0];
ensure(node, #{
    kind: "leak", name: "all", params: #{ password: secret("db_password"), token: secret("token") },
    probe: "echo no", want: "yes",
    apply: ##"
        url() { printf '%s' "$1" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%'; echo; }
        say() {
            printf '%s\n' "$password" "$token"
            printf 'user:%s' "$password" | base64
            printf 'us:%s' "$token" | base64 | tr +/ -_
            url "$password"; url "$token"
            printf 'the end: %s' "$token"
        }
        say; say >&2
        # For longer than until the next look at what it prints.
        sleep 10
        exit 3
    "##,
});
"###;

#[test]
fn secrets_arrive_byte_for_byte_and_are_found_nowhere() {
    let Some(world) = World::up("secrets", &["web1"], "bookworm") else { return };
    let (secret, token) = (hostile(), pipe("head -c 24 /dev/urandom | base64 | tr -d '\n'", b""));
    let marker = String::from_utf8(pipe("head -c 24 /dev/urandom | base64 | tr -d '+/\n'", b"")).expect("a text");
    let sum = String::from_utf8(pipe("sha256sum", &secret)).expect("a text")[..64].to_owned();
    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("an inventory");
    assert!(inventory.contains("[vars]\n"), "{inventory}");
    let vars = format!("[vars]\nmarker = \"{marker}\"\nsum = \"{sum}\"\n");
    world.write("inventory.toml", &inventory.replacen("[vars]\n", &vars, 1));
    world.write("arrives.rhai", ARRIVES);
    world.write("leaks.rhai", LEAKS);
    set(&world, "db_password", &secret);
    let needles = || Needles::of(&[&secret, &token]);

    // The token comes from haflow's own environment, where the sampler must find it; in no other process.
    let sampler = Sampler::begin(Needles::of(&[&secret, &token, marker.as_bytes()]));
    let haflow = |arguments: &[&str]| {
        let mut command = crate::common::events::haflow(world.folder.path(), arguments.iter().copied());
        let ran = Ran::of(command.env("HAFLOW_SECRET_TOKEN", std::str::from_utf8(&token).expect("a text")));
        world.printed.borrow_mut().extend([ran.stdout.clone(), ran.stderr.clone()]);
        ran
    };
    let on = ["-i", "inventory.toml", "--format"];
    for format in ["human", "plain", "json"] {
        let planned = haflow(&["plan", "arrives.rhai", on[0], on[1], on[2], format, "-v"]);
        assert_eq!(planned.exit, 0, "{planned:?}");
    }
    let kept = haflow(&["plan", "arrives.rhai", on[0], on[1], "-o", "plan.json"]);
    assert_eq!(kept.exit, 0, "{kept:?}");
    for format in ["human", "plain", "json"] {
        let ran = haflow(&["run", "arrives.rhai", on[0], on[1], on[2], format, "-v"]);
        assert_eq!(ran.exit, 0, "{ran:?}");
        for (file, wanted) in [
            ("alone", secret.clone()),
            ("within", [b"[", &secret[..], b"]\n"].concat()),
            ("copy", secret.clone()),
            ("token", token.clone()),
        ] {
            let there = world.ssh("web1", &format!("cat /root/{file}")).stdout;
            assert!(there == wanted, "{file} has {} bytes, not these {}", there.len(), wanted.len());
        }
        assert_eq!(world.ssh("web1", "ls /pwned").status.code(), Some(2), "a value was run");
        if format == "json" {
            // Once more, all of it is as it should be.
            let again = haflow(&["run", "arrives.rhai", on[0], on[1], on[2], "json"]);
            assert!(again.exit == 0 && again.stdout.contains("\"ok\":3,\"changed\":1"), "{again:?}");
        }
        world.sh("web1", "rm /root/alone /root/within /root/copy /root/token");
    }
    let seen = sampler.end();
    world.step(&format!("{} rounds, {} texts of {} programs", seen.rounds, seen.texts, seen.programs.len()));
    for program in ["haflow", "ssh", "sshd", "sh"] {
        assert!(seen.programs.contains(program), "{program} wasn't seen: {:?}", seen.programs);
    }
    // What shall be found, so that it is known that the sampler finds things; and nothing else.
    let found: Vec<(&str, &str)> = seen.found.keys().map(|(program, what)| (program.as_str(), *what)).collect();
    let mut wanted = vec![("haflow", "environ"), ("sh", "cmdline"), ("sleep", "environ"), ("timeout", "environ")];
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{:?}", seen.found);
    world.step("secrets are in no argument list and no environment");

    // What was kept and told: all commands that show something.
    for format in ["human", "plain", "json"] {
        for arguments in [
            &["show", "--format", format][..],
            &["runs"],
            &["check", "arrives.rhai", on[0], on[1]],
            &["graph", "arrives.rhai", on[0], on[1]],
        ] {
            assert_eq!(haflow(arguments).exit, 0, "{arguments:?}");
        }
    }
    assert_eq!(haflow(&["why", "plan.json", "web1/copy", "-v"]).exit, 0);
    assert_eq!(haflow(&["secret", "list"]).stdout, "db_password\n");
    assert_eq!(found_in(&world, &needles()), Vec::<String>::new());
    world.step("they are in nothing that was told or kept");

    for format in ["human", "plain", "json"] {
        let ran = haflow(&["run", "leaks.rhai", on[0], on[1], on[2], format, "-v"]);
        assert_eq!(ran.exit, 1, "{ran:?}");
        assert!(ran.stdout.contains("‹secret›") && ran.stdout.contains("the end: ‹secret›"), "{ran:?}");
        assert!(!ran.stdout.contains("%69%74%27%73"), "percent-encoded: {ran:?}");
        let while_it_runs = if format == "json" { "\"event\":\"step_said\"" } else { "leak all: " };
        assert!(ran.stdout.contains(while_it_runs), "{ran:?}");
        assert_eq!(haflow(&["show", "--format", format]).exit, 0);
    }
    assert_eq!(found_in(&world, &needles()), Vec::<String>::new());
    // Not in vain: what is looked for is found where it is.
    world.write("leaked", &format!("a {} b", String::from_utf8_lossy(&token)));
    assert_eq!(found_in(&world, &needles()).len(), 1);
    world.step("what a host prints back is masked");
}

/// The same on this machine: plans that are kept and runs that are resumed look secrets up again, and tell
/// whether they are the same.
#[test]
fn a_secret_that_changed_is_told() {
    let Some(sshd) = crate::common::sshd::Sshd::start("") else { return };
    let target = sshd.path("target");
    fs::create_dir(&target).expect("a folder");
    sshd.inventory(&serde_json::json!({}), &serde_json::json!({ "folder": target }));
    sshd.write(
        "playbook.rhai",
        r##"
let node = host("here");
file(node, node.vars.folder + "/key", #{ content: secret("key") });
act(node, #{ name: "fail once", reason: "a test", params: #{ folder: node.vars.folder }, apply: #"[ -e "$folder/fine" ]"# });
"##,
    );
    let haflow = |arguments: &[&str], value: &str| {
        Ran::of(
            crate::common::events::haflow(sshd.folder.path(), arguments.iter().copied())
                .env("HAFLOW_SECRET_KEY", value),
        )
    };
    let on = ["playbook.rhai", "-i", "inventory.toml"];
    let planned = haflow(&["plan", on[0], on[1], on[2], "-o", "plan.json"], "one-key");
    assert_eq!(planned.exit, 0, "{planned:?}");
    let plan = fs::read_to_string(sshd.path("plan.json")).expect("a plan");
    assert!(!plan.contains("one-key") && plan.contains("\"secrets\""), "{plan}");
    let other = haflow(&["apply", "plan.json"], "other-key");
    assert_eq!(other.exit, 65, "{other:?}");
    assert!(other.stderr.contains("the value of key changed since it was made; nothing was changed"), "{other:?}");
    assert!(!target.join("key").exists());
    // With another key for digests it can't be told, and haflow says so.
    let kept = sshd.path(".local/state/haflow/secrets.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&kept).expect("it").permissions());
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let key = fs::read(&kept).expect("a key");
    fs::write(&kept, [b'0'; 64]).expect("another one");
    let applied = haflow(&["apply", "plan.json"], "one-key");
    assert!(applied.exit == 1 && applied.stderr.contains("it can't be told whether its secrets"), "{applied:?}");
    assert_eq!(fs::read_to_string(target.join("key")).expect("it"), "one-key");

    let resumed = haflow(&["resume"], "other-key");
    assert_eq!(resumed.exit, 65, "{resumed:?}");
    assert!(
        resumed.stderr.contains("isn't resumed: the value of key changed since; nothing was changed"),
        "{resumed:?}"
    );
    fs::write(target.join("fine"), "").expect("a file");
    let resumed = haflow(&["resume"], "one-key");
    assert_eq!(resumed.exit, 0, "{resumed:?}");
    fs::write(&kept, key).expect("the key");

    // A prompt: what is typed isn't echoed, and the run goes on with it.
    if !Path::new("/usr/bin/script").exists() {
        println!("skipped: the prompt, since there is no `script` here (Debian's package is bsdutils)");
        return;
    }
    let typed = pipe_in(
        &sshd,
        &format!("script -qec '{} run {} {} {} -v' /dev/null", env!("CARGO_BIN_EXE_haflow"), on[0], on[1], on[2]),
        b"typed-keX\x7fy\n",
    );
    assert!(typed.contains("secret key: ") && !typed.contains("typed"), "{typed}");
    assert_eq!(fs::read_to_string(target.join("key")).expect("it"), "typed-key", "{typed}");
    for entry in walk(sshd.folder.path()) {
        let text = fs::read(&entry).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let found = ["one-key", "other-key", "typed-key"].into_iter().find(|key| text.contains(key));
        assert!(found.is_none() || entry.starts_with(&target), "{} has {found:?}", entry.display());
    }
}

/// What a command prints that is given `input` once it has asked.
fn pipe_in(sshd: &crate::common::sshd::Sshd, command: &str, input: &[u8]) -> String {
    let mut sh = crate::common::clean(std::process::Command::new("timeout"), sshd.folder.path());
    let sh = sh.args(["60", "sh", "-c", command]).env("XDG_RUNTIME_DIR", sshd.folder.path()).env("TERM", "dumb");
    let mut child = sh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let mut stdout = child.stdout.take().expect("it is piped");
    let mut printed = Vec::new();
    let mut some = [0; 4096];
    let mut input = Some(input);
    loop {
        let read = std::io::Read::read(&mut stdout, &mut some).expect("it prints");
        if read == 0 {
            break;
        }
        printed.extend_from_slice(&some[..read]);
        if String::from_utf8_lossy(&printed).contains("secret key: ")
            && let Some(input) = input.take()
        {
            stdin.write_all(input).expect("it reads");
        }
    }
    child.wait().expect("it ends");
    String::from_utf8_lossy(&printed).into_owned()
}
