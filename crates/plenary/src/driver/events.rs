//! Events of the body, as the log and the application get them.

use plenary_body::{BodyEvent, MixerFailure};
use plenary_media::mixer::{EffortChange, MixerPart};
use plenary_proto::{Event, PeerId};

use crate::event::{CodecOutcome, CodecUse, Departure, RoomEvent};
use crate::snapshot::Member;

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
        Event::NoPlace => tracing::info!("no relay has a place for this viewer"),
        Event::ElectionOpened { term, reason } => tracing::info!("election {term} opens: {reason:?}"),
        Event::Decided { term, signatures, roster, mixers, standbys, .. } => {
            let of = roster.map(|roster| format!(" of {roster}")).unwrap_or_default();
            tracing::info!(?mixers, ?standbys, "election {term} is decided: {signatures}{of} signed");
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

/// Returns the events between two rosters: first the peers that are gone, then those that have changed, then those
/// that have come. `removed` are the peers that the host has removed from the room.
pub(super) fn of_members(before: &[Member], now: &[Member], removed: &[PeerId]) -> Vec<RoomEvent> {
    let find = |stage: &[Member], peer: PeerId| stage.iter().find(|member| member.peer == peer).cloned();
    let gone = before.iter().filter(|was| find(now, was.peer).is_none()).map(|was| {
        let why = match was.away {
            _ if removed.contains(&was.peer) => Departure::Removed,
            true => Departure::Lost,
            false => Departure::Left,
        };
        RoomEvent::Left { peer: was.peer, why }
    });
    let changed = now.iter().filter_map(|is| {
        let was = find(before, is.peer)?;
        // speech at present has an event of its own
        let differs = Member { speaking: is.speaking, ..was.clone() } != *is;
        differs.then(|| RoomEvent::Changed { was, is: is.clone() })
    });
    let came = now.iter().filter(|is| find(before, is.peer).is_none()).cloned().map(RoomEvent::Joined);
    gone.chain(changed).chain(came).collect()
}

/// Returns an event as the application gets it, if it does.
pub(super) fn public(event: BodyEvent) -> Option<RoomEvent> {
    match event {
        BodyEvent::Brain(event) => of_brain(event),
        BodyEvent::Speaking { dominant, speaking } => Some(RoomEvent::Speaking { dominant, speaking }),
        BodyEvent::Shedding(shedding) => Some(RoomEvent::Shedding(shedding)),
        BodyEvent::Effort(EffortChange { effort, why }) => Some(RoomEvent::MixerEffort { effort, why }),
        BodyEvent::MixerFailed(failure) => of_mixer(failure),
    }
}

fn of_mixer(MixerFailure { part, speaker, text, remedy }: MixerFailure) -> Option<RoomEvent> {
    let what = match part {
        MixerPart::Encoder => CodecUse::Program,
        MixerPart::Compositor => CodecUse::Compositor,
        MixerPart::Decoder(_) => CodecUse::Speaker(speaker?), // one that has left meanwhile is nobody's concern
        MixerPart::SoundEncoder | MixerPart::SoundMix => CodecUse::ProgramSound,
        MixerPart::SoundDecoder => CodecUse::SpeakersSound,
    };
    let then = CodecOutcome::of(remedy, part.is_vital());
    Some(RoomEvent::CodecFailed { what, text, then })
}

fn of_brain(event: Event) -> Option<RoomEvent> {
    Some(match event {
        Event::Admitted => RoomEvent::Admitted,
        Event::InLobby => RoomEvent::InLobby,
        Event::Knock { peer, name, mixes } => RoomEvent::Knock { peer, name, mixes },
        Event::RemovedByAnother { peer, name, by } => RoomEvent::RemovedByAnother { peer, name, by },
        Event::NotForwarding { peer, name } => RoomEvent::NotForwarding { peer, name },
        Event::MuteWanted(muted) => RoomEvent::MutedByHost(muted),
        Event::Removed => RoomEvent::Removed,
        Event::Ended => RoomEvent::Ended,
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
        Event::NoPlace => RoomEvent::NoPlace,
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
        Event::SoloRefused { speaker } => RoomEvent::SoloRefused { speaker },
        Event::Solo { speaker, comes } => RoomEvent::Solo { speaker, comes },
        Event::Voices(state) => RoomEvent::Voices(state),
        Event::Parent(parent) => RoomEvent::Parent(parent),
        Event::Backup(backup) => RoomEvent::Backup(backup),
        Event::PeerMisbehaved { peer, count, dropped } => RoomEvent::PeerMisbehaved { peer, count, dropped },
    })
}

#[cfg(test)]
mod tests {
    use plenary_proto::message::Muted;

    use super::*;

    fn member(id: u8) -> Member {
        Member {
            peer: PeerId([id; 32]),
            name: format!("peer {id}"),
            speaks: true,
            index: id,
            mixes: false,
            away: false,
            muted: Muted::default(),
            shares: false,
            no_solo: false,
            records: false,
            is_agent: false,
            named: false,
            speaking: false,
        }
    }

    #[test]
    fn two_rosters_tell_who_came_who_left_and_what_has_changed() {
        let stage: Vec<_> = (0..4).map(member).collect();
        assert_eq!(
            of_members(&[], &stage, &[]),
            stage.iter().cloned().map(RoomEvent::Joined).collect::<Vec<_>>()
        );
        assert_eq!(of_members(&stage, &stage, &[]), []);

        let away = Member { away: true, ..member(1) };
        let changed = RoomEvent::Changed { was: member(1), is: away.clone() };
        let later = [member(0), away.clone(), Member { speaking: true, ..member(3) }, member(7)];
        let left = |id, why| RoomEvent::Left { peer: PeerId([id; 32]), why };
        let expected = [left(2, Departure::Left), changed, RoomEvent::Joined(member(7))];
        assert_eq!(of_members(&stage, &later, &[]), expected);

        let muted = Muted { picture: false, sound: true };
        let last = [Member { muted, shares: true, ..member(3) }];
        let changed = RoomEvent::Changed { was: later[2].clone(), is: last[0].clone() };
        let expected =
            [left(0, Departure::Left), left(1, Departure::Lost), left(7, Departure::Removed), changed];
        assert_eq!(of_members(&later, &last, &[PeerId([7; 32])]), expected);
    }
}
