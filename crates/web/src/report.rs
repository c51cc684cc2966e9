//! What a page's application sees beside the events and the snapshot that natives see: names as they are shown, what a
//! host sees of its audience, and how the program arrives.

use plenary_body::people::{self, People};
use plenary_body::{Body, Spread};
use plenary_proto::app::page::{Aside, Listed, Named, PageSnapshot, Quantiles, Sends};
use plenary_proto::app::{ConnectionState, Nat, Snapshot, Way};
use plenary_proto::message::Vote;
use plenary_proto::packet::LinkId;
use plenary_proto::{Event, PeerId};

/// Returns what stands beside an event. `others`: see [`Aside::others`].
pub(crate) fn aside(event: &Event, others: usize, body: &Body, now_us: u64) -> Aside {
    let peers = event.peers();
    if peers.is_empty() {
        return Aside { others, ..Aside::default() };
    }
    let people = People::of(body, now_us);
    let label = |peer: &PeerId| match event {
        // a newcomer isn't listed, and a removed peer no longer
        Event::Knock { peer: named, name, .. }
        | Event::FloorWanted { peer: named, name }
        | Event::NotForwarding { peer: named, name }
        | Event::RemovedByAnother { peer: named, name, .. }
            if named == peer && !name.is_empty() =>
        {
            people.label(peer, name)
        }
        _ => people.label_of(peer),
    };
    Aside { labels: peers.iter().map(|peer| (*peer, label(peer))).collect(), others }
}

fn quantiles(spread: Spread) -> Quantiles {
    Quantiles { p50: spread.p50_ms, p95: spread.p95_ms }
}

/// Both snapshots.
pub(crate) struct Seen {
    pub(crate) room: Snapshot,
    pub(crate) page: PageSnapshot,
}

/// What a snapshot says of the page itself.
pub(crate) struct About<'a> {
    pub(crate) connection: ConnectionState,
    pub(crate) invite: Option<String>,
    /// Returns by which way a link goes that is up.
    pub(crate) way: &'a dyn Fn(LinkId) -> Option<Way>,
    pub(crate) nat: Nat,
}

impl Seen {
    pub(crate) fn new(body: &Body, about: About<'_>, now_us: u64) -> Seen {
        let mut room = body.snapshot(about.connection, about.way);
        room.nat = about.nat;
        let reception = body.reception(now_us);
        let people = People::of(body, now_us);
        let listed = body.directory(now_us).into_iter().map(|(peer, entry, _)| Listed {
            peer,
            name: entry.name.to_string(),
            parent: entry.parent,
            depth: entry.depth,
        });
        let [picture, sound] = body.sends().map(|sends| sends && room.speaks);
        let page = PageSnapshot {
            labels: people.all().map(|(peer, name)| (*peer, people.label(peer, name))).collect(),
            invite: about.invite,
            waiting: body.lobby(),
            wanting: body.hands().into_iter().map(|(peer, name)| Named { peer, name }).collect(),
            directory: listed.collect(),
            mixed_by: mixed_by(body, &people),
            sends: Sends { picture, sound },
            first_frame_ms: reception.first_frame_ms,
            frames_received: reception.frames_received,
            frames_expected: reception.frames_expected,
            frames_left_out: reception.frames_left_out,
            frames_late: reception.frames_late,
            longest_video_gap_ms: (reception.frames_received > 0).then_some(reception.longest_video_gap_ms),
            longest_audio_gap_ms: reception.longest_audio_gap_ms,
            latency_ms: reception.latency.map(quantiles),
            sound_latency_ms: reception.sound_latency.map(quantiles),
            av_skew_ms: reception.av_skew.map(quantiles),
        };
        Seen { room, page }
    }
}

/// Returns the mixers in force as they are shown beside the program. The mandate proves them, so that no relay can
/// claim others; each of them sees and hears all speakers.
pub(crate) fn mixed_by(body: &Body, people: &People) -> Option<String> {
    let stage = body.stage();
    let mixer = |peer: &PeerId| {
        let entry = stage.iter().find(|entry| entry.peer == *peer);
        (people.label_of(peer), entry.is_some_and(|entry| entry.votes == Vote::Named))
    };
    let mixers: Vec<_> = body.brain().mixers().iter().map(mixer).collect();
    (!mixers.is_empty()).then(|| people::mixers(&mixers))
}
