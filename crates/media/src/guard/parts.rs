//! Guarded encoders and decoders.

use std::time::Instant;

use bytes::Bytes;
use plenary_proto::identity::h264::nals;

use super::{Death, Guarded, PICTURELESS_MAX, REFUSED_MAX, Running, calm};
use crate::codec::{CodecError, EncodedPicture, SoundDecoder, SoundEncoder, VideoDecoder, VideoEncoder};
use crate::scale::is_whole;
use crate::{Picture, PictureView};

/// Settings of a video encoder, for its next instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct VideoSettings {
    bitrate_bps: Option<u32>,
    fps: Option<u8>,
    plain: Option<bool>,
}

impl VideoSettings {
    /// Applies what differs from `had`.
    fn apply(self, had: VideoSettings, encoder: &mut dyn VideoEncoder) {
        if let Some(bps) = self.bitrate_bps.filter(|_| self.bitrate_bps != had.bitrate_bps) {
            encoder.set_bitrate(bps);
        }
        if let Some(fps) = self.fps.filter(|_| self.fps != had.fps) {
            encoder.set_frame_rate(fps);
        }
        if let Some(plain) = self.plain.filter(|_| self.plain != had.plain) {
            encoder.set_plain(plain);
        }
    }
}

/// Video encoder.
pub(super) struct Views {
    guarded: Guarded<dyn VideoEncoder>,
    wanted: VideoSettings,
    /// Settings of the living instance.
    had: VideoSettings,
    /// Copy of the picture for a codec on its own thread.
    copy: Option<Picture>,
    /// Since when the living instance has left out every picture.
    none_since: Option<Instant>,
    /// Whether the living instance has encoded nothing yet: it begins with a keyframe.
    is_fresh: bool,
}

impl Views {
    pub(super) fn new(mut guarded: Guarded<dyn VideoEncoder>) -> Result<Views, CodecError> {
        guarded.running()?;
        let (wanted, had) = (VideoSettings::default(), VideoSettings::default());
        Ok(Views { guarded, wanted, had, copy: None, none_since: None, is_fresh: true })
    }

    /// Ends the living instance.
    #[cfg(test)]
    pub(super) fn kill(&mut self) {
        self.guarded.running = None;
    }

    /// Notes a picture left out; returns whether the encoder has made none for [`PICTURELESS_MAX`].
    fn is_pictureless(&mut self) -> bool {
        self.none_since.get_or_insert_with(Instant::now).elapsed() >= PICTURELESS_MAX
    }

    fn tried(
        &mut self,
        picture: &PictureView<'_>,
        key: bool,
    ) -> Result<Result<Option<EncodedPicture>, CodecError>, Death> {
        let (wanted, had) = (self.wanted, self.had);
        let Ok(running) = self.guarded.running() else { return Err(Death::Failed("no encoder".to_owned())) };
        match running {
            Running::Here(encoder) => calm(|| {
                wanted.apply(had, &mut **encoder);
                encoder.encode(picture, key)
            }),
            Running::Hosted(hosted) => {
                let mut copy = self.copy.take().unwrap_or_else(|| Picture::black(2, 2));
                copy.copy_from(picture);
                let (encoded, copy) = hosted.call(move |encoder| {
                    wanted.apply(had, encoder);
                    let encoded = encoder.encode(&copy.view(), key);
                    (encoded, copy)
                })?;
                self.copy = Some(copy);
                Ok(encoded)
            }
        }
    }
}

impl VideoEncoder for Views {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        loop {
            if self.guarded.running.is_none() {
                (self.had, self.none_since, self.is_fresh) = (VideoSettings::default(), None, true);
            }
            self.guarded.running()?;
            let death = match self.tried(picture, key || self.is_fresh) {
                Ok(Ok(None)) if self.is_pictureless() => {
                    Death::Failed("it made no picture for a second".to_owned())
                }
                Ok(Ok(encoded)) => {
                    (self.had, self.is_fresh) = (self.wanted, false);
                    self.guarded.works();
                    self.none_since = self.none_since.filter(|_| encoded.is_none());
                    return Ok(encoded);
                }
                Ok(Err(error)) => Death::Failed(error.to_string()),
                Err(death) => death,
            };
            self.guarded.died(&death, false)?;
        }
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.wanted.bitrate_bps = Some(bitrate_bps);
    }

    fn set_frame_rate(&mut self, fps: u8) {
        self.wanted.fps = Some(fps);
    }

    fn set_plain(&mut self, plain: bool) {
        self.wanted.plain = Some(plain);
    }
}

