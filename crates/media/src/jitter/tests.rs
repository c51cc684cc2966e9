//! Links with different transit times and losses, and the playback that results.

use proptest::prelude::*;

use super::*;

const START_US: u64 = 1_000_000_000;

#[test]
fn a_clean_link_is_played_40_ms_behind_its_path() {
    let mut buffer = JitterBuffer::new();
    let played = play(&mut buffer, 200, |_| Some(30_000));
    assert_eq!(buffer.delay_us(), 30_000 + HOLD_US_MIN);
    assert_eq!(buffer.counts(), JitterCounts::default());
    let numbers: Vec<u32> = played.iter().filter_map(number_of).collect();
    assert_eq!(numbers, (numbers[0]..numbers[0] + numbers.len() as u32).collect::<Vec<_>>());
    assert!(numbers.len() > 190);
}

#[test]
fn the_delay_is_what_the_link_needs() {
    struct Row {
        link: fn(u32) -> Option<u64>,
        rtt_us: u64,
        delay_us: std::ops::RangeInclusive<u64>,
    }
    let rows = [
        Row { link: |_| Some(0), rtt_us: 200_000, delay_us: 40_000..=40_000 },
        Row {
            link: |number| Some(u64::from(number % 10) * 2_000),
            rtt_us: 200_000,
            delay_us: 40_000..=40_000,
        },
        // Jitter of 90 ms needs as long a delay, and makes the link count as lossy.
        Row { link: |number| Some(u64::from(number % 10) * 10_000), rtt_us: 0, delay_us: 90_000..=90_000 },
        Row {
            link: |number| (number % 100 != 0).then_some(u64::from(number % 2) * 9_000),
            rtt_us: 100_000,
            delay_us: 129_000..=129_000,
        },
        // retransmitted instead of lost: the delay covers the late arrival
        Row {
            link: |number| Some(if number % 100 == 0 { 110_000 } else { 0 }),
            rtt_us: 100_000,
            delay_us: 120_000..=120_000,
        },
        Row {
            link: |number| (number % 100 != 0).then_some(0),
            rtt_us: 10_000_000,
            delay_us: 250_000..=250_000,
        },
        Row { link: |number| (number != 250).then_some(0), rtt_us: 100_000, delay_us: 40_000..=40_000 },
        // a transit time that no real path has: other speakers are not delayed by it
        Row { link: |_| Some(3_600_000_000), rtt_us: 0, delay_us: 190_000..=190_000 },
    ];
    for (index, Row { link, rtt_us, delay_us }) in rows.into_iter().enumerate() {
        let mut buffer = JitterBuffer::new();
        buffer.set_rtt_us(rtt_us);
        play(&mut buffer, 500, link);
        assert!(delay_us.contains(&buffer.delay_us()), "row {index}: {}", buffer.delay_us());
    }
}

#[test]
fn what_is_pulled_ahead_is_held_for_longer_where_jitter_needs_that() {
    for (jitter_us, delay_us) in [(10_000, HOLD_US_MIN), (35_000, 53_000)] {
        let mut buffer = JitterBuffer::new();
        buffer.set_ahead_us(18_000);
        play(&mut buffer, 500, |number| Some(u64::from(number % 2) * jitter_us));
        assert_eq!(buffer.delay_us(), delay_us);
    }
}

#[test]
fn a_packet_says_how_early_it_is_played_and_whatever_is_made_up_does_not() {
    let mut buffer = JitterBuffer::new();
    assert_eq!(buffer.early_us(), None);
    for number in (1..=6).filter(|number| *number != 3) {
        buffer.push(number, captured(number) + 4_000, packet(number), captured(number));
    }
    buffer.push(7, captured(7), Bytes::from_static(&[0x78]), captured(7));
    let early: Vec<Option<i64>> = (1..=8)
        .map(|tick| {
            buffer.pull(captured(tick) + u64::from(tick) * 100, false);
            buffer.early_us()
        })
        .collect();
    assert_eq!(early, [Some(3_900), Some(3_800), None, Some(3_600), Some(3_500), Some(3_400), None, None]);
}

