//! The program on its way through this peer: from whoever feeds us, or from our own mixer, to our children and
//! to our application.
//!
//! Each stream of the program that a mandate allows is kept apart: packets by number, frames put together. One
//! of them is current. Another becomes current with a whole key frame, if it is of a mixer in force and the current
//! one isn't, or, between two mixers in force, if it comes from whoever feeds us ([`StreamSpec::supersedes`]); from
//! that frame on children and application get it, and nothing of the old one any more. Between streams there is no
//! other way to switch.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use plenary_media::Frame;
use plenary_media::assembly::{Assembled, Assembler};
use plenary_media::payload::{LEFT_OUT, is_spare};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{Head, Message, Resume, StreamUse};
use plenary_proto::suffering::Suffering;
use plenary_proto::{InForce, PeerId, StreamId, StreamSpec, Time};
use plenary_rtc::{Destinations, LinkId, MediaPacket};

use super::cache::PacketCache;
use super::key_wish::KeyWish;
use super::maker::{lane, piece};
use super::past::Pasts;
use super::sending::Sending;
use super::{EARLY_US, HOLE_US_MIN, hole_us_max};

/// The program's slots on a link: video, sound.
pub(crate) const PROGRAM_SLOTS: [u8; 2] = [0, 1];
/// Streams of the program known at one time: old and new in a handover, and one more.
const STREAMS_MAX: usize = 4;

/// One stream of the program.
struct Stream {
    spec: StreamSpec,
    caches: [PacketCache; 2],
    assemblers: [Assembler; 2],
    /// The link that its newest packet came by; `None` for our own.
    via: Option<LinkId>,
    /// Capture time of its newest frame here.
    captured_us: u64,
}

impl Stream {
    fn new(id: StreamId, spec: StreamSpec, hole_us_max: u64) -> Stream {
        // sound goes on sooner: no more than two repairs are worth its standing still
        let assemblers = [(MediaKind::Video, hole_us_max), (MediaKind::Sound, HOLE_US_MIN)]
            .map(|(kind, hole_us_max)| Assembler::new(id, kind, hole_us_max));
        Stream { spec, caches: Default::default(), assemblers, via: None, captured_us: 0 }
    }

    /// Keeps a packet and hands it to whoever puts frames together; false when it was here before.
    fn push(&mut self, kind: MediaKind, packet: &MediaPacket, now_us: u64) -> bool {
        let fresh = self.caches[lane(kind)].insert(packet, now_us);
        if fresh {
            self.assemblers[lane(kind)].push(now_us, piece(packet));
        }
        fresh
    }

    /// Takes over what has come since then of the same stream: the newest group of pictures, and the sound.
    fn take_since(&mut self, known: &Stream, since_us: u64, now_us: u64) {
        let [video, sound] = &known.caches;
        let group = video.group_start().unwrap_or(0);
        self.via = known.via;
        video.come_since(group, since_us).for_each(|packet| {
            self.push(MediaKind::Video, packet, now_us);
        });
        sound.come_since(0, since_us).for_each(|packet| {
            self.push(MediaKind::Sound, packet, now_us);
        });
    }
}

/// A peer that we feed.
#[derive(Debug)]
struct Child {
    link: LinkId,
    /// With sound; a speaker gets its own mix instead.
    sound: bool,
    /// The stream it was told of last.
    told: Option<StreamId>,
    /// It gets only the pictures that others need.
    thin: bool,
}

/// Where a child's program begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// With the current group of pictures, and the sound that goes with it.
    Group,
    /// Behind that, if it is of the current stream; else with the group.
    Behind(Resume),
    /// With what comes next.
    Now,
}

/// What came of a packet.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// Frames for the application, in order.
    pub(crate) frames: Vec<Frame>,
    /// Pictures of the current stream that were left out on the way.
    pub(crate) left_out: u64,
    /// Whoever feeds us should be asked for a key frame.
    pub(crate) key_wanted: bool,
    /// The packet wasn't here before.
    pub(crate) fresh: bool,
}

