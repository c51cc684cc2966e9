//! Watches over parent, backup, mixers and children, and the verdicts that the brain gets.

use plenary_proto::{Time, Verdict};

use super::*;
use crate::watches::Watches;

const TICK: u64 = TICK_US;

fn at(ms: u64) -> Time {
    Time(BEGIN_US + ms * MS)
}

/// Asks for verdicts each 25 ms. Returns each change, with its time in milliseconds.
fn run(
    watches: &mut Watches,
    ms: std::ops::Range<u64>,
    mut before: impl FnMut(&mut Watches, u64),
) -> Vec<(u64, PeerId, Verdict)> {
    let mut changes = Vec::new();
    for ms in ms.step_by((TICK / MS) as usize) {
        before(watches, ms);
        changes.extend(watches.verdicts(at(ms), 0).into_iter().map(|(peer, verdict)| (ms, peer, verdict)));
    }
    changes
}

#[test]
fn a_verdict_is_told_when_it_changes_and_again_when_the_peer_returns() {
    let mut watches = Watches::default();
    watches.watch_child(BEN, at(0));
    let changes = run(&mut watches, 0..4_000, |watches, ms| {
        if ms == 3_000 {
            watches.arrived(BEN, at(ms));
        }
    });
    assert_eq!(changes, [(1_500, BEN, Verdict::Silent), (3_000, BEN, Verdict::Ok)]);
    watches.unwatch_child(&BEN);
    assert_eq!(run(&mut watches, 4_000..9_000, |_, _| ()), []);
}

#[test]
fn a_child_that_was_watched_again_begins_anew() {
    let mut watches = Watches::default();
    watches.watch_child(BEN, at(0));
    assert_eq!(run(&mut watches, 0..1_600, |_, _| ()).len(), 1);
    watches.watch_child(BEN, at(1_600));
    assert_eq!(run(&mut watches, 1_600..3_000, |_, _| ()), []);
}

#[test]
fn a_suspected_child_is_asked_until_it_shows_that_it_lives() {
    let mut watches = Watches::default();
    watches.watch_child(BEN, at(0));
    watches.suspect(&BEN, at(100), 0);
    watches.suspect(&CAT, at(100), 0);
    assert_eq!(watches.asks(at(125)), [BEN]);
    watches.arrived(BEN, at(150));
    assert_eq!(watches.asks(at(175)), []);
    assert_eq!(run(&mut watches, 200..500, |_, _| ()), []);
    watches.suspect(&BEN, at(500), 150_000);
    assert_eq!(run(&mut watches, 500..900, |_, _| ()), [(800, BEN, Verdict::Silent)], "two round trips");
}

#[test]
fn a_mixer_that_has_sent_no_media_yet_may_be_silent_longer() {
    let mut watches = Watches::default();
    watches.watch_mixers(&[ADA], at(0));
    let changes = run(&mut watches, 0..3_000, |watches, ms| {
        if ms == 2_500 {
            watches.fed(ADA, at(ms));
        }
    });
    let mut expected = vec![(1_000, ADA, Verdict::Behind), (2_000, ADA, Verdict::Silent)];
    expected.extend([
        (2_500, ADA, Verdict::Ok),
        (2_675, ADA, Verdict::Behind),
        (2_850, ADA, Verdict::Silent),
    ]);
    assert_eq!(changes, expected);
    watches.watch_mixers(&[ADA, BEN], at(3_000));
    watches.watch_mixers(&[BEN], at(3_000));
    let changes = run(&mut watches, 3_000..6_000, |_, _| ());
    let ben = [(4_000, BEN, Verdict::Behind), (5_000, BEN, Verdict::Silent)];
    assert_eq!(changes, ben, "ada is not watched any more");
}

#[test]
fn the_backup_is_asked_for_its_head_while_the_feed_stands_still() {
    let mut watches = Watches::default();
    watches.watch_feed(Some(ADA), Some(BEN), BEGIN_US, at(0));
    watches.fed(ADA, at(0));
    watches.progressed(at(0), BEGIN_US + 1);
    let asked: Vec<_> = (0..200).step_by(25).filter(|ms| watches.asks(at(*ms)) == [BEN]).collect();
    assert_eq!(asked, [75, 125, 175], "after 75 ms, each 50 ms");
    watches.watch_feed(Some(ADA), None, BEGIN_US, at(200));
    assert!((200..400).step_by(25).all(|ms| watches.asks(at(ms)).is_empty()));
}

