//! One bridge per lab, a network namespace and a veth pair per host, and a firewall table that lets
//! the hosts out to the package archives and nobody in.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use crate::{
    command::{run, run_with_input},
    error::{LabError, Result},
    files,
    names::{Names, Range},
    progress::{Progress, Report},
};

/// How many address ranges are tried.
const TRIES: usize = 500;

/// The network of one lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network<'a> {
    pub(crate) names: Names<'a>,
    pub(crate) range: Range,
}

impl Network<'_> {
    /// Makes what is missing of the bridge and the firewall's table.
    pub(crate) fn ensure(&self, report: Report<'_>) -> Result<()> {
        let bridge = &self.names.bridge();
        if !link_exists(bridge) {
            let taken = |(network, prefix): &(Ipv4Addr, u8)| self.range.overlaps(*network, *prefix);
            if let Some((network, prefix)) = routes()?.into_iter().find(taken) {
                let range = self.range.to_string();
                return Err(LabError::RangeTaken { range, route: format!("{network}/{prefix}") });
            }
            run("make the lab's bridge", "ip", &["link", "add", bridge, "type", "bridge"])?;
        }
        let address = format!("{}/24", self.range.gateway());
        run("give the bridge its address", "ip", &["addr", "replace", &address, "dev", bridge])?;
        run("turn the bridge on", "ip", &["link", "set", bridge, "up"])?;
        let (table, range) = (self.names.table(), self.range);
        let rules = format!(
            "table ip {table} {{}}\n\
             delete table ip {table}\n\
             table ip {table} {{\n\
               chain out {{ type nat hook postrouting priority 100; policy accept;\n\
                 ip saddr {range} oifname != \"{bridge}\" masquerade\n\
               }}\n\
               chain pass {{ type filter hook forward priority 0; policy accept;\n\
                 iifname \"{bridge}\" accept\n\
                 oifname \"{bridge}\" ct state established,related accept\n\
                 oifname \"{bridge}\" drop\n\
               }}\n\
             }}\n"
        );
        run_with_input("write the lab's firewall table", "nft", &["-f", "-"], &rules)?;
        for chain in dropping_chains() {
            report(Progress::ForwardDropped { chain });
        }
        Ok(())
    }

    /// Removes the bridge and the table.
    pub(crate) fn remove(&self) -> Result<()> {
        let (bridge, table) = (&self.names.bridge(), &self.names.table());
        if link_exists(bridge) {
            run("remove the lab's bridge", "ip", &["link", "del", bridge])?;
        }
        if run("list the firewall's tables", "nft", &["list", "tables"])?.contains(&format!("table ip {table}\n")) {
            run("remove the lab's firewall table", "nft", &["delete", "table", "ip", table])?;
        }
        Ok(())
    }

    /// The file that keeps a host's network namespace.
    pub(crate) fn namespace(&self, index: u8) -> PathBuf {
        Path::new(files::RUN_DIR).join(self.names.machine(index))
    }

    /// Whether a host's namespace and link are there.
    pub(crate) fn host_is_whole(&self, index: u8) -> Result<bool> {
        Ok(link_exists(&self.names.veth(index)) && files::is_mounted(&self.namespace(index))?)
    }

    /// Makes a host's namespace with its address, and the link to the bridge.
    pub(crate) fn ensure_host(&self, index: u8) -> Result<()> {
        let (veth, bridge) = (&self.names.veth(index), &self.names.bridge());
        let file = self.namespace(index);
        let path = &*file.to_string_lossy();
        if !self.host_is_whole(index)? {
            self.remove_host(index)?;
            files::write(&file, "", 0o644)?;
            run("make a network namespace", "unshare", &[&format!("--net={path}"), "true"])?;
            let peer = ["link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", path];
            run("make a host's link", "ip", &peer)?;
        }
        let mtu = uplink_mtu();
        let inside = format!(
            "link set lo up\nlink set eth0 mtu {mtu} up\naddr replace {}/24 brd + dev eth0\n\
             route replace default via {} dev eth0\n",
            self.range.host(index),
            self.range.gateway()
        );
        let mtu = mtu.to_string();
        run("turn a host's link on", "ip", &["link", "set", veth, "mtu", &mtu, "master", bridge, "up"])?;
        let net = format!("--net={path}");
        run_with_input("give a host its address", "nsenter", &[&net, "ip", "-batch", "-"], &inside).map(drop)
    }

    /// Takes a host's link down or up, as if its cable were pulled or plugged in.
    pub(crate) fn plug(&self, index: u8, state: &str) -> Result<()> {
        run("switch a host's link", "ip", &["link", "set", &self.names.veth(index), state]).map(drop)
    }

    /// Whether a host's link is there and off.
    pub(crate) fn is_unplugged(&self, index: u8) -> bool {
        let flags = fs::read_to_string(format!("/sys/class/net/{}/flags", self.names.veth(index)));
        let flags = flags.ok().and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok());
        flags.is_some_and(|flags| flags & 1 == 0)
    }

    /// Removes a host's link and namespace.
    pub(crate) fn remove_host(&self, index: u8) -> Result<()> {
        let veth = &self.names.veth(index);
        if link_exists(veth) {
            run("remove a host's link", "ip", &["link", "del", veth])?;
        }
        let file = self.namespace(index);
        files::unmount_below(&file)?;
        files::remove_file(&file)
    }
}

