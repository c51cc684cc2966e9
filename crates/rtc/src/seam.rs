//! The interface of the crate: commands go in, events and packets come out. It names no type of the stack.
//!
//! The driver of a peer submits [`Command`]s, which never block, and reads [`Event`]s in order. Media takes a
//! shorter path: each packet is handed to the [`PacketSink`] on the task that read it from the socket, so
//! that a relay can submit its fan-out from there.

use std::time::Duration;

use bytes::Bytes;
use plenary_proto::TunnelCommand;
use plenary_proto::bounded::Text;
pub use plenary_proto::link_layout::Channel;
use plenary_proto::link_layout::DescriptionError;
use plenary_proto::message::{Description, Fingerprints, FurtherCandidates, IceRestart, LinkKind};
use plenary_proto::packet::{BrowserPacket, Destinations, LinkId, MediaPacket};

use crate::train::TrainArrivals;

/// Executes commands on links. No implementation may block.
pub trait LinkDriver: Send + Sync {
    /// Accepts a command. A command for an unknown link is dropped, and so is one for a link that has ended:
    /// its [`Event::Down`] was read already or is still queued.
    fn submit(&self, command: Command);

    /// Maximum length of a message that the bulk queue accepts at present, in bytes; 0 for an unknown link.
    fn bulk_room(&self, link: LinkId) -> usize;
}

/// Receives media packets on the task of the link that they arrived on. Implementations must return quickly,
/// must not block, and must not wait for another link. They may submit commands.
pub trait PacketSink: Send + Sync {
    /// Handles a packet that arrived in a slot. Packets are delivered in the order of arrival: a repaired
    /// packet arrives late, and no packet is delivered twice. `arrived_us` counts from
    /// [`LinksConfig::epoch`](crate::LinksConfig::epoch), in microseconds.
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, arrived_us: u64);

    /// Handles a packet of a browser. Otherwise as [`PacketSink::packet`].
    fn browser_packet(&self, link: LinkId, slot: u8, packet: BrowserPacket, arrived_us: u64) {
        let _ = (link, slot, packet, arrived_us);
    }

    /// Handles a keyframe request: the other end cannot decode the stream that this end sends in that slot.
    fn keyframe_wanted(&self, link: LinkId, slot: u8);

    /// Handles an RTCP sender report: the clock of the stream that the other end sends in that slot. No relay forwards
    /// one: towards a browser each native makes its own.
    fn sender_report(&self, link: LinkId, slot: u8, report: SenderReport) {
        let _ = (link, slot, report);
    }
}

/// The pair of clocks in an RTCP sender report (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Wall clock of the sender, in 32.32 bit fixed point.
    pub ntp_time: u64,
    /// RTP timestamp of the same instant.
    pub rtp_time: u32,
}

/// Returns the maximum number of bytes that are queued for a channel at this end before the transport takes them.
/// Beyond it the link goes down; a heartbeat is dropped instead.
pub(crate) const fn queue_bytes_max(channel: Channel) -> usize {
    match channel {
        Channel::Control | Channel::Bulk => 1 << 20,
        Channel::Heartbeat => 16 << 10,
    }
}

/// Maximum number of bytes of messages that wait to be forwarded on a link. A guess: the largest envelope, twice.
pub const CARRIED_BYTES_MAX: usize = 256 << 10;

