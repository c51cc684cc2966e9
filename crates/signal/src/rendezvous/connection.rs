//! One websocket connection of a rendezvous: challenge, hello, then frames in both directions until either
//! side ends it.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, SplitSink, Stream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::field::display;
use tracing::{debug, warn};

use super::Lobby;
use super::inlet::Inlet;
use super::leash::Leash;
use super::outflow::{Kind, Outflow};
use crate::limits::{Bucket, Limits};
use crate::mailbox::{Mail, Mailbox};
use crate::owner::owner;
use crate::rooms::Way;
use crate::socket::{self, Heard, heard};
use crate::switchboard::Membership;
use crate::turn;
use crate::wall::wall_unix_s;
use plenary_proto::PeerId;
use plenary_proto::rendezvous::{EARLY_LEN_MAX, FrameError, FromPeer, FromRendezvous, Hello, Refusal};

/// Maximum number of frames written before a flush. A guess.
const MAIL_BATCH_MAX: usize = 32;
/// Maximum length of what a peer sends in place of its hello, with the head of a websocket message: the longest hello,
/// of a host with four doors, has 436 bytes. The rest is left for fields of later versions.
pub(super) const HELLO_LEN_MAX: usize = 1024;
/// Maximum length of what may follow a hello ahead of the welcome: an envelope, and the heads of its frame and message.
const EARLY_FRAME_LEN_MAX: usize = EARLY_LEN_MAX + 64;

/// Maximum time for which a tunnel's frame waits for its turn among strangers; after it the frame is dropped. A guess:
/// envelopes may wait behind it.
const TUNNEL_TURN_MAX: Duration = Duration::from_millis(250);

/// What carries a connection's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Websocket,
    /// HTTP requests, which carry no tunnels.
    Requests,
}

/// The end of a connection.
#[derive(Debug)]
pub(super) enum Ending {
    /// The peer has disconnected and gets no further message.
    Gone(String),
    /// The peer is refused and gets the reason.
    Refused(Refusal, String),
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Ending {
        Ending::Refused(refusal, refusal.to_string())
    }
}

/// Serves one websocket until it ends. The opening handshake on `stream` is complete.
pub(super) async fn serve<S>(stream: S, lobby: &Lobby, address: Option<SocketAddr>, carrier: Carrier)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = Leash::new(stream, HELLO_LEN_MAX);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(socket::bounds())).await;
    let talking = talk(&mut socket, lobby, address, carrier);
    let address = address.map(display);
    let ending = lobby.switchboard.closing().run_until_cancelled(talking).await;
    socket.get_mut().allow(None); // what arrives from now on is discarded
    match ending.unwrap_or_else(|| Refusal::Closing.into()) {
        Ending::Gone(why) => {
            debug!(address, %why, "a peer has gone");
            socket::part(socket, None, CloseCode::Normal, "").await;
        }
        Ending::Refused(refusal, detail) => {
            lobby.switchboard.counts().refused(refusal);
            if is_misbehaviour(refusal) {
                warn!(address, %refusal, %detail, "a peer was refused");
            } else {
                debug!(address, %refusal, "a peer was refused");
            }
            let frame = Message::Binary(FromRendezvous::Refused(refusal).to_bytes());
            socket::part(socket, Some(frame), close_code(refusal), &refusal.to_string()).await;
        }
    }
}

fn is_misbehaviour(refusal: Refusal) -> bool {
    use Refusal::{BadProof, Late, Malformed, Slow, TooLong, Version};
    matches!(refusal, BadProof | Late | Malformed | Slow | TooLong | Version)
}

/// Websocket close code of a refusal (RFC 6455, 7.4.1).
fn close_code(refusal: Refusal) -> CloseCode {
    match refusal {
        Refusal::TooLong => CloseCode::Size,
        Refusal::Malformed | Refusal::Version => CloseCode::Protocol,
        Refusal::Closing => CloseCode::Away,
        _ => CloseCode::Policy,
    }
}

