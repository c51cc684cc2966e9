//! The page's links: descriptions, proofs of identity, and messages held back while a link is paused.

use std::collections::VecDeque;

use plenary_proto::app::{Nat, Way};
use plenary_proto::bounded::List;
use plenary_proto::link_layout::{Channel, DescriptionError, NO_H264};
use plenary_proto::message::{
    CANDIDATES_MAX, Candidate, Description, FURTHER_CANDIDATES_MAX, Fingerprints, FurtherCandidates, LinkKind,
};
use plenary_proto::ordered::OrderedMap;
use plenary_proto::packet::{LinkId, LinkStats};
use plenary_proto::sdp::{OwnEnd, candidate, candidate_line, sdp};

use crate::wire::OwnCandidate;

/// Maximum number of bytes that wait while a link is paused; past it the link is closed. A browser can't stop reading a
/// data channel. A guess: what a link's budget allows at once.
const PAUSED_BYTES_MAX: usize = 256 * 1024;
/// Bytes counted per message beside its length, as in a link's budget.
const OVERHEAD_BYTES: usize = 64;

/// One link of the page.
#[derive(Debug)]
pub(crate) struct PageLink {
    own: Option<OwnEnd>,
    other: Option<Description>,
    /// Number of further candidates of the other end.
    further: u32,
    paused_until_us: u64,
    paused: VecDeque<(Channel, Vec<u8>)>,
    paused_bytes: usize,
    /// The browser's counters, once known.
    pub(crate) stats: Option<LinkStats>,
    pub(crate) own_candidate: OwnCandidate,
}

/// All links of the page that have not ended.
#[derive(Debug, Default)]
pub(crate) struct PageLinks(OrderedMap<LinkId, PageLink>);

impl PageLinks {
    /// Adds a link. `other` is the offer that it answers.
    pub(crate) fn open(&mut self, link: LinkId, other: Option<Description>) {
        let (own, paused, own_candidate) = (None, VecDeque::new(), OwnCandidate::default());
        let opened = PageLink {
            own,
            other,
            further: 0,
            paused_until_us: 0,
            paused,
            paused_bytes: 0,
            stats: None,
            own_candidate,
        };
        self.0.insert(link, opened);
    }

    pub(crate) fn close(&mut self, link: LinkId) -> bool {
        self.0.remove(&link).is_some()
    }

    /// Returns the ids of all links.
    pub(crate) fn all(&self) -> Vec<LinkId> {
        self.0.keys().copied().collect()
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut PageLink> {
        self.0.get_mut(&link)
    }

    /// Returns the counters of a link.
    pub(crate) fn stats(&self, link: LinkId) -> Option<LinkStats> {
        self.0.get(&link).and_then(|known| known.stats)
    }

    /// Returns by which way a link goes; direct before the browser's first counters.
    pub(crate) fn way(&self, link: LinkId) -> Option<Way> {
        self.0.get(&link).map(|known| known.stats.map_or(Way::Direct, |stats| stats.way))
    }

    /// Returns the NAT in front of the browser. It has one port for all if the other end has seen the address that a
    /// STUN server saw, and a port each if it has seen another one. A browser that goes by its own address may be in
    /// the open, or on one side of a NAT with the other end.
    pub(crate) fn nat(&self) -> Nat {
        let has = |kind| self.0.values().any(|link| link.own_candidate == kind && link.knows_reflexive());
        if has(OwnCandidate::PeerReflexive) {
            Nat::PortEach
        } else if has(OwnCandidate::Reflexive) {
            Nat::OnePort
        } else {
            Nat::Unknown
        }
    }

    /// Returns the messages of links that are paused no more.
    pub(crate) fn resumed(&mut self, now_us: u64) -> Vec<(LinkId, Channel, Vec<u8>)> {
        let due = self.0.iter_mut().filter(|(_, link)| link.paused_until_us <= now_us);
        let of_link = |(id, link): (&LinkId, &mut PageLink)| {
            link.paused_bytes = 0;
            let messages = std::mem::take(&mut link.paused).into_iter();
            messages.map(|(channel, bytes)| (*id, channel, bytes)).collect::<Vec<_>>()
        };
        due.flat_map(of_link).collect()
    }
}

impl PageLink {
    /// Whether a STUN server has shown an address of this end.
    fn knows_reflexive(&self) -> bool {
        let is_reflexive = |candidate: &Candidate| matches!(candidate, Candidate::Reflexive(_));
        self.own.as_ref().is_some_and(|own| own.description.candidates.iter().any(is_reflexive))
    }

