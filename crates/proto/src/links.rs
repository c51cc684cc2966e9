//! Which links this peer wants, and how they come about.
//!
//! Machines say what they want a link for ([`Want`]); this table makes the links and keeps them. The peer of
//! the lower id offers, the other asks with `LinkWanted`; whoever gets no answer tries again with back-off. A
//! link stays until both ends have said `Bye`, so either end may want it. What a stranger can make us hold is
//! bounded by [`LINKS_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use crate::bounded::Bound;
use crate::id::{PeerId, ShortId};
use crate::io::Output;
use crate::message::{Answer, Description, LinkKind, Message, Offer};
use crate::outbox::{Note, Outbox};
use crate::rng::{Backoff, Rng};
use crate::time::{MS, SECOND, Time};

/// Most links of one peer, wanted or not: a mixer's first tier, its backups and a full stage, twice over.
pub(crate) const LINKS_MAX: usize = 256;
/// Most links that only the other end wants: children and promises, and viewers that measure how far we are. The others
/// are the stage's.
const UNWANTED_MAX: usize = LINKS_MAX - 96;
/// A link that isn't up by then is tried again: ten times the slowest set-up over 200 ms paths.
const MAKE_US_MAX: u64 = 5 * SECOND;
/// A link that nobody here wants any more stays a moment, for it may be wanted again.
const LINGER_US: u64 = SECOND;
/// Without a rendezvous so many links aren't given up: whoever feeds us, and one more should that one die.
const LAST_LINKS: usize = 2;
/// Whoever hears the other end's goodbye to its own closes the link: a goodbye takes no longer than this, repeated twice.
const CLOSING_US_MAX: u64 = 2 * SECOND;
const RETRY: Backoff = Backoff::new(300 * MS, 8 * SECOND);
/// A link of the stage is tried again so soon at the latest: halves of a room that hear each other again are to agree
/// within 3 s. A guess; at most 64 such links are away, a message each.
const STAGE_RETRY_US_MAX: u64 = 250 * MS;
/// Whoever asks for an offer asks again after this: the offer, or the asking, was lost.
const ASKED_US_MAX: u64 = SECOND;

/// What a link is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Want {
    /// The stage's own web of links.
    Stage = 1,
    /// To measure or be measured.
    Probe = 2,
    /// It feeds us, or would.
    Parent = 4,
    /// It is our backup.
    Backup = 8,
    /// Raw speakers between mixers.
    Trunk = 16,
    /// To measure the round trip to it.
    Landmark = 32,
    /// It passes a speaker on to us.
    Solo = 64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not there; to be tried again at that time if wanted.
    Down { retry_at: Time },
    /// We asked the other end for an offer.
    Requested { since: Time },
    /// Offer and answer are under way.
    /// `sent`: ufrag and fingerprint of our own description.
    Making { since: Time, sent: Option<(String, [u8; 32])> },
    /// Its channels are open.
    Up { since: Time },
}

#[derive(Debug)]
struct Link {
    wants: u8,
    state: State,
    /// The user fragment of the other end's offer that we took.
    taken: Option<String>,
    /// The other end wants it no more.
    bye_heard: bool,
    /// We want it no more since then.
    idle_since: Option<Time>,
    /// We said so.
    bye_said: bool,
    /// Since when both had said goodbye: the other end closes, whether we want it again or not.
    closing_since: Option<Time>,
    backoff: Backoff,
}

impl Link {
    /// How long to wait before it is tried again.
    fn wait_us(&mut self, rng: &mut Rng) -> u64 {
        let wait_us = self.backoff.next_us(rng);
        if self.wants & Want::Stage as u8 != 0 { wait_us.min(STAGE_RETRY_US_MAX) } else { wait_us }
    }
}

/// All links of this peer.
#[derive(Debug)]
pub(crate) struct LinkTable {
    me: PeerId,
    /// There is no rendezvous: whoever loses its last link is lost.
    alone: bool,
    links: BTreeMap<(PeerId, LinkKind), Link>,
}

impl LinkTable {
    pub(crate) fn new(me: PeerId) -> LinkTable {
        LinkTable { me, alone: false, links: BTreeMap::new() }
    }

    /// Whether there is a rendezvous, over which links can be made.
    pub(crate) fn set_signal_up(&mut self, up: bool) {
        self.alone = !up;
    }

    /// Without a rendezvous the last links stay, wanted or not: over them others are made.
    fn is_needed(&self, (_, kind): (PeerId, LinkKind)) -> bool {
        let stays = |other: &PeerId| !self.links[&(*other, LinkKind::Peer)].bye_said;
        self.alone && kind == LinkKind::Peer && self.up().filter(stays).nth(LAST_LINKS).is_none()
    }

