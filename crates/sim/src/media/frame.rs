//! The program frame by frame: made by mixers, passed on by parents, compared by watches.
//!
//! A frame is one datagram as large as the program's rate makes it: it waits at uplinks and downlinks, and is lost
//! as one packet is. A lost one is noticed, asked for and sent again within a round trip, a few times.

use std::collections::VecDeque;

use plenary_proto::message::{Beat, Head, Resume};
use plenary_proto::time::MS;
use plenary_proto::watchdog::{
    self, BACKUP_SILENT_US, CHILD_SILENT_US, FeedWatch, MIXER_BEGIN_US, MIXER_SILENT_US, PING_US,
    SilenceWatch,
};
use plenary_proto::{Input, Rank, StreamId, StreamSpec, Time, Verdict};

use super::{FRAME_US, Frame};
use crate::peer::{CACHE_FRAMES, Peer};
use crate::world::{Happening, World};

/// A key frame each two seconds, and after one at the earliest if it is asked for (docs/PROTOCOL.md, 1.5).
const KEY_EACH: u64 = 60;
const KEY_EACH_MIN: u64 = 30;
/// A key frame is asked for upstream no more often than bodies do.
const KEY_ASK_US: u64 = 1_000 * MS;
/// Watches are looked at this often.
pub(super) const LOOK_US: u64 = 25 * MS;
/// A feeding link without media for this long sends heads (DESIGN §8).
const FEED_HEAD_US: u64 = 100 * MS;
/// A backup link sends heads this often.
const BACKUP_HEAD_US: u64 = 500 * MS;
/// A lost frame is sent again so many times: as long as a receiver's jitter buffer would wait for it.
const TRIES_MAX: u32 = 5;
/// From a hole to the request to fill it (docs/PROTOCOL.md, repair).
const NACK_US: u64 = 10 * MS;
/// A head on the wire, with all headers.
const BEAT_BYTES: usize = 120;

pub(super) fn new_mixer_watch(now: Time) -> Box<SilenceWatch> {
    Box::new(SilenceWatch::new(now, MIXER_SILENT_US).unfed(MIXER_BEGIN_US))
}

impl Peer {
    pub(super) fn new_feed_watch(&self, now: Time) -> Box<FeedWatch> {
        let mut feed = FeedWatch::new(now);
        if let Some(last) = self.cache.back() {
            feed.progressed(now, last.captured.0);
        }
        Box::new(feed)
    }

    fn head(&self) -> Head {
        let last = self.cache.back();
        Head {
            rank: last.map_or(Rank::default(), |last| last.spec.rank),
            stream: last.map_or(StreamId::default(), |last| last.stream),
            captured_us: last.map_or(0, |last| last.captured.0),
            ..Head::default()
        }
    }
}

