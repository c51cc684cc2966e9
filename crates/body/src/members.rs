//! What changes on stage from one roster to the next, for the application.

use plenary_proto::PeerId;
use plenary_proto::app::{Departure, Event, Member};
use plenary_proto::message::Roster;

/// The stage as the application knows it.
#[derive(Debug, Default)]
pub(crate) struct Members {
    stage: Vec<Member>,
    recorders: u32,
    /// Generation of the newest invite.
    generation: Option<u16>,
    /// The peers that speak at present.
    pub(crate) speaking: Vec<PeerId>,
}

impl Members {
    /// Returns the peers on stage.
    pub(crate) fn of(&self, roster: &Roster) -> Vec<Member> {
        let entries = roster.entries.iter();
        entries.map(|entry| Member::new(entry, &self.speaking, &roster.rules.access.agents)).collect()
    }

    /// Compares a new roster with its predecessor, and returns the differences as events.
    pub(crate) fn follow(&mut self, roster: &Roster) -> Vec<Event> {
        let mut events = Vec::new();
        if std::mem::replace(&mut self.recorders, roster.recorders) != roster.recorders {
            events.push(Event::ViewersRecord { viewers: roster.recorders });
        }
        let now = self.of(roster);
        let before = std::mem::replace(&mut self.stage, now);
        events.extend(between(&before, &self.stage, &roster.rules.access.removed));
        let newest = roster.rules.access.generation;
        let known = *self.generation.get_or_insert(newest);
        if newest > known {
            self.generation = Some(newest);
            events.push(Event::InviteReplaced);
        }
        events
    }
}

/// Returns the events between two stages: first the peers that are gone, then those that have changed, then those
/// that have come. `removed` are the peers that the host has removed from the room.
fn between(before: &[Member], now: &[Member], removed: &[PeerId]) -> Vec<Event> {
    let find = |stage: &[Member], peer: PeerId| stage.iter().find(|member| member.peer == peer).cloned();
    let gone = before.iter().filter(|was| find(now, was.peer).is_none()).map(|was| {
        let why = match was.away {
            _ if removed.contains(&was.peer) => Departure::Removed,
            true => Departure::Lost,
            false => Departure::Left,
        };
        Event::Left { peer: was.peer, why }
    });
    let changed = now.iter().filter_map(|is| {
        let was = find(before, is.peer)?;
        // speech at present has an event of its own
        let mut same = was.clone();
        same.speaking = is.speaking;
        (same != *is).then(|| Event::Changed { was, is: is.clone() })
    });
    let came = now.iter().filter(|is| find(before, is.peer).is_none()).cloned().map(Event::Joined);
    gone.chain(changed).chain(came).collect()
}

#[cfg(test)]
mod tests {
    use plenary_proto::bounded::Text;
    use plenary_proto::message::{Entry, Muted, Sharing, Vote};

    use super::*;

    fn entry(id: u8) -> Entry {
        Entry {
            peer: PeerId([id; 32]),
            name: Text::truncated(&format!("peer {id}")),
            speaks: true,
            views: true,
            mixes: false,
            away: false,
            index: id,
            votes: Vote::No,
            muted: Muted::default(),
            shares: Sharing::No,
            no_solo: false,
            session: 0,
            records: false,
        }
    }

    fn stage(entries: &[Entry], speaking: &[PeerId]) -> Vec<Member> {
        entries.iter().map(|entry| Member::new(entry, speaking, &[])).collect()
    }

    #[test]
    fn two_rosters_tell_who_came_who_left_and_what_has_changed() {
        let entries: Vec<_> = (0..4).map(entry).collect();
        let first = stage(&entries, &[]);
        assert_eq!(between(&[], &first, &[]), first.iter().cloned().map(Event::Joined).collect::<Vec<_>>());
        assert_eq!(between(&first, &first, &[]), []);

        let away = Entry { away: true, ..entry(1) };
        let later = stage(&[entry(0), away, entry(3), entry(7)], &[PeerId([3; 32])]);
        let left = |id, why| Event::Left { peer: PeerId([id; 32]), why };
        let changed = Event::Changed { was: first[1].clone(), is: later[1].clone() };
        let expected = [left(2, Departure::Left), changed, Event::Joined(later[3].clone())];
        assert_eq!(between(&first, &later, &[]), expected);

        let muted = Muted { picture: false, sound: true };
        let last = stage(&[Entry { muted, shares: Sharing::Alone, ..entry(3) }], &[]);
        let changed = Event::Changed { was: later[2].clone(), is: last[0].clone() };
        let expected =
            [left(0, Departure::Left), left(1, Departure::Lost), left(7, Departure::Removed), changed];
        assert_eq!(between(&later, &last, &[PeerId([7; 32])]), expected);
    }
}
