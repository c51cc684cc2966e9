//! The stage as this peer knows it: rosters, written by membership and read by all other machines.

use crate::ordered::{OrderedMap, OrderedSet};
use std::collections::VecDeque;

use serde::Serialize;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{Entry, Reign, Roster, Sharing, SignedRoster, Weight, reign_of};
use crate::time::{SECOND, Time};

/// Maximum number of rosters kept, to judge ballots and outcomes that were signed while a peer joined. A
/// guess.
const EPOCHS_KEPT: usize = 16;
/// Time for which a superseded roster still decides: outcomes and reigns under an older one are void, since peers
/// of that roster may have left long ago. A guess: longer than an election and most partitions.
const FRESH_US: u64 = 30 * SECOND;
/// Interval of the marks from which this peer knows which roster was its newest one 30 s ago; two more than cover
/// that time are kept.
const MARK_US: u64 = SECOND;
const MARKS_MAX: usize = (FRESH_US / MARK_US) as usize + 2;
/// Silence of the host from which a peer believes others that the host is gone: less than the silence after which an
/// heir asks for the room, because not every peer received the host's last message at the same time. A guess.
const MISSED_US: u64 = 8 * SECOND;
/// Silence of a host until which the one that the stage chose in its place neither ends the room nor removes peers nor
/// replaces the invite. A guess: as long as the silence after which heirs ask for the room.
pub(crate) const BOUND_US: u64 = 10 * SECOND;
/// Silence of the host after which a peer itself goes on without it: then the others believe it. A guess.
const LOST_US: u64 = MISSED_US + SECOND;

/// Maximum number of speakers that send to each other while nobody consents to mix. Each uploads its stream to all
/// others: three streams, as many as a page feeds children.
pub const MESH_SPEAKERS_MAX: usize = 4;

/// How the stage is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// At most two speakers and no audience, or nobody who mixes: the first four speakers send to each other.
    #[default]
    Mesh,
    /// One speaker alone, with one picture at most: the mixer numbers the speaker's frames as the program and decodes
    /// nothing.
    PassThrough,
    /// A mixer composes the program.
    Mixer,
}

/// Silence in which a host counts as gone, and so a reign that others began without it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// Whether this peer has missed its host for so long that it believes the host gone.
    pub(crate) of_host: bool,
    /// Whether this peer is host, and alone on stage since all others were silent for too long.
    pub(crate) of_all: bool,
}

/// A host that the stage has replaced.
#[derive(Clone, Copy, Debug)]
struct Replaced {
    /// The last arrival from it.
    heard: Time,
    /// When this peer took the first roster of its successor.
    at: Time,
}

/// The newest roster, and a few older rosters.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    signed: Option<SignedRoster>,
    kept: OrderedMap<u32, SignedRoster>,
    /// Candidates of the newest roster, cached because every input needs them.
    candidates: Vec<PeerId>,
    /// Epochs that were the newest one from these times on, oldest first, in steps of [`MARK_US`].
    marks: VecDeque<(Time, u32)>,
    /// Last arrival from the host, or of a newer roster.
    host_heard: Option<Time>,
    /// While a host reigns that the stage chose: the host that it replaced.
    replaced: Option<Replaced>,
    /// The newest roster by a host that the stage chose, which does more than that host may yet, and when it may.
    waiting: Option<(Time, SignedRoster)>,
}

impl Stage {
    /// Adopts a roster if it is newer than the present one, and returns whether it was. An older roster is
    /// only kept, because an outcome may name it.
    pub(crate) fn adopt(&mut self, now: Time, roster: SignedRoster) -> bool {
        let newer = self.signed.as_ref().is_none_or(|known| roster.epoch > known.epoch);
        let epoch = roster.epoch;
        if newer {
            self.mark(now, epoch);
            self.waiting = self.waiting.take().filter(|(_, waiting)| waiting.epoch > epoch);
            if self.signed.as_ref().is_none_or(|known| reign_of(known.epoch) != reign_of(epoch)) {
                let is_chosen = roster.reigns.0.last().is_some_and(Reign::is_chosen);
                let heard = self.host_heard.filter(|_| is_chosen);
                self.replaced = heard.map(|heard| Replaced { heard, at: now });
            }
            self.host_heard = Some(now);
            self.signed = Some(roster.clone());
            let mut candidates: Vec<_> = roster.body.candidates().map(|entry| entry.peer).collect();
            candidates.sort_unstable();
            self.candidates = candidates;
        }
        self.keep(roster);
        newer
    }

