//! Pages: their tabs, their places among other pages, and the frames that they receive and send.

use std::collections::VecDeque;

use plenary_media::Frame;
use plenary_proto::identity::MediaKind;
use plenary_proto::packet::{BrowserPacket, LinkId, MediaPacket};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Command, Event, Input, Time};

use super::{Happening, World};
use crate::dice::SmallDice;
use crate::media::FRAME_US;
use crate::plan::PagePlan;
use crate::shell::{Receiver, brain_time, clock_us, packets_of};

/// Interval at which the places of viewers are noted.
const LOOK_US: u64 = SECOND / 2;
/// Time for which a hidden tab still feeds its children: `HIDDEN_MS` in `web/src/relay-limit.ts`.
const HIDDEN_US: u64 = 10 * SECOND;
/// Time from a whole frame at a page to the first packet to a child: the wait for a dummy frame, its encoding, and the
/// wait of the browser's pacer. Between two packets of a frame the pacer waits as well. Both measured together in
/// Chromium: 17 ms for a frame of six packets; their parts are a guess.
const SEND_US: u64 = 8 * MS;
const PACE_US: u64 = 3 * MS / 2;
/// Name of the draw of a tab's turns.
const TURNS: u64 = 0x0074_7572_6e73;

/// Number of notes of the last second.
const LOOKS_OF_LAST_SECOND: usize = (SECOND / LOOK_US) as usize;

/// Whether a viewer has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noted {
    Placed,
    Unfed,
    /// It was told that there is no place for it.
    Told,
}

impl PlaceNoted {
    /// Counts what was noted, when the pictures of that time can't be shown in time any more.
    fn count(&mut self, now: Time, noted: Option<Noted>) {
        let [due, ..] = self.lately;
        self.lately.rotate_left(1);
        self.lately[LOOKS_OF_LAST_SECOND - 1] = noted;
        match due {
            Some(Noted::Placed) => self.placed_us += LOOK_US + std::mem::take(&mut self.unfed_us),
            Some(Noted::Unfed) => self.unfed_us += LOOK_US,
            Some(Noted::Told) => self.unfed_us = 0,
            None => {}
        }
        let before = self.in_last_second.len();
        self.in_last_second.retain(|captured| now.since(*captured) < SECOND);
        self.in_time += (before - self.in_last_second.len()) as u64;
    }
}

/// Place of a viewer in the tree, as it was last noted, and what it has been shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlaceNoted {
    /// Depth, and the number of pages above; `None` without a parent.
    pub(crate) at: Option<(u8, u8)>,
    /// The viewer was told that there is no place for it, and has had none since.
    pub(crate) is_told: bool,
    /// From when on its pictures count: it had a place, and a first picture.
    counts_from: Option<Time>,
    /// Time for which it has had a place since then, up to the last second, of which pictures may still be shown in
    /// time. A time without a parent counts, unless the viewer is told in the end that there is no place for it: until
    /// then it stands apart.
    placed_us: u64,
    unfed_us: u64,
    /// What was noted in the last second, the oldest first.
    lately: [Option<Noted>; LOOKS_OF_LAST_SECOND],
    /// Pictures of the time up to the last second that were shown within a second of their capture, and those of that
    /// second.
    pub(crate) in_time: u64,
    in_last_second: VecDeque<Time>,
    /// Number of times that it was told that there is no place for it.
    pub(crate) told: u32,
}

impl World {
    /// Whether a peer is a page.
    pub(crate) fn is_page(&self, at: usize) -> bool {
        self.page(at).is_some()
    }

    pub(crate) fn page(&self, at: usize) -> Option<PagePlan> {
        self.plan.peers[self.peers[at].planned].page
    }

    /// Starts the turns of a page's tab.
    pub(super) fn start_page(&mut self, at: usize) {
        let Some(page) = self.page(at) else { return };
        if let Some(state) = self.peers[at].shell_mut().and_then(|shell| shell.page.as_mut()) {
            state.children_max = page.children_max(false, 0);
        }
        if let Some(turns) = page.turns {
            let mut dice = SmallDice::of(&[self.seed, TURNS, at as u64, 0]);
            self.push(self.now + dice.exponential(turns.shown_us), Happening::TabTurns(at));
        }
    }

    pub(super) fn tab_turns(&mut self, at: usize) {
        let Some(turns) = self.page(at).and_then(|page| page.turns) else { return };
        let now = self.now;
        let Some(state) = self.peers[at].shell_mut().and_then(|shell| shell.page.as_mut()) else { return };
        if now >= turns.until {
            return;
        }
        state.is_hidden = !state.is_hidden;
        let mut dice = SmallDice::of(&[self.seed, TURNS, at as u64, now.0]);
        let (mean_us, begins_us) =
            if state.is_hidden { (turns.hidden_us, HIDDEN_US) } else { (turns.shown_us, 0) };
        // a tab that is hidden for a shorter time changes nothing
        let lasts_us = dice.exponential(mean_us).max(begins_us + LOOK_US);
        self.push(now + lasts_us, Happening::TabTurns(at));
    }

