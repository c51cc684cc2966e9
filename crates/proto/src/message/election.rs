//! Measurements, ballots and what follows from them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::roster::ROSTER_MAX;
use crate::bounded::List;
use crate::id::{PeerId, Rank, RoomId};
use crate::seal::{Countersigned, Signed, Statement};

/// Most peers that measure one candidate: those of a large stage.
pub(crate) const MEASURERS_MAX: usize = 5;
/// Most reports of a ballot: of all measurers of a full roster.
pub const BALLOT_REPORTS_MAX: usize = MEASURERS_MAX * ROSTER_MAX;
/// Most mixers, and most standbys, of an outcome.
pub const MIXERS_MAX: usize = 8;
/// Most failovers of one term: each takes a mixer or a standby out of its outcome. Further ones are not taken.
pub const FAILOVERS_MAX: usize = 2 * MIXERS_MAX;

/// Why an election is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ElectionReason {
    /// The room needs its first mixer.
    Opening,
    /// The number of mixers or standbys is not what it should be.
    Count,
    /// The mixer fell silent, and its standby has taken over.
    MixerGone,
    /// The mixer left politely.
    Leave,
    /// The program suffers, by the word of the speakers.
    Trouble,
    /// It suffers by the word of the audience.
    Audience,
}

/// Why an election is to be held, as a peer sees it that would open it: what a pre-vote signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The number it would have.
    pub term: u32,
    /// The mandate in force meanwhile.
    pub under: Rank,
    /// Why.
    pub reason: ElectionReason,
    /// Who would open it.
    pub opener: PeerId,
}

impl Statement for Need {
    const CONTEXT: &'static str = "need";
}

/// A need that a majority of its roster sees: the election is open.
pub type Opening = Countersigned<Need, ROSTER_MAX>;

/// How a bandwidth was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Measured {
    /// By the dispersion of a train of packets.
    Train,
    /// By a transfer over a data channel, which measures SCTP's slow start too.
    Channel,
    /// From the media that flowed anyway.
    Media,
}

/// What one peer measured of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The election it was measured for.
    pub term: u32,
    /// Whom.
    pub candidate: PeerId,
    /// From the candidate to the measurer, bits per second.
    pub bandwidth_bps: u64,
    /// How.
    pub measured: Measured,
    /// Round trip, microseconds; 0 when it is not known.
    pub rtt_us: u32,
    /// Of a million of its answers to pings, those that met a pause at its end; 0: none, or nobody knows.
    pub paused_ppm: u32,
    /// What the candidate sent of its own media over 20 s, bits per second; `None` before there is any.
    pub bitrate_bps: Option<u64>,
    /// Which line it seems to be behind; `None` when that can't be told. Candidates of one line share its uplink.
    pub line: Option<LineId>,
}

/// What tells that two peers are behind one public address, and says nothing of that address to whoever doesn't know it: a
/// hash of it and the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineId(pub [u8; 8]);

impl LineId {
    /// Of an address that is public; peers behind others may have the same ones and be far apart. Of IPv6 the first half is
    /// the line's, the second one a machine's.
    pub fn of(room: &RoomId, address: IpAddr) -> Option<LineId> {
        let mut hash = blake3::Hasher::new_derive_key("plenary 1 line");
        hash.update(&room.0);
        match address.to_canonical() {
            IpAddr::V4(v4)
                if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() =>
            {
                return None;
            }
            IpAddr::V4(v4) => hash.update(&v4.octets()),
            IpAddr::V6(v6)
                if v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local() =>
            {
                return None;
            }
            IpAddr::V6(v6) => hash.update(&v6.octets()[..8]),
        };
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        Some(LineId(id))
    }
}

impl Statement for Report {
    const CONTEXT: &'static str = "report";
}

/// Units of a [`RoundTrip`], microseconds.
const ROUND_TRIP_UNIT_US: u32 = 100;
/// The longest [`RoundTrip`], in its units, 1.6 s: what two bytes of a varint hold.
const ROUND_TRIP_MAX: u16 = (1 << 14) - 1;

/// How far its signer is from one peer of the roster: five bytes, or a full stage's wouldn't fit a ballot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// How that one's id begins. Where two on the roster begin so it means neither.
    to: [u8; 3],
    /// In units of 100 µs.
    units: u16,
}

impl RoundTrip {
    /// To a peer, so many microseconds; rounded up, and cut at 1.6 s.
    pub fn new(to: &PeerId, rtt_us: u32) -> RoundTrip {
        let units = rtt_us.div_ceil(ROUND_TRIP_UNIT_US).min(ROUND_TRIP_MAX.into());
        RoundTrip { to: [to.0[0], to.0[1], to.0[2]], units: units as u16 }
    }

    /// Whether it may mean that peer.
    pub fn is_to(&self, peer: &PeerId) -> bool {
        peer.0.starts_with(&self.to)
    }

