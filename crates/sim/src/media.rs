//! The program, frame by frame: made by mixers, passed on by parents, compared by watches.

use std::collections::VecDeque;

use plenary_proto::message::{Beat, Head, LinkKind, Message, Resume, StreamUse};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::watchdog::{
    CHILD_SILENT_US, FeedWatch, MIXER_BEGIN_US, MIXER_SILENT_US, PING_US, SilenceWatch,
};
use plenary_proto::{Input, MixRole, PeerId, Rank, StreamId, StreamKind, StreamSpec, Time, Verdict};

use crate::peer::{CACHE_FRAMES, Served};
use crate::world::{Happening, World};

/// Time between frames at 30 fps.
pub(crate) const FRAME_US: u64 = 33_333;
/// A key frame each two seconds.
const KEY_EACH: u64 = 60;
/// Watches are looked at this often.
pub(crate) const LOOK_US: u64 = 25 * MS;
/// A feeding link without media for this long sends heads (DESIGN §8).
const FEED_HEAD_US: u64 = 100 * MS;
/// A backup link sends heads this often.
const BACKUP_HEAD_US: u64 = 500 * MS;

/// One frame of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Under which mandate it was made.
    pub rank: Rank,
    /// Its stream.
    pub stream: StreamId,
    /// Counts the stream's frames from 1.
    pub number: u64,
    /// When it was captured, in the world's time.
    pub captured: Time,
    /// Decodable alone.
    pub key: bool,
    /// All speakers were sending to its mixer.
    pub whole: bool,
}

impl World {
    /// Makes the next frame of a mixing peer.
    pub(crate) fn produce(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let Some(MixRole::Mix { rank, .. }) = peer.role else { return };
        if !peer.alive {
            return;
        }
        let spec = *peer.own.get_or_insert_with(|| StreamSpec {
            maker: peer.id,
            kind: StreamKind::Program,
            rank,
            rung: 0,
            start: now.0.to_be_bytes(),
        });
        peer.own_frames += 1;
        let number = peer.own_frames;
        let whole = self.speakers_send_to(at);
        let frame = Frame {
            rank: spec.rank,
            stream: spec.id(&self.room),
            number,
            captured: now,
            key: number % KEY_EACH == 1,
            whole,
        };
        self.made.push(frame);
        self.push(now + FRAME_US, Happening::Produce(at));
        if number == 1 {
            self.input(at, Input::Started(spec));
        }
        self.hold(at, frame);
        for warm in self.peers[at].passing.clone() {
            self.datagram(at, warm, Happening::Arrival { to: 0, from: at, media: true });
        }
    }

    fn speakers_send_to(&self, mixer: usize) -> bool {
        let id = self.peers[mixer].id;
        let Some(roster) = self.peers[mixer].brain.roster() else { return false };
        roster.entries.iter().filter(|entry| entry.speaks && !entry.away).all(|entry| {
            let speaker = &self.peers[self.index[&entry.peer]];
            speaker.id == id || !speaker.alive || speaker.speaking_to.contains(&id)
        })
    }

    /// A peer has a new frame: it is kept, shown and passed on.
    fn hold(&mut self, at: usize, frame: Frame) {
        let now = self.now;
        let peer = &mut self.peers[at];
        peer.arrivals.push((now, frame));
        if let Some(feed) = &mut peer.feed {
            feed.progressed(now, frame.captured.0);
        }
        peer.cache.push_back(frame);
        if peer.cache.len() > CACHE_FRAMES {
            peer.cache.pop_front();
        }
        let children: Vec<_> =
            peer.served.iter().filter(|(_, served)| served.media).map(|(child, _)| *child).collect();
        for child in children {
            self.send_frame(at, child, frame);
        }
    }

    /// Sends a frame to a child, announced before the first of its stream.
    fn send_frame(&mut self, at: usize, child: PeerId, frame: Frame) {
        let now = self.now;
        let spec = self.spec_of(at, frame.stream);
        let Some(served) = self.peers[at].served.get_mut(&child) else { return };
        served.last_media = now;
        if served.announced != Some(frame.stream) {
            served.announced = Some(frame.stream);
            if let Some(spec) = spec {
                self.control(at, child, Message::Stream(StreamUse { slot: 0, spec }));
            }
        }
        self.frames_sent += 1;
        self.media(at, child, frame);
    }

    fn spec_of(&self, at: usize, stream: StreamId) -> Option<StreamSpec> {
        let peer = &self.peers[at];
        let own = peer.own.filter(|own| own.id(&self.room) == stream);
        own.or_else(|| peer.followed.values().find(|(id, _)| *id == stream).map(|(_, spec)| *spec))
    }

