//! What lies between bytes and the body: links without a proof of the other end's identity, messages to be read and
//! verified, envelopes to be sealed, peers of other versions, and whether this peer is in its room.
//!
//! A state machine without IO, the same for natives, pages and simulated peers: a [`Shell`](crate::Shell) calls it and
//! carries out its [`Step`]s. It stands beside the body, since signatures and envelopes are expensive: a shell with a
//! lock around the body reads outside of it.
//!
//! - A connected link counts once its other end has proved its identity. The proof is the first message on the control
//!   channel, and covers the certificates of both ends; anything else ends the link. Heartbeats may overtake the proof,
//!   and are lost then.
//! - A message is decoded, its author's right to say it is checked, then its signatures ([`Letters`]).
//! - A peer that waits for the host's answer gives up after [`HOST_ANSWER_US_MAX`] and the time for its rendezvous. A
//!   notice of another version refuses nothing by itself, since any guest can send one: it is the reason if the host
//!   doesn't answer.

use std::time::Duration;

use plenary_proto::app::ConnectionState;
use plenary_proto::link_layout::Channel;
use plenary_proto::message::{Fingerprints, GenerationKey, Message};
use plenary_proto::ordered::OrderedMap;
use plenary_proto::packet::LinkId;
use plenary_proto::rendezvous::{Address as SignalAddress, Outage};
use plenary_proto::seal::{NONCE_LEN, Verifier};
use plenary_proto::{Address, Event, Input, PeerId, Via};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::body::{Body, In};
use crate::contact::Contact;
use crate::hear::Heard;
use crate::letters::{Letter, Letters};
use crate::outs::{Envelope, Out};

/// Time that the host has to answer, in addition to the time for reaching the rendezvous. A guess.
pub const HOST_ANSWER_US_MAX: u64 = 10_000_000;

/// What a shell does for the correspondence, in order.
#[derive(Debug)]
pub enum Step {
    /// Hands an input to the body.
    Input(In),
    /// Sends on a link, or closes it.
    Out(Out),
    /// Hands an envelope to the rendezvous, which may be gone meanwhile: requests are repeated.
    Post(SignalAddress, Vec<u8>),
    /// Tells the application.
    Tell(Told),
}

/// What the application is told by the correspondence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// This peer has entered the room: the host has admitted it, and the rendezvous was reached. A host admits itself,
    /// but nobody can join it without the rendezvous.
    In,
    /// The host didn't answer in time. `other_version`: one that a peer of the room says to speak.
    NoAnswer {
        /// The version, if a notice named one.
        other_version: Option<u8>,
    },
    /// The rendezvous became reachable, or unreachable with that cause. Repeated failures of one outage are told once.
    Rendezvous(Result<(), Outage>),
    /// An event for the application.
    Event(Event),
    /// A link was closed since its other end didn't prove that it is this peer.
    Unproven(PeerId),
}

/// Whether the other end of a connected link has proved its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// Not yet; a proof covers these.
    Awaited(Fingerprints),
    Given,
    /// It has failed to: until its end nothing counts that comes on the link.
    Failed,
}

/// What becomes of bytes on a link.
#[derive(Debug)]
pub enum Gate {
    /// The other end's identity is proved, so the body receives the bytes ([`Body::received`]).
    Open,
    /// The body doesn't receive the bytes; the shell carries out these steps.
    Shut(Vec<Step>),
}

/// Progress of this peer's admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// The host has not answered until now, and a peer of the room has told this version.
    Asked { noticed: Option<u8> },
    /// The host hasn't answered in time.
    Unanswered,
    /// A person decides, which may take a while.
    InLobby,
    /// Admitted.
    Admitted,
}

/// Correspondence of one peer in one room.
pub struct Correspondence {
    letters: Letters,
    rng: ChaCha20Rng,
    links: OrderedMap<LinkId, Proof>,
    entry: Entry,
    /// The application was told that the host has admitted this peer.
    told_in: bool,
    /// Time at which the host counts as not answering.
    answer_by_us: u64,
    /// Whether the rendezvous was reached at least once.
    reached: bool,
    is_up: bool,
    told_up: Option<bool>,
    contact: Contact,
    state: ConnectionState,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::Shut(Vec::new())
    }
}

impl Correspondence {
    /// Begins the correspondence of a peer that joins now. `patience`: time for reaching the rendezvous. `entropy` must
    /// be random: nonces are drawn from it.
    pub fn new(letters: Letters, entropy: [u8; 32], now_us: u64, patience: Duration) -> Correspondence {
        let patience_us = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        Correspondence {
            letters,
            rng: ChaCha20Rng::from_seed(entropy),
            links: OrderedMap::new(),
            entry: Entry::Asked { noticed: None },
            told_in: false,
            answer_by_us: now_us.saturating_add(patience_us).saturating_add(HOST_ANSWER_US_MAX),
            reached: false,
            is_up: false,
            told_up: None,
            contact: Contact::default(),
            state: ConnectionState::default(),
        }
    }

