//! Users as hosts have them, in the lab: login shells, login scripts, home folders and sudo.

use crate::common::Ran;
use crate::common::events::Told;
use crate::common::world::World;
use std::process::Stdio;
use std::time::Instant;

/// Makes users who all log in with root's key: `name:shell`.
const USERS: &str = r#"
set -e
user() {
    useradd --create-home --shell "$2" "$1"
    install -d -m 0700 -o "$1" "/home/$1/.ssh"
    install -m 0600 -o "$1" /root/.ssh/authorized_keys "/home/$1/.ssh/authorized_keys"
}
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -qy --no-install-recommends fish tcsh sudo >/dev/null
user fish /usr/bin/fish
user csh /bin/tcsh
user chatty /bin/bash
printf 'echo "Welcome $(id)"\necho >&2 watch out\nprintf "no end"\n' > /home/chatty/.bashrc
user slow /bin/bash
echo 'sleep 5' > /home/slow/.bashrc
user curious /bin/bash
printf 'read -r answer\nread -r -p "sure? " answer\n' > /home/curious/.bashrc
user greedy /bin/bash
echo 'cat > /dev/null' > /home/greedy/.bashrc
user homeless /bin/bash
user nologin /usr/sbin/nologin
user false /bin/false
for user in asked forbidden seated free; do user "$user" /bin/bash; done
usermod -p '*' asked
cat > /etc/sudoers.d/haflow <<'EOF'
Defaults:seated requiretty
Defaults lecture=always
asked ALL=(ALL) ALL
seated ALL=(ALL) NOPASSWD: ALL
free ALL=(ALL) NOPASSWD: ALL
fish ALL=(ALL) NOPASSWD: ALL
csh ALL=(ALL) NOPASSWD: ALL
homeless ALL=(ALL) NOPASSWD: ALL
forbidden ALL=(ALL) NOPASSWD: /bin/true
EOF
install -m 0644 -o root /root/.ssh/authorized_keys /etc/ssh/homeless
printf 'Match User homeless\n    AuthorizedKeysFile /etc/ssh/homeless\n' >> /etc/ssh/sshd_config
systemctl reload ssh
rm -r /home/homeless
"#;

/// Users that a host can be used as, whatever their shell does before.
const WELCOME: [&str; 7] = ["fish", "csh", "chatty", "slow", "curious", "homeless", "free"];

impl World {
    /// The lab's host under other names: one for each user, with more of an inventory's lines.
    fn users(&self, users: &[(&str, &str)]) {
        let host = &self.lab.hosts()[0];
        let lines = users.iter().map(|(user, more)| {
            format!(
                "[hosts.{user}]\naddress = \"{}\"\nuser = \"{user}\"\nkey = \"{}\"\nknown_hosts = \"{}\"\n{more}\n",
                host.address,
                host.key.display(),
                host.known_hosts.display()
            )
        });
        self.write("inventory.toml", &lines.collect::<String>());
    }
}

