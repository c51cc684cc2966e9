//! Solo: forwarding of a single speaker's own stream to a peer that requests it, beside the program or
//! instead of it.
//!
//! The peer requests it from a mixer (`SoloWanted`), since every mixer has all speakers' packets. The mixer
//! forwards them unchanged, to a few peers at a time, if its uplink carries them beside its children. When
//! the mixers change, the peer requests it from another mixer, and releases the old one once the new one has
//! agreed. While both mixers send, no packets are missed.
//!
//! A speaker may refuse to be shown alone, and says so in the roster. Mixers then forward it to no peer that requests it.
//!
//! Anybody may view, so viewers get half of the slots at most, and take turns when more of them wish for one.
//! A peer on stage takes a viewer's slot when all are taken.

use crate::ordered::OrderedMap;

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::io::{Event, Output};
use crate::links::Want;
use crate::message::{LinkKind, Message, Path};
use crate::rng::Backoff;
use crate::stage::Mode;
use crate::time::{SECOND, Time};
use crate::view::View;

/// Maximum number of peers to which a mixer forwards single speakers. A guess: a speaker's picture costs a
/// third of the program's.
pub(crate) const SOLOS_MAX: usize = 8;
/// Maximum number of these that are viewers. A guess: half of all slots; viewers are many, and stage peers few.
const VIEWERS_MAX: usize = SOLOS_MAX / 2;
/// Time after which a viewer's slot is free for another viewer that requests one. A guess: long enough to
/// watch a speaker's turn.
const HELD_US: u64 = 60 * SECOND;
/// Interval at which an unanswered request is repeated. A guess.
const ANSWER_US_MAX: u64 = SECOND;
/// Timeout after which a mixer that still isn't linked is given up and the next one is tried. A guess: a link
/// is tried twice.
const LINK_US_MAX: u64 = 6 * SECOND;
/// Backoff after a refusal.
const AGAIN: Backoff = Backoff::new(2 * SECOND, 30 * SECOND);

/// A request to a mixer that hasn't agreed yet.
#[derive(Clone, Copy, Debug)]
struct SoloRequest {
    mixer: PeerId,
    /// When to send or repeat the request.
    due: Time,
}

/// What the application knows of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Comes,
    Unavailable,
    Refused,
}

/// This peer's request for a speaker, and at a mixer the requests that it serves.
#[derive(Debug)]
pub(crate) struct Solo {
    wish: Option<PeerId>,
    /// The mixer that forwards the speaker to this peer.
    giver: Option<PeerId>,
    asked: Option<SoloRequest>,
    backoff: Backoff,
    /// The last state reported to the application for this request.
    told: Option<Told>,
    /// At a mixer: the speaker forwarded to each peer, and since when that peer gets one.
    given: OrderedMap<PeerId, (PeerId, Time)>,
    /// The same list as last sent to the body.
    said: Vec<(PeerId, PeerId)>,
}

impl Default for Solo {
    fn default() -> Solo {
        let (given, said) = (OrderedMap::new(), Vec::new());
        Solo { wish: None, giver: None, asked: None, backoff: AGAIN, told: None, given, said }
    }
}

/// Returns whether this peer receives all speakers anyway: it mixes, stands by, or is in a mesh.
fn has_all(view: &View<'_>) -> bool {
    view.mixes() || view.mandate.standby() == Some(view.me) || view.stage.mode() == Mode::Mesh
}

/// Returns the next mixer in force, in turn.
fn next_mixer(view: &View<'_>, mixer: PeerId) -> PeerId {
    let mixers = &view.mandate.mixers;
    let behind = mixers.iter().skip_while(|known| **known != mixer).nth(1);
    behind.or(mixers.first()).copied().unwrap_or(mixer)
}

/// Returns whether the peer is a present speaker, so that its stream is available.
fn is_heard(view: &View<'_>, speaker: &PeerId) -> bool {
    view.stage.entry(speaker).is_some_and(|entry| entry.speaks && !entry.away)
}

/// Returns whether the peer is a speaker that refuses to be shown alone. A speaker that has just said so knows it before
/// the roster does.
fn refuses(view: &View<'_>, speaker: &PeerId) -> bool {
    let says = view.stage.entry(speaker).is_some_and(|entry| entry.speaks && entry.no_solo);
    says || (*speaker == view.me && view.config.no_solo)
}

/// Returns whether this peer's application doesn't get the speaker alone. In a mesh nothing else can be shown.
fn is_withheld(view: &View<'_>, speaker: &PeerId) -> bool {
    view.stage.mode() != Mode::Mesh && refuses(view, speaker)
}

/// Returns whether a mixer forwards the speaker to peers that request it.
fn is_given(view: &View<'_>, speaker: &PeerId) -> bool {
    is_heard(view, speaker) && !refuses(view, speaker)
}

