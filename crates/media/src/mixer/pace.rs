//! Pacing of the program: when each picture and sound frame is due.
//!
//! The program's capture times are exact steps of the local clock: whole multiples of 1/fps for pictures and
//! of 20 ms for sound. Each frame is released when the clock is one playout delay past its capture time. The
//! delay is the same for pictures and sound and changes slowly, so a change makes the program run a little
//! faster or slower for a while; no frame is skipped or duplicated for it.

/// Maximum rise of the delay per 20 ms of sound: 20 %. A guess: 100 ms more are reached in half a second, in
/// steps that the receivers' jitter buffers treat as jitter.
const RISE_US: u64 = 4_000;
/// Maximum fall of the delay per 20 ms: 1 %. A guess.
const FALL_US: u64 = 200;

/// Counter of the steps of one kind of media.
#[derive(Debug)]
pub(super) struct Steps {
    per_second: u64,
    /// Stride: one of every `stride` steps is made.
    stride: u64,
    behind_max: u64,
    /// Index of the next step, counted in strides.
    next: Option<u64>,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) captured_us: u64,
    /// When it is due, by the local clock.
    pub(super) due_us: u64,
    /// Steps skipped because the clock was too far ahead; steps left out by the stride don't count.
    pub(super) skipped: u64,
}

impl Steps {
    /// Steps that are more than `behind_max` late are skipped.
    pub(super) fn new(per_second: u64, behind_max: u64) -> Steps {
        Steps { per_second, stride: 1, behind_max, next: None }
    }

    /// Sets the stride: from the next step on, only steps at whole multiples of it are made.
    pub(super) fn set_stride(&mut self, stride: u64) {
        let stride = stride.max(1);
        self.next = self.next.map(|next| (next * self.stride).div_ceil(stride));
        self.stride = stride;
    }

    /// Returns the next step at this delay. Repeated calls return the same step until [`done`](Self::done),
    /// unless steps are skipped.
    pub(super) fn next(&mut self, now_us: u64, delay_us: u64) -> Step {
        let program_us = now_us.saturating_sub(delay_us);
        let stride_us = 1_000_000 * u128::from(self.stride);
        let current = (u128::from(program_us) * u128::from(self.per_second)).div_ceil(stride_us) as u64;
        let next = match self.next {
            Some(next) if next.saturating_add(self.behind_max) >= current => next,
            _ => current,
        };
        let skipped = self.next.map_or(0, |before| next - before);
        self.next = Some(next);
        let captured_us = (u128::from(next) * stride_us / u128::from(self.per_second)) as u64;
        Step { captured_us, due_us: captured_us.saturating_add(delay_us), skipped }
    }

    pub(super) fn done(&mut self) {
        self.next = self.next.map(|next| next + 1);
    }
}

/// Moves the delay towards the wanted one, by one tick of 20 ms.
pub(super) fn follow(delay_us: u64, wanted_us: u64) -> u64 {
    wanted_us.clamp(delay_us.saturating_sub(FALL_US), delay_us.saturating_add(RISE_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_exact_and_none_is_left_out_or_doubled_while_the_delay_moves() {
        let mut steps = Steps::new(30, 2);
        let (mut now_us, mut delay_us) = (1_763_627_671_166_665, 50_000);
        let mut before = None;
        for tick in 0..300 {
            let step = steps.next(now_us, delay_us);
            assert_eq!(step.skipped, 0);
            assert_eq!((step.captured_us * 30).div_ceil(1_000_000) * 1_000_000 / 30, step.captured_us);
            if let Some(before) = before {
                let length_us = step.captured_us - before;
                assert!((33_333..=33_334).contains(&length_us), "{length_us}");
            }
            before = Some(step.captured_us);
            now_us = now_us.max(step.due_us);
            steps.done();
            delay_us = follow(delay_us, if tick < 150 { 300_000 } else { 50_000 });
        }
    }

    #[test]
    fn whoever_is_too_late_goes_on_at_the_present() {
        let mut steps = Steps::new(50, 3);
        assert_eq!(steps.next(1_000_000, 40_000).captured_us, 960_000);
        steps.done();
        let rows = [
            (1_020_000, 980_000, 0),
            (1_080_000, 980_000, 0), // three steps late
            (1_081_000, 1_060_000, 4),
            (1_081_000, 1_060_000, 0),
        ];
        for (now_us, captured_us, skipped) in rows {
            let expected = Step { captured_us, due_us: captured_us + 40_000, skipped };
            assert_eq!(steps.next(now_us, 40_000), expected);
        }
    }

    #[test]
    fn each_second_step_is_one_of_all_steps_and_a_change_doubles_none() {
        for per_second in [30, 25, 1] {
            let (mut steps, mut all) = (Steps::new(per_second, 2), Vec::new());
            let mut now_us = 1_763_627_671_166_665;
            for stride in [1, 2, 1, 2, 2, 1] {
                steps.set_stride(stride);
                for _ in 0..7 {
                    let step = steps.next(now_us, 50_000);
                    now_us = now_us.max(step.due_us);
                    assert_eq!(step.skipped, 0);
                    all.push((step.captured_us * per_second).div_ceil(1_000_000));
                    steps.done();
                }
            }
            let apart: Vec<_> = all.windows(2).map(|two| two[1] - two[0]).collect();
            assert!(apart.iter().all(|apart| (1..=2).contains(apart)), "{apart:?}");
            let even = |at: usize| all[at..at + 7].iter().all(|step| step % 2 == 0);
            assert!(even(7) && even(21) && even(28), "{all:?}");
        }
    }

    #[test]
    fn the_delay_rises_faster_than_it_falls() {
        assert_eq!(follow(50_000, 200_000), 54_000);
        assert_eq!(follow(200_000, 50_000), 199_800);
        assert_eq!(follow(50_000, 50_100), 50_100);
    }
}
