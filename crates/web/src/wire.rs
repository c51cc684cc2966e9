//! Calls and asks as bytes: postcard, which `web/src/wire.ts` writes and reads as well. Golden vectors in
//! `web/golden/wire.json` hold both to one format.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Calls of the page's worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Joins a room; the first call.
    Open(Box<Opening>),
    /// Timer: the worker calls it at the due time, and every 25 ms.
    Tick,
    /// The websocket of the last [`Ask::Dial`] is open.
    SocketOpened,
    /// A binary message arrived on it.
    SocketFrame(Vec<u8>),
    /// The websocket has closed, or the attempt failed.
    SocketClosed,
    /// A link's connection has its local SDP: with all candidates when the link is made, or for an ICE restart.
    Described {
        /// The link.
        link: u64,
        /// The SDP.
        sdp: String,
    },
    /// A link is connected, and its control channel open.
    LinkUp(u64),
    /// A link's connection has failed or closed.
    LinkDown(u64),
    /// A message arrived on a data channel.
    Received {
        /// The link.
        link: u64,
        /// Id of the channel.
        channel: u8,
        /// The message.
        bytes: Vec<u8>,
    },
    /// An encoded frame arrived, whole.
    Frame {
        /// The link.
        link: u64,
        /// Slot of the receiver.
        slot: u8,
        /// RFC 6464 level of sound.
        level: Option<u8>,
        /// Contributing sources of mixed sound.
        csrcs: Vec<u32>,
        /// H.264 access unit in Annex B form, or Opus packet.
        #[serde(with = "as_bytes")]
        data: Bytes,
    },
    /// A command of the application, as JSON ([`Command`](plenary_proto::Command)).
    Command(String),
    /// A snapshot is wanted.
    Snapshot,
    /// The other end requests a keyframe of what this page sends in a slot.
    KeyframeWanted {
        /// The link.
        link: u64,
        /// The slot.
        slot: u8,
    },
    /// Counters of a link, once a second.
    Stats {
        /// The link.
        link: u64,
        /// Its counters.
        counts: Counts,
    },
    /// The browser has encoded a frame of this peer's own stream for a link. The answer is [`Ask::OwnFrame`], unless
    /// the frame isn't to be sent.
    OwnFrame {
        /// The link.
        link: u64,
        /// Capture time, in microseconds.
        captured_us: u64,
        /// What it is.
        media: OwnMedia,
        /// H.264 access unit in Annex B form, or Opus packet.
        #[serde(with = "as_bytes")]
        data: Bytes,
    },
    /// What the page publishes has changed.
    Sources {
        /// Whether there is a picture.
        picture: bool,
        /// Whether there is sound.
        sound: bool,
        /// A screen or film in place of a camera.
        shares: bool,
    },
    /// A line that the user has typed: a command ([`line`](plenary_proto::app::line)).
    Line(String),
    /// The browser has found further candidates of this end, after its description.
    Found {
        /// The link.
        link: u64,
        /// Candidates of RFC 8839, without the leading `a=`.
        candidates: Vec<String>,
    },
    /// The browser tells that its network has changed.
    NetworkChanged,
}

/// What a frame of the page's own stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnMedia {
    /// A picture.
    Picture {
        /// Whether it is a keyframe.
        key: bool,
    },
    /// Sound.
    Sound {
        /// RFC 6464 level, if known.
        level: Option<u8>,
    },
}

/// Counters of a link since its start, as the browser has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Media packets sent, without repairs.
    pub packets_sent: u64,
    /// Media packets sent again.
    pub repairs_sent: u64,
    /// Media packets received.
    pub packets_received: u64,
    /// Round-trip time, in microseconds.
    pub rtt_us: Option<u64>,
    /// Mean wait of the last second's packets in the browser's queue, in microseconds.
    pub queue_us: u64,
    /// Whether the link goes over a relay (TURN).
    pub is_relayed: bool,
    /// Kind of this end's address in the pair that ICE has selected.
    pub own_candidate: OwnCandidate,
}

/// Kind of a local ICE candidate (RFC 8445, 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnCandidate {
    /// No pair is selected yet.
    #[default]
    Unknown,
    /// The browser's own address.
    Host,
    /// The address that a STUN server has seen.
    Reflexive,
    /// An address that only the other end has seen.
    PeerReflexive,
    /// A TURN server's.
    Relayed,
}

/// How to enter a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The room.
    pub room: Entered,
    /// Password of the room; `None` for a room without one.
    pub password: Option<String>,
    /// Name shown under the picture.
    pub name: String,
    /// Whether to join as a speaker.
    pub speaks: bool,
    /// Whether to watch the program.
    pub views: bool,
    /// Maximum number of peers that the page feeds; 0 for none.
    pub children_max: u8,
    /// Secret key of this peer, 32 random bytes that a reload keeps.
    pub identity: [u8; 32],
    /// Random bytes, new for each call.
    pub entropy: [u8; 32],
}

/// The room that a page enters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entered {
    /// The room of an invite.
    Invited(String),
    /// A room that the page opens, as its host.
    Opened(Hosting),
}

