//! Message routing: over the link to the recipient, through the rendezvous, or through linked peers.
//!
//! Without a rendezvous, an envelope takes a source route that its sender chooses, the first that exists:
//!
//! - a learned route: redirects name whole paths, and an envelope is answered along the route by which it
//!   came;
//! - up the sender's own path to its mixer, which is linked with the whole stage;
//! - across a linked peer of the stage, or else any linked peer.

use crate::ordered::OrderedMap;

use crate::bounded::{Bound, List};
use crate::bucket::{Buckets, Rate};
use crate::id::{PeerId, ShortId};
use crate::io::{Address, Output};
use crate::links::{LINKS_MAX, LinkTable};
use crate::message::{Message, Path, Place, RELAY_HOPS_MAX, Relay, RouteMessage};
use crate::mutation::{Mutated, Mutation};
use crate::stage::Stage;
use crate::time::{SECOND, Time};

/// Maximum number of learned routes.
const ROUTES_MAX: usize = 128;
/// How long a peer unknown to the rendezvous isn't sent to through the rendezvous again. A guess.
const ABSENT_US: u64 = 5 * SECOND;

/// Rate at which this peer forwards the envelopes of one author. A guess: the set-up of a link takes two envelopes of
/// a few hundred bytes, and the largest envelope passes at once.
const CARRIED: Rate = Rate { per_s: 32 * 1024, burst: 128 * 1024 };
/// Rate at which this peer forwards what one linked peer hands over, since the authors' names aren't proven here. A
/// guess: two authors' rates, and three of the largest envelopes at once.
const HANDED: Rate = Rate { per_s: 64 * 1024, burst: 256 * 1024 };
/// Rate at which this peer forwards envelopes to one linked peer: half of what that one takes from it without charging
/// it for them (`CARRIED` of the body's budgets).
const ONWARD: Rate = Rate { per_s: 128 * 1024, burst: 512 * 1024 };
/// Bytes counted per envelope beside its length: ids.
const ENVELOPE_OVERHEAD_BYTES: u64 = 128;
/// Bytes of each hop of a route.
const HOP_BYTES: u64 = 8;
/// Maximum number of authors with an envelope count; beyond it the authors that sent least are forgotten.
const AUTHORS_MAX: usize = 128;

type Route = List<ShortId, RELAY_HOPS_MAX>;

/// What routes depend on besides: this peer's links, its stage, and its own path.
pub(crate) type Around<'a> = (&'a LinkTable, &'a Stage, &'a Path);

/// Routes to other peers that this peer knows.
#[derive(Debug)]
pub(crate) struct Router {
    me: PeerId,
    signal_up: bool,
    /// Learned routes, and when each was learned.
    learned: OrderedMap<PeerId, (Time, Route)>,
    /// Peers that the rendezvous didn't know, and when it reported so.
    absent: OrderedMap<PeerId, Time>,
    /// Bytes of each author's envelopes.
    carried: Buckets<AUTHORS_MAX>,
    /// Bytes of envelopes, by the linked peer that delivered them and by the next peer of their route.
    handed: Buckets<LINKS_MAX>,
    onward: Buckets<LINKS_MAX>,
    /// The rule that this brain breaks, in tests.
    pub(crate) mutated: Mutated,
}

impl Router {
    pub(crate) fn new(me: PeerId) -> Router {
        Router {
            me,
            signal_up: false,
            learned: OrderedMap::new(),
            absent: OrderedMap::new(),
            carried: Buckets::new(CARRIED),
            handed: Buckets::new(HANDED),
            onward: Buckets::new(ONWARD),
            mutated: Mutated::default(),
        }
    }

    pub(crate) fn set_signal_up(&mut self, up: bool) {
        self.signal_up = up;
        self.absent.clear();
    }

    pub(crate) fn signal_up(&self) -> bool {
        self.signal_up
    }

