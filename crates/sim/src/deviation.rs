//! Peers that don't keep to the protocol.
//!
//! An honest body carries out what its brain says and tells it what happened. A deviation stands on both ways:
//! it may change, add and swallow what is carried out, and what the brain is told (its watches' verdicts too).
//! Whatever it lets a peer send is checked by the receivers as on real links: a signature that doesn't hold is a
//! misdeed of the sender.

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

    /// The program is here: how much later it is passed on to that child; `None`: not at all.
    fn passes_on(&mut self, now: Time, child: PeerId) -> Option<u64> {
        let _ = (now, child);
        Some(0)
    }
}
