//! Rooms in the simulator, in one binary: whatever many peers do together.

mod attackers;
#[cfg(debug_assertions)] // only these builds have faults to break
mod checkers;
mod corpus;
mod data;
mod election;
mod exhibit;
mod floods;
mod live_media;
mod loops;
mod media;
mod membership;
mod mixers;
mod oracle;
mod pages;
mod reign;
mod removal;
mod replays;
mod room;
mod seeds;
mod solo;
mod strays;
mod support;
mod tree;
mod tunnels;
mod usurpers;
