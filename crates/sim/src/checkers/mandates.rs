//! Checks mandates: one outcome per term, one set of mixers per rank, no failover without the right to it, no
//! rank that goes backward.

use std::collections::BTreeMap;

use plenary_proto::{Event, PeerId, Rank};

use super::Found;
use crate::world::World;

/// Outcome of a vote.
#[derive(Debug)]
struct Voted {
    mixers: Vec<PeerId>,
    standbys: Vec<PeerId>,
    by: PeerId,
}

/// State of one peer at its last check.
#[derive(Debug, Default)]
struct Followed {
    events: usize,
    rank: Rank,
    withdrawn: usize,
    epoch: u32,
}

/// All outcomes, ranks and rosters that any peer ever accepted, including peers that have died or left since.
#[derive(Debug, Default)]
pub(super) struct Mandates {
    followed: Vec<Followed>,
    terms: BTreeMap<u32, Voted>,
    ranks: BTreeMap<Rank, (PeerId, Vec<PeerId>)>,
    rosters: BTreeMap<u32, (PeerId, [u8; 32])>,
}

impl Mandates {
    /// Checks a peer that has changed.
    pub(super) fn changed(&mut self, world: &World, at: usize, found: &mut Found) {
        while self.followed.len() <= at {
            self.followed.push(Followed::default());
        }
        let (events, told) = world.events_since(world.id(at), self.followed[at].events);
        self.followed[at].events = told;
        let mut withdrawn = 0;
        for (_, event) in events {
            match event {
                Event::Elected { term, mixers, standbys, .. } => {
                    let by = world.id(at);
                    self.decided(
                        world,
                        *term,
                        Voted { mixers: mixers.clone(), standbys: standbys.clone(), by },
                        found,
                    );
                }
                Event::Failover { rank, peer, .. } => self.failed_over(world, at, *rank, *peer, found),
                Event::Withdrawn { .. } => withdrawn += 1,
                Event::NotesDropped { notes } => {
                    let what = format!("{:?} drops {notes} notes, which had no end", world.id(at));
                    found.say(world.now(), "notes-end", what);
                }
                _ => {}
            }
        }
        self.followed[at].withdrawn += withdrawn;
        self.rank(world, at, withdrawn > 0, found);
        self.roster(world, at, found);
    }

    /// Checks that all peers accept the same outcome for a term.
    fn decided(&mut self, world: &World, term: u32, told: Voted, found: &mut Found) {
        let first = self.terms.entry(term).or_insert_with(|| Voted {
            mixers: told.mixers.clone(),
            standbys: told.standbys.clone(),
            by: told.by,
        });
        if (&first.mixers, &first.standbys) != (&told.mixers, &told.standbys) {
            let what = format!(
                "term {term}: {:?} takes {:?} before {:?}, {:?} takes {:?} before {:?}",
                first.by, first.mixers, first.standbys, told.by, told.mixers, told.standbys
            );
            found.say(world.now(), "one-outcome", what);
        }
    }

    /// Checks that only a standby or mixer of the term took over.
    fn failed_over(&self, world: &World, at: usize, rank: Rank, peer: PeerId, found: &mut Found) {
        let right = self
            .terms
            .get(&rank.term)
            .is_some_and(|voted| voted.standbys.contains(&peer) || voted.mixers.contains(&peer));
        if !right {
            let what = format!("{:?} takes {peer:?} for {rank}, which stood by for nobody", world.id(at));
            found.say(world.now(), "right", what);
        }
    }

    /// Checks that a peer's rank only decreases by a withdrawn failover, and that all peers at a rank have
    /// the same mixers.
    fn rank(&mut self, world: &World, at: usize, withdrawn: bool, found: &mut Found) {
        let brain = world.peers[at].brain();
        let (rank, told) = (brain.rank(), brain.mixers());
        let before = std::mem::replace(&mut self.followed[at].rank, rank);
        if rank < before && !withdrawn {
            let what = format!("{:?} goes back from {before} to {rank}", world.id(at));
            found.say(world.now(), "monotone", what);
        }
        if rank.term == 0 {
            return; // at term 0 the mixer is the acting mixer that the roster names
        }
        let (first, mixers) = self.ranks.entry(rank).or_insert_with(|| (world.id(at), told.to_vec()));
        if mixers != told {
            let what = format!("{rank}: {first:?} says {mixers:?}, {:?} says {told:?}", world.id(at));
            found.say(world.now(), "one-outcome", what);
        }
    }

    /// Checks that an epoch denotes one roster only.
    fn roster(&mut self, world: &World, at: usize, found: &mut Found) {
        let Some((epoch, roster)) = world.roster(at).filter(|(epoch, _)| *epoch != self.followed[at].epoch)
        else {
            return;
        };
        self.followed[at].epoch = epoch;
        let hash = *blake3::hash(format!("{roster:?}").as_bytes()).as_bytes();
        let (first, known) = *self.rosters.entry(epoch).or_insert((world.id(at), hash));
        if known != hash {
            let what = format!("epoch {epoch} is another one at {first:?} than at {:?}", world.id(at));
            found.say(world.now(), "one-roster", what);
        }
    }
}

impl World {
    /// A brain's epoch and roster, which no body sees.
    pub(super) fn roster(&self, at: usize) -> Option<(u32, &plenary_proto::message::Roster)> {
        let brain = self.peers[at].brain();
        Some((brain.epoch(), brain.roster()?))
    }
}
