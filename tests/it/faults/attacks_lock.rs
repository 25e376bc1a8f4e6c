//! What a user of a managed host can't do to a run there that works as root, or as another user: in the lab,
//! as that user.

use crate::common::events::{Told, haflow};
use crate::common::sshd::{signal, until};
use crate::common::world::World;
use crate::common::{Ran, clean};
use rustix::process::Signal;
use std::process::{Child, Command, Stdio};

/// Two users who log in with root's key, a service of root's that nobody may end, and a program that is
/// root's for all.
const USERS: &str = r#"
set -e
for user in alice bob; do
    useradd --create-home --shell /bin/bash "$user"
    install -d -m 0700 -o "$user" "/home/$user/.ssh"
    install -m 0600 -o "$user" ~root/.ssh/authorized_keys "/home/$user/.ssh/authorized_keys"
done
install -m 4755 /bin/sleep /usr/local/bin/suid-sleep
mkdir -m 777 /srv/shared
systemd-run --quiet --unit victim sleep 33333
"#;

/// A step of root's that is under way from `/root/begun` until there is `/root/go`.
const SLOW: &str = r###"
act(host("web1"), #{ name: "slow", reason: "a test", apply: ##"
    rm -f /root/go; touch /root/begun
    n=0; until [ -e /root/go ] || [ "$n" = 600 ]; do n=$((n + 1)); sleep 0.1; done
"## });
"###;

impl World {
    fn with_users(part: &str) -> Option<Self> {
        let world = Self::up(part, &["web1"], "bookworm")?;
        world.sh("web1", USERS);
        let host = &world.lab.hosts()[0];
        world.write(
            "alice.toml",
            &format!(
                "[hosts.web1]\naddress = \"{}\"\nuser = \"alice\"\nkey = \"{}\"\nknown_hosts = \"{}\"\n",
                host.address,
                host.key.display(),
                host.known_hosts.display()
            ),
        );
        world.write("slow.rhai", SLOW);
        world.write("other.rhai", "file(host(\"web1\"), \"/srv/shared/other\", #{ content: \"x\" });");
        Some(world)
    }

    /// What bob's script prints, whether it succeeds or not.
    fn bob(&self, script: &str) -> String {
        self.sh(
            "web1",
            &format!("cat >/tmp/bobs-script <<'END'\n{script}\nEND\nsu bob -c 'bash /tmp/bobs-script' 2>&1 || true"),
        )
    }

    fn victim_lives(&self) -> bool {
        self.sh("web1", "systemctl is-active victim || true") == "active"
    }

    /// Starts the slow run, and waits until its step is under way.
    fn slow(&self) -> Child {
        self.sh("web1", "rm -f /root/begun");
        let run = clean(Command::new(env!("CARGO_BIN_EXE_haflow")), self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .args(["run", "slow.rhai", "-i", "inventory.toml", "--format", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("haflow starts");
        until("the slow step", || self.ssh("web1", "test -e /root/begun").status.success());
        run
    }

    fn goes_on(&self, run: Child) {
        self.sh("web1", "touch /root/go");
        let ended = run.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    fn other(&self, inventory: &str) -> Ran {
        let arguments = ["run", "other.rhai", "-i", inventory, "--format", "json"];
        Ran::of(&mut haflow(self.folder.path(), arguments))
    }

    #[track_caller]
    fn is_refused(&self, ran: &Ran) {
        assert_eq!((ran.exit, ran.stdout.as_str()), (75, ""), "{ran:?}");
        assert!(ran.stderr.contains("web1: run "), "it isn't told whose it is: {ran:?}");
        assert_eq!(self.sh("web1", "ls /srv/shared"), "", "something was changed");
    }
}

#[test]
fn a_step_that_is_killed_takes_nothing_of_others_with_it() {
    let Some(world) = World::with_users("killer") else { return };
    // A name that ends what `read` sees, and goes on with a pattern: files are called what a list of
    // processes would hold.
    let pid = world.sh("web1", "systemctl show -p MainPID --value victim");
    world.sh("web1", "apt-get install -qy perl-base >/dev/null; perl -v >/dev/null");
    world.bob(&format!(
        r#"mkdir -p /tmp/a
cat >/tmp/named.pl <<'PERL'
open my $file, ">", "/proc/self/comm"; syswrite $file, $ARGV[0]; close $file; sleep 33334;
PERL
for name in "x) /tmp/a/*
" "x) S 1 1 1" ") S {pid} {pid}" "*" '$(id)' "[/*"; do setsid perl /tmp/named.pl "$name" </dev/null >/dev/null 2>&1 & done
# As soon as there is a step: processes that say that they are of it, one of them root's in part.
cat >/tmp/watch.sh <<'WATCH'
for n in $(seq 600); do
    for folder in /run/haflow-step-*; do
        keeper=$(pgrep -of "$folder") || continue
        start=$(sed 's/.*) //' /proc/VICTIM/stat | cut -d' ' -f20)
        touch /tmp/a/0 "/tmp/a/$(printf '1\nVICTIM %s %s %s sleep\n2' "$keeper" "$keeper" "$start")"
        HAFLOW_STEP=$folder setsid suid-sleep 33335 &
        HAFLOW_STEP=$folder setsid sleep 33336 &
        setsid bash -c 'exec -a "sh $0" sleep 33337' "$folder" &
        exit
    done
    sleep 0.05
done
WATCH
sed -i "s/VICTIM/{pid}/" /tmp/watch.sh
PATH=$PATH:/usr/local/bin setsid bash /tmp/watch.sh </dev/null >/dev/null 2>&1 &"#
    ));
    let count = |seconds: &str| world.sh("web1", &format!("pgrep -fc '[{}]{}' || true", &seconds[..1], &seconds[1..]));
    world.write(
        "hangs.rhai",
        r###"act(host("web1"), #{ name: "hangs", reason: "a test", timeout: "4s", apply: ##"
            setsid sh -c 'trap "" TERM; while :; do sleep 4242; done' & sleep 4242; wait "## });"###,
    );
    let told = world.told("run", "hangs.rhai", &[]).exits(1);
    let message = told.task("web1/act:hangs")["failure"]["message"].as_str().expect("a message").to_owned();
    println!("{message}");
    assert!(message.contains("longer than 4 s") && message.contains("nothing of it is left there"), "{message}");
    assert!(world.victim_lives(), "root's service was ended: {message}");
    assert_eq!(count("4242"), "0", "something of the step is left");
    // bob's own came to no harm either, though he asked for it.
    for seconds in ["33335", "33336", "33337"] {
        assert_eq!(count(seconds), "1", "sleep {seconds} was ended, or never there: {message}");
    }
    assert_eq!(world.sh("web1", "pgrep -fc '[n]amed.pl'"), "6");
    world.step("what is called and marked like a step isn't killed with it");

    // The number of a keeper that is gone is somebody else's by now.
    world.write(
        "reused.rhai",
        &format!(
            r###"act(host("web1"), #{{ name: "hangs", reason: "a test", timeout: "2s", apply: ##"
                echo {pid} > "$HAFLOW_STEP/pid"; sleep 4242 "## }});"###
        ),
    );
    world.told("run", "reused.rhai", &[]).exits(1);
    assert!(world.victim_lives(), "root's service was ended for a keeper");
    assert_eq!(count("4242"), "0", "something of the step is left");
    world.step("a number that was used again isn't killed");
}

#[test]
fn nobody_else_can_hold_or_take_a_lock_or_have_somebody_killed_by_it() {
    let Some(world) = World::with_users("locker") else { return };
    // Whatever bob makes first, and holds for as long as he likes.
    world.bob(
        r"for place in /run/lock /tmp /dev/shm; do
    for name in haflow.lock haflow.lock.turn; do (umask 0; : > $place/$name); setsid flock -s $place/$name sleep 33338 & done
    mkdir -m 777 $place/haflow-0; (umask 0; : > $place/haflow-0/lock; : > $place/haflow-0/turn)
    setsid flock -x $place/haflow-0/lock sleep 33338 & setsid flock -x $place/haflow-0/turn sleep 33338 &
    ln -s /etc/passwd $place/haflow-link
done </dev/null >/dev/null 2>&1
mkdir /run/haflow",
    );
    assert!(world.sh("web1", "pgrep -fc '[s]leep 33338'").parse::<u32>().expect("a number") >= 12);
    let run = world.slow();
    assert_eq!(
        world.sh("web1", "stat -c '%U %a' /run/haflow /run/haflow/lock /run/haflow/turn /run/haflow/lanes"),
        "root 755\nroot 600\nroot 600\nroot 644"
    );
    let tried = world.bob(
        r"flock -n -s /run/haflow/lock true && echo TOOK; flock -n -s /run/haflow/turn true && echo TOOK
exec 7</run/haflow/lock && echo OPENED; : >>/run/haflow/by && echo WROTE; : >>/run/haflow/lanes && echo WROTE
rm -rf /run/haflow; mv /run/haflow /run/h; ln -sf /tmp /run/haflow; echo done",
    );
    for word in ["TOOK", "OPENED", "WROTE"] {
        assert!(!tried.contains(word), "{tried}");
    }
    assert!(tried.ends_with("done"), "not all was tried: {tried}");
    assert!(world.sh("web1", "ls /run/haflow").contains("lock"), "{tried}");
    world.is_refused(&world.other("inventory.toml"));
    world.step("bob can't hold root's lock, nor take it away");

    // Alice, who isn't root, sees that root's run is at work; bob's folders don't keep alice from a lock of
    // her own.
    world.is_refused(&world.other("alice.toml"));
    world.goes_on(run);
    let alice = world.sh("web1", "id -u alice");
    // As if the host had booted, and bob were first.
    world.sh("web1", &format!("rm -rf /run/lock/haflow-{alice}"));
    world.bob(&format!("mkdir -m 777 /run/lock/haflow-{alice}; setsid flock -x /run/lock/haflow-{alice} sleep 33338 >/dev/null 2>&1 </dev/null &"));
    assert_eq!(Told::from(world.other("alice.toml")).exits(0).count("changed"), 1);
    assert_eq!(
        world.sh("web1", &format!("stat -c '%U %a' /tmp/haflow-{alice} /tmp/haflow-{alice}/lock")),
        "alice 755\nalice 600"
    );
    world.sh("web1", "rm /srv/shared/other");
    // A folder that others may write isn't taken either, though it is one's own.
    world.sh("web1", "mkdir -p /run/haflow && chmod 777 /run/haflow");
    assert_eq!(Told::from(world.other("inventory.toml")).exits(0).count("changed"), 1);
    world.sh("web1", "rm -rf /srv/shared/other /run/haflow");
    world.step("each user has a lock of their own");

    // A run that is resumed ends what its dead haflow has left, by a list that only root writes; and what is
    // in it must be a lane.
    let mut run = world.slow();
    signal(&run, Signal::KILL);
    run.wait().expect("it ends");
    let pid = world.sh("web1", "systemctl show -p MainPID --value victim");
    let line = format!("{pid} $(sed 's/.*) //' /proc/{pid}/stat | cut -d' ' -f20)");
    let tried = world.bob(&format!(
        "run=$(cat /run/haflow/by); for file in /run/haflow/lanes /run/lock/haflow.lock /run/lock/haflow-0/lanes /tmp/haflow.lock; do\n\
         [ $file = /run/haflow/lanes ] || echo \"$run\" > $file; echo \"{line}\" >> $file && echo WROTE $file; done"
    ));
    assert!(!tried.contains("WROTE /run/haflow"), "{tried}");
    // Even a line of root's, of a process that was once a lane: it is no shell.
    let boot = world.sh("web1", "read -r pid start boot < /run/haflow/lanes; echo \"$boot\"");
    world.sh("web1", &format!("echo \"{line} {boot}\" >> /run/haflow/lanes; touch /root/go"));
    let resumed = Ran::of(&mut haflow(world.folder.path(), ["resume", "--format", "json"]));
    assert_eq!(resumed.exit, 0, "{resumed:?}");
    assert!(world.victim_lives(), "root's service was ended by a resumed run");
    world.step("a resumed run ends lanes, and nothing else");
}

#[test]
fn what_a_step_prints_doesnt_fill_its_host() {
    let Some(world) = World::with_users("flood") else { return };
    world.write(
        "flood.rhai",
        r###"
            let node = host("web1");
            act(node, #{ name: "flood", reason: "a test", apply: ##"
                echo first
                head -c 70000000 /dev/zero | tr '\0' x | fold -w 99
                echo "written: $?"
                du -sk "$HAFLOW_STEP" | cut -f1 > /root/used
                head -c 3000000 /dev/zero | tr '\0' y | fold -w 99 >&2
                printf 'last \302\233\177\342\200\250\n' >&2
                exit 3
            "## });
        "###,
    );
    let told = world.told("run", "flood.rhai", &[]).exits(1);
    let failure = &told.task("web1/act:flood")["failure"];
    assert_eq!(failure["exit"], 3, "{failure}");
    // What was said last is there, although much was said before.
    assert!(failure["stderr"].as_str().expect("a text").contains("last"), "{failure}");
    assert!(failure["stdout"].as_str().expect("a text").ends_with("written: 0"), "{failure}");
    let raw = told.ran.stdout.chars().find(|char| (char.is_control() && *char != '\n') || *char == '\u{2028}');
    assert_eq!(raw, None, "a character for terminals is in the events");
    let used: u32 = world.sh("web1", "cat /root/used").parse().expect("a number");
    assert!((1024..=4096).contains(&used), "the step had {used} KiB in /run");
    world.step(&format!("70 MB were printed, {used} KiB were kept"));

    world.write(
        "cut.rhai",
        r###"
            let node = host("web1");
            let much = act(node, #{ name: "much", reason: "a test", apply: "echo first; yes 0123456789 | head -c 9000000; echo last" });
            act(node, #{ name: "leaves one running", reason: "a test", apply: ##"
                echo before
                setsid sh -c 'n=0; until [ -e /root/end ] || [ "$n" = 600 ]; do n=$((n + 1)); echo late; sleep 0.1; done; touch /root/survived' &
                echo after
            "## });
        "###,
    );
    let told = world.told("run", "cut.rhai", &[]);
    assert_eq!(told.task("web1/act:leaves one running")["outcome"], "changed", "{:?}", told.ran.stderr);
    let took = told.task("web1/act:leaves one running")["took_ms"].as_u64().expect("a number");
    assert!(took < 5000, "it was waited for: {took} ms");
    // What it goes on to say is taken, and doesn't end it.
    world.sh("web1", "touch /root/end; for n in $(seq 100); do [ -e /root/survived ] && exit; sleep 0.1; done; exit 1");
    let ended = world.ssh("web1", "for n in $(seq 100); do pgrep -x cat >/dev/null || exit 0; sleep 0.1; done; exit 1");
    assert!(ended.status.success(), "a reader is left");
    assert_eq!(world.sh("web1", "ls -d /run/haflow-step-* 2>/dev/null || true"), "");
    let much = told.task("web1/act:much").to_string();
    assert!(much.contains("left out"), "that it was cut isn't said: {} bytes", much.len());
    world.step("what a step leaves running goes on");
}