    /// Whether the other end takes pictures: its browser has H.264.
    pub(crate) fn takes_pictures(&self) -> bool {
        let types = self.other.as_ref().and_then(|other| other.payload_types);
        types.is_none_or(|types| types.h264 != NO_H264)
    }

    /// Returns further candidates of the other end as its browser reads them: those that belong to its description,
    /// [`FURTHER_CANDIDATES_MAX`] in all.
    pub(crate) fn further(&mut self, ufrag: &str, candidates: &[Candidate]) -> Vec<String> {
        let belong = self.other.as_ref().is_some_and(|other| *other.ufrag == *ufrag);
        let room = FURTHER_CANDIDATES_MAX - self.further as usize;
        let is_further = |candidate: &&Candidate| {
            belong && matches!(candidate, Candidate::Reflexive(_) | Candidate::Relayed(_))
        };
        let taken = candidates.iter().filter(is_further).take(room);
        let lines: Vec<String> = (self.further..)
            .zip(taken)
            .map(|(index, candidate)| candidate_line(candidate, CANDIDATES_MAX as u32 + index))
            .collect();
        self.further += lines.len() as u32;
        lines
    }

    /// Returns what an end that has been described tells the other one of these candidates: outer addresses that the
    /// description lacks.
    pub(crate) fn found(&self, lines: &[String]) -> FurtherCandidates {
        let described = self.own.as_ref().map(|own| &*own.description.candidates).unwrap_or_default();
        let is_news = |found: &Candidate| {
            matches!(found, Candidate::Reflexive(_) | Candidate::Relayed(_)) && !described.contains(found)
        };
        List::truncated(lines.iter().filter_map(|line| candidate(line)).filter(is_news))
    }

    /// Sets this end, and returns its description for the other one. An answer repeats that the offering end has no
    /// H.264.
    pub(crate) fn describe_own(&mut self, own: OwnEnd) -> Description {
        let mut description = self.own.insert(own).description.clone();
        let offered = self.other.as_ref().and_then(|offer| offer.payload_types);
        if let (Some(types), Some(NO_H264)) =
            (&mut description.payload_types, offered.map(|types| types.h264))
        {
            types.h264 = NO_H264;
        }
        description
    }

    /// Returns the SDP of the other end for this end's browser.
    pub(crate) fn remote_sdp(&self) -> Option<Result<String, DescriptionError>> {
        let other = self.other.as_ref()?;
        Some(sdp(LinkKind::Peer, other, self.own.as_ref()))
    }

    /// Sets the answer of the other end.
    pub(crate) fn answered(&mut self, other: Description) {
        self.other = Some(other);
    }

    /// Returns the fingerprints that proofs of identity cover; `None` before both descriptions are known.
    pub(crate) fn fingerprints(&self) -> Option<Fingerprints> {
        let (own, other) = (self.own.as_ref()?.description.fingerprint, self.other.as_ref()?.fingerprint);
        Some(Fingerprints { own, other })
    }

    /// Holds what arrives until that time.
    pub(crate) fn pause(&mut self, until_us: u64) {
        self.paused_until_us = until_us;
    }

    /// Keeps a message while the link is paused. Returns the message if it isn't.
    ///
    /// # Errors
    /// So much waits that the link has to be closed.
    pub(crate) fn hold(
        &mut self,
        now_us: u64,
        channel: Channel,
        bytes: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, TooMuch> {
        if now_us >= self.paused_until_us && self.paused.is_empty() {
            return Ok(Some(bytes));
        }
        self.paused_bytes += bytes.len() + OVERHEAD_BYTES;
        if self.paused_bytes > PAUSED_BYTES_MAX {
            return Err(TooMuch);
        }
        self.paused.push_back((channel, bytes));
        Ok(None)
    }
}

/// More waits than a link may have waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

#[cfg(test)]
mod tests {
    use plenary_proto::sdp::describe;

    use super::*;

    const CHROMIUM: &str = include_str!("../../proto/tests/golden/chromium-156-offer.sdp");
    const FIREFOX: &str = include_str!("../../proto/tests/golden/firefox-153-offer.sdp");

    #[test]
    fn a_browser_is_left_to_play_a_peers_own_stream_in_step_and_nothing_else() {
        let of_browser = describe(CHROMIUM).unwrap().description;
        let of_native = Description { browser: None, payload_types: None, ..of_browser.clone() };
        let pairs = |description| {
            let sdp = sdp(LinkKind::Peer, &description, None).unwrap();
            let streams = sdp.lines().filter_map(|line| line.strip_prefix("a=msid:"));
            let streams: Vec<_> =
                streams.filter_map(|msid| msid.split(' ').next()).map(String::from).collect();
            streams.chunks(2).map(|pair| pair[0] == pair[1]).collect::<Vec<_>>()
        };
        assert_eq!(pairs(of_native), [false, true, false]);
        assert_eq!(pairs(of_browser), [false, true, false]);
    }