impl World {
    /// Makes the next frame of a program.
    pub(super) fn make_frame(&mut self, at: usize, spec: StreamSpec) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let number = peer.own_frames;
        let since_key = number - peer.own_key.min(number);
        let key = number == 1 || since_key >= KEY_EACH || (peer.key_wanted && since_key >= KEY_EACH_MIN);
        if key {
            (peer.own_key, peer.key_wanted) = (number, false);
        }
        let frame = Frame { spec, stream: spec.id(&self.room), number, captured: now, key };
        self.push(now + FRAME_US, Happening::Produce(at));
        self.hold(at, frame);
        for warm in self.peers[at].passing.clone() {
            self.datagram(at, warm, Happening::Arrival { to: warm, from: at, media: true });
        }
    }

    /// A peer has a new frame: it is kept, shown and passed on.
    fn hold(&mut self, at: usize, frame: Frame) {
        let now = self.now;
        let peer = &mut self.peers[at];
        peer.arrivals.frame(now, frame.captured);
        if let Some(feed) = &mut peer.feed {
            feed.progressed(now, frame.captured.0);
        }
        // one that was lost and came again goes to its place
        let after =
            peer.cache.iter().rposition(|held| held.stream != frame.stream || held.number < frame.number);
        peer.cache.insert(after.map_or(0, |after| after + 1), frame);
        if peer.cache.len() > CACHE_FRAMES {
            peer.cache.pop_front();
        }
        for place in 0..self.peers[at].served.len() {
            if let Some(served) = self.peers[at].served.get(place).filter(|served| served.media) {
                self.send_frame(at, served.child, frame);
            }
        }
    }

    /// Sends a frame to a child, announced before the first of its stream.
    fn send_frame(&mut self, at: usize, child: usize, frame: Frame) {
        let now = self.now;
        let Some(served) = self.peers[at].served_mut(child) else { return };
        served.last_media = now;
        if served.announced != Some(frame.stream)
            && let Some(spec) = self.spec_of(at, frame.stream)
        {
            self.announce(at, child, spec, frame.stream);
        }
        let id = self.peers[child].id;
        let later_us = match self.deviations.get_mut(&at) {
            None => Some(0),
            Some(deviation) => deviation.passes_on(now, id),
        };
        match later_us {
            None => {}
            Some(0) => self.send_again(at, child, frame, 0),
            Some(us) => {
                let again = Happening::Again { to: child, from: at, frame: Box::new(frame), tries: 0 };
                self.push(now + us, again);
            }
        }
    }

    /// A frame leaves, for the first time or once more.
    pub(super) fn send_again(&mut self, at: usize, to: usize, frame: Frame, tries: u32) {
        if !self.link_is_up(at, to) || !self.peers[at].is_there() {
            return;
        }
        self.frames_sent += 1;
        let bytes = u64::from(self.plan.room.program_bps) * FRAME_US / 8_000_000;
        let frame = Box::new(frame);
        match self.net.send(self.now, at, to, bytes as usize) {
            Some(arrives) => self.push(arrives, Happening::Frame { to, from: at, frame }),
            None if tries < TRIES_MAX => {
                let asked = self.now + 2 * self.net.one_way_us(at, to) + NACK_US;
                self.push(asked, Happening::Again { to, from: at, frame, tries: tries + 1 });
            }
            None => {}
        }
    }

    /// A beat, or the bare arrival of something: lost ones are lost.
    fn datagram(&mut self, at: usize, to: usize, happening: Happening) {
        if self.link_is_up(at, to)
            && let Some(arrives) = self.net.send(self.now, at, to, BEAT_BYTES)
        {
            self.push(arrives, happening);
        }
    }

    /// A frame has come over a link.
    pub(super) fn frame_arrived(&mut self, to: usize, from: usize, frame: Frame) {
        self.heard(to, from, true);
        let peer = &mut self.peers[to];
        if !peer.followed.iter().any(|known| known.id == frame.stream) {
            peer.early.push_back((from, frame));
            if peer.early.len() > CACHE_FRAMES {
                peer.early.pop_front();
            }
            return;
        }
        self.is_fed(to, from);
        let peer = &self.peers[to];
        let of_stream = || peer.cache.iter().filter(|held| held.stream == frame.stream);
        let held = || of_stream().any(|held| held.number == frame.number);
        let takes = !peer.is_mixing()
            && match peer.cache.back() {
                None => frame.key,
                Some(last) if last.stream == frame.stream && frame.number > last.number => true,
                // it was lost, and comes again
                Some(last) if last.stream == frame.stream => {
                    of_stream().next().is_some_and(|first| first.number < frame.number) && !held()
                }
                // another program: from a key frame on
                Some(last) => {
                    frame.key
                        && frame.spec.supersedes(&last.spec, &peer.mandate, peer.parent == Some(from))
                        && !held()
                }
            };
        let lacks_key = !frame.key
            && match peer.cache.back() {
                None => true,
                Some(last) => {
                    last.stream != frame.stream && frame.spec.supersedes(&last.spec, &peer.mandate, true)
                }
            };
        if takes {
            self.hold(to, frame);
        } else if lacks_key && !peer.is_mixing() {
            self.ask_key(to, from);
        }
    }

    /// Asks for a key frame, which a mixer makes and a relay asks for in turn.
    fn ask_key(&mut self, at: usize, of: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        if peer.key_asked_at.is_none_or(|asked| now.since(asked) >= KEY_ASK_US) {
            peer.key_asked_at = Some(now);
            self.datagram(at, of, Happening::KeyWanted { to: of, from: at });
        }
    }

    pub(super) fn key_wanted(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if peer.is_mixing() {
            peer.key_wanted = true;
        } else if let Some(parent) = peer.parent {
            self.ask_key(at, parent);
        }
    }

    /// A stream may be taken: so may its frames that came before.
    pub(super) fn take_early(&mut self, at: usize, id: StreamId) {
        let early = std::mem::take(&mut self.peers[at].early);
        let (known, unknown): (VecDeque<_>, VecDeque<_>) =
            early.into_iter().partition(|(_, frame)| frame.stream == id);
        self.peers[at].early = unknown;
        for (from, frame) in known {
            self.frame_arrived(at, from, frame);
        }
    }

    /// What a child lacks of what is here, or the last key frame and what followed.
    pub(super) fn serve_cached(&mut self, at: usize, child: usize, from: Option<Resume>) {
        let cache = &self.peers[at].cache;
        let newest = cache.back().map(|frame| frame.stream);
        let frames: Vec<Frame> = match from.filter(|resume| Some(resume.stream) == newest) {
            Some(resume) => cache
                .iter()
                .filter(|frame| frame.stream == resume.stream && frame.number > resume.video_packet)
                .copied()
                .collect(),
            None => {
                let key = cache.iter().rposition(|frame| frame.key);
                key.map_or(Vec::new(), |key| cache.iter().skip(key).copied().collect())
            }
        };
        for frame in frames {
            self.send_frame(at, child, frame);
        }
    }

    pub(super) fn beat_arrived(&mut self, to: usize, from: usize, beat: Beat) {
        let now = self.now;
        self.heard(to, from, false);
        match beat {
            Beat::Head(head) => {
                let peer = &mut self.peers[to];
                // a program beside ours says nothing of ours: its clock is another
                let tells = peer
                    .cache
                    .back()
                    .is_none_or(|last| last.stream == head.stream || head.rank > last.spec.rank);
                if let Some(feed) = peer.feed.as_mut().filter(|_| tells && peer.backup == Some(from)) {
                    feed.backup_head(now, head.captured_us);
                    self.say_verdicts(to);
                }
            }
            Beat::HeadWanted => {
                let head = self.peers[to].head();
                self.datagram(to, from, Happening::Beat { to: from, from: to, beat: Beat::Head(head) });
            }
            _ => {}
        }
    }

    /// Looks at a peer's watches, and sends the heads that are due.
    pub(super) fn look(&mut self, at: usize) {
        let now = self.now;
        self.peers[at].looks_at = None;
        if !self.peers[at].is_there() {
            return;
        }
        let asks = self.peers[at].feed.as_mut().is_some_and(|feed| feed.asks_backup(now));
        let suspected = self.peers[at].served.iter().filter(|served| served.suspected.is_some());
        let asked: Vec<usize> = suspected.map(|served| served.child).collect();
        for peer in self.peers[at].backup.filter(|_| asks).into_iter().chain(asked) {
            self.ask_head(at, peer);
        }
        self.ping(at);
        self.send_heads(at);
        self.say_verdicts(at);
        let peer = &self.peers[at];
        if peer.feed.is_some() || !peer.mixers.is_empty() || !peer.served.is_empty() {
            self.look_soon(at);
        }
    }

    /// Tells a brain what its watches say now.
    fn say_verdicts(&mut self, at: usize) {
        for (peer, verdict) in self.verdicts(at) {
            let peer = self.peers[peer].id;
            self.input(at, Input::Verdict { peer, verdict });
        }
    }

    /// What the watches say that they haven't said yet.
    fn verdicts(&mut self, at: usize) -> Vec<(usize, Verdict)> {
        let now = self.now;
        let peer = &mut self.peers[at];
        let mut said = Vec::new();
        let feed = peer.feed.as_ref().map(|feed| feed.verdict(now));
        if let (Some(parent), Some(verdict)) = (peer.parent, feed)
            && verdict != peer.parent_verdict
        {
            peer.parent_verdict = verdict;
            said.push((parent, verdict));
        }
        if let Some(backup) = peer.backup.filter(|_| peer.backup_verdict == Verdict::Ok) {
            let heard = peer.link(backup).map_or(peer.backup_since, |link| link.heard_at);
            if now.since(heard.max(peer.backup_since)) >= BACKUP_SILENT_US {
                peer.backup_verdict = Verdict::Silent;
                said.push((backup, Verdict::Silent));
            }
        }
        for watched in &mut peer.mixers {
            let verdict = watched.watch.as_ref().map_or(Verdict::Ok, |watch| watch.verdict(now));
            if std::mem::replace(&mut watched.verdict, verdict) != verdict {
                said.push((watched.mixer, verdict));
            }
        }
        for place in 0..peer.served.len() {
            let mut served = peer.served[place];
            let heard = peer.link(served.child).map_or(served.since, |link| link.heard_at).max(served.since);
            served.suspected.take_if(|suspected| heard > *suspected);
            peer.served[place].suspected = served.suspected;
            let suspect_us = watchdog::suspect_us(2 * self.net.one_way_us(at, served.child));
            let silent = now.since(heard) >= CHILD_SILENT_US
                || served.suspected.is_some_and(|suspected| now.since(suspected) >= suspect_us);
            if !served.silent && silent {
                peer.served[place].silent = true;
                said.push((served.child, Verdict::Silent));
            }
        }
        said
    }

    /// Asks a peer how far it is.
    pub(super) fn ask_head(&mut self, at: usize, of: usize) {
        self.datagram(at, of, Happening::Beat { to: of, from: at, beat: Beat::HeadWanted });
    }

    /// Peers above and below ping each other.
    fn ping(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if peer.next_ping <= self.now {
            peer.next_ping = self.now + PING_US;
            for above in peer.parent.into_iter().chain(peer.backup) {
                self.datagram(at, above, Happening::Arrival { to: above, from: at, media: false });
            }
        }
    }

    fn send_heads(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let mut heads = Vec::new();
        for served in &mut peer.served {
            let each = if served.media { FEED_HEAD_US } else { BACKUP_HEAD_US };
            let quiet = !served.media || now.since(served.last_media) >= FEED_HEAD_US;
            if quiet && served.next_head <= now {
                served.next_head = now + each;
                heads.push(served.child);
            }
        }
        if peer.next_passed <= now {
            peer.next_passed = now + FEED_HEAD_US;
            heads.extend(peer.passing.iter().copied());
        }
        let head = peer.head();
        for to in heads {
            self.datagram(at, to, Happening::Beat { to, from: at, beat: Beat::Head(head) });
        }
    }
}
