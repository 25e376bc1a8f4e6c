//! What a user of a host can do to a root that works in his folders: nothing. Each attack is made for real,
//! on a lab's host, as the unprivileged user `bob`, or as the broker's user.

#![allow(clippy::needless_raw_string_hashes, reason = "the playbooks have raw strings of their own")]

use crate::common::events::Told;
use crate::common::world::World;

/// What nobody but root may change or see, and a user with a home that only he may read.
const HOST: &str = r#"
set -eu
mkdir -m 755 /etc/victims /etc/victims/folder
umask 077
echo 'root secret quokka' > /etc/victims/secret
echo 'root secret quokka' > /etc/victims/folder/inside
umask 022
useradd -m -s /bin/sh bob
"#;

/// Everything about the victims that could change.
const VICTIMS: &str =
    "find /etc/victims /etc/shadow /dev/null -exec stat -c '%n %u %g %a %F %h %Z' {} + -type f -exec sha256sum {} +";

/// What fails wasn't planned as certain to succeed.
#[track_caller]
fn wrongly_certain_of_none(planned: &Told, ran: &Told) {
    for failed in ran.of("task_finished").filter(|event| event["outcome"] == "failed") {
        let plan = planned.of("task_planned").find(|event| event["task"] == failed["task"]).expect("it was planned");
        assert!(plan["decision"] == "failed" || !plan["assumed"].is_null(), "{plan}\n{failed}");
    }
}

struct Host(World);

impl Host {
    fn up(part: &str) -> Option<Self> {
        let world = World::up(part, &["h"], "bookworm")?;
        world.sh("h", HOST);
        Some(Self(world))
    }

    fn sh(&self, script: &str) -> String {
        self.0.sh("h", script)
    }

    /// Runs a script as bob, in his home.
    fn bob(&self, script: &str) -> String {
        self.sh(&format!("cd /home/bob && runuser -u bob -- sh -c '{script}'"))
    }

    /// Plans and runs one task, which is about `node`.
    fn told(&self, command: &str, task: &str) -> Told {
        self.0.write("attack.rhai", &format!("let node = host(\"h\");\n{task}\n"));
        self.0.told(command, "attack.rhai", &[])
    }

    /// The task fails with these words, as its plan says, shows nothing of a victim, in a plan neither, and
    /// leaves all victims as they were.
    #[track_caller]
    fn refuses(&self, task: &str, words: &str) {
        let [planned, ran] = self.fails(task, words);
        wrongly_certain_of_none(&planned, &ran);
    }

    /// The same where a plan doesn't foresee it.
    #[track_caller]
    fn fails(&self, task: &str, words: &str) -> [Told; 2] {
        let before = self.sh(VICTIMS);
        let planned = self.told("plan", task);
        let ran = self.told("run", task);
        let failed = ran.of("task_finished").find_map(|event| event["failure"]["message"].as_str());
        let message = failed.unwrap_or_else(|| panic!("{task} didn't fail: {:?}", ran.ran));
        assert!(message.contains(words), "{task}: {message}");
        self.untouched(task, &before, &[&planned, &ran]);
        [planned, ran]
    }

    /// The same of several tasks at once, each with options.
    #[track_caller]
    fn refuses_all(&self, tasks: &[(&str, &str)]) {
        let named = |(n, (task, _)): (usize, &(&str, &str))| {
            assert!(task.contains("#{ "), "{task} has no options");
            format!("|| {}", task.trim_end_matches(';').replacen("#{ ", &format!("#{{ name: \"a{n}\", "), 1))
        };
        let playbook = tasks.iter().enumerate().map(named).collect::<Vec<_>>().join(",\n");
        let playbook = format!("parallel([{playbook}]);");
        let before = self.sh(VICTIMS);
        let planned = self.told("plan", &playbook);
        let ran = self.told("run", &playbook);
        for (n, (task, words)) in tasks.iter().enumerate() {
            let name = format!("a{n}");
            let finished = ran.of("task_finished").find(|event| event["name"] == name.as_str()).expect("it ended");
            let message = finished["failure"]["message"].as_str().unwrap_or_else(|| panic!("{task}: {finished}"));
            assert!(message.contains(words), "{task}: {message}");
        }
        self.untouched(&playbook, &before, &[&planned, &ran]);
        wrongly_certain_of_none(&planned, &ran);
    }

