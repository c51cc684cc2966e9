//! What an application hears of its room.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::{
    CodecOutcome, CodecUse, ConnectionState, Departure, Effort, EffortWhy, End, Member, Reason, Shedding, Why,
};
use crate::id::{PeerId, Rank};
use crate::io::{CodecClaim, VoicesState};
use crate::message::{Delivery, ElectionReason, MediaSeen, Muted};
use crate::score::Tally;
use crate::stage::Mode;

/// Event of a room, for the application. As JSON an object with the event's name as `what`, beside its fields:
/// `{"what":"floor","speaks":true}`.
///
/// Those up to [`Event::InvariantBroken`] come from the brain, the others from what surrounds it: natives and pages
/// tell them alike where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "what", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    // ── this peer in the room ────────────────────────────────────────────────────────────────────────────────
    /// The host has admitted this peer.
    Admitted,
    /// This peer can't join; no further event follows.
    Refused(Why),
    /// The host has not answered the join request yet, and the request was sent again.
    Waiting {
        /// Number of requests sent so far.
        tries: u32,
    },
    /// This peer waits in the lobby until the host lets it in.
    InLobby,
    /// This peer has become a speaker on stage, or is no speaker any more.
    Floor {
        /// Whether it speaks.
        speaks: bool,
    },
    /// The host offers this peer the floor: the command "speak" accepts it.
    FloorOffered,
    /// The host has denied this peer the floor.
    FloorDenied,
    /// The host has asked this peer to send no picture or no sound, and it doesn't any more. It may unmute itself.
    MutedByHost(Muted),
    /// The host has removed this peer from the room.
    Removed,
    /// The host has ended the room.
    Ended,
    /// This peer leaves, and has handed its duties over: its links may be closed.
    HandedOver,

    // ── the host's ───────────────────────────────────────────────────────────────────────────────────────────
    /// At the host: a newcomer waits in the lobby. "admit" lets it in, "deny" turns it away. A page tells at most one a
    /// second.
    Knock {
        /// The newcomer.
        peer: PeerId,
        /// Name of the newcomer.
        name: String,
        /// It comes for nothing but to mix, and the stage is closed or takes mixers that the host named: letting it in
        /// names it.
        mixes: bool,
    },
    /// At the host: a peer wants to speak, and the stage isn't open to it. "promote" grants the floor, "demote" denies
    /// it. A page tells at most one a second.
    FloorWanted {
        /// The peer that wants to speak.
        peer: PeerId,
        /// Name of the peer.
        name: String,
    },
    /// At the host, which takes its room back: a host that the stage chose meanwhile had removed a peer. It stays out
    /// only if "remove" removes it again.
    RemovedByAnother {
        /// The removed peer.
        peer: PeerId,
        /// Name of the peer; empty if it isn't known.
        name: String,
        /// The host that removed it.
        by: PeerId,
    },
    /// At the host: several members were sent nothing by a viewer that had promised to feed them. It may be hostile, or
    /// have a bad line. Nothing follows by itself: "remove" removes it. At most once a minute for each viewer.
    NotForwarding {
        /// The viewer.
        peer: PeerId,
        /// Name of the viewer.
        name: String,
    },

    // ── the room ─────────────────────────────────────────────────────────────────────────────────────────────
    /// The stage has changed: the snapshot has the new one.
    Stage {
        /// Epoch of the roster.
        epoch: u32,
    },
    /// The room has another host. After the first roster, this means that the old host is gone and that the stage has
    /// made an heir the host.
    Host {
        /// The host; null while there is none.
        peer: Option<PeerId>,
    },
    /// The mode has changed: mesh, pass-through or mixer.
    Mode {
        /// The mode from now on.
        mode: Mode,
    },
    /// The room needs a mixer, and no peer consents to mix: its first four speakers send to each other, and the
    /// audience and further speakers get nothing.
    NoMixer,
    /// This viewer has had no parent for 10 s, and peers that it asked had no place: the room's relays feed as many
    /// viewers as they can. The search goes on. Sent once, until this viewer has a parent.
    NoPlace,
    /// An election has opened.
    ElectionOpened {
        /// Term of the election.
        term: u32,
        /// Reason of the election.
        reason: ElectionReason,
    },
    /// An election is decided: a majority of the stage has signed its outcome.
    Elected {
        /// Term of the election.
        term: u32,
        /// Reason of the election.
        reason: ElectionReason,
        /// Number of peers that signed the outcome.
        signatures: usize,
        /// Number of peers on the roster under which the election took place; null if this peer doesn't know that
        /// roster, for example after a restart of the host.
        roster: Option<usize>,
        /// The elected mixers, the lead first.
        mixers: Vec<PeerId>,
        /// The standbys, which are kept warm.
        standbys: Vec<PeerId>,
        /// Scores of the candidates, the best first; empty if this peer knows only the outcome.
        tallies: Vec<Tally>,
    },
    /// A ballot's outcome doesn't follow from its reports and claims, so this peer didn't sign it.
    BallotRejected {
        /// Term of the election.
        term: u32,
        /// The opener that sent the ballot.
        opener: PeerId,
    },
    /// A standby or another mixer has taken over from a mixer without a vote.
    Failover {
        /// Rank of the new mandate.
        rank: Rank,
        /// The successor.
        peer: PeerId,
        /// The mixer requested the failover, instead of falling silent.
        polite: bool,
    },
    /// A failover was withdrawn, because the mixer is alive.
    Withdrawn {
        /// Rank of the mandate that ended.
        rank: Rank,
        /// The peer that had taken over.
        peer: PeerId,
    },
    /// A measurement requested by the command "measure" is done.
    Measured {
        /// The measured peer.
        peer: PeerId,
        /// Bandwidth shown by each packet train, bits per second. The first train, a guess, counts only when no other
        /// one arrived; empty if none arrived.
        samples_bps: Vec<u64>,
        /// Round-trip time, microseconds; 0 if unknown.
        rtt_us: u32,
        /// Media that arrived from the peer over the last 20 s; null unless it did throughout.
        media: Option<MediaSeen>,
        /// Codec times that the peer claims; null if it has none.
        codec: Option<CodecClaim>,
    },
    /// A peer on stage has sent data to the room.
    Data {
        /// The sender; its signature is verified.
        from: PeerId,
        /// Delivery guarantee that the sender chose.
        delivery: Delivery,
        /// The data, at most 8 KiB.
        #[serde(serialize_with = "numbers")]
        #[cfg_attr(test, ts(as = "Vec<u8>"))]
        bytes: Bytes,
    },
    /// Reliable data was lost for good. This happens after several seconds without a parent.
    DataMissed {
        /// The sender of the lost data.
        from: PeerId,
        /// Number of lost pieces.
        pieces: u64,
    },
    /// The stream of the speaker requested by the command "solo" arrives from now on, or is unavailable: the mixers
    /// have no capacity, the room has no mixer, or that peer doesn't speak. The request is retried automatically.
    Solo {
        /// The requested speaker.
        speaker: PeerId,
        /// Whether its stream arrives.
        comes: bool,
    },
    /// The speaker requested by the command "solo" doesn't allow that it is shown alone. The program is handed over
    /// instead. The request stays, in case the speaker allows it later.
    SoloRefused {
        /// The requested speaker.
        speaker: PeerId,
    },
    /// Whether each speaker's sound arrives, at a peer that wants it by the command "voices". The request stays: the
    /// sound comes once there is a mixer that can give it, or the host marks this peer as an agent.
    Voices {
        /// What became of the request.
        state: VoicesState,
    },
    /// Another parent feeds this peer.
    Parent {
        /// The parent; null for none.
        peer: Option<PeerId>,
    },
    /// Another peer is this peer's backup parent.
    Backup {
        /// The backup; null for none.
        peer: Option<PeerId>,
    },
    /// A peer has violated the protocol. Past a limit of violations its links are closed.
    PeerMisbehaved {
        /// The violator.
        peer: PeerId,
        /// Number of its violations so far.
        count: u32,
        /// Whether this peer dropped it.
        dropped: bool,
    },
    /// An internal fault: state machines notified each other in a cycle, and what was left was dropped.
    NotesDropped {
        /// Number of notifications that were dropped.
        notes: usize,
    },
    /// An internal fault: an invariant of this implementation doesn't hold. The room goes on.
    InvariantBroken {
        /// The invariant, in words.
        text: String,
    },

    // ── this peer's connection ───────────────────────────────────────────────────────────────────────────────
    /// The state of this peer's connection with the room has changed.
    Connection {
        /// The state from now on.
        state: ConnectionState,
    },
    /// The rendezvous has become reachable or unreachable; once for each change. An unreachable rendezvous is retried
    /// automatically; the room continues without it.
    Rendezvous {
        /// Whether the rendezvous is reachable.
        up: bool,
        /// Reason of the first attempt that failed.
        reason: Option<Reason>,
        /// Natively the cause as an English sentence, and whether a further attempt follows. Null at pages, and while
        /// the rendezvous is reachable.
        why: Option<String>,
    },
    /// Another peer says that it speaks another version of the protocol: the older program needs an update. At most two
    /// events a second, whatever guests send.
    OtherVersion {
        /// The peer.
        peer: PeerId,
        /// The version that it speaks.
        version: u8,
    },
    /// The clock of another peer differs from the room's time by more than five minutes, so its messages are refused:
    /// its rendezvous is of an earlier version, or its clock was set a moment ago. At most one event a second.
    OtherClock,
    /// This machine's clock differs from that of the rendezvous by more than 30 s, or by another amount than before.
    /// Nothing stops: letters to other peers go by the clock of the rendezvous from now on.
    OwnClock {
        /// Seconds by which this machine's clock is ahead; negative when it is behind, 0 when the two agree again.
        ahead_s: i64,
    },
    /// This machine has slept, or this process was stopped, so that other peers have given its links up: all are made
    /// anew; natively. Pauses below 5 s are no event.
    StoodStill {
        /// Length of the pause, milliseconds.
        pause_ms: u64,
    },
    /// This machine's network has changed, such as from Wi-Fi to a mobile one: the rendezvous is connected anew, and
    /// links look for another path.
    NetworkChanged,
    /// A link could not be made, since no UDP port is free, or there are too many links; natively.
    LinkTrouble {
        /// The cause, as an English sentence.
        text: String,
    },
    /// Something that this peer's user wants is refused, or something keeps it from its room and may pass; at pages,
    /// whose commands have no other answer.
    Trouble(Why),
    /// This many events were dropped, because the application did not fetch them in time; natively.
    Missed {
        /// Number of the events.
        events: u64,
    },
    /// The room is closed; no further event follows.
    Closed {
        /// How it ended.
        end: End,
    },

    // ── people ───────────────────────────────────────────────────────────────────────────────────────────────
    /// A peer has come on stage. With the first roster, each peer that is there already.
    Joined(Member),
    /// A peer is no longer on stage.
    Left {
        /// The peer.
        peer: PeerId,
        /// Reason, as far as the roster tells.
        why: Departure,
    },
    /// A peer on stage has changed: its part, its name, what it has muted, whether it records, or whether the host has
    /// lost contact with it. [`Event::Speaking`] reports the peers that speak at present.
    Changed {
        /// The peer before.
        was: Member,
        /// The peer now.
        is: Member,
    },
    /// The active speakers have changed, as heard at this peer.
    Speaking {
        /// The dominant speaker. It stays dominant for at least two seconds, and through silence until another peer
        /// speaks.
        dominant: Option<PeerId>,
        /// All peers that speak at present, in stage order; pauses between words don't end a peer's speech.
        speaking: Vec<PeerId>,
    },
    /// This number of viewers, which aren't on stage, record what they receive, by their own word; told on change.
    /// Members on stage say so themselves ([`Member::records`]).
    ViewersRecord {
        /// Number of the viewers.
        viewers: u32,
    },
    /// The peers that mix have changed, or how they are named; at pages.
    MixedBy {
        /// The mixers in force.
        mixers: Vec<PeerId>,
        /// Their names as a line to show beside the program; null while nobody mixes.
        text: Option<String>,
    },

    // ── the invite, and this machine ─────────────────────────────────────────────────────────────────────────
    /// The host has replaced the invite: the old one admits nobody any more.
    InviteReplaced,
    /// The invite of a room that this page has opened: the first, and each later one.
    Invite {
        /// The invite.
        invite: String,
    },
    /// The user has asked for a list, by a line in the chat of a page.
    Lists {
        /// The list.
        list: Listing,
    },
    /// At the mixer: the overload control has changed the work spent on the program's pictures, down for lack
    /// of processor time or up again. If reduced frame rate or size lasts, the mixer asks for an election.
    MixerEffort {
        /// Effort from now on.
        effort: Effort,
        /// Reason of the change.
        why: EffortWhy,
    },
    /// A codec of this peer failed, panicked or hung, or a thread of its mixer panicked. It is replaced: by a new
    /// instance first, by the built-in codec next. When nothing is left to try, a mixer resigns and isn't a candidate
    /// any more while it is in the room, and a speaker sends no more of that kind; the room goes on.
    CodecFailed {
        /// What the codec was for.
        codec: CodecUse,
        /// What happened, in one line.
        text: String,
        /// What followed.
        then: CodecOutcome,
    },
    /// The load that this peer sheds has changed, because its machine is short of processor time, or is no longer.
    Shedding {
        /// The load from now on.
        shedding: Shedding,
    },
}

