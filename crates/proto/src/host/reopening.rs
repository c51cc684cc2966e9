//! A host that opens its room again with the keys of an earlier session: it asks the members that have stayed for their
//! rosters, and goes on from the newest one.

use super::rivals::newest_by;
use super::{Host, REOPEN_ANSWERED_US, REOPEN_ASK_US, REOPEN_US, Rules};
use crate::io::{Address, Output};
use crate::message::{
    MemberMessage, Message, ProvenRoster, REIGN_NUMBER_MAX, Reign, Roster, SignedRoster, reign_of,
};
use crate::seal::Signed;
use crate::time::Time;
use crate::view::View;

/// How far a host is with opening its room again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopening {
    /// It asks the members that have stayed, and admits nobody.
    Asks,
    /// The room is open, but no member has answered so far.
    Unanswered,
    /// The room is open, with the members that have stayed. New rooms begin so.
    Done,
}

/// State of a host that opens its room again.
#[derive(Debug)]
pub(super) struct Reopener {
    /// Minimum number of the reign to begin.
    pub(super) reign_min: u32,
    step: Step,
    questions: Option<Questions>,
}

/// Step of a [`Reopening`], with its data.
#[derive(Debug)]
enum Step {
    Asks {
        /// When the room opens.
        opens_at: Time,
        /// The newest roster that a member has sent.
        newest: Option<SignedRoster>,
    },
    Unanswered,
    Done,
}

/// Questions to the members, repeated.
#[derive(Clone, Copy, Debug)]
struct Questions {
    next_at: Time,
    until: Time,
}

impl Reopener {
    pub(super) fn new(now: Time, reign_min: u32) -> Reopener {
        let asks = Step::Asks { opens_at: now + REOPEN_US, newest: None };
        Reopener { reign_min, step: if reign_min > 0 { asks } else { Step::Done }, questions: None }
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let opens_at = match self.step {
            Step::Asks { opens_at, .. } => Some(opens_at),
            Step::Unanswered | Step::Done => None,
        };
        [opens_at, self.questions.map(|questions| questions.next_at)].into_iter().flatten().min()
    }

    fn ask(&mut self, now: Time) {
        self.questions = Some(Questions { next_at: now, until: now + REOPEN_US });
    }

    /// Returns the epoch of what a roster proves of the room before: the roster itself, or the newest one in it by this
    /// host or the root key.
    fn epoch_of(&self, view: &View<'_>, roster: &ProvenRoster) -> Option<u32> {
        match self.is_later(roster) {
            true => Some(roster.epoch),
            false => newest_by(roster, [view.config.root, view.me]).map(|own| own.epoch),
        }
    }

    /// Whether a roster is of this host's latest session or of a later reign. Its keys name a number two above the
    /// highest that it knew then, and a roster of an earlier session may be a replay.
    fn is_later(&self, roster: &ProvenRoster) -> bool {
        reign_of(roster.epoch) + 1 >= self.reign_min
    }
}

impl Host {
    pub(crate) fn reopening(&self) -> Reopening {
        match self.reopening.step {
            Step::Asks { .. } => Reopening::Asks,
            Step::Unanswered => Reopening::Unanswered,
            Step::Done => Reopening::Done,
        }
    }

    pub(super) fn is_reopening(&self) -> bool {
        self.reopening() == Reopening::Asks
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.reopening() == Reopening::Unanswered
    }

    /// Asks the members through the rendezvous, which is up from now on.
    pub(crate) fn signal_up(&mut self, now: Time) {
        if let Step::Asks { opens_at, .. } = &mut self.reopening.step {
            *opens_at = now + REOPEN_US;
        }
        if self.is_reopening() || self.is_unanswered() {
            self.reopening.ask(now);
        }
    }

    /// Asks the members once more, on the application's command, if none has answered.
    pub(crate) fn ask_again(&mut self, now: Time) {
        if self.is_unanswered() {
            self.reopening.ask(now);
        }
    }

    /// Keeps a roster that arrives while the room opens again, if it is the newest so far: of this host, of the root
    /// key, or of a later reign. Returns false if the room is open.
    pub(crate) fn keep_while_opening(&mut self, view: &View<'_>, roster: &SignedRoster) -> bool {
        let Step::Asks { opens_at, newest } = &self.reopening.step else { return false };
        let age = |roster: &ProvenRoster| self.reopening.epoch_of(view, roster);
        let known = newest.as_deref().and_then(age).or(self.signed.as_ref().map(|own| own.epoch));
        if age(roster) > known {
            let opens_at = (*opens_at).min(view.now + REOPEN_ANSWERED_US);
            self.reopening.step = Step::Asks { opens_at, newest: Some(roster.clone()) };
        }
        true
    }

