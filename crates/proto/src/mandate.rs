//! Who mixes, by whose authority.
//!
//! In term 0 the roster names an acting mixer; after that a majority-signed outcome does, and within its term a
//! standby may take over, regency by regency. A peer follows the highest rank it has proof of; a rank without
//! proof is ignored. Written here, read by everyone.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::bounded::Bound;
use crate::id::{PeerId, Rank, StreamKind, StreamSpec};
use crate::io::{Event, Output};
use crate::message::{Alive, Decided, Outcome, SignedRoster, TakeOver};
use crate::mutation::{Mutated, Mutation};
use crate::outbox::{Note, Outbox};
use crate::roster::Stage;
use crate::score::Tally;
use crate::seal::Signed;

/// How many past ranks' mixers are remembered, so that their streams are known while they end.
const RANKS_KEPT: usize = 32;

/// The mixers in force, and the proof.
#[derive(Debug, Default)]
pub(crate) struct Mandate {
    pub(crate) rank: Rank,
    pub(crate) mixers: Vec<PeerId>,
    pub(crate) standbys: Vec<PeerId>,
    pub(crate) decided: Option<Decided>,
    /// The roster that its signatures count in: without it, it proves nothing to a newcomer.
    under: Option<SignedRoster>,
    pub(crate) take_over: Option<Signed<TakeOver>>,
    /// The term of the last election ended with its mixer leaving, or falling silent.
    pub(crate) polite: bool,
    makers: VecDeque<(Rank, PeerId)>,
    /// An outcome under a roster that hasn't come yet.
    early: Option<Decided>,
    /// The last regency that was withdrawn, which is not taken again, nor are lower ones of its term; and the
    /// proof.
    withdrawn: Rank,
    pub(crate) alive: Option<Signed<Alive>>,
    /// The rule that this brain breaks: here, where every machine sees it.
    pub(crate) mutated: Mutated,
}

impl Mandate {
    /// Whether a stream of the program is by whoever may make it. A mixer that was voted in again goes on with
    /// the stream it began under an earlier rank.
    pub(crate) fn allows(&self, spec: &StreamSpec) -> bool {
        let in_force = spec.rank <= self.rank && self.mixers.contains(&spec.maker);
        spec.kind == StreamKind::Program && (in_force || self.makers.contains(&(spec.rank, spec.maker)))
    }

    /// Whether a peer mixes, or did under one of the last few ranks.
    pub(crate) fn has_mixed(&self, peer: &PeerId) -> bool {
        self.makers.iter().any(|(_, maker)| maker == peer)
    }

    /// The mixers that a vote, or a standby's right, put in force: whom an election had better keep.
    pub(crate) fn sitting(&self) -> &[PeerId] {
        if self.rank.term == 0 { &[] } else { &self.mixers }
    }

    /// The mixer that fell silent last in this term: it is on the roster until its host finds that it is gone.
    pub(crate) fn lost(&self) -> Option<PeerId> {
        let take_over = &self.take_over.as_ref()?.body;
        (!take_over.polite).then_some(take_over.over)
    }

    /// The roster of the last election, if it is older than that of `epoch`.
    pub(crate) fn under_before(&self, epoch: u32) -> Option<&SignedRoster> {
        self.under.as_ref().filter(|under| under.epoch < epoch)
    }

    /// The last regency that its mixer has denied.
    pub(crate) fn withdrawn(&self) -> Rank {
        self.withdrawn
    }

    /// Standby 1.
    pub(crate) fn standby(&self) -> Option<PeerId> {
        self.standbys.first().copied()
    }

    /// The lead mixer.
    pub(crate) fn lead(&self) -> Option<PeerId> {
        self.mixers.first().copied()
    }

    /// A roster has come: it names the acting mixer of term 0, and may be the one an outcome waited for. What was decided
    /// under a host that had been succeeded never was.
    pub(crate) fn roster_changed(&mut self, out: &mut Outbox, stage: &Stage) {
        if self.decided.as_ref().is_some_and(|decided| stage.voids(decided.epoch)) {
            let (makers, mutated) = (std::mem::take(&mut self.makers), self.mutated);
            *self = Mandate { makers, mutated, ..Mandate::default() };
        }
        if self.rank == Rank::default()
            && let Some(roster) = stage.roster()
        {
            let acting: Vec<_> = roster.acting.into_iter().collect();
            if self.mixers != acting {
                self.mixers = acting;
                self.remember(out);
            }
        }
        if let Some(early) = self.early.take() {
            self.decide(out, stage, early, Vec::new());
        }
    }

