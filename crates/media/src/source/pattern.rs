//! The test source: pictures that carry a readable number, and a tone that beeps with them.
//!
//! A row across the top, 1/15 of the height, has 32 cells, white for 1 and black for 0, the highest bit left:
//! 4 bits of index, 27 bits of picture number, 1 bit that makes the number of ones even. Below it two layers of
//! clouds in the index's colour drift through each other, so that an encoder has work to do. A tone of
//! 300 + 150 × index Hz stands at −20 dBFS; in the first 100 ms of each second it is 12 dB louder, and a white
//! square of 1/8 of the height stands below the right end of the row. Whoever has a recording can tell from it
//! which pictures arrived, and how far sound and picture are apart.

use std::f64::consts::TAU;

use super::{Source, SourceError, SourcePictures};
use crate::{Picture, PictureView, SAMPLE_RATE, SOUND_FRAME_LEN};

const CELLS: usize = 32;
const NUMBER_BITS: u32 = 27;
const INDEX_MASK: u32 = 0xf;
/// Luma of white and black, limited range.
const WHITE: u8 = 235;
const BLACK: u8 = 16;
/// Chroma without colour.
const GREY: u8 = 128;
const HUE_STEP_DEGREES: u32 = 47;
const TONE_HZ: u32 = 300;
const TONE_STEP_HZ: u32 = 150;
/// −20 dBFS, a full-scale sine being 0.
const AMPLITUDE: f64 = 0.1;
/// 12 dB louder.
const AMPLITUDE_BEEP: f64 = AMPLITUDE * 3.981_071_705_534_972;
/// Beep and flash last for 1/10 of each second.
const BEEPS_PER_SECOND: u32 = 10;
/// The clouds repeat after so many pixels.
const PERIOD: usize = 256;
/// How far each layer drifts per picture, in pixels; even, so that chroma keeps pace.
const DRIFTS: [(usize, usize); 2] = [(2, PERIOD - 2), (PERIOD - 4, PERIOD - 2)];

/// Picture, tone and time code for the speaker of one index.
pub struct TestSource {
    index: u8,
    fps: u8,
    /// The picture to be drawn next.
    number: u64,
    /// Samples of sound made so far.
    samples: u64,
    layers: [Clouds; 2],
    picture: Picture,
    drawn: Option<u64>,
}

impl TestSource {
    /// A source whose sizes are rounded down to even numbers; `fps` is at least 1.
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

/// The mean of the two layers, each drifted its way.
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
            // the tone goes through zero at each tenth of a second, so louder and softer join without a click
            let in_second = (at % u64::from(SAMPLE_RATE)) as u32;
            let beep = in_second < SAMPLE_RATE / BEEPS_PER_SECOND;
            let phase = (f64::from(in_second) * frequency / f64::from(SAMPLE_RATE)).fract();
            *sample = ((phase * TAU).sin() * if beep { AMPLITUDE_BEEP } else { AMPLITUDE }) as f32;
        }
        self.samples += SOUND_FRAME_LEN as u64;
        Ok(())
    }
}

/// The 32 bits of the row.
fn time_code(index: u8, number: u64) -> u32 {
    let number = number as u32 & ((1 << NUMBER_BITS) - 1);
    let code = (u32::from(index) & INDEX_MASK) << (NUMBER_BITS + 1) | number << 1;
    code | code.count_ones() & 1
}

/// A fully saturated colour in BT.709, limited range: what brightness 1 adds to black.
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
        // hues count from red: each channel is brightest where its own hue is
        let [red, green, blue] = [180, 60, 300].map(channel);
        let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        Colour { luma: 219.0 * luma, cb: 224.0 * (blue - luma) / 1.8556, cr: 224.0 * (red - luma) / 1.5748 }
    }
}

/// One layer: a texture that repeats, of the picture's size and one period more, so that any shift of it is a
/// plain copy.
struct Clouds {
    /// Luma, Cb, Cr, each with its width.
    planes: [(Vec<u8>, usize); 3],
}

impl Clouds {
    fn new(seed: u32, colour: &Colour, width: usize, height: usize) -> Clouds {
        // grain in proportion to what the eye sees of the colour, so that all colours cost similar bits
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

/// Brightness of each pixel of a period, 0.15 to 1: noise at three sizes, smoothly joined; `grain` is the share
/// of the finest.
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

/// A number from 0 to 1 that looks random (finaliser of MurmurHash3).
fn noise(seed: u32, at: usize) -> f64 {
    let mut hash = (at as u32).wrapping_mul(0x9e37_79b9) ^ seed.wrapping_mul(0x85eb_ca6b);
    for factor in [0x85eb_ca6b, 0xc2b2_ae35] {
        hash = (hash ^ hash >> 15).wrapping_mul(factor);
    }
    f64::from(hash ^ hash >> 16) / f64::from(u32::MAX)
}
