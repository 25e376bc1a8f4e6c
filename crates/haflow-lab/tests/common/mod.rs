//! What the labs' tests share.

use std::{
    io::Write as _,
    process::{Command, Output},
};

use haflow_lab::{Lab, supported};

/// Every test has a lab of its own, and no two runs share one.
pub(crate) fn name(part: &str) -> String {
    format!("test-{part}-{}", std::process::id())
}

/// Whether the test can't run here; says why.
pub(crate) fn skipped() -> bool {
    let why = supported().err();
    if let Some(why) = &why {
        // Past the test harness, which keeps what is printed by the macros to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {why}");
    }
    why.is_some()
}

/// Takes the lab down at the end, also of a test that fails.
pub(crate) struct Down(pub(crate) String);

impl Drop for Down {
    fn drop(&mut self) {
        if let Err(err) = Lab::down(&self.0, &|_| {}) {
            eprintln!("lab {} stays: {err}", self.0);
        }
    }
}

/// What a script does on a host.
pub(crate) fn ssh(lab: &Lab, host: &str, script: &str) -> Output {
    let mut command = Command::new("ssh");
    command.args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]).args(lab.ssh_args(host).unwrap());
    command.arg(script).output().unwrap()
}

/// What a script prints that has to succeed.
pub(crate) fn sh(lab: &Lab, host: &str, script: &str) -> String {
    let output = ssh(lab, host, script);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{host}: {script}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Names of hosts.
pub(crate) fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
