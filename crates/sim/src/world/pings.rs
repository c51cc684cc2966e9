//! Pings between peers on stage, from which a peer learns how often the others pause. Pings are not simulated
//! as events: once a second the answers to pings sent some seconds ago are computed.

use plenary_proto::Time;
use plenary_proto::message::LinkKind;
use plenary_proto::time::SECOND;
use plenary_proto::watchdog::PING_US;

use super::World;

/// Timeout for the answer to a ping: 2 s.
const ANSWERED_US_MAX: u64 = 2 * SECOND;

impl World {
    /// Computes one second's pings of all peers on stage. Must be called once a second.
    pub(super) fn ping_the_stage(&mut self) {
        let Some(from) = self.now.0.checked_sub(ANSWERED_US_MAX + SECOND) else { return };
        let stage: Vec<usize> = self.stage.iter().copied().filter(|at| self.peers[*at].is_there()).collect();
        for at in stage.iter().copied() {
            let mut pauses = std::mem::take(&mut self.peers[at].pauses);
            for sent in (from..from + SECOND).step_by(PING_US as usize).map(Time) {
                if self.stood_still_until(at, sent).is_some() {
                    continue;
                }
                pauses.pinged(sent);
                let links = self.peers[at].links.iter().filter(|link| link.kind == LinkKind::Peer);
                for link in
                    links.filter(|link| link.since <= sent && stage.binary_search(&link.other).is_ok())
                {
                    let answered = self.answered_at(at, link.other, sent);
                    if let Some(answered) = answered.filter(|at| at.since(sent) <= ANSWERED_US_MAX) {
                        pauses.answered(self.peers[link.other].id, sent, answered);
                    }
                }
            }
            self.peers[at].pauses = pauses;
        }
    }

    /// When a peer receives another peer's answer to its ping; `None` if ping or answer is lost.
    fn answered_at(&self, at: usize, other: usize, sent: Time) -> Option<Time> {
        if self.unheard_since(other, at).is_some() {
            return None;
        }
        let asked = self.net.would_arrive(sent, at, other)?;
        let replied = self.stood_still_until(other, asked).unwrap_or(asked);
        let back = self.net.would_arrive(replied, other, at)?;
        Some(self.stood_still_until(at, back).unwrap_or(back))
    }

    /// End of the stall that peer `at` was in at time `then`; `None` if its latest stall doesn't cover
    /// `then`.
    fn stood_still_until(&self, at: usize, then: Time) -> Option<Time> {
        let peer = &self.peers[at];
        (peer.stalled_from <= then && then < peer.stalled_until).then_some(peer.stalled_until)
    }
}
