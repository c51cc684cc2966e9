//! A host at home: its router maps its port, or doesn't. The router is `miniupnpd`, of Debian's `miniupnpd-nftables`,
//! in a network namespace between a home and an outside with an address of the internet.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;

use crate::nats::are_fed;
use crate::network::SMALL;
use crate::running::{Running, invite_of, wait_until};
use crate::spaces::{Spaces, ip};

/// Addresses: the host's, the router's inside, and the outside's.
const HOME: &str = "10.55.0.2";
const INSIDE: &str = "10.55.0.1";
const OUTSIDE: &str = "11.7.0.9";
/// The router's outer address, one of the internet and one that a provider's customers share.
const PUBLIC: &str = "11.7.0.1";
const SHARED: &str = "100.64.7.1";
/// Port of the rendezvous, and of all media.
const PORTS: [&str; 2] = ["7420", "7421"];
/// What a router does by itself, and the chains that `miniupnpd` fills.
const RULES: &str = "table inet filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept; iifname lan accept; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname wan masquerade; }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}";

/// The namespaces of the home, the router and the outside, and the router's daemon. They end with the value.
struct Home {
    spaces: Spaces<3>,
    daemon: Option<Child>,
    folder: tempfile::TempDir,
}

impl Home {
    /// `None` where this isn't possible.
    fn new(outer: &str) -> Result<Option<Home>, Failed> {
        let has = |program: &str| {
            let paths = ["/usr/sbin", "/sbin", "/usr/bin"];
            paths.iter().any(|path| Path::new(path).join(program).exists())
        };
        if !netlab::is_possible() || !has("nft") || !has("miniupnpd") {
            eprintln!("skipped: needs root, nft and miniupnpd");
            return Ok(None);
        }
        let spaces = Spaces::new(["home", "router", "outside"])?;
        let home = Home { spaces, daemon: None, folder: tempfile::tempdir()? };
        let [inner, router, outside] = &home.spaces.0;
        let net = outer.rsplit_once('.').map_or(outer, |(net, _)| net);
        let beyond = if outer == PUBLIC { OUTSIDE.to_owned() } else { format!("{net}.9") };
        for words in [
            format!("-n {inner} link add eth0 type veth peer name lan netns {router}"),
            format!("-n {router} link add wan type veth peer name eth0 netns {outside}"),
            format!("-n {inner} addr add {HOME}/24 dev eth0"),
            format!("-n {router} addr add {INSIDE}/24 dev lan"),
            format!("-n {router} addr add {outer}/24 dev wan"),
            format!("-n {outside} addr add {beyond}/24 dev eth0"),
            format!("-n {inner} link set eth0 up"),
            format!("-n {router} link set lan up"),
            format!("-n {router} link set wan up"),
            format!("-n {outside} link set eth0 up"),
            format!("-n {inner} route add default via {INSIDE}"),
            format!("-n {router} route add default via {beyond}"),
            format!("netns exec {router} sysctl -qw net.ipv4.ip_forward=1"),
        ] {
            ip(&words)?;
        }
        let rules = home.folder.path().join("rules");
        std::fs::write(&rules, RULES)?;
        if let Err(failed) = ip(&format!("netns exec {router} nft -f {}", rules.display())) {
            eprintln!("skipped: this kernel has no NAT by nft: {failed:?}");
            return Ok(None);
        }
        Ok(Some(home))
    }

