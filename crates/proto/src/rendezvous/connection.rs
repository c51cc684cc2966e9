//! A peer's connection to a rendezvous, without IO: what natives and pages, which bring a websocket of their own each,
//! have in common.
//!
//! A shell opens and closes websockets as [`Step`]s say, reports what happens to them ([`Happening`]), and sends what
//! [`Connection::next_frame`] returns whenever the websocket takes more.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::outage::{Ended, NotSent, Outage};
use super::tunnels::Tunnels;
use super::{
    Address, Doors, EARLY_LEN_MAX, FrameError, FromPeer, FromRendezvous, Hello, HostProof, Refusal,
    TurnAccess, silence_ms_max,
};
use crate::rng::{Backoff, Rng};
use crate::seal::Keypair;
use crate::{PeerId, RoomId};

/// Timeout of one attempt, from dialling to the welcome, in microseconds.
const ATTEMPT_US_MAX: u64 = 5_000_000;
/// Minimum timeout of one attempt, whatever is left of the patience, in microseconds: a shorter one would say nothing.
/// A guess.
const ATTEMPT_US_MIN: u64 = 500_000;
/// Time for the first connection by default, in microseconds. A guess.
pub const PATIENCE_US: u64 = 10_000_000;
/// Age at which a connection counts as stable and resets the backoff, in microseconds.
const STEADY_US: u64 = 10_000_000;
/// Maximum wait between attempts: after the first failure, and after any, in microseconds. Guesses.
const BACKOFF_US: [u64; 2] = [100_000, 10_000_000];
/// The latter at a room's host, and at peers on stage: while the host is away the room is closed at a rendezvous that
/// has restarted, and a host that has restarted learns of its room by them. A guess.
const BACKOFF_ON_STAGE_US_MAX: u64 = 2_000_000;
/// Maximum number of envelopes that wait to be sent. At the limit new ones are refused.
const WAITING_MAX: usize = 256;
/// Age at which a waiting envelope is dropped, in microseconds: its sender has retried by then, and an answer would
/// come too late to be useful. A guess.
const WAITING_US_MAX: u64 = 10_000_000;

