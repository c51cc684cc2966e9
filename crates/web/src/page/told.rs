//! What a page's application is told.

use plenary_body::people::People;
use plenary_body::{BodyEvent, Shell as _, Told};
use plenary_proto::app::{ConnectionState, Reason};
use plenary_proto::{Event, Newcomer, PeerId};

use super::{Joined, event};
use crate::report::PageEvent;
use crate::wire::Ask;

/// Interval at which the mixers' labels are made anew, since a newcomer may share a mixer's name. A guess.
const LABELS_EACH_US: u64 = 1_000_000;

/// Which peers mix, as the application was told last.
#[derive(Default)]
pub(super) struct MixedBy {
    mixers: Vec<PeerId>,
    epoch: u32,
    looked_us: u64,
    told: Option<Ask>,
}

impl Joined {
    pub(super) fn stand(&mut self, state: ConnectionState) {
        if std::mem::replace(&mut self.state, state) != state {
            self.emit(&PageEvent::State { state });
        }
    }

    pub(crate) fn emit(&mut self, told: &PageEvent) {
        self.asks.push(event(told));
        if told.is_end() {
            self.correspondence.close();
            self.stand(ConnectionState::Closed);
        }
    }

    /// Tells the application what the correspondence has to tell, if it concerns a page's user.
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::In => self.emit(&PageEvent::Admitted),
            Told::NoAnswer { other_version } => {
                let why = if other_version.is_some() { Reason::RoomVersion } else { Reason::NoAnswer };
                self.emit(&PageEvent::Refused(why.into()));
            }
            Told::OtherClock => self.emit(&PageEvent::Trouble(Reason::OtherClock.into())),
            Told::OwnClock { ahead_s: 0 } | Told::OtherVersion { .. } | Told::Unproven(_) => {}
            Told::OwnClock { .. } => self.emit(&PageEvent::Trouble(Reason::WrongClock.into())),
            Told::Rendezvous(now) => {
                let reason = now.as_ref().err().map(|why| why.reason());
                self.emit(&PageEvent::Rendezvous { up: now.is_ok(), reason });
            }
        }
    }

    pub(super) fn event(&mut self, now_us: u64, happened: &BodyEvent) {
        if let BodyEvent::Brain(event) = happened {
            let steps = self.correspondence.note(event);
            self.take_steps(steps);
        }
        if matches!(happened, BodyEvent::Brain(Event::Roster { .. })) {
            self.rendezvous.set_on_stage(self.body.brain().is_on_stage());
        }
        match happened {
            BodyEvent::Brain(Event::Knock { peer, name, mixes }) => {
                let newcomer = Newcomer { peer: *peer, name: name.clone(), mixes: *mixes };
                let told = self.knocks.come(now_us, newcomer);
                self.tell_knock(now_us, told);
            }
            BodyEvent::Brain(Event::FloorWanted { peer, name }) => {
                let told = self.hands.come(now_us, (*peer, name.clone()));
                self.tell_hand(now_us, told);
            }
            _ => {
                if let Some(told) = PageEvent::of(happened, &self.body, now_us) {
                    self.emit(&told);
                }
            }
        }
    }

    fn tell_knock(&mut self, now_us: u64, told: Option<(Newcomer, usize)>) {
        if let Some((newcomer, others)) = told {
            self.emit(&PageEvent::of_knock(newcomer, others, &People::of(&self.body, now_us)));
        }
    }

    fn tell_hand(&mut self, now_us: u64, told: Option<((PeerId, String), usize)>) {
        if let Some((hand, others)) = told {
            self.emit(&PageEvent::of_hand(hand, others, &People::of(&self.body, now_us)));
        }
    }

    /// Tells the application of wishes that came too soon after others.
    pub(super) fn tell_wishes(&mut self, now_us: u64) {
        let knock = self.knocks.due(now_us);
        self.tell_knock(now_us, knock);
        let hand = self.hands.due(now_us);
        self.tell_hand(now_us, hand);
    }

    /// Tells the application which peers mix, if that has changed.
    pub(super) fn tell_mixers(&mut self, now_us: u64) {
        let (mixers, epoch) = (self.body.brain().mixers(), self.body.brain().epoch());
        let last = &mut self.mixed_by;
        let is_same = last.mixers == mixers && last.epoch == epoch;
        if is_same && (mixers.is_empty() || now_us.saturating_sub(last.looked_us) < LABELS_EACH_US) {
            return;
        }
        (last.mixers, last.epoch, last.looked_us) = (mixers.to_vec(), epoch, now_us);
        let told = event(&PageEvent::of_mixers(&self.body, &People::of(&self.body, now_us)));
        if last.told.as_ref() != Some(&told) {
            last.told = Some(told.clone());
            self.asks.push(told);
        }
    }

    /// Returns whether the roster names this peer as the host.
    pub(crate) fn is_host(&self) -> bool {
        self.body.roster().is_some_and(|roster| roster.host == self.me)
    }
}
