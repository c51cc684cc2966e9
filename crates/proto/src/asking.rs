//! A request to a mixer, for something that every mixer can give: one is asked at a time, and another one when
//! the mixers change or it refuses.
//!
//! When the mixers change, the former one is released once another has agreed. While both send, no packets are
//! missed.

use crate::id::PeerId;
use crate::links::Want;
use crate::message::{LinkKind, Message, Path};
use crate::rng::Backoff;
use crate::time::{SECOND, Time};
use crate::view::View;

/// Interval at which an unanswered request is repeated. A guess.
const ANSWER_US_MAX: u64 = SECOND;
/// Timeout after which a mixer that still isn't linked is given up and the next one is tried. A guess: a link
/// is tried twice.
const LINK_US_MAX: u64 = 6 * SECOND;
/// Backoff after a refusal.
const AGAIN: Backoff = Backoff::new(2 * SECOND, 30 * SECOND);

/// A request to a mixer that hasn't agreed yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    mixer: PeerId,
    /// When to send or repeat the request.
    due: Time,
}

/// What a mixer's answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A mixer gives it from now on.
    Comes,
    /// No mixer gives it any more.
    Ends,
    /// Nothing.
    Nothing,
}

/// The mixers that were asked.
#[derive(Debug)]
pub(crate) struct Asking {
    /// The mixer that has agreed.
    giver: Option<PeerId>,
    asked: Option<Asked>,
    backoff: Backoff,
}

impl Default for Asking {
    fn default() -> Asking {
        Asking { giver: None, asked: None, backoff: AGAIN }
    }
}

/// Returns the next mixer in force, in turn.
fn next_mixer(view: &View<'_>, mixer: PeerId) -> PeerId {
    let mixers = &view.mandate.mixers;
    let behind = mixers.iter().skip_while(|known| **known != mixer).nth(1);
    behind.or(mixers.first()).copied().unwrap_or(mixer)
}

impl Asking {
    /// Returns the mixers that were asked.
    pub(crate) fn mixers(&self) -> impl Iterator<Item = PeerId> {
        self.giver.into_iter().chain(self.asked.map(|asked| asked.mixer))
    }

    /// Returns whether a mixer has agreed.
    pub(crate) fn has_giver(&self) -> bool {
        self.giver.is_some()
    }

    /// Begins another request: the mixer that was asked is asked for something else, or released.
    pub(crate) fn begin_anew(&mut self, now: Time, asks: bool) {
        self.backoff = AGAIN;
        if asks {
            let mixer = self.giver.take().or(self.asked.map(|asked| asked.mixer));
            self.asked = mixer.map(|mixer| Asked { mixer, due: now });
        }
    }

    /// Asks a mixer as far as that is due, or with `None` releases those that were asked by the message `ends`.
    /// Returns whether there is a mixer to ask.
    pub(crate) fn request(
        &mut self,
        view: &mut View<'_>,
        path: &Path,
        message: Option<Message>,
        ends: &Message,
        want: Want,
    ) -> bool {
        self.giver.take_if(|giver| !view.links.is_up(giver));
        let asks = message.and_then(|message| Some((message, self.mixer_to_ask(view, path)?)));
        let has_mixer = asks.is_some();
        match asks {
            Some((message, mixer)) if self.giver != Some(mixer) => {
                let asked = self.asked.filter(|asked| asked.mixer == mixer);
                let mut asked = asked.unwrap_or(Asked { mixer, due: view.now });
                if view.now >= asked.due + LINK_US_MAX && !view.links.is_up(&mixer) {
                    asked = self.later(view, mixer);
                }
                self.asked = Some(asked);
                if asked.due <= view.now && view.links.is_up(&asked.mixer) {
                    view.out.send(asked.mixer, message);
                    self.asked = Some(Asked { due: view.now + ANSWER_US_MAX, ..asked });
                }
            }
            Some(_) => self.asked = None,
            None => {
                let asked = self.asked.take().map(|asked| asked.mixer);
                for mixer in self.giver.take().into_iter().chain(asked) {
                    if view.links.is_up(&mixer) {
                        view.out.send(mixer, ends.clone());
                    }
                }
            }
        }
        let wanted = self.mixers().map(|mixer| (mixer, LinkKind::Peer)).collect();
        view.links.want_only(view.now, view.out, want, &wanted);
        has_mixer
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
    fn later(&mut self, view: &mut View<'_>, mixer: PeerId) -> Asked {
        Asked { mixer: next_mixer(view, mixer), due: view.now + self.backoff.next_us(view.rng) }
    }

    /// Handles a mixer's answer: it agrees, refuses, or ends what it gave.
    pub(crate) fn answered(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        comes: bool,
        ends: &Message,
    ) -> Answered {
        let was_asked = self.asked.is_some_and(|asked| asked.mixer == from);
        if comes && was_asked {
            if let Some(before) = self.giver.replace(from) {
                view.out.send(before, ends.clone());
            }
            (self.asked, self.backoff) = (None, AGAIN);
            Answered::Comes
        } else if !comes && (was_asked || self.giver == Some(from)) {
            self.giver.take_if(|giver| *giver == from);
            if was_asked || self.asked.is_none() {
                self.asked = Some(self.later(view, from));
            }
            if self.giver.is_none() { Answered::Ends } else { Answered::Nothing }
        } else {
            Answered::Nothing
        }
    }

    /// Returns when a request is to be repeated or sent to another mixer. A mixer that isn't linked yet is
    /// asked as soon as its link is up.
    pub(crate) fn next_timeout(&self, is_up: impl Fn(&PeerId) -> bool) -> Option<Time> {
        self.asked.map(|asked| if is_up(&asked.mixer) { asked.due } else { asked.due + LINK_US_MAX })
    }
}
