//! SSH as people have it, against real sshds on this machine.

use crate::common::Ran;
use crate::common::events::{Told, haflow};
use crate::common::sshd::{
    Sshd, begun, connections, free_port, interrupt_again, is_root, make_key, signal, told_until, until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Tasks that would all run at once, as three users where that can be had.
fn crowd() -> String {
    let users: &[&str] = if has_sudo() { &["()", "\"nobody\"", "\"daemon\""] } else { &["()"] };
    let tasks = users.iter().flat_map(|user| (0..8).map(move |number| (user, number)));
    let branches = tasks.map(|(user, number)| {
        let name = format!("{} {number}", user.trim_matches('"'));
        format!("|| act(node, #{{ name: \"{name}\", reason: \"a test\", user: {user}, apply: \"sleep 0.05\" }}),\n")
    });
    format!("let node = host(\"here\");\nparallel([\n{}]);", branches.collect::<String>())
}

fn has_sudo() -> bool {
    is_root() && Path::new("/usr/bin/sudo").exists()
}

#[test]
fn a_host_makes_do_with_the_sessions_that_it_gets() {
    for most in [1, 2, 3] {
        let Some(sshd) = Sshd::start(&format!("MaxSessions {most}")) else { return };
        let told = sshd.told("run", &crowd()).exits(0);
        assert_eq!(told.count("changed"), told.outcomes().len() as u64, "MaxSessions {most}");
        let log = sshd.log();
        assert!(log.contains("no more sessions"), "MaxSessions {most}: all of them fit:\n{log}");
        assert_eq!(log.matches("Accepted publickey").count(), 1, "MaxSessions {most}:\n{log}");
    }
}

#[test]
fn what_slows_a_run_down_is_told_of_a_host() {
    let without = "ForceCommand PATH=$(cd \"$HAFLOW_TOOLS\" && pwd) exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";
    for (most, settings, said) in [
        (1, "MaxSessions 1", Some("its sshd takes one session at a time")),
        (2, "MaxSessions 2", None),
        (4, "", None),
        (4, without, Some("it has no flock: two runs at once aren't kept apart")),
    ] {
        let tools = tempfile::tempdir().expect("a folder");
        for tool in [
            "sh",
            "date",
            "id",
            "sed",
            "stat",
            "sha256sum",
            "mktemp",
            "sync",
            "chown",
            "chmod",
            "mv",
            "readlink",
            "getent",
        ] {
            let path =
                ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(tool)).into_iter().find(|path| path.exists());
            std::os::unix::fs::symlink(path.expect("a tool"), tools.path().join(tool)).expect("a link");
        }
        let settings = settings.replace("$HAFLOW_TOOLS", tools.path().to_str().expect("a path"));
        let Some(sshd) = Sshd::start(&settings) else { return };
        let plain = sshd.haflow(&["hosts", "-i", "inventory.toml"]).stdout;
        assert_eq!(said.is_some_and(|said| plain.contains(said)), said.is_some(), "{plain}");
        let told = Told::from(sshd.haflow(&["hosts", "-i", "inventory.toml", "--format", "json"]));
        assert_eq!(told.events[0]["sessions"], most, "{settings}: {plain}");
    }
}

/// An act that says that it has begun, and then waits for a file `go`.
const LONG: &str = r##"
    let node = host("here");
    act(node, #{
        name: "long", reason: "a test", params: #{ folder: node.vars.folder }, timeout: "5m",
        apply: #"
            echo $$ > "$folder/began.new"
            mv "$folder/began.new" "$folder/began"
            while [ ! -e "$folder/go" ]; do sleep 0.05; done
        "#,
    });
"##;

#[test]
fn what_runs_is_killed_also_where_there_is_no_second_session() {
    let Some(sshd) = Sshd::start("MaxSessions 1") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    let (mut run, lives) = begun(&sshd, LONG);
    signal(&run, Signal::INT);
    let (mut rest, mut text) = told_until(&mut run, "interrupted");
    interrupt_again(&run);
    rest.read_to_string(&mut text).expect("it talks");
    assert_eq!(run.wait().expect("it ends").code(), Some(130), "{text}");
    until("the script's end", || !lives());
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 2, "{}", sshd.log());
    sshd.nothing_is_left();
}

/// A `~/.ssh` of the test's own: ssh asks the user database where the home folder is, not the environment, so
/// the test's lies on top of the real one, for haflow alone.
struct Home {
    ssh: PathBuf,
    real: PathBuf,
}

