//! Everything that goes into the brain and comes out of it.

use std::net::IpAddr;

use serde::Serialize;

use crate::bounded::List;
use crate::id::{InForce, PeerId, Rank, ShortId, StreamId, StreamSpec};
use crate::message::{
    Answer, DATA_LEN_MAX, Delivery, Description, ElectionReason, LinkKind, Message, Offer, ProgramLayout,
    RELAY_HOPS_MAX, Refusal, Resume, StreamUse, VideoRequest,
};
use crate::score::Tally;
use crate::seal::Verified;
use crate::stage::Mode;

/// How a message came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// On the link with its sender.
    Link,
    /// In an envelope, through a rendezvous.
    Signal,
    /// In an envelope that linked peers forwarded; the peers between, in the order it passed them.
    Mesh(List<ShortId, RELAY_HOPS_MAX>),
}

/// What a watchdog says of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// Something came from it.
    Ok,
    /// Nothing at all has come from it for the time its watch allows.
    Silent,
    /// It feeds us, but our backup is ahead of it: for a while already, or it is silent too.
    Behind,
    /// It feeds us, is alive, and has brought nothing new for 600 ms.
    Stalled,
}

/// What an application asks of its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave politely: children and the program are handed over first.
    Leave,
    /// Look for another parent.
    ReconnectUpstream,
    /// Host only: how many mixers; 0 leaves it to need.
    SetMixers(u8),
    /// Host only: how the program is laid out.
    SetLayout(ProgramLayout),
    /// Host only: whoever asks may speak from now on; or the application decides. Who speaks already stays.
    OpenStage(bool),
    /// Host only: let that peer speak. Whoever hasn't asked for it is asked ([`Event::FloorOffered`]).
    Promote(PeerId),
    /// Host only: that peer is to speak no more, or isn't let on stage.
    Demote(PeerId),
    /// Speak, or watch only: the host lets us on stage, or its application decides.
    Speak(bool),
    /// Measure the way from a candidate to us, for a person: [`Event::Measured`] tells.
    Measure(PeerId),
    /// Get that speaker's own stream as well, as its mixer gets it; or none any more. [`Event::Solo`] tells what comes of it.
    Solo(Option<PeerId>),
    /// Stage only: tell the room something. See [`RoomState::may_publish`](crate::RoomState::may_publish).
    Publish(Delivery, List<u8, DATA_LEN_MAX>),
}

/// What happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The time that [`next_timeout`](crate::RoomState::next_timeout) asked for has come.
    Timeout,
    /// The rendezvous can be used, or cannot any more.
    SignalUp(bool),
    /// A message, its signatures checked.
    Message {
        /// Who wrote it: the link's other end, or the envelope's signer.
        from: PeerId,
        /// How it came.
        via: Via,
        /// What it says.
        message: Verified<Message>,
    },
    /// The rendezvous knows no such peer; `None`: no host.
    Undeliverable(Option<PeerId>),
    /// This end's description of a link that was asked for by [`Output::Offer`] or [`Output::Answer`].
    Described {
        /// The other end.
        peer: PeerId,
        /// Which link.
        kind: LinkKind,
        /// This end.
        description: Description,
    },
    /// A link is up: its channels are open at this end.
    LinkUp(PeerId, LinkKind),
    /// A link is down, or could not be made.
    LinkDown(PeerId, LinkKind),
    /// A watchdog's verdict has changed.
    Verdict {
        /// On whom.
        peer: PeerId,
        /// What it is now.
        verdict: Verdict,
    },
    /// Something came from a peer that the brain has long heard nothing of: told once a second at most.
    Heard(PeerId),
    /// The first packets of the program have come from a peer that was asked to feed us.
    Fed(PeerId),
    /// A probe train has ended.
    Measured {
        /// Who sent it.
        peer: PeerId,
        /// Our number for it.
        train: u32,
        /// The dispersion of its second half; `None` when too little came.
        bandwidth_bps: Option<u64>,
        /// The link's round trip, 0 when unknown.
        rtt_us: u32,
        /// How often it pauses, as [`Pauses`](crate::pauses::Pauses) tells.
        paused_ppm: u32,
        /// The address that its end of the link is seen to have; `None` when unknown, or when others relay between the two.
        address: Option<IpAddr>,
    },
    /// The answer to [`Output::TellRoundTrips`]: the shortest round trips of late, in microseconds, of the peers
    /// that are linked and for whom it is known. Those on stage count, 64 at most.
    RoundTrips(Vec<(PeerId, u32)>),
    /// The machine's codec bench: processor time for one 1280×720 picture.
    Bench {
        /// Encoding.
        encode_us: u32,
        /// Decoding.
        decode_us: u32,
    },
    /// So many times since this was told last the mix has suffered at this speaker: what
    /// [`Suffering`](crate::suffering::Suffering) counts, and changes of what limits its encoder's quality. To be told once a
    /// second at most, and only when there is something to tell; what is told more often is added up.
    Trouble(u16),
    /// Our mixer makes less than what is asked of it, and has for a while, for want of time: other than worse pictures, fewer or
    /// smaller ones. To be told once a second or so while that lasts.
    Overloaded,
    /// Warming up for the mix is done: each speaker has a picture, or won't have one soon.
    Warm,
    /// Our own program has begun: its first key frame is out.
    Started(StreamSpec),
    /// A peer broke a rule that bodies check: bytes that are no message, a signature that doesn't hold.
    Misbehaved(PeerId),
    /// The application wants something.
    Command(Command),
}

