//! A room for visitors of a page: a world with an audience on five continents, acts by which a visitor disturbs it, and
//! figures of how it recovers. `crates/sim/wasm` runs it in a browser, and `examples/exhibit.rs` natively.
//!
//! Acts happen at the world's present time, and all that is measured here only reads the world. Equal seeds and acts at
//! equal times therefore give equal traces, in a browser and natively.

mod cast;
mod recovery;
mod view;

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{PeerId, Rank, Time};

use crate::dice::SmallDice;
use crate::peer::Peer;
use crate::plan::Kind;
use crate::world::World;
pub use cast::{CONTINENTS, Continent};
use recovery::Recovery;
pub use view::{HEADER_WORDS, PEER_BYTES};

/// Smallest number of peers at the beginning.
pub const PEERS_MIN: usize = 20;
/// Largest number of peers at the beginning.
pub const PEERS_MAX: usize = 1_000;
/// Maximum number of peers of one exhibit, newcomers and dead peers included: all of them stay in memory.
const PEERS_EVER_MAX: usize = 3_000;
/// Interval at which viewers are observed; acts happen at multiples of it.
pub const STEP_US: u64 = 20 * MS;
/// Longest time to run in one call.
pub const RUN_US_MAX: u64 = 60 * SECOND;
/// Longest time since the last picture at which a viewer sees the program. Pictures are 33 ms apart; a failover, which
/// takes 300 to 500 ms, has to show.
const SEES_US: u64 = 250 * MS;
/// Share of the audience that [`Act::KillMany`] kills.
const MANY_PERCENT: u64 = 30;

/// Disturbance by a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Crashes the peer at this index in the plan.
    Kill(usize),
    /// Crashes the first of the mixers in force.
    KillMixer,
    /// Crashes the host.
    KillHost,
    /// Stops the rendezvous.
    KillRendezvous,
    /// Starts the rendezvous again.
    ReviveRendezvous,
    /// Partitions the network: the continent at this index in [`CONTINENTS`] on one side, all others on the other.
    CutOff(usize),
    /// Ends the partition.
    Heal,
    /// Crashes 30 % of the audience at once.
    KillMany,
    /// Lets 20 more viewers in, and replaces dead speakers and candidates.
    Newcomers,
}

impl Act {
    /// The act with this number, as `crates/sim/wasm` passes it; `None` if there is none.
    pub fn numbered(number: u32, which: u32) -> Option<Act> {
        Some(match number {
            0 => Act::Kill(which as usize),
            1 => Act::KillMixer,
            2 => Act::KillHost,
            3 => Act::KillRendezvous,
            4 => Act::ReviveRendezvous,
            5 => Act::CutOff(which as usize),
            6 => Act::Heal,
            7 => Act::KillMany,
            8 => Act::Newcomers,
            _ => return None,
        })
    }

    fn number(self) -> u32 {
        match self {
            Act::Kill(_) => 0,
            Act::KillMixer => 1,
            Act::KillHost => 2,
            Act::KillRendezvous => 3,
            Act::ReviveRendezvous => 4,
            Act::CutOff(_) => 5,
            Act::Heal => 6,
            Act::KillMany => 7,
            Act::Newcomers => 8,
        }
    }
}

/// A room with its visitor's acts.
#[derive(Debug)]
pub struct Exhibit {
    world: World,
    /// Continent that is cut off, by index.
    cut: Option<usize>,
    rendezvous_up: bool,
    /// Highest rank seen on stage, and the number of failovers so far.
    rank: Rank,
    failovers: u32,
    recovery: Option<Recovery>,
    view: Vec<u8>,
}

impl Exhibit {
    /// A room with this number of peers, at least [`PEERS_MIN`] and at most [`PEERS_MAX`]; they join within seconds.
    pub fn new(seed: u64, peers: usize) -> Exhibit {
        let plan = cast::plan(seed, peers.clamp(PEERS_MIN, PEERS_MAX));
        Exhibit {
            world: World::new(plan, seed),
            cut: None,
            rendezvous_up: true,
            rank: Rank::default(),
            failovers: 0,
            recovery: None,
            view: Vec::new(),
        }
    }

    /// The world's present time.
    pub fn now(&self) -> Time {
        self.world.now()
    }

    /// Runs for `us` microseconds, rounded down to steps of [`STEP_US`], at most [`RUN_US_MAX`].
    pub fn run_for(&mut self, us: u64) {
        for _ in 0..us.min(RUN_US_MAX) / STEP_US {
            self.world.run_for(STEP_US);
            let rank = self.stage().map_or(self.rank, |peer| peer.brain().rank());
            if rank > self.rank {
                let before = if rank.term == self.rank.term { self.rank.failover_count } else { 0 };
                self.failovers += u32::from(rank.failover_count - before);
                self.rank = rank;
            }
            if let Some(recovery) = &mut self.recovery {
                recovery.observe(&self.world);
            }
        }
    }

