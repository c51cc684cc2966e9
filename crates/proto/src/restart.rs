//! Negotiation of an ICE restart (RFC 8445, 2.4) between the ends of a link: requests, their repetition, answers, and
//! how long a restart may take. The ICE agents are elsewhere: natives have their own, and a page uses its browser's.
//!
//! An end restarts when its network has changed, and the offering end of a link that takes a detour tries the direct
//! way again from time to time. What the ends tell each other goes by the room, since the link may be dead.

use std::collections::VecDeque;
use std::ops::Add;
use std::time::Duration;

use crate::bounded::{List, Text};
use crate::link_layout::Role;
use crate::message::{CANDIDATES_MAX, Candidate, IceRestart, LinkKind};

/// Time after which a restart without a path is given up: as a link's set-up.
const RESTART_MAX: Duration = Duration::from_secs(5);
/// Interval at which an unanswered request is repeated, and the number of requests. Guesses: a round trip by the
/// rendezvous; it may have to be connected anew first.
const ASK_EACH: Duration = Duration::from_millis(300);
const ASKS_MAX: u8 = 12;

/// An instant of an end's clock: [`std::time::Instant`], or a [`Duration`] since a fixed time.
pub trait Clock: Copy + Ord + Add<Duration, Output = Self> {}

impl<T: Copy + Ord + Add<Duration, Output = T>> Clock for T {}

/// Number of the other end's requests that are remembered. A guess: a request may come late, by a link that was dead
/// meanwhile, or by a peer that relays it.
const REMEMBERED_MAX: usize = 8;

/// The requests of a link's other end that this one has taken, the newest last.
#[derive(Clone, Debug, Default)]
pub struct Taken(VecDeque<Text<32>>);

impl Taken {
    /// Whether a request comes late: a newer request was taken since, or its restart has ended.
    fn is_late(&self, ufrag: &Text<32>, is_restarting: bool) -> bool {
        self.0.iter().rev().skip(usize::from(is_restarting)).any(|taken| taken == ufrag)
    }

    fn take(&mut self, ufrag: &Text<32>) {
        self.0.retain(|taken| taken != ufrag);
        if self.0.len() >= REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(ufrag.clone());
    }
}

/// One end's part of an ICE restart under way.
#[derive(Clone, Debug)]
pub struct Negotiation<T> {
    ufrag: Text<32>,
    pwd: Text<64>,
    candidates: List<Candidate, CANDIDATES_MAX>,
    other_ufrag: Option<Text<32>>,
    /// This end has asked for it; else the other one.
    asks: bool,
    ask_at: Option<T>,
    asked: u8,
    give_up_at: T,
}

/// What an end does with the other end's part of a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Drop it: another link, another restart, or a duplicate.
    Nothing,
    /// The other end asks: this one begins a restart, or begins it anew, and answers.
    Begin,
    /// The other end answers.
    Start,
    /// The other end asks again: the answer was lost.
    Answer,
}

impl<T: Clock> Negotiation<T> {
    /// Begins a restart with the credentials and candidates of this end. `asks`: the other end hasn't asked for it.
    pub fn new(
        now: T,
        (ufrag, pwd): (&str, &str),
        candidates: List<Candidate, CANDIDATES_MAX>,
        asks: bool,
    ) -> Negotiation<T> {
        Negotiation {
            ufrag: Text::truncated(ufrag),
            pwd: Text::truncated(pwd),
            candidates,
            other_ufrag: None,
            asks,
            ask_at: asks.then_some(now),
            asked: 0,
            give_up_at: now + RESTART_MAX,
        }
    }

    /// The other end's part has come.
    pub fn start(&mut self, now: T, told: &IceRestart) {
        self.other_ufrag = Some(told.ufrag.clone());
        // counted from the answer, which may come late
        self.give_up_at = now + RESTART_MAX;
    }

    /// Returns what this end tells the other. The kind of the link is set by its caller.
    pub fn told(&self, link_ufrag: &str) -> IceRestart {
        IceRestart {
            kind: LinkKind::Peer,
            link_ufrag: Text::truncated(link_ufrag),
            answers: self.other_ufrag.clone().filter(|_| !self.asks),
            ufrag: self.ufrag.clone(),
            pwd: self.pwd.clone(),
            candidates: self.candidates.clone(),
        }
    }

