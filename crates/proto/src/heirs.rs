//! Host succession: makes an heir the host when the host is gone.
//!
//! The roster names the heirs in order. When nothing has arrived from the host for [`GONE_US`], the first
//! heir requests signatures from the stage, each further heir [`NEXT_HEIR_US`] later. A peer signs if it has
//! itself heard nothing from the host for nearly as long ([`MISSED_US`]) and knows no newer roster. Under one
//! number it signs for one heir only, so that no two heirs can reign. With a majority of the last roster the
//! heir is host. A minority gets no new host, and keeps its roster.

use crate::ordered::OrderedMap;

use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::message::{
    Heir, HostMessage, MemberMessage, REIGN_NUMBER_MAX, REIGNS_AHEAD_MAX, REIGNS_MAX, ROSTER_MAX, Reign,
    SignedRoster, reign_of,
};
use crate::outbox::Note;
use crate::seal::{Countersigned, Signature};
use crate::time::{SECOND, Time};
use crate::view::View;

/// Silence after which the host counts as gone. A guess: twice the silence that makes a peer away, and longer
/// than a change of network, because a new host is permanent.
const GONE_US: u64 = 10 * SECOND;
/// Silence of the host from which its rendezvous coming back may mean that the host has restarted. A guess: some
/// of its heartbeats.
const RESTARTED_US: u64 = 2 * SECOND;
/// Delay between the first requests of two successive heirs, and interval at which each repeats its request.
/// A guess.
const NEXT_HEIR_US: u64 = 4 * SECOND;
/// Interval at which a peer reports later reigns that it doesn't accept to the host. A guess: such a report has some
/// kilobytes.
const REPORT_EACH_US: u64 = 5 * SECOND;

type Chosen = Countersigned<Heir, ROSTER_MAX>;

/// Signatures that this peer collects as an heir.
#[derive(Debug)]
struct Candidacy {
    epoch: u32,
    heir: Heir,
    votes: OrderedMap<PeerId, Signature>,
}

/// State of this peer for host succession.
#[derive(Debug, Default)]
pub(crate) struct Heirs {
    /// The host, and the time of the last arrival from it.
    host: Option<(PeerId, Time)>,
    /// Heir that this peer signed for last, with the number of the reign.
    pledged: Option<Heir>,
    /// Highest number of a reign that a peer is known to have signed for.
    number: u32,
    claim: Option<Candidacy>,
    /// When this peer requests signatures, or repeats its request, unless the host is heard before.
    ask_at: Option<Time>,
    /// When this peer last sent the host a reign that it doesn't accept.
    reported_at: Option<Time>,
    /// This peer has refused a later reign since the last roster that it adopted.
    refused: bool,
}

/// Returns the numbers that the reign after the roster of an epoch may have.
fn numbers_after(epoch: u32) -> std::ops::RangeInclusive<u32> {
    let before = reign_of(epoch);
    before + 1..=REIGN_NUMBER_MAX.min(before + REIGNS_AHEAD_MAX)
}

impl Heirs {
    /// Records that something arrived from a peer.
    pub(crate) fn heard(&mut self, view: &View<'_>, peer: PeerId) {
        if let Some((host, at)) = &mut self.host
            && *host == peer
        {
            *at = view.now;
            self.claim = None;
            self.set_timer(view);
        }
    }

    /// Restarts the timeout on a newer roster, because its host was alive a moment ago.
    pub(crate) fn roster_changed(&mut self, view: &View<'_>) {
        self.host = view.stage.host().map(|host| (host, view.now));
        (self.claim, self.refused) = (None, false);
        self.set_timer(view);
    }

    /// Sets the time at which an heir requests signatures: after the host has gone silent and the earlier
    /// heirs have had their turn.
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

    /// Returns whether the host has been silent for `us` microseconds.
    fn is_silent(&self, view: &View<'_>, us: u64) -> bool {
        self.host.is_some_and(|(host, at)| host != view.me && view.now.since(at) >= us)
    }

