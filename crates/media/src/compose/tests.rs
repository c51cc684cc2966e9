//! Tests what a composer draws, and what it leaves unchanged.

use super::*;

#[test]
fn a_tile_shows_its_picture_and_nothing_else_changes() {
    let mut composer = composer(&["Ada", "Grace", "Joan", "Mary"]);
    for id in 0..4 {
        composer.draw(id, &plain(640, 360, 50 + 40 * id as u8).view());
    }
    let before = composer.picture().clone();
    composer.draw(2, &plain(320, 180, 222).view());
    let rect = composer.rect(2).unwrap();
    let changed = changes(&before, composer.picture());
    assert!(changed.iter().all(|&(x, y)| contains(rect, x, y)));
    assert!(changed.len() > rect.width * rect.height * 9 / 10);
    assert_eq!(composer.drawn(), 5);
}

#[test]
fn the_upper_fifteenth_of_a_tile_is_the_pictures_alone() {
    for count in [1, 2, 4, 9, 16, 25, 49] {
        let names: Vec<String> = (0..count).map(|id| format!("A name that takes some room {id}")).collect();
        let mut composer = composer(&names);
        let picture = plain(640, 360, 200);
        for id in 0..count {
            composer.draw(id, &picture.view());
            let rect = composer.rect(id).unwrap();
            let fit = rect.fit(640, 360);
            for y in fit.y..fit.y + fit.height / 15 {
                for x in fit.x..fit.x + fit.width {
                    assert_eq!(luma(&composer, x, y), 200, "{count}: {x}, {y}");
                }
            }
        }
    }
}

#[test]
fn pictures_of_every_shape_are_letterboxed_and_leave_no_rest() {
    let mut composer = composer(&["", "", "", ""]);
    let rect = composer.rect(1).unwrap();
    composer.draw(1, &plain(640, 360, 200).view());
    composer.draw(1, &plain(360, 640, 100).view());
    let fit = rect.fit(360, 640);
    for y in rect.y..rect.y + rect.height {
        for x in rect.x..rect.x + rect.width {
            let expected = if contains(fit, x, y) { 100 } else { BACKGROUND[0] };
            assert_eq!(luma(&composer, x, y), expected, "{x}, {y}");
        }
    }
}

#[test]
fn a_tile_without_picture_is_drawn_once() {
    let mut composer = composer(&["Ada", "Grace"]);
    assert!(composer.needs(0));
    composer.switch_off(0);
    composer.switch_off(0);
    assert!(!composer.needs(0) && composer.needs(1));
    assert_eq!(composer.drawn(), 1);
    let rect = composer.rect(0).unwrap();
    let middle = luma(&composer, rect.x + rect.width / 2, rect.y + rect.height / 2 - rect.height / 6);
    assert_ne!(middle, TILE_OFF[0], "initials stand in the middle");
    composer.draw(0, &plain(640, 360, 200).view());
    composer.switch_off(0);
    assert_eq!(composer.drawn(), 3);
}

#[test]
fn only_tiles_that_change_must_be_drawn_again() {
    let mut composer = composer(&["Ada", "Grace", "Joan"]);
    (0..3).for_each(|id| composer.switch_off(id));
    let before = composer.picture().clone();
    let needing = |composer: &Composer| (0..9).filter(|&id| composer.needs(id)).collect::<Vec<_>>();

    let mut three = tiles(&["Ada", "Grace", "Joan"]);
    composer.set_tiles(&three, None);
    assert_eq!(needing(&composer), []);
    assert_eq!(*composer.picture(), before);

    three[1].muted = true;
    composer.set_tiles(&three, None);
    assert_eq!(needing(&composer), [1]);
    composer.switch_off(1);
    let rect = composer.rect(1).unwrap();
    let changed = changes(&before, composer.picture());
    assert!(!changed.is_empty() && changed.iter().all(|&(x, y)| contains(rect, x, y)), "the mute mark");

    composer.set_tiles(&tiles(&["Ada"]), None);
    assert_eq!(needing(&composer), [0]);
    assert_eq!(composer.rect(1), None);
}

#[test]
fn a_broken_picture_and_an_unknown_tile_change_nothing() {
    let mut composer = composer(&["Ada"]);
    composer.draw(0, &plain(640, 360, 90).view());
    let before = composer.picture().clone();
    let picture = plain(64, 36, 200);
    let mut broken = picture.view();
    broken.planes[2].samples = &[];
    composer.draw(0, &broken);
    composer.draw(7, &picture.view());
    composer.switch_off(7);
    assert_eq!(*composer.picture(), before);
}

