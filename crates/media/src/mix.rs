//! Audio mixer: sums the voices of several speakers into one shared mix, and into a mix-minus for each
//! speaker heard.
//!
//! Mixes are mono until a stereo voice is heard. Then they are stereo, with mono voices on both sides, and
//! stay so for a while afterwards. Limiter and fades treat both sides alike, so that no voice moves between
//! them.
//!
//! The mixer works in steps of 20 ms. A voice that begins or stops being heard is faded over one step, so
//! that it doesn't click. A new mix-minus starts with the state of the shared mix, and is kept for
//! [`LINGER_STEPS`] after its voice has stopped: by then both mixes have equal samples and equal limiter
//! gain, so an encoder can switch between them inaudibly.
//!
//! Each output has its own limiter. It leaves samples unchanged while none exceeds half of full scale (−6
//! dBFS), and bends louder ones smoothly to stay below [`LIMIT`]. It looks ahead 1 ms, so that its gain is
//! down before a peak arrives; the output is delayed by that time.

use plenary_proto::ordered::OrderedMap;

use crate::SOUND_FRAME_LEN;

/// Peak up to which the limiter leaves samples unchanged: −6 dBFS.
pub const LIMIT_KNEE: f32 = 0.5;
/// Peak that the limiter never exceeds: −1 dBFS, the true peak that EBU R 128 recommends. After a lossy
/// codec, samples overshoot what was encoded.
pub const LIMIT: f32 = 0.891_250_9;
/// Block of the limiter, 1 ms: it updates its gain once per block, and looks ahead by one.
const BLOCK_LEN: usize = 48;
/// Factor by which the limiter's gain recovers per block: 6 dB in 70 ms. A guess.
const RELEASE: f32 = 1.01;

/// Steps for which a mix-minus is kept after its voice stopped being heard: 500 ms, in which a limiter
/// recovers from 43 dB, more than it ever attenuates.
pub const LINGER_STEPS: u32 = 25;

/// Steps for which a mix stays stereo while its stereo voices are silent: 5 s, a pause in a film. A guess.
const STEREO_STEPS: u32 = 250;

/// 20 ms of one speaker.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// Identifier of the speaker; unique in a step.
    pub id: u64,
    /// [`SOUND_FRAME_LEN`] samples per channel, interleaved, −1 to 1; missing ones count as silence.
    pub samples: &'a [f32],
    /// Whether the samples have two channels.
    pub stereo: bool,
    /// Whether the voice is heard from now on.
    pub heard: bool,
}

/// Mixes voices, step by step.
#[derive(Debug, Default)]
pub struct SoundMix {
    /// Voices in the mix of this step, or until lately, by identifier.
    within: OrderedMap<u64, Within>,
    shared: Output,
    /// Remaining steps for which the mix is stereo.
    stereo_steps: u32,
    mono_only: bool,
}

#[derive(Debug, Default)]
struct Within {
    /// Gain at the end of this step.
    gain: f32,
    /// Steps since the voice has faded out.
    silent_steps: u32,
    /// Samples of the voice at that gain; empty once it has faded out.
    samples: Vec<f32>,
    minus: Output,
}

#[derive(Clone, Debug)]
struct Output {
    /// Samples of the step that is played, and behind it the sum of the next block.
    samples: Vec<f32>,
    stereo: bool,
    gain: f32,
}

impl Default for Output {
    fn default() -> Output {
        Output { samples: vec![0.0; SOUND_FRAME_LEN + BLOCK_LEN], stereo: false, gain: 1.0 }
    }
}

/// Returns the number of channels.
pub(crate) fn channels(stereo: bool) -> usize {
    if stereo { 2 } else { 1 }
}

/// Appends samples as mono or stereo. Mono samples go to both sides; stereo ones are averaged for mono, as
/// Opus decoders do.
pub(crate) fn append(to: &mut Vec<f32>, to_stereo: bool, samples: &[f32], stereo: bool) {
    match (stereo, to_stereo) {
        (false, true) => to.extend(samples.iter().flat_map(|&sample| [sample; 2])),
        (true, false) => to.extend(samples.chunks_exact(2).map(|sides| (sides[0] + sides[1]) / 2.0)),
        (false, false) | (true, true) => to.extend_from_slice(samples),
    }
}

