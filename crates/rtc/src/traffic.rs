//! Traffic of a link after its description: greeting, messages in both directions, reports of drops and
//! trains, and detection of its end.
//!
//! A channel may open at one end a moment before the other, and this stack loses messages that arrive in
//! between, although SCTP has acknowledged them. Both ends therefore exchange greetings, which are empty
//! heartbeats:
//!
//! - The answering end sends greetings from the time its channels are open until it receives any message.
//! - The offering end is silent until it receives a message, and answers each greeting by one.
//! - An end that has received a message knows that the other end is open, and is connected.
//!
//! A control message that is lost with no message behind it would be retransmitted after a second at the
//! earliest ([`PROBES_MAX`] says why). Probes, which are empty heartbeats too, follow it until it has
//! arrived: they reveal its loss, like a tail loss probe of TCP (RFC 8985, 7).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, select_all, unfold};
use plenary_proto::packet::LinkId;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::error::Error;
use webrtc::peer_connection::RTCPeerConnectionState;

use crate::handle::Handle;
use crate::link::{Link, ended, failed};
use crate::seam::{Channel, DownReason, Event};
use crate::shared::Shared;
use crate::stack::Connection;
use crate::sync::lock;
use crate::template::Role;

/// Time that a closed link may take to send its remaining control messages.
const FLUSH_MAX: Duration = Duration::from_millis(500);
/// Interval between checks whether the control messages have arrived.
const FLUSH_CHECK_INTERVAL: Duration = Duration::from_millis(2);
/// Timeout from the first connectivity check until both ends are connected: 5 s to find a path, then DTLS,
/// SCTP and the greeting, with one retransmission of each (1 s). The stack itself never gives up a failing
/// handshake.
const SETUP_MAX: Duration = Duration::from_secs(8);
/// Interval between two greetings.
const GREETING_INTERVAL: Duration = Duration::from_millis(20);
/// Interval between a control message and its first probe, and between two probes. Three probes reveal a
/// loss, so it is repaired one round trip and three intervals after it happened. A guess: the traffic is
/// comparable to the heads, one each 100 ms.
const PROBE_INTERVAL: Duration = Duration::from_millis(30);
/// Maximum number of probes after a control message. SCTP retransmits at once a message that three later
/// packets have overtaken (RFC 9260, 7.2.4); otherwise it waits for RTO.Min, one second, which is a constant
/// of this stack. Six probes are twice the three needed, and take longer than an average burst of losses (150
/// ms).
const PROBES_MAX: u32 = 6;
/// Minimum interval between reports of dropped packets.
const DROP_REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// State of a link's set-up, and the deadlines of its timers.
struct Progress {
    role: Role,
    channels_open: usize,
    is_answered: bool,
    is_connected: bool,
    give_up_at: Option<Instant>,
    greet_at: Option<Instant>,
    tell_drops_at: Option<Instant>,
}

impl Link {
    /// Carries messages and reports events until the link ends; returns the reason.
    pub(crate) async fn serve(&mut self, connection: &Connection) -> DownReason {
        match self.talk(connection).await {
            Err(reason) => reason,
            Ok(never) => match never {},
        }
    }

