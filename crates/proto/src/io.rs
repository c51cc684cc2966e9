//! Inputs and outputs of the brain: the interface between the state machine and the body that drives it.

use std::net::IpAddr;

use serde::Serialize;

use crate::app::{Command, Event};
use crate::bounded::List;
use crate::id::{InForce, PeerId, Rank, ShortId, StreamId, StreamKind, StreamSpec};
use crate::message::{
    Answer, CodecSource, Description, FurtherCandidates, GenerationKey, IceRestart, LinkKind, MediaSeen,
    Message, Muted, Offer, Paths, RELAY_HOPS_MAX, Rates, Resume, Sharing, StreamUse, VideoRequest,
};
use crate::seal::Verified;

/// Transport by which a message arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// On the link with its sender.
    Link,
    /// In an envelope, through a rendezvous.
    Signal,
    /// In an envelope that linked peers forwarded; the list names the forwarding peers in order.
    Mesh(List<ShortId, RELAY_HOPS_MAX>),
}

/// A watchdog's verdict on a watched peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// The peer is alive: something arrived from it.
    Ok,
    /// The peer has been silent on every channel for the timeout of its watch.
    Silent,
    /// The parent's feed lags behind the backup's head, for some time or while the parent is silent too. Or the
    /// parent's newest picture breaks the size bound. Of a watched mixer: silent for half of the timeout.
    Behind,
    /// The parent is alive, but has sent no newer frame for 600 ms.
    Stalled,
}

/// Where speakers' sound goes apart from the mix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VoiceRoutes {
    /// The speakers: all that are present and don't refuse to be shown alone; in a mesh these, too.
    pub of: Vec<PeerId>,
    /// At a mixer: agents that get this sound, in slot 5 of each peer link.
    pub to: Vec<PeerId>,
    /// Whether this peer's own application gets them.
    pub here: bool,
}

/// Result of a request for each speaker's sound apart. The request stays in force in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum VoicesState {
    /// The sound arrives from now on.
    Coming,
    /// No mixer forwards it at present.
    Unavailable,
    /// The host hasn't marked this peer as an agent, or has taken the mark back.
    NotAgent,
}

/// What a peer's links do about tunnels. `Link` names a link that is carried, `Carrier` one by which its datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TunnelCommand<Link, Carrier> {
    /// Passes what arrives in this channel of one link on to the other.
    Carry {
        /// Number of the tunnel.
        channel: u16,
        /// The two links.
        between: [Carrier; 2],
    },
    /// Carries that tunnel no more.
    Uncarry {
        /// Number of the tunnel.
        channel: u16,
    },
    /// The link may go through a tunnel.
    Open {
        /// The link.
        link: Link,
        /// The link with the carrier.
        carrier: Carrier,
        /// Number of the tunnel there.
        channel: u16,
    },
    /// The link goes through that tunnel no more.
    Shut {
        /// The link.
        link: Link,
        /// The link with the carrier.
        carrier: Carrier,
    },
    /// The link may go by the rendezvous.
    OpenByRendezvous {
        /// The link.
        link: Link,
        /// Its other end.
        peer: PeerId,
    },
}

impl<Link, Carrier> TunnelCommand<Link, Carrier> {
    /// Translates the names of links; `None` if a link has no name of the new kind.
    pub fn renamed<L, C>(
        self,
        link_of: impl Fn(Link) -> Option<L>,
        carrier_of: impl Fn(Carrier) -> Option<C>,
    ) -> Option<TunnelCommand<L, C>> {
        Some(match self {
            TunnelCommand::Carry { channel, between: [one, other] } => {
                TunnelCommand::Carry { channel, between: [carrier_of(one)?, carrier_of(other)?] }
            }
            TunnelCommand::Uncarry { channel } => TunnelCommand::Uncarry { channel },
            TunnelCommand::Open { link, carrier, channel } => {
                TunnelCommand::Open { link: link_of(link)?, carrier: carrier_of(carrier)?, channel }
            }
            TunnelCommand::Shut { link, carrier } => {
                TunnelCommand::Shut { link: link_of(link)?, carrier: carrier_of(carrier)? }
            }
            TunnelCommand::OpenByRendezvous { link, peer } => {
                TunnelCommand::OpenByRendezvous { link: link_of(link)?, peer }
            }
        })
    }
}

