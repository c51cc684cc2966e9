//! Drawings over a tile: the speaker's name, the mute mark, and initials in place of a picture.

use super::marks::{disc, microphone, plate, stroke};
use super::stamp::{Color, Stamp};
use super::text::Font;

const WHITE: Color = [225, 128, 128];
const DARK: Color = [20, 128, 128];
const RED: Color = [90, 100, 220];
/// Colours of the discs behind initials; the name selects one. White letters are readable on all.
const DISCS: [Color; 8] = [
    [95, 160, 100],
    [100, 100, 150],
    [95, 115, 165],
    [90, 150, 150],
    [105, 105, 110],
    [85, 165, 120],
    [100, 140, 100],
    [95, 120, 140],
];
const PLATE_OPACITY: u16 = 160;
/// Text height as a fraction of the tile's height, between the two limits. A guess, checked on a laptop's
/// screen.
const LINE_PART: usize = 18;
const LINE_MIN: usize = 14;
const LINE_MAX: usize = 28;
/// Minimum size of a tile with a label.
const TILE_MIN: (usize, usize) = (64, 48);

/// Returns the label of a tile of this size, for its lower left corner; `None` when it would be empty, or
/// doesn't fit.
pub(super) fn label(font: &Font, name: &str, muted: bool, (width, height): (usize, usize)) -> Option<Stamp> {
    if width < TILE_MIN.0 || height < TILE_MIN.1 {
        return None;
    }
    let line = (height / LINE_PART).clamp(LINE_MIN, LINE_MAX);
    let pad = line / 3;
    let mark = if muted { line } else { 0 };
    let text = font.line(name, line, width * 4 / 5 - mark - 3 * pad);
    if text.width + mark == 0 {
        return None;
    }
    let gap = if muted && text.width > 0 { pad } else { 0 };
    let mut stamp = Stamp::new(mark + gap + text.width + 2 * pad, line + pad);
    let ground = plate(stamp.width(), stamp.height(), pad as f32);
    stamp.paint(&ground, (0, 0), DARK, PLATE_OPACITY);
    if muted {
        stamp.paint(&microphone(line), (pad, pad / 2), WHITE, 256);
        stamp.paint(&stroke(line), (pad, pad / 2), RED, 256);
    }
    stamp.paint(&text, (pad + mark + gap, pad / 2), WHITE, 256);
    Some(stamp)
}

/// Returns a disc with initials, for the middle of a tile of this size.
pub(super) fn portrait(font: &Font, name: &str, (width, height): (usize, usize)) -> Stamp {
    let diameter = (width.min(height) * 2 / 5).max(2) & !1;
    let mut stamp = Stamp::new(diameter, diameter);
    let hash = name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    stamp.paint(&disc(diameter), (0, 0), DISCS[hash as usize % DISCS.len()], 256);
    let text = font.line(&initials(name), diameter / 2, diameter);
    let corner = ((diameter - text.width) / 2, (diameter - text.height) / 2);
    stamp.paint(&text, corner, WHITE, 256);
    stamp
}

/// Returns the first letters of the first and the last word, in capitals; a question mark for an empty name.
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|c| c.is_alphanumeric()));
    let letters = [words.next(), words.next_back()];
    let initials: String = letters.into_iter().flatten().flat_map(char::to_uppercase).take(3).collect();
    if initials.is_empty() { "?".to_owned() } else { initials }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initials_are_those_of_the_first_and_the_last_word() {
        let rows = [
            ("Ada Lovelace", "AL"),
            ("ada", "A"),
            ("Johann Sebastian Bach", "JB"),
            ("  (anna)  ß ", "ASS"),
            ("\u{202e}", "?"),
            ("", "?"),
            ("Надежда Крупская", "НК"),
        ];
        for (name, expected) in rows {
            assert_eq!(initials(name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_label_fits_its_tile_and_leaves_the_top_alone() {
        let font = Font::new();
        let long = "An unreasonably long name that goes on and on and on, as some do".repeat(3);
        for (width, height) in [(1280, 720), (640, 360), (426, 240), (256, 144), (160, 90), (64, 48)] {
            for muted in [false, true] {
                let Some(stamp) = label(&font, &long, muted, (width, height)) else {
                    assert!(!muted && cfg!(not(feature = "labels")));
                    continue;
                };
                assert!(stamp.width() <= width * 9 / 10, "{} of {width}", stamp.width());
                assert!(stamp.height() <= height / 2, "{} of {height}", stamp.height());
            }
        }
        assert!(label(&font, &long, true, (62, 48)).is_none());
        assert!(label(&font, "", false, (640, 360)).is_none());
        assert!(label(&font, "", true, (640, 360)).is_some(), "the mute mark alone");
    }
}
