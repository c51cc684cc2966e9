//! Local addresses and UDP ports of links.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::path::ADDRESSES_MAX;
use crate::sync::lock;

/// Time for which the addresses of this machine are known: a peer may open many links at once, and asking the system
/// takes up to a millisecond. A guess, below the interval at which changes are looked for.
const KNOWN_MAX: Duration = Duration::from_millis(50);

/// Local addresses of a peer, and the range of its UDP ports.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Addresses that the application wants; if empty, each link takes the machine's present ones.
    wanted: Vec<IpAddr>,
    /// Time of the last reading, and all addresses of this machine.
    known: Mutex<(Instant, Vec<IpAddr>)>,
    /// Last result of [`Ports::look`].
    looked: Mutex<Vec<IpAddr>>,
    range: Option<RangeInclusive<u16>>,
    taken: Mutex<BTreeSet<u16>>,
}

/// A port that one link uses on all its addresses; free again when dropped. 0 stands for any port.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    addresses: Vec<IpAddr>,
    ports: Arc<Ports>,
}

/// What has become of this machine's addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressChange {
    /// An address has gone.
    pub gone: bool,
    /// An address has come.
    pub come: bool,
}

impl Ports {
    /// Without `bind`, each link takes the unicast addresses that this machine has then, or loopback if it has no
    /// other. At most [`ADDRESSES_MAX`] are used, since the other end checks no more.
    pub(crate) fn new(bind: &[IpAddr], range: Option<RangeInclusive<u16>>) -> io::Result<Ports> {
        let all = interfaces()?;
        let (looked, known) = (Mutex::new(all.clone()), Mutex::new((Instant::now(), all)));
        Ok(Ports { wanted: bind.to_vec(), known, looked, range, taken: Mutex::default() })
    }

    /// Claims the lowest port from `from` up that is free on all addresses that this machine has; `None` when there is
    /// none.
    pub(crate) fn claim(self: &Arc<Self>, from: u16) -> Option<Port> {
        let addresses = self.addresses();
        let port = |number| Port { number, addresses: addresses.clone(), ports: self.clone() };
        let Some(range) = &self.range else { return Some(port(0)) };
        for number in range.clone().filter(|&number| number >= from.max(1)) {
            // the link binds a moment later: until then the claim keeps other links of this peer away
            if lock(&self.taken).insert(number) {
                let port = port(number);
                let is_taken = |address: &SocketAddr| {
                    UdpSocket::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
                };
                if !port.addresses().iter().any(is_taken) {
                    return Some(port);
                }
            }
        }
        None
    }

    /// Returns the addresses that a link binds to at present.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses = if self.wanted.is_empty() { usable(&self.known()) } else { self.wanted.clone() };
        addresses.truncate(ADDRESSES_MAX);
        addresses
    }

    /// Returns all addresses of this machine, read within [`KNOWN_MAX`]. A failed reading leaves the list unchanged.
    fn known(&self) -> Vec<IpAddr> {
        let mut known = lock(&self.known);
        if known.0.elapsed() >= KNOWN_MAX {
            let read =
                interfaces().inspect_err(|error| tracing::warn!("the interfaces cannot be listed: {error}"));
            *known = (Instant::now(), read.unwrap_or_else(|_| std::mem::take(&mut known.1)));
        }
        known.1.clone()
    }

    /// Returns the addresses of this machine, with what has changed since the last call.
    pub(crate) fn look(&self) -> (Vec<IpAddr>, AddressChange) {
        let now = self.known();
        let before = std::mem::replace(&mut *lock(&self.looked), now.clone());
        let lacks = |of: &[IpAddr], other: &[IpAddr]| other.iter().any(|address| !of.contains(address));
        let change = AddressChange { gone: lacks(&now, &before), come: lacks(&before, &now) };
        (now, change)
    }
}

impl Port {
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Addresses to bind to.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|&ip| SocketAddr::new(ip, self.number)).collect()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        lock(&self.ports.taken).remove(&self.number);
    }
}