async fn talk<S>(
    socket: &mut WebSocketStream<Leash<S>>,
    lobby: &Lobby,
    address: Option<SocketAddr>,
    carrier: Carrier,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = lobby.switchboard.limits();
    let hello = match timeout(limits.hello_timeout, hear_hello(socket)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(ending)) => return ending,
        Err(_) => return Refusal::Late.into(),
    };
    let nonce = hello.nonce;
    let entered = match let_in(socket, lobby, hello, address, carrier).await {
        Ok(entered) => entered,
        Err(ending) => return ending,
    };
    let Entered { membership, mailbox, carries, early } = entered;
    socket.get_mut().allow(None);
    let (sink, stream) = socket.split();
    let stream = stream::iter(early.map(|frame| Ok(Message::Binary(frame)))).chain(stream);
    // in a room of this process all is the room's own
    let paced = address.filter(|_| membership.is_of_others()).map(|address| (&*lobby.outflow, address.ip()));
    // two halves in one task: a peer that reads nothing can still send, a throttled peer still receives
    tokio::select! {
        ending = read_all(stream, Inlet::new(&membership, nonce, carries), limits, address) => ending,
        ending = write_all(sink, mailbox, &membership, lobby, paced, address) => ending,
    }
}

/// What a peer answered to a challenge, not verified yet.
struct Greeting {
    nonce: [u8; 32],
    hello: Box<Hello>,
}

/// A peer that was let into its room.
struct Entered {
    membership: Membership,
    mailbox: Mailbox,
    /// Whether tunnels are carried for it.
    carries: bool,
    /// What it has sent ahead of its welcome.
    early: Option<Bytes>,
}

fn gone(error: &dyn std::fmt::Display) -> Ending {
    Ending::Gone(error.to_string())
}

/// Sends the challenge, and waits for the hello.
async fn hear_hello<S>(socket: &mut WebSocketStream<Leash<S>>) -> Result<Greeting, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| gone(&error))?;
    // a newcomer's first envelope, which may follow its hello, goes by this time
    socket.feed(Message::Binary(clock())).await.map_err(|error| gone(&error))?;
    let challenge = FromRendezvous::Challenge { nonce }.to_bytes();
    socket.send(Message::Binary(challenge)).await.map_err(|error| gone(&error))?;
    loop {
        match heard(socket.next().await) {
            Heard::Life => socket.get_mut().allow(Some(HELLO_LEN_MAX)),
            Heard::Frame(frame) => match FromPeer::from_bytes(&frame) {
                Ok(FromPeer::Hello(hello)) => return Ok(Greeting { nonce, hello }),
                Ok(_) => return Err(Ending::Refused(Refusal::Malformed, "no hello first".to_owned())),
                Err(error) => return Err(refused(error)),
            },
            other => return Err(ended(other)),
        }
    }
}

/// Checks a hello, and lets the peer into its room.
async fn let_in<S>(
    socket: &mut WebSocketStream<Leash<S>>,
    lobby: &Lobby,
    Greeting { nonce, hello }: Greeting,
    address: Option<SocketAddr>,
    carrier: Carrier,
) -> Result<Entered, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let switchboard = &lobby.switchboard;
    let mut early = None;
    if hello.host.is_none() {
        // before any signature is verified
        socket.get_mut().allow(Some(EARLY_FRAME_LEN_MAX));
        let mut found = pin!(switchboard.find_door(&hello.room, &hello.door));
        loop {
            tokio::select! {
                found = &mut found => break found?,
                other = socket.next() => match heard(other) {
                    Heard::Frame(frame) if early.is_none() => early = Some(frame),
                    other => return Err(ended(other)), // nothing else is expected here
                },
            }
        }
    }
    hello.check(&nonce)?;
    let way = Way {
        door: Some(hello.door),
        host: hello.host.as_ref().map(|host| host.doors.clone()),
        address: address.map(|address| owner(address.ip())),
    };
    let (membership, mailbox) = switchboard.enter(hello.room, hello.peer, way)?;
    let carries = carrier == Carrier::Websocket && membership.take_tunnels(&mailbox);
    let ping_interval_ms = u32::try_from(switchboard.limits().ping_interval.as_millis()).unwrap_or(u32::MAX);
    let welcome = FromRendezvous::Welcome { ping_interval_ms }.to_bytes();
    if let Some(frame) = turn_access(lobby, &hello.peer, address) {
        socket.feed(Message::Binary(frame)).await.map_err(|error| gone(&error))?;
    }
    if carries {
        let frame = FromRendezvous::Carries.to_bytes();
        socket.feed(Message::Binary(frame)).await.map_err(|error| gone(&error))?;
    }
    socket.send(Message::Binary(welcome)).await.map_err(|error| gone(&error))?;
    debug!(room = %hello.room, peer = %hello.peer, host = hello.host.is_some(), "a peer came in");
    Ok(Entered { membership, mailbox, carries, early })
}