#[test]
fn the_delay_rises_at_once_and_falls_slowly() {
    let mut buffer = JitterBuffer::new();
    let mut push = |number: u32, transit_us: u64| {
        buffer.push(number, captured(number), packet(number), captured(number) + transit_us);
        buffer.delay_us()
    };
    for number in 1..100 {
        push(number, 0);
    }
    for number in 100..150 {
        push(number, 100_000);
    }
    let high_us = push(150, 100_000);
    assert_eq!(high_us, 100_000);
    let mut before_us = high_us;
    for number in 151..2_000 {
        let delay_us = push(number, 0);
        assert!(before_us - delay_us <= 1_000, "10 ms in a second are 1 ms in 5 frames");
        before_us = delay_us;
    }
    assert_eq!(before_us, HOLD_US_MIN);
}

#[test]
fn one_standstill_in_ten_seconds_does_not_raise_the_delay_and_two_do() {
    // frames that were held up for 300 ms come together
    let stands_still = |number: u32, at: u32| match number.checked_sub(at) {
        Some(since @ 0..15) => u64::from(15 - since) * SOUND_FRAME_US,
        _ => 0,
    };
    for (standstills, delay_us) in [(&[200][..], HOLD_US_MIN), (&[200, 400], HOLD_US_MAX)] {
        let mut buffer = JitterBuffer::new();
        for number in 0..450 {
            let late_us = standstills.iter().map(|at| stands_still(number, *at)).sum::<u64>();
            buffer.push(number, captured(number), packet(number), captured(number) + late_us);
        }
        assert_eq!(buffer.delay_us(), delay_us, "{standstills:?}");
    }
}

#[test]
fn frames_that_all_seem_to_catch_up_are_held_for_the_least_time() {
    let mut buffer = JitterBuffer::new();
    for number in 0..1_200 {
        let arrived_us = 100_000_000 + u64::from(number);
        buffer.push(number, captured(number), packet(number), arrived_us);
    }
    assert!(buffer.delay_us() >= HOLD_US_MIN);
}

#[test]
fn a_lost_frame_is_made_up_from_the_copy_in_the_next() {
    let mut buffer = JitterBuffer::new();
    let played = play(&mut buffer, 100, |number| (number != 50).then_some(0));
    let lost: Vec<&Pulled> = played.iter().filter(|pulled| matches!(pulled, Pulled::Lost { .. })).collect();
    assert_eq!(lost, [&Pulled::Lost { next: Some(packet(51)) }]);
    assert_eq!(buffer.counts(), JitterCounts { concealed: 1, ..JitterCounts::default() });
}

#[test]
fn what_comes_behind_its_time_is_counted_and_not_played() {
    let mut buffer = JitterBuffer::new();
    let late = |number| Some(if number == 50 { 400_000 } else { 0 });
    let played = play(&mut buffer, 100, late);
    assert!(!played.iter().filter_map(number_of).any(|number| number == 50));
    assert_eq!(buffer.counts().late, 1);
    assert_eq!(buffer.counts().concealed, 1);
}

#[test]
fn a_speaker_who_is_gone_fades_and_comes_back_in_time() {
    let mut buffer = JitterBuffer::new();
    let played = play(&mut buffer, 200, |number| (!(50..150).contains(&number)).then_some(0));
    let made_up = played.iter().filter(|pulled| matches!(pulled, Pulled::Lost { .. })).count();
    assert!(made_up as u32 <= CONCEALED_MAX + 1, "{made_up}");
    let numbers: Vec<u32> = played.iter().filter_map(number_of).collect();
    assert!(numbers.contains(&49) && numbers.contains(&155));
    let at_150 = played.iter().position(|pulled| number_of(pulled) == Some(155)).unwrap();
    let at_40 = played.iter().position(|pulled| number_of(pulled) == Some(40)).unwrap();
    assert_eq!(at_150 - at_40, 115, "the silence was as long as the absence");
}

