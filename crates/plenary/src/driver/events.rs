//! Events of the body, as the log gets them.

use plenary_proto::Event;

/// Logs an event: changes of the whole room at level info, those of one peer at debug.
pub(super) fn log(event: &Event) {
    match event {
        Event::PeerMisbehaved { peer, count, dropped } => {
            tracing::warn!(?peer, count, dropped, "a peer violated the protocol");
        }
        Event::NotesDropped { notes } => {
            tracing::error!(notes, "state machines notified each other in a cycle");
        }
        Event::InvariantBroken { text } => tracing::error!("a broken invariant: {text}"),
        Event::Mode { mode } => tracing::info!("mode: {mode:?}"),
        Event::NoMixer => tracing::info!("nobody mixes"),
        Event::NoPlace => tracing::info!("no relay has a place for this viewer"),
        Event::ElectionOpened { term, reason } => tracing::info!("election {term} opens: {reason:?}"),
        Event::Elected { term, signatures, roster, mixers, standbys, .. } => {
            let of = roster.map(|roster| format!(" of {roster}")).unwrap_or_default();
            tracing::info!(?mixers, ?standbys, "election {term} is decided: {signatures}{of} signed");
        }
        Event::BallotRejected { term, opener } => tracing::info!(?opener, "ballot of {term} is not signed"),
        Event::Failover { rank, peer, polite } => {
            let why = if *polite { "the mixer left" } else { "the mixer is silent" };
            tracing::info!(?peer, "{rank} takes over: {why}");
        }
        Event::Withdrawn { rank, peer } => tracing::info!(?peer, "{rank} is withdrawn: the mixer lives"),
        Event::OtherVersion { peer, version } => {
            tracing::warn!(?peer, version, "the peer speaks another version of the protocol");
        }
        Event::OwnClock { ahead_s } => tracing::info!(ahead_s, "the rendezvous tells another time"),
        _ => tracing::debug!("{event:?}"),
    }
}