    async fn talk(&mut self, connection: &Connection) -> Result<Infallible, DownReason> {
        let link = self.id;
        let pump = |(channel, stream): &(Channel, Arc<dyn DataChannel>)| {
            self.pump(*channel, stream.clone(), heartbeat(connection).cloned())
        };
        let mut pumps: FuturesUnordered<_> = connection.channels.iter().map(pump).collect();
        let mut incoming = incoming(connection);
        let mut state = connection.state.clone();
        let mut progress = Progress::new(self.role());
        loop {
            tokio::select! {
                reason = ended(&mut self.end) => {
                    if progress.is_connected && reason == DownReason::Closed {
                        // messages that are still unsent after the timeout are lost with the link
                        let _ = timeout(FLUSH_MAX, flush(connection, &self.handle, &mut pumps)).await;
                    }
                    return Err(reason);
                }
                Some(answer) = self.answers.recv(), if !progress.is_answered => {
                    progress.is_answered = true;
                    self.accept(connection, &answer).await?;
                }
                Ok(()) = state.changed() => progress.see(*state.borrow_and_update())?,
                Some((channel, event)) = incoming.next() => {
                    self.channel_event(connection, &mut progress, channel, event).await?;
                }
                Some((train, arrivals)) = self.measured.recv() => {
                    self.shared.emit(Event::Measured { link, train, arrivals }).await;
                }
                Some(train) = self.refused_trains.recv() => {
                    self.shared.emit(Event::TrainRefused { link, train }).await;
                }
                () = self.handle.wire.dropped.notified(), if progress.tell_drops_at.is_none() => {
                    progress.tell_drops_at = Some(Instant::now() + DROP_REPORT_INTERVAL);
                }
                () = at(progress.tell_drops_at), if progress.tell_drops_at.is_some() => {
                    progress.tell_drops_at = None;
                    let drops = lock(&self.handle.wire.packet_queue).take_drops();
                    for (slot, packets) in drops {
                        self.shared.emit(Event::Dropped { link, slot, packets }).await;
                    }
                }
                () = at(progress.greet_at), if progress.greet_at.is_some() => {
                    progress.greet_at = Some(Instant::now() + GREETING_INTERVAL);
                    greet(connection).await;
                }
                () = at(progress.give_up_at), if progress.give_up_at.is_some() => {
                    return Err(DownReason::Lost);
                }
                Some(Err(error)) = pumps.next(), if progress.is_connected => return Err(unsendable(error)),
            }
        }
    }

    async fn channel_event(
        &self,
        connection: &Connection,
        progress: &mut Progress,
        channel: Channel,
        event: DataChannelEvent,
    ) -> Result<(), DownReason> {
        let link = self.id;
        match event {
            DataChannelEvent::OnOpen => {
                progress.channels_open += 1;
                if progress.channels_open == Channel::ALL.len() && progress.role == Role::Answer {
                    progress.greet_at = Some(Instant::now());
                }
            }
            DataChannelEvent::OnMessage(message) => {
                let bytes = message.data.freeze();
                if bytes.len() > channel.message_len_max() {
                    return Err(DownReason::MessageTooLong(channel));
                }
                let is_greeting = channel == Channel::Heartbeat && bytes.is_empty();
                if is_greeting && progress.role == Role::Offer {
                    greet(connection).await;
                }
                if !progress.is_connected {
                    progress.connected();
                    lock(&self.handle.wire.packet_queue).open();
                    self.shared.emit(Event::Connected { link }).await;
                }
                if !is_greeting {
                    self.shared.emit(Event::Received { link, channel, bytes }).await;
                }
            }
            DataChannelEvent::OnClose => return Err(DownReason::ClosedByPeer),
            _ => {}
        }
        Ok(())
    }

    /// The pump of one channel; it runs concurrently with the pumps of the other channels.
    fn pump(
        &self,
        channel: Channel,
        stream: Arc<dyn DataChannel>,
        probe: Option<Arc<dyn DataChannel>>,
    ) -> impl Future<Output = Result<Channel, Error>> + Send + use<> {
        let probe = probe.filter(|_| channel == Channel::Control);
        pump(self.id, channel, stream, probe, self.handle.clone(), self.shared.clone())
    }
}

impl Progress {
    fn new(role: Role) -> Progress {
        Progress {
            role,
            channels_open: 0,
            is_answered: role == Role::Answer,
            is_connected: false,
            give_up_at: None,
            greet_at: None,
            tell_drops_at: None,
        }
    }

    fn see(&mut self, state: RTCPeerConnectionState) -> Result<(), DownReason> {
        match state {
            RTCPeerConnectionState::Connecting if !self.is_connected => {
                self.give_up_at.get_or_insert(Instant::now() + SETUP_MAX);
            }
            RTCPeerConnectionState::Failed => return Err(DownReason::Lost),
            RTCPeerConnectionState::Closed => return Err(DownReason::ClosedByPeer),
            _ => {}
        }
        Ok(())
    }

