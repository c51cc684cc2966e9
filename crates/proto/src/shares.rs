//! Fair shares of one rate among many sources.
//!
//! What a source takes is its debt. Time repays all debts together at the rate, each of them by the same amount
//! (processor sharing). A source may take what leaves its debt within the free part of the burst (a dynamic threshold:
//! Choudhury and Hahne, 1998). So of n sources that take all they can, each gets an nth of the rate, and an (n + 1)th
//! of the burst stays free for sources that take less. On large stages this free part is shorter than a line; a source
//! without debt may then take one line. Peers that see the same pieces draw the same conclusions.

use crate::bounded::Bound;
use crate::bucket::Rate;
use crate::id::PeerId;
use crate::message::ROSTER_MAX;
use crate::ordered::OrderedMap;
use crate::time::{SECOND, Time};

/// What sources may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of all sources together.
    pub(crate) rate: Rate,
    /// Tokens that a source without debt may take at once, whatever the others owe.
    pub(crate) line: u64,
    /// Debt that counts as none.
    pub(crate) slack: u64,
}

/// Parts of a token in which debts are counted, so that small times repay something of each.
const PARTS: u64 = 1 << 10;

/// Debts of the sources. The caller passes the time and the limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares {
    /// In parts, each above 0. `None`: the sum of departed sources' debts.
    debts: OrderedMap<Option<PeerId>, u64>,
    /// Parts repaid so far, but less than one for each debt.
    rest: u64,
    /// Time up to which the debts are repaid.
    at: Time,
}

impl Shares {
    /// Returns whether a source may take that many tokens now.
    pub(crate) fn may_take(&self, now: Time, limits: Limits, source: &PeerId, tokens: u64) -> bool {
        let Limits { rate, line, slack } = limits;
        let mut later = self.clone();
        later.repay(now, rate.per_s);
        let owed = sum(later.debts.values()).div_ceil(PARTS);
        let own = later.debts.get(&Some(*source)).copied().unwrap_or(0).div_ceil(PARTS);
        let is_line = own <= slack && tokens <= line;
        is_line || own.saturating_add(tokens) <= rate.burst.saturating_sub(owed)
    }

    /// Takes the tokens, whether the source may or not. `is_there`: whether a source has not gone.
    pub(crate) fn take(
        &mut self,
        now: Time,
        per_s: u64,
        (source, tokens): (&PeerId, u64),
        is_there: impl Fn(&PeerId) -> bool,
    ) {
        self.repay(now, per_s);
        if self.debts.len() >= ROSTER_MAX && !self.debts.contains_key(&Some(*source)) {
            let gone = |debtor: &Option<PeerId>| debtor.as_ref().is_none_or(|peer| !is_there(peer));
            let owed = sum(self.debts.iter().filter(|(debtor, _)| gone(debtor)).map(|(_, debt)| debt));
            self.debts.retain(|debtor, _| !gone(debtor));
            self.add(None, owed);
        }
        self.add(Some(*source), tokens.saturating_mul(PARTS));
    }

    fn add(&mut self, debtor: Option<PeerId>, parts: u64) {
        if parts > 0 {
            let debt = self.debts.entry(debtor).or_insert(0);
            *debt = debt.saturating_add(parts);
        }
    }

    /// Repays the debts up to a time.
    fn repay(&mut self, now: Time, per_s: u64) {
        let per_s = per_s.saturating_mul(PARTS).max(1);
        let gained = now.since(self.at).saturating_mul(per_s) / SECOND;
        // the time of an incomplete part counts later
        self.at = self.at + gained.saturating_mul(SECOND).div_ceil(per_s);
        self.rest = self.rest.saturating_add(gained);
        while let Some(least) = self.debts.values().min().copied() {
            let count = self.debts.len() as u64;
            let paid = least.min(self.rest / count);
            if paid == 0 {
                return;
            }
            self.rest -= paid * count;
            self.debts.retain(|_, debt| {
                *debt -= paid;
                *debt > 0
            });
        }
        (self.rest, self.at) = (0, self.at.max(now));
    }

    pub(crate) fn bound(&self) -> Bound {
        Bound::new("sources of data with debts", self.debts.len(), ROSTER_MAX + 1)
    }
}

