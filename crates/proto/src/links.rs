//! Link table: which links this peer wants, and how they are set up and closed.
//!
//! The other parts of the state machine state what they want a link for ([`Want`]); this table makes the
//! links and keeps them. The peer with the lower id sends the offer, the other requests one with
//! `LinkWanted`. A parent that accepts an unfed child sends the offer with its acceptance, whatever the ids: that
//! saves a round trip or half of one. A set-up without an answer is retried with backoff.
//!
//! A link stays until both ends have sent `Bye`, so either end can keep it. [`LINKS_MAX`] bounds the state
//! that strangers can make this peer hold.

mod requests;

use crate::ordered::{OrderedMap, OrderedSet};

use crate::bounded::{Bound, List, Text};
use crate::id::{PeerId, ShortId};
use crate::io::Output;
use crate::link_layout::check_candidate;
use crate::message::{
    Answer, Description, FurtherCandidates, IceRestart, LinkKind, LinkMessage, Message, Offer, Paths, Ticket,
};
use crate::outbox::{Note, Outbox};
use crate::rng::{Backoff, Rng};
use crate::seal::Signed;
use crate::time::{MS, SECOND, Time};
pub(crate) use requests::OFFER_WAITS_US_MAX;
use requests::{OFFERS_WAITING_MAX, Waiting};

/// Maximum number of links of one peer, wanted or not: a mixer's first tier, its backups and a full stage,
/// twice over.
pub(crate) const LINKS_MAX: usize = 256;
/// Maximum number of links that only the other end wants: children and promises, and viewers that measure
/// their distance to this peer. The remaining entries are reserved for the stage.
const UNWANTED_MAX: usize = LINKS_MAX - 96;
/// Timeout of a link set-up, after which it is retried: ten times the slowest set-up over 200 ms paths.
const MAKE_US_MAX: u64 = 5 * SECOND;
/// How long an unwanted link stays before `Bye` is sent, since it may be wanted again.
const LINGER_US: u64 = SECOND;
/// Number of links that are kept without a rendezvous, wanted or not: the parent's, and one more in case the
/// parent dies.
const LAST_LINKS: usize = 2;
/// How long a link counts as closing after both ends have sent `Bye`. The end that receives the `Bye` in
/// reply to its own closes the link, and a `Bye` takes no longer than this, even if SCTP repeats it twice.
const CLOSING_US_MAX: u64 = 2 * SECOND;
const RETRY: Backoff = Backoff::new(300 * MS, 8 * SECOND);
/// Maximum backoff for links of the stage, so that two halves of a partitioned room that can reach each other
/// again agree within 3 s. A guess. At most 64 such links are down at a time, and each retry costs one
/// message.
const STAGE_RETRY_US_MAX: u64 = 250 * MS;
/// Minimum interval between two accepted ends of ICE restarts of one link. Each costs a round of connectivity checks. A
/// guess, below the interval at which an unanswered one is repeated (`crates/proto/src/restart.rs`).
const RESTART_EACH_US: u64 = 200 * MS;
/// Interval at which `LinkWanted` is repeated: either the request or the offer was lost.
const ASKED_US_MAX: u64 = SECOND;

/// Purpose of a link; a bit in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Want {
    /// The link belongs to the stage's own set of links.
    Stage = 1,
    /// This end measures the other's bandwidth, or is measured by it.
    Probe = 2,
    /// The other end is the parent, or was requested to feed this peer.
    Parent = 4,
    /// The other end is the backup.
    Backup = 8,
    /// Speakers' raw streams between mixers.
    Trunk = 16,
    /// The other end is a landmark, and the round trip to it is measured.
    Landmark = 32,
    /// The other end forwards a single speaker to this peer.
    Solo = 64,
    /// The other end forwards all speakers' sound to this peer.
    Voices = 128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not linked; retried at this time if wanted.
    Down { retry_at: Time },
    /// This end has requested an offer, or awaits one from a parent.
    Requested { since: Time },
    /// Offer and answer are under way.
    Making { since: Time, sent: Option<Sent> },
    /// The channels are open.
    Up { since: Time },
}

