//! Custom layouts, described by an application.

use serde::{Deserialize, Serialize};

use super::grid::even;
use super::placement::{Border, Fit, Guest, Placement};
use super::stamp::Color;
use crate::scale::Rect;

/// Maximum number of tiles of a custom layout.
pub const CUSTOM_TILES_MAX: usize = 64;
/// Maximum length of a name in a custom layout, bytes.
const NAME_LEN_MAX: usize = 64;
/// Minimum width and height of a tile, in samples.
const SIDE_MIN: usize = 16;

/// A layout by description. In TOML:
///
/// ```toml
/// background = "#102030"
///
/// [[tiles]]
/// who = "active"
/// x = 0.0
/// y = 0.0
/// width = 1.0
/// height = 1.0
/// fit = "crop"
///
/// [[tiles]] # over the first
/// who = { named = "Ada" }
/// x = 0.7
/// y = 0.7
/// width = 0.25
/// height = 0.25
/// border = { width = 4, color = "#ffffff" }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Described")]
pub struct Custom {
    /// Background colour; `None` for the default.
    pub background: Option<Rgb>,
    /// The tiles in drawing order: later tiles cover earlier ones.
    pub tiles: Vec<CustomTile>,
}

/// A tile, in fractions of the canvas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomTile {
    /// Which speaker gets the tile.
    #[serde(default)]
    pub who: Who,
    /// Left edge, 0 to 1.
    pub x: f32,
    /// Upper edge, 0 to 1.
    pub y: f32,
    /// Width, 0 to 1.
    pub width: f32,
    /// Height, 0 to 1.
    pub height: f32,
    /// Treatment of pictures with another aspect ratio.
    #[serde(default)]
    pub fit: Fit,
    /// Border around the picture, within the tile.
    #[serde(default)]
    pub border: Option<CustomBorder>,
}

/// Selects the speaker of a tile. No speaker gets two: tiles by name are assigned first, then shared screens,
/// then dominant speakers, then the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Who {
    /// The next speaker, in the stage's order, without another tile.
    #[default]
    Next,
    /// The dominant speaker, or the latest dominant speaker without another tile.
    Active,
    /// The speaker that shares a screen.
    Share,
    /// The speaker with this name.
    Named(String),
}

impl Who {
    fn turn(&self) -> u8 {
        match self {
            Who::Named(_) => 0,
            Who::Share => 1,
            Who::Active => 2,
            Who::Next => 3,
        }
    }
}

/// Border around a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomBorder {
    /// Width in samples; rounded down to even.
    pub width: u16,
    /// Colour of the border.
    pub color: Rgb,
}

/// A colour as `#rrggbb`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rgb(pub [u8; 3]);

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Rgb, String> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] = number.ok_or(format!("{text}: a colour is #rrggbb"))?.to_be_bytes();
        Ok(Rgb([red, green, blue]))
    }
}

impl From<Rgb> for String {
    fn from(Rgb([red, green, blue]): Rgb) -> String {
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

impl From<Rgb> for Color {
    /// Converts with the BT.709 matrix to limited range.
    fn from(Rgb(rgb): Rgb) -> Color {
        let [red, green, blue] = rgb.map(|part| f32::from(part) / 255.0);
        let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        let chroma = |part: f32, most: f32| (128.0 + 224.0 * (part - luma) / (2.0 * most)).round() as u8;
        [(16.0 + 219.0 * luma).round() as u8, chroma(blue, 1.0 - 0.0722), chroma(red, 1.0 - 0.2126)]
    }
}

/// Parsed, not validated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    #[serde(default)]
    background: Option<Rgb>,
    tiles: Vec<CustomTile>,
}

impl TryFrom<Described> for Custom {
    type Error = String;

    fn try_from(Described { background, tiles }: Described) -> Result<Custom, String> {
        let custom = Custom { background, tiles };
        custom.check()?;
        Ok(custom)
    }
}

impl Custom {
    /// Checks whether mixers can use the layout. A deserialized layout always passes.
    ///
    /// # Errors
    /// A description of the problem.
    pub fn check(&self) -> Result<(), String> {
        let Custom { tiles, .. } = self;
        if tiles.len() > CUSTOM_TILES_MAX {
            return Err(format!("{} tiles, {CUSTOM_TILES_MAX} at most", tiles.len()));
        }
        for (at, CustomTile { who, x, y, width, height, .. }) in tiles.iter().enumerate() {
            if matches!(who, Who::Named(name) if name.len() > NAME_LEN_MAX) {
                return Err(format!("the name of tile {at} has more than {NAME_LEN_MAX} bytes"));
            }
            let within = |from: f32, long: f32| from >= 0.0 && long > 0.0 && from + long <= 1.0001;
            if !within(*x, *width) || !within(*y, *height) {
                return Err(format!("tile {at} is not within the canvas, which is 1 wide and 1 high"));
            }
        }
        Ok(())
    }

