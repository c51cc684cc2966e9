//! Traffic of a link after its description: greeting, messages in both directions, reports of drops and
//! trains, and detection of its end.
//!
//! The channels of two natives are open together: their descriptions have begun their associations.
//!
//! With a browser a channel may open at one end a moment before the other, and this stack loses messages that arrive in
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
use std::time::Duration;

use bytes::Bytes;
use plenary_proto::app::Nat;
use plenary_proto::bounded::List;
use plenary_proto::message::{Candidate, Fingerprints};
use rtc::shared::error::Error;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::{Connection, Happening, SEND_BUFFER_BYTES_MAX};
use crate::link::{Link, ended, failed};
use crate::moving::retry_at;
use crate::path::Behaviour;
use crate::relays::PATH_WAIT_MAX;
use crate::seam::{Channel, DownReason, Event};
use crate::sync::lock;
use crate::transport::TransportEvent;
use plenary_proto::link_layout::Role;

/// Time that a closed link may take to send its remaining control messages.
const FLUSH_MAX: Duration = Duration::from_millis(500);
/// Interval between checks whether the control messages have arrived.
const FLUSH_CHECK_INTERVAL: Duration = Duration::from_millis(2);
/// Timeout from the first connectivity check until both ends are connected: 5 s to find a path, then DTLS,
/// SCTP and the greeting, with one retransmission of each (1 s). The stack itself never gives up a failing
/// handshake.
const SETUP_MAX: Duration = Duration::from_secs(8);
/// Time from a migration until this end restarts ICE, if the end that has moved hasn't: the address of a NAT has
/// changed. The ICE agent gives its own path up after 5 s. A guess.
const RESTART_AFTER: Duration = Duration::from_secs(1);
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
    is_answered: bool,
    is_connected: bool,
    give_up_at: Option<Instant>,
    greet_at: Option<Instant>,
    /// Deadline for a path, after which carriers are requested.
    path_wanted_at: Option<Instant>,
    /// When the direct way is tried again.
    retry_direct_at: Option<Instant>,
    /// Time of the ICE restart after a migration.
    restart_at: Option<Instant>,
    tell_drops_at: Option<Instant>,
    /// Next probe for the last control message.
    probe_at: Option<Instant>,
    probes_left: u32,
}

impl Link {
    /// Carries messages and reports events until the link ends; returns the reason.
    pub(crate) async fn serve(&mut self, connection: &mut Connection) -> DownReason {
        match self.talk(connection).await {
            Err(reason) => reason,
            Ok(never) => match never {},
        }
    }