/// What happened to the websocket.
#[derive(Clone, Debug)]
pub enum Happening<'a> {
    /// It is open.
    Opened,
    /// A binary message arrived.
    Frame(&'a [u8]),
    /// The other end is alive: a ping of the websocket itself.
    Alive,
    /// The websocket has closed, or the attempt failed.
    Closed(Outage),
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
    /// The wall clock of the rendezvous: a first time ahead of [`Opens`](Step::Opens), later with each ping.
    Clock {
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// A TURN server that this peer may use: a first time ahead of [`Up`](Step::Up), later with newer credentials.
    Turn(TurnAccess),
    /// The hello goes out, and one envelope of at most [`EARLY_LEN_MAX`](super::EARLY_LEN_MAX) bytes may follow it
    /// without waiting for the answer: a newcomer asks the host at once. It is lost with the attempt.
    Opens,
    /// The rendezvous carries tunnels, from [`Up`](Step::Up) until [`Down`](Step::Down).
    Carries,
    /// The peer is in its room.
    Up,
    /// There is no connection. A further attempt follows by itself.
    Down {
        /// Cause.
        why: Outage,
        /// Time until the attempt.
        retry_in: Duration,
    },
    /// An envelope has arrived.
    Envelope {
        /// Its sender, as the rendezvous has verified.
        from: PeerId,
        /// The envelope.
        bytes: Bytes,
    },
    /// An envelope of this peer could not be delivered.
    Undeliverable(Address),
    /// Datagrams of a link have arrived over a tunnel.
    Tunnel {
        /// Their sender, as the rendezvous has verified.
        from: PeerId,
        /// A well-formed [`Batch`](super::Batch).
        batch: Bytes,
    },
    /// No further attempt follows.
    Ended(Ended),
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
    /// Time for the first connection, in microseconds: [`PATIENCE_US`] by default.
    pub patience_us: u64,
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
    Entering { nonce: Option<[u8; 32]>, since_us: u64, attempt_us_max: u64 },
    Up { nonce: [u8; 32], since_us: u64, heard_us: u64, silence_us_max: u64 },
    Ended,
}

/// What the rendezvous waits for from this peer, ahead of envelopes.
#[derive(Debug, Default)]
struct Owed {
    hello: bool,
    /// What may follow the hello.
    early: bool,
    claim: bool,
    pong: bool,
}

/// The connection: one websocket at a time, which is opened anew by itself.
#[derive(Debug)]
pub struct Connection {
    entrance: Entrance,
    state: State,
    /// Time of the first attempt.
    begun_us: Option<u64>,
    been_up: bool,
    tries: u32,
    /// Outcome of the last attempt before the first connection.
    last: Option<Outage>,
    backoff: Backoff,
    is_on_stage: bool,
    rng: Rng,
    owed: Owed,
    waiting: VecDeque<(u64, Address, Bytes)>,
    /// Whether the rendezvous carries tunnels, by this websocket.
    carries: bool,
    tunnels: Tunnels,
}

impl Connection {
    /// Returns a connection that is due at once. `seed` draws the waits between attempts.
    pub fn new(entrance: Entrance, seed: u64) -> Connection {
        Connection {
            entrance,
            state: State::Waiting { until_us: 0 },
            begun_us: None,
            been_up: false,
            tries: 0,
            last: None,
            backoff: Backoff::new(BACKOFF_US[0], BACKOFF_US[1]),
            is_on_stage: false,
            rng: Rng::new(seed),
            owed: Owed::default(),
            waiting: VecDeque::new(),
            carries: false,
            tunnels: Tunnels::default(),
        }
    }

    /// Returns the time at which [`Happening::Timeout`] is due, in microseconds.
    pub fn next_timeout_us(&self) -> Option<u64> {
        match self.state {
            State::Waiting { until_us } => Some(until_us),
            State::Entering { since_us, attempt_us_max, .. } => Some(since_us + attempt_us_max),
            State::Up { heard_us, silence_us_max, .. } => Some(heard_us + silence_us_max),
            State::Ended => None,
        }
    }

    /// Queues an envelope, for 10 s at most.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn send(&mut self, now_us: u64, to: Address, envelope: Bytes) -> Result<(), NotSent> {
        if matches!(self.state, State::Ended) {
            return Err(NotSent::Ended);
        }
        self.drop_old(now_us);
        if self.waiting.len() >= WAITING_MAX {
            return Err(NotSent::Full);
        }
        self.waiting.push_back((now_us, to, envelope));
        Ok(())
    }

    /// Queues a [`Batch`](super::Batch) of datagrams behind all envelopes, and returns whether it did. Without a
    /// connection to a rendezvous that announces [tunnels](Step::Carries), and while 64 batches or 256 KiB wait, the
    /// batch is refused. The end of the connection drops waiting batches.
    pub fn tunnel(&mut self, to: PeerId, batch: Bytes) -> bool {
        matches!(self.state, State::Up { .. }) && self.carries && self.tunnels.push(to, batch)
    }

    fn drop_old(&mut self, now_us: u64) {
        let is_old = |(at_us, ..): &(u64, Address, Bytes)| now_us.saturating_sub(*at_us) >= WAITING_US_MAX;
        while self.waiting.front().is_some_and(is_old) {
            self.waiting.pop_front();
        }
    }

    /// Returns the next binary message for the websocket; `None` while nothing waits, or nothing may be sent.
    pub fn next_frame(&mut self, now_us: u64) -> Option<Bytes> {
        let nonce = match self.state {
            State::Entering { nonce: Some(nonce), .. } if std::mem::take(&mut self.owed.hello) => {
                let Entrance { room, me, door, .. } = &self.entrance;
                let hello = Hello::new(*room, &nonce, me, door, self.host_proof(&nonce));
                return Some(FromPeer::Hello(Box::new(hello)).to_bytes());
            }
            State::Entering { nonce: Some(_), .. } if self.owed.early => {
                self.drop_old(now_us);
                let is_early = |(_, to, envelope): &mut (u64, Address, Bytes)| {
                    *to == Address::Host && envelope.len() <= EARLY_LEN_MAX
                };
                let (_, to, envelope) = self.waiting.pop_front_if(is_early)?;
                self.owed.early = false;
                return Some(FromPeer::Send { to, envelope: &envelope }.to_bytes());
            }
            State::Up { nonce, .. } => nonce,
            _ => return None,
        };
        if std::mem::take(&mut self.owed.claim)
            && let Some(proof) = self.host_proof(&nonce)
        {
            return Some(FromPeer::Claim(Box::new(proof)).to_bytes());
        }
        if std::mem::take(&mut self.owed.pong) {
            return Some(FromPeer::Pong.to_bytes());
        }
        self.drop_old(now_us);
        if let Some((_, to, envelope)) = self.waiting.pop_front() {
            return Some(FromPeer::Send { to, envelope: &envelope }.to_bytes());
        }
        let (to, batch) = self.tunnels.pop()?;
        Some(FromPeer::Tunnel { to, batch: &batch }.to_bytes())
    }

    /// Connects anew at once: this machine has stood still, or its network has changed, so that the connection is no
    /// longer what it seems.
    pub fn renew(&mut self, now_us: u64) -> Vec<Step> {
        let had_websocket = match self.state {
            State::Ended => return Vec::new(),
            State::Waiting { .. } => false,
            State::Entering { .. } | State::Up { .. } => true,
        };
        self.backoff.reset();
        self.wait(now_us);
        let down = Step::Down { why: Outage::Renewed, retry_in: Duration::ZERO };
        let ends = had_websocket.then_some([Step::HangUp, down]);
        ends.into_iter().flatten().chain(self.handle(now_us, Happening::Timeout)).collect()
    }

    /// Replaces the doors of the room, at its host; now and after each reconnection.
    pub fn set_doors(&mut self, doors: Doors) {
        if let Some(host) = &mut self.entrance.host {
            host.doors = doors;
            self.owed.claim = true;
        }
    }

    /// Proves the root key, at a peer that has it; now and after each reconnection.
    pub fn claim(&mut self) {
        if let Some(host) = &mut self.entrance.host
            && !std::mem::replace(&mut host.claims, true)
        {
            self.owed.claim = true;
        }
    }

    /// Returns the proof that this peer is the room's host, over the nonce of a connection; `None` unless it says so.
    fn host_proof(&self, nonce: &[u8; 32]) -> Option<HostProof> {
        let Entrance { room, me, host, .. } = &self.entrance;
        let host = host.as_ref().filter(|host| host.claims)?;
        Some(HostProof::new(*room, nonce, me.id(), &host.root, &host.doors))
    }

    /// Sets whether this peer is on stage, and therefore tries more often: after 2 s at most. A host always
    /// does.
    pub fn set_on_stage(&mut self, is_on_stage: bool) {
        self.is_on_stage = is_on_stage;
    }

    /// Handles what happened.
    pub fn handle(&mut self, now_us: u64, happening: Happening<'_>) -> Vec<Step> {
        match (happening, self.state) {
            (_, State::Ended) => Vec::new(),
            (Happening::Timeout, State::Waiting { until_us }) if now_us >= until_us => {
                self.dial(now_us);
                vec![Step::Dial]
            }
            (Happening::Timeout, _) if self.next_timeout_us().is_none_or(|due_us| now_us < due_us) => {
                Vec::new()
            }
            (Happening::Timeout, State::Entering { attempt_us_max, .. }) => {
                // an attempt that the patience cuts short says less than the one before
                let before = self.last.take().filter(|_| attempt_us_max < ATTEMPT_US_MAX);
                let silent = || Outage::Silent(Duration::from_micros(attempt_us_max));
                self.give_up(now_us, before.unwrap_or_else(silent))
            }
            (Happening::Timeout, State::Up { silence_us_max, .. }) => {
                self.give_up(now_us, Outage::Silent(Duration::from_micros(silence_us_max)))
            }
            // what comes of a websocket that was given up counts for nothing
            (_, State::Waiting { .. }) | (Happening::Opened, _) => Vec::new(),
            (Happening::Closed(why), _) => self.give_up(now_us, why),
            (Happening::Alive, _) => {
                self.heard(now_us);
                Vec::new()
            }
            (Happening::Frame(bytes), State::Entering { nonce, .. }) => self.enter(now_us, bytes, nonce),
            (Happening::Frame(bytes), State::Up { .. }) => {
                self.heard(now_us);
                self.frame(now_us, bytes)
            }
        }
    }

    /// The rendezvous is alive.
    fn heard(&mut self, now_us: u64) {
        if let State::Up { heard_us, .. } = &mut self.state {
            *heard_us = now_us;
        }
    }

    /// Begins an attempt.
    fn dial(&mut self, now_us: u64) {
        let begun_us = *self.begun_us.get_or_insert(now_us);
        let left_us = self.entrance.patience_us.saturating_sub(now_us.saturating_sub(begun_us));
        let attempt_us_max = match self.been_up {
            true => ATTEMPT_US_MAX,
            false => left_us.clamp(ATTEMPT_US_MIN, ATTEMPT_US_MAX),
        };
        self.tries = self.tries.saturating_add(1);
        self.state = State::Entering { nonce: None, since_us: now_us, attempt_us_max };
    }

    /// Waits for the next attempt.
    fn wait(&mut self, until_us: u64) {
        self.state = State::Waiting { until_us };
        self.owed = Owed::default();
        self.carries = false;
        self.tunnels.clear();
    }

    /// Handles a frame before the welcome.
    fn enter(&mut self, now_us: u64, bytes: &[u8], said: Option<[u8; 32]>) -> Vec<Step> {
        match (FromRendezvous::from_bytes(bytes), said) {
            (Ok(FromRendezvous::Challenge { nonce: new }), None) => {
                if let State::Entering { nonce, .. } = &mut self.state {
                    *nonce = Some(new);
                }
                (self.owed.hello, self.owed.early) = (true, true);
                vec![Step::Opens]
            }
            (Ok(FromRendezvous::Clock { unix_s }), _) => vec![Step::Clock { unix_s }],
            (Ok(FromRendezvous::Turn(access)), Some(_)) => vec![Step::Turn(access)],
            (Ok(FromRendezvous::Carries), Some(_)) => self.told_that_it_carries(),
            (Ok(FromRendezvous::Welcome { ping_interval_ms }), Some(nonce)) => {
                let silence_us_max = u64::from(silence_ms_max(ping_interval_ms)) * 1_000;
                self.state = State::Up { nonce, since_us: now_us, heard_us: now_us, silence_us_max };
                self.been_up = true;
                vec![Step::Up]
            }
            (Ok(FromRendezvous::Refused(refusal)), _) => self.give_up(now_us, Outage::Refused(refusal)),
            (Err(FrameError::Version(_)), _) => self.give_up(now_us, Outage::Refused(Refusal::Version)),
            (Err(FrameError::Unknown(_)), _) => Vec::new(),
            (Ok(_), _) => self.give_up(now_us, out_of_turn()),
            (Err(error), _) => self.give_up(now_us, Outage::Protocol(error.to_string())),
        }
    }

    fn told_that_it_carries(&mut self) -> Vec<Step> {
        self.carries = true;
        vec![Step::Carries]
    }

    fn frame(&mut self, now_us: u64, bytes: &[u8]) -> Vec<Step> {
        match FromRendezvous::from_bytes(bytes) {
            Ok(FromRendezvous::Deliver { from, envelope }) => {
                vec![Step::Envelope { from, bytes: Bytes::copy_from_slice(envelope) }]
            }
            Ok(FromRendezvous::Undeliverable { to }) => vec![Step::Undeliverable(to)],
            Ok(FromRendezvous::Clock { unix_s }) => vec![Step::Clock { unix_s }],
            Ok(FromRendezvous::Turn(access)) => vec![Step::Turn(access)],
            Ok(FromRendezvous::Carries) => self.told_that_it_carries(),
            Ok(FromRendezvous::Tunnel { from, batch }) => {
                vec![Step::Tunnel { from, batch: Bytes::copy_from_slice(batch) }]
            }
            Ok(FromRendezvous::Ping) => {
                self.owed.pong = true;
                Vec::new()
            }
            Ok(FromRendezvous::Refused(refusal)) => self.give_up(now_us, Outage::Refused(refusal)),
            Err(FrameError::Unknown(_)) => Vec::new(),
            Ok(FromRendezvous::Challenge { .. } | FromRendezvous::Welcome { .. }) => {
                self.give_up(now_us, out_of_turn())
            }
            Err(error) => self.give_up(now_us, Outage::Protocol(error.to_string())),
        }
    }

    fn give_up(&mut self, now_us: u64, why: Outage) -> Vec<Step> {
        if let State::Up { since_us, .. } = self.state
            && now_us.saturating_sub(since_us) >= STEADY_US
        {
            self.backoff.reset();
        }
        if let (Outage::Refused(Refusal::UnknownRoom | Refusal::NotYet), Some(host)) =
            (&why, &mut self.entrance.host)
            && !std::mem::replace(&mut host.claims, true)
        {
            // no member has stayed there: the host opens the room
            self.wait(now_us);
            return vec![Step::HangUp];
        }
        if let Outage::Refused(refusal) = why
            && refusal.is_final(self.been_up, self.tries)
        {
            return self.end(Ended::Refused(refusal));
        }
        let is_urgent = self.is_on_stage || self.entrance.host.is_some();
        let wait_us_max = if is_urgent { BACKOFF_ON_STAGE_US_MAX } else { BACKOFF_US[1] };
        let wait_us = self.backoff.next_us_within(&mut self.rng, wait_us_max);
        let tried_us = now_us.saturating_sub(self.begun_us.unwrap_or(now_us));
        // a certificate stays what it is
        let is_over = matches!(why, Outage::Untrusted(_)) || tried_us + wait_us >= self.entrance.patience_us;
        if !self.been_up && is_over {
            return self.end(match why {
                Outage::Refused(refusal) => Ended::Refused(refusal),
                last => Ended::Unreachable { tries: self.tries, last },
            });
        }
        self.last = (!self.been_up).then(|| why.clone());
        self.wait(now_us + wait_us);
        vec![Step::HangUp, Step::Down { why, retry_in: Duration::from_micros(wait_us) }]
    }

    fn end(&mut self, ended: Ended) -> Vec<Step> {
        self.state = State::Ended;
        self.waiting.clear();
        self.tunnels.clear();
        vec![Step::HangUp, Step::Ended(ended)]
    }
}

