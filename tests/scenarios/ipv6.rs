//! Peers that have IPv6 alone.

use libtest_mimic::Failed;

use crate::nats::are_fed;
use crate::network::SMALL;
use crate::running::{Running, invite_of};
use crate::spaces::{Spaces, ip};

/// Addresses for documentation (RFC 3849), of the host and a viewer.
const HOST: &str = "2001:db8:7::1";
const VIEWER: &str = "2001:db8:7::2";

/// A host and a viewer without IPv4: the invite names an address in brackets, STUN and media go by IPv6.
pub(crate) fn alone() -> Result<(), Failed> {
    if !netlab::is_possible() {
        return Ok(());
    }
    let spaces = Spaces::new(["host", "viewer"])?;
    let [host, viewer] = &spaces.0;
    ip(&format!("-n {host} link add eth0 type veth peer name eth0 netns {viewer}"))?;
    for (space, address) in [(host, HOST), (viewer, VIEWER)] {
        // without the second in which another machine might claim the address
        ip(&format!("-n {space} addr add {address}/64 dev eth0 nodad"))?;
        ip(&format!("-n {space} link set eth0 up"))?;
        ip(&format!("-n {space} route add default dev eth0"))?;
    }
    let listening =
        Running::start_in(host, &[&["host", "--speak", "--listen", "[::]:7420"][..], &SMALL].concat());
    let invite = invite_of(&listening);
    if !invite.starts_with(&format!("http://[{HOST}]:7420/")) {
        return Err(format!("{invite}, {:?}", listening.stderr.so_far()).into());
    }
    are_fed(|_, words| Running::start_in(viewer, words), &invite, &["IPv6 alone"], "host with IPv6 alone")
}
