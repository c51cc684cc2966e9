//! The room that visitors of a page disturb (web/kill).

use crate::support::seeds;
use plenary_proto::time::{MS, SECOND};
use plenary_sim::exhibit::{Act, CONTINENTS, Exhibit, HEADER_WORDS, PEER_BYTES};

const SEEDS: std::ops::Range<u64> = 0..3;
const PEERS: usize = 60;
/// End of the audience's arrival, and time for the last viewers to find a place.
const ARRIVED_US: u64 = 7 * SECOND;
const PLACED_US_MAX: u64 = 13 * SECOND;

/// Words of the view's header.
fn words(exhibit: &mut Exhibit) -> Vec<u32> {
    let words = exhibit.view().chunks_exact(4).take(HEADER_WORDS);
    words.map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

/// Living viewers, and those that see the program.
fn seeing(exhibit: &mut Exhibit) -> (u32, u32) {
    let words = words(exhibit);
    (words[3], words[4])
}

fn is_up(exhibit: &mut Exhibit) -> bool {
    let (viewers, seeing) = seeing(exhibit);
    viewers > 0 && 100 * seeing >= 95 * viewers
}

/// Number of peers with this role, and with this flag.
fn peers(exhibit: &mut Exhibit, is_meant: impl Fn(&[u8]) -> bool) -> usize {
    let bytes = &exhibit.view()[4 * HEADER_WORDS..];
    bytes.chunks_exact(PEER_BYTES).filter(|peer| peer[4] == 1 && is_meant(peer)).count()
}

fn up(seed: u64) -> Exhibit {
    let mut exhibit = Exhibit::new(seed, PEERS);
    exhibit.run_for(ARRIVED_US);
    recovers(&mut exhibit, PLACED_US_MAX, &format!("seed {seed}, the opening"));
    assert_eq!(words(&mut exhibit)[2] as usize, PEERS, "seed {seed}");
    exhibit
}

/// Runs until the room is up; fails if that takes longer.
fn recovers(exhibit: &mut Exhibit, us_max: u64, what: &str) {
    let from = exhibit.now();
    while !is_up(exhibit) {
        exhibit.run_for(100 * MS);
        let told = words(exhibit);
        assert!(exhibit.now().since(from) <= us_max, "{what}: {told:?}");
    }
}

#[test]
fn equal_seeds_and_acts_give_equal_traces_whatever_is_looked_at() {
    let lived = |seed, us, looks: bool| {
        let mut exhibit = Exhibit::new(seed, PEERS);
        for act in [Act::KillMixer, Act::CutOff(2), Act::Heal, Act::KillMany, Act::Newcomers] {
            for _ in 0..2 * SECOND / us {
                exhibit.run_for(us);
                if looks {
                    exhibit.view();
                }
            }
            exhibit.act(act);
        }
        exhibit.run_for(2 * SECOND);
        exhibit.trace()
    };
    assert_eq!(lived(5, 20 * MS, true), lived(5, 2 * SECOND, false));
    assert_ne!(lived(5, 2 * SECOND, false), lived(6, 2 * SECOND, false));
}

#[test]
fn the_death_of_the_mixer_shows_and_the_viewers_see_the_program_again() {
    for seed in seeds(SEEDS) {
        let mut exhibit = up(seed);
        exhibit.run_for(5 * SECOND); // the elected mixer relieves the acting one
        assert_eq!(peers(&mut exhibit, |peer| peer[3] == 4), 1, "seed {seed}: one mixer");
        assert_eq!(exhibit.act(Act::KillMixer), 1);
        let mut fewest = u32::MAX;
        for _ in 0..10 {
            exhibit.run_for(100 * MS);
            fewest = fewest.min(seeing(&mut exhibit).1);
        }
        assert!(fewest < 30, "seed {seed}: {fewest} see the program all the time");
        recovers(&mut exhibit, 4 * SECOND, &format!("seed {seed}"));
        exhibit.run_for(4 * SECOND);
        let told = words(&mut exhibit);
        let [act, lost, again, half_ms, last_ms, _] = told[9..15] else { panic!("{told:?}") };
        assert_eq!(act, 1, "seed {seed}: {told:?}");
        // a single viewer may wait for several seconds
        assert!(lost > 30 && 100 * again >= 95 * lost, "seed {seed}: {told:?}");
        assert!(0 < half_ms && half_ms <= 3_000 && half_ms <= last_ms, "seed {seed}: {told:?}");
        assert!(exhibit.violations().is_empty(), "seed {seed}: {:?}", exhibit.violations());
    }
}

#[test]
fn the_others_go_on_while_a_continent_is_cut_off() {
    let europe = CONTINENTS.iter().position(|continent| continent.name == "Europe").unwrap();
    for seed in seeds(SEEDS) {
        let mut exhibit = up(seed);
        let cut = exhibit.act(Act::CutOff(europe));
        assert!(cut > 10, "seed {seed}: {cut}");
        assert_eq!(exhibit.act(Act::CutOff(0)), 0, "one at a time");
        exhibit.run_for(15 * SECOND);
        let elsewhere = peers(&mut exhibit, |peer| peer[5] & 0b1010 == 0b10);
        let see = peers(&mut exhibit, |peer| peer[5] & 0b1011 == 0b11);
        assert!(10 * see >= 9 * elsewhere, "seed {seed}: {see} of {elsewhere}");
        assert_eq!(exhibit.act(Act::Heal), 1);
        exhibit.run_for(SECOND);
        recovers(&mut exhibit, 20 * SECOND, &format!("seed {seed}"));
        assert_eq!(exhibit.act(Act::Heal), 0, "seed {seed}");
    }
}

#[test]
fn newcomers_are_let_in_by_the_heir_of_a_dead_host() {
    for seed in seeds(SEEDS) {
        let mut exhibit = up(seed);
        assert_eq!(exhibit.act(Act::KillHost), 1);
        assert_eq!(exhibit.act(Act::KillHost), 0, "seed {seed}: there is none now");
        exhibit.run_for(13 * SECOND);
        assert_eq!(peers(&mut exhibit, |peer| peer[5] & 4 != 0), 1, "seed {seed}: an heir governs");
        let before = seeing(&mut exhibit).0;
        assert_eq!(exhibit.act(Act::Newcomers), 21, "seed {seed}: a speaker is replaced");
        exhibit.run_for(4 * SECOND);
        recovers(&mut exhibit, 6 * SECOND, &format!("seed {seed}"));
        assert_eq!(seeing(&mut exhibit).0, before + 20, "seed {seed}");
    }
}

#[test]
fn the_room_goes_on_without_a_rendezvous() {
    let mut exhibit = up(3);
    assert_eq!((exhibit.act(Act::KillRendezvous), exhibit.act(Act::KillRendezvous)), (1, 0));
    exhibit.run_for(4 * SECOND);
    let told = words(&mut exhibit);
    assert!(is_up(&mut exhibit) && told[10] <= 3, "none but viewers with losses: {told:?}");
    assert_eq!((exhibit.act(Act::ReviveRendezvous), exhibit.act(Act::ReviveRendezvous)), (1, 0));
}

#[test]
fn acts_without_effect_do_nothing() {
    let mut exhibit = Exhibit::new(1, 0);
    assert_eq!(words(&mut exhibit)[2], 20, "the smallest room");
    let acts = [Act::Kill(99_999), Act::KillMixer, Act::KillHost, Act::CutOff(9), Act::Heal, Act::KillMany];
    assert_eq!(acts.map(|act| exhibit.act(act)), [0; 6]);
    assert_eq!((Act::numbered(9, 0), Act::numbered(5, 2)), (None, Some(Act::CutOff(2))));
}
