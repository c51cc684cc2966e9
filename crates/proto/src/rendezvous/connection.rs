//! A peer's connection to a rendezvous, without IO: for a shell that brings a websocket of its own, such as a page.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Address, Doors, FrameError, FromPeer, FromRendezvous, Hello, HostProof, Refusal, silence_ms_max,
};
use crate::app::Reason;
use crate::rng::{Backoff, Rng};
use crate::seal::Keypair;
use crate::{PeerId, RoomId};

/// Timeout of one attempt, from dialling to the welcome, in microseconds.
const ATTEMPT_US_MAX: u64 = 5_000_000;
/// Age at which a connection counts as stable and resets the backoff, in microseconds.
const STEADY_US: u64 = 10_000_000;
/// Maximum wait between attempts: after the first failure, and after any, in microseconds. Guesses.
pub const BACKOFF_US: [u64; 2] = [100_000, 10_000_000];
/// The latter at a room's host, and at peers on stage: while the host is away the room is closed at a rendezvous that
/// has restarted, and a host that has restarted learns of its room by them. A guess.
pub const BACKOFF_ON_STAGE_US_MAX: u64 = 2_000_000;
/// Maximum number of envelopes that wait while there is no connection.
const WAITING_MAX: usize = 256;
/// Age at which a waiting envelope is dropped, in microseconds: its sender has retried by then. A guess.
const WAITING_US_MAX: u64 = 10_000_000;

/// What happened to the websocket.
#[derive(Clone, Copy, Debug)]
pub enum Happening<'a> {
    /// It is open.
    Opened,
    /// A binary message arrived.
    Frame(&'a [u8]),
    /// The websocket has closed, or the attempt failed.
    Closed,
    /// The time of [`Connection::next_timeout_us`] has come.
    Timeout,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open a websocket.
    Dial,
    /// Close the websocket; its later events are ignored.
    HangUp,
    /// Send a binary message.
    Send(Bytes),
    /// The wall clock of the rendezvous: a first time ahead of [`Up`](Step::Up), later with each ping.
    Clock {
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// The peer is in its room.
    Up,
    /// There is no connection. A further attempt follows by itself.
    Down(Outage),
    /// An envelope has arrived.
    Envelope {
        /// Its sender, as the rendezvous has verified.
        from: PeerId,
        /// The envelope.
        bytes: Bytes,
    },
    /// An envelope of this peer could not be delivered.
    Undeliverable(Address),
    /// No further attempt would change the refusal.
    Ended(Refusal),
}

/// Cause of a lost connection or a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum Outage {
    /// The websocket could not be opened, or has closed.
    Closed,
    /// Nothing arrived in time.
    Silent,
    /// The rendezvous refused the peer.
    #[error("the rendezvous refused: {0}")]
    Refused(Refusal),
    /// This machine has stood still ([`Connection::renew`]).
    Slept,
    /// Something arrived that is no frame, or a frame out of turn.
    Protocol,
}

impl Outage {
    /// Returns the cause as others name it.
    pub fn reason(self) -> Reason {
        match self {
            Outage::Closed => Reason::Unreachable,
            Outage::Silent => Reason::Silent,
            Outage::Refused(refusal) => refusal.reason(),
            Outage::Slept => Reason::Slept,
            Outage::Protocol => Reason::NoProtocol,
        }
    }
}

/// Keys by which a peer enters a room.
#[derive(Debug)]
pub struct Entrance {
    /// The room.
    pub room: RoomId,
    /// Key pair of the peer.
    pub me: Keypair,
    /// Key pair of the door ([`RoomKey::door`](crate::seal::RoomKey::door)).
    pub door: Keypair,
    /// What proves the host; `None` at any other peer.
    pub host: Option<HostEntrance>,
}

