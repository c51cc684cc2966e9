//! Whether a peer is connected with its room, for the application.

use crate::body::Body;

/// Time without contact after which a peer on stage counts as disconnected: contact is an arrival from another peer on
/// stage within as long a time. A guess: shorter than ICE takes to give a link up.
const UNHEARD_US_MAX: u32 = 2_500_000;

/// Contact of one peer with its room.
#[derive(Debug, Default)]
pub struct Contact {
    /// When the peer, if it is on stage, last had contact with another peer there, in microseconds.
    linked_us: Option<u64>,
}

impl Contact {
    /// Returns whether the peer is connected: a viewer that is fed, or a peer on stage in contact with another one there.
    pub fn is_linked(&mut self, body: &Body, now_us: u64) -> bool {
        if !body.stage().iter().any(|entry| entry.peer == body.me) {
            let brain = body.snapshot();
            return brain.parent.is_some() || brain.mixing;
        }
        let mut others = body.stage().iter().filter(|entry| entry.peer != body.me && !entry.away).peekable();
        let silent_us = |peer| body.silent_us(peer, now_us).unwrap_or(u32::MAX);
        if others.peek().is_none() || others.any(|entry| silent_us(&entry.peer) < UNHEARD_US_MAX) {
            self.linked_us = Some(now_us);
        }
        // the first other peer on stage has yet to be linked
        self.linked_us.is_some_and(|at_us| now_us.saturating_sub(at_us) < u64::from(UNHEARD_US_MAX))
    }
}
