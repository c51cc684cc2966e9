//! Messages about tunnels, in which a member carries the datagrams of a link between two others.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::LinkKind;
use crate::id::PeerId;

/// Tunnels: a peer that is linked with both ends of a link carries its datagrams, as they are sealed, where the ends
/// can't reach each other. All are sent on the link between an end and the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum TunnelMessage {
    /// An end requests the receiver to carry its link with `with`. Repeated while the tunnel is used, since the carrier
    /// ends tunnels without renewal.
    Wanted {
        /// Other end of the link.
        with: PeerId,
        /// Kind of the link.
        kind: LinkKind,
    },
    /// The sender's link with `with` needs the tunnel no more.
    Unwanted {
        /// Other end of the link.
        with: PeerId,
        /// Kind of the link.
        kind: LinkKind,
    },
    /// The sender carries the link between the receiver and `with`. Both ends are told.
    Opened {
        /// Other end of the link.
        with: PeerId,
        /// Kind of the link.
        kind: LinkKind,
        /// Number of the tunnel, in the frames of both ends' links with the carrier.
        channel: u16,
    },
    /// The sender does not carry the link between the receiver and `with`, or no more.
    Closed {
        /// Other end of the link.
        with: PeerId,
        /// Kind of the link.
        kind: LinkKind,
    },
}
