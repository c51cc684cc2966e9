//! Replayers: members that record what others sign, and send it again later.

use plenary_proto::time::MS;
use plenary_proto::{Address, Input, PeerId, Time};

use plenary_proto::message::{
    DataMessage, ElectionMessage, FailoverMessage, HostMessage, LinkMessage, MediaMessage, MemberMessage,
    Message, TreeMessage,
};

use crate::deviation::{Deviation, Saying};

/// Interval of the replayed messages.
const EACH_US: u64 = 50 * MS;
/// Maximum number of recorded messages.
const RECORDED_MAX: usize = 512;

/// A member that sends each signed message that it has received to all others, again and again, from a time on.
#[derive(Debug)]
pub struct Replayer {
    everyone: Vec<PeerId>,
    from: Time,
    recorded: Vec<Message>,
    next: usize,
}

impl Replayer {
    /// A replayer that records from the beginning, and sends from a time on, to all of these peers.
    pub fn new(everyone: Vec<PeerId>, from: Time) -> Replayer {
        Replayer { everyone, from, recorded: Vec::new(), next: 0 }
    }
}

/// Returns whether a message contains others' signatures, or says something in another's place.
fn is_worth_it(message: &Message) -> bool {
    matches!(
        message,
        Message::Member(MemberMessage::Admit(_) | MemberMessage::Refuse(_))
            | Message::Member(MemberMessage::Roster(_))
            | Message::Host(HostMessage::HandOver(_))
            | Message::Election(ElectionMessage::Opening(_) | ElectionMessage::Ballot(_))
            | Message::Election(ElectionMessage::Decided(_) | ElectionMessage::Confirmed(_))
            | Message::Election(ElectionMessage::Vote { .. } | ElectionMessage::PreVote { .. })
            | Message::Host(HostMessage::ReignVote { .. })
            | Message::Election(ElectionMessage::Claim(_) | ElectionMessage::Report(_))
            | Message::Failover(FailoverMessage::Failover(_) | FailoverMessage::FailoverWanted { .. })
            | Message::Failover(FailoverMessage::Alive(_))
            | Message::Member(MemberMessage::Ticket(_) | MemberMessage::Key(_))
            | Message::Data(DataMessage::Data(_))
            | Message::Media(MediaMessage::Stream(_))
            | Message::Host(HostMessage::Floor(_))
            | Message::Member(MemberMessage::Leave)
            | Message::Tree(TreeMessage::Detach)
            | Message::Link(LinkMessage::Bye(_))
            | Message::Tree(TreeMessage::Dismiss)
            | Message::Member(MemberMessage::Join(_))
            | Message::Tree(TreeMessage::Attach(_))
    )
}

impl Deviation for Replayer {
    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        if let Input::Message { message, .. } = &input
            && is_worth_it(message)
            && self.recorded.len() < RECORDED_MAX
            && !self.recorded.contains(message)
        {
            self.recorded.push((**message).clone());
        }
        Some(input)
    }

    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if now < self.from || self.recorded.is_empty() {
            return Vec::new();
        }
        self.from = now + EACH_US;
        let message = &self.recorded[self.next % self.recorded.len()];
        self.next += 1;
        let on_links = linked.iter().map(|peer| Saying::Control(*peer, message.clone()));
        let all = self.everyone.iter().map(|peer| Saying::Signal(Address::Peer(*peer), message.clone()));
        on_links.chain(all).collect()
    }
}
