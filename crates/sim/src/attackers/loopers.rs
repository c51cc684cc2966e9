//! Loopers: members that let others forward their envelopes back and forth.

use plenary_proto::bounded::List;
use plenary_proto::message::{Message, RELAY_HOPS_MAX, Relay, RouteMessage};
use plenary_proto::seal::ENVELOPE_LEN_MAX;
use plenary_proto::time::MS;
use plenary_proto::{PeerId, Time};

use crate::deviation::{Deviation, Saying};

/// Interval of the envelopes on each link: at their maximum size just below what a link may carry for others, 256 KiB
/// a second.
const EACH_US: u64 = 400 * MS;

/// A member that sends envelopes of the maximum size along routes that name two of its neighbours again and again.
#[derive(Debug)]
pub struct Looper {
    me: PeerId,
    to: PeerId,
    from: Time,
    turn: usize,
}

impl Looper {
    /// A looper that begins at a time; its envelopes are for `to`.
    pub fn new(me: PeerId, to: PeerId, from: Time) -> Looper {
        Looper { me, to, from, turn: 0 }
    }
}

impl Deviation for Looper {
    fn says(&mut self, now: Time, linked: &[PeerId]) -> Vec<Saying> {
        if now < self.from {
            return Vec::new();
        }
        self.from = now + EACH_US;
        self.turn += 1;
        let others = |by: &PeerId| linked.iter().filter(move |other| *other != by).cycle().nth(self.turn);
        let pairs = linked.iter().filter_map(|by| Some((by, others(by)?)));
        let says = pairs.map(|(by, other)| {
            let route = (0..RELAY_HOPS_MAX).map(|hop| [by, other][hop % 2].short());
            let sealed = std::iter::repeat_n(0, ENVELOPE_LEN_MAX);
            let (route, sealed) = (List::truncated(route), List::truncated(sealed));
            Saying::Control(
                *by,
                Message::Route(RouteMessage::Relay(Relay {
                    from: self.me,
                    to: self.to,
                    route,
                    passed: 0,
                    sealed,
                })),
            )
        });
        says.collect()
    }
}
