//! Renders lines of text in DejaVu Sans: Latin, Greek, Cyrillic and many other scripts, left to right,
//! without shaping. Characters that the font lacks become an empty box.

use ab_glyph::{Font as _, FontRef, Glyph, PxScaleFont, ScaleFont as _};

use super::stamp::Cover;

/// Maximum number of characters of a text; the rest is ignored.
const CHARS_MAX: usize = 128;

/// The font; no text is drawn if it can't be read.
#[derive(Debug, Default)]
pub(super) struct Font {
    face: Option<FontRef<'static>>,
}

impl Font {
    pub(super) fn new() -> Font {
        Font { face: FontRef::try_from_slice(dejavu::sans::regular()).ok() }
    }

    /// Renders the text in one line, `height` samples from the top of the tallest letter to the bottom of the
    /// lowest, cut to `width_max` with an ellipsis. Empty when nothing is visible.
    pub(super) fn line(&self, text: &str, height: usize, width_max: usize) -> Cover {
        let Some(face) = &self.face else { return Cover::default() };
        let face = face.as_scaled(height as f32);
        let mut glyphs = place(&face, visible(text));
        if width(&face, &glyphs) > width_max as f32 {
            while let Some(shorter) = glyphs.len().checked_sub(1) {
                glyphs.truncate(shorter);
                let kept = visible(text).take(shorter).collect::<String>();
                let cut = place(&face, kept.trim_end().chars().chain(['…']));
                if width(&face, &cut) <= width_max as f32 {
                    glyphs = cut;
                    break;
                }
            }
        }
        let line_width = width(&face, &glyphs).ceil() as usize;
        let mut cover = Cover { width: line_width, height, samples: vec![0; line_width * height] };
        for outline in glyphs.into_iter().filter_map(|glyph| face.font.outline_glyph(glyph)) {
            let bounds = outline.px_bounds();
            outline.draw(|x, y, share| {
                let (x, y) = (bounds.min.x + x as f32, bounds.min.y + y as f32);
                if x >= 0.0 && y >= 0.0 && (x as usize) < line_width && (y as usize) < height {
                    let sample = &mut cover.samples[y as usize * line_width + x as usize];
                    *sample = sample.saturating_add((share.clamp(0.0, 1.0) * 255.0) as u8);
                }
            });
        }
        cover
    }
}

/// Removes invisible characters, and turns white space into single spaces.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let words = text.split_whitespace().flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1);
    words.filter(|&c| !is_hidden(c)).take(CHARS_MAX)
}

/// Returns whether a character is a control character, or one that joins, breaks or reverses text.
fn is_hidden(c: char) -> bool {
    let format = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    c.is_control() || matches!(c, '\u{ad}' | '\u{feff}') || format.iter().any(|range| range.contains(&c))
}

fn place(face: &PxScaleFont<&FontRef<'_>>, text: impl Iterator<Item = char>) -> Vec<Glyph> {
    let (mut x, mut before) = (0.0, None);
    let glyphs = text.map(|c| {
        let mut glyph = face.scaled_glyph(c);
        x += before.map_or(0.0, |before| face.kern(before, glyph.id));
        glyph.position = ab_glyph::point(x, face.ascent());
        x += face.h_advance(glyph.id);
        before = Some(glyph.id);
        glyph
    });
    glyphs.collect()
}

fn width(face: &PxScaleFont<&FontRef<'_>>, glyphs: &[Glyph]) -> f32 {
    glyphs.last().map_or(0.0, |last| last.position.x + face.h_advance(last.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_with_an_ellipsis() {
        let font = Font::new();
        let whole = font.line("Wolfeschlegelsteinhausenbergerdorff", 20, 1_000);
        let cut = font.line("Wolfeschlegelsteinhausenbergerdorff", 20, 100);
        assert!(whole.width > 300, "{}", whole.width);
        assert!((80..=100).contains(&cut.width), "{}", cut.width);
        assert_eq!(font.line("Wolfeschlegelsteinhausenbergerdorff", 20, 0).width, 0);
    }

    #[test]
    fn what_can_not_be_seen_takes_no_room() {
        let font = Font::new();
        let plain = font.line("Ada Lovelace", 20, 500);
        let rows = ["  Ada \t Lovelace ", "\u{202e}Ada\u{200b} Lovelace", "Ada\u{7}\n\n Lovelace"];
        for text in rows {
            assert_eq!(font.line(text, 20, 500).samples, plain.samples, "{text:?}");
        }
        assert_eq!(font.line("\u{202e} \n", 20, 500).width, 0);
    }

    #[test]
    fn scripts_of_the_font_are_drawn_and_others_do_no_harm() {
        let font = Font::new();
        for text in ["Ørjan", "Ελένη", "Надежда", "שלום", "名前", "👩‍🚀🎉", "e\u{301}", &"\u{301}".repeat(300)]
        {
            let line = font.line(text, 20, 500);
            assert_eq!(line.samples.len(), line.width * line.height, "{text}");
            assert!(line.width <= 500);
        }
    }
}