/// The program at this peer.
pub(crate) struct Program {
    /// Whose streams are preferred.
    in_force: InForce,
    /// The link with whoever feeds us.
    feeder: Option<LinkId>,
    streams: BTreeMap<StreamId, Stream>,
    current: Option<StreamId>,
    children: BTreeMap<PeerId, Child>,
    pasts: Pasts,
    /// A hole in pictures is waited for this long.
    hole_us_max: u64,
    key_wish: KeyWish,
    /// What goes wrong with the current stream.
    suffering: Suffering,
    /// When children were last sent media.
    pub(crate) forwarded_us: u64,
}

impl Program {
    pub(crate) fn new() -> Program {
        Program {
            in_force: InForce::default(),
            feeder: None,
            streams: BTreeMap::new(),
            current: None,
            children: BTreeMap::new(),
            pasts: Pasts::default(),
            hole_us_max: hole_us_max(0),
            key_wish: KeyWish::default(),
            suffering: Suffering::default(),
            forwarded_us: 0,
        }
    }

    /// These mixers are in force: their streams are preferred.
    pub(crate) fn set_in_force(&mut self, in_force: InForce) {
        self.in_force = in_force;
    }

    /// Whoever is at the other end feeds us: of two mixers' programs, the one that comes from there counts.
    pub(crate) fn set_feeder(&mut self, link: Option<LinkId>) {
        self.feeder = link;
    }

    /// How long the round trip takes to whoever feeds us, microseconds: holes in pictures are waited for
    /// accordingly.
    pub(crate) fn set_rtt_us(&mut self, rtt_us: u64) {
        self.hole_us_max = hole_us_max(rtt_us);
        for stream in self.streams.values_mut() {
            stream.assemblers[lane(MediaKind::Video)].set_hole_us_max(self.hole_us_max);
        }
    }

    /// The link with whoever feeds us.
    pub(crate) fn feeder(&self) -> Option<LinkId> {
        self.feeder
    }

    /// Whether that link's other end feeds us.
    pub(crate) fn is_fed_by(&self, link: LinkId) -> bool {
        self.feeder == Some(link)
    }

    /// A stream may come: of ours, or of whom the brain allows. One that is known and not current comes anew, from a
    /// key frame on, which may have overtaken the word of that.
    pub(crate) fn follow(&mut self, id: StreamId, spec: StreamSpec, now_us: u64) {
        if self.current == Some(id) {
            return;
        }
        let known = self.streams.remove(&id);
        if self.streams.len() >= STREAMS_MAX {
            let oldest = self.streams.iter().filter(|(id, _)| Some(**id) != self.current);
            if let Some(oldest) = oldest.min_by_key(|(_, stream)| stream.spec.rank).map(|(id, _)| *id) {
                self.streams.remove(&oldest);
            }
        }
        let mut stream = Stream::new(id, spec, self.hole_us_max);
        if let Some(known) = known {
            stream.take_since(&known, now_us.saturating_sub(EARLY_US), now_us);
        }
        self.streams.insert(id, stream);
    }

    /// A stream that this peer made has ended: whoever comes before there is another is sent nothing of it.
    pub(crate) fn end(&mut self, id: &StreamId) {
        self.streams.remove(id);
        self.current.take_if(|current| current == id);
    }

    /// A packet has come from whoever feeds us.
    pub(crate) fn packet(
        &mut self,
        kind: MediaKind,
        packet: &MediaPacket,
        link: LinkId,
        now_us: u64,
        sending: &Sending,
    ) -> Arrived {
        let id = packet.identity.stream;
        let Some(stream) = self.streams.get_mut(&id) else { return Arrived::default() };
        stream.via = Some(link);
        if !stream.push(kind, packet, now_us) {
            return Arrived::default();
        }
        if self.current == Some(id) {
            self.forward(kind, packet, now_us, sending);
        }
        Arrived { fresh: true, ..self.take_frames(id, kind, now_us, sending) }
    }

