//! One room, as an application holds it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
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

use crate::desk::{Desk, OnDesk, Tenure};
use crate::driver::{Request, Traffic};
use crate::error::Error;
use crate::event::{Events, RoomEvent};
use crate::flow::{Flow, FrameSeen, Origin, ReceivedFrame, ReceptionStats, Solo};
use crate::layout;
use crate::listen::{self, Pictures, Sound};
use crate::options::{HostOptions, Options};
use crate::publish::{EncodedTrack, Publisher, RawTrack};
use crate::record::Recording;
use crate::snapshot::RoomSnapshot;
use crate::threads::Threads;

/// A polite farewell takes no longer than this.
const LEAVE_MAX: Duration = Duration::from_secs(6);

/// One peer's part in one room. Dropping it leaves at once, and leaves nothing behind; [`Room::leave`] hands over
/// first, [`Room::close`] waits until all is closed.
pub struct Room {
    pub(crate) me: PeerId,
    pub(crate) invite: Invite,
    pub(crate) options: Options,
    pub(crate) flow: Arc<Flow>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: broadcast::WeakSender<RoomEvent>,
    pub(crate) snapshot: watch::Receiver<RoomSnapshot>,
    pub(crate) driver: JoinHandle<()>,
    /// The rendezvous that the host itself serves; gone with the room.
    pub(crate) rendezvous: Option<Rendezvous>,
    /// It speaks, or wants to.
    pub(crate) speaks: AtomicBool,
    pub(crate) published: AtomicBool,
    pub(crate) threads: Threads,
    pub(crate) span: Span,
}

/// Frames as they are received; a [`Stream`]. Who doesn't keep up loses runs of frames, and is told how many.
#[derive(Debug)]
pub struct Frames(mpsc::Receiver<ReceivedFrame>);

impl Frames {
    /// The next frame; `None` when the room is closed.
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
    /// Opens a room and is its host.
    ///
    /// # Errors
    /// [`Error::Rendezvous`] when the TCP port is in use, [`Error::Signal`] when the other rendezvous can't be
    /// reached, [`Error::Links`].
    pub async fn host(options: Options, host: HostOptions) -> Result<Room, Error> {
        crate::open::host(options, host).await
    }

    /// Joins the room of an invite, and returns when the host has let us in. What happens until then is told to
    /// [`Options::on_event`].
    ///
    /// # Errors
    /// [`Error::Invite`] for a damaged one or a wrong password, [`Error::Signal`] when the rendezvous can't be
    /// reached or doesn't know the room, [`Error::Refused`] when the host doesn't let us in, and others.
    pub async fn join(invite: &Invite, options: Options) -> Result<Room, Error> {
        crate::open::join(invite, options).await
    }

    /// This peer.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// The invite that leads here.
    pub fn invite(&self) -> &Invite {
        &self.invite
    }

    /// The clock by which this peer's frames are captured and received.
    pub fn clock(&self) -> plenary_media::Clock {
        self.options.clock
    }

