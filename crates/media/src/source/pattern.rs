//! Test source: pictures with a machine-readable number, and a tone with a beep in sync with them.
//!
//! - Time code: a row of 32 cells across the top, 1/15 of the height; white is 1, black is 0, the most
//!   significant bit is on the left. It holds 4 bits of index, 27 bits of picture number, and 1 bit of even
//!   parity.
//! - Background: two layers of clouds in the index's colour drift across each other below the row, so that an
//!   encoder has work to do.
//! - Tone: 300 + 150 × index Hz at −20 dBFS. In the first 100 ms of each second it is 12 dB louder, and a
//!   white square of 1/8 of the height appears below the right end of the row.
//!
//! From a recording one can tell which pictures arrived, and how far sound and picture are out of sync.

use std::f64::consts::TAU;

use super::{Source, SourceError, SourcePictures};
use crate::{Picture, PictureView, SAMPLE_RATE, SOUND_FRAME_LEN};

const CELLS: usize = 32;
const NUMBER_BITS: u32 = 27;
const INDEX_MASK: u32 = 0xf;
/// Luma of white and black in limited range.
const WHITE: u8 = 235;
const BLACK: u8 = 16;
/// Chroma of grey.
const GREY: u8 = 128;
const HUE_STEP_DEGREES: u32 = 47;
const TONE_HZ: u32 = 300;
const TONE_STEP_HZ: u32 = 150;
/// Amplitude of the tone: −20 dBFS, where a full-scale sine has 0 dBFS.
const AMPLITUDE: f64 = 0.1;
/// Amplitude of the beep: 12 dB louder.
const AMPLITUDE_BEEP: f64 = AMPLITUDE * 3.981_071_705_534_972;
/// Beep and flash last for 1/10 of each second.
const BEEPS_PER_SECOND: u32 = 10;
/// Period of the clouds in pixels, in both directions.
const PERIOD: usize = 256;
/// Drift of each layer per picture in pixels, horizontal and vertical; even, so that chroma moves along with
/// luma.
const DRIFTS: [(usize, usize); 2] = [(2, PERIOD - 2), (PERIOD - 4, PERIOD - 2)];

/// Test source of pictures with a time code, and a tone, for the speaker with a given index.
pub struct TestSource {
    index: u8,
    fps: u8,
    /// Number of the next picture.
    number: u64,
    /// Samples of sound produced so far.
    samples: u64,
    layers: [Clouds; 2],
    picture: Picture,
    drawn: Option<u64>,
}

impl TestSource {
    /// Creates a source. Width and height are rounded down to even numbers; `fps` is at least 1.
    pub fn new(index: u8, width: u16, height: u16, fps: u8) -> TestSource {
        let picture = Picture::black(width.into(), height.into());
        let colour = Colour::of_hue(u32::from(index) * HUE_STEP_DEGREES % 360);
        let layers = [1, 2].map(|seed| Clouds::new(seed, &colour, picture.width(), picture.height()));
        TestSource { index, fps: fps.max(1), number: 0, samples: 0, layers, picture, drawn: None }
    }

    fn draw(&mut self, number: u64) {
        let (width, height) = (self.picture.width(), self.picture.height());
        let row = (height / 15).max(1);
        let flash = (number % u64::from(self.fps)) * u64::from(BEEPS_PER_SECOND) < u64::from(self.fps);
        let square = if flash { height / 8 } else { 0 }.min(width);
        let planes = self.picture.planes_mut().into_iter().zip([1, 2, 2]).zip([WHITE, GREY, GREY]);
        for (index, ((plane, shrink), white)) in planes.enumerate() {
            draw_clouds(plane, width / shrink, index, number, &self.layers);
            let (in_row, below) = plane.split_at_mut(row.div_ceil(shrink) * (width / shrink));
            in_row.fill(GREY);
            for line in below.chunks_exact_mut(width / shrink).take(square.div_ceil(shrink)) {
                line[(width - square) / shrink..].fill(white);
            }
        }
        let [luma, ..] = self.picture.planes_mut();
        draw_bits(&mut luma[..row * width], width, time_code(self.index, number));
    }
}

/// Draws the mean of the two layers, each shifted by its drift.
fn draw_clouds(plane: &mut [u8], width: usize, index: usize, number: u64, layers: &[Clouds; 2]) {
    let shrink = if index == 0 { 1 } else { 2 };
    let drifted = |way: usize| (number % PERIOD as u64) as usize * way % PERIOD / shrink;
    let [(front_x, front_y), (back_x, back_y)] = DRIFTS.map(|(x, y)| (drifted(x), drifted(y)));
    let [front, back] = layers;
    for (y, line) in plane.chunks_exact_mut(width).enumerate() {
        let front = front.line(index, front_x, front_y + y, width);
        let back = back.line(index, back_x, back_y + y, width);
        for ((sample, front), back) in line.iter_mut().zip(front).zip(back) {
            *sample = (u16::from(*front) + u16::from(*back)).div_ceil(2) as u8;
        }
    }
}

fn draw_bits(luma: &mut [u8], width: usize, bits: u32) {
    for line in luma.chunks_exact_mut(width) {
        for cell in 0..CELLS {
            let white = bits >> (CELLS - 1 - cell) & 1 == 1;
            line[cell * width / CELLS..(cell + 1) * width / CELLS].fill(if white { WHITE } else { BLACK });
        }
    }
}

impl Source for TestSource {
    fn pictures(&self) -> Option<SourcePictures> {
        let (width, height) = (self.picture.width(), self.picture.height());
        Some(SourcePictures { width, height, fps: self.fps.into() })
    }