impl SoundMix {
    /// A mix without voices.
    pub fn new() -> SoundMix {
        SoundMix::default()
    }

    /// Mixes the next 20 ms. A voice that was heard and is missing in `voices` is cut off; to fade it out,
    /// pass it once more with `heard` false.
    pub fn mix(&mut self, voices: &[Voice<'_>]) {
        self.choose_channels(voices);
        let stereo = self.is_stereo();
        let mut before = std::mem::take(&mut self.within);
        for voice in voices {
            let mut within = match before.remove(&voice.id) {
                Some(within) => within,
                None if voice.heard => Within::new(&self.shared),
                None => continue,
            };
            within.take(voice, stereo);
            if within.silent_steps <= LINGER_STEPS {
                self.within.insert(voice.id, within);
            }
        }
        self.shared.add_up(self.within.values().map(|within| &within.samples[..]));
        let ids: Vec<u64> = self.within.keys().copied().collect();
        for id in ids {
            let mut minus =
                self.within.get_mut(&id).map(|own| std::mem::take(&mut own.minus)).unwrap_or_default();
            // Summed from the other voices, instead of subtracting the own voice from the shared mix, so that
            // nothing of it is left, not even rounding errors.
            let others = self.within.iter().filter(|(other, _)| **other != id);
            minus.add_up(others.map(|(_, within)| &within.samples[..]));
            if let Some(own) = self.within.get_mut(&id) {
                own.minus = minus;
            }
        }
    }

    fn choose_channels(&mut self, voices: &[Voice<'_>]) {
        let stereo = || voices.iter().filter(|voice| voice.stereo && !self.mono_only);
        self.stereo_steps = if stereo().any(|voice| voice.heard) {
            STEREO_STEPS
        } else if stereo().next().is_some() {
            self.stereo_steps.saturating_sub(1)
        } else {
            0
        };
        self.change_channels();
    }

    fn change_channels(&mut self) {
        let stereo = self.stereo_steps > 0;
        if stereo != self.is_stereo() {
            let minus = self.within.values_mut().map(|within| &mut within.minus);
            minus.chain([&mut self.shared]).for_each(|output| output.set_stereo(stereo));
        }
    }

    /// Returns whether this step's mixes have two channels, interleaved.
    pub fn is_stereo(&self) -> bool {
        self.shared.stereo
    }

    /// Makes the mixes of this step and all later ones mono.
    pub(crate) fn keep_mono(&mut self) {
        (self.mono_only, self.stereo_steps) = (true, 0);
        self.change_channels();
    }

    /// Returns the mix of all voices: [`SOUND_FRAME_LEN`] samples per channel, none beyond [`LIMIT`].
    pub fn shared(&self) -> &[f32] {
        self.shared.played()
    }

    /// Returns the mix without the voice of `id`. `None` when that voice hasn't been in the mix for
    /// [`LINGER_STEPS`]; use the shared mix then.
    pub fn without(&self, id: u64) -> Option<&[f32]> {
        self.within.get(&id).map(|within| within.minus.played())
    }

    /// Returns the identifiers of the voices in this step, in increasing order; including voices that fade.
    pub fn contributors(&self) -> impl Iterator<Item = u64> {
        self.within.iter().filter(|(_, within)| within.silent_steps == 0).map(|(&id, _)| id)
    }
}

impl Within {
    /// A speaker that wasn't in the mix has heard the shared mix so far.
    fn new(shared: &Output) -> Within {
        Within { minus: shared.clone(), ..Within::default() }
    }

    /// Takes the next 20 ms of the voice.
    fn take(&mut self, voice: &Voice<'_>, stereo: bool) {
        let (from, to) = (self.gain, if voice.heard { 1.0 } else { 0.0 });
        self.gain = to;
        self.samples.clear();
        if (from, to) == (0.0, 0.0) {
            self.silent_steps += 1;
            return;
        }
        self.silent_steps = 0;
        let len = voice.samples.len().min(SOUND_FRAME_LEN * channels(voice.stereo));
        append(&mut self.samples, stereo, &voice.samples[..len], voice.stereo);
        self.samples.resize(SOUND_FRAME_LEN * channels(stereo), 0.0);
        if from != to {
            ramp(&mut self.samples, channels(stereo), from, to);
        }
    }
}

impl Output {
    fn played(&self) -> &[f32] {
        &self.samples[..SOUND_FRAME_LEN * channels(self.stereo)]
    }

    fn set_stereo(&mut self, stereo: bool) {
        let mut samples = Vec::with_capacity((SOUND_FRAME_LEN + BLOCK_LEN) * channels(stereo));
        append(&mut samples, stereo, &self.samples, self.stereo);
        (self.samples, self.stereo) = (samples, stereo);
    }

    /// Advances to the next step, and sums its voices.
    fn add_up<'a>(&mut self, voices: impl Iterator<Item = &'a [f32]>) {
        let channels = channels(self.stereo);
        self.samples.copy_within(SOUND_FRAME_LEN * channels.., 0);
        let sums = &mut self.samples[BLOCK_LEN * channels..];
        sums.fill(0.0);
        for voice in voices {
            for (sum, sample) in sums.iter_mut().zip(voice) {
                *sum += sample;
            }
        }
        self.limit();
    }

    /// Limits the step. Lowers the gain before a block with a peak on either side, in a ramp of one block,
    /// and raises it slowly afterwards. The gain at the start of a block already suits it, since the block
    /// before has lowered it.
    fn limit(&mut self) {
        let channels = channels(self.stereo);
        let mut blocks = self.samples.chunks_exact_mut(BLOCK_LEN * channels).peekable();
        let mut allowed = blocks.peek().map_or(1.0, |first| allowed_gain(first));
        while let (Some(block), Some(next)) = (blocks.next(), blocks.peek()) {
            let allowed_next = allowed_gain(next);
            let gain = (self.gain * RELEASE).min(1.0).min(allowed).min(allowed_next);
            if (self.gain, gain) != (1.0, 1.0) {
                ramp(block, channels, self.gain, gain);
                for sample in block {
                    *sample = sample.clamp(-LIMIT, LIMIT); // corrects only rounding
                }
            }
            (self.gain, allowed) = (gain, allowed_next);
        }
    }
}

/// Returns the gain that brings a block's peak below the limit: along a curve that leaves the knee smoothly.
fn allowed_gain(block: &[f32]) -> f32 {
    let peak = block.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    if peak <= LIMIT_KNEE {
        return 1.0;
    }
    let room = LIMIT - LIMIT_KNEE;
    (LIMIT_KNEE + room * ((peak - LIMIT_KNEE) / room).tanh()) / peak
}

fn ramp(samples: &mut [f32], channels: usize, from: f32, to: f32) {
    let step = (to - from) / (samples.len() / channels).max(1) as f32;
    for (index, moment) in samples.chunks_exact_mut(channels).enumerate() {
        let gain = from + step * (index + 1) as f32;
        moment.iter_mut().for_each(|sample| *sample *= gain);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_hears_itself() {
        let voices = [(1, 0.1), (2, 0.2), (3, 0.4)].map(|(id, amplitude)| (id, noise(id, amplitude)));
        let mut mix = SoundMix::new();
        for _ in 0..3 {
            mix.mix(&voices.each_ref().map(|(id, samples)| heard(*id, samples)));
        }
        for (id, own) in &voices {
            let others: Vec<&Vec<f32>> =
                voices.iter().filter(|(other, _)| other != id).map(|(_, s)| s).collect();
            let expected: Vec<f32> = (0..SOUND_FRAME_LEN).map(|at| others[0][at] + others[1][at]).collect();
            let minus = mix.without(*id).unwrap();
            assert!(close(minus, &limited(&expected)), "{id} gets the others and only them");
            assert!(correlation(&played_again(own), minus).abs() < 0.1);
        }
        assert_eq!(mix.contributors().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn who_is_alone_hears_exact_silence() {
        let samples = noise(7, 0.9);
        let mut mix = SoundMix::new();
        for _ in 0..3 {
            mix.mix(&[heard(7, &samples)]);
            assert!(mix.without(7).unwrap().iter().all(|&sample| sample == 0.0));
        }
    }

    #[test]
    fn who_is_not_heard_gets_the_shared_mix() {
        let (one, other) = (noise(1, 0.2), noise(2, 0.2));
        let mut mix = SoundMix::new();
        for _ in 0..3 {
            mix.mix(&[heard(1, &one), Voice { heard: false, ..heard(2, &other) }]);
        }
        assert!(mix.without(2).is_none());
        assert!(mix.shared() == played_again(&one));
        assert_eq!(mix.contributors().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn entering_and_leaving_do_not_click() {
        let tone = vec![0.4; SOUND_FRAME_LEN];
        let mut mix = SoundMix::new();
        let mut heard_so_far = vec![0.0];
        for step in 0..6 {
            mix.mix(&[Voice { heard: (1..4).contains(&step), ..heard(1, &tone) }]);
            heard_so_far.extend_from_slice(mix.shared());
        }
        let steepest = heard_so_far.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.4 / SOUND_FRAME_LEN as f32 * 1.01, "{steepest}");
        assert_eq!(heard_so_far.last(), Some(&0.0));
        assert_eq!(mix.contributors().count(), 0);
    }

    #[test]
    fn who_ceases_to_be_heard_keeps_a_mix_until_that_is_the_shared_one() {
        let (one, shouting) = (noise(1, 0.3), noise(2, 4.0));
        let mut mix = SoundMix::new();
        let heard_is = |is| Voice { heard: is, ..heard(2, &shouting) };
        mix.mix(&[heard(1, &one), heard_is(true)]);
        mix.mix(&[heard(1, &one), heard_is(false)]);
        assert!(
            mix.without(2).is_some_and(|minus| minus != mix.shared()),
            "still fading, and limited for it"
        );
        for _ in 0..LINGER_STEPS {
            mix.mix(&[heard(1, &one), heard_is(false)]);
            assert_eq!(mix.contributors().collect::<Vec<_>>(), [1]);
            assert!(mix.without(2).is_some());
        }
        assert!(mix.without(2) == Some(mix.shared()));
        mix.mix(&[heard(1, &one), heard_is(false)]);
        assert!(mix.without(2).is_none());
    }

    #[test]
    fn who_begins_to_be_heard_hears_on_where_it_was() {
        // so loud that the limiter is active when the second voice begins
        let turn = std::f32::consts::TAU / 96.0;
        let shouting: Vec<f32> = (0..SOUND_FRAME_LEN).map(|at| 3.0 * (at as f32 * turn).cos()).collect();
        let mut mix = SoundMix::new();
        let mut heard_so_far = Vec::new();
        for step in 0..6 {
            mix.mix(&[heard(1, &shouting), Voice { heard: step >= 4, ..heard(2, &shouting) }]);
            heard_so_far.extend_from_slice(mix.without(2).unwrap_or(mix.shared()));
        }
        let shared_until = 4 * SOUND_FRAME_LEN;
        let steepest =
            |samples: &[f32]| samples.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
        let usual = steepest(&heard_so_far[2 * SOUND_FRAME_LEN + BLOCK_LEN..shared_until]);
        assert!(steepest(&heard_so_far[shared_until - 1..shared_until + BLOCK_LEN]) < 1.05 * usual);
    }

    #[test]
    fn the_mix_is_stereo_while_a_stereo_voice_is_heard() {
        let (film, voice) = (interleaved(&noise(1, 0.2), &noise(2, 0.2)), noise(3, 0.1));
        let stereo = Voice { stereo: true, ..heard(1, &film) };
        let mut mix = SoundMix::new();
        for _ in 0..3 {
            mix.mix(&[Voice { heard: false, ..stereo }, heard(2, &voice)]);
            assert!(!mix.is_stereo() && mix.shared().len() == SOUND_FRAME_LEN);
        }
        for _ in 0..3 {
            mix.mix(&[stereo, heard(2, &voice)]);
        }
        assert!(mix.is_stereo());
        for (side, seed) in sides(mix.shared()).iter().zip([1, 2]) {
            let sum: Vec<f32> = noise(seed, 0.2).iter().zip(&voice).map(|(one, other)| one + other).collect();
            assert!(close(side, &played_again(&sum)));
        }
        assert!(sides(mix.without(1).unwrap()).iter().all(|side| *side == played_again(&voice)));
        assert!(sides(mix.without(2).unwrap()) == sides(&film).map(|side| played_again(&side)));

        // a pause of the film keeps the mix stereo; its end makes it mono at once
        mix.mix(&[Voice { heard: false, ..stereo }, heard(2, &voice)]);
        for _ in 1..STEREO_STEPS {
            mix.mix(&[Voice { heard: false, ..stereo }, heard(2, &voice)]);
        }
        assert!(!mix.is_stereo(), "too long a pause");
        assert!(mix.shared() == played_again(&voice));
        mix.mix(&[stereo, heard(2, &voice)]);
        assert!(mix.is_stereo());
        mix.mix(&[heard(2, &voice)]);
        assert!(!mix.is_stereo());
    }

    #[test]
    fn what_becomes_stereo_or_mono_again_goes_on_without_a_step() {
        let tone: Vec<f32> = (0..SOUND_FRAME_LEN).map(|at| 0.9 * (at as f32 * 0.0654).sin()).collect();
        let (film, mut mix, mut heard_so_far) = (vec![0.0; 2 * SOUND_FRAME_LEN], SoundMix::new(), Vec::new());
        for step in 0..9 {
            let stereo = Voice { stereo: true, ..heard(2, &film) };
            let voices = [heard(1, &tone), stereo];
            let shared = step / 3 == 1;
            mix.mix(if shared { &voices } else { &voices[..1] });
            assert_eq!(mix.is_stereo(), shared);
            append(&mut heard_so_far, false, mix.shared(), mix.is_stereo());
        }
        let mut alone = (SoundMix::new(), Vec::new());
        for _ in 0..9 {
            alone.0.mix(&[heard(1, &tone)]);
            alone.1.extend_from_slice(alone.0.shared());
        }
        assert!(heard_so_far == alone.1);
    }

    #[test]
    fn the_limiter_turns_both_sides_down_alike() {
        let (loud, soft) = (noise(1, 3.0), noise(2, 0.3));
        for film in [interleaved(&loud, &soft), interleaved(&soft, &loud)] {
            let mut mix = SoundMix::new();
            for _ in 0..3 {
                mix.mix(&[Voice { stereo: true, ..heard(1, &film) }]);
            }
            let sums = sides(&film).map(|side| played_again(&side));
            let gain = |side: usize, at: usize| sides(mix.shared())[side][at] / sums[side][at];
            for at in (0..SOUND_FRAME_LEN).step_by(7) {
                assert!(gain(0, at) < 0.6 && (gain(0, at) / gain(1, at) - 1.0).abs() < 1e-3, "at {at}");
            }
        }
    }

    #[test]
    fn up_to_half_of_full_scale_nothing_is_touched() {
        let samples = noise(1, LIMIT_KNEE);
        let mut mix = SoundMix::new();
        for _ in 0..3 {
            mix.mix(&[heard(1, &samples)]);
        }
        assert!(mix.shared() == played_again(&samples));
    }

    #[test]
    fn loud_sums_are_bent_not_clipped_and_the_gain_comes_back() {
        let tone: Vec<f32> = (0..SOUND_FRAME_LEN).map(|at| 0.9 * (at as f32 * 0.0654).sin()).collect();
        let mut mix = SoundMix::new();
        let voices: Vec<Voice<'_>> = (0..5).map(|id| heard(id, &tone)).collect();
        for _ in 0..4 {
            mix.mix(&voices);
        }
        let peak = mix.shared().iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((0.8..=LIMIT).contains(&peak), "{peak}");
        assert!(correlation(mix.shared(), &played_again(&tone)) > 0.999, "the shape is kept");
        let soft: Vec<f32> = tone.iter().map(|sample| sample * 0.1).collect();
        for _ in 0..50 {
            mix.mix(&[heard(0, &soft)]);
        }
        assert!(mix.shared() == played_again(&soft));
    }

    #[test]
    fn a_sudden_peak_anywhere_in_a_step_is_bent_not_clipped() {
        let soft = |at: usize| 0.2 * (at as f32 * 0.05).sin() + 0.21;
        for onset in [0, 1, 47, 48, 500, 911, 912, 959] {
            let frame = |step: usize| -> Vec<f32> {
                let at = step * SOUND_FRAME_LEN..(step + 1) * SOUND_FRAME_LEN;
                let loud = |at| at >= 2 * SOUND_FRAME_LEN + onset;
                at.map(|at| soft(at) * if loud(at) { 5.0 } else { 1.0 }).collect()
            };
            let mut mix = SoundMix::new();
            let (mut mixed, mut sums) = (Vec::new(), Vec::new());
            for step in 0..5 {
                mix.mix(&[heard(1, &frame(step))]);
                mixed.extend_from_slice(mix.shared());
                sums.extend(frame(step));
            }
            // after the step in which the voice is faded in
            let begin = SOUND_FRAME_LEN;
            let gains: Vec<f32> =
                mixed[begin + BLOCK_LEN..].iter().zip(&sums[begin..]).map(|(out, sum)| out / sum).collect();
            let steepest = gains.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
            assert!(steepest < 1.0 / BLOCK_LEN as f32, "onset at {onset}: the gain jumps by {steepest}");
            assert!(mixed.iter().all(|sample| sample.abs() < LIMIT), "onset at {onset}");
            assert!(gains.iter().any(|&gain| gain < 0.6), "onset at {onset}: it is loud indeed");
        }
    }

    proptest! {
        #[test]
        fn no_output_goes_beyond_the_limit(
            steps in prop::collection::vec(prop::collection::vec((0_u64..6, -4.0_f32..4.0, any::<bool>()), 0..6), 1..8),
        ) {
            let mut mix = SoundMix::new();
            for step in steps {
                let frames: OrderedMap<u64, (Vec<f32>, bool)> =
                    step.into_iter().map(|(id, amplitude, on)| (id, (noise(id, amplitude), on))).collect();
                let voices: Vec<Voice<'_>> = frames
                    .iter()
                    .map(|(&id, (samples, heard))| Voice { id, samples, stereo: false, heard: *heard })
                    .collect();
                mix.mix(&voices);
                let minus = mix.contributors().filter_map(|id| mix.without(id));
                for output in minus.chain([mix.shared()]) {
                    prop_assert_eq!(output.len(), SOUND_FRAME_LEN);
                    prop_assert!(output.iter().all(|sample| sample.abs() <= LIMIT));
                }
            }
        }
    }

    fn heard(id: u64, samples: &[f32]) -> Voice<'_> {
        Voice { id, samples, stereo: false, heard: true }
    }

    /// Returns the left and right side of stereo samples.
    fn sides(samples: &[f32]) -> [Vec<f32>; 2] {
        [0, 1].map(|side| samples.iter().skip(side).step_by(2).copied().collect())
    }

    fn interleaved(left: &[f32], right: &[f32]) -> Vec<f32> {
        left.iter().zip(right).flat_map(|(left, right)| [*left, *right]).collect()
    }

    fn noise(seed: u64, amplitude: f32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let samples = (0..SOUND_FRAME_LEN).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            amplitude * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        });
        samples.collect()
    }

    /// Returns the limiter's delayed output for a repeated frame that needs no limiting.
    fn played_again(samples: &[f32]) -> Vec<f32> {
        let (begin, end) = samples.split_at(SOUND_FRAME_LEN - BLOCK_LEN);
        [end, begin].concat()
    }

    /// Returns the output of a new limiter for a repeated frame.
    fn limited(samples: &[f32]) -> Vec<f32> {
        let mut output = Output::default();
        for _ in 0..3 {
            output.add_up([samples].into_iter());
        }
        output.played().to_vec()
    }

    fn close(one: &[f32], other: &[f32]) -> bool {
        one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-3)
    }

    fn correlation(one: &[f32], other: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt().max(1e-9)
    }
}