#[test]
fn a_pause_of_the_sender_is_silence_not_loss() {
    // Frame numbers continue, but time jumps by a second; the packet before announced a silence.
    let mut buffer = JitterBuffer::new();
    for number in 1..=10 {
        buffer.push(number, captured(number), packet(number), captured(number));
    }
    buffer.push(11, captured(11), Bytes::from_static(&[0x78]), captured(11));
    buffer.push(12, captured(61), packet(12), captured(61));
    let played: Vec<Pulled> = (1..=61).map(|tick| buffer.pull(captured(tick), false)).collect();
    assert_eq!(buffer.counts(), JitterCounts::default());
    assert_eq!(played[10], Pulled::Packet(Bytes::from_static(&[0x78])));
    assert!(played[11..60].iter().all(|pulled| *pulled == Pulled::Pause));
    assert_eq!(number_of(&played[60]), Some(12));
}

/// A packet that marks the start of a silence.
fn silent() -> Bytes {
    Bytes::from_static(&[0x78])
}

/// Speaks until frame 20, then uses DTX with two frames each 420 ms. Returns for each frame number the
/// capture step, and whether the frame marks a silence.
fn frames_of_a_silence(count: usize) -> Vec<(u32, bool)> {
    let talk = (1..=20).map(|step| (step, false));
    talk.chain((0..).flat_map(|turn| [(21 + 21 * turn, true), (41 + 21 * turn, false)])).take(count).collect()
}

#[test]
fn a_silence_goes_on_from_update_to_update_at_the_level_that_was_said() {
    let mut buffer = JitterBuffer::new();
    for (number, (step, silence)) in (1..).zip(frames_of_a_silence(60)) {
        let data = if silence { silent() } else { packet(number) };
        buffer.push_said(number, captured(step), data, Some(60), captured(step));
    }
    for tick in 1..=400 {
        let pulled = buffer.pull(captured(tick), true);
        assert_eq!(pulled == Pulled::Pause, tick > 21 && (tick - 20) % 21 > 1, "step {tick}");
        assert_eq!((buffer.level(), buffer.level_ahead()), (Some(60), Some(60)), "step {tick}");
    }
    assert_eq!(buffer.counts(), JitterCounts::default());
}

#[test]
fn whoever_sends_nothing_for_a_second_pauses_no_more() {
    let mut buffer = JitterBuffer::new();
    buffer.push_said(1, captured(1), packet(1), Some(60), captured(1));
    buffer.push_said(2, captured(2), silent(), Some(60), captured(2));
    let played: Vec<_> = (1..=60)
        .map(|tick| (buffer.pull(captured(tick), true), buffer.level(), buffer.level_ahead()))
        .collect();
    assert!(played[2..50].iter().all(|pulled| *pulled == (Pulled::Pause, Some(60), Some(60))));
    assert!(played[53..].iter().all(|pulled| *pulled == (Pulled::Silence, Some(127), Some(127))));
}

#[test]
fn speech_behind_a_silence_begins_with_its_first_frame_even_if_lost() {
    for lost in [false, true] {
        let mut buffer = JitterBuffer::new();
        for (number, step) in [(1, 1), (3, 30), (4, 31), (5, 32)] {
            if !(lost && number == 3) {
                buffer.push(number, captured(step), packet(number), captured(step));
            }
        }
        buffer.push(2, captured(2), silent(), captured(2));
        let played: Vec<Pulled> = (1..=32).map(|tick| buffer.pull(captured(tick), true)).collect();
        assert!(played[2..29].iter().all(|pulled| *pulled == Pulled::Pause));
        let first = if lost { Pulled::Lost { next: Some(packet(4)) } } else { Pulled::Packet(packet(3)) };
        assert_eq!(played[29..], [first, Pulled::Packet(packet(4)), Pulled::Packet(packet(5))]);
    }
}

