//! The shell around this peer's body: one lock, and the IO that the state machine asks for.
//!
//! Links, capture, mixer and driver call on tasks and threads of their own. Each call locks the state machine
//! ([`plenary_body::Body`]), collects its outputs, and carries them out after it has unlocked. Frames for the
//! application and commands to the mixer are queued under the lock, so that their order is that of the calls.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use plenary_body::{Body, BodyConfig, Out, Outs, Picture, ReceivedFrame};
use plenary_media::codec::Codecs;
use plenary_media::mixer::MixerOutput;
use plenary_media::{Clock, CodecFailure, CodecPart, Encoded};
use plenary_proto::message::{Message, Pieces, RouteMessage, loose_to_bytes};
use plenary_proto::packet::Destinations;
use plenary_proto::{PeerId, RoomState, Via};
use plenary_rtc::{
    BrowserPacket, Channel, Command, LinkDriver, LinkId, MediaPacket, PacketSink, SenderReport,
};
use tokio::sync::{Notify, mpsc};
use tracing::Span;

use crate::desk::Desk;
use crate::notices::Notices;
use crate::outlets::Outlets;
use crate::testing::Forge;
use crate::voices::{Inlet, VoiceOutlets, VoicesOf};
use plenary_proto::app::{CodecOutcome, CodecUse};

/// What failed of this peer's own codecs, what happened, and what followed.
pub(crate) type Failure = (CodecUse, String, CodecOutcome);

/// Maximum number of failures that wait for the driver. A guess: guards report a few each.
const FAILURES_MAX: usize = 64;

/// State under the lock.
struct State {
    body: Body,
    outlets: Outlets,
    voices: VoiceOutlets,
}

/// One peer of one room.
pub(crate) struct Flow {
    clock: Clock,
    links: OnceLock<Arc<dyn LinkDriver>>,
    pub(crate) notices: Notices,
    pub(crate) desk: Desk,
    /// In tests, what this peer makes of the packets that it sends.
    forge: Option<Forge>,
    /// Signals that a held frame is due earlier than the driver knows.
    frame_waits: Notify,
    /// Failures of codecs beside the mixer's, with the track that they belong to.
    failures: Mutex<Vec<(Option<u64>, Failure)>>,
    /// Span of the room, for calls on threads outside it. Packets don't enter it, which costs more than to forward one:
    /// nothing is logged on their way.
    span: Span,
    state: Mutex<State>,
}

impl Flow {
    /// Returns a flow that has no links yet; without codecs it can pass through, but not mix.
    /// The codecs come with whether the built-in ones stand in for them.
    pub(crate) fn new(
        brain: RoomState,
        config: BodyConfig,
        clock: Clock,
        codecs: (Option<Arc<dyn Codecs>>, bool),
        forge: Option<Forge>,
        span: Span,
    ) -> Arc<Flow> {
        let body = Body::new(brain, config, clock.now_us());
        Arc::new_cyclic(|flow| Flow {
            clock,
            links: OnceLock::new(),
            notices: Notices::default(),
            forge,
            desk: Desk::new(flow.clone(), clock, codecs, span.clone()),
            frame_waits: Notify::new(),
            failures: Mutex::default(),
            span,
            state: Mutex::new(State { body, outlets: Outlets::default(), voices: VoiceOutlets::default() }),
        })
    }

    /// Sets the links. Links and flow need each other, so one of them comes second.
    pub(crate) fn connect(&self, links: Arc<dyn LinkDriver>) {
        let _ = self.links.set(links);
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Calls the body for a packet, a frame or the application, and carries out what it asks for. `act` gets the time
    /// and collects the outputs.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        self.step(act).0
    }

