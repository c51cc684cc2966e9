//! The program on its way through this peer: from the parent, or from the peer's own mixer, to children and
//! application.
//!
//! Each stream of the program that a mandate allows has its own cache and assembler. One stream is current. Another
//! one becomes current with a complete keyframe, if its mixer is in force and the current stream's is not, or, between
//! two mixers in force, if it arrives from the parent ([`StreamSpec::supersedes`]). From that frame on, children and
//! application get that stream and nothing of the old one. Streams never switch otherwise.

use plenary_proto::ordered::{OrderedMap, OrderedSet};

use bytes::Bytes;
use plenary_media::Frame;
use plenary_media::payload::{LEFT_OUT, is_spare, timestamp};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{Head, MediaMessage, Message, Resume, StreamUse};
use plenary_proto::packet::{Destinations, LinkId, MediaPacket};
use plenary_proto::suffering::Suffering;
use plenary_proto::{InForce, PeerId, RoomId, StreamId, StreamSpec, Time};

use crate::EARLY_US;
use crate::doubt::Doubts;
use crate::maker::lane;
use crate::outs::{Out, Outs};
use crate::past::Pasts;
use crate::rebuild::originals;
use crate::stream::{HOLE_US_MIN, Polled, Pushed, Stream};

/// Wait for a missing packet of the program's pictures after the first one, in microseconds. Giving up sooner costs
/// more: the keyframe that then ends the freeze comes later than most retransmissions, and must reach a whole
/// subtree. Simulated, bursts of loss of 150 ms: with 900 ms a calm room shows 99.6 % of its pictures within 1 s,
/// with 600 ms 99.4 %, with 250 ms 97.9 % (docs/measurements/bodies.md).
pub(crate) const PROGRAM_HOLE_US: u64 = 900_000;
/// Distance of the timestamps of pictures that a browser gets in a burst, in microseconds. A guess.
const BURST_PICTURE_US: u64 = 1_000;
/// Sound that a browser gets in a burst, in microseconds before the newest frame: what its jitter buffer holds. A
/// guess.
const BURST_SOUND_US: u64 = 100_000;
/// Slots of the program on a link: pictures, sound.
pub(crate) const PROGRAM_SLOTS: [u8; 2] = [0, 1];
/// Maximum number of streams known at a time: old and new in a failover, and one more.
pub(crate) const STREAMS_MAX: usize = 4;

/// A peer that this one feeds.
#[derive(Debug)]
struct Child {
    link: LinkId,
    /// Whether it gets the program's sound; a speaker gets its mix-minus instead.
    sound: bool,
    /// The stream announced to it last.
    told: Option<StreamId>,
    /// What was sent in whole frames: by a page, or to a browser; `None` between other peers.
    frames: Option<FramesSent>,
}

/// Frames of one stream that a child gets whole and in order, since the numbers of a browser's packets show no hole in
/// the stream.
#[derive(Clone, Copy, Debug, Default)]
struct FramesSent {
    /// Numbers of the newest picture and sound. Pictures begin with a keyframe.
    newest: [u32; 2],
}

impl FramesSent {
    /// Returns whether to send a frame, and counts it.
    fn take(&mut self, frame: &Frame, leaves_out: bool) -> bool {
        let newest = &mut self.newest[lane(frame.kind)];
        let follows = frame.kind == MediaKind::Sound || frame.identity.key || *newest > 0;
        let takes = follows && frame.identity.number > *newest && !leaves_out;
        if takes {
            *newest = frame.identity.number;
        }
        takes
    }
}

impl Child {
    /// Sends a frame with the timestamp of that time: the originator's packets, or a page's whole frame.
    fn send_frame(
        &mut self,
        (frame, at_us): (&Frame, u64),
        packets: Option<&[MediaPacket]>,
        leaves_out: bool,
        outs: &mut Outs,
    ) {
        if self.frames.as_mut().is_some_and(|frames| frames.take(frame, leaves_out)) {
            let (link, slot) = (self.link, PROGRAM_SLOTS[lane(frame.kind)]);
            match packets {
                Some(packets) => packets.iter().for_each(|packet| outs.send(link, slot, packet.clone())),
                None => outs.sends.push(Out::Frame { link, slot, at_us, frame: Box::new(frame.clone()) }),
            }
        }
    }
}

