//! Rooms across an emulated internet: processes of the command line in the hosts of a lab (`tests/netlab`). Each
//! scenario prints rows of docs/measurements/networks.md. They need root, and are skipped without.

mod nats;
mod network;
#[path = "../running/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the command line")]
mod running;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == network::NETLAB) {
        return netlab::main(words);
    }
    let mut arguments = Arguments::from_args();
    // labs would disturb each other's timing
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::test("a_viewer_behind_each_kind_of_nat_is_fed_by_a_host_in_the_open", nats::viewers),
        Trial::test("speakers_behind_nats_of_their_own_are_linked_directly", nats::homes),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