    /// Runs with a memory of verified signatures that simulated peers share.
    pub fn with_memory<T>(&mut self, memory: &mut Verifier, act: impl FnOnce(&mut Self) -> T) -> T {
        self.letters.swap_memory(memory);
        let result = act(self);
        self.letters.swap_memory(memory);
        result
    }

    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    /// A link with `peer` is connected, with these certificates: this end's proof is sent, once.
    pub fn connected(&mut self, link: LinkId, peer: &PeerId, fingerprints: Fingerprints) -> Vec<Step> {
        if self.links.contains_key(&link) {
            return Vec::new();
        }
        self.links.insert(link, Proof::Awaited(fingerprints));
        let message = Box::new(self.letters.prove_link(peer, &fingerprints));
        vec![Step::Out(Out::Control { link, message })]
    }

    /// A link has ended.
    pub fn ended(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Returns whether the other end of a link has proved its identity.
    pub fn is_proven(&self, link: LinkId) -> bool {
        self.links.get(&link) == Some(&Proof::Given)
    }

    /// Judges bytes on a link with `peer`. What comes before the link is connected counts for nothing.
    pub fn judge(&mut self, link: LinkId, peer: &PeerId, channel: Channel, bytes: &[u8]) -> Gate {
        // natives probe their links by empty heartbeats
        if channel == Channel::Heartbeat && bytes.is_empty() {
            return Gate::default();
        }
        match self.links.get(&link) {
            Some(Proof::Given) => Gate::Open,
            Some(Proof::Awaited(fingerprints)) if channel == Channel::Control => {
                // one piece, the last of its message
                let is_proven = bytes.split_first().is_some_and(|(more, message)| {
                    *more == 0 && self.letters.is_link_proven(peer, fingerprints, message)
                });
                self.links.insert(link, if is_proven { Proof::Given } else { Proof::Failed });
                Gate::Shut(match is_proven {
                    true => vec![Step::Input(In::LinkUp(link))],
                    false => vec![Step::Tell(Told::Unproven(*peer)), Step::Out(Out::Close { link })],
                })
            }
            Some(Proof::Awaited(_) | Proof::Failed) | None => Gate::default(),
        }
    }

    // ── messages ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Decodes and verifies a message that came on a link. `may_say` tells whether an author may say such a thing.
    pub fn read(
        &mut self,
        Heard { from, message }: &Heard,
        now_us: u64,
        may_say: impl Fn(&PeerId, &Via, &Message) -> bool,
    ) -> Vec<Step> {
        let letter = self.letters.read(*from, message, now_us, may_say);
        self.take(letter, now_us)
    }

    /// Opens an envelope that the rendezvous delivered in the name of `from`, as [`read`](Self::read) reads a message.
    pub fn open(
        &mut self,
        from: PeerId,
        envelope: &[u8],
        now_us: u64,
        may_say: impl Fn(&PeerId, &Via, &Message) -> bool,
    ) -> Vec<Step> {
        let letter = self.letters.open(from, envelope, now_us, may_say);
        self.take(letter, now_us)
    }

    fn take(&mut self, letter: Letter, now_us: u64) -> Vec<Step> {
        match letter {
            Letter::Message { from, via, message } => {
                let steps = self.restarted(from, &via);
                after(steps, Step::Input(In::Message { from, via, message }))
            }
            Letter::OldInvite { from, via, message } => {
                let steps = self.restarted(from, &via);
                after(steps, Step::Input(In::OldInvite { from, via, message }))
            }
            Letter::OtherVersion { from, version, is_notice } => {
                self.other_version(from, version, is_notice, now_us)
            }
            Letter::OtherClock => vec![tell(Event::OtherClock)],
            Letter::Bad(from) => vec![Step::Input(In::Misbehaved(from))],
            Letter::Nothing => Vec::new(),
        }
    }

    /// Returns what goes ahead of the message in the first envelope of a peer's later session.
    fn restarted(&mut self, from: PeerId, via: &Via) -> Vec<Step> {
        match *via != Via::Link && self.letters.take_restart(&from) {
            true => vec![Step::Input(In::Restarted(from))],
            false => Vec::new(),
        }
    }

    /// The application is told of a peer of another version, and the peer, unless it knows.
    fn other_version(&mut self, peer: PeerId, version: u8, is_notice: bool, now_us: u64) -> Vec<Step> {
        let mut steps = vec![tell(Event::OtherVersion { peer, version })];
        if is_notice {
            if let Entry::Asked { noticed } = &mut self.entry {
                *noticed = Some(version);
            }
            return steps;
        }
        let nonce = self.nonce();
        if let Some(sealed) = self.letters.seal_notice(peer, now_us, nonce) {
            steps.push(Step::Post(SignalAddress::Peer(peer), sealed));
        }
        steps
    }

    /// Seals a message that travels in an envelope. Returns `None` if the message exceeds the envelope's maximum
    /// length.
    pub fn seal(&mut self, envelope: Envelope, now_us: u64) -> Option<Step> {
        let nonce = self.nonce();
        match envelope {
            Envelope::Signal { to, message } => {
                let (recipient, address) = match to {
                    Address::Host => (None, SignalAddress::Host),
                    Address::Peer(peer) => (Some(peer), SignalAddress::Peer(peer)),
                };
                let sealed = self.letters.seal(recipient, &message, now_us, nonce)?;
                Some(Step::Post(address, sealed))
            }
            Envelope::Relay { route, message } => {
                let sealed = self.letters.seal(Some(route.to), &message, now_us, nonce)?;
                Some(Step::Out(route.carry(sealed)?))
            }
        }
    }

    /// Seals and opens with the key of a later invite from now on.
    pub fn set_key(&mut self, key: &GenerationKey, now_us: u64) {
        self.letters.set_key(key, now_us);
    }

    fn nonce(&mut self) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }

    // ── the rendezvous ───────────────────────────────────────────────────────────────────────────────────────

    /// The rendezvous tells its wall clock: the peer goes by it from now on, if this machine's differs.
    pub fn told_time(&mut self, unix_s: u64, now_us: u64) -> Vec<Step> {
        let Some((later_s, rendezvous_later_s)) = self.letters.told_time(now_us, unix_s) else {
            return Vec::new();
        };
        let told = Event::OwnClock { ahead_s: rendezvous_later_s.saturating_neg() };
        vec![tell(told), Step::Input(In::Brain(Box::new(Input::RoomTime { later_s })))]
    }

    /// Handles a change of the connection with the rendezvous: established, or lost with that cause.
    pub fn signal_changed(&mut self, now: Result<(), Outage>) -> Vec<Step> {
        self.is_up = now.is_ok();
        self.reached |= self.is_up;
        let mut steps = Vec::new();
        if self.told_up.replace(self.is_up) != Some(self.is_up) {
            steps.push(Step::Tell(Told::Rendezvous(now)));
        }
        steps.push(Step::Input(In::SignalUp(self.is_up)));
        steps.append(&mut self.told_in());
        steps
    }

    /// The rendezvous is out of reach for good.
    pub fn signal_ended(&mut self) -> Vec<Step> {
        self.is_up = false;
        vec![Step::Input(In::SignalUp(false))]
    }

    /// Returns whether the rendezvous is reachable.
    pub fn is_signal_up(&self) -> bool {
        self.is_up
    }

    // ── this peer ────────────────────────────────────────────────────────────────────────────────────────────

    /// Notes an event of the brain.
    pub fn note(&mut self, event: &Event) -> Vec<Step> {
        match event {
            Event::InLobby => self.entry = Entry::InLobby,
            Event::Admitted => self.entry = Entry::Admitted,
            _ => {}
        }
        self.told_in()
    }

    /// Returns whether the host has admitted this peer; a host admits itself.
    pub fn is_admitted(&self) -> bool {
        self.entry == Entry::Admitted
    }

    /// Returns whether the application was told that this peer has entered the room ([`Told::In`]).
    pub fn is_in(&self) -> bool {
        self.told_in
    }

    fn told_in(&mut self) -> Vec<Step> {
        match self.is_admitted() && self.reached && !std::mem::replace(&mut self.told_in, true) {
            true => vec![Step::Tell(Told::In)],
            false => Vec::new(),
        }
    }

    /// Returns what follows if the host hasn't answered by now.
    pub fn on_time(&mut self, now_us: u64) -> Vec<Step> {
        let Entry::Asked { noticed } = self.entry else { return Vec::new() };
        if now_us < self.answer_by_us || self.state == ConnectionState::Closed {
            return Vec::new();
        }
        self.entry = Entry::Unanswered;
        vec![Step::Tell(Told::NoAnswer { other_version: noticed })]
    }

    /// Returns this peer's connection with its room, as of now.
    pub fn connection(&mut self, body: &Body, now_us: u64) -> ConnectionState {
        let is_linked = self.contact.is_linked(body, now_us) && self.reached;
        self.state = self.state.next(is_linked);
        self.state
    }

    /// Ends the connection for good: this peer has left, or was not admitted.
    pub fn close(&mut self) {
        self.state = ConnectionState::Closed;
    }
}

fn tell(event: Event) -> Step {
    Step::Tell(Told::Event(event))
}

fn after(mut steps: Vec<Step>, last: Step) -> Vec<Step> {
    steps.push(last);
    steps
}
