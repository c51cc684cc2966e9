//! Tests of the body in virtual time, and what they share: a source of frames, and one peer's media with links.

mod any_input;
mod apart;
mod browsers;
mod correspondence;
mod early;
mod excess;
mod hand_over;
mod heartbeats;
mod hostile;
mod inflow;
mod letters;
mod mix_roles;
mod mixer;
mod oversize;
mod own;
mod pass_through;
mod rate;
mod relay;
mod room;
mod seals;
mod solo;
mod sources;
mod stream;
mod tick;
mod watches;
mod world;

use bytes::Bytes;
use plenary_media::codec::{Codecs as _, SoundEncoder, VideoEncoder, VideoFormat};
use plenary_media::{Encoded, Frame, Picture};
use plenary_proto::identity::MediaKind;
use plenary_proto::link_layout::Channel;
use plenary_proto::message::{LinkKind, MediaMessage, Message, Resume, StreamUse};
use plenary_proto::packet::{Contributor, Contributors, LinkId, MediaPacket};
use plenary_proto::seal::Keypair;
use plenary_proto::{InForce, PeerId, Rank, RoomId, Senders, StreamId, StreamKind, StreamSpec};
use plenary_testkit::fake::FakeCodecs;

use crate::body::Sources;
use crate::lag::TICK_US;
use crate::maker::Maker;
use crate::media::{Media, MediaConfig};
use crate::outs::{Out, Outs};
use crate::oversize::PixelsMax;
use crate::received::Origin;

const MS: u64 = 1_000;
/// Time at which each test begins, in microseconds.
const BEGIN_US: u64 = 1_000_000;
const ROOM: RoomId = RoomId([0; 16]);
const RANK: Rank = Rank { term: 1, failover_count: 0 };
const ME: PeerId = PeerId([9; 32]);
const ADA: PeerId = PeerId([1; 32]);
const BEN: PeerId = PeerId([2; 32]);
const CAT: PeerId = PeerId([3; 32]);
const FORMAT: VideoFormat = VideoFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
/// Interval of pictures, and of sound.
const FRAME_US: u64 = 33_333;
const SOUND_US: u64 = 20_000;
const START_CODE_LEN: usize = 4;
/// Bits of a slice's header that say how many pictures refer to it.
const NAL_REF_IDC: u8 = 0x60;
/// Level of all sound.
const LEVEL: u8 = 20;

/// Encoders of one peer.
struct Camera {
    /// Minimum bytes of a picture.
    len_min: usize,
    picture: Picture,
    video: Box<dyn VideoEncoder>,
    sound: Box<dyn SoundEncoder>,
}

impl Camera {
    fn new() -> Camera {
        let codecs = FakeCodecs::default();
        Camera {
            len_min: 0,
            picture: Picture::black(FORMAT.width.into(), FORMAT.height.into()),
            video: codecs.video_encoder(&FORMAT).unwrap(),
            sound: codecs.sound_encoder(1, 32_000).unwrap(),
        }
    }

    /// Returns a picture; the first one is a keyframe.
    fn picture(&mut self, key: bool, captured_us: u64) -> Encoded {
        let made = self.video.encode(&self.picture.view(), key).unwrap().unwrap();
        let (data, key) = (padded(&made.data, self.len_min), made.key);
        Encoded { kind: MediaKind::Video, data, captured_us, key, temporal: 0, level: None }
    }

    /// Returns a picture that no other picture refers to.
    fn spare_picture(&mut self, captured_us: u64) -> Encoded {
        let made = self.picture(false, captured_us);
        let mut data = made.data.to_vec();
        data[START_CODE_LEN] &= !NAL_REF_IDC;
        Encoded { data: data.into(), temporal: 1, ..made }
    }

    fn sound(&mut self, captured_us: u64) -> Encoded {
        let data = self.sound.encode(&[0.0; plenary_media::SOUND_FRAME_LEN]).unwrap();
        Encoded { kind: MediaKind::Sound, data, captured_us, key: false, temporal: 0, level: Some(LEVEL) }
    }
}

/// Lengthens an access unit with bytes that no decoder of these tests reads.
fn padded(data: &[u8], len_min: usize) -> Bytes {
    let mut data = data.to_vec();
    data.resize(data.len().max(len_min), b'.');
    data.into()
}