impl Home {
    /// In an sshd's folder, with this `config`; `None`, with a word on it, where that needs other rights.
    fn new(sshd: &Sshd, config: &str) -> Option<Self> {
        if !is_root() {
            println!("skipped: a configuration of one's own needs root");
            return None;
        }
        let entry = Ran::of(Command::new("getent").args(["passwd", "0"])).stdout;
        let real = PathBuf::from(entry.split(':').nth(5).expect("a home folder")).join(".ssh");
        if !real.exists() {
            fs::create_dir(&real).expect("a folder");
            fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).expect("it is ours");
        }
        let home = Self { ssh: sshd.path("dot-ssh"), real };
        fs::create_dir_all(&home.ssh).expect("a folder");
        home.write("config", config);
        Some(home)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.ssh.join(name), text).expect("a file");
    }

    fn haflow(&self, sshd: &Sshd, arguments: &[&str]) -> Ran {
        let mut plain = haflow(sshd.folder.path(), arguments.iter().copied());
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", r#"mount --bind "$1" "$2" && shift 2 && exec "$@""#, "sh"]);
        command.arg(&self.ssh).arg(&self.real).arg(plain.get_program()).args(plain.get_args());
        command.current_dir(sshd.folder.path()).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        plain.stdin(Stdio::null());
        Ran::of(command.stdin(Stdio::null()))
    }

    /// Runs one task on each of these hosts, which need no inventory.
    fn told(&self, sshd: &Sshd, hosts: &str) -> Told {
        sshd.write(
            "each.rhai",
            "for node in hosts() { read(node, #{ name: \"it\", probe: \"echo $SSH_CONNECTION\" }); }",
        );
        self.haflow(sshd, &["run", "each.rhai", "--hosts", hosts, "--format", "json"]).into()
    }
}

/// Lines of a configuration for a test's own sshd.
fn way(sshd: &Sshd) -> String {
    let path = |name: &str| sshd.path(name).display().to_string();
    format!(
        "  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n",
        sshd.port,
        path("key"),
        path("known_hosts")
    )
}

#[test]
fn the_users_configuration_holds() {
    let (Some(sshd), Some(bastion)) = (Sshd::start(""), Sshd::start("")) else { return };
    let Some(home) = Home::new(&sshd, "") else { return };
    let key = fs::read(sshd.path("key")).expect("a key");
    let known = sshd.path("known_hosts");
    let socket = sshd.path("agent");
    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().expect("an agent");
    until("the agent", || socket.exists());
    let added = Command::new("ssh-add").arg("-q").arg(sshd.path("key")).env("SSH_AUTH_SOCK", &socket).status();
    assert!(added.expect("ssh-add is there").success());
    let busy = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    home.write("included", &format!("Host included\n{}", way(&sshd)));
    home.write(
        "config",
        &format!(
            "Include {home}/included\n\
             Host alias\n{way}\
             Host behind\n  ProxyJump bastion\n{way}\
             Host bastion\n{bastion}\
             Match host matched exec \"test -e {home}/flag\"\n{way}\
             Host by-agent\n  HostName 127.0.0.1\n  Port {port}\n  UserKnownHostsFile {known}\n  IdentityAgent {socket}\n  IdentityFile none\n\
             Host aliased-key\n  HostKeyAlias [127.0.0.1]:{port}\n{way}\
             Host piped\n  ProxyCommand sh -c 'exec ssh -W %h:%p bastion'\n{way}\
             # What is for people is in nobody's way.\n\
             Host *\n  LogLevel QUIET\n  RequestTTY force\n  RemoteCommand top\n  LocalForward {busy} localhost:1\n  ExitOnForwardFailure yes\n\
             \x20 ControlMaster auto\n  ControlPath {home}/own-%C\n  StrictHostKeyChecking no\n",
            way = way(&sshd),
            bastion = way(&bastion),
            home = home.ssh.display(),
            port = sshd.port,
            known = known.display(),
            socket = socket.display(),
            busy = busy.local_addr().expect("its address").port(),
        ),
    );
    home.write("flag", "");
    assert!(!key.is_empty());
    let told = home.told(&sshd, "alias,included,matched,by-agent,aliased-key,behind,piped");
    let _ = (agent.kill(), agent.wait());
    assert_eq!(told.exits(0).count("ok"), 7);
    assert!(bastion.log().matches("Accepted publickey").count() >= 1, "nobody jumped: {}", bastion.log());
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 7, "{}", sshd.log());

    fs::remove_file(home.ssh.join("flag")).expect("it is there");
    let unmatched = home.told(&sshd, "matched").exits(1);
    let why = unmatched.of("host_unreachable").next().expect("it is told")["why"].to_string();
    assert!(why.contains("the name `matched` can't be resolved"), "{why}");

    home.write("config", "Host *\n  NoSuchOption yes\n");
    let wrong = home.told(&sshd, "alias").exits(1);
    let why = wrong.of("host_unreachable").next().expect("it is told")["why"].to_string();
    for said in ["ssh can't do with its configuration", "line 2", "nosuchoption"] {
        assert!(why.contains(said), "{said} isn't said: {why}");
    }
}

