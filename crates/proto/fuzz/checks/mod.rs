//! Properties that hold for any input bytes. The fuzz targets search bytes that violate them;
//! `tests/corpus.rs` replays the corpus, and draws further inputs itself.

mod draw;
mod rooms;
mod sign;

use plenary_proto::evidence::Evidence;
use plenary_proto::identity::seal::SealCheck;
use plenary_proto::identity::{FrameIdentity, MediaKind, PacketIdentity, h264, opus};
use plenary_proto::message::{
    Heartbeat, MESSAGE_LEN_MAX, MemberMessage, Message, PIECE_LEN_MAX, Pieces, Reassembly,
};
use plenary_proto::seal::{Invite, Opener, RoomSecret, SealError, Sealer};
use plenary_proto::{PeerId, RoomId, StreamId};

#[allow(unused_imports, reason = "a fuzz target draws bytes, a property test ops")]
pub(crate) use rooms::{Op, ops, play};

/// Control messages: decoding never panics, and decode, encode, decode gives an equal message. A correctly
/// signed message verifies, and does not verify under another root key.
pub(crate) fn message(bytes: &[u8]) {
    let drawn = draw::Draw::new(bytes, sign::cast()).value::<Message>();
    for message in Message::from_bytes(bytes).ok().into_iter().chain(drawn) {
        let written = message.to_bytes();
        if written.len() <= MESSAGE_LEN_MAX {
            assert_eq!(Message::from_bytes(&written).as_ref(), Ok(&message));
        }
        let _ = message.clone().verify(&sign::room(), &sign::root().id(), sign::NOW);
        let message = sign::sign_again(message);
        let verified = message.clone().verify(&sign::room(), &sign::root().id(), sign::NOW);
        assert_eq!(verified.as_deref(), Ok(&message));
        if matches!(message, Message::Member(MemberMessage::Roster(_) | MemberMessage::Admit(_))) {
            let other = message.verify(&sign::room(), &sign::key(0).id(), sign::NOW);
            assert_eq!(other, Err(SealError::WrongSender));
        }
    }
}

/// Heartbeats: decoding never panics, and decode, encode, decode gives an equal heartbeat.
pub(crate) fn heartbeat(bytes: &[u8]) {
    if let Some(heartbeat) = Heartbeat::from_bytes(bytes) {
        assert_eq!(Heartbeat::from_bytes(&heartbeat.to_bytes()), Some(heartbeat));
    }
}

/// Pieces: reassembly of any pieces never panics and stays within the bound. A fragmented message is
/// reassembled, whatever pieces preceded it.
pub(crate) fn pieces(bytes: &[u8]) {
    let mut reassembly = Reassembly::default();
    let (&step, rest) = bytes.split_first().unwrap_or((&0, &[]));
    for piece in rest.chunks(usize::from(step) + 1) {
        if let Ok(Some(message)) = reassembly.push(piece) {
            assert!(message.len() <= MESSAGE_LEN_MAX);
        }
    }
    // an empty piece is an error that drops the buffer
    let _ = reassembly.push(&[]);
    let message = rest.repeat(1 + usize::from(step) * 16);
    let message = &message[..message.len().min(MESSAGE_LEN_MAX)];
    if !message.is_empty() {
        let mut joined = None;
        for piece in Pieces::of(message) {
            assert!(joined.is_none() && piece.len() <= PIECE_LEN_MAX);
            joined = reassembly.push(&piece).expect("a piece that was cut is one");
        }
        assert_eq!(joined.as_deref(), Some(message));
    }
}

