//! Draws rooms of 1 to 25 speakers in every layout, and writes each as a PNG for visual inspection.
//!
//! `cargo run -p plenary-media --example layouts -- FOLDER`

use std::error::Error;
use std::path::PathBuf;

use plenary_media::compose::{
    Composer, Custom, CustomBorder, CustomTile, Fit, Guest, Layout, Rgb, Tile, Who,
};
use plenary_media::{Picture, write_png};

const NAMES: [&str; 10] = [
    "Ada Lovelace",
    "Ναυσικά Παπαδοπούλου",
    "Hubert Blaine Wolfeschlegelsteinhausenbergerdorff senior of Philadelphia",
    "Надежда",
    "Łukasz Żółć",
    "j",
    "Mary Wollstonecraft Shelley",
    "名前 (unknown script)",
    "Grace Hopper",
    "O",
];
const SIZE: (usize, usize) = (1280, 720);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: layouts FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let layouts = [
        ("grid", Layout::Grid),
        ("active", Layout::Active),
        ("share", Layout::Share),
        ("side-by-side", Layout::SideBySide),
        ("custom", Layout::Custom(inset())),
    ];
    for (name, layout) in layouts {
        for count in [1, 2, 3, 4, 5, 7, 9, 16, 25] {
            let file = folder.join(format!("{name}-{count:02}.png"));
            write_png(&room(&layout, count).view(), std::fs::File::create(&file)?)?;
            println!("{}", file.display());
        }
    }
    Ok(())
}

/// A layout with the dominant speaker on the whole canvas, and two others in front.
fn inset() -> Custom {
    let tile =
        |who, x, y, side| CustomTile { who, x, y, width: side, height: side, fit: Fit::Crop, border: None };
    let border = Some(CustomBorder { width: 4, color: Rgb([255, 255, 255]) });
    let tiles = vec![
        tile(Who::Active, 0.0, 0.0, 1.0),
        CustomTile { border, ..tile(Who::Named("Ada Lovelace".to_owned()), 0.72, 0.68, 0.25) },
        CustomTile { border, ..tile(Who::Next, 0.72, 0.38, 0.25) },
    ];
    Custom { background: Some(Rgb([16, 32, 64])), tiles }
}

fn room(layout: &Layout, count: u64) -> Picture {
    let name = |id: u64| NAMES[id as usize % NAMES.len()].to_owned();
    let guests: Vec<_> = (0..count).map(|id| Guest { id, name: name(id), shares: id == 1 }).collect();
    let places = layout.places(&guests, &[2, 4], SIZE).into_iter();
    let tiles: Vec<_> =
        places.map(|(id, place)| Tile { id, name: name(id), muted: id % 3 == 1, place }).collect();
    let mut composer = Composer::new(SIZE.0, SIZE.1);
    composer.set_tiles(&tiles, layout.background());
    for Tile { id, .. } in tiles {
        match id % 5 {
            3 => composer.switch_off(id),
            4 => composer.draw(id, &scene(270, 480, id).view()),
            _ => composer.draw(id, &scene(640, 360, id).view()),
        }
    }
    composer.picture().clone()
}

/// Draws coloured stripes with a white row across the top.
fn scene(width: usize, height: usize, id: u64) -> Picture {
    let mut picture = Picture::black(width, height);
    let [luma, cb, cr] = picture.planes_mut();
    for (at, sample) in luma.iter_mut().enumerate() {
        let (x, y) = (at % width, at / width);
        *sample = if y < height / 15 { 235 } else { 70 + ((x + y * (1 + id as usize % 3)) / 4 % 90) as u8 };
    }
    for (at, (cb, cr)) in cb.iter_mut().zip(cr).enumerate() {
        if at / (width / 2) >= height / 30 {
            let turn = id as f32 * 0.82;
            (*cb, *cr) = ((128.0 + 60.0 * turn.sin()) as u8, (128.0 + 60.0 * turn.cos()) as u8);
        }
    }
    picture
}
