//! The few IPv4 fields that the lab reads and that a NAT rewrites.

use std::net::{Ipv4Addr, SocketAddrV4};

const IPV4_CHECKSUM: usize = 10;
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
const IPV4_MIN_HEADER: usize = 20;

const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
const UDP: u8 = 17;

const ICMP_ECHO_REPLY: u8 = 0;
const ICMP_ECHO_REQUEST: u8 = 8;

/// The destination, or `None` if this is not an IPv4 packet.
pub(crate) fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    (packet.len() >= IPV4_MIN_HEADER && packet[0] >> 4 == 4).then(|| address_at(packet, IPV4_DESTINATION))
}

pub(crate) fn is_udp(packet: &[u8]) -> bool {
    destination(packet).is_some() && packet[9] == UDP
}

/// What a NAT needs to know of a packet, and where in the packet it stands.
///
/// The identifier of an ICMP echo takes the place of the port on the asking side, so that `ping`
/// works through a NAT as a UDP flow does.
pub(crate) struct Flow {
    pub(crate) protocol: u8,
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    source_port_at: usize,
    destination_port_at: usize,
    checksum_at: usize,
}

impl Flow {
    /// `None` for whatever a simple NAT cannot follow: fragments, ICMP errors, other protocols.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        destination(packet)?;
        let transport = usize::from(packet[0] & 0x0f) * 4;
        let is_fragment = word_at(packet, 6) & 0x3fff != 0;
        let protocol = packet[9];
        let (checksum_at, shortest) = match protocol {
            UDP => (transport + 6, transport + 8),
            TCP => (transport + 16, transport + 20),
            ICMP => (transport + 2, transport + 8),
            _ => return None,
        };
        if is_fragment || transport < IPV4_MIN_HEADER || packet.len() < shortest {
            return None;
        }

        let port = |at| word_at(packet, at);
        let (source_port_at, destination_port_at) = match (protocol, packet[transport]) {
            (ICMP, ICMP_ECHO_REQUEST | ICMP_ECHO_REPLY) => (transport + 4, transport + 4),
            (ICMP, _) => return None,
            _ => (transport, transport + 2),
        };
        let (source_port, destination_port) = match (protocol, packet[transport]) {
            (ICMP, ICMP_ECHO_REQUEST) => (port(source_port_at), 0),
            (ICMP, _) => (0, port(destination_port_at)),
            _ => (port(source_port_at), port(destination_port_at)),
        };
        Some(Flow {
            protocol,
            source: SocketAddrV4::new(address_at(packet, IPV4_SOURCE), source_port),
            destination: SocketAddrV4::new(address_at(packet, IPV4_DESTINATION), destination_port),
            source_port_at,
            destination_port_at,
            checksum_at,
        })
    }

    pub(crate) fn set_source(&self, packet: &mut [u8], source: SocketAddrV4) {
        self.set_endpoint(packet, IPV4_SOURCE, self.source_port_at, source);
    }

    pub(crate) fn set_destination(&self, packet: &mut [u8], destination: SocketAddrV4) {
        self.set_endpoint(packet, IPV4_DESTINATION, self.destination_port_at, destination);
    }

    fn set_endpoint(&self, packet: &mut [u8], address_at: usize, port_at: usize, new: SocketAddrV4) {
        let address = new.ip().to_bits();
        for (at, word) in [(address_at, (address >> 16) as u16), (address_at + 2, address as u16)] {
            let old = replace_word(packet, at, word);
            update_checksum(packet, IPV4_CHECKSUM, old, word);
            // UDP and TCP sum the addresses too, as a pseudo header; ICMP does not.
            if self.protocol != ICMP {
                self.update_transport_checksum(packet, old, word);
            }
        }
        let old = replace_word(packet, port_at, new.port());
        self.update_transport_checksum(packet, old, new.port());
    }

    fn update_transport_checksum(&self, packet: &mut [u8], old: u16, new: u16) {
        // In UDP, zero says that the sender made no checksum; a sum of zero is sent as all ones.
        if self.protocol == UDP && word_at(packet, self.checksum_at) == 0 {
            return;
        }
        update_checksum(packet, self.checksum_at, old, new);
        if self.protocol == UDP && word_at(packet, self.checksum_at) == 0 {
            replace_word(packet, self.checksum_at, 0xffff);
        }
    }
}

/// RFC 1624, equation 3. Updating rather than summing anew keeps a damaged packet damaged.
fn update_checksum(packet: &mut [u8], at: usize, old: u16, new: u16) {
    let sum = u32::from(!word_at(packet, at)) + u32::from(!old) + u32::from(new);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    replace_word(packet, at, !(folded as u16));
}

fn word_at(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

fn replace_word(packet: &mut [u8], at: usize, word: u16) -> u16 {
    let old = word_at(packet, at);
    packet[at..at + 2].copy_from_slice(&word.to_be_bytes());
    old
}

fn address_at(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{IpHeaders, NetSlice};
    use etherparse::{PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice};

    fn ip() -> PacketBuilderStep<IpHeaders> {
        PacketBuilder::ipv4([10, 0, 0, 2], [100, 64, 0, 9], 64)
    }

    /// Rewrites both ends at random and lets another implementation judge the checksums.
    fn check(mut packet: Vec<u8>) {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let end = SocketAddrV4::new(random.u32(..).into(), random.u16(..));
            let flow = Flow::parse(&packet).unwrap();
            flow.set_source(&mut packet, end);
            let end = SocketAddrV4::new(random.u32(..).into(), random.u16(..));
            flow.set_destination(&mut packet, end);

            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
            let header = ip.header().to_header();
            assert_eq!(header.calc_header_checksum(), header.header_checksum);
            match sliced.transport.unwrap() {
                TransportSlice::Udp(udp) => {
                    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                    assert_eq!(sum, udp.checksum());
                }
                TransportSlice::Tcp(tcp) => {
                    let sum = tcp.calc_checksum_ipv4(header.source, header.destination).unwrap();
                    assert_eq!(sum, tcp.checksum());
                }
                TransportSlice::Icmpv4(icmp) => {
                    let sum = icmp.icmp_type().calc_checksum(icmp.payload());
                    assert_eq!(sum, icmp.checksum());
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    #[test]
    fn udp_checksums_survive_rewriting() {
        let mut packet = Vec::new();
        ip().udp(4000, 5000).write(&mut packet, b"odd length payload!").unwrap();
        check(packet);
    }

    #[test]
    fn tcp_checksums_survive_rewriting() {
        let mut packet = Vec::new();
        ip().tcp(4000, 5000, 7, 1024).write(&mut packet, b"payload").unwrap();
        check(packet);
    }

    #[test]
    fn icmp_checksums_survive_rewriting() {
        let mut packet = Vec::new();
        ip().icmpv4_echo_request(77, 1).write(&mut packet, b"ping").unwrap();
        check(packet);
    }

    #[test]
    fn a_udp_packet_without_checksum_stays_without() {
        let mut packet = Vec::new();
        ip().udp(4000, 5000).write(&mut packet, b"x").unwrap();
        packet[26..28].fill(0);
        let flow = Flow::parse(&packet).unwrap();
        flow.set_source(&mut packet, "1.2.3.4:5".parse().unwrap());
        assert_eq!(packet[26..28], [0, 0]);
    }
}
