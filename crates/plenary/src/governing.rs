//! The host's powers over admission, removal and the end of its room.

use std::time::Duration;

use plenary_proto::message::{AGENTS_MAX, Entry, Muted, Roster, Vote};
use plenary_proto::seal::{Invite, RoomSecret};
use plenary_proto::{Command, Newcomer, PeerId};

use crate::error::Error;
use crate::hosting::{Host, HostRefusal, NotHost};
use crate::random_bytes;

/// A peer in the room, as the host's directory lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
        self.check_other(peer)?;
        self.command(Command::Admit(peer), |_| true).await
    }

    /// Turns a peer in the lobby away. Resolves at once.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn deny(self, peer: PeerId) -> Result<(), Error> {
        self.check_other(peer)?;
        self.command(Command::Deny(peer), |_| true).await
    }

    /// Replaces the peers that come in without waiting, by any invite that this room had lately, also when it has
    /// expired or the room is locked: [`HostOptions::members`](crate::HostOptions::members). At most 1000 count. Peers
    /// that are in the room stay.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_members(self, members: Vec<PeerId>) -> Result<(), Error> {
        self.command(Command::SetMembers(members), |_| true).await
    }

    /// Sets whether newcomers wait in the lobby.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn set_lobby(self, lobby: bool) -> Result<(), Error> {
        self.command(Command::Lobby(lobby), |roster| roster.access.lobby == lobby).await
    }

    /// Locks the room, so that nobody new is admitted, or unlocks it.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn lock(self, locked: bool) -> Result<(), Error> {
        self.command(Command::Lock(locked), |roster| roster.access.locked == locked).await
    }

    /// Removes a peer from the room. No member links with it any more, and the host refuses this identity
    /// for good. Under another identity the invite still admits the person: see [`ban`](Self::ban). A peer that has
    /// left can't be removed: [`renew_invite`](Self::renew_invite) keeps it out.
    ///
    /// # Errors
    /// [`HostRefusal::Stranger`] for a peer that isn't here; see [`Host`] for others.
    pub async fn remove(self, peer: PeerId) -> Result<(), Error> {
        self.check_other(peer)?;
        self.check_known(peer).await?;
        self.check_settled()?;
        self.command(Command::Remove(peer), |roster| roster.access.removed.contains(&peer)).await
    }

    /// Removes the peers that are on stage only because they consent to mix, and that this host didn't name. Returns
    /// how many. They may come back under other identities, up to eight: [`renew_invite`](Self::renew_invite) keeps
    /// them out.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn remove_unnamed(self) -> Result<usize, Error> {
        self.check_settled()?;
        let is_unnamed = |entry: &Entry| entry.mixes && !entry.speaks && entry.votes != Vote::Named;
        let unnamed: Vec<PeerId> = self.inner().flow.read(|body| {
            let entries = body.roster().into_iter().flat_map(|roster| &*roster.entries);
            entries.filter(|entry| is_unnamed(entry)).map(|entry| entry.peer).collect()
        });
        let shows = |roster: &Roster| !roster.entries.iter().any(|entry| unnamed.contains(&entry.peer));
        self.command(Command::RemoveUnnamed, shows).await?;
        Ok(unnamed.len())
    }

    /// Refuses what a host may not do yet that the stage chose a moment ago.
    fn check_settled(self) -> Result<(), Error> {
        let is_settled = self.inner().flow.read(|body| body.brain().check_settled());
        Ok(is_settled.map_err(|_| HostRefusal::TooSoon)?)
    }

    /// Removes a peer, and replaces the invite, which it knows: [`renew_invite`](Self::renew_invite).
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn ban(self, peer: PeerId) -> Result<Invite, Error> {
        self.remove(peer).await?;
        self.renew_invite().await
    }

    /// Replaces the invite. Members stay; the old invite admits nobody any more. Returns the new one, as
    /// [`Room::invite`](crate::Room::invite) does from now on at this peer; at all others it is `None`, and
    /// [`RoomEvent::InviteReplaced`](crate::RoomEvent::InviteReplaced) says so.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn renew_invite(self) -> Result<Invite, Error> {
        self.check_settled()?;
        let inner = self.inner();
        let _turn = inner.renewing.lock().await;
        let (before, key) = inner.invite.lock().clone();
        let newest = inner.flow.read(|body| body.roster().map_or(0, |roster| roster.access.generation));
        let (invite, key) = before.replaced(newest, RoomSecret(random_bytes()), &key);
        let generation = invite.generation();
        let renews = Command::Renew(key.for_member());
        // stored before the roster names it: an application may ask as soon as it hears of the new invite
        let replaced = std::mem::replace(&mut *inner.invite.lock(), (invite.clone(), key.clone()));
        let shows = |roster: &Roster| roster.access.generation == generation;
        if let Err(error) = self.command(renews, shows).await {
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
    /// [`HostRefusal::TooManyAgents`] past eight; see [`Host`].
    pub async fn set_agent(self, peer: PeerId, is_agent: bool) -> Result<(), Error> {
        let agents = self.room().agents();
        if is_agent && !agents.contains(&peer) && agents.len() >= AGENTS_MAX {
            return Err(HostRefusal::TooManyAgents.into());
        }
        let shows = |roster: &Roster| roster.access.agents.contains(&peer) == is_agent;
        self.command(Command::SetAgent(peer, is_agent), shows).await
    }

    /// Asks a speaker to send no picture or no sound. Its application may end that; the host can't. Resolves at once:
    /// [`Member::muted`](crate::Member::muted) shows what the speaker does.
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn ask_to_mute(self, peer: PeerId, muted: Muted) -> Result<(), Error> {
        self.check_other(peer)?;
        self.room().check_on_stage(peer)?;
        self.command(Command::AskToMute(peer, muted), |_| true).await
    }

    /// Makes another peer on stage the host. The peer that opened the room can take it back:
    /// [`Room::take_back`](crate::Room::take_back).
    ///
    /// # Errors
    /// See [`Host`].
    pub async fn hand_over(self, peer: PeerId) -> Result<(), Error> {
        let me = self.room().me();
        self.check_other(peer)?;
        self.room().check_on_stage(peer)?;
        let settled = |roster: &Roster| match roster.host {
            host if host == peer => Some(Ok(())),
            host if host == me => None,
            _ => Some(Err(NotHost.into())),
        };
        self.room().command_until(Command::HandOver(peer), settled).await
    }

    /// Ends the room: every peer leaves it. Resolves when this peer has left.
    ///
    /// # Errors
    /// [`Error::NotHost`] if another peer has become host.
    pub async fn end(self) -> Result<(), Error> {
        self.check_settled()?;
        match self.command(Command::End, |roster| roster.access.ended).await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
        self.room().closed().await;
        Ok(())
    }
}
