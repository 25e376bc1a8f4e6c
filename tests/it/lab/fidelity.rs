//! How true plans are: hosts are taken through many states, and in each what a plan says is compared, task by
//! task, with what the run after it does. `docs/fidelity.md` is the table of it; `UPDATE_GOLDEN=1` writes it.
//!
//! All states go through one lab, since a broker takes a minute to install and a state is made from the one
//! before; so what a plan leaves on disks is looked at on the way, in the same test. That takes half an hour:
//! without `UPDATE_GOLDEN=1` or `HAFLOW_TEST_ALL=1` it is [`ALWAYS`] and a sample of [`SAMPLED`].
//! `HAFLOW_FIDELITY=openstack,down` measures only states with one of these in the playbook's or their own
//! name, on brokers that were made a cluster, and prints the page; with `UPDATE_GOLDEN=1` it writes their
//! rows anew, and leaves those of the others.

mod measure;
mod states;

use crate::common::events::Told;
use crate::common::world::{World, playbooks};
use crate::common::{all, draw, skipped};
use measure::{Row, cells, compare, page};
use serde_json::Value;
use states::{COOKIE_ROTATE, GROUPS, HOSTS, Kind, RABBIT_HA, ROLLING_RESTART, SITE, State, Step, states};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The states that are measured in every test run, of the playbooks that the others stand on.
const ALWAYS: [(&str, &str); 5] = [
    (SITE, "bare"),
    (SITE, "converged"),
    (RABBIT_HA, "bare"),
    (RABBIT_HA, "converged"),
    (ROLLING_RESTART, "a whole cluster"),
];
/// The playbooks of whose other states some are measured in every test run: none of these states needs
/// another one before it.
const SAMPLED: [&str; 4] = [SITE, RABBIT_HA, ROLLING_RESTART, COOKIE_ROTATE];
/// How many states are measured.
const SAMPLE: usize = 3;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fidelity.md");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fidelity");

#[test]
fn what_a_plan_says_is_what_a_run_does() {
    let Some(world) = World::up("fidelity", &HOSTS, "bookworm") else { return };
    let inventory = fs::read_to_string(world.folder.path().join("inventory.toml")).expect("the inventory");
    world.write("inventory.toml", &(inventory + GROUPS));
    // As they are named in the repository, since a plan names them.
    let folder = world.folder.path().join("tests/fidelity");
    fs::create_dir_all(&folder).expect("a folder");
    for file in ["site.rhai", "page.j2"] {
        fs::copy(Path::new(FOLDER).join(file), folder.join(file)).expect("it is beside this file");
    }

    let mut rows = Vec::new();
    let mut wrong = String::new();
    // Some states only, while they are being written. The brokers come up in any case.
    if let Ok(parts) = std::env::var("HAFLOW_FIDELITY") {
        let named =
            |state: &State| parts.split(',').any(|part| format!("{}, {}", state.playbook, state.name).contains(part));
        let chosen = |state: &&State| named(state) || (state.playbook, state.name) == (RABBIT_HA, "bare");
        let mut rows: Vec<Row> = states().filter(chosen).map(|state| go_through(&world, state, &mut wrong)).collect();
        rows.retain(|row| named(row.state));
        let before = fs::read_to_string(PAGE).unwrap_or_default();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(PAGE, page(&rows, &before)).expect("the page can be written");
        } else {
            println!("{}", page(&rows, ""));
        }
        assert!(wrong.is_empty(), "{wrong}");
        return;
    }
    leaves_the_disks_alone(&world, "bare", &mut wrong);
    let states = if all() || std::env::var_os("UPDATE_GOLDEN").is_some() { states().collect() } else { some_states() };
    for state in states {
        rows.push(go_through(&world, state, &mut wrong));
    }
    ended(world.told("run", RABBIT_HA, &[]));
    leaves_the_disks_alone(&world, "converged", &mut wrong);
    let drift = "systemctl stop rabbitmq-server site; rm /etc/site.ini; apt-get -y purge tree; userdel deploy";
    world.sh("rabbit2", drift);
    world.sh("rabbit3", "systemctl stop rabbitmq-server; chmod 0640 /var/lib/rabbitmq/.erlang.cookie");
    leaves_the_disks_alone(&world, "drifted", &mut wrong);

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(PAGE, page(&rows, "")).expect("the page can be written");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Counts vary a little from run to run, where something was a matter of time; the rows don't.
#[test]
fn the_page_has_these_states() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return;
    }
    let page = fs::read_to_string(PAGE).unwrap_or_default();
    let (table, _) = page.split_once("\n## ").unwrap_or((&page, ""));
    let written: Vec<&str> = table.lines().filter(|line| line.starts_with("| [")).collect();
    let expected: Vec<String> = states().map(cells).collect();
    let same = written.len() == expected.len()
        && written.iter().zip(&expected).all(|(row, cells)| row.starts_with(&format!("{cells} ")));
    assert!(same, "docs/fidelity.md is of other states; UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn every_playbook_is_measured() {
    let known: BTreeSet<&str> = states().map(|state| state.playbook).collect();
    for path in playbooks() {
        let name = format!("playbooks/{}", path.file_name().expect("a file").to_string_lossy());
        assert!(known.contains(&*name), "{name} goes through no state");
        let through = |kinds: &[Kind]| states().any(|state| state.playbook == name && kinds.contains(&state.kind));
        assert!(
            through(&[Kind::Bare, Kind::Drifted, Kind::Acting]),
            "{name} goes through no state in which it changes something"
        );
        assert!(
            through(&[Kind::Converged, Kind::Broken]),
            "{name} goes through no state in which it has nothing to do, or refuses"
        );
    }
}

