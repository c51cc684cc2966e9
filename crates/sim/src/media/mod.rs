//! The program on its way from mixers to viewers, at the level of detail of the plan's media model.
//!
//! At packet level real bodies carry it, in `world/shells.rs` and `world/flights.rs`; of this module only the rules of
//! `repair` are theirs. `frame` sends it in whole frames, with heads, pings and the watchdogs that bodies run. `flow`
//! only follows how much of the program each link carries, and computes what the watchdogs would report and when.
//! Brains see the same at all levels: feed requests, first packets, verdicts.

mod flow;
mod frame;
pub(crate) mod repair;
mod still;
mod watches;

use plenary_proto::message::{MediaMessage, Message, Resume, StreamUse};
use plenary_proto::time::MS;
use plenary_proto::watchdog::{self, PING_US};
use plenary_proto::{Input, MixRole, PeerId, StreamId, StreamKind, StreamSpec, Time, Verdict};

use crate::net::Network;
use crate::peer::{Followed, MixerWatch, Served};
use crate::plan::{MediaModel, WorldPlan};
use crate::world::{Happening, World};

pub(crate) use flow::Flow;
pub(crate) use still::latencies as latencies_in_still_tree;

/// Frame interval at 30 fps, microseconds.
pub(crate) const FRAME_US: u64 = 33_333;
/// Time from the order to mix to a mixer's first frame: one frame to compose and encode.
const BEGIN_US: u64 = 30 * MS;
/// Time after which a standby has a picture of every speaker: keyframe requests, a round trip and a frame. A
/// guess.
const WARM_US: u64 = 300 * MS;

/// One frame of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Spec of its stream.
    pub spec: StreamSpec,
    /// Id of its stream.
    pub stream: StreamId,
    /// Frame number in the stream, from 1.
    pub number: u64,
    /// Capture time, in the world's time.
    pub captured: Time,
    /// Whether it is a keyframe.
    pub key: bool,
    /// Whether a relay has forged it.
    pub forged: bool,
}

/// Time within which a suspected child must show that it is alive.
fn suspect_us(net: &Network, at: usize, child: usize) -> u64 {
    watchdog::suspect_us(2 * net.one_way_us(at, child))
}

/// Mean length of a frame of a plan's program, in bytes.
fn frame_bytes(plan: &WorldPlan) -> usize {
    (u64::from(plan.room.program_bps) * FRAME_US / 8_000_000) as usize
}

impl World {
    /// Whether the world drives real bodies.
    pub(crate) fn has_bodies(&self) -> bool {
        self.plan.media == MediaModel::Packet
    }

    /// Whether the program is followed frame by frame, not as a flow.
    pub(crate) fn by_frames(&self) -> bool {
        self.plan.media != MediaModel::Fluid
    }

    /// Time between two pictures of a mixer: the frame interval, or its machine's time for a picture if that
    /// is longer.
    pub(crate) fn picture_us(&self, at: usize) -> u64 {
        let plan = &self.plan.peers[self.peers[at].planned];
        FRAME_US.max((plan.encode_us + plan.decode_us).into())
    }

    /// Reports the latest degradations of the program to the brains of the peers that watch.
    pub(crate) fn tell_suffering(&mut self) {
        if !self.by_frames() {
            return;
        }
        for at in 0..self.peers.len() {
            let (now, peer) = (self.now, &mut self.peers[at]);
            let watches = peer.is_there() && peer.views && !peer.is_mixing();
            let suffered = if watches { peer.suffering.take(now, peer.brain().fps_wanted()) } else { 0 };
            if suffered > 0 {
                self.input(at, Input::Trouble(suffered));
            }
        }
    }

    /// Processes an event of the program.
    pub(crate) fn program(&mut self, happening: Happening) {
        match happening {
            Happening::Frame { to, from, frame }
                if self.both_alive(to, from) && self.link_is_up(to, from) =>
            {
                self.frame_arrived(to, from, *frame);
            }
            Happening::Again { to, from, frame, tries } => self.send_again(from, to, *frame, tries),
            Happening::Heartbeat { to, from, heartbeat } if self.both_alive(to, from) => {
                if self.has_bodies() {
                    self.beat(to, from, heartbeat)
                } else {
                    self.heartbeat_arrived(to, from, heartbeat)
                }
            }
            Happening::Arrival { to, from, media } if self.both_alive(to, from) => {
                self.heard(to, from, media)
            }
            Happening::KeyWanted { to, from } if self.both_alive(to, from) => self.key_wanted(to),
            Happening::Flows { to, from, stream } => {
                self.flow_changed(to, from, stream.map(|stream| *stream))
            }
            Happening::Produce(at) => self.produce(at),
            Happening::Warm(at) => self.input(at, Input::Warm),
            Happening::Look(at) if self.by_frames() => self.update_watches(at),
            Happening::Look(at) => self.judge(at),
            Happening::ChildLook { at, child } => self.judge_child(at, child),
            _ => {}
        }
    }