/// An address of this machine that holds only together with the name of its interface.
fn link_local() -> Option<String> {
    let shown = Ran::of(Command::new("ip").args(["-6", "-o", "addr", "show", "scope", "link", "up"])).stdout;
    shown.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = words.get(3)?.split('/').next()?;
        Some(format!("{address}%{}", words.get(1)?.split('@').next()?))
    })
}

#[test]
fn addresses_of_ipv6_are_hosts() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: there is no IPv6 here");
        return;
    }
    let Some(sshd) = Sshd::start("ListenAddress ::") else { return };
    let local = link_local();
    let addresses: Vec<&str> = ["::1"].into_iter().chain(local.as_deref()).collect();
    let public = fs::read_to_string(sshd.path("host_key.pub")).expect("a key");
    let known: Vec<String> = addresses.iter().map(|address| format!("[{address}]:{} {public}", sshd.port)).collect();
    sshd.write("known", &known.concat());
    for address in &addresses {
        sshd.inventory(&json!({ "address": address, "known_hosts": sshd.path("known") }), &json!({}));
        let told =
            sshd.told("run", "read(host(\"here\"), #{ name: \"it\", probe: \"echo $SSH_CONNECTION\" });").exits(0);
        let seen = told.task("here/read:it")["output"].to_string();
        assert!(seen.contains(address.split('%').next().expect("an address")), "{address}: {seen}");
    }
    let Some(home) = Home::new(&sshd, &format!("Host *\n{}", way(&sshd).replace("  HostName 127.0.0.1\n", ""))) else {
        return;
    };
    fs::copy(sshd.path("known"), sshd.path("known_hosts")).expect("a file");
    let list: Vec<String> = addresses.iter().map(|address| format!("[{address}]:{}", sshd.port)).collect();
    assert_eq!(home.told(&sshd, &list.join(",")).exits(0).count("ok"), addresses.len() as u64);
}

/// What `haflow hosts` and a run say of host `here`: the step, the reason and the hint.
#[track_caller]
fn bar(sshd: &Sshd) -> (String, String, String) {
    let hosts = Told::from(sshd.haflow(&["hosts", "-i", "inventory.toml", "--format", "json"])).exits(1);
    let run = sshd.told("run", "act(host(\"here\"), #{ name: \"it\", reason: \"a test\", apply: \"true\" });").exits(1);
    let text = |name: &str| hosts.events[0][name].as_str().unwrap_or_default().to_owned();
    let (step, why, hint) = (text("step"), text("why"), text("hint"));
    assert_eq!(run.task("here/act:it")["why"], why, "a run says something else");
    assert!(!why.contains('\n') && !hint.is_empty(), "{why}: {hint}");
    (step, why, hint)
}

#[track_caller]
fn is_barred(sshd: &Sshd, host: &Value, step: &str, why: &str, hint: &str) {
    sshd.inventory(host, &json!({}));
    let seen = bar(sshd);
    println!("{seen:?}");
    assert!(seen.0 == step && seen.1.contains(why) && seen.2.contains(hint), "{seen:?}");
}

#[test]
fn what_is_wrong_with_a_key_is_told() {
    let Some(sshd) = Sshd::start("") else { return };
    let (locked, open) = (sshd.path("locked"), sshd.path("open"));
    make_key(&locked, "open sesame");
    fs::copy(sshd.path("key"), &open).expect("a copy");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let with = |key: &Path| json!({ "key": key });
    is_barred(&sshd, &with(&locked), "login", "has a passphrase, and no agent holds it", "ssh-add");
    is_barred(&sshd, &with(&open), "login", "others may read the key", "chmod 600");
    is_barred(&sshd, &with(&sshd.path("none")), "login", "there is no key", "correct `key`");
    is_barred(&sshd, &with(&sshd.path("other_key")), "login", "refused to log in", "never asks for a password");

    // An agent that holds too many.
    let Some(home) = Home::new(&sshd, "") else { return };
    let socket = sshd.path("agent");
    let mut agent =
        Command::new("ssh-agent").args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().expect("an agent");
    until("the agent", || socket.exists());
    for number in 0..7 {
        let key = sshd.path(&format!("many{number}"));
        make_key(&key, "");
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).status();
        assert!(added.expect("ssh-add is there").success());
    }
    let plain = way(&sshd).replace("  IdentitiesOnly yes\n", "");
    home.write("config", &format!("Host many\n  IdentityAgent {}\n{plain}", socket.display()));
    let many = home.told(&sshd, "many").exits(1);
    let _ = (agent.kill(), agent.wait());
    let told = many.of("host_unreachable").next().expect("it is told");
    assert!(told["why"].to_string().contains("too many keys") && told["hint"].to_string().contains("`key`"), "{told}");
}

