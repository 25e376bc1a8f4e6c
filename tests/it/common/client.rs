//! A client of a database, on one of its hosts, that goes on while things happen to it.

use crate::common::world::World;

impl World {
    /// A client begins that writes a row every 50 ms by this command, and counts those that it was told are
    /// written.
    pub(crate) fn begin_client(&self, host: &str, write: &str) {
        self.sh(
            host,
            &format!(
                r#"cat > /srv/client <<'END'
n=0
while [ ! -e /srv/stop ]; do
    if {write} 2>>/srv/errors; then n=$((n + 1)); echo "$n" >/srv/written; fi
    sleep 0.05
done
touch /srv/stopped
END
rm -f /srv/stop /srv/stopped /srv/errors /srv/written
systemd-run --quiet sh /srv/client"#
            ),
        );
    }

    /// How many rows that client was told are written, once it has ended.
    pub(crate) fn end_client(&self, host: &str) -> usize {
        let stopped = "touch /srv/stop; for try in $(seq 200); do [ ! -e /srv/stopped ] || break; sleep 0.1; done";
        let count = self.sh(host, &format!("{stopped}; [ -e /srv/stopped ] && cat /srv/written"));
        count.parse().expect("a number")
    }
}