    /// Spec of a stream that a peer makes or may receive.
    pub(crate) fn spec_of(&self, at: usize, stream: StreamId) -> Option<StreamSpec> {
        let peer = &self.peers[at];
        let own = peer.own.filter(|own| own.id(&self.room) == stream);
        own.or_else(|| peer.followed.iter().find(|known| known.id == stream).map(|known| known.spec))
    }

    /// Announces a stream to a child before its first frame.
    fn announce(&mut self, at: usize, child: usize, spec: StreamSpec, id: StreamId) {
        let Some(served) = self.peers[at].served_mut(child) else { return };
        if served.announced != Some(id) {
            served.announced = Some(id);
            let child = self.peers[child].id;
            self.control(at, &child, Message::Media(MediaMessage::Stream(StreamUse { slot: 0, spec })));
        }
    }

    /// Reports to the brain that a peer which it asked to feed it does so, at its first packet.
    fn is_fed(&mut self, at: usize, from: usize) {
        let asked = &mut self.peers[at].asked;
        if let Some(place) = asked.iter().position(|peer| *peer == from) {
            asked.swap_remove(place);
            let from = self.peers[from].id;
            self.input(at, Input::Fed(from));
        }
    }

    /// Records that something arrived from a peer, media or not.
    pub(crate) fn heard(&mut self, to: usize, from: usize, media: bool) {
        let now = self.now;
        let peer = &mut self.peers[to];
        if let Some(link) = peer.link_mut(from) {
            link.heard_at = now;
        }
        if let Some(feed) = peer.feed.as_mut().filter(|_| peer.parent == Some(from)) {
            if media { feed.fed(now) } else { feed.arrived(now) }
        }
        let watched = peer.mixers.iter_mut().find(|watched| watched.mixer == from);
        if let Some(watch) = watched.and_then(|watched| watched.watch.as_mut()) {
            if media { watch.fed(now) } else { watch.arrived(now) }
        }
    }

    /// When a peer last sent its pings: all linked peers receive them, and they aren't simulated as events.
    pub(crate) fn pinged_at(&self, peer: usize) -> Time {
        let phase = peer as u64 * 7_919;
        self.now - (self.now.0 + phase) % PING_US
    }

    /// Accepts a stream from a peer from now on.
    pub(crate) fn follow(&mut self, at: usize, from: usize, slot: u8, id: StreamId, spec: StreamSpec) {
        let peer = &mut self.peers[at];
        peer.followed.retain(|known| (known.from, known.slot) != (from, slot));
        peer.followed.push(Followed { from, slot, id, spec });
        if self.by_frames() { self.take_early(at, id) } else { self.choose_flow(at) }
    }

    /// Starts to feed a child, in the tree or beside it, from its resume point or from the last keyframe.
    pub(crate) fn serve(&mut self, at: usize, child: usize, from: Option<Resume>, in_tree: bool) {
        let now = self.now;
        let before = self.peers[at].served_mut(child).and_then(|served| served.flows);
        let served = Served {
            child,
            media: true,
            in_tree,
            since: now,
            next_head: now,
            last_media: now,
            flows: before,
            ..Served::default()
        };
        self.peers[at].serve(served);
        if self.by_frames() {
            self.serve_cached(at, child, from);
            self.look_soon(at);
        } else {
            self.feed_or_cease_all(at);
        }
    }

    /// Resume point of a peer: its newest frame.
    pub(crate) fn have(&self, at: usize) -> Option<Resume> {
        let last = self.peers[at].cache.back()?;
        Some(Resume { stream: last.stream, video_packet: last.number, sound_packet: 0 })
    }

    /// Starts to check a child that is suspected to be dead.
    pub(crate) fn suspect(&mut self, at: usize, child: usize) {
        let now = self.now;
        let Some(served) = self.peers[at].served_mut(child) else { return };
        served.suspected.get_or_insert(now);
        if self.by_frames() {
            self.ask_head(at, child);
        } else {
            self.push(now + suspect_us(&self.net, at, child), Happening::ChildLook { at, child });
        }
    }

