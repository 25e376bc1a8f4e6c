//! Hosts that have what many tests install before they begin: installed once on this machine, and kept as a
//! snapshot.
//!
//! A snapshot's name follows from the base with the versions of its packages and from the script: who changes
//! a script gets another one. What an archive has since is seen after a day. What is to be seen while it is
//! installed isn't prepared: a test of bare hosts brings up bare hosts.

use haflow_lab::{LabError, Progress, Recipe};
use std::time::Duration;

/// What hosts are before a test begins.
pub(crate) struct Prepared {
    part: &'static str,
    script: String,
    /// What each host gets of its own, by a script that runs on it.
    pub(crate) own: &'static str,
}

/// From this age on it is made anew.
const MAX_AGE: Duration = Duration::from_hours(24);

/// A host has neither an index of packages nor packages that were downloaded, as a bare one hasn't.
const END: &str = "\napt-get -q clean\nrm -rf /var/lib/apt/lists/*\n";

/// The packages, and a server that never ran.
pub(crate) const MARIADB: &str = r"
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -qy --no-install-recommends install mariadb-server mariadb-backup socat
rm /usr/sbin/policy-rc.d
";

const RABBITMQ: &str = r#"
export DEBIAN_FRONTEND=noninteractive
# Not started: its database is that of the host that it is started on.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get -q update
apt-get -qy install rabbitmq-server
rm /usr/sbin/policy-rc.d
systemctl disable rabbitmq-server
rm /var/lib/rabbitmq/.erlang.cookie
[ -z "$(ls -A /var/lib/rabbitmq/mnesia)" ]
"#;
/// As Debian's package makes it.
const COOKIE: &str = r"set -e; umask 077; cd /var/lib/rabbitmq
openssl rand -base64 -out .erlang.cookie 42; chmod 400 .erlang.cookie; chown rabbitmq:rabbitmq .erlang.cookie";

impl Prepared {
    /// Debian's `RabbitMQ` is there and has never run; each host has a cookie of its own.
    pub(crate) fn rabbitmq() -> Self {
        Self { part: "haflow-test-rabbitmq", script: format!("{RABBITMQ}{END}"), own: COOKIE }
    }

    /// Debian's `MariaDB` is there and has never run.
    pub(crate) fn mariadb() -> Self {
        Self::by("haflow-test-galera", MARIADB)
    }

    /// These scripts, which install packages, have run.
    pub(crate) fn by(part: &'static str, scripts: &str) -> Self {
        Self { part, script: format!("{scripts}{END}"), own: "" }
    }

    /// The name of its snapshot, which is made if there is none. Who comes second waits for it.
    pub(crate) fn snapshot(&self, suite: &str) -> Result<String, LabError> {
        let recipe = Recipe { part: self.part, suite, script: &self.script, max_age: MAX_AGE };
        let tell = |progress: Progress| {
            if let Progress::Preparing { name } = progress {
                println!("{name} is installed and kept for a day");
            }
        };
        Ok(recipe.ensure(&tell)?.name().to_owned())
    }
}
