//! Mixer election: measurements, ballots, votes, the outcome, and failovers between two elections.
//!
//! Measurers send a [`Report`] of each candidate, candidates send a [`Claim`] of themselves. The opener puts
//! both into a [`Ballot`]; each voter recomputes the [`Outcome`] and countersigns it. An outcome with a
//! majority's signatures is [`Decided`] and gives the mixers their mandate.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::roster::ROSTER_MAX;
use super::tree::Sufferers;
use crate::bounded::List;
use crate::id::{PeerId, Rank, RoomId, ShortId};
use crate::network::is_public;
use crate::seal::{Countersigned, SealError, Signature, Signed, Statement};

/// The election of mixers, and what opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum ElectionMessage {
    /// A candidate's claim about itself.
    Claim(Signed<Claim>),
    /// A measurer's report of a candidate.
    Report(Signed<Report>),
    /// A prospective opener asks the stage for pre-votes.
    PreVoteWanted {
        /// Epoch of the roster in which the pre-votes are counted.
        epoch: u32,
        /// The need that the opener sees.
        need: Need,
    },
    /// Pre-vote: the sender sees the same need.
    PreVote {
        /// Epoch of the roster in which the pre-votes are counted.
        epoch: u32,
        /// Term of the election.
        term: u32,
        /// Signature under the [`Need`].
        signature: Signature,
    },
    /// Proof that a majority opened an election: candidates claim, measurers measure and report.
    Opening(Box<Opening>),
    /// The opener's ballot: the receiver signs its outcome, or answers with what it lacks.
    Ballot(Box<Signed<Ballot>>),
    /// Vote for a ballot.
    Vote {
        /// Term of the election.
        term: u32,
        /// BLAKE3 of the ballot's body.
        ballot: [u8; 32],
        /// Signature under the ballot's [`Outcome`].
        signature: Signature,
    },
    /// Refusal to vote for an incomplete ballot, with the missing statements; the opener issues the ballot
    /// again.
    Lacking {
        /// Term of the election.
        term: u32,
        /// Reports that the voter holds and the ballot lacks.
        reports: List<Signed<Report>, BALLOT_REPORTS_MAX>,
        /// Claims that the voter holds and the ballot lacks.
        claims: List<Signed<Claim>, ROSTER_MAX>,
    },
    /// A decided election: an outcome with a majority's signatures; forwarded down the tree.
    Decided(Box<Decided>),
    /// The host's word on which outcome is in force; forwarded down the tree.
    Confirmed(Signed<Confirmed>),
    /// A speaker's degradation report to the stage. From a mixer in force it means instead that the mixer
    /// cannot produce what is asked of it.
    Trouble {
        /// Number of degradations in the last 20 s; at most 3 count. 4: the program is heard and not seen.
        count: u8,
    },
    /// A viewer's degradation report to its parent: the degraded viewers of its subtree, itself included. A
    /// mixer sends the sum over its audience to the stage.
    Suffering(Sufferers),
}

impl ElectionMessage {
    /// Checks the signatures in the message, but for votes and pre-votes, which the brain checks: it knows the signed
    /// statement.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            ElectionMessage::Claim(claim) => signatures.signed(claim),
            ElectionMessage::Report(report) => signatures.signed(report),
            ElectionMessage::Ballot(ballot) => {
                signatures.signed(ballot)?;
                signatures.all_signed(&ballot.body.reports)?;
                signatures.all_signed(&ballot.body.claims)
            }
            ElectionMessage::Lacking { reports, claims, .. } => {
                signatures.all_signed(reports)?;
                signatures.all_signed(claims)
            }
            ElectionMessage::Opening(opening) => signatures.countersigned(opening),
            ElectionMessage::Decided(decided) => signatures.countersigned(decided),
            ElectionMessage::Confirmed(confirmed) => signatures.signed(confirmed),
            _ => Ok(()),
        }
    }
}

/// Maximum measurers per candidate: the number used on a large stage, of more than 8 candidates.
pub(crate) const MEASURERS_MAX: usize = 5;
/// Maximum reports of a ballot: those of all measurers of a full roster.
pub const BALLOT_REPORTS_MAX: usize = MEASURERS_MAX * ROSTER_MAX;
/// Maximum mixers, and maximum standbys, of an outcome.
pub const MIXERS_MAX: usize = 8;

/// Reason for an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ElectionReason {
    /// The room needs its first mixer.
    Opening,
    /// The number of mixers or standbys differs from the wanted number, or a challenger waits for its second
    /// round.
    Count,
    /// A mixer fell silent and its standby has taken over, a mixer is no candidate any more, or this peer has
    /// no link with it.
    MixerGone,
    /// A mixer left politely, and its standby has taken over.
    Leave,
    /// The speakers report a degraded program, or a mixer reports that it cannot produce what is asked of it.
    Trouble,
    /// The audience reports a degraded program.
    Audience,
}