/// Removes links and namespaces of a lab that its state doesn't tell of.
pub(crate) fn remove_remains(names: Names<'_>) -> Result<()> {
    let (links, spaces) = (names.veth(0), names.machine(0));
    // All but the index.
    let (links, spaces) = (&links[..links.len() - 2], &spaces[..spaces.len() - 2]);
    let listed = |dir: &str| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    for link in listed("/sys/class/net").iter().filter(|name| name.starts_with(links)) {
        run("remove a host's link", "ip", &["link", "del", link])?;
    }
    for space in listed(files::RUN_DIR).iter().filter(|name| name.starts_with(spaces)) {
        let file = Path::new(files::RUN_DIR).join(space);
        files::unmount_below(&file)?;
        files::remove_file(&file)?;
    }
    Ok(())
}

/// A range for a new lab that collides neither with a route, a name server nor another lab.
pub(crate) fn choose_range(name: &str, taken: &[Range]) -> Result<Range> {
    let mut networks = routes()?;
    networks.extend(nameservers()?.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some((*address, 32)),
        IpAddr::V6(_) => None,
    }));
    pick_range(name, taken, &networks).ok_or(LabError::NoRange { tried: TRIES })
}

fn pick_range(name: &str, taken: &[Range], networks: &[(Ipv4Addr, u8)]) -> Option<Range> {
    (0..TRIES).map(|attempt| Range::choice(name, attempt)).find(|range| {
        !taken.contains(range) && !networks.iter().any(|(network, prefix)| range.overlaps(*network, *prefix))
    })
}

/// The machine's routes. What is as wide as 10.0.0.0/8 is left out, like the default route: a lab
/// hides 256 addresses of it.
fn routes() -> Result<Vec<(Ipv4Addr, u8)>> {
    let text = run("read this machine's routes", "ip", &["-4", "-j", "route", "show", "table", "all"])?;
    Ok(parse_routes(&text))
}

fn parse_routes(json: &str) -> Vec<(Ipv4Addr, u8)> {
    let entries: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let parse = |entry: &serde_json::Value| {
        let (address, prefix) = entry.get("dst")?.as_str().map(|dst| dst.split_once('/').unwrap_or((dst, "32")))?;
        Some((address.parse().ok()?, prefix.parse().ok()?))
    };
    entries.iter().filter_map(parse).filter(|(_, prefix)| *prefix > 8).collect()
}

fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// The size of packet that gets out of this machine, for links inside it.
fn uplink_mtu() -> u32 {
    let find = || {
        let text = run("find the way out", "ip", &["-4", "-j", "route", "show", "default"]).ok()?;
        let routes: Vec<serde_json::Value> = serde_json::from_str(&text).ok()?;
        let link = routes.first()?.get("dev")?.as_str()?.to_owned();
        fs::read_to_string(format!("/sys/class/net/{link}/mtu")).ok()?.trim().parse().ok()
    };
    find().unwrap_or(1500).clamp(1280, 9000)
}

/// Forward chains of others that drop what no rule of theirs lets pass.
fn dropping_chains() -> Vec<String> {
    let text = run("read the firewall's chains", "nft", &["-j", "list", "chains"]).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let chains = json["nftables"].as_array().cloned().unwrap_or_default();
    let drops = |chain: &&serde_json::Value| chain["hook"] == "forward" && chain["policy"] == "drop";
    let name = |chain: &serde_json::Value| {
        ["family", "table", "name"].map(|key| chain[key].as_str().unwrap_or("?").to_owned()).join(" ")
    };
    chains.iter().map(|entry| &entry["chain"]).filter(drops).map(name).collect()
}

/// What the hosts' /etc/resolv.conf says: what the machine's says, but for a stub on its loopback,
/// whose own upstream servers are used instead.
pub(crate) fn resolv_conf() -> Result<String> {
    const STUB: &str = "/etc/resolv.conf";
    const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";
    let own = files::read_if_there(Path::new(STUB))?.unwrap_or_default();
    let upstream = files::read_if_there(Path::new(UPSTREAM))?.unwrap_or_default();
    Ok(pick_resolv_conf(&own, &upstream))
}

/// The first line by which a file of ours is known.
pub(crate) const RESOLV_MARK: &str = "# Written by the haflow lab: this machine's name servers.\n";

fn pick_resolv_conf(own: &str, upstream: &str) -> String {
    let usable = |text: &str| servers(text).iter().any(|address| !address.is_loopback());
    let from = if usable(own) || !usable(upstream) { own } else { upstream };
    let mut out = RESOLV_MARK.to_owned();
    for line in from.lines() {
        let loopback = servers(line).iter().any(IpAddr::is_loopback);
        let kept = ["nameserver", "search", "domain", "options"].iter().any(|word| line.starts_with(word));
        if kept && !loopback {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn servers(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok()).collect()
}

fn nameservers() -> Result<Vec<IpAddr>> {
    resolv_conf().map(|text| servers(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_range_is_moved_on_from() {
        let first = Range::choice("lab", 0);
        assert_eq!(pick_range("lab", &[], &[]), Some(first));
        assert_eq!(pick_range("lab", &[first], &[]), Some(Range::choice("lab", 1)));
        assert_eq!(pick_range("lab", &[], &[(first.gateway(), 32)]), Some(Range::choice("lab", 1)));
        assert_eq!(pick_range("lab", &[], &[(Ipv4Addr::new(10, 0, 0, 0), 8)]), None);
    }

    #[test]
    fn routes_are_read_without_the_widest() {
        let json = r#"[{"dst":"default","gateway":"192.0.2.1"},{"dst":"10.0.0.0/8"},{"dst":"10.1.2.0/24"},
            {"type":"local","dst":"192.0.2.2"}]"#;
        let expected = [(Ipv4Addr::new(10, 1, 2, 0), 24), (Ipv4Addr::new(192, 0, 2, 2), 32)];
        assert_eq!(parse_routes(json), expected);
    }

    #[test]
    fn a_loopback_stub_gives_way_to_its_upstream() {
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        let upstream = "nameserver 192.0.2.53\nsearch example.org\n";
        assert_eq!(pick_resolv_conf(stub, upstream), format!("{RESOLV_MARK}{upstream}"));
        assert_eq!(pick_resolv_conf(upstream, stub), format!("{RESOLV_MARK}{upstream}"));
        assert_eq!(pick_resolv_conf(stub, ""), format!("{RESOLV_MARK}options edns0\n"));
    }
}
