//! Plausibility of packet numbers: the sender of the highest number of a stream's pictures or sound, and how far
//! another number may leap ahead of it.
//!
//! Numbers aren't signed, so any peer on the way may claim any. A number that leaps too far isn't taken. The
//! lead that smaller leaps gain stands for a while only: when no number goes beyond it, and the packets that
//! arrive have lower numbers, the stream goes back to these; at once if another peer feeds it.

use plenary_proto::packet::LinkId;

/// Numbers by which a packet may be ahead of the newest one at any moment: eleven seconds of a program at
/// 1.5 Mbit/s, and as many packets as an assembler holds. A guess.
const LEAP_PACKETS: u64 = 2_048;
/// Time for each number of a leap beyond that, in microseconds: 4,000 packets a second are 36 Mbit/s.
const LEAP_US_PER_PACKET: u64 = 250;
/// Time without a higher number after which a lead is given up for the lower numbers of another feeder. A
/// guess: as a feed without new frames is given up after 600 ms (`STALLED_US`), no honest feeder is further
/// behind.
pub(crate) const LEAD_US: u64 = 500_000;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It leaps too far ahead, and is not taken.
    Leaps,
    /// It is taken: the newest one, or one that came late.
    Fits,
    /// The packet is taken, and higher numbers are forgotten.
    GoesBack,
}

/// The lead of one stream and kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lead {
    /// Link that the highest number arrived on; `None` for packets made here, and after the feeder announced
    /// the stream anew.
    link: Option<LinkId>,
    /// Time of the highest number's arrival.
    raised_us: u64,
    /// Time that the leaps so far are worth.
    paid_us: u64,
    /// Arrival of the first new packet with a lower number, since the highest one.
    behind_us: Option<u64>,
}

impl Lead {
    /// A lead that begins now.
    fn of(link: LinkId, now_us: u64) -> Lead {
        Lead { link: Some(link), raised_us: now_us, paid_us: now_us, behind_us: None }
    }

    /// Judges a packet that arrives on a link, and takes its number into account. `newest` is the highest number
    /// so far, if there is one; `is_known`: the packet was here before.
    pub(crate) fn judge(
        &mut self,
        newest: Option<u64>,
        number: u64,
        is_known: bool,
        link: LinkId,
        now_us: u64,
    ) -> Place {
        match newest {
            Some(newest) if number <= newest => {
                let is_another = self.link != Some(link);
                if !is_known {
                    self.behind_us.get_or_insert(now_us);
                }
                let for_long = |since_us: u64| now_us.saturating_sub(since_us) >= LEAD_US;
                let goes_on = !is_known && self.behind_us.is_some_and(for_long);
                if !self.stands(now_us) || !(is_another || goes_on) {
                    return Place::Fits;
                }
                *self = Lead::of(link, now_us);
                Place::GoesBack
            }
            Some(newest) => {
                let cost_us = (number - newest).saturating_mul(LEAP_US_PER_PACKET);
                let paid_us = self.paid_us.max(self.raised_us).saturating_add(cost_us);
                if paid_us > now_us.saturating_add(LEAP_PACKETS * LEAP_US_PER_PACKET) {
                    return Place::Leaps;
                }
                *self = Lead { paid_us, ..Lead::of(link, now_us) };
                Place::Fits
            }
            None => {
                *self = Lead::of(link, now_us);
                Place::Fits
            }
        }
    }

    /// Forgets the sender of the highest number: any sender of lower numbers ends its lead.
    pub(crate) fn another_sender(&mut self) {
        self.link = None;
    }

    /// Returns whether no higher number has arrived for a while.
    pub(crate) fn stands(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.raised_us) >= LEAD_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000;
    const ADA: LinkId = LinkId(1);
    const BEN: LinkId = LinkId(2);

    fn judge(lead: &mut Lead, newest: u64, number: u64, link: LinkId, now_us: u64) -> Place {
        lead.judge(Some(newest), number, false, link, now_us)
    }

    fn begun(number: u64, at_us: u64) -> Lead {
        let mut lead = Lead::default();
        assert_eq!(lead.judge(None, number, false, ADA, at_us), Place::Fits);
        lead
    }

    #[test]
    fn a_number_may_leap_as_far_as_a_fast_stream_gets_in_the_silence() {
        for (silent_us, most) in [(0, 2_048), (33 * MS, 2_048 + 132), (5_000 * MS, 2_048 + 20_000)] {
            for (leap, place) in [(most, Place::Fits), (most + 1, Place::Leaps), (u64::MAX - 9, Place::Leaps)]
            {
                let mut lead = begun(9, 1_000 * MS);
                let at_us = 1_000 * MS + silent_us;
                assert_eq!(judge(&mut lead, 9, 9 + leap, ADA, at_us), place, "{leap} after {silent_us} us");
            }
        }
    }

    #[test]
    fn many_leaps_get_no_further_than_one() {
        let (mut lead, mut newest) = (begun(1, 0), 1);
        for at_us in (0..1_000 * MS).step_by(100) {
            for leap in [2_048, 100, 1] {
                if judge(&mut lead, newest, newest + leap, ADA, at_us) == Place::Fits {
                    newest += leap;
                }
            }
        }
        assert!((5_900..=6_050).contains(&newest), "{newest}");
    }

    #[test]
    fn a_lead_that_stands_is_given_up_for_another_feeder_at_once() {
        let mut lead = begun(1_000, 0);
        assert_eq!(judge(&mut lead, 1_000, 5, BEN, LEAD_US - 1), Place::Fits, "a late packet");
        assert_eq!(judge(&mut lead, 1_000, 5, BEN, LEAD_US), Place::GoesBack);
        assert_eq!(judge(&mut lead, 5, 6, BEN, LEAD_US), Place::Fits);
        lead.another_sender();
        assert_eq!(judge(&mut lead, 6, 3, BEN, 2 * LEAD_US), Place::GoesBack, "announced anew");
    }

    #[test]
    fn a_lead_is_given_up_when_its_own_feeder_sends_new_packets_behind_it() {
        let mut lead = begun(1_000, 0);
        for (number, at_us) in (5..).zip((33 * MS..33 * MS + LEAD_US).step_by(33_000)) {
            assert_eq!(judge(&mut lead, 1_000, number, ADA, at_us), Place::Fits);
        }
        assert_eq!(lead.judge(Some(1_000), 20, true, ADA, 33 * MS + LEAD_US), Place::Fits, "a duplicate");
        assert_eq!(judge(&mut lead, 1_000, 21, ADA, 33 * MS + LEAD_US), Place::GoesBack);
        // a higher number shows that the ones behind were late
        let mut lead = begun(1_000, 0);
        judge(&mut lead, 1_000, 990, ADA, 10 * MS);
        judge(&mut lead, 1_000, 1_001, ADA, LEAD_US);
        assert_eq!(judge(&mut lead, 1_001, 991, ADA, 2 * LEAD_US), Place::Fits);
    }
}