/// Need for an election, as seen by a prospective opener. A pre-vote signs this statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Term that the election would have.
    pub term: u32,
    /// Rank of the mandate in force meanwhile.
    pub under: Rank,
    /// Reason for the election.
    pub reason: ElectionReason,
    /// The peer that would open the election.
    pub opener: PeerId,
}

impl Statement for Need {
    const CONTEXT: &'static str = "need";
}

/// A need countersigned by a majority of its roster: it opens the election.
pub type Opening = Countersigned<Need, ROSTER_MAX>;

/// One measurer's report of one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Term of the election that the candidate was measured for.
    pub term: u32,
    /// The measured candidate.
    pub candidate: PeerId,
    /// Bandwidth from the candidate to the measurer, bits per second.
    pub bandwidth_bps: u64,
    /// RTT, microseconds; 0 when unknown.
    pub rtt_us: u32,
    /// Stalls of the candidate: of a million of its answers to pings, the number delayed by a stall at its
    /// end. 0: none, or unknown.
    pub paused_ppm: u32,
    /// Media that the measurer received from the candidate; `None` unless it did throughout the last 20 s.
    pub media: Option<MediaSeen>,
    /// Access line that the candidate seems to be behind; `None` when unknown. Candidates behind one line
    /// share its uplink.
    pub line: Option<LineId>,
}

/// Media that a measurer received from a candidate over the last 20 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct MediaSeen {
    /// Bitrate of all that the candidate sent, its own or forwarded, bits per second: RTP packets with their
    /// headers, repairs once.
    pub bitrate_bps: u64,
    /// Percentage of the packets of the streams made by the candidate that arrived, repaired ones included;
    /// pictures left out for lack of bandwidth did not. `None` if it made none of the streams.
    pub arrived_percent: Option<u8>,
}

/// Identifier of an access line: two bytes of a hash of its public address and the room id. Two peers behind one
/// public address have the same one. Each id belongs to 65,536 IPv4 addresses, so that it doesn't reveal the address,
/// which a longer hash would: all addresses are tried in seconds. Two of four lines have the same id in one room of
/// ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct LineId(pub [u8; 2]);

impl LineId {
    /// Returns the line of a public address; `None` for another one, which two distant peers may share. Of IPv6 the
    /// first 8 bytes count, the prefix of the line; the rest belongs to a machine.
    pub fn of(room: &RoomId, address: IpAddr) -> Option<LineId> {
        let mut hash = blake3::Hasher::new_derive_key("plenary 2 line");
        hash.update(&room.0);
        match address.to_canonical() {
            _ if !is_public(address) => return None,
            IpAddr::V4(v4) => hash.update(&v4.octets()),
            IpAddr::V6(v6) => hash.update(&v6.octets()[..8]),
        };
        let [first, second, ..] = *hash.finalize().as_bytes();
        Some(LineId([first, second]))
    }
}

impl Statement for Report {
    const CONTEXT: &'static str = "report";
}

/// Unit of a [`RoundTrip`], microseconds.
const ROUND_TRIP_UNIT_US: u32 = 100;
/// Maximum [`RoundTrip`], in its units: 1.6 s, the largest number that fits a two-byte varint.
const ROUND_TRIP_MAX: u16 = (1 << 14) - 1;

/// Maximum round trips of a claim: with more, a full stage's ballot would not fit an envelope.
pub const ROUND_TRIPS_MAX: usize = 48;

/// RTT between the signer and one peer of the roster, packed into ten bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// The other peer. Shorter prefixes of ids can be forged by generating keys.
    to: ShortId,
    /// RTT, in units of 100 µs.
    units: u16,
}

impl RoundTrip {
    /// Packs the RTT to a peer, given in microseconds: rounded up, and capped at 1.6 s.
    pub fn new(to: &PeerId, rtt_us: u32) -> RoundTrip {
        let units = rtt_us.div_ceil(ROUND_TRIP_UNIT_US).min(ROUND_TRIP_MAX.into());
        RoundTrip { to: to.short(), units: units as u16 }
    }

    /// Whether it is the round trip to that peer.
    pub fn is_to(&self, peer: &PeerId) -> bool {
        peer.short() == self.to
    }

    /// Whether both are round trips to the same peer.
    pub(crate) fn is_alike(&self, other: &RoundTrip) -> bool {
        self.to == other.to
    }

    /// Returns the RTT in microseconds, at most 1.6 s.
    pub fn rtt_us(&self) -> u32 {
        u32::from(self.units.min(ROUND_TRIP_MAX)) * ROUND_TRIP_UNIT_US
    }
}

/// Pixels of the pictures to which the codec times of a [`Claim`] refer: 1280×720.
pub const CLAIM_PIXELS: u64 = 1280 * 720;

/// Source of the codec times in a [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CodecSource {
    /// A bench with the real codec, while the machine did not encode or decode for the room.
    Bench,
    /// Frames of the room.
    Frames,
}

