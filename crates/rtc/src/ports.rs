//! Local addresses and UDP ports of links.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use crate::checks::ADDRESSES_MAX;
use crate::sync::lock;

/// Local addresses of a peer, and the range of its UDP ports.
#[derive(Debug)]
pub(crate) struct Ports {
    addresses: Vec<IpAddr>,
    range: Option<RangeInclusive<u16>>,
    taken: Mutex<BTreeSet<u16>>,
}

/// A port that one link uses on all its addresses; free again when dropped. 0 stands for any port.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    ports: Arc<Ports>,
}

impl Ports {
    /// Without `bind`, takes the unicast addresses of this machine, or loopback if it has no other. At most
    /// [`ADDRESSES_MAX`] are used, since the other end checks no more.
    pub(crate) fn new(bind: &[IpAddr], range: Option<RangeInclusive<u16>>) -> std::io::Result<Ports> {
        let mut addresses = if bind.is_empty() { interfaces()? } else { bind.to_vec() };
        addresses.truncate(ADDRESSES_MAX);
        Ok(Ports { addresses, range, taken: Mutex::default() })
    }

    /// Claims the lowest port from `from` up that is free on all addresses; `None` when there is none.
    pub(crate) fn claim(self: &Arc<Self>, from: u16) -> Option<Port> {
        let Some(range) = &self.range else { return Some(Port { number: 0, ports: self.clone() }) };
        for number in range.clone().filter(|&number| number >= from.max(1)) {
            // the link binds a moment later: until then the claim keeps other links of this peer away
            if lock(&self.taken).insert(number) {
                let port = Port { number, ports: self.clone() };
                if port.addresses().iter().all(|address| UdpSocket::bind(address).is_ok()) {
                    return Some(port);
                }
            }
        }
        None
    }
}

impl Port {
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Addresses to bind to.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.addresses.iter().map(|&ip| SocketAddr::new(ip, self.number)).collect()
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
    interfaces()
}

fn interfaces() -> std::io::Result<Vec<IpAddr>> {
    let interfaces = rtc::shared::ifaces::ifaces()?;
    let all =
        interfaces.iter().filter_map(|interface| Some(interface.addr?.ip())).filter(|&ip| is_offerable(ip));
    let (loopback, mut usable): (Vec<_>, Vec<_>) = all.partition(IpAddr::is_loopback);
    usable.sort_unstable();
    usable.dedup();
    if usable.is_empty() {
        usable = loopback.into_iter().filter(IpAddr::is_ipv4).collect();
    }
    if usable.is_empty() {
        usable.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(usable)
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
    fn without_a_wish_there_is_an_address_to_bind_to() {
        let ports = Arc::new(Ports::new(&[], None).unwrap());
        let port = ports.claim(0).unwrap();
        assert!(!port.addresses().is_empty());
        assert!(port.addresses().iter().all(|address| UdpSocket::bind(address).is_ok()), "{port:?}");
    }
}