    /// Whether messages can go straight to `peer`.
    pub(crate) fn is_up(&self, peer: &PeerId) -> bool {
        self.is_up_kind(peer, LinkKind::Peer)
    }

    /// Whether both ends have said goodbye: what is said on that link now may come too late. If it is still there after
    /// a while, the other end wanted it again as well.
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

    /// Peers with a link of the ordinary kind that is up.
    pub(crate) fn up(&self) -> impl Iterator<Item = PeerId> {
        let up = self
            .links
            .iter()
            .filter(|((_, kind), link)| *kind == LinkKind::Peer && matches!(link.state, State::Up { .. }));
        up.map(|((peer, _), _)| *peer)
    }

    /// The linked peer whose id begins so.
    pub(crate) fn up_short(&self, short: &ShortId) -> Option<PeerId> {
        let mut first = [0; 32];
        first[..8].copy_from_slice(&short.0);
        let range = self.links.range((PeerId(first), LinkKind::Peer)..);
        let mut same = range.map(|((peer, _), _)| *peer).take_while(|peer| peer.short() == *short);
        same.find(|peer| self.is_up(peer))
    }

    /// Wants the ordinary link with `peer` for one more purpose.
    pub(crate) fn want(&mut self, now: Time, out: &mut Outbox, want: Want, peer: PeerId) {
        self.want_kind(now, out, want, (peer, LinkKind::Peer));
    }

    /// Wants the ordinary link with `peer` no more for that purpose.
    pub(crate) fn unwant(&mut self, now: Time, want: Want, peer: PeerId) {
        self.unwant_kind(now, want, (peer, LinkKind::Peer));
    }