/// A stream of another peer.
struct Source {
    camera: Camera,
    maker: Maker,
}

impl Source {
    fn new(peer: PeerId, kind: StreamKind) -> Source {
        Source { camera: Camera::new(), maker: Maker::new(&ROOM, peer, kind, RANK, [0; 8]) }
    }

    fn picture(&mut self, key: bool, captured_us: u64) -> (Frame, Vec<MediaPacket>) {
        self.maker.make(&self.camera.picture(key, captured_us), &Contributors::new()).unwrap()
    }

    fn spare_picture(&mut self, captured_us: u64) -> (Frame, Vec<MediaPacket>) {
        self.maker.make(&self.camera.spare_picture(captured_us), &Contributors::new()).unwrap()
    }

    fn sound(&mut self, captured_us: u64) -> (Frame, Vec<MediaPacket>) {
        self.sound_of(captured_us, &[])
    }

    /// Returns sound in which these peers are heard.
    fn sound_of(&mut self, captured_us: u64, voices: &[PeerId]) -> (Frame, Vec<MediaPacket>) {
        let voice = |peer: &PeerId| Contributor { csrc: peer.csrc(), level: LEVEL };
        self.maker.make(&self.camera.sound(captured_us), &voices.iter().map(voice).collect()).unwrap()
    }

    /// Starts the stream anew, as a peer does with a new source.
    fn restart(&mut self) {
        let StreamSpec { maker, kind, rank, start, .. } = self.maker.spec;
        *self = Source {
            maker: Maker::new(&ROOM, maker, kind, rank, start.map(|byte| byte + 1)),
            ..Source::new(maker, kind)
        };
    }
}

/// The sources of a peer that takes everything from these three.
fn trusting() -> Senders {
    let all = vec![ADA, BEN, CAT];
    Senders { makes_program: false, program: all.clone(), mixers: all.clone(), speakers: all }
}

/// The media of [`ME`], with links.
struct Stand {
    media: Media,
    outs: Outs,
    now_us: u64,
}

/// Returns the sources of a camera and a microphone, or of one of these.
fn sources(picture: bool, sound: bool) -> Sources {
    Sources { picture, sound, ..Sources::default() }
}

impl Stand {
    /// Whether this peer's own pictures need a keyframe; resets the answer.
    fn own_key_wanted(&mut self) -> bool {
        !self.media.take_own_keys_wanted().is_empty()
    }

    fn new(speaks: bool) -> Stand {
        Stand::of(speaks, false, None)
    }

    /// A native peer, or a page; with keys, in a sealed room.
    fn of(speaks: bool, is_page: bool, keys: Option<Keypair>) -> Stand {
        let config = MediaConfig {
            me: ME,
            room: ROOM,
            zero_us: 0,
            keeps_log: false,
            views: true,
            speaks,
            is_page,
            seed: 1,
            keys,
        };
        let mut stand =
            Stand { media: Media::new(config, BEGIN_US), outs: Outs::default(), now_us: BEGIN_US };
        stand.media.set_sources(trusting());
        stand.media.pixels_max = PixelsMax::of(mix_roles::PROGRAM);
        stand
    }

    /// A viewer or speaker, fed by [`ADA`], the mixer in force. Returns the link, and the program.
    fn fed_by_ada(speaks: bool) -> (Stand, LinkId, Source) {
        let mut stand = Stand::new(speaks);
        let link = stand.link(ADA, LinkKind::Peer);
        let program = Source::new(ADA, StreamKind::Program);
        stand.media.set_mesh(false);
        stand.media.program.set_in_force(InForce { rank: RANK, mixers: vec![ADA] });
        stand.media.watch(Some(ADA), None, stand.now_us);
        stand.follow(ADA, 0, &program);
        stand.take();
        (stand, link, program)
    }

    fn link(&mut self, peer: PeerId, kind: LinkKind) -> LinkId {
        let link = self.media.links.open(peer, kind);
        assert_eq!(self.media.link_up(link, &mut self.outs), Some((peer, kind)));
        link
    }

