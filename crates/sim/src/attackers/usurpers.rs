//! Usurpers: standbys that say that the mixer has asked them to take over.

use std::collections::VecDeque;

use plenary_proto::message::{Failover, FailoverMessage, Message, Resignation};
use plenary_proto::seal::{Keypair, Signature, Signed};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Address, Input, PeerId, Rank, RoomId, Time, Via};

use crate::deviation::{Deviation, Saying};
use crate::world::{UNIX_S_AT_ZERO, World};

/// Interval of the attempts.
const AGAIN_US: u64 = 500 * MS;

/// A standby that declares failovers over a living mixer, each under the next rank that is its own.
#[derive(Debug)]
pub struct Usurper {
    keys: Keypair,
    room: RoomId,
    everyone: Vec<PeerId>,
    mixer: PeerId,
    /// The rank in force, and the number of peers that share its failover counts.
    rank: Rank,
    eligible: u16,
    /// Wishes of the mixer, one for each attempt in turn.
    wishes: Vec<(Option<Signature>, Rank)>,
    attempts: u16,
    next_at: Time,
    /// Its own failovers that its brain hasn't heard of.
    unheard: VecDeque<Message>,
}

impl Usurper {
    /// The failover of an attempt.
    fn failover(&self, attempt: u16) -> Message {
        let (wish, after) = self.wishes[usize::from(attempt) % self.wishes.len()];
        let failover_count = 1 + attempt * self.eligible;
        let rank = Rank { term: self.rank.term, failover_count };
        let body = Failover { rank, after, over: self.mixer, wish: wish.map(Box::new) };
        Message::Failover(FailoverMessage::Failover(Signed::new(
            &self.keys,
            &self.room,
            0,
            attempt.into(),
            u64::MAX,
            body,
        )))
    }
}

impl Deviation for Usurper {
    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        // its brain follows its own failovers, those that nobody would find a violation in
        let unix_s = UNIX_S_AT_ZERO + now.0 / SECOND;
        let own = match input {
            Input::Timeout => self.unheard.pop_front(),
            _ => None,
        };
        let own = own.and_then(|own| own.verify(&self.room, &self.keys.id(), unix_s).ok());
        Some(match own {
            Some(message) => Input::Message { from: self.mixer, via: Via::Link, message },
            None => input,
        })
    }

    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if now < self.next_at {
            return Vec::new();
        }
        self.next_at = now + AGAIN_US;
        let message = self.failover(self.attempts);
        self.attempts += 1;
        self.unheard.push_back(message.clone());
        let linked = linked.iter().map(|peer| Saying::Control(*peer, message.clone()));
        let all = self.everyone.iter().map(|peer| Saying::Signal(Address::Peer(*peer), message.clone()));
        linked.chain(all).collect()
    }
}

/// Makes the first standby a usurper of the mixer in force, now. Its failovers contain no wish, one that it signed
/// itself, and wishes of the mixer for another rank and for another peer. Returns mixer and standby; `None` if the room
/// has no standby.
pub fn set_on(world: &mut World) -> Option<(PeerId, PeerId)> {
    let stage = world.snapshot(world.planned(0));
    let (mixer, standby) = (*stage.mixers.first()?, *stage.standbys.first()?);
    let keys_of = |peer: PeerId| Some(world.keys_of(world.planned_at(&peer)?));
    let (keys, mixers_keys) = (keys_of(standby)?, keys_of(mixer)?);
    let (room, rank) = (world.room(), stage.rank);
    let earlier = Rank { term: rank.term.saturating_sub(1), failover_count: rank.failover_count };
    let wish = |of: &Keypair, rank, successor| Some(Resignation { rank, successor }.sign(of, &room));
    let usurper = Usurper {
        wishes: vec![
            (None, rank),
            (wish(&keys, rank, standby), rank),
            (wish(&mixers_keys, earlier, standby), rank),
            (wish(&mixers_keys, earlier, standby), earlier),
            (wish(&mixers_keys, rank, world.planned(0)), rank),
        ],
        keys,
        room,
        everyone: (0..world.plan().peers.len()).map(|at| world.planned(at)).collect(),
        mixer,
        rank,
        eligible: (stage.mixers.len() + stage.standbys.len()) as u16,
        attempts: 0,
        next_at: world.now(),
        unheard: VecDeque::new(),
    };
    world.deviate(standby, Box::new(usurper));
    Some((mixer, standby))
}
