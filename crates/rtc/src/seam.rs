//! What crosses the seam: commands in, events and packets out. Nothing here names the stack behind it.
//!
//! Whoever drives a peer submits [`Command`]s, which never block, and reads [`Event`]s in order. Media takes
//! a shorter way: each packet is handed to the [`PacketSink`] on the task that read it from the socket, so
//! that a relay can submit its fan-out right there.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::message::{Description, LinkKind};
use smallvec::SmallVec;

use crate::template::DescriptionError;
use crate::train::TrainArrivals;

/// Carries out commands; whatever stands behind it, nothing blocks.
pub trait LinkDriver: Send + Sync {
    /// Takes a command. Commands for a link that is not (or no longer) known are dropped: its
    /// [`Event::Down`] is on the way or was read already.
    fn submit(&self, command: Command);

    /// Bytes that the bulk channel of a link takes at present; 0 when the link is not known.
    fn bulk_room(&self, link: LinkId) -> usize;
}

/// Takes media as it arrives, on the task of the link it came by: return quickly, never block, never wait for
/// another link. Submitting commands from here is what it is for.
pub trait PacketSink: Send + Sync {
    /// A packet that arrived in a slot. Packets come in the order of their arrival: a repaired one comes
    /// late, none comes twice. `arrived_us` counts from [`LinksConfig::epoch`](crate::LinksConfig::epoch).
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, arrived_us: u64);

    /// The other end cannot go on without a key frame in what this end sends in that slot.
    fn keyframe_wanted(&self, link: LinkId, slot: u8);

    /// The other end's clock for what it sends in that slot; relays forward it as it is.
    fn sender_report(&self, link: LinkId, slot: u8, report: SenderReport) {
        let _ = (link, slot, report);
    }
}

/// A link, as its owner numbers it; never used again within the life of a [`Links`](crate::Links).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Where a packet goes: a few links, and the slot on each.
pub type Destinations = SmallVec<[(LinkId, u8); 8]>;

/// One media packet, without the sequence number, SSRC and payload type that each leg makes anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    /// Which packet of which stream.
    pub identity: PacketIdentity,
    /// RTP timestamp: 90 kHz for video, 48 kHz for sound.
    pub timestamp: u32,
    /// RTP marker: the last packet of a video frame.
    pub marker: bool,
    /// It begins a key frame (its parameter sets): a leg that dropped packets resumes here. Not on sound.
    pub key_start: bool,
    /// RFC 6464 level of sound, 0 (loudest) to 127 dB below full scale. Ignored on video.
    pub audio_level: Option<u8>,
    /// Whose voices are in mixed sound. Ignored on video, and past [`CONTRIBUTORS_MAX`].
    pub contributors: Contributors,
    /// The RTP payload; past [`PAYLOAD_LEN_MAX`] bytes the packet is dropped.
    pub payload: Bytes,
}

/// A voice in mixed sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contributor {
    /// Whose: its CSRC (RFC 3550, 5.1).
    pub csrc: u32,
    /// RFC 6465 level, 0 (loudest) to 127 dB below full scale; 127 also when the packet doesn't say.
    pub level: u8,
}

/// The voices in one packet.
pub type Contributors = SmallVec<[Contributor; 5]>;

/// Most contributors of one packet (RFC 3550, 5.1).
pub const CONTRIBUTORS_MAX: usize = 15;

/// Most bytes of an RTP payload. With RTP, our extensions, SRTP, UDP and IPv6 it stays below an Ethernet
/// frame's 1500; browsers send at most 1200.
pub const PAYLOAD_LEN_MAX: usize = 1380;

/// An RTCP sender report's pair of clocks (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The maker's wall clock, 32.32 bits fixed point.
    pub ntp_time: u64,
    /// The RTP timestamp of the same instant.
    pub rtp_time: u32,
}

/// The three data channels of a link (docs/PROTOCOL.md, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Reliable and ordered.
    Control,
    /// Unordered, sent once; dropped rather than queued for long. Empty ones are not sent.
    Heartbeat,
    /// Reliable and ordered, for much data; ask [`LinkDriver::bulk_room`] first.
    Bulk,
}

impl Channel {
    /// All three, in the order of their stream ids.
    pub const ALL: [Channel; 3] = [Channel::Control, Channel::Heartbeat, Channel::Bulk];

    /// Most bytes of one message: 16 KiB on control, one datagram's worth on heartbeat, 64 KiB on bulk.
    pub const fn message_len_max(self) -> usize {
        match self {
            Channel::Control => plenary_proto::message::PIECE_LEN_MAX,
            Channel::Heartbeat => 1_024,
            Channel::Bulk => 65_536,
        }
    }

    /// Most bytes queued at this end before the transport takes them; beyond it the link goes down, or a heartbeat
    /// is dropped.
    pub const fn queue_bytes_max(self) -> usize {
        match self {
            Channel::Control => 1 << 20,
            Channel::Heartbeat => 16 << 10,
            Channel::Bulk => 1 << 20,
        }
    }
}

