//! Squatters: ids of one owner that come to the stage right after the host, in order to be a majority there. They sign
//! nothing that others propose.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use plenary_proto::bounded::List;
use plenary_proto::message::{
    Confirmed, Decided, ElectionMessage, ElectionReason, Heir, HostMessage, MemberMessage, Message, Outcome,
    ProvenRoster, ROSTER_MAX, Reign, Reigns, Roster, SignedRoster, Successor, first_epoch, reign_of,
};
use plenary_proto::seal::{Countersigned, Keypair, Signed};
use plenary_proto::time::SECOND;
use plenary_proto::{Address, Input, Output, PeerId, RoomId, Time};

use crate::deviation::Deviation;
use crate::world::World;

/// Interval at which the group attacks.
const AGAIN_US: u64 = 5 * SECOND;
/// Distances of the decided terms above the last known term: the next term, and the highest number.
const TERMS_AHEAD: [u32; 2] = [1, u32::MAX];

/// Knowledge of the group, and the peers that it deceives.
#[derive(Debug)]
struct Plot {
    room: RoomId,
    keys: Vec<Keypair>,
    ids: BTreeSet<PeerId>,
    everyone: Vec<PeerId>,
    /// The last roster of which the group is a majority.
    ours: Option<SignedRoster>,
    /// Highest term that a member has seen.
    term: u32,
    next_at: Time,
}

impl Plot {
    fn learn(&mut self, roster: &SignedRoster) {
        let newer = self.ours.as_ref().is_none_or(|ours| ours.epoch < roster.epoch);
        let members = roster.body.entries.iter().filter(|entry| self.ids.contains(&entry.peer)).count();
        if newer && 2 * members > roster.body.entries.len() && reign_of(roster.epoch) == 0 {
            self.ours = Some(roster.clone());
        }
    }

    /// Returns what the group sends to everyone: outcomes, and a roster of one of them as host, each signed by all
    /// members under the last roster that they were a majority of.
    fn messages(&self) -> Vec<Message> {
        let Some(ours) = &self.ours else { return Vec::new() };
        let heir = self.keys.iter().find(|keys| ours.body.heirs.contains(&keys.id()));
        let Some(heir) = heir.or(self.keys.first()) else { return Vec::new() };
        let outcomes = TERMS_AHEAD.map(|ahead| {
            let term = self.term.saturating_add(ahead);
            let body = Outcome {
                term,
                reason: ElectionReason::Opening,
                mixers: List::truncated([heir.id()]),
                uplinks_bps: List::truncated([0]),
                standbys: List::new(),
                challenger: None,
                doubts: List::new(),
                evidence: [0; 32],
            };
            let sign =
                |keys: &Keypair| (keys.id(), Decided::countersign(keys, &self.room, ours.epoch, &body));
            let signatures = List::truncated(self.keys.iter().map(sign));
            (
                body.clone(),
                Message::Election(ElectionMessage::Decided(Box::new(Decided {
                    epoch: ours.epoch,
                    body,
                    signatures,
                }))),
            )
        });
        let words = outcomes.iter().map(|(outcome, _)| {
            let word = Confirmed::of(outcome);
            Message::Election(ElectionMessage::Confirmed(Signed::new(
                heir,
                &self.room,
                ours.epoch,
                u64::MAX,
                u64::MAX,
                word,
            )))
        });
        let body = Heir { number: 1, host: heir.id() };
        let sign = |keys: &Keypair| {
            (keys.id(), Countersigned::<Heir, ROSTER_MAX>::countersign(keys, &self.room, ours.epoch, &body))
        };
        let signatures = List::truncated(self.keys.iter().map(sign));
        let chosen = Countersigned { epoch: ours.epoch, body, signatures };
        let chosen = Reign::Chosen { under: ours.signed.clone(), chosen };
        let named = Successor { number: 1, host: heir.id() };
        let named = Reign::Named { named: Signed::new(heir, &self.room, ours.epoch, 1, u64::MAX, named) };
        let rosters = [chosen, named].map(|reign| {
            let mut entries = ours.body.entries.to_vec();
            entries.retain(|entry| entry.peer != heir.id());
            entries.extend(ours.body.entries.iter().find(|entry| entry.peer == heir.id()).cloned());
            entries.reverse();
            let body = Roster { host: heir.id(), entries: List::truncated(entries), ..ours.body.clone() };
            let signed = Signed::new(heir, &self.room, first_epoch(1), 1, u64::MAX, body);
            Message::Member(MemberMessage::Roster(SignedRoster::new(ProvenRoster {
                signed,
                reigns: Reigns(List::truncated([reign])),
            })))
        });
        let words: Vec<_> = words.collect();
        let outcomes = outcomes.into_iter().map(|(_, message)| message);
        [Message::Member(MemberMessage::Roster(ours.clone()))]
            .into_iter()
            .chain(words)
            .chain(outcomes)
            .chain(rosters)
            .collect()
    }
}

/// Whether an output helps the others to decide something.
fn is_vote(output: &Output) -> bool {
    let (Output::Control(_, message) | Output::Signal(_, message) | Output::Relay { message, .. }) = output
    else {
        return false;
    };
    matches!(
        message,
        Message::Election(ElectionMessage::Vote { .. } | ElectionMessage::PreVote { .. })
            | Message::Host(HostMessage::ReignVote { .. })
    )
}

/// Member of the group, or a viewer that acts for it after its members have left.
#[derive(Clone, Debug)]
pub struct Squatter(Arc<Mutex<Plot>>);

impl Squatter {
    /// A member of a group with these keys that deceives everyone else from a time on; each clone is another member, or
    /// acts for the group.
    pub fn of(room: RoomId, keys: Vec<Keypair>, everyone: Vec<PeerId>, from: Time) -> Squatter {
        let ids = keys.iter().map(Keypair::id).collect();
        Squatter(Arc::new(Mutex::new(Plot { room, keys, ids, everyone, ours: None, term: 0, next_at: from })))
    }

    fn plot(&self) -> std::sync::MutexGuard<'_, Plot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deviation for Squatter {
    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>) {
        let mut plot = self.plot();
        if !is_vote(&output) {
            instead.push(output);
        }
        if now < plot.next_at {
            return;
        }
        plot.next_at = now + AGAIN_US;
        let messages = plot.messages();
        for peer in plot.everyone.iter().filter(|peer| !plot.ids.contains(peer)) {
            let to = Address::Peer(*peer);
            instead.extend(messages.iter().map(|message| Output::Signal(to, message.clone())));
        }
    }

    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        if let Input::Message { message, .. } = &input {
            match &**message {
                Message::Member(MemberMessage::Roster(roster)) => self.plot().learn(roster),
                Message::Member(MemberMessage::Admit(admit)) => self.plot().learn(&admit.roster),
                Message::Election(ElectionMessage::Decided(decided)) => {
                    let mut plot = self.plot();
                    plot.term = plot.term.max(decided.body.term);
                }
                _ => {}
            }
        }
        Some(input)
    }
}

/// Makes peers squat: `members` sign, and they and `accomplices` send, from a time on, to all peers of the plan. All
/// deviate from the moment they join.
pub fn set_on(world: &mut World, members: &[usize], accomplices: &[usize], from: Time) {
    let keys: Vec<Keypair> = members.iter().map(|at| world.keys_of(*at)).collect();
    let everyone = (0..world.plan().peers.len()).map(|at| world.planned(at)).collect();
    let squatter = Squatter::of(world.room(), keys, everyone, from);
    for at in members.iter().chain(accomplices) {
        world.deviate_from_the_start(*at, Box::new(squatter.clone()));
    }
}