    /// Notes the places of all viewers. Pages take children by these, by their tabs, and by what they are.
    pub(super) fn note_places(&mut self) {
        self.push(self.now + LOOK_US, Happening::Places);
        for at in 0..self.peers.len() {
            if !self.peers[at].is_there() || !self.peers[at].views {
                continue;
            }
            let path = self.peers[at].brain().path();
            let above = path.len().saturating_sub(1);
            let found = path.iter().take(above).filter_map(|id| self.directory.find_short(id));
            let pages = found.filter(|peer| self.is_page(*peer)).count();
            let peer = &mut self.peers[at];
            let place = &mut peer.place;
            place.at = (above > 0).then_some((above as u8, pages as u8));
            place.is_told &= place.at.is_none();
            let noted = match place.at {
                Some(_) => Noted::Placed,
                None if place.is_told => Noted::Told,
                None => Noted::Unfed,
            };
            place.count(self.now, place.counts_from.map(|_| noted));
            if noted == Noted::Placed {
                place.counts_from = place.counts_from.or(peer.arrivals.first().map(|_| self.now));
            }
            let Some(page) = self.page(at) else { continue };
            let Some(state) = self.peers[at].shell_mut().and_then(|shell| shell.page.as_mut()) else {
                continue;
            };
            let children_max = page.children_max(state.is_hidden, pages);
            if std::mem::replace(&mut state.children_max, children_max) != children_max {
                self.input(at, Input::Command(Command::SetChildrenMax(children_max)));
            }
        }
    }

    /// Notes that a viewer was told that there is no place for it.
    pub(super) fn note_no_place(&mut self, at: usize, event: &Event) {
        if matches!(event, Event::NoPlace) {
            let place = &mut self.peers[at].place;
            (place.is_told, place.told) = (true, place.told + 1);
        }
    }

    /// Notes a picture that a viewer was shown.
    pub(super) fn note_shown(&mut self, at: usize, captured: Time, shown: Time) {
        let latency_us = shown.since(captured);
        let place = &mut self.peers[at].place;
        if place.counts_from.is_some_and(|from| captured >= from) {
            if latency_us <= SECOND {
                place.in_last_second.push_back(captured);
            }
            if let Some(place) = place.at {
                let is_page = self.is_page(at);
                self.shown_by_place.entry((is_page, place)).or_default().add(latency_us, 1);
            }
        }
    }

    /// Pictures due at a viewer while it had a place.
    pub(crate) fn due_while_placed(&self, at: usize) -> u64 {
        self.peers[at].place.placed_us / FRAME_US
    }

    /// Sends a whole frame, as a page's browser does.
    pub(super) fn send_frame(&mut self, at: usize, (link, slot): (LinkId, u8), frame: &Frame, at_us: u64) {
        for (nth, packet) in packets_of(frame, at_us).into_iter().enumerate() {
            self.forward_after(at, link, slot, &packet, SEND_US + nth as u64 * PACE_US);
        }
    }

    /// Handles a packet that arrives at a page: its browser hands on whole frames.
    pub(super) fn packet_at_page(
        &mut self,
        to: usize,
        (link, slot): (LinkId, u8),
        number: u64,
        packet: MediaPacket,
    ) {
        let now_us = clock_us(self.peers[to].clock(self.now));
        let Some(shell) = self.peers[to].shell_mut() else { return };
        let Some(leg) = shell.legs.get_mut(&link) else { return };
        let receiver = leg.received.entry(slot).or_insert_with(|| Receiver::new(slot));
        for frame in receiver.take(number, packet, now_us) {
            let (data, level) = (frame.data.clone(), frame.level);
            let mut may_be_decoded = false;
            self.with_body(to, |body, now_us, outs| {
                may_be_decoded = body.frame(now_us, (link, slot), (data, level, &[]), outs);
            });
            if may_be_decoded {
                self.page_shows(to, (link, slot), &frame);
            }
        }
    }

    /// A page's browser shows a picture, if it came from the peer that feeds the page. It plays what arrives by itself:
    /// what its body holds back for an application is of no account.
    fn page_shows(&mut self, at: usize, from: (LinkId, u8), frame: &Frame) {
        let identity = &frame.identity;
        let Some(maker) =
            self.makers.get(&identity.stream).copied().filter(|_| frame.kind == MediaKind::Video)
        else {
            return;
        };
        let captured = self.peers[maker].clock_shows(brain_time(identity.captured_us)).min(self.now);
        let now = self.now;
        let Some(shell) = self.peers[at].shell_mut() else { return };
        let is_shown =
            shell.body.shown().iter().any(|shown| shown.speaker.is_none() && shown.picture == from);
        let Some(page) = shell.page.as_mut().filter(|_| is_shown) else { return };
        if let Some(shown) = page.shown_at(now, captured) {
            let forged = self.note_forged(&frame.data);
            self.peers[at].arrivals.shown(shown, self.now, captured, forged);
            self.note_shown(at, captured, shown);
        }
    }

    /// Handles a packet of a page's browser that arrives at a native peer.
    pub(super) fn packet_of_page(
        &mut self,
        to: usize,
        (link, slot): (LinkId, u8),
        number: u64,
        packet: MediaPacket,
    ) {
        let MediaPacket { timestamp, marker, audio_level, payload, .. } = packet;
        let packet = BrowserPacket { sequence_number: number, timestamp, marker, audio_level, payload };
        self.with_body(to, |body, now_us, outs| body.browser_packet(now_us, link, slot, packet, outs));
    }
}
