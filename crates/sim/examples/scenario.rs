//! Runs a named scenario and prints its report: `scenario NAME [SEED [RUNS]]`.

use plenary_sim::scenario::{SCENARIOS, named};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(scenario) = arguments.next().and_then(|name| named(&name)) else {
        SCENARIOS.iter().for_each(|scenario| println!("{:18} {}", scenario.name, scenario.line));
        return;
    };
    let mut number = || arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("{:#?}", scenario.run(number(), number(), None));
}
