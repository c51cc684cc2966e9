//! The host's powers over its room.

use std::time::Duration;

use plenary_body::layout;
use plenary_media::compose::Layout;
use plenary_proto::message::Roster;
use plenary_proto::{Command, PeerId};
use tokio::sync::oneshot;

use crate::driver::Request;
use crate::error::Error;
use crate::room::{Inner, Room};

/// Time that a peer has to take an offered floor: as long as the host repeats the offer.
const FLOOR_TAKEN_MAX: Duration = Duration::from_secs(10);

/// Error of a call reserved to the room's host, at another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only the host of the room may do this")]
pub struct NotHost;

/// The host's powers over its room, from [`Room::as_host`].
///
/// Each call resolves when the roster, which the host signs, shows its effect.
///
/// # Errors
/// Of every call: [`Error::NotHost`] if another peer has become host, [`Error::Closed`] if the room is closed.
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
    pub(crate) fn of(room: &'a Room) -> Result<Host<'a>, NotHost> {
        let reigns = |roster: &Roster| roster.host == room.me();
        let is_host = room.0.flow.read(|body| body.roster().is_some_and(reigns));
        if is_host { Ok(Host { room }) } else { Err(NotHost) }
    }

    /// Sets the number of mixers; 0 lets the room choose it, as in [`HostOptions::mixers`].
    ///
    /// [`HostOptions::mixers`]: crate::HostOptions::mixers
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_mixers(self, mixers: u8) -> Result<(), Error> {
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

    /// Grants a peer the floor. A peer that has not asked for it gets [`RoomEvent::FloorOffered`], and accepts
    /// by [`Room::speak`]. Resolves when it is on stage as a speaker.
    ///
    /// [`RoomEvent::FloorOffered`]: crate::RoomEvent::FloorOffered
    ///
    /// # Errors
    /// [`Error::NoAnswer`] if the peer does not take the floor within ten seconds; see [`Host`] for others.
    pub async fn promote(self, peer: PeerId) -> Result<(), Error> {
        let speaks = |roster: &Roster| speaks(roster, &peer);
        let taken = self.room.within(FLOOR_TAKEN_MAX, self.command(Command::Promote(peer), speaks)).await;
        taken.unwrap_or(Err(Error::NoAnswer { seconds: FLOOR_TAKEN_MAX.as_secs() }))
    }

    /// Takes the floor from a peer, or denies it. The peer stays in the room as a viewer.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn demote(self, peer: PeerId) -> Result<(), Error> {
        self.command(Command::Demote(peer), |roster| !speaks(roster, &peer)).await
    }

    /// Gives the brain a command, and waits until the roster shows its effect.
    pub(crate) async fn command(
        self,
        command: Command,
        shows: impl Fn(&Roster) -> bool,
    ) -> Result<(), Error> {
        let inner = &self.room.0;
        let mut snapshots = inner.snapshot.clone();
        let (reply, given) = oneshot::channel();
        self.room.request(Request::HostCommand(command, reply)).await?;
        given.await.map_err(|_| Error::Closed)?;
        loop {
            snapshots.mark_unchanged(); // a roster that comes from here on changes them again
            let seen = inner.flow.read(|body| {
                let roster = body.roster()?;
                Some((roster.host == inner.me, shows(roster)))
            });
            match seen {
                Some((false, _)) => return Err(NotHost.into()),
                Some((true, true)) => return Ok(()),
                _ => snapshots.changed().await.map_err(|_| Error::Closed)?,
            }
        }
    }
}

fn speaks(roster: &Roster, peer: &PeerId) -> bool {
    roster.entries.iter().any(|entry| entry.peer == *peer && entry.speaks)
}