#[test]
fn users_of_all_kinds_log_in_or_are_told_why_not() {
    let Some(world) = World::up("logins", &["web1"], "bookworm") else { return };
    world.sh("web1", USERS);
    let become_root = "become = true";
    world.step("the users are there");

    world.write(
        "who.rhai",
        "for node in hosts() { let who = read(node, #{ name: \"who\", probe: \"id -un; echo done\" }); }",
    );
    world.users(&WELCOME.map(|user| (user, "")));
    let began = Instant::now();
    let told = world.told("run", "who.rhai", &[]).exits(0);
    for user in WELCOME {
        assert_eq!(told.task(&format!("{user}/read:who"))["output"], format!("{user}\ndone"));
    }
    println!("{:?}", began.elapsed());
    world.step("every login shell, and what a login script does, is survived");

    // Killing goes by a command of its own, in the login shell's language.
    world.sh("web1", "rm -rf /run/haflow /run/lock/haflow-*");
    world.write(
        "long.rhai",
        "for node in hosts() { act(node, #{ name: \"long\", reason: \"a test\", timeout: \"1s\", apply: \"exec sleep 4242\" }); }",
    );
    // One after the other: they are the same machine, which one run locks.
    for (user, more) in [("fish", become_root), ("csh", become_root), ("homeless", become_root), ("chatty", "")] {
        world.users(&[(user, more)]);
        assert_eq!(world.told("run", "long.rhai", &[]).exits(1).with("failed"), [format!("{user}/act:long")]);
        world.sh("web1", "rm -rf /run/haflow /run/lock/haflow-*");
    }
    assert_eq!(world.sh("web1", "pgrep -fc '[s]leep 4242' || true"), "0");
    world.step("what takes too long is killed, whatever the login shell");

    let barred = [
        (
            "nologin",
            "",
            "shell",
            "the login shell of `nologin` on nologin runs nothing (it exits 1): This account is currently not available.",
        ),
        ("false", "", "shell", "the login shell of `false` on false runs nothing (it exits 1)"),
        ("greedy", "", "shell", "didn't answer within 45 s"),
        ("asked", become_root, "sudo", "without a password: sudo: a password is required"),
        ("forbidden", become_root, "sudo", "sudo on forbidden"),
        ("slow", become_root, "sudo", "sudo on slow"),
        ("seated", become_root, "sudo", "asks for a terminal"),
        ("free", "become = \"nobody2\"", "sudo", "no user `nobody2` to become"),
    ];
    world.users(&barred.map(|(user, more, ..)| (user, more)));
    let hosts = Told::from(world.haflow(&["hosts", "-i", "inventory.toml", "--format", "json"])).exits(1);
    // One that never answers takes its time, and is told once.
    let run = world.told("run", "who.rhai", &["--limit", "!greedy"]).exits(1);
    for (user, _, step, why) in barred {
        let seen = hosts.events.iter().find(|event| event["host"] == user).expect("it is told");
        println!("{seen}");
        assert_eq!(seen["step"], step, "{seen}");
        assert!(seen["why"].as_str().is_some_and(|seen| seen.contains(why)), "{seen}");
        if user != "greedy" {
            assert_eq!(run.task(&format!("{user}/read:who"))["why"], seen["why"]);
        }
    }
    world.step("who can't be used is told, and why");

    // A step that restarts the very sshd that it came by.
    world.write(
        "restart.rhai",
        r#"
        let node = host("free");
        act(node, #{ name: "restart", reason: "a test", apply: "systemctl restart ssh" });
        act(node, #{ name: "after", reason: "a test", apply: "systemctl is-active ssh" });
        "#,
    );
    world.users(&[("free", become_root)]);
    assert_eq!(world.told("run", "restart.rhai", &[]).exits(0).count("changed"), 2);
    world.step("sshd is restarted by a step, and the run goes on");

    world.write(
        "wait.rhai",
        "act(host(\"free\"), #{ name: \"wait\", reason: \"a test\", apply: \"touch /run/began; sleep 200\" });",
    );
    let arguments = ["run", "wait.rhai", "-i", "inventory.toml", "--reconnect", "1s", "--format", "json"];
    let mut command = crate::common::events::haflow(world.folder.path(), arguments);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("haflow starts");
    world.sh("web1", "timeout 60 sh -c 'until [ -e /run/began ]; do sleep 0.1; done'");
    // A firewall that has forgotten the connection: nothing comes through, and nobody says so.
    world.lab.cut("web1").expect("the lab cuts it off");
    let cut = Instant::now();
    let told = Told::from(Ran::from(run.wait_with_output().expect("it ends")));
    let took = cut.elapsed();
    world.lab.heal("web1").expect("the lab plugs it in");
    // The connect that is tried once more has 15 s.
    assert!((30..90).contains(&took.as_secs()), "it took {took:?}");
    let lost = told.of("host_lost").next().expect("it is told");
    assert!(lost["why"].to_string().contains("no sign of life"), "{:?}", told.ran);
    assert_eq!(told.with("in_doubt"), ["free/act:wait"]);
    world.step(&format!("a connection that died in silence is noticed after {:.0} s", took.as_secs_f64()));
}
