//! What a mixer makes of real speakers, judged by ffmpeg from a recording of the program.

mod stage;

use plenary_media::source::{Source, TestSource};
use plenary_testkit::judge::{Layout, recording};
use stage::{INPUT, PROGRAM, Stage, Way};

#[test]
fn every_tile_of_a_grid_can_be_read_where_the_judge_expects_it() {
    // 5 tiles: two rows, the block in the middle of the canvas, the last row in the middle of the block
    let mut stage = Stage::new((0..5).map(|index| (speaker(index), Way::default())).collect());
    stage.play(1_200_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("five.mp4");
    stage.record(&path);
    let judged = recording(&path, &Layout::grid(5)).unwrap();
    assert_eq!(judged.ffmpeg_errors, [""; 0]);
    assert_eq!((judged.width, judged.height), (PROGRAM.width.into(), PROGRAM.height.into()));
    for tile in 0..5 {
        let numbers = judged.numbers(tile);
        assert!(numbers.len() >= 28 && numbers.is_sorted(), "{tile}: {numbers:?}");
        let mut codes = judged.frames.iter().filter_map(|frame| frame.codes[tile]);
        assert!(codes.all(|code| usize::from(code.index) == tile));
    }
}

fn speaker(index: u8) -> Box<dyn Source> {
    Box::new(TestSource::new(index, INPUT.width, INPUT.height, INPUT.fps))
}
