//! A room as an application holds it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use plenary_body::{
    Body, FrameSeen, OnDesk, Origin, ReceivedFrame, ReceptionStats, Shedding, Solo, Tenure, Traffic, layout,
};
use plenary_media::RawFormat;
use plenary_media::codec::Codecs;
use plenary_media::compose::Layout;
use plenary_media::source::Source;
use plenary_proto::bounded::List;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::Delivery;
use plenary_proto::seal::Invite;
use plenary_proto::{Command, DataRefusal, PeerId};
use plenary_signal::Rendezvous;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use crate::driver::Request;
use crate::error::Error;
use crate::event::{Events, RoomEvent};
use crate::flow::Flow;
use crate::listen::{self, Pictures, Sound};
use crate::options::{HostOptions, Options};
use crate::publish::{EncodedTrack, Publisher, RawTrack};
use crate::record::Recording;
use crate::snapshot::RoomSnapshot;
use crate::threads::Threads;

/// Maximum duration of [`Room::leave`].
const LEAVE_MAX: Duration = Duration::from_secs(6);

/// One peer's part in one room.
///
/// Dropping it closes it at once, without waiting: links, threads and files end soon after. [`Room::leave`]
/// hands the peer's duties over first, [`Room::close`] waits until everything is closed.
pub struct Room {
    pub(crate) me: PeerId,
    pub(crate) invite: Invite,
    pub(crate) options: Options,
    pub(crate) flow: Arc<Flow>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: broadcast::WeakSender<RoomEvent>,
    pub(crate) snapshot: watch::Receiver<RoomSnapshot>,
    pub(crate) driver: JoinHandle<()>,
    /// Rendezvous that the host itself serves; it ends with the room.
    pub(crate) rendezvous: Option<Rendezvous>,
    /// Whether this peer has ever spoken or asked for the floor; it is never reset.
    pub(crate) speaks: AtomicBool,
    pub(crate) published: AtomicBool,
    pub(crate) threads: Threads,
    pub(crate) span: Span,
}

/// [`Stream`] of received frames. A slow receiver loses runs of frames; [`ReceivedFrame::missed`] counts
/// them.
#[derive(Debug)]
pub struct Frames(mpsc::Receiver<ReceivedFrame>);

impl Frames {
    /// Returns the next frame; `None` when the room is closed.
    pub async fn next(&mut self) -> Option<ReceivedFrame> {
        self.0.recv().await
    }
}

impl Stream for Frames {
    type Item = ReceivedFrame;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReceivedFrame>> {
        self.0.poll_recv(cx)
    }
}

impl Room {
    /// Opens a room as its host.
    ///
    /// # Errors
    /// [`Error::Rendezvous`] if the TCP port is in use, [`Error::Signal`] if [`HostOptions::rendezvous`]
    /// can't be reached, [`Error::Links`] if links can't be made, and others.
    pub async fn host(options: Options, host: HostOptions) -> Result<Room, Error> {
        crate::open::host(options, host).await
    }

    /// Joins the room of an invite, and returns when the host has admitted this peer. Until then events go to
    /// [`Options::on_event`].
    ///
    /// # Errors
    /// [`Error::Invite`] for a damaged invite or a wrong password, [`Error::Signal`] if the rendezvous can't
    /// be reached or doesn't know the room, [`Error::Refused`] if the host refuses this peer,
    /// [`Error::NoAnswer`] if the host doesn't answer, and others.
    pub async fn join(invite: &Invite, options: Options) -> Result<Room, Error> {
        crate::open::join(invite, options).await
    }

    /// Returns the id of this peer.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Returns the invite to this room.
    pub fn invite(&self) -> &Invite {
        &self.invite
    }

    /// Returns the clock of this peer's capture and arrival times.
    pub fn clock(&self) -> plenary_media::Clock {
        self.options.clock
    }