/// Returns what a browser gets when it begins to be fed, out of the frames since the newest keyframe: each frame, the
/// time that its timestamp stands for, and its packets. Pictures that no other refers to are left out up to packet
/// `held`, behind which the receiver lacks them. A browser plays by the timestamps: with those of the capture it shows
/// pictures late for seconds, as late as the burst is long. So pictures of the burst follow each other by a millisecond
/// up to the newest one, and only the last sound is sent.
fn burst(past: Vec<Frame>, sound: bool, held: u64) -> Vec<(Frame, u64, Vec<MediaPacket>)> {
    let captured_us = |frame: &Frame| frame.identity.captured_us;
    let newest_us = past.iter().map(captured_us).max().unwrap_or_default();
    let (pictures, sounds): (Vec<_>, Vec<_>) =
        past.into_iter().partition(|frame| frame.kind == MediaKind::Video);
    let last = sounds
        .into_iter()
        .filter(|frame| sound && captured_us(frame).saturating_add(BURST_SOUND_US) >= newest_us);
    let mut burst: Vec<_> = last.map(|frame| (captured_us(&frame), originals(&frame), frame)).collect();
    let marked = pictures.into_iter().map(|frame| (originals(&frame), frame));
    let lacks = |frame: &Frame| frame.identity.first_packet > held;
    let pictures: Vec<_> =
        marked.filter(|(packets, frame)| lacks(frame) || !is_spare_frame(frame, packets)).collect();
    let shown_us = pictures.last().map_or(0, |(_, frame)| captured_us(frame));
    for (after, (mut packets, frame)) in (0..pictures.len() as u64).rev().zip(pictures) {
        let at_us = shown_us.saturating_sub(after * BURST_PICTURE_US);
        packets.iter_mut().for_each(|packet| packet.timestamp = timestamp(MediaKind::Video, at_us));
        burst.push((at_us, packets, frame));
    }
    burst.into_iter().map(|(at_us, packets, frame)| (frame, at_us, packets)).collect()
}

/// Returns whether no other picture refers to a picture.
fn is_spare_frame(frame: &Frame, packets: &[MediaPacket]) -> bool {
    frame.kind == MediaKind::Video && packets.first().is_some_and(|packet| is_spare(&packet.payload))
}

/// Position at which a child's program begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// The current GOP, with the sound since its keyframe.
    Group,
    /// The packet after this position, if the stream is current; else the GOP.
    Behind(Resume),
    /// The next packet.
    Now,
}

/// Result of a packet.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Frames for the application, in order.
    pub(crate) frames: Vec<Frame>,
    /// Number of pictures of the current stream that a relay thinned out.
    pub(crate) left_out: u64,
    /// Whether to request a keyframe of the parent.
    pub(crate) key_wanted: bool,
    /// Whether the packet was new.
    pub(crate) fresh: bool,
    /// Whether its number leaps, so that it wasn't taken.
    pub(crate) refused: bool,
}

/// The program at this peer.
pub(crate) struct Program {
    /// This peer is a page: it sends whole frames.
    pub(crate) is_page: bool,
    /// This peer takes no pictures: it is a page in a browser without H.264.
    pub(crate) hears_only: bool,
    /// The mixers in force: their streams are preferred.
    in_force: InForce,
    /// The link with the peer that feeds this one.
    feeder: Option<LinkId>,
    pub(crate) streams: OrderedMap<StreamId, Stream>,
    current: Option<StreamId>,
    children: OrderedMap<PeerId, Child>,
    /// Maximum number of children at a time since this was last taken.
    fed_most: usize,
    /// Children's links that are thinned: they get only the pictures that other pictures refer to.
    thin: OrderedSet<LinkId>,
    pasts: Pasts,
    /// Faults of the current stream.
    suffering: Suffering,
    /// Time at which children were last sent media.
    pub(crate) forwarded_us: u64,
    /// The room, if its streams are sealed.
    sealed: Option<RoomId>,
    /// Links that forged frames came by.
    pub(crate) doubts: Doubts,
}

impl Program {
    /// Returns a program without streams; `sealed` is the room, if its streams are sealed.
    pub(crate) fn new(is_page: bool, sealed: Option<RoomId>) -> Program {
        Program {
            is_page,
            hears_only: false,
            in_force: InForce::default(),
            feeder: None,
            streams: OrderedMap::new(),
            current: None,
            children: OrderedMap::new(),
            fed_most: 0,
            thin: OrderedSet::new(),
            pasts: Pasts::default(),
            suffering: Suffering::default(),
            forwarded_us: 0,
            sealed,
            doubts: Doubts::default(),
        }
    }

