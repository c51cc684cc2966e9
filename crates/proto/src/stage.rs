//! The stage as this peer knows it: written by membership, read by everyone else.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::message::{Entry, Roster, SignedRoster, reign_of};

/// How many rosters are kept, to judge a ballot or an outcome that was signed while someone joined.
const EPOCHS_KEPT: usize = 16;

/// How the stage is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Mode {
    /// At most two speakers and no audience: each sends to the other, nobody mixes.
    #[default]
    Mesh,
    /// One speaker alone: the mixer numbers its frames as the program and decodes nothing.
    PassThrough,
    /// A mixer composes.
    Mixer,
}

/// The newest roster, and the few before it.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    signed: Option<SignedRoster>,
    kept: BTreeMap<u32, SignedRoster>,
    /// Of the roster at hand: every input asks for them.
    candidates: Vec<PeerId>,
}

impl Stage {
    /// Takes a roster when it is newer than the one at hand. An older one is only kept: an outcome may name it.
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

    /// The roster's number; 0 before there is one.
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

    /// Everyone on stage who isn't away, in roster order.
    pub(crate) fn present(&self) -> impl Iterator<Item = &Entry> {
        self.entries().iter().filter(|entry| !entry.away)
    }

    /// Present speakers, in the order of their tiles.
    pub(crate) fn speakers(&self) -> Vec<&Entry> {
        let mut speakers: Vec<_> = self.present().filter(|entry| entry.speaks).collect();
        speakers.sort_by_key(|entry| entry.index);
        speakers
    }

    /// Present peers who consented to mix, in the order of their ids.
    pub(crate) fn candidates(&self) -> &[PeerId] {
        &self.candidates
    }

    pub(crate) fn mode(&self) -> Mode {
        let Some(roster) = self.roster() else { return Mode::Mesh };
        match self.present().filter(|entry| entry.speaks).count() {
            0..=2 if !roster.audience => Mode::Mesh,
            1 => Mode::PassThrough,
            _ => Mode::Mixer,
        }
    }

    /// The roster of that epoch, if it is one of the last few.
    pub(crate) fn at(&self, epoch: u32) -> Option<&SignedRoster> {
        self.kept.get(&epoch)
    }

    /// Whether `signers` are a majority of the roster of that epoch; `None` when that roster isn't known here.
    pub(crate) fn majority<'a>(&self, epoch: u32, signers: impl Iterator<Item = &'a PeerId>) -> Option<bool> {
        Some(self.at(epoch)?.body.is_majority(signers))
    }

    /// How many signatures count in the roster of that epoch.
    pub(crate) fn voters(&self, epoch: u32) -> Option<usize> {
        Some(self.at(epoch)?.body.voters())
    }

    /// Whether a host signed the roster of that epoch when it had been succeeded already.
    pub(crate) fn voids(&self, epoch: u32) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.reigns.voids(epoch))
    }

    /// The number of the present host's reign; 0 for the one with the root key.
    pub(crate) fn reign(&self) -> u32 {
        reign_of(self.epoch())
    }
}