#[test]
fn an_update_that_gets_lost_prolongs_the_silence() {
    // the lateness of the packet after it is unknown, since it has no capture time of its own
    let mut buffer = JitterBuffer::new();
    for (number, step) in [(1, 1), (5, 44)] {
        buffer.push(number, captured(step), packet(number), captured(step));
    }
    buffer.push(2, captured(2), silent(), captured(2));
    let mut played: Vec<Pulled> = (1..=23).map(|tick| buffer.pull(captured(tick), true)).collect();
    buffer.push(4, captured(4), silent(), captured(23));
    played.extend((24..=44).map(|tick| buffer.pull(captured(tick), true)));
    assert!(played[2..43].iter().all(|pulled| *pulled == Pulled::Pause), "{played:?}");
    assert_eq!(number_of(&played[43]), Some(5));
    assert_eq!(buffer.counts().concealed, 0);
}

#[test]
fn jitter_is_forgotten_as_quickly_in_silence_as_in_speech() {
    // 100 ms of jitter in the last second of speech, then none
    let delays = |left_out: bool| {
        let mut buffer = JitterBuffer::new();
        buffer.set_rtt_us(100_000);
        let mut delays = vec![0; 8];
        for (number, step) in (1..).zip((1..=1_600_u32).filter(|step| {
            let updates = *step > 100 && left_out;
            !updates || (step - 100) % 21 < 2
        })) {
            let silence = left_out && step > 100 && (step - 100) % 21 == 1;
            let transit_us = if (50..=100).contains(&step) { u64::from(step % 2) * 100_000 } else { 0 };
            // a silence marker has only an implied capture time, which may be wrong
            let captured_us = captured(step) - if silence { 300_000 } else { 0 };
            let data = if silence { silent() } else { packet(number) };
            buffer.push(number, captured_us, data, captured(step) + transit_us);
            delays[(step / 210) as usize] = buffer.delay_us();
        }
        delays
    };
    let (talk, silence) = (delays(false), delays(true));
    for (talk_us, silence_us) in talk.iter().zip(&silence) {
        assert!(talk_us.abs_diff(*silence_us) <= 20_000, "{talk:?} and {silence:?}");
    }
    assert!(silence[0] == 100_000 && silence[7] == HOLD_US_MIN, "{silence:?}");
}

#[test]
fn numbers_that_jump_begin_anew() {
    let mut buffer = JitterBuffer::new();
    for (tick, number) in [1, 2, 3, u32::MAX - 1, u32::MAX].into_iter().enumerate() {
        let now_us = captured(tick as u32);
        buffer.push(number, now_us, packet(number), now_us);
        assert_eq!(number_of(&buffer.pull(now_us, false)), Some(number));
    }
    assert_eq!(buffer.counts(), JitterCounts::default());
}

#[test]
fn clocks_that_drift_cost_a_frame_now_and_then_in_quiet_moments() {
    for (ppm, is_skip) in [(300_i64, true), (-300, false)] {
        let mut buffer = JitterBuffer::new();
        let mut map = ClockMap::new();
        // By the sender's clock a frame lasts 20 ms; by the local clock a bit less, or more.
        let arrives_us = |number| captured(number).saturating_add_signed(-ppm * i64::from(number) / 50);
        let mut number = 1;
        for tick in 1..=20_000_u32 {
            let now_us = captured(tick);
            while arrives_us(number) <= now_us {
                map.observe(captured(number), arrives_us(number));
                buffer.push(number, map.to_local(captured(number)), packet(number), arrives_us(number));
                number += 1;
            }
            let quiet = tick % 100 < 5;
            let pulled = buffer.pull(now_us - 60_000, quiet);
            if let Some(number) = number_of(&pulled) {
                let skew_us = arrives_us(number).abs_diff(now_us - 60_000);
                // the clock map lags up to 10 s behind the drift
                assert!(skew_us <= SKEW_US_MAX as u64 + 10 * ppm.unsigned_abs(), "{skew_us} at {tick}");
            } else {
                assert!(quiet || tick < 10, "a frame was made up aloud at {tick}");
            }
        }
        let counts = buffer.counts();
        let steps = if is_skip { counts.skipped } else { counts.inserted };
        assert!((4..=6).contains(&steps), "{counts:?}"); // 400 s at 300 ppm are 120 ms
    }
}