#[test]
fn whatever_lies_over_a_tile_that_is_drawn_is_needed_again() {
    let mut composer = Composer::new(1280, 720);
    let mut two = tiles(&["", ""]);
    two[0].place = Placement::at(Rect { x: 0, y: 0, width: 1280, height: 720 });
    two[1].place = Placement::at(Rect { x: 900, y: 500, width: 320, height: 180 });
    composer.set_tiles(&two, None);
    let (large, small) = (plain(1280, 720, 60), plain(320, 180, 200));
    for _ in 0..2 {
        composer.draw(0, &large.view());
        assert!(composer.needs(1));
        composer.draw(1, &small.view());
        assert!(!composer.needs(0) && !composer.needs(1));
        assert_eq!((luma(&composer, 1000, 600), luma(&composer, 100, 100)), (200, 60));
    }
    two.swap(0, 1);
    composer.set_tiles(&two, None);
    assert!(composer.needs(0) && composer.needs(1), "the order is what one sees");
}

#[test]
fn a_picture_is_cut_to_its_tile_within_a_border_on_the_background() {
    let mut composer = Composer::new(1280, 720);
    let rect = Rect { x: 100, y: 40, width: 400, height: 600 };
    let border = Border { width: 6, color: [150, 110, 140] };
    let place = Placement { rect, fit: Fit::Crop, border };
    let tile = Tile { id: 0, name: String::new(), muted: false, place };
    composer.set_tiles(&[tile], Some([99, 90, 90]));
    // only the middle of the wide picture is bright
    let mut picture = plain(640, 360, 30);
    let [samples, ..] = picture.planes_mut();
    for (at, sample) in samples.iter_mut().enumerate() {
        if (200..440).contains(&(at % 640)) {
            *sample = 220;
        }
    }
    composer.draw(0, &picture.view());
    for (x, y, expected) in [
        (50, 300, 99),
        (100, 40, 150),
        (499, 639, 150),
        (105, 300, 150),
        (106, 46, 220),
        (493, 633, 220),
        (494, 300, 150),
        (500, 300, 99),
    ] {
        assert_eq!(luma(&composer, x, y), expected, "{x}, {y}");
    }
    composer.switch_off(0);
    assert_eq!(luma(&composer, 106, 46), TILE_OFF[0]);
    assert_eq!(luma(&composer, 105, 46), 150, "the border stays");
}

#[test]
fn a_tile_that_is_not_within_the_canvas_is_left_out() {
    let mut composer = Composer::new(1280, 720);
    let mut two = tiles(&["", ""]);
    two[0].place.rect.x = 1000;
    composer.set_tiles(&two, None);
    composer.draw(0, &plain(640, 360, 90).view());
    composer.switch_off(0);
    assert_eq!((composer.rect(0), composer.drawn()), (None, 0));
    assert!(composer.rect(1).is_some());
}

#[cfg(feature = "labels")]
#[test]
fn a_name_stands_at_the_lower_left() {
    let mut composer = composer(&["Ada", "Grace", "Joan", "Mary"]);
    let mut unnamed = self::composer(&["", "", "", ""]);
    for id in 0..4 {
        composer.draw(id, &plain(640, 360, 128).view());
        unnamed.draw(id, &plain(640, 360, 128).view());
    }
    let changed = changes(unnamed.picture(), composer.picture());
    for id in 0..4 {
        let Rect { x, y, width, height } = composer.rect(id).unwrap();
        let corner = Rect { x, y: y + height * 4 / 5, width: width / 3, height: height / 5 };
        assert!(changed.iter().any(|&(x, y)| contains(corner, x, y)), "tile {id}");
        let elsewhere = |&&(px, py): &&(usize, usize)| {
            contains(Rect { x, y, width, height }, px, py) && !contains(corner, px, py)
        };
        assert_eq!(changed.iter().find(elsewhere), None);
    }
}

fn composer<S: AsRef<str>>(names: &[S]) -> Composer {
    let mut composer = Composer::new(1280, 720);
    composer.set_tiles(&tiles(names), None);
    composer
}

/// Returns tiles with these names, in a grid.
fn tiles<S: AsRef<str>>(names: &[S]) -> Vec<Tile> {
    let places = grid(names.len(), 1280, 720).into_iter().map(Placement::at);
    let tile = |((id, name), place): ((u64, &S), _)| Tile {
        id,
        name: name.as_ref().to_owned(),
        muted: false,
        place,
    };
    (0..).zip(names).zip(places).map(tile).collect()
}

fn plain(width: usize, height: usize, luma: u8) -> Picture {
    let mut samples = vec![luma; width * height];
    samples.resize(width * height * 3 / 2, 128);
    Picture::from_samples(width, height, samples).unwrap()
}

fn luma(composer: &Composer, x: usize, y: usize) -> u8 {
    composer.picture().samples()[y * composer.picture().width() + x]
}

fn contains(rect: Rect, x: usize, y: usize) -> bool {
    (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y)
}

/// Returns the positions at which the luma of two pictures differs.
fn changes(one: &Picture, other: &Picture) -> Vec<(usize, usize)> {
    let both = one.samples().iter().zip(other.samples()).take(one.width() * one.height());
    let differing = both.enumerate().filter(|(_, (one, other))| one != other);
    differing.map(|(at, _)| (at % one.width(), at / one.width())).collect()
}
