//! Grid layout.

use crate::scale::Rect;

/// Returns the tiles of `count` pictures on a canvas, in reading order. The grid has the fewest columns for
/// which there are no more rows than columns. All tiles have the canvas's aspect ratio; the last row and the
/// whole grid are centred. All coordinates are even.
///
/// One tile fills the canvas, two stand side by side, 3 and 4 make 2 × 2, 5 to 9 up to 3 × 3.
pub fn grid(count: usize, width: usize, height: usize) -> Vec<Rect> {
    let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(1);
    let rows = count.div_ceil(columns);
    let tile = (even(width / columns), even(height / columns));
    let top = even((height - rows * tile.1) / 2);
    let tiles = (0..count).map(|index| {
        let (row, column) = (index / columns, index % columns);
        let in_row = columns.min(count - row * columns);
        let left = even((width - in_row * tile.0) / 2);
        Rect { x: left + column * tile.0, y: top + row * tile.1, width: tile.0, height: tile.1 }
    });
    tiles.collect()
}

pub(super) fn even(number: usize) -> usize {
    number & !1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_tiles_lie_where_one_expects_them() {
        type Row = (usize, &'static [(usize, usize, usize, usize)]);
        let rows: [Row; 5] = [
            (0, &[]),
            (1, &[(0, 0, 1280, 720)]),
            (2, &[(0, 180, 640, 360), (640, 180, 640, 360)]),
            (3, &[(0, 0, 640, 360), (640, 0, 640, 360), (320, 360, 640, 360)]),
            (
                5,
                &[
                    (0, 120, 426, 240),
                    (426, 120, 426, 240),
                    (852, 120, 426, 240),
                    (214, 360, 426, 240),
                    (640, 360, 426, 240),
                ],
            ),
        ];
        for (count, expected) in rows {
            let tiles: Vec<_> =
                grid(count, 1280, 720).iter().map(|r| (r.x, r.y, r.width, r.height)).collect();
            assert_eq!(tiles, expected, "{count}");
        }
    }

    #[test]
    fn tiles_are_even_within_the_canvas_and_never_overlap() {
        for (width, height) in [(1280, 720), (640, 360), (1920, 1080), (720, 1280), (854, 480)] {
            for count in 1..=64 {
                let tiles = grid(count, width, height);
                assert_eq!(tiles.len(), count);
                for (index, tile) in tiles.iter().enumerate() {
                    assert!(tile.is_within(width, height) && tile.width > 0 && tile.height > 0, "{tile:?}");
                    for other in &tiles[..index] {
                        let apart = tile.y >= other.y + other.height || tile.x >= other.x + other.width;
                        assert!(apart || tile.y + tile.height <= other.y, "{tile:?} {other:?}");
                    }
                }
            }
        }
    }
}