    /// Sets the mixers in force: their streams are preferred.
    pub(crate) fn set_in_force(&mut self, in_force: InForce) {
        self.in_force = in_force;
    }

    /// Sets the link of the peer that feeds this one: of two mixers' programs, the one that arrives there counts. What
    /// the former feeder claimed without proof doesn't bind the new one.
    pub(crate) fn set_feeder(&mut self, link: Option<LinkId>) {
        if std::mem::replace(&mut self.feeder, link) != link && link.is_some() {
            self.streams.values_mut().for_each(Stream::another_sender);
        }
    }

    /// Returns the link of the peer that feeds this one.
    pub(crate) fn feeder(&self) -> Option<LinkId> {
        self.feeder
    }

    /// Allows a stream, of this peer or of a maker that the brain accepts. A known stream that is not current begins
    /// anew with a keyframe, which may have overtaken this call; the current one may go back.
    pub(crate) fn follow(&mut self, id: StreamId, spec: StreamSpec, now_us: u64) {
        if let Some(current) = self.streams.get_mut(&id).filter(|_| self.current == Some(id)) {
            current.another_sender();
            return;
        }
        let known = self.streams.remove(&id);
        if self.streams.len() >= STREAMS_MAX {
            let oldest = self.streams.iter().filter(|(id, _)| Some(**id) != self.current);
            if let Some(oldest) = oldest.min_by_key(|(_, stream)| stream.spec.rank).map(|(id, _)| *id) {
                self.streams.remove(&oldest);
            }
        }
        // until a first picture the wait is short: the keyframe may never have been sent to this peer
        let mut stream = Stream::new(id, spec, [HOLE_US_MIN, HOLE_US_MIN], now_us).checked(self.sealed);
        if let Some(known) = known {
            stream.take_since(&known, now_us.saturating_sub(EARLY_US), now_us);
        }
        self.streams.insert(id, stream);
    }

    /// Ends a stream that this peer made: newcomers are sent nothing of it.
    pub(crate) fn end(&mut self, id: &StreamId) {
        self.streams.remove(id);
        self.current.take_if(|current| current == id);
    }

    /// Sends a whole frame to the children that get such. A thinned one gets no picture that no other refers to.
    fn forward_frame(&mut self, frame: &Frame, packets: &[MediaPacket], outs: &mut Outs) {
        let is_spare = is_spare_frame(frame, packets);
        let packets = (!self.is_page).then_some(packets);
        let Program { children, thin, .. } = self;
        for child in children.values_mut().filter(|child| child.told == Some(frame.identity.stream)) {
            if frame.kind == MediaKind::Video || child.sound {
                let leaves_out = is_spare && thin.contains(&child.link);
                child.send_frame((frame, frame.identity.captured_us), packets, leaves_out, outs);
            }
        }
    }

    /// Handles a packet that arrived on a link, in a slot, of the maker or of another peer: forwards it, and assembles
    /// its frame.
    pub(crate) fn packet(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        (via, is_own): ((LinkId, u8), bool),
        now_us: u64,
        outs: &mut Outs,
    ) -> Arrived {
        let id = packet.identity.stream;
        let Some(stream) = self.streams.get_mut(&id).filter(|_| self.doubts.takes(via.0)) else {
            return Arrived::default();
        };
        stream.via = Some(via);
        let pushed = stream.push(kind, packet, (via.0, is_own), now_us);
        if !pushed.is_fresh() {
            return Arrived { refused: pushed == Pushed::Refused, ..Arrived::default() };
        }
        if self.current == Some(id) {
            if pushed == Pushed::WentBack {
                self.announce_again(id, outs);
            }
            self.forward(kind, packet, now_us, outs);
        }
        let mut arrived = Arrived { fresh: true, ..Arrived::default() };
        self.take_frames(id, kind, now_us, &mut arrived, outs);
        arrived
    }

    /// Recalls what was forwarded of a stream since its last proven frame.
    fn recall(&self, id: StreamId, outs: &mut Outs) {
        for child in self.children.values().filter(|child| child.told == Some(id)) {
            outs.control(child.link, Message::Media(MediaMessage::Recalled(id)));
        }
    }