/// What this end has sent while a link is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    /// User fragment and fingerprint of its description.
    ufrag: String,
    fingerprint: [u8; 32],
    /// Further candidates.
    further: FurtherCandidates,
}

/// What this end has told of an ICE restart.
#[derive(Clone, Debug)]
struct Restart {
    ufrag: String,
    /// Further candidates.
    further: FurtherCandidates,
}

#[derive(Debug)]
struct Link {
    wants: u8,
    state: State,
    /// User fragment and fingerprint of the other end's offer that was accepted.
    taken: Option<(String, [u8; 32])>,
    /// It goes through a tunnel.
    is_carried: bool,
    /// This end's last ICE restart, and when the other end's was taken last.
    restart: Option<Restart>,
    restarted_at: Option<Time>,
    /// Only a stranger wants the link: it counts towards [`STRANGERS_MAX`] until it is up.
    is_stranger: bool,
    /// The other end has sent `Bye`: it doesn't want the link any more.
    bye_heard: bool,
    /// Since when this end doesn't want the link any more.
    idle_since: Option<Time>,
    /// This end has sent `Bye`.
    bye_said: bool,
    /// When both ends had sent `Bye`: from then on the other end closes the link, even if this end wants it
    /// again.
    closing_since: Option<Time>,
    backoff: Backoff,
}

impl Link {
    /// Returns the delay before the next retry.
    fn wait_us(&mut self, rng: &mut Rng) -> u64 {
        let wait_us = self.backoff.next_us(rng);
        if self.wants & Want::Stage as u8 != 0 { wait_us.min(STAGE_RETRY_US_MAX) } else { wait_us }
    }
}

/// The links of this peer.
#[derive(Debug)]
pub(crate) struct LinkTable {
    me: PeerId,
    /// There is no rendezvous, so a peer that loses its last link can't find the room again.
    alone: bool,
    /// This peer's ticket, which it shows with offers and requests for them.
    ticket: Option<Box<Signed<Ticket>>>,
    links: OrderedMap<(PeerId, LinkKind), Link>,
    waiting: OrderedMap<(PeerId, LinkKind), Waiting>,
    /// When the last offer of each peer and kind was accepted, within [`OFFER_EACH_US`].
    accepted: OrderedMap<(PeerId, LinkKind), Time>,
}

impl LinkTable {
    pub(crate) fn new(me: PeerId) -> LinkTable {
        LinkTable {
            me,
            alone: false,
            ticket: None,
            links: OrderedMap::new(),
            waiting: OrderedMap::new(),
            accepted: OrderedMap::new(),
        }
    }

    /// Sets whether a rendezvous is available to make links over.
    pub(crate) fn set_signal_up(&mut self, up: bool) {
        self.alone = !up;
    }

    /// Shows this ticket from now on to the peers with which this peer wants links.
    pub(crate) fn set_ticket(&mut self, ticket: Signed<Ticket>) {
        self.ticket = Some(Box::new(ticket));
    }

    /// Returns whether this peer wants a link of that kind with `peer`.
    pub(crate) fn is_wanted(&self, peer: &PeerId, kind: LinkKind) -> bool {
        self.links.get(&(*peer, kind)).is_some_and(|link| link.wants != 0)
    }

    /// Returns whether a link must stay although it isn't wanted. Without a rendezvous the last links are
    /// kept, because further links are made over them.
    fn is_needed(&self, (_, kind): (PeerId, LinkKind)) -> bool {
        let link_with = |other: &PeerId| self.links.get(&(*other, LinkKind::Peer));
        let stays = |other: &PeerId| link_with(other).is_some_and(|link| !link.bye_said);
        self.alone && kind == LinkKind::Peer && self.up().filter(stays).nth(LAST_LINKS).is_none()
    }