    /// Takes an outcome, if a majority of its roster signed it and its term is new.
    pub(crate) fn decide(
        &mut self,
        out: &mut Outbox,
        stage: &Stage,
        decided: Decided,
        tallies: Vec<Tally>,
    ) -> bool {
        let Outcome { term, mixers, standbys, .. } = &decided.body;
        let doubled = mixers.iter().any(|mixer| standbys.contains(mixer));
        let again = *term == self.rank.term && self.mutated.is(Mutation::RunsBack);
        let kept = self.rank.term > 0 && self.mutated.is(Mutation::KeepsItsMixer);
        let follows = again || self.yields_to(stage, &decided);
        if stage.voids(decided.epoch) || kept || !follows || mixers.is_empty() || doubled {
            return false;
        }
        let signers = decided.signatures.iter().map(|(signer, _)| signer);
        match stage.majority(decided.epoch, signers) {
            None if decided.epoch > stage.epoch() => {
                self.early = Some(decided);
                return false;
            }
            Some(true) => {}
            _ => return false,
        }
        self.rank = Rank { term: decided.body.term, regency: 0 };
        self.mixers = decided.body.mixers.to_vec();
        self.standbys = decided.body.standbys.to_vec();
        if self.mutated.is(Mutation::ConfusesOutcome) {
            std::mem::swap(&mut self.mixers, &mut self.standbys);
        }
        self.take_over = None;
        self.alive = None;
        out.event(Event::Decided {
            term: decided.body.term,
            reason: decided.body.reason,
            signatures: decided.signatures.len(),
            roster: stage.voters(decided.epoch).unwrap_or(0),
            mixers: self.mixers.clone(),
            standbys: self.standbys.clone(),
            tallies,
        });
        self.under = stage.at(decided.epoch).cloned();
        self.decided = Some(decided);
        self.remember(out);
        true
    }

    /// Whether an outcome comes before the one in force: by a higher term; or two halves of a room that couldn't
    /// hear each other have each decided the same term, and it is the one with more voters, or else with less
    /// in its evidence's bytes, so that all take the same.
    fn yields_to(&self, stage: &Stage, decided: &Decided) -> bool {
        let weight = |of: &Decided| (stage.voters(of.epoch), Reverse(of.body.evidence));
        match &self.decided {
            Some(known) if known.body.term == decided.body.term => {
                known.body.evidence != decided.body.evidence && weight(known) < weight(decided)
            }
            _ => decided.body.term > self.rank.term,
        }
    }

    /// Whether a take-over is by the standby it must be by, and next in order.
    pub(crate) fn may_take_over(&self, take_over: &Signed<TakeOver>) -> bool {
        let TakeOver { rank, over, .. } = take_over.body;
        rank.term == self.rank.term
            && rank > self.rank
            && rank > self.withdrawn
            && (self.standbys.contains(&take_over.sender) || self.mutated.is(Mutation::LetsAnyoneTakeOver))
            && self.mixers.contains(&over)
    }

    /// Takes a take-over, if it is proper.
    pub(crate) fn take_over(&mut self, out: &mut Outbox, take_over: Signed<TakeOver>) -> bool {
        if !self.may_take_over(&take_over) {
            return false;
        }
        let TakeOver { rank, over, polite } = take_over.body;
        self.rank = rank;
        self.polite = polite;
        self.standbys.retain(|standby| *standby != take_over.sender);
        for mixer in &mut self.mixers {
            if *mixer == over {
                *mixer = take_over.sender;
            }
        }
        out.event(Event::TakenOver { rank, peer: take_over.sender, polite });
        self.take_over = Some(take_over);
        self.remember(out);
        true
    }

    /// A mixer that was taken over says that it lives: the regency ends, the mixer is back in force. It may say
    /// so before the take-over has come here; then that is not taken at all.
    pub(crate) fn alive(&mut self, out: &mut Outbox, alive: Signed<Alive>) -> bool {
        let Alive { rank, denied } = alive.body;
        let proper = self.makers.contains(&(rank, alive.sender))
            && rank.term == self.rank.term
            && (rank < denied && denied > self.withdrawn && denied <= self.next_regency());
        if !proper {
            return false;
        }
        self.withdrawn = denied;
        let mixer = alive.sender;
        self.alive = Some(alive);
        let denies = |take_over: &mut Signed<TakeOver>| {
            let TakeOver { rank, over, polite } = take_over.body;
            rank == denied && over == mixer && !polite
        };
        if let Some(take_over) = self.take_over.take_if(denies) {
            let regent = take_over.sender;
            self.rank = rank;
            for mixing in &mut self.mixers {
                if *mixing == regent {
                    *mixing = mixer;
                }
            }
            self.standbys.insert(0, regent);
            out.event(Event::Withdrawn { rank: denied, peer: regent });
            self.remember(out);
        }
        true
    }

    /// The rank of the next take-over.
    pub(crate) fn next_regency(&self) -> Rank {
        let newest =
            if self.withdrawn.term == self.rank.term { self.withdrawn.max(self.rank) } else { self.rank };
        Rank { term: newest.term, regency: newest.regency.saturating_add(1) }
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("past ranks' mixers", self.makers.len(), RANKS_KEPT)]
    }

    fn remember(&mut self, out: &mut Outbox) {
        for mixer in &self.mixers {
            let maker = (self.rank, *mixer);
            if !self.makers.contains(&maker) {
                self.makers.push_back(maker);
            }
        }
        while self.makers.len() > RANKS_KEPT {
            self.makers.pop_front();
        }
        out.act(Output::Mandate(self.rank));
        out.note(Note::Mandate);
    }
}