    /// The peer at a link recalls what it forwarded of a stream.
    pub(crate) fn recalled(&mut self, id: &StreamId, link: LinkId, now_us: u64, outs: &mut Outs) {
        let is_via = |stream: &&mut Stream| stream.via.is_some_and(|(via, _)| via == link);
        let Some(stream) = self.streams.get_mut(id).filter(is_via) else { return };
        if self.doubts.recalled(link, now_us) {
            stream.forget_unproven(now_us);
            self.recall(*id, outs);
        }
    }

    /// Handles a forged frame of a stream that came by a link: recalls what was forwarded of it.
    pub(crate) fn is_forged(&mut self, id: StreamId, link: LinkId, now_us: u64, outs: &mut Outs) {
        if let Some(stream) = self.streams.get_mut(&id) {
            tracing::warn!("a frame of the program {id:?} isn't its maker's");
            // pictures and sound: what the next feeder sends is not to be judged by what this one has left
            stream.forget_unproven(now_us);
            self.doubts.forged(link, now_us);
            self.recall(id, outs);
        }
    }

    /// Returns whether streams are sealed.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// Returns whether a whole frame, out of its order, may be decoded.
    pub(crate) fn may_be_decoded(&mut self, frame: &Frame) -> bool {
        self.streams.get_mut(&frame.identity.stream).is_some_and(|stream| stream.may_be_decoded(frame))
    }

    /// Announces the current stream to the children again, since it went back: they go back as well.
    fn announce_again(&self, id: StreamId, outs: &mut Outs) {
        let Some(stream) = self.streams.get(&id) else { return };
        for child in self.children.values().filter(|child| child.told == Some(id)) {
            outs.control(
                child.link,
                Message::Media(MediaMessage::Stream(StreamUse { slot: PROGRAM_SLOTS[0], spec: stream.spec })),
            );
        }
    }

    /// Takes the frames that are complete or given up.
    fn take_frames(
        &mut self,
        id: StreamId,
        kind: MediaKind,
        now_us: u64,
        arrived: &mut Arrived,
        outs: &mut Outs,
    ) {
        let feeder = self.feeder;
        while let Some(stream) = self.streams.get_mut(&id)
            && let Some(polled) = stream.poll(kind, now_us)
        {
            let fed = feeder.is_some_and(|link| stream.via.is_some_and(|(via, _)| via == link));
            match polled {
                Polled::Frame(frame) => {
                    if kind == MediaKind::Video {
                        stream.wait_for_holes(PROGRAM_HOLE_US);
                    }
                    let begins = kind == MediaKind::Video && frame.identity.key || self.hears_only;
                    if begins && self.current != Some(id) {
                        self.consider(id, fed, now_us, outs);
                    }
                    if self.current == Some(id) {
                        match kind {
                            MediaKind::Video => self.suffering.picture(Time(now_us)),
                            MediaKind::Sound => self.suffering.sound(Time(now_us)),
                        }
                        if self.children.values().any(|child| child.frames.is_some()) {
                            self.forward_frame(&frame, &originals(&frame), outs);
                        }
                        arrived.frames.push(frame);
                    }
                }
                // also of a peer that has just begun to feed this one
                Polled::KeyWanted if fed || self.current == Some(id) => {
                    if stream.key_wish.wish() && self.current == Some(id) {
                        self.suffering.key_wanted();
                    }
                }
                Polled::KeyWanted => {}
                // such a picture neither counts as lost nor as arrived: if most viewers get too few pictures, the
                // mixer is at fault
                Polled::LeftOut => arrived.left_out += u64::from(self.current == Some(id)),
                Polled::Forged => {
                    if let Some((link, _)) = stream.via {
                        self.is_forged(id, link, now_us, outs);
                    }
                }
            }
        }
        arrived.key_wanted |=
            self.streams.get_mut(&id).is_some_and(|stream| stream.key_wish.take_due(now_us));
    }

    /// Whether to request a keyframe of the parent on behalf of a child: requests of many children become one.
    pub(crate) fn child_wants_key(&mut self, now_us: u64) -> bool {
        let current = self.current.and_then(|id| self.streams.get_mut(&id));
        current.is_some_and(|stream| stream.key_wish.may_ask(now_us))
    }

    /// Handles a picture of the current stream that is too large to be shown. Returns whether to request a keyframe
    /// now.
    pub(crate) fn picture_refused(&mut self, now_us: u64) -> bool {
        let Some(stream) = self.current.and_then(|id| self.streams.get_mut(&id)) else { return false };
        if stream.key_wish.wish() {
            self.suffering.key_wanted();
        }
        stream.key_wish.take_due(now_us)
    }

