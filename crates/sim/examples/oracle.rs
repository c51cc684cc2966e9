//! Judges the elections of drawn rooms: `oracle [ROOMS [FROM]]`, a line for each that is not within 5 %.

use plenary_sim::rooms::judge;

fn main() {
    let mut numbers = std::env::args().skip(1).map_while(|text| text.parse::<u64>().ok());
    let (rooms, from) = (numbers.next().unwrap_or(20), numbers.next().unwrap_or(0));
    let mut close = 0;
    for seed in from..from + rooms {
        let judged = judge(seed);
        close += u64::from(judged.is_close());
        if !judged.is_close() {
            println!("{judged:?}");
        }
    }
    println!("{close} of {rooms} elections are within 5 % of the oracle's choice");
}
