//! The services of `OpenStack` on a `RabbitMQ` cluster, in the lab: their own packages' files, written by the
//! playbook, and both ends of a conversation through the real oslo.messaging with those files, while brokers
//! lose their power and are restarted. What was confirmed and never came is counted.
//!
//! One generation takes minutes: bookworm's is drawn for some runs, with the power cut of one broker; the
//! others with `HAFLOW_TEST_ALL=1`.

use crate::common::events::Told;
use crate::common::prepared::Prepared;
use crate::common::world::World;
use crate::common::{all, draw, has_its_turn, skipped};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/openstack");
const BROKERS: [&str; 3] = ["rabbit1", "rabbit2", "rabbit3"];
const CLIENT: &str = "controller1";
const PASSWORD_FILE: &str = "/root/rabbit-openstack.password";
const SERVICES: [&str; 4] = ["nova", "cinder", "neutron", "ceilometer"];
/// Those of which a process runs without a database.
const RUNNING: [&str; 2] = ["neutron-metering-agent", "ceilometer-agent-notification"];

/// All that a password may have but a slash.
const PASSWORD: &str = r#"p$(touch pwned)\n'"`$HOME @:;%25%?#[]&=+,ü€x"#;
/// The password that was in a service's file before.
const OLD_PASSWORD: &str = "sesame-of-old";

const GROUPS: &str = r#"
[groups.compute]
hosts = ["controller1"]
[groups.storage]
hosts = ["controller1"]
[groups.network]
hosts = ["controller1"]
[groups.telemetry]
hosts = ["controller1"]
"#;

#[test]
fn bookworm_with_mirrored_queues_loses_nothing_that_was_confirmed() {
    generation("bookworm", "14.0.3");
}

#[test]
fn trixie_with_quorum_queues_loses_nothing_that_was_confirmed() {
    generation("trixie", "16.1.0");
}

#[test]
fn forky_with_quorum_queues_loses_nothing_that_was_confirmed() {
    generation("forky", "18.3.0");
}

fn generation(suite: &str, version: &str) {
    if suite != "bookworm" && !all() {
        skipped("it takes minutes; HAFLOW_TEST_ALL=1 runs it");
        return;
    }
    if !has_its_turn("openstack") {
        return;
    }
    let services = Prepared::by("haflow-test-openstack", &text("install.sh"));
    let hosts: [(&[&str], _); 2] = [(&[CLIENT], services), (&BROKERS, Prepared::rabbitmq())];
    let Some(world) = World::with(&format!("openstack-{suite}"), &hosts, suite) else { return };
    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("the inventory");
    world.write("inventory.toml", &(inventory + GROUPS));
    set_up(&world);
    assert!(world.sh(CLIENT, "dpkg-query -W -f='${Version}' python3-oslo.messaging").starts_with(version));
    // Elsewhere the password is made up.
    let chosen = suite == "bookworm";
    if chosen {
        put(&world, "rabbit1", PASSWORD_FILE, PASSWORD);
    }
    the_files(&world, chosen);
    if chosen {
        what_is_refused_and_mended(&world);
    }
    the_traffic(&world);
    let printed = world.printed.borrow().concat();
    let password = world.sh("rabbit1", &format!("cat {PASSWORD_FILE}"));
    for secret in [&password, OLD_PASSWORD, "pwned", "touch%20"] {
        assert!(!printed.contains(secret), "{secret} was shown");
    }
}

fn messaging(world: &World, command: &str) -> Told {
    world.told(command, "playbooks/openstack-messaging.rhai", &[])
}

fn put(world: &World, host: &str, path: &str, text: &str) {
    world.sh(host, &format!("umask 077; cat >{path} <<'END'\n{text}\nEND"));
}

fn text(file: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{file}")).expect("it is beside this file")
}

/// The cluster.
fn set_up(world: &World) {
    put(world, CLIENT, "/root/traffic.py", text("traffic.py").trim_end());
    // The host has booted since they were installed, and not each is started by that.
    world.sh(CLIENT, &format!("systemctl start {}", RUNNING.join(" ")));
    let made = world.told("run", "playbooks/rabbit-ha.rhai", &[]).exits(0);
    assert_eq!(made.count("failed"), 0);
    world.step("the brokers are a cluster");
}

