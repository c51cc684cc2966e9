//! Which streams may be taken from whom.
//!
//! A peer announces each stream before it sends it. A program is taken when a mandate allows its maker to make
//! it; the announcement may overtake the mandate's proof, so it waits for it. A speaker's stream is taken from
//! the speaker, and from a mixer that forwards it; a mix-minus from a mixer.

use std::collections::BTreeMap;

use crate::bounded::Bound;
use crate::id::{PeerId, RoomId, StreamKind};
use crate::io::Output;
use crate::mandate::Mandate;
use crate::message::StreamUse;
use crate::outbox::Outbox;
use crate::stage::Stage;

/// Most announcements that wait for their proof.
const WAITING_MAX: usize = 32;

/// Announcements that nothing proves yet.
#[derive(Debug, Default)]
pub(crate) struct Streams(BTreeMap<(PeerId, u8), StreamUse>);

impl Streams {
    /// A peer announces a stream.
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

    /// Roster or mandate have changed: something may be proven now.
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

    /// A link is gone, and what was said on it.
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