#[test]
fn frames_without_end_do_not_pile_up() {
    let mut buffer = JitterBuffer::new();
    for number in 1..=10 * FRAMES_HELD_MAX as u32 {
        buffer.push(number, captured(number), packet(number), captured(number));
        assert!(buffer.held.len() <= FRAMES_HELD_MAX);
    }
    assert_eq!(buffer.counts().skipped, 9 * FRAMES_HELD_MAX as u64);
}

#[test]
fn what_is_sent_once_more_when_the_path_changes_does_not_raise_the_delay() {
    let mut buffer = JitterBuffer::new();
    play(&mut buffer, 100, |_| Some(5_000));
    let changed_us = captured(101) + 400_000;
    buffer.path_changed(changed_us);
    for number in 101..=130 {
        let arrived_us = changed_us.max(captured(number) + 5_000);
        buffer.push(number, captured(number), packet(number), arrived_us);
    }
    assert!(buffer.delay_us() <= HOLD_US_MIN + 5_000, "{}", buffer.delay_us());
}

#[test]
fn what_a_rooms_opening_stirred_up_is_forgotten_when_the_path_changes() {
    let mut buffer = JitterBuffer::new();
    play(&mut buffer, 150, |number| Some(if number < 100 { u64::from(number % 20) * 10_000 } else { 5_000 }));
    assert!(buffer.delay_us() > 150_000);
    buffer.path_changed(captured(151));
    assert_eq!(buffer.delay_us(), HOLD_US_MIN + 5_000);
}

proptest! {
    #[test]
    fn whatever_comes_frames_are_played_in_order_and_once(
        pushes in prop::collection::vec((0_u32..200, any::<u64>(), 0_u64..400_000, any::<bool>()), 1..300),
        wild: bool,
    ) {
        let mut buffer = JitterBuffer::new();
        let mut before = 0;
        for (tick, (number, odd, late_us, quiet)) in (1..).zip(pushes) {
            let captured_us = if wild && odd % 4 == 0 { odd } else { captured(number) };
            buffer.push(number, captured_us, packet(number), captured_us.wrapping_add(late_us));
            if let Some(number) = number_of(&buffer.pull(captured(tick), quiet)) {
                prop_assert!(number > before || before == 0);
                before = number;
            }
        }
        prop_assert!(buffer.delay_us() >= HOLD_US_MIN);
    }
}

/// Simulates a link with transit time `link(n)` for frame `n`, and plays it with the delay that the buffer
/// recommends.
fn play(buffer: &mut JitterBuffer, frames: u32, link: impl Fn(u32) -> Option<u64>) -> Vec<Pulled> {
    let mut arrivals: Vec<(u64, u32)> = (1..=frames)
        .filter_map(|number| link(number).map(|transit_us| (captured(number) + transit_us, number)))
        .collect();
    arrivals.sort_unstable();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut played = Vec::new();
    for tick in 1..=frames {
        let now_us = START_US + u64::from(tick) * SOUND_FRAME_US;
        while let Some((arrived_us, number)) = arrivals.next_if(|&(arrived_us, _)| arrived_us <= now_us) {
            buffer.push(number, captured(number), packet(number), arrived_us);
        }
        played.push(buffer.pull(now_us - buffer.delay_us(), false));
    }
    for (arrived_us, number) in arrivals {
        buffer.push(number, captured(number), packet(number), arrived_us);
    }
    played
}

fn captured(number: u32) -> u64 {
    START_US + u64::from(number) * SOUND_FRAME_US
}

fn packet(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn number_of(pulled: &Pulled) -> Option<u32> {
    match pulled {
        Pulled::Packet(packet) => Some(u32::from_be_bytes(packet[..].try_into().ok()?)),
        _ => None,
    }
}
