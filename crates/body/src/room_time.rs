//! The room's time: the wall clock by which letters and statements are sealed and judged.
//!
//! A machine's own clock may be wrong by hours, and is read once, when the peer starts. The rendezvous tells every peer
//! its own at the entry and with each ping, and peers with other clocks go by that one. So the peers of a room agree,
//! and it doesn't matter which clock is right. Media go by the steady clock of their peer.

/// Difference that changes nothing, in seconds: of clocks that were set by hand, and of a frame that came late. A
/// guess, far below the life of an envelope.
const AGREES_S: u64 = 30;
/// Difference between two tellings that confirm each other, in seconds, since frames wait in queues. A guess.
const CONFIRMS_S: u64 = 5;
/// Time between them, in microseconds. Frames that have waited while this machine stood still come together, and say
/// what the time was: they don't confirm each other. A guess, below the interval of pings.
const CONFIRM_US: u64 = 2_000_000;
/// Latest time that is believed, in seconds since 1970: the year 2514, in which counters still fit.
const UNIX_S_MAX: u64 = 1 << 34;

/// The room's time, as far as this peer knows it.
#[derive(Debug, Default)]
pub(crate) struct RoomTime {
    /// Seconds by which the room's time is later than this peer's clock.
    later_s: i64,
    is_told: bool,
    /// An unconfirmed telling of another time: its arrival, and the seconds ahead of this peer's clock.
    unconfirmed: Option<(u64, i64)>,
}

impl RoomTime {
    /// Returns the room's time in seconds since 1970. `now_us`: this peer's clock, in microseconds since 1970.
    pub(crate) fn unix_s(&self, now_us: u64) -> u64 {
        (now_us / 1_000_000).saturating_add_signed(self.later_s)
    }

    /// Returns the room's time in microseconds since 1970.
    pub(crate) fn unix_us(&self, now_us: u64) -> u64 {
        now_us.saturating_add_signed(self.later_s.saturating_mul(1_000_000))
    }

    /// Returns the seconds by which the room's time is later than this peer's clock.
    pub(crate) fn later_s(&self) -> i64 {
        self.later_s
    }

    /// Takes what the rendezvous tells. Returns the seconds by which the room's time moves, if it does: by the first
    /// telling at once, later by two that confirm each other.
    pub(crate) fn told(&mut self, now_us: u64, unix_s: u64) -> Option<i64> {
        let own_s = now_us / 1_000_000;
        let told_s =
            i64::try_from(unix_s).ok().filter(|_| unix_s <= UNIX_S_MAX)?.checked_sub_unsigned(own_s)?;
        let is_first = !std::mem::replace(&mut self.is_told, true);
        if told_s.abs_diff(self.later_s) <= AGREES_S {
            self.unconfirmed = None;
            return None;
        }
        let confirms = |(at_us, other_s): (u64, i64)| {
            (told_s.abs_diff(other_s) <= CONFIRMS_S).then(|| now_us.saturating_sub(at_us) >= CONFIRM_US)
        };
        match self.unconfirmed.and_then(confirms) {
            Some(true) => {}
            _ if is_first => {}
            Some(false) => return None,
            None => {
                self.unconfirmed = Some((now_us, told_s));
                return None;
            }
        }
        self.unconfirmed = None;
        let later_s = if told_s.unsigned_abs() <= AGREES_S { 0 } else { told_s };
        Some(later_s - std::mem::replace(&mut self.later_s, later_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    /// What follows when the rendezvous tells a difference, at that second of this peer's clock.
    fn tell(time: &mut RoomTime, at_s: u64, later_s: i64) -> Option<i64> {
        let own_s = NOW_S + at_s;
        time.told(own_s * 1_000_000, own_s.saturating_add_signed(later_s))
    }

    #[test]
    fn differences_of_some_seconds_change_nothing() {
        let mut time = RoomTime::default();
        assert!((0..20).all(|at| tell(&mut time, at * 5, [-30, 30, 7, 0][at as usize % 4]).is_none()));
        assert_eq!(time.unix_s(NOW_S * 1_000_000), NOW_S);
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_is_corrected_by_the_first_word() {
        for wrong_s in [-3600, 3600, -1_700_000_000] {
            let mut time = RoomTime::default();
            assert_eq!(tell(&mut time, 0, wrong_s), Some(wrong_s));
            assert_eq!(time.unix_s(NOW_S * 1_000_000), NOW_S.saturating_add_signed(wrong_s));
            assert_eq!(tell(&mut time, 5, wrong_s + 20), None);
        }
    }

    #[test]
    fn a_later_change_counts_when_it_is_confirmed() {
        let mut time = RoomTime::default();
        tell(&mut time, 0, 3600);
        assert_eq!(tell(&mut time, 5, 0), None);
        assert_eq!(tell(&mut time, 10, 1), Some(-3600));
        assert_eq!((time.later_s(), tell(&mut time, 15, 0)), (0, None));
        assert_eq!(
            (tell(&mut time, 20, 500), tell(&mut time, 25, 0), tell(&mut time, 30, 500)),
            (None, None, None)
        );
    }

    #[test]
    fn what_has_waited_while_the_machine_stood_still_moves_nothing() {
        let mut time = RoomTime::default();
        tell(&mut time, 0, 0);
        let old = [-360, -355, -350].map(|later_s| tell(&mut time, 360, later_s));
        assert_eq!((old, tell(&mut time, 361, 0)), ([None; 3], None));
    }

    #[test]
    fn a_rendezvous_that_tells_another_time_each_moment_moves_it_seldom() {
        let mut time = RoomTime::default();
        let moved = (0..1000).filter(|at| {
            let now_us = NOW_S * 1_000_000 + at * 10_000;
            time.told(now_us, if at / 250 % 2 == 0 { 0 } else { NOW_S }).is_some()
        });
        assert!(moved.count() <= 5);
    }

    #[test]
    fn no_word_overflows() {
        let mut time = RoomTime::default();
        for unix_s in [u64::MAX, UNIX_S_MAX, i64::MAX as u64, 0, u64::MAX / 2, 1] {
            for at_s in [0, 3, 6] {
                time.told((NOW_S + at_s) * 1_000_000, unix_s);
            }
        }
        assert_eq!(time.unix_s(NOW_S * 1_000_000), 0);
    }
}
