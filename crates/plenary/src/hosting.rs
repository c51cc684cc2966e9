//! The host's powers over its room.

use std::time::Duration;

use plenary_body::layout;
use plenary_media::compose::Layout;
use plenary_proto::app::Reason;
use plenary_proto::message::{MIXERS_MAX, MixPolicy, Roster};
use plenary_proto::{Command, PeerId, Reopening};
use tokio::sync::oneshot;

use crate::driver::Request;
use crate::error::Error;
use crate::room::{Inner, Room};

/// Time that a call waits until the roster shows its effect: as long as the host repeats an offer of the floor. A guess
/// for other calls, which need some round trips.
const SHOWN_MAX: Duration = Duration::from_secs(10);

/// Time for which a host waits until it knows a peer that a call names, and interval at which it looks: a viewer is
/// listed when it says where it is in the tree, and counted once a second. A guess.
const KNOWN_SOON: Duration = Duration::from_secs(3);
const KNOWN_EACH: Duration = Duration::from_millis(100);

/// Error of a call reserved to the room's host, at another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Reason::NotHost)]
pub struct NotHost;

/// Reason why a call of the host can't apply. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum HostRefusal {
    /// The call names the host itself. A host mutes itself by [`Room::mute`], takes and gives up the floor by
    /// [`Room::speak`], and goes by [`Room::leave`].
    Itself,
    /// The call needs a peer on stage: a speaker, or a peer that consents to mix.
    OffStage,
    /// The host knows of no such peer in its room, and has waited three seconds for it: it isn't on stage, isn't listed
    /// as a viewer, and neither waits in the lobby nor for the floor. In rooms of more than a thousand viewers, and
    /// while a new host doesn't know them yet, no peer is refused so.
    Stranger,
    /// The stage chose this host a moment ago, since it missed the one before, which may only have been cut off: for
    /// some seconds it removes nobody, replaces no invite, and doesn't end the room.
    TooSoon,
    /// The room was opened again with its keys, and no member of its earlier session has answered since.
    NobodyAnswers,
    /// The room has eight agents, the maximum.
    TooManyAgents,
    /// The number of mixers is too large.
    TooManyMixers,
}

impl HostRefusal {
    /// Returns what the refusal says.
    pub fn reason(self) -> Reason {
        match self {
            HostRefusal::Itself => Reason::Itself,
            HostRefusal::OffStage => Reason::OffStage,
            HostRefusal::Stranger => Reason::Stranger,
            HostRefusal::TooSoon => Reason::TooSoon,
            HostRefusal::NobodyAnswers => Reason::NobodyAnswers,
            HostRefusal::TooManyAgents => Reason::TooManyAgents,
            HostRefusal::TooManyMixers => Reason::TooManyMixers,
        }
    }

    /// Refuses a number of mixers that no room has.
    pub(crate) fn of_mixers(mixers: u8) -> Result<(), HostRefusal> {
        if usize::from(mixers) > MIXERS_MAX { Err(HostRefusal::TooManyMixers) } else { Ok(()) }
    }
}

/// The host's powers over its room, from [`Room::as_host`].
///
/// Each call resolves when the roster, which the host signs, shows its effect. Calls may run at the same time. Those of
/// which the roster shows nothing resolve when the host has sent its word: [`admit`](Host::admit),
/// [`deny`](Host::deny), [`set_members`](Host::set_members) and [`ask_to_mute`](Host::ask_to_mute).
///
/// # Errors
/// Of every call: [`Error::NotHost`] if another peer has become host, [`Error::Host`] if the call can't apply,
/// [`Error::NotShown`] if the roster doesn't show the effect within ten seconds, [`Error::Closed`] if the room is
/// closed.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    room: &'a Room,
}

