//! Tiles: which speaker is placed where on the canvas, and how its picture fills the tile.

use serde::{Deserialize, Serialize};

use super::stamp::Color;
use crate::PictureView;
use crate::scale::Rect;

/// A speaker to be placed on a tile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// Identifier under which its pictures are drawn.
    pub id: u64,
    /// Name by which a [`Custom`](super::Custom) layout may select it.
    pub name: String,
    /// Whether its picture is a shared screen.
    pub shares: bool,
}

/// Place of a tile on the canvas, and how its picture fills it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The whole tile, including its border; even.
    pub rect: Rect,
    /// Treatment of pictures with another aspect ratio.
    pub fit: Fit,
    /// Border around the picture.
    pub border: Border,
}

/// Treatment of a picture that differs from its tile in aspect ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fit {
    /// The whole picture is shown, with background on two sides.
    #[default]
    Letterbox,
    /// The middle of the picture fills the tile.
    Crop,
}

/// Border around a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Border {
    /// Width in samples, even; 0 for no border.
    pub width: usize,
    /// Colour of the border.
    pub color: Color,
}

impl Placement {
    /// A tile without a border, letterboxed.
    pub fn at(rect: Rect) -> Placement {
        Placement { rect, ..Placement::default() }
    }

    /// Returns the tile within its border.
    pub fn inner(&self) -> Rect {
        let Rect { x, y, width, height } = self.rect;
        // a border takes at most half of the tile's width or height
        let border = self.border.width.min(width / 4).min(height / 4) & !1;
        Rect { x: x + border, y: y + border, width: width - 2 * border, height: height - 2 * border }
    }

    /// Returns the best size at which a speaker sends a picture with the program's aspect ratio for this
    /// tile: the tile within its border for letterboxed pictures, or the smallest size that fills it for
    /// cropped ones. Even, and at most the program's size.
    pub fn picture_size(&self, program: (u16, u16)) -> (u16, u16) {
        let Rect { width, height, .. } = self.inner();
        let (wide, high) = (usize::from(program.0).max(1), usize::from(program.1).max(1));
        let (width, height) = match self.fit {
            Fit::Crop if width * high < height * wide => ((height * wide).div_ceil(high), height),
            Fit::Crop => (width, (width * high).div_ceil(wide)),
            Fit::Letterbox => (width, height),
        };
        let side = |long: usize, most: u16| {
            u16::try_from(long.next_multiple_of(2)).map_or(most, |long| long.min(most))
        };
        (side(width, program.0), side(height, program.1))
    }

    /// Returns the part of the picture that is shown, and its rectangle on the canvas.
    pub(crate) fn of<'a>(&self, picture: &PictureView<'a>) -> Option<(PictureView<'a>, Rect)> {
        let inner = self.inner();
        match self.fit {
            Fit::Letterbox => Some((*picture, inner.fit(picture.width, picture.height))),
            Fit::Crop => {
                let whole = Rect { x: 0, y: 0, width: picture.width & !1, height: picture.height & !1 };
                Some((picture.cut(whole.fit(inner.width, inner.height))?, inner))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_wanted_at_the_size_that_it_has_on_its_tile() {
        let size = |width, height, fit| {
            let rect = Rect { x: 0, y: 0, width, height };
            Placement { rect, fit, ..Placement::default() }.picture_size((1280, 720))
        };
        assert_eq!(size(426, 240, Fit::Letterbox), (426, 240));
        assert_eq!(size(640, 720, Fit::Crop), (1280, 720));
        assert_eq!(size(320, 360, Fit::Crop), (640, 360));
        assert_eq!(size(640, 100, Fit::Crop), (640, 360));
        assert_eq!(size(4000, 4000, Fit::Crop), (1280, 720));
    }

    #[test]
    fn a_border_leaves_room_for_the_picture() {
        let place = |width| Placement {
            rect: Rect { x: 10, y: 20, width: 100, height: 50 },
            border: Border { width, color: Color::default() },
            ..Placement::default()
        };
        assert_eq!(place(0).inner(), place(0).rect);
        assert_eq!(place(4).inner(), Rect { x: 14, y: 24, width: 92, height: 42 });
        assert_eq!(place(1000).inner(), Rect { x: 22, y: 32, width: 76, height: 26 });
    }
}