fn sum<'a>(debts: impl Iterator<Item = &'a u64>) -> u64 {
    debts.fold(0, |sum: u64, debt| sum.saturating_add(*debt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::peer;
    use crate::time::MS;

    const RATE: Rate = Rate { per_s: 1_000, burst: 1_000 };
    const LIMITS: Limits = Limits { rate: RATE, line: 15, slack: 0 };

    /// Sources that want tokens of that size all the time, and those that want some at times: (each, tokens). Returns
    /// what each gets in ten seconds, the first second left out, and how often it is refused.
    fn run(greedy: u16, modest: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut shares = Shares::default();
        let mut got = vec![(0, 0); usize::from(greedy) + modest.len()];
        for at in 0..11_000 {
            let now = Time(at * MS);
            let due = modest.iter().enumerate().filter(|(_, (each_ms, _))| at % each_ms == 0);
            let due = due.map(|(place, (_, tokens))| (usize::from(greedy) + place, *tokens));
            let wants = due.chain((0..usize::from(greedy)).map(|place| (place, 10)));
            for (place, tokens) in wants.collect::<Vec<_>>() {
                let source = peer(place as u16);
                let may = shares.may_take(now, LIMITS, &source, tokens);
                if may {
                    shares.take(now, RATE.per_s, (&source, tokens), |_| true);
                }
                if at >= 1_000 {
                    let (taken, refused) = &mut got[place];
                    (*taken, *refused) = (*taken + u64::from(may) * tokens, *refused + u64::from(!may));
                }
            }
        }
        got
    }

    #[test]
    fn one_source_gets_the_whole_rate_and_many_an_equal_part_of_it() {
        for greedy in [1, 2, 7, 60] {
            let got = run(greedy, &[]);
            let all: u64 = got.iter().map(|(taken, _)| taken).sum();
            assert!((9_900..=10_100).contains(&all), "{greedy}: {all}");
            let each = 10_000 / u64::from(greedy);
            assert!(got.iter().all(|(taken, _)| taken.abs_diff(each) <= 20), "{greedy}: {got:?}");
        }
    }

    #[test]
    fn a_source_that_says_little_is_never_refused_however_many_say_much() {
        // a 63rd of the burst, or of a second's rate, is 15
        let got = run(62, &[(1_000, 15)]);
        assert_eq!(got[62], (150, 0), "{got:?}");
        let got = run(3, &[(100, 20), (2_000, 200)]);
        assert_eq!((got[3], got[4]), ((2_000, 0), (1_000, 0)), "{got:?}");
    }

    #[test]
    fn a_burst_is_half_of_all_for_one_and_never_more_than_all_for_all() {
        let mut shares = Shares::default();
        let mut taken = [0u64; 64];
        for _ in 0..100 {
            for (place, taken) in taken.iter_mut().enumerate() {
                let source = peer(place as u16);
                let often = if place == 0 { 1_000 } else { 1 };
                for _ in 0..often {
                    if shares.may_take(Time(0), Limits { line: 0, ..LIMITS }, &source, 1) {
                        shares.take(Time(0), RATE.per_s, (&source, 1), |_| true);
                        *taken += 1;
                    }
                }
            }
        }
        assert_eq!(taken[0], 500);
        assert!(taken.iter().sum::<u64>() <= 1_000 && taken.iter().all(|taken| *taken > 0), "{taken:?}");
    }

    #[test]
    fn sources_that_come_and_go_take_no_more_than_those_that_stay() {
        let mut shares = Shares::default();
        let mut taken = 0;
        for at in 0..10_000u16 {
            let (now, source) = (Time(u64::from(at) * MS), peer(at));
            if shares.may_take(now, LIMITS, &source, 100) {
                shares.take(now, RATE.per_s, (&source, 100), |there| *there == source);
                taken += 100;
            }
            assert!(shares.debts.len() <= ROSTER_MAX + 1);
        }
        assert!((9_900..=11_000).contains(&taken), "{taken}");
    }

    #[test]
    fn numbers_at_the_ends_and_a_clock_that_goes_back_are_survived() {
        let mut shares = Shares::default();
        let limits = |per_s, burst| Limits { rate: Rate { per_s, burst }, ..LIMITS };
        shares.take(Time(SECOND), u64::MAX, (&peer(1), u64::MAX), |_| true);
        shares.take(Time(0), u64::MAX, (&peer(1), u64::MAX), |_| true);
        assert!(!shares.may_take(Time(0), limits(u64::MAX, 1), &peer(2), 16));
        assert!(!shares.may_take(Time(SECOND), limits(0, 0), &peer(1), u64::MAX));
        assert!(shares.may_take(Time(u64::MAX), limits(u64::MAX, u64::MAX), &peer(2), 1));
    }
}
