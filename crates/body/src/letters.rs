//! Sealing and verification: messages that travel in envelopes, and the signatures in messages.
//!
//! These are the expensive operations, so they stand beside the body's state: a shell does them outside its lock.
//! Before a signature is verified, the brain says whether the author may say such a thing at all
//! ([`RoomState::may_say`](plenary_proto::RoomState::may_say)), and a signature that was verified before isn't verified
//! again.

use plenary_proto::bucket::{Bucket, Buckets, Rate};
use plenary_proto::message::{
    Fingerprints, GenerationKey, LinkMessage, LinkProof, MESSAGE_VERSION, Message, MessageError, Relay,
    RouteMessage,
};
use plenary_proto::seal::{
    Keypair, NONCE_LEN, Opened, Opener, RoomKey, SealError, Sealer, Verified, Verifier, counter_at,
};
use plenary_proto::{PeerId, RoomId, Time, Via};

use crate::generations::{Counts, Generations};
use crate::room_time::RoomTime;

/// Number of verified signatures that are remembered, 32 bytes each: the reports, claims and votes of ten elections of
/// a stage of 64.
const VERIFIED_SLOTS: usize = 4096;
/// Bytes of one peer's envelopes that are opened. The same budget as that of a link's control messages.
const ENVELOPES_EACH: Rate = Rate { per_s: 64 * 1024, burst: 256 * 1024 };
/// Bytes of all peers' envelopes that are opened, since ids cost nothing. A guess: what a thousand newcomers send.
const ENVELOPES: Rate = Rate { per_s: 1 << 20, burst: 4 << 20 };
/// Bytes counted per envelope beside its length: its opening takes as long as the verification of a signature.
const ENVELOPE_OVERHEAD_BYTES: u64 = 512;
/// Minimum interval at which peers of another version are told so.
const NOTICE_US: u64 = 1_000_000;
/// Minimum interval at which the shell is told of other versions, of notices of them, and of other clocks, each: any
/// guest can send them without end, under ids that cost nothing. A guess.
const TOLD_US: u64 = 1_000_000;
/// Version of a notice, which all versions read: `00`, and the version that its sender speaks.
const NOTICE: u8 = 0;
/// Maximum number of peers with an envelope count of their own.
const AUTHORS_MAX: usize = 256;

/// Seals and opens envelopes of one peer in one room.
pub struct Letters {
    /// Envelopes are neither sealed nor opened.
    is_clear: bool,
    room: RoomId,
    root: PeerId,
    me: PeerId,
    sealer: Sealer,
    opener: Opener,
    verifier: Verifier,
    generations: Generations,
    time: RoomTime,
    notice_us: Option<u64>,
    /// When the shell was last told of another version, of a notice, and of another clock.
    told_us: [Option<u64>; 3],
    opened: Bucket,
    /// Envelopes by the rendezvous, by author as the rendezvous names it.
    opened_each: Buckets<AUTHORS_MAX>,
    /// Envelopes by linked peers, by the peer that handed them over: the author's name isn't proven before.
    carried_each: Buckets<AUTHORS_MAX>,
}

/// Result of reading bytes from another peer.
#[derive(Debug)]
pub enum Letter {
    /// A message with valid signatures.
    Message {
        /// The author.
        from: PeerId,
        /// Transport by which it came.
        via: Via,
        /// The message.
        message: Verified<Message>,
    },
    /// A request to join, with valid signatures, under the key of an invite that has been replaced.
    OldInvite {
        /// The author.
        from: PeerId,
        /// Transport by which it came.
        via: Via,
        /// The request.
        message: Verified<Message>,
    },
    /// The peer speaks another version of the protocol. `is_notice`: it has read this peer's version itself. Any guest
    /// can say so. Returned at most once a second, and as often for notices.
    OtherVersion {
        /// The peer.
        from: PeerId,
        /// The version that it speaks.
        version: u8,
        /// Whether it told so in answer to a message of this peer.
        is_notice: bool,
    },
    /// An envelope from a clock that differs from the room's time by more than five minutes. Returned at most once a
    /// second.
    OtherClock,
    /// A message of an unknown variant or of nobody's business, an expired statement, or a useless envelope: no peer's
    /// violation.
    Nothing,
    /// This peer, the author, violated the protocol. Peers that carried its envelope can't have seen it.
    Bad(PeerId),
}

impl Letters {
    /// Returns the letters of the peer `me` in the room that `root` founded.
    pub fn new(room: RoomId, root: PeerId, me: PeerId, sealer: Sealer, opener: Opener) -> Letters {
        let generations = Generations::new(sealer.generation());
        Letters {
            is_clear: false,
            room,
            root,
            me,
            sealer,
            opener,
            verifier: Verifier::new(VERIFIED_SLOTS),
            generations,
            time: RoomTime::default(),
            notice_us: None,
            told_us: [None; 3],
            opened: Bucket::new(ENVELOPES, Time(0)),
            opened_each: Buckets::new(ENVELOPES_EACH),
            carried_each: Buckets::new(ENVELOPES_EACH),
        }
    }