/// What proves to a rendezvous that a peer is the host of its room.
#[derive(Debug)]
pub struct HostEntrance {
    /// The room's root key pair.
    pub root: Keypair,
    /// The room's doors.
    pub doors: Doors,
    /// Whether the peer enters as the host. One that opens its room again enters as a member first, so that its
    /// questions reach the members that have stayed, and proves the root key by [`Connection::claim`].
    pub claims: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting { until_us: u64 },
    Entering { nonce: Option<[u8; 32]>, until_us: u64 },
    Up { nonce: [u8; 32], since_us: u64, heard_us: u64, silence_us_max: u64 },
    Ended,
}

/// The connection: one websocket at a time, which is opened anew by itself.
#[derive(Debug)]
pub struct Connection {
    entrance: Entrance,
    state: State,
    been_up: bool,
    backoff: Backoff,
    is_on_stage: bool,
    rng: Rng,
    waiting: VecDeque<(u64, Address, Bytes)>,
}

impl Connection {
    /// Returns a connection that is due at once. `seed` draws the waits between attempts.
    pub fn new(entrance: Entrance, seed: u64) -> Connection {
        Connection {
            entrance,
            state: State::Waiting { until_us: 0 },
            been_up: false,
            backoff: Backoff::new(BACKOFF_US[0], BACKOFF_US[1]),
            is_on_stage: false,
            rng: Rng::new(seed),
            waiting: VecDeque::new(),
        }
    }

    /// Returns the time at which [`Happening::Timeout`] is due, in microseconds.
    pub fn next_timeout_us(&self) -> Option<u64> {
        match self.state {
            State::Waiting { until_us } | State::Entering { until_us, .. } => Some(until_us),
            State::Up { heard_us, silence_us_max, .. } => Some(heard_us + silence_us_max),
            State::Ended => None,
        }
    }

    /// Sends an envelope. Without a connection the envelope is queued for 10 s; a full queue of 256 drops its oldest.
    pub fn send(&mut self, now_us: u64, to: Address, envelope: Bytes) -> Option<Step> {
        if matches!(self.state, State::Up { .. }) {
            return Some(Step::Send(FromPeer::Send { to, envelope: &envelope }.to_bytes()));
        }
        self.waiting.push_back((now_us, to, envelope));
        if self.waiting.len() > WAITING_MAX {
            self.waiting.pop_front();
        }
        None
    }

    /// Connects anew at once: this machine has stood still, so that the rendezvous has given its connection up.
    pub fn renew(&mut self, now_us: u64) -> Vec<Step> {
        let had_websocket = match self.state {
            State::Ended => return Vec::new(),
            State::Waiting { .. } => false,
            State::Entering { .. } | State::Up { .. } => true,
        };
        self.backoff.reset();
        self.state = State::Waiting { until_us: now_us };
        let ends = had_websocket.then_some([Step::HangUp, Step::Down(Outage::Slept)]);
        ends.into_iter().flatten().chain(self.handle(now_us, Happening::Timeout)).collect()
    }

    /// Replaces the doors of the room, at its host; now and after each reconnection.
    pub fn set_doors(&mut self, doors: Doors) -> Option<Step> {
        self.entrance.host.as_mut()?.doors = doors;
        self.claim_over_this_connection()
    }

    /// Proves the root key, at a peer that has it; now and after each reconnection.
    pub fn claim(&mut self) -> Option<Step> {
        let host = self.entrance.host.as_mut()?;
        let is_new = !std::mem::replace(&mut host.claims, true);
        is_new.then(|| self.claim_over_this_connection())?
    }

    fn claim_over_this_connection(&self) -> Option<Step> {
        let State::Up { nonce, .. } = &self.state else { return None };
        let proof = self.host_proof(nonce)?;
        Some(Step::Send(FromPeer::Claim(Box::new(proof)).to_bytes()))
    }

    /// Returns the proof that this peer is the room's host, over the nonce of a connection; `None` unless it says so.
    fn host_proof(&self, nonce: &[u8; 32]) -> Option<HostProof> {
        let Entrance { room, me, host, .. } = &self.entrance;
        let host = host.as_ref().filter(|host| host.claims)?;
        Some(HostProof::new(*room, nonce, me.id(), &host.root, &host.doors))
    }

