//! Tests of the body in virtual time, and what they share: a source of frames, and one peer's media with links.

mod heartbeats;
mod own;
mod tick;

use plenary_media::codec::{Codecs as _, SoundEncoder, VideoEncoder, VideoFormat};
use plenary_media::{Encoded, Frame, Picture};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, Message, StreamUse};
use plenary_proto::packet::{Contributors, LinkId, MediaPacket};
use plenary_proto::{InForce, PeerId, Rank, RoomId, StreamId, StreamKind};
use plenary_testkit::fake::FakeCodecs;

use crate::maker::Maker;
use crate::media::{Media, MediaConfig};
use crate::outs::{Out, Outs};

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
/// Level of all sound.
const LEVEL: u8 = 20;

/// Encoders of one peer.
struct Camera {
    picture: Picture,
    video: Box<dyn VideoEncoder>,
    sound: Box<dyn SoundEncoder>,
}

impl Camera {
    fn new() -> Camera {
        let codecs = FakeCodecs::default();
        Camera {
            picture: Picture::black(FORMAT.width.into(), FORMAT.height.into()),
            video: codecs.video_encoder(&FORMAT).unwrap(),
            sound: codecs.sound_encoder(1, 32_000).unwrap(),
        }
    }

    /// Returns a picture; the first one is a keyframe.
    fn picture(&mut self, key: bool, captured_us: u64) -> Encoded {
        let made = self.video.encode(&self.picture.view(), key).unwrap().unwrap();
        let (data, key) = (made.data, made.key);
        Encoded { kind: MediaKind::Video, data, captured_us, key, temporal: 0, level: None }
    }

    fn sound(&mut self, captured_us: u64) -> Encoded {
        let data = self.sound.encode(&[0.0; plenary_media::SOUND_FRAME_LEN]).unwrap();
        Encoded { kind: MediaKind::Sound, data, captured_us, key: false, temporal: 0, level: Some(LEVEL) }
    }
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
}

/// The media of [`ME`], with links.
struct Stand {
    media: Media,
    outs: Outs,
    now_us: u64,
}

impl Stand {
    fn new(speaks: bool) -> Stand {
        let config =
            MediaConfig { me: ME, room: ROOM, zero_us: 0, keeps_log: false, views: true, speaks, seed: 1 };
        Stand { media: Media::new(config, BEGIN_US), outs: Outs::default(), now_us: BEGIN_US }
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

    /// Returns the outputs since the last call.
    fn take(&mut self) -> Outs {
        std::mem::take(&mut self.outs)
    }
}

/// Returns the announcements of streams: link, slot and stream.
fn announced(outs: &Outs) -> Vec<(LinkId, u8, StreamId)> {
    let told = |out: &Out| match out {
        Out::Control { link, message } => match &**message {
            Message::Stream(StreamUse { slot, spec }) => Some((*link, *slot, spec.id(&ROOM))),
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