/// Returns the addresses of this machine that are offered to other peers, or loopback if it has no other.
///
/// # Errors
/// The system doesn't list them.
pub fn local_addresses() -> std::io::Result<Vec<IpAddr>> {
    Ok(usable(&interfaces()?))
}

/// Returns all addresses of this machine.
fn interfaces() -> io::Result<Vec<IpAddr>> {
    let interfaces = rtc::shared::ifaces::ifaces()?;
    let mut all: Vec<_> = interfaces.iter().filter_map(|interface| Some(interface.addr?.ip())).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// Returns those of a machine's addresses that links use.
fn usable(all: &[IpAddr]) -> Vec<IpAddr> {
    let offerable = all.iter().copied().filter(|&ip| is_offerable(ip));
    let (loopback, mut usable): (Vec<_>, Vec<_>) = offerable.partition(IpAddr::is_loopback);
    if usable.is_empty() {
        usable = loopback.into_iter().filter(IpAddr::is_ipv4).collect();
    }
    if usable.is_empty() {
        usable.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    usable
}

/// Whether an address is worth offering to other peers; the caller decides about loopback.
fn is_offerable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !ip.is_unspecified() && !ip.is_link_local() && !ip.is_multicast() && !ip.is_broadcast()
        }
        // an fe80:: address is useless without its scope, which candidates don't carry
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local() && !ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn each_link_gets_a_port_of_the_range_until_there_is_none() {
        let taken_by_others = UdpSocket::bind((LOCAL, 0)).unwrap();
        let taken = taken_by_others.local_addr().unwrap().port();
        let Some(last) = taken.checked_add(2) else { return };
        let ports = Arc::new(Ports::new(&[LOCAL], Some(taken..=last)).unwrap());
        let mut claimed: Vec<Port> = std::iter::from_fn(|| ports.claim(0)).collect();
        let numbers: BTreeSet<u16> = claimed.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), claimed.len(), "none twice");
        assert!(!numbers.contains(&taken) && numbers.iter().all(|number| (taken..=last).contains(number)));
        if let Some(freed) = claimed.pop() {
            let number = freed.number();
            drop(freed);
            assert_eq!(ports.claim(0).map(|port| port.number()), Some(number));
        }
    }

    #[test]
    fn addresses_are_read_again_and_vanished_ones_are_left_out() {
        let before: [IpAddr; 3] =
            ["10.9.0.2", "127.0.0.1", "fe80::1"].map(|address| address.parse().unwrap());
        let gone = SocketAddr::new(before[0], 0);
        let ports = Arc::new(Ports::new(&[], None).unwrap());
        *lock(&ports.known) = (Instant::now(), before.to_vec());
        ports.look();
        assert_eq!(ports.claim(0).unwrap().addresses(), [gone]);
        assert_eq!(ports.look().1, AddressChange::default(), "not read yet");
        *lock(&ports.known) = (Instant::now().checked_sub(KNOWN_MAX).unwrap(), before.to_vec());
        ports.claim(0);
        assert!(ports.look().1.gone, "although a link has read them before");
        assert!(!ports.claim(0).unwrap().addresses().contains(&gone));
    }

    #[test]
    fn an_address_that_is_gone_takes_no_port() {
        let gone: IpAddr = "192.0.2.7".parse().unwrap(); // TEST-NET-1 (RFC 5737)
        let free = UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port();
        let ports = Arc::new(Ports::new(&[gone, LOCAL], Some(free..=free)).unwrap());
        assert_eq!(ports.claim(0).map(|port| port.number()), Some(free));
    }

    #[test]
    fn without_a_wish_there_is_an_address_to_bind_to() {
        let ports = Arc::new(Ports::new(&[], None).unwrap());
        let port = ports.claim(0).unwrap();
        assert!(!port.addresses().is_empty());
        assert!(port.addresses().iter().all(|address| UdpSocket::bind(address).is_ok()), "{port:?}");
    }
}