    /// Sets whether this peer is on stage, and therefore tries more often ([`BACKOFF_ON_STAGE_US_MAX`]). A host always
    /// does.
    pub fn set_on_stage(&mut self, is_on_stage: bool) {
        self.is_on_stage = is_on_stage;
    }

    /// Handles what happened.
    pub fn handle(&mut self, now_us: u64, happening: Happening<'_>) -> Vec<Step> {
        match (happening, self.state) {
            (_, State::Ended) => Vec::new(),
            (Happening::Timeout, State::Waiting { until_us }) if now_us >= until_us => {
                self.state = State::Entering { nonce: None, until_us: now_us + ATTEMPT_US_MAX };
                vec![Step::Dial]
            }
            (Happening::Timeout, _) if self.next_timeout_us().is_none_or(|due_us| now_us < due_us) => {
                Vec::new()
            }
            (Happening::Timeout, _) => self.give_up(now_us, Outage::Silent),
            // what comes of a websocket that was given up counts for nothing
            (_, State::Waiting { .. }) | (Happening::Opened, _) => Vec::new(),
            (Happening::Closed, _) => self.give_up(now_us, Outage::Closed),
            (Happening::Frame(bytes), State::Entering { nonce, until_us }) => {
                self.enter(now_us, bytes, nonce, until_us)
            }
            (Happening::Frame(bytes), State::Up { nonce, since_us, silence_us_max, .. }) => {
                self.state = State::Up { nonce, since_us, heard_us: now_us, silence_us_max };
                self.frame(now_us, bytes)
            }
        }
    }

    /// Handles a frame before the welcome.
    fn enter(&mut self, now_us: u64, bytes: &[u8], said: Option<[u8; 32]>, until_us: u64) -> Vec<Step> {
        match (FromRendezvous::from_bytes(bytes), said) {
            (Ok(FromRendezvous::Challenge { nonce }), None) => {
                self.state = State::Entering { nonce: Some(nonce), until_us };
                let Entrance { room, me, door, .. } = &self.entrance;
                let hello = Hello::new(*room, &nonce, me, door, self.host_proof(&nonce));
                vec![Step::Send(FromPeer::Hello(Box::new(hello)).to_bytes())]
            }
            (Ok(FromRendezvous::Clock { unix_s }), Some(_)) => vec![Step::Clock { unix_s }],
            (Ok(FromRendezvous::Welcome { ping_interval_ms }), Some(nonce)) => {
                let silence_us_max = u64::from(silence_ms_max(ping_interval_ms)) * 1_000;
                self.state = State::Up { nonce, since_us: now_us, heard_us: now_us, silence_us_max };
                self.been_up = true;
                let kept = std::mem::take(&mut self.waiting).into_iter();
                let kept = kept.filter(|(at_us, ..)| now_us.saturating_sub(*at_us) < WAITING_US_MAX);
                let sends =
                    kept.map(|(_, to, envelope)| FromPeer::Send { to, envelope: &envelope }.to_bytes());
                std::iter::once(Step::Up).chain(sends.map(Step::Send)).collect()
            }
            (Ok(FromRendezvous::Refused(refusal)), _) => self.give_up(now_us, Outage::Refused(refusal)),
            (Err(FrameError::Version(_)), _) => self.give_up(now_us, Outage::Refused(Refusal::Version)),
            (Err(FrameError::Unknown(_)), _) => Vec::new(),
            (Ok(_) | Err(_), _) => self.give_up(now_us, Outage::Protocol),
        }
    }

