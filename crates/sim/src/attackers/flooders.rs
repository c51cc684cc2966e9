//! Flooders: guests that send far more than the budgets of their links allow.

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{
    Attach, Candidate, Confirmed, Decided, Description, Digest, ElectionMessage, ElectionReason, Heartbeat,
    Join, LinkKind, LinkMessage, MediaMessage, MemberMessage, Message, Offer, Outcome, Setup, TreeMessage,
};
use plenary_proto::seal::{Keypair, Signed};
use plenary_proto::{Address, PeerId, Rank, RoomId, Time};

use crate::deviation::{Deviation, Saying};
use crate::world::World;

/// What a flooder sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Messages that any peer may send: requests to join and to speak, offers, requests for places and state.
    Requests,
    /// Outcomes of elections and words of the host with signatures that don't hold, each costly to verify.
    Outcomes,
    /// Heartbeats.
    Beats,
}

/// Number of messages of each kind on each link in 25 ms. With 64 bytes counted per message each flood is at least four
/// times what a link may carry: 64 KiB a second after a burst of 256 KiB.
const REQUESTS: usize = 180;
const OUTCOMES: usize = 4;
const BEATS: usize = 100;
/// Number of voters that a flooder invents for each outcome.
const VOTERS: usize = 64;

/// A guest that floods all peers that it is linked with, and the host through the rendezvous.
#[derive(Debug)]
pub struct Flooder {
    flood: Flood,
    from: Time,
    keys: Keypair,
    room: RoomId,
    sent: u64,
}

impl Flooder {
    /// A flooder with these keys, from a time on.
    pub fn new(keys: Keypair, room: RoomId, flood: Flood, from: Time) -> Flooder {
        Flooder { flood, from, keys, room, sent: 0 }
    }

    fn request(&mut self) -> Message {
        self.sent += 1;
        match self.sent % 5 {
            0 => {
                let speaks = self.sent.is_multiple_of(2);
                Message::Member(MemberMessage::Join(Join { speaks, ..Join::viewer(&self.sent.to_string()) }))
            }
            1 => Message::Tree(TreeMessage::Attach(Attach::newcomer())),
            2 => Message::Member(MemberMessage::Digest(Digest {
                epoch: 0,
                rank: Rank::default(),
                evidence: [0; 32],
                asks: true,
            })),
            3 => {
                let description = self.description();
                Message::Link(LinkMessage::Offer(Offer { kind: LinkKind::Peer, description, ticket: None }))
            }
            _ => Message::Media(MediaMessage::SoloWanted { speaker: Some(self.keys.id()) }),
        }
    }

    fn description(&self) -> Description {
        let victim = ([198, 51, 100, 7], 4_000).into();
        Description {
            ufrag: Text::truncated(&format!("{:08x}", self.sent)),
            pwd: Text::truncated("simulated-password-0123"),
            fingerprint: [7; 32],
            setup: Setup::ActPass,
            payload_types: None,
            browser: None,
            candidates: List::truncated([Candidate::Host(victim)]),
            sctp: None,
            hello: None,
        }
    }

    fn outcome(&mut self) -> Message {
        self.sent += 1;
        let body = Outcome {
            term: self.sent as u32,
            reason: ElectionReason::Opening,
            mixers: List::truncated([self.keys.id()]),
            uplinks_bps: List::truncated([0]),
            standbys: List::new(),
            challenger: None,
            doubts: List::new(),
            evidence: [0; 32],
        };
        if self.sent.is_multiple_of(8) {
            let word = Confirmed::of(&body);
            return Message::Election(ElectionMessage::Confirmed(Signed::new(
                &self.keys,
                &self.room,
                1,
                self.sent,
                u64::MAX,
                word,
            )));
        }
        let signature = Decided::countersign(&self.keys, &self.room, 1, &body);
        let mut id = self.keys.id();
        let signatures = (0..VOTERS).map(|voter| {
            id.0[31] = voter as u8;
            (id, signature)
        });
        Message::Election(ElectionMessage::Decided(Box::new(Decided {
            epoch: 1,
            body,
            signatures: List::truncated(signatures),
        })))
    }
}

impl Deviation for Flooder {
    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if now < self.from {
            return Vec::new();
        }
        let mut says = Vec::new();
        for peer in linked {
            match self.flood {
                Flood::Requests => {
                    says.extend((0..REQUESTS).map(|_| Saying::Control(*peer, self.request())));
                }
                Flood::Outcomes => {
                    says.extend((0..OUTCOMES).map(|_| Saying::Control(*peer, self.outcome())));
                }
                Flood::Beats => {
                    says.extend((0..BEATS).map(|_| Saying::Beat(*peer, Heartbeat::HeadWanted)));
                }
            }
        }
        if self.flood == Flood::Requests {
            says.extend((0..REQUESTS / 4).map(|_| Saying::Signal(Address::Host, self.request())));
        }
        says
    }
}

/// Makes a peer flood all others from a time on, by index in the plan.
pub fn set_on(world: &mut World, planned: usize, flood: Flood, from: Time) {
    let (keys, room) = (world.keys_of(planned), world.room());
    world.deviate_from_the_start(planned, Box::new(Flooder::new(keys, room, flood, from)));
}
