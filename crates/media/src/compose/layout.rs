//! Layouts: which speakers have tiles, and where.

use serde::{Deserialize, Serialize};

use super::custom::Custom;
use super::grid::{even, grid};
use super::placement::{Fit, Guest, Placement};
use super::stamp::Color;
use crate::scale::Rect;

/// Tiles of a strip: a column of four beside the large tile, and a row of five below both.
const COLUMN: usize = 4;
const ROW: usize = 5;

/// Layout of the program's tiles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// Tiles of equal size; see [`grid`].
    #[default]
    Grid,
    /// The dominant speaker is large, the others are in a strip.
    Active,
    /// The first speaker that shares a screen is large, the others are in a strip; without a shared screen
    /// the first speaker is large.
    Share,
    /// The last two dominant speakers, each cropped to half of the canvas's width.
    SideBySide,
    /// A layout described by the application.
    Custom(Custom),
}

impl Layout {
    /// Returns the tiles for `guests` in drawing order: later tiles cover earlier ones. `spoke` contains the
    /// dominant speakers so far, the latest first. No guest gets two tiles; guests without a tile are left
    /// out.
    pub fn places(
        &self,
        guests: &[Guest],
        spoke: &[u64],
        (width, height): (usize, usize),
    ) -> Vec<(u64, Placement)> {
        match self {
            Layout::Grid => {
                let rects = grid(guests.len(), width, height).into_iter().map(Placement::at);
                guests.iter().map(|guest| guest.id).zip(rects).collect()
            }
            Layout::Active => {
                large_and_strip(guests, by_speech(guests, spoke).next(), spoke, (width, height))
            }
            Layout::Share => {
                let sharing = guests.iter().find(|guest| guest.shares).or(guests.first());
                large_and_strip(guests, sharing.map(|guest| guest.id), spoke, (width, height))
            }
            Layout::SideBySide => side_by_side(guests, spoke, (width, height)),
            Layout::Custom(custom) => {
                let by_speech: Vec<u64> = by_speech(guests, spoke).collect();
                custom.places(guests, &by_speech, (width, height))
            }
        }
    }

    /// Returns the background colour; `None` for the default.
    pub fn background(&self) -> Option<Color> {
        match self {
            Layout::Custom(custom) => custom.background.map(Color::from),
            _ => None,
        }
    }
}

/// Returns all guests: first the dominant speakers, the latest first, then the others in their order.
fn by_speech<'a>(guests: &'a [Guest], spoke: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
    let there = |id: &u64| guests.iter().any(|guest| guest.id == *id);
    let others = guests.iter().map(|guest| guest.id).filter(|id| !spoke.contains(id));
    spoke.iter().copied().filter(there).chain(others)
}

/// Places one tile of 4/5 of the canvas's width and height. Up to four others stand in a column beside it;
/// five to nine fill a column and a row of five below both. Of more guests the most recent speakers are
/// shown. All keep their order.
fn large_and_strip(
    guests: &[Guest],
    large: Option<u64>,
    spoke: &[u64],
    (width, height): (usize, usize),
) -> Vec<(u64, Placement)> {
    let Some(large) = large else { return Vec::new() };
    let shown: Vec<u64> = by_speech(guests, spoke).filter(|id| *id != large).take(COLUMN + ROW).collect();
    let others: Vec<u64> = guests.iter().map(|guest| guest.id).filter(|id| shown.contains(id)).collect();
    if others.is_empty() {
        return vec![(large, Placement::at(Rect { x: 0, y: 0, width: width & !1, height: height & !1 }))];
    }
    let small = (even(width / ROW), even(height / ROW));
    let main = (even(width - small.0), even(height - small.1));
    let full = others.len() > COLUMN;
    let top = if full { 0 } else { even((height - main.1) / 2) };
    let mut places = vec![(large, Placement::at(Rect { x: 0, y: top, width: main.0, height: main.1 }))];
    let column_top = if full { 0 } else { even((height - others.len() * small.1) / 2) };
    for (index, id) in others.into_iter().enumerate() {
        let (x, y) = match index.checked_sub(COLUMN) {
            None => (main.0, column_top + index * small.1),
            Some(in_row) => (in_row * small.0, main.1),
        };
        places.push((id, Placement::at(Rect { x, y, width: small.0, height: small.1 })));
    }
    places
}