    fn channels(&self) -> Option<u8> {
        Some(1)
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        let at_us = self.number * 1_000_000 / u64::from(self.fps);
        self.number += 1;
        Ok(Some(at_us))
    }

    fn picture(&mut self) -> PictureView<'_> {
        let current = self.number.checked_sub(1);
        if let Some(number) = current.filter(|_| current != self.drawn) {
            self.draw(number);
            self.drawn = current;
        }
        self.picture.view()
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        let frequency = f64::from(TONE_HZ + TONE_STEP_HZ * u32::from(self.index));
        for (sample, at) in samples.iter_mut().take(SOUND_FRAME_LEN).zip(self.samples..) {
            // the tone crosses zero at each tenth of a second, so the level changes without a click
            let in_second = (at % u64::from(SAMPLE_RATE)) as u32;
            let beep = in_second < SAMPLE_RATE / BEEPS_PER_SECOND;
            let phase = (f64::from(in_second) * frequency / f64::from(SAMPLE_RATE)).fract();
            *sample = ((phase * TAU).sin() * if beep { AMPLITUDE_BEEP } else { AMPLITUDE }) as f32;
        }
        self.samples += SOUND_FRAME_LEN as u64;
        Ok(())
    }
}

/// The 32 bits of the time code.
fn time_code(index: u8, number: u64) -> u32 {
    let number = number as u32 & ((1 << NUMBER_BITS) - 1);
    let code = (u32::from(index) & INDEX_MASK) << (NUMBER_BITS + 1) | number << 1;
    code | code.count_ones() & 1
}

/// A fully saturated colour in BT.709, limited range, as the offset from black at brightness 1.
struct Colour {
    luma: f64,
    cb: f64,
    cr: f64,
}

impl Colour {
    fn of_hue(degrees: u32) -> Colour {
        let channel = |shift: u32| {
            let angle = f64::from((degrees + shift) % 360) / 60.0;
            (2.0 - (angle - 3.0).abs()).clamp(0.0, 1.0)
        };
        // hue counts from red; each channel peaks at its own hue
        let [red, green, blue] = [180, 60, 300].map(channel);
        let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        Colour { luma: 219.0 * luma, cb: 224.0 * (blue - luma) / 1.8556, cr: 224.0 * (red - luma) / 1.5748 }
    }
}

/// One layer: a periodic texture, one period larger than the picture, so that drawing it at any shift is a
/// plain copy.
struct Clouds {
    /// Samples and width of the luma, Cb and Cr planes.
    planes: [(Vec<u8>, usize); 3],
}

impl Clouds {
    fn new(seed: u32, colour: &Colour, width: usize, height: usize) -> Clouds {
        // grain scaled inversely with the colour's luma, so that all colours cost a similar number of bits
        let grain = (24.0 / colour.luma).clamp(0.15, 0.6);
        let brightness = brightness(seed, grain);
        let plane = |shrink: usize, black: u8, full: f64| {
            let (width, height) = ((width + PERIOD) / shrink, (height + PERIOD) / shrink);
            let samples = (0..width * height).map(|at| {
                let (x, y) = (at % width * shrink % PERIOD, at / width * shrink % PERIOD);
                (f64::from(black) + full * brightness[y * PERIOD + x]).round() as u8
            });
            (samples.collect(), width)
        };
        Clouds {
            planes: [plane(1, BLACK, colour.luma), plane(2, GREY, colour.cb), plane(2, GREY, colour.cr)],
        }
    }

    fn line(&self, plane: usize, x: usize, y: usize, width: usize) -> &[u8] {
        let (samples, stride) = &self.planes[plane];
        &samples[y * stride + x..][..width]
    }
}

/// Brightness of each pixel of a period, 0.15 to 1: smoothly interpolated noise at three scales; `grain` is
/// the weight of the finest.
fn brightness(seed: u32, grain: f64) -> Vec<f64> {
    let clouds = (1.0 - grain) / 2.0;
    let mut brightness = vec![0.15; PERIOD * PERIOD];
    for (size, share) in [(64, clouds), (16, clouds), (4, grain)] {
        let cells = PERIOD / size;
        let corner = |x: usize, y: usize| noise(seed, (size * cells + y % cells) * cells + x % cells);
        for (at, sum) in brightness.iter_mut().enumerate() {
            let (x, y) = (at % PERIOD, at / PERIOD);
            let smooth = |at: usize| {
                let part = (at % size) as f64 / size as f64;
                part * part * (3.0 - 2.0 * part)
            };
            let mix = |a: f64, b: f64, part: f64| a + (b - a) * part;
            let (left, top) = (x / size, y / size);
            let upper = mix(corner(left, top), corner(left + 1, top), smooth(x));
            let lower = mix(corner(left, top + 1), corner(left + 1, top + 1), smooth(x));
            *sum += 0.85 * share * mix(upper, lower, smooth(y));
        }
    }
    brightness
}

/// Pseudo-random number from 0 to 1 (finaliser of MurmurHash3).
fn noise(seed: u32, at: usize) -> f64 {
    let mut hash = (at as u32).wrapping_mul(0x9e37_79b9) ^ seed.wrapping_mul(0x85eb_ca6b);
    for factor in [0x85eb_ca6b, 0xc2b2_ae35] {
        hash = (hash ^ hash >> 15).wrapping_mul(factor);
    }
    f64::from(hash ^ hash >> 16) / f64::from(u32::MAX)
}