#[test]
fn what_is_wrong_on_the_way_is_told_of_the_host_where_it_is() {
    let (Some(sshd), Some(bastion)) = (Sshd::start(""), Sshd::start("")) else { return };
    let Some(closed) = Sshd::start("AllowTcpForwarding no") else { return };
    let Some(home) = Home::new(&sshd, "") else { return };
    let nobody = free_port();
    let jumps = [
        ("good", way(&bastion)),
        ("closed", way(&closed)),
        ("down", way(&bastion).replace(&bastion.port.to_string(), &nobody.to_string())),
        ("unknown", way(&bastion).replace("known_hosts", "no_hosts")),
        ("changed", way(&bastion).replace("known_hosts", "changed_hosts")),
        ("unwelcome", way(&bastion).replace("/key\n", "/other_key\n")),
        ("nameless", way(&bastion).replace("127.0.0.1", "no-such-host.invalid")),
    ];
    // Known by their address, but with a name of their own.
    let jumps = jumps.map(|(name, way)| {
        let alias = format!("  HostKeyAlias [127.0.0.1]:{}\n", bastion.port);
        (name, if name == "closed" { way } else { way.replace("127.0.0.1", "localhost") + alias.as_str() })
    });
    let mut config = String::new();
    for (name, jump) in jumps {
        let _ = write!(config, "Host via-{name}\n{jump}Host by-{name}\n  ProxyJump via-{name}\n{}", way(&sshd));
    }
    let _ = write!(
        config,
        "Host gone\n  ProxyJump via-good\n{}",
        way(&sshd).replace(&sshd.port.to_string(), &nobody.to_string())
    );
    // A user's configuration that takes any key doesn't count in a run.
    config += "Host *\n  StrictHostKeyChecking no\n";
    home.write("config", &config);
    assert_eq!(home.told(&sshd, "by-good").exits(0).count("ok"), 1);

    let bars = [
        ("by-closed", "network", "via-closed forwards no connection to by-closed"),
        ("by-down", "refused", "localhost, on the way to by-down, refused the connection to port"),
        ("by-unknown", "host key", "on the way to by-unknown, isn't known"),
        ("by-changed", "host key", "on the way to by-changed, has changed"),
        ("by-unwelcome", "login", "on the way to by-unwelcome, refused to log in"),
        ("by-nameless", "network", "`no-such-host.invalid` of a jump host on the way to by-nameless can't be resolved"),
        ("gone", "refused", "gone can't be reached on port"),
    ];
    let names: Vec<&str> = bars.iter().map(|(name, ..)| *name).collect();
    let told = Told::from(home.haflow(&sshd, &["hosts", "--hosts", &names.join(","), "--format", "json"])).exits(1);
    for (name, step, why) in bars {
        let seen = told.events.iter().find(|event| event["host"] == name).expect("it is told");
        println!("{seen}");
        assert_eq!(seen["step"], step, "{seen}");
        assert!(seen["why"].as_str().is_some_and(|seen| seen.contains(why)), "{seen}");
        let remove =
            format!("`ssh-keygen -f {} -R '[127.0.0.1]:{}'`", bastion.path("changed_hosts").display(), bastion.port);
        let hint = seen["hint"].as_str().expect("a hint");
        assert!(name != "by-changed" || hint.contains(&remove), "{hint}");
    }
}

