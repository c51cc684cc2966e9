//! Judges the elections of drawn rooms: `oracle [ROOMS [FROM [LIARS]]]`, so many of a hundred on stage lying for each
//! other; a line for each that is not within 5 %.

use plenary_sim::rooms::judge_among_liars;
use plenary_sim::units::Share;

fn main() {
    let mut numbers = std::env::args().skip(1).map_while(|text| text.parse::<u64>().ok());
    let (rooms, from) = (numbers.next().unwrap_or(20), numbers.next().unwrap_or(0));
    let liars = Share(10_000 * numbers.next().unwrap_or(0) as u32);
    let mut close = 0;
    for seed in from..from + rooms {
        let judged = judge_among_liars(seed, liars);
        close += u64::from(judged.is_close());
        if !judged.is_close() {
            println!("{judged:?}");
        }
    }
    println!("{close} of {rooms} elections are within 5 % of the oracle's choice");
}