    /// Returns the tiles, as [`Layout::places`](super::Layout::places) does. `by_speech` contains all guests,
    /// the latest dominant speakers first.
    pub(super) fn places(
        &self,
        guests: &[Guest],
        by_speech: &[u64],
        canvas: (usize, usize),
    ) -> Vec<(u64, Placement)> {
        let mut whose: Vec<Option<u64>> = vec![None; self.tiles.len()];
        let mut turns: Vec<usize> = (0..self.tiles.len()).collect();
        turns.sort_by_key(|at| self.tiles[*at].who.turn());
        for at in turns {
            let free = |id: &u64| !whose.contains(&Some(*id));
            let first = |meant: &dyn Fn(&Guest) -> bool| {
                let mut meant = guests.iter().filter(|guest| meant(guest));
                meant.find(|guest| free(&guest.id)).map(|guest| guest.id)
            };
            let found = match &self.tiles[at].who {
                Who::Named(name) => first(&|guest| guest.name == *name),
                Who::Share => first(&|guest| guest.shares),
                Who::Active => by_speech.iter().copied().find(free),
                Who::Next => first(&|_| true),
            };
            whose[at] = found;
        }
        let places = self.tiles.iter().zip(whose).filter_map(|(tile, id)| Some((id?, tile.place(canvas)?)));
        places.take(CUSTOM_TILES_MAX).collect()
    }
}

impl CustomTile {
    /// Returns the tile's place; `None` when too small a part of it is on the canvas.
    fn place(&self, (width, height): (usize, usize)) -> Option<Placement> {
        let side = |from: f32, long: f32, whole: usize| {
            let at =
                |share: f32| even((share.clamp(0.0, 1.0) * whole as f32).round() as usize).min(even(whole));
            (at(from), at(from + long).saturating_sub(at(from)))
        };
        let ((x, wide), (y, high)) = (side(self.x, self.width, width), side(self.y, self.height, height));
        let border = self
            .border
            .map(|CustomBorder { width, color }| Border { width: even(width.into()), color: color.into() });
        let rect = Rect { x, y, width: wide, height: high };
        let seen = wide >= SIDE_MIN && high >= SIDE_MIN;
        seen.then(|| Placement { rect, fit: self.fit, border: border.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Custom, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns a tile with a quarter of the canvas's width.
    fn tile(who: &str, x: f32) -> String {
        format!("[[tiles]]\nwho = {who}\nx = {x}\ny = 0\nwidth = 0.25\nheight = 0.5\n")
    }

    #[test]
    fn a_description_is_read_and_written() {
        let text = r##"
            background = "#102030"
            [[tiles]]
            who = "active"
            x = 0
            y = 0.0
            width = 1
            height = 1.0
            [[tiles]]
            who = { named = "Ada" }
            x = 0.5
            y = 0.5
            width = 0.5
            height = 0.5
            fit = "crop"
            border = { width = 4, color = "#ffffff" }
        "##;
        let custom = read(text).unwrap();
        assert_eq!(custom.background, Some(Rgb([16, 32, 48])));
        assert_eq!(custom.tiles[1].who, Who::Named("Ada".to_owned()));
        assert_eq!(custom.tiles[1].border, Some(CustomBorder { width: 4, color: Rgb([255; 3]) }));
        assert_eq!((custom.tiles[0].fit, custom.tiles[1].fit), (Fit::Letterbox, Fit::Crop));
        assert_eq!(read(&toml::to_string(&custom).unwrap()).unwrap(), custom);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let wide = "[[tiles]]\nx = 0.9\ny = 0\nwidth = 0.5\nheight = 1";
        let flat = "[[tiles]]\nx = 0\ny = 0\nwidth = 0.5\nheight = 0";
        let none = "[[tiles]]\nx = nan\ny = 0\nwidth = 0.5\nheight = 1";
        for (wrong, told) in [
            (wide.to_owned(), "tile 0 is not within"),
            (flat.to_owned(), "tile 0 is not within"),
            (none.to_owned(), "tile 0 is not within"),
            (tile("\"next\"", 0.0).repeat(65), "65 tiles, 64 at most"),
            ("background = \"red\"\ntiles = []".to_owned(), "red: a colour is #rrggbb"),
            ("background = \"#+12345\"\ntiles = []".to_owned(), "a colour is #rrggbb"),
            ("tiles = []\nmore = 1".to_owned(), "unknown field"),
        ] {
            let error = read(&wrong).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn nobody_has_two_tiles_and_names_come_first() {
        let tiles =
            [("\"active\"", 0.0), ("\"next\"", 0.25), ("{ named = \"Ada\" }", 0.5), ("\"share\"", 0.75)];
        let custom = read(&tiles.map(|(who, x)| tile(who, x)).concat()).unwrap();
        let guest = |id, name: &str, shares| Guest { id, name: name.to_owned(), shares };
        let guests = [
            guest(0, "Ada", false),
            guest(1, "Grace", true),
            guest(2, "Joan", false),
            guest(3, "Mary", false),
        ];
        let shown = |by_speech: [u64; 4]| -> Vec<u64> {
            let places = custom.places(&guests, &by_speech, (1280, 720));
            places.iter().map(|(id, _)| *id).collect()
        };
        assert_eq!(shown([3, 0, 1, 2]), [3, 2, 0, 1]);
        assert_eq!(shown([0, 1, 2, 3]), [2, 3, 0, 1], "the dominant speaker has its tile already");
    }

    #[test]
    fn places_are_even_within_the_canvas() {
        let narrow = "[[tiles]]\nx = 0.99\ny = 0\nwidth = 0.01\nheight = 1\n";
        let odd = "[[tiles]]\nx = 0.333\ny = 0.1\nwidth = 0.667\nheight = 0.9\n\
                   border = { width = 3, color = \"#000000\" }\n";
        let guests = [Guest { id: 1, ..Guest::default() }, Guest { id: 2, ..Guest::default() }];
        let places = read(&[odd, narrow].concat()).unwrap().places(&guests, &[1, 2], (1279, 721));
        assert_eq!(places.len(), 1, "13 samples across show nothing");
        assert!(places[0].1.rect.is_within(1279, 721), "{places:?}");
        assert_eq!(places[0].1.border.width, 2);
    }

    #[test]
    fn colours_are_those_of_bt_709() {
        let rows = [
            ([0, 0, 0], [16, 128, 128]),
            ([255, 255, 255], [235, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 0, 255], [32, 240, 118]),
        ];
        for (rgb, expected) in rows {
            assert_eq!(Color::from(Rgb(rgb)), expected, "{rgb:?}");
        }
    }
}
