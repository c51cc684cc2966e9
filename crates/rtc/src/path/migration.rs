//! Migration of a link to another address of either end before ICE has found a path there, without IO: as QUIC does it
//! (RFC 9000, section 9), an address counts once a check to it was answered.
//!
//! After a change of network an end checks the other end's address from its own new addresses, without signaling. That
//! end sees a check with the link's credentials from an unknown address, and checks it in turn. The ICE restart that
//! follows takes an agent's place on the path; this alone would not reach an end behind most NATs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::socket::{Check, TransactionId};

/// Interval between two checks of a pair, and their number. Guesses: a round trip of a near path; half a second in all,
/// after which a restart finds a path at the earliest by the rendezvous.
const CHECK_EACH: Duration = Duration::from_millis(50);
const CHECKS_MAX: u8 = 10;
/// Maximum number of pairs that are checked at a time: an end's addresses, or those that one shows. A guess.
const PAIRS_MAX: usize = 4;

#[derive(Debug)]
struct Pair {
    local: SocketAddr,
    peer: SocketAddr,
    /// Whether its checks have the credentials of the restart under way, or else the link's.
    of_restart: bool,
    id: TransactionId,
    due: Option<Instant>,
    sent: u8,
}

/// The pairs of addresses that are checked.
#[derive(Debug, Default)]
pub(crate) struct Migration(Vec<Pair>);

impl Migration {
    /// Begins to check a pair, with the credentials of the link or of the restart under way. `id`: the transaction of
    /// all its checks.
    pub(crate) fn check(
        &mut self,
        now: Instant,
        (local, peer): (SocketAddr, SocketAddr),
        (of_restart, id): (bool, TransactionId),
    ) {
        self.0.retain(|pair| pair.due.is_some());
        let is_known = self.0.iter().any(|pair| (pair.local, pair.peer) == (local, peer));
        if !is_known && self.0.len() < PAIRS_MAX {
            self.0.push(Pair { local, peer, of_restart, id, due: Some(now), sent: 0 });
        }
    }

    /// Returns the checks that are due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(SocketAddr, SocketAddr, (bool, TransactionId))> {
        let mut all = Vec::new();
        for pair in self.0.iter_mut().filter(|pair| pair.due.is_some_and(|due| due <= now)) {
            pair.sent += 1;
            pair.due = (pair.sent < CHECKS_MAX).then_some(now + CHECK_EACH);
            all.push((pair.local, pair.peer, (pair.of_restart, pair.id)));
        }
        all
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.iter().filter_map(|pair| pair.due).min()
    }

    /// Takes the answer to a check, which has the link's credentials. Returns whether it answers one of a pair, which
    /// is a path then.
    pub(crate) fn answered(&mut self, local: SocketAddr, peer: SocketAddr, datagram: &[u8]) -> bool {
        let Some((Check::Response, id)) = Check::of(datagram) else { return false };
        let is_it = |pair: &Pair| (pair.local, pair.peer, pair.id) == (local, peer, id);
        let is_answered = self.0.iter().any(is_it);
        if is_answered {
            self.0.clear();
        }
        is_answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = [7; 12];

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn answer(id: TransactionId) -> Vec<u8> {
        [&[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], &id[..], &[0, 0, 0, 0]].concat()
    }

    #[test]
    fn a_pair_is_checked_ten_times_and_is_a_path_when_it_answers() {
        let (mut migration, now) = (Migration::default(), Instant::now());
        migration.check(now, (address(1), address(2)), (false, ID));
        migration.check(now, (address(1), address(2)), (false, [8; 12]));
        let sent = (0..100).map(|at| migration.take_due(now + at * Duration::from_millis(10)).len());
        assert_eq!(sent.sum::<usize>(), 10);
        assert_eq!(migration.poll_timeout(), None);
        assert!(!migration.answered(address(1), address(3), &answer(ID)), "from elsewhere");
        assert!(!migration.answered(address(1), address(2), &answer([8; 12])), "to another check");
        assert!(migration.answered(address(1), address(2), &answer(ID)));
        assert!(!migration.answered(address(1), address(2), &answer(ID)), "once");
    }

    #[test]
    fn four_pairs_are_checked_at_a_time() {
        let (mut migration, now) = (Migration::default(), Instant::now());
        (1..100).for_each(|port| migration.check(now, (address(port), address(1_000)), (false, ID)));
        assert_eq!(migration.take_due(now).len(), PAIRS_MAX);
    }
}
