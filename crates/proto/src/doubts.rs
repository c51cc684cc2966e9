//! Distrust: mixers that the stage voted out for trouble have their claims ignored for a while.
//!
//! The speed of a codec is known from its owner's claim only. A mixer that overstated it would be elected
//! again in the very election that its trouble has caused. But such an election is opened by a majority of
//! the stage, on the reports of half of the speakers, which is evidence enough. The mixers sitting then are
//! treated for ten minutes as if they had claimed nothing, and rank behind all feasible candidates.
//!
//! Each outcome lists the distrusted peers, and follows from the list of the outcome before it. The current
//! time is the median of the claim signers' clocks, so that all peers compute the same list and no single
//! clock decides.

use crate::bounded::List;
use crate::id::PeerId;
use crate::message::{Claim, Doubt, ElectionReason, MIXERS_MAX, Outcome};
use crate::seal::Signed;
use crate::view::signed_unix_s;

/// Duration of the distrust after an election for trouble, in seconds. A guess: the lifetime of a claim.
const DOUBT_LIFE_S: u64 = 600;

/// Returns the peers distrusted in an election for `reason` under the mandate in force; if the list is too
/// long, the newest entries.
pub(crate) fn doubts(
    before: Option<&Outcome>,
    reason: ElectionReason,
    sitting: &[PeerId],
    claims: &[Signed<Claim>],
) -> List<Doubt, MIXERS_MAX> {
    let now_unix_s = median_unix_s(claims);
    let until_unix_s = now_unix_s.saturating_add(DOUBT_LIFE_S);
    let suffered_from = if reason == ElectionReason::Trouble { sitting } else { &[] };
    let new = suffered_from.iter().map(|peer| Doubt { peer: *peer, until_unix_s });
    let known = before.into_iter().flat_map(|outcome| outcome.doubts.iter().copied());
    let lasting =
        known.filter(|doubt| doubt.until_unix_s > now_unix_s && !suffered_from.contains(&doubt.peer));
    List::truncated(new.chain(lasting))
}

/// Returns the claims of all peers that aren't distrusted.
pub(crate) fn believed(claims: &[Signed<Claim>], doubts: &[Doubt]) -> Vec<Signed<Claim>> {
    let doubted = |claim: &Signed<Claim>| doubts.iter().any(|doubt| doubt.peer == claim.sender);
    claims.iter().filter(|claim| !doubted(claim)).cloned().collect()
}

/// Returns the time of the claims' signatures, as the median of the signers' clocks; 0 without claims.
fn median_unix_s(claims: &[Signed<Claim>]) -> u64 {
    let mut times: Vec<u64> = claims.iter().map(signed_unix_s).collect();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RoomId;
    use crate::samples::{claim, key};
    use crate::view::STATEMENT_LIFE_S;

    /// Claims of peers 1 to 3, signed when their clocks show these times.
    fn claims(clocks_unix_s: [u64; 3]) -> Vec<Signed<Claim>> {
        let claim = |(by, unix_s): (u8, u64)| {
            let expires = unix_s.saturating_add(STATEMENT_LIFE_S);
            Signed::new(&key(by), &RoomId([0; 16]), 1, 0, expires, claim())
        };
        (1..=3).zip(clocks_unix_s).map(claim).collect()
    }

    fn outcome(doubts: List<Doubt, MIXERS_MAX>) -> Outcome {
        Outcome {
            term: 1,
            reason: ElectionReason::Count,
            mixers: List::new(),
            uplinks_bps: List::new(),
            standbys: List::new(),
            challenger: None,
            doubts,
            evidence: [0; 32],
        }
    }

    #[test]
    fn whoever_mixed_in_trouble_is_not_believed_for_ten_minutes() {
        use ElectionReason::{Count, Trouble};
        let sitting = [key(1).id()];
        let first = outcome(doubts(None, Trouble, &sitting, &claims([1_000; 3])));
        for (reason, sits, clocks, doubted, what) in [
            (Count, 2, [1_300; 3], &[1][..], "the doubt lasts"),
            (Count, 2, [1_599; 3], &[1], "until it is over"),
            (Count, 2, [1_600; 3], &[], "and no longer"),
            (Count, 2, [9_000, 1_300, 1_300], &[1], "one clock that runs ahead changes nothing"),
            (Count, 2, [0, 1_600, u64::MAX], &[], "nor do two, one of which is slow"),
            (Trouble, 2, [1_300; 3], &[2, 1], "another comes to be doubted"),
            (Trouble, 1, [1_300; 3], &[1], "or the same once more"),
        ] {
            let claims = claims(clocks);
            let found = doubts(Some(&first), reason, &[key(sits).id()], &claims);
            let peers = doubted.iter().map(|seed: &u8| key(*seed).id());
            assert!(found.iter().map(|doubt| doubt.peer).eq(peers), "{what}: {found:?}");
            assert_eq!(believed(&claims, &found).len(), 3 - doubted.len(), "{what}");
        }
        assert!(doubts(None, Count, &sitting, &claims([1_000; 3])).is_empty());
        assert_eq!(doubts(None, Trouble, &sitting, &[]).len(), 1, "without claims there is no clock");
    }
}