    /// Returns the user fragment of the other end's part, once that has come.
    pub fn other_ufrag(&self) -> Option<&str> {
        self.other_ufrag.as_deref()
    }

    /// Whether this end has asked, and has no answer yet.
    pub fn is_asking(&self) -> bool {
        self.asks && self.other_ufrag.is_none()
    }

    /// Returns whether the request is due, and counts it.
    pub fn is_ask_due(&mut self, now: T) -> bool {
        let is_due = self.ask_at.take_if(|at| *at <= now).is_some() && self.is_asking();
        if is_due {
            self.asked += 1;
            self.ask_at = (self.asked < ASKS_MAX).then_some(now + ASK_EACH);
        }
        is_due
    }

    /// An unanswered request is due again: the rendezvous is connected again.
    pub fn ask_again(&mut self, now: T) {
        if self.is_asking() && self.asked < ASKS_MAX {
            self.ask_at = Some(now);
        }
    }

    /// Whether no path was found in time.
    pub fn is_over(&self, now: T) -> bool {
        self.give_up_at <= now
    }

    /// Returns when the next request is due, or the restart is given up.
    pub fn next_timeout(&self) -> T {
        self.ask_at.filter(|_| self.is_asking()).map_or(self.give_up_at, |at| at.min(self.give_up_at))
    }

    /// Judges what the other end tells of a restart, by this end's own, if there is one. `link_ufrag`: user fragment of
    /// this end's description. If both ask at once, the offering end's request counts.
    pub fn judge(
        own: Option<&Self>,
        taken: &mut Taken,
        role: Role,
        link_ufrag: &str,
        told: &IceRestart,
    ) -> Told {
        let what = Self::compare(own, role, link_ufrag, told);
        if what == Told::Begin {
            if taken.is_late(&told.ufrag, own.is_some()) {
                return Told::Nothing;
            }
            taken.take(&told.ufrag);
        }
        what
    }

    fn compare(own: Option<&Self>, role: Role, link_ufrag: &str, told: &IceRestart) -> Told {
        if *told.link_ufrag != *link_ufrag {
            return Told::Nothing;
        }
        match (&told.answers, own) {
            (Some(of), Some(own)) if *of == own.ufrag && own.is_asking() => Told::Start,
            (Some(_), _) => Told::Nothing,
            (None, None) => Told::Begin,
            (None, Some(own)) if own.is_asking() && role == Role::Offer => Told::Nothing,
            (None, Some(own)) if own.other_ufrag.as_ref() == Some(&told.ufrag) => Told::Answer,
            (None, Some(_)) => Told::Begin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "link";
    const AT: Duration = Duration::from_secs(1);

    fn negotiation(ufrag: &str, asks: bool) -> Negotiation<Duration> {
        Negotiation::new(AT, (ufrag, "a/password/of/22/letters"), List::default(), asks)
    }

    #[test]
    fn a_request_that_comes_late_begins_no_restart() {
        let mut taken = Taken::default();
        let judge = |own: Option<&Negotiation<Duration>>, taken: &mut Taken, ufrag: &str| {
            Negotiation::judge(own, taken, Role::Answer, LINK, &negotiation(ufrag, true).told(LINK))
        };
        assert_eq!(judge(None, &mut taken, "first"), Told::Begin);
        let mut own = negotiation("own", false);
        own.start(AT, &negotiation("first", true).told(LINK));
        assert_eq!(judge(Some(&own), &mut taken, "first"), Told::Answer);
        assert_eq!(judge(Some(&own), &mut taken, "second"), Told::Begin);
        own.start(AT, &negotiation("second", true).told(LINK));
        assert_eq!(judge(Some(&own), &mut taken, "first"), Told::Nothing, "overtaken");
        assert_eq!(judge(None, &mut taken, "second"), Told::Nothing, "over");
        assert_eq!(judge(None, &mut taken, "third"), Told::Begin);
        // this end's own request has taken the place of its answer
        assert_eq!(judge(Some(&negotiation("own", true)), &mut taken, "third"), Told::Begin);
        for at in 0..100 {
            assert_eq!(judge(None, &mut taken, &format!("next{at}")), Told::Begin);
        }
        assert_eq!(taken.0.len(), REMEMBERED_MAX);
    }
}
