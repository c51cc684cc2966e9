//! One link from its opening to its end: its negotiation task.
//!
//! The offering end sends its description, waits for the answer and applies it; the answering end applies the
//! offer and sends its description. The transport then runs the connectivity checks, DTLS and SCTP by itself. The
//! link is connected when all three channels are open at both ends. It ends when either end closes it or nothing
//! has been received for 5 s; a shorter silence does not end it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plenary_proto::app::Nat;
use plenary_proto::bounded::Text;
use plenary_proto::message::{Candidate, Description, IceRestart, LinkKind, PayloadTypes, Setup};
use plenary_proto::packet::LinkId;
use rtc::shared::error::Error;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::checks::Checks;
use crate::connection::{Connection, OpenError, Plan, Sockets};
use crate::handle::{Handle, Told};
use crate::legs::Legs;
use crate::mux::SharedSocket;
use crate::ports::Port;
use crate::queue::{CarriedQueue, SendQueue};
use crate::seam::{Channel, DownReason, Event, queue_bytes_max};
use crate::shared::Shared;
use crate::sync::lock;
use crate::train::TrainArrivals;
use crate::trains::Trains;
use crate::tunnels::Tunnel;
use crate::wire::Wire;
use plenary_proto::link_layout::{DescriptionError, NO_H264, PAYLOAD_TYPES, Role, Ssrcs, check};

/// Maximum number of finished trains, and of refused trains, that wait to be reported. Further ones are not
/// reported.
const TRAINS_UNTOLD_MAX: usize = 16;

/// Maximum number of messages with further candidates that wait for the link's task.
const PATHS_UNREAD_MAX: usize = 4;

/// Maximum number of the other end's parts of ICE restarts that wait for the link's task.
const RESTARTS_UNREAD_MAX: usize = 2;