fn side_by_side(guests: &[Guest], spoke: &[u64], (width, height): (usize, usize)) -> Vec<(u64, Placement)> {
    let shown: Vec<u64> = by_speech(guests, spoke).take(2).collect();
    let others = guests.iter().map(|guest| guest.id).filter(|id| shown.contains(id));
    let tile = even(width / shown.len().max(1));
    let place = |at: usize| Placement {
        rect: Rect { x: at * tile, y: 0, width: tile, height: height & !1 },
        fit: Fit::Crop,
        ..Placement::default()
    };
    others.enumerate().map(|(at, id)| (id, place(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests(count: u64) -> Vec<Guest> {
        (0..count).map(|id| Guest { id, ..Guest::default() }).collect()
    }

    fn ids(places: &[(u64, Placement)]) -> Vec<u64> {
        places.iter().map(|(id, _)| *id).collect()
    }

    fn rect(places: &[(u64, Placement)], at: usize) -> (usize, usize, usize, usize) {
        let Rect { x, y, width, height } = places[at].1.rect;
        (x, y, width, height)
    }

    #[test]
    fn the_dominant_speaker_is_large_and_the_others_keep_their_order() {
        let places = Layout::Active.places(&guests(4), &[2, 0], (1280, 720));
        assert_eq!(ids(&places), [2, 0, 1, 3]);
        assert_eq!(rect(&places, 0), (0, 72, 1024, 576));
        assert_eq!(rect(&places, 1), (1024, 144, 256, 144));
        assert_eq!(rect(&places, 3), (1024, 432, 256, 144));
        assert_eq!(ids(&Layout::Active.places(&guests(2), &[], (1280, 720))), [0, 1]);
        assert_eq!(ids(&Layout::Active.places(&guests(2), &[9, 1], (1280, 720))), [1, 0], "9 has left");
        let alone = Layout::Active.places(&guests(1), &[], (1280, 720));
        assert_eq!(rect(&alone, 0), (0, 0, 1280, 720));
        assert_eq!(Layout::Active.places(&[], &[3], (1280, 720)), []);
    }

    #[test]
    fn a_full_strip_fills_the_canvas_and_shows_who_spoke_last() {
        let places = Layout::Active.places(&guests(25), &[20, 24, 3], (1280, 720));
        assert_eq!(ids(&places), [20, 0, 1, 2, 3, 4, 5, 6, 7, 24]);
    }

    #[test]
    fn a_shared_screen_is_large_whoever_speaks() {
        let mut guests = guests(3);
        assert_eq!(ids(&Layout::Share.places(&guests, &[2], (1280, 720))), [0, 1, 2], "nobody shares");
        guests[1].shares = true;
        assert_eq!(ids(&Layout::Share.places(&guests, &[2], (1280, 720))), [1, 0, 2]);
    }

    #[test]
    fn two_stand_side_by_side_and_do_not_swap_when_they_take_turns() {
        let of = |spoke: &[u64]| Layout::SideBySide.places(&guests(4), spoke, (1280, 720));
        assert_eq!(ids(&of(&[3, 1])), [1, 3]);
        assert_eq!(of(&[3, 1]), of(&[1, 3]));
        assert_eq!(rect(&of(&[3]), 1), (640, 0, 640, 720));
        assert!(of(&[]).iter().all(|(_, place)| place.fit == Fit::Crop));
    }

    #[test]
    fn every_tile_is_even_within_the_canvas_and_apart_from_the_others() {
        for (width, height) in [(1280, 720), (640, 360), (1920, 1080), (720, 1280), (854, 480), (16, 16)] {
            for layout in [Layout::Grid, Layout::Active, Layout::Share, Layout::SideBySide] {
                for count in 0..=64 {
                    let places = layout.places(&guests(count), &[5, 60, 2], (width, height));
                    for (at, (id, place)) in places.iter().enumerate() {
                        let rect = place.rect;
                        let what = format!("{layout:?} of {count} on {width}x{height}: {rect:?}");
                        assert!(rect.is_within(width, height) && rect.width > 0 && rect.height > 0, "{what}");
                        for (other, under) in &places[..at] {
                            assert!(id != other && !rect.overlaps(&under.rect), "{what}");
                        }
                    }
                }
            }
        }
    }
}