    /// Carries out an act now. Returns the number of peers that it kills, cuts off or adds; for the rendezvous and for
    /// [`Act::Heal`] 1. 0: the act has no effect, for example because the host has died already.
    pub fn act(&mut self, act: Act) -> usize {
        let before = Recovery::from(act, &self.world);
        let done = match act {
            Act::Kill(planned) => self.kill_if(|peer| peer.planned == planned),
            Act::KillMixer => self.mixer().map_or(0, |mixer| self.kill_if(|peer| peer.id == mixer)),
            Act::KillHost => self.host().map_or(0, |host| self.kill_if(|peer| peer.id == host)),
            Act::KillRendezvous => {
                let was_up = std::mem::replace(&mut self.rendezvous_up, false);
                if was_up {
                    self.world.kill_rendezvous();
                }
                usize::from(was_up)
            }
            Act::ReviveRendezvous => {
                let was_up = std::mem::replace(&mut self.rendezvous_up, true);
                if !was_up {
                    self.world.revive_rendezvous();
                }
                usize::from(!was_up)
            }
            Act::CutOff(continent) => self.cut_off(continent),
            Act::Heal => {
                let was_cut = self.cut.take().is_some();
                if was_cut {
                    self.world.heal();
                }
                usize::from(was_cut)
            }
            Act::KillMany => self.kill_many(),
            Act::Newcomers => self.newcomers(),
        };
        if done > 0 {
            self.recovery = Some(before.begun(&self.world, self.cut));
        }
        done
    }

    fn kill_if(&mut self, is_meant: impl Fn(&Peer) -> bool) -> usize {
        let meant = self.world.peers.iter().filter(|peer| peer.is_there() && is_meant(peer));
        let meant: Vec<PeerId> = meant.map(|peer| peer.id).collect();
        meant.iter().for_each(|peer| self.world.kill(*peer));
        meant.len()
    }

    fn cut_off(&mut self, continent: usize) -> usize {
        if self.cut.is_some() || continent >= CONTINENTS.len() {
            return 0;
        }
        let here = self.world.peers.iter().filter(|peer| peer.is_there());
        let here = here.filter(|peer| cast::continent_of(&self.world, peer.planned) == continent);
        let here: Vec<PeerId> = here.map(|peer| peer.id).collect();
        if !here.is_empty() {
            self.world.partition(&here);
            self.cut = Some(continent);
        }
        here.len()
    }

    fn kill_many(&mut self) -> usize {
        let mut dice = SmallDice::of(&[self.world.seed(), 0x6b69_6c6c, self.now().0]);
        let audience = self.world.peers.iter().filter(|peer| peer.is_there() && self.is_viewer(peer));
        let mut audience: Vec<PeerId> = audience.map(|peer| peer.id).collect();
        let count = (audience.len() as u64 * MANY_PERCENT).div_ceil(100) as usize;
        for _ in 0..count {
            let at = dice.between(0, audience.len() as u64 - 1) as usize;
            self.world.kill(audience.swap_remove(at));
        }
        count
    }

    fn newcomers(&mut self) -> usize {
        let room_left = PEERS_EVER_MAX.saturating_sub(self.world.plan().peers.len());
        let mut dice = SmallDice::of(&[self.world.seed(), 0x6e65_7700, self.now().0]);
        let living = |kind: Kind| {
            let planned = |peer: &&Peer| self.world.plan().peers[peer.planned].kind == kind;
            self.world.peers.iter().filter(|peer| peer.is_there()).filter(planned).count()
        };
        let mut fresh =
            cast::newcomers(living(Kind::Speaker), living(Kind::Candidate), self.now(), &mut dice);
        // a newcomer on the continent that is cut off could not reach the room
        fresh.retain(|peer| Some(cast::continent(peer.place.region)) != self.cut);
        fresh.truncate(room_left);
        let count = fresh.len();
        fresh.into_iter().for_each(|peer| self.world.bring(peer));
        count
    }

    fn is_viewer(&self, peer: &Peer) -> bool {
        self.world.plan().peers[peer.planned].kind == Kind::Viewer
    }

    /// Peer of the larger side of the network, living and on stage, with the newest mandate and roster.
    fn stage(&self) -> Option<&Peer> {
        let on_stage = self.world.peers.iter().filter(|peer| peer.is_there() && !self.is_viewer(peer));
        let here = on_stage.filter(|peer| self.cut.is_none_or(|cut| !self.is_on(peer, cut)));
        here.max_by_key(|peer| (peer.brain().rank(), peer.brain().epoch()))
    }

    fn is_on(&self, peer: &Peer, continent: usize) -> bool {
        cast::continent_of(&self.world, peer.planned) == continent
    }

    fn is_there(&self, id: &PeerId) -> bool {
        self.world.directory.find(id).is_some_and(|at| self.world.peers[at].is_there())
    }

    /// The first living mixer in force.
    fn mixer(&self) -> Option<PeerId> {
        self.stage()?.brain().mixers().iter().copied().find(|mixer| self.is_there(mixer))
    }

    /// The host, if it lives.
    fn host(&self) -> Option<PeerId> {
        self.stage()?.brain().snapshot().host.filter(|host| self.is_there(host))
    }

    /// Hash of all outputs of all brains so far: 64 bits.
    pub fn trace(&self) -> u64 {
        u64::from_str_radix(&self.world.trace_hash(), 16).unwrap_or_default()
    }

    /// Violations of the protocol that the checkers have found so far.
    pub fn violations(&self) -> &[crate::checkers::Violation] {
        self.world.violations()
    }
}

/// Whether a viewer sees the program now.
fn sees(peer: &Peer, now: Time) -> bool {
    peer.views && peer.is_there() && peer.arrivals.last().is_some_and(|last| now.since(last) <= SEES_US)
}
