//! Judges the elections of drawn rooms: `oracle [ROOMS [FROM [LIARS [LOSS [BURSTS [JITTER [LEAST]]]]]]]`, such
//! as `oracle 1000 0 20% 1% 1% 10ms 90%`. LIARS is the share of the stage that lies as one group, LOSS and
//! BURSTS are the shares of packets lost independently and in bursts, JITTER is the maximum jitter, and LEAST
//! is the share of close choices below which the command fails. Prints a line for each room with a choice that
//! isn't within 5 % of the best.

use plenary_sim::Percentiles;
use plenary_sim::plan::{Bursts, NetPlan};
use plenary_sim::rooms::judge;
use plenary_sim::units::{Share, Span};

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: u64| match words.get(at) {
        Some(word) => word.parse::<u64>().map_err(|_| format!("{word} is no number")),
        None => Ok(otherwise),
    };
    let share = |at: usize, otherwise: Share| words.get(at).cloned().map_or(Ok(otherwise), Share::try_from);
    let (rooms, from) = (number(0, 20)?, number(1, 0)?);
    let (liars, loss, bursts) = (share(2, Share(0))?, share(3, Share(5_000))?, share(4, Share(0))?);
    let least = share(6, Share(0))?;
    let jitter = words.get(5).cloned().map_or(Ok(Span(0)), Span::try_from)?;
    let bursts = (bursts > Share(0)).then(|| Bursts::losing(bursts.0));
    let weather = NetPlan { bursts, jitter_us: jitter.0, ..NetPlan::drawn(0, 0, loss.0) };
    let (mut close, mut decided_us) = (0, Vec::new());
    for seed in from..from + rooms {
        let judged = judge(seed, &weather, liars);
        close += u64::from(judged.is_close());
        decided_us.extend(judged.decided_us);
        if !judged.is_close() {
            println!("{judged:?}");
        }
    }
    let decided = decided_us.len();
    let p95_ms = Percentiles::of_us(decided_us).map(|times| times.p95);
    println!(
        "{close} of {rooms} elections are within 5 % of the oracle's choice; {decided} decided, 95 of 100 within {p95_ms:?} ms"
    );
    let enough = close * 1_000_000 >= rooms * u64::from(least.0);
    if enough { Ok(()) } else { Err(format!("fewer than {} millionths", least.0)) }
}