/// Kind of a NAL unit with a slice of a keyframe (H.264, table 7-1).
const NAL_IDR: u8 = 5;

/// Errors of a decoder in a row: many of them mean a failed decoder, a few a damaged stream.
#[derive(Debug, Default)]
struct Refusals {
    in_a_row: u32,
    /// How the instance died; handled by the next call, since a picture that was returned is borrowed from it.
    death: Option<(Death, bool)>,
}

impl Refusals {
    /// `tried`: how decoding went. `begins`: whether the input needs none before it, so that a living decoder takes it
    /// also after a loss.
    fn note(&mut self, tried: Result<Option<&CodecError>, Death>, begins: bool) {
        match tried {
            Ok(None) => self.in_a_row = 0,
            Ok(Some(error @ CodecError::Decode { .. })) => {
                self.in_a_row += u32::from(begins);
                if self.in_a_row >= REFUSED_MAX {
                    self.death = Some((Death::Failed(error.to_string()), true));
                }
            }
            Ok(Some(error)) => self.death = Some((Death::Failed(error.to_string()), false)),
            Err(death) => self.death = Some((death, false)),
        }
    }

    /// Replaces a dead instance.
    fn settle<C: ?Sized + 'static>(&mut self, guarded: &mut Guarded<C>) -> Result<(), CodecError> {
        let Some((death, alone)) = self.death.take() else { return Ok(()) };
        self.in_a_row = 0;
        guarded.died(&death, alone)
    }
}

fn lost(codec: &'static str, death: &Death) -> CodecError {
    CodecError::Decode { codec, code: death.to_string() }
}

/// Video decoder.
pub(super) struct ViewsBack {
    guarded: Guarded<dyn VideoDecoder>,
    /// The last picture of a codec on its own thread.
    copy: Picture,
    refusals: Refusals,
}

impl ViewsBack {
    pub(super) fn new(mut guarded: Guarded<dyn VideoDecoder>) -> Result<ViewsBack, CodecError> {
        guarded.running()?;
        Ok(ViewsBack { guarded, copy: Picture::black(2, 2), refusals: Refusals::default() })
    }
}

/// Decodes into a picture that has all its samples.
fn whole<'a>(
    decoder: &'a mut dyn VideoDecoder,
    access_unit: &[u8],
) -> Result<Option<PictureView<'a>>, CodecError> {
    let decoded = decoder.decode(access_unit)?;
    if decoded.as_ref().is_some_and(|view| !is_whole(view)) {
        let code = "planes shorter than the picture".to_owned();
        return Err(CodecError::Decode { codec: "video decoder", code });
    }
    Ok(decoded)
}

impl VideoDecoder for ViewsBack {
    fn decode(&mut self, access_unit: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        let ViewsBack { guarded, copy, refusals } = self;
        let begins = nals(access_unit).any(|nal| nal.kind() == NAL_IDR);
        // an error means that the instance after it is made for the next access unit
        refusals.settle(guarded)?;
        let tried = match guarded.running()? {
            Running::Here(decoder) => calm(|| whole(&mut **decoder, access_unit)),
            Running::Hosted(hosted) => {
                let data = Bytes::copy_from_slice(access_unit);
                let mut picture = std::mem::replace(copy, Picture::black(2, 2));
                let answer = hosted.call(move |decoder| {
                    let decoded = whole(decoder, &data).map(|view| view.map(|view| picture.copy_from(&view)));
                    (decoded, picture)
                });
                answer.map(|(decoded, picture)| {
                    *copy = picture;
                    decoded.map(|has| has.map(|()| copy.view()))
                })
            }
        };
        match tried {
            Ok(decoded) => {
                refusals.note(Ok(decoded.as_ref().err()), begins);
                decoded
            }
            Err(death) => {
                let error = lost("video decoder", &death);
                refusals.note(Err(death), begins);
                Err(error)
            }
        }
    }
}

/// Sound encoder.
pub(super) struct Sounds {
    guarded: Guarded<dyn SoundEncoder>,
    /// Loss in percent and DTX, as last set and as the living instance has them.
    wanted: (Option<u8>, Option<bool>),
    had: (Option<u8>, Option<bool>),
}