    /// Returns how often the program degraded here since the last call, given the frame rate that the room requests.
    pub(crate) fn take_suffered(&mut self, now_us: u64, fps_wanted: Option<u8>) -> u16 {
        self.suffering.take(Time(now_us), fps_wanted)
    }

    /// Returns whether the program is heard here, and not seen.
    pub(crate) fn is_pictureless(&self, now_us: u64, fps_wanted: Option<u8>) -> bool {
        !self.hears_only && self.suffering.is_pictureless(Time(now_us), fps_wanted)
    }

    /// Gives up packets that were waited for long enough. To be called some 40 times a second.
    pub(crate) fn on_time(&mut self, now_us: u64, outs: &mut Outs) -> Arrived {
        let mut arrived = Arrived::default();
        let streams: Vec<_> = self.streams.keys().copied().collect();
        for (id, kind) in streams.into_iter().flat_map(|id| [(id, MediaKind::Video), (id, MediaKind::Sound)])
        {
            self.take_frames(id, kind, now_us, &mut arrived, outs);
        }
        self.streams.values_mut().for_each(|stream| stream.trim(now_us));
        arrived
    }

    /// Makes a stream with a complete keyframe current, if it supersedes the current one.
    fn consider(&mut self, id: StreamId, fed: bool, now_us: u64, outs: &mut Outs) {
        let spec = |id: &StreamId| self.streams.get(id).map(|stream| stream.spec);
        let wins = match self.current.as_ref().and_then(spec) {
            None => true,
            Some(shown) => spec(&id).is_some_and(|new| new.supersedes(&shown, &self.in_force, fed)),
        };
        if !wins {
            return;
        }
        self.current = Some(id);
        self.suffering.another_program();
        let children: Vec<_> = self.children.keys().copied().collect();
        for child in children {
            self.start(child, Begin::Group, now_us, outs);
        }
    }

    /// Handles a frame of the program that this peer makes, with its packets.
    pub(crate) fn own(
        &mut self,
        frame: Frame,
        packets: &[MediaPacket],
        now_us: u64,
        outs: &mut Outs,
    ) -> Option<Frame> {
        let id = frame.identity.stream;
        for packet in packets {
            self.streams.get_mut(&id)?.keep(frame.kind, packet, now_us);
            if self.current == Some(id) {
                self.forward(frame.kind, packet, now_us, outs);
            }
        }
        let stream = self.streams.get_mut(&id)?;
        stream.captured(frame.identity.captured_us);
        if self.current == Some(id) {
            self.forward_frame(&frame, packets, outs);
        }
        if frame.identity.key && self.current != Some(id) {
            self.consider(id, true, now_us, outs); // a mixer feeds itself
        }
        (self.current == Some(id)).then_some(frame)
    }

    /// Sends a packet to all children; to those with thinned links only its number, if no picture refers to its
    /// picture.
    fn forward(&mut self, kind: MediaKind, packet: &MediaPacket, now_us: u64, outs: &mut Outs) {
        let slot = PROGRAM_SLOTS[lane(kind)];
        let is_spare = !self.thin.is_empty() && kind == MediaKind::Video && is_spare(&packet.payload);
        let (mut all, mut thin) = (Destinations::new(), Destinations::new());
        for child in self.children.values() {
            let takes = child.frames.is_none() && (kind == MediaKind::Video || child.sound);
            if takes && child.told == Some(packet.identity.stream) {
                let to = if is_spare && self.thin.contains(&child.link) { &mut thin } else { &mut all };
                to.push((child.link, slot));
            }
        }
        self.forwarded_us = now_us;
        outs.forward(all, packet.clone());
        if !thin.is_empty() {
            outs.forward(thin, left_out(packet));
        }
    }

    /// Sets the links that are thinned.
    pub(crate) fn set_thin(&mut self, links: OrderedSet<LinkId>) {
        self.thin = links;
    }

    /// Returns the links that are thinned.
    #[cfg(test)]
    pub(crate) fn thin(&self) -> &OrderedSet<LinkId> {
        &self.thin
    }

    /// Begins to feed a peer, or feeds it anew.
    pub(crate) fn serve(
        &mut self,
        peer: PeerId,
        (link, is_browser): (LinkId, bool),
        sound: bool,
        from: Option<Resume>,
        now_us: u64,
        outs: &mut Outs,
    ) {
        let frames = (is_browser || self.is_page).then(FramesSent::default);
        self.children.insert(peer, Child { link, sound, told: None, frames });
        self.fed_most = self.fed_most.max(self.children.len());
        let begin = match from {
            _ if !self.pasts.may_send(link, now_us) => Begin::Now,
            Some(from) => Begin::Behind(from),
            None => Begin::Group,
        };
        self.start(peer, begin, now_us, outs);
    }

