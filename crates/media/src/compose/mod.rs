//! Speakers' pictures composed into one.
//!
//! A [`Composer`] holds the canvas. It is told who has a tile ([`Composer::set_tiles`]), is given a tile's
//! picture when there is a new one, and draws what changed: the picture, letterboxed, under the speaker's label
//! at the lower left, or a tile with initials when there is no picture. A tile that [`Composer::needs`]
//! something lost what it showed and must be drawn, even if its picture is old.
//!
//! Nothing but the picture itself is ever drawn in the upper fifteenth of a tile.

mod grid;
mod label;
mod marks;
mod stamp;
#[cfg_attr(not(feature = "labels"), path = "no_text.rs")]
mod text;

use crate::scale::{Rect, Scaler, is_whole};
use crate::{Picture, PictureView};

pub use grid::grid;
use stamp::{Color, Stamp};
use text::Font;

const BACKGROUND: Color = [24, 128, 128];
const TILE_OFF: Color = [44, 131, 126];
/// Distance of a label from the tile's edges, samples; even.
const LABEL_MARGIN: usize = 4;

/// Whose tile it is and what its label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// By which pictures are given.
    pub id: u64,
    /// Shortened as needed; may be empty.
    pub name: String,
    /// Draws the mute mark.
    pub muted: bool,
}

/// A canvas and the tiles on it.
#[derive(Debug)]
pub struct Composer {
    canvas: Picture,
    font: Font,
    scaler: Scaler,
    placed: Vec<Placed>,
    drawn: u64,
}

#[derive(Debug)]
struct Placed {
    tile: Tile,
    rect: Rect,
    label: Option<Stamp>,
    portrait: Option<Stamp>,
    shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// Nothing, or something that is no longer right.
    Stale,
    Off,
    Picture(Rect),
}

impl Composer {
    /// An empty canvas of this size, which is rounded down to even.
    pub fn new(width: usize, height: usize) -> Composer {
        let mut canvas = Picture::black(width, height);
        stamp::clear(&mut canvas, BACKGROUND);
        Composer { canvas, font: Font::new(), scaler: Scaler::new(), placed: Vec::new(), drawn: 0 }
    }

    /// Lays these tiles out, in this order, in a [`grid`]. Tiles that move or change must be drawn again; the
    /// others stay.
    pub fn set_tiles(&mut self, tiles: &[Tile]) {
        let rects = grid(tiles.len(), self.canvas.width(), self.canvas.height());
        let moved = self.placed.len() != tiles.len();
        if moved {
            stamp::clear(&mut self.canvas, BACKGROUND);
        }
        let mut before = std::mem::take(&mut self.placed);
        for (tile, rect) in tiles.iter().zip(rects) {
            let same = |placed: &Placed| placed.tile == *tile && placed.rect == rect;
            if !moved && let Some(index) = before.iter().position(same) {
                self.placed.push(before.swap_remove(index));
                continue;
            }
            let size = (rect.width, rect.height);
            let label = label::label(&self.font, &tile.name, tile.muted, size);
            self.placed.push(Placed { tile: tile.clone(), rect, label, portrait: None, shown: Shown::Stale });
        }
    }

    /// Where the tile of `id` lies.
    pub fn rect(&self, id: u64) -> Option<Rect> {
        self.placed.iter().find(|placed| placed.tile.id == id).map(|placed| placed.rect)
    }

    /// Whether the tile of `id` shows nothing, or not what it should.
    pub fn needs(&self, id: u64) -> bool {
        self.placed.iter().any(|placed| placed.tile.id == id && placed.shown == Shown::Stale)
    }

    /// Draws a picture on the tile of `id`, if there is one. A picture that lacks samples is not drawn.
    pub fn draw(&mut self, id: u64, picture: &PictureView<'_>) {
        let Some(placed) = self.placed.iter_mut().find(|placed| placed.tile.id == id) else { return };
        if !is_whole(picture) {
            return;
        }
        let rect = placed.rect.fit(picture.width, picture.height);
        if placed.shown != Shown::Picture(rect) && rect != placed.rect {
            stamp::fill(&mut self.canvas, placed.rect, BACKGROUND);
        }
        self.scaler.draw(picture, &mut self.canvas, rect);
        placed.shown = Shown::Picture(rect);
        placed.put_label(&mut self.canvas);
        self.drawn += 1;
    }

    /// Shows on the tile of `id` that there is no picture, unless it does already.
    pub fn switch_off(&mut self, id: u64) {
        let Some(placed) = self.placed.iter_mut().find(|placed| placed.tile.id == id) else { return };
        if placed.shown == Shown::Off {
            return;
        }
        stamp::fill(&mut self.canvas, placed.rect, TILE_OFF);
        let size = (placed.rect.width, placed.rect.height);
        let make = || label::portrait(&self.font, &placed.tile.name, size);
        let portrait = placed.portrait.get_or_insert_with(make);
        let middle = placed.rect.middle(portrait.width(), portrait.height());
        portrait.put(&mut self.canvas, (middle.x, middle.y));
        placed.shown = Shown::Off;
        placed.put_label(&mut self.canvas);
        self.drawn += 1;
    }

    /// What was composed.
    pub fn picture(&self) -> &Picture {
        &self.canvas
    }

    /// How many tiles were drawn so far: unchanged ones aren't.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }
}

impl Placed {
    fn put_label(&self, canvas: &mut Picture) {
        if let Some(label) = &self.label {
            let y = self.rect.y + self.rect.height - label.height() - LABEL_MARGIN;
            label.put(canvas, (self.rect.x + LABEL_MARGIN, y));
        }
    }
}

#[cfg(test)]
mod tests;
