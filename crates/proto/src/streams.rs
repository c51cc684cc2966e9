//! Admission of streams: decides which announced streams are accepted, and from which peers.
//!
//! A peer announces each stream before it sends it.
//!
//! - A program is accepted from a peer that this one has asked to feed it, and from its maker, a mixer; in
//!   both cases when the mandate allows its maker to make it. The announcement may overtake the mandate's
//!   proof, and then waits for it. A peer that makes the program accepts none.
//! - A speaker's stream is accepted from the speaker, and from a mixer that forwards it.
//! - A mix-minus is accepted from the mixer that makes it.
//!
//! The body applies the same [`Senders`] to each packet, so a peer without a right any more can't go on.

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::id::{PeerId, RoomId, StreamKind};
use crate::io::{Output, Senders};
use crate::mandate::Mandate;
use crate::message::{MIXERS_MAX, StreamUse};
use crate::outbox::Outbox;
use crate::stage::Stage;
use crate::time::{SECOND, Time};

/// Maximum number of announcements that wait for proof. A guess.
const WAITING_MAX: usize = 32;
/// Time for which a mixer's streams count after it has been replaced. The new mixer warms up for 1.5 s, and
/// the old one retires within 4 s of its start; the rest is a guess: news of both travel.
const RETIRED_US: u64 = 10 * SECOND;
/// Maximum number of mixers that count after they were replaced: the elected ones of two terms.
const RETIRED_MAX: usize = 2 * MIXERS_MAX;

/// The relations to other peers from which their rights follow.
pub(crate) struct Relations {
    /// Whether this peer makes the program.
    pub(crate) makes_program: bool,
    /// Whether this peer is on stage.
    pub(crate) on_stage: bool,
    /// Peers that were asked for the program.
    pub(crate) feeders: Vec<PeerId>,
    /// Mixers with a part in a handover: the home mixer, those that have begun, and those not replaced yet.
    pub(crate) mixers: Vec<PeerId>,
    /// Mixers that were asked for one speaker, or for all speakers' sound.
    pub(crate) forwarding: Vec<PeerId>,
}

/// Announcements without proof, and the peers with streams that count.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Announcements without proof yet, by peer and slot.
    waiting: OrderedMap<(PeerId, u8), StreamUse>,
    /// Mixers that were in force, and until when their streams count.
    retired: OrderedMap<PeerId, Time>,
    /// The mixers in force at the last call.
    in_force: Vec<PeerId>,
    sources: Senders,
}

impl Streams {
    /// Updates the peers with streams that count, after any input.
    pub(crate) fn renew(&mut self, out: &mut Outbox, now: Time, mandate: &Mandate, relations: Relations) {
        if self.in_force != mandate.mixers {
            let before = std::mem::replace(&mut self.in_force, mandate.mixers.clone());
            self.retired.extend(before.into_iter().map(|mixer| (mixer, now + RETIRED_US)));
        }
        self.retired.retain(|mixer, until| *until > now && !mandate.mixers.contains(mixer));
        while self.retired.len() > RETIRED_MAX {
            let first = self.retired.iter().min_by_key(|(_, until)| **until).map(|(mixer, _)| *mixer);
            first.and_then(|first| self.retired.remove(&first));
        }
        let Relations { makes_program, on_stage, feeders, mixers: handing_over, forwarding } = relations;
        let all = mandate.mixers.iter().chain(&handing_over).chain(self.retired.keys());
        let mixers = once(all.copied());
        let forwarders = if on_stage { &mixers[..] } else { &[] };
        let speakers = once(forwarders.iter().copied().chain(forwarding));
        let sources = Senders { makes_program, program: once(feeders), mixers, speakers };
        if sources != self.sources {
            self.sources = sources.clone();
            out.act(Output::Senders(sources));
        }
    }

    /// Handles a peer's announcement: follows the stream, or keeps the announcement until it is proven.
    pub(crate) fn announced(
        &mut self,
        out: &mut Outbox,
        room: &RoomId,
        stage: &Stage,
        mandate: &Mandate,
        from: PeerId,
        stream: StreamUse,
    ) {
        self.waiting.remove(&(from, stream.slot));
        if self.is_proven(stage, mandate, &from, &stream) {
            out.act(Output::Follow { peer: from, stream, id: stream.spec.id(room) });
        } else if self.may_be_proven(&from, &stream) {
            if self.waiting.len() >= WAITING_MAX {
                self.drop_of_most();
            }
            self.waiting.insert((from, stream.slot), stream);
        }
    }

    /// Drops an announcement of the peer with the most of them, so that no peer displaces the others'.
    fn drop_of_most(&mut self) {
        let count = |of: &PeerId| self.waiting.keys().filter(|(peer, _)| peer == of).count();
        let most = self.waiting.keys().max_by_key(|(peer, _)| count(peer)).copied();
        most.and_then(|most| self.waiting.remove(&most));
    }

    /// Checks the waiting announcements again after a change of roster or mandate.
    pub(crate) fn update(&mut self, out: &mut Outbox, room: &RoomId, stage: &Stage, mandate: &Mandate) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|(from, _), stream| {
            let proven = self.is_proven(stage, mandate, from, stream);
            if proven {
                out.act(Output::Follow { peer: *from, stream: *stream, id: stream.spec.id(room) });
            }
            !proven && self.may_be_proven(from, stream)
        });
        self.waiting = waiting;
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("announcements without proof", self.waiting.len(), WAITING_MAX),
            Bound::new("replaced mixers with streams that count", self.retired.len(), RETIRED_MAX),
        ]
    }

    /// Forgets the announcements of a peer after its link is gone.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.waiting.retain(|(from, _), _| from != peer);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.retired.values().min().copied()
    }

    fn is_proven(&self, stage: &Stage, mandate: &Mandate, from: &PeerId, stream: &StreamUse) -> bool {
        let spec = &stream.spec;
        let has_right = match spec.kind {
            StreamKind::Program => mandate.allows(spec),
            StreamKind::Speaker | StreamKind::Share | StreamKind::Beside => {
                stage.entry(&spec.maker).is_some_and(|entry| entry.speaks)
            }
            StreamKind::MixMinus => true,
        };
        has_right && self.sources.take(from, spec.kind, spec.maker == *from)
    }

    /// Returns whether roster or mandate may prove the announcement later. A program from a peer that wasn't
    /// asked counts from its maker only, whatever is proven.
    fn may_be_proven(&self, from: &PeerId, stream: &StreamUse) -> bool {
        let is_programs = stream.spec.kind == StreamKind::Program;
        let asked = || stream.spec.maker == *from || self.sources.program.contains(from);
        !is_programs || (!self.sources.makes_program && asked())
    }
}

/// Returns the peers in their order, each once.
fn once(peers: impl IntoIterator<Item = PeerId>) -> Vec<PeerId> {
    let mut all = Vec::new();
    for peer in peers {
        if !all.contains(&peer) {
            all.push(peer);
        }
    }
    all
}
