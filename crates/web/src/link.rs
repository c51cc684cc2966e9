//! The page's links: descriptions, proofs of identity, and messages held back while a link is paused.

use std::collections::VecDeque;
use std::time::Duration;

use plenary_proto::app::{Nat, Way};
use plenary_proto::bounded::List;
use plenary_proto::link_layout::{Channel, DescriptionError, NO_H264};
use plenary_proto::message::{
    CANDIDATES_MAX, Candidate, Description, FURTHER_CANDIDATES_MAX, Fingerprints, FurtherCandidates,
    IceRestart, LinkKind,
};
use plenary_proto::ordered::OrderedMap;
use plenary_proto::packet::{LinkId, LinkStats};
use plenary_proto::restart::Taken;
use plenary_proto::sdp::{OwnEnd, candidate, candidate_line, sdp};

use crate::network::is_elsewhere;
use crate::restart::{Ends, Restart, Then};
use crate::wire::OwnCandidate;

/// Maximum number of bytes that wait while a link is paused; past it the link is closed. A browser can't stop reading a
/// data channel. A guess: what a link's budget allows at once.
const PAUSED_BYTES_MAX: usize = 256 * 1024;
/// Bytes counted per message beside its length, as in a link's budget.
const OVERHEAD_BYTES: usize = 64;

/// Silence after which a link is lost, as natives give it up.
const SILENCE_US_MAX: u64 = 5_000_000;

/// One link of the page.
#[derive(Debug)]
pub(crate) struct PageLink {
    own: Option<OwnEnd>,
    other: Option<Description>,
    /// Further candidates of the other end.
    further: Vec<Candidate>,
    restart: Option<Restart>,
    /// When this end began a restart last.
    restarted_us: u64,
    /// The other end's requests for restarts.
    taken: Taken,
    /// Addresses of this end before a restart, until it shows others.
    before: Vec<Candidate>,
    /// When something came last.
    heard_us: Option<u64>,
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
            further: Vec::new(),
            restart: None,
            restarted_us: 0,
            taken: Taken::default(),
            before: Vec::new(),
            heard_us: None,
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

    /// Something has come on a link.
    pub(crate) fn heard(&mut self, now_us: u64, link: LinkId) {
        if let Some(known) = self.0.get_mut(&link) {
            known.heard_us = Some(now_us);
        }
    }

    /// Returns the links on which something has come.
    pub(crate) fn up(&self) -> Vec<LinkId> {
        self.0.iter().filter(|(_, link)| link.heard_us.is_some()).map(|(id, _)| *id).collect()
    }

    /// Returns when something came last on any link; `None` if no link is up.
    pub(crate) fn heard_us(&self) -> Option<u64> {
        self.0.values().filter_map(|link| link.heard_us).max()
    }

    /// Returns the links on which nothing has come for so long that their other ends have given them up.
    pub(crate) fn silent(&self, now_us: u64) -> Vec<LinkId> {
        let is_silent = |link: &PageLink| {
            link.heard_us.is_some_and(|at_us| now_us.saturating_sub(at_us) >= SILENCE_US_MAX)
        };
        self.0.iter().filter(|(_, link)| is_silent(link)).map(|(id, _)| *id).collect()
    }

    /// This page was late: what has come meanwhile is still to be read.
    pub(crate) fn forgive(&mut self, now_us: u64) {
        self.0.values_mut().filter_map(|link| link.heard_us.as_mut()).for_each(|at_us| *at_us = now_us);
    }

    /// Returns the longest round-trip time, in microseconds; 0 if none is known.
    pub(crate) fn rtt_us(&self) -> u64 {
        let rtts = self.0.values().filter_map(|link| link.stats?.rtt_us);
        rtts.max().unwrap_or(0)
    }

