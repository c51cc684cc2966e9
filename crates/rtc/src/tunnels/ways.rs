//! The ways by which one link may go through tunnels, and the choice between them, without IO.

use std::time::{Duration, Instant};

use plenary_proto::PeerId;
use plenary_proto::packet::LinkId;

/// Maximum number of tunnels of one link: those that the brain opens (four), and the rendezvous.
const WAYS_MAX: usize = 5;
/// Silence on one way after which the next is used. A guess: longer than the pauses of a link that carries media or
/// heartbeats (100 ms), shorter than what a viewer takes for a stop.
const SILENCE_MAX: Duration = Duration::from_millis(350);

/// What carries a link's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A peer, by the link with it and the tunnel's number there.
    Link(LinkId, u16),
    /// The rendezvous, to this other end.
    Rendezvous(PeerId),
}

/// The tunnels of one link.
///
/// Both ends send by the tunnel that they have heard last: the carrier, and both lines to it, work. After a silence the
/// next one is tried.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    all: Vec<By>,
    /// Index of the way in use.
    current: usize,
    /// Time of the last datagram by it, or of the choice.
    since: Option<Instant>,
}

impl Ways {
    /// Adds a way, or changes its channel. Returns whether the link had none.
    pub(crate) fn open(&mut self, by: By) -> bool {
        if let By::Link(link, _) = by {
            self.shut(link);
        }
        let is_first = self.all.is_empty();
        if !self.all.contains(&by) && self.all.len() < WAYS_MAX {
            self.all.push(by);
        }
        is_first
    }

    /// Removes the way by that link.
    pub(crate) fn shut(&mut self, link: LinkId) {
        let is_it = |by: &By| matches!(by, By::Link(carrier, _) if *carrier == link);
        let Some(at) = self.all.iter().position(is_it) else { return };
        self.all.remove(at);
        match self.current {
            current if current > at => self.current -= 1,
            current if current == at => (self.current, self.since) = (0, None),
            _ => {}
        }
    }

    /// A datagram came by this way. Returns whether the way is one of the link's.
    pub(crate) fn heard(&mut self, by: By, now: Instant) -> bool {
        let Some(at) = self.all.iter().position(|known| *known == by) else { return false };
        (self.current, self.since) = (at, Some(now));
        true
    }

    /// Returns the way in use; `None` without any.
    pub(crate) fn current(&self) -> Option<By> {
        self.all.get(self.current).copied()
    }

    /// Returns the way that a datagram takes now.
    pub(crate) fn choose(&mut self, now: Instant) -> Option<By> {
        let since = *self.since.get_or_insert(now);
        if self.all.len() > 1 && now.saturating_duration_since(since) > SILENCE_MAX {
            (self.current, self.since) = ((self.current + 1) % self.all.len(), Some(now));
        }
        self.current()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: By = By::Link(LinkId(1), 7);
    const OTHER: By = By::Link(LinkId(2), 7);

    fn two() -> (Ways, Instant) {
        let mut ways = Ways::default();
        assert!(ways.open(ONE) && !ways.open(OTHER));
        (ways, Instant::now())
    }

    #[test]
    fn datagrams_go_by_the_carrier_that_was_heard_last() {
        let (mut ways, now) = two();
        assert_eq!(ways.choose(now), Some(ONE));
        assert!(ways.heard(OTHER, now));
        assert_eq!(ways.choose(now + Duration::from_millis(300)), Some(OTHER));
        assert!(!ways.heard(By::Link(LinkId(3), 7), now), "not one of the link's");
        assert!(!ways.heard(By::Link(LinkId(2), 8), now), "nor another tunnel of the same carrier");
    }

    #[test]
    fn after_a_silence_the_next_carrier_is_tried_and_then_the_first_again() {
        let (mut ways, now) = two();
        let chosen = |ways: &mut Ways, ms| ways.choose(now + Duration::from_millis(ms));
        assert_eq!(
            [0, 340, 360, 700, 720].map(|ms| chosen(&mut ways, ms)),
            [Some(ONE), Some(ONE), Some(OTHER), Some(OTHER), Some(ONE)]
        );
        ways.shut(LinkId(2));
        assert_eq!(chosen(&mut ways, 5_000), Some(ONE), "there is no other one");
    }

    #[test]
    fn a_carrier_that_is_gone_is_not_used() {
        let (mut ways, now) = two();
        ways.heard(OTHER, now);
        ways.shut(LinkId(1));
        assert_eq!(ways.choose(now), Some(OTHER));
        ways.shut(LinkId(2));
        assert_eq!((ways.choose(now), ways.current()), (None, None));
        ways.open(By::Link(LinkId(2), 9));
        assert_eq!(ways.choose(now), Some(By::Link(LinkId(2), 9)));
    }

    #[test]
    fn a_link_has_five_tunnels_at_most() {
        let mut ways = Ways::default();
        (0..100).for_each(|number| _ = ways.open(By::Link(LinkId(number), 1)));
        assert_eq!(ways.all.len(), WAYS_MAX);
    }
}