    /// Frames that are whole by now, or were given up.
    fn take_frames(&mut self, id: StreamId, kind: MediaKind, now_us: u64, sending: &Sending) -> Arrived {
        let mut arrived = Arrived::default();
        while let Some(stream) = self.streams.get_mut(&id)
            && let Some(assembled) = stream.assemblers[lane(kind)].poll(now_us)
        {
            let fed = stream.via.is_some() && stream.via == self.feeder;
            match assembled {
                Assembled::Frame(frame) => {
                    if kind == MediaKind::Video && frame.identity.key && (fed || self.current == Some(id)) {
                        self.key_wish.met();
                    }
                    stream.captured_us = stream.captured_us.max(frame.identity.captured_us);
                    if kind == MediaKind::Video && frame.identity.key && self.current != Some(id) {
                        self.consider(id, fed, now_us, sending);
                    }
                    if self.current == Some(id) {
                        if kind == MediaKind::Video {
                            self.suffering.picture(Time(now_us));
                        }
                        arrived.frames.push(frame);
                    }
                }
                // also of whoever has just begun to feed us
                Assembled::KeyWanted if fed || self.current == Some(id) => {
                    if self.key_wish.wish() && self.current == Some(id) {
                        self.suffering.key_wanted();
                    }
                }
                Assembled::KeyWanted => {}
                // not lost, nor one that came: where many get too few the mixer is at fault
                Assembled::LeftOut => arrived.left_out += u64::from(self.current == Some(id)),
            }
        }
        arrived.key_wanted = self.key_wish.take_due(now_us);
        arrived
    }

    /// A child can't go on without a key frame: whether to ask whoever feeds us for one.
    pub(crate) fn child_wants_key(&mut self, now_us: u64) -> bool {
        self.key_wish.may_ask(now_us)
    }

    /// How often the program has suffered here since this was asked last; by how many pictures a second are wanted.
    pub(crate) fn take_suffered(&mut self, now_us: u64, fps_wanted: Option<u8>) -> u16 {
        self.suffering.take(Time(now_us), fps_wanted)
    }

    /// Time has passed: holes may have been given up, and what had come of a stream may be taken by now.
    pub(crate) fn on_time(&mut self, now_us: u64, sending: &Sending) -> Arrived {
        let mut arrived = Arrived::default();
        let streams: Vec<_> = self.streams.keys().copied().collect();
        for (id, kind) in streams.into_iter().flat_map(|id| [(id, MediaKind::Video), (id, MediaKind::Sound)])
        {
            let more = self.take_frames(id, kind, now_us, sending);
            arrived.frames.extend(more.frames);
            arrived.left_out += more.left_out;
            arrived.key_wanted |= more.key_wanted;
        }
        arrived
    }