#[test]
fn a_parent_that_falls_behind_its_backup_is_told_behind() {
    for (from, verdicts) in [(CAT, vec![]), (BEN, vec![Verdict::Behind])] {
        let mut watches = Watches::default();
        watches.watch_feed(Some(ADA), Some(BEN), 0, at(0));
        let feed = |watches: &mut Watches, ms: u64| {
            watches.arrived(BEN, at(ms));
            watches.fed(ADA, at(ms));
            // for a second the parent is on time; then its frames are later and later
            let captured_us = BEGIN_US + if ms < 1_000 { ms * MS } else { (1_000 + (ms - 1_000) / 2) * MS };
            watches.progressed(at(ms), captured_us);
            watches.head(&from, at(ms), BEGIN_US + ms * MS);
        };
        let changes = run(&mut watches, 0..1_600, feed);
        assert_eq!(
            changes.iter().map(|(_, _, verdict)| *verdict).collect::<Vec<_>>(),
            verdicts,
            "{changes:?}"
        );
        assert!(changes.iter().all(|(ms, peer, _)| *peer == ADA && *ms >= 1_200));
    }
}

#[test]
fn a_parent_that_lives_but_sends_no_newer_frame_is_told_stalled() {
    let mut watches = Watches::default();
    watches.watch_feed(Some(ADA), None, BEGIN_US, at(0));
    let changes = run(&mut watches, 0..1_000, |watches, ms| watches.fed(ADA, at(ms)));
    assert_eq!(changes, [(600, ADA, Verdict::Stalled)]);
}

#[test]
fn a_new_parent_is_watched_from_its_beginning_and_the_same_one_goes_on() {
    let mut watches = Watches::default();
    watches.watch_feed(Some(ADA), None, 0, at(0));
    watches.watch_feed(Some(ADA), Some(BEN), 0, at(100));
    let silent = run(&mut watches, 0..200, |_, _| ());
    assert_eq!(silent, [(150, ADA, Verdict::Silent)], "another backup is no news of the parent");
    watches.watch_feed(Some(CAT), Some(BEN), 0, at(200));
    assert_eq!(run(&mut watches, 200..325, |_, _| ()), []);
    watches.watch_feed(None, None, 0, at(325));
    assert_eq!(run(&mut watches, 325..5_000, |_, _| ()), []);
}

#[test]
fn a_silent_backup_is_told_and_half_of_its_time_means_nothing() {
    let mut watches = Watches::default();
    watches.watch_feed(None, Some(BEN), 0, at(0));
    assert_eq!(run(&mut watches, 0..2_000, |_, _| ()), [(1_500, BEN, Verdict::Silent)]);
}

#[test]
fn as_much_silence_is_allowed_to_all_as_this_machine_is_late() {
    let mut watches = Watches::default();
    watches.watch_feed(Some(ADA), Some(BEN), 0, at(0));
    watches.watch_mixers(&[CAT], at(0));
    watches.watch_child(ME, at(0));
    let late = |watches: &mut Watches, ms| watches.verdicts(at(ms), 500_000);
    assert_eq!(late(&mut watches, 649), []);
    assert_eq!(late(&mut watches, 650), [(ADA, Verdict::Silent)]);
    assert_eq!(late(&mut watches, 1_999), [(CAT, Verdict::Behind)]);
    assert_eq!(late(&mut watches, 2_000), [(BEN, Verdict::Silent), (ME, Verdict::Silent)]);
    assert_eq!(late(&mut watches, 2_500), [(CAT, Verdict::Silent)]);
}

#[test]
fn the_last_arrival_of_a_peer_is_known_until_its_link_ends() {
    let mut watches = Watches::default();
    assert_eq!(watches.last(&ADA), None);
    watches.fed(ADA, at(5));
    watches.arrived(ADA, at(9));
    assert_eq!(watches.last(&ADA), Some(at(9)));
    watches.forget(&ADA);
    assert_eq!(watches.last(&ADA), None);
}