impl Solo {
    /// Returns the mixers that were asked for the speaker.
    pub(crate) fn asked(&self) -> Vec<PeerId> {
        self.giver.into_iter().chain(self.asked.map(|asked| asked.mixer)).collect()
    }

    /// The application requests a speaker, or none.
    pub(crate) fn set_wish(&mut self, view: &mut View<'_>, wish: Option<PeerId>, path: &Path) {
        if wish == self.wish {
            return;
        }
        (self.wish, self.told, self.backoff) = (wish, None, AGAIN);
        if wish.is_some() {
            // The mixer that forwards one speaker can forward another instead.
            let mixer = self.giver.take().or(self.asked.map(|asked| asked.mixer));
            self.asked = mixer.map(|mixer| SoloRequest { mixer, due: view.now });
        }
        self.request(view, path);
    }

    /// Re-evaluates the requests after a change of roster, mandate or links, or when time has passed.
    pub(crate) fn update(&mut self, view: &mut View<'_>, mixes: bool, path: &Path) {
        self.keep_given(view, mixes);
        self.request(view, path);
    }

    fn request(&mut self, view: &mut View<'_>, path: &Path) {
        self.giver.take_if(|giver| !view.links.is_up(giver));
        let is_shown = |speaker: &PeerId| is_heard(view, speaker) && !is_withheld(view, speaker);
        let wish = self.wish.filter(|speaker| is_shown(speaker) && *speaker != view.me);
        let comes_anyway = has_all(view);
        let mixer = wish.filter(|_| !comes_anyway).and_then(|_| self.mixer_to_ask(view, path));
        match (wish, mixer) {
            (Some(speaker), Some(mixer)) if self.giver != Some(mixer) => {
                let asked = self.asked.filter(|asked| asked.mixer == mixer);
                let mut asked = asked.unwrap_or(SoloRequest { mixer, due: view.now });
                if view.now >= asked.due + LINK_US_MAX && !view.links.is_up(&mixer) {
                    asked = self.later(view, mixer);
                }
                self.asked = Some(asked);
                if asked.due <= view.now && view.links.is_up(&asked.mixer) {
                    view.out.send(asked.mixer, Message::SoloWanted { speaker: Some(speaker) });
                    self.asked = Some(SoloRequest { due: view.now + ANSWER_US_MAX, ..asked });
                }
            }
            (Some(_), Some(_)) => self.asked = None,
            _ => {
                let asked = self.asked.take().map(|asked| asked.mixer);
                for mixer in self.giver.take().into_iter().chain(asked) {
                    if view.links.is_up(&mixer) {
                        view.out.send(mixer, Message::SoloWanted { speaker: None });
                    }
                }
            }
        }
        if wish.is_some() && comes_anyway {
            self.tell(view, true);
        } else if self.giver.is_none() && (mixer.is_none() || self.told == Some(Told::Comes)) {
            self.tell(view, false);
        }
        let wanted = self.giver.into_iter().chain(self.asked.map(|asked| asked.mixer));
        let wanted = wanted.map(|mixer| (mixer, LinkKind::Peer)).collect();
        view.links.want_only(view.now, view.out, Want::Solo, &wanted);
    }

    /// Returns the mixer to request from: the one that forwards already or was asked before, if it is in
    /// force, else the mixer at the top of this peer's branch, else the lead.
    fn mixer_to_ask(&self, view: &View<'_>, path: &Path) -> Option<PeerId> {
        let mixers = &view.mandate.mixers;
        let known = [self.giver, self.asked.map(|asked| asked.mixer)].into_iter().flatten();
        let top = path.first().and_then(|top| mixers.iter().find(|mixer| mixer.short() == *top));
        let mut in_force = known.filter(|known| mixers.contains(known));
        in_force.next().or(top.copied()).or(view.mandate.lead())
    }

    /// Schedules a request to the next mixer, with backoff: the given one can't serve it, and the next may
    /// have room.
    fn later(&mut self, view: &mut View<'_>, mixer: PeerId) -> SoloRequest {
        SoloRequest { mixer: next_mixer(view, mixer), due: view.now + self.backoff.next_us(view.rng) }
    }

    fn tell(&mut self, view: &mut View<'_>, comes: bool) {
        let Some(speaker) = self.wish else { return };
        let told = match comes {
            true => Told::Comes,
            false if is_withheld(view, &speaker) => Told::Refused,
            false => Told::Unavailable,
        };
        if self.told.replace(told) != Some(told) {
            let refused = told == Told::Refused;
            view.out.event(if refused {
                Event::SoloRefused { speaker }
            } else {
                Event::Solo { speaker, comes }
            });
        }
    }

