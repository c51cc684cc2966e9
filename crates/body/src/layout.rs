//! Layouts as applications and rosters name them, and as the compositor draws them.

use plenary_media::compose::Layout;
use plenary_proto::app;
use plenary_proto::bounded::List;
use plenary_proto::message::ProgramLayout;

/// Returns a layout as a command has it.
///
/// # Errors
/// A line for the application when mixers would refuse the layout: see
/// [`Custom`](plenary_media::compose::Custom).
pub fn for_command(layout: &Layout) -> Result<app::Layout, String> {
    Ok(match layout {
        Layout::Grid => app::Layout::Grid,
        Layout::Active => app::Layout::Active,
        Layout::Share => app::Layout::Share,
        Layout::SideBySide => app::Layout::SideBySide,
        Layout::Custom(custom) => {
            custom.check()?;
            let bytes = postcard::to_allocvec(custom).map_err(|error| error.to_string())?;
            let (len, custom) = (bytes.len(), List::try_from(bytes).ok().map(app::Layout::Custom));
            let fits = custom.filter(|custom| !custom.to_roster().is_empty());
            fits.ok_or_else(|| format!("{len} bytes are too long"))?
        }
        _ => return Err("this version of the program doesn't know it".to_owned()),
    })
}

/// Decodes the roster's layout. Falls back to a grid when this version of the program doesn't know the
/// layout.
pub fn from_roster(bytes: &ProgramLayout) -> Layout {
    match app::Layout::of_roster(bytes) {
        Some(app::Layout::Grid) => Layout::Grid,
        Some(app::Layout::Active) => Layout::Active,
        Some(app::Layout::Share) => Layout::Share,
        Some(app::Layout::SideBySide) => Layout::SideBySide,
        Some(app::Layout::Custom(custom)) => {
            postcard::from_bytes(&custom).map_or_else(|error| grid_for(&error), Layout::Custom)
        }
        _ => grid_for(&"it is of another kind"),
    }
}

fn grid_for(why: &dyn std::fmt::Display) -> Layout {
    tracing::warn!("the host's layout can't be decoded, a grid is used: {why}");
    Layout::Grid
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
            assert_eq!(from_roster(&for_command(&layout).unwrap().to_roster()), layout);
        }
    }

    #[test]
    fn a_layout_that_mixers_would_refuse_is_refused() {
        for layout in [custom(65, 0.0), custom(1, 0.9), custom(1, f32::NAN)] {
            assert!(for_command(&layout).is_err(), "{layout:?}");
        }
        for bytes in [vec![200], vec![4, 1], vec![255; 8_000]] {
            assert_eq!(from_roster(&ProgramLayout::try_from(bytes).unwrap()), Layout::Grid);
        }
    }
}