/// Reads the frames of the peer, as fast as its rate limits allow.
async fn read_all(
    mut stream: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    mut inlet: Inlet<'_>,
    limits: &Limits,
    address: Option<SocketAddr>,
) -> Ending {
    let mut frames = Bucket::new(limits.frames, Instant::now());
    let mut bytes = Bucket::new(limits.bytes, Instant::now());
    let mut throttled = false;
    let silence_max = limits.silence_max();
    let mut silent_at = Instant::now() + silence_max;
    loop {
        let Ok(item) = timeout_at(silent_at.into(), stream.next()).await else {
            return Ending::Gone(format!("silent for {silence_max:?}"));
        };
        let frame = match heard(item) {
            // no sign of life: by these a peer could leave a message unfinished for ever
            Heard::Life => None,
            Heard::Frame(frame) => Some(frame),
            other => return ended(other),
        };
        let now = Instant::now();
        let is_paid = match frame.as_ref().map(|frame| inlet.obey(frame, now)) {
            Some(Ok(is_paid)) => is_paid,
            Some(Err(ending)) => return ending,
            None => false,
        };
        let len = u32::try_from(frame.as_ref().map_or(0, Bytes::len)).unwrap_or(u32::MAX);
        let pause = match is_paid {
            true => Duration::ZERO,
            false => frames.take(1, now).max(bytes.take(len, now)),
        };
        if !pause.is_zero() {
            if !throttled {
                warn!(
                    address = address.map(display),
                    "a peer sends too fast, and is read no faster than its limits from now on"
                );
                throttled = true;
            }
            sleep(pause).await;
        }
        if frame.is_some() {
            silent_at = Instant::now() + silence_max;
        }
    }
}

pub(super) fn refused(error: FrameError) -> Ending {
    let refusal = match error {
        FrameError::Version(_) => Refusal::Version,
        FrameError::TooLong => Refusal::TooLong,
        FrameError::Malformed | FrameError::Unknown(_) => Refusal::Malformed,
    };
    Ending::Refused(refusal, error.to_string())
}

fn ended(heard: Heard) -> Ending {
    match heard {
        Heard::Gone(why) => Ending::Gone(why),
        Heard::TooLong => Refusal::TooLong.into(),
        Heard::Malformed(what) => Ending::Refused(Refusal::Malformed, what),
        Heard::Frame(_) | Heard::Life => Refusal::Malformed.into(),
    }
}

/// Writes waiting mail to the peer, and pings.
async fn write_all<S>(
    mut sink: SplitSink<&mut WebSocketStream<S>, Message>,
    mut mailbox: Mailbox,
    membership: &Membership,
    lobby: &Lobby,
    paced: Option<(&Outflow, IpAddr)>,
    address: Option<SocketAddr>,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = lobby.switchboard.limits();
    let renewal = turn::CREDENTIALS_TIME / 2;
    let mut renewals = interval_at(tokio::time::Instant::now() + renewal, renewal);
    let mut pings = interval_at(tokio::time::Instant::now() + limits.ping_interval, limits.ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let first = tokio::select! {
            biased;
            _ = pings.tick() => {
                if let Err(ending) = in_time(limits.send_timeout, sink.feed(Message::Binary(clock()))).await {
                    return ending;
                }
                FromRendezvous::Ping.to_bytes()
            }
            _ = renewals.tick() => match turn_access(lobby, membership.peer(), address) {
                Some(frame) => frame,
                None => continue,
            },
            mail = mailbox.next() => match mail {
                Some(mail @ Mail::Tunnel { .. }) => match write_tunnel(&mut sink, &mail, membership, paced).await {
                    Ok(()) => continue,
                    Err(ending) => return ending,
                },
                Some(mail) => frame_of(&mail),
                None => return membership.end().into(),
            },
        };
        if let Err(ending) = write(&mut sink, first, &mut mailbox, limits.send_timeout, paced).await {
            return ending;
        }
    }
}