    /// A stream that isn't current has a whole key frame: it may become current with it.
    fn consider(&mut self, id: StreamId, fed: bool, now_us: u64, sending: &Sending) {
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
            self.start(child, Begin::Group, now_us, sending);
        }
    }

    /// A frame of our own program, with its packets.
    pub(crate) fn own(
        &mut self,
        frame: Frame,
        packets: &[MediaPacket],
        now_us: u64,
        sending: &Sending,
    ) -> Option<Frame> {
        let id = frame.identity.stream;
        for packet in packets {
            let stream = self.streams.get_mut(&id)?;
            stream.caches[lane(frame.kind)].insert(packet, now_us);
            if self.current == Some(id) {
                self.forward(frame.kind, packet, now_us, sending);
            }
        }
        let stream = self.streams.get_mut(&id)?;
        stream.captured_us = stream.captured_us.max(frame.identity.captured_us);
        if frame.identity.key && self.current != Some(id) {
            self.consider(id, true, now_us, sending); // we feed ourselves
        }
        (self.current == Some(id)).then_some(frame)
    }

    fn forward(&mut self, kind: MediaKind, packet: &MediaPacket, now_us: u64, sending: &Sending) {
        let slot = PROGRAM_SLOTS[lane(kind)];
        let is_spare = kind == MediaKind::Video && is_spare(&packet.payload);
        let (mut all, mut thin) = (Destinations::new(), Destinations::new());
        for child in self.children.values() {
            if child.told == Some(packet.identity.stream) && (kind == MediaKind::Video || child.sound) {
                let to = if is_spare && child.thin { &mut thin } else { &mut all };
                to.push((child.link, slot));
            }
        }
        self.forwarded_us = now_us;
        sending.forward(all, packet.clone());
        if !thin.is_empty() {
            sending.forward(thin, left_out(packet));
        }
    }

    /// Children at the other ends of these links get only the pictures that others need, the rest all.
    pub(crate) fn set_thin(&mut self, links: &BTreeSet<LinkId>) {
        self.children.values_mut().for_each(|child| child.thin = links.contains(&child.link));
    }

    /// Feeds a peer from now on.
    pub(crate) fn serve(
        &mut self,
        peer: PeerId,
        link: LinkId,
        sound: bool,
        from: Option<Resume>,
        now_us: u64,
        sending: &Sending,
    ) {
        let thin = self.children.get(&peer).is_some_and(|child| child.link == link && child.thin);
        self.children.insert(peer, Child { link, sound, told: None, thin });
        let begin = match from {
            _ if !self.pasts.may_send(link, now_us) => Begin::Now,
            Some(from) => Begin::Behind(from),
            None => Begin::Group,
        };
        self.start(peer, begin, now_us, sending);
    }

    /// Feeds a peer no more.
    pub(crate) fn unserve(&mut self, peer: &PeerId) {
        self.children.remove(peer);
    }

    /// Tells a child of the current stream, and sends it what it lacks of the past.
    fn start(&mut self, peer: PeerId, begin: Begin, now_us: u64, sending: &Sending) {
        let Some((id, stream)) = self.current.and_then(|id| Some((id, self.streams.get(&id)?))) else {
            return;
        };
        let Some(child) = self.children.get_mut(&peer) else { return };
        child.told = Some(id);
        sending
            .control(child.link, &Message::Stream(StreamUse { slot: PROGRAM_SLOTS[0], spec: stream.spec }));
        let [video, sound] = &stream.caches;
        let (video_from, sound_from) = match begin {
            Begin::Now => (video.newest() + 1, sound.newest() + 1),
            Begin::Behind(from) if from.stream == id => (from.video_packet + 1, from.sound_packet + 1),
            Begin::Behind(_) | Begin::Group => {
                let key = video.group_start().unwrap_or(u64::MAX);
                let since = video.arrived_us(key).and_then(|at| sound.first_since(at));
                (key, since.unwrap_or(sound.newest() + 1))
            }
        };
        let (link, with_sound, thin) = (child.link, child.sound, child.thin);
        // sound first: it is little, and a picture's worth of it must not wait for two seconds of pictures
        for packet in sound.from(sound_from).filter(|_| with_sound) {
            sending.forward([(link, PROGRAM_SLOTS[1])].into_iter().collect(), packet.clone());
        }
        for packet in video.from(video_from) {
            let is_left_out = thin && is_spare(&packet.payload);
            let packet = if is_left_out { left_out(packet) } else { packet.clone() };
            sending.forward([(link, PROGRAM_SLOTS[0])].into_iter().collect(), packet);
        }
        self.forwarded_us = now_us;
    }

    /// How far we are in the program; `None` when there is none yet.
    pub(crate) fn have(&self) -> Option<Resume> {
        let id = self.current?;
        let stream = self.streams.get(&id)?;
        let [video, sound] = &stream.caches;
        Some(Resume { stream: id, video_packet: video.newest(), sound_packet: sound.newest() })
    }

    /// The same as a head, without our place in the tree.
    pub(crate) fn head(&self) -> Head {
        let Some((have, stream)) = self.have().and_then(|have| Some((have, self.streams.get(&have.stream)?)))
        else {
            return Head::default();
        };
        Head {
            rank: stream.spec.rank,
            stream: have.stream,
            video_packet: have.video_packet,
            sound_packet: have.sound_packet,
            captured_us: stream.captured_us,
            depth: 0,
            path_hash: 0,
        }
    }

    /// Links with those we feed.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.children.values().map(|child| child.link)
    }

    /// Links with viewers that we feed: not with speakers that also watch.
    pub(crate) fn viewer_links(&self) -> impl Iterator<Item = LinkId> {
        self.children.values().filter(|child| child.sound).map(|child| child.link)
    }
}

