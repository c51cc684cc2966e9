//! Keys of the cast, and valid signatures: a drawn message is signed by its stated author, so that it reaches
//! the brain like a member's message.

use std::sync::LazyLock;

use plenary_proto::bounded::List;
use plenary_proto::message::{
    Admit, Attach, Ballot, DataMessage, ElectionMessage, Failover, FailoverMessage, HostMessage, Join,
    LinkMessage, MemberMessage, Message, Offer, Reigns, Resignation, SignedRefusal, SignedRoster, Ticket,
    TreeMessage, first_epoch,
};
use plenary_proto::seal::{Countersigned, Keypair, Signed, Statement};
use plenary_proto::{PeerId, RoomId};

/// Wall clock of the checks, seconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000;
/// Number of peers with keys: the brains, then members that send forged messages.
const CAST: usize = 9;

/// The room's root key, then the keys of the cast.
static KEYS: LazyLock<Vec<Keypair>> =
    LazyLock::new(|| (0..=CAST as u8).map(|seed| Keypair::from_seed(&[seed + 1; 32])).collect());
static IDS: LazyLock<Vec<PeerId>> = LazyLock::new(|| KEYS.iter().skip(1).map(Keypair::id).collect());

/// Returns the room's root key.
pub(crate) fn root() -> &'static Keypair {
    &KEYS[0]
}

/// Returns the key of a member of the cast.
pub(crate) fn key(at: usize) -> &'static Keypair {
    &KEYS[1 + at % CAST]
}

/// Returns the ids of the cast.
pub(crate) fn cast() -> &'static [PeerId] {
    &IDS
}

/// Returns the room's id.
pub(crate) fn room() -> RoomId {
    RoomId::of_root(&root().id())
}

/// Returns the key of a peer; for a peer outside the cast, the key of its last member.
fn key_of(peer: &PeerId) -> &'static Keypair {
    key(cast().iter().position(|known| known == peer).unwrap_or(CAST - 1))
}

fn signed_by<T: Statement + Clone>(key: &Keypair, of: &Signed<T>) -> Signed<T> {
    Signed::addressed(key, &room(), of.recipient, of.epoch, of.counter, u64::MAX, of.body.clone())
}

fn signed<T: Statement + Clone>(of: &Signed<T>) -> Signed<T> {
    signed_by(key_of(&of.sender), of)
}

fn shown(ticket: Option<Box<Signed<Ticket>>>) -> Option<Box<Signed<Ticket>>> {
    ticket.map(|ticket| Box::new(signed(&ticket)))
}

fn all_signed<T: Statement + Clone, const MAX: usize>(of: &List<Signed<T>, MAX>) -> List<Signed<T>, MAX> {
    List::truncated(of.iter().map(signed))
}

/// Signs a roster with the root key. Its epoch is cut to reign 0, since drawn chains of reigns would hardly
/// ever be valid.
fn roster(of: &SignedRoster) -> SignedRoster {
    let epoch = of.epoch & (first_epoch(1) - 2);
    let signed = Signed { epoch, ..of.signed.clone() };
    signed_by(root(), &signed).into()
}

/// Signs a failover, and the wish of a replaced mixer of the cast; others wish nothing.
fn failover(of: &Signed<Failover>) -> Signed<Failover> {
    let Failover { after, over, wish, .. } = of.body.clone();
    let successor = key_of(&of.sender).id();
    let signed_wish = |_| Resignation { rank: after, successor }.sign(key_of(&over), &room()).into();
    let wish = wish.filter(|_| cast().contains(&over)).map(signed_wish);
    signed(&Signed { body: Failover { wish, ..of.body.clone() }, ..of.clone() })
}

fn countersigned<T: Statement + Clone, const MAX: usize>(
    of: &Countersigned<T, MAX>,
) -> Countersigned<T, MAX> {
    let sign = |(signer, _): &(PeerId, _)| {
        let key = key_of(signer);
        (key.id(), Countersigned::<T, MAX>::countersign(key, &room(), of.epoch, &of.body))
    };
    let signatures = List::truncated(of.signatures.iter().map(sign));
    Countersigned { epoch: of.epoch, body: of.body.clone(), signatures }
}