/// Those of every test run.
fn some_states() -> Vec<&'static State> {
    let always = |state: &State| ALWAYS.contains(&(state.playbook, state.name));
    let (sampled, left): (Vec<&State>, Vec<&State>) =
        states().filter(|state| !always(state)).partition(|state| SAMPLED.contains(&state.playbook));
    skipped(&format!("{} states of other playbooks; HAFLOW_TEST_ALL=1 measures all", left.len()));
    let drawn = draw("states", SAMPLE, &sampled);
    states().filter(|state| always(state) || drawn.iter().any(|one| std::ptr::eq(*one, *state))).collect()
}

/// Makes a state, plans, runs, and compares. What doesn't hold is told in `wrong`: the states after it are
/// measured nevertheless.
fn go_through(world: &World, state: &'static State, wrong: &mut String) -> Row {
    let State { playbook, name, kind, .. } = state;
    for step in state.made_by {
        take(world, step);
    }
    let params: Vec<&str> = state.params.iter().flat_map(|param| ["-e", *param]).collect();
    let plan = ended(world.told("plan", playbook, &params));
    let run = ended(world.told("run", playbook, &[&params[..], &["--yes"]].concat()));
    let row = compare(state, &plan, &run);
    let mut tell = |what: &str| {
        println!("          {what}");
        let _ = writeln!(wrong, "{playbook}, {name}: {what}");
    };
    for miss in &row.wrong {
        tell(&format!("WRONG {}\n    {}", miss.task, miss.whole));
    }
    for miss in &row.otherwise {
        println!("          otherwise {}\n    {}", miss.task, miss.whole);
        if miss.said == "failed" {
            tell(&format!("FALSE ALARM {}\n    {}", miss.task, miss.whole));
        }
    }
    let sees = |event: &Value| event["decision"] != "up_to_date" && event["decision"] != "skipped";
    if *kind != Kind::Converged && !plan.of("task_planned").any(sees) {
        tell("the state isn't seen, or wasn't made");
    }
    let unknown = row.unknown.len();
    let updating = std::env::var_os("UPDATE_GOLDEN").is_some();
    match kind {
        Kind::Bare | Kind::Silent
            if unknown * 5 <= row.tasks && (updating || unknown <= unknown_on_the_page(state)) => {}
        Kind::Converged => tell_what_is_left(&plan, &mut tell),
        _ if unknown == 0 => {}
        _ => {
            for miss in &row.unknown {
                tell(&format!("unknown {}\n    {}", miss.task, miss.whole));
            }
        }
    }
    for step in state.undone_by {
        take(world, step);
    }
    let acts_always = *kind == Kind::Acting || *playbook == COOKIE_ROTATE;
    let mended = *kind != Kind::Broken || [SITE, RABBIT_HA].contains(playbook);
    if *kind != Kind::Converged && mended && !acts_always {
        tell_what_is_left(&ended(world.told("plan", playbook, &params)), &mut tell);
    }
    let counts =
        [row.right, row.wrong.len(), row.assumed_right, row.otherwise.len(), unknown].map(|count| count.to_string());
    world.step(&format!("{playbook}, {name}: {} tasks, {}", row.tasks, counts.join(" ")));
    row
}

