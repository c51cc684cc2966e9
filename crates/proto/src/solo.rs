//! Solo: forwarding of a single speaker's own stream to a peer that requests it, beside the program or
//! instead of it.
//!
//! The peer requests it from a mixer (`SoloWanted`), since every mixer has all speakers' packets. The mixer
//! forwards them unchanged, to a few peers at a time, if its uplink carries them beside its children. The way
//! to the mixers: [`asking`](crate::asking).
//!
//! A speaker may refuse to be shown alone, and says so in the roster. Mixers then forward it to no peer that requests
//! it.
//!
//! Anybody may view, so viewers get half of the slots at most, and take turns when more of them wish for one.
//! A peer on stage takes a viewer's slot when all are taken.

use crate::ordered::OrderedMap;

use crate::app::Event;
use crate::asking::{Answered, Asking};
use crate::bounded::Bound;
use crate::id::PeerId;
use crate::io::Output;
use crate::links::Want;
use crate::message::{MediaMessage, Message, Path};
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

/// What the application knows of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Comes,
    Unavailable,
    Refused,
}

/// This peer's request for a speaker, and at a mixer the requests that it serves.
#[derive(Debug, Default)]
pub(crate) struct Solo {
    wish: Option<PeerId>,
    asking: Asking,
    /// The last state reported to the application for this request.
    told: Option<Told>,
    /// At a mixer: the speaker forwarded to each peer, and since when that peer gets one.
    given: OrderedMap<PeerId, (PeerId, Time)>,
    /// The same list as last sent to the body.
    said: Vec<(PeerId, PeerId)>,
}

/// Ends a request.
const NO_MORE: Message = Message::Media(MediaMessage::SoloWanted { speaker: None });

/// Returns whether this peer receives all speakers anyway: it mixes, stands by, or is in a mesh.
pub(crate) fn has_all(view: &View<'_>) -> bool {
    view.mixes() || view.mandate.standby() == Some(view.me) || view.stage.mode() == Mode::Mesh
}

/// Returns whether the peer is a present speaker, so that its stream is available.
pub(crate) fn is_heard(view: &View<'_>, speaker: &PeerId) -> bool {
    view.stage.entry(speaker).is_some_and(|entry| entry.speaks && !entry.away)
}

/// Returns whether the peer is a speaker that refuses to be shown alone. A speaker that has just said so knows it
/// before the roster does.
fn refuses(view: &View<'_>, speaker: &PeerId) -> bool {
    let says = view.stage.entry(speaker).is_some_and(|entry| entry.speaks && entry.no_solo);
    says || (*speaker == view.me && view.config.no_solo)
}

/// Returns whether this peer's application doesn't get the speaker alone. In a mesh nothing else can be shown.
pub(crate) fn is_withheld(view: &View<'_>, speaker: &PeerId) -> bool {
    view.stage.mode() != Mode::Mesh && refuses(view, speaker)
}

/// Returns whether a mixer forwards the speaker to peers that request it.
fn is_given(view: &View<'_>, speaker: &PeerId) -> bool {
    is_heard(view, speaker) && !refuses(view, speaker)
}

impl Solo {
    /// Returns the mixers that were asked for the speaker.
    pub(crate) fn asked(&self) -> impl Iterator<Item = PeerId> {
        self.asking.mixers()
    }

    /// The application requests a speaker, or none.
    pub(crate) fn set_wish(&mut self, view: &mut View<'_>, wish: Option<PeerId>, path: &Path) {
        if wish == self.wish {
            return;
        }
        (self.wish, self.told) = (wish, None);
        // the mixer that forwards one speaker can forward another instead
        self.asking.begin_anew(view.now, wish.is_some());
        self.request(view, path);
    }

    /// Re-evaluates the requests after a change of roster, mandate or links, or when time has passed.
    pub(crate) fn update(&mut self, view: &mut View<'_>, mixes: bool, path: &Path) {
        self.keep_given(view, mixes);
        self.request(view, path);
    }

    fn request(&mut self, view: &mut View<'_>, path: &Path) {
        let is_shown = |speaker: &PeerId| is_heard(view, speaker) && !is_withheld(view, speaker);
        let wish = self.wish.filter(|speaker| is_shown(speaker) && *speaker != view.me);
        let comes_anyway = has_all(view);
        let message = wish.filter(|_| !comes_anyway);
        let message =
            message.map(|speaker| Message::Media(MediaMessage::SoloWanted { speaker: Some(speaker) }));
        let has_mixer = self.asking.request(view, path, message, &NO_MORE, Want::Solo);
        if wish.is_some() && comes_anyway {
            self.tell(view, true);
        } else if !self.asking.has_giver() && (!has_mixer || self.told == Some(Told::Comes)) {
            self.tell(view, false);
        }
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
        match self.asking.answered(view, from, comes, &NO_MORE) {
            Answered::Comes => self.tell(view, true),
            Answered::Ends => self.tell(view, false),
            Answered::Nothing => {}
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
                    view.out.send(peer, MediaMessage::Solo { speaker, comes: false });
                }
                view.out.send(from, MediaMessage::Solo { speaker, comes });
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
                view.out.send(*peer, MediaMessage::Solo { speaker: *speaker, comes: false });
            }
            goes_on
        });
        let given: Vec<_> = self.given.iter().map(|(peer, (speaker, _))| (*peer, *speaker)).collect();
        if given != self.said {
            self.said.clone_from(&given);
            view.out.act(Output::Solos(given));
        }
    }

    /// Returns when a request is to be repeated or sent to another mixer.
    pub(crate) fn next_timeout(&self, is_up: impl Fn(&PeerId) -> bool) -> Option<Time> {
        self.asking.next_timeout(is_up)
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("peers that receive a solo stream", self.given.len(), SOLOS_MAX)]
    }
}
