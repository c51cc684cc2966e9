//! Bit rates of the peers on the program's way to this one, on request: what a user looks at when the picture is bad.
//!
//! A peer asks its parent; a peer on stage without a parent asks the lead mixer. The answer names the rates of the peer
//! asked, and below the mixer also the last answer that this peer got from above. So the first answer names one peer,
//! and each further one names one more, up to the mixer.

use crate::bounded::Bound;
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{ProbeMessage, ROSTER_MAX, Rates};
use crate::time::{SECOND, Time};
use crate::tree::CHILDREN_AND_PROMISES_MAX;
use crate::view::View;

/// Minimum interval of requests to one peer, however many peers ask from below. Bodies count rates once a second.
const ASK_US: u64 = SECOND;
/// Minimum interval of answers to one peer: half of the interval of requests, since messages are delayed. Without it a
/// child could request a hundred times the bytes that it sends.
const ANSWER_US: u64 = ASK_US / 2;
/// Maximum number of peers answered within [`ANSWER_US`]: all children, promised backups and peers on stage.
const ANSWERED_MAX: usize = CHILDREN_AND_PROMISES_MAX + ROSTER_MAX;
/// Lifetime of an answer. A guess: five requests of a window that shows the rates.
const KEPT_US: u64 = 10 * SECOND;

/// State of the requests for rates.
#[derive(Debug, Default)]
pub(crate) struct PathRates {
    /// Last peer asked, and when.
    asked: Option<(PeerId, Time)>,
    /// Last answer.
    told: Option<Told>,
    /// Peers answered lately, and when.
    answered: Vec<(PeerId, Time)>,
}

#[derive(Debug)]
struct Told {
    by: PeerId,
    at: Time,
    /// Rates of the peers from the mixer down to the one asked.
    rates: Rates,
}

impl PathRates {
    /// Asks the peer above.
    pub(crate) fn ask(&mut self, view: &mut View<'_>, above: Option<PeerId>) {
        let Some(peer) = above.filter(|peer| view.links.is_up(peer)) else { return };
        let is_early = self.asked.is_some_and(|(asked, at)| asked == peer && view.now.since(at) < ASK_US);
        if !is_early {
            self.asked = Some((peer, view.now));
            view.out.send(peer, ProbeMessage::RatesWanted);
        }
    }

    /// Answers a peer below, and asks above for its next request.
    pub(crate) fn wanted(
        &mut self,
        view: &mut View<'_>,
        above: Option<PeerId>,
        from: PeerId,
        children: usize,
    ) {
        self.answered.retain(|(_, at)| view.now.since(*at) < ANSWER_US);
        if self.answered.len() >= ANSWERED_MAX || self.answered.iter().any(|(peer, _)| *peer == from) {
            return;
        }
        self.answered.push((from, view.now));
        let known = self.known(view.now, above).cloned().unwrap_or_default();
        let children = u8::try_from(children).unwrap_or(u8::MAX);
        view.out.act(Output::AnswerRates { to: from, above: known, children });
        self.ask(view, above);
    }

    /// Takes an answer of the peer that was asked last.
    pub(crate) fn told(&mut self, now: Time, from: PeerId, rates: Rates) {
        if self.asked.is_some_and(|(peer, at)| peer == from && now.since(at) < KEPT_US) {
            self.told = Some(Told { by: from, at: now, rates });
        }
    }

    /// Returns the rates of the peers above, the mixer's first, if the peer above has told them lately.
    pub(crate) fn known(&self, now: Time, above: Option<PeerId>) -> Option<&Rates> {
        let told = self.told.as_ref().filter(|told| Some(told.by) == above)?;
        (now.since(told.at) < KEPT_US).then_some(&told.rates)
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("peers that were told rates lately", self.answered.len(), ANSWERED_MAX)]
    }
}
