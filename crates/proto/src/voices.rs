//! Each speaker's sound apart, for agents: peers that the host marks in the roster, transcribers and bots.
//!
//! An agent asks a mixer (`VoicesWanted`), since every mixer has all speakers' packets. The mixer forwards the
//! sound of all of them unchanged, to marked peers alone. The roster names the marked peers, so every mixer knows,
//! also a later one, and a peer that is marked no more gets nothing from the moment its mixer has that roster.
//!
//! A speaker that refuses to be shown alone isn't among them ([`solo`](crate::solo)).

use crate::app::Event;
use crate::asking::{Answered, Asking};
use crate::bounded::Bound;
use crate::id::PeerId;
use crate::io::{Output, VoiceRoutes, VoicesState};
use crate::links::Want;
use crate::message::{AGENTS_MAX, MediaMessage, Message, Path};
use crate::ordered::OrderedSet;
use crate::solo::{has_all, is_heard, is_withheld};
use crate::time::Time;
use crate::view::View;

/// This peer's request for voices, and at a mixer the agents that it serves.
#[derive(Debug, Default)]
pub(crate) struct Voices {
    wanted: bool,
    asking: Asking,
    /// The last state reported to the application for this request.
    told: Option<VoicesState>,
    /// At a mixer: the agents that get the voices.
    given: OrderedSet<PeerId>,
    /// The routes as last sent to the body.
    said: VoiceRoutes,
}

impl Voices {
    /// Returns the mixers that were asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = PeerId> {
        self.asking.mixers()
    }

    /// Returns whether a mixer was asked.
    pub(crate) fn has_asked(&self, mixer: &PeerId) -> bool {
        self.asked().any(|asked| asked == *mixer)
    }

    /// The application wants the voices, or no more.
    pub(crate) fn set_wanted(&mut self, view: &mut View<'_>, wanted: bool, path: &Path) {
        if wanted != self.wanted {
            (self.wanted, self.told) = (wanted, None);
            self.asking.begin_anew(view.now, wanted);
            self.request(view, path);
            self.route(view);
        }
    }

    /// Re-evaluates the requests after a change of roster, mandate or links, or when time has passed.
    pub(crate) fn update(&mut self, view: &mut View<'_>, mixes: bool, path: &Path) {
        self.keep_given(view, mixes);
        self.request(view, path);
        self.route(view);
    }

    fn request(&mut self, view: &mut View<'_>, path: &Path) {
        let may = self.is_for_me(view);
        let comes_anyway = may && has_all(view);
        let message = (may && !comes_anyway).then_some(Message::Media(MediaMessage::VoicesWanted(true)));
        let ends = Message::Media(MediaMessage::VoicesWanted(false));
        let has_mixer = self.asking.request(view, path, message, &ends, Want::Voices);
        if !may {
            self.tell(view, VoicesState::NotAgent);
        } else if comes_anyway {
            self.tell(view, VoicesState::Coming);
        } else if !self.asking.has_giver() && (!has_mixer || self.told.is_some()) {
            self.tell(view, VoicesState::Unavailable);
        }
    }

    /// Returns whether this peer's application wants the voices, and may have them.
    fn is_for_me(&self, view: &View<'_>) -> bool {
        self.wanted && view.stage.is_agent(&view.me)
    }

    fn tell(&mut self, view: &mut View<'_>, state: VoicesState) {
        if self.wanted && self.told.replace(state) != Some(state) {
            view.out.event(Event::Voices { state });
        }
    }

    /// Handles `Voices`: a mixer agrees, refuses, or ends the forwarding.
    pub(crate) fn answered(&mut self, view: &mut View<'_>, from: PeerId, comes: bool) {
        match self.asking.answered(view, from, comes, &Message::Media(MediaMessage::VoicesWanted(false))) {
            Answered::Comes => self.tell(view, VoicesState::Coming),
            Answered::Ends => self.tell(view, VoicesState::Unavailable),
            Answered::Nothing => {}
        }
    }

    // ── at a mixer ────────────────────────────────────────────────────────────────────────────────

    /// Handles `VoicesWanted`: an agent requests the voices, or none any more. Uplinks aren't asked: the host has
    /// marked few peers, and a voice is a thirtieth of a program.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, wanted: bool, mixes: bool) {
        // a peer that is about to begin mixing answers when the request is repeated
        if wanted && !mixes && view.mixes() {
            return;
        }
        let comes = wanted && mixes && view.links.is_up(&from) && view.stage.is_agent(&from);
        if comes {
            self.given.insert(from);
        } else {
            self.given.remove(&from);
        }
        if wanted {
            view.out.send(from, MediaMessage::Voices(comes));
        }
        self.route(view);
    }

    /// Ends the forwarding that is no longer possible, and notifies the receivers.
    fn keep_given(&mut self, view: &mut View<'_>, mixes: bool) {
        self.given.retain(|peer| {
            let is_linked = view.links.is_up(peer);
            let goes_on = mixes && is_linked && view.stage.is_agent(peer);
            if !goes_on && is_linked {
                view.out.send(*peer, MediaMessage::Voices(false));
            }
            goes_on
        });
    }

    /// Tells the body where voices go, if that has changed.
    fn route(&mut self, view: &mut View<'_>) {
        let mut routes = VoiceRoutes { here: self.is_for_me(view), ..VoiceRoutes::default() };
        routes.to.extend(&self.given);
        if routes.here || !routes.to.is_empty() {
            let is_apart = |peer: &PeerId| is_heard(view, peer) && !is_withheld(view, peer);
            let speakers = view.stage.speakers().into_iter().map(|entry| entry.peer);
            routes.of = speakers.filter(is_apart).collect();
        }
        if routes != self.said {
            self.said.clone_from(&routes);
            view.out.act(Output::Voices(routes));
        }
    }

    /// Returns when a request is to be repeated or sent to another mixer.
    pub(crate) fn next_timeout(&self, is_up: impl Fn(&PeerId) -> bool) -> Option<Time> {
        self.asking.next_timeout(is_up)
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("agents that get voices", self.given.len(), AGENTS_MAX)]
    }
}