    /// Starts the router's daemon, with UPnP or with NAT-PMP and PCP.
    fn map_ports(&mut self, by_upnp: bool) -> Result<(), Failed> {
        let word = |is| if is { "yes" } else { "no" };
        let file = self.folder.path().join("miniupnpd.conf");
        let lines = [
            "ext_ifname=wan".to_owned(),
            "listening_ip=lan".to_owned(),
            "http_port=5000".to_owned(),
            format!("enable_upnp={}", word(by_upnp)),
            format!("enable_natpmp={}", word(!by_upnp)),
            "secure_mode=yes".to_owned(),
            "min_lifetime=120".to_owned(),
            "uuid=5d1d2b5e-1111-4222-8333-123456789abc".to_owned(),
            "upnp_table_name=filter".to_owned(),
            "upnp_nat_table_name=filter".to_owned(),
            "upnp_forward_chain=miniupnpd".to_owned(),
            "upnp_nat_chain=prerouting_miniupnpd".to_owned(),
            "upnp_nat_postrouting_chain=postrouting_miniupnpd".to_owned(),
            format!("allow 1024-65535 {HOME}/32 1024-65535"),
            "deny 0-65535 0.0.0.0/0 0-65535".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n") + "\n")?;
        let pid = self.folder.path().join("miniupnpd.pid");
        let mut daemon = Command::new("ip");
        daemon
            .args(["netns", "exec", &self.spaces.0[1], "miniupnpd", "-d", "-f"])
            .arg(file)
            .arg("-P")
            .arg(pid);
        // `ip` replaces itself by the daemon
        self.daemon = Some(daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let listens = if by_upnp { "ss -Hltn sport = :5000" } else { "ss -Hlun sport = :5351" };
        wait_until("router that listens", || {
            let mut list = Command::new("ip");
            list.args(["netns", "exec", &self.spaces.0[1]]).args(listens.split(' '));
            list.output().is_ok_and(|listed| !listed.stdout.is_empty())
        });
        Ok(())
    }

    /// Opens a room in the home, with one port for all media.
    fn host(&self) -> (Running, String) {
        let listen = format!("[::]:{}", PORTS[0]);
        let words = ["host", "--speak", "--listen", &listen, "--udp-port", PORTS[1]];
        let host = Running::start_in(&self.spaces.0[0], &[&words[..], &SMALL].concat());
        let invite = invite_of(&host);
        (host, invite)
    }

    /// Returns the router's rules for mapped ports.
    fn mapped(&self) -> Result<usize, Failed> {
        let mut list = Command::new("ip");
        list.args(["netns", "exec", &self.spaces.0[1], "nft", "list", "table", "inet", "filter"]);
        let listed = String::from_utf8(list.output()?.stdout)?;
        Ok(listed.lines().filter(|line| line.contains("dnat")).count())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// The invite of a host at home names the router's address, a viewer outside joins by it, and the end of the room takes
/// the router's rules away: by PCP, and by UPnP.
pub(crate) fn mapped() -> Result<(), Failed> {
    for by_upnp in [false, true] {
        let Some(mut home) = Home::new(PUBLIC)? else { return Ok(()) };
        home.map_ports(by_upnp)?;
        let (host, invite) = home.host();
        if !invite.starts_with(&format!("http://{PUBLIC}:{}/", PORTS[0])) {
            return Err(format!("{invite}, {:?}", host.stderr.so_far()).into());
        }
        host.stderr
            .wait("invite for the home", |line| line.contains(&format!("http://{HOME}:")).then_some(()));
        let by = if by_upnp { "host at home, mapped by UPnP" } else { "host at home, mapped by PCP" };
        let outside = |_: &str, words: &[&str]| Running::start_in(&home.spaces.0[2], words);
        are_fed(outside, &invite, &["outside"], by)?;
        if home.mapped()? != 3 {
            return Err(format!("{by}: {} rules, {:?}", home.mapped()?, host.stderr.so_far()).into());
        }
        host.signal(libc::SIGTERM);
        let ended = host.ended();
        if home.mapped()? != 0 {
            return Err(format!("{by}: {} rules are left, {}", home.mapped()?, ended.stderr).into());
        }
    }
    Ok(())
}

/// Where a router is behind another NAT, or doesn't answer, the host says so, and its invite is for the home.
pub(crate) fn useless() -> Result<(), Failed> {
    for (answers, said) in [(true, "the router maps no port"), (false, "no router has answered")] {
        let Some(mut home) = Home::new(SHARED)? else { return Ok(()) };
        if answers {
            home.map_ports(true)?;
        }
        let (host, invite) = home.host();
        host.stderr.wait(said, |line| line.contains(said).then_some(()));
        if !invite.starts_with(&format!("http://{HOME}:{}/", PORTS[0])) || home.mapped()? > 0 {
            return Err(format!("{invite}, {:?}", host.stderr.so_far()).into());
        }
        if !answers {
            // it is asked again
            home.map_ports(false)?;
            host.stderr.wait("router", |line| line.contains("the router maps no port").then_some(()));
        }
    }
    Ok(())
}
