//! Events of a room, for the application.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use plenary_body::Shedding;
use plenary_media::CodecRemedy;
use plenary_media::mixer::{Effort, EffortWhy};
use plenary_proto::app::{ConnectionState, Reason};
use plenary_proto::message::{Delivery, ElectionReason, MediaSeen, Muted};
use plenary_proto::{CodecClaim, Mode, PeerId, Rank, Tally, VoicesState};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::snapshot::Member;

/// Maximum number of events queued for one listener. Past it the oldest events are dropped, and
/// [`RoomEvent::Missed`] says how many.
pub const EVENTS_MAX: usize = 256;

/// Callback that is called with each event.
pub type OnEvent = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// An event of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The host has admitted this peer.
    Admitted,
    /// This peer waits in the lobby until the host lets it in.
    InLobby,
    /// At the host: a newcomer waits in the lobby.
    Knock {
        /// The newcomer.
        peer: PeerId,
        /// Name of the newcomer.
        name: String,
        /// It comes for nothing but to mix, and the stage is closed or takes mixers that the host named: letting it in
        /// names it.
        mixes: bool,
    },
    /// At the host, which takes its room back: a host that the stage chose meanwhile had removed a peer. It stays out
    /// only if [`Host::remove`](crate::Host::remove) removes it again.
    RemovedByAnother {
        /// The removed peer.
        peer: PeerId,
        /// Name of the peer; empty if it isn't known.
        name: String,
        /// The host that removed it.
        by: PeerId,
    },
    /// At the host: several members were sent nothing by a viewer that had promised to feed them. It may be hostile, or
    /// have a bad line. Nothing follows by itself: [`Host::remove`](crate::Host::remove) removes it. At most once a
    /// minute for each viewer.
    NotForwarding {
        /// The viewer.
        peer: PeerId,
        /// Name of the viewer.
        name: String,
    },
    /// The host has asked this peer to send no picture or no sound, and it doesn't any more.
    /// [`Room::mute`](crate::Room::mute) ends that.
    MutedByHost(Muted),
    /// The host has removed this peer from the room.
    Removed,
    /// The host has ended the room.
    Ended,
    /// Another peer says that it speaks another version of the protocol: the older program needs an update. At most two
    /// events a second, whatever guests send.
    OtherVersion {
        /// The peer.
        peer: PeerId,
        /// The version that it speaks.
        version: u8,
    },
    /// The clock of another peer differs from the room's time by more than five minutes, so its messages are refused:
    /// its rendezvous is of an earlier version, or its clock was set a moment ago. At most one event a second.
    OtherClock,
    /// This machine's clock differs from that of the rendezvous by more than 30 s, or by another amount than before.
    /// Nothing stops: letters to other peers go by the clock of the rendezvous from now on.
    OwnClock {
        /// Seconds by which this machine's clock is ahead; negative when it is behind, 0 when the two agree again.
        ahead_s: i64,
    },
    /// This machine has slept, or this process was stopped, for that long, so that other peers have given its links up:
    /// all are made anew. Pauses below 5 s are no event.
    StoodStill(Duration),
    /// The state of this peer's connection with the room has changed.
    Connection(ConnectionState),
    /// The stage has changed; [`Room::snapshot`](crate::Room::snapshot) has the new one.
    Stage {
        /// Epoch of the roster.
        epoch: u32,
    },
    /// A peer has come on stage. With the first roster, each peer that is there already.
    Joined(Member),
    /// A peer is no longer on stage.
    Left {
        /// The peer.
        peer: PeerId,
        /// Reason, as far as the roster tells.
        why: Departure,
    },
    /// A peer on stage has changed: its part, its name, what it has muted, whether it records, or whether the host has
    /// lost contact with it. [`Speaking`](RoomEvent::Speaking) reports the peers that speak at present.
    Changed {
        /// The peer before.
        was: Member,
        /// The peer now.
        is: Member,
    },
    /// This number of viewers, which aren't on stage, record what they receive, by their own word; told on change.
    /// [`Changed`](RoomEvent::Changed) and [`Joined`](RoomEvent::Joined) tell of peers on stage
    /// ([`Member::records`]).
    ViewersRecord(u32),
    /// The room has another host. After the first roster, this means that the old host is gone and that the
    /// stage has made an heir the host.
    Host(Option<PeerId>),
    /// The host has replaced the invite ([`Host::ban`](crate::Host::ban),
    /// [`Host::renew_invite`](crate::Host::renew_invite)). The old invite admits nobody any more.
    /// [`Room::invite`](crate::Room::invite) returns the new one at the host, and `None` elsewhere.
    InviteReplaced,
    /// This peer has become a speaker on stage (`true`), or is no speaker any more (`false`).
    Floor(bool),
    /// The host offers this peer the floor. [`Room::speak`](crate::Room::speak) accepts the offer.
    FloorOffered,
    /// The host has denied this peer the floor.
    FloorDenied,
    /// At the host: a peer wants to speak, and the stage is not open to it.
    /// [`Host::promote`](crate::Host::promote) grants the floor, [`Host::demote`](crate::Host::demote) denies
    /// it.
    FloorWanted {
        /// The peer that wants to speak.
        peer: PeerId,
        /// Name of the peer.
        name: String,
    },
    /// The mode has changed: mesh, pass-through or mixer.
    Mode(Mode),
    /// At the mixer: the overload control has changed the work spent on the program's pictures, down for lack
    /// of processor time or up again. If reduced frame rate or size lasts, the mixer asks for an election.
    MixerEffort {
        /// Effort from now on.
        effort: Effort,
        /// Reason of the change.
        why: EffortWhy,
    },
    /// A codec of this peer failed, panicked or hung, or a thread of its mixer panicked. It is replaced: by a new
    /// instance first, by the built-in codec next. When nothing is left to try, a mixer resigns and isn't a candidate
    /// any more while it is in the room, and a speaker sends no more of that kind; the room goes on.
    CodecFailed {
        /// What the codec was for.
        what: CodecUse,
        /// What happened, in one line.
        text: String,
        /// What followed.
        then: CodecOutcome,
    },
    /// The load that this peer sheds has changed, because its machine is short of processor time, or is no longer.
    Shedding(Shedding),
    /// The room needs a mixer, and no peer consents to mix: its first four speakers send to each other, and the
    /// audience and further speakers get nothing.
    NoMixer,
    /// This viewer gets no program: the room's relays feed as many viewers as they can. The search for a place goes on.
    NoPlace,
    /// An election has opened.
    ElectionOpened {
        /// Term of the election.
        term: u32,
        /// Reason of the election.
        reason: ElectionReason,
    },
    /// An election is decided: a majority of the stage has signed its outcome.
    Elected {
        /// Term of the election.
        term: u32,
        /// Reason of the election.
        reason: ElectionReason,
        /// Number of peers that signed the outcome.
        signatures: usize,
        /// Number of peers on the roster under which the election took place; `None` if this peer doesn't know that
        /// roster, for example after a restart of the host.
        roster: Option<usize>,
        /// The elected mixers, the lead first.
        mixers: Vec<PeerId>,
        /// The warm standbys.
        standbys: Vec<PeerId>,
        /// Scores of the candidates, the best first; empty if this peer knows only the outcome.
        tallies: Vec<Tally>,
    },
    /// A standby has taken over from a mixer without a vote.
    Failover {
        /// Rank of the new mandate.
        rank: Rank,
        /// The successor.
        peer: PeerId,
        /// The mixer requested the failover, instead of falling silent.
        polite: bool,
    },
    /// A failover was withdrawn, because the mixer is alive.
    Withdrawn {
        /// Rank of the mandate that ended.
        rank: Rank,
        /// The peer that had taken over.
        peer: PeerId,
    },
    /// A measurement requested by [`Room::measure`](crate::Room::measure) is done.
    Measured {
        /// The measured candidate.
        peer: PeerId,
        /// Bandwidth shown by each packet train, bits per second; empty if no train arrived.
        samples_bps: Vec<u64>,
        /// Round-trip time, microseconds; 0 if unknown.
        rtt_us: u32,
        /// Media that arrived from the candidate over the last 20 s; `None` unless it did throughout.
        media: Option<MediaSeen>,
        /// Codec times that the candidate claims; `None` if it has none.
        codec: Option<CodecClaim>,
    },
    /// The active speakers have changed, as heard at this peer. [`Room::levels`](crate::Room::levels) returns
    /// their levels.
    Speaking {
        /// The dominant speaker. It stays dominant for at least two seconds, and through silence until
        /// another peer speaks.
        dominant: Option<PeerId>,
        /// All peers that speak at present, in stage order; pauses between words don't end a peer's speech.
        speaking: Vec<PeerId>,
    },
    /// A peer on stage has sent data to the room: see [`Room::tell`](crate::Room::tell).
    Data {
        /// The sender; its signature is verified.
        from: PeerId,
        /// Delivery guarantee that the sender chose.
        delivery: Delivery,
        /// The data.
        bytes: Bytes,
    },
    /// Reliable data was lost for good. This happens after several seconds without a parent.
    DataMissed {
        /// The sender of the lost data.
        from: PeerId,
        /// Number of lost pieces.
        pieces: u64,
    },
    /// The stream of the speaker requested by [`Room::set_solo`](crate::Room::set_solo) arrives from now on,
    /// or is unavailable: the mixers have no capacity, the room has no mixer, or that peer doesn't speak. The
    /// request is retried automatically.
    Solo {
        /// The requested speaker.
        speaker: PeerId,
        /// Whether its stream arrives.
        comes: bool,
    },
    /// The speaker requested by [`Room::set_solo`](crate::Room::set_solo) doesn't allow that it is shown alone
    /// ([`Member::no_solo`]). The program is handed over instead. The request stays, in case the speaker allows it
    /// later.
    SoloRefused {
        /// The requested speaker.
        speaker: PeerId,
    },
    /// Whether each speaker's sound arrives, at a peer that wants it by [`Room::voices`](crate::Room::voices). The
    /// request stays: the sound comes once there is a mixer that can give it, or the host marks this peer
    /// ([`Host::set_agent`](crate::Host::set_agent)).
    Voices(VoicesState),
    /// Another parent feeds this peer; `None` if it has no parent.
    Parent(Option<PeerId>),
    /// Another peer is this peer's backup parent; `None` if it has no backup.
    Backup(Option<PeerId>),
    /// A peer has violated the protocol. Past a limit of violations its links are closed.
    PeerMisbehaved {
        /// The violator.
        peer: PeerId,
        /// Number of its violations so far.
        count: u32,
        /// Whether this peer dropped it.
        dropped: bool,
    },
    /// The rendezvous has become reachable or unreachable; once for each change. An unreachable rendezvous is retried
    /// automatically; the room continues without it.
    Rendezvous {
        /// Whether the rendezvous is reachable.
        up: bool,
        /// Reason of the first attempt that failed.
        why: Option<String>,
    },
    /// The host has not answered the join request yet, and the request was sent again.
    Waiting {
        /// Number of repeated requests so far.
        tries: u32,
    },
    /// A link could not be made: no UDP port is free, or there are too many links. The text says which.
    LinkTrouble(String),
    /// This many events were dropped, because the application did not fetch them in time.
    Missed(u64),
    /// The room is closed; no further event follows.
    Closed {
        /// How it ended.
        end: End,
    },
}

