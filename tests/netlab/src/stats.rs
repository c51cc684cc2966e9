//! What happened to the packets of each host. Serialised as is for `netlab stats --json`.

use std::collections::BTreeMap;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DropReason {
    /// Lost at random, singly or in a burst.
    Loss,
    QueueFull,
    /// The host, or the path to this peer, is cut.
    Cut,
    /// A firewall on the link lets no such packets through.
    Blocked,
    /// No host has the destination address, or it is not an IPv4 packet.
    NoRoute,
    /// Came from outside to a NAT that has no mapping for it, or whose filter forbids it.
    NatRefused,
    /// A packet that the NAT cannot translate, such as a fragment or an ICMP error.
    NatUnsupported,
    /// The host's own kernel did not take the packet.
    HostRefused,
}

#[derive(Clone, Default, Serialize)]
pub(crate) struct Count {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// A drop is charged to the sender until the packet is at the receiver's access link, then to the
/// receiver. A reason that is absent has not occurred.
#[derive(Clone, Default, Serialize)]
pub(crate) struct HostStats {
    pub(crate) sent: Count,
    pub(crate) received: Count,
    pub(crate) dropped_out: BTreeMap<DropReason, u64>,
    pub(crate) dropped_in: BTreeMap<DropReason, u64>,
    pub(crate) queued_up_bytes: usize,
    pub(crate) queued_down_bytes: usize,
    /// Packets that the host sent faster than the lab could read them. Not 0: overload.
    pub(crate) overrun: u64,
    pub(crate) cut: bool,
}

#[derive(Serialize)]
pub(crate) struct LabStats {
    pub(crate) elapsed_ms: u64,
    /// Largest lateness of an event since the last `stats`. Several milliseconds mean that the machine is
    /// overloaded.
    pub(crate) worst_lateness_us: u64,
    pub(crate) hosts: BTreeMap<String, HostStats>,
}