/// A candidate's claim about itself: codec times, its uplink cap, the bitrate of its program, and the RTTs of
/// its links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Term of the election that the claim was made for; 0 outside elections.
    pub term: u32,
    /// Processor time to encode one 1280×720 picture, microseconds.
    pub encode_us: u32,
    /// Processor time to decode one 1280×720 picture, microseconds.
    pub decode_us: u32,
    /// Source of the codec times.
    pub codec_source: CodecSource,
    /// Age of the codec times when the claim was signed, seconds.
    pub codec_age_s: u16,
    /// Uplink cap set by the candidate's user, bits per second; `None` without one.
    pub uplink_bps_max: Option<u64>,
    /// Bitrate of the program's picture that at least half of the candidate's links carry, in percent of what the
    /// room requests; 100 unless it mixes. A mixer lowers the bitrate to what its links carry, so its packets
    /// arrive even on a narrow line.
    pub rate_percent: u8,
    /// RTTs to the peers on stage that the candidate is linked with.
    pub round_trips: List<RoundTrip, ROUND_TRIPS_MAX>,
}

impl Statement for Claim {
    const CONTEXT: &'static str = "claim";
}

/// A distrusted mixer: it was in force when the stage voted for trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The distrusted mixer.
    pub peer: PeerId,
    /// Expiry of the distrust, seconds since 1970. Until then the peer's claims are ignored.
    pub until_unix_s: u64,
}

/// Result of an election: the mixers and standbys. It follows from the ballot's reports and claims and the
/// outcome in force, so every peer on stage can recompute it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Term of the election.
    pub term: u32,
    /// Reason for the election.
    pub reason: ElectionReason,
    /// The mixers, the lead first.
    pub mixers: List<PeerId, MIXERS_MAX>,
    /// Measured uplink of each mixer, in the order of `mixers`, bits per second; 0 when unmeasured.
    pub uplinks_bps: List<u64, MIXERS_MAX>,
    /// The standbys, which are kept warm, the next successor first.
    pub standbys: List<PeerId, MIXERS_MAX>,
    /// The candidate that beat a sitting mixer by enough to take its seat. It takes the seat if the next
    /// election names it again.
    pub challenger: Option<PeerId>,
    /// Distrusted mixers, the latest first: elections ignore their claims until the distrust expires.
    pub doubts: List<Doubt, MIXERS_MAX>,
    /// BLAKE3 of the postcard of the outcome's inputs: (reports, claims, sitting mixers).
    pub evidence: [u8; 32],
}

impl Statement for Outcome {
    const CONTEXT: &'static str = "outcome";
}

/// Proposal that the opener sends to the stage for signing. The signed statement's epoch is that of the
/// opener's roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Every report by a drawn measurer that the opener holds, sorted by (candidate, measurer).
    pub reports: List<Signed<Report>, BALLOT_REPORTS_MAX>,
    /// Every candidate's claim that the opener holds, sorted by sender.
    pub claims: List<Signed<Claim>, ROSTER_MAX>,
    /// The sitting mixers, those in force meanwhile; empty before the first election is decided.
    pub sitting: List<PeerId, MIXERS_MAX>,
    /// The outcome that follows from the fields above and the outcome in force.
    pub outcome: Outcome,
}

impl Statement for Ballot {
    const CONTEXT: &'static str = "ballot";
}

/// An outcome countersigned by a majority of its roster.
pub type Decided = Countersigned<Outcome, ROSTER_MAX>;

/// The host's word that an outcome is in force. It proves the outcome also to peers that can't know whether a
/// majority of an older roster still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Term of the outcome.
    pub term: u32,
    /// BLAKE3 of the postcard of the outcome.
    pub hash: [u8; 32],
}

impl Statement for Confirmed {
    const CONTEXT: &'static str = "confirmed";
}

impl Confirmed {
    /// Returns the word on that outcome.
    pub fn of(outcome: &Outcome) -> Confirmed {
        let bytes = postcard::to_allocvec(outcome).expect("an outcome is plain data, and a vector grows");
        Confirmed { term: outcome.term, hash: *blake3::hash(&bytes).as_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_behind_one_public_address_are_on_one_line() {
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

    #[test]
    fn whoever_tries_all_addresses_learns_none_of_them_from_a_line() {
        let line = |number: u32| LineId::of(&RoomId([7; 16]), std::net::Ipv4Addr::from_bits(number).into());
        let of = 0xc000_0200;
        let alike = (0x0100_0000..0x0100_0000 + (1 << 20)).filter(|other| line(*other) == line(of)).count();
        assert!((4..40).contains(&alike), "{alike} of a million addresses have the line of 192.0.2.0");
    }

    #[test]
    fn an_id_that_begins_like_another_has_none_of_its_round_trips() {
        let ada = PeerId([1; 32]);
        let mallory = PeerId(std::array::from_fn(|at| if at < 7 { 1 } else { 9 }));
        assert!(RoundTrip::new(&ada, 100).is_to(&ada));
        assert!(!RoundTrip::new(&mallory, 1_000_000).is_to(&ada));
        assert_ne!(mallory.short(), ada.short());
    }
}
