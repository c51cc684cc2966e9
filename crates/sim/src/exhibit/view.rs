//! The state of an exhibit as bytes, little endian: [`HEADER_WORDS`] words of four bytes, then [`PEER_BYTES`] for each
//! peer of the plan.
//!
//! Words: version of this layout; time in ms; number of peers; living viewers; viewers that see the program; term;
//! failovers so far; whether the rendezvous is up; continent that is cut off, or 0xffff_ffff; the latest act, or
//! 0xffff_ffff; viewers that lost the program by it; those that see it again; time until half of these did, ms; until
//! the last did, ms; whether that observation is over.
//!
//! Bytes of a peer: index in the plan of the peer that feeds it, at a speaker of the mixer that it sends to, or 0xffff
//! (two bytes); continent; role (0 viewer, 1 speaker, 2 candidate, 3 standby, 4 mixer); state (0 not there yet, 1
//! there, 2 dead, 3 left); flags (1 sees the program, 2 wants it, 4 host, 8 cut off).

use std::collections::BTreeSet;

use plenary_proto::PeerId;
use plenary_proto::time::MS;

use super::{Exhibit, cast, sees};
use crate::peer::Peer;
use crate::plan::Kind;

/// Version of the layout.
const VERSION: u32 = 1;
/// Number of words of the header.
pub const HEADER_WORDS: usize = 15;
/// Number of bytes of each peer.
pub const PEER_BYTES: usize = 6;
const NONE: u32 = u32::MAX;

impl Exhibit {
    /// The present state.
    pub fn view(&mut self) -> &[u8] {
        let now = self.world.now();
        let figures = self.recovery.as_ref().map(super::Recovery::figures);
        let has_viewers = |peer: &&Peer| peer.is_there() && peer.views;
        let viewers = self.world.peers.iter().filter(has_viewers);
        let seeing = viewers.clone().filter(|peer| sees(peer, now)).count();
        let cut = self.cut.map_or(NONE, |cut| cut as u32);
        let told = figures.unwrap_or_default();
        let header: [u32; HEADER_WORDS] = [
            VERSION,
            (now.0 / MS) as u32,
            self.world.plan().peers.len() as u32,
            viewers.count() as u32,
            seeing as u32,
            self.rank.term,
            self.failovers,
            u32::from(self.rendezvous_up),
            cut,
            figures.map_or(NONE, |figures| figures.act),
            told.lost,
            told.again,
            (told.half_us / MS) as u32,
            (told.last_us / MS) as u32,
            u32::from(told.is_over),
        ];
        let mut bytes: Vec<u8> = std::mem::take(&mut self.view);
        bytes.clear();
        bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        let peers = bytes.len();
        for (planned, peer) in self.world.plan().peers.iter().enumerate() {
            let role = u8::from(peer.kind == Kind::Speaker) + 2 * u8::from(peer.kind == Kind::Candidate);
            let continent = cast::continent_of(&self.world, planned) as u8;
            bytes.extend([0xff, 0xff, continent, role, 0, 0]);
        }
        let standbys: BTreeSet<PeerId> =
            self.stage().map(|peer| peer.brain().standbys().iter().copied().collect()).unwrap_or_default();
        let host = self.host();
        for peer in &self.world.peers {
            let at = peers + peer.planned * PEER_BYTES;
            let [feeder_low, feeder_high] = self.above(peer).to_le_bytes();
            let continent = bytes[at + 2];
            let role = match bytes[at + 3] {
                _ if peer.is_there() && peer.brain().is_mixing() => 4,
                _ if standbys.contains(&peer.id) => 3,
                role => role,
            };
            let state = if peer.left { 3 } else { 2 - u8::from(peer.alive) };
            let flags = u8::from(sees(peer, now))
                | u8::from(peer.views) << 1
                | u8::from(host == Some(peer.id)) << 2
                | u8::from(self.cut == Some(usize::from(continent))) << 3;
            bytes[at..at + PEER_BYTES].copy_from_slice(&[
                feeder_low,
                feeder_high,
                continent,
                role,
                state,
                flags,
            ]);
        }
        self.view = bytes;
        &self.view
    }

    /// Index in the plan of the peer that feeds this one, or of the mixer that a speaker sends to.
    fn above(&self, peer: &Peer) -> u16 {
        let mixer = || self.world.directory.find(peer.sending_to.first().filter(|_| peer.speaks)?);
        let above = if peer.is_there() { peer.parent.or_else(mixer) } else { None };
        above.map_or(u16::MAX, |above| self.world.peers[above].planned as u16)
    }
}