/// The task of one link.
pub(crate) struct Link {
    pub(crate) id: LinkId,
    kind: LinkKind,
    /// The offer of the other end; `None` when this end offers.
    offer: Option<Description>,
    /// The default payload types, or those of the offer.
    payload_types: PayloadTypes,
    ufrag: String,
    pwd: String,
    pub(crate) handle: Arc<Handle>,
    pub(crate) answers: mpsc::Receiver<Description>,
    pub(crate) paths: mpsc::Receiver<Told>,
    pub(crate) restarts: mpsc::Receiver<Box<IceRestart>>,
    /// Number of the port that is the link's own; 0 for any.
    pub(crate) port: u16,
    measured_sender: mpsc::Sender<(u32, TrainArrivals)>,
    pub(crate) measured: mpsc::Receiver<(u32, TrainArrivals)>,
    pub(crate) refused_trains: mpsc::Receiver<u32>,
    pub(crate) end: watch::Receiver<Option<DownReason>>,
    pub(crate) shared: Arc<Shared>,
    /// The other end is a stranger.
    is_stranger: bool,
    /// Fingerprint of the other end's certificate, once its description is known.
    pub(crate) other_fingerprint: Option<[u8; 32]>,
    /// Until when no message is read.
    pub(crate) paused: watch::Receiver<Option<Instant>>,
    /// Events that wait for room in the queue of events. Meanwhile no message is read.
    pub(crate) outbox: VecDeque<Event>,
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        kind: LinkKind,
        offer: Option<Description>,
        is_stranger: bool,
        (ufrag, pwd): (String, String),
        shared: Arc<Shared>,
    ) -> (Link, Arc<Handle>) {
        let wire = Arc::new(Wire::new(Ssrcs::of(kind, &ufrag), shared.config.queue_packets_max));
        let (answer_sender, answers) = mpsc::channel(1);
        let (paths_sender, paths) = mpsc::channel(PATHS_UNREAD_MAX);
        let (restarts_sender, restarts) = mpsc::channel(RESTARTS_UNREAD_MAX);
        let (end_sender, end) = watch::channel(None);
        let queues = Channel::ALL.map(|channel| SendQueue::new(queue_bytes_max(channel)));
        let (measured_sender, measured) = mpsc::channel(TRAINS_UNTOLD_MAX);
        let (refused_sender, refused_trains) = mpsc::channel(TRAINS_UNTOLD_MAX);
        let (pause, paused) = watch::channel(None);
        let handle = Arc::new(Handle {
            wire,
            queues,
            carried: CarriedQueue::default(),
            paused: pause,
            answers: answer_sender,
            paths: paths_sender,
            restarts: restarts_sender,
            moves: Notify::new(),
            asks_again: Notify::new(),
            refused_trains: refused_sender,
            end: end_sender,
            #[cfg(feature = "raw")]
            raw: Default::default(),
        });
        let link = Link {
            id,
            kind,
            offer,
            payload_types: PAYLOAD_TYPES,
            ufrag,
            pwd,
            handle: handle.clone(),
            answers,
            paths,
            restarts,
            port: 0,
            measured_sender,
            measured,
            refused_trains,
            end,
            shared,
            is_stranger,
            other_fingerprint: None,
            paused,
            outbox: VecDeque::new(),
        };
        (link, handle)
    }

    /// Runs the link until its end and returns the reason.
    pub(crate) async fn live(mut self) -> DownReason {
        if let Some(offer) = &self.offer {
            match self.meet(offer, Role::Offer) {
                Ok(types) => (self.payload_types, self.other_fingerprint) = (types, Some(offer.fingerprint)),
                Err(error) => return error.into(),
            }
        }
        let (mut connection, port) = match self.connect() {
            Ok(connected) => connected,
            Err(reason) => return reason,
        };
        self.port = port.as_ref().map_or(0, Port::number);
        let reason = match self.describe(&mut connection) {
            Ok(description) => {
                self.shared.events.push(Event::Described { link: self.id, description });
                self.serve(&mut connection).await
            }
            Err(reason) => reason,
        };
        if reason == DownReason::Closed {
            self.outlast_carried(&mut connection).await;
        }
        connection.close();
        for event in std::mem::take(&mut self.outbox) {
            self.shared.events.push(event);
        }
        reason
    }

    pub(crate) fn role(&self) -> Role {
        if self.offer.is_some() { Role::Answer } else { Role::Offer }
    }

    /// Checks the description of the other end, stores its SSRCs and returns its payload types.
    fn meet(&self, other: &Description, role: Role) -> Result<PayloadTypes, DescriptionError> {
        let types = check(self.kind, other, role)?;
        let (wire, ssrcs) = (&self.handle.wire, Ssrcs::described(self.kind, other));
        if wire.local.clash(&ssrcs) {
            return Err(DescriptionError::SsrcClash);
        }
        if let Some(browser) = &other.browser {
            let _ = wire.browser.set(browser.clone());
        }
        wire.takes_pictures.store(types.h264 != NO_H264, Ordering::Relaxed);
        // a second answer changes nothing
        let _ = wire.remote.set(ssrcs);
        Ok(types)
    }

    /// Opens a connection on the first free port. When another process takes a port between claim and bind,
    /// the next port is tried.
    fn connect(&self) -> Result<(Connection, Option<Port>), DownReason> {
        let (wire, config) = (&self.handle.wire, &self.shared.config);
        let mut from = 0;
        loop {
            let (port, sockets) = match self.shared_sockets() {
                Some(shared) => (None, Sockets::Shared(shared)),
                None => {
                    let port = self.shared.ports.claim(from).ok_or(DownReason::NoPort)?;
                    let addresses = port.addresses();
                    (Some(port), Sockets::Own(addresses))
                }
            };
            let sink = self.shared.sink().ok_or(DownReason::Closed)?;
            let plan = Plan {
                role: self.role(),
                ufrag: self.ufrag.clone(),
                pwd: self.pwd.clone(),
                sockets,
                wire: wire.clone(),
                shaper: config.shaper.clone(),
                legs: Legs::new(self.id, wire.clone(), sink, self.payload_types, config.epoch),
                trains: Trains::new(
                    wire.clone(),
                    self.payload_types,
                    config.epoch,
                    self.measured_sender.clone(),
                ),
                checks: Checks::new(self.shared.checks.clone(), self.is_stranger),
                is_lite: config.ice_lite,
                stun: lock(&self.shared.stun).clone(),
                turn: self.shared.turn.clone(),
                tunnel: Tunnel::new(self.shared.clone(), self.id),
            };
            match Connection::open(&self.shared.credentials, plan) {
                Ok(connection) => return Ok((connection, port)),
                Err(OpenError::Stack(error)) => return Err(failed(error)),
                Err(OpenError::Unbound(error)) if error.kind() == io::ErrorKind::AddrInUse => {
                    match port.as_ref().map_or(0, Port::number) {
                        0 | u16::MAX => return Err(DownReason::NoPort),
                        taken => from = taken + 1,
                    }
                }
                Err(OpenError::Unbound(error)) => return Err(DownReason::NoSocket(error.to_string())),
            }
        }
    }

    /// Returns the sockets of the port that all links share. `None` without a shared port, and for the answer to
    /// a second link with the same end, which takes another port.
    fn shared_sockets(&self) -> Option<Vec<Arc<SharedSocket>>> {
        let mux = lock(&self.shared.mux).clone()?;
        let offered = self.offer.iter().flat_map(|offer| offer.candidates.iter());
        let remotes: Vec<_> = offered.filter_map(Candidate::address).collect();
        mux.sockets(&self.shared.ports.addresses(), &remotes)
    }

    /// Describes this end. The answering end begins to connect.
    fn describe(&self, connection: &mut Connection) -> Result<Description, DownReason> {
        let is_told = self.offer.as_ref().is_none_or(|offer| offer.sctp.is_some());
        let sctp = is_told.then(|| connection.sctp_init()).transpose().map_err(failed)?;
        if let Some(offer) = &self.offer {
            connection.start(offer, self.nat()).map_err(failed)?;
        }
        let types = self.payload_types;
        Ok(Description {
            ufrag: Text::truncated(&self.ufrag),
            pwd: Text::truncated(&self.pwd),
            fingerprint: self.shared.credentials.fingerprint,
            setup: Setup::of(self.offer.is_none(), self.shared.config.ice_lite),
            payload_types: (types != PAYLOAD_TYPES).then_some(types),
            browser: None,
            candidates: connection.candidates(self.shared.outer()),
            sctp,
            hello: connection.hello().map_err(failed)?,
        })
    }

    /// Applies the answer of the other end.
    pub(crate) fn accept(
        &mut self,
        connection: &mut Connection,
        answer: &Description,
    ) -> Result<(), DownReason> {
        let answered = self.meet(answer, Role::Answer)?;
        let is_without_picture = answered.h264 == NO_H264 && answered.opus == self.payload_types.opus;
        if answered != self.payload_types && !is_without_picture {
            return Err(DescriptionError::PayloadTypes(answered).into());
        }
        self.other_fingerprint = Some(answer.fingerprint);
        connection.start(answer, self.nat()).map_err(failed)
    }

    /// The NAT in front of this peer.
    fn nat(&self) -> Nat {
        *lock(&self.shared.nat)
    }
}

/// Completes when the link has to end, with the reason.
pub(crate) async fn ended(end: &mut watch::Receiver<Option<DownReason>>) -> DownReason {
    // the sender is in the handle, which the link's task holds, so it outlives this receiver
    let reason = end.wait_for(Option::is_some).await;
    reason.ok().and_then(|reason| reason.clone()).unwrap_or(DownReason::Closed)
}

pub(crate) fn failed(error: Error) -> DownReason {
    DownReason::Stack(error.to_string())
}