    async fn talk(&mut self, connection: &mut Connection) -> Result<Infallible, DownReason> {
        let link = self.id;
        let mut progress = Progress::new(self.role());
        loop {
            // as long as events wait, nothing is read that causes more of them
            let drains = !self.outbox.is_empty();
            let paused_until = self.paused.borrow_and_update().filter(|until| *until > Instant::now());
            let reads = !drains && paused_until.is_none();
            let deadline = progress.deadline().into_iter().chain(paused_until).min();
            tokio::select! {
                biased;
                reason = ended(&mut self.end) => {
                    if progress.is_connected && reason == DownReason::Closed {
                        // messages that are still unsent after the timeout are lost with the link
                        let _ = timeout(FLUSH_MAX, self.flush(connection, &mut progress)).await;
                    }
                    return Err(reason);
                }
                () = self.shared.events.drain(&mut self.outbox), if drains => {}
                Ok(()) = self.paused.changed() => {}
                Some(answer) = self.answers.recv(), if !progress.is_answered => {
                    progress.answered();
                    self.accept(connection, &answer)?;
                }
                Some((ufrag, candidates)) = self.paths.recv() => {
                    connection.add_paths(&ufrag, &candidates).map_err(failed)?;
                }
                Some(restart) = self.restarts.recv(), if progress.is_connected => {
                    self.restart_told(connection, &restart)?;
                }
                () = self.handle.moves.notified(), if progress.is_connected => self.restart(connection)?,
                () = self.handle.asks_again.notified() => {
                    if connection.asks_restart() {
                        self.tell_restart(connection);
                    }
                }
                Some((train, arrivals)) = self.measured.recv(), if !drains => {
                    self.tell(Event::Measured { link, train, arrivals });
                }
                Some(train) = self.refused_trains.recv(), if !drains => {
                    self.tell(Event::TrainRefused { link, train });
                }
                () = self.handle.wire.dropped.notified(), if progress.tell_drops_at.is_none() => {
                    progress.tell_drops_at = Some(Instant::now() + DROP_REPORT_INTERVAL);
                }
                () = at(deadline), if deadline.is_some() => self.due(connection, &mut progress)?,
                happening = connection.next(reads) => {
                    self.happened(connection, &mut progress, happening.map_err(failed)?)?;
                }
            }
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.shared.events.push_or_keep(event, &mut self.outbox);
    }

    /// Handles the deadlines that have passed.
    fn due(&mut self, connection: &mut Connection, progress: &mut Progress) -> Result<(), DownReason> {
        let (link, now) = (self.id, Instant::now());
        if progress.give_up_at.is_some_and(|at| at <= now) {
            return Err(DownReason::Lost);
        }
        if progress.path_wanted_at.take_if(|at| *at <= now).is_some()
            && !connection.has_path()
            && self.handle.wire.browser.get().is_none()
        {
            self.tell(Event::PathWanted { link });
        }
        if progress.retry_direct_at.take_if(|at| *at <= now).is_some() && self.retries_direct(connection) {
            progress.retry_direct_at = Some(retry_at());
            self.restart(connection)?;
        }
        if progress.restart_at.take_if(|at| *at <= now).is_some() && connection.has_migrated() {
            self.restart(connection)?;
        }
        if progress.tell_drops_at.take_if(|at| *at <= now).is_some() {
            let drops = lock(&self.handle.wire.packet_queue).take_drops();
            for (slot, packets) in drops {
                self.tell(Event::Dropped { link, slot, packets });
            }
        }
        if progress.greet_at.is_some_and(|at| at <= now) {
            progress.greet_at = Some(now + GREETING_INTERVAL);
            greet(connection);
        }
        if progress.probe_at.take_if(|at| *at <= now).is_some()
            && connection.outstanding_bytes(Channel::Control) > 0
        {
            greet(connection);
            progress.probes_left -= 1;
            progress.probe_at = (progress.probes_left > 0).then(|| now + PROBE_INTERVAL);
        }
        Ok(())
    }

    fn happened(
        &mut self,
        connection: &mut Connection,
        progress: &mut Progress,
        happening: Happening,
    ) -> Result<(), DownReason> {
        let link = self.id;
        match happening {
            Happening::Transport(TransportEvent::Opened) if connection.opens_together() => {
                self.connected(connection, progress)?;
            }
            Happening::Transport(TransportEvent::Opened) => {
                progress.greet_at = (progress.role == Role::Answer).then(Instant::now);
            }
            Happening::Transport(TransportEvent::Seen(Behaviour { nat, reachable_at })) => {
                let mut known = lock(&self.shared.nat);
                *known = if nat == Nat::Unknown { *known } else { nat };
                drop(known);
                let is_looking = !progress.is_connected || connection.is_restarting();
                if is_looking && !reachable_at.is_empty() {
                    tracing::debug!(%link, ?nat, ?reachable_at, "further addresses of this end");
                    let candidates = List::truncated(reachable_at.into_iter().map(Candidate::Reflexive));
                    self.tell(Event::PathsFound { link, candidates });
                }
            }
            Happening::Transport(TransportEvent::Relayed(candidates)) if !progress.is_connected => {
                tracing::debug!(%link, ?candidates, "a relay of this end");
                self.tell(Event::PathsFound { link, candidates: List::truncated(candidates) });
            }
            Happening::Transport(TransportEvent::Relayed(_)) => {}
            Happening::Transport(TransportEvent::RestartAsked) => self.tell_restart(connection),
            Happening::Transport(TransportEvent::Moved) => {
                let is_carried = connection.is_carried();
                tracing::debug!(%link, is_carried, "the link goes by another path");
                self.tell(Event::Carried { link, is_carried });
            }
            Happening::Transport(TransportEvent::Migrated) => {
                tracing::debug!(%link, "the link has migrated to another address");
                progress.restart_at = Some(Instant::now() + RESTART_AFTER);
            }
            Happening::Transport(TransportEvent::Lost) => return Err(DownReason::Lost),
            Happening::Transport(TransportEvent::Hostile(what)) => return Err(DownReason::Hostile(what)),
            Happening::Transport(TransportEvent::Closed) => return Err(DownReason::ClosedByPeer),
            Happening::Message(channel, bytes) => {
                if bytes.len() > channel.message_len_max() {
                    return Err(DownReason::MessageTooLong(channel));
                }
                let is_greeting = channel == Channel::Heartbeat && bytes.is_empty();
                if is_greeting && progress.role == Role::Offer {
                    greet(connection);
                }
                self.connected(connection, progress)?;
                if !is_greeting {
                    self.tell(Event::Received { link, channel, bytes });
                }
            }
            Happening::MessagesWait if progress.is_connected => self.send_queued(connection, progress)?,
            Happening::MessagesWait => {}
        }
        Ok(())
    }

    /// The channels are open at both ends.
    fn connected(&mut self, connection: &mut Connection, progress: &mut Progress) -> Result<(), DownReason> {
        if progress.is_connected {
            return Ok(());
        }
        let link = self.id;
        progress.connected();
        lock(&self.handle.wire.packet_queue).open();
        let own = self.shared.credentials.fingerprint;
        // known, since the handshake has checked it
        let other = self.other_fingerprint.unwrap_or_default();
        let fingerprints = Fingerprints { own, other };
        if connection.is_carried() {
            self.tell(Event::Carried { link, is_carried: true });
        }
        progress.retry_direct_at = self.retries_direct(connection).then(retry_at);
        self.tell(Event::Connected { link, fingerprints });
        self.send_queued(connection, progress)
    }

    /// Moves messages from the queues of the channels to the stack, as far as the stack accepts them.
    fn send_queued(
        &mut self,
        connection: &mut Connection,
        progress: &mut Progress,
    ) -> Result<(), DownReason> {
        #[cfg(feature = "raw")]
        for raw in std::mem::take(&mut *lock(&self.handle.raw)) {
            connection.send_raw(raw);
        }
        for channel in Channel::ALL {
            loop {
                let has_room = connection.outstanding_bytes(channel) < SEND_BUFFER_BYTES_MAX;
                if !has_room && channel != Channel::Heartbeat {
                    connection.wait_for_room(channel);
                    break;
                }
                if channel == Channel::Control && self.handle.queue(channel).is_empty() {
                    // all pieces of a message at once: no other message may come between them
                    for piece in self.handle.carried.take().into_iter().flatten() {
                        self.handle.queue(channel).push(piece).map_err(|_| DownReason::Overflow(channel))?;
                    }
                }
                let Some(taken) = self.handle.queue(channel).take() else { break };
                // a heartbeat that would have to wait is dropped
                if has_room {
                    connection.send(channel, &taken.bytes).map_err(unsendable)?;
                }
                if channel == Channel::Control {
                    (progress.probe_at, progress.probes_left) =
                        (Some(Instant::now() + PROBE_INTERVAL), PROBES_MAX);
                }
                if taken.drained && channel == Channel::Bulk {
                    self.tell(Event::BulkDrained { link: self.id });
                }
            }
        }
        Ok(())
    }

    /// Waits until the links that go by this one have said good-bye, or can't.
    pub(crate) async fn outlast_carried(&self, connection: &mut Connection) {
        let gone = async {
            while self.shared.tunnels.carries_own(self.id) {
                if let Ok(Err(_)) = timeout(FLUSH_CHECK_INTERVAL, connection.next(false)).await {
                    return;
                }
            }
        };
        let _ = timeout(FLUSH_MAX, gone).await;
    }

    /// Completes when all queued control messages have been sent and acknowledged, or can't be.
    async fn flush(&mut self, connection: &mut Connection, progress: &mut Progress) {
        self.handle.queue(Channel::Control).finish();
        while self.send_queued(connection, progress).is_ok()
            && !(self.handle.queue(Channel::Control).is_empty()
                && connection.outstanding_bytes(Channel::Control) == 0)
        {
            if let Ok(Err(_)) = timeout(FLUSH_CHECK_INTERVAL, connection.next(false)).await {
                return;
            }
        }
    }
}

impl Progress {
    fn new(role: Role) -> Progress {
        let mut progress = Progress {
            role,
            is_answered: false,
            is_connected: false,
            give_up_at: None,
            greet_at: None,
            path_wanted_at: None,
            retry_direct_at: None,
            restart_at: None,
            tell_drops_at: None,
            probe_at: None,
            probes_left: 0,
        };
        if role == Role::Answer {
            progress.answered();
        }
        progress
    }