    /// Returns whether messages can be sent directly to `peer`.
    pub(crate) fn is_up(&self, peer: &PeerId) -> bool {
        self.is_up_kind(peer, LinkKind::Peer)
    }

    /// Returns whether both ends have sent `Bye`, so that a message on the link may arrive too late. If the
    /// link still exists after [`CLOSING_US_MAX`], the other end wants it again as well.
    pub(crate) fn is_closing(&self, now: Time, peer: &PeerId) -> bool {
        let link = self.links.get(&(*peer, LinkKind::Peer));
        let closes = |link: &Link| {
            let is_fresh = link.closing_since.is_some_and(|since| now.since(since) < CLOSING_US_MAX);
            link.bye_heard && (link.bye_said || is_fresh)
        };
        link.is_some_and(closes)
    }

    pub(crate) fn is_up_kind(&self, peer: &PeerId, kind: LinkKind) -> bool {
        self.links.get(&(*peer, kind)).is_some_and(|link| matches!(link.state, State::Up { .. }))
    }

    /// Returns whether a link is being made.
    pub(crate) fn is_making(&self, peer: &PeerId, kind: LinkKind) -> bool {
        self.links.get(&(*peer, kind)).is_some_and(|link| matches!(link.state, State::Making { .. }))
    }

    /// Returns whether a link is up, and goes through a tunnel.
    pub(crate) fn is_carried(&self, peer: &PeerId, kind: LinkKind) -> bool {
        let link = self.links.get(&(*peer, kind));
        link.is_some_and(|link| link.is_carried && matches!(link.state, State::Up { .. }))
    }

    /// Sets whether a link goes through a tunnel.
    pub(crate) fn set_carried(&mut self, peer: &PeerId, kind: LinkKind, is_carried: bool) {
        if let Some(link) = self.links.get_mut(&(*peer, kind)) {
            link.is_carried = is_carried;
        }
    }

    /// Sends this end of an ICE restart to the other end. The link may be dead already, so it goes another way if there
    /// is one.
    pub(crate) fn restart_begun(&mut self, out: &mut Outbox, peer: PeerId, restart: Box<IceRestart>) {
        if let Some(link) = self.links.get_mut(&(peer, restart.kind))
            && let State::Up { .. } = link.state
        {
            let is_repeated = |own: &Restart| own.ufrag == *restart.ufrag;
            if !link.restart.as_ref().is_some_and(is_repeated) {
                let (ufrag, further) = (restart.ufrag.to_string(), FurtherCandidates::new());
                link.restart = Some(Restart { ufrag, further });
            }
            out.send_beside(peer, LinkMessage::IceRestart(restart));
        }
    }

    /// Handles the other end of an ICE restart. The transport compares the fragments, and bounds what is checked.
    pub(crate) fn restart_told(
        &mut self,
        now: Time,
        out: &mut Outbox,
        peer: PeerId,
        restart: Box<IceRestart>,
    ) {
        let Some(link) = self.links.get_mut(&(peer, restart.kind)) else { return };
        let is_up = matches!(link.state, State::Up { .. });
        let is_early = link.restarted_at.is_some_and(|at| now.since(at) < RESTART_EACH_US);
        let is_sound = restart.candidates.iter().all(|candidate| check_candidate(candidate).is_ok());
        if is_up && is_sound && !is_early {
            link.restarted_at = Some(now);
            if let Some(own) =
                link.restart.as_ref().filter(|own| restart.answers.is_some() && !own.further.is_empty())
            {
                // the first time they may have overtaken the request, or gone by the link that is dead
                out.send_beside(peer, paths(restart.kind, &own.ufrag, own.further.clone()));
            }
            out.act(Output::IceRestart(peer, restart));
        }
    }

    /// Returns the peers with a peer link (not a trunk) that is up.
    pub(crate) fn up(&self) -> impl Iterator<Item = PeerId> {
        let up = self
            .links
            .iter()
            .filter(|((_, kind), link)| *kind == LinkKind::Peer && matches!(link.state, State::Up { .. }));
        up.map(|((peer, _), _)| *peer)
    }