    /// Watches a peer's parent, and compares it with the backup.
    pub(crate) fn watch(&mut self, at: usize, parent: Option<usize>, backup: Option<usize>) {
        let now = self.now;
        let by_frames = self.by_frames();
        let peer = &mut self.peers[at];
        if peer.parent != parent {
            peer.watched_at = now;
            peer.parent_verdict = Verdict::Ok;
            peer.feed = parent.filter(|_| by_frames).map(|_| peer.new_feed_watch(now));
        }
        if peer.backup != backup {
            (peer.backup_since, peer.backup_verdict) = (now, Verdict::Ok);
            if let Some(feed) = peer.feed.as_mut().filter(|_| backup.is_some()) {
                feed.another_backup();
            }
        }
        (peer.parent, peer.backup) = (parent, backup);
        self.look_soon(at);
    }

    /// Watches these mixers, as their successor does.
    pub(crate) fn watch_mixers(&mut self, at: usize, mixers: &[usize]) {
        let now = self.now;
        let by_frames = self.by_frames();
        let watched = &mut self.peers[at].mixers;
        watched.retain(|watched| mixers.contains(&watched.mixer));
        for mixer in mixers {
            if !watched.iter().any(|watched| watched.mixer == *mixer) {
                let watch = by_frames.then(|| watches::new_mixer_watch(now));
                watched.push(MixerWatch { mixer: *mixer, since: now, watch, verdict: Verdict::Ok });
            }
        }
        self.look_soon(at);
    }

    /// Schedules a check of the watchdogs: at the usual interval with frames, almost at once in the fluid model.
    pub(crate) fn look_soon(&mut self, at: usize) {
        let due = self.now + if self.by_frames() { watches::LOOK_US } else { MS };
        self.look_at(at, due);
    }

    fn look_at(&mut self, at: usize, due: Time) {
        if self.peers[at].looks_at.is_none_or(|looks| due < looks) {
            self.peers[at].looks_at = Some(due);
            self.push(due, Happening::Look(at));
        }
    }

    /// Changes a peer's role in the mix.
    pub(crate) fn take_role(&mut self, at: usize, role: MixRole) {
        let now = self.now;
        let was_mixing = self.peers[at].is_mixing();
        self.peers[at].role = Some(role);
        // a mixer that is about to begin hasn't begun under any rank
        let begun = self.peers[at].own.map(|own| own.rank).unwrap_or_default();
        let goes_on = was_mixing && role.continues(begun);
        if was_mixing && !goes_on {
            // a child that arrives before the next stream must not get frames of the stream that has ended
            self.peers[at].cache.clear();
        }
        match role {
            MixRole::Mix { .. } if !goes_on => {
                (self.peers[at].own, self.peers[at].own_frames) = (None, 0);
                if !was_mixing || !self.by_frames() {
                    self.push(now + BEGIN_US, Happening::Produce(at));
                }
            }
            MixRole::Warm { .. } => self.push(now + WARM_US, Happening::Warm(at)),
            _ => {}
        }
        if was_mixing && !self.by_frames() {
            self.choose_flow(at);
        }
    }

    /// Makes the next frame of a mixing peer, or starts its flow.
    fn produce(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let Some(MixRole::Mix { rank, .. }) = peer.role.filter(|_| peer.is_there()) else { return };
        let spec = *peer.own.get_or_insert_with(|| StreamSpec {
            maker: peer.id,
            kind: StreamKind::Program,
            rank,
            rung: 0,
            start: now.0.to_be_bytes(),
        });
        peer.own_frames += 1;
        if peer.own_frames == 1 {
            self.input(at, Input::Started(spec));
        }
        if self.by_frames() { self.make_frame(at, spec) } else { self.choose_flow(at) }
    }

    /// Stops forwarding to a child.
    pub(crate) fn stop_flow(&mut self, at: usize, child: usize) {
        if !self.by_frames()
            && let Some(served) = self.peers[at].served_mut(child)
        {
            served.media = false;
            self.feed_or_cease_all(at);
        }
    }

    /// Longest time without a new frame at a peer since `from`, microseconds.
    pub fn longest_gap_us(&self, id: PeerId, from: Time) -> u64 {
        let at = self.at(id);
        self.arrivals(at).longest_gap_us(from, self.now)
    }

    /// Living peers that want the program and have had no frame for `us` microseconds.
    pub fn starving(&self, us: u64) -> Vec<PeerId> {
        let hungry = self.peers.iter().filter(|peer| {
            let since = peer.arrivals.last().unwrap_or(peer.joined_at);
            peer.is_there() && peer.views && !peer.flow.flows && self.now.since(since) >= us
        });
        hungry.map(|peer| peer.id).collect()
    }
}