    /// Returns the letters of a simulated peer: its envelopes are the bytes of their messages, in the name of their
    /// bearer.
    pub fn in_clear(room: RoomId, root: PeerId, me: Keypair) -> Letters {
        let (id, key) = (me.id(), RoomKey::of_member(room, &GenerationKey { generation: 0, key: [0; 32] }));
        let (sealer, opener) = (Sealer::new(me, key.clone(), 0), Opener::new(id, key));
        Letters { is_clear: true, ..Letters::new(room, root, id, sealer, opener) }
    }

    /// Exchanges the memory of verified signatures.
    pub(crate) fn swap_memory(&mut self, memory: &mut Verifier) {
        std::mem::swap(&mut self.verifier, memory);
    }

    /// Seals and opens with the key of a later invite from now on.
    pub fn set_key(&mut self, key: &GenerationKey, now_us: u64) {
        let key = RoomKey::of_member(self.room, key);
        self.generations.renew(key.generation(), now_us);
        self.sealer.set_key(key.clone());
        self.opener.add_key(key);
    }

    /// Returns, once, whether a peer's envelopes are those of a later session than before. The shell asks before it
    /// hands in a message, and hands in [`In::Restarted`](crate::In::Restarted) first.
    pub fn take_restart(&mut self, from: &PeerId) -> bool {
        self.opener.take_restart(from)
    }

    /// Takes the wall clock of the rendezvous: letters are sealed and judged by it from now on, if this peer's differs
    /// by more than 30 seconds. Returns the seconds by which the room's time moves then, which the brain is to be told,
    /// and the seconds by which it is later than this peer's clock.
    pub fn told_time(&mut self, now_us: u64, unix_s: u64) -> Option<(i64, i64)> {
        let moves_s = self.time.told(now_us, unix_s)?;
        self.sealer.count_from(counter_at(self.time.unix_us(now_us)));
        Some((moves_s, self.time.later_s()))
    }

    /// Seals a message for a peer, or for the host (`None`). `nonce` must be random. Returns `None` for a message
    /// that is too long for an envelope.
    pub fn seal(
        &mut self,
        to: Option<PeerId>,
        message: &Message,
        now_us: u64,
        nonce: [u8; NONCE_LEN],
    ) -> Option<Vec<u8>> {
        self.seal_bytes(to, &message.to_bytes(), now_us, nonce)
    }

    /// Seals a notice for a peer that speaks another version; `None` if one was sealed within the last second.
    pub fn seal_notice(&mut self, to: PeerId, now_us: u64, nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
        if !is_due(&mut self.notice_us, now_us, NOTICE_US) {
            return None;
        }
        self.seal_bytes(Some(to), &[NOTICE, MESSAGE_VERSION], now_us, nonce)
    }

    fn seal_bytes(
        &mut self,
        to: Option<PeerId>,
        bytes: &[u8],
        now_us: u64,
        nonce: [u8; NONCE_LEN],
    ) -> Option<Vec<u8>> {
        if self.is_clear {
            return Some(bytes.to_vec());
        }
        let now_unix_s = self.time.unix_s(now_us);
        let older = to.and_then(|to| self.opener.key(self.generations.of(&to)?).cloned());
        let sealed = match older {
            Some(key) => self.sealer.seal_with(&key, to, bytes, now_unix_s, nonce),
            None => self.sealer.seal(to, bytes, now_unix_s, nonce),
        };
        sealed.inspect_err(|error| tracing::warn!("a message could not be sealed: {error}")).ok()
    }

    /// Opens an envelope that the rendezvous delivered in the name of `from`, and verifies its message. `may_say` tells
    /// whether an author may say such a thing.
    pub fn open(
        &mut self,
        from: PeerId,
        envelope: &[u8],
        now_us: u64,
        may_say: impl Fn(&PeerId, &Via, &Message) -> bool,
    ) -> Letter {
        let is_in_time = self.opened_each.take(Time(now_us), from, cost(envelope));
        let letter = self.unseal(from, envelope, Via::Signal, is_in_time, (now_us, &may_say));
        self.seldom(letter, now_us)
    }

    /// Returns the letter, or nothing for one that the shell was told of within the last second.
    fn seldom(&mut self, letter: Letter, now_us: u64) -> Letter {
        let kind = match letter {
            Letter::OtherVersion { is_notice, .. } => usize::from(is_notice),
            Letter::OtherClock => 2,
            letter => return letter,
        };
        if is_due(&mut self.told_us[kind], now_us, TOLD_US) { letter } else { Letter::Nothing }
    }