    fn frame(&mut self, now_us: u64, bytes: &[u8]) -> Vec<Step> {
        match FromRendezvous::from_bytes(bytes) {
            Ok(FromRendezvous::Deliver { from, envelope }) => {
                vec![Step::Envelope { from, bytes: Bytes::copy_from_slice(envelope) }]
            }
            Ok(FromRendezvous::Undeliverable { to }) => vec![Step::Undeliverable(to)],
            Ok(FromRendezvous::Clock { unix_s }) => vec![Step::Clock { unix_s }],
            Ok(FromRendezvous::Ping) => vec![Step::Send(FromPeer::Pong.to_bytes())],
            Ok(FromRendezvous::Refused(refusal)) => self.give_up(now_us, Outage::Refused(refusal)),
            Err(FrameError::Unknown(_)) => Vec::new(),
            Ok(FromRendezvous::Challenge { .. } | FromRendezvous::Welcome { .. }) | Err(_) => {
                self.give_up(now_us, Outage::Protocol)
            }
        }
    }

    fn give_up(&mut self, now_us: u64, why: Outage) -> Vec<Step> {
        if let State::Up { since_us, .. } = self.state
            && now_us.saturating_sub(since_us) >= STEADY_US
        {
            self.backoff.reset();
        }
        if let (Outage::Refused(Refusal::UnknownRoom | Refusal::NotYet), Some(host)) =
            (why, &mut self.entrance.host)
            && !std::mem::replace(&mut host.claims, true)
        {
            // no member has stayed there: the host opens the room
            self.state = State::Waiting { until_us: now_us };
            return vec![Step::HangUp];
        }
        if let Outage::Refused(refusal) = why
            && refusal.is_final(self.been_up, self.backoff.tries())
        {
            self.state = State::Ended;
            return vec![Step::HangUp, Step::Ended(refusal)];
        }
        let is_urgent = self.is_on_stage || self.entrance.host.is_some();
        let wait_us_max = if is_urgent { BACKOFF_ON_STAGE_US_MAX } else { BACKOFF_US[1] };
        let wait_us = self.backoff.next_us_within(&mut self.rng, wait_us_max);
        self.state = State::Waiting { until_us: now_us + wait_us };
        vec![Step::HangUp, Step::Down(why)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn connection() -> Connection {
        let [me, door] = [1, 2].map(|seed| Keypair::from_seed(&[seed; 32]));
        Connection::new(Entrance { room: RoomId([7; 16]), me, door, host: None }, 1)
    }

    fn frame(connection: &mut Connection, now_us: u64, frame: &FromRendezvous<'_>) -> Vec<Step> {
        connection.handle(now_us, Happening::Frame(&frame.to_bytes()))
    }

    /// Enters the room at that time.
    fn enter(connection: &mut Connection, now_us: u64) -> Vec<Step> {
        assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::Dial]);
        assert_eq!(connection.handle(now_us, Happening::Opened), []);
        let steps = frame(connection, now_us, &FromRendezvous::Challenge { nonce: [9; 32] });
        let [Step::Send(hello)] = &steps[..] else { panic!("{steps:?}") };
        let Ok(FromPeer::Hello(hello)) = FromPeer::from_bytes(hello) else { panic!() };
        hello.check(&[9; 32]).unwrap();
        let clock = FromRendezvous::Clock { unix_s: 1_800_000_000 };
        assert_eq!(frame(connection, now_us, &clock), [Step::Clock { unix_s: 1_800_000_000 }]);
        frame(connection, now_us, &FromRendezvous::Welcome { ping_interval_ms: 5_000 })
    }

    #[test]
    fn a_peer_enters_sends_what_has_waited_and_answers_pings() {
        let mut connection = connection();
        let to = Address::Host;
        for (at_us, byte) in [(0, 1), (9 * S, 2)] {
            assert_eq!(connection.send(at_us, to, Bytes::from(vec![byte])), None);
        }
        let sent = |byte: u8| Step::Send(FromPeer::Send { to, envelope: &[byte] }.to_bytes());
        assert_eq!(enter(&mut connection, 12 * S), [Step::Up, sent(2)], "the first one is too old");
        assert_eq!(connection.send(12 * S, to, Bytes::from_static(&[3])), Some(sent(3)));
        let clock = FromRendezvous::Clock { unix_s: 1_800_000_001 };
        assert_eq!(frame(&mut connection, 13 * S, &clock), [Step::Clock { unix_s: 1_800_000_001 }]);
        let pong = Step::Send(FromPeer::Pong.to_bytes());
        assert_eq!(frame(&mut connection, 13 * S, &FromRendezvous::Ping), [pong]);
        let from = PeerId([5; 32]);
        let delivered = FromRendezvous::Deliver { from, envelope: &[4] };
        let envelope = Step::Envelope { from, bytes: Bytes::from_static(&[4]) };
        assert_eq!(frame(&mut connection, 13 * S, &delivered), [envelope]);
    }