    /// Records that the rendezvous doesn't know a peer; at the limit the oldest entry is dropped.
    pub(crate) fn absent(&mut self, now: Time, peer: PeerId) {
        if self.absent.len() >= ROUTES_MAX && !self.absent.contains_key(&peer) {
            let oldest = self.absent.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.absent.remove(&oldest));
        }
        self.absent.insert(peer, now);
    }

    /// Records that something came from a peer through the rendezvous.
    pub(crate) fn is_at_rendezvous(&mut self, peer: &PeerId) {
        self.absent.remove(peer);
    }

    /// Learns the reverse route to `from`, from the route of an envelope that arrived.
    pub(crate) fn came_by(&mut self, now: Time, from: PeerId, route: &[ShortId]) {
        // The route up to a mixer names all peers on it, this peer included.
        let before: Vec<ShortId> = route.iter().copied().take_while(|id| *id != self.me.short()).collect();
        self.learn(now, from, List::truncated(before.into_iter().rev()));
    }

    /// Learns routes to the places of a redirect; `mine` is this peer's own path.
    pub(crate) fn places(&mut self, now: Time, links: &LinkTable, mine: &Path, places: &[Place]) {
        for place in places {
            let Some((_, above)) = place.path.split_last() else { continue };
            let linked = above.iter().rposition(|id| links.up_short(id).is_some());
            // Over the lowest peer of the place's path that is linked with this one, else up to the mixer and
            // down again.
            let route: Vec<ShortId> = match linked {
                Some(at) => above[at..].to_vec(),
                None => {
                    let up: Vec<ShortId> = match mine.split_last() {
                        Some((_, mine)) => mine.iter().rev().copied().collect(),
                        None => self.way_to(above.first()),
                    };
                    // both paths may share ancestors: the route turns at the lowest common one
                    let turn = up.iter().position(|id| above.contains(id));
                    let from = turn.and_then(|turn| above.iter().position(|id| *id == up[turn]));
                    let up = up.into_iter().take(turn.unwrap_or(usize::MAX));
                    up.chain(above.iter().skip(from.unwrap_or(0)).copied()).collect()
                }
            };
            self.learn(now, place.peer, List::truncated(route));
        }
    }

    /// Returns the learned route to a peer, without the peer itself.
    fn way_to(&self, peer: Option<&ShortId>) -> Vec<ShortId> {
        let known = self.learned.iter().find(|(known, _)| Some(&known.short()) == peer);
        known.map_or(Vec::new(), |(_, (_, route))| route.to_vec())
    }

    pub(crate) fn bounds(&self) -> [Bound; 5] {
        [
            Bound::new("peers that handed envelopes over", self.handed.len(), LINKS_MAX),
            Bound::new("peers that envelopes went on to", self.onward.len(), LINKS_MAX),
            Bound::new("authors of forwarded envelopes", self.carried.len(), AUTHORS_MAX),
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

    /// Selects the transport and route for a message to `to`; `None` when there is none.
    pub(crate) fn resolve(
        &self,
        now: Time,
        around: Around<'_>,
        to: PeerId,
        message: Message,
    ) -> Option<Output> {
        let (links, ..) = around;
        if links.is_up(&to) && !links.is_closing(now, &to) && to != self.me {
            return Some(Output::Control(to, message));
        }
        self.resolve_beside(now, around, to, message)
    }

    /// The same, with the link to the recipient as the last resort.
    pub(crate) fn resolve_beside(
        &self,
        now: Time,
        around: Around<'_>,
        to: PeerId,
        message: Message,
    ) -> Option<Output> {
        if to == self.me {
            return None;
        }
        let absent = self.absent.get(&to).is_some_and(|at| now.since(*at) < ABSENT_US);
        if self.signal_up && !absent {
            return Some(Output::Signal(Address::Peer(to), message));
        }
        if let Some((next, route)) = self.mesh(now, around, to) {
            return Some(Output::Relay { next, to, route, message });
        }
        if around.0.is_up(&to) {
            return Some(Output::Control(to, message));
        }
        // the peer may have entered since: a newcomer that has no link yet would be silent for seconds
        self.signal_up.then_some(Output::Signal(Address::Peer(to), message))
    }

    /// Returns a route through linked peers, and its first peer.
    fn mesh(&self, now: Time, (links, stage, mine): Around<'_>, to: PeerId) -> Option<(PeerId, Route)> {
        let known = self.known_way(links, mine, &to, |_| false);
        known.or_else(|| {
            // Any linked peer on stage, in roster order: the host comes first, and is linked with the whole
            // stage.
            let linked =
                stage.entries().iter().map(|entry| entry.peer).find(|peer| links.is_up(peer) && *peer != to);
            // A peer with links to its own children only can't reach farther than they do: another child is
            // tried each second.
            let in_turn = || {
                let others = || links.up().filter(|peer| *peer != to);
                let turn = now.0 / SECOND % (others().count() as u64).max(1);
                others().nth(turn as usize)
            };
            let next = linked.or_else(in_turn)?;
            Some((next, List::truncated([next.short()])))
        })
    }

    /// Returns the learned route to `to`, else the route up this peer's own path. Its first peer must be
    /// linked, and the envelope must not have `been` at any peer of it.
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

    /// Forwards an envelope along its route. If the next peer of the route isn't linked, or the route ends
    /// before the recipient, the envelope takes a route from here that avoids all peers it has visited;
    /// without one it is dropped. It is also dropped if `by`, which sent it, isn't where it says that it comes from,
    /// when its author sends too much, when `by` hands too much over, and when too much goes to the next peer already.
    pub(crate) fn forward(
        &mut self,
        now: Time,
        by: PeerId,
        around: Around<'_>,
        relay: Relay,
    ) -> Option<Output> {
        let at = usize::from(relay.passed);
        let careless = self.mutated.is(Mutation::ForwardsInCircles);
        if relay.route.get(at) != Some(&self.me.short()) || !(careless || relay.may_come_from(&by)) {
            return None;
        }
        let is_within =
            self.handed.take(now, by, cost(&relay)) && self.carried.take(now, relay.from, cost(&relay));
        if !(is_within || careless) {
            return None;
        }
        let (next, relay) = self.way_on(around, relay)?;
        (self.onward.take(now, next, cost(&relay)) || careless)
            .then_some(Output::Control(next, Message::Route(RouteMessage::Relay(relay))))
    }

    /// Returns the peer that an envelope goes to from here, and the envelope with its further route.
    fn way_on(&self, (links, stage, mine): Around<'_>, mut relay: Relay) -> Option<(PeerId, Relay)> {
        let at = usize::from(relay.passed);
        relay.passed += 1;
        if let Some(next) = relay.route.get(at + 1).and_then(|id| links.up_short(id)) {
            return Some((next, relay));
        }
        let gone = List::<ShortId, RELAY_HOPS_MAX>::truncated(relay.route.iter().take(at + 1).copied());
        if links.is_up(&relay.to) {
            relay.route = gone;
            return Some((relay.to, relay));
        }
        let been = |id: &ShortId| gone.contains(id) || *id == relay.from.short();
        let (next, onward) = self.detour(links, stage, mine, &relay.to, been)?;
        if gone.len() + onward.len() > RELAY_HOPS_MAX {
            return None;
        }
        relay.route = List::truncated(gone.iter().chain(onward.iter()).copied());
        Some((next, relay))
    }

    /// Returns a route to `to` through peers that haven't had the envelope yet.
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
        // Peers on stage can reach each other. For a recipient off stage, a viewer without a link upward
        // tries its own children; a peer on stage knows no further route.
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

/// Bytes that an envelope is charged for: no fewer than its message has.
fn cost(relay: &Relay) -> u64 {
    relay.sealed.len() as u64 + HOP_BYTES * relay.route.len() as u64 + ENVELOPE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Want;
    use crate::message::LinkKind;
    use crate::message::MemberMessage;
    use crate::outbox::Outbox;

    /// Returns the peer of the given number; its short id is that byte eight times.
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

    /// Returns where peer 2 forwards an envelope from 1 to 9 that arrived along `route`, and the rest of its
    /// route, given the peers linked with 2 and its own path.
    fn forwarded(route: &[u8], with: &[u8], mine: &[u8]) -> Option<(u8, Vec<u8>)> {
        let route = List::truncated(route.iter().map(|id| peer(*id).short()));
        let relay = Relay { from: peer(1), to: peer(9), route, passed: 0, sealed: List::new() };
        let mut router = Router::new(peer(2));
        let around = (&linked(2, with), &Stage::default(), &path(mine));
        match router.forward(Time(0), peer(1), around, relay)? {
            Output::Control(next, Message::Route(RouteMessage::Relay(relay))) => {
                assert_eq!(relay.passed, 1);
                Some((next.0[0], relay.route.iter().map(|id| id.0[0]).collect()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_is_said_on_a_closing_link_while_there_is_another_way() {
        let (mut links, mut out) = (linked(2, &[9]), Outbox::default());
        let mut router = Router::new(peer(2));
        let way = |router: &Router, links: &LinkTable| {
            let (stage, mine, message) =
                (Stage::default(), Path::default(), Message::Member(MemberMessage::Leave));
            router.resolve(Time(0), (links, &stage, &mine), peer(9), message).unwrap()
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

    #[test]
    fn a_peer_that_the_rendezvous_did_not_know_is_tried_there_again() {
        let (alone, linked) = (LinkTable::new(peer(2)), linked(2, &[5]));
        let mut router = Router::new(peer(2));
        router.set_signal_up(true);
        router.absent(Time(0), peer(9));
        let way = |router: &Router, links: &LinkTable, now: Time| {
            router.resolve(
                now,
                (links, &Stage::default(), &Path::default()),
                peer(9),
                Message::Member(MemberMessage::Leave),
            )
        };
        assert!(
            matches!(way(&router, &linked, Time(0)), Some(Output::Relay { .. })),
            "over a linked peer first"
        );
        assert!(
            matches!(way(&router, &alone, Time(0)), Some(Output::Signal(..))),
            "it may have entered since"
        );
        assert!(matches!(way(&router, &linked, Time(ABSENT_US)), Some(Output::Signal(..))));
        router.set_signal_up(false);
        assert!(way(&router, &alone, Time(0)).is_none());
    }

    /// The route, the peers linked with 2, its path, and the expected result.
    type Row<'a> = (&'a [u8], &'a [u8], &'a [u8], Option<(u8, &'a [u8])>);

    #[test]
    fn an_envelope_goes_on_where_its_route_breaks_off_and_to_nobody_twice() {
        let rows: &[Row<'_>] = &[
            // Along the route.
            (&[2, 5], &[5, 9], &[], Some((5, &[2, 5]))),
            (&[2], &[9], &[], Some((9, &[2]))),
            // Directly to the recipient, when the next peer is gone.
            (&[2, 5, 6], &[4, 9], &[8, 4, 2], Some((9, &[2]))),
            // Up the own path, also when the route ends too early.
            (&[2, 5, 6], &[4], &[8, 4, 2], Some((4, &[2, 4, 8]))),
            (&[2], &[4], &[8, 4, 2], Some((4, &[2, 4, 8]))),
            // Never back to the sender, even if it is the parent.
            (&[2], &[1], &[8, 1, 2], None),
            // A peer that can't go up tries its children.
            (&[2], &[1, 3], &[], Some((3, &[2, 3]))),
            (&[2], &[1, 3], &[8, 1, 2], Some((3, &[2, 3]))),
            (&[2], &[1], &[], None),
            // The envelope wasn't routed over peer 2.
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
            let around = (&linked(2, with), &Stage::default(), &path(&[8, 4, 2]));
            Router::new(peer(2)).forward(Time(0), peer(20 + passed - 1), around, relay)
        };
        assert!(forward(&[4], relay.clone()).is_none());
        assert!(forward(&[9], relay).is_some());
    }

    #[test]
    fn answers_go_back_by_the_way_that_the_question_came_up_to_us() {
        let mut router = Router::new(peer(2));
        // The route leads up to a mixer, over this peer.
        router.came_by(Time(0), peer(9), &[7, 5, 2, 3].map(|id| peer(id).short()));
        let way = router.mesh(Time(0), (&linked(2, &[5]), &Stage::default(), &Path::default()), peer(9));
        assert_eq!(
            way,
            Some((peer(5), path(&[5, 7]).iter().copied().collect::<Vec<_>>().try_into().unwrap()))
        );
    }

    /// Returns whether peer 2 forwards an envelope of peer `from` that peer `by` hands over, with this route and this
    /// many peers passed.
    fn takes(router: &mut Router, by: u8, from: u8, route: &[u8], passed: u8, len: usize) -> bool {
        let route = List::truncated(route.iter().map(|id| peer(*id).short()));
        let sealed = List::truncated(std::iter::repeat_n(0, len));
        let relay = Relay { from: peer(from), to: peer(9), route, passed, sealed };
        let links = linked(2, &[1, 3, 5, 9]);
        router.forward(Time(0), peer(by), (&links, &Stage::default(), &path(&[])), relay).is_some()
    }

    #[test]
    fn an_envelope_that_would_go_back_and_forth_between_two_peers_is_dropped() {
        let mut router = Router::new(peer(2));
        assert!(takes(&mut router, 1, 1, &[2, 3], 0, 100));
        for route in [&[2, 3, 2, 3, 2, 3][..], &[2, 3, 3], &[2, 3, 1]] {
            assert!(!takes(&mut router, 1, 1, route, 0, 100), "{route:?}");
        }
    }

    #[test]
    fn an_envelope_in_another_s_name_is_dropped_where_it_sets_out() {
        let mut router = Router::new(peer(2));
        assert!(!takes(&mut router, 1, 4, &[2, 3], 0, 100), "peer 1 says that peer 4 sends it");
        assert!(!takes(&mut router, 1, 4, &[5, 2, 3], 1, 100), "and that it came by peer 5");
        assert!(takes(&mut router, 5, 4, &[5, 2, 3], 1, 100));
        // an id ground to have another's short id
        let ada = PeerId(std::array::from_fn(|at| if at < 8 { 1 } else { 9 }));
        let route = List::truncated([peer(2).short(), peer(3).short()]);
        let relay = Relay { from: ada, to: peer(9), route, passed: 0, sealed: List::new() };
        assert!(!relay.may_come_from(&peer(1)));
    }

    #[test]
    fn an_author_s_envelopes_are_dropped_beyond_its_rate_and_no_other_s() {
        let mut router = Router::new(peer(2));
        let passed = (0..100).filter(|_| takes(&mut router, 1, 1, &[2, 3], 0, 16_000)).count();
        assert_eq!(passed, 8, "128 KiB at once");
        assert!(takes(&mut router, 5, 5, &[2, 3], 0, 16_000));
    }

    #[test]
    fn made_up_authors_do_not_raise_what_a_peer_may_have_forwarded() {
        let mut router = Router::new(peer(2));
        let passed = (10..110).filter(|from| takes(&mut router, 5, *from, &[5, 2, 3], 1, 16_000)).count();
        assert_eq!(passed, 16, "256 KiB at once");
        assert!(takes(&mut router, 1, 1, &[2, 3], 0, 16_000), "what another one hands over goes on");
    }

    #[test]
    fn peers_that_send_through_one_to_another_do_not_make_it_a_flooder() {
        let mut router = Router::new(peer(2));
        let mut passed = 0;
        for by in [1, 4, 5, 6, 7] {
            let route = [by, 2, 3];
            passed += (10..110).filter(|from| takes(&mut router, by, *from, &route, 1, 16_000)).count();
        }
        assert_eq!(passed, 32, "512 KiB at once");
        assert!(takes(&mut router, 8, 8, &[2, 9], 0, 16_000), "envelopes to another peer go on");
    }

    #[test]
    fn a_route_over_a_common_ancestor_turns_there() {
        let (mut router, mine) = (Router::new(peer(2)), path(&[8, 4, 3, 2]));
        let place = Place { peer: peer(9), path: path(&[8, 4, 6, 9]) };
        router.places(Time(0), &linked(2, &[3]), &mine, &[place]);
        let way = router.mesh(Time(0), (&linked(2, &[3]), &Stage::default(), &mine), peer(9));
        let route = path(&[3, 4, 6]).iter().copied().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(way, Some((peer(3), route)), "and names nobody twice");
    }
}