impl<'a> Host<'a> {
    pub(crate) fn room(self) -> &'a Room {
        self.room
    }

    pub(crate) fn inner(self) -> &'a Inner {
        &self.room.0
    }

    /// Returns the powers of a peer that the roster names as host.
    pub(crate) fn of(room: &'a Room) -> Result<Host<'a>, Error> {
        if room.0.requests.is_closed() {
            return Err(Error::Closed);
        }
        let reigns = |roster: &Roster| roster.host == room.me();
        let is_host = room.0.flow.read(|body| body.roster().is_some_and(reigns));
        if is_host { Ok(Host { room }) } else { Err(NotHost.into()) }
    }

    /// Sets the number of mixers, at most 8; 0 lets the room choose it, as in [`HostOptions::mixers`].
    ///
    /// [`HostOptions::mixers`]: crate::HostOptions::mixers
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_mixers(self, mixers: u8) -> Result<(), Error> {
        HostRefusal::of_mixers(mixers)?;
        self.command(Command::SetMixers(mixers), |roster| roster.mixers == mixers).await
    }

    /// Sets the layout of the program. The change does not cause a keyframe.
    ///
    /// # Errors
    /// [`Error::Layout`] if the layout is invalid; see [`Host`] for others.
    pub async fn set_layout(self, layout: &Layout) -> Result<(), Error> {
        let layout = layout::to_roster(layout).map_err(Error::Layout)?;
        self.command(Command::SetLayout(layout.clone()), |roster| roster.layout == layout).await
    }

    /// Opens or closes the stage. On an open stage any peer may speak; on a closed one
    /// [`RoomEvent::FloorWanted`] asks the host's application about each peer that wants to. Present speakers
    /// stay on stage.
    ///
    /// [`RoomEvent::FloorWanted`]: crate::RoomEvent::FloorWanted
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn open_stage(self, open: bool) -> Result<(), Error> {
        self.command(Command::OpenStage(open), |roster| roster.stage_open == open).await
    }

    /// Sets which of the peers that consent may mix. A host names peers by [`promote`](Self::promote), as
    /// [`HostOptions::members`], and by letting in one that comes for nothing but to mix.
    ///
    /// [`HostOptions::members`]: crate::HostOptions::members
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_mixing(self, mixing: MixPolicy) -> Result<(), Error> {
        self.command(Command::SetMixing(mixing), |roster| roster.mixing == mixing).await
    }

    /// Grants a peer the floor. A peer that has not asked for it gets [`RoomEvent::FloorOffered`], and accepts
    /// by [`Room::speak`]. Resolves when it is on stage as a speaker.
    ///
    /// [`RoomEvent::FloorOffered`]: crate::RoomEvent::FloorOffered
    ///
    /// # Errors
    /// [`Error::NoAnswer`] if the peer does not take the floor within ten seconds; see [`Host`] for others.
    pub async fn promote(self, peer: PeerId) -> Result<(), Error> {
        self.check_other(peer)?;
        match self.command(Command::Promote(peer), |roster| is_speaker(roster, &peer)).await {
            Err(Error::NotShown { seconds }) => Err(Error::NoAnswer { seconds }),
            promoted => promoted,
        }
    }

    /// Takes the floor from a peer, or denies it. The peer stays in the room as a viewer.
    ///
    /// # Errors
    /// [`HostRefusal::Stranger`] for a peer that isn't here; see [`Host`] for others.
    pub async fn demote(self, peer: PeerId) -> Result<(), Error> {
        self.check_other(peer)?;
        self.check_known(peer).await?;
        self.command(Command::Demote(peer), |roster| !is_speaker(roster, &peer)).await
    }

    /// Refuses a call that names the host itself.
    pub(crate) fn check_other(self, peer: PeerId) -> Result<(), Error> {
        if peer == self.room.me() { Err(HostRefusal::Itself.into()) } else { Ok(()) }
    }

    /// Refuses a call that names a peer that isn't in the room, as far as the host knows all that are. A peer that has
    /// just come is waited for.
    pub(crate) async fn check_known(self, peer: PeerId) -> Result<(), Error> {
        let known = async {
            while !self.knows(peer) {
                self.room.within(KNOWN_EACH, std::future::pending::<()>()).await;
            }
        };
        self.room.within(KNOWN_SOON, known).await.ok_or_else(|| HostRefusal::Stranger.into())
    }

    /// Returns whether a peer may be in the room.
    fn knows(self, peer: PeerId) -> bool {
        let viewers = self.room.snapshot().viewers.unwrap_or_default();
        self.inner().flow.with(|body, now_us, _| {
            let is_on_stage = |peer: &PeerId| body.stage().iter().any(|entry| entry.peer == *peer);
            let directory = body.directory(now_us);
            let listed = directory.iter().filter(|(listed, ..)| !is_on_stage(listed)).count();
            let is_removed = |roster: &Roster| roster.access.removed.contains(&peer);
            is_on_stage(&peer)
                || directory.iter().any(|(listed, ..)| *listed == peer)
                || body.lobby().iter().any(|newcomer| newcomer.peer == peer)
                || body.hands().iter().any(|(asking, _)| *asking == peer)
                || body.roster().is_some_and(is_removed)
                || listed < viewers as usize
        })
    }

    /// Gives the brain a command, and waits until the roster shows its effect.
    pub(crate) async fn command(
        self,
        command: Command,
        shows: impl Fn(&Roster) -> bool,
    ) -> Result<(), Error> {
        let me = self.room.me();
        let settled = |roster: &Roster| match roster.host == me {
            true => shows(roster).then_some(Ok(())),
            false => Some(Err(NotHost.into())),
        };
        self.room.command_until(command, settled).await
    }
}

