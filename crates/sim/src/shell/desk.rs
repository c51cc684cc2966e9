//! The mixer of a simulated peer: what it would output and when, without decoding, composing or encoding.

use plenary_body::{MixCommand, MixFigures};
use plenary_media::codec::VideoFormat;
use plenary_media::compose::{Guest, Layout, Placement};
use plenary_media::mixer::{CodecWork, Effort, Input, MixerOutput};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::CLAIM_PIXELS;

use super::pictures::{Encoder, LEVEL, sound};

/// Bitrate of the program's sound and of each mix-minus, bits per second: that of `crates/plenary`.
const SOUND_BPS: u32 = 48_000;
/// Minimum interval of keyframe requests to one speaker.
const KEY_ASK_US: u64 = 1_000_000;

/// One speaker at the mixer.
#[derive(Clone, Debug)]
struct MixedSpeaker {
    input: Input,
    /// Whether a keyframe of its stream has arrived; decoding begins there.
    pictured: bool,
    asked_us: Option<u64>,
}

/// A running mixer.
#[derive(Debug)]
struct Running {
    format: VideoFormat,
    layout: Layout,
    speakers: Vec<MixedSpeaker>,
    /// Earliest capture time of its output; `None` while it only decodes.
    from_us: Option<u64>,
    encoder: Encoder,
}

/// The optional mixer of a peer.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    running: Option<Running>,
    decoded: u64,
    encoded: u64,
    codec: CodecWork,
}

impl Desk {
    /// Carries out a command. Returns the speaker of whom a keyframe is to be requested.
    pub(crate) fn command(&mut self, command: MixCommand, now_us: u64) -> Option<MixerOutput> {
        if let MixCommand::Keep { format, layout, .. } = command {
            let encoder = Encoder::layered();
            let fresh = Running { format, layout, speakers: Vec::new(), from_us: None, encoder };
            self.running.get_or_insert(fresh);
            return None;
        }
        let running = self.running.as_mut()?;
        match command {
            MixCommand::End => self.running = None,
            MixCommand::Inputs(inputs) => {
                let before = std::mem::take(&mut running.speakers);
                running.speakers = inputs
                    .into_iter()
                    .map(|input| {
                        let known = before.iter().find(|known| known.input.id == input.id);
                        let (pictured, asked_us) =
                            known.map_or((false, None), |known| (known.pictured, known.asked_us));
                        MixedSpeaker { input, pictured, asked_us }
                    })
                    .collect();
            }
            MixCommand::Layout(layout) => running.layout = layout,
            MixCommand::Bitrate(bps) => running.format.bitrate_bps = bps,
            MixCommand::Begin { from_us } => running.from_us = Some(from_us),
            MixCommand::Stop => running.from_us = None,
            MixCommand::Key => running.encoder.want_key(),
            MixCommand::Frame { id, frame, .. } if frame.kind == MediaKind::Video => {
                let place = running.speakers.iter_mut().find(|place| place.input.id == id)?;
                place.pictured |= frame.identity.key;
                self.decoded += u64::from(place.pictured);
                let asked = place.asked_us.is_some_and(|asked_us| now_us - asked_us < KEY_ASK_US);
                if !place.pictured && !asked {
                    place.asked_us = Some(now_us);
                    return Some(MixerOutput::KeyWanted { id });
                }
            }
            MixCommand::Keep { .. }
            | MixCommand::Frame { .. }
            | MixCommand::Loss(_)
            | MixCommand::Clock { .. } => {}
        }
        None
    }

    /// Whether it composes and encodes.
    pub(crate) fn mixes(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.from_us.is_some())
    }

    /// The next picture, `every_us` after the one before, on a machine that takes this time to encode and to decode a
    /// picture.
    pub(crate) fn picture(
        &mut self,
        now_us: u64,
        every_us: u64,
        (encode_us, decode_us): (u32, u32),
    ) -> Option<MixerOutput> {
        let running = self.running.as_mut().filter(|running| running.from_us <= Some(now_us))?;
        running.from_us?;
        self.encoded += 1;
        // the speakers' pictures together fill one canvas
        self.codec = self.codec.plus(&CodecWork {
            encode_us: encode_us.into(),
            encoded_pixels: CLAIM_PIXELS,
            decode_us: decode_us.into(),
            decoded_pixels: CLAIM_PIXELS,
        });
        let picture = running.encoder.picture(running.format.bitrate_bps, every_us);
        Some(MixerOutput::Video { picture, captured_us: now_us })
    }

    /// The next 20 ms of sound, for the program and for each speaker that hears.
    pub(crate) fn sound(&self, now_us: u64) -> Vec<MixerOutput> {
        let Some(running) = self.running.as_ref().filter(|running| running.from_us <= Some(now_us)) else {
            return Vec::new();
        };
        let packet = sound(SOUND_BPS);
        let voices: Vec<(u64, u8)> =
            running.speakers.first().map(|place| (place.input.id, LEVEL)).into_iter().collect();
        let program = MixerOutput::Sound {
            packet: packet.clone(),
            captured_us: now_us,
            level: LEVEL,
            contributors: voices.clone(),
        };
        let hearing = running.speakers.iter().filter(|place| place.input.hears);
        let minus = hearing.map(|place| MixerOutput::MixMinus {
            id: place.input.id,
            packet: packet.clone(),
            captured_us: now_us,
            level: LEVEL,
            contributors: voices.iter().copied().filter(|(id, _)| *id != place.input.id).collect(),
        });
        std::iter::once(program).chain(minus).collect()
    }

    /// Figures of the mixer.
    pub(crate) fn figures(&self) -> MixFigures {
        let past = MixFigures {
            decoded: self.decoded,
            encoded: self.encoded,
            codec: self.codec,
            effort: Effort::Full,
            ..MixFigures::default()
        };
        let Some(running) = &self.running else { return past };
        let pictured = running.speakers.iter().filter(|place| place.pictured);
        MixFigures {
            pictured: pictured.map(|place| place.input.id).collect(),
            places: running.places(),
            ..past
        }
    }
}

impl Running {
    fn places(&self) -> Vec<(u64, Placement)> {
        let guest = |place: &MixedSpeaker| {
            let Input { id, name, shares, .. } = place.input.clone();
            Guest { id, name, shares }
        };
        let guests: Vec<Guest> = self.speakers.iter().map(guest).collect();
        let size = (usize::from(self.format.width), usize::from(self.format.height));
        self.layout.places(&guests, &[], size)
    }
}
