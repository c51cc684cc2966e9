//! Permissions of peers to send messages of each kind.
//!
//! They are checked before the signatures in a message are verified, since a ballot's cost 20 ms.
//!
//! The machines check for themselves what they act on. This table leaves out the messages that none of them would act
//! on, by their sender alone.

use super::RoomState;
use crate::broadcast::may_publish_at_all;
use crate::id::PeerId;
use crate::io::Via;
use crate::message::{LinkKind, Message, Ticket};
use crate::seal::Signed;
use crate::tickets::{self, Grounds};

/// Returns whether this is a message that a removed peer may still send: it asks for what it is refused, or lets go.
fn is_of_the_removed(message: &Message) -> bool {
    matches!(
        message,
        Message::Join(_)
            | Message::Attach(_)
            | Message::Leave
            | Message::Bye(_)
            | Message::Detach
            | Message::StopFeed
    )
}

impl RoomState {
    /// Returns whether the host has removed a peer.
    pub(super) fn is_removed(&self, peer: &PeerId) -> bool {
        tickets::is_removed(&self.shared.stage, &self.shared.mandate, peer)
    }

    /// Returns whether the link with a peer is allowed. Each of these suffices: this peer wants the link, the stage or
    /// the subtree contains the other end, or, for an ordinary link, a ticket proves its membership. An answer tells
    /// addresses, and a link gives access to the network stack: a peer that waits outside gets neither.
    fn may_link(&self, peer: &PeerId, kind: LinkKind, ticket: Option<&Signed<Ticket>>) -> bool {
        let Self { shared, tickets, .. } = self;
        let (now, config) = (shared.now, &shared.config);
        let unix_s = config.unix_s(now);
        let grounds = Grounds { stage: &shared.stage, mandate: &shared.mandate, now, unix_s };
        let is_member = || tickets.has_shown(now, peer) || grounds.owns(peer, ticket);
        // a newcomer that waits for its admission judges when it knows the stage
        let is_early = shared.stage.roster().is_none();
        is_early
            || shared.links.is_wanted(peer, kind)
            || self.may_be_linked(peer, kind)
            || (kind == LinkKind::Peer && is_member())
    }

    /// Returns whether this peer listens to such a message from that peer. The body drops other messages without
    /// verification: it is no violation, since the sender's knowledge of the room may differ from this peer's.
    pub fn may_say(&self, from: &PeerId, via: &Via, message: &Message) -> bool {
        if self.ignores(from) || (self.is_removed(from) && !is_of_the_removed(message)) {
            return false;
        }
        let stage = &self.shared.stage;
        let (is_on_stage, is_linked) = (stage.contains(from), *via == Via::Link);
        match message {
            Message::Admit(_) | Message::Refuse(_) | Message::InLobby => self.membership.has_asked(self.shared.now),
            Message::Roster(roster) => {
                let is_signer = roster.signed.sender == *from || roster.body.host == *from;
                let awaits_it = self.membership.awaits_rosters(self.shared.now);
                is_linked || is_on_stage || is_signer || awaits_it
            }
            // a joiner that follows a denied failover shows it to the peer on stage that admits it
            Message::Failover(_) => is_linked || is_on_stage || stage.contains(&self.shared.me),
            Message::Alive(_) | Message::Decided(_) | Message::Confirmed(_) => is_linked || is_on_stage,
            Message::Data(data) => (is_linked || is_on_stage) && may_publish_at_all(stage, &data.sender),
            Message::DataStands(_) => is_on_stage || (is_linked && self.tree.is_above(from)),
            Message::Ballot(ballot) => {
                is_on_stage && ballot.sender == *from && self.election.awaits_ballot(ballot)
            }
            Message::Lacking { term, .. } => is_on_stage && self.election.is_opener_of(*term),
            Message::Opening(_)
            | Message::Claim(_)
            | Message::Report(_)
            | Message::PreVoteWanted { .. }
            | Message::PreVote { .. }
            | Message::Vote { .. }
            | Message::Trouble { .. }
            | Message::ReignWanted { .. }
            | Message::ReignVote { .. }
            | Message::HearWanted { .. }
            | Message::Heard { .. }
            | Message::FailoverWanted { .. }
            | Message::Home { .. }
            | Message::Started(_)
            | Message::Audience { .. }
            | Message::Floor(_)
            | Message::MuteWanted(_)
            | Message::HandOver(_) => is_on_stage,
            // carried letters, feeds and streams belong to links
            Message::Relay(_)
            | Message::Stream(_)
            | Message::Feed { .. }
            | Message::StopFeed
            | Message::Ticket(_)
            | Message::Key(_)
            | Message::Rates(_)
            | Message::Recalled(_) => is_linked,
            Message::VoicesWanted(_) => is_linked && stage.is_agent(from),
            Message::Voices(_) | Message::VoiceClocks(_) => is_linked && self.voices.has_asked(from),
            Message::LinkWanted { kind, ticket } => self.may_link(from, *kind, ticket.as_deref()),
            Message::Offer(offer) => self.may_link(from, offer.kind, offer.ticket.as_deref()),
            Message::RatesWanted => is_linked && (is_on_stage || self.tree.is_below(from)),
            // the first message on a link, which its ends check
            Message::LinkProof(_) => false,
            Message::Join(_)
            | Message::Position { .. }
            | Message::Leave
            | Message::Digest(_) // the sender may be on a newer roster
            | Message::Answer(_)
            | Message::Bye(_)
            | Message::ProbeWanted { .. }
            | Message::ProbeBusy { .. }
            | Message::UplinkWanted
            | Message::Uplink { .. }
            | Message::Suffering(_)
            | Message::Whereabouts(_)
            | Message::Attach(_)
            | Message::Accept { .. }
            | Message::Redirect { .. }
            | Message::Refused { .. }
            | Message::Feeding { .. }
            | Message::Detach
            | Message::Dismiss
            | Message::Shed { .. }
            | Message::Aggregate(_)
            | Message::Move { .. }
            | Message::PathIs(_)
            | Message::DataHeld(_)
            | Message::SoloWanted { .. }
            | Message::Solo { .. } => true,
        }
    }
}
