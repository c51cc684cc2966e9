//! What must hold for any bytes. The fuzz targets draw them; `tests/corpus.rs` replays those that were kept.

use plenary_proto::identity::{FrameIdentity, PacketIdentity, h264, opus};
use plenary_proto::message::{Beat, Message, Reassembly};
use plenary_proto::seal::Invite;
use plenary_proto::{PeerId, RoomId, StreamId};

/// Readers of control messages and beats: no panic, and what is read writes back to what reads alike.
pub(crate) fn message(bytes: &[u8]) {
    if let Ok(message) = Message::from_bytes(bytes) {
        assert_eq!(Message::from_bytes(&message.to_bytes()).as_ref(), Ok(&message));
        let _ = message.verify(&RoomId([0; 16]), &PeerId([0; 32]), 0);
    }
    if let Some(beat) = Beat::from_bytes(bytes) {
        assert_eq!(Beat::from_bytes(&beat.to_bytes()), Some(beat));
    }
    let mut reassembly = Reassembly::default();
    for piece in bytes.chunks(7) {
        let _ = reassembly.push(piece);
    }
}

/// Readers and writers of media identity: no panic, and what is marked reads back, once.
pub(crate) fn identity(bytes: &[u8]) {
    let identity = FrameIdentity {
        stream: StreamId([7; 8]),
        number: 0,
        captured_us: bytes.len() as u64,
        temporal: 0,
        key: false,
        epoch: 0,
    };
    if let Some(marked) = h264::mark(bytes, &identity) {
        assert_eq!(h264::read(&marked), Some(identity));
        assert_eq!(h264::mark(&marked, &identity), Some(marked));
    }
    if let Some(marked) = opus::mark(bytes, &identity) {
        assert_eq!(opus::read(&marked), Some(identity));
        assert_eq!(opus::mark(&marked, &identity), Some(marked));
    }
    let _ = (h264::read(bytes), h264::read_sei(bytes), opus::read(bytes));
    let _ = (FrameIdentity::from_bytes(bytes), PacketIdentity::from_bytes(bytes));
}

/// The reader of invites: no panic, and what is read writes back alike.
pub(crate) fn invite(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(invite) = text.parse::<Invite>()
    {
        assert_eq!(invite.to_string().parse::<Invite>().as_ref(), Ok(&invite));
    }
}
