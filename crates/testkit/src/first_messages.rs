//! What may come first on a new link, and what must become of the link. Native peers, pages and simulated peers run
//! this table.

use plenary_proto::link_layout::Channel;
use plenary_proto::message::{Fingerprints, LinkMessage, LinkProof, MESSAGE_VERSION, MemberMessage, Message};
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, RoomId};

/// What becomes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It counts from now on.
    Up,
    /// It is closed.
    Closed,
    /// Nothing: a proof may still come.
    Waits,
}

/// The first bytes on a link.
#[derive(Clone, Debug)]
pub struct FirstMessage {
    /// What is wrong with them.
    pub name: &'static str,
    /// The channel that they come on.
    pub channel: Channel,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What becomes of the link.
    pub then: Then,
}

/// Returns what `me` may send first on its link with `other`. `fingerprints`: those of the certificates, as `me` sees
/// them.
pub fn first_messages(
    me: &Keypair,
    room: &RoomId,
    other: &PeerId,
    fingerprints: &Fingerprints,
) -> Vec<FirstMessage> {
    let stranger = Keypair::from_seed(&[0xba; 32]);
    let swapped = Fingerprints { own: fingerprints.other, other: fingerprints.own };
    let in_the_middle = Fingerprints { other: [0x5a; 32], ..*fingerprints };
    let whole = |message: &[u8]| [&[0], message].concat();
    let proof = |by: &Keypair, room: &RoomId, other: &PeerId, fingerprints: &Fingerprints| {
        whole(
            &Message::Link(LinkMessage::LinkProof(LinkProof::sign(by, room, other, fingerprints))).to_bytes(),
        )
    };
    let right = proof(me, room, other, fingerprints);
    let with_byte = |at: usize, byte: u8| {
        let mut bytes = right.clone();
        bytes[at] = byte;
        bytes
    };
    let last = right.len() - 1;
    let control = [
        ("the proof", right.clone(), Then::Up),
        ("nothing", Vec::new(), Then::Closed),
        ("an empty message", whole(&[]), Then::Closed),
        ("bytes that are no message", whole(&[0xff; 40]), Then::Closed),
        ("another message", whole(&Message::Member(MemberMessage::Leave).to_bytes()), Then::Closed),
        ("a piece of a longer message", with_byte(0, 1), Then::Closed),
        ("a proof cut short", right[..last].to_vec(), Then::Closed),
        ("a proof with a wrong signature", with_byte(last, right[last] ^ 1), Then::Closed),
        ("a proof in another version", with_byte(1, MESSAGE_VERSION + 1), Then::Closed),
        ("a proof by another peer", proof(&stranger, room, other, fingerprints), Then::Closed),
        ("a proof for another peer", proof(me, room, &stranger.id(), fingerprints), Then::Closed),
        ("a proof of another room", proof(me, &RoomId([7; 16]), other, fingerprints), Then::Closed),
        ("a proof of the other end", proof(me, room, other, &swapped), Then::Closed),
        ("a proof of a link with a machine between", proof(me, room, other, &in_the_middle), Then::Closed),
    ];
    let beside =
        [("the proof as a heartbeat", Channel::Heartbeat), ("the proof as bulk data", Channel::Bulk)];
    let control = control.into_iter().map(|(name, bytes, then)| FirstMessage {
        name,
        channel: Channel::Control,
        bytes,
        then,
    });
    let beside = beside.into_iter().map(|(name, channel)| FirstMessage {
        name,
        channel,
        bytes: right.clone(),
        then: Then::Waits,
    });
    control.chain(beside).collect()
}
