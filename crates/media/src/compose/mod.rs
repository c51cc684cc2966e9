//! Video composition: draws the speakers' pictures on one canvas.
//!
//! A [`Layout`] assigns tiles to speakers. A [`Composer`] holds the canvas. It is given the tiles
//! ([`Composer::set_tiles`]) and each new picture of a tile, and draws only what changed: the picture,
//! letterboxed or cropped, under the speaker's label at the lower left, or initials when there is no picture.
//!
//! A tile for which [`Composer::needs`] is true has lost its contents and must be drawn again, even if its
//! picture is old. Tiles may overlap: drawing a tile covers the tiles that lie over it, so they are needed
//! again. So draw in the tiles' order.
//!
//! Nothing except the picture itself is ever drawn in the upper fifteenth of a tile.

mod custom;
mod grid;
mod label;
mod layout;
mod marks;
mod placement;
mod stamp;
#[cfg_attr(not(feature = "labels"), path = "no_text.rs")]
mod text;

use crate::scale::{Rect, Scaler, is_whole};
use crate::{Picture, PictureView};

pub use custom::{CUSTOM_TILES_MAX, Custom, CustomBorder, CustomTile, Rgb, Who};
pub use grid::grid;
pub use layout::Layout;
pub use placement::{Border, Fit, Guest, Placement};
pub use stamp::Color;
use stamp::Stamp;
use text::Font;

const BACKGROUND: Color = [24, 128, 128];
const TILE_OFF: Color = [44, 131, 126];
/// Distance of a label from the tile's edges, in samples; even.
const LABEL_MARGIN: usize = 4;

/// A tile: its place, and its speaker's name and state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tile {
    /// Identifier under which its pictures are drawn.
    pub id: u64,
    /// Name on the label, shortened as needed; may be empty.
    pub name: String,
    /// Whether the label has the mute mark.
    pub muted: bool,
    /// Place on the canvas.
    pub place: Placement,
}

/// A canvas and the tiles on it.
#[derive(Debug)]
pub struct Composer {
    canvas: Picture,
    background: Color,
    font: Font,
    scaler: Scaler,
    placed: Vec<Placed>,
    drawn: u64,
}

#[derive(Debug)]
struct Placed {
    tile: Tile,
    label: Option<Stamp>,
    portrait: Option<Stamp>,
    shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// The tile is empty, or its contents are outdated.
    Stale,
    Off,
    Picture(Rect),
}

impl Composer {
    /// An empty canvas of this size, rounded down to even.
    pub fn new(width: usize, height: usize) -> Composer {
        let mut canvas = Picture::black(width, height);
        stamp::clear(&mut canvas, BACKGROUND);
        let (font, scaler) = (Font::new(), Scaler::new());
        Composer { canvas, background: BACKGROUND, font, scaler, placed: Vec::new(), drawn: 0 }
    }

    /// Sets the tiles, in the order in which they are drawn. Tiles with odd coordinates or beyond the canvas
    /// are left out. When any tile moves, or the background changes, all tiles must be drawn again, otherwise
    /// only those that changed. `background`: `None` for the default.
    pub fn set_tiles(&mut self, tiles: &[Tile], background: Option<Color>) {
        let background = background.unwrap_or(BACKGROUND);
        let (width, height) = (self.canvas.width(), self.canvas.height());
        let within = |tile: &&Tile| tile.place.rect.is_within(width, height);
        let places = || tiles.iter().filter(within).map(|tile| tile.place);
        let moved =
            background != self.background || !self.placed.iter().map(|placed| placed.tile.place).eq(places());
        if moved {
            self.background = background;
            stamp::clear(&mut self.canvas, background);
        }
        let mut before = std::mem::take(&mut self.placed);
        for tile in tiles.iter().filter(within) {
            if !moved && let Some(index) = before.iter().position(|placed| placed.tile == *tile) {
                self.placed.push(before.swap_remove(index));
                continue;
            }
            let inner = tile.place.inner();
            let label = label::label(&self.font, &tile.name, tile.muted, (inner.width, inner.height));
            self.placed.push(Placed { tile: tile.clone(), label, portrait: None, shown: Shown::Stale });
        }
    }

