//! Events of the body, as the log and the application get them.

use plenary_body::BodyEvent;
use plenary_media::mixer::EffortChange;
use plenary_proto::Event;

use crate::event::RoomEvent;

/// Returns whether an event answers a peer that waits to join: admitted, or refused.
pub(super) fn settles(event: &Event) -> Option<Result<(), crate::Error>> {
    match event {
        Event::Admitted => Some(Ok(())),
        Event::Refused(refusal) => Some(Err((*refusal).into())),
        _ => None,
    }
}

/// Logs an event: changes of the whole room at level info, those of one peer at debug.
pub(super) fn log(event: &Event) {
    match event {
        Event::PeerMisbehaved { peer, count, dropped } => {
            tracing::warn!(?peer, count, dropped, "a peer violated the protocol");
        }
        Event::NotesDropped { notes } => {
            tracing::error!(notes, "state machines notified each other in a cycle");
        }
        Event::InvariantBroken(what) => tracing::error!("a broken invariant: {what}"),
        Event::Mode(mode) => tracing::info!("mode: {mode:?}"),
        Event::NoMixer => tracing::info!("nobody mixes"),
        Event::ElectionOpened { term, reason } => tracing::info!("election {term} opens: {reason:?}"),
        Event::Decided { term, signatures, roster, mixers, standbys, .. } => {
            tracing::info!(?mixers, ?standbys, "election {term} is decided: {signatures} of {roster} signed");
        }
        Event::BallotRejected { term, opener } => tracing::info!(?opener, "ballot of {term} is not signed"),
        Event::Failover { rank, peer, polite } => {
            let why = if *polite { "the mixer left" } else { "the mixer is silent" };
            tracing::info!(?peer, "{rank} takes over: {why}");
        }
        Event::Withdrawn { rank, peer } => tracing::info!(?peer, "{rank} is withdrawn: the mixer lives"),
        _ => tracing::debug!("{event:?}"),
    }
}

/// Returns an event as the application gets it, if it does.
pub(super) fn public(event: BodyEvent) -> Option<RoomEvent> {
    match event {
        BodyEvent::Brain(event) => of_brain(event),
        BodyEvent::Speaking { dominant, speaking } => Some(RoomEvent::Speaking { dominant, speaking }),
        BodyEvent::Shedding(shedding) => Some(RoomEvent::Shedding(shedding)),
        BodyEvent::Effort(EffortChange { effort, why }) => Some(RoomEvent::MixerEffort { effort, why }),
    }
}

fn of_brain(event: Event) -> Option<RoomEvent> {
    Some(match event {
        Event::Admitted => RoomEvent::Admitted,
        Event::Refused(_)
        | Event::BallotRejected { .. }
        | Event::Left
        | Event::NotesDropped { .. }
        | Event::InvariantBroken(_) => return None,
        Event::Waiting { tries } => RoomEvent::Waiting { tries },
        Event::Roster { epoch } => RoomEvent::Stage { epoch },
        Event::Host(host) => RoomEvent::Host(host),
        Event::Floor(speaks) => RoomEvent::Floor(speaks),
        Event::FloorOffered => RoomEvent::FloorOffered,
        Event::FloorDenied => RoomEvent::FloorDenied,
        Event::FloorWanted { peer, name } => RoomEvent::FloorWanted { peer, name },
        Event::Mode(mode) => RoomEvent::Mode(mode),
        Event::NoMixer => RoomEvent::NoMixer,
        Event::ElectionOpened { term, reason } => RoomEvent::ElectionOpened { term, reason },
        Event::Decided { term, reason, signatures, roster, mixers, standbys, tallies } => {
            RoomEvent::Elected { term, reason, signatures, roster, mixers, standbys, tallies }
        }
        Event::Failover { rank, peer, polite } => RoomEvent::Failover { rank, peer, polite },
        Event::Withdrawn { rank, peer } => RoomEvent::Withdrawn { rank, peer },
        Event::Measured { peer, samples_bps, rtt_us, media, codec } => {
            RoomEvent::Measured { peer, samples_bps, rtt_us, media, codec }
        }
        Event::Data { from, delivery, bytes } => RoomEvent::Data { from, delivery, bytes: bytes.into() },
        Event::DataMissed { from, pieces } => RoomEvent::DataMissed { from, pieces },
        Event::Solo { speaker, comes } => RoomEvent::Solo { speaker, comes },
        Event::Parent(parent) => RoomEvent::Parent(parent),
        Event::Backup(backup) => RoomEvent::Backup(backup),
        Event::PeerMisbehaved { peer, count, dropped } => RoomEvent::PeerMisbehaved { peer, count, dropped },
    })
}
