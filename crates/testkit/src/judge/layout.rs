//! Positions of the speakers' tiles in a picture, and the marks inside a tile.

use plenary_media::compose;
use plenary_media::scale::Rect;

use super::TimeCode;

const CELLS: usize = 32;
/// Thresholds of mean luma for a black and for a white cell.
const BLACK_MAX: f64 = 96.0;
const WHITE_MIN: f64 = 160.0;
/// Minimum mean luma of the white square; the clouds are darker on average.
const FLASH_MIN: f64 = 190.0;

/// A speaker's tile within a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tile {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Tiles of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// One speaker fills the picture.
    Single,
    /// The cells of the mixer's grid, as laid out by [`compose::grid`]; in the middle of each cell a picture
    /// of the given aspect ratio, as large as fits.
    Grid {
        /// Number of cells.
        count: usize,
        /// Aspect ratio of the pictures, as width and height.
        shape: (usize, usize),
    },
    /// The given tiles.
    Tiles(Vec<Tile>),
}

impl Layout {
    /// Grid of pictures with an aspect ratio of 16:9.
    pub fn grid(count: usize) -> Layout {
        Layout::Grid { count, shape: (16, 9) }
    }

    /// Returns the tiles in a picture of the given size.
    pub fn tiles(&self, width: usize, height: usize) -> Vec<Tile> {
        match self {
            Layout::Single => vec![Tile { x: 0.0, y: 0.0, width: width as f64, height: height as f64 }],
            Layout::Tiles(tiles) => tiles.clone(),
            Layout::Grid { count, shape } => {
                let cells = compose::grid(*count, width, height).into_iter();
                cells.map(|cell| Tile::from(cell.fit(shape.0, shape.1))).collect()
            }
        }
    }
}

impl From<Rect> for Tile {
    fn from(rect: Rect) -> Tile {
        let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(|side| side as f64);
        Tile { x, y, width, height }
    }
}

/// The luma of one picture, without padding.
pub(super) struct Luma<'a> {
    pub(super) samples: &'a [u8],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Luma<'_> {
    /// Mean of a rectangle around a point; a rectangle outside the picture counts as grey.
    fn mean(&self, x: f64, y: f64, width: f64, height: f64) -> f64 {
        let range = |middle: f64, side: f64, bound: usize| {
            let begin = (middle - side / 2.0).round().clamp(0.0, bound as f64) as usize;
            begin..((middle + side / 2.0).round() as usize).clamp(begin, bound).max(begin + 1).min(bound)
        };
        let columns = range(x, width, self.width);
        let (mut sum, mut count) = (0.0, 0.0);
        for y in range(y, height, self.height) {
            for sample in &self.samples[y * self.width..][columns.clone()] {
                (sum, count) = (sum + f64::from(*sample), count + 1.0);
            }
        }
        if count > 0.0 { sum / count } else { 128.0 }
    }

    /// Reads the time code: 4 bits of index, 27 bits of number, 1 bit of even parity, the most significant
    /// bit on the left. All zeros count only above a white square, which the first picture shows; any dark
    /// row would read as zeros.
    pub(super) fn time_code(&self, tile: &Tile) -> Option<TimeCode> {
        let (cell, row) = (tile.width / CELLS as f64, tile.height / 15.0);
        let mut bits = 0u32;
        for index in 0..CELLS {
            let middle = tile.x + (index as f64 + 0.5) * cell;
            let mean = self.mean(middle, tile.y + row / 2.0, cell * 0.5, row * 0.5);
            bits = bits << 1
                | match mean {
                    mean if mean <= BLACK_MAX => 0,
                    mean if mean >= WHITE_MIN => 1,
                    _ => return None,
                };
        }
        let even = bits.count_ones().is_multiple_of(2);
        (even && (bits != 0 || self.flash(tile)))
            .then_some(TimeCode { index: (bits >> 28) as u8, number: bits >> 1 & 0x07ff_ffff })
    }

    /// Whether the white square is below the right end of the row.
    pub(super) fn flash(&self, tile: &Tile) -> bool {
        let (square, row) = (tile.height / 8.0, tile.height / 15.0);
        let (x, y) = (tile.x + tile.width - square / 2.0, tile.y + row + square / 2.0);
        self.mean(x, y, square * 0.6, square * 0.6) >= FLASH_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fill_the_cells_that_the_mixer_draws_on() {
        // count, canvas, aspect ratio of the pictures, last tile
        let rows = [
            (1, (1280, 720), (16, 9), [0.0, 0.0, 1280.0, 720.0]),
            (2, (1280, 720), (16, 9), [640.0, 180.0, 640.0, 360.0]),
            (4, (1280, 720), (16, 9), [640.0, 360.0, 640.0, 360.0]),
            (5, (1280, 720), (16, 9), [640.0, 360.0, 426.0, 240.0]),
            (9, (1280, 720), (16, 9), [852.0, 480.0, 426.0, 240.0]),
            (4, (1280, 720), (4, 3), [720.0, 360.0, 480.0, 360.0]),
        ];
        for (count, (width, height), shape, [x, y, tile_width, tile_height]) in rows {
            let tiles = Layout::Grid { count, shape }.tiles(width, height);
            let wanted = Tile { x, y, width: tile_width, height: tile_height };
            assert_eq!((tiles.len(), tiles.last()), (count, Some(&wanted)), "{count} of {shape:?}");
        }
    }

    #[test]
    fn a_row_is_read_and_a_wrong_parity_or_a_grey_cell_is_not() {
        let (width, height) = (640, 360);
        let row = |bits: u32, grey: Option<usize>| {
            let mut samples = vec![90; width * height];
            for y in 0..24 {
                for x in 0..width {
                    let cell = x / 20;
                    let white = bits >> (31 - cell) & 1 == 1;
                    samples[y * width + x] = match grey == Some(cell) {
                        true => 128,
                        false => [16, 235][usize::from(white)],
                    };
                }
            }
            samples
        };
        let tile = Layout::Single.tiles(width, height)[0];
        let read = |samples: &[u8]| Luma { samples, width, height }.time_code(&tile);
        let bits = 0b0101 << 28 | 1234 << 1; // 2 + 5 ones
        let wanted = TimeCode { index: 5, number: 1234 };
        assert_eq!(read(&row(bits | 1, None)), Some(wanted));
        assert_eq!(read(&row(bits, None)), None);
        assert_eq!(read(&row(bits | 1, Some(9))), None);

        let mut first = row(0, None);
        assert_eq!(read(&first), None, "a dark tile");
        (24..69).for_each(|y| first[y * width + width - 45..(y + 1) * width].fill(235));
        assert_eq!(read(&first), Some(TimeCode { index: 0, number: 0 }));
    }
}