    fn connected(&mut self) {
        (self.is_connected, self.greet_at, self.give_up_at) = (true, None, None);
    }
}

/// Converts the stack's error on sending a message to the reason for the link's end.
fn unsendable(error: Error) -> DownReason {
    match error {
        Error::ErrDataChannelClosed | Error::ErrStreamClosed => DownReason::ClosedByPeer,
        error => failed(error),
    }
}

/// Moves messages from the queue of a channel to the stack, as fast as the stack accepts them, until the
/// queue is finished.
async fn pump(
    link: LinkId,
    channel: Channel,
    stream: Arc<dyn DataChannel>,
    probe: Option<Arc<dyn DataChannel>>,
    handle: Arc<Handle>,
    shared: Arc<Shared>,
) -> Result<Channel, Error> {
    let queue = handle.queue(channel);
    loop {
        let next = async {
            match &probe {
                Some(probe) => probe_until(&stream, probe, queue.next()).await,
                None => queue.next().await,
            }
        };
        let Some(taken) = next.await else { break };
        let message = BytesMut::from(taken.bytes);
        match channel {
            Channel::Control | Channel::Bulk => stream.send(message).await?,
            // a heartbeat that would have to wait is dropped
            Channel::Heartbeat => match stream.try_send(message).await {
                Err(Error::ErrSendBufferFull) => {}
                sent => sent?,
            },
        }
        if taken.drained && channel == Channel::Bulk {
            shared.emit(Event::BulkDrained { link }).await;
        }
    }
    Ok(channel)
}

/// Waits for the next message, and meanwhile sends probes for the last message until it has arrived.
async fn probe_until<T>(
    stream: &Arc<dyn DataChannel>,
    probe: &Arc<dyn DataChannel>,
    next: impl Future<Output = T>,
) -> T {
    tokio::pin!(next);
    for _ in 0..PROBES_MAX {
        if let Ok(next) = timeout(PROBE_INTERVAL, &mut next).await {
            return next;
        }
        if !stream.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
            break;
        }
        let _ = probe.try_send(BytesMut::new()).await;
    }
    next.await
}

/// Sleeps until the given time; returns at once without one.
async fn at(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}

/// Sends a greeting: all channels are open at this end.
async fn greet(connection: &Connection) {
    if let Some(heartbeat) = heartbeat(connection) {
        // a lost greeting is repeated
        let _ = heartbeat.try_send(BytesMut::new()).await;
    }
}

fn heartbeat(connection: &Connection) -> Option<&Arc<dyn DataChannel>> {
    let heartbeat = connection.channels.iter().find(|(channel, _)| *channel == Channel::Heartbeat);
    heartbeat.map(|(_, stream)| stream)
}

/// Completes when all queued control messages have been sent and acknowledged.
async fn flush<P>(connection: &Connection, handle: &Handle, pumps: &mut FuturesUnordered<P>)
where
    P: Future<Output = Result<Channel, Error>>,
{
    handle.queue(Channel::Control).finish();
    while pumps.next().await.is_some_and(|pumped| pumped != Ok(Channel::Control)) {}
    let control = connection.channels.iter().find(|(channel, _)| *channel == Channel::Control);
    let Some((_, control)) = control else { return };
    while control.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
        sleep(FLUSH_CHECK_INTERVAL).await;
    }
}

/// Events of all channels. A channel counts as closed when its events end, with or without a close event.
fn incoming(connection: &Connection) -> SelectAll<BoxStream<'static, (Channel, DataChannelEvent)>> {
    select_all(connection.channels.iter().map(|(channel, stream)| {
        let channel = *channel;
        let events = unfold(Some(stream.clone()), move |stream| async move {
            let stream = stream?;
            match stream.poll().await {
                Some(event) => Some(((channel, event), Some(stream))),
                None => Some(((channel, DataChannelEvent::OnClose), None)),
            }
        });
        events.boxed()
    }))
}