    /// Handles `Solo`: a mixer agrees, refuses, or ends the forwarding.
    pub(crate) fn answered(&mut self, view: &mut View<'_>, from: PeerId, speaker: PeerId, comes: bool) {
        if self.wish != Some(speaker) {
            return;
        }
        let was_asked = self.asked.is_some_and(|asked| asked.mixer == from);
        if comes && was_asked {
            if let Some(before) = self.giver.replace(from) {
                view.out.send(before, Message::SoloWanted { speaker: None });
            }
            (self.asked, self.backoff) = (None, AGAIN);
            self.tell(view, true);
        } else if !comes && (was_asked || self.giver == Some(from)) {
            self.giver.take_if(|giver| *giver == from);
            if was_asked || self.asked.is_none() {
                self.asked = Some(self.later(view, from));
            }
            if self.giver.is_none() {
                self.tell(view, false);
            }
        }
    }

    // ── at a mixer ────────────────────────────────────────────────────────────────────────────────

    /// Handles `SoloWanted`: a peer requests a speaker, or none any more. `spares` tells whether the uplink
    /// carries that many further streams.
    pub(crate) fn wanted(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        speaker: Option<PeerId>,
        mixes: bool,
        spares: impl Fn(&View<'_>, usize) -> bool,
    ) {
        match speaker {
            None => {
                self.given.remove(&from);
            }
            // This peer is about to begin mixing: the request will be repeated.
            Some(_) if !mixes && view.mixes() => return,
            Some(speaker) => {
                let since = self.given.get(&from).map(|(_, since)| *since);
                let can = mixes && view.links.is_up(&from) && is_given(view, &speaker) && speaker != from;
                let displaced = if can && since.is_none() { self.gives_way(view, &from) } else { None };
                let more = self.given.len() + 1 - usize::from(displaced.is_some());
                let has_slot = displaced.is_some() || !self.is_full_for(view, &from);
                let comes = can && (since.is_some() || (has_slot && spares(view, more)));
                if comes {
                    self.given.insert(from, (speaker, since.unwrap_or(view.now)));
                } else {
                    self.given.remove(&from);
                }
                if let Some(peer) = displaced.filter(|_| comes)
                    && let Some((speaker, _)) = self.given.remove(&peer)
                {
                    view.out.send(peer, Message::Solo { speaker, comes: false });
                }
                view.out.send(from, Message::Solo { speaker, comes });
            }
        }
        self.keep_given(view, mixes);
    }

    /// Returns the peers off stage that get a speaker, and since when.
    fn viewers<'a>(&'a self, view: &'a View<'_>) -> impl Iterator<Item = (PeerId, Time)> + 'a {
        let viewers = self.given.iter().filter(|(peer, _)| !view.stage.contains(peer));
        viewers.map(|(peer, (_, since))| (*peer, *since))
    }

    /// Returns whether no slot is free for a peer.
    fn is_full_for(&self, view: &View<'_>, peer: &PeerId) -> bool {
        let is_full = self.given.len() >= SOLOS_MAX;
        is_full || (!view.stage.contains(peer) && self.viewers(view).count() >= VIEWERS_MAX)
    }

    /// Returns the viewer that gives its slot to a peer, if no slot is free: the viewer with the oldest one.
    fn gives_way(&self, view: &View<'_>, to: &PeerId) -> Option<PeerId> {
        let has_turn = |since: &Time| view.stage.contains(to) || view.now.since(*since) >= HELD_US;
        let oldest = self.viewers(view).min_by_key(|(peer, since)| (*since, *peer));
        oldest.filter(|(_, since)| self.is_full_for(view, to) && has_turn(since)).map(|(peer, _)| peer)
    }

    /// Ends the forwarding that is no longer possible, notifies the receivers, and updates the body.
    fn keep_given(&mut self, view: &mut View<'_>, mixes: bool) {
        self.given.retain(|peer, (speaker, _)| {
            let is_linked = view.links.is_up(peer);
            let goes_on = mixes && is_linked && is_given(view, speaker);
            if !goes_on && is_linked {
                view.out.send(*peer, Message::Solo { speaker: *speaker, comes: false });
            }
            goes_on
        });
        let given: Vec<_> = self.given.iter().map(|(peer, (speaker, _))| (*peer, *speaker)).collect();
        if given != self.said {
            self.said.clone_from(&given);
            view.out.act(Output::Solos(given));
        }
    }

    /// Returns when a request is to be repeated or sent to another mixer. A mixer that isn't linked yet is
    /// asked as soon as its link is up.
    pub(crate) fn next_timeout(&self, is_up: impl Fn(&PeerId) -> bool) -> Option<Time> {
        self.asked.map(|asked| if is_up(&asked.mixer) { asked.due } else { asked.due + LINK_US_MAX })
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("peers that receive a solo stream", self.given.len(), SOLOS_MAX)]
    }
}
