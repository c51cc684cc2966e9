//! A room as an application holds it.

use std::borrow::Borrow;
use std::fmt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::Either;
use parking_lot::Mutex;
use plenary_body::{Body, Origin, ReceivedFrame, ReceptionStats, Shedding, Solo, Tenure, Traffic};
use plenary_media::codec::Codecs;
use plenary_media::source::Source;
use plenary_media::{GuardedCodecs, RawFormat};
#[cfg(doc)]
use plenary_proto::app::Reason;
use plenary_proto::app::{Command, End, Event as RoomEvent, Snapshot as RoomSnapshot};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::Delivery;
use plenary_proto::seal::{Invite, RoomKey};
use plenary_proto::{PeerId, StreamId};
use plenary_rtc::{CarriedFigures, Links};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use crate::driver::Request;
use crate::error::{Error, PublishRefusal};
use crate::event::Events;
use crate::flow::Flow;
use crate::from_key::FramesFromKey;
use crate::hosting::Host;
use crate::listen::{self, Pictures, Sound};
use crate::options::{HostOptions, Options};
use crate::port_map::PortMapping;
use crate::publish::{EncodedTrack, Publisher, RawTrack};
use crate::record::{AnnouncedRecording, RecordParts, Recorded, Recording};
use crate::secrets::RoomKeys;
use crate::testing::Figures;
use crate::threads::{CLOSE_MAX, Threads};
use crate::track::{Hold, Published, Track, TrackKind};
use crate::voices::{self, VoiceStream, Voices, Wish, send_soon};

/// Maximum duration of [`Room::leave`]: a mixer waits for a standby for 5 s, and then for its children.
pub(crate) const LEAVE_MAX: Duration = Duration::from_secs(8);

/// Time for which publishing waits for the floor of a peer that wants to speak. A guess: some round trips, on a busy
/// machine.
const FLOOR_SOON: Duration = Duration::from_secs(3);
const NO_SPEAKER: Error = Error::Publish(PublishRefusal::NoSpeaker);

/// One peer's part in one room. Clones are handles to the same part.
///
/// [`Room::leave`] hands the peer's duties over to other peers, [`Room::close`] waits until everything is
/// closed. Dropping the last clone leaves in the background, as [`Room::leave`] does, and closes then: links,
/// threads and files end within some seconds. An [`OnEvent`](crate::OnEvent) that holds a clone keeps the
/// room open.
#[derive(Clone)]
pub struct Room(pub(crate) Arc<Inner>);

