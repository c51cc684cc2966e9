//! Scripted events of a demo.

use std::sync::Arc;

use plenary::{Mode, Shape};

use super::actor::Actor;
use super::aftermath::affected;
use super::cast::Cast;
use super::event::EventReport;
use super::floor;
use crate::units::What;

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
    if target.is_none() && !adds {
        tracing::warn!("{}: there is no such peer", what.text());
    }
    let moves = matches!(what, What::PromoteViewer | What::DemoteViewer);
    // no viewer receives the program through a speaker
    let feeds = target.as_ref().filter(|_| what != What::KillSpeaker);
    let viewers = feeds.map(|target| affected(cast, target, moves)).unwrap_or_default();
    let peer = target.as_ref().map(|target| target.peer);
    let kills = matches!(what, What::KillMixer | What::KillRelay | What::KillSpeaker);
    let mut at_us = cast.now_us();
    if let Some(target) = target.as_ref().filter(|_| kills) {
        target.goes(at_us);
        match target.kill(&cast.speakers(), || cast.now_us()).await {
            Ok(killed_us) => at_us = killed_us,
            Err(error) => cast.fail(format!("{}: {error:#}", what.text())),
        }
    }
    cast.happened.lock().push(EventReport::new(what, at_us, peer, viewers));
    match (what, target) {
        (What::HalveMixer, Some(target)) => {
            let args = cast.args();
            let shape = args.link.unwrap_or_default();
            // an unlimited link carried the program's rate
            let unlimited_bps = u64::from(args.room.program().bitrate_bps);
            let rate_bps = if shape.rate_bps > 0 { shape.rate_bps } else { unlimited_bps };
            let halved = Shape { rate_bps: (rate_bps / 2).max(1), ..shape };
            if let Err(error) = target.reshape(halved).await {
                cast.fail(format!("{}: {error:#}", what.text()));
            }
        }
        (What::LeaveMixer, Some(target)) => {
            target.goes(at_us);
            let leaving = cast.clone();
            cast.spawn(async move {
                if let Err(error) = target.leave(&leaving.speakers()).await {
                    leaving.fail(format!("{}: {error:#}", what.text()));
                }
            });
        }
        (What::AddSpeaker | What::AddViewer, _) => {
            let added = cast.add(what == What::AddSpeaker).await;
            // events are executed one after the other, so this event is still the last
            cast.happened.lock().last_mut().into_iter().for_each(|event| event.came(added));
        }
        (What::PromoteViewer, Some(target)) => {
            let (promoting, number) = (cast.clone(), cast.happened.lock().len() - 1);
            // runs in the background, so that later events don't wait for the watching peers
            cast.spawn(async move {
                match floor::promote(&promoting, &target).await {
                    Ok(noticed) => {
                        let mut happened = promoting.happened.lock();
                        happened.get_mut(number).into_iter().for_each(|event| event.noticed(noticed));
                    }
                    Err(failure) => tracing::error!("{}: {failure}", What::PromoteViewer.text()),
                }
            });
        }
        (What::DemoteViewer, Some(target)) => {
            if let Err(error) = floor::demote(cast, target.peer).await {
                tracing::error!("{}: {error:#}", What::DemoteViewer.text());
            }
        }
        (What::KillMixer | What::KillRelay | What::KillSpeaker, _) | (_, None) => {}
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
    let viewers = cast.present().into_iter().filter(|actor| actor.part.viewer_index().is_some());
    let relays = viewers.map(|actor| (actor.glance().children, actor));
    relays.filter(|(children, _)| *children > 0).max_by_key(|(children, _)| *children).map(|(_, relay)| relay)
}

/// Returns the last speaker, but never the host.
fn speaker(cast: &Cast) -> Option<Arc<Actor>> {
    let speaks = |actor: &Arc<Actor>| actor.part.speaker_index().is_some_and(|index| index > 0);
    cast.present().into_iter().rfind(speaks)
}
