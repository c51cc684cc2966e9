//! Draws rooms of 1 to 25 speakers and writes each as a PNG, to be looked at.
//!
//! `cargo run -p plenary-media --example layouts -- FOLDER`

use std::error::Error;
use std::path::PathBuf;

use plenary_media::compose::{Composer, Tile};
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

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: layouts FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    for count in [1, 2, 3, 4, 5, 7, 9, 16, 25] {
        let mut composer = Composer::new(1280, 720);
        let tile =
            |id: u64| Tile { id, name: NAMES[id as usize % NAMES.len()].to_owned(), muted: id % 3 == 1 };
        composer.set_tiles(&(0..count).map(tile).collect::<Vec<_>>());
        for id in 0..count {
            match id % 5 {
                3 => composer.switch_off(id),
                4 => composer.draw(id, &scene(270, 480, id).view()),
                _ => composer.draw(id, &scene(640, 360, id).view()),
            }
        }
        let file = folder.join(format!("{count:02}.png"));
        write_png(&composer.picture().view(), std::fs::File::create(&file)?)?;
        println!("{}", file.display());
    }
    Ok(())
}

/// Coloured stripes with a white row across the top.
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
