//! Prints the outputs of all brains in one small world, from an event on: `narrate SPEAKERS CANDIDATES
//! VIEWERS SECONDS SEED [leave|kill|kill-relay|kill-tier] [K K1]`.

use plenary_proto::time::SECOND;
use plenary_sim::checkers::liveness;
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

fn main() {
    let text = |at: usize| std::env::args().nth(at).unwrap_or_default();
    let number = |at: usize, default: u64| text(at).parse().unwrap_or(default);
    let [speakers, candidates, viewers] = [(1, 2), (2, 2), (3, 4)].map(|(at, or)| number(at, or) as usize);
    let peers = PeerPlan::cast(speakers, candidates, viewers);
    let room = RoomPlan { k: number(7, 4) as u8, k1: number(8, 6) as u8, ..RoomPlan::DEFAULT };
    let plan = WorldPlan { room, net: NetPlan::HOME, media: MediaModel::Frame, peers };
    let mut world = World::new(plan, number(5, 0));
    let happens = !text(6).is_empty();
    world.narrate(!happens);
    world.run_for(number(4, 5) * SECOND);
    world.narrate(true);
    let children = |world: &World, peer| world.snapshot(peer).children.len();
    match &*text(6) {
        "leave" => world.leave(world.mixers()[0]),
        "kill" => world.kill(world.mixers()[0]),
        "kill-relay" => {
            let relay = world.viewers().into_iter().max_by_key(|viewer| children(&world, *viewer));
            relay.into_iter().for_each(|relay| world.kill(relay));
        }
        "kill-tier" => {
            let tier = world.viewers().into_iter().filter(|viewer| world.snapshot(*viewer).path.len() == 2);
            tier.collect::<Vec<_>>().into_iter().for_each(|peer| world.kill(peer));
        }
        _ => {}
    }
    if happens {
        world.run_for(number(4, 5) * SECOND);
    }
    for peer in world.living().collect::<Vec<_>>() {
        eprintln!("{peer:?} {:?}", world.snapshot(peer));
    }
    eprintln!("{:#?}", liveness(&world));
}
