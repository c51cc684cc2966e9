//! The host's powers over admission, removal and the end of its room.

use std::time::Duration;

#[cfg(doc)]
use plenary_proto::app::Reason;
use plenary_proto::app::{Command, unnamed};
use plenary_proto::message::{Muted, Roster};
use plenary_proto::seal::{Invite, RoomSecret};
use plenary_proto::{Newcomer, PeerId};

use crate::driver::Request;
use crate::error::Error;
use crate::hosting::Host;
use crate::random_bytes;

/// A peer in the room, as the host's directory lists it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Listed {
    /// Id of the peer.
    pub peer: PeerId,
    /// Name of the peer; empty if it isn't known.
    pub name: String,
    /// The peer that feeds it; `None` for none, and on stage.
    pub parent: Option<PeerId>,
    /// Hops from the mixer; 0 for a peer that isn't fed, and on stage.
    pub depth: u8,
    /// Time since the host admitted it, or first heard of it.
    pub here: Duration,
}

impl Host<'_> {
    /// Returns the peers in the room, the audience included: every peer of a room of up to 1000 peers, an even sample
    /// in larger rooms. [`RoomSnapshot::viewers`](crate::RoomSnapshot::viewers) is the exact number of viewers.
    pub fn directory(self) -> Vec<Listed> {
        let inner = self.inner();
        inner.flow.with(|body, now_us, _| {
            let listed = body.directory(now_us).into_iter().map(|(peer, entry, here_us)| Listed {
                peer,
                name: entry.name.to_string(),
                parent: entry.parent,
                depth: entry.depth,
                here: Duration::from_micros(here_us),
            });
            listed.collect()
        })
    }

    /// Returns the peers in the lobby.
    pub fn lobby(self) -> Vec<Newcomer> {
        self.inner().flow.read(|body| body.lobby())
    }

    /// Returns the peers in the room that wait for the floor, with their names, the oldest request first.
    pub fn hands(self) -> Vec<(PeerId, String)> {
        self.inner().flow.read(|body| body.hands())
    }

    /// Lets a peer in from the lobby; one that has not come yet is let in when it comes. Resolves at once.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn admit(self, peer: PeerId) -> Result<(), Error> {
        self.room().command(Command::Admit(peer)).await
    }

    /// Turns a peer in the lobby away. Resolves at once.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn deny(self, peer: PeerId) -> Result<(), Error> {
        self.room().command(Command::Deny(peer)).await
    }

    /// Replaces the peers that come in without waiting, by any invite that this room had lately, also when it has
    /// expired or the room is locked: [`HostOptions::members`](crate::HostOptions::members). At most 1000 count. Peers
    /// that are in the room stay.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_members(self, members: Vec<PeerId>) -> Result<(), Error> {
        self.room().command(Command::SetMembers(members)).await
    }

    /// Sets whether newcomers wait in the lobby.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_lobby(self, lobby: bool) -> Result<(), Error> {
        self.room().command(Command::Lobby(lobby)).await
    }

    /// Locks the room, so that nobody new is admitted, or unlocks it.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn lock(self, locked: bool) -> Result<(), Error> {
        self.room().command(Command::Lock(locked)).await
    }

    /// Removes a peer from the room. No member links with it any more, and the host refuses this identity
    /// for good. Under another identity the invite still admits the person: see [`ban`](Self::ban). A peer that has
    /// left can't be removed: [`renew_invite`](Self::renew_invite) keeps it out.
    ///
    /// # Errors
    /// [`Reason::Stranger`] for a peer that isn't here; see [`Host`] for others.
    pub async fn remove(self, peer: PeerId) -> Result<(), Error> {
        self.room().command(Command::Remove(peer)).await
    }

    /// Removes the peers that are on stage only because they consent to mix, and that this host didn't name. Returns
    /// how many. They may come back under other identities, up to eight: [`renew_invite`](Self::renew_invite) keeps
    /// them out.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn remove_unnamed(self) -> Result<usize, Error> {
        let of = |roster: &Roster| unnamed(roster).collect::<Vec<_>>();
        let removed = self.inner().flow.read(|body| body.roster().map(of).unwrap_or_default());
        let shows = |roster: &Roster| !roster.entries.iter().any(|entry| removed.contains(&entry.peer));
        let gives = self.room().give(Command::RemoveUnnamed);
        self.room().until_shown(gives, |roster| self.settled(roster, shows(roster))).await?;
        Ok(removed.len())
    }

    /// Removes a peer, and replaces the invite, which it knows: [`renew_invite`](Self::renew_invite).
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn ban(self, peer: PeerId) -> Result<Invite, Error> {
        self.room().carry_out_with(peer, Command::Remove(peer)).await?;
        self.renew_invite().await
    }

    /// Whether a roster settles a command of this host: it shows the effect, or another peer is the host.
    fn settled(self, roster: &Roster, shows: bool) -> Option<bool> {
        if roster.host == self.room().me() { shows.then_some(true) } else { Some(false) }
    }

    /// Replaces the invite. Members stay; the old invite admits nobody any more. Returns the new one, as
    /// [`Room::invite`](crate::Room::invite) does from now on at this peer; at all others it is `None`, and
    /// [`RoomEvent::InviteReplaced`](crate::RoomEvent::InviteReplaced) says so.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn renew_invite(self) -> Result<Invite, Error> {
        self.room().check(&Command::RenewInvite)?;
        let inner = self.inner();
        let _turn = inner.renewing.lock().await;
        let (before, key) = inner.invite.lock().clone();
        let newest = inner.flow.read(|body| body.roster().map_or(0, |roster| roster.rules.access.generation));
        let (invite, key) = before.replaced(newest, RoomSecret(random_bytes()), &key);
        let generation = invite.generation();
        let renews = self.room().request(Request::Renew(key.for_member()));
        // stored before the roster names it: an application may ask as soon as it hears of the new invite
        let replaced = std::mem::replace(&mut *inner.invite.lock(), (invite.clone(), key.clone()));
        let shows = |roster: &Roster| roster.rules.access.generation == generation;
        let settled = |roster: &Roster| self.settled(roster, shows(roster));
        if let Err(error) = self.room().until_shown(renews, settled).await {
            if !inner.flow.read(|body| body.roster().is_some_and(shows)) {
                *inner.invite.lock() = replaced;
            }
            return Err(error);
        }
        if let Some(keys) = &mut *inner.keys.lock() {
            keys.0.follow(&invite, &key);
        }
        Ok(invite)
    }

    /// Marks a peer as an agent, on stage or not, here or not: it may hear each speaker apart, by
    /// [`Room::voices`](crate::Room::voices). With `false` takes the mark back: its sound ends at once. All members see
    /// the marks ([`Member::is_agent`](crate::Member::is_agent), [`Room::agents`](crate::Room::agents)).
    ///
    /// # Errors
    /// [`Reason::TooManyAgents`] past eight; see [`Host`].
    pub async fn set_agent(self, peer: PeerId, is_agent: bool) -> Result<(), Error> {
        self.room().command(Command::SetAgent(peer, is_agent)).await
    }

    /// Asks a speaker to send no picture or no sound. Its application may end that; the host can't. Resolves at once:
    /// [`Member::muted`](crate::Member::muted) shows what the speaker does.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn ask_to_mute(self, peer: PeerId, muted: Muted) -> Result<(), Error> {
        self.room().command(Command::AskToMute(peer, muted)).await
    }

    /// Asks all other speakers to send no picture or no sound. Resolves at once.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn mute_all(self, muted: Muted) -> Result<(), Error> {
        self.room().command(Command::MuteAll(muted)).await
    }

    /// Makes another peer on stage the host. The peer that opened the room can take it back:
    /// [`Room::take_back`](crate::Room::take_back).
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn hand_over(self, peer: PeerId) -> Result<(), Error> {
        self.room().command(Command::HandOver(peer)).await
    }

    /// Ends the room: every peer leaves it. Resolves when this peer has left.
    ///
    /// # Errors
    /// [`Reason::NotHost`] if another peer has become host; see [`Host`] for others.
    pub async fn end(self) -> Result<(), Error> {
        match self.room().carry_out(Command::End).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
        self.room().closed().await;
        Ok(())
    }
}