/// Writes a frame, together with mail that is already waiting.
async fn write<S>(
    sink: &mut SplitSink<&mut WebSocketStream<S>, Message>,
    first: Bytes,
    mailbox: &mut Mailbox,
    send_timeout: Duration,
    paced: Option<(&Outflow, IpAddr)>,
) -> Result<(), Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut next = Some(first);
    let mut written = 0;
    while let Some(frame) = next {
        let turn = paced.and_then(|(outflow, ip)| outflow.turn(ip, Kind::Envelope, frame.len()));
        if let Some(come) = turn {
            in_time(send_timeout, sink.flush()).await?;
            come.await;
        }
        in_time(send_timeout, sink.feed(Message::Binary(frame))).await?;
        written += 1;
        next = if written < MAIL_BATCH_MAX { mailbox.try_next().map(|mail| frame_of(&mail)) } else { None };
    }
    in_time(send_timeout, sink.flush()).await
}

/// Writes a tunnel's frame alone, so that mail waits behind no more than one.
async fn write_tunnel<S>(
    sink: &mut SplitSink<&mut WebSocketStream<S>, Message>,
    mail: &Mail,
    membership: &Membership,
    paced: Option<(&Outflow, IpAddr)>,
) -> Result<(), Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Mail::Tunnel { batch, .. } = mail else { return Ok(()) };
    let frame = frame_of(mail);
    let turn = paced.and_then(|(outflow, ip)| outflow.turn(ip, Kind::Tunnel, frame.len()));
    if let Some(come) = turn
        && timeout(TUNNEL_TURN_MAX, come).await.is_err()
    {
        membership.count_dropped(batch.len());
        return Ok(());
    }
    // as long as a peer may be silent: a late reader loses datagrams, and not the connection
    in_time(membership.limits().silence_max(), sink.send(Message::Binary(frame))).await?;
    membership.count_tunneled(batch.len());
    Ok(())
}

/// Runs one write step, which must complete within `send_timeout`.
async fn in_time(
    send_timeout: Duration,
    step: impl Future<Output = Result<(), tungstenite::Error>>,
) -> Result<(), Ending> {
    match timeout(send_timeout, step).await {
        Ok(written) => written.map_err(|error| Ending::Gone(error.to_string())),
        Err(_) => Err(Refusal::Slow.into()),
    }
}

/// Returns the frame by which a member may use the TURN server, if there is one.
fn turn_access(lobby: &Lobby, peer: &PeerId, address: Option<SocketAddr>) -> Option<Bytes> {
    let access = lobby.turn.as_ref()?.access(peer, address.map(|address| address.ip()))?;
    Some(FromRendezvous::Turn(access).to_bytes())
}

/// Returns the frame that tells the time.
fn clock() -> Bytes {
    FromRendezvous::Clock { unix_s: wall_unix_s() }.to_bytes()
}

fn frame_of(mail: &Mail) -> Bytes {
    match mail {
        Mail::Envelope { from, bytes } => FromRendezvous::Deliver { from: *from, envelope: bytes }.to_bytes(),
        Mail::Undeliverable { to } => FromRendezvous::Undeliverable { to: *to }.to_bytes(),
        Mail::Tunnel { from, batch } => FromRendezvous::Tunnel { from: *from, batch }.to_bytes(),
    }
}