/// Waits until something holds, and says so.
#[track_caller]
fn until(world: &World, what: &str, seconds: u64, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        std::thread::park_timeout(Duration::from_millis(500));
    }
    world.step(what);
}

fn path(service: &str) -> String {
    format!("/etc/{service}/{service}.conf")
}

/// What the validator says of a service's file; its own notes aside.
fn validated(world: &World, service: &str) -> BTreeSet<String> {
    let namespace = if service == "nova" { "nova.conf" } else { service };
    let libraries = ["messaging", "policy", "concurrency", "log", "middleware", "reports", "cache"];
    let libraries = libraries.map(|library| format!("--namespace oslo.{library}")).join(" ");
    let path = path(service);
    let said = world.sh(
        CLIENT,
        &format!("oslo-config-validator --input-file {path} --namespace {namespace} {libraries} 2>&1 || :"),
    );
    assert!(!said.contains("Traceback"), "{service}: {said}");
    said.lines().filter(|line| line.starts_with("ERROR") || line.starts_with("WARNING")).map(Into::into).collect()
}

/// The playbook writes its settings and nothing else, and the validator has nothing against them.
fn the_files(world: &World, chosen: bool) {
    let read = |service: &str| world.sh(CLIENT, &format!("cat {}", path(service)));
    let said: Vec<_> = SERVICES.map(|service| validated(world, service)).into();
    // Nova comes from a release of old, and somebody keeps notes.
    world.sh(
        CLIENT,
        &format!(
            "sed -i 's/^\\[oslo_messaging_rabbit\\]$/&\\n# Ask Ann before changing this.\\nrabbit_hosts = old1:5672,old2:5672\\n\
             rabbit_password = {OLD_PASSWORD}\\nrabbit_max_retries = 0\\nheartbeat_rate = 4/' /etc/nova/nova.conf"
        ),
    );
    let old = validated(world, "nova");
    assert!(old.iter().any(|line| line.contains("rabbit_max_retries")), "the validator knows no old names: {old:?}");
    let before: Vec<String> = SERVICES.map(&read).into();
    let attributes = || world.sh(CLIENT, &format!("stat -c '%n %a %U:%G' {}", SERVICES.map(path).join(" ")));
    let owners = attributes();

    let planned = messaging(world, "plan").exits(0);
    assert_eq!(planned.count("failed"), 0, "{:?}", planned.ran);
    let ran = messaging(world, "run").exits(0);
    if chosen {
        assert_eq!(planned.count("unknown"), 0, "{:?}", planned.ran);
        assert_eq!(planned.with("change"), ran.with("changed"), "the plan and the run");
    } else {
        assert_eq!(world.sh("rabbit1", &format!("stat -c '%a %U %s' {PASSWORD_FILE}")), "600 root 49");
    }
    for unit in RUNNING {
        let outcomes = ran.outcomes();
        let restarted = outcomes.get(&format!("{CLIENT}/restart:{unit}")).map(String::as_str);
        assert_eq!(restarted, Some("changed"), "{unit}: {outcomes:?}");
    }
    assert_eq!(messaging(world, "run").exits(0).count("changed"), 0, "a second run");
    assert_eq!(attributes(), owners);
    world.step("the files are written, and a second run changes nothing");

    let ours = |line: &str| {
        // The name of a setting, at the beginning of its line.
        let keys = ["transport_url", "retry", "amqp_durable_queues", "use_queue_manager", "rabbit_"];
        !line.starts_with('#') && keys.iter().any(|key| line.starts_with(key))
    };
    for (service, before) in SERVICES.iter().zip(before) {
        let after = read(service);
        let others = |text: &str| text.lines().filter(|line| !ours(line)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(others(&after), others(&before), "{service}: what isn't messaging");
        assert_eq!(after.matches("@rabbit").count(), 3, "{service}");
        assert_eq!(after.matches("\nrabbit_retry_interval = 1\n").count(), 1, "{service}");
        assert!(!after.contains(OLD_PASSWORD) && !after.contains("\nrabbit_max_retries"), "{service}");
    }
    for (service, before) in SERVICES.iter().zip(said) {
        let after = validated(world, service);
        let new: Vec<_> = after.difference(&before).collect();
        assert!(new.is_empty(), "{service}: the validator finds {new:?}");
        assert!(!after.iter().any(|line| line.contains("messaging") || line.contains("transport_url")), "{after:?}");
    }
    world.step("the validator finds nothing in them");
    assert_eq!(world.sh("rabbit1", "find / -xdev -name pwned"), "");
}

fn what_is_refused_and_mended(world: &World) {
    let started =
        || world.sh(CLIENT, &format!("systemctl show -p ExecMainStartTimestampMonotonic {}", RUNNING.join(" ")));
    let before = started();
    let file = path("ceilometer");
    world.sh(CLIENT, &format!("cp -p {file} /root/kept; sed -i 's/^rabbit_retry_backoff.*/rabbit_retry_backoff = 7/; s/@rabbit2:/@rabbit9:/' {file}"));
    let planned = messaging(world, "plan").exits(0);
    let id = |task: &str| format!("{CLIENT}/ini:{file}: {task}");
    assert_eq!(planned.task(&id("messaging"))["decision"], "change");
    let told = planned.task(&id("messaging")).to_string();
    assert!(told.contains("oslo_messaging_rabbit.rabbit_retry_backoff") && told.contains('7'), "{told}");
    assert_eq!(planned.task(&id("[DEFAULT] transport_url"))["decision"], "change");
    let ran = messaging(world, "run").exits(0);
    assert_eq!(ran.count("changed"), 3, "two edits and one restart: {:?}", ran.with("changed"));
    assert_eq!(world.sh(CLIENT, &format!("cmp {file} /root/kept && echo same")), "same");
    let (before, after) = (before, started());
    let same =
        before.lines().zip(after.lines()).filter(|(before, after)| !before.is_empty() && before == after).count();
    assert_eq!(same, 1, "only ceilometer's is restarted: {before} {after}");

    // oslo.messaging can't hand on a slash.
    put(world, "rabbit1", PASSWORD_FILE, "half/half");
    let refused = messaging(world, "run").exits(1);
    assert_eq!((refused.count("changed"), refused.count("failed")), (0, 1));
    assert!(refused.of("task_finished").any(|task| task.to_string().contains("has a slash")));
    put(world, "rabbit1", PASSWORD_FILE, PASSWORD);
    assert_eq!(messaging(world, "run").exits(0).count("changed"), 0);
    world.step("an edit by hand is shown and put right, and a password with a slash refused");
}

/// What an end has logged: when, what, which number.
struct Log(Vec<(f64, String, u64)>);

impl Log {
    fn read(world: &World, end: &str, service: &str) -> Self {
        let text =
            String::from_utf8(world.ssh(CLIENT, &format!("cat /root/{end}-{service}.log")).stdout).expect("UTF-8");
        let line = |line: &str| {
            let [time, what, number] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
            (time.parse().expect("a time"), what.to_owned(), number.parse().expect("a number"))
        };
        // The last line may be half there.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Self(whole.lines().map(line).collect())
    }

    fn of<'l>(&'l self, what: &'l str) -> impl Iterator<Item = (f64, u64)> + 'l {
        self.0.iter().filter(move |(_, it, _)| it == what).map(|(time, _, number)| (*time, *number))
    }
}

/// What the publisher logs as confirmed.
const CONFIRMED: [&str; 2] = ["right", "sent"];

fn the_traffic(world: &World) {
    let start = |end: &str, service: &str| {
        // Its name is a part of its queues' names.
        let file = path(service);
        world.sh(
            CLIENT,
            &format!(
                "ln -sf traffic.py /root/{end}-{service} && systemd-run -q --unit {end}-{service} \
                 python3 /root/{end}-{service} {end} {file} {service} /root/{end}-{service}.log"
            ),
        );
    };
    for service in SERVICES {
        start("consume", service);
    }
    until(world, "consumers are there", 60, || SERVICES.iter().all(|it| !Log::read(world, "consume", it).0.is_empty()));
    for service in SERVICES {
        start("publish", service);
    }
    goes_on(world, "calls and notifications go out by all four files");
    let mut windows = Vec::new();
    for broker in draw("power cuts", 1, &BROKERS) {
        let from = now(world);
        world.lab.kill(broker).expect("its power is cut");
        goes_on(world, &format!("they go on without {broker}"));
        world.lab.boot(broker).expect("it boots");
        until(world, &format!("{broker} is a member again"), 240, || {
            world.ssh(broker, "timeout 20 rabbitmqctl --quiet await_online_nodes 3").status.success()
        });
        windows.push((format!("{broker} lost its power"), from, now(world)));
    }
    let from = now(world);
    let restarted = world.told("run", "playbooks/rabbit-rolling-restart.rhai", &[]).exits(0);
    assert_eq!(restarted.count("changed"), 3);
    windows.push(("a rolling restart".into(), from, now(world)));
    goes_on(world, "they go on after a rolling restart");

    world.sh(CLIENT, &format!("systemctl stop {}", SERVICES.map(|it| format!("publish-{it}")).join(" ")));
    let lost = |service: &str| {
        let (sent, got) = (Log::read(world, "publish", service), Log::read(world, "consume", service));
        let got: BTreeSet<u64> = got.of("got").map(|(_, number)| number).collect();
        sent.of("sent").map(|(_, number)| number).filter(|number| !got.contains(number)).count()
    };
    let end = Instant::now() + Duration::from_mins(2);
    while SERVICES.iter().any(|service| lost(service) > 0) && Instant::now() < end {
        std::thread::park_timeout(Duration::from_secs(1));
    }
    for service in SERVICES {
        println!("{}", told(world, service, &windows));
        assert_eq!(lost(service), 0, "{service}: confirmed notifications that never came");
    }
    world.step("nothing that was confirmed is lost");
}

/// The time on the clients' host.
fn now(world: &World) -> f64 {
    world.sh(CLIENT, "date +%s.%N").parse().expect("a time")
}

/// Waits until each kind of traffic of each service had ten more of it.
#[track_caller]
fn goes_on(world: &World, what: &str) {
    let counts = || -> BTreeMap<(&str, &str), usize> {
        let of = |service| {
            let log = Log::read(world, "publish", service);
            CONFIRMED.map(|it| ((service, it), log.of(it).count()))
        };
        SERVICES.into_iter().flat_map(of).collect()
    };
    let before = counts();
    until(world, what, 240, || counts().iter().all(|(key, count)| *count >= before[key] + 10));
}

/// The counts of a service, and the longest time without a confirmation in each window.
#[track_caller]
fn told(world: &World, service: &str, windows: &[(String, f64, f64)]) -> String {
    let (sent, got) = (Log::read(world, "publish", service), Log::read(world, "consume", service));
    assert_eq!(sent.of("wrong").count(), 0, "{service}: wrong answers");
    let count = |what: &str| sent.of(what).count();
    let numbers: Vec<u64> = got.of("got").map(|(_, number)| number).collect();
    let twice = numbers.len() - numbers.iter().collect::<BTreeSet<_>>().len();
    let [right, confirmed] = CONFIRMED.map(count);
    let failed = sent.0.len() - right - confirmed;
    let mut text = format!(
        "{service}: {right} calls returned, {confirmed} notifications confirmed, {failed} of both failed, {} notifications came, {twice} twice",
        numbers.len()
    );
    for (window, from, to) in windows {
        let _ = write!(text, "\n    {window} ({:.0} s):", to - from);
        for kind in CONFIRMED {
            let times: Vec<f64> = sent.of(kind).map(|(time, _)| time).filter(|time| from < time && time < to).collect();
            assert!(!times.is_empty(), "{service}: {kind}: nothing while {window}");
            let all = [&[*from], times.as_slice(), &[*to]].concat();
            let longest = all.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            let _ = write!(text, " {} {kind}, at most {longest:.1} s without;", times.len());
        }
    }
    text
}