    /// Wants links for this purpose with exactly these.
    pub(crate) fn want_only(
        &mut self,
        now: Time,
        out: &mut Outbox,
        want: Want,
        wanted: &BTreeSet<(PeerId, LinkKind)>,
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

    /// The entry of a link that the other end wants.
    fn entry_for_other(&mut self, now: Time, key: (PeerId, LinkKind)) -> Option<&mut Link> {
        let unwanted = || self.links.values().filter(|link| link.wants == 0).count();
        if !self.links.contains_key(&key) && unwanted() >= UNWANTED_MAX {
            return None;
        }
        self.entry(now, key)
    }

    /// The link's entry, made if there is room for one.
    fn entry(&mut self, now: Time, key: (PeerId, LinkKind)) -> Option<&mut Link> {
        if !self.links.contains_key(&key) {
            if self.links.len() >= LINKS_MAX {
                return None;
            }
            let link = Link {
                wants: 0,
                state: State::Down { retry_at: Time(0) },
                taken: None,
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

    /// Begins to make a link.
    fn make(&mut self, now: Time, out: &mut Outbox, key: (PeerId, LinkKind)) {
        let Some(link) = self.links.get_mut(&key) else { return };
        link.bye_heard = false;
        if self.me < key.0 {
            link.state = State::Making { since: now, sent: None };
            out.act(Output::Offer(key.0, key.1));
        } else {
            link.state = State::Requested { since: now };
            out.send(key.0, Message::LinkWanted(key.1));
        }
    }

    /// The other end asks for an offer.
    pub(crate) fn link_wanted(&mut self, now: Time, out: &mut Outbox, peer: PeerId, kind: LinkKind) {
        let key = (peer, kind);
        if peer <= self.me {
            return;
        }
        let Some(link) = self.entry_for_other(now, key) else { return };
        match link.state {
            State::Making { since, .. } if now.since(since) < ASKED_US_MAX => return,
            // ours was lost
            State::Making { .. } => self.drop_link(now, out, key),
            // it asks again because its answer, or the news that ours is up, is still on its way
            State::Up { since } if now.since(since) < SECOND => return,
            State::Up { .. } => self.drop_link(now, out, key),
            _ => {}
        }
        self.make(now, out, key);
    }

    /// The other end offers.
    pub(crate) fn offered(&mut self, now: Time, out: &mut Outbox, peer: PeerId, offer: Offer) {
        let key = (peer, offer.kind);
        if peer >= self.me {
            return;
        }
        let Some(link) = self.entry_for_other(now, key) else { return };
        if link.taken.as_deref() == Some(&*offer.description.ufrag) {
            return; // the same once more
        }
        if matches!(link.state, State::Making { .. } | State::Up { .. }) {
            self.drop_link(now, out, key);
        }
        if let Some(link) = self.links.get_mut(&key) {
            link.taken = Some(offer.description.ufrag.to_string());
            link.bye_heard = false;
            link.state = State::Making { since: now, sent: None };
            out.act(Output::Answer(peer, offer));
        }
    }

    /// The other end takes our offer.
    pub(crate) fn answered(&mut self, out: &mut Outbox, peer: PeerId, answer: Answer) {
        if let Some(link) = self.links.get(&(peer, answer.kind))
            && let State::Making { sent: Some((ufrag, fingerprint)), .. } = &link.state
            && **ufrag == *answer.offered_ufrag
            && *fingerprint == answer.offered_fingerprint
        {
            out.act(Output::Accept(peer, answer));
        }
    }

    /// This end's description is ready: send it. `offered` is the offer that it answers.
    pub(crate) fn described(
        &mut self,
        out: &mut Outbox,
        peer: PeerId,
        kind: LinkKind,
        description: Description,
        offered: Option<(String, [u8; 32])>,
    ) {
        let Some(link) = self.links.get_mut(&(peer, kind)) else { return };
        let State::Making { sent, .. } = &mut link.state else { return };
        *sent = Some((description.ufrag.to_string(), description.fingerprint));
        let message = match offered {
            None => Message::Offer(Offer { kind, description }),
            Some((offered_ufrag, offered_fingerprint)) => Message::Answer(Answer {
                kind,
                offered_ufrag: crate::bounded::Text::truncated(&offered_ufrag),
                offered_fingerprint,
                description,
            }),
        };
        out.send(peer, message);
    }

    pub(crate) fn link_up(&mut self, now: Time, out: &mut Outbox, peer: PeerId, kind: LinkKind) {
        if let Some(link) = self.links.get_mut(&(peer, kind)) {
            link.state = State::Up { since: now };
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

    /// The other end wants the link no more.
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
            // whoever spoke first closes, once it has heard this
            say_bye(out, peer, kind);
            link.bye_said = true;
            (link.idle_since, link.closing_since) = (Some(now), Some(now));
        }
    }

    /// The other end wants the ordinary link again, whatever it said before: it asks for something over it.
    pub(crate) fn wanted_again(&mut self, now: Time, peer: &PeerId) {
        if let Some(link) = self.links.get_mut(&(*peer, LinkKind::Peer)).filter(|link| link.bye_heard) {
            link.bye_heard = false;
            if link.bye_said {
                (link.bye_said, link.idle_since) = (false, Some(now));
            }
        }
    }

    /// Closes what is there of a link.
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

    /// Closes every link with a peer, whoever wants it.
    pub(crate) fn drop_peer(&mut self, now: Time, out: &mut Outbox, peer: PeerId) {
        let keys: Vec<_> = self.links.keys().filter(|(other, _)| *other == peer).copied().collect();
        for key in keys {
            self.drop_link(now, out, key);
            self.links.remove(&key);
        }
    }

    /// Retries, gives up, and says goodbye where it is time.
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
        self.links.values().filter_map(due).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("links", self.links.len(), LINKS_MAX)]
    }
}

fn say_bye(out: &mut Outbox, peer: PeerId, kind: LinkKind) {
    // on the link itself: it is the last thing said there
    if kind == LinkKind::Peer {
        out.act(Output::Control(peer, Message::Bye(kind)));
    } else {
        out.send(peer, Message::Bye(kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of links that are up and that nobody here wants any more, long since.
    fn idle(others: u8) -> LinkTable {
        let (mut links, mut out) = (LinkTable::new(PeerId([0; 32])), Outbox::default());
        for other in (1..=others).map(|other| PeerId([other; 32])) {
            links.want(Time(0), &mut out, Want::Parent, other);
            links.link_up(Time(0), &mut out, other, LinkKind::Peer);
            links.unwant(Time(0), Want::Parent, other);
        }
        links
    }

    #[test]
    fn without_a_rendezvous_the_last_two_links_stay_until_there_are_others() {
        for (alone, others, expected) in [(true, 1, 1), (true, 2, 2), (true, 5, 2), (false, 5, 0)] {
            let (mut links, mut out) = (idle(others), Outbox::default());
            links.set_signal_up(!alone);
            let mut rng = Rng::new(0);
            for seconds in 1..10 {
                links.on_time(Time(seconds * SECOND), &mut out, &mut rng);
                // the other ends want them no more either
                for other in (1..=others).map(|other| PeerId([other; 32])) {
                    links.bye(Time(seconds * SECOND), &mut out, other, LinkKind::Peer);
                }
            }
            let left = links.links.values().filter(|link| !link.bye_said).count();
            assert_eq!(left, expected, "of {others}, alone: {alone}");
            let due = links.next_timeout();
            assert!(due.is_none_or(|due| due > Time(9 * SECOND)), "and nothing is done again and again");
        }
    }
}