/// What a peer asks of its links.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open a link by an offer; [`Event::Described`] brings it.
    Offer {
        /// The new link.
        link: LinkId,
        /// What it is for; fixes its slots.
        kind: LinkKind,
    },
    /// Open a link by answering the offer of the other end; [`Event::Described`] brings the answer.
    Answer {
        /// The new link.
        link: LinkId,
        /// What it is for, as the offer said.
        kind: LinkKind,
        /// The other end.
        offer: Description,
    },
    /// The other end's answer to an offer made here.
    Accept {
        /// The link that was offered.
        link: LinkId,
        /// The other end.
        answer: Description,
    },
    /// Send a packet in a slot of each of these links. Where a link is not connected, or behind, it is
    /// dropped for that link alone.
    Forward {
        /// Links and slots.
        to: Destinations,
        /// What to send.
        packet: MediaPacket,
    },
    /// Ask the other end for a key frame in what it sends in that slot (RTCP PLI).
    KeyframeWanted {
        /// The link it comes by.
        link: LinkId,
        /// The slot it comes in.
        slot: u8,
    },
    /// Tell the other ends the clock of what is sent in those slots; only the newest one per slot is kept.
    SenderReport {
        /// Links and slots.
        to: Destinations,
        /// The two clocks.
        report: SenderReport,
    },
    /// Send a message; longer than [`Channel::message_len_max`] or past [`Channel::queue_bytes_max`], the
    /// link goes down (a heartbeat is dropped).
    Send {
        /// The link.
        link: LinkId,
        /// The channel.
        channel: Channel,
        /// The message.
        bytes: Bytes,
    },
    /// Send a train of packets without meaning, for the other end to measure. One at a time, on a link that
    /// is connected: [`Event::TrainRefused`] otherwise. Cut to [`TRAIN_BYTES_MAX`](crate::TRAIN_BYTES_MAX)
    /// and [`TRAIN_DURATION_US_MAX`](crate::TRAIN_DURATION_US_MAX).
    Train {
        /// The link.
        link: LinkId,
        /// The other end's number for it.
        train: u32,
        /// Payload bytes altogether.
        bytes: u32,
        /// Payload bits per second; 0 for as fast as it goes.
        rate_bps: u64,
    },
    /// Close a link. What was sent on control before goes out first, for at most half a second.
    Close {
        /// The link.
        link: LinkId,
    },
}

/// What a peer's links tell it, in order for each link.
#[derive(Clone, Debug)]
pub enum Event {
    /// This end of a new link, to be handed to the other one.
    Described {
        /// The link.
        link: LinkId,
        /// This end.
        description: Description,
    },
    /// Both ends have proved who they are, and all three channels are open at both.
    Connected {
        /// The link.
        link: LinkId,
    },
    /// A message came.
    Received {
        /// The link.
        link: LinkId,
        /// The channel.
        channel: Channel,
        /// The message.
        bytes: Bytes,
    },
    /// The bulk channel has more than half of its queue free again, after it had not.
    BulkDrained {
        /// The link.
        link: LinkId,
    },
    /// A train from the other end is over.
    Measured {
        /// The link.
        link: LinkId,
        /// The number under which it was asked for.
        train: u32,
        /// When its packets came.
        arrivals: TrainArrivals,
    },
    /// A train was asked for while another one is under way here, or before the link was connected.
    TrainRefused {
        /// The link.
        link: LinkId,
        /// The number of the refused one.
        train: u32,
    },
    /// Packets were dropped because the link was behind: up to the next key frame in a video slot, the oldest
    /// in a sound slot. At most one event per slot each 100 ms.
    Dropped {
        /// The link.
        link: LinkId,
        /// The slot.
        slot: u8,
        /// How many since the last event.
        packets: u32,
    },
    /// The link is over; exactly once for each link ever opened, and last.
    Down {
        /// The link.
        link: LinkId,
        /// Why.
        reason: DownReason,
    },
}

/// Why a link is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// [`Command::Close`], or all links were closed.
    #[error("closed at this end")]
    Closed,
    /// The other end closed it.
    #[error("closed by the other end")]
    ClosedByPeer,
    /// Nothing came for 5 s, no way to the other end was found in that time, or it was not who it was
    /// described as.
    #[error("the other end was not heard of for 5 s")]
    Lost,
    /// All ports of [`LinksConfig::udp_ports`](crate::LinksConfig::udp_ports) are taken.
    #[error("no UDP port is free")]
    NoPort,
    /// There are [`LinksConfig::links_max`](crate::LinksConfig::links_max) links already.
    #[error("too many links")]
    TooMany,
    /// The other end's description cannot be used.
    #[error("the description cannot be used: {0}")]
    Description(#[from] DescriptionError),
    /// A channel's queue ran over: the other end does not keep up.
    #[error("the {0:?} queue ran over")]
    Overflow(Channel),
    /// A message, of either end, was longer than its channel carries.
    #[error("a message was too long for {0:?}")]
    MessageTooLong(Channel),
    /// The WebRTC stack failed in a way that has no name here.
    #[error("the stack failed: {0}")]
    Stack(String),
}

/// Counters of one link since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// UDP payload sent: media, repairs, channels, checks and trains.
    pub udp_bytes_sent: u64,
    /// UDP payload received.
    pub udp_bytes_received: u64,
    /// Media packets sent, repairs not counted.
    pub packets_sent: u64,
    /// Media packets received, repaired ones included.
    pub packets_received: u64,
    /// Media packets that this end missed and asked for again.
    pub repairs_requested: u64,
    /// Media packets that the other end missed and were sent again.
    pub repairs_sent: u64,
    /// Media packets dropped at this end, because the link was behind or not connected.
    pub packets_dropped: u64,
    /// Round trip of the newest connectivity check, microseconds; checks go out each second.
    pub rtt_us: Option<u64>,
    /// Where the answer to it came from.
    pub remote: Option<IpAddr>,
}