/// Where a message without a link goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Address {
    /// Whoever holds the root key.
    Host,
    /// A peer.
    Peer(PeerId),
}

/// What this peer does in the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MixRole {
    /// Nothing.
    Rest,
    /// Decode the speakers, encode nothing.
    Warm {
        /// Nothing needs to be decoded either: the only speaker is passed through.
        pass_through: bool,
    },
    /// Make the program, in one stream as long as it [`continues`](MixRole::continues).
    Mix {
        /// Under this mandate.
        rank: Rank,
        /// From the only speaker's own frames, without decoding them.
        pass_through: bool,
    },
}

impl MixRole {
    /// Whether a program that was begun under that rank goes on in this role, in the same stream: it does as long as its maker
    /// mixes, unless the mandate it was begun under never was.
    pub fn continues(&self, begun: Rank) -> bool {
        matches!(self, MixRole::Mix { rank, .. } if begun <= *rank)
    }
}

/// What the body has to do, in this order. Serializable, so that a simulator can compare what brains said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Output {
    /// Send on the control channel of the link of kind [`LinkKind::Peer`].
    Control(PeerId, Message),
    /// Send on the heartbeat channel of that link: it may be lost.
    Loose(PeerId, Message),
    /// Seal, and send through the rendezvous.
    Signal(Address, Message),
    /// Seal for `to`, and send as [`Message::Relay`] on the link with `next`.
    Relay {
        /// The first peer on the way.
        next: PeerId,
        /// Whom it is for.
        to: PeerId,
        /// All peers on the way, `next` included.
        route: List<ShortId, RELAY_HOPS_MAX>,
        /// What to seal.
        message: Message,
    },
    /// Make a link; its description is wanted as [`Input::Described`].
    Offer(PeerId, LinkKind),
    /// Take an offered link; its description is wanted as [`Input::Described`].
    Answer(PeerId, Offer),
    /// The other end has answered.
    Accept(PeerId, Answer),
    /// Close a link, and forget what it carried.
    Close(PeerId, LinkKind),
    /// Watch who feeds us, and compare it with the backup.
    Watch {
        /// Who feeds us.
        parent: Option<PeerId>,
        /// Who would at once.
        backup: Option<PeerId>,
    },
    /// Watch these mixers, and no others, as whoever takes over from them does: [`Verdict::Silent`] after max(350 ms,
    /// 4× p99 of its gaps), with half of that announced as [`Verdict::Behind`].
    WatchMixers(Vec<PeerId>),
    /// Feed a peer the program from now on.
    Serve {
        /// Whom.
        peer: PeerId,
        /// What it holds already; `None` to start with the cached group of pictures.
        from: Option<Resume>,
        /// With sound; a speaker gets its own mix instead.
        sound: bool,
    },
    /// Send a peer heads of the program twice a second, and on request.
    ServeHeads(PeerId),
    /// Somebody below that child has lost it: ask it for its head, and again until something comes from it.
    /// [`Verdict::Silent`] when nothing has for [`suspect_us`](crate::watchdog::suspect_us).
    Suspect(PeerId),
    /// Stop feeding a peer, heads included.
    Unserve(PeerId),
    /// A stream is what its spec says, and may be taken from this peer in this slot.
    Follow {
        /// From whom.
        peer: PeerId,
        /// Where and what.
        stream: StreamUse,
        /// The id that follows from the spec.
        id: StreamId,
    },
    /// These mixers are in force.
    Mandate(InForce),
    /// Send our own picture and sound to these peers; from the cache where `resume` says how far they are.
    SendOwn(Vec<(PeerId, Option<Resume>)>),
    /// Make our own picture like this from now on.
    EncodeAs(VideoRequest),
    /// Call a speaker home: send it [`Message::Home`] with the size of its tile and what is held of its stream.
    CallHome {
        /// The speaker.
        speaker: PeerId,
        /// The mandate.
        rank: Rank,
    },
    /// Tell the round trips of all links, by [`Input::RoundTrips`] and at once, even if none is known: the stage waits.
    TellRoundTrips,
    /// Tell a peer for how long nothing has come from that mixer: [`Message::Heard`].
    AnswerHeard {
        /// Who asks.
        to: PeerId,
        /// About whom.
        mixer: PeerId,
    },
    /// Ask a linked peer to feed us: [`Message::Feed`] with what is held of the program.
    RequestFeed(PeerId),
    /// Mix, keep warm, or rest.
    Role(MixRole),
    /// Pass what the speakers themselves send here on, unchanged, on trunk links with these peers. What comes on a
    /// trunk is never forwarded.
    Forward(Vec<PeerId>),
    /// Pass these speakers on, unchanged, to peers that wish for them: peer and speaker, in slot 4 of the link with it.
    Solos(Vec<(PeerId, PeerId)>),
    /// We are the home of these speakers: they get their mix-minus from us.
    Homes(Vec<PeerId>),
    /// The speakers on stage have changed: peer and place among the tiles.
    Speakers(Vec<(PeerId, u8)>),
    /// Send a probe train.
    Train {
        /// To whom.
        peer: PeerId,
        /// The asker's number for it.
        train: u32,
        /// How much.
        bytes: u32,
        /// How fast; 0 for as fast as it goes.
        rate_bps: u64,
    },
    /// Tell the application.
    Event(Event),
}

