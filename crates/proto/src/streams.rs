//! Admission of streams: decides which announced streams are accepted from which peer.
//!
//! A peer announces each stream before it sends it.
//!
//! - A program is accepted when the mandate allows its maker to make it. The announcement may overtake the
//!   mandate's proof, and then waits for it.
//! - A speaker's stream is accepted from the speaker, and from a mixer that forwards it.
//! - A mix-minus is accepted from the mixer that makes it.

use std::collections::BTreeMap;

use crate::bounded::Bound;
use crate::id::{PeerId, RoomId, StreamKind};
use crate::io::Output;
use crate::mandate::Mandate;
use crate::message::StreamUse;
use crate::outbox::Outbox;
use crate::stage::Stage;

/// Maximum number of announcements that wait for proof. A guess.
const WAITING_MAX: usize = 32;

/// Announcements without proof yet, by peer and slot.
#[derive(Debug, Default)]
pub(crate) struct Streams(BTreeMap<(PeerId, u8), StreamUse>);

impl Streams {
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
        self.0.remove(&(from, stream.slot));
        if proven(stage, mandate, &from, &stream) {
            out.act(Output::Follow { peer: from, stream, id: stream.spec.id(room) });
        } else if self.0.len() < WAITING_MAX {
            self.0.insert((from, stream.slot), stream);
        }
    }

    /// Checks the waiting announcements again after a change of roster or mandate.
    pub(crate) fn update(&mut self, out: &mut Outbox, room: &RoomId, stage: &Stage, mandate: &Mandate) {
        self.0.retain(|(from, _), stream| {
            let proven = proven(stage, mandate, from, stream);
            if proven {
                out.act(Output::Follow { peer: *from, stream: *stream, id: stream.spec.id(room) });
            }
            !proven
        });
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("announcements without proof", self.0.len(), WAITING_MAX)]
    }

    /// Forgets the announcements of a peer after its link is gone.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.0.retain(|(from, _), _| from != peer);
    }
}

fn proven(stage: &Stage, mandate: &Mandate, from: &PeerId, stream: &StreamUse) -> bool {
    let spec = &stream.spec;
    match spec.kind {
        StreamKind::Program => mandate.allows(spec),
        StreamKind::Speaker | StreamKind::Share => {
            let speaks = stage.entry(&spec.maker).is_some_and(|entry| entry.speaks);
            speaks && (spec.maker == *from || mandate.has_mixed(from))
        }
        StreamKind::MixMinus => spec.maker == *from && mandate.has_mixed(from),
    }
}
