//! How a message gets to a peer: on its link, through the rendezvous, or through linked peers.
//!
//! Without a rendezvous an envelope takes a route that its sender chose: a learned one (redirects name whole
//! paths, and what came by a route is answered along it), or up our own path to the mixer, who is linked with
//! the whole stage, or across one peer of the stage.

use std::collections::BTreeMap;

use crate::bounded::{Bound, List};
use crate::id::{PeerId, ShortId};
use crate::io::{Address, Output};
use crate::links::LinkTable;
use crate::message::{Message, Path, Place, RELAY_HOPS_MAX, Relay};
use crate::stage::Stage;
use crate::time::{SECOND, Time};

/// Most learned routes.
const ROUTES_MAX: usize = 128;
/// A peer the rendezvous doesn't know is not looked for there for so long.
const ABSENT_US: u64 = 5 * SECOND;

type Route = List<ShortId, RELAY_HOPS_MAX>;

/// What this peer knows of ways to others.
#[derive(Debug)]
pub(crate) struct Router {
    me: PeerId,
    signal_up: bool,
    /// Learned routes, and when.
    learned: BTreeMap<PeerId, (Time, Route)>,
    /// Whom the rendezvous doesn't know.
    absent: BTreeMap<PeerId, Time>,
}

impl Router {
    pub(crate) fn new(me: PeerId) -> Router {
        Router { me, signal_up: false, learned: BTreeMap::new(), absent: BTreeMap::new() }
    }

    pub(crate) fn set_signal_up(&mut self, up: bool) {
        self.signal_up = up;
        self.absent.clear();
    }

    pub(crate) fn signal_up(&self) -> bool {
        self.signal_up
    }

