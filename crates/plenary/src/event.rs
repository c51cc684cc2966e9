//! What happens in a room, for the application.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use plenary_media::mixer::{Effort, EffortWhy};
use plenary_proto::message::{Delivery, ElectionReason};
use plenary_proto::{Mode, PeerId, Rank, Tally};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::snapshot::ConnectionState;

/// Events that wait for one listener at most; past it the oldest are dropped, and [`RoomEvent::Missed`] says how
/// many.
pub const EVENTS_MAX: usize = 256;

/// Is called with each event.
pub type OnEvent = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The host let us in.
    Admitted,
    /// How this peer stands with its room has changed.
    Connection(ConnectionState),
    /// The stage has changed; [`Room::snapshot`](crate::Room::snapshot) has it.
    Stage {
        /// The roster's number.
        epoch: u32,
    },
    /// Another peer is host: the one before is gone, and the stage has chosen.
    Host(Option<PeerId>),
    /// This peer is on stage as a speaker now, or not any more.
    Floor(bool),
    /// The host would have this peer speak: [`Room::speak`](crate::Room::speak) takes it up.
    FloorOffered,
    /// The host doesn't let this peer speak.
    FloorDenied,
    /// At the host: a peer wants to speak, and the stage isn't open to it.
    /// [`Room::promote`](crate::Room::promote) lets it, [`Room::demote`](crate::Room::demote) doesn't.
    FloorWanted {
        /// Who.
        peer: PeerId,
        /// Its name.
        name: String,
    },
    /// How the stage is served has changed.
    Mode(Mode),
    /// At the mixer: it has too little time for all of the program, or time again, and spends less work on its pictures than
    /// before, or more. When fewer or smaller pictures last, it asks for an election.
    MixerEffort {
        /// From now on.
        effort: Effort,
        /// Why.
        why: EffortWhy,
    },
    /// The room needs a mixer, and nobody consents to be one.
    NoMixer,
    /// An election has opened.
    ElectionOpened {
        /// Its number.
        term: u32,
        /// Why.
        reason: ElectionReason,
    },
    /// An election is decided.
    Elected {
        /// Its number.
        term: u32,
        /// Why it was held.
        reason: ElectionReason,
        /// How many signed.
        signatures: usize,
        /// Of how many.
        roster: usize,
        /// Who mixes, the lead first.
        mixers: Vec<PeerId>,
        /// Who is kept warm.
        standbys: Vec<PeerId>,
        /// How each candidate did, where this peer recomputed it; the best first.
        tallies: Vec<Tally>,
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
        /// The mandate that ended.
        rank: Rank,
        /// Who had taken over.
        peer: PeerId,
    },
    /// A measurement that [`Room::measure`](crate::Room::measure) asked for is done.
    Measured {
        /// From whom.
        peer: PeerId,
        /// What each train said, bits per second; empty when none came.
        samples_bps: Vec<u64>,
        /// Round trip, microseconds; 0 when unknown.
        rtt_us: u32,
    },
    /// Others speak now than before, as heard here. [`Room::levels`](crate::Room::levels) says how loud each is.
    Speaking {
        /// The one who speaks: stays so for two seconds at least, and through silence until somebody else does.
        dominant: Option<PeerId>,
        /// All who speak at present, in the order of the stage; pauses between words don't count.
        speaking: Vec<PeerId>,
    },
    /// Somebody on stage told the room something: see [`Room::tell`](crate::Room::tell).
    Data {
        /// Who; its signature holds.
        from: PeerId,
        /// How sure it was to come.
        delivery: Delivery,
        /// What.
        bytes: Bytes,
    },
    /// Reliable data that could not be had any more, after seconds without a parent.
    DataMissed {
        /// Whose.
        from: PeerId,
        /// How many pieces.
        pieces: u64,
    },
    /// The speaker that [`Room::set_solo`](crate::Room::set_solo) asks for comes from now on, or can't be had for now: no mixer has
    /// room, there is none, or it doesn't speak. It is asked for again by itself.
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
    /// A peer broke the protocol; past a limit it is dropped.
    PeerMisbehaved {
        /// Who.
        peer: PeerId,
        /// How often.
        count: u32,
        /// It was dropped.
        dropped: bool,
    },
    /// The rendezvous is reached, or not any more: then `why` says it, and it is tried again by itself. The room
    /// goes on without.
    Rendezvous {
        /// Whether it can be used.
        up: bool,
        /// Why not.
        why: Option<String>,
    },
    /// The host hasn't answered yet; it was asked this many times more.
    Waiting {
        /// How often.
        tries: u32,
    },
    /// A link could not be made for want of a UDP port, or another cause that asks for the user.
    LinkTrouble(String),
    /// This many events were dropped, because they were not fetched.
    Missed(u64),
    /// The room is closed; nothing follows.
    Closed,
}

/// The events of a room, from the moment it was asked for; a [`Stream`].
#[derive(Debug)]
pub struct Events(BroadcastStream<RoomEvent>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<RoomEvent>) -> Events {
        Events(BroadcastStream::new(receiver))
    }

    /// The next event; `None` when the room is closed.
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
