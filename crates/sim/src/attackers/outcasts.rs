//! Outcasts: peers that the host has removed, and that stay and come back as far as they can.

use plenary_proto::bounded::List;
use plenary_proto::message::{
    Attach, Digest, Join, LinkKind, LinkMessage, MediaMessage, MemberMessage, Message, Purpose, Relay,
    RouteMessage, SignedRoster, StreamUse, Ticket, TreeMessage,
};
use plenary_proto::seal::{Keypair, Signed};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Address, Input, Output, PeerId, Rank, RoomId, StreamKind, Time, Via};

use crate::deviation::{Deviation, Saying};
use crate::world::{UNIX_S_AT_ZERO, World};

/// Interval at which an outcast turns to the next of all peers.
const NEXT_US: u64 = 200 * MS;
/// Life of a ticket, in seconds.
const TICKET_LIFE_S: u64 = 600;

/// Returns whether a message contains a roster that removes a peer.
fn removes(peer: &PeerId, message: &Message) -> bool {
    let names = |roster: &SignedRoster| roster.body.rules.access.removed.contains(peer);
    match message {
        Message::Member(MemberMessage::Roster(roster)) => names(roster),
        Message::Member(MemberMessage::Admit(admit)) => names(&admit.roster),
        _ => false,
    }
}

/// A peer that is honest until it is removed. From then on its brain doesn't hear of it: it goes on feeding and
/// announcing, and searches new parents. Beside that it asks all peers in turn for links, places and admission with its
/// old ticket, directly and through those that are still linked with it.
#[derive(Debug)]
pub struct Outcast {
    me: PeerId,
    room: RoomId,
    others: Vec<PeerId>,
    ticket: Option<Signed<Ticket>>,
    program: Option<StreamUse>,
    is_removed: bool,
    /// Key of the host, by which its own brain believes that the others are members.
    host: Keypair,
    /// The peer that is asked next, and when; the peer that its brain is to link with.
    next: usize,
    next_at: Time,
    links_with: Option<PeerId>,
}

impl Outcast {
    fn learn(&mut self, message: &Message) {
        match message {
            Message::Member(MemberMessage::Admit(admit)) => {
                self.ticket = admit.ticket.clone().or(self.ticket.take())
            }
            Message::Media(MediaMessage::Stream(stream)) if stream.spec.kind == StreamKind::Program => {
                self.program = Some(*stream)
            }
            _ => {}
        }
    }

    /// Returns what it asks of any peer, beside a link.
    fn requests(&self) -> Vec<Message> {
        let join = Join { ticket: self.ticket.clone(), ..Join::viewer("outcast") };
        let attach = |purpose| Attach { purpose, ticket: self.ticket.clone(), ..Attach::newcomer() };
        vec![
            Message::Member(MemberMessage::Join(join)),
            Message::Tree(TreeMessage::Attach(attach(Purpose::Parent))),
            Message::Tree(TreeMessage::Attach(attach(Purpose::Backup))),
        ]
    }
}

/// Returns a request for a link that shows a ticket.
fn asks_for_link(ticket: Option<Signed<Ticket>>) -> Message {
    Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Peer, ticket: ticket.map(Box::new) })
}

/// Returns whether an output says goodbye on the link with one of these peers. Without it the other end keeps the link.
fn is_goodbye(output: &Output, is_kept: impl Fn(&PeerId) -> bool) -> bool {
    matches!(output, Output::Control(to, Message::Link(LinkMessage::Bye(_))) if is_kept(to))
}

impl Deviation for Outcast {
    fn output(&mut self, _: Time, output: Output, instead: &mut Vec<Output>) {
        if !is_goodbye(&output, |_| self.is_removed) {
            instead.push(output);
        }
    }

    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        match input {
            Input::Message { message, .. } if removes(&self.me, &message) => {
                self.is_removed = true;
                None
            }
            Input::Message { from, via, message } => {
                self.learn(&message);
                let parts = matches!(
                    *message,
                    Message::Tree(TreeMessage::Dismiss | TreeMessage::Detach)
                        | Message::Member(MemberMessage::Refuse(_))
                        | Message::Link(LinkMessage::Bye(_))
                );
                (!(self.is_removed && parts)).then_some(Input::Message { from, via, message })
            }
            // its brain sets up the link with the next peer as if that had asked for it
            Input::Timeout => Some(match self.links_with.take() {
                None => Input::Timeout,
                Some(from) => {
                    let unix_s = UNIX_S_AT_ZERO + now.0 / SECOND;
                    let ticket = Signed::new(
                        &self.host,
                        &self.room,
                        0,
                        now.0,
                        unix_s + TICKET_LIFE_S,
                        Ticket { peer: from },
                    );
                    let asked = asks_for_link(Some(ticket)).verify(&self.room, &self.me, unix_s);
                    asked.map_or(Input::Timeout, |message| Input::Message { from, via: Via::Signal, message })
                }
            }),
            other => Some(other),
        }
    }

    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if !self.is_removed || now < self.next_at {
            return Vec::new();
        }
        self.next_at = now + NEXT_US;
        let to = self.others[self.next % self.others.len()];
        self.next += 1;
        self.links_with = Some(to).filter(|to| !linked.contains(to));
        let digest = Digest { epoch: 0, rank: Rank::default(), evidence: [0; 32], asks: true };
        let mut says = Vec::new();
        // over an old link the request for a new one would replace it
        let link = asks_for_link(self.ticket.clone());
        for message in self.links_with.map(|_| link).into_iter().chain(self.requests()) {
            let sealed = List::truncated(message.to_bytes());
            says.push(Saying::Signal(Address::Peer(to), message));
            for by in linked.iter().filter(|by| **by != to) {
                let route = List::truncated([by.short()]);
                let relay = Relay { from: self.me, to, route, passed: 0, sealed: sealed.clone() };
                says.push(Saying::Control(*by, Message::Route(RouteMessage::Relay(relay))));
            }
        }
        for by in linked {
            let ticket = self.ticket.clone().map(MemberMessage::Ticket).map(Message::from);
            let stream = self.program.map(MediaMessage::Stream).map(Message::from);
            let asks = [
                Message::Tree(TreeMessage::Feed { from: None }),
                Message::Member(MemberMessage::Digest(digest)),
            ];
            let all = ticket.into_iter().chain(stream).chain(asks).chain(self.requests());
            says.extend(all.map(|message| Saying::Control(*by, message)));
        }
        says
    }
}

/// A peer that doesn't let go of an outcast: it hears of no roster that removes it, and keeps the link.
#[derive(Debug)]
pub struct Friend(PeerId);

impl Friend {
    /// A friend of this peer.
    pub fn of(outcast: PeerId) -> Friend {
        Friend(outcast)
    }
}

impl Deviation for Friend {
    fn output(&mut self, _: Time, output: Output, instead: &mut Vec<Output>) {
        if !is_goodbye(&output, |to| *to == self.0) {
            instead.push(output);
        }
    }

    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        match &input {
            Input::Message { message, .. } if removes(&self.0, message) => None,
            _ => Some(input),
        }
    }
}

/// Makes a peer an outcast once it is removed, by index in the plan.
pub fn set_on(world: &mut World, planned: usize) {
    let me = world.planned(planned);
    let all = (0..world.plan().peers.len()).map(|at| world.planned(at));
    let outcast = Outcast {
        me,
        room: world.room(),
        others: all.filter(|peer| *peer != me).collect(),
        ticket: None,
        program: None,
        is_removed: false,
        host: world.keys_of(0),
        next: 0,
        next_at: Time(0),
        links_with: None,
    };
    world.deviate_from_the_start(planned, Box::new(outcast));
}