    /// Sets tiles of equal size, ignoring their places; see [`grid`].
    pub fn set_grid(&mut self, mut tiles: Vec<Tile>) {
        let rects = grid(tiles.len(), self.canvas.width(), self.canvas.height());
        for (tile, rect) in tiles.iter_mut().zip(rects) {
            tile.place = Placement::at(rect);
        }
        self.set_tiles(&tiles, None);
    }

    /// Returns the rectangle of the tile of `id`.
    pub fn rect(&self, id: u64) -> Option<Rect> {
        self.placed.iter().find(|placed| placed.tile.id == id).map(|placed| placed.tile.place.rect)
    }

    /// Returns whether the tile of `id` must be drawn, since it is empty or outdated.
    pub fn needs(&self, id: u64) -> bool {
        self.placed.iter().any(|placed| placed.tile.id == id && placed.shown == Shown::Stale)
    }

    /// Draws a picture on the tile of `id`, if that exists. A picture with missing samples isn't drawn.
    pub fn draw(&mut self, id: u64, picture: &PictureView<'_>) {
        let Some(at) = self.placed.iter().position(|placed| placed.tile.id == id) else { return };
        if !is_whole(picture) {
            return;
        }
        let placed = &mut self.placed[at];
        let Some((shown, rect)) = placed.tile.place.of(picture) else { return };
        if placed.shown != Shown::Picture(rect) {
            placed.clear(&mut self.canvas, self.background);
        }
        self.scaler.draw(&shown, &mut self.canvas, rect);
        placed.shown = Shown::Picture(rect);
        placed.put_label(&mut self.canvas);
        self.was_drawn(at);
    }

    /// Draws initials on the tile of `id`, unless it shows them already.
    pub fn switch_off(&mut self, id: u64) {
        let Some(at) = self.placed.iter().position(|placed| placed.tile.id == id) else { return };
        let placed = &mut self.placed[at];
        if placed.shown == Shown::Off {
            return;
        }
        placed.clear(&mut self.canvas, TILE_OFF);
        let inner = placed.tile.place.inner();
        let make = || label::portrait(&self.font, &placed.tile.name, (inner.width, inner.height));
        let portrait = placed.portrait.get_or_insert_with(make);
        let middle = inner.middle(portrait.width(), portrait.height());
        portrait.put(&mut self.canvas, (middle.x, middle.y));
        placed.shown = Shown::Off;
        placed.put_label(&mut self.canvas);
        self.was_drawn(at);
    }

    /// Marks the tiles that lie over the tile at index `at` as covered.
    fn was_drawn(&mut self, at: usize) {
        self.drawn += 1;
        let (drawn, over) = self.placed[at..].split_at_mut(1);
        let rect = drawn[0].tile.place.rect;
        for placed in over.iter_mut().filter(|placed| placed.tile.place.rect.overlaps(&rect)) {
            placed.shown = Shown::Stale;
        }
    }

    /// Returns the canvas.
    pub fn picture(&self) -> &Picture {
        &self.canvas
    }

    /// Returns how many tiles were drawn so far; unchanged tiles aren't drawn.
    pub fn drawn(&self) -> u64 {
        self.drawn
    }
}

impl Placed {
    /// Draws the tile's border, and fills the area within it.
    fn clear(&self, canvas: &mut Picture, color: Color) {
        let place = &self.tile.place;
        if place.inner() != place.rect {
            stamp::fill(canvas, place.rect, place.border.color);
        }
        stamp::fill(canvas, place.inner(), color);
    }

    fn put_label(&self, canvas: &mut Picture) {
        if let Some(label) = &self.label {
            let Rect { x, y, height, .. } = self.tile.place.inner();
            label.put(canvas, (x + LABEL_MARGIN, y + height - label.height() - LABEL_MARGIN));
        }
    }
}

#[cfg(test)]
mod tests;
