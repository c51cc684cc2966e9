//! Application data that a script's sources publish, and the viewers that it reaches.

use std::collections::BTreeMap;

use plenary_proto::message::Delivery;
use plenary_proto::{Event, PeerId};

use crate::world::World;

/// Published pieces of data, with the viewers present at the time.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// For each piece its source, and the living viewers when it was published.
    pieces: Vec<(PeerId, Vec<PeerId>)>,
}

impl Published {
    /// Publishes a piece of data with a unique content from this peer.
    pub(super) fn publish(&mut self, world: &mut World, source: PeerId) {
        let piece = self.pieces.len() as u32;
        self.pieces.push((source, world.viewers()));
        world.publish(source, Delivery::Reliable, &piece.to_le_bytes());
    }

    /// Number of pieces that viewers received exactly once, and number of pieces that were due; both summed
    /// over the viewers that still live.
    pub(super) fn reached(&self, world: &World) -> (u64, u64) {
        let mut got: BTreeMap<(PeerId, u32), u32> = BTreeMap::new();
        let living = world.viewers();
        for viewer in &living {
            for (_, event) in world.events(*viewer) {
                if let Event::Data { bytes, .. } = event
                    && let Some(piece) = bytes.first_chunk()
                {
                    *got.entry((*viewer, u32::from_le_bytes(*piece))).or_default() += 1;
                }
            }
        }
        let mut wanted = 0;
        let mut reached = 0;
        for ((_, then), piece) in self.pieces.iter().zip(0..) {
            let there = then.iter().filter(|viewer| living.contains(viewer));
            for viewer in there {
                wanted += 1;
                reached += u64::from(got.get(&(*viewer, piece)) == Some(&1));
            }
        }
        (reached, wanted)
    }
}