    /// The task does its work, and does nothing else.
    #[track_caller]
    fn does(&self, task: &str) {
        let before = self.sh(VICTIMS);
        let planned = self.told("plan", task);
        let ran = self.told("run", task).exits(0);
        self.untouched(task, &before, &[&planned, &ran]);
        assert_eq!(self.told("run", task).exits(0).count("changed"), 0, "{task}: a second run changes something");
    }

    #[track_caller]
    fn untouched(&self, task: &str, before: &str, told: &[&Told]) {
        assert_eq!(self.sh(VICTIMS), before, "{task}: a victim was changed");
        for told in told {
            assert!(
                !told.ran.stdout.contains("quokka") && !told.ran.stderr.contains("quokka"),
                "{task}: {:?}",
                told.ran
            );
        }
        let left = self.sh("find /home /srv /tmp /var/lib /etc -name '.haflow-*' -not -path '*/.haflow-bob*'");
        assert_eq!(left, "", "{task}: something is left");
    }
}

#[test]
fn no_link_of_a_user_leads_elsewhere() {
    let Some(host) = Host::up("attack-links") else { return };
    host.bob(
        "ln -s /etc/victims/secret file; ln -s /etc/victims/new dangling; ln -s /etc/victims sub; ln -s /etc/victims/folder data;
         ln -s sub/folder chain; mkdir own; ln -s ../sub/folder own/up; ln -s /dev/null null; mkfifo pipe",
    );
    let link = "there is a link at /home/bob/";
    let way = "is a link on the way to";
    host.refuses_all(&[
        (r#"file(node, "/home/bob/file", #{ content: "x\n", owner: "bob" });"#, link),
        (r#"file(node, "/home/bob/file", #{ content: "x\n", owner: "bob", follow: true });"#, way),
        (r#"file(node, "/home/bob/file", #{ owner: "bob", mode: "0644" });"#, link),
        (r#"file(node, "/home/bob/dangling", #{ content: "x\n" });"#, link),
        (r#"file(node, "/home/bob/dangling", #{ content: "x\n", follow: true });"#, way),
        (r#"file(node, "/home/bob/sub/conf", #{ content: "x\n" });"#, way),
        (r#"file(node, "/home/bob/sub/secret", #{ content: "x\n" });"#, way),
        (r#"file(node, "/home/bob/chain/inside", #{ content: "x\n" });"#, way),
        (r#"file(node, "/home/bob/own/up/inside", #{ content: "x\n" });"#, way),
        (r#"file(node, "/home/bob/null", #{ content: "x\n" });"#, link),
        (r#"folder(node, "/home/bob/data", #{ owner: "bob" });"#, link),
        (r#"folder(node, "/home/bob/data/below", #{ owner: "bob" });"#, way),
        (r#"link(node, "/home/bob/sub/link", "/etc/passwd", #{ });"#, way),
        (r#"absent(node, "/home/bob/sub/folder", #{ });"#, way),
        (r#"absent(node, "/home/bob/chain/inside", #{ });"#, way),
        (r#"line(node, "/home/bob/file", "x", #{ });"#, link),
        (r#"ini_setting(node, "/home/bob/file", "s", "k", "v", #{ follow: true });"#, way),
        (r#"file(node, "/home/bob/pipe", #{ content: "x\n" });"#, "there is a device, pipe or socket at"),
        (r#"file(node, "/home/bob/pipe", #{ owner: "root" });"#, "there is a device, pipe or socket at"),
    ]);
    // Of a link only the link goes, whatever is behind its name.
    host.does(r#"absent(node, "/home/bob/data/");"#);
    assert_eq!(host.sh("ls -A /etc/victims/folder; [ -L /home/bob/data ] || echo gone"), "inside\ngone");
    // The hint says what to do.
    let told = host.told("run", r#"file(node, "/home/bob/sub/conf", #{ content: "x\n" });"#);
    let failure = &told.task("h/file:/home/bob/sub/conf")["failure"];
    assert!(failure["message"].as_str().unwrap().contains("/home/bob belongs to bob"), "{failure}");
    assert!(failure["hint"].as_str().unwrap().contains("with the option `user`"), "{failure}");
    let told = host.told("run", r#"file(node, "/home/bob/file", #{ content: "x\n" });"#);
    let hint = told.task("h/file:/home/bob/file")["failure"]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("no link is followed there") && hint.contains("with the option `user`"), "{hint}");
    assert!(!hint.contains("follow: true"), "{hint}");
    // As that user it is his own affair.
    host.bob("mkdir real; ln -s real mine");
    host.does(r#"file(node, "/home/bob/mine/conf", #{ content: "x\n", user: "bob" });"#);
    // A link of root's in a folder of root's is followed on the way, and at the end where that is asked for.
    host.sh("mkdir /etc/real; ln -s real /etc/way; echo old > /etc/real/conf; ln -s real/conf /etc/conf");
    host.does(r#"file(node, "/etc/way/new", #{ content: "x\n" });"#);
    host.refuses(r#"file(node, "/etc/conf", #{ content: "x\n" });"#, "there is a link at /etc/conf");
    host.does(r#"file(node, "/etc/conf", #{ content: "x\n", follow: true });"#);
    assert_eq!(host.sh("cat /etc/real/conf; readlink /etc/conf"), "x\nreal/conf");
    // A link of root's that leads to bob's, where bob's leads on.
    host.sh("ln -s /home/bob/file /etc/tobob");
    host.refuses(r#"file(node, "/etc/tobob", #{ content: "x\n", follow: true });"#, way);
}

#[test]
fn no_name_in_a_users_folder_stands_for_another_file() {
    let Some(host) = Host::up("attack-names") else { return };
    // With protected_hardlinks bob can't make these himself: root does, for a kernel that lets him.
    host.sh("ln /etc/victims/secret /home/bob/hard; mknod -m 666 /home/bob/device c 1 3; mkdir -m 1777 /srv/all; ln /etc/victims/secret /srv/all/hard");
    host.refuses(r#"file(node, "/home/bob/hard", #{ owner: "bob" });"#, "may be a hard link to another one");
    host.refuses(r#"file(node, "/srv/all/hard", #{ mode: "0644" });"#, "may be a hard link to another one");
    host.refuses(r#"line(node, "/home/bob/hard", "x");"#, "/home/bob/hard can't be edited");
    host.refuses(r#"file(node, "/home/bob/device", #{ content: "x" });"#, "there is a device, pipe or socket at");
    // A content makes another file, and nothing is shown of the old one.
    let before = host.sh("cat /etc/victims/secret");
    host.told("plan", r#"file(node, "/home/bob/hard", #{ content: "x\n", owner: "bob" });"#);
    let told = host.told("run", r#"file(node, "/home/bob/hard", #{ content: "x\n", owner: "bob" });"#).exits(0);
    assert!(!told.ran.stdout.contains("quokka"), "{}", told.ran.stdout);
    assert_eq!(host.sh("cat /etc/victims/secret; stat -c %U:%a /etc/victims/secret"), before + "\nroot:600");
    assert_eq!(host.sh("stat -c %U:%h /home/bob/hard"), "bob:1");
    // What root has put into bob's folder and bob can't read.
    host.sh("umask 077; echo 'root secret quokka' > /home/bob/private");
    host.refuses(r#"line(node, "/home/bob/private", "x");"#, "/home/bob/private can't be edited");
    host.does(r#"file(node, "/home/bob/private", #{ content: "new\n" });"#);
    assert_eq!(host.sh("stat -c '%U %a' /home/bob/private"), "root 600");
    // With its content he gets a new one, and what may have been moved there goes to nobody.
    host.sh("ln /home/bob/private /etc/kept-private");
    host.does(r#"file(node, "/home/bob/private", #{ content: "new\n", owner: "bob", mode: "0640" });"#);
    assert_eq!(host.sh("stat -c '%U %a %h' /home/bob/private /etc/kept-private"), "bob 640 1\nroot 600 1");
    // What everybody sees is worked on as anywhere.
    host.bob("echo one > open");
    host.does(r#"line(node, "/home/bob/open", "two");"#);
    host.does(r#"file(node, "/home/bob/open", #{ mode: "0600" });"#);
    host.does(r#"folder(node, "/home/bob/deep/er", #{ owner: "bob", mode: "0700" });"#);
    assert_eq!(
        host.sh("stat -c '%U %a' /home/bob/open /home/bob/deep/er; cat /home/bob/open"),
        "bob 600\nbob 700\none\ntwo"
    );
}

/// As bob: whatever comes into his folder whose name says that it is haflow's, and the target itself, is
/// swapped all the time.
const SWAPS: &str = r##"
use strict;
my $end = time + 240;
my $n = 0;
open(my $ready, ">", "racing"); close $ready;
while (time < $end && !-e "stop") {
    # Every other second he lets it be, so that something gets through.
    if (time % 2) { select(undef, undef, undef, 0.01); next; }
    opendir(my $dir, ".") or next;
    for my $name (grep { /haflow/ } readdir $dir) {
        $n++;
        rename $name, "moved$n";
        symlink($n % 2 ? "/etc/victims/folder" : "/etc/victims/secret", $name);
        symlink("/etc/victims/secret", "moved$n/new");
        if ($n % 3 == 0) { unlink $name; rename "moved$n", $name; }
    }
    closedir $dir;
    unlink "f"; symlink "/etc/victims/secret", "f";
    unlink "f"; open(my $file, ">", "f"); close $file;
    rename "dir", "aside"; symlink "/etc/victims/folder", "dir";
    unlink "dir"; rename "aside", "dir";
}
open(my $told, ">", "swaps"); print $told "$n\n"; close $told;
"##;

#[test]
fn nothing_that_is_swapped_meanwhile_is_changed() {
    let Some(host) = Host::up("attack-races") else { return };
    host.bob("mkdir dir; echo inside > dir/inside");
    host.sh(&format!("cat > /home/bob/race.pl <<'RACE'\n{SWAPS}\nRACE"));
    host.sh("(cd /home/bob && exec setsid runuser -u bob -- perl race.pl) </dev/null >/dev/null 2>&1 &
         until [ -e /home/bob/racing ]; do sleep 0.1; done");
    let before = host.sh(VICTIMS);
    let rounds = if crate::common::all() { 60 } else { 12 };
    let (mut changed, mut failed) = (0, 0);
    for round in 0..rounds {
        let told = host.told(
            "run",
            &format!(
                r#"
                parallel([
                    || file(node, "/home/bob/f", #{{ content: "{round}", owner: "bob", mode: "0666" }}),
                    || file(node, "/home/bob/h{round}", #{{ content: "{round}", owner: "bob", mode: "0666" }}),
                    || file(node, "/home/bob/h", #{{ content: "{round}", owner: "bob", mode: "0666" }}),
                    || file(node, "/home/bob/f", #{{ name: "attributes", owner: "bob", mode: "0666" }}),
                    || file(node, "/home/bob/dir/g{round}", #{{ content: "{round}", owner: "bob", mode: "0666" }}),
                    || folder(node, "/home/bob/dir", #{{ owner: "bob", mode: "0777" }}),
                    || absent(node, "/home/bob/dir/inside"),
                    || link(node, "/home/bob/dir/l", "/nowhere", #{{ owner: "bob" }}),
                ]);
                "#
            ),
        );
        changed += told.count("changed");
        failed += told.count("failed");
        assert_eq!(told.count("skipped"), 0, "each has its turn");
        assert!(!told.ran.stdout.contains("quokka"), "{}", told.ran.stdout);
        assert_eq!(host.sh(VICTIMS), before, "round {round}: a victim was changed");
    }
    host.bob("touch stop; until [ -e swaps ]; do sleep 0.1; done");
    let swaps: u32 = host.sh("cat /home/bob/swaps").parse().expect("a number");
    println!("{rounds} rounds: {changed} changed, {failed} failed, {swaps} swaps");
    assert!(swaps > 0 && changed > 0, "there was no race: {changed} changed, {swaps} swaps");
}

#[test]
fn a_key_goes_into_the_users_own_file_only() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJqfcjgXvCUkWXbtqQY6mIdUqDy3fPZpvH4XzDDmPVlC anna@desk";
    let Some(host) = Host::up("attack-keys") else { return };
    let task = format!("authorized_key(node, \"bob\", \"{KEY}\");");
    host.bob("mkdir -m 700 .ssh; ln -s /etc/victims/secret .ssh/authorized_keys");
    host.refuses(&task, "there is a link at /home/bob/.ssh/authorized_keys");
    host.refuses(&task.replace("\");", "\", #{ follow: true });"), "is a link on the way to");
    host.bob("rm -r .ssh; ln -s /etc/victims/folder .ssh");
    host.refuses(&task, "/home/bob/.ssh is a link on the way to");
    host.bob("rm .ssh; ln -s /etc/victims/none .ssh");
    host.refuses(&task, "/home/bob/.ssh is a link on the way to");
    host.bob("rm .ssh; mkdir .ssh");
    host.sh("ln /etc/victims/secret /home/bob/.ssh/authorized_keys");
    host.refuses(&task, "those who may write there can't read it");
    host.bob("rm .ssh/authorized_keys; mkfifo .ssh/authorized_keys");
    host.refuses(&task, "there is a fifo at");
    host.bob("rm .ssh/authorized_keys; echo ssh-rsa old > .ssh/authorized_keys; chmod 2755 .ssh");
    host.does(&task);
    assert_eq!(
        host.sh("cd /home/bob/.ssh; cat authorized_keys; stat -c '%U:%G %a' . authorized_keys"),
        format!("ssh-rsa old\n{KEY}\nbob:bob 700\nbob:bob 600")
    );
    host.does(&task.replace("\");", "\", #{ absent: true });"));
    // To take a key away gives nobody the file: root's may force a command.
    host.sh(&format!(
        "cd /home/bob/.ssh; echo '{KEY}' >> authorized_keys; chown root: authorized_keys; chmod 644 authorized_keys"
    ));
    host.does(&task.replace("\");", "\", #{ absent: true });"));
    assert_eq!(
        host.sh("cd /home/bob/.ssh; cat authorized_keys; stat -c '%U:%G %a' authorized_keys; rm authorized_keys"),
        "ssh-rsa old\nroot:root 644"
    );
    // Root's own may be a link that root has made.
    host.sh("mkdir -p ~root/.ssh /etc/keys
        cp ~root/.ssh/authorized_keys /etc/keys/administrator 2>/dev/null || touch /etc/keys/administrator
        ln -sf /etc/keys/administrator ~root/.ssh/authorized_keys
        chmod 600 /etc/keys/administrator
        chmod 700 ~root/.ssh");
    let roots = task.replace("\"bob\"", "\"root\"");
    host.refuses(&roots, "there is a link at");
    host.does(&roots.replace("\");", "\", #{ follow: true });"));
    assert_eq!(
        host.sh("grep -c anna@desk /etc/keys/administrator; readlink ~root/.ssh/authorized_keys"),
        "1\n/etc/keys/administrator"
    );
    // A home from which sshd takes no key; keys that are commented out; a user who is made by the same
    // playbook.
    host.sh("useradd -m erin; chmod 770 /home/erin; useradd -M fred; mkdir -m 700 /home/fred; useradd -m gina");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1uYv7gq3yqTr6xGm1sWm6oQd7E2tO3n7qQxJ3J9a1b anna@desk";
    host.refuses(&format!(r#"authorized_key(node, "erin", "{key}");"#), "others may write in /home/erin");
    host.refuses(
        &format!(r#"authorized_key(node, "fred", "{key}");"#),
        "/home/fred, the home of fred, belongs to root",
    );
    assert_eq!(host.sh("ls -A /home/fred; ls -d /home/erin/.ssh 2>&1 | grep -c No"), "1");
    host.sh("useradd -M -d /home/bob/hers ida; install -d -o ida -m 700 /home/bob/hers; useradd -M jo
         sed -i 's|^\\(jo:.*\\):[^:]*:|\\1::|' /etc/passwd");
    host.refuses(&format!(r#"authorized_key(node, "ida", "{key}");"#), "others may change /home/bob/hers");
    host.refuses(&format!(r#"authorized_key(node, "jo", "{key}");"#), "jo has no home");
    assert_eq!(host.sh("ls -A /home/bob/hers; rmdir /home/bob/hers"), "");
    host.sh(&format!(
        "cd /home/gina; install -d -o gina -m 700 .ssh; echo '   # {key} revoked' > .ssh/authorized_keys
         chown gina .ssh/*; chmod 600 .ssh/*"
    ));
    host.does(&format!(r#"authorized_key(node, "gina", "{key}");"#));
    assert_eq!(host.sh("grep -c anna /home/gina/.ssh/authorized_keys"), "2");
    let first =
        host.told("plan", r#"user(node, "hugo"); file(node, "/home/hugo/own", #{ content: "x", user: "hugo" });"#);
    assert_eq!((first.ran.exit, first.count("unknown"), first.count("unreachable")), (0, 1, 0), "{:?}", first.ran);
    host.told("run", r#"user(node, "hugo"); file(node, "/home/hugo/own", #{ content: "x", user: "hugo" });"#).exits(0);
    // A home is made where a link of bob's lies.
    host.bob("ln -s /etc/victims/home newhome; ln -s /etc/victims way");
    host.refuses(r#"user(node, "carol", #{ home: "/home/bob/way/carol" });"#, "/home/bob/way is a link on the way");
    host.sh("userdel carol 2>/dev/null || :; useradd -M -d /home/bob/newhome dave");
    let before = host.sh(VICTIMS);
    let _ = host.told("run", r#"user(node, "dave", #{ create_home: true });"#);
    assert_eq!(host.sh(VICTIMS), before);
    // A password that root keeps isn't kept in bob's.
    let brokers = r#"
        let way = #{ queues: "quorum", transient: false, old: false };
        oslo_messaging::account([node], #{ password_file: "/home/bob/password", way: way });
    "#;
    let told = host.told("run", brokers);
    let failure = told.of("task_finished").find(|event| event["kind"] == "password").expect("it is told");
    assert!(
        failure["failure"]["message"].as_str().unwrap_or_default().contains("nothing is kept in /home/bob"),
        "{failure}"
    );
}

#[test]
fn the_brokers_account_stays_what_it_is() {
    let Some(host) = Host::up("attack-broker") else { return };
    host.sh(
        "useradd -r -m -d /var/lib/rabbitmq -s /usr/sbin/nologin rabbitmq; chmod 755 /var/lib/rabbitmq; chown rabbitmq: /var/lib/rabbitmq
         printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/rabbitmq-server.service; systemctl daemon-reload
         systemctl start rabbitmq-server",
    );
    let broker = |script: &str| host.sh(&format!("cd /var/lib/rabbitmq && runuser -u rabbitmq -- sh -c '{script}'"));
    let owner = "rabbitmq::cookie_owner(node);";
    let set = r#"
        let cookie = read(node, #{ name: "new", secret: true, probe: "echo ANEWCOOKIE0123456789" });
        rabbitmq::set_cookie(node, cookie);
    "#;
    let get = "rabbitmq::cookie(node);";
    let next = "rabbitmq::next_cookie(node);";
    broker("ln -s /etc/victims/secret .erlang.cookie; ln -s /etc/victims/secret .erlang.cookie.next");
    for task in [owner, set, get, next] {
        host.refuses(task, "there is a link at /var/lib/rabbitmq/.erlang.cookie");
    }
    host.sh("rm /var/lib/rabbitmq/.erlang.cookie; ln /etc/victims/secret /var/lib/rabbitmq/.erlang.cookie");
    host.refuses(owner, "may be a hard link");
    host.refuses(get, "those who may write there can't read it");
    // Twenty thousand names that a shell of root's might have taken.
    broker(
        "rm .erlang.cookie .erlang.cookie.next; for n in $(seq 1 20000); do echo $n; done | xargs -I{} ln -s /etc/victims/secret .erlang.cookie.haflow-{}",
    );
    host.does(set);
    assert_eq!(
        host.sh("cd /var/lib/rabbitmq; cat .erlang.cookie; stat -c '%U %a %F' .erlang.cookie; systemctl is-active rabbitmq-server"),
        "ANEWCOOKIE0123456789\nrabbitmq 400 regular file\nactive"
    );
    host.does(next);
    host.sh("chown root: /var/lib/rabbitmq/.erlang.cookie; chmod 644 /var/lib/rabbitmq/.erlang.cookie");
    host.does(owner);
}

#[test]
fn files_in_roots_own_folders_are_written_as_they_should() {
    let Some(host) = Host::up("attack-places") else { return };
    // A6: set-group-id.
    host.sh("mkdir -m 2775 /srv/shared /srv/team");
    host.does(r#"folder(node, "/srv/shared", #{ mode: "0755" });"#);
    host.does(r#"folder(node, "/srv/team/sub", #{ mode: "0755" });"#);
    host.does(r#"folder(node, "/srv/shared", #{ mode: "2775" });"#);
    assert_eq!(host.sh("stat -c %a /srv/shared /srv/team/sub"), "2775\n755");
    // A18: what is mounted over, and what is immutable.
    host.sh(
        "mkdir /etc/bm; echo old > /etc/bm/whole; cp /etc/bm/whole /srv/over; mount --bind /srv/over /etc/bm/whole",
    );
    host.fails(r#"file(node, "/etc/bm/whole", #{ content: "x\n" });"#, "something is mounted at /etc/bm/whole");
    assert_eq!(host.sh("ls -A /etc/bm"), "whole");
    // A19: two names for one number.
    host.sh("useradd -o -u 0 -M toor; groupadd -o -g 0 wheel");
    host.does(r#"file(node, "/etc/twin.conf", #{ content: "x\n", owner: "toor", group: "wheel" });"#);
    host.does(r#"folder(node, "/srv/twin", #{ owner: "toor" });"#);
    host.sh("useradd -o -u $(id -u bob) -M robert; cd /home/bob; echo x > script; mkdir shut; touch shut/in
         chown -R bob: script shut; chmod 755 script; chmod 711 shut");
    host.does(r#"file(node, "/home/bob/script", #{ content: "y\n", owner: "robert" });"#);
    host.does(r#"folder(node, "/home/bob/shut", #{ owner: "robert", mode: "0700" });"#);
    assert_eq!(host.sh("stat -c %a /home/bob/script /home/bob/shut"), "755\n700");
    // What gets another owner or group isn't to run as those, and the plan says so.
    host.sh("cd /srv; for f in su sg new; do echo x > $f; done
         chown games su new; chgrp games sg; chmod 4755 su new; chmod 2755 sg
         cd /home/bob; echo x > free; echo x > run; chown bob: free run; chmod 777 free; chmod 4755 run");
    for task in [
        r#"file(node, "/srv/su", #{ owner: "root" });"#,
        r#"file(node, "/srv/sg", #{ group: "root" });"#,
        r#"file(node, "/srv/new", #{ content: "y\n", owner: "root" });"#,
        // A new file in another's folder.
        r#"file(node, "/home/bob/free", #{ content: "y\n", owner: "root" });"#,
        r#"file(node, "/home/bob/run", #{ content: "y\n" });"#,
    ] {
        assert!(host.told("plan", task).ran.stdout.contains(r#""field":"mode""#), "{task}");
        host.does(task);
    }
    assert_eq!(host.sh("stat -c '%U:%G %a' /srv/su /srv/sg /srv/new"), "root:root 755\nroot:root 755\nroot:root 755");
    assert_eq!(host.sh("cd /home/bob; stat -c '%U %a' free run; rm free run"), "root 644\nbob 755");
    // What a power cut left is swept after a day.
    host.sh("mkdir -p /srv/left/.haflow-1-new /srv/left/.haflow-2-new; touch -d '2 days ago' /srv/left/.haflow-1-new");
    host.told("run", r#"file(node, "/srv/left/one", #{ content: "y\n" });"#).exits(0);
    assert_eq!(host.sh("ls -A /srv/left; rm -r /srv/left"), ".haflow-2-new\none");
    // A1, A2: a system's folder under another name.
    host.sh("ln -s / /srv/system; mkdir /mnt/etc; mount --bind /etc /mnt/etc");
    host.refuses(r#"absent(node, "/srv/system/etc");"#, "/srv/system/etc is /etc, which belongs to the system");
    host.refuses(r#"absent(node, "/mnt/etc");"#, "/mnt/etc is /etc, which belongs to the system");
    assert!(host.sh("ls /etc").contains("passwd"));
    // What is mounted below, with a blank and a digit in its name: proc(5) writes the blank as three digits.
    host.sh(r"mkdir -p '/srv/gone/a 1'; touch /srv/gone/first; mount -t tmpfs none '/srv/gone/a 1'; touch '/srv/gone/a 1/in'");
    host.refuses(r#"absent(node, "/srv/gone");"#, "something is mounted at /srv/gone/a 1, so nothing of /srv/gone");
    assert_eq!(host.sh("ls -A /srv/gone '/srv/gone/a 1'"), "/srv/gone:\na 1\nfirst\n\n/srv/gone/a 1:\nin");
    host.sh("umount '/srv/gone/a 1'");
    host.does(r#"absent(node, "/srv/gone");"#);
    // A name with a blank, as hosts in a Windows domain have.
    host.sh("echo 'domain users:x:70001:' >> /etc/group; echo x > /srv/domain; chown root:70001 /srv/domain");
    host.does(r#"file(node, "/srv/domain", #{ content: "y\n", group: "70001", mode: "0640" });"#);
    host.does(r#"folder(node, "/srv/domains", #{ group: "70001", mode: "0755" });"#);
    assert_eq!(host.sh("stat -c '%g %a' /srv/domain /srv/domains"), "70001 640\n70001 755");
    // A parent that isn't there.
    host.fails(r#"file(node, "/srv/u2/deep/x.conf", #{ content: "x" });"#, "there is no folder /srv/u2/deep");
    host.fails(r#"file(node, "/etc/passwd/x.conf", #{ content: "x" });"#, "/etc/passwd isn't a folder");
    // Owner and mode stay where they aren't given, also set-user-id.
    host.sh("printf a > /etc/kept; chown bob:users /etc/kept; chmod 4751 /etc/kept");
    host.does(r#"file(node, "/etc/kept", #{ content: "b" });"#);
    assert_eq!(host.sh("stat -c '%U:%G %a' /etc/kept"), "bob:users 4751");
    // A folder that everybody may write, as /tmp is.
    host.does(r#"file(node, "/tmp/for-all", #{ content: "x\n", mode: "0640", owner: "bob", group: "users" });"#);
    assert_eq!(host.sh("stat -c '%U:%G %a' /tmp/for-all"), "bob:users 640");
    // What bob moved in from elsewhere isn't made his.
    host.sh("mkdir -m 700 /home/bob/kept; echo 'root secret quokka' > /home/bob/kept/f; chmod 600 /home/bob/kept/f");
    host.bob("mv kept given");
    host.refuses(r#"folder(node, "/home/bob/given", #{ owner: "bob" });"#, "may be another one that was moved there");
    host.refuses(r#"folder(node, "/home/bob/given", #{ mode: "0755" });"#, "may be another one that was moved there");
}
