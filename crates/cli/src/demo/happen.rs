//! Scripted events of a demo.

use std::sync::Arc;
use std::time::Duration;

use plenary::{Mode, Shape};

use super::cast::{Actor, Cast, Part};
use super::floor;
use super::report::EventReport;
use crate::units::What;

/// Interval at which a leaving peer's sent bytes are recorded: one frame.
const WATCH: Duration = Duration::from_millis(33);

/// Executes an event, and records which viewers it affects.
pub(crate) async fn happen(cast: &Arc<Cast>, what: What) {
    let target = match what {
        What::AddSpeaker | What::AddViewer => None,
        What::KillMixer | What::LeaveMixer | What::HalveMixer => mixer(cast),
        What::KillRelay => relay(cast),
        What::KillSpeaker => speaker(cast),
        What::PromoteViewer => floor::to_promote(cast),
        What::DemoteViewer => floor::to_demote(cast),
    };
    let adds = matches!(what, What::AddSpeaker | What::AddViewer);
    let at_us = cast.now_us();
    let affected = target.as_ref().map(|target| affected(cast, what, target)).unwrap_or_default();
    let peer = target.as_ref().map(|target| target.room.me());
    if target.is_none() && !adds {
        tracing::warn!("{}: there is no such peer", what.text());
    }
    let happened = EventReport::new(what, at_us, peer, affected);
    cast.happened.lock().push(happened);
    match (what, target) {
        (What::KillMixer | What::KillRelay | What::KillSpeaker, Some(target)) => {
            target.shaper.kill();
            *target.tenures.lock() = Some(target.room.tenures());
            *target.gone_us.lock() = Some(at_us);
        }
        (What::HalveMixer, Some(target)) => {
            let args = cast.args();
            let shape = args.link.unwrap_or_default();
            // an unlimited link carried the program's rate
            let unlimited_bps = u64::from(args.room.program().bitrate_bps);
            let rate_bps = if shape.rate_bps > 0 { shape.rate_bps } else { unlimited_bps };
            target.shaper.set(Shape { rate_bps: (rate_bps / 2).max(1), ..shape });
        }
        (What::LeaveMixer, Some(target)) => {
            *target.gone_us.lock() = Some(at_us);
            let leaving = target.clone();
            tokio::spawn(async move {
                let watched = leaving.clone();
                let watch = async move {
                    while let Ok(traffic) = watched.room.traffic().await {
                        *watched.sent_bytes.lock() = traffic.to_children_bytes;
                        tokio::time::sleep(WATCH).await;
                    }
                };
                tokio::join!(leaving.room.leave(), watch);
                *leaving.left.lock() = true;
            });
        }
        (What::AddSpeaker | What::AddViewer, _) => {
            let added = cast.add(what == What::AddSpeaker).await;
            // events are executed one after the other, so this event is still the last
            cast.happened.lock().last_mut().into_iter().for_each(|event| event.came(added));
        }
        (What::PromoteViewer, Some(target)) => {
            let (cast, number) = (cast.clone(), cast.happened.lock().len() - 1);
            // runs in the background, so that later events don't wait for the watching peers
            tokio::spawn(async move {
                match floor::promote(&cast, &target).await {
                    Ok(noticed) => {
                        cast.happened
                            .lock()
                            .get_mut(number)
                            .into_iter()
                            .for_each(|event| event.noticed(noticed));
                    }
                    Err(failure) => tracing::error!("{}: {failure}", What::PromoteViewer.text()),
                }
            });
        }
        (What::DemoteViewer, Some(target)) => {
            if let Err(error) = floor::demote(cast, target.room.me()).await {
                tracing::error!("{}: {error:#}", What::DemoteViewer.text());
            }
        }
        (_, None) => {}
    }
}

/// Returns the lead mixer. In a mesh no peer mixes, even if the roster names a mixer.
fn mixer(cast: &Cast) -> Option<Arc<Actor>> {
    let host = cast.host();
    let mixer = host.mixers.first().filter(|_| host.mode != Mode::Mesh)?;
    cast.present_peer(mixer)
}

/// Returns the viewer with the most children, if any viewer has children.
fn relay(cast: &Cast) -> Option<Arc<Actor>> {
    let children = |actor: &Arc<Actor>| actor.room.snapshot().children.len();
    let viewers = cast.present().into_iter().filter(|actor| matches!(actor.part, Part::Viewer(_)));
    viewers.max_by_key(children).filter(|actor| children(actor) > 0)
}

/// Returns the last speaker, but never the host.
fn speaker(cast: &Cast) -> Option<Arc<Actor>> {
    cast.present().into_iter().rfind(|actor| matches!(actor.part, Part::Speaker(index) if index > 0))
}

/// Returns the viewers that receive the program through the target. A viewer that comes on stage or leaves it
/// is itself affected.
fn affected(cast: &Cast, what: What, target: &Arc<Actor>) -> Vec<usize> {
    let viewers: Vec<_> = cast
        .present()
        .into_iter()
        .filter_map(|actor| match actor.part {
            Part::Viewer(index) => Some((index, actor)),
            _ => None,
        })
        .collect();
    if what == What::KillSpeaker {
        return Vec::new();
    }
    let parent_of = |peer| {
        viewers
            .iter()
            .find(|(_, actor)| actor.room.me() == peer)
            .and_then(|(_, actor)| actor.room.snapshot().parent)
    };
    let through = |actor: &Arc<Actor>| {
        let mut above = actor.room.snapshot().parent;
        for _ in 0..viewers.len() {
            match above {
                Some(peer) if peer == target.room.me() => return true,
                Some(peer) => above = parent_of(peer),
                None => return false,
            }
        }
        false
    };
    let moves = matches!(what, What::PromoteViewer | What::DemoteViewer);
    let hit = |actor: &Arc<Actor>| through(actor) || (moves && actor.room.me() == target.room.me());
    viewers.iter().filter(|(_, actor)| hit(actor)).map(|(index, _)| *index).collect()
}