    /// The rendezvous doesn't know this peer.
    pub(crate) fn absent(&mut self, now: Time, peer: PeerId) {
        if self.absent.len() >= ROUTES_MAX && !self.absent.contains_key(&peer) {
            let oldest = self.absent.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.absent.remove(&oldest));
        }
        self.absent.insert(peer, now);
    }

    /// An envelope came from `from` by these peers: answers go back the same way.
    pub(crate) fn came_by(&mut self, now: Time, from: PeerId, route: &[ShortId]) {
        // the way up to a mixer names whoever is on it, us too
        let before: Vec<ShortId> = route.iter().copied().take_while(|id| *id != self.me.short()).collect();
        self.learn(now, from, List::truncated(before.into_iter().rev()));
    }

    /// Places we were sent to lie below the mixer of their path; `mine` is our own path.
    pub(crate) fn places(&mut self, now: Time, links: &LinkTable, mine: &Path, places: &[Place]) {
        for place in places {
            let Some((_, above)) = place.path.split_last() else { continue };
            let linked = above.iter().rposition(|id| links.up_short(id).is_some());
            // over the lowest peer of its path that we are linked with, else up to the mixer and down again
            let route: Vec<ShortId> = match linked {
                Some(at) => above[at..].to_vec(),
                None => {
                    let up: Vec<ShortId> = match mine.split_last() {
                        Some((_, mine)) => mine.iter().rev().copied().collect(),
                        None => self.way_to(above.first()),
                    };
                    let down = above.iter().copied().filter(|id| mine.first() != Some(id));
                    up.into_iter().chain(down).collect()
                }
            };
            self.learn(now, place.peer, List::truncated(route));
        }
    }

    /// The learned way to that peer, itself left out.
    fn way_to(&self, peer: Option<&ShortId>) -> Vec<ShortId> {
        let known = self.learned.iter().find(|(known, _)| Some(&known.short()) == peer);
        known.map_or(Vec::new(), |(_, (_, route))| route.to_vec())
    }

    pub(crate) fn bounds(&self) -> [Bound; 2] {
        [
            Bound::new("learned routes", self.learned.len(), ROUTES_MAX),
            Bound::new("peers that the rendezvous doesn't know", self.absent.len(), ROUTES_MAX),
        ]
    }

    fn learn(&mut self, now: Time, peer: PeerId, route: Route) {
        if self.learned.len() >= ROUTES_MAX && !self.learned.contains_key(&peer) {
            let oldest = self.learned.iter().min_by_key(|(_, (at, _))| *at).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                self.learned.remove(&oldest);
            }
        }
        self.learned.insert(peer, (now, route));
    }

    /// The way to `to`; `None` when there is none.
    pub(crate) fn resolve(
        &self,
        now: Time,
        links: &LinkTable,
        stage: &Stage,
        mine: &Path,
        to: PeerId,
        message: Message,
    ) -> Option<Output> {
        if to == self.me {
            return None;
        }
        if links.is_up(&to) && !links.is_closing(now, &to) {
            return Some(Output::Control(to, message));
        }
        let absent = self.absent.get(&to).is_some_and(|at| now.since(*at) < ABSENT_US);
        if self.signal_up && !absent {
            return Some(Output::Signal(Address::Peer(to), message));
        }
        match self.mesh(now, links, stage, mine, to) {
            Some((next, route)) => Some(Output::Relay { next, to, route, message }),
            None => links.is_up(&to).then_some(Output::Control(to, message)),
        }
    }

    /// A route through linked peers, and the first of them.
    fn mesh(
        &self,
        now: Time,
        links: &LinkTable,
        stage: &Stage,
        mine: &Path,
        to: PeerId,
    ) -> Option<(PeerId, Route)> {
        let known = self.known_way(links, mine, &to, |_| false);
        known.or_else(|| {
            // whoever on stage we are linked with: the host first, who is linked with everyone
            let linked =
                stage.entries().iter().map(|entry| entry.peer).find(|peer| links.is_up(peer) && *peer != to);
            // whoever hangs on us alone gets no farther than we do: each second another has its turn
            let in_turn = || {
                let others = || links.up().filter(|peer| *peer != to);
                let turn = now.0 / SECOND % (others().count() as u64).max(1);
                others().nth(turn as usize)
            };
            let next = linked.or_else(in_turn)?;
            Some((next, List::truncated([next.short()])))
        })
    }

    /// The learned route to `to`, or the way up our own path, whose first peer we are linked with, and none of whose has
    /// `been` reached.
    fn known_way(
        &self,
        links: &LinkTable,
        mine: &Path,
        to: &PeerId,
        been: impl Fn(&ShortId) -> bool,
    ) -> Option<(PeerId, Route)> {
        let learned = self.learned.get(to).map(|(_, route)| route.clone());
        let up = || List::truncated(mine.iter().rev().skip(1).copied());
        let mut ways = learned.into_iter().chain(std::iter::once_with(up));
        ways.find_map(|route| {
            let next = links.up_short(route.first()?).filter(|_| !route.iter().any(&been))?;
            Some((next, route))
        })
    }

    /// Passes an envelope on along its route. Where that breaks off, or ends before the recipient, it goes our own
    /// way from here, if nobody is on that who was on the route already; else nowhere.
    pub(crate) fn forward(
        &self,
        links: &LinkTable,
        stage: &Stage,
        mine: &Path,
        mut relay: Relay,
    ) -> Option<Output> {
        let at = usize::from(relay.passed);
        if relay.route.get(at) != Some(&self.me.short()) {
            return None;
        }
        relay.passed += 1;
        if let Some(next) = relay.route.get(at + 1).and_then(|id| links.up_short(id)) {
            return Some(Output::Control(next, Message::Relay(relay)));
        }
        let gone = List::<ShortId, RELAY_HOPS_MAX>::truncated(relay.route.iter().take(at + 1).copied());
        if links.is_up(&relay.to) {
            relay.route = gone;
            return Some(Output::Control(relay.to, Message::Relay(relay)));
        }
        let been = |id: &ShortId| gone.contains(id) || *id == relay.from.short();
        let (next, onward) = self.detour(links, stage, mine, &relay.to, been)?;
        if gone.len() + onward.len() > RELAY_HOPS_MAX {
            return None;
        }
        relay.route = List::truncated(gone.iter().chain(onward.iter()).copied());
        Some(Output::Control(next, Message::Relay(relay)))
    }

    /// A way from here to `to` by peers who haven't seen the envelope yet.
    fn detour(
        &self,
        links: &LinkTable,
        stage: &Stage,
        mine: &Path,
        to: &PeerId,
        been: impl Fn(&ShortId) -> bool,
    ) -> Option<(PeerId, Route)> {
        if let Some(way) = self.known_way(links, mine, to, &been) {
            return Some(way);
        }
        // the stage knows its own; a viewer that can't go up knows at most whoever hangs on it
        let fresh = |peer: &PeerId| links.is_up(peer) && !been(&peer.short());
        let next = if stage.contains(to) {
            let linked = stage.entries().iter().map(|entry| entry.peer).find(fresh);
            linked.or_else(|| links.up().find(fresh))?
        } else {
            links.up().find(fresh).filter(|_| !stage.contains(&self.me))?
        };
        Some((next, List::truncated([next.short()])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Want;
    use crate::message::LinkKind;
    use crate::outbox::Outbox;

    /// The peer of that number; its short id is eight times the number.
    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    fn linked(me: u8, with: &[u8]) -> LinkTable {
        let (mut links, mut out) = (LinkTable::new(peer(me)), Outbox::default());
        for other in with {
            links.want(Time(0), &mut out, Want::Parent, peer(*other));
            links.link_up(Time(0), &mut out, peer(*other), LinkKind::Peer);
        }
        links
    }

    fn path(ids: &[u8]) -> Path {
        List::truncated(ids.iter().map(|id| peer(*id).short()))
    }

    /// Where 2 sends an envelope from 1 to 9 that came by `route`, and by which route, while it is linked with
    /// some, and knows its own path.
    fn forwarded(route: &[u8], with: &[u8], mine: &[u8]) -> Option<(u8, Vec<u8>)> {
        let route = List::truncated(route.iter().map(|id| peer(*id).short()));
        let relay = Relay { from: peer(1), to: peer(9), route, passed: 0, sealed: List::new() };
        let router = Router::new(peer(2));
        match router.forward(&linked(2, with), &Stage::default(), &path(mine), relay)? {
            Output::Control(next, Message::Relay(relay)) => {
                assert_eq!(relay.passed, 1);
                Some((next.0[0], relay.route.iter().map(|id| id.0[0]).collect()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_said_on_a_link_that_is_about_to_close_while_there_is_another_way() {
        let (mut links, mut out) = (linked(2, &[9]), Outbox::default());
        let mut router = Router::new(peer(2));
        let way = |router: &Router, links: &LinkTable| {
            let (stage, mine, message) = (Stage::default(), Path::default(), Message::Leave);
            router.resolve(Time(0), links, &stage, &mine, peer(9), message).unwrap()
        };
        router.set_signal_up(true);
        links.unwant(Time(0), Want::Parent, peer(9));
        assert!(matches!(way(&router, &links), Output::Control(..)));
        links.bye(Time(0), &mut out, peer(9), LinkKind::Peer);
        assert!(matches!(way(&router, &links), Output::Signal(..)), "both have said goodbye");
        links.want(Time(0), &mut out, Want::Parent, peer(9));
        assert!(matches!(way(&router, &links), Output::Signal(..)), "it closes though we want it again");
        router.set_signal_up(false);
        assert!(matches!(way(&router, &links), Output::Control(..)), "there is no other way");
    }

    /// A route, whom 2 is linked with, its path, and what becomes of the envelope.
    type Row<'a> = (&'a [u8], &'a [u8], &'a [u8], Option<(u8, &'a [u8])>);

    #[test]
    fn an_envelope_goes_on_where_its_route_breaks_off_and_to_nobody_twice() {
        let rows: &[Row<'_>] = &[
            // as its route says
            (&[2, 5], &[5, 9], &[], Some((5, &[2, 5]))),
            (&[2], &[9], &[], Some((9, &[2]))),
            // straight to the recipient, where the next is gone
            (&[2, 5, 6], &[4, 9], &[8, 4, 2], Some((9, &[2]))),
            // up our own path, also where the route ends too soon
            (&[2, 5, 6], &[4], &[8, 4, 2], Some((4, &[2, 4, 8]))),
            (&[2], &[4], &[8, 4, 2], Some((4, &[2, 4, 8]))),
            // not by who sent it, though we hang on it
            (&[2], &[1], &[8, 1, 2], None),
            // whoever can't go up asks whoever hangs on it
            (&[2], &[1, 3], &[], Some((3, &[2, 3]))),
            (&[2], &[1, 3], &[8, 1, 2], Some((3, &[2, 3]))),
            (&[2], &[1], &[], None),
            // it was never meant to come here
            (&[3], &[9], &[], None),
        ];
        for (route, with, mine, expected) in rows {
            let expected = expected.map(|(next, route)| (next, route.to_vec()));
            assert_eq!(forwarded(route, with, mine), expected, "{route:?} {with:?} {mine:?}");
        }
    }

    #[test]
    fn an_envelope_longer_than_any_way_is_dropped() {
        let mut route = [0; RELAY_HOPS_MAX];
        for (at, id) in route.iter_mut().enumerate() {
            *id = 20 + at as u8;
        }
        *route.last_mut().unwrap() = 2;
        let route = List::truncated(route.iter().map(|id| peer(*id).short()));
        let passed = RELAY_HOPS_MAX as u8 - 1;
        let relay = Relay { from: peer(1), to: peer(9), route, passed, sealed: List::new() };
        let forward = |with: &[u8], relay| {
            Router::new(peer(2)).forward(&linked(2, with), &Stage::default(), &path(&[8, 4, 2]), relay)
        };
        assert!(forward(&[4], relay.clone()).is_none());
        assert!(forward(&[9], relay).is_some());
    }

    #[test]
    fn answers_go_back_by_the_way_that_the_question_came_up_to_us() {
        let mut router = Router::new(peer(2));
        // up to a mixer, and we are on the way
        router.came_by(Time(0), peer(9), &[7, 5, 2, 3].map(|id| peer(id).short()));
        let way = router.mesh(Time(0), &linked(2, &[5]), &Stage::default(), &Path::default(), peer(9));
        assert_eq!(
            way,
            Some((peer(5), path(&[5, 7]).iter().copied().collect::<Vec<_>>().try_into().unwrap()))
        );
    }
}
