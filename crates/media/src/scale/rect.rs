//! Rectangles in pictures.

/// Maximum side of an aspect ratio, far beyond any picture's; larger sides are cut to it.
const SIDE_MAX: usize = 1 << 16;

/// A rectangle of a picture, in luma samples. All four numbers are even for drawing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Distance from the picture's left edge.
    pub x: usize,
    /// Distance from the picture's upper edge.
    pub y: usize,
    /// Width in samples.
    pub width: usize,
    /// Height in samples.
    pub height: usize,
}

impl Rect {
    /// Returns the largest rectangle with the aspect ratio `width` : `height` in the middle of this one:
    /// even, at least 2 × 2.
    pub fn fit(self, width: usize, height: usize) -> Rect {
        let (width, height) = (width.clamp(1, SIDE_MAX), height.clamp(1, SIDE_MAX));
        let narrow = self.height * width < self.width * height;
        let even = |length: usize, whole: usize, part: usize, max: usize| {
            ((length * part + whole) / (2 * whole) * 2).clamp(2, max.max(2) & !1)
        };
        let (fit_width, fit_height) = if narrow {
            (even(self.height, height, width, self.width), self.height & !1)
        } else {
            (self.width & !1, even(self.width, width, height, self.height))
        };
        self.middle(fit_width, fit_height)
    }

    /// Returns a rectangle of this size in the middle of this one, at even offsets.
    pub fn middle(self, width: usize, height: usize) -> Rect {
        let margin = |length: usize, within: usize| (within.saturating_sub(length) / 2) & !1;
        Rect { x: self.x + margin(width, self.width), y: self.y + margin(height, self.height), width, height }
    }

    /// Returns whether the rectangles have a sample in common.
    pub fn overlaps(&self, other: &Rect) -> bool {
        let across = self.x < other.x + other.width && other.x < self.x + self.width;
        across && self.y < other.y + other.height && other.y < self.y + self.height
    }

    /// Returns whether the rectangle is even and within a picture of this size.
    pub fn is_within(&self, width: usize, height: usize) -> bool {
        let even = (self.x | self.y | self.width | self.height).is_multiple_of(2);
        even && self.x + self.width <= width && self.y + self.height <= height
    }
}