    /// Keeps a roster, which outcomes may name, without adopting it.
    pub(crate) fn keep(&mut self, roster: SignedRoster) {
        let epoch = roster.epoch;
        self.kept.entry(epoch).or_insert(roster);
        while self.kept.len() > EPOCHS_KEPT {
            let oldest = self.kept.keys().copied().find(|kept| *kept != epoch);
            oldest.and_then(|oldest| self.kept.remove(&oldest));
        }
    }

    fn mark(&mut self, now: Time, epoch: u32) {
        match self.marks.back_mut() {
            // what came before this peer was superseded before
            None => self.marks.push_back((Time(0), epoch)),
            Some((at, newest)) if *at != Time(0) && now.since(*at) < MARK_US => *newest = epoch,
            Some(_) => self.marks.push_back((now, epoch)),
        }
        let is_past = |at: Option<&(Time, u32)>| at.is_some_and(|(at, _)| now.since(*at) >= FRESH_US);
        while is_past(self.marks.get(1)) || self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// Returns whether the roster of that epoch is the newest known here, or was until less than [`FRESH_US`] ago.
    pub(crate) fn is_fresh(&self, now: Time, epoch: u32) -> bool {
        let past = self.marks.iter().rev().find(|(at, _)| now.since(*at) >= FRESH_US);
        let newest_then = past.or(self.marks.front()).map_or(0, |(_, epoch)| *epoch);
        epoch >= newest_then
    }

    /// Records that something arrived from a peer.
    pub(crate) fn heard(&mut self, now: Time, peer: PeerId) {
        if self.host() == Some(peer) {
            self.host_heard = Some(now);
        }
    }

    /// Returns whether nothing has arrived from the host for [`MISSED_US`].
    pub(crate) fn misses_host(&self, now: Time, me: PeerId) -> bool {
        self.misses_host_for(now, me, MISSED_US)
    }

    /// Whether a roster by a host that the stage chose ends the room, removes peers or replaces the invite although
    /// this peer has not missed its predecessor for [`BOUND_US`], which may return. Such a roster waits.
    pub(crate) fn defers(&mut self, now: Time, me: &PeerId, roster: &SignedRoster) -> bool {
        let Some(known) = &self.signed else { return false };
        let before = &known.body.rules.access;
        let access = &roster.body.rules.access;
        let acts = (access.ended && !before.ended)
            || access.generation != before.generation
            || access.removed.iter().any(|peer| !before.removed.contains(peer));
        let is_chosen = roster.reigns.0.last().is_some_and(Reign::is_chosen);
        if !acts || !is_chosen {
            return false;
        }
        let is_anew = reign_of(known.epoch) != reign_of(roster.epoch);
        let on_stage = known.body.entries.iter().any(|entry| entry.peer == *me);
        // a viewer hears of the host by rosters alone, so it counts from the first one of the new reign
        let missed_since = match (&self.replaced, on_stage) {
            (_, true) if is_anew => self.host_heard,
            (_, false) if is_anew => Some(now),
            (Some(replaced), true) => Some(replaced.heard),
            (Some(replaced), false) => Some(replaced.at),
            (None, _) => None,
        };
        let due = missed_since.map_or(now, |at| at + BOUND_US);
        if due <= now {
            return false;
        }
        if self.waiting.as_ref().is_none_or(|(_, waiting)| waiting.epoch < roster.epoch) {
            self.waiting = Some((due, roster.clone()));
        }
        true
    }

    /// Returns the roster that has waited for long enough.
    pub(crate) fn take_waiting(&mut self, now: Time) -> Option<SignedRoster> {
        self.waiting.take_if(|(due, _)| *due <= now).map(|(_, roster)| roster)
    }

    pub(crate) fn waits_until(&self) -> Option<Time> {
        self.waiting.as_ref().map(|(due, _)| *due)
    }

    /// Returns the last arrival from the host.
    pub(crate) fn host_heard(&self) -> Option<Time> {
        self.host_heard
    }

    /// Returns when this peer will have heard nothing from the host for [`MISSED_US`]; `None` without a host, and for
    /// the host.
    pub(crate) fn misses_host_at(&self, me: PeerId) -> Option<Time> {
        self.host_heard.filter(|_| self.host() != Some(me)).map(|at| at + MISSED_US)
    }

    fn misses_host_for(&self, now: Time, me: PeerId, us: u64) -> bool {
        self.host_heard.is_none_or(|at| now.since(at) >= us) && self.host() != Some(me)
    }

    /// Returns whether a roster counts: a roster of the same reign, or of an earlier host in its chain; or of a later
    /// reign that the root key or the host known here began, or a majority of a roster that still counts.
    pub(crate) fn accepts(&self, now: Time, roster: &SignedRoster, root: &PeerId, silence: Silence) -> bool {
        let Some(known) = &self.signed else { return true };
        let (reign, its) = (reign_of(known.epoch), reign_of(roster.epoch));
        if its == reign {
            return roster.sender == known.sender;
        }
        if its < reign {
            let of_line = |earlier: &Reign| earlier.number() == its && earlier.host() == roster.sender;
            return its == 0 || known.reigns.0.iter().any(of_line);
        }
        let reigns = &roster.reigns.0;
        let by_root =
            reigns.iter().rposition(|reign| reign.is_by(root)).filter(|at| reigns[*at].number() > reign);
        let later = match by_root {
            Some(at) => &reigns[at + 1..],
            None => {
                let first = reigns.iter().position(|later| later.number() > reign).unwrap_or(reigns.len());
                let (Some(first), later) = (reigns.get(first), &reigns[first.min(reigns.len())..]) else {
                    return false;
                };
                let begun = match first {
                    Reign::Named { named } => named.sender == known.sender,
                    Reign::Chosen { under, .. } => {
                        self.is_fresh(now, under.epoch)
                            || (silence.of_all && self.kept.contains_key(&under.epoch))
                    }
                };
                if !begun {
                    return false;
                }
                later
            }
        };
        later.iter().all(|reign| silence.of_host || reign.weight() == Weight::Majority)
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("rosters", self.kept.len(), EPOCHS_KEPT),
            Bound::new("marks of newest rosters", self.marks.len(), MARKS_MAX),
        ]
    }

