//! What is on the canvas, and what is left alone.

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

    composer.set_tiles(&tiles(&["Ada", "Grace", "Joan"]));
    assert_eq!(needing(&composer), []);
    assert_eq!(*composer.picture(), before);

    composer.set_tiles(
        &[
            &tiles(&["Ada"])[..],
            &[Tile { muted: true, ..tiles(&["", "Grace"])[1].clone() }],
            &tiles(&["", "", "Joan"])[2..],
        ]
        .concat(),
    );
    assert_eq!(needing(&composer), [1]);
    composer.switch_off(1);
    let rect = composer.rect(1).unwrap();
    let changed = changes(&before, composer.picture());
    assert!(!changed.is_empty() && changed.iter().all(|&(x, y)| contains(rect, x, y)), "the mute mark");

    composer.set_tiles(&tiles(&["Ada"]));
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
    composer.set_tiles(&tiles(names));
    composer
}

fn tiles<S: AsRef<str>>(names: &[S]) -> Vec<Tile> {
    (0..).zip(names).map(|(id, name)| Tile { id, name: name.as_ref().to_owned(), muted: false }).collect()
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

/// Where the luma of two pictures differs.
fn changes(one: &Picture, other: &Picture) -> Vec<(usize, usize)> {
    let both = one.samples().iter().zip(other.samples()).take(one.width() * one.height());
    let differing = both.enumerate().filter(|(_, (one, other))| one != other);
    differing.map(|(at, _)| (at % one.width(), at / one.width())).collect()
}