impl Room {
    /// Makes the peer that opened the room its host again, after it has handed the room over, or after the stage has
    /// chosen another host. Resolves when the roster names it. If the other host has replaced the invite,
    /// [`Room::invite`] is `None` until [`Host::renew_invite`] makes the next one.
    ///
    /// # Errors
    /// [`Error::NotHost`] at a peer that has not opened the room, [`Error::Host`] if this peer is not on stage, or if
    /// it is host of a room that it has opened again, where no member of the earlier session has answered for ten
    /// seconds; [`Error::NotShown`] if the roster doesn't name it within ten seconds, [`Error::Closed`] if the room is
    /// closed.
    pub async fn take_back(&self) -> Result<(), Error> {
        if self.0.keys.lock().is_none() {
            return Err(NotHost.into());
        }
        let me = self.me();
        self.check_on_stage(me)?;
        let is_host = |roster: &Roster| (roster.host == me).then_some(Ok(()));
        self.command_until(Command::HandOver(me), is_host).await?;
        // a host of an earlier session reigns over nobody until its members have heard of it
        let mut snapshots = self.0.snapshot.clone();
        let answered = async {
            loop {
                snapshots.mark_unchanged();
                if self.0.flow.read(|body| body.brain().reopening() == Reopening::Done) {
                    return Ok(());
                }
                snapshots.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        self.within(SHOWN_MAX, answered).await.unwrap_or(Err(HostRefusal::NobodyAnswers.into()))
    }

    /// Refuses a call that needs a peer on stage.
    pub(crate) fn check_on_stage(&self, peer: PeerId) -> Result<(), Error> {
        let is_there = |roster: &Roster| roster.entries.iter().any(|entry| entry.peer == peer);
        let on_stage = self.0.flow.read(|body| body.roster().is_some_and(is_there));
        if on_stage { Ok(()) } else { Err(HostRefusal::OffStage.into()) }
    }

    /// Gives the brain a command, and waits until `settled` returns the outcome that a roster shows.
    pub(crate) async fn command_until(
        &self,
        command: Command,
        settled: impl Fn(&Roster) -> Option<Result<(), Error>>,
    ) -> Result<(), Error> {
        let mut snapshots = self.0.snapshot.clone();
        let shown = async {
            let (reply, given) = oneshot::channel();
            self.request(Request::HostCommand(command, reply)).await?;
            given.await.map_err(|_| Error::Closed)?;
            loop {
                snapshots.mark_unchanged(); // a roster that comes from here on changes them again
                if let Some(outcome) = self.0.flow.read(|body| body.roster().and_then(&settled)) {
                    return outcome;
                }
                snapshots.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        let shown = self.within(SHOWN_MAX, shown).await;
        shown.unwrap_or(Err(Error::NotShown { seconds: SHOWN_MAX.as_secs() }))
    }
}

pub(crate) fn is_speaker(roster: &Roster, peer: &PeerId) -> bool {
    roster.entries.iter().any(|entry| entry.peer == *peer && entry.speaks)
}
