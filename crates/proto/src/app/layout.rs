//! Layouts of the program, by name.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};

use crate::bounded::List;
use crate::message::{LAYOUT_LEN_MAX, ProgramLayout};

/// Layout of the program's tiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
#[non_exhaustive]
pub enum Layout {
    /// Tiles of equal size.
    #[default]
    Grid,
    /// The dominant speaker is large, the others are in a strip.
    Active,
    /// The first speaker that shares a screen is large.
    Share,
    /// The last two dominant speakers, each on one half.
    SideBySide,
    /// A layout described by an application, as mixers encode it.
    #[strum(disabled)]
    Custom(#[cfg_attr(test, ts(as = "Vec<u8>"))] List<u8, LAYOUT_LEN_MAX>),
}

impl Layout {
    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns the bytes that a roster carries; empty for a grid, and for a description that is too long.
    pub fn to_roster(&self) -> ProgramLayout {
        match self {
            Layout::Grid => ProgramLayout::new(),
            layout => {
                let bytes = postcard::to_allocvec(layout).unwrap_or_default();
                ProgramLayout::try_from(bytes).unwrap_or_default()
            }
        }
    }

    /// Returns the layout of a roster; `None` if this version of the program doesn't know it.
    pub fn of_roster(bytes: &ProgramLayout) -> Option<Layout> {
        if bytes.is_empty() { Some(Layout::Grid) } else { postcard::from_bytes(bytes).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_carries_each_layout_and_an_unknown_one_is_none() {
        let custom = Layout::Custom(List::truncated([1, 2, 3]));
        for layout in [Layout::Grid, Layout::Active, Layout::Share, Layout::SideBySide, custom] {
            assert_eq!(Layout::of_roster(&layout.to_roster()), Some(layout));
        }
        for bytes in [vec![200], vec![4], vec![4, 9, 1]] {
            assert_eq!(Layout::of_roster(&ProgramLayout::truncated(bytes)), None);
        }
    }

    #[test]
    fn layouts_are_read_and_written_by_the_same_names() {
        for name in ["grid", "active", "share", "side-by-side"] {
            assert_eq!(name.parse::<Layout>().unwrap().name(), name);
        }
        assert!("custom".parse::<Layout>().is_err(), "a description has no name");
    }
}
