//! What a page's application is told.

use plenary_body::people::People;
use plenary_body::{Shell as _, Told};
use plenary_proto::app::{ConnectionState, End, Reason};
use plenary_proto::{Event, Newcomer, PeerId};

use super::{Joined, json};
use crate::report::{aside, mixed_by};
use crate::wire::Ask;

/// Interval at which the mixers' labels are made anew, since a newcomer may share a mixer's name. A guess.
const LABELS_EACH_US: u64 = 1_000_000;

/// Which peers mix, as the application was told last.
#[derive(Default)]
pub(super) struct MixedBy {
    mixers: Vec<PeerId>,
    epoch: u32,
    looked_us: u64,
    told: Option<String>,
}

impl Joined {
    pub(super) fn stand(&mut self, state: ConnectionState) {
        if std::mem::replace(&mut self.state, state) != state {
            self.emit(Event::Connection { state });
        }
    }

    /// Tells the application an event.
    pub(crate) fn emit(&mut self, event: Event) {
        self.emit_of_many(event, 0);
    }

    fn emit_of_many(&mut self, event: Event, others: usize) {
        let aside = aside(&event, others, &self.body, self.called_us);
        self.asks.push(Ask::Event { event: json(&event), aside: json(&aside) });
        let end = event.end();
        if end.is_some() || matches!(event, Event::Refused(_)) {
            self.end(end);
        }
    }

    /// This peer's part has ended; `None`: before it has begun.
    pub(super) fn end(&mut self, end: Option<End>) {
        self.correspondence.close();
        self.stand(ConnectionState::Closed);
        if let Some(end) = end {
            self.emit(Event::Closed { end });
        }
    }

    /// Tells the application what the correspondence has to tell, if it concerns a page's user.
    pub(super) fn told(&mut self, told: Told) {
        match told {
            Told::In => self.emit(Event::Admitted),
            Told::NoAnswer { other_version } => {
                let why = if other_version.is_some() { Reason::RoomVersion } else { Reason::NoAnswer };
                self.emit(Event::Refused(why.into()));
            }
            Told::Rendezvous(now) => {
                let (up, reason) = (now.is_ok(), now.as_ref().err().map(|cause| cause.reason()));
                self.emit(Event::Rendezvous { up, reason, why: None });
            }
            Told::Event(event) => self.emit(event),
            Told::Unproven(_) => {}
        }
    }

    pub(super) fn event(&mut self, now_us: u64, event: Event) {
        let steps = self.correspondence.note(&event);
        self.take_steps(steps);
        match event {
            Event::Admitted => {} // told once the rendezvous is reached as well
            Event::Knock { peer, name, mixes } => {
                let told = self.knocks.come(now_us, Newcomer { peer, name, mixes });
                self.tell_knock(told);
            }
            Event::FloorWanted { peer, name } => {
                let told = self.hands.come(now_us, (peer, name));
                self.tell_hand(told);
            }
            event => {
                if matches!(event, Event::Stage { .. }) {
                    self.rendezvous.set_on_stage(self.body.brain().is_on_stage());
                }
                self.emit(event);
            }
        }
    }

    fn tell_knock(&mut self, told: Option<(Newcomer, usize)>) {
        if let Some((Newcomer { peer, name, mixes }, others)) = told {
            self.emit_of_many(Event::Knock { peer, name, mixes }, others);
        }
    }

    fn tell_hand(&mut self, told: Option<((PeerId, String), usize)>) {
        if let Some(((peer, name), others)) = told {
            self.emit_of_many(Event::FloorWanted { peer, name }, others);
        }
    }

    /// Tells the application of wishes that came too soon after others.
    pub(super) fn tell_wishes(&mut self, now_us: u64) {
        let knock = self.knocks.due(now_us);
        self.tell_knock(knock);
        let hand = self.hands.due(now_us);
        self.tell_hand(hand);
    }

    /// Tells the application which peers mix, if that has changed.
    pub(super) fn tell_mixers(&mut self, now_us: u64) {
        let (mixers, epoch) = (self.body.brain().mixers(), self.body.brain().epoch());
        let last = &mut self.mixed_by;
        let is_same = last.mixers == mixers && last.epoch == epoch;
        if is_same && (mixers.is_empty() || now_us.saturating_sub(last.looked_us) < LABELS_EACH_US) {
            return;
        }
        (last.epoch, last.looked_us) = (epoch, now_us);
        let (mixers, text) = (mixers.to_vec(), mixed_by(&self.body, &People::of(&self.body, now_us)));
        if mixers != last.mixers || text != last.told {
            (last.mixers, last.told) = (mixers.clone(), text.clone());
            self.emit(Event::MixedBy { mixers, text });
        }
    }

    /// Returns whether the roster names this peer as the host.
    pub(crate) fn is_host(&self) -> bool {
        self.body.roster().is_some_and(|roster| roster.host == self.me)
    }
}
