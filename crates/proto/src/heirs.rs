//! Who becomes host when the host is gone.
//!
//! The roster names heirs, in order. When nothing has come from the host for [`GONE_US`], the first of them asks the
//! stage for its signatures, each further one [`NEXT_HEIR_US`] later. Whoever hasn't heard the host for nearly as
//! long itself, and knows no newer roster, signs; for one heir only under one number, so two can't both reign. With
//! a majority of the last roster the heir is host. A minority gets no new host: its roster stays as it is.

use std::collections::BTreeMap;

use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::message::{Heir, Message, REIGN_NUMBER_MAX, REIGNS_MAX, ROSTER_MAX, Reign, reign_of};
use crate::outbox::{Note, View};
use crate::seal::{Countersigned, Signature};
use crate::time::{SECOND, Time};

/// A host that wasn't heard for so long is gone. A guess: twice what makes a peer away, and longer than a change of
/// network, since a new host is for good.
const GONE_US: u64 = 10 * SECOND;
/// What a signer hasn't heard for this long it misses too: not everyone heard the host's last word at one time.
const MISSED_US: u64 = 8 * SECOND;
/// The next heir asks so much later, and each asks again so often.
const NEXT_HEIR_US: u64 = 4 * SECOND;

type Chosen = Countersigned<Heir, ROSTER_MAX>;

/// Signatures that this peer collects.
#[derive(Debug)]
struct Candidacy {
    epoch: u32,
    heir: Heir,
    votes: BTreeMap<PeerId, Signature>,
}

/// This peer's part in who is host next.
#[derive(Debug, Default)]
pub(crate) struct Heirs {
    /// The host, and when anything came from it last.
    host: Option<(PeerId, Time)>,
    /// Whom we signed for last, and under which number.
    pledged: Option<Heir>,
    /// The highest number that somebody has signed for.
    number: u32,
    claim: Option<Candidacy>,
    /// When this peer asks (again), if the host isn't heard meanwhile.
    ask_at: Option<Time>,
}

impl Heirs {
    /// Something came from a peer.
    pub(crate) fn heard(&mut self, view: &View<'_>, peer: PeerId) {
        if let Some((host, at)) = &mut self.host
            && *host == peer
        {
            *at = view.now;
            self.claim = None;
            self.set_timer(view);
        }
    }

    /// A newer roster is in force: its host was there a moment ago.
    pub(crate) fn roster_changed(&mut self, view: &View<'_>) {
        self.host = view.stage.host().map(|host| (host, view.now));
        self.claim = None;
        self.set_timer(view);
    }

    /// An heir asks once the host is gone and those before it have had their turn.
    fn set_timer(&mut self, view: &View<'_>) {
        let turn =
            view.stage.roster().and_then(|roster| roster.heirs.iter().position(|heir| *heir == view.me));
        let may = view.stage.signed().is_some_and(|signed| signed.reigns.0.len() < REIGNS_MAX);
        self.ask_at = match (self.host, turn) {
            (Some((host, at)), Some(turn)) if host != view.me && may => {
                Some(at + GONE_US + turn as u64 * NEXT_HEIR_US)
            }
            _ => None,
        };
    }

    /// Whether the host has been silent for so long.
    fn is_silent(&self, view: &View<'_>, us: u64) -> bool {
        self.host.is_some_and(|(host, at)| host != view.me && view.now.since(at) >= us)
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        if self.ask_at.is_none_or(|at| at > view.now) || !self.is_silent(view, GONE_US) {
            return;
        }
        self.ask_at = Some(view.now + NEXT_HEIR_US);
        let Some(roster) = view.stage.signed().cloned() else { return };
        let epoch = roster.epoch;
        let above = self.number.max(reign_of(epoch)) + 1;
        let mine = self.pledged.filter(|heir| heir.host == view.me && heir.number == self.number);
        let number = mine.map_or(above, |heir| heir.number);
        if number > REIGN_NUMBER_MAX {
            return;
        }
        let heir = Heir { number, host: view.me };
        (self.number, self.pledged) = (number, Some(heir));
        let kept = self.claim.take().filter(|claim| (claim.epoch, claim.heir) == (epoch, heir));
        let mut votes = kept.map(|claim| claim.votes).unwrap_or_default();
        let sign = || Chosen::countersign(view.keys, &view.config.room, epoch, &heir);
        votes.entry(view.me).or_insert_with(sign);
        for entry in view.stage.present() {
            if !votes.contains_key(&entry.peer) {
                view.out.send(entry.peer, Message::Roster(roster.clone())); // whoever is behind can't judge
                view.out.send(entry.peer, Message::ReignWanted { epoch, number });
            }
        }
        self.claim = Some(Candidacy { epoch, heir, votes });
        self.count(view);
    }

    /// An heir asks for our signature.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, epoch: u32, number: u32) {
        let Some(roster) = view.stage.signed().cloned() else { return };
        if roster.epoch > epoch {
            view.out.send(from, Message::Roster(roster)); // it asks again by itself
            return;
        }
        let heir = Heir { number, host: from };
        let numbers = reign_of(epoch) + 1..=REIGN_NUMBER_MAX;
        let proper = view.on_stage() && roster.epoch == epoch && roster.body.heirs.contains(&from);
        if !proper || !numbers.contains(&number) || !self.is_silent(view, MISSED_US) {
            return;
        }
        let free = self.pledged.is_none_or(|pledged| pledged.number < number || pledged == heir);
        let signature = free.then(|| Chosen::countersign(view.keys, &view.config.room, epoch, &heir));
        if free {
            (self.number, self.pledged) = (self.number.max(number), Some(heir));
        }
        view.out.send(from, Message::ReignVote { epoch, number, signature });
    }

    /// A signature has come, or word that it was given to another.
    pub(crate) fn vote(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        (epoch, number): (u32, u32),
        signature: Option<Signature>,
    ) {
        let Some(claim) = &mut self.claim else { return };
        if (claim.epoch, claim.heir.number) != (epoch, number) || !view.stage.contains(&from) {
            return;
        }
        match signature {
            Some(signature) => {
                let room = &view.config.room;
                if Chosen::verify_one(room, epoch, &claim.heir, &from, &signature).is_ok() {
                    claim.votes.insert(from, signature);
                    self.count(view);
                }
            }
            // the next round is under the next number, where nobody has signed yet
            None => (self.number, self.claim) = (number, None),
        }
        if self.claim.is_none() {
            self.pledged = self.pledged.map(|heir| Heir { number: heir.number.max(self.number), ..heir });
        }
    }

    /// With a majority this peer is host.
    fn count(&mut self, view: &mut View<'_>) {
        let Some((claim, under)) = self.claim.as_ref().zip(view.stage.signed()) else { return };
        if under.epoch != claim.epoch || !under.body.is_majority(claim.votes.keys()) {
            return;
        }
        let chosen = Chosen {
            epoch: claim.epoch,
            body: claim.heir,
            signatures: List::truncated(claim.votes.iter().map(|(peer, signature)| (*peer, *signature))),
        };
        let reign = Reign { under: under.signed.clone(), chosen };
        (self.claim, self.ask_at) = (None, None);
        view.out.note(Note::Chosen(Box::new(reign)));
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.ask_at
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        let votes = self.claim.as_ref().map_or(0, |claim| claim.votes.len());
        [Bound::new("votes for us as host", votes, ROSTER_MAX)]
    }
}
