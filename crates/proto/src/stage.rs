//! The stage as this peer knows it: rosters, written by membership and read by all other machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{Entry, Roster, SignedRoster, reign_of};

/// Maximum number of rosters kept, to judge ballots and outcomes that were signed while a peer joined. A
/// guess.
const EPOCHS_KEPT: usize = 16;

/// How the stage is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Mode {
    /// At most two speakers and no audience: each speaker sends to the other, and no peer mixes.
    #[default]
    Mesh,
    /// One speaker alone: the mixer numbers the speaker's frames as the program and decodes nothing.
    PassThrough,
    /// A mixer composes the program.
    Mixer,
}

/// The newest roster, and a few older rosters.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    signed: Option<SignedRoster>,
    kept: BTreeMap<u32, SignedRoster>,
    /// Candidates of the newest roster, cached because every input needs them.
    candidates: Vec<PeerId>,
}

impl Stage {
    /// Adopts a roster if it is newer than the present one, and returns whether it was. An older roster is
    /// only kept, because an outcome may name it.
    pub(crate) fn adopt(&mut self, roster: SignedRoster) -> bool {
        let newer = self.signed.as_ref().is_none_or(|known| roster.epoch > known.epoch);
        let epoch = roster.epoch;
        if newer {
            self.signed = Some(roster.clone());
            let mixes = self.present().filter(|entry| entry.mixes);
            let mut candidates: Vec<_> = mixes.map(|entry| entry.peer).collect();
            candidates.sort_unstable();
            self.candidates = candidates;
        }
        self.kept.entry(epoch).or_insert(roster);
        while self.kept.len() > EPOCHS_KEPT {
            let oldest = self.kept.keys().copied().find(|kept| *kept != epoch);
            oldest.and_then(|oldest| self.kept.remove(&oldest));
        }
        newer
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("rosters", self.kept.len(), EPOCHS_KEPT)]
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
        let wants_mixers = roster.mixers > 0 && !self.candidates.is_empty();
        match self.present().filter(|entry| entry.speaks).count() {
            0..=2 if !roster.audience && !wants_mixers => Mode::Mesh,
            1 => Mode::PassThrough,
            _ => Mode::Mixer,
        }
    }

    /// Returns whether the host has removed a peer.
    pub(crate) fn has_removed(&self, peer: &PeerId) -> bool {
        self.roster().is_some_and(|roster| roster.access.removed.contains(peer))
    }

    /// Returns whether a peer is on stage, or was by one of the last few rosters.
    pub(crate) fn was_on_stage(&self, peer: &PeerId) -> bool {
        self.contains(peer)
            || self.kept.values().any(|roster| roster.body.entries.iter().any(|entry| entry.peer == *peer))
    }

    /// Returns the roster of that epoch, if it is among the last few.
    pub(crate) fn at(&self, epoch: u32) -> Option<&SignedRoster> {
        self.kept.get(&epoch)
    }

    /// Returns whether `signers` are a majority of the roster of that epoch; `None` if that roster isn't
    /// known here.
    pub(crate) fn majority<'a>(&self, epoch: u32, signers: impl Iterator<Item = &'a PeerId>) -> Option<bool> {
        Some(self.at(epoch)?.body.is_majority(signers))
    }

    /// Returns the number of voters in the roster of that epoch; `None` if that roster isn't known here.
    pub(crate) fn voters(&self, epoch: u32) -> Option<usize> {
        Some(self.at(epoch)?.body.voters())
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