/// Input to the brain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The time returned by [`next_timeout`](crate::RoomState::next_timeout) has been reached.
    Timeout,
    /// The rendezvous became available, or unavailable.
    SignalUp(bool),
    /// The rendezvous takes one envelope for the host ahead of its welcome.
    SignalOpens,
    /// The room's time, by which statements are signed and judged, moves against this peer's clock: the rendezvous has
    /// told it.
    RoomTime {
        /// Seconds by which it is later than was known; negative when it is earlier.
        later_s: i64,
    },
    /// A message with verified signatures.
    Message {
        /// Author of the message: the link's other end, or the envelope's signer.
        from: PeerId,
        /// Transport by which it arrived.
        via: Via,
        /// The message.
        message: Verified<Message>,
    },
    /// A request to join under the key of an invite that has been replaced: it counts for members only.
    OldInvite {
        /// Author of the message.
        from: PeerId,
        /// Transport by which it arrived.
        via: Via,
        /// The request, with verified signatures.
        message: Verified<Message>,
    },
    /// The rendezvous does not know that peer; `None`: it knows no host.
    Undeliverable(Option<PeerId>),
    /// Parameters of this end of a link, as requested by [`Output::Offer`] or [`Output::Answer`].
    Described {
        /// Other end of the link.
        peer: PeerId,
        /// Kind of the link.
        kind: LinkKind,
        /// Parameters of this end.
        description: Description,
    },
    /// Further candidates of this end of a link, found after its parameters.
    PathsFound {
        /// Other end of the link.
        peer: PeerId,
        /// Kind of the link.
        kind: LinkKind,
        /// The candidates.
        candidates: FurtherCandidates,
    },
    /// A link that is being made has found no path yet: the other end is a native peer, which others may carry it to.
    PathWanted(PeerId, LinkKind),
    /// Whether the rendezvous carries links that no peer carries; `false` without a connection to it.
    RendezvousCarries(bool),
    /// Whether a link goes through a tunnel. Comes ahead of [`Input::LinkUp`], and after an ICE restart.
    LinkCarried(PeerId, LinkKind, bool),
    /// This end of an ICE restart of a link that is up, for the other end.
    IceRestart(PeerId, Box<IceRestart>),
    /// A link is up: its channels are open at this end.
    LinkUp(PeerId, LinkKind),
    /// A link went down, or establishing it failed.
    LinkDown(PeerId, LinkKind),
    /// A watchdog's verdict changed.
    Verdict {
        /// The watched peer.
        peer: PeerId,
        /// The new verdict.
        verdict: Verdict,
    },
    /// A sign of life from a peer that the brain has not heard of for long. Sent at most once a second.
    Heard(PeerId),
    /// The first packets of the program arrived from a peer that was requested to feed this peer.
    Fed(PeerId),
    /// A packet train ended.
    Measured {
        /// Sender of the train.
        peer: PeerId,
        /// Number that this peer gave the train.
        train: u32,
        /// Bandwidth from the dispersion of the train's second half, bits per second; `None` when too few
        /// packets arrived.
        bandwidth_bps: Option<u64>,
        /// RTT of the link, microseconds; 0 when unknown.
        rtt_us: u32,
        /// Stalls of the peer, as counted by [`Pauses`](crate::pauses::Pauses): delayed answers per million.
        paused_ppm: u32,
        /// Media that arrived from the peer over the last 20 s; `None` unless it did throughout.
        media: Option<MediaSeen>,
        /// Observed address of the peer's end of the link; `None` when unknown, or when the link goes through
        /// a relay.
        address: Option<IpAddr>,
    },
    /// Answer to [`Output::TellRoundTrips`]: the shortest recent RTT of each linked peer, microseconds, as
    /// far as known. Peers on stage count, 64 at most.
    RoundTrips(Vec<(PeerId, u32)>),
    /// At a mixer: the bitrate of the program's picture that at least half of its links carry, in percent of what
    /// the room requests. To be sent on changes; 100 at the end of mixing.
    RatePercent(u8),
    /// Processor time that this machine's codecs take for one 1280×720 picture. To be sent when known, and when
    /// the times have changed by more than they vary.
    CodecTimes {
        /// Time to encode, microseconds.
        encode_us: u32,
        /// Time to decode, microseconds.
        decode_us: u32,
        /// How they were measured.
        source: CodecSource,
    },
    /// Number of degradations of the mix at this speaker since the last input of this kind: what
    /// [`Suffering`](crate::suffering::Suffering) counts, and changes of what limits its encoder's quality.
    /// To be sent at most once a second, and only when the number isn't 0; counts of several inputs are added
    /// up.
    Trouble(u16),
    /// This peer hears the program and hasn't seen a picture of it for a second
    /// ([`Suffering::is_pictureless`](crate::suffering::Suffering::is_pictureless)). To be sent about once a second
    /// while that lasts.
    Pictureless,
    /// The local mixer is overloaded: for a while it has produced fewer or smaller pictures than requested,
    /// not just plainer ones, for lack of processor time. To be sent about once a second while the overload
    /// lasts.
    Overloaded,
    /// All codecs of this peer have failed. It withdraws its consent
    /// for the rest of the session; a mixer in force has its standby succeed it at once.
    CannotMix,
    /// Whether this machine is short of processor time: its own timers have fired late for a while. To be sent
    /// on changes. Meanwhile this peer takes no further children, and moves none.
    Busy(bool),
    /// At a page, whose uplink no other peer measures: the number of children that its line carries, as far as it has
    /// been seen; `None` without a limit. To be sent on changes.
    UplinkCarries(Option<u8>),
    /// The warm-up before mixing is complete: every speaker has a picture, or won't have one soon.
    Warm,
    /// This peer's own program has begun: its first keyframe is out.
    Started(StreamSpec),
    /// A peer committed a violation that the body detects: bytes that are no message, or an invalid
    /// signature.
    Misbehaved(PeerId),
    /// A peer's process has restarted, as its letters show: links with the earlier process are closed.
    Restarted(PeerId),
    /// A peer has abused its links: it sent more than their budgets for longer than a burst, or what no honest end
    /// sends.
    LinkAbused(PeerId),
    /// A peer sent forged media, and didn't recall them.
    Forged(PeerId),
    /// A command of the application, which [`RoomState::check`](crate::RoomState::check) lets pass.
    Command(Command),
    /// What this peer sends, if it speaks: the room is told.
    Sends {
        /// What it doesn't send at present.
        muted: Muted,
        /// Whether it sends a screen or a film.
        shares: Sharing,
    },
    /// Host only: a new invite is in force, with this key.
    Renew(GenerationKey),
}

