//! The address at which other machines may reach a listener of this one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Destinations to which routes are looked up: TEST-NET-1 (RFC 5737), and an address for documentation (RFC 3849).
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Returns the address at which other machines may reach a listener on `local`. If the listener is bound to all
/// addresses, this is the address that the machine would use towards the internet, of IPv4 if possible; without a route
/// to the internet, an interface's; on a machine without a network, loopback. No packet is sent.
pub(crate) fn reachable(local: SocketAddr) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    let ip = reachable_ips(local.ip()).first().copied();
    SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), local.port())
}

/// Returns the addresses at which other machines may reach a listener on `local`, at most one of IPv4 and one of IPv6.
/// Empty on a machine without a network.
pub(crate) fn reachable_ips(local: IpAddr) -> Vec<IpAddr> {
    if !local.is_unspecified() {
        return vec![local];
    }
    let own = plenary_rtc::local_addresses().unwrap_or_default();
    let of_interfaces =
        |is_v4: bool| own.iter().copied().find(|ip| ip.is_ipv4() == is_v4 && !ip.is_loopback());
    // a listener on [::] takes connections by IPv4 too
    let v6 = local.is_ipv6().then(|| route(FAR_V6).or_else(|| of_interfaces(false)));
    [route(FAR_V4).or_else(|| of_interfaces(true)), v6.flatten()].into_iter().flatten().collect()
}

/// Returns the address from which this machine would send to another one.
fn route(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // connecting the socket looks up a route, and sends no packet
    let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((to, 9)).map(|()| socket));
    let ip = socket.and_then(|socket| socket.local_addr()).ok()?.ip();
    Some(ip).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_reached_at_its_address_or_at_one_of_its_family() {
        for own in ["127.0.0.1:7", "[::1]:7", "192.0.2.9:7"] {
            let own: SocketAddr = own.parse().unwrap();
            assert_eq!(reachable(own), own);
        }
        let found = reachable("0.0.0.0:7".parse().unwrap());
        assert!(found.is_ipv4() && !found.ip().is_unspecified() && found.port() == 7, "{found}");
        assert!(!reachable("[::]:7".parse().unwrap()).ip().is_unspecified());
    }
}