    fn follow(&mut self, peer: PeerId, slot: u8, source: &Source) {
        let stream = StreamUse { slot, spec: source.maker.spec };
        self.media.follow(peer, stream, source.maker.id, self.now_us, &mut self.outs);
    }

    /// The packets of a frame arrive in a slot of a link.
    fn come(&mut self, link: LinkId, slot: u8, (_, packets): (Frame, Vec<MediaPacket>)) {
        for packet in packets {
            self.media.packet(link, slot, packet, self.now_us, &mut self.outs);
        }
    }

    /// Time passes, in ticks. Returns the outputs.
    fn pass(&mut self, us: u64) -> Outs {
        for _ in 0..us / TICK_US {
            self.now_us += TICK_US;
            self.media.on_time(self.now_us, &mut self.outs);
            self.media.hand_over_due(self.now_us, &mut self.outs);
        }
        self.take()
    }

    /// Feeds a child from its position, or from the current group of pictures. Returns its link.
    fn serve(&mut self, child: PeerId, from: Option<Resume>, sound: bool) -> LinkId {
        let link = self.media.link(&child).unwrap_or_else(|| self.link(child, LinkKind::Peer));
        self.media.serve(child, from, sound, self.now_us, &mut self.outs);
        link
    }

    /// A peer requests a keyframe of what arrives there in a slot. Returns the links and slots of the requests that
    /// this peer sends on.
    fn key_wanted(&mut self, link: LinkId, slot: u8) -> Vec<(LinkId, u8)> {
        self.media.keyframe_wanted(link, slot, self.now_us, &mut self.outs);
        keys_wanted(&self.take())
    }

    /// Returns the outputs since the last call.
    fn take(&mut self) -> Outs {
        std::mem::take(&mut self.outs)
    }
}

/// Returns the announcements of streams: link, slot and stream.
fn announced(outs: &Outs) -> Vec<(LinkId, u8, StreamId)> {
    let told = |out: &Out| match out {
        Out::Control { link, message } => match &**message {
            Message::Media(MediaMessage::Stream(StreamUse { slot, spec })) => {
                Some((*link, *slot, spec.id(&ROOM)))
            }
            _ => None,
        },
        _ => None,
    };
    outs.sends.iter().filter_map(told).collect()
}

/// Returns the packets sent: link, slot and packet number.
fn sent(outs: &Outs) -> Vec<(LinkId, u8, u64)> {
    let packets = outs.sends.iter().flat_map(|out| match out {
        Out::Forward { to, packet } => {
            let number = packet.identity.number;
            to.iter().map(|(link, slot)| (*link, *slot, number)).collect()
        }
        _ => Vec::new(),
    });
    packets.collect()
}

/// Returns the keyframe requests: link and slot.
fn keys_wanted(outs: &Outs) -> Vec<(LinkId, u8)> {
    let wanted = |out: &Out| match out {
        Out::KeyframeWanted { link, slot } => Some((*link, *slot)),
        _ => None,
    };
    outs.sends.iter().filter_map(wanted).collect()
}

/// Returns the packets sent on a link.
fn sent_on(outs: &Outs, on: LinkId) -> Vec<(u8, MediaPacket)> {
    let packets = outs.sends.iter().flat_map(|out| match out {
        Out::Forward { to, packet } => {
            to.iter().filter(|(link, _)| *link == on).map(|(_, slot)| (*slot, packet.clone())).collect()
        }
        _ => Vec::new(),
    });
    packets.collect()
}

/// Returns origin, kind and capture time of the frames for the application.
fn given(outs: &Outs) -> Vec<(Origin, MediaKind, u64)> {
    let frames = outs.frames.iter();
    frames.map(|given| (given.origin, given.frame.kind, given.frame.identity.captured_us)).collect()
}

/// Returns slot and number of each packet.
fn numbered(slot: u8, packets: &[MediaPacket]) -> Vec<(u8, u64)> {
    packets.iter().map(|packet| (slot, packet.identity.number)).collect()
}

/// Returns link, slot and number of each packet.
fn on(link: LinkId, packets: &[(u8, u64)]) -> Vec<(LinkId, u8, u64)> {
    packets.iter().map(|(slot, number)| (link, *slot, *number)).collect()
}