fn out_of_turn() -> Outage {
    Outage::Protocol("a frame out of turn".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::Text;

    const S: u64 = 1_000_000;

    fn connection() -> Connection {
        let [me, door] = [1, 2].map(|seed| Keypair::from_seed(&[seed; 32]));
        let entrance = Entrance { room: RoomId([7; 16]), me, door, host: None, patience_us: 10 * S };
        Connection::new(entrance, 1)
    }

    fn frame(connection: &mut Connection, now_us: u64, frame: &FromRendezvous<'_>) -> Vec<Step> {
        connection.handle(now_us, Happening::Frame(&frame.to_bytes()))
    }

    fn turn(port: u16) -> TurnAccess {
        TurnAccess {
            ip: None,
            port,
            has_tls: false,
            username: Text::truncated("1:ada"),
            password: Text::truncated("pz"),
        }
    }

    fn closed() -> Happening<'static> {
        Happening::Closed(Outage::Closed("bye".to_owned()))
    }

    /// Returns the outage of these steps, and the microseconds until the next attempt.
    fn down(steps: &[Step]) -> (Outage, u64) {
        let [Step::HangUp, Step::Down { why, retry_in }] = steps else { panic!("{steps:?}") };
        (why.clone(), retry_in.as_micros() as u64)
    }

    /// Enters the room at that time.
    fn enter(connection: &mut Connection, now_us: u64) -> Vec<Step> {
        assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::Dial]);
        assert_eq!(connection.handle(now_us, Happening::Opened), []);
        assert_eq!(connection.next_frame(now_us), None, "the rendezvous speaks first");
        let clock = FromRendezvous::Clock { unix_s: 1_800_000_000 };
        assert_eq!(frame(connection, now_us, &clock), [Step::Clock { unix_s: 1_800_000_000 }]);
        assert_eq!(frame(connection, now_us, &FromRendezvous::Challenge { nonce: [9; 32] }), [Step::Opens]);
        let hello = connection.next_frame(now_us).unwrap();
        let Ok(FromPeer::Hello(hello)) = FromPeer::from_bytes(&hello) else { panic!() };
        hello.check(&[9; 32]).unwrap();
        assert_eq!(frame(connection, now_us, &FromRendezvous::Turn(turn(1))), [Step::Turn(turn(1))]);
        frame(connection, now_us, &FromRendezvous::Welcome { ping_interval_ms: 5_000 })
    }

    #[test]
    fn a_peer_enters_sends_what_has_waited_and_answers_pings() {
        let mut connection = connection();
        let to = Address::Host;
        for (at_us, byte) in [(0, 1), (9 * S, 2)] {
            assert_eq!(connection.send(at_us, to, Bytes::from(vec![byte])), Ok(()));
        }
        let sent = |byte: u8| Some(FromPeer::Send { to, envelope: &[byte] }.to_bytes());
        assert_eq!(enter(&mut connection, 12 * S), [Step::Up]);
        assert_eq!(connection.next_frame(12 * S), sent(2), "the first one is too old");
        assert_eq!(connection.next_frame(12 * S), None);
        assert_eq!(connection.next_frame(12 * S), None);
        connection.send(12 * S, to, Bytes::from_static(&[3])).unwrap();
        assert_eq!(frame(&mut connection, 13 * S, &FromRendezvous::Ping), []);
        assert_eq!(connection.next_frame(13 * S), Some(FromPeer::Pong.to_bytes()), "ahead of envelopes");
        assert_eq!(connection.next_frame(13 * S), sent(3));
        let clock = FromRendezvous::Clock { unix_s: 1_800_000_001 };
        assert_eq!(frame(&mut connection, 13 * S, &clock), [Step::Clock { unix_s: 1_800_000_001 }]);
        let from = PeerId([5; 32]);
        let delivered = FromRendezvous::Deliver { from, envelope: &[4] };
        let envelope = Step::Envelope { from, bytes: Bytes::from_static(&[4]) };
        assert_eq!(frame(&mut connection, 13 * S, &delivered), [envelope]);
    }

    #[test]
    fn one_short_envelope_for_the_host_goes_ahead_of_the_welcome() {
        let mut connection = connection();
        let long = Bytes::from(vec![1; EARLY_LEN_MAX + 1]);
        for (first, may_go) in [
            ((Address::Host, Bytes::from_static(b"join")), true),
            ((Address::Peer(PeerId([5; 32])), Bytes::from_static(b"hello")), false),
            ((Address::Host, long), false),
        ] {
            let now_us = connection.next_timeout_us().unwrap();
            assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::Dial]);
            assert_eq!(
                frame(&mut connection, now_us, &FromRendezvous::Challenge { nonce: [9; 32] }),
                [Step::Opens]
            );
            assert!(connection.next_frame(now_us).is_some(), "the hello");
            assert_eq!(connection.next_frame(now_us), None);
            connection.send(now_us, first.0, first.1).unwrap();
            connection.send(now_us, Address::Host, Bytes::from_static(b"again")).unwrap();
            assert_eq!(connection.next_frame(now_us).is_some(), may_go);
            assert_eq!(connection.next_frame(now_us), None, "one alone");
            connection.waiting.clear();
            connection.handle(now_us, closed());
        }
    }

    #[test]
    fn datagrams_go_behind_envelopes_and_only_where_they_are_carried() {
        let batch = |byte: u8| Bytes::from(vec![0, 1, byte]);
        let peer = PeerId([5; 32]);
        let mut connection = connection();
        enter(&mut connection, 0);
        assert!(!connection.tunnel(peer, batch(1)), "an older rendezvous");
        connection.handle(S, closed());
        connection.handle(connection.next_timeout_us().unwrap(), Happening::Timeout);
        let nonce = [9; 32];
        for (said, step) in [
            (FromRendezvous::Challenge { nonce }, Some(Step::Opens)),
            (FromRendezvous::Carries, Some(Step::Carries)),
            (FromRendezvous::Welcome { ping_interval_ms: 5_000 }, Some(Step::Up)),
        ] {
            assert!(!connection.tunnel(peer, batch(1)), "not up yet");
            assert_eq!(frame(&mut connection, 2 * S, &said), Vec::from_iter(step));
            connection.next_frame(2 * S); // the hello
        }
        assert!(connection.tunnel(peer, batch(1)) && connection.tunnel(peer, batch(2)));
        assert!(!connection.tunnel(peer, Bytes::from_static(&[0, 9, 1])), "torn");
        connection.send(2 * S, Address::Host, Bytes::from_static(b"a")).unwrap();
        let envelope = FromPeer::Send { to: Address::Host, envelope: b"a" };
        assert_eq!(connection.next_frame(2 * S), Some(envelope.to_bytes()));
        let tunnel = FromPeer::Tunnel { to: peer, batch: &[0, 1, 1] };
        assert_eq!(connection.next_frame(2 * S), Some(tunnel.to_bytes()));
        let arrived = FromRendezvous::Tunnel { from: peer, batch: &[0, 1, 3] };
        let step = Step::Tunnel { from: peer, batch: batch(3) };
        assert_eq!(frame(&mut connection, 2 * S, &arrived), [step]);
        connection.handle(3 * S, closed());
        let due_us = connection.next_timeout_us().unwrap();
        enter(&mut connection, due_us);
        assert_eq!(connection.next_frame(4 * S), None, "what waited is of no use any more");
        assert!(!connection.tunnel(peer, batch(1)), "it doesn't carry any more");
    }

    #[test]
    fn a_full_queue_refuses_until_age_or_sending_makes_room() {
        let mut connection = connection();
        let envelope = |number: usize| Bytes::from(number.to_string());
        for number in 0..WAITING_MAX {
            connection.send(0, Address::Host, envelope(number)).unwrap();
        }
        assert_eq!(connection.send(0, Address::Host, envelope(999)), Err(NotSent::Full));
        enter(&mut connection, 0);
        assert!(connection.next_frame(0).is_some());
        assert_eq!(connection.send(0, Address::Host, envelope(999)), Ok(()));
        assert_eq!(connection.send(0, Address::Host, envelope(999)), Err(NotSent::Full));
        assert_eq!(connection.send(WAITING_US_MAX, Address::Host, envelope(7)), Ok(()), "the others are old");
        let last = FromPeer::Send { to: Address::Host, envelope: b"7" }.to_bytes();
        assert_eq!(connection.next_frame(WAITING_US_MAX), Some(last));
        assert_eq!(connection.next_frame(WAITING_US_MAX), None);
    }

    #[test]
    fn a_silent_rendezvous_is_dialled_anew_with_growing_waits() {
        for is_on_stage in [false, true] {
            let mut connection = connection();
            connection.set_on_stage(is_on_stage);
            enter(&mut connection, 0);
            assert_eq!(connection.next_timeout_us(), Some(15 * S));
            assert_eq!(connection.handle(14 * S, Happening::Timeout), [], "not due yet");
            connection.handle(14 * S, Happening::Alive);
            assert_eq!(connection.handle(28 * S, Happening::Timeout), [], "it has shown life");
            let mut now_us = 29 * S;
            let (why, _) = down(&connection.handle(now_us, Happening::Timeout));
            assert_eq!(why, Outage::Silent(Duration::from_secs(15)));
            let mut waits_us = Vec::new();
            for _ in 0..10 {
                let due_us = connection.next_timeout_us().unwrap();
                waits_us.push(due_us - now_us);
                now_us = due_us;
                assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::Dial]);
                let (why, retry_us) = down(&connection.handle(now_us, closed()));
                assert_eq!(why, Outage::Closed("bye".to_owned()));
                assert_eq!(connection.next_timeout_us(), Some(now_us + retry_us));
            }
            let most_us = if is_on_stage { 2 * S } else { 10 * S };
            assert!(waits_us[0] <= 100_000 && waits_us.iter().any(|us| *us > most_us / 2), "{waits_us:?}");
            assert!(waits_us.iter().all(|wait_us| *wait_us <= most_us), "{waits_us:?}");
        }
    }

    #[test]
    fn a_peer_that_has_slept_dials_anew_at_once() {
        let mut connection = connection();
        enter(&mut connection, 0);
        let down = Step::Down { why: Outage::Renewed, retry_in: Duration::ZERO };
        let anew = [Step::HangUp, down, Step::Dial];
        assert_eq!(connection.renew(360 * S), anew);
        assert_eq!(connection.renew(361 * S), anew);
        connection.handle(362 * S, closed());
        assert_eq!(connection.renew(362 * S), [Step::Dial], "without waiting");
    }

    #[test]
    fn a_refusal_ends_the_attempts_unless_the_peer_was_in_before() {
        let unknown = FromRendezvous::Refused(Refusal::UnknownRoom);
        let mut stranger = connection();
        stranger.handle(0, Happening::Timeout);
        let ended = [Step::HangUp, Step::Ended(Ended::Refused(Refusal::UnknownRoom))];
        assert_eq!(frame(&mut stranger, 0, &unknown), ended);
        assert_eq!(stranger.next_timeout_us(), None);
        assert_eq!(stranger.send(0, Address::Host, Bytes::new()), Err(NotSent::Ended));
        let mut member = connection();
        enter(&mut member, 0);
        member.handle(S, closed());
        member.handle(member.next_timeout_us().unwrap(), Happening::Timeout);
        let (why, _) = down(&frame(&mut member, 2 * S, &unknown));
        assert_eq!(why, Outage::Refused(Refusal::UnknownRoom));
    }

    /// Fails each attempt at once until the connection has ended; returns when, and how.
    fn fails(connection: &mut Connection, why: &Outage) -> (u64, Ended) {
        loop {
            let now_us = connection.next_timeout_us().unwrap();
            assert_eq!(connection.handle(now_us, Happening::Timeout), [Step::Dial]);
            if let [Step::HangUp, Step::Ended(ended)] =
                &connection.handle(now_us, Happening::Closed(why.clone()))[..]
            {
                return (now_us, ended.clone());
            }
        }
    }

    #[test]
    fn patience_ends_with_the_last_outage_and_a_certificate_ends_it_at_once() {
        let gone = Outage::Connect("nobody listens".to_owned());
        let (ended_us, ended) = fails(&mut connection(), &gone);
        let Ended::Unreachable { tries, last } = ended else { panic!("{ended:?}") };
        assert_eq!(last, gone);
        assert!(tries >= 5 && (S..10 * S).contains(&ended_us), "{tries} tries, {ended_us} us");
        let untrusted = Outage::Untrusted("expired".to_owned());
        let once = Ended::Unreachable { tries: 1, last: untrusted.clone() };
        assert_eq!(fails(&mut connection(), &untrusted), (0, once));
        // one that was up once never ends so
        let mut member = connection();
        enter(&mut member, 0);
        member.handle(S, closed());
        for _ in 0..20 {
            let now_us = member.next_timeout_us().unwrap();
            assert_eq!(member.handle(now_us, Happening::Timeout), [Step::Dial]);
            down(&member.handle(now_us, Happening::Closed(untrusted.clone())));
        }
    }

    #[test]
    fn an_attempt_that_the_patience_cuts_short_says_what_the_one_before_said() {
        let mut connection = connection();
        connection.entrance.patience_us = 6 * S;
        assert_eq!(connection.handle(0, Happening::Timeout), [Step::Dial]);
        assert_eq!(connection.next_timeout_us(), Some(5 * S));
        let (why, _) = down(&connection.handle(5 * S, Happening::Timeout));
        assert_eq!(why, Outage::Silent(Duration::from_secs(5)));
        let again_us = connection.next_timeout_us().unwrap();
        assert_eq!(connection.handle(again_us, Happening::Timeout), [Step::Dial]);
        assert_eq!(connection.next_timeout_us(), Some(6 * S));
        let last = Outage::Silent(Duration::from_secs(5));
        let ended = Step::Ended(Ended::Unreachable { tries: 2, last });
        assert_eq!(connection.handle(6 * S, Happening::Timeout), [Step::HangUp, ended]);
    }

    #[test]
    fn a_returned_host_claims_its_room_when_told_or_when_nobody_stayed() {
        let root = Keypair::from_seed(&[3; 32]);
        let host = || {
            let mut connection = connection();
            let doors = Doors::truncated([connection.entrance.door.id()]);
            connection.entrance.host = Some(HostEntrance { root: root.clone(), doors, claims: false });
            connection
        };
        let mut stayed = host();
        assert_eq!(enter(&mut stayed, 0), [Step::Up]);
        stayed.claim();
        stayed.claim();
        let claim = stayed.next_frame(0).unwrap();
        assert!(matches!(FromPeer::from_bytes(&claim), Ok(FromPeer::Claim(_))));
        assert_eq!(stayed.next_frame(0), None, "once");
        let mut alone = host();
        alone.handle(0, Happening::Timeout);
        let refused = frame(&mut alone, 0, &FromRendezvous::Refused(Refusal::UnknownRoom));
        assert_eq!(refused, [Step::HangUp]);
        assert_eq!(alone.handle(0, Happening::Timeout), [Step::Dial], "at once");
        frame(&mut alone, 0, &FromRendezvous::Challenge { nonce: [9; 32] });
        let hello = alone.next_frame(0).unwrap();
        let Ok(FromPeer::Hello(hello)) = FromPeer::from_bytes(&hello) else { panic!() };
        assert!(hello.host.is_some());
    }

    #[test]
    fn frames_out_of_turn_and_other_bytes_end_the_connection() {
        for bytes in [&[][..], &[1, 9, 9], &FromRendezvous::Welcome { ping_interval_ms: 1 }.to_bytes()] {
            let mut connection = connection();
            connection.handle(0, Happening::Timeout);
            let steps = connection.handle(0, Happening::Frame(bytes));
            if matches!(FromRendezvous::from_bytes(bytes), Err(FrameError::Unknown(_))) {
                assert_eq!(steps, []);
                continue;
            }
            assert!(matches!(down(&steps).0, Outage::Protocol(_)), "{steps:?}");
            assert_eq!(connection.handle(1, Happening::Frame(bytes)), [], "of a websocket given up");
            assert_eq!(connection.handle(1, closed()), []);
        }
    }
}