/// Envelopes: opening any bytes fails without a panic. A sealed message opens once, and neither after a bit
/// flip nor at another recipient.
pub(crate) fn envelope(bytes: &[u8]) {
    let secret = RoomSecret([7; 16]);
    let invite = Invite::create(sign::root(), (0, secret), None, true, None, &[], u64::MAX);
    let key = invite.key(None).expect("no password is needed");
    let me = sign::key(1).id();
    let mut opener = Opener::new(me, key.clone());
    assert!(opener.open(bytes, sign::NOW).is_err());
    let (at, message) = bytes.split_at(bytes.len().min(2));
    let at = at.iter().fold(0, |at, byte| at << 8 | usize::from(*byte));
    let mut sealer = Sealer::new(sign::key(2).clone(), key, 1);
    let Ok(mut sealed) = sealer.seal(Some(me), message, sign::NOW, [3; 24]) else { return };
    let mut other = Opener::new(sign::key(3).id(), invite.key(None).expect("no password is needed"));
    assert_eq!(other.open(&sealed, sign::NOW).err(), Some(SealError::WrongRecipient));
    let opened = opener.open(&sealed, sign::NOW).expect("it is for us, and whole");
    assert_eq!((opened.sender, &*opened.message), (sign::key(2).id(), message));
    assert_eq!(opener.open(&sealed, sign::NOW).err(), Some(SealError::Replayed));
    let bit = at % (8 * sealed.len());
    sealed[bit / 8] ^= 1 << (bit % 8);
    assert!(other.open(&sealed, sign::NOW).is_err_and(|error| error != SealError::WrongRecipient));
}

/// A room of brains under the operations encoded in these bytes: see [`play`].
pub(crate) fn room(bytes: &[u8]) {
    play(ops(bytes));
}

/// Frame and packet identity: reading and marking never panic. A marked frame reads back its identity, and
/// marking again does not change it.
pub(crate) fn identity(bytes: &[u8]) {
    let identity = FrameIdentity {
        stream: StreamId([7; 8]),
        number: 0,
        captured_us: bytes.len() as u64,
        temporal: 0,
        key: false,
        epoch: 0,
        first_packet: 1,
    };
    if let Some(marked) = h264::mark(bytes, &identity) {
        assert_eq!(h264::read(&marked), Some(identity));
        assert_eq!(h264::mark(&marked, &identity), Some(marked));
    }
    if let Some(marked) = opus::mark(bytes, &identity) {
        assert_eq!(opus::read(&marked), Some(identity));
        assert_eq!(opus::mark(&marked, &identity), Some(marked));
    }
    // the bytes as the tail of a frame's identity, and as a frame whose seal is checked
    let (slice, packet) = ([0, 0, 1, 0x65, 0x80], [0x78, 1, 2]);
    let tail = &bytes[..bytes.len().min(200)];
    let marked = h264::mark_with(&slice, &identity, tail);
    assert_eq!(marked.as_deref().and_then(h264::tail).as_deref(), Some(tail));
    let padded = opus::mark_with(&packet, &identity, tail);
    assert_eq!(padded.as_deref().and_then(opus::tail).as_deref(), Some(tail));
    for (kind, frames) in [
        (MediaKind::Video, [marked.as_deref(), Some(bytes)]),
        (MediaKind::Sound, [padded.as_deref(), Some(bytes)]),
    ] {
        let mut check = SealCheck::new(PeerId([7; 32]), RoomId([7; 16]), kind);
        for frame in frames.into_iter().flatten() {
            let _ = (check.may_be_decoded(frame, &identity), check.take(frame, &identity));
        }
    }
    let _ = h264::without_sei(bytes);
    let _ = Evidence::from_bytes(bytes).map(|evidence| evidence.verify(&PeerId([7; 32])));
    let _ = (h264::read(bytes), h264::read_nal(bytes), opus::read(bytes));
    let _ = (FrameIdentity::from_bytes(bytes), PacketIdentity::from_bytes(bytes));
}

/// Invites: parsing never panics, and parse, print, parse gives an equal invite.
pub(crate) fn invite(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(invite) = text.parse::<Invite>()
    {
        assert_eq!(invite.to_string().parse::<Invite>().as_ref(), Ok(&invite));
    }
}