/// Destination of a message through the rendezvous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Address {
    /// The host, as the rendezvous knows it by the root key.
    Host,
    /// A peer.
    Peer(PeerId),
}

/// This peer's role in the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MixRole {
    /// No role.
    Rest,
    /// Warm standby: decodes the speakers, encodes nothing.
    Warm {
        /// Pass-through: the only speaker's frames are forwarded, so decoding isn't needed either.
        pass_through: bool,
    },
    /// Makes the program, in one stream as long as the role [`continues`](MixRole::continues).
    Mix {
        /// Rank of the mandate.
        rank: Rank,
        /// Pass-through: makes the program from the only speaker's frames without decoding them.
        pass_through: bool,
    },
}

impl MixRole {
    /// Whether a program stream begun under that rank continues in this role: it does while its maker mixes,
    /// unless its rank is higher than the mandate's, since then the mandate it was begun under was void.
    pub fn continues(&self, begun: Rank) -> bool {
        matches!(self, MixRole::Mix { rank, .. } if begun <= *rank)
    }
}

/// The peers with streams that count at this peer. A link alone gives no right to send: a child, a peer beside
/// this one, or a mixer replaced long ago may be linked too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Senders {
    /// Whether this peer makes the program itself, and takes nobody else's.
    pub makes_program: bool,
    /// Peers that were asked for the program: the parent, the peer to feed this one next, and for a moment
    /// the former parent.
    pub program: Vec<PeerId>,
    /// Mixers in force, and former ones that may still have to be replaced. Their own streams count.
    pub mixers: Vec<PeerId>,
    /// Peers that may forward speakers' streams.
    pub speakers: Vec<PeerId>,
}