/// A list that a user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Listing {
    /// The peers in the room, and in the lobby.
    People,
    /// The peers that ask for the floor.
    Hands,
    /// The commands.
    Commands,
}

fn numbers<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(bytes.iter())
}

impl Event {
    /// Returns the reason that the event carries.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Event::Refused(why) | Event::Trouble(why) => Some(why.reason),
            Event::Rendezvous { reason, .. } => *reason,
            Event::Closed { end } => Some(end.reason()),
            _ => self.end().map(End::reason),
        }
    }

    /// Returns how this peer's part in the room ends by the event; `None` if it goes on.
    pub fn end(&self) -> Option<End> {
        match self {
            Event::Removed => Some(End::Removed),
            Event::Ended => Some(End::Ended),
            Event::HandedOver => Some(End::Left),
            _ => None,
        }
    }

    /// Returns the peers that the event names, for those that show them.
    pub fn peers(&self) -> Vec<PeerId> {
        match self {
            Event::Knock { peer, .. }
            | Event::FloorWanted { peer, .. }
            | Event::NotForwarding { peer, .. }
            | Event::Failover { peer, .. }
            | Event::Withdrawn { peer, .. }
            | Event::OtherVersion { peer, .. }
            | Event::Left { peer, .. }
            | Event::Joined(Member { peer, .. })
            | Event::Changed { is: Member { peer, .. }, .. }
            | Event::Data { from: peer, .. }
            | Event::Solo { speaker: peer, .. }
            | Event::SoloRefused { speaker: peer } => vec![*peer],
            Event::RemovedByAnother { peer, by, .. } => vec![*peer, *by],
            Event::Host { peer } | Event::Parent { peer } | Event::Backup { peer } => {
                peer.iter().copied().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(event: &Event) -> serde_json::Value {
        serde_json::to_value(event).unwrap()
    }

    #[test]
    fn an_event_is_an_object_with_its_name_and_its_fields() {
        let peer = PeerId([0xab; 32]);
        let muted = Event::MutedByHost(Muted { picture: false, sound: true });
        assert_eq!(
            json(&muted),
            serde_json::json!({ "what": "muted-by-host", "picture": false, "sound": true })
        );
        let refused = json(&Event::Refused(Reason::InviteExpired.into()));
        assert_eq!((&refused["what"], &refused["reason"]), (&"refused".into(), &"invite-expired".into()));
        assert_eq!(json(&Event::Host { peer: Some(peer) })["peer"], peer.to_string());
        let data =
            Event::Data { from: peer, delivery: Delivery::Loose, bytes: Bytes::from_static(&[7, 255]) };
        assert_eq!(
            (&json(&data)["bytes"], &json(&data)["delivery"]),
            (&serde_json::json!([7, 255]), &"loose".into())
        );
        assert_eq!(json(&Event::Closed { end: End::Ended })["end"], "ended");
    }
}