/// Purpose of a failed codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum CodecUse {
    /// At a mixer: encodes the program's pictures.
    Program,
    /// At a mixer: composes the program's pictures.
    Compositor,
    /// At a mixer: mixes and encodes the program's sound.
    ProgramSound,
    /// At a mixer: decodes this speaker's pictures.
    Speaker(PeerId),
    /// At a mixer: decodes a speaker's sound.
    SpeakersSound,
    /// Encodes this peer's own pictures.
    OwnPicture,
    /// Encodes this peer's own sound.
    OwnSound,
    /// Decodes pictures for the application ([`Room::pictures`](crate::Room::pictures)).
    Shown,
    /// Decodes sound for the application ([`Room::sound`](crate::Room::sound)).
    Heard,
    /// Measures this machine, before it may mix.
    Bench,
}

/// What followed the failure of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum CodecOutcome {
    /// A new instance of the same codec goes on.
    Restarted,
    /// The built-in codec goes on.
    ReplacedByBuiltin,
    /// Nothing is left to try: this peer doesn't mix any more, or sends no more of that kind.
    Withdrawn,
    /// Nothing is left to try at present: a decoder begins anew with each keyframe.
    Missing,
}

impl CodecOutcome {
    /// `withdraws`: whether this peer can't go on without the codec.
    pub(crate) fn of(remedy: CodecRemedy, withdraws: bool) -> CodecOutcome {
        match remedy {
            CodecRemedy::Restarted => CodecOutcome::Restarted,
            CodecRemedy::ReplacedByBuiltin => CodecOutcome::ReplacedByBuiltin,
            _ if withdraws => CodecOutcome::Withdrawn,
            _ => CodecOutcome::Missing,
        }
    }
}