    /// Unanswered requests for ICE restarts are due again: the rendezvous is connected again.
    pub(crate) fn ask_again(&mut self, now: Duration) {
        self.0
            .values_mut()
            .filter_map(|link| link.restart.as_mut())
            .for_each(|restart| restart.ask_again(now));
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

    /// Returns further candidates of the other end as its browser reads them: those that belong to its description, or
    /// to its part of a restart, [`FURTHER_CANDIDATES_MAX`] of each.
    pub(crate) fn further(&mut self, ufrag: &str, candidates: &[Candidate]) -> Vec<String> {
        let of_restart = self.restart.as_ref().and_then(Restart::other_ufrag);
        let described = self.other.as_ref().map(|other| &*other.ufrag);
        let belong = of_restart.or(described) == Some(ufrag);
        let begin = self.further.len();
        for candidate in candidates.iter().filter(|_| belong) {
            let is_outer = matches!(candidate, Candidate::Reflexive(_) | Candidate::Relayed(_));
            let has_room = self.further.len() < FURTHER_CANDIDATES_MAX;
            if is_outer && has_room && !self.further.contains(candidate) {
                self.further.push(candidate.clone());
            }
        }
        let number = |at: usize| (CANDIDATES_MAX + begin + at) as u32;
        let taken = self.further[begin..].iter().enumerate();
        taken.map(|(at, candidate)| candidate_line(candidate, number(at))).collect()
    }

    /// Notes further candidates of an end that has been described. Returns those that the other end is told: outer
    /// addresses that the description lacks.
    pub(crate) fn found(&mut self, lines: &[String]) -> FurtherCandidates {
        let Some(own) = &mut self.own else { return List::default() };
        let described = &mut own.description.candidates;
        let found = lines.iter().filter_map(|line| candidate(line));
        let news: Vec<Candidate> = found.filter(|found| !described.contains(found)).collect();
        *described = List::truncated(described.iter().chain(&news).cloned());
        let is_outer = |found: &Candidate| matches!(found, Candidate::Reflexive(_) | Candidate::Relayed(_));
        List::truncated(news.into_iter().filter(is_outer))
    }

    /// Whether this end's candidates show other addresses than before the restart; told once.
    pub(crate) fn is_elsewhere(&mut self) -> bool {
        let now = self.own.as_ref().map(|own| &*own.description.candidates).unwrap_or_default();
        let is_elsewhere = is_elsewhere(&self.before, now);
        if is_elsewhere {
            self.before.clear();
        }
        is_elsewhere
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

    /// Begins an ICE restart, or begins it anew if this end has found no address for it, or something has come since it
    /// began. Returns whether the browser is to describe its end for it.
    pub(crate) fn restart(&mut self, now_us: u64) -> bool {
        let (Some(own), Some(_)) = (&self.own, &self.other) else { return false };
        let is_heard = self.heard_us.is_some_and(|at_us| at_us > self.restarted_us);
        if self.restart.as_ref().is_some_and(Restart::is_described) && !is_heard {
            return false;
        }
        self.restarted_us = now_us;
        if self.before.is_empty() {
            self.before = own.description.candidates.to_vec();
        }
        self.restart = Some(Restart::Describing(None));
        true
    }

    /// Takes the other end's part of an ICE restart.
    ///
    /// # Errors
    /// No browser takes it.
    pub(crate) fn restart_told(
        &mut self,
        now: Duration,
        told: Box<IceRestart>,
    ) -> Result<Then, DescriptionError> {
        let (Some(own), Some(other)) = (&self.own, &self.other) else { return Ok(Then::Nothing) };
        let then = Restart::told((&mut self.restart, &mut self.taken), now, Ends { own, other }, told)?;
        if matches!(then, Then::Describe(_) | Then::Accept(_)) {
            self.further.clear();
        }
        Ok(then)
    }

    /// Whether the browser has described this end, so that each further description is one for a restart.
    pub(crate) fn is_described(&self) -> bool {
        self.own.is_some()
    }

    /// Sets this end as the browser describes it for a restart, and returns this end's part, if that is due.
    pub(crate) fn restart_described(&mut self, now: Duration, described: OwnEnd) -> Option<Box<IceRestart>> {
        let (Some(own), Some(other)) = (&mut self.own, &self.other) else { return None };
        if described.description.candidates.is_empty() {
            self.restart = None; // the browser has no network
            return None;
        }
        own.description.candidates = described.description.candidates.clone();
        self.restart.as_mut()?.described(now, Ends { own, other }, described)
    }

    /// Returns the request for a restart that is due at the other end. Forgets a restart that is over.
    pub(crate) fn restart_due(&mut self, now: Duration) -> Option<Box<IceRestart>> {
        self.restart.take_if(|restart| restart.is_over(now));
        let (Some(own), Some(other)) = (&self.own, &self.other) else { return None };
        self.restart.as_mut()?.due(now, Ends { own, other })
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