impl Senders {
    /// Returns whether a stream of this kind counts when `from` sends it; `is_own`: `from` makes it.
    pub fn take(&self, from: &PeerId, kind: StreamKind, is_own: bool) -> bool {
        let is_mixers_own = || is_own && self.mixers.contains(from);
        match kind {
            StreamKind::Program => !self.makes_program && (self.program.contains(from) || is_mixers_own()),
            StreamKind::MixMinus => is_mixers_own(),
            StreamKind::Speaker | StreamKind::Share | StreamKind::Beside => {
                is_own || self.speakers.contains(from)
            }
        }
    }
}

/// Work for the body, to be done in order. Serializable, so that a simulator can compare the outputs of
/// brains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Output {
    /// Sends on the control channel of the link of kind [`LinkKind::Peer`].
    Control(PeerId, Message),
    /// Sends on the heartbeat channel of that link, where the message may be lost.
    Loose(PeerId, Message),
    /// Seals, and sends through the rendezvous.
    Signal(Address, Message),
    /// Proves to the rendezvous that this peer is the host. One that opens its room again is a member there before.
    Claim,
    /// Seals for `to`, and sends as [`RouteMessage::Relay`](crate::message::RouteMessage::Relay) on the link with
    /// `next`.
    Relay {
        /// First peer of the route.
        next: PeerId,
        /// Recipient.
        to: PeerId,
        /// All peers between, `next` included.
        route: List<ShortId, RELAY_HOPS_MAX>,
        /// The message to seal.
        message: Message,
    },
    /// Creates a link; the body answers with its parameters, [`Input::Described`].
    Offer {
        /// The peer to link with.
        peer: PeerId,
        /// Kind of the link.
        kind: LinkKind,
        /// Only the other end wants the link, a peer off stage and outside the subtree.
        is_stranger: bool,
    },
    /// Accepts an offered link; the body answers with its parameters, [`Input::Described`].
    Answer {
        /// The peer that offered.
        peer: PeerId,
        /// Its offer.
        offer: Offer,
        /// Only the other end wants the link, a peer off stage and outside the subtree.
        is_stranger: bool,
    },
    /// Completes a link with the other end's answer.
    Accept(PeerId, Answer),
    /// Checks further candidates of the other end of a link that is being made.
    Paths(PeerId, Paths),
    /// The other end of a link that is up restarts ICE.
    IceRestart(PeerId, Box<IceRestart>),
    /// Carries links for others, or goes through a carrier.
    Tunnel(TunnelCommand<(PeerId, LinkKind), PeerId>),
    /// Closes a link, and drops the streams on it.
    Close(PeerId, LinkKind),
    /// Watches the parent, and compares its feed with the backup's heads.
    Watch {
        /// The parent.
        parent: Option<PeerId>,
        /// The backup.
        backup: Option<PeerId>,
    },
    /// Watches these mixers, and no others, as their successor: the verdict is [`Verdict::Silent`] after
    /// max(350 ms, 4× p99 of the mixer's gaps), and [`Verdict::Behind`] after half of that.
    WatchMixers(Vec<PeerId>),
    /// Feeds a peer the program from now on.
    Serve {
        /// The peer to feed.
        peer: PeerId,
        /// The last packets that the peer holds; `None` to start with the cached GOP.
        from: Option<Resume>,
        /// Whether the feed includes audio; a speaker gets its mix-minus instead.
        sound: bool,
    },
    /// Sends a peer heads of the program twice a second, and on request.
    ServeHeads(PeerId),
    /// Checks a suspected child, since a peer below it lost the program: requests the child's head until
    /// something arrives from it. The verdict is [`Verdict::Silent`] when nothing does within
    /// [`suspect_us`](crate::watchdog::suspect_us).
    Suspect(PeerId),
    /// Stops feeding a peer, heads included.
    Unserve(PeerId),
    /// Accepts a stream from this peer in this slot; its spec is verified.
    Follow {
        /// Sender of the stream.
        peer: PeerId,
        /// Slot and spec.
        stream: StreamUse,
        /// Stream id, as computed from the spec.
        id: StreamId,
    },
    /// The peers with streams that count changed.
    Senders(Senders),
    /// The mandate in force changed.
    Mandate(InForce),
    /// Sends this peer's own video and audio to these peers, from the cache after the given position if there
    /// is one.
    SendOwn(Vec<(PeerId, Option<Resume>)>),
    /// Encodes this peer's own video in this format from now on.
    EncodeAs(VideoRequest),
    /// Sends the picture beside this peer's own, if it has one, to this home mixer, from the cache after the given
    /// position if there is one. `None`: there is no home, and the peer sends one picture at most.
    SendBeside(Option<(PeerId, Option<Resume>)>),
    /// Encodes the picture beside this peer's own in this format from now on.
    EncodeBesideAs(VideoRequest),
    /// Calls a speaker home: sends it [`MediaMessage::Home`](crate::message::MediaMessage::Home) with the size of its
    /// tile and the position in its stream.
    CallHome {
        /// The speaker.
        speaker: PeerId,
        /// Rank of the mandate.
        rank: Rank,
    },
    /// Requests the RTTs of all links. The body answers with [`Input::RoundTrips`] at once, even if none is
    /// known: the stage waits for the claim that contains them.
    TellRoundTrips,
    /// Answers a peer for how long a mixer has been silent:
    /// [`FailoverMessage::Heard`](crate::message::FailoverMessage::Heard).
    AnswerHeard {
        /// The peer that asked.
        to: PeerId,
        /// The mixer it asked about.
        mixer: PeerId,
    },
    /// Answers a peer with this peer's bit rates: [`ProbeMessage::Rates`](crate::message::ProbeMessage::Rates).
    AnswerRates {
        /// The peer that asked.
        to: PeerId,
        /// Rates of the peers above, which go before this peer's own.
        above: Rates,
        /// Number of viewers that this peer feeds.
        children: u8,
    },
    /// Requests the program from a linked peer: [`TreeMessage::Feed`](crate::message::TreeMessage::Feed) with the
    /// position in the program.
    RequestFeed(PeerId),
    /// Sets this peer's role: mix, keep warm, or rest.
    Role(MixRole),
    /// Forwards the speakers' raw streams, unchanged, on trunk links with these peers. Streams that arrived
    /// on a trunk are never forwarded.
    Forward(Vec<PeerId>),
    /// Forwards single speakers' streams, unchanged, to the peers that requested them: (peer, speaker), in
    /// slot 4 of the link with the peer.
    Solos(Vec<(PeerId, PeerId)>),
    /// Forwards and hands over speakers' sound apart.
    Voices(VoiceRoutes),
    /// Sends these speakers their mix-minus: this peer is their home mixer.
    Homes(Vec<PeerId>),
    /// The speakers on stage changed: (peer, index among the tiles).
    Speakers(Vec<(PeerId, u8)>),
    /// Sends a packet train.
    Train {
        /// Receiver of the train.
        peer: PeerId,
        /// The requester's number for it.
        train: u32,
        /// Size of the train, bytes.
        bytes: u32,
        /// Rate of the train, bits per second; 0 for as fast as possible.
        rate_bps: u64,
    },
    /// Seals and opens envelopes with this key from now on.
    Key(GenerationKey),
    /// Notifies the application.
    Event(Event),
}

/// Codec times claimed by a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CodecClaim {
    /// Time to encode one 1280×720 picture, microseconds.
    pub encode_us: u32,
    /// Time to decode it, microseconds.
    pub decode_us: u32,
    /// How the times were measured.
    pub source: CodecSource,
    /// Age of the times when the claim was signed, seconds.
    pub age_s: u16,
}