    /// Calls the body, and carries out what links, mixer and application get. Returns the other outputs, which concern
    /// the driver: there are none for packets and frames.
    pub(crate) fn step<T>(&self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> (T, Outs) {
        let result = self.locked(act);
        self.desk.run();
        result
    }

    /// Handles an output of the mixer, on one of its threads, which must not carry out the mixer's commands.
    pub(crate) fn mixed(&self, output: MixerOutput) {
        let _inside = self.span.enter();
        self.locked(|body, now_us, outs| body.mixed(now_us, output, outs));
    }

    fn locked<T>(&self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> (T, Outs) {
        let now_us = self.now_us();
        let mut outs = Outs::default();
        let mut guard = self.state.lock();
        let State { body, outlets, voices } = &mut *guard;
        let result = act(body, now_us, &mut outs);
        outs.frames.drain(..).for_each(|received| outlets.give(&received));
        outs.voices.drain(..).for_each(|frame| voices.give(&frame));
        self.desk.queue(outs.mix.drain(..));
        drop(guard);
        if outs.frame_waits {
            self.frame_waits.notify_one();
        }
        for notice in outs.notices.drain(..) {
            if let Some(displaced) = self.notices.push(notice) {
                tracing::warn!("the driver does not keep up: a notice is repeated later");
                self.state.lock().body.repeat(displaced);
            }
        }
        outs.sends.drain(..).for_each(|out| self.send(out));
        (result, outs)
    }

    /// Reads the body's state.
    pub(crate) fn read<T>(&self, act: impl FnOnce(&Body) -> T) -> T {
        act(&self.state.lock().body)
    }

    /// Returns whether the body listens to such a message of that author.
    pub(crate) fn may_say(&self, from: &PeerId, via: &Via, message: &Message) -> bool {
        self.read(|body| body.brain().may_say(from, via, message))
    }

    /// Submits a command to the links.
    pub(crate) fn submit(&self, command: Command) {
        if let Some(links) = self.links.get() {
            links.submit(command);
        }
    }

    /// Sends an output on its links.
    pub(crate) fn send(&self, out: Out) {
        match out {
            Out::Forward { to, mut packet } => {
                if let Some(forge) = &self.forge {
                    packet.payload = forge(packet.payload);
                }
                self.submit(Command::Forward { to, packet });
            }
            Out::Frame { .. } => {} // of pages alone
            Out::KeyframeWanted { link, slot } => self.submit(Command::KeyframeWanted { link, slot }),
            // what others sent over this peer must not get in the way of what it says itself
            Out::Control { link, message } if matches!(*message, Message::Route(RouteMessage::Relay(_))) => {
                let pieces = Pieces::of(&message.to_bytes()).map(Bytes::from).collect();
                self.submit(Command::Carry { link, pieces });
            }
            Out::Control { link, message } => {
                for piece in Pieces::of(&message.to_bytes()) {
                    let (channel, bytes) = (Channel::Control, Bytes::from(piece));
                    self.submit(Command::Send { link, channel, bytes });
                }
            }
            Out::Loose { link, message } => {
                let (channel, bytes) = (Channel::Heartbeat, Bytes::from(loose_to_bytes(&message)));
                self.submit(Command::Send { link, channel, bytes });
            }
            Out::Train { link, train, bytes, rate_bps } => {
                self.submit(Command::Train { link, train, bytes, rate_bps });
            }
            Out::Offer { link, kind, is_stranger } => {
                self.submit(Command::Offer { link, kind, is_stranger });
            }
            Out::Answer { link, kind, offer, is_stranger } => {
                self.submit(Command::Answer { link, kind, offer, is_stranger });
            }
            Out::Accept { link, answer } => self.submit(Command::Accept { link, answer }),
            Out::Paths { link, ufrag, candidates } => self.submit(Command::Paths { link, ufrag, candidates }),
            Out::IceRestart { link, restart } => self.submit(Command::IceRestart { link, restart }),
            Out::Tunnel(command) => self.submit(Command::Tunnel(command)),
            Out::Close { link } => self.submit(Command::Close { link }),
            Out::SenderReport { link, slot, ntp_time, rtp_time } => {
                let (to, report) =
                    (Destinations::from_iter([(link, slot)]), SenderReport { ntp_time, rtp_time });
                self.submit(Command::SenderReport { to, report });
            }
            Out::Pause { link, pause_us } => {
                self.submit(Command::Pause { link, duration: Duration::from_micros(pause_us) });
            }
            Out::Heartbeat { link, heartbeat } => {
                let (channel, bytes) = (Channel::Heartbeat, Bytes::from(heartbeat.to_bytes()));
                self.submit(Command::Send { link, channel, bytes });
            }
        }
    }

    /// Notes the failure of a codec, of a track if one is named; never blocks.
    pub(crate) fn codec_failed(&self, track: Option<u64>, failure: CodecFailure) {
        let what = match (failure.part, track) {
            (CodecPart::VideoEncoder | CodecPart::ProgramEncoder, _) => CodecUse::OwnPicture,
            (CodecPart::SoundEncoder, _) => CodecUse::OwnSound,
            (CodecPart::SoundDecoder, _) => CodecUse::Heard,
            _ => CodecUse::Shown,
        };
        let then = plenary_body::outcome(failure.remedy, track.is_some());
        let mut failures = self.failures.lock();
        if failures.len() < FAILURES_MAX {
            failures.push((track, (what, failure.text, then)));
        }
    }

    /// Returns the failures since the last call.
    pub(crate) fn take_failures(&self) -> Vec<(Option<u64>, Failure)> {
        std::mem::take(&mut *self.failures.lock())
    }

    /// Sends a frame that this peer publishes; `picture`: what a picture shows.
    pub(crate) fn publish(&self, encoded: &Encoded, picture: Picture) {
        let _inside = self.span.enter();
        self.with(|body, now_us, outs| body.publish(now_us, encoded, picture, outs));
    }

    /// Updates the mixer's figures for the tenures.
    pub(crate) fn renew_figures(&self) {
        let figures = self.desk.figures();
        self.with(|body, _, _| body.note_figures(figures));
    }

    /// Adds a listener for the application's frames.
    pub(crate) fn listen(&self) -> mpsc::Receiver<ReceivedFrame> {
        self.state.lock().outlets.listen()
    }

    /// Adds a listener for speakers' sound apart.
    pub(crate) fn listen_apart(&self, of: VoicesOf) -> Inlet {
        self.state.lock().voices.listen(of)
    }

    /// Waits until a held frame is due for the application.
    pub(crate) async fn until_due(&self) {
        loop {
            let next_us = self.state.lock().body.next_due_us();
            let due = async {
                match next_us {
                    Some(next_us) => tokio::time::sleep(self.clock.until(next_us)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                () = self.frame_waits.notified() => {}
            }
        }
    }

    /// Ends the mixer, and waits for its threads.
    pub(crate) fn close_mixer(&self) {
        self.renew_figures();
        self.locked(|body, now_us, outs| body.close_mixer(now_us, outs));
        self.desk.close();
    }

    /// Hands over all held frames, and ends the listeners' queues.
    pub(crate) fn close(&self) {
        self.locked(|body, now_us, outs| body.hand_over_all(now_us, outs));
        let mut state = self.state.lock();
        state.outlets.close();
        state.voices.close();
    }
}

impl PacketSink for Flow {
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, _arrived_us: u64) {
        self.with(|body, now_us, outs| body.packet(now_us, link, slot, packet, outs));
    }

    fn browser_packet(&self, link: LinkId, slot: u8, packet: BrowserPacket, _arrived_us: u64) {
        self.with(|body, now_us, outs| body.browser_packet(now_us, link, slot, packet, outs));
    }

    fn keyframe_wanted(&self, link: LinkId, slot: u8) {
        self.with(|body, now_us, outs| body.keyframe_wanted(now_us, link, slot, outs));
    }
}