/// Commands that a peer submits to its links.
#[derive(Clone, Debug)]
pub enum Command {
    /// Opens a link as the offering end; [`Event::Described`] returns the offer.
    Offer {
        /// Identifier of the new link.
        link: LinkId,
        /// Kind of link, which determines its slots.
        kind: LinkKind,
        /// A stranger requested the offer: the link shares few connectivity checks with those of other strangers.
        is_stranger: bool,
    },
    /// Opens a link as the answering end; [`Event::Described`] returns the answer.
    Answer {
        /// Identifier of the new link.
        link: LinkId,
        /// Kind of link, as in the offer.
        kind: LinkKind,
        /// Description of the other end.
        offer: Description,
        /// The other end is a stranger: its link shares few connectivity checks with those of other strangers.
        is_stranger: bool,
    },
    /// Applies the answer of the other end to an offer of this end.
    Accept {
        /// The link that was offered.
        link: LinkId,
        /// Description of the other end.
        answer: Description,
    },
    /// Checks further candidates of the other end, while the link has no path.
    Paths {
        /// The link.
        link: LinkId,
        /// User fragment of the other end's description, to which they belong.
        ufrag: Text<32>,
        /// The candidates.
        candidates: FurtherCandidates,
    },
    /// Sends a packet in a slot of each destination link. A link that is not connected, or has a full queue,
    /// drops the packet; the other links are not affected.
    Forward {
        /// Links and slots.
        to: Destinations,
        /// The packet to send.
        packet: MediaPacket,
    },
    /// Requests a keyframe of the stream that the other end sends in that slot (RTCP PLI).
    KeyframeWanted {
        /// The link that carries the stream.
        link: LinkId,
        /// The slot of the stream.
        slot: u8,
    },
    /// Sends a sender report for the stream in each destination slot. Only the newest report per slot is
    /// kept.
    SenderReport {
        /// Links and slots.
        to: Destinations,
        /// The two clocks.
        report: SenderReport,
    },
    /// Sends a message. A message longer than [`Channel::message_len_max`], or one that exceeds
    /// the queue of its channel (1 MiB; 16 KiB of heartbeats), ends the link; such a heartbeat is dropped.
    Send {
        /// The link.
        link: LinkId,
        /// The channel.
        channel: Channel,
        /// The message.
        bytes: Bytes,
    },
    /// Sends the pieces of one control message that this peer forwards for another one. It waits until no other control
    /// message does, and is dropped when more than [`CARRIED_BYTES_MAX`] wait: no other peer's traffic ends the link.
    Carry {
        /// The link.
        link: LinkId,
        /// The pieces.
        pieces: Vec<Bytes>,
    },
    /// Reads no message of the link for this time. Through the flow control of the channels the other end waits.
    Pause {
        /// The link.
        link: LinkId,
        /// Time from now on.
        duration: Duration,
    },
    /// Sends a packet train, by which the other end measures bandwidth. A link sends one train at a time and
    /// must be connected; otherwise the result is [`Event::TrainRefused`]. The train is cut to
    /// [`TRAIN_BYTES_MAX`](crate::TRAIN_BYTES_MAX) and
    /// [`TRAIN_DURATION_US_MAX`](crate::TRAIN_DURATION_US_MAX).
    Train {
        /// The link.
        link: LinkId,
        /// Number of the train, chosen by the other end.
        train: u32,
        /// Total payload bytes.
        bytes: u32,
        /// Payload bits per second; 0 sends at full speed.
        rate_bps: u64,
    },
    /// The other end of a link that is connected restarts ICE ([`Event::IceRestart`]).
    IceRestart {
        /// The link.
        link: LinkId,
        /// What it has told.
        restart: Box<IceRestart>,
    },
    /// Carries links of others, or lets a link go through a tunnel, while it has no path.
    Tunnel(TunnelCommand<LinkId, LinkId>),
    /// Closes a link. Control messages that were queued before are sent first, for at most half a second.
    Close {
        /// The link.
        link: LinkId,
    },
}

