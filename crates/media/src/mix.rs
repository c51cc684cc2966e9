//! Sound of several speakers added up: one mix for all, and one without each speaker's own voice for those in
//! it.
//!
//! All is mono until somebody is heard whose voice is stereo; then the mix is, and mono voices are on both sides, until a
//! while after that. Limiter and fades treat both sides alike, so that nothing moves between them.
//!
//! Works in steps of 20 ms. Who begins or ceases to be heard is faded over one step, so that nothing clicks. Its
//! own mix begins as the shared one was until then, and is kept up for [`LINGER_STEPS`] after its voice has gone:
//! what is the same by then is also limited the same, and whoever encodes both can change over unheard.
//! Each output passes its own limiter: untouched as long as no sample exceeds half of full scale (−6 dBFS),
//! bent smoothly below [`LIMIT`] above that. It looks 1 ms ahead, so that its gain is down before a peak comes;
//! by so much the output is later than the voices.

use std::collections::BTreeMap;

use crate::SOUND_FRAME_LEN;

/// Samples up to this pass the limiter as they are: −6 dBFS.
pub const LIMIT_KNEE: f32 = 0.5;
/// What the limiter lets nothing pass: −1 dBFS, the true peak that EBU R 128 recommends. Behind a lossy codec samples
/// overshoot what was encoded.
pub const LIMIT: f32 = 0.891_250_9;
/// The limiter sets its gain anew each millisecond, and looks as far ahead.
const BLOCK_LEN: usize = 48;
/// The gain comes back by this factor per block: 6 dB in 70 ms. A guess.
const RELEASE: f32 = 1.01;

/// Steps for which there is still a mix without a voice that has ceased to be heard: 500 ms, in which a limiter
/// comes back from 43 dB, more than it ever takes.
pub const LINGER_STEPS: u32 = 25;

/// Steps for which a mix stays stereo when the voice that made it so is silent: 5 s, a pause in a film. A guess.
const STEREO_STEPS: u32 = 250;

/// One speaker's 20 ms.
#[derive(Clone, Copy, Debug)]
pub struct Voice<'a> {
    /// Whose it is; each id at most once.
    pub id: u64,
    /// [`SOUND_FRAME_LEN`] samples per channel, interleaved, −1 to 1; missing ones count as silence.
    pub samples: &'a [f32],
    /// They are of two channels, not one.
    pub stereo: bool,
    /// Whether it is to be heard from now on.
    pub heard: bool,
}

/// Adds up voices, step by step.
#[derive(Debug, Default)]
pub struct SoundMix {
    /// Who is in the mix of this step, or was lately, by id.
    within: BTreeMap<u64, Within>,
    shared: Output,
    /// For so many steps it is stereo yet.
    stereo_steps: u32,
    mono_only: bool,
}

#[derive(Debug, Default)]
struct Within {
    /// At the end of this step.
    gain: f32,
    /// Steps since its voice has gone.
    silent_steps: u32,
    /// Its voice at that gain; empty when that has gone.
    samples: Vec<f32>,
    minus: Output,
}

#[derive(Clone, Debug)]
struct Output {
    /// The step that is played, and behind it the sum of the next block.
    samples: Vec<f32>,
    stereo: bool,
    gain: f32,
}

impl Default for Output {
    fn default() -> Output {
        Output { samples: vec![0.0; SOUND_FRAME_LEN + BLOCK_LEN], stereo: false, gain: 1.0 }
    }
}

/// How many samples the sound of one moment has.
pub(crate) fn channels(stereo: bool) -> usize {
    if stereo { 2 } else { 1 }
}

/// Appends samples as mono or stereo: what is mono goes to both sides, and of both sides the mean is taken, as Opus
/// decoders do.
pub(crate) fn append(to: &mut Vec<f32>, to_stereo: bool, samples: &[f32], stereo: bool) {
    match (stereo, to_stereo) {
        (false, true) => to.extend(samples.iter().flat_map(|&sample| [sample; 2])),
        (true, false) => to.extend(samples.chunks_exact(2).map(|sides| (sides[0] + sides[1]) / 2.0)),
        (false, false) | (true, true) => to.extend_from_slice(samples),
    }
}

impl SoundMix {
    /// Nobody is in it.
    pub fn new() -> SoundMix {
        SoundMix::default()
    }

    /// Mixes the next 20 ms. Voices that were heard and aren't named end at once, so name them once more with
    /// `heard` false.
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
            // Added up from the others, not the shared mix less the own voice: nothing of it is left, not even
            // what rounding leaves.
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

    /// Whether this step's mixes have two channels, interleaved.
    pub fn is_stereo(&self) -> bool {
        self.shared.stereo
    }

    /// Makes this step's mixes mono, and all that follow.
    pub(crate) fn keep_mono(&mut self) {
        (self.mono_only, self.stereo_steps) = (true, 0);
        self.change_channels();
    }

    /// All voices: [`SOUND_FRAME_LEN`] samples per channel, none beyond [`LIMIT`].
    pub fn shared(&self) -> &[f32] {
        self.shared.played()
    }

    /// The mix without the voice of `id`; `None` when that wasn't in it for [`LINGER_STEPS`]: the shared mix is
    /// right then.
    pub fn without(&self, id: u64) -> Option<&[f32]> {
        self.within.get(&id).map(|within| within.minus.played())
    }

    /// Whose voices are in this step, those that fade included, in order of id.
    pub fn contributors(&self) -> impl Iterator<Item = u64> {
        self.within.iter().filter(|(_, within)| within.silent_steps == 0).map(|(&id, _)| id)
    }
}

impl Within {
    /// Whoever wasn't in the mix has heard all of it so far.
    fn new(shared: &Output) -> Within {
        Within { minus: shared.clone(), ..Within::default() }
    }

    /// Takes the next 20 ms.
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

    /// Goes on to the next step.
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

    /// Brings the gain down, in a ramp of one block, before each block with a peak on either side, and slowly up again.
    /// The gain at the beginning of a block suits it already: the block before saw to that.
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
                    *sample = sample.clamp(-LIMIT, LIMIT); // only rounding
                }
            }
            (self.gain, allowed) = (gain, allowed_next);
        }
    }
}

/// The gain that brings a block's peak under the limit: along a curve that leaves the knee smoothly.
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
        // so loud that the limiter is at work when the second comes
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
    fn while_a_stereo_voice_is_heard_the_mix_is_stereo_and_mono_voices_are_on_both_sides() {
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

        // a pause of the film changes nothing, its end does at once
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
            // behind the step in which the voice is faded in
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
                let frames: BTreeMap<u64, (Vec<f32>, bool)> =
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

    /// Its left side, its right side, and what is between.
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

    /// What a step sounds like that is the same as the one before and not limited.
    fn played_again(samples: &[f32]) -> Vec<f32> {
        let (begin, end) = samples.split_at(SOUND_FRAME_LEN - BLOCK_LEN);
        [end, begin].concat()
    }

    /// What a fresh limiter makes of a frame that it has seen before.
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