    /// Subscribes to the room's events from now on. Up to [`EVENTS_MAX`](crate::EVENTS_MAX) events are
    /// queued; past it the oldest are dropped, and [`RoomEvent::Missed`] says how many.
    pub fn events(&self) -> Events {
        let receiver = match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1, // closed: no event will follow
        };
        Events::new(receiver)
    }

    /// Returns what this peer knows of the room; at most 200 ms old.
    pub fn snapshot(&self) -> RoomSnapshot {
        self.snapshot.borrow().clone()
    }

    /// Returns a watch channel that holds the newest snapshot.
    pub fn watch(&self) -> watch::Receiver<RoomSnapshot> {
        self.snapshot.clone()
    }

    // ── sending ────────────────────────────────────────────────────────────────────────────────────────────

    /// Publishes a source as this speaker's picture and sound, played in a loop.
    ///
    /// # Errors
    /// [`Error::Publish`] if this peer is not a speaker or publishes already, [`Error::NoCodecs`] without
    /// codecs, [`Error::Closed`] if the room is closed.
    pub async fn publish(&self, source: Box<dyn Source>) -> Result<(), Error> {
        let codecs = self.codecs()?;
        let turn = self.turn_to_publish().await?;
        let publisher = self.span.in_scope(|| {
            let Options { clock, picture_max, shares, .. } = self.options;
            Publisher::play(source, codecs, clock, &self.flow, picture_max, shares)
        });
        let publisher = publisher.inspect_err(|_| self.published.store(false, Ordering::Relaxed))?;
        turn.send(Request::Publish(publisher));
        Ok(())
    }

    /// Publishes an mp4, y4m or wav file, played in a loop.
    ///
    /// # Errors
    /// [`Error::Source`] if the file can't be opened or read, and the errors of [`publish`](Self::publish).
    #[cfg(feature = "files")]
    pub async fn publish_file(&self, path: &Path) -> Result<(), Error> {
        let (path, codecs, span) = (path.to_owned(), self.codecs()?, self.span.clone());
        let open = move || span.in_scope(|| plenary_media::source::open_source(&path, &codecs));
        let opened = tokio::task::spawn_blocking(open).await;
        self.publish(opened.map_err(|_| Error::Closed)??).await
    }

    /// Publishes raw pictures (I420 or NV12) and sound (f32 or i16) that the application pushes; this library
    /// encodes them.
    ///
    /// # Errors
    /// [`Error::Raw`] if the format is not supported, and the errors of [`publish`](Self::publish).
    pub async fn publish_raw(&self, format: RawFormat) -> Result<RawTrack, Error> {
        let codecs = self.codecs()?;
        let turn = self.turn_to_publish().await?;
        let made = self.span.in_scope(|| {
            let Options { clock, picture_max, shares, .. } = self.options;
            Publisher::raw(format, codecs, clock, &self.flow, picture_max, shares)
        });
        let (publisher, track) = made.inspect_err(|_| self.published.store(false, Ordering::Relaxed))?;
        turn.send(Request::Publish(publisher));
        Ok(track)
    }

    /// Publishes frames that the application encodes.
    ///
    /// # Errors
    /// [`Error::Publish`] if this peer is not a speaker or publishes already, [`Error::Closed`] if the room
    /// is closed.
    pub async fn publish_encoded(&self) -> Result<EncodedTrack, Error> {
        let turn = self.turn_to_publish().await?;
        let (publisher, track) = Publisher::track(&self.flow, self.options.picture_max, self.options.shares);
        turn.send(Request::Publish(publisher));
        Ok(track)
    }

    /// Mutes or unmutes this peer's picture or sound, for any publisher. While muted, nothing of that kind is
    /// sent; the peer's tile shows its initials, or the mute mark.
    pub fn mute(&self, kind: MediaKind, muted: bool) {
        self.flow.with(|body, _, _| body.mute(kind, muted));
    }

    /// Reserves a slot in the driver's queue for this peer's only publisher.
    async fn turn_to_publish(&self) -> Result<mpsc::Permit<'_, Request>, Error> {
        if !self.speaks.load(Ordering::Relaxed) {
            return Err(Error::Publish("only a speaker publishes"));
        }
        let turn = self.requests.reserve().await.map_err(|_| Error::Closed)?;
        if self.published.swap(true, Ordering::Relaxed) {
            return Err(Error::Publish("this speaker publishes already"));
        }
        Ok(turn)
    }

    // ── receiving ──────────────────────────────────────────────────────────────────────────────────────────

    /// Returns a stream of encoded frames from now on: the program; in a mesh the streams of the other
    /// speakers; at a speaker its mix-minus instead of the program's sound.
    pub fn frames(&self) -> Frames {
        Frames(self.flow.listen())
    }

    /// Requests one speaker's own stream beside or instead of the program; `None` ends the request.
    ///
    /// The mixer forwards the stream as it receives it, without transcoding (SFU forwarding): at the size of
    /// the speaker's tile or larger, and without the silence that DTX leaves out. Its frames have
    /// [`Origin::Speaker`]. [`RoomEvent::Solo`] says when the stream arrives or is unavailable; the request
    /// is retried until another call replaces it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn set_solo(&self, solo: Option<Solo>) -> Result<(), Error> {
        self.flow.with(|body, _, outs| body.set_solo(solo, outs));
        self.request(Request::Command(Command::Solo(solo.map(|solo| solo.speaker)))).await
    }

    /// Returns a stream of decoded pictures, of the same origins as [`frames`](Self::frames).
    ///
    /// # Errors
    /// [`Error::NoCodecs`] without codecs.
    pub fn pictures(&self) -> Result<Pictures, Error> {
        let flow = Arc::downgrade(&self.flow);
        let shedding = {
            let flow = flow.clone();
            move || flow.upgrade().map_or(Shedding::Nothing, |flow| flow.read(|body| body.shedding()))
        };
        let key_wanted = move |origin| {
            if let Some(flow) = flow.upgrade() {
                flow.with(|body, _, outs| match origin {
                    Origin::Speaker(speaker) => body.want_key_of(&speaker, outs),
                    Origin::Program | Origin::MixMinus => body.want_key_upstream(outs),
                });
            }
        };
        listen::pictures(self.frames().0, self.codecs()?, shedding, key_wanted, &self.threads)
    }

    /// Returns a stream of decoded sound to play: at a viewer the program's, at a speaker the other
    /// speakers'.
    ///
    /// # Errors
    /// [`Error::NoCodecs`] without codecs.
    pub fn sound(&self) -> Result<Sound, Error> {
        listen::sound(self.frames().0, self.codecs()?, self.options.clock, &self.threads)
    }

    /// Records the received frames to a file (fragmented MP4), without re-encoding. An existing file is
    /// overwritten when the first frame arrives; if no frame arrives it stays unchanged.
    ///
    /// # Errors
    /// [`Error::Record`] if the file can't be written.
    pub fn record(&self, path: &Path) -> Result<Recording, Error> {
        Recording::start(path, self.frames().0, &self.threads)
    }

    fn codecs(&self) -> Result<Arc<dyn Codecs>, Error> {
        self.options.codecs.clone().ok_or(Error::NoCodecs)
    }

    // ── figures ────────────────────────────────────────────────────────────────────────────────────────────

    /// Returns reception statistics of the program so far.
    pub fn reception(&self) -> ReceptionStats {
        self.flow.read(|body| body.reception(self.flow.now_us()))
    }

    /// Returns statistics of this peer's tenures as a mixer; the current tenure is last.
    pub fn tenures(&self) -> Vec<Tenure> {
        self.flow.renew_figures();
        self.flow.read(Body::tenures)
    }

    /// Returns the current audio level of each speaker, as heard at this peer: from 0 for the loudest to 127
    /// for silence (RFC 6464). In the program's sound only the few loudest speakers have a level other than
    /// silence.
    pub fn levels(&self) -> Vec<(PeerId, u8)> {
        let snapshot = self.snapshot();
        let speakers = snapshot.stage.iter().filter(|member| member.speaks).map(|member| member.peer);
        let speakers: Vec<_> = speakers.collect();
        self.flow.read(|body| body.levels(&speakers, self.flow.now_us()))
    }

    /// At a mixer: returns since when the mix contains that speaker.
    pub fn on_desk(&self, speaker: &PeerId) -> OnDesk {
        self.flow.read(|body| body.on_desk(speaker))
    }

    /// Returns the log of program pictures that this peer made; empty without [`Options::keep_frame_log`].
    pub fn made(&self) -> Vec<FrameSeen> {
        self.flow.read(|body| body.made().to_vec())
    }

    /// Returns the number of this peer's links that are up.
    pub fn links(&self) -> usize {
        self.flow.read(Body::links_up)
    }

    /// Returns the number of pictures of this peer's own stream so far.
    pub fn pictures_sent(&self) -> u64 {
        self.flow.read(Body::pictures_sent)
    }

    /// Returns the maximum number of peers that this speaker sent its picture to at a time, since the last
    /// election or failover.
    pub fn picture_targets_most(&self) -> usize {
        self.flow.read(Body::targets_most)
    }

    /// Returns the UDP payload bytes sent so far.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn traffic(&self) -> Result<Traffic, Error> {
        let (reply, traffic) = oneshot::channel();
        self.request(Request::Traffic(reply)).await?;
        traffic.await.map_err(|_| Error::Closed)
    }

    // ── doing ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Host only: sets the number of mixers; 0 lets the room choose it, as in [`HostOptions::mixers`].
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn set_mixers(&self, mixers: u8) -> Result<(), Error> {
        self.request(Request::Command(Command::SetMixers(mixers))).await
    }

    /// Host only: sets the layout of the program. The change does not cause a keyframe.
    ///
    /// # Errors
    /// [`Error::Layout`] if the layout is invalid, [`Error::Closed`] if the room is closed.
    pub async fn set_layout(&self, layout: &Layout) -> Result<(), Error> {
        let layout = layout::to_roster(layout).map_err(Error::Layout)?;
        self.request(Request::Command(Command::SetLayout(layout))).await
    }

    /// Host only: opens or closes the stage. On an open stage any peer may speak; on a closed one
    /// [`RoomEvent::FloorWanted`] asks the host's application about each peer that wants to. Present speakers
    /// stay on stage.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn open_stage(&self, open: bool) -> Result<(), Error> {
        self.request(Request::Command(Command::OpenStage(open))).await
    }

    /// Host only: grants a peer the floor. A peer that has not asked for it gets [`RoomEvent::FloorOffered`],
    /// and accepts by [`speak`](Self::speak). The offer is repeated for ten seconds.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn promote(&self, peer: PeerId) -> Result<(), Error> {
        self.request(Request::Command(Command::Promote(peer))).await
    }

    /// Host only: takes the floor from a peer, or denies it. The peer stays in the room as a viewer.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn demote(&self, peer: PeerId) -> Result<(), Error> {
        self.request(Request::Command(Command::Demote(peer))).await
    }

    /// Asks for the floor, or leaves the stage and goes back to watching. On a closed stage the host's
    /// application decides. [`RoomEvent::Floor`] reports the change, [`RoomEvent::FloorDenied`] the denial.
    ///
    /// A peer that has come on stage calls [`publish`](Self::publish). What it publishes already is paused
    /// while no peer receives it.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn speak(&self, speaks: bool) -> Result<(), Error> {
        self.speaks.fetch_or(speaks, Ordering::Relaxed);
        self.request(Request::Command(Command::Speak(speaks))).await
    }

    /// Searches for another parent.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn reconnect_upstream(&self) -> Result<(), Error> {
        self.request(Request::Command(Command::ReconnectUpstream)).await
    }

    /// Measures bandwidth and round-trip time from a peer on stage to this peer; [`RoomEvent::Measured`] has
    /// the result. A mixer in force doesn't answer measurements by viewers.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn measure(&self, candidate: PeerId) -> Result<(), Error> {
        self.request(Request::Command(Command::Measure(candidate))).await
    }

    /// Sends application data to every peer in the room. The data is signed, is forwarded down the program's
    /// tree, and arrives as [`RoomEvent::Data`](crate::RoomEvent::Data).
    ///
    /// Reliable data reaches every peer once and in order, even if relays die; [`RoomEvent::DataMissed`]
    /// reports pieces lost for good. Loose data is sent once, as a datagram, and may be lost. At most
    /// [`DATA_LEN_MAX`](plenary_proto::message::DATA_LEN_MAX) bytes; loose data at most
    /// [`LOOSE_LEN_MAX`](plenary_proto::message::LOOSE_LEN_MAX).
    ///
    /// # Errors
    /// [`Error::Data`] if this peer is not on stage, or if the data is too long or sent too fast;
    /// [`Error::Closed`] if the room is closed.
    pub async fn tell(&self, delivery: Delivery, bytes: &[u8]) -> Result<(), Error> {
        let bytes = List::try_from(bytes.to_vec()).map_err(|_| DataRefusal::TooLong)?;
        let (reply, told) = oneshot::channel();
        self.request(Request::Tell(delivery, bytes, reply)).await?;
        Ok(told.await.map_err(|_| Error::Closed)??)
    }

    async fn request(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).await.map_err(|_| Error::Closed)
    }

    /// Leaves the room gracefully: hands the program and this peer's children over to other peers first.
    /// Takes at most six seconds. Statistics can still be read afterwards.
    pub async fn leave(&self) {
        let (reply, left) = oneshot::channel();
        if self.request(Request::Leave(reply)).await.is_ok() {
            // after the timeout, or if the driver has ended, only closing remains
            let _ = tokio::time::timeout(LEAVE_MAX, left).await;
        }
    }

    /// Closes the room at once, and waits until links, threads and files are closed. Streams of frames,
    /// pictures, sound and events end; recordings are finished.
    pub async fn close(self) {
        let Room { requests, driver, rendezvous, threads, span, .. } = self;
        let closing = async move {
            drop(requests);
            if let Err(error) = driver.await {
                tracing::error!("the room's driver has failed: {error}");
            }
            threads.ended().await;
            if let Some(rendezvous) = rendezvous {
                rendezvous.close().await;
            }
        };
        closing.instrument(span).await;
    }
}
