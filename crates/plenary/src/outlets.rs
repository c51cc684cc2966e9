//! Queues of frames for the application, one for each listener.
//!
//! A slow listener loses whole runs of frames, never single pictures from the middle of a GOP: when its queue
//! is full, video is dropped up to the next keyframe, sound until there is room. The next frame of that kind
//! carries the number of dropped frames.

use std::collections::BTreeSet;

use plenary_body::{Origin, ReceivedFrame};
use plenary_proto::identity::MediaKind;
use tokio::sync::mpsc;

/// Maximum number of frames in a listener's queue: two seconds of pictures and sound.
pub(crate) const QUEUE_MAX: usize = 160;

#[derive(Debug)]
struct Outlet {
    queue: mpsc::Sender<ReceivedFrame>,
    /// Number of frames dropped since the last delivered frame, by kind.
    missed: [u64; 2],
    /// Origins with video that waits for a keyframe: at most the program and the stage's speakers.
    broken: BTreeSet<Origin>,
}

/// Queues of all listeners.
#[derive(Debug, Default)]
pub(crate) struct Outlets {
    listening: Vec<Outlet>,
    closed: bool,
}

impl Outlets {
    /// Adds a listener, and returns its queue. After [`close`](Outlets::close) the queue is empty and ended.
    pub(crate) fn listen(&mut self) -> mpsc::Receiver<ReceivedFrame> {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        if !self.closed {
            self.listening.push(Outlet { queue, missed: [0; 2], broken: BTreeSet::new() });
        }
        receiver
    }

    /// Ends all queues: each listener still gets its queued frames.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.listening.clear();
    }

    /// Delivers a frame to each listener with room in its queue, along with the number of frames it has
    /// missed.
    pub(crate) fn give(&mut self, received: &ReceivedFrame) {
        self.listening.retain_mut(|outlet| outlet.give(received));
    }
}

impl Outlet {
    /// Delivers a frame, or drops it. Returns false if the listener is gone.
    fn give(&mut self, received: &ReceivedFrame) -> bool {
        let video = received.frame.kind == MediaKind::Video;
        let missed = &mut self.missed[usize::from(!video)];
        if video && self.broken.contains(&received.origin) && !received.frame.identity.key {
            *missed += 1;
            return !self.queue.is_closed();
        }
        let mut given = received.clone();
        given.missed = *missed;
        match self.queue.try_send(given) {
            Ok(()) => {
                *missed = 0;
                if video {
                    self.broken.remove(&received.origin);
                }
                true
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                *missed += 1;
                if video {
                    self.broken.insert(received.origin);
                }
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use plenary_media::Frame;
    use plenary_proto::identity::FrameIdentity;
    use plenary_proto::{PeerId, StreamId};

    fn received(origin: Origin, kind: MediaKind, number: u32, key: bool) -> ReceivedFrame {
        let stream = StreamId([1; 8]);
        let identity = FrameIdentity { key, ..FrameIdentity::single(stream, number, 0) };
        let frame = Frame { kind, identity, data: Bytes::new(), level: None };
        ReceivedFrame::new(origin, frame, 0)
    }

    #[test]
    fn a_slow_listener_resumes_at_a_keyframe_and_is_told_of_missed_frames() {
        let mut outlets = Outlets::default();
        let mut slow = outlets.listen();
        let mut give = |origin, number, key| {
            outlets.give(&received(origin, MediaKind::Video, number, key));
        };
        (0..=QUEUE_MAX as u32).for_each(|number| give(Origin::Program, number, number == 0));
        (0..10).for_each(|_| assert!(slow.try_recv().is_ok()));
        give(Origin::Speaker(PeerId([1; 32])), 7, true); // a speaker's keyframe doesn't resume the program
        give(Origin::Program, 1000, false);
        give(Origin::Program, 1001, true);
        let rest: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
        let last = rest.last().unwrap();
        assert_eq!((last.frame.identity.number, last.missed), (1001, 1));
        assert!(rest.iter().all(|received| received.frame.identity.number != 1000));
    }

    #[test]
    fn a_listener_that_is_gone_is_removed() {
        let mut outlets = Outlets::default();
        drop(outlets.listen());
        outlets.give(&received(Origin::Program, MediaKind::Sound, 1, false));
        assert!(outlets.listening.is_empty());
    }

    #[test]
    fn a_listener_gets_its_queued_frames_after_the_close() {
        let mut outlets = Outlets::default();
        let mut listener = outlets.listen();
        outlets.give(&received(Origin::Program, MediaKind::Sound, 1, false));
        outlets.close();
        assert_eq!(listener.try_recv().unwrap().frame.identity.number, 1);
        assert_eq!(listener.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert_eq!(outlets.listen().try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