    /// Stops feeding a peer.
    pub(crate) fn unserve(&mut self, peer: &PeerId) {
        self.children.remove(peer);
    }

    /// Announces the current stream to a child, and sends the cached packets that the child lacks.
    fn start(&mut self, peer: PeerId, begin: Begin, now_us: u64, outs: &mut Outs) {
        let Some((id, stream)) = self.current.and_then(|id| Some((id, self.streams.get(&id)?))) else {
            return;
        };
        let Some(child) = self.children.get_mut(&peer) else { return };
        let sound = child.sound;
        child.told = Some(id);
        outs.control(
            child.link,
            Message::Media(MediaMessage::Stream(StreamUse { slot: PROGRAM_SLOTS[0], spec: stream.spec })),
        );
        if let Some(frames) = &mut child.frames {
            *frames = FramesSent::default();
            let past = if matches!(begin, Begin::Now) { Vec::new() } else { stream.group(now_us) };
            // what a newcomer lacks is past, and what a thinned child lacks was left out on purpose
            let held = match begin {
                Begin::Behind(from) if from.stream == id && !self.thin.contains(&child.link) => {
                    from.video_packet
                }
                _ => u64::MAX,
            };
            let at_page = self.is_page;
            for (frame, at_us, packets) in burst(past, sound, held) {
                child.send_frame((&frame, at_us), (!at_page).then_some(&packets), false, outs);
            }
            self.forwarded_us = now_us;
            return;
        }
        let position = stream.position();
        let next = [position.video_packet.saturating_add(1), position.sound_packet.saturating_add(1)];
        let from = match begin {
            Begin::Now => next,
            Begin::Behind(from) if from.stream == id => {
                [from.video_packet.saturating_add(1), from.sound_packet.saturating_add(1)]
            }
            Begin::Behind(_) | Begin::Group => stream.group_start().unwrap_or(next),
        };
        let is_thin = self.thin.contains(&child.link);
        for (kind, packet) in stream.since(from) {
            if kind == MediaKind::Sound && !child.sound {
                continue;
            }
            let is_left_out = is_thin && kind == MediaKind::Video && is_spare(&packet.payload);
            let packet = if is_left_out { left_out(packet) } else { packet.clone() };
            outs.send(child.link, PROGRAM_SLOTS[lane(kind)], packet);
        }
        self.forwarded_us = now_us;
    }

    fn shown(&self) -> Option<&Stream> {
        self.streams.get(self.current.as_ref()?)
    }

    /// Returns the position from which another peer is to continue the program; `None` before there is one.
    pub(crate) fn have(&self, now_us: u64) -> Option<Resume> {
        self.shown().map(|stream| stream.resume(now_us))
    }

    /// Returns the position as a head, without this peer's place in the tree.
    pub(crate) fn head(&self) -> Head {
        let Some(stream) = self.shown() else { return Head::default() };
        let Resume { stream: id, video_packet, sound_packet } = stream.position();
        Head {
            rank: stream.spec.rank,
            stream: id,
            video_packet,
            sound_packet,
            captured_us: stream.captured_us,
            depth: 0,
            path_hash: 0,
        }
    }

    /// Returns the maximum number of children at a time since the last call.
    pub(crate) fn take_fed_most(&mut self) -> usize {
        std::mem::replace(&mut self.fed_most, self.children.len())
    }

    /// Returns whether a peer is a child.
    pub(crate) fn feeds(&self, peer: &PeerId) -> bool {
        self.children.contains_key(peer)
    }

    /// Returns the links of all children.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.children.values().map(|child| child.link)
    }

    /// Returns the links of the children that are viewers, not speakers that also watch.
    pub(crate) fn viewer_links(&self) -> impl Iterator<Item = LinkId> {
        self.children.values().filter(|child| child.sound).map(|child| child.link)
    }
}

/// Returns a packet of the same number in place of a packet of a thinned-out picture, so that the child does not wait
/// for it.
fn left_out(packet: &MediaPacket) -> MediaPacket {
    MediaPacket { payload: Bytes::from_static(LEFT_OUT), ..packet.clone() }
}

#[cfg(test)]
mod tests;