    /// What happens from now on. Up to [`EVENTS_MAX`](crate::EVENTS_MAX) events wait; past that the oldest are
    /// dropped, and [`RoomEvent::Missed`] says how many.
    pub fn events(&self) -> Events {
        let receiver = match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1, // closed: nothing will come
        };
        Events::new(receiver)
    }

    /// What this peer knows now; at most 200 ms old.
    pub fn snapshot(&self) -> RoomSnapshot {
        self.snapshot.borrow().clone()
    }

    /// Snapshots as they change.
    pub fn watch(&self) -> watch::Receiver<RoomSnapshot> {
        self.snapshot.clone()
    }

    // ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Plays a source, over and over, as this speaker's picture and sound.
    ///
    /// # Errors
    /// [`Error::Publish`] when this peer doesn't speak or publishes already, [`Error::NoCodecs`].
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

    /// Plays an mp4, y4m or wav file, over and over.
    ///
    /// # Errors
    /// [`Error::Source`], and as [`publish`](Self::publish).
    #[cfg(feature = "files")]
    pub async fn publish_file(&self, path: &Path) -> Result<(), Error> {
        let (path, codecs, span) = (path.to_owned(), self.codecs()?, self.span.clone());
        let open = move || span.in_scope(|| plenary_media::source::open_source(&path, &codecs));
        let opened = tokio::task::spawn_blocking(open).await;
        self.publish(opened.map_err(|_| Error::Closed)??).await
    }

    /// Encodes pictures and sound that the application hands over as they are: I420 or NV12, f32 or i16.
    ///
    /// # Errors
    /// [`Error::Publish`] when this peer doesn't speak or publishes already, [`Error::NoCodecs`], [`Error::Raw`] when
    /// the format can't be.
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

    /// Sends frames that the application encodes.
    ///
    /// # Errors
    /// [`Error::Publish`] when this peer doesn't speak or publishes already.
    pub async fn publish_encoded(&self) -> Result<EncodedTrack, Error> {
        let turn = self.turn_to_publish().await?;
        let (publisher, track) = Publisher::track(&self.flow, self.options.picture_max, self.options.shares);
        turn.send(Request::Publish(publisher));
        Ok(track)
    }

    /// Sends nothing of its own picture or sound from now on, whoever publishes it, or goes on. Its tile shows initials,
    /// or the mute mark.
    pub fn mute(&self, kind: MediaKind, muted: bool) {
        self.flow.mute(kind, muted);
    }

    /// A place in the driver's queue for the one publisher of this peer.
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

    // ── receiving ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Encoded frames from now on: the program, in a mesh the other speakers, at a speaker its mix-minus.
    pub fn frames(&self) -> Frames {
        Frames(self.flow.state().outlets.listen())
    }

    /// One speaker's own stream as well as the program, or instead of it, or none any more: as the mixer gets it, at the size of
    /// its tile or larger, not encoded again, and without the silence that it leaves out. Its frames are of [`Origin::Speaker`]. [`RoomEvent::Solo`] tells when it comes, and
    /// when it doesn't; it is asked for until another is.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn set_solo(&self, solo: Option<Solo>) -> Result<(), Error> {
        self.flow.set_solo(solo);
        self.request(Request::Command(Command::Solo(solo.map(|solo| solo.speaker)))).await
    }

    /// The same pictures, decoded.
    ///
    /// # Errors
    /// [`Error::NoCodecs`].
    pub fn pictures(&self) -> Result<Pictures, Error> {
        let flow = Arc::downgrade(&self.flow);
        let key_wanted = move |origin| {
            if let Some(flow) = flow.upgrade() {
                match origin {
                    Origin::Speaker(speaker) => flow.want_key_of(&speaker),
                    Origin::Program | Origin::MixMinus => flow.want_key_upstream(),
                }
            }
        };
        listen::pictures(self.frames().0, self.codecs()?, key_wanted, &self.threads)
    }

    /// What this peer should hear, decoded: a speaker the others, a viewer the program.
    ///
    /// # Errors
    /// [`Error::NoCodecs`].
    pub fn sound(&self) -> Result<Sound, Error> {
        listen::sound(self.frames().0, self.codecs()?, self.options.clock, &self.threads)
    }

    /// Records what is received to a file (fragmented MP4), without re-encoding it. A file that is there already is
    /// overwritten when the first frame comes, not before; when none ever comes it stays as it is.
    ///
    /// # Errors
    /// [`Error::Record`] when the file can't be made.
    pub fn record(&self, path: &Path) -> Result<Recording, Error> {
        Recording::start(path, self.frames().0, &self.threads)
    }

    fn codecs(&self) -> Result<Arc<dyn Codecs>, Error> {
        self.options.codecs.clone().ok_or(Error::NoCodecs)
    }

    // ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// How the program has come so far.
    pub fn reception(&self) -> ReceptionStats {
        self.flow.reception()
    }

    /// How this peer's times as a mixer went, the present one last.
    pub fn tenures(&self) -> Vec<Tenure> {
        self.desk.tenures()
    }

    /// How loud each speaker is at present, as heard here: by RFC 6464, 0 loudest, 127 silent. Of those in the program's
    /// sound only the loudest few aren't silent.
    pub fn levels(&self) -> Vec<(PeerId, u8)> {
        let snapshot = self.snapshot();
        let speakers = snapshot.stage.iter().filter(|member| member.speaks).map(|member| member.peer);
        self.flow.levels(&speakers.collect::<Vec<_>>())
    }

    /// At a mixer: from when on that speaker is in its mix.
    pub fn on_desk(&self, speaker: &PeerId) -> OnDesk {
        self.desk.on_desk(speaker)
    }

    /// Every picture of the program that this peer made, if a log is kept.
    pub fn made(&self) -> Vec<FrameSeen> {
        self.flow.made()
    }

    /// Pictures of this peer's own stream so far.
    pub fn pictures_sent(&self) -> u64 {
        let state = self.flow.state();
        state.own.as_ref().map_or(0, |own| u64::from(own.maker().frames(MediaKind::Video)))
    }

    /// Most peers that this speaker sent its picture to at one time, since the last election or failover.
    pub fn picture_targets_most(&self) -> usize {
        self.flow.state().own.as_ref().map_or(0, |own| own.targets_most)
    }

    /// UDP payload sent so far.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn traffic(&self) -> Result<Traffic, Error> {
        let (reply, traffic) = oneshot::channel();
        self.request(Request::Traffic(reply)).await?;
        traffic.await.map_err(|_| Error::Closed)
    }

    // ── doing ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Host only: how many mixers there should be; 0 leaves it to need.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn set_mixers(&self, mixers: u8) -> Result<(), Error> {
        self.request(Request::Command(Command::SetMixers(mixers))).await
    }

    /// Host only: how mixers lay the program out from now on. No key frame comes of it.
    ///
    /// # Errors
    /// [`Error::Layout`]; [`Error::Closed`].
    pub async fn set_layout(&self, layout: &Layout) -> Result<(), Error> {
        self.request(Request::Command(Command::SetLayout(layout::to_roster(layout)?))).await
    }

    /// Host only: whoever requests may speak from now on, or each is asked about by [`RoomEvent::FloorWanted`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn open_stage(&self, open: bool) -> Result<(), Error> {
        self.request(Request::Command(Command::OpenStage(open))).await
    }

    /// Host only: lets that peer speak. It is told by [`RoomEvent::FloorOffered`] unless it has asked, and comes on
    /// stage by [`speak`](Self::speak). The offer is repeated for ten seconds.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn promote(&self, peer: PeerId) -> Result<(), Error> {
        self.request(Request::Command(Command::Promote(peer))).await
    }

    /// Host only: that peer speaks no more, or isn't let on stage. It goes on as a viewer.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn demote(&self, peer: PeerId) -> Result<(), Error> {
        self.request(Request::Command(Command::Demote(peer))).await
    }

    /// Comes on stage as a speaker, or goes back to watching. On a stage that isn't open the host's application
    /// decides. [`RoomEvent::Floor`] tells when it has come to that, [`RoomEvent::FloorDenied`] when it won't.
    /// [`publish`](Self::publish) follows; what is published already stands still while nobody is to hear it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn speak(&self, speaks: bool) -> Result<(), Error> {
        self.speaks.fetch_or(speaks, Ordering::Relaxed);
        self.request(Request::Command(Command::Speak(speaks))).await
    }

    /// Looks for another parent.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn reconnect_upstream(&self) -> Result<(), Error> {
        self.request(Request::Command(Command::ReconnectUpstream)).await
    }

    /// Measures bandwidth and round trip from a candidate to us; [`RoomEvent::Measured`] tells. A mixer at work
    /// doesn't take part.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn measure(&self, candidate: PeerId) -> Result<(), Error> {
        self.request(Request::Command(Command::Measure(candidate))).await
    }

    /// Tells everyone in the room something: it goes down the tree that the program goes down, signed, and comes as
    /// [`RoomEvent::Data`](crate::RoomEvent::Data). Reliable data comes to everyone once and in order, whoever dies
    /// in between; loose data as a datagram. [`DATA_LEN_MAX`](plenary_proto::message::DATA_LEN_MAX) bytes at most.
    ///
    /// # Errors
    /// [`Error::Data`] when this peer isn't on stage, or says too much; [`Error::Closed`].
    pub async fn tell(&self, delivery: Delivery, bytes: &[u8]) -> Result<(), Error> {
        let bytes = List::try_from(bytes.to_vec()).map_err(|_| DataRefusal::TooLong)?;
        let (reply, told) = oneshot::channel();
        self.request(Request::Tell(delivery, bytes, reply)).await?;
        Ok(told.await.map_err(|_| Error::Closed)??)
    }

    async fn request(&self, request: Request) -> Result<(), Error> {
        self.requests.send(request).await.map_err(|_| Error::Closed)
    }

    /// Leaves politely: the program and our children are handed over first. Takes at most six seconds; figures can
    /// still be read after it.
    pub async fn leave(&self) {
        let (reply, left) = oneshot::channel();
        if self.request(Request::Leave(reply)).await.is_ok() {
            // past the time, or when the driver is gone, closing is all that is left
            let _ = tokio::time::timeout(LEAVE_MAX, left).await;
        }
    }

    /// Closes at once, and waits until links, threads and files are. Frames, pictures, sound and events end;
    /// recordings are finished.
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