/// A room that a page opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosting {
    /// Address of its rendezvous: `https://HOST[:PORT]` or `http://HOST[:PORT]`.
    pub rendezvous: String,
    /// Address of the page that the invite leads to; `None` for that of the rendezvous.
    pub page: Option<String>,
    /// Keys from the last [`Ask::Keys`], to go on with a room after the page was loaded anew; empty for a new room.
    pub keys: Vec<u8>,
    /// Title of the room; empty for none.
    pub title: String,
    /// Whether each newcomer waits until the host lets it in.
    pub lobby: bool,
    /// Whether every peer that asks may speak.
    pub stage_open: bool,
    /// Whether only the host and peers that it named may mix, or any that consents; `None`: the former on a closed
    /// stage.
    pub mix_by_named: Option<bool>,
}

/// Requests to the page's worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Opens a websocket at this address.
    Dial(String),
    /// Closes the websocket, of which nothing counts any more.
    HangUp,
    /// Sends a binary message on the websocket.
    Transmit(#[serde(with = "as_bytes")] Bytes),
    /// Makes a connection that offers, and calls [`Call::Described`].
    Offer(u64),
    /// Makes a connection that answers this SDP, and calls [`Call::Described`].
    Answer {
        /// The link.
        link: u64,
        /// SDP of the other end.
        sdp: String,
    },
    /// Completes a connection with the answer to its offer.
    Accept {
        /// The link.
        link: u64,
        /// SDP of the other end.
        sdp: String,
    },
    /// Closes a connection.
    Close(u64),
    /// Sends a message on a data channel.
    Send {
        /// The link.
        link: u64,
        /// Id of the channel.
        channel: u8,
        /// The message.
        #[serde(with = "as_bytes")]
        bytes: Bytes,
    },
    /// Requests a keyframe of what arrives in a slot.
    KeyframeWanted {
        /// The link.
        link: u64,
        /// The slot.
        slot: u8,
    },
    /// Shows these pictures and plays their sounds: the program's, or those of a mesh's speakers.
    Show(Vec<Shown>),
    /// Tells the application an event ([`Event`](plenary_proto::Event)), and what stands beside it, both as JSON.
    Event {
        /// The event.
        event: String,
        /// Names, and a number of others.
        aside: String,
    },
    /// Answers [`Call::Snapshot`], as JSON.
    Snapshot {
        /// [`Snapshot`](plenary_proto::app::Snapshot).
        room: String,
        /// [`PageSnapshot`](plenary_proto::app::page::PageSnapshot).
        page: String,
    },
    /// Sends a whole frame in a slot.
    Frame {
        /// The link.
        link: u64,
        /// The slot.
        slot: u8,
        /// Time that the frame's timestamp stands for, in microseconds.
        at_us: u64,
        /// H.264 access unit in Annex B form, or Opus packet.
        #[serde(with = "as_bytes")]
        data: Bytes,
    },
    /// Answers [`Call::OwnFrame`]: the frame's bytes, with its identity.
    OwnFrame(#[serde(with = "as_bytes")] Bytes),
    /// Sends the page's own stream on these links, and on no other.
    SendOwn(Vec<u64>),
    /// Makes pictures in this format.
    Picture {
        /// Width in pixels.
        width: u16,
        /// Height in pixels.
        height: u16,
        /// Pictures per second.
        fps: u8,
        /// Bit rate, bits per second.
        bitrate_bps: u32,
    },
    /// Makes the next picture a keyframe.
    OwnKeyframe,
    /// The keys of a room that this page has opened, after each change: they are kept for [`Hosting::keys`].
    Keys(#[serde(with = "as_bytes")] Bytes),
    /// Answers [`Call::Frame`]: the browser may decode the frame. Without it the frame is dropped.
    Decode,
    /// Last piece on the control channel of each link. The window sends it when the page closes, without the worker.
    Farewell(#[serde(with = "as_bytes")] Bytes),
    /// Checks further candidates of the other end of a connection that is being made.
    Paths {
        /// The link.
        link: u64,
        /// Candidates of RFC 8839, without the leading `a=`.
        candidates: Vec<String>,
    },
    /// A TURN server for links that are made from now on.
    Turn {
        /// URLs of RFC 7065.
        urls: Vec<String>,
        /// Username.
        username: String,
        /// Password.
        password: String,
    },
    /// Restarts ICE on a connection, which offers or answers, and calls [`Call::Described`].
    Restart {
        /// The link.
        link: u64,
        /// SDP of the other end, if that restarts and this end answers.
        offer: Option<String>,
    },
}

/// A picture to show, with its sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Id of the speaker; `None` for the program.
    pub speaker: Option<[u8; 32]>,
    /// Link and slot of the picture.
    pub picture: (u64, u8),
    /// Link and slot of the sound.
    pub sound: (u64, u8),
}

/// Bytes as serde writes a slice, without copying them one by one.
mod as_bytes {
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Ok(Bytes::from(Vec::<u8>::deserialize(deserializer)?))
    }
}