#[test]
fn a_new_host_is_accepted_where_that_is_asked_for_and_a_changed_one_never() {
    let Some(sshd) = Sshd::start("") else { return };
    let known = sshd.path("new_hosts");
    sshd.inventory(&json!({ "known_hosts": known }), &json!({}));
    sshd.write("playbook.rhai", "act(host(\"here\"), #{ name: \"it\", reason: \"a test\", apply: \"true\" });");
    let run = ["run", "playbook.rhai", "-i", "inventory.toml"];
    let plan = ["plan", "playbook.rhai", "-i", "inventory.toml"];
    let hosts = ["hosts", "-i", "inventory.toml"];
    let is_known = || fs::metadata(&known).is_ok_and(|file| file.len() > 0);
    for command in [&run[..], &plan, &hosts] {
        let _ = fs::remove_file(&known);
        let strict = sshd.haflow(command);
        assert_eq!((strict.exit, is_known()), (1, false), "{command:?}: {strict:?}");
        let accepting = sshd.haflow(&[command, &["--accept-new"]].concat());
        assert!(is_known(), "{command:?}: {accepting:?}");
        // It is known from now on.
        let known = sshd.haflow(command);
        assert_eq!(accepting.exit, known.exit, "{command:?}: {accepting:?}");
        let reached = ["reached in", "connected", "plan: "].iter().any(|sign| known.stdout.contains(sign));
        assert!(reached && !known.stdout.contains("not reached"), "{known:?}");
    }
    // A plan doesn't hold it: whoever applies it says so.
    assert_eq!(sshd.haflow(&[&plan[..], &["-o", "plan.json"]].concat()).exit, 0);
    let _ = fs::remove_file(&known);
    assert_eq!(sshd.haflow(&["apply", "plan.json"]).exit, 1);
    let applied = sshd.haflow(&["apply", "plan.json", "--accept-new"]);
    assert_eq!((applied.exit, is_known()), (0, true), "{applied:?}");
    // Nor does a journal.
    let _ = fs::remove_file(&known);
    let failed = Told::from(sshd.haflow(&[&run[..], &["--format", "json"]].concat())).exits(1);
    let id = failed.totals()["run"].as_str().expect("its id");
    assert_eq!(sshd.haflow(&["resume", id]).exit, 1);
    let resumed = sshd.haflow(&["resume", id, "--accept-new"]);
    assert_eq!((resumed.exit, is_known()), (0, true), "{resumed:?}");

    sshd.inventory(&json!({ "known_hosts": sshd.path("changed_hosts") }), &json!({}));
    let changed = sshd.haflow(&[&run[..], &["--accept-new"]].concat());
    assert_eq!(changed.exit, 1);
    assert!(changed.stdout.contains("the host key of here has changed"), "{changed:?}");
}

#[test]
fn an_sshd_that_is_too_busy_is_tried_again() {
    let Some(sshd) = Sshd::start("MaxStartups 3:30:10") else { return };
    let Some(home) = Home::new(&sshd, "") else { return };
    let known = fs::read_to_string(sshd.path("known_hosts")).expect("a file");
    sshd.write("known_hosts", &known);
    home.write("config", &format!("Host n*\n{}Host j*\n  ProxyJump n0\n{}", way(&sshd), way(&sshd)));
    for hosts in ["n[1:30]", "j[1:30]"] {
        let began = Instant::now();
        let told = home.told(&sshd, hosts);
        println!("{hosts}: {:?}, {} turned away", began.elapsed(), sshd.log().matches("drop connection").count());
        assert_eq!(told.exits(0).count("ok"), 30);
    }
    assert!(sshd.log().contains("drop connection"), "nobody was turned away: {}", sshd.log());
}

#[test]
fn a_connection_that_has_died_in_silence_is_noticed_and_made_again() {
    let Some(sshd) = Sshd::start("") else { return };
    // Stricter than haflow's own, which would take forty seconds.
    let Some(home) = Home::new(&sshd, "Host *\n  ServerAliveInterval 1\n  ServerAliveCountMax 2\n") else { return };
    sshd.inventory(&json!({}), &json!({ "folder": sshd.folder.path() }));
    sshd.write("playbook.rhai", LONG);
    let (told, took) = std::thread::scope(|scope| {
        let run =
            scope.spawn(|| home.haflow(&sshd, &["run", "playbook.rhai", "-i", "inventory.toml", "--format", "json"]));
        until("the act to begin", || sshd.path("began").exists());
        let processes = connections(sshd.program.id());
        let all = |signal| {
            for process in &processes {
                let _ = kill_process(Pid::from_raw(*process).expect("a process"), signal);
            }
        };
        all(Signal::STOP);
        let began = Instant::now();
        // The act ends, and nobody is told until there is another connection.
        sshd.write("go", "");
        let told = Told::from(run.join().expect("it ends"));
        all(Signal::CONT);
        (told, began.elapsed())
    });
    assert!(took < Duration::from_secs(40), "it took {took:?}");
    assert_eq!(told.clone().exits(0).with("changed"), ["here/act:long"]);
    let why = told.of("host_lost").next().expect("it is told")["why"].to_string();
    assert!(why.contains("no sign of life"), "{why}");
}