    #[test]
    fn the_other_end_is_told_relayed_and_reflexive_addresses_found_later() {
        let mut links = PageLinks::default();
        links.open(LinkId(1), None);
        let link = links.get_mut(LinkId(1)).unwrap();
        let mut own = describe(FIREFOX).unwrap();
        own.description.candidates = List::truncated([Candidate::Reflexive(([203, 0, 113, 5], 7).into())]);
        link.describe_own(own);
        let lines = [
            "candidate:1 1 udp 7 203.0.113.5 7 typ srflx raddr 0.0.0.0 rport 0", // described
            "candidate:2 1 udp 7 192.168.1.5 7 typ host",
            "candidate:3 1 udp 7 203.0.113.5 8 typ srflx raddr 0.0.0.0 rport 0 generation 0",
            "candidate:4 1 udp 7 198.51.100.1 50000 typ relay raddr 203.0.113.5 rport 7",
            "candidate:5 1 tcp 7 198.51.100.1 9 typ host tcptype active",
            "",
        ];
        let found = link.found(&lines.map(str::to_owned));
        let relayed = Candidate::Relayed(([198, 51, 100, 1], 50_000).into());
        assert_eq!(*found, [Candidate::Reflexive(([203, 0, 113, 5], 8).into()), relayed]);
    }

    #[test]
    fn further_candidates_of_the_description_reach_the_browser_ten_at_most() {
        let offer = describe(CHROMIUM).unwrap().description;
        let mut links = PageLinks::default();
        links.open(LinkId(1), Some(offer.clone()));
        let link = links.get_mut(LinkId(1)).unwrap();
        let reflexive = |port| Candidate::Reflexive(([203, 0, 113, 5], port).into());
        assert!(link.further("other", &[reflexive(7)]).is_empty(), "of another description");
        assert!(link.further(&offer.ufrag, &[Candidate::Host(([203, 0, 113, 5], 7).into())]).is_empty());
        let lines = link.further(&offer.ufrag, &[reflexive(7)]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].ends_with(" 203.0.113.5 7 typ srflx raddr 0.0.0.0 rport 0"), "{lines:?}");
        let many: Vec<_> = (8..40).map(reflexive).collect();
        assert_eq!(link.further(&offer.ufrag, &many).len(), FURTHER_CANDIDATES_MAX - 1);
        assert!(link.further(&offer.ufrag, &many).is_empty());
    }

    #[test]
    fn a_page_tells_its_nat_by_the_address_that_the_other_end_has_seen() {
        let own = describe(CHROMIUM).unwrap();
        let seen = Candidate::Reflexive(([203, 0, 113, 5], 7).into());
        for (of_stun, own_candidate, nat) in [
            (true, OwnCandidate::Unknown, Nat::Unknown),
            (true, OwnCandidate::Host, Nat::Unknown),
            (true, OwnCandidate::Reflexive, Nat::OnePort),
            (true, OwnCandidate::PeerReflexive, Nat::PortEach),
            (true, OwnCandidate::Relayed, Nat::Unknown),
            (false, OwnCandidate::PeerReflexive, Nat::Unknown),
        ] {
            let mut links = PageLinks::default();
            links.open(LinkId(1), None);
            let link = links.get_mut(LinkId(1)).unwrap();
            let mut own = own.clone();
            own.description.candidates = List::truncated(of_stun.then(|| seen.clone()));
            link.describe_own(own);
            link.own_candidate = own_candidate;
            assert_eq!(links.nat(), nat, "{of_stun}, {own_candidate:?}");
        }
    }

    #[test]
    fn an_answer_repeats_that_the_offering_browser_has_no_h264() {
        let [chromium, firefox] = [CHROMIUM, FIREFOX].map(|sdp| describe(sdp).unwrap());
        for (offer, h264) in [(&chromium, 108), (&firefox, NO_H264)] {
            let mut links = PageLinks::default();
            links.open(LinkId(1), Some(offer.description.clone()));
            let link = links.get_mut(LinkId(1)).unwrap();
            assert_eq!(link.takes_pictures(), h264 != NO_H264);
            assert_eq!(link.describe_own(chromium.clone()).payload_types.unwrap().h264, h264);
        }
    }
}