    #[test]
    fn a_silent_rendezvous_is_dialled_anew_with_growing_waits() {
        let mut connection = connection();
        enter(&mut connection, 0);
        assert_eq!(connection.next_timeout_us(), Some(15 * S));
        assert_eq!(connection.handle(14 * S, Happening::Timeout), [], "not due yet");
        let mut now_us = 15 * S;
        assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::HangUp, Step::Down(Outage::Silent)]);
        let mut waits_us = Vec::new();
        for _ in 0..10 {
            let due_us = connection.next_timeout_us().unwrap();
            waits_us.push(due_us - now_us);
            now_us = due_us;
            assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::Dial]);
            assert_eq!(
                connection.handle(now_us, Happening::Closed),
                [Step::HangUp, Step::Down(Outage::Closed)]
            );
        }
        assert!(waits_us[0] <= 100_000 && waits_us[9] >= 5 * S, "{waits_us:?}");
        assert!(waits_us.iter().all(|wait_us| *wait_us <= 10 * S), "{waits_us:?}");
    }

    #[test]
    fn a_peer_that_has_slept_dials_anew_at_once() {
        let mut connection = connection();
        enter(&mut connection, 0);
        let anew = [Step::HangUp, Step::Down(Outage::Slept), Step::Dial];
        assert_eq!(connection.renew(360 * S), anew);
        assert_eq!(connection.renew(361 * S), anew);
        connection.handle(362 * S, Happening::Closed);
        assert_eq!(connection.renew(362 * S), [Step::Dial], "without waiting");
    }

    #[test]
    fn a_refusal_ends_the_attempts_unless_the_peer_was_in_before() {
        let unknown = FromRendezvous::Refused(Refusal::UnknownRoom);
        let mut stranger = connection();
        stranger.handle(0, Happening::Timeout);
        let ended = [Step::HangUp, Step::Ended(Refusal::UnknownRoom)];
        assert_eq!(frame(&mut stranger, 0, &unknown), ended);
        assert_eq!(stranger.next_timeout_us(), None);
        let mut member = connection();
        enter(&mut member, 0);
        member.handle(S, Happening::Closed);
        member.handle(member.next_timeout_us().unwrap(), Happening::Timeout);
        let down = [Step::HangUp, Step::Down(Outage::Refused(Refusal::UnknownRoom))];
        assert_eq!(frame(&mut member, 2 * S, &unknown), down);
    }

    #[test]
    fn frames_out_of_turn_and_other_bytes_end_the_connection_and_late_ones_are_ignored() {
        for bytes in [&[][..], &[1, 9, 9], &FromRendezvous::Welcome { ping_interval_ms: 1 }.to_bytes()] {
            let mut connection = connection();
            connection.handle(0, Happening::Timeout);
            let steps = connection.handle(0, Happening::Frame(bytes));
            let is_unknown = matches!(FromRendezvous::from_bytes(bytes), Err(FrameError::Unknown(_)));
            let expected = if is_unknown { vec![] } else { vec![Step::HangUp, Step::Down(Outage::Protocol)] };
            assert_eq!(steps, expected);
            if !is_unknown {
                assert_eq!(connection.handle(1, Happening::Frame(bytes)), [], "of a websocket given up");
                assert_eq!(connection.handle(1, Happening::Closed), []);
            }
        }
    }
}