/// Reason why a peer is no longer on stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Departure {
    /// It left the room, or went back to watching.
    Left,
    /// The host lost contact with it.
    Lost,
    /// The host removed it from the room.
    Removed,
}

/// How this peer's part in a room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum End {
    /// The application left or closed the room, or dropped its last handle.
    Left,
    /// The host ended the room for everybody.
    HostEnded,
    /// The host removed this peer.
    Removed,
    /// Another process has come in with this peer's identity, and goes on in its place.
    Replaced,
    /// The room's task failed, or its runtime was shut down.
    Lost,
}

impl End {
    /// Returns the end as reports and other programs name it.
    pub fn reason(self) -> Reason {
        match self {
            End::Left => Reason::Left,
            End::HostEnded => Reason::Ended,
            End::Removed => Reason::Removed,
            End::Replaced => Reason::Replaced,
            End::Lost => Reason::Lost,
        }
    }
}

/// [`Stream`] of a room's events, from the call of [`Room::events`](crate::Room::events) on.
#[derive(Debug)]
pub struct Events(BroadcastStream<RoomEvent>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<RoomEvent>) -> Events {
        Events(BroadcastStream::new(receiver))
    }

    /// Returns the next event; `None` when the room is closed.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        StreamExt::next(self).await
    }
}

impl Stream for Events {
    type Item = RoomEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        let polled = Pin::new(&mut self.0).poll_next(cx);
        polled.map(|next| {
            next.map(|next| {
                next.unwrap_or_else(|BroadcastStreamRecvError::Lagged(missed)| RoomEvent::Missed(missed))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_fetch_events_is_told_how_many_it_missed() {
        let (events, receiver) = broadcast::channel(EVENTS_MAX);
        let mut listener = Events::new(receiver);
        let missed = 10;
        for epoch in 0..EVENTS_MAX as u32 + missed {
            events.send(RoomEvent::Stage { epoch }).unwrap();
        }
        drop(events);
        assert_eq!(listener.next().await, Some(RoomEvent::Missed(missed.into())));
        assert_eq!(listener.next().await, Some(RoomEvent::Stage { epoch: missed }));
        assert_eq!(listener.count().await, EVENTS_MAX - 1);
    }
}
