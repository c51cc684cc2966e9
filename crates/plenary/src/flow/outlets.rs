//! Frames for the application: several may listen, each with a queue of its own.
//!
//! Whoever doesn't keep up loses whole runs of frames, never single ones from the middle of a group of pictures:
//! when its queue is full, video is dropped up to the next key frame, sound until there is room. The count is
//! told with the next frame.

use std::collections::BTreeSet;

use plenary_media::Frame;
use plenary_proto::PeerId;
use plenary_proto::identity::MediaKind;
use tokio::sync::mpsc;

/// Frames that wait for one listener at most: two seconds of picture and sound.
pub(crate) const QUEUE_MAX: usize = 160;

/// Where a frame is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The program: mixed, or passed through.
    Program,
    /// A speaker's own stream: as the speakers of a mesh send it to each other, or forwarded by a mixer
    /// ([`Room::set_solo`](crate::Room::set_solo)).
    Speaker(PeerId),
    /// The sound that a mixer makes for this speaker: everybody else's.
    MixMinus,
}

/// An encoded frame, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// Where it is from.
    pub origin: Origin,
    /// The frame: H.264 access unit or Opus packet, with its identity.
    pub frame: Frame,
    /// When it was handed over, microseconds since 1970 of this peer's clock: as soon as it was whole, unless it was held for
    /// pictures and sound to be in step.
    pub arrived_us: u64,
    /// Frames of this kind that were dropped before this one, because the listener did not keep up.
    pub missed: u64,
    /// A picture that was there before as another mixer's: later ones need it to be decoded; it isn't to be shown.
    pub catches_up: bool,
    /// It comes beside the program, in which this speaker is seen and heard as well: not for a recording of the program, nor
    /// to be added to its sound.
    pub beside: bool,
    /// When it was whole.
    pub(crate) came_us: u64,
    /// How long after their capture frames are handed over, where they are held to be in step: microseconds between two clocks.
    pub(crate) plan_us: Option<i64>,
}

impl ReceivedFrame {
    /// One that is to be shown, of which nothing is missed.
    pub(crate) fn new(origin: Origin, frame: Frame, arrived_us: u64) -> ReceivedFrame {
        ReceivedFrame {
            origin,
            frame,
            arrived_us,
            missed: 0,
            catches_up: false,
            beside: false,
            came_us: arrived_us,
            plan_us: None,
        }
    }
}

#[derive(Debug)]
struct Outlet {
    queue: mpsc::Sender<ReceivedFrame>,
    /// By kind: frames dropped since the last one that got through.
    missed: [u64; 2],
    /// Video of these waits for a key frame: the program, and a stage's speakers at most.
    broken: BTreeSet<Origin>,
}

/// Everyone who listens.
#[derive(Debug, Default)]
pub(crate) struct Outlets {
    listening: Vec<Outlet>,
    closed: bool,
}

impl Outlets {
    /// One listener more; once the room is closed it gets nothing but the end.
    pub(crate) fn listen(&mut self) -> mpsc::Receiver<ReceivedFrame> {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        if !self.closed {
            self.listening.push(Outlet { queue, missed: [0; 2], broken: BTreeSet::new() });
        }
        receiver
    }

    /// Nothing more comes: everyone who listens gets what waits for it, then the end.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.listening.clear();
    }

    /// Gives a frame to everyone who has room for it; each is told what it has missed.
    pub(crate) fn give(&mut self, received: &ReceivedFrame) {
        self.listening.retain_mut(|outlet| outlet.give(received));
    }
}

impl Outlet {
    /// False when nobody listens any more.
    fn give(&mut self, received: &ReceivedFrame) -> bool {
        let video = received.frame.kind == MediaKind::Video;
        let missed = &mut self.missed[usize::from(!video)];
        if video && self.broken.contains(&received.origin) && !received.frame.identity.key {
            *missed += 1;
            return !self.queue.is_closed();
        }
        match self.queue.try_send(ReceivedFrame { missed: *missed, ..received.clone() }) {
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
    use plenary_proto::StreamId;
    use plenary_proto::identity::FrameIdentity;

    fn received(origin: Origin, kind: MediaKind, number: u32, key: bool) -> ReceivedFrame {
        let stream = StreamId([1; 8]);
        let identity = FrameIdentity { stream, number, captured_us: 0, temporal: 0, key, epoch: 0 };
        let frame = Frame { kind, identity, data: Bytes::new(), level: None };
        ReceivedFrame::new(origin, frame, 0)
    }

    #[test]
    fn a_slow_listener_goes_on_at_a_key_frame_and_is_told_what_it_missed() {
        let mut outlets = Outlets::default();
        let mut slow = outlets.listen();
        let mut give = |origin, number, key| {
            outlets.give(&received(origin, MediaKind::Video, number, key));
        };
        (0..=QUEUE_MAX as u32).for_each(|number| give(Origin::Program, number, number == 0));
        (0..10).for_each(|_| assert!(slow.try_recv().is_ok()));
        give(Origin::Speaker(PeerId([1; 32])), 7, true); // another's key frame is none for the program
        give(Origin::Program, 1000, false);
        give(Origin::Program, 1001, true);
        let rest: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
        let last = rest.last().unwrap();
        assert_eq!((last.frame.identity.number, last.missed), (1001, 1));
        assert!(rest.iter().all(|received| received.frame.identity.number != 1000));
    }

    #[test]
    fn a_listener_that_is_gone_is_forgotten() {
        let mut outlets = Outlets::default();
        drop(outlets.listen());
        outlets.give(&received(Origin::Program, MediaKind::Sound, 1, false));
        assert!(outlets.listening.is_empty());
    }

    #[test]
    fn who_listens_at_the_end_gets_what_waits_and_who_comes_later_nothing() {
        let mut outlets = Outlets::default();
        let mut listener = outlets.listen();
        outlets.give(&received(Origin::Program, MediaKind::Sound, 1, false));
        outlets.close();
        assert_eq!(listener.try_recv().unwrap().frame.identity.number, 1);
        assert_eq!(listener.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        assert_eq!(outlets.listen().try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