    /// Called when both descriptions are known: the ends begin to connect.
    fn answered(&mut self) {
        let now = Instant::now();
        (self.is_answered, self.give_up_at) = (true, Some(now + SETUP_MAX));
        self.path_wanted_at = Some(now + PATH_WAIT_MAX);
    }

    fn deadline(&self) -> Option<Instant> {
        let set_up = [self.give_up_at, self.greet_at, self.path_wanted_at];
        let later = [self.retry_direct_at, self.restart_at, self.tell_drops_at, self.probe_at];
        let deadlines = set_up.into_iter().chain(later);
        deadlines.into_iter().flatten().min()
    }

    fn connected(&mut self) {
        (self.is_connected, self.greet_at) = (true, None);
        (self.give_up_at, self.path_wanted_at) = (None, None);
    }
}

/// Converts the transport's error on sending a message to the reason for the link's end.
fn unsendable(error: Error) -> DownReason {
    match error {
        Error::ErrDataChannelClosed | Error::ErrStreamClosed | Error::ErrStreamNotExisted => {
            DownReason::ClosedByPeer
        }
        error => failed(error),
    }
}

/// Sleeps until the given time; returns at once without one.
async fn at(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}

/// Sends an empty heartbeat: a greeting, or a probe. A lost one is repeated.
fn greet(connection: &mut Connection) {
    let _ = connection.send(Channel::Heartbeat, &Bytes::new());
}