    /// Returns whether the host has been silent for long enough that it may have restarted.
    pub(crate) fn misses_host(&self, view: &View<'_>) -> bool {
        self.is_silent(view, RESTARTED_US)
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
        if !numbers_after(epoch).contains(&number) {
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
                // a peer with an older roster can't judge the request
                view.out.send(entry.peer, MemberMessage::Roster(roster.clone()));
                view.out.send(entry.peer, HostMessage::ReignWanted { epoch, number });
            }
        }
        self.claim = Some(Candidacy { epoch, heir, votes });
        self.count(view);
    }

    /// Handles an heir's request for this peer's signature.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, epoch: u32, number: u32) {
        let Some(roster) = view.stage.signed().cloned() else { return };
        if roster.epoch > epoch {
            view.out.send(from, MemberMessage::Roster(roster)); // the heir repeats its request
            return;
        }
        let heir = Heir { number, host: from };
        let proper = view.on_stage() && roster.epoch == epoch && roster.body.heirs.contains(&from);
        let misses_host = view.stage.misses_host(view.now, view.me);
        if !proper || !numbers_after(epoch).contains(&number) || !misses_host {
            return;
        }
        let free = self.pledged.is_none_or(|pledged| pledged.number < number || pledged == heir);
        let signature = free.then(|| Chosen::countersign(view.keys, &view.config.room, epoch, &heir));
        if free {
            (self.number, self.pledged) = (self.number.max(number), Some(heir));
        }
        view.out.send(from, HostMessage::ReignVote { epoch, number, signature });
    }

    /// Handles a signature, or the notice that the peer has signed for another heir.
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
            // the next round uses the next number, for which no peer has signed yet
            None => (self.number, self.claim) = (number, None),
        }
        if self.claim.is_none() {
            self.pledged = self.pledged.map(|heir| Heir { number: heir.number.max(self.number), ..heir });
        }
    }

    /// Makes this peer the host if a majority has signed.
    fn count(&mut self, view: &mut View<'_>) {
        let Some((claim, under)) = self.claim.as_ref().zip(view.stage.signed()) else { return };
        let absent = view.stage.misses_host(view.now, view.me);
        if under.epoch != claim.epoch
            || view.stage.decides(claim.epoch, claim.votes.keys(), absent) != Some(true)
        {
            return;
        }
        let chosen = Chosen {
            epoch: claim.epoch,
            body: claim.heir,
            signatures: List::truncated(claim.votes.iter().map(|(peer, signature)| (*peer, *signature))),
        };
        let reign = Reign::Chosen { under: under.signed.clone(), chosen };
        (self.claim, self.ask_at) = (None, None);
        view.out.note(Note::Chosen(Box::new(reign)));
    }

    /// Sends the host a later reign that this peer doesn't accept: the host takes the room back from it, so that
    /// peers which were deceived by it follow the host again.
    pub(crate) fn report(&mut self, view: &mut View<'_>, rival: &SignedRoster) {
        self.refused = true;
        let soon = self.reported_at.is_some_and(|at| view.now.since(at) < REPORT_EACH_US);
        let host = view.stage.host().filter(|host| *host != view.me && *host != rival.body.host);
        if let Some(host) = host.filter(|_| !soon) {
            self.reported_at = Some(view.now);
            view.out.send(host, MemberMessage::Roster(rival.clone()));
        }
    }

    /// Asks the peer that is to feed this viewer for the state of the room, if the viewer has refused a later reign:
    /// its program may be made under that reign.
    pub(crate) fn ask_state(&mut self, view: &mut View<'_>, feeder: PeerId) {
        if self.refused && !view.on_stage() {
            let digest = crate::anti_entropy::digest(view, true);
            view.out.send(feeder, MemberMessage::Digest(digest));
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.ask_at
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        let votes = self.claim.as_ref().map_or(0, |claim| claim.votes.len());
        [Bound::new("votes for this peer as host", votes, ROSTER_MAX)]
    }
}
