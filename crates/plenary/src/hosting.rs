//! Commands to a room, and the host's powers over it.

use std::time::Duration;

use plenary_body::layout;
use plenary_media::compose::Layout;
use plenary_proto::app::{Command, Reason};
use plenary_proto::message::{MixPolicy, Roster};
use plenary_proto::{PeerId, Reopening};
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

/// The host's powers over its room, from [`Room::as_host`].
///
/// Each call resolves when the roster, which the host signs, shows its effect. Calls may run at the same time. Those of
/// which the roster shows nothing resolve when the host has sent its word: [`admit`](Host::admit),
/// [`deny`](Host::deny), [`set_members`](Host::set_members) and [`ask_to_mute`](Host::ask_to_mute).
///
/// # Errors
/// Of every call: [`Error::Command`] with [`Reason::NotHost`] if another peer has become host, and with other reasons
/// if the call can't apply; [`Error::NotShown`] if the roster doesn't show the effect within ten seconds,
/// [`Error::Closed`] if the room is closed.
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
        if is_host { Ok(Host { room }) } else { Err(Error::Command(Reason::NotHost)) }
    }

    /// Sets the number of mixers, at most 8; 0 lets the room choose it, as in [`HostOptions::mixers`].
    ///
    /// [`HostOptions::mixers`]: crate::HostOptions::mixers
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_mixers(self, mixers: u8) -> Result<(), Error> {
        self.room.command(Command::SetMixers(mixers)).await
    }

    /// Sets the layout of the program. The change does not cause a keyframe.
    ///
    /// # Errors
    /// [`Error::Layout`] if the layout is invalid; see [`Host`] for others.
    pub async fn set_layout(self, layout: &Layout) -> Result<(), Error> {
        let layout = layout::for_command(layout).map_err(Error::Layout)?;
        self.room.command(Command::SetLayout(layout)).await
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
        self.room.command(Command::OpenStage(open)).await
    }

    /// Sets which of the peers that consent may mix. A host names peers by [`promote`](Self::promote), as
    /// [`HostOptions::members`], and by letting in one that comes for nothing but to mix.
    ///
    /// [`HostOptions::members`]: crate::HostOptions::members
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_mixing(self, mixing: MixPolicy) -> Result<(), Error> {
        self.room.command(Command::SetMixing(mixing)).await
    }

    /// Grants a peer the floor. A peer that has not asked for it gets [`RoomEvent::FloorOffered`], and accepts
    /// by [`Room::speak`]. Resolves when it is on stage as a speaker.
    ///
    /// [`RoomEvent::FloorOffered`]: crate::RoomEvent::FloorOffered
    ///
    /// # Errors
    /// [`Error::NoAnswer`] if the peer does not take the floor within ten seconds; see [`Host`] for others.
    pub async fn promote(self, peer: PeerId) -> Result<(), Error> {
        self.room.command(Command::Promote(peer)).await
    }

    /// Takes the floor from a peer, or denies it. The peer stays in the room as a viewer.
    ///
    /// # Errors
    /// [`Reason::Stranger`] for a peer that isn't here; see [`Host`] for others.
    pub async fn demote(self, peer: PeerId) -> Result<(), Error> {
        self.room.command(Command::Demote(peer)).await
    }
}

impl Room {
    /// Gives the room a command, as each call of this library does that changes something in the room; for applications
    /// that have commands as values: from a file, from another process, or from lines that a person types
    /// ([`line`](plenary_proto::app::line)). Resolves when the roster shows the effect, or at once if it never does.
    ///
    /// # Errors
    /// [`Error::Command`] if the room refuses it, [`Error::Closed`] if the room is closed, and those of the call that
    /// does the same.
    pub async fn command(&self, command: Command) -> Result<(), Error> {
        match command {
            Command::Leave => self.leave().await,
            Command::Speak(speaks) => self.speak(speaks).await?,
            Command::TakeBack => self.take_back().await?,
            Command::RenewInvite => drop(self.as_host()?.renew_invite().await?),
            Command::Ban(peer) => drop(self.as_host()?.ban(peer).await?),
            Command::RemoveUnnamed => drop(self.as_host()?.remove_unnamed().await?),
            Command::End => self.as_host()?.end().await?,
            Command::Promote(_) => match self.carry_out(command).await {
                Err(Error::NotShown { seconds }) => return Err(Error::NoAnswer { seconds }),
                promoted => promoted?,
            },
            Command::Demote(peer) | Command::Remove(peer) => self.carry_out_with(peer, command).await?,
            command => self.carry_out(command).await?,
        }
        Ok(())
    }

