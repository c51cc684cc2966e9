//! Interface for peers that deviate from the protocol.
//!
//! An honest body carries out its brain's outputs and reports to the brain what happens. A deviation is
//! placed between the two in both directions: it may change, add and suppress outputs, and inputs too
//! (including the verdicts of watchdogs). The receivers check everything that such a peer sends, as on real
//! links: an invalid signature is a violation by the sender.

use std::fmt::Debug;

use plenary_proto::message::{Heartbeat, Message, StreamUse};
use plenary_proto::packet::MediaPacket;
use plenary_proto::{Address, Input, Output, PeerId, RoomId, Time};

/// Behaviour of one peer where it differs from an honest one.
pub trait Deviation: Debug + Send {
    /// Called with each output of the brain. The outputs left in `instead` are carried out in its place, in
    /// that order.
    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>) {
        let _ = now;
        instead.push(output);
    }

    /// Called with each input; `None` withholds it from the brain.
    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        let _ = now;
        Some(input)
    }

    /// Called for each packet of the program that is due to be forwarded to a child.
    fn forwards(&mut self, now: Time, child: PeerId) -> Forwarding {
        let _ = (now, child);
        Forwarding::AsItIs
    }

    /// Called with each packet of the program that has arrived, in rooms with bodies. Returns media that the
    /// peer sends of its own accord.
    fn strays(&mut self, now: Time, room: &RoomId, came: &MediaPacket) -> Option<Stray> {
        let _ = (now, room, came);
        None
    }

    /// Called every 25 ms in rooms with bodies, with the peers that are linked with this one. Returns what the peer
    /// sends beside what its brain says.
    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        let _ = (now, linked);
        Vec::new()
    }
}

/// Something that a deviating peer sends of its own accord.
#[derive(Clone, Debug)]
pub enum Saying {
    /// A message on the link with a peer; dropped without such a link.
    Control(PeerId, Message),
    /// A message through the rendezvous.
    Signal(Address, Message),
    /// A heartbeat on the link with a peer.
    Beat(PeerId, Heartbeat),
}

/// Media that nobody asked for.
#[derive(Clone, Debug)]
pub struct Stray {
    /// Sent to all linked peers; otherwise to those that this peer feeds.
    pub to_all: bool,
    /// The stream, announced before the packets.
    pub announces: Option<StreamUse>,
    /// Pictures of the program.
    pub packets: Vec<MediaPacket>,
}

/// Treatment of a packet that is due to be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The packet is forwarded.
    AsItIs,
    /// The packet is forwarded after a delay, microseconds.
    Later(u64),
    /// The packet is dropped.
    Never,
    /// The child receives a forged packet under the same number.
    Forged,
}