    pub(crate) fn signed(&self) -> Option<&SignedRoster> {
        self.signed.as_ref()
    }

    pub(crate) fn roster(&self) -> Option<&Roster> {
        self.signed.as_ref().map(|signed| &signed.body)
    }

    /// Returns the epoch of the newest roster; 0 before there is one.
    pub(crate) fn epoch(&self) -> u32 {
        self.signed.as_ref().map_or(0, |signed| signed.epoch)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.roster().map_or(&[], |roster| &roster.entries)
    }

    pub(crate) fn entry(&self, peer: &PeerId) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.peer == *peer)
    }

    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.entry(peer).is_some()
    }

    pub(crate) fn host(&self) -> Option<PeerId> {
        self.roster().map(|roster| roster.host)
    }

    /// Returns the peers on stage that aren't away, in roster order.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Entry> {
        self.entries().iter().filter(|entry| !entry.away)
    }

    /// Returns the present speakers in the order of their tiles.
    pub(crate) fn speakers(&self) -> Vec<&Entry> {
        let mut speakers: Vec<_> = self.present().filter(|entry| entry.speaks).collect();
        speakers.sort_by_key(|entry| entry.index);
        speakers
    }

    /// Returns the present peers that consent to mix, in the order of their ids.
    pub(crate) fn candidates(&self) -> &[PeerId] {
        &self.candidates
    }

    pub(crate) fn mode(&self) -> Mode {
        let Some(roster) = self.roster() else { return Mode::Mesh };
        let speaking = || self.present().filter(|entry| entry.speaks);
        match speaking().count() {
            _ if self.candidates.is_empty() => Mode::Mesh,
            0..=2 if !roster.audience && roster.rules.mixers == 0 => Mode::Mesh,
            1 if speaking().all(|entry| entry.shares != Sharing::Beside) => Mode::PassThrough,
            _ => Mode::Mixer,
        }
    }

    /// Returns the present speakers that send to each other in a mesh, in the order of their tiles.
    pub(crate) fn meshed(&self) -> impl Iterator<Item = PeerId> {
        self.speakers().into_iter().take(MESH_SPEAKERS_MAX).map(|entry| entry.peer)
    }

    /// Returns whether peers of the room get nothing because nobody consents to mix: an audience, or speakers beyond
    /// those of a mesh.
    pub(crate) fn misses_mixer(&self) -> bool {
        let has_audience = self.roster().is_some_and(|roster| roster.audience);
        self.candidates.is_empty() && (has_audience || self.speakers().len() > MESH_SPEAKERS_MAX)
    }

    /// Returns whether the host has marked a peer as an agent, which gets each speaker's sound apart.
    pub(crate) fn is_agent(&self, peer: &PeerId) -> bool {
        self.roster().is_some_and(|roster| roster.rules.access.agents.contains(peer))
    }

    /// Returns whether the host has removed a peer.
    pub(crate) fn has_removed(&self, peer: &PeerId) -> bool {
        self.roster().is_some_and(|roster| roster.rules.access.removed.contains(peer))
    }

    /// Returns whether a peer is on stage, or was by one of the last few rosters.
    pub(crate) fn was_on_stage(&self, peer: &PeerId) -> bool {
        self.contains(peer)
            || self.kept.values().any(|roster| roster.body.entries.iter().any(|entry| entry.peer == *peer))
    }

    /// Returns whether a peer is the host, or was by the reigns of the last few rosters.
    pub(crate) fn has_hosted(&self, peer: &PeerId) -> bool {
        let mut rosters = self.signed().into_iter().chain(self.kept.values());
        rosters.any(|roster| {
            roster.body.host == *peer || roster.reigns.0.iter().any(|reign| reign.involves(peer))
        })
    }

    /// Returns the absent hosts that the stage has replaced by `me`, if that peer is host.
    pub(crate) fn replaced_hosts(&self, me: &PeerId) -> OrderedSet<PeerId> {
        let hosted = self.signed().filter(|roster| roster.body.host == *me);
        let replaced =
            hosted.into_iter().flat_map(|roster| roster.reigns.superseded()).map(|before| before.body.host);
        replaced.filter(|host| host != me && self.present().all(|entry| entry.peer != *host)).collect()
    }

    /// Returns the roster of that epoch, if it is among the last few.
    pub(crate) fn at(&self, epoch: u32) -> Option<&SignedRoster> {
        self.kept.get(&epoch)
    }

    /// Returns whether `signers` decide for the roster of that epoch: a majority, or a majority without the host where
    /// that is believed to be gone (`absent`). `None` if that roster isn't known here.
    pub(crate) fn decides<'a>(
        &self,
        epoch: u32,
        signers: impl Iterator<Item = &'a PeerId>,
        absent: bool,
    ) -> Option<bool> {
        Some(match self.at(epoch)?.body.weigh(signers) {
            Weight::Majority => true,
            Weight::WithoutHost => absent,
            Weight::Few => false,
        })
    }

    /// Returns whether the signatures that this peer has collected suffice: signers that decide and are a majority of
    /// all peers; or, once it is `late`, signers that decide. Few voters don't suffice while most peers of the newest
    /// roster are away: then this side is cut off.
    pub(crate) fn suffices(
        &self,
        epoch: u32,
        signers: &[PeerId],
        (now, me): (Time, PeerId),
        late: bool,
    ) -> bool {
        let decides =
            self.decides(epoch, signers.iter(), self.misses_host_for(now, me, LOST_US)) == Some(true);
        let all = self.at(epoch).is_some_and(|at| at.body.is_majority_of_all(signers.iter()));
        let stands = |roster: &Roster| !roster.needs_host() || roster.is_mostly_present();
        decides && (all || (late && self.roster().is_some_and(stands)))
    }

    /// Returns the number of peers in the roster of that epoch, and the number of its voters; `None` if that roster
    /// isn't known here.
    pub(crate) fn size(&self, epoch: u32) -> Option<(usize, usize)> {
        let roster = &self.at(epoch)?.body;
        Some((roster.entries.len(), roster.voters()))
    }

    /// Returns whether the host signed: of the newest roster, or of the roster of that epoch.
    pub(crate) fn is_host_of(&self, epoch: u32, signer: &PeerId) -> bool {
        let rosters = self.at(epoch).into_iter().chain(&self.signed);
        rosters.into_iter().any(|roster| roster.body.host == *signer)
    }

    /// Returns whether this key signs rosters now, or signed the roster of that epoch.
    pub(crate) fn is_key_of(&self, epoch: u32, signer: &PeerId) -> bool {
        let rosters = self.at(epoch).into_iter().chain(&self.signed);
        rosters.into_iter().any(|roster| roster.sender == *signer)
    }

    /// Returns whether the roster of that epoch was signed by a host that had been succeeded already.
    pub(crate) fn voids(&self, epoch: u32) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.reigns.voids(epoch))
    }

    /// Returns the number of the present host's reign; 0 for the host with the root key.
    pub(crate) fn reign(&self) -> u32 {
        reign_of(self.epoch())
    }
}