    /// Goes on from a roster of a member that answers when the room is open already. Returns whether it does.
    pub(crate) fn take_late_answer(&mut self, view: &mut View<'_>, roster: &ProvenRoster) -> bool {
        let is_older = self.signed.as_ref().is_some_and(|own| roster.epoch < own.epoch);
        let counts = self.is_unanswered() && self.reopening.epoch_of(view, roster).is_some();
        let takes = is_older && counts;
        if takes {
            let before = self.epoch_of(view, roster);
            self.go_on_from(view, roster);
            match self.reigns.number() + 1 {
                number @ ..=REIGN_NUMBER_MAX => self.begin_reign(view, number, before),
                _ => self.flush(view),
            }
        }
        takes
    }

    /// Returns the epoch of what a roster proves of the room before; 0 if nothing.
    pub(super) fn epoch_of(&self, view: &View<'_>, roster: &ProvenRoster) -> u32 {
        self.reopening.epoch_of(view, roster).unwrap_or(0)
    }

    /// Opens the room again, under a new reign, with the stage of the newest roster of members that have stayed; then
    /// answers the newcomers that have asked meanwhile.
    fn reopen(&mut self, view: &mut View<'_>, newest: Option<SignedRoster>) {
        let after = newest.as_ref().map_or(0, |newest| reign_of(newest.epoch) + 1);
        let number = self.reopening.reign_min.max(after).min(REIGN_NUMBER_MAX);
        self.reopening.step = Step::Unanswered;
        let mut before = 0;
        if let Some(newest) = newest {
            before = self.epoch_of(view, &newest);
            self.go_on_from(view, &newest);
        }
        self.begin_reign(view, number, before);
        view.out.act(Output::Claim);
        for (peer, join) in std::mem::take(&mut self.early_joins) {
            self.join(view, peer, &join);
        }
    }

    /// Takes over stage, settings and removals of a member's roster. What a host has changed that the stage chose, this
    /// one takes over as far as it adds peers to the stage, without votes: the settings are those of the last roster
    /// before it, and its removals are the application's to judge.
    pub(super) fn go_on_from(&mut self, view: &mut View<'_>, roster: &ProvenRoster) {
        (self.reopening.step, self.reopening.questions) = (Step::Done, None);
        let is_later = self.reopening.is_later(roster);
        let own = newest_by(roster, [view.config.root, view.me]);
        if is_later && !roster.reigns.0.iter().any(Reign::is_chosen) {
            self.follow(view.now, &roster.signed);
            return;
        }
        if is_later {
            self.judge_removals(view, roster);
        }
        if let Some(own) = own {
            self.follow(view.now, own);
        }
        self.take_over(view.now, Some(&roster.signed).filter(|_| is_later), false);
    }

    /// Takes over stage, settings and removals of a roster by this host, or by one that was named in its name.
    fn follow(&mut self, now: Time, before: &Signed<Roster>) {
        self.keep_out(&before.body.rules.access);
        self.rules.access.agents = before.body.rules.access.agents.clone();
        let Roster { audience, rules, .. } = before.body.clone();
        let Rules { mixing, expires_unix_s, title, access, .. } = self.rules.clone();
        self.rules = Rules { mixing, expires_unix_s, title, access, ..rules };
        (self.audience, self.audience_seen) = (self.audience || audience, now);
        self.take_over(now, Some(before), true);
    }

    pub(super) fn reopening_on_time(&mut self, view: &mut View<'_>) {
        if let Some(questions) = self.reopening.questions.filter(|questions| questions.next_at <= view.now) {
            let next_at = view.now + REOPEN_ASK_US;
            self.reopening.questions =
                Some(Questions { next_at, ..questions }).filter(|next| next_at < next.until);
            // by address: the rendezvous delivers it to the members that have been there for longest
            let roster = self.signed.clone().map(MemberMessage::Roster).map(Message::from);
            roster.into_iter().for_each(|roster| view.out.act(Output::Signal(Address::Host, roster)));
        }
        if let Step::Asks { opens_at, newest } = &mut self.reopening.step
            && *opens_at <= view.now
        {
            let newest = newest.take();
            self.reopen(view, newest);
        }
    }
}