/// What an application may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Event {
    /// The host let us in.
    Admitted,
    /// The host did not.
    Refused(Refusal),
    /// No answer from the host yet; asked this many times.
    Waiting {
        /// How often we asked.
        tries: u32,
    },
    /// The stage has changed.
    Roster {
        /// Its number.
        epoch: u32,
    },
    /// Another peer is host.
    Host(Option<PeerId>),
    /// We are on stage as a speaker now, or not any more.
    Floor(bool),
    /// The host would let us speak: [`Command::Speak`] takes it up.
    FloorOffered,
    /// The host doesn't let us speak.
    FloorDenied,
    /// At the host: a peer wants to speak, and the stage isn't open to it. [`Command::Promote`] lets it,
    /// [`Command::Demote`] doesn't.
    FloorWanted {
        /// Who.
        peer: PeerId,
        /// Its name.
        name: String,
    },
    /// How the stage is served has changed.
    Mode(Mode),
    /// The room needs a mixer, and nobody consents to be one.
    NoMixer,
    /// An election has opened.
    ElectionOpened {
        /// Its number.
        term: u32,
        /// Why.
        reason: ElectionReason,
    },
    /// An election is decided: a majority signed.
    Decided {
        /// Its number.
        term: u32,
        /// Why it was held.
        reason: ElectionReason,
        /// How many signed.
        signatures: usize,
        /// Of how many on the roster.
        roster: usize,
        /// Who mixes, the lead first.
        mixers: Vec<PeerId>,
        /// Who is kept warm.
        standbys: Vec<PeerId>,
        /// How each candidate did; empty where only the outcome is known.
        tallies: Vec<Tally>,
    },
    /// A ballot's outcome does not follow from its reports: it was not signed.
    BallotRejected {
        /// The election.
        term: u32,
        /// Whose ballot.
        opener: PeerId,
    },
    /// A standby has taken over.
    Failover {
        /// The new mandate.
        rank: Rank,
        /// Who.
        peer: PeerId,
        /// The mixer had asked for it.
        polite: bool,
    },
    /// A failover was withdrawn: the mixer lives.
    Withdrawn {
        /// The mandate that ends.
        rank: Rank,
        /// Who had taken over.
        peer: PeerId,
    },
    /// A measurement that [`Command::Measure`] asked for is done.
    Measured {
        /// From whom.
        peer: PeerId,
        /// What each train but the first guess said, bits per second; empty when none came.
        samples_bps: Vec<u64>,
        /// Round trip, microseconds; 0 when unknown.
        rtt_us: u32,
    },
    /// Somebody on stage told the room something.
    Data {
        /// Who.
        from: PeerId,
        /// How sure it was to come.
        delivery: Delivery,
        /// What, [`DATA_LEN_MAX`] bytes at most.
        bytes: Vec<u8>,
    },
    /// So many reliable pieces of a peer's data could not be had any more.
    DataMissed {
        /// Whose.
        from: PeerId,
        /// How many.
        pieces: u64,
    },
    /// The speaker that [`Command::Solo`] asks for comes from now on, or can't be had for now: no mixer has room, or it
    /// speaks no more. What was asked for stays so.
    Solo {
        /// Who.
        speaker: PeerId,
        /// Whether it comes.
        comes: bool,
    },
    /// Another parent feeds us; `None`: nobody.
    Parent(Option<PeerId>),
    /// Another peer is our backup.
    Backup(Option<PeerId>),
    /// A peer broke the protocol; past a limit its links are closed.
    PeerMisbehaved {
        /// Who.
        peer: PeerId,
        /// How often so far.
        count: u32,
        /// It was dropped.
        dropped: bool,
    },
    /// All is handed over; the body may stop.
    Left,
}
