//! Conversion of program layouts to and from the bytes that the roster carries.

use plenary_media::compose::Layout;
use plenary_proto::message::ProgramLayout;

/// Encodes a layout for the roster; a grid is the empty encoding.
///
/// # Errors
/// A line for the application when mixers would refuse the layout: see
/// [`Custom`](plenary_media::compose::Custom).
pub fn to_roster(layout: &Layout) -> Result<ProgramLayout, String> {
    if *layout == Layout::Grid {
        return Ok(ProgramLayout::new());
    }
    if let Layout::Custom(custom) = layout {
        custom.check()?;
    }
    let bytes = postcard::to_allocvec(layout).map_err(|error| error.to_string())?;
    let len = bytes.len();
    ProgramLayout::try_from(bytes).map_err(|_| format!("{len} bytes are too long"))
}

/// Decodes the roster's layout. Falls back to a grid when this version of the program doesn't know the
/// layout.
pub fn from_roster(bytes: &ProgramLayout) -> Layout {
    if bytes.is_empty() {
        return Layout::Grid;
    }
    postcard::from_bytes(bytes).unwrap_or_else(|error| {
        tracing::warn!("the host's layout can't be decoded, a grid is used: {error}");
        Layout::Grid
    })
}

#[cfg(test)]
mod tests {
    use plenary_media::compose::{Custom, CustomBorder, CustomTile, Fit, Rgb, Who};

    use super::*;

    fn custom(tiles: usize, x: f32) -> Layout {
        let tile = |at: usize| CustomTile {
            who: Who::Named(format!("{at:064}")),
            x,
            y: 0.0,
            width: 0.5,
            height: 0.5,
            fit: Fit::Crop,
            border: Some(CustomBorder { width: 4, color: Rgb([1, 2, 3]) }),
        };
        Layout::Custom(Custom { background: Some(Rgb([4, 5, 6])), tiles: (0..tiles).map(tile).collect() })
    }

    #[test]
    fn every_layout_comes_back_and_the_largest_fits() {
        for layout in
            [Layout::Grid, Layout::Active, Layout::Share, Layout::SideBySide, custom(0, 0.0), custom(64, 0.5)]
        {
            assert_eq!(from_roster(&to_roster(&layout).unwrap()), layout);
        }
    }

    #[test]
    fn a_layout_that_mixers_would_refuse_is_refused_and_an_unknown_one_is_a_grid() {
        for layout in [custom(65, 0.0), custom(1, 0.9), custom(1, f32::NAN)] {
            assert!(to_roster(&layout).is_err(), "{layout:?}");
        }
        for bytes in [vec![200], vec![4, 1], vec![255; 8_000]] {
            assert_eq!(from_roster(&ProgramLayout::try_from(bytes).unwrap()), Layout::Grid);
        }
    }
}