/// How many decisions of a state the page says are unknown.
fn unknown_on_the_page(state: &State) -> usize {
    let page = fs::read_to_string(PAGE).unwrap_or_default();
    let row = page.lines().find(|line| line.starts_with(&cells(state)));
    let last = row.and_then(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
    last.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Tells what a plan for converged hosts shouldn't say.
fn tell_what_is_left(plan: &Told, tell: &mut impl FnMut(&str)) {
    for event in plan.of("task_planned") {
        // What isn't triggered, or not chosen, is rightly skipped.
        let fine = event["decision"] == "up_to_date" || (event["decision"] == "skipped" && plan.ran.exit == 0);
        if !fine || !event["assumed"].is_null() {
            tell(&format!("not converged: {event}"));
        }
    }
}

/// Whatever came of it, it was told to its end.
fn ended(told: Told) -> Told {
    let last = told.totals()["event"].as_str().unwrap_or_default();
    assert!(matches!(last, "plan_finished" | "run_finished"), "{:?}", told.ran);
    told
}

fn take(world: &World, step: &Step) {
    match step {
        Step::On(host, script) => {
            world.sh(host, &format!("set -e; export DEBIAN_FRONTEND=noninteractive; {script}"));
        }
        Step::Kill(host) => world.lab.kill(host).expect("the lab cuts its power"),
        Step::Boot(host) => world.lab.boot(host).expect("the lab boots it"),
    }
}

/// Prints all that is on a host's disk, one line for what a file is and one for what it holds.
const DISK: &str = r"
set -f
outside='( -path /run -o -path /tmp -o -path /var/log -o -path /proc -o -path /sys -o -path /dev ) -prune -o'
find / -xdev $outside -printf '%p\t%y %m %u:%g %s %T@ %l\n'
find / -xdev $outside -type f -print0 | xargs -0 sha256sum 2>/dev/null | sed 's/^\\\?\([0-9a-f]*\)  \(.*\)/\2\t\1/'
";

/// By host and path: what is there.
type Disks = BTreeMap<(String, String), Vec<String>>;

/// By host and path: what was there, and what is.
type Moved = BTreeMap<(String, String), (Vec<String>, Vec<String>)>;

fn disks(world: &World) -> Disks {
    let listing = |host: &&'static str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-o", "BatchMode=yes"]).args(world.lab.ssh_args(host).expect("it is in the lab")).arg(DISK);
        (*host, ssh.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ssh starts"))
    };
    let mut disks = Disks::new();
    // All at once.
    let listings: Vec<_> = HOSTS.iter().map(listing).collect();
    for (host, listing) in listings {
        let printed = listing.wait_with_output().expect("it ends");
        for line in String::from_utf8_lossy(&printed.stdout).lines() {
            let (path, what) = line.split_once('\t').unwrap_or((line, ""));
            disks.entry((host.to_owned(), path.to_owned())).or_default().push(what.to_owned());
        }
    }
    assert!(disks.len() > 3 * 5000, "there is more on three disks than {} files", disks.len());
    disks
}

/// What moves by itself now and then: a broker writes its log into its tables, and systemd notes when a timer
/// was due.
const RESTLESS: [&str; 2] = ["/var/lib/rabbitmq/mnesia", "/var/lib/systemd"];

/// What is on the hosts' disks is the same before and after a plan, but for /run, /tmp and /var/log.
///
/// With nothing between them, two listings are alike for minutes, also where brokers run. Where something
/// restless has moved, it must do so again to count.
fn leaves_the_disks_alone(world: &World, state: &str, wrong: &mut String) {
    let (files, mut moved) = moved_by_plans(world);
    let restless = |(_, path): &(String, String)| RESTLESS.iter().any(|folder| path.starts_with(folder));
    if moved.keys().any(restless) {
        let (_, again) = moved_by_plans(world);
        moved.retain(|path, _| !restless(path) || again.contains_key(path));
    }
    for ((host, path), (was, is)) in &moved {
        let _ = writeln!(wrong, "a plan of {state} hosts left its mark on {host}:{path}: {was:?}, then {is:?}");
    }
    world.step(&format!("plans of {state} hosts: {} of {files} files aren't as before", moved.len()));
}

/// Plans both playbooks. How many files there are, and what became of those that differ.
fn moved_by_plans(world: &World) -> (usize, Moved) {
    let mut before = disks(world);
    for playbook in [SITE, RABBIT_HA] {
        ended(world.told("plan", playbook, &[]));
    }
    let after = disks(world);
    let files = after.len();
    let mut moved = Moved::new();
    for (path, is) in after {
        let was = before.remove(&path).unwrap_or_default();
        if was != is {
            moved.insert(path, (was, is));
        }
    }
    moved.extend(before.into_iter().map(|(path, was)| (path, (was, vec![]))));
    (files, moved)
}
