//! Talkers: ids of one owner that each say to the room as much as one source alone could, whatever their shares are.
//! What they say may be lost, so that nothing that is dropped holds up what follows.

use plenary_proto::bounded::List;
use plenary_proto::message::{Data, DataMessage, Delivery, ElectionMessage, LOOSE_LEN_MAX, Message};
use plenary_proto::seal::{Keypair, Signed};
use plenary_proto::time::SECOND;
use plenary_proto::{Input, PeerId, RoomId, Time};

use crate::deviation::{Deviation, Saying};
use crate::world::{UNIX_S_AT_ZERO, World};

/// Pieces in 25 ms: with [`LOOSE_LEN_MAX`] bytes each 72 kB a second.
const PIECES: u64 = 2;

/// Member of the group.
#[derive(Debug)]
pub struct Talker {
    keys: Keypair,
    room: RoomId,
    from: Time,
    unix_s_at_zero: u64,
    said: u64,
    mixers: Vec<PeerId>,
}

impl Talker {
    /// A talker with these keys, from a time on; times count from `unix_s_at_zero`.
    pub fn new(keys: Keypair, room: RoomId, from: Time, unix_s_at_zero: u64) -> Talker {
        Talker { keys, room, from, unix_s_at_zero, said: 0, mixers: Vec::new() }
    }
}

impl Deviation for Talker {
    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        if let Input::Message { message, .. } = &input
            && let Message::Election(ElectionMessage::Decided(decided)) = &**message
        {
            self.mixers = decided.body.mixers.to_vec();
        }
        Some(input)
    }

    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if now < self.from {
            return Vec::new();
        }
        let mixers: Vec<_> = self.mixers.iter().filter(|mixer| linked.contains(mixer)).collect();
        let mut says = Vec::new();
        for _ in 0..PIECES {
            self.said += 1;
            let bytes = List::truncated(std::iter::repeat_n(b'x', LOOSE_LEN_MAX));
            let body = Data { run: 1, number: self.said, delivery: Delivery::Loose, bytes };
            let expires = self.unix_s_at_zero + now.0 / SECOND + 600;
            let data = Signed::new(&self.keys, &self.room, 0, self.said, expires, body);
            says.extend(
                mixers
                    .iter()
                    .map(|mixer| Saying::Control(**mixer, Message::Data(DataMessage::Data(data.clone())))),
            );
        }
        says
    }
}

/// Makes peers talk from a time on, by index in the plan.
pub fn set_on(world: &mut World, planned: impl Iterator<Item = usize>, from: Time) {
    for at in planned {
        let (keys, room) = (world.keys_of(at), world.room());
        let talker = Talker::new(keys, room, from, UNIX_S_AT_ZERO);
        world.deviate_from_the_start(at, Box::new(talker));
    }
}