/// In place of a packet of a picture that a child doesn't get: of the same number, so that nobody waits for it.
fn left_out(packet: &MediaPacket) -> MediaPacket {
    MediaPacket { payload: Bytes::from_static(LEFT_OUT), ..packet.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use plenary_media::codec::{Codecs as _, VideoFormat};
    use plenary_media::{Encoded, Picture};
    use plenary_proto::{Rank, RoomId, StreamKind};
    use plenary_rtc::{Command, Contributors, LinkDriver};
    use plenary_testkit::fake::FakeCodecs;

    use super::*;
    use crate::flow::Maker;

    const RANK: Rank = Rank { term: 1, failover_count: 0 };
    const FORMAT: VideoFormat = VideoFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
    const FRAME_US: u64 = 33_333;
    /// A group of pictures.
    const GROUP: usize = 30;
    const START_CODE_LEN: usize = 4;
    const NAL_REF_IDC: u8 = 0x60;

    /// Keeps what is sent.
    #[derive(Default)]
    struct Notes(Mutex<Vec<Command>>);

    impl LinkDriver for Notes {
        fn submit(&self, command: Command) {
            self.0.lock().push(command);
        }

        fn bulk_room(&self, _link: LinkId) -> usize {
            0
        }
    }

    /// Two mixers, in force both; the first feeds us.
    struct Both {
        program: Program,
        sending: Sending,
        sent: Arc<Notes>,
        makers: [Maker; 2],
        now_us: u64,
    }

    const LINKS: [LinkId; 2] = [LinkId(1), LinkId(2)];

    impl Both {
        fn new() -> Both {
            let makers = [1, 2].map(|mixer| {
                let (room, mixer) = (RoomId([0; 16]), PeerId([mixer; 32]));
                Maker::new(&room, mixer, StreamKind::Program, RANK, [0; 8])
            });
            let mut program = Program::new();
            program.set_in_force(InForce {
                rank: RANK,
                mixers: makers.iter().map(|maker| maker.spec.maker).collect(),
            });
            program.set_feeder(Some(LINKS[0]));
            let sent = Arc::new(Notes::default());
            let sending = Sending::new(sent.clone());
            let mut both = Both { program, sending, sent, makers, now_us: 1_000_000 };
            both.follow(0);
            let group = both.group(0);
            both.come(0, &group);
            assert_eq!(both.program.current, Some(both.makers[0].id));
            both
        }

        fn follow(&mut self, mixer: usize) {
            let Maker { id, spec, .. } = self.makers[mixer];
            self.program.follow(id, spec, self.now_us);
        }

        /// The next group of pictures that a mixer makes.
        fn group(&mut self, mixer: usize) -> Vec<MediaPacket> {
            let mut encoder = FakeCodecs::default().video_encoder(&FORMAT).unwrap();
            let picture = Picture::black(FORMAT.width.into(), FORMAT.height.into());
            let packets = (0..GROUP).flat_map(|at| {
                let made = encoder.encode(&picture.view(), at == 0).unwrap().unwrap();
                let mut data = made.data.to_vec();
                let temporal = u8::from(at % 2 == 1);
                if temporal == 1 {
                    data[START_CODE_LEN] &= !NAL_REF_IDC; // no other picture needs it
                }
                let encoded = Encoded {
                    kind: MediaKind::Video,
                    data: data.into(),
                    captured_us: self.now_us + at as u64 * FRAME_US,
                    key: made.key,
                    temporal,
                    level: None,
                };
                self.makers[mixer].make(&encoded, &Contributors::new()).unwrap().1
            });
            packets.collect()
        }

        /// Packets come from a mixer, one each millisecond; gives the pictures that the application gets.
        fn come(&mut self, mixer: usize, packets: &[MediaPacket]) -> usize {
            let came = packets.iter().map(|packet| {
                self.now_us += 1_000;
                let (link, now_us) = (LINKS[mixer], self.now_us);
                self.program.packet(MediaKind::Video, packet, link, now_us, &self.sending).frames.len()
            });
            came.sum()
        }

        /// Time passes: the pictures that the application gets, and whether a key frame is asked for.
        fn pass(&mut self, us: u64) -> (usize, bool) {
            self.now_us += us;
            let arrived = self.program.on_time(self.now_us, &self.sending);
            (arrived.frames.len(), arrived.key_wanted)
        }

        /// The second mixer feeds us from now on.
        fn change(&mut self) {
            self.program.set_feeder(Some(LINKS[1]));
        }
    }

    #[test]
    fn a_program_that_was_known_and_overtakes_the_word_that_it_comes_is_shown_from_its_key_frame() {
        let mut both = Both::new();
        both.follow(1);
        let before = both.group(1);
        assert_eq!(both.come(1, &before), 0, "the other one feeds us");
        both.pass(5_000_000);
        // the rest of that group is sent anew with the next, before it is said that it comes, and who is to feed us
        let group = both.group(1);
        assert_eq!(both.come(1, &[&before[GROUP / 2..], &group[..]].concat()), 0);
        both.change();
        both.follow(1);
        assert_eq!(both.pass(25_000), (GROUP, false));
        assert_eq!(both.program.current, Some(both.makers[1].id));
    }

    #[test]
    fn a_thin_child_gets_every_number_and_only_the_pictures_that_others_need() {
        let mut both = Both::new();
        let [wide, thin] = [LinkId(8), LinkId(9)];
        for (peer, link) in [(8, wide), (9, thin)] {
            both.program.serve(PeerId([peer; 32]), link, true, None, both.now_us, &both.sending);
        }
        both.program.set_thin(&[thin].into());
        both.sent.0.lock().clear();
        let group = both.group(0);
        both.come(0, &group);
        let sent = std::mem::take(&mut *both.sent.0.lock());
        let to = |link: LinkId| {
            let to_it = sent.iter().filter_map(|command| match command {
                Command::Forward { to, packet } if to.contains(&(link, PROGRAM_SLOTS[0])) => Some(packet),
                _ => None,
            });
            to_it.cloned().collect::<Vec<_>>()
        };
        assert_eq!(to(wide), group);
        let mut reader = Assembler::new(both.makers[0].id, MediaKind::Video, 0);
        let mut given = Vec::new();
        for packet in to(thin) {
            reader.push(0, piece(&packet));
            given.extend(std::iter::from_fn(|| reader.poll(0)));
        }
        assert_eq!(given.len(), GROUP);
        for (at, assembled) in given.iter().enumerate() {
            assert_eq!(*assembled == Assembled::LeftOut, at % 2 == 1, "picture {at}: {assembled:?}");
        }
        both.program.set_thin(&BTreeSet::new());
        let next = both.group(0);
        both.sent.0.lock().clear();
        both.come(0, &next[..4]);
        assert!(both.sent.0.lock().iter().all(|command| match command {
            Command::Forward { to, packet } => to.len() == 2 && packet.payload != LEFT_OUT,
            _ => true,
        }));
    }

    #[test]
    fn whoever_asks_to_be_fed_again_and_again_gets_the_past_a_few_times_and_always_what_comes() {
        let mut both = Both::new();
        let link = LinkId(8);
        let serve = |both: &mut Both| {
            both.program.serve(PeerId([8; 32]), link, true, None, both.now_us, &both.sending);
            let forwarded = |command: &Command| matches!(command, Command::Forward { .. });
            let sent = std::mem::take(&mut *both.sent.0.lock());
            (sent.iter().filter(|command| forwarded(command)).count(), sent.len())
        };
        let asked: Vec<_> = (0..50).map(|_| serve(&mut both)).collect();
        assert_eq!(asked.iter().filter(|(pictures, _)| *pictures >= GROUP).count(), 4);
        assert!(asked[4..].iter().all(|(packets, told)| (*packets, *told) == (0, 1)), "{asked:?}");
        let next = both.group(0);
        both.come(0, &next);
        assert_eq!(both.sent.0.lock().len(), next.len());
        both.pass(4_000_000);
        assert!(serve(&mut both).0 > GROUP);
    }

    #[test]
    fn pictures_that_were_left_out_are_not_lost_but_too_few_came() {
        for thin in [false, true] {
            let mut both = Both::new();
            for group in [both.group(0), both.group(0), both.group(0), both.group(0), both.group(0)] {
                for mut packet in group {
                    both.pass(FRAME_US);
                    if thin && is_spare(&packet.payload) {
                        packet.payload = Bytes::from_static(LEFT_OUT);
                    }
                    both.come(0, std::slice::from_ref(&packet));
                }
            }
            assert_eq!(both.pass(hole_us_max(0)), (0, false), "nothing is waited for");
            assert_eq!(both.program.take_suffered(both.now_us, Some(30)), u16::from(thin));
        }
    }

    #[test]
    fn what_came_long_before_is_no_beginning() {
        let mut both = Both::new();
        both.follow(1);
        let before = both.group(1);
        both.come(1, &before);
        both.change();
        both.pass(EARLY_US);
        both.follow(1);
        assert_eq!(both.pass(25_000), (0, false));
        assert_eq!(both.program.current, Some(both.makers[0].id));
    }

    #[test]
    fn whoever_begins_to_feed_us_without_a_key_frame_is_asked_for_one() {
        let mut both = Both::new();
        both.change();
        both.follow(1);
        let group = both.group(1);
        assert_eq!(both.come(1, &group[1..]), 0);
        assert_eq!(both.pass(hole_us_max(0) / 2), (0, false));
        assert_eq!(both.pass(hole_us_max(0)), (0, true));
        assert_eq!(both.program.take_suffered(both.now_us, None), 0, "what is shown doesn't suffer");
        let next = both.group(1);
        assert_eq!(both.come(1, &next), GROUP);
    }

    #[test]
    fn a_key_frame_is_asked_for_again_when_it_was_lost_itself() {
        let mut both = Both::new();
        let [first, second] = [both.group(0), both.group(0)];
        both.come(0, &first[2..10]);
        assert_eq!(both.pass(hole_us_max(0)), (0, true), "two packets are missing");
        assert_eq!(both.come(0, &second[1..5]), 0, "the key frame that was asked for is missing as well");
        assert_eq!(both.pass(2 * hole_us_max(0)), (0, true));
        assert_eq!(both.program.take_suffered(both.now_us, None), 1, "it is one and the same loss");
        assert_eq!(both.pass(25_000), (0, false));
        let group = both.group(0);
        assert_eq!(both.come(0, &group), GROUP);
        assert_eq!(both.pass(1_000_000), (0, false));
    }

    #[test]
    fn over_a_long_way_a_hole_is_waited_for_until_a_third_repair_may_have_come() {
        let mut both = Both::new();
        both.program.set_rtt_us(100_000);
        let group = both.group(0);
        both.come(0, &group[1..]);
        assert_eq!(both.pass(350_000), (0, false));
        assert_eq!(both.come(0, &group[..1]), GROUP);
    }
}
