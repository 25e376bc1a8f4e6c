//! The measures of docs/benchmarks.md: `cargo bench -p haflow --bench lab`, as root, on a machine that can
//! have a lab.
//!
//! Each row compares haflow with one raw `ssh host sh <script` per host that does the same, medians of five,
//! taken in turns in one run: the ratio is what counts, an absolute time on a shared machine means little.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const HAFLOW: &str = env!("CARGO_BIN_EXE_haflow");
const ROUNDS: usize = 5;
const HOSTS: [&str; 3] = ["rabbit1", "rabbit2", "rabbit3"];

/// What rabbit-ha reads on a converged host, from the facts to the last gate.
const READS: &str = r#"
cat /etc/os-release >/dev/null; uname -a >/dev/null; id >/dev/null; cat /proc/meminfo >/dev/null
dpkg-query -W -f='${db:Status-Status} ${Version}' rabbitmq-server >/dev/null
for name in rabbit1 rabbit2 rabbit3; do getent ahosts "$name" >/dev/null; done
dpkg-query -W -f='${db:Status-Status} ${Version}' rabbitmq-server >/dev/null
dpkg-query -W -f='${Version}' rabbitmq-server >/dev/null
stat -L -c '%F/%a %U %G %u %g %s' /var/lib/rabbitmq/.erlang.cookie >/dev/null
cat /var/lib/rabbitmq/.erlang.cookie >/dev/null
systemctl show -p LoadState -p ActiveState -p UnitFileState rabbitmq-server >/dev/null
cat /proc/net/tcp /proc/net/tcp6 >/dev/null
ctl() { HOME=/var/lib/rabbitmq runuser -u rabbitmq -- /usr/lib/rabbitmq/bin/rabbitmqctl --quiet "$@"; }
ctl cluster_status --formatter json >/dev/null
if [ "$(uname -n)" = rabbit1 ]; then
  ctl cluster_status --formatter json >/dev/null
  ctl list_policies -p / --formatter json >/dev/null
  ctl list_policies -p / --formatter json >/dev/null
fi
stat -c '%U:%G %a' /var/lib/rabbitmq/.erlang.cookie >/dev/null
cat /var/lib/rabbitmq/.erlang.cookie >/dev/null
"#;