/// Replaces all signatures of the message by valid ones; a message without signatures stays unchanged.
pub(crate) fn sign_again(message: Message) -> Message {
    match message {
        Message::Member(MemberMessage::Roster(of)) => Message::Member(MemberMessage::Roster(roster(&of))),
        Message::Member(MemberMessage::Admit(admit)) => {
            Message::Member(MemberMessage::Admit(Box::new(Admit {
                roster: roster(&admit.roster),
                under: admit.under.as_ref().map(roster),
                decided: admit.decided.as_ref().map(countersigned),
                confirmed: admit.confirmed.as_ref().map(|word| signed_by(root(), word)),
                failovers: List::truncated(admit.failovers.iter().map(failover)),
                ticket: admit.ticket.as_ref().map(signed),
                key: admit.key,
            })))
        }
        Message::Member(MemberMessage::Ticket(of)) => Message::Member(MemberMessage::Ticket(signed(&of))),
        Message::Member(MemberMessage::Position { name, parent, depth, fed_nothing, ticket }) => {
            Message::Member(MemberMessage::Position {
                name,
                parent,
                depth,
                fed_nothing,
                ticket: shown(ticket),
            })
        }
        Message::Link(LinkMessage::LinkWanted { kind, ticket }) => {
            Message::Link(LinkMessage::LinkWanted { kind, ticket: shown(ticket) })
        }
        Message::Link(LinkMessage::Offer(offer)) => {
            Message::Link(LinkMessage::Offer(Offer { ticket: shown(offer.ticket), ..offer }))
        }
        Message::Member(MemberMessage::Join(join)) => {
            Message::Member(MemberMessage::Join(Join { ticket: join.ticket.as_ref().map(signed), ..join }))
        }
        Message::Tree(TreeMessage::Attach(attach)) => Message::Tree(TreeMessage::Attach(Attach {
            ticket: attach.ticket.as_ref().map(signed),
            ..attach
        })),
        Message::Member(MemberMessage::Refuse(of)) => {
            let signed = signed_by(root(), &of.signed);
            Message::Member(MemberMessage::Refuse(Box::new(SignedRefusal {
                signed,
                reigns: Reigns::default(),
            })))
        }
        Message::Data(DataMessage::Data(of)) => Message::Data(DataMessage::Data(signed(&of))),
        Message::Election(ElectionMessage::Confirmed(of)) => {
            Message::Election(ElectionMessage::Confirmed(signed_by(root(), &of)))
        }
        Message::Host(HostMessage::HandOver(of)) => {
            Message::Host(HostMessage::HandOver(signed_by(root(), &of)))
        }
        Message::Election(ElectionMessage::Decided(of)) => {
            Message::Election(ElectionMessage::Decided(Box::new(countersigned(&of))))
        }
        Message::Election(ElectionMessage::Opening(of)) => {
            Message::Election(ElectionMessage::Opening(Box::new(countersigned(&of))))
        }
        Message::Failover(FailoverMessage::Failover(of)) => {
            Message::Failover(FailoverMessage::Failover(failover(&of)))
        }
        Message::Failover(FailoverMessage::Alive(of)) => {
            Message::Failover(FailoverMessage::Alive(signed(&of)))
        }
        Message::Election(ElectionMessage::Claim(of)) => {
            Message::Election(ElectionMessage::Claim(signed(&of)))
        }
        Message::Election(ElectionMessage::Report(of)) => {
            Message::Election(ElectionMessage::Report(signed(&of)))
        }
        Message::Election(ElectionMessage::Ballot(of)) => {
            let (reports, claims) = (all_signed(&of.body.reports), all_signed(&of.body.claims));
            let Ballot { sitting, outcome, .. } = of.body.clone();
            let body = Ballot { reports, claims, sitting, outcome };
            Message::Election(ElectionMessage::Ballot(Box::new(signed(&Signed { body, ..*of }))))
        }
        Message::Election(ElectionMessage::Lacking { term, reports, claims }) => {
            Message::Election(ElectionMessage::Lacking {
                term,
                reports: all_signed(&reports),
                claims: all_signed(&claims),
            })
        }
        other => other,
    }
}
