//! Verification of a recording: whether its frames are what the room's mixers made.

use std::collections::BTreeMap;
use std::path::Path;

use plenary_media::source::{KeptFrames, SourceFault};
use plenary_proto::evidence::{Evidence, EvidenceError, Mandated};
use plenary_proto::identity::MediaKind;
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::identity::seal::SealCheck;
use plenary_proto::{PeerId, RoomId, StreamId};

/// Reason why a recording couldn't be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] SourceFault),
    /// The file has no evidence of any stream: it isn't a recording of a sealed room.
    #[error(
        "the file doesn't say who made its streams: it is no recording of a room, or one of an older version"
    )]
    NoEvidence,
    /// The evidence doesn't belong to that room.
    #[error("{0}")]
    Evidence(#[from] EvidenceError),
}

/// What was found in a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Streams of makers with a mandate of the room, and the number of proven frames of each.
    pub streams: Vec<(Mandated, u64)>,
    /// Frames without a seal at the ends of streams, or beside gaps: no sign of forgery.
    pub unproven: u64,
    /// Frames with a false signature or hash, out of their order, or of a stream without a mandate: kind, and number in
    /// the file from 1.
    pub forged: Vec<(MediaKind, u64)>,
    /// The file holds more than was read: other tracks or formats, boxes that can't be read. A player may show that.
    pub has_unread: bool,
}

impl Verified {
    /// Returns whether nothing is forged or left unread, and something is proven.
    pub fn is_genuine(&self) -> bool {
        self.forged.is_empty() && !self.has_unread && self.streams.iter().any(|(_, proven)| *proven > 0)
    }
}

/// Checks a recording of the room with this root key. Cutting frames out of a recording isn't noticed, unless they are
/// pictures that others refer to; nor is when the file says that its frames are shown.
///
/// # Errors
/// [`VerifyError`] if the file can't be read, or its evidence isn't that room's.
pub fn verify_recording(path: &Path, root: &PeerId) -> Result<Verified, VerifyError> {
    let mut kept = KeptFrames::open(path)?;
    if kept.notes().is_empty() {
        return Err(VerifyError::NoEvidence);
    }
    let mut streams: BTreeMap<StreamId, (Mandated, u64)> = BTreeMap::new();
    for note in kept.notes() {
        let mandated = Evidence::from_bytes(note)?.verify(root)?;
        streams.insert(mandated.stream, (mandated, 0));
    }
    let room = RoomId::of_root(root);
    let mut checks: BTreeMap<(StreamId, bool), Check> = BTreeMap::new();
    let (mut forged, mut number) = (Vec::new(), [0u64; 2]);
    kept.each(|frame| {
        let is_picture = frame.kind == MediaKind::Video;
        number[usize::from(!is_picture)] += 1;
        let at = number[usize::from(!is_picture)];
        let Some(identity) = frame.identity else {
            if is_picture || frame.data.len() > UNMARKED_LEN_MAX {
                forged.push((frame.kind, at));
            }
            return;
        };
        let Some((mandated, proven)) = streams.get_mut(&identity.stream) else {
            forged.push((frame.kind, at));
            return;
        };
        let check = checks.entry((identity.stream, is_picture)).or_insert_with(|| Check {
            seals: SealCheck::new(mandated.maker, room, frame.kind),
            unproven: 0,
            last: 0,
        });
        let is_next = identity.number > check.last;
        check.last = identity.number;
        let proven_before = check.seals.proven_count();
        if !is_next || check.seals.take(&frame.data, &identity).is_err() {
            // a new check judges the later frames
            check.seals = SealCheck::new(mandated.maker, room, frame.kind);
            check.unproven = 0;
            forged.push((frame.kind, at));
            return;
        }
        check.unproven += 1;
        let newly = check.seals.proven_count() - proven_before;
        check.unproven -= newly;
        *proven += newly;
    })?;
    let unproven = checks.values().map(|check| check.unproven).sum();
    let streams = streams.into_values().collect();
    Ok(Verified { streams, unproven, forged, has_unread: kept.has_unread() })
}

/// Check of one kind of a stream.
struct Check {
    seals: SealCheck,
    /// Frames since the last forged one that no seal has proven.
    unproven: u64,
    /// Number of the last frame.
    last: u32,
}