    /// Makes the peer that opened the room its host again, after it has handed the room over, or after the stage has
    /// chosen another host. Resolves when the roster names it. If the other host has replaced the invite,
    /// [`Room::invite`] is `None` until [`Host::renew_invite`] makes the next one.
    ///
    /// # Errors
    /// [`Error::Command`]: [`Reason::NotHost`] at a peer that has not opened the room, [`Reason::OffStage`] if this
    /// peer is not on stage, [`Reason::NobodyAnswers`] if it is host of a room that it has opened again, where no
    /// member of the earlier session has answered for ten seconds. [`Error::NotShown`] if the roster doesn't name it
    /// within ten seconds, [`Error::Closed`] if the room is closed.
    pub async fn take_back(&self) -> Result<(), Error> {
        self.carry_out(Command::TakeBack).await?;
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
        self.within(SHOWN_MAX, answered).await.unwrap_or(Err(Error::Command(Reason::NobodyAnswers)))
    }

    /// Refuses a command that this peer may not give.
    pub(crate) fn check(&self, command: &Command) -> Result<(), Error> {
        let check = self.0.flow.with(|body, now_us, _| body.brain().check(body.time(now_us), command));
        check.map_err(Error::Command)
    }

    /// Carries out a command that names a peer, if that is in the room, as far as the host knows all that are. A peer
    /// that has just come is waited for.
    pub(crate) async fn carry_out_with(&self, peer: PeerId, command: Command) -> Result<(), Error> {
        self.check(&command)?;
        let known = async {
            while !self.0.flow.read(|body| body.brain().knows(&peer)) {
                self.within(KNOWN_EACH, std::future::pending::<()>()).await;
            }
        };
        self.within(KNOWN_SOON, known).await.ok_or(Error::Command(Reason::Stranger))?;
        self.carry_out(command).await
    }

    /// Gives the body a command, without waiting for its effect.
    pub(crate) async fn give(&self, command: Command) -> Result<(), Error> {
        let (reply, given) = oneshot::channel();
        self.request(Request::Command(command, reply)).await?;
        given.await.map_err(|_| Error::Closed)?.map_err(Error::Command)
    }

    /// Gives the body a command, and waits until the roster shows its effect.
    pub(crate) async fn carry_out(&self, command: Command) -> Result<(), Error> {
        let me = self.me();
        self.until_shown(self.give(command.clone()), |roster| command.settled(&me, roster)).await
    }

    /// Waits for `given`, and then until `settled` returns whether the roster shows its effect, or never will.
    pub(crate) async fn until_shown(
        &self,
        given: impl Future<Output = Result<(), Error>>,
        settled: impl Fn(&Roster) -> Option<bool>,
    ) -> Result<(), Error> {
        let mut snapshots = self.0.snapshot.clone();
        let shown = async {
            given.await?;
            loop {
                snapshots.mark_unchanged(); // a roster that comes from here on changes them again
                match self.0.flow.read(|body| body.roster().and_then(&settled)) {
                    Some(true) => return Ok(()),
                    Some(false) => return Err(Error::Command(Reason::NotHost)),
                    None => snapshots.changed().await.map_err(|_| Error::Closed)?,
                }
            }
        };
        let shown = self.within(SHOWN_MAX, shown).await;
        shown.unwrap_or(Err(Error::NotShown { seconds: SHOWN_MAX.as_secs() }))
    }
}