    fn unseal(
        &mut self,
        from: PeerId,
        envelope: &[u8],
        via: Via,
        is_in_time: bool,
        (now_us, may_say): (u64, &impl Fn(&PeerId, &Via, &Message) -> bool),
    ) -> Letter {
        if !is_in_time || !self.opened.take(Time(now_us), cost(envelope)) {
            tracing::debug!(peer = ?from, "an envelope is beyond what is opened");
            return Letter::Nothing;
        }
        let opened = if self.is_clear {
            Ok(Opened { sender: from, message: envelope.to_vec(), generation: self.sealer.generation() })
        } else {
            self.opener.open(envelope, self.time.unix_s(now_us))
        };
        match opened {
            // the name outside was not signed
            Ok(opened) if opened.sender != from => Letter::Nothing,
            Ok(opened) => {
                self.generations.heard(from, opened.generation, now_us);
                if let [NOTICE, version] = opened.message[..] {
                    return Letter::OtherVersion { from, version, is_notice: true };
                }
                let message = Message::from_bytes(&opened.message);
                let judged = |message| self.generations.judge(opened.generation, message, now_us);
                let counts = message.as_ref().map_or(Counts::Yes, judged);
                match (message, counts) {
                    (Ok(Message::Route(RouteMessage::Relay(_))), _) => Letter::Bad(from), // an envelope in an envelope
                    (_, Counts::No) => Letter::Nothing,
                    (message, counts) => match self.check(from, via, message, now_us, may_say) {
                        Letter::Message { from, via, message } if counts == Counts::OldInvite => {
                            Letter::OldInvite { from, via, message }
                        }
                        letter => letter,
                    },
                }
            }
            Err(SealError::Expired) => Letter::OtherClock,
            Err(SealError::Signature(_)) => Letter::Nothing, // the true author is unknown
            Err(error) => {
                tracing::debug!("an envelope is of no use: {error}");
                Letter::Nothing
            }
        }
    }

    /// Decodes and verifies a message that came on the link with `from`. If it is an envelope for this peer, its
    /// contents and their author are returned.
    pub fn read(
        &mut self,
        from: PeerId,
        bytes: &[u8],
        now_us: u64,
        may_say: impl Fn(&PeerId, &Via, &Message) -> bool,
    ) -> Letter {
        let letter = match Message::from_bytes(bytes) {
            Ok(Message::Route(RouteMessage::Relay(relay))) if relay.to == self.me => {
                if !relay.may_come_from(&from) {
                    return Letter::Nothing;
                }
                let Relay { from: author, route, sealed, .. } = relay;
                let is_in_time = self.carried_each.take(Time(now_us), from, cost(&sealed));
                self.unseal(author, &sealed, Via::Mesh(route), is_in_time, (now_us, &may_say))
            }
            message => self.check(from, Via::Link, message, now_us, &may_say),
        };
        self.seldom(letter, now_us)
    }

    fn check(
        &mut self,
        from: PeerId,
        via: Via,
        message: Result<Message, MessageError>,
        now_us: u64,
        may_say: &impl Fn(&PeerId, &Via, &Message) -> bool,
    ) -> Letter {
        match message {
            Ok(message) if !may_say(&from, &via, &message) => Letter::Nothing,
            Ok(message) => {
                let (room, root, unix_s) = (&self.room, &self.root, self.time.unix_s(now_us));
                match message.verify_with(&mut self.verifier, room, root, unix_s) {
                    Ok(message) => Letter::Message { from, via, message },
                    // a statement of another peer that the author forwarded may simply be old
                    Err(SealError::Expired) => Letter::Nothing,
                    Err(error) => {
                        tracing::warn!(peer = ?from, "a signed statement does not hold: {error}");
                        Letter::Bad(from)
                    }
                }
            }
            Err(MessageError::Unknown(..)) => Letter::Nothing,
            // the ends of a link speak one version, or there would be none
            Err(MessageError::Version(version)) if via != Via::Link => {
                Letter::OtherVersion { from, version, is_notice: false }
            }
            Err(error) => {
                tracing::warn!(peer = ?from, "{error}");
                Letter::Bad(from)
            }
        }
    }

    /// Returns the first message on a link with `other`, which proves that this peer is at its end.
    pub fn prove_link(&self, other: &PeerId, fingerprints: &Fingerprints) -> Message {
        Message::Link(LinkMessage::LinkProof(LinkProof::sign(
            self.sealer.keys(),
            &self.room,
            other,
            fingerprints,
        )))
    }

    /// Returns whether these bytes, the first message on a link, prove that `other` is at its other end.
    pub fn is_link_proven(&self, other: &PeerId, fingerprints: &Fingerprints, bytes: &[u8]) -> bool {
        match Message::from_bytes(bytes) {
            Ok(Message::Link(LinkMessage::LinkProof(proof))) => {
                proof.verify(&self.me, &self.room, other, fingerprints).is_ok()
            }
            _ => false,
        }
    }
}

fn cost(envelope: &[u8]) -> u64 {
    envelope.len() as u64 + ENVELOPE_OVERHEAD_BYTES
}

/// Returns whether the last time is at least the interval ago; then this is the last time.
fn is_due(last_us: &mut Option<u64>, now_us: u64, interval_us: u64) -> bool {
    let due = last_us.is_none_or(|at| now_us.saturating_sub(at) >= interval_us);
    if due {
        *last_us = Some(now_us);
    }
    due
}