/// Events of a peer's links, in order for each link.
#[derive(Clone, Debug)]
pub enum Event {
    /// The description of this end of a new link, to be sent to the other end.
    Described {
        /// The link.
        link: LinkId,
        /// Description of this end.
        description: Description,
    },
    /// Further candidates of this end, to be sent to the other end: STUN servers
    /// ([`Links::set_stun`](crate::Links::set_stun)) have answered, or a TURN server
    /// ([`Links::set_turn`](crate::Links::set_turn)) has allocated a relay.
    PathsFound {
        /// The link.
        link: LinkId,
        /// The candidates.
        candidates: FurtherCandidates,
    },
    /// A link has found no path for half a second. The other end is a native peer, which others may carry it to
    /// ([`Command::Tunnel`]).
    PathWanted {
        /// The link.
        link: LinkId,
    },
    /// Whether the link goes through a tunnel: if so ahead of [`Event::Connected`], and after an ICE restart.
    Carried {
        /// The link.
        link: LinkId,
        /// Whether it does.
        is_carried: bool,
    },
    /// This end of an ICE restart of the link, to be sent to the other end, past the link: it may be dead. Sent again
    /// until the other end has answered. The receiver of the event sets the link kind.
    IceRestart {
        /// The link.
        link: LinkId,
        /// What the other end is told.
        restart: Box<IceRestart>,
    },
    /// All three channels are open at both ends, which have the certificates of their descriptions.
    Connected {
        /// The link.
        link: LinkId,
        /// Fingerprints of the certificates.
        fingerprints: Fingerprints,
    },
    /// A message arrived.
    Received {
        /// The link.
        link: LinkId,
        /// The channel.
        channel: Channel,
        /// The message.
        bytes: Bytes,
    },
    /// At least half of the bulk queue is free again after it was more than half full.
    BulkDrained {
        /// The link.
        link: LinkId,
    },
    /// A packet train from the other end is complete.
    Measured {
        /// The link.
        link: LinkId,
        /// Number under which this end requested the train.
        train: u32,
        /// Arrival times of its packets.
        arrivals: TrainArrivals,
    },
    /// A train was requested while this end is still sending another train, or before the link was connected.
    TrainRefused {
        /// The link.
        link: LinkId,
        /// Number of the refused train.
        train: u32,
    },
    /// Packets were dropped because the queue of the link was full: in a video slot all packets up to the
    /// next keyframe, in a sound slot the oldest. At most one event per slot each 100 ms.
    Dropped {
        /// The link.
        link: LinkId,
        /// The slot.
        slot: u8,
        /// Packets dropped since the last event.
        packets: u32,
    },
    /// The link has ended. Sent exactly once for each link that was opened, as its last event.
    Down {
        /// The link.
        link: LinkId,
        /// Reason for the end.
        reason: DownReason,
    },
}

/// Reason for the end of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// [`Command::Close`] was submitted, or all links were closed.
    #[error("closed at this end")]
    Closed,
    /// The other end closed the link.
    #[error("closed by the other end")]
    ClosedByPeer,
    /// Nothing was received for 5 s, no path to the other end was found in that time, or set-up was not
    /// complete after 8 s, for example because the certificate of the other end does not match its
    /// description.
    #[error("the other end was not heard of for 5 s")]
    Lost,
    /// All ports of [`LinksConfig::udp_ports`](crate::LinksConfig::udp_ports) are taken.
    #[error("no UDP port is free")]
    NoPort,
    /// No socket could be opened at any address of this machine; the system's error.
    #[error("no UDP socket could be opened: {0}")]
    NoSocket(String),
    /// This machine no longer has the address that the link went by.
    #[error("this machine's address has changed")]
    AddressGone,
    /// There are [`LinksConfig::links_max`](crate::LinksConfig::links_max) links already.
    #[error("too many links")]
    TooMany,
    /// The description of the other end is unusable.
    #[error("the description cannot be used: {0}")]
    Description(#[from] DescriptionError),
    /// The queue of a channel overflowed: the other end receives too slowly.
    #[error("the {0:?} queue ran over")]
    Overflow(Channel),
    /// A message of either end exceeds the maximum length of its channel.
    #[error("a message was too long for {0:?}")]
    MessageTooLong(Channel),
    /// The other end has sent what no honest end sends; its peer is at fault.
    #[error("the other end has sent what no honest one sends: {0}")]
    Hostile(&'static str),
    /// The link's task has panicked: a fault of this program or of the stack, which the other end may have provoked.
    #[error("the link's task has panicked")]
    Panicked,
    /// The WebRTC stack failed with an error that has no variant here.
    #[error("the stack failed: {0}")]
    Stack(String),
}

impl Event {
    /// Returns the link of the event.
    pub fn link(&self) -> LinkId {
        match self {
            Event::Described { link, .. }
            | Event::PathsFound { link, .. }
            | Event::PathWanted { link }
            | Event::Carried { link, .. }
            | Event::IceRestart { link, .. }
            | Event::Connected { link, .. }
            | Event::Received { link, .. }
            | Event::BulkDrained { link }
            | Event::Measured { link, .. }
            | Event::TrainRefused { link, .. }
            | Event::Dropped { link, .. }
            | Event::Down { link, .. } => *link,
        }
    }
}
