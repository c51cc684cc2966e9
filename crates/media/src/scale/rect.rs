//! Places in pictures.

/// Sides of shapes are cut to this, far beyond any picture's.
const SIDE_MAX: usize = 1 << 16;

/// A rectangle of a picture, in luma samples; all four numbers are even where the picture is drawn on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// From the left.
    pub x: usize,
    /// From the top.
    pub y: usize,
    /// Samples.
    pub width: usize,
    /// Samples.
    pub height: usize,
}

impl Rect {
    /// The largest rectangle of the shape `width` to `height` in the middle of this one: even, at least 2 × 2.
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

    /// A rectangle of this size in the middle of this one, at an even place.
    pub fn middle(self, width: usize, height: usize) -> Rect {
        let margin = |length: usize, within: usize| (within.saturating_sub(length) / 2) & !1;
        Rect { x: self.x + margin(width, self.width), y: self.y + margin(height, self.height), width, height }
    }

    /// Whether some sample lies in both.
    pub fn overlaps(&self, other: &Rect) -> bool {
        let across = self.x < other.x + other.width && other.x < self.x + self.width;
        across && self.y < other.y + other.height && other.y < self.y + self.height
    }

    /// Whether it is even and lies in a picture of this size.
    pub fn is_within(&self, width: usize, height: usize) -> bool {
        let even = (self.x | self.y | self.width | self.height).is_multiple_of(2);
        even && self.x + self.width <= width && self.y + self.height <= height
    }
}