    /// A frame has come over a link.
    pub(crate) fn frame_arrived(&mut self, to: usize, from: usize, frame: Frame) {
        self.heard(to, from, true);
        let from_id = self.peers[from].id;
        let peer = &mut self.peers[to];
        if !peer.followed.values().any(|(id, _)| *id == frame.stream) {
            peer.early.push_back((from, frame));
            if peer.early.len() > CACHE_FRAMES {
                peer.early.pop_front();
            }
            return;
        }
        if peer.asked.remove(&from_id) {
            self.input(to, Input::Fed(from_id));
        }
        let peer = &self.peers[to];
        let mandate = peer.brain.snapshot().rank;
        let takes = match peer.cache.back() {
            None => frame.key,
            Some(last) if last.stream == frame.stream => frame.number > last.number,
            // another program: from a key frame on, if it is the one in force or at least no older
            Some(last) => frame.key && frame.rank.supersedes(last.rank, mandate),
        };
        let known = peer.cache.iter().any(|held| (held.stream, held.number) == (frame.stream, frame.number));
        if takes && !known && !peer.is_mixing() {
            self.hold(to, frame);
        }
    }

    /// A stream may be taken: so may its frames that came before.
    pub(crate) fn follow(&mut self, at: usize, from: PeerId, slot: u8, id: StreamId, spec: StreamSpec) {
        let peer = &mut self.peers[at];
        peer.followed.insert((from, slot), (id, spec));
        let (known, unknown): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut peer.early).into_iter().partition(|(_, frame)| frame.stream == id);
        peer.early = unknown;
        for (from, frame) in known {
            self.frame_arrived(at, from, frame);
        }
    }

    /// Begins to feed a child, from where it is or from the last key frame.
    pub(crate) fn serve(&mut self, at: usize, child: PeerId, from: Option<Resume>) {
        let now = self.now;
        let served = Served { media: true, since: now, next_head: now, last_media: now, ..Served::default() };
        self.peers[at].served.insert(child, served);
        let cache = &self.peers[at].cache;
        let newest = cache.back().map(|frame| frame.stream);
        let resumed = from.filter(|resume| Some(resume.stream) == newest);
        let frames: Vec<Frame> = match resumed {
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

    /// How far a peer is in the program.
    pub(crate) fn have(&self, at: usize) -> Option<Resume> {
        let last = self.peers[at].cache.back()?;
        Some(Resume { stream: last.stream, video_packet: last.number, sound_packet: 0 })
    }

    fn head(&self, at: usize) -> Head {
        let last = self.peers[at].cache.back();
        Head {
            rank: last.map_or(Rank::default(), |last| last.rank),
            captured_us: last.map_or(0, |last| last.captured.0),
            ..Head::default()
        }
    }

    pub(crate) fn beat_arrived(&mut self, to: usize, from: usize, beat: Beat) {
        let now = self.now;
        self.heard(to, from, false);
        match beat {
            Beat::Head(head) => {
                let from_id = self.peers[from].id;
                let peer = &mut self.peers[to];
                if let Some(feed) = peer.feed.as_mut().filter(|_| peer.backup == Some(from_id)) {
                    feed.backup_head(now, head.captured_us);
                }
            }
            Beat::HeadWanted => {
                let (head, asker) = (self.head(to), self.peers[from].id);
                self.datagram(to, asker, Happening::Beat { to: 0, from: to, beat: Beat::Head(head) });
            }
            _ => {}
        }
    }

    /// Something came from a peer, media or not.
    pub(crate) fn heard(&mut self, to: usize, from: usize, media: bool) {
        let now = self.now;
        let from_id = self.peers[from].id;
        let peer = &mut self.peers[to];
        peer.last_from.insert(from, now);
        if let Some(feed) = peer.feed.as_mut().filter(|_| peer.parent == Some(from_id)) {
            if media { feed.fed(now) } else { feed.arrived(now) }
        }
        if let Some((mixer, watch)) = &mut peer.mixer_watch
            && *mixer == from_id
        {
            if media { watch.fed(now) } else { watch.arrived(now) }
        }
    }

    pub(crate) fn watch(&mut self, at: usize, parent: Option<PeerId>, backup: Option<PeerId>) {
        let now = self.now;
        let peer = &mut self.peers[at];
        if peer.parent != parent {
            peer.feed = parent.map(|_| FeedWatch::new(now));
            peer.feed_verdict = Verdict::Ok;
            if let (Some(feed), Some(last)) = (&mut peer.feed, peer.cache.back()) {
                feed.progressed(now, last.captured.0);
            }
        }
        (peer.parent, peer.backup) = (parent, backup);
        self.look_soon(at);
    }

    pub(crate) fn watch_mixer(&mut self, at: usize, mixer: Option<PeerId>) {
        let now = self.now;
        let peer = &mut self.peers[at];
        peer.mixer_watch =
            mixer.map(|mixer| (mixer, SilenceWatch::new(now, MIXER_SILENT_US).unfed(MIXER_BEGIN_US)));
        peer.mixer_verdict = Verdict::Ok;
        self.look_soon(at);
    }

    pub(crate) fn look_soon(&mut self, at: usize) {
        if self.looking.insert(at) {
            self.push(self.now + LOOK_US, Happening::Look(at));
        }
    }

    /// Looks at a peer's watches, and sends the heads that are due.
    pub(crate) fn look(&mut self, at: usize) {
        let now = self.now;
        self.looking.remove(&at);
        if !self.peers[at].alive {
            return;
        }
        let peer = &mut self.peers[at];
        let mut said = Vec::new();
        let mut ask = None;
        if let (Some(feed), Some(parent)) = (&mut peer.feed, peer.parent) {
            if feed.asks_backup(now) {
                ask = peer.backup;
            }
            let verdict = feed.verdict(now);
            if verdict != peer.feed_verdict {
                peer.feed_verdict = verdict;
                said.push((parent, verdict));
            }
        }
        if let Some((mixer, watch)) = &peer.mixer_watch {
            let verdict = watch.verdict(now);
            if verdict != peer.mixer_verdict {
                peer.mixer_verdict = verdict;
                said.push((*mixer, verdict));
            }
        }
        let mut heads = Vec::new();
        for (child, served) in &mut peer.served {
            let last =
                peer.last_from.get(&self.index[child]).copied().unwrap_or(served.since).max(served.since);
            if served.media && !served.silent && now.since(last) >= CHILD_SILENT_US {
                served.silent = true;
                said.push((*child, Verdict::Silent));
            }
            let each = if served.media { FEED_HEAD_US } else { BACKUP_HEAD_US };
            let quiet = !served.media || now.since(served.last_media) >= FEED_HEAD_US;
            if quiet && served.next_head <= now {
                served.next_head = now + each;
                heads.push(*child);
            }
        }
        if peer.next_watched <= now {
            peer.next_watched = now + FEED_HEAD_US;
            heads.extend(peer.passing.iter().copied());
        }
        let mut pings = Vec::new();
        if peer.next_ping <= now {
            peer.next_ping = now + PING_US;
            pings.extend(peer.parent.into_iter().chain(peer.backup));
        }
        let busy = peer.feed.is_some() || peer.mixer_watch.is_some() || !peer.served.is_empty();
        if let Some(backup) = ask {
            self.datagram(at, backup, Happening::Beat { to: 0, from: at, beat: Beat::HeadWanted });
        }
        for above in pings {
            self.datagram(at, above, Happening::Arrival { to: 0, from: at, media: false });
        }
        let head = self.head(at);
        for child in heads {
            self.datagram(at, child, Happening::Beat { to: 0, from: at, beat: Beat::Head(head) });
        }
        for (peer, verdict) in said {
            self.input(at, Input::Verdict { peer, verdict });
        }
        if busy {
            self.look_soon(at);
        }
    }

    pub(crate) fn take_role(&mut self, at: usize, role: MixRole) {
        let now = self.now;
        let was_mixing = self.peers[at].is_mixing();
        self.peers[at].role = Some(role);
        match role {
            MixRole::Mix { .. } if !was_mixing => {
                (self.peers[at].own, self.peers[at].own_frames) = (None, 0);
                self.push(now + 30 * MS, Happening::Produce(at));
            }
            MixRole::Warm { .. } => self.push(now + 300 * MS, Happening::Warm(at)),
            _ => {}
        }
    }

    /// The longest time without a new frame at a peer, from `from` on, in microseconds.
    pub fn longest_gap_us(&self, id: PeerId, from: Time) -> u64 {
        let peer = &self.peers[self.index[&id]];
        let mut last = from.max(peer.arrivals.first().map_or(from, |(at, _)| *at));
        let mut longest = 0;
        for (at, _) in peer.arrivals.iter().filter(|(at, _)| *at >= from) {
            longest = longest.max(at.since(last));
            last = *at;
        }
        longest.max(self.now.since(last))
    }

    /// Peers that want the program, are there, and have had no frame for `us`.
    pub fn starving(&self, us: u64) -> Vec<PeerId> {
        let hungry = self.peers.iter().filter(|peer| {
            let since = peer.arrivals.last().map_or(peer.joined_at, |(at, _)| *at);
            peer.alive && !peer.left && peer.views && self.now.since(since) >= us
        });
        hungry.map(|peer| peer.id).collect()
    }

    /// A frame or beat may lie this long on the way, at most.
    pub(crate) fn link_is_up(&self, at: usize, to: usize) -> bool {
        self.peers[at].up.contains(&(to, LinkKind::Peer))
    }
}

/// The time after which a dead peer's links are given up by the stack underneath.
pub(crate) const LINK_DEAD_US: u64 = 5 * SECOND;
