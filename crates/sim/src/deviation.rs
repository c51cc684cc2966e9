//! Peers that don't keep to the protocol.
//!
//! An honest body carries out what its brain says and tells it what happened. A deviation stands on both ways:
//! it may change, add and swallow what is carried out, and what the brain is told (its watches' verdicts too).
//! Whatever it lets a peer send is checked by the receivers as on real links: a signature that doesn't hold is a
//! violation of the sender.

use std::fmt::Debug;

use plenary_proto::{Input, Output, PeerId, Time};

/// What one peer does otherwise than an honest one.
pub trait Deviation: Debug + Send {
    /// The brain wants this done; what is in `instead` afterwards is done in its place, in that order.
    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>) {
        let _ = now;
        instead.push(output);
    }

    /// This happened to the peer; `None`: its brain isn't told.
    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        let _ = now;
        Some(input)
    }

    /// A packet of the program is here: what becomes of it on its way to that child.
    fn forwards(&mut self, now: Time, child: PeerId) -> Forwarding {
        let _ = (now, child);
        Forwarding::AsItIs
    }
}

/// What a peer makes of a packet that a child should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// It is forwarded.
    AsItIs,
    /// It is forwarded so many microseconds later.
    Later(u64),
    /// It is not.
    Never,
    /// The child gets something else under its number.
    Forged,
}
