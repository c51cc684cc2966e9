//! Frames from a keyframe on, for bridges, and applications with decoders or files of their own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};

use futures::Stream;
use plenary_body::{Origin, ReceivedFrame};
use plenary_proto::StreamId;
use plenary_proto::identity::MediaKind;

use crate::flow::Flow;
use crate::room::Frames;

/// Maximum number of origins that are remembered: more than a stage has speakers.
const ORIGINS_MAX: usize = 128;

/// [`Stream`] of received frames that begins with a keyframe: [`Room::frames_from_key`].
///
/// [`Room::frames_from_key`]: crate::Room::frames_from_key
#[derive(Debug)]
pub struct FramesFromKey {
    frames: Frames,
    gate: Gate,
    flow: Weak<Flow>,
}

impl FramesFromKey {
    pub(crate) fn new(frames: Frames, flow: Weak<Flow>) -> FramesFromKey {
        FramesFromKey { frames, gate: Gate::default(), flow }
    }

    /// Returns the next frame; `None` when the room is closed.
    pub async fn next(&mut self) -> Option<ReceivedFrame> {
        futures::StreamExt::next(self).await
    }
}

impl Stream for FramesFromKey {
    type Item = ReceivedFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReceivedFrame>> {
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.frames).poll_next(cx) else { return Poll::Pending };
            let Some(received) = next else { return Poll::Ready(None) };
            match self.gate.judge(&received) {
                Passage::Opens => return Poll::Ready(Some(received)),
                Passage::WantsKey => {
                    if let Some(flow) = self.flow.upgrade() {
                        flow.with(|body, now_us, outs| body.want_key(received.origin, now_us, outs));
                    }
                }
                Passage::Waits => {}
            }
        }
    }
}

/// What happens with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passage {
    /// It goes to the application.
    Opens,
    /// It is left out: decoders need a keyframe first.
    WantsKey,
    /// It is left out: no keyframe has arrived yet.
    Waits,
}

/// Leaves out what can't be decoded from the start.
#[derive(Debug, Default)]
struct Gate {
    /// Streams of pictures that began with a keyframe, by origin, with the time of their last frame.
    begun: BTreeMap<Origin, (StreamId, u64)>,
}

impl Gate {
    fn judge(&mut self, received: &ReceivedFrame) -> Passage {
        let ReceivedFrame { origin, frame, arrived_us, .. } = received;
        if frame.kind == MediaKind::Sound {
            return if self.begun.is_empty() { Passage::Waits } else { Passage::Opens };
        }
        let stream = frame.identity.stream;
        let is_begun = self.begun.get(origin).is_some_and(|(begun, _)| *begun == stream);
        if !is_begun && !frame.identity.key {
            return Passage::WantsKey;
        }
        self.begun.insert(*origin, (stream, *arrived_us));
        if self.begun.len() > ORIGINS_MAX
            && let Some(oldest) =
                self.begun.iter().min_by_key(|(_, (_, at_us))| *at_us).map(|(origin, _)| *origin)
        {
            self.begun.remove(&oldest);
        }
        Passage::Opens
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_media::Frame;
    use plenary_proto::PeerId;
    use plenary_proto::identity::FrameIdentity;

    use super::*;

    fn received(origin: Origin, kind: MediaKind, stream: u8, number: u32, key: bool) -> ReceivedFrame {
        let identity = FrameIdentity { key, ..FrameIdentity::single(StreamId([stream; 8]), number, 0) };
        ReceivedFrame::new(origin, Frame { kind, identity, data: Bytes::new(), level: None }, number.into())
    }

    #[test]
    fn pictures_begin_with_a_keyframe_and_sound_with_the_first_pictures() {
        let (mut gate, ben) = (Gate::default(), Origin::Speaker(PeerId([2; 32])));
        let mut judge =
            |origin, kind, stream, number, key| gate.judge(&received(origin, kind, stream, number, key));
        let (video, sound) = (MediaKind::Video, MediaKind::Sound);
        assert_eq!(judge(Origin::Program, sound, 1, 1, false), Passage::Waits);
        assert_eq!(judge(Origin::Program, video, 1, 1, false), Passage::WantsKey);
        assert_eq!(judge(Origin::Program, video, 1, 2, true), Passage::Opens);
        assert_eq!(judge(Origin::Program, video, 1, 3, false), Passage::Opens);
        assert_eq!(judge(Origin::Program, sound, 1, 2, false), Passage::Opens);
        assert_eq!(judge(ben, video, 2, 9, false), Passage::WantsKey, "another speaker's own stream");
        assert_eq!(judge(Origin::Program, video, 3, 1, false), Passage::WantsKey, "another mixer's program");
        assert_eq!(judge(Origin::Program, video, 3, 2, true), Passage::Opens);
    }

    #[test]
    fn of_many_speakers_that_come_and_go_the_last_are_remembered() {
        let mut gate = Gate::default();
        for number in 0..3 * ORIGINS_MAX as u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let origin = Origin::Speaker(PeerId(id));
            assert_eq!(gate.judge(&received(origin, MediaKind::Video, 1, number, true)), Passage::Opens);
        }
        assert_eq!(gate.begun.len(), ORIGINS_MAX);
    }
}