    /// Whether both mean the same peer, as far as they say.
    pub(crate) fn is_alike(&self, other: &RoundTrip) -> bool {
        self.to == other.to
    }

    /// Microseconds, at most 1.6 s.
    pub fn rtt_us(&self) -> u32 {
        u32::from(self.units.min(ROUND_TRIP_MAX)) * ROUND_TRIP_UNIT_US
    }
}

/// What only its owner knows: measured with the real codec before media flows, and on its links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The election that it was made for; 0 when it was for none.
    pub term: u32,
    /// Processor time to encode one 1280×720 picture, microseconds.
    pub encode_us: u32,
    /// Processor time to decode one 1280×720 picture, microseconds.
    pub decode_us: u32,
    /// The uplink its user allows, bits per second.
    pub uplink_bps_max: Option<u64>,
    /// To whom on stage it is linked with.
    pub round_trips: List<RoundTrip, ROSTER_MAX>,
}

impl Statement for Claim {
    const CONTEXT: &'static str = "claim";
}

/// A mixer that the stage suffered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Which.
    pub peer: PeerId,
    /// Until then it is taken as if it claimed nothing, seconds since 1970.
    pub until_unix_s: u64,
}

/// Who mixes. Follows from a ballot's reports and claims and the outcome in force, so that everyone on stage can
/// recompute it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The election.
    pub term: u32,
    /// Why it was held.
    pub reason: ElectionReason,
    /// The mixers, the lead first.
    pub mixers: List<PeerId, MIXERS_MAX>,
    /// What each of them can send, as it was measured, bits per second; 0: by nobody.
    pub uplinks_bps: List<u64, MIXERS_MAX>,
    /// Those kept warm, the next to take over first.
    pub standbys: List<PeerId, MIXERS_MAX>,
    /// Who was better than a sitting mixer by enough to take its seat, if a second round finds the same.
    pub challenger: Option<PeerId>,
    /// Mixers that the stage suffered from, the last first: their claims aren't believed for a while.
    pub doubts: List<Doubt, MIXERS_MAX>,
    /// BLAKE3 of the postcard of what it follows from: (reports, claims, sitting mixers).
    pub evidence: [u8; 32],
}

impl Statement for Outcome {
    const CONTEXT: &'static str = "outcome";
}

/// What the opener asks the stage to sign; the signed statement's epoch is the roster's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Every report the opener holds, sorted by (candidate, measurer).
    pub reports: List<Signed<Report>, BALLOT_REPORTS_MAX>,
    /// Every claim the opener holds, sorted by sender.
    pub claims: List<Signed<Claim>, ROSTER_MAX>,
    /// The mixers in force meanwhile; empty before the first election is decided.
    pub sitting: List<PeerId, MIXERS_MAX>,
    /// What follows.
    pub outcome: Outcome,
}

impl Statement for Ballot {
    const CONTEXT: &'static str = "ballot";
}

/// An outcome that a majority of its roster signed.
pub type Decided = Countersigned<Outcome, ROSTER_MAX>;

/// The standby takes over without a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failover {
    /// The new mandate: the same term, the declarer's next failover.
    pub rank: Rank,
    /// The one it changes.
    pub after: Rank,
    /// Whom it replaces.
    pub over: PeerId,
    /// That one asked for it.
    pub polite: bool,
}

impl Statement for Failover {
    const CONTEXT: &'static str = "take-over";
}

/// A mixer that was declared gone says that it is not. Whoever declared it takes over from it no more in this term, but
/// by its own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// The mandate it holds on to.
    pub rank: Rank,
    /// The failover that was wrong.
    pub denied: Rank,
    /// Whose it was.
    pub successor: PeerId,
}

impl Statement for Alive {
    const CONTEXT: &'static str = "alive";
}

/// How far somebody on stage has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Of the newest roster that it has.
    pub epoch: u32,
    /// Of the mandate in force for it.
    pub rank: Rank,
    /// What the outcome in force was found by ([`Outcome::evidence`]); zero without one.
    pub evidence: [u8; 32],
    /// It wants to hear of what it lacks; not so in an answer.
    pub asks: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_behind_one_public_address_are_on_one_line_and_private_addresses_say_nothing() {
        let line = |address: &str| LineId::of(&RoomId([7; 16]), address.parse().unwrap());
        assert_eq!(line("192.0.2.1"), line("::ffff:192.0.2.1"));
        assert_ne!(line("192.0.2.1"), line("192.0.2.2"));
        assert_eq!(line("2001:db8:1:2::3"), line("2001:db8:1:2:ffff::4"), "two machines of one house");
        assert_ne!(line("2001:db8:1:2::3"), line("2001:db8:1:3::3"));
        assert_ne!(line("192.0.2.1"), LineId::of(&RoomId([8; 16]), "192.0.2.1".parse().unwrap()));
        for local in
            ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.1.1", "0.0.0.0", "::1", "fe80::1", "fd00::1"]
        {
            assert_eq!(line(local), None, "{local}");
        }
    }
}
