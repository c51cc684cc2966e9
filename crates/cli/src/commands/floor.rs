//! The floor at host and join: a peer that comes on stage publishes its source.

use anyhow::Context as _;
use plenary::{Room, RoomEvent, RoomSnapshot};

use crate::Failure;
use crate::args::RoomArgs;

/// Follower of one peer's floor.
pub(crate) struct Floor {
    pub(crate) sources: RoomArgs,
    /// Accepts the floor whenever the host offers it, since the peer was started to speak. Any other peer accepts by
    /// `/speak`: nobody's picture is sent without the user's word.
    pub(crate) asks: bool,
    /// Publishes already. A track outlasts a loss of the floor, and is paused meanwhile.
    pub(crate) publishes: bool,
}

impl Floor {
    /// Follows the floor until the room is closed.
    pub(crate) async fn follow(mut self, room: Room) {
        let mut events = room.events();
        while let Some(event) = events.next().await {
            let comes_on_stage = match event {
                RoomEvent::FloorOffered if self.asks => {
                    // an error means that the room is closed, and the events end
                    let _ = room.speak(true).await;
                    false
                }
                RoomEvent::Floor { speaks } => speaks,
                RoomEvent::Missed { .. } => room.snapshot().speaks,
                _ => false,
            };
            if comes_on_stage && !self.publishes {
                match self.publish(&room).await {
                    Ok(()) => self.publishes = true,
                    Err(failure) => say!("nothing is sent: {failure}"),
                }
            }
        }
    }

    async fn publish(&self, room: &Room) -> Result<(), Failure> {
        let source = self.sources.source(own_index(room).await?)?;
        room.publish(source).await?.detach();
        say!("on stage: picture and sound are sent; /watch ends it");
        Ok(())
    }
}

/// Returns this peer's speaker index, which selects its source file or test picture.
pub(crate) async fn own_index(room: &Room) -> anyhow::Result<usize> {
    let mut snapshots = room.watch();
    // the host has admitted this peer to the stage, but the snapshot may not show it yet
    let there = |snapshot: &RoomSnapshot| snapshot.stage.iter().any(|member| member.peer == room.me());
    let snapshot = snapshots.wait_for(there).await.context("the room is closed")?;
    let own = snapshot.stage.iter().find(|member| member.peer == room.me());
    Ok(own.map_or(0, |member| usize::from(member.index)))
}