fn main() {
    // `cargo test` builds benches and runs them with --test: nothing to do there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    if let Err(why) = haflow_lab::supported() {
        println!("skipped: no lab can be had here: {why}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let name = format!("haflow-bench-{}", std::process::id());
    let _lab = Down(name.clone());
    run(Command::new(HAFLOW).args(["lab", "--name", &name, "up"]).args(HOSTS));
    let inventory = folder.path().join("lab.toml");
    let printed = Command::new(HAFLOW).args(["lab", "--name", &name, "inventory"]).output().expect("haflow runs");
    fs::write(&inventory, printed.stdout).expect("the inventory");
    let bench = Bench { inventory: inventory.to_str().expect("a name").into(), name, folder };
    println!("{:58} {:>9} {:>9} {:>7}", "medians of five", "haflow", "raw ssh", "ratio");
    bench.files();
    bench.cluster();
    bench.declare();
    bench.plan_many();
}

/// Takes the lab down, also after a panic.
struct Down(String);

impl Drop for Down {
    fn drop(&mut self) {
        let _ = Command::new(HAFLOW).args(["lab", "--name", &self.0, "down"]).stderr(Stdio::null()).status();
    }
}

struct Bench {
    name: String,
    inventory: String,
    folder: tempfile::TempDir,
}

impl Bench {
    /// The chapter's playbook on the converged cluster.
    fn cluster(&self) {
        let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../playbooks/rabbit-ha.rhai");
        let started = Instant::now();
        self.haflow(&playbook);
        println!("{:58} {:>8.2}s", "rabbit-ha from bare hosts (once)", started.elapsed().as_secs_f64());
        compare("rabbit-ha on the converged cluster", || self.haflow(&playbook), || self.raw(READS), || {});
        compare("  a plan of it against that run", || self.plan(&playbook), || self.haflow(&playbook), || {});
    }

    /// A hundred files on each host.
    fn files(&self) {
        let playbook = self.folder.path().join("files.rhai");
        let text = r#"
            for node in group("rabbit") {
                for number in 0..100 {
                    file(node, `/etc/haflow-bench/${number}.conf`, #{ content: `number = ${number}` + "\n" + `host = ${node.name}` + "\n", mode: "0644" });
                }
            }
        "#;
        fs::write(&playbook, text).expect("the playbook");
        let mut script = String::from("mkdir -p /etc/haflow-bench; host=$(uname -n)\n");
        for number in 0..100 {
            let _ = writeln!(
                script,
                "printf 'number = {number}\\nhost = %s\\n' \"$host\" > /etc/haflow-bench/{number}.conf; chmod 0644 /etc/haflow-bench/{number}.conf"
            );
        }
        let bare = || self.raw("rm -rf /etc/haflow-bench; mkdir /etc/haflow-bench");
        // As haflow writes: beside the target, synced, renamed.
        let safe: Vec<String> = script
            .lines()
            .enumerate()
            .map(|(line, text)| {
                let Some(number) = line.checked_sub(1) else { return text.to_owned() };
                let file = format!("/etc/haflow-bench/{number}.conf");
                format!("{}; sync {file}.new; mv -f {file}.new {file}", text.replace(".conf", ".conf.new"))
            })
            .collect();
        let safe = safe.join("\n");
        compare("100 files on each of 3 hosts, first run", || self.haflow(&playbook), || self.raw(&safe), bare);
        compare(
            "  the same, the raw script neither syncs nor renames",
            || self.haflow(&playbook),
            || self.raw(&script),
            bare,
        );
        self.haflow(&playbook);
        compare(
            "100 files on each of 3 hosts, nothing to change",
            || self.haflow(&playbook),
            || self.raw(&script),
            || {},
        );
    }

    /// Declaration alone: a hundred thousand tasks in a loop, to the order of the graph.
    fn declare(&self) {
        let playbook = self.folder.path().join("many.rhai");
        let text = r##"
            let node = group("many", #{ at_least: 1, lab: 1 })[0];
            for number in 0..100000 {
                ensure(node, #{ kind: "number", name: `${number}`, params: #{ n: number }, probe: "cat /tmp/n", want: `${number}`, apply: #"echo "$n" > /tmp/n"# });
            }
        "##;
        fs::write(&playbook, text).expect("the playbook");
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..ROUNDS {
            times.push(timed(|| run(Command::new(HAFLOW).arg("check").arg(&playbook))));
        }
        println!("{:58} {:>8.2}s", "100,000 tasks declared in a loop (haflow check)", median(&mut times).as_secs_f64());
        if let Some(peak) = peak(Command::new(HAFLOW).arg("check").arg(&playbook)) {
            println!("{:58} {peak:>7} MB", "  its largest memory");
        }
    }

    /// A hundred thousand tasks on three hosts, planned and kept.
    fn plan_many(&self) {
        let playbook = self.folder.path().join("planned.rhai");
        let text = r#"
            for node in group("rabbit") { folder(node, "/etc/haflow-bench/many"); }
            for number in 0..100000 {
                let node = group("rabbit")[number % 3];
                file(node, `/etc/haflow-bench/many/${number}`, #{ content: `number = ${number}` + "\n", mode: "0644" });
            }
        "#;
        fs::write(&playbook, text).expect("the playbook");
        let kept = self.folder.path().join("planned.json");
        let mut command = Command::new(HAFLOW);
        command.arg("plan").arg(&playbook).args(["-i", &self.inventory, "-o"]).arg(&kept);
        let started = Instant::now();
        if let Some(peak) = peak(&mut command) {
            println!(
                "{:58} {:>8.2}s",
                "100,000 files planned on 3 hosts, and kept (once)",
                started.elapsed().as_secs_f64()
            );
            println!("{:58} {peak:>7} MB", "  its largest memory");
        }
        let size = fs::metadata(&kept).expect("the plan was kept").len();
        println!("{:58} {:>7} MB", "  the plan's file", size / 1_000_000);
    }

    fn haflow(&self, playbook: &Path) {
        run(Command::new(HAFLOW).arg("run").arg(playbook).args(["-i", &self.inventory, "--format", "json"]));
    }

    fn plan(&self, playbook: &Path) {
        run(Command::new(HAFLOW).arg("plan").arg(playbook).args(["-i", &self.inventory, "--format", "json"]));
    }

    /// The script on every host at once, by plain ssh.
    fn raw(&self, script: &str) {
        let file = self.folder.path().join("raw.sh");
        fs::write(&file, script).expect("the script");
        let children: Vec<_> = HOSTS
            .iter()
            .map(|host| {
                Command::new(HAFLOW)
                    .args(["lab", "--name", &self.name, "ssh", host, "sh"])
                    .stdin(fs::File::open(&file).expect("the script"))
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("ssh starts")
            })
            .collect();
        for mut child in children {
            assert!(child.wait().expect("ssh ends").success(), "the raw script failed");
        }
    }
}

fn compare(what: &str, haflow: impl Fn(), raw: impl Fn(), before: impl Fn()) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        before();
        ours.push(timed(&haflow));
        before();
        theirs.push(timed(&raw));
    }
    let (ours, theirs) = (median(&mut ours).as_secs_f64(), median(&mut theirs).as_secs_f64());
    println!("{what:58} {ours:>8.2}s {theirs:>8.2}s {:>7.2}", ours / theirs);
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The largest resident set of a command, in MB, as the kernel counted it.
fn peak(command: &mut Command) -> Option<u64> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().ok()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = most.max(peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(most / 1024)
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
