//! A viewer of the demo comes on stage and goes back: choice of the viewer, and the time until all others see
//! and hear it.

use std::sync::Arc;
use std::time::Duration;

use plenary::{MediaKind, OnDesk, PeerId, RoomEvent};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::actor::Actor;
use super::cast::Cast;
use super::peer::Part;
use crate::Failure;

/// Time limit for the others to see and hear the new speaker; past it the report counts it as not noticed.
const WATCHED: Duration = Duration::from_secs(5);
/// Interval of checks of the mixer's state.
const LOOK_EACH: Duration = Duration::from_millis(20);

/// Frame received by a peer.
#[derive(Clone, Copy)]
struct Seen {
    kind: MediaKind,
    captured_us: u64,
    arrived_us: u64,
}

/// Time until all other peers saw a new speaker, and until all heard it, microseconds; `None` if some peer
/// did not within the time limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noticed {
    pub(crate) seen_us: Option<u64>,
    pub(crate) heard_us: Option<u64>,
}

/// Returns the viewer with the most children: its step onto the stage moves the most peers.
pub(crate) fn to_promote(cast: &Cast) -> Option<Arc<Actor>> {
    let watches = |actor: &Arc<Actor>| is_viewer(actor) && !actor.glance().speaks;
    cast.present().into_iter().filter(watches).max_by_key(|actor| actor.glance().children)
}

/// Returns the viewer that came on stage last.
pub(crate) fn to_demote(cast: &Cast) -> Option<Arc<Actor>> {
    let stage = cast.host().stage;
    let promoted = stage.iter().filter(|member| member.speaks).rev();
    promoted.filter_map(|member| cast.present_peer(&member.peer)).find(is_viewer)
}

fn is_viewer(actor: &Arc<Actor>) -> bool {
    actor.part.viewer_index().is_some()
}

/// Offers the target the floor from the host. The target accepts and publishes its source; the other peers
/// watch for it. Works only for peers in this process.
pub(crate) async fn promote(cast: &Cast, target: &Arc<Actor>) -> Result<Noticed, Failure> {
    let peer = target.peer;
    let host = cast.host_actor();
    let Some((host, room)) = host.as_ref().and_then(|host| host.local()).zip(target.local()) else {
        return Ok(Noticed::default());
    };
    let (host, room) = (&host.room, &room.room);
    let at_us = cast.now_us();
    let mut watching = JoinSet::new();
    for other in cast.present() {
        if other.peer != peer && !matches!(other.part, Part::Candidate(_)) {
            watching.spawn(watch(other));
        }
    }
    let mut events = room.events();
    let powers = host.as_host()?;
    let offered = async {
        while let Some(event) = events.next().await {
            if event == RoomEvent::FloorOffered {
                return;
            }
        }
    };
    let accepted = async {
        timeout(WATCHED, offered).await?;
        room.speak(true).await?;
        if room.pictures_sent() == 0 {
            room.publish(cast.next_source()?).await?.detach();
        }
        Ok::<(), Failure>(())
    };
    let promoted = async { Ok(powers.promote(peer).await?) };
    tokio::try_join!(promoted, accepted)?;
    // the target may leave the stage again before the other peers have finished watching
    let (on_desk, seen) = tokio::join!(taken_up(cast, &peer), watching.join_all());
    let by_all = |kind, since_us: Option<u64>| {
        let last =
            seen.iter().map(|seen| noticed(seen, kind, since_us?)).max_by_key(|at| at.unwrap_or(u64::MAX));
        last.flatten().map(|at_all_us| at_all_us.saturating_sub(at_us))
    };
    Ok(Noticed {
        seen_us: by_all(MediaKind::Video, on_desk.picture_us),
        heard_us: by_all(MediaKind::Sound, on_desk.sound_us),
    })
}

/// Returns since when the lead mixer has the peer's picture and sound, as far as they arrive in time.
async fn taken_up(cast: &Cast, peer: &PeerId) -> OnDesk {
    let mut on_desk = OnDesk::default();
    let both = async {
        while on_desk.picture_us.is_none() || on_desk.sound_us.is_none() {
            sleep(LOOK_EACH).await;
            let lead = cast.host().mixers.first().and_then(|lead| cast.present_peer(lead));
            let now =
                lead.and_then(|lead| Some(lead.local()?.room.testing().on_desk(peer))).unwrap_or_default();
            on_desk.picture_us = on_desk.picture_us.or(now.picture_us);
            on_desk.sound_us = on_desk.sound_us.or(now.sound_us);
        }
    };
    let _ = timeout(WATCHED, both).await; // a timeout leaves the missing times unset
    on_desk
}

/// Sends the peer back to the audience, at the host.
pub(crate) async fn demote(cast: &Cast, peer: PeerId) -> anyhow::Result<()> {
    if let Some(host) = cast.host_actor().as_ref().and_then(|host| host.local()) {
        host.room.as_host()?.demote(peer).await?;
    }
    Ok(())
}

/// Returns the arrival of the first frame that was made when the mixer had the new speaker.
fn noticed(seen: &[Seen], kind: MediaKind, since_us: u64) -> Option<u64> {
    let shows = |seen: &&Seen| seen.kind == kind && seen.captured_us >= since_us;
    seen.iter().find(shows).map(|seen| seen.arrived_us)
}

async fn watch(actor: Arc<Actor>) -> Vec<Seen> {
    let mut seen = Vec::new();
    let Some(peer) = actor.local() else { return seen };
    let mut frames = peer.room.frames();
    let watching = async {
        while let Some(received) = frames.next().await {
            let identity = &received.frame.identity;
            seen.push(Seen {
                kind: received.frame.kind,
                captured_us: identity.captured_us,
                arrived_us: received.arrived_us,
            });
        }
    };
    let _ = timeout(WATCHED, watching).await; // frames arrive until the timeout
    seen
}