/// What all handles to a room share.
pub(crate) struct Inner {
    pub(crate) me: PeerId,
    /// The newest invite that this peer knows, and its key.
    pub(crate) invite: Mutex<(Invite, RoomKey)>,
    /// Held while the invite is replaced: two invites of one generation would exclude each other's guests.
    pub(crate) renewing: tokio::sync::Mutex<()>,
    /// The room's keys; `None` at a peer that has not opened the room.
    pub(crate) keys: Mutex<Option<RoomKeys>>,
    pub(crate) options: Options,
    pub(crate) flow: Arc<Flow>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: broadcast::WeakSender<RoomEvent>,
    pub(crate) snapshot: watch::Receiver<RoomSnapshot>,
    /// How the room has ended; `None` while it is open.
    pub(crate) end: watch::Receiver<Option<End>>,
    /// The driver's task, until a call of [`Room::close`] has seen its end.
    pub(crate) driver: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    /// Whether this peer wants to speak, as its application said last.
    pub(crate) wants_to_speak: AtomicBool,
    pub(crate) published: Arc<Published>,
    /// The port of the host's own rendezvous at the router.
    pub(crate) port_mapping: Option<PortMapping>,
    pub(crate) carrying: Weak<Links>,
    /// Number of recordings that the application makes.
    pub(crate) recordings: Arc<AtomicUsize>,
    pub(crate) threads: Threads,
    pub(crate) runtime: Handle,
    pub(crate) span: Span,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { me, invite, end, .. } = &*self.0;
        f.debug_struct("Room")
            .field("me", me)
            .field("room", &invite.lock().0.room())
            .field("end", &*end.borrow())
            .finish()
    }
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
    pub async fn join(invite: impl Borrow<Invite>, options: Options) -> Result<Room, Error> {
        let invite = invite.borrow().clone();
        crate::open::join(invite, options).await
    }

    /// Returns the id of this peer.
    pub fn me(&self) -> PeerId {
        self.0.me
    }

    /// Returns the invite to this room; `None` once another peer has replaced it. Only the host that makes an invite
    /// knows it, by [`Host::renew_invite`] or [`Host::ban`]. [`RoomEvent::InviteReplaced`] tells.
    pub fn invite(&self) -> Option<Invite> {
        let invite = self.0.invite.lock().0.clone();
        let newest =
            self.0.flow.read(|body| body.roster().map_or(0, |roster| roster.rules.access.generation));
        (newest <= invite.generation()).then_some(invite)
    }

    /// Returns what the router says about the port of the host's own rendezvous, now and later. `None` where no port is
    /// to be mapped ([`Options::maps_ports`]).
    pub fn port_map(&self) -> Option<PortMapping> {
        self.0.port_mapping.clone()
    }

    /// Returns what this peer has carried of links between others ([`Options::carries`](crate::Options::carries)).
    pub fn carried(&self) -> CarriedFigures {
        self.0.carrying.upgrade().map(|links| links.carried()).unwrap_or_default()
    }

    /// Returns the room's keys at the peer that opened the room, for [`HostOptions::keys`] after a restart; `None`
    /// at any other peer. They change with each removal, each lock, each new invite and each change of the host.
    pub fn room_keys(&self) -> Option<RoomKeys> {
        let keys = self.0.keys.lock().clone()?.0;
        let epoch = self.0.snapshot.borrow().epoch;
        let access = self.0.flow.read(|body| body.roster().map(|roster| roster.rules.access.clone()));
        Some(RoomKeys(match access {
            Some(access) => keys.after(epoch, &access),
            None => keys,
        }))
    }

    /// Returns the clock of this peer's capture and arrival times.
    pub fn clock(&self) -> plenary_media::Clock {
        self.0.options.clock
    }

    /// Subscribes to the room's events from now on. Up to [`EVENTS_MAX`](crate::EVENTS_MAX) events are
    /// queued; past it the oldest are dropped, and [`RoomEvent::Missed`] says how many.
    pub fn events(&self) -> Events {
        let receiver = match self.0.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1, // closed: no event will follow
        };
        Events::new(receiver)
    }

    /// Returns what this peer knows of the room; at most 200 ms old.
    pub fn snapshot(&self) -> RoomSnapshot {
        self.0.snapshot.borrow().clone()
    }

    /// Returns a watch channel that holds the newest snapshot.
    pub fn watch(&self) -> watch::Receiver<RoomSnapshot> {
        self.0.snapshot.clone()
    }

    // ── sending ────────────────────────────────────────────────────────────────────────────────────────────

    /// Publishes a source as this speaker's picture and sound, played in a loop, until the track is dropped.
    ///
    /// # Errors
    /// [`Error::Publish`] if this peer is not a speaker on stage, or publishes a camera, a screen or sound already.
    /// A peer that has been admitted a moment ago, or has asked for the floor, is waited for: at most three seconds;
    /// [`Error::NoCodecs`] without codecs, [`Error::Closed`] if the room is closed.
    pub async fn publish(&self, source: Box<dyn Source>) -> Result<Track, Error> {
        self.publish_as(self.default_kind(), source).await
    }

    /// Publishes what a track of this kind has of a source.
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish).
    pub async fn publish_as(&self, kind: TrackKind, source: Box<dyn Source>) -> Result<Track, Error> {
        let codecs = self.codecs()?;
        let (turn, hold) = self.turn_to_publish(kind).await?;
        let codecs = self.guarded(codecs, Some(hold.id));
        let Options { clock, picture_max, .. } = self.0.options;
        let publisher = self
            .0
            .span
            .in_scope(|| Publisher::play(source, codecs, clock, &self.0.flow, picture_max, kind))?;
        turn.send(Request::Publish(hold.id, publisher));
        Ok(Track(hold))
    }

    /// Publishes an mp4, y4m or wav file, played in a loop, until the track is dropped.
    ///
    /// # Errors
    /// [`Error::Source`] if the file can't be opened or read, and the errors of [`publish`](Self::publish).
    #[cfg(feature = "files")]
    pub async fn publish_file(&self, path: impl AsRef<Path>) -> Result<Track, Error> {
        self.publish_file_as(self.default_kind(), path).await
    }

    /// Publishes what a track of this kind has of a file.
    ///
    /// # Errors
    /// Those of [`publish_file`](Room#method.publish_file).
    #[cfg(feature = "files")]
    pub async fn publish_file_as(&self, kind: TrackKind, path: impl AsRef<Path>) -> Result<Track, Error> {
        let (path, codecs, span) = (path.as_ref().to_owned(), self.codecs()?, self.0.span.clone());
        let open = move || span.in_scope(|| plenary_media::source::open_source(&path, &codecs));
        let opened = self.0.runtime.spawn_blocking(open).await;
        self.publish_as(kind, opened.map_err(|_| Error::Closed)??).await
    }

    /// Publishes raw pictures (I420 or NV12) and sound (f32 or i16) that the application pushes; this library
    /// encodes them.
    ///
    /// # Errors
    /// [`Error::Raw`] if the format is not supported, and the errors of [`publish`](Self::publish).
    pub async fn publish_raw(&self, format: RawFormat) -> Result<RawTrack, Error> {
        self.publish_raw_as(self.default_kind(), format).await
    }

    /// Publishes raw pictures, sound or both, as a track of this kind has them.
    ///
    /// # Errors
    /// Those of [`publish_raw`](Self::publish_raw).
    pub async fn publish_raw_as(&self, kind: TrackKind, format: RawFormat) -> Result<RawTrack, Error> {
        let codecs = self.codecs()?;
        let (turn, hold) = self.turn_to_publish(kind).await?;
        let codecs = self.guarded(codecs, Some(hold.id));
        let (id, Options { clock, picture_max, .. }) = (hold.id, &self.0.options);
        let make = || Publisher::raw(format, codecs, *clock, &self.0.flow, *picture_max, hold);
        let (publisher, track) = self.0.span.in_scope(make)?;
        turn.send(Request::Publish(id, publisher));
        Ok(track)
    }

    /// Publishes frames that the application encodes.
    ///
    /// # Errors
    /// [`Error::Publish`] if this peer is not a speaker, or publishes a camera, a screen or sound already;
    /// [`Error::Closed`] if the room is closed.
    pub async fn publish_encoded(&self) -> Result<EncodedTrack, Error> {
        self.publish_encoded_as(self.default_kind()).await
    }

    /// Publishes pictures, sound or both that the application encodes, as a track of this kind has them.
    ///
    /// # Errors
    /// Those of [`publish_encoded`](Self::publish_encoded).
    pub async fn publish_encoded_as(&self, kind: TrackKind) -> Result<EncodedTrack, Error> {
        let (turn, hold) = self.turn_to_publish(kind).await?;
        let (id, Options { clock, picture_max, .. }) = (hold.id, &self.0.options);
        let (publisher, track) = Publisher::track(&self.0.flow, *clock, *picture_max, hold);
        turn.send(Request::Publish(id, publisher));
        Ok(track)
    }

    /// Mutes or unmutes this peer's picture or sound, for any publisher: of two pictures both. While muted, nothing of
    /// that kind is sent; the peer's tile shows its initials, or the mute mark. The room hears of it:
    /// [`Member::muted`](crate::Member::muted).
    pub fn mute(&self, kind: MediaKind, muted: bool) {
        self.0.flow.with(|body, _, _| body.mute(kind, muted));
    }

    /// Returns whether this peer's picture or sound is muted.
    pub fn is_muted(&self, kind: MediaKind) -> bool {
        self.0.flow.read(|body| body.is_muted(kind))
    }

    fn default_kind(&self) -> TrackKind {
        if self.0.options.shares { TrackKind::Share } else { TrackKind::Speaker }
    }

    /// Waits until the roster shows this peer as a speaker, if it wants to be one: a moment after it was admitted, or
    /// has asked for the floor on an open stage.
    async fn until_speaker(&self) -> Result<(), Error> {
        let mut snapshots = self.0.snapshot.clone();
        let shown = async {
            loop {
                snapshots.mark_unchanged();
                if self.0.requests.is_closed() {
                    return Err(Error::Closed);
                }
                if self.0.flow.read(|body| body.roster().is_some_and(|roster| roster.is_speaker(&self.0.me)))
                {
                    return Ok(());
                }
                if !self.0.wants_to_speak.load(Ordering::Relaxed) {
                    return Err(NO_SPEAKER);
                }
                snapshots.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        self.within(FLOOR_SOON, shown).await.unwrap_or(Err(NO_SPEAKER))
    }

    /// Claims picture or sound for a new track, and a slot in the driver's queue.
    async fn turn_to_publish(&self, kind: TrackKind) -> Result<(mpsc::Permit<'_, Request>, Hold), Error> {
        self.until_speaker().await?;
        let turn = self.0.requests.reserve().await.map_err(|_| Error::Closed)?;
        let id = self.0.published.claim(kind)?;
        let (published, runtime) = (self.0.published.clone(), self.0.runtime.clone());
        let hold =
            Hold { id, kind, published, requests: self.0.requests.downgrade(), runtime, detached: false };
        Ok((turn, hold))
    }

    // ── receiving ──────────────────────────────────────────────────────────────────────────────────────────

    /// Returns a stream of encoded frames from now on: the program; in a mesh the streams of the other
    /// speakers; at a speaker its mix-minus instead of the program's sound. It may begin in the middle of a group of
    /// pictures: [`frames_from_key`](Self::frames_from_key) doesn't. [`Frame::plain`](crate::media::Frame::plain)
    /// returns a frame's bytes as its encoder made them.
    pub fn frames(&self) -> Frames {
        Frames(self.0.flow.listen())
    }

    /// Returns a stream of encoded frames like [`frames`](Self::frames), but beginning with a keyframe, which it asks
    /// for: as a rule it comes within a second. Pictures of each origin, and of each stream, begin with one. Sound
    /// from before the first keyframe is left out, so that nothing arrives in a room without pictures.
    pub fn frames_from_key(&self) -> FramesFromKey {
        FramesFromKey::new(self.frames(), Arc::downgrade(&self.0.flow))
    }

    /// Asks for a keyframe of the pictures that [`frames`](Self::frames) delivers from that origin, as a bridge does
    /// with a receiver that lost one. The request goes to the encoder, hop by hop, and becomes one with the requests of
    /// other peers. An encoder makes at most one keyframe a second on request, and the whole audience gets it, at the
    /// cost of several pictures. A request within 300 ms of the one before isn't sent, even if a keyframe has come
    /// meanwhile, and one that is sent may be lost: repeat it until the keyframe arrives
    /// ([`FrameIdentity::key`](crate::FrameIdentity::key)). Nothing happens if no pictures come from that origin.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub fn want_keyframe(&self, origin: Origin) -> Result<(), Error> {
        if self.0.requests.is_closed() {
            return Err(Error::Closed);
        }
        self.0.flow.with(|body, now_us, outs| body.want_key(origin, now_us, outs));
        Ok(())
    }

    /// Requests one speaker's own stream beside or instead of the program; `None` ends the request.
    ///
    /// The mixer forwards the stream as it receives it, without transcoding (SFU forwarding): at the size of
    /// the speaker's tile or larger, and without the silence that DTX leaves out. Of a speaker with a camera and a
    /// screen it is the camera's. Its frames have
    /// [`Origin::Speaker`]. [`RoomEvent::Solo`] says when the stream arrives or is unavailable; the request
    /// is retried until another call replaces it. [`RoomEvent::SoloRefused`] says that the speaker allows no such
    /// stream.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn set_solo(&self, solo: Option<Solo>) -> Result<(), Error> {
        self.give(Command::Solo(solo)).await
    }

    /// Allows that others see this speaker's own stream alone ([`set_solo`](Self::set_solo)), or refuses it; allowed by
    /// default ([`Options::solo_allowed`]). After a refusal running streams end as soon as the mixers have the host's
    /// next roster, within a second; the program shows this speaker as before. In a mesh, where there is no mixer, the
    /// other speaker sees it in any case.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn allow_solo(&self, allowed: bool) -> Result<(), Error> {
        self.give(Command::AllowSolo(allowed)).await
    }

    /// Returns a stream of decoded pictures, of the same origins as [`frames`](Self::frames).
    ///
    /// # Errors
    /// [`Error::NoCodecs`] without codecs.
    pub fn pictures(&self) -> Result<Pictures, Error> {
        let flow = Arc::downgrade(&self.0.flow);
        let shedding = {
            let flow = flow.clone();
            move || flow.upgrade().map_or(Shedding::Nothing, |flow| flow.read(|body| body.shedding()))
        };
        let key_wanted = move |origin| {
            if let Some(flow) = flow.upgrade() {
                flow.with(|body, now_us, outs| body.want_key(origin, now_us, outs));
            }
        };
        listen::pictures(
            self.frames().0,
            self.guarded(self.codecs()?, None),
            shedding,
            key_wanted,
            &self.0.threads,
        )
    }

    /// Returns a stream of decoded sound to play: at a viewer the program's, at a speaker the other
    /// speakers'.
    ///
    /// # Errors
    /// [`Error::NoCodecs`] without codecs.
    pub fn sound(&self) -> Result<Sound, Error> {
        listen::sound(
            self.frames().0,
            self.guarded(self.codecs()?, None),
            self.0.options.clock,
            &self.0.threads,
        )
    }

    /// Returns a stream of each speaker's sound apart, in chunks of 20 ms, for transcribers and bots. The room's host
    /// decides which peers may hear it ([`Host::set_agent`](crate::Host::set_agent)): [`RoomEvent::Voices`] says
    /// whether the sound arrives, and why not. The request ends when all such streams are dropped.
    ///
    /// The sound comes from a mixer, as the speakers have sent it, and survives changes of mixers; in a mesh it comes
    /// straight from each speaker. This peer's own sound isn't among it, nor, but in a mesh, that of speakers that
    /// refuse to be shown alone ([`Member::no_solo`](crate::Member::no_solo)). Up to five lost frames in a row are
    /// concealed ([`Voice::concealed`](crate::Voice::concealed)).
    ///
    /// # Errors
    /// [`Error::Voices`] for a rate or a number of channels that isn't made, [`Error::NoCodecs`] without codecs,
    /// [`Error::Closed`] if the room is closed.
    pub async fn voices(&self, voices: Voices) -> Result<VoiceStream, Error> {
        voices::check(&voices)?;
        let codecs = self.guarded(self.codecs()?, None);
        self.request(Request::Voices(true)).await?;
        let wish = Wish::new(self.0.requests.downgrade(), self.0.runtime.clone(), || Request::Voices(false));
        let Voices { rate, channels, of } = voices;
        voices::decode(self.0.flow.listen_apart(of), (rate, channels), codecs, wish, &self.0.threads)
    }

    /// Returns the peers that the host has marked as agents, on stage or not.
    pub fn agents(&self) -> Vec<PeerId> {
        self.0.flow.read(|body| body.agents().to_vec())
    }

    /// Records the received frames to a file (fragmented MP4), without re-encoding. An existing file is
    /// overwritten when the first frame arrives; if no frame arrives it stays unchanged.
    ///
    /// # Errors
    /// [`Error::Record`] if the file can't be written.
    pub fn record(&self, path: impl AsRef<Path>) -> Result<Recording, Error> {
        Recording::start(path.as_ref(), self.recorded(), &self.0.threads)
    }

    /// Announces a recording, and returns what it takes.
    fn recorded(&self) -> Recorded {
        let flow = self.0.flow.clone();
        let evidence =
            move |stream: &StreamId| flow.read(|body| body.evidence(stream)).map(|shown| shown.to_bytes());
        Recorded {
            frames: self.frames().0,
            evidence: Box::new(evidence),
            announced: self.announce_recording(),
        }
    }

    /// Tells the room that this peer records what it receives, until the returned value is dropped: all see it, by
    /// [`Member::records`](crate::Member::records) of a peer on stage, and of viewers their number
    /// ([`RoomSnapshot::recorders`](crate::RoomSnapshot::recorders)). [`record`](Self::record) and
    /// [`record_parts`](Self::record_parts) do so by themselves. An application with a recorder of its own should call
    /// this; the room cannot enforce it.
    pub fn announce_recording(&self) -> AnnouncedRecording {
        let Inner { requests, runtime, recordings, .. } = &*self.0;
        recordings.fetch_add(1, Ordering::Relaxed);
        send_soon(requests.clone(), runtime, Request::Records);
        let over = Wish::new(requests.downgrade(), runtime.clone(), || Request::Records);
        AnnouncedRecording::new(recordings.clone(), over)
    }

    /// Replaces failing codecs: the encoders of a track, or the decoders for the application.
    fn guarded(&self, codecs: Arc<dyn Codecs>, track: Option<u64>) -> Arc<dyn Codecs> {
        let flow = Arc::downgrade(&self.0.flow);
        let report = move |failure| {
            if let Some(flow) = flow.upgrade() {
                flow.codec_failed(track, failure);
            }
        };
        Arc::new(GuardedCodecs::new(codecs, self.0.options.falls_back, report))
    }

    /// Records the received frames like [`record`](Self::record), in files that exist not yet, one after the other: a
    /// restarted program doesn't overwrite what it recorded before, and a file that can't be written, for example on a
    /// full disk, is followed by a further one. [`Recording::state`] tells. The last of the files that are there is
    /// repaired if a crash has left it without an index ([`repair_recording`](crate::repair_recording)).
    ///
    /// # Errors
    /// [`Error::Record`] if the first file can't be made, or there is no space for it.
    pub fn record_parts(&self, parts: RecordParts) -> Result<Recording, Error> {
        Recording::start_parts(parts, self.recorded(), &self.0.threads)
    }

    fn codecs(&self) -> Result<Arc<dyn Codecs>, Error> {
        self.0.options.codecs.clone().ok_or(Error::NoCodecs)
    }

    // ── figures ────────────────────────────────────────────────────────────────────────────────────────────

    /// Returns reception statistics of the program so far.
    pub fn reception(&self) -> ReceptionStats {
        self.0.flow.read(|body| body.reception(self.0.flow.now_us()))
    }

    /// Returns statistics of this peer's tenures as a mixer; the current tenure is last.
    pub fn tenures(&self) -> Vec<Tenure> {
        self.0.flow.renew_figures();
        self.0.flow.read(Body::tenures)
    }

    /// Returns the current audio level of each speaker, as heard at this peer: from 0 for the loudest to 127
    /// for silence (RFC 6464). In the program's sound only the few loudest speakers have a level other than
    /// silence.
    pub fn levels(&self) -> Vec<(PeerId, u8)> {
        let snapshot = self.snapshot();
        let speakers = snapshot.stage.iter().filter(|member| member.speaks).map(|member| member.peer);
        let speakers: Vec<_> = speakers.collect();
        self.0.flow.read(|body| body.levels(&speakers, self.0.flow.now_us()))
    }

    /// Returns the number of this peer's links that are up.
    pub fn links(&self) -> usize {
        self.0.flow.read(Body::links_up)
    }

    /// Returns the number of pictures of this peer's own stream so far.
    pub fn pictures_sent(&self) -> u64 {
        self.0.flow.read(Body::pictures_sent)
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

    /// Returns figures for tests and measurements.
    #[doc(hidden)]
    pub fn testing(&self) -> Figures<'_> {
        Figures(self)
    }

    // ── doing ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Returns the host's powers over the room.
    ///
    /// # Errors
    /// [`Reason::NotHost`] if the roster names another host, or none yet; [`Error::Closed`] if the room is closed.
    pub fn as_host(&self) -> Result<Host<'_>, Error> {
        Host::of(self)
    }

    /// Asks for the floor, or leaves the stage and goes back to watching. On a closed stage the host's
    /// application decides. [`RoomEvent::Floor`] reports the change, [`RoomEvent::FloorDenied`] the denial.
    ///
    /// A peer that has come on stage calls [`publish`](Self::publish). What it publishes already is paused
    /// while no peer receives it. An application that wants to speak again after it was demoted asks again.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn speak(&self, speaks: bool) -> Result<(), Error> {
        self.0.wants_to_speak.store(speaks, Ordering::Relaxed);
        self.give(Command::Speak(speaks)).await
    }

    /// Searches for another parent.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn reconnect_upstream(&self) -> Result<(), Error> {
        self.give(Command::ReconnectUpstream).await
    }

    /// Measures bandwidth and round-trip time from a peer on stage to this peer; [`RoomEvent::Measured`] has
    /// the result. A mixer in force doesn't answer measurements by viewers.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn measure(&self, candidate: PeerId) -> Result<(), Error> {
        self.give(Command::Measure(candidate)).await
    }

    /// Requests the bit rates of the peers on the program's way to this one, for display. The answer is in
    /// [`RoomSnapshot::rates_above`](crate::RoomSnapshot::rates_above) for 10 s. The first answer names the peer above,
    /// and each further request one peer more, up to the mixer.
    ///
    /// # Errors
    /// [`Error::Closed`] if the room is closed.
    pub async fn ask_rates(&self) -> Result<(), Error> {
        self.give(Command::AskRates).await
    }

    /// Sends application data to every peer in the room. The data is signed, is forwarded down the program's
    /// tree, and arrives as [`RoomEvent::Data`](crate::RoomEvent::Data).
    ///
    /// Reliable data reaches every peer once and in order, even if relays die; [`RoomEvent::DataMissed`]
    /// reports pieces lost for good. Loose data is sent once, as a datagram, and may be lost. At most
    /// [`DATA_LEN_MAX`](plenary_proto::message::DATA_LEN_MAX) bytes; loose data at most
    /// [`LOOSE_LEN_MAX`](plenary_proto::message::LOOSE_LEN_MAX).
    ///
    /// All sources of a room together have 96 KiB a second, in fair shares (docs/PROTOCOL.md, 12.9): a source alone all
    /// of it, after some 40 KiB at once. A piece costs 256 bytes beside its own. A source that has said nothing for a
    /// while may always say up to 1 KiB.
    ///
    /// # Errors
    /// [`Error::Command`] if this peer is not on stage, or is there to mix only and wasn't named by the host while the
    /// stage is closed, or if the data is too long or sent too fast;
    /// [`Error::Closed`] if the room is closed.
    pub async fn tell(&self, delivery: Delivery, bytes: &[u8]) -> Result<(), Error> {
        self.give(Command::Tell(delivery, bytes.to_vec())).await
    }

    pub(crate) async fn request(&self, request: Request) -> Result<(), Error> {
        self.0.requests.send(request).await.map_err(|_| Error::Closed)
    }

    /// Leaves the room gracefully: hands the program and this peer's children over to other peers first.
    /// Takes at most six seconds. Statistics can still be read afterwards.
    pub async fn leave(&self) {
        let (reply, left) = oneshot::channel();
        if self.request(Request::Leave(reply)).await.is_ok() {
            // after the timeout, or if the driver has ended, only closing remains
            let _ = self.within(LEAVE_MAX, left).await;
        }
    }

    /// Waits for a future, at most for that long, also outside the room's runtime.
    pub(crate) async fn within<T>(&self, most: Duration, future: impl Future<Output = T>) -> Option<T> {
        let sleep = self.0.runtime.spawn(async move { tokio::time::sleep(most).await });
        let stop = sleep.abort_handle();
        let done = match futures::future::select(pin!(future), sleep).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        };
        stop.abort();
        done
    }

    /// Closes the room at once, and waits until links, threads and files are closed. Streams of frames,
    /// pictures, sound and events end; recordings are finished. A further call waits for the same. Threads that hang,
    /// in a codec, a source or on a disk, are left behind, with a line in the log: it waits for threads no longer than
    /// [`CLOSE_MAX`].
    pub async fn close(&self) {
        let closing = async {
            // an error means that the driver has ended, or ends
            let _ = self.request(Request::Close).await;
            let mut driver = self.0.driver.lock().await;
            if let Some(running) = &mut *driver {
                if let Err(error) = running.await {
                    tracing::error!("the room's driver has failed: {error}");
                }
                *driver = None;
            }
            drop(driver);
            if self.within(CLOSE_MAX / 2, self.0.threads.ended()).await.is_none() {
                tracing::warn!("a thread that decodes or records hangs: it is left behind");
            }
        };
        closing.instrument(self.0.span.clone()).await;
    }

    /// Waits until the room is closed, and returns how it ended. [`close`](Self::close) waits longer: until
    /// threads and files are closed too.
    pub async fn closed(&self) -> End {
        let mut end = self.0.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        // without a word, the driver has failed or its runtime has ended
        ended.ok().and_then(|end| *end).unwrap_or(End::Lost)
    }
}