    /// Returns the linked peer with the given short id.
    pub(crate) fn up_short(&self, short: &ShortId) -> Option<PeerId> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(&short.0);
        let range = self.links.range((PeerId(first), LinkKind::Peer)..);
        let mut same = range.map(|((peer, _), _)| *peer).take_while(|peer| peer.short() == *short);
        same.find(|peer| self.is_up(peer))
    }

    /// Adds a purpose to the peer link with `peer`.
    pub(crate) fn want(&mut self, now: Time, out: &mut Outbox, want: Want, peer: PeerId) {
        self.want_kind(now, out, want, (peer, LinkKind::Peer));
    }

    /// Removes a purpose from the peer link with `peer`.
    pub(crate) fn unwant(&mut self, now: Time, want: Want, peer: PeerId) {
        self.unwant_kind(now, want, (peer, LinkKind::Peer));
    }

    /// Makes `wanted` the exact set of links wanted for this purpose.
    pub(crate) fn want_only(
        &mut self,
        now: Time,
        out: &mut Outbox,
        want: Want,
        wanted: &OrderedSet<(PeerId, LinkKind)>,
    ) {
        let have = self.links.iter().filter(|(_, link)| link.wants & want as u8 != 0);
        let over: Vec<_> = have.map(|(key, _)| *key).filter(|key| !wanted.contains(key)).collect();
        for key in over {
            self.unwant_kind(now, want, key);
        }
        for key in wanted {
            self.want_kind(now, out, want, *key);
        }
    }

    fn want_kind(&mut self, now: Time, out: &mut Outbox, want: Want, key: (PeerId, LinkKind)) {
        if key.0 == self.me {
            return;
        }
        let Some(link) = self.entry(now, key) else { return };
        link.wants |= want as u8;
        link.idle_since = None;
        link.bye_said = false;
        if link.state == (State::Down { retry_at: Time(0) }) {
            self.make(now, out, key);
        }
    }

    fn unwant_kind(&mut self, now: Time, want: Want, key: (PeerId, LinkKind)) {
        if let Some(link) = self.links.get_mut(&key) {
            let before = link.wants;
            link.wants &= !(want as u8);
            if before != 0 && link.wants == 0 {
                link.idle_since = Some(now);
            }
        }
    }

    /// Returns the entry of a link that the other end wants; `None` at the limit.
    fn entry_for_other(&mut self, now: Time, key: (PeerId, LinkKind)) -> Option<&mut Link> {
        let unwanted = || self.links.values().filter(|link| link.wants == 0).count();
        if !self.links.contains_key(&key) && unwanted() >= UNWANTED_MAX {
            return None;
        }
        self.entry(now, key)
    }

    /// Returns the entry of a link, and creates it if there is room.
    fn entry(&mut self, now: Time, key: (PeerId, LinkKind)) -> Option<&mut Link> {
        if !self.links.contains_key(&key) {
            if self.links.len() >= LINKS_MAX {
                return None;
            }
            let link = Link {
                wants: 0,
                state: State::Down { retry_at: Time(0) },
                taken: None,
                is_carried: false,
                restart: None,
                restarted_at: None,
                is_stranger: false,
                bye_heard: false,
                idle_since: Some(now),
                bye_said: false,
                closing_since: None,
                backoff: RETRY,
            };
            self.links.insert(key, link);
        }
        self.links.get_mut(&key)
    }

    /// Starts the set-up of a link: sends an offer or requests one.
    fn make(&mut self, now: Time, out: &mut Outbox, key: (PeerId, LinkKind)) {
        let Some(link) = self.links.get_mut(&key) else { return };
        (link.bye_heard, link.is_carried) = (false, false);
        if self.me < key.0 {
            make_offer(now, out, key, link);
        } else {
            link.state = State::Requested { since: now };
            out.send(key.0, LinkMessage::LinkWanted { kind: key.1, ticket: self.ticket.clone() });
        }
    }

    /// Sends an offer to a child that this peer accepts, unless a link is being made or is up.
    pub(crate) fn offer(&mut self, now: Time, out: &mut Outbox, child: PeerId) {
        let key = (child, LinkKind::Peer);
        let Some(link) = self.entry_for_other(now, key) else { return };
        if let State::Down { .. } | State::Requested { .. } = link.state {
            (link.bye_heard, link.is_carried) = (false, false);
            make_offer(now, out, key, link);
        }
    }

    /// Awaits the offer of a parent that has accepted this peer, unless a link is being made or is up.
    pub(crate) fn await_offer(&mut self, now: Time, parent: PeerId) {
        if let Some(link) = self.entry(now, (parent, LinkKind::Peer))
            && let State::Down { .. } = link.state
        {
            link.state = State::Requested { since: now };
        }
    }

    /// Handles the other end's answer to this end's latest offer.
    pub(crate) fn answered(&mut self, out: &mut Outbox, peer: PeerId, answer: Answer) {
        let kind = answer.kind;
        if let Some(link) = self.links.get(&(peer, kind))
            && let State::Making { sent: Some(sent), .. } = &link.state
            && *sent.ufrag == *answer.offered_ufrag
            && sent.fingerprint == answer.offered_fingerprint
        {
            out.act(Output::Accept(peer, answer));
            // these may have overtaken the offer
            if !sent.further.is_empty() {
                out.send(peer, paths(kind, &sent.ufrag, sent.further.clone()));
            }
        }
    }

    /// Sends this end's description, which is ready now.
    pub(crate) fn described(
        &mut self,
        out: &mut Outbox,
        peer: PeerId,
        kind: LinkKind,
        description: Description,
    ) {
        let Some(link) = self.links.get_mut(&(peer, kind)) else { return };
        let State::Making { sent, .. } = &mut link.state else { return };
        let (ufrag, fingerprint) = (description.ufrag.to_string(), description.fingerprint);
        *sent = Some(Sent { ufrag, fingerprint, further: FurtherCandidates::new() });
        let message = match &link.taken {
            None => {
                Message::Link(LinkMessage::Offer(Offer { kind, description, ticket: self.ticket.clone() }))
            }
            Some((offered_ufrag, offered_fingerprint)) => Message::Link(LinkMessage::Answer(Answer {
                kind,
                offered_ufrag: Text::truncated(offered_ufrag),
                offered_fingerprint: *offered_fingerprint,
                description,
            })),
        };
        out.send(peer, message);
    }

    /// Tells the other end further candidates of this end, while the link is being made or ICE is restarted.
    pub(crate) fn paths_found(
        &mut self,
        out: &mut Outbox,
        peer: PeerId,
        kind: LinkKind,
        candidates: FurtherCandidates,
    ) {
        let Some(link) = self.links.get_mut(&(peer, kind)) else { return };
        match &mut link.state {
            State::Making { sent: Some(sent), .. } => {
                sent.further = List::truncated(sent.further.iter().chain(&candidates).cloned());
                out.send(peer, paths(kind, &sent.ufrag, candidates));
            }
            State::Up { .. } => {
                if let Some(restart) = &mut link.restart {
                    restart.further = List::truncated(restart.further.iter().chain(&candidates).cloned());
                    out.send_beside(peer, paths(kind, &restart.ufrag, candidates));
                }
            }
            _ => {}
        }
    }

    /// Handles further candidates of the other end. The transport compares the fragment, and bounds what is checked.
    pub(crate) fn paths_told(&mut self, out: &mut Outbox, peer: PeerId, paths: Paths) {
        let link = self.links.get(&(peer, paths.kind));
        let takes = link.is_some_and(|link| match link.state {
            State::Making { .. } => true,
            State::Up { .. } => link.restart.is_some(),
            _ => false,
        });
        if takes && paths.candidates.iter().all(|candidate| check_candidate(candidate).is_ok()) {
            out.act(Output::Paths(peer, paths));
        }
    }

    pub(crate) fn link_up(&mut self, now: Time, out: &mut Outbox, peer: PeerId, kind: LinkKind) {
        if let Some(link) = self.links.get_mut(&(peer, kind)) {
            link.state = State::Up { since: now };
            (link.restart, link.restarted_at) = (None, None);
            link.is_stranger = false;
            link.backoff.reset();
            out.note(Note::LinkUp(peer, kind));
        }
    }

    pub(crate) fn link_down(
        &mut self,
        now: Time,
        out: &mut Outbox,
        rng: &mut Rng,
        peer: PeerId,
        kind: LinkKind,
    ) {
        let key = (peer, kind);
        let Some(link) = self.links.get_mut(&key) else { return };
        let was_up = matches!(link.state, State::Up { .. });
        link.taken = None;
        if link.wants == 0 {
            self.links.remove(&key);
        } else {
            link.state = State::Down { retry_at: now + link.wait_us(rng) };
        }
        if was_up {
            out.note(Note::LinkDown(peer, kind));
        }
    }

    /// Handles `Bye`: the other end doesn't want the link any more.
    pub(crate) fn bye(&mut self, now: Time, out: &mut Outbox, peer: PeerId, kind: LinkKind) {
        let key = (peer, kind);
        let is_needed = self.is_needed(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        link.bye_heard = true;
        if link.wants != 0 || is_needed {
            return;
        }
        if link.bye_said {
            self.drop_link(now, out, key);
            self.links.remove(&key);
        } else {
            // The end that sent `Bye` first closes the link when this one arrives.
            say_bye(out, peer, kind);
            link.bye_said = true;
            (link.idle_since, link.closing_since) = (Some(now), Some(now));
        }
    }

    /// The other end uses the peer link again, so an earlier `Bye` of it no longer counts.
    pub(crate) fn wanted_again(&mut self, now: Time, peer: &PeerId) {
        if let Some(link) = self.links.get_mut(&(*peer, LinkKind::Peer)).filter(|link| link.bye_heard) {
            link.bye_heard = false;
            if link.bye_said {
                (link.bye_said, link.idle_since) = (false, Some(now));
            }
        }
    }

    /// Closes a link in any state of set-up; its entry stays.
    fn drop_link(&mut self, now: Time, out: &mut Outbox, key: (PeerId, LinkKind)) {
        if let Some(link) = self.links.get_mut(&key) {
            let was_up = matches!(link.state, State::Up { .. });
            link.state = State::Down { retry_at: now + SECOND };
            link.taken = None;
            out.act(Output::Close(key.0, key.1));
            if was_up {
                out.note(Note::LinkDown(key.0, key.1));
            }
        }
    }

    /// Closes the links with a process that is gone, as when they break: those that are wanted are made anew.
    pub(crate) fn restarted(&mut self, now: Time, out: &mut Outbox, rng: &mut Rng, peer: PeerId) {
        let is_up = |link: &Link| matches!(link.state, State::Up { .. });
        let of_peer = self.links.iter().filter(|((other, _), link)| *other == peer && is_up(link));
        let kinds: Vec<_> = of_peer.map(|((_, kind), _)| *kind).collect();
        for kind in kinds {
            out.act(Output::Close(peer, kind));
            self.link_down(now, out, rng, peer, kind);
        }
    }

    /// Closes all links with a peer, whatever they are wanted for.
    pub(crate) fn drop_peer(&mut self, now: Time, out: &mut Outbox, peer: PeerId) {
        self.drop_links(now, out, |(other, _)| *other == peer);
    }

    /// Closes all trunks with a peer.
    pub(crate) fn drop_trunks(&mut self, now: Time, out: &mut Outbox, peer: PeerId) {
        self.drop_links(now, out, |(other, kind)| *other == peer && *kind != LinkKind::Peer);
    }

    fn drop_links(&mut self, now: Time, out: &mut Outbox, is_over: impl Fn(&(PeerId, LinkKind)) -> bool) {
        let keys: Vec<_> = self.links.keys().filter(|key| is_over(key)).copied().collect();
        for key in keys {
            self.drop_link(now, out, key);
            self.links.remove(&key);
        }
        self.waiting.retain(|key, _| !is_over(key));
    }

    /// Retries failed set-ups, gives up slow ones, and sends `Bye` on links that are no longer wanted.
    /// Accepts offers that have waited.
    pub(crate) fn on_time(&mut self, now: Time, out: &mut Outbox, rng: &mut Rng) {
        let keys: Vec<_> = self.links.keys().copied().collect();
        for key in keys {
            let is_needed = self.is_needed(key);
            let Some(link) = self.links.get_mut(&key) else { continue };
            match link.state {
                State::Down { retry_at } if link.wants != 0 && retry_at <= now => self.make(now, out, key),
                State::Requested { since } if now.since(since) >= ASKED_US_MAX => {
                    link.state = State::Down { retry_at: now + link.wait_us(rng) };
                }
                State::Making { since, .. } if now.since(since) >= MAKE_US_MAX => {
                    let retry_at = now + link.wait_us(rng);
                    self.drop_link(now, out, key);
                    if let Some(link) = self.links.get_mut(&key) {
                        link.state = State::Down { retry_at };
                    }
                }
                State::Up { .. }
                    if link.wants == 0 && link.idle_since.is_some_and(|since| since + LINGER_US <= now) =>
                {
                    if is_needed {
                        link.idle_since = Some(now);
                    } else if !link.bye_said {
                        say_bye(out, key.0, key.1);
                        link.bye_said = true;
                        link.idle_since = Some(now);
                        link.closing_since = link.bye_heard.then_some(now);
                    } else if link.bye_heard {
                        self.drop_link(now, out, key);
                        self.links.remove(&key);
                    }
                }
                State::Down { .. } | State::Requested { .. } if link.wants == 0 => {
                    self.links.remove(&key);
                }
                _ => {}
            }
        }
        self.accept_waiting(now, out);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let due = |link: &Link| match link.state {
            State::Down { retry_at } if link.wants != 0 => Some(retry_at),
            State::Down { .. } => None,
            State::Requested { since } => Some(since + ASKED_US_MAX),
            State::Making { since, .. } => Some(since + MAKE_US_MAX),
            State::Up { .. } if link.wants == 0 && (!link.bye_said || link.bye_heard) => {
                link.idle_since.map(|since| since + LINGER_US)
            }
            State::Up { .. } => None,
        };
        self.links.values().filter_map(due).chain(self.waiting_timeout()).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn bounds(&self) -> [Bound; 3] {
        [
            Bound::new("links", self.links.len(), LINKS_MAX),
            Bound::new("offers that wait", self.waiting.len(), OFFERS_WAITING_MAX),
            Bound::new("offers accepted within a second", self.accepted.len(), LINKS_MAX),
        ]
    }
}

fn make_offer(now: Time, out: &mut Outbox, (peer, kind): (PeerId, LinkKind), link: &mut Link) {
    link.state = State::Making { since: now, sent: None };
    out.act(Output::Offer { peer, kind, is_stranger: link.is_stranger && link.wants == 0 });
}

fn paths(kind: LinkKind, ufrag: &str, candidates: FurtherCandidates) -> Message {
    Message::Link(LinkMessage::Paths(Paths { kind, ufrag: Text::truncated(ufrag), candidates }))
}

fn say_bye(out: &mut Outbox, peer: PeerId, kind: LinkKind) {
    // On the link itself, as its last message.
    if kind == LinkKind::Peer {
        out.act(Output::Control(peer, Message::Link(LinkMessage::Bye(kind))));
    } else {
        out.send(peer, LinkMessage::Bye(kind));
    }
}

#[cfg(test)]
mod tests;
