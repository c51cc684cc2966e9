//! Changes of this machine's network, as far as a page notices them.
//!
//! Browsers tell of them late or never: after its address had changed, Chromium 156 on Linux told nothing for seven
//! seconds, and then that a link is disconnected (measured). So the page itself notices that nothing comes on any link:
//! it pings all peers, and without an answer takes its network for another one.

use std::net::IpAddr;

use plenary_proto::message::Candidate;
use plenary_proto::watchdog::{PARENT_SILENT_US, suspect_us};

/// Interval between attempts to go on, while nothing comes and this end has found no address. A guess: each takes some
/// round trips.
const AGAIN_US: u64 = 500_000;
/// Interval of reports to the application. A guess: links are set up within that time.
const TOLD_EACH_US: u64 = 5_000_000;
/// Interval at which the rendezvous is dialled anew: browser and silence tell of the same change. A guess: twice the
/// time until silence tells.
const DIALLED_EACH_US: u64 = 1_000_000;
/// Lateness of this page's own work from which it doesn't judge: what has come meanwhile is still to be read. A guess:
/// four of its intervals.
const LATE_US: u64 = 100_000;

/// What a page does when no message or media arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Nothing,
    /// All peers are to be pinged.
    Ping,
    /// The links look for another path, and the rendezvous is dialled anew.
    Move,
    /// Links that look for another path, but have found no address of this end, look anew.
    MoveAgain,
}

/// Watches whether anything comes on the links.
#[derive(Debug, Default)]
pub(crate) struct NetworkWatch {
    /// When something came last.
    heard_us: u64,
    pinged_us: Option<u64>,
    moved_us: Option<u64>,
    ticked_us: u64,
    told_us: Option<u64>,
    dialled_us: Option<u64>,
}

impl NetworkWatch {
    /// To be called first at each interval. Returns whether this page was late, so that messages that have come
    /// meanwhile are still unread.
    pub(crate) fn is_late(&mut self, now_us: u64) -> bool {
        now_us.saturating_sub(std::mem::replace(&mut self.ticked_us, now_us)) >= LATE_US
    }

    /// Returns whether a change is to be told: each link shows the same one.
    pub(crate) fn is_told(&mut self, now_us: u64) -> bool {
        is_due(&mut self.told_us, now_us, TOLD_EACH_US)
    }

    /// Returns whether the rendezvous is to be dialled anew.
    pub(crate) fn dials(&mut self, now_us: u64) -> bool {
        is_due(&mut self.dialled_us, now_us, DIALLED_EACH_US)
    }

    /// To be called at each interval. `heard_us`: when something came last; `None` without links. `rtt_us`: round-trip
    /// time of the slowest link.
    pub(crate) fn judge(&mut self, now_us: u64, heard_us: Option<u64>, rtt_us: u64) -> Act {
        let Some(heard_us) = heard_us else { return Act::Nothing };
        if heard_us > self.heard_us {
            (self.heard_us, self.pinged_us, self.moved_us) = (heard_us, None, None);
        }
        let is_over = |at_us: Option<u64>, span_us: u64| at_us.is_some_and(|at_us| now_us >= at_us + span_us);
        match (self.pinged_us, self.moved_us) {
            (None, _) if is_over(Some(heard_us), PARENT_SILENT_US) => {
                self.pinged_us = Some(now_us);
                Act::Ping
            }
            (pinged_us, None) if is_over(pinged_us, suspect_us(rtt_us)) => {
                self.moved_us = Some(now_us);
                Act::Move
            }
            (_, moved_us) if is_over(moved_us, AGAIN_US) => {
                self.moved_us = Some(now_us);
                Act::MoveAgain
            }
            _ => Act::Nothing,
        }
    }
}

fn is_due(last_us: &mut Option<u64>, now_us: u64, each_us: u64) -> bool {
    let is_due = last_us.is_none_or(|at_us| now_us.saturating_sub(at_us) >= each_us);
    if is_due {
        *last_us = Some(now_us);
    }
    is_due
}

/// Whether these candidates show that the machine has another address than before. Addresses of the same kind and
/// family are compared.
pub(crate) fn is_elsewhere(before: &[Candidate], now: &[Candidate]) -> bool {
    let place = |candidate: &Candidate| -> Option<(bool, IpAddr)> {
        match candidate {
            Candidate::Host(address) => Some((true, address.ip())),
            Candidate::Reflexive(address) => Some((false, address.ip())),
            Candidate::Named(..) | Candidate::Relayed(_) => None,
        }
    };
    let known: Vec<(bool, IpAddr)> = before.iter().filter_map(place).collect();
    now.iter().filter_map(place).any(|(is_host, ip)| {
        let alike = |other: &&(bool, IpAddr)| other.0 == is_host && other.1.is_ipv4() == ip.is_ipv4();
        known.iter().any(|other| alike(&other)) && !known.contains(&(is_host, ip))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT_US: u64 = 40_000;

    /// Runs the watch every 25 ms, while something comes at these times. Returns when it acted, in milliseconds.
    fn acts(
        until_ms: u64,
        comes_at_ms: impl Fn(u64) -> bool,
        is_late: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Act)> {
        let (mut watch, mut heard_us, mut acts) = (NetworkWatch::default(), None, Vec::new());
        for ms in (1000..until_ms).step_by(25) {
            if comes_at_ms(ms) {
                heard_us = Some(ms * 1000);
            }
            if is_late(ms) {
                continue;
            }
            if watch.is_late(ms * 1000) {
                heard_us = heard_us.map(|_| ms * 1000);
            }
            match watch.judge(ms * 1000, heard_us, RTT_US) {
                Act::Nothing => {}
                act => acts.push((ms, act)),
            }
        }
        acts
    }

    #[test]
    fn silence_on_all_links_is_a_change_unless_a_ping_is_answered() {
        let silent = acts(4000, |ms| ms <= 2000, |_| false);
        assert_eq!(
            silent,
            [
                (2150, Act::Ping),
                (2350, Act::Move),
                (2850, Act::MoveAgain),
                (3350, Act::MoveAgain),
                (3850, Act::MoveAgain)
            ]
        );
        // pings of half a second, and answers to this end's
        let quiet = acts(4000, |ms| ms % 500 == 0 || ms % 500 == 200, |_| false);
        assert!(quiet.len() > 3 && quiet.iter().all(|(_, act)| *act == Act::Ping), "{quiet:?}");
        assert_eq!(acts(4000, |_| false, |_| false), [], "without links");
    }

    #[test]
    fn a_page_that_was_late_itself_judges_anew() {
        let late = acts(3000, |ms| !(2000..=2600).contains(&ms), |ms| (2000..2600).contains(&ms));
        assert_eq!(late, []);
    }

    #[test]
    fn another_address_of_a_known_kind_is_another_place() {
        let host = |last| Candidate::Host(([192, 0, 2, last], 7).into());
        let outer = |last| Candidate::Reflexive(([203, 0, 113, last], 7).into());
        let v6 = Candidate::Host("[2001:db8::1]:7".parse().unwrap());
        assert!(
            is_elsewhere(&[host(1)], &[host(1), host(2)]) && is_elsewhere(&[host(1), outer(1)], &[outer(2)])
        );
        assert!(!is_elsewhere(&[host(1)], &[host(1)]) && !is_elsewhere(&[host(1)], &[outer(2), v6]));
        assert!(!is_elsewhere(&[], &[host(2)]) && !is_elsewhere(&[host(1)], &[]));
    }
}
