//! Tunnellers: guests that want to be carried everywhere, and say that they carry what they don't.

use plenary_proto::message::{LinkKind, TunnelMessage};
use plenary_proto::{PeerId, Time};

use crate::deviation::{Deviation, Saying};
use crate::world::World;

/// A guest that asks each peer that it is linked with, 40 times a second, to carry its links with all others, and tells
/// each one that it carries the others' links with it.
#[derive(Debug)]
pub struct Tunneller {
    from: Time,
    channel: u16,
}

impl Deviation for Tunneller {
    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        let mut says = Vec::new();
        for peer in linked.iter().filter(|_| now >= self.from) {
            for with in linked.iter().filter(|with| *with != peer) {
                self.channel = self.channel.wrapping_add(1);
                let (with, kind, channel) = (*with, LinkKind::Peer, self.channel);
                says.push(Saying::Control(*peer, TunnelMessage::Wanted { with, kind }.into()));
                says.push(Saying::Control(*peer, TunnelMessage::Opened { with, kind, channel }.into()));
            }
        }
        says
    }
}

/// Makes a peer a tunneller from a time on, by index in the plan.
pub fn set_on(world: &mut World, planned: usize, from: Time) {
    world.deviate_from_the_start(planned, Box::new(Tunneller { from, channel: 0 }));
}