impl Sounds {
    pub(super) fn new(mut guarded: Guarded<dyn SoundEncoder>) -> Result<Sounds, CodecError> {
        guarded.running()?;
        Ok(Sounds { guarded, wanted: (None, None), had: (None, None) })
    }

    fn tried(&mut self, samples: &[f32]) -> Result<Result<Bytes, CodecError>, Death> {
        let (wanted, had) = (self.wanted, self.had);
        let set = move |encoder: &mut dyn SoundEncoder| {
            wanted.0.filter(|_| wanted.0 != had.0).into_iter().for_each(|percent| encoder.set_loss(percent));
            wanted.1.filter(|_| wanted.1 != had.1).into_iter().for_each(|on| encoder.set_dtx(on));
        };
        let Ok(running) = self.guarded.running() else { return Err(Death::Failed("no encoder".to_owned())) };
        match running {
            Running::Here(encoder) => calm(|| {
                set(&mut **encoder);
                encoder.encode(samples)
            }),
            Running::Hosted(hosted) => {
                let samples = samples.to_vec();
                hosted.call(move |encoder| {
                    set(encoder);
                    encoder.encode(&samples)
                })
            }
        }
    }
}

impl SoundEncoder for Sounds {
    fn encode(&mut self, samples: &[f32]) -> Result<Bytes, CodecError> {
        loop {
            if self.guarded.running.is_none() {
                self.had = (None, None);
            }
            self.guarded.running()?;
            let death = match self.tried(samples) {
                Ok(Ok(packet)) => {
                    self.had = self.wanted;
                    return Ok(packet);
                }
                Ok(Err(error)) => Death::Failed(error.to_string()),
                Err(death) => death,
            };
            self.guarded.died(&death, false)?;
        }
    }

    fn set_loss(&mut self, percent: u8) {
        self.wanted.0 = Some(percent);
    }

    fn set_dtx(&mut self, on: bool) {
        self.wanted.1 = Some(on);
    }
}

/// Sound decoder.
pub(super) struct SoundsBack {
    guarded: Guarded<dyn SoundDecoder>,
    refusals: Refusals,
}

impl SoundsBack {
    pub(super) fn new(mut guarded: Guarded<dyn SoundDecoder>) -> Result<SoundsBack, CodecError> {
        guarded.running()?;
        Ok(SoundsBack { guarded, refusals: Refusals::default() })
    }

    /// Calls the decoder, with the samples that it fills.
    fn tried(
        &mut self,
        samples: &mut [f32],
        call: impl FnOnce(&mut dyn SoundDecoder, &mut [f32]) -> Result<(), CodecError> + Send + 'static,
    ) -> Result<(), CodecError> {
        let tried = match self.guarded.running()? {
            Running::Here(decoder) => calm(|| call(&mut **decoder, samples)),
            Running::Hosted(hosted) => {
                let mut own = vec![0.0; samples.len()];
                let answer = hosted.call(move |decoder| {
                    let result = call(decoder, &mut own);
                    (result, own)
                });
                answer.map(|(result, own)| {
                    samples.copy_from_slice(&own);
                    result
                })
            }
        };
        let result = match tried {
            Ok(result) => {
                self.refusals.note(Ok(result.as_ref().err()), true);
                result
            }
            Err(death) => {
                samples.fill(0.0);
                let error = lost("sound decoder", &death);
                self.refusals.note(Err(death), true);
                Err(error)
            }
        };
        // at once: the next packet is decoded by the next instance
        self.refusals.settle(&mut self.guarded)?;
        result
    }
}

impl SoundDecoder for SoundsBack {
    fn decode(&mut self, packet: &[u8], samples: &mut [f32]) -> Result<(), CodecError> {
        let packet = Bytes::copy_from_slice(packet);
        self.tried(samples, move |decoder, samples| decoder.decode(&packet, samples))
    }

    fn conceal(&mut self, next: Option<&[u8]>, samples: &mut [f32]) {
        let next = next.map(Bytes::copy_from_slice);
        let concealed = self.tried(samples, move |decoder, samples| {
            decoder.conceal(next.as_deref(), samples);
            Ok(())
        });
        if concealed.is_err() {
            samples.fill(0.0);
        }
    }
}
