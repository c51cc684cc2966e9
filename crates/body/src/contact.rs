//! Whether a peer is connected with its room, for the application.

use crate::body::Body;

/// Time without contact after which a peer on stage counts as disconnected: contact is an arrival from another peer on
/// stage within as long a time. A guess: shorter than ICE takes to give a link up.
const UNHEARD_US_MAX: u32 = 2_500_000;

/// Contact of one peer with its room.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    /// Last contact: whether the peer stood on stage then, and the time in microseconds.
    linked: Option<(bool, u64)>,
}

impl Contact {
    /// Returns whether the peer is connected: a viewer that is fed, or a peer on stage in contact with another one
    /// there. One that comes on stage, or leaves it, stays connected meanwhile.
    pub(crate) fn is_linked(&mut self, body: &Body, now_us: u64) -> bool {
        let on_stage = body.stage().iter().any(|entry| entry.peer == body.me);
        let has_contact = if on_stage { has_contact(body, now_us) } else { is_fed(body) };
        self.follow(on_stage, has_contact, now_us)
    }

    fn follow(&mut self, on_stage: bool, has_contact: bool, now_us: u64) -> bool {
        if has_contact {
            self.linked = Some((on_stage, now_us));
        }
        // a viewer without a parent is disconnected at once; the first other peer on stage has yet to be linked
        self.linked.is_some_and(|(was_on_stage, at_us)| {
            has_contact || (on_stage || was_on_stage) && now_us.saturating_sub(at_us) < UNHEARD_US_MAX.into()
        })
    }
}

fn is_fed(body: &Body) -> bool {
    let brain = body.brain();
    brain.parent().is_some() || brain.is_mixing()
}

fn has_contact(body: &Body, now_us: u64) -> bool {
    let mut others = body.stage().iter().filter(|entry| entry.peer != body.me && !entry.away).peekable();
    let silent_us = |peer| body.silent_us(peer, now_us).unwrap_or(u32::MAX);
    others.peek().is_none() || others.any(|entry| silent_us(&entry.peer) < UNHEARD_US_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_comes_on_stage_or_leaves_it_stays_connected_meanwhile() {
        let mut contact = Contact::default();
        assert!(!contact.follow(true, false, 0), "not linked yet");
        assert!(contact.follow(true, true, 1));
        assert!(contact.follow(false, false, 1_000_000), "demoted, and not fed yet");
        assert!(contact.follow(false, true, 1_500_000));
        assert!(!contact.follow(false, false, 1_500_001), "a viewer that lost its parent");
        assert!(contact.follow(false, true, 1_600_000));
        assert!(contact.follow(true, false, 1_700_000), "promoted, and not linked yet");
        assert!(!contact.follow(true, false, 1_600_000 + u64::from(UNHEARD_US_MAX)));
        assert!(contact.follow(true, true, 9_000_000));
        assert!(!contact.follow(false, false, 9_000_000 + u64::from(UNHEARD_US_MAX)), "nobody feeds it");
    }
}
