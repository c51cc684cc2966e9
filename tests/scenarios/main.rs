//! Rooms across an emulated internet: processes of the command line in the hosts of a lab (`tests/netlab`). Each
//! scenario prints rows of docs/measurements/networks.md. They need root, and are skipped without.

mod carried;
mod hard;
mod ipv6;
mod joins;
mod matrix;
mod moving;
mod nats;
mod network;
mod router;
#[path = "../running/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the command line")]
mod running;
mod spaces;

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
        Trial::test("a_host_behind_a_one_to_one_nat_is_reached_at_its_outer_address", nats::cloud),
        Trial::test("probe_tells_the_kind_of_nat_by_two_stun_servers", nats::kinds),
        Trial::test("peers_with_ipv6_alone_meet", ipv6::alone),
        Trial::test("a_host_at_home_is_reached_at_the_port_that_its_router_maps", router::mapped),
        Trial::test("a_host_says_that_its_router_maps_no_port_of_use", router::useless),
        Trial::test("speakers_behind_nats_of_their_own_are_linked_directly", nats::homes),
        Trial::test("speakers_behind_symmetric_nats_are_linked_over_relays", nats::relayed),
        Trial::test("speakers_that_reach_the_host_alone_are_linked_through_it", carried::by_members),
        Trial::test("a_viewer_without_udp_is_fed_over_the_websocket", carried::without_udp),
        Trial::test("a_viewer_without_udp_or_a_carrier_gets_no_picture", carried::refused),
        Trial::test("a_viewer_that_changes_its_network_is_fed_on", moving::viewer),
        Trial::test("a_speaker_that_changes_its_network_speaks_on", moving::speaker),
        Trial::test("viewers_at_eight_places_change_their_networks", moving::viewers).with_ignored_flag(true),
        Trial::test("a_room_across_hard_networks_outlives_its_rendezvous", hard::room)
            .with_ignored_flag(true),
        Trial::test("joins_at_100_ms_of_a_room_at_one_place", joins::one_place).with_ignored_flag(true),
        Trial::test("joins_at_100_ms_of_a_room_at_three_places", joins::three_places).with_ignored_flag(true),
        Trial::test("of_36_pairs_29_are_direct_and_seven_are_carried", matrix::pairs).with_ignored_flag(true),
        Trial::test("a_host_behind_a_one_to_one_nat_has_relays_at_its_outer_address", nats::relayed_by_cloud),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
