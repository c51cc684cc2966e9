//! Measurement of a viewer's uplink by its parents.
//!
//! Candidates are measured when an election opens ([`crate::probe`]); for a peer that only views and relays,
//! its user would have to state the uplink. So a fed peer asks its parent to measure it. The parent requests
//! packet trains, as a measurer requests them from a candidate, and sends back the result. A parent awaits
//! the first trains of several children at once, because the peers below those children wait for the result,
//! and all further trains one at a time. A candidate's trains come before a child's.
//!
//! A train shows the narrower of the child's uplink and the parent's downlink, and a parent may lie. So the
//! highest figure counts that one of several parents has reported more than once, and a peer with a figure
//! below its need asks its next parent as well. An overestimate does no harm: `k` limits the children, as it
//! does for peers without a figure. A peer accepts one result per train it has sent, and sends few and small
//! trains, regardless of the peer that requests them.

use std::collections::VecDeque;

use crate::bounded::Bound;
use crate::config::CHILDREN_MAX;
use crate::id::PeerId;
use crate::message::{ProbeMessage, Roster};
use crate::probe::{BANDWIDTH_BPS_MAX, BUSY_RETRY_US, FIRST_TRAIN_BYTES, train_bytes};
use crate::rng::Backoff;
use crate::time::{MS, SECOND, Time};
use crate::tree::{RESERVE, Tree};
use crate::view::{UplinkEstimate, View};

/// Maximum time for which a peer with an unknown uplink lets its new children wait for the program.
/// Simulated: half of the peers have a figure after 175 ms, 95 % after 409 ms.
const WAIT_US_MAX: u64 = SECOND;
/// Trains per measurement: one for a guess, and two paced by that guess.
const TRAINS: usize = 3;
/// Maximum number of first trains that a parent awaits at once: the uplinks of a few viewers together are
/// narrower than most parents' downlinks. A guess.
const GUESSES_MAX: usize = 4;
/// Time that a train may occupy the guessed line: longer than a candidate's train, because the line is idle
/// until its width is known. A guess.
const TRAIN_LINE_US: u64 = 80 * MS;
/// Timeout for a child's train from its request to its end, with delays and queues. A guess: twice the
/// longest round trip.
const TRAIN_US_MAX: u64 = SECOND;
/// Number of failed trains, missing or too thin, after which the measurement ends. A guess.
const FAILURES_MAX: u32 = 2;
/// Time for a parent to report its results: long enough for a mixer to measure 64 children one by one, with
/// three trains each.
const TOLD_US_MAX: u64 = 30 * SECOND;
/// Maximum number of parents that measure this peer at once: a peer that changes parents may still get the
/// result of the previous parent.
const ASKED_MAX: usize = 2;
/// Maximum number of parents' figures kept; beyond it the oldest is dropped. A guess.
const FIGURES_MAX: usize = 3;
/// Maximum number of trains that this peer sends within [`SENT_US`], regardless of the requesting peers: four
/// measurements.
const SENT_MAX: usize = 4 * TRAINS;
const SENT_US: u64 = 60 * SECOND;
/// Number of busy answers in a row, about two seconds' worth, after which the parent stops asking a child.
const BUSY_MAX: u32 = 20;
/// Back-off before a peer without a result asks again. A guess.
const AGAIN: Backoff = Backoff::new(5 * SECOND, 300 * SECOND);
/// Age of a figure from which a new parent is asked to measure; [`OLD_US_LOW`] for a figure below the need of
/// all children. Guesses.
const OLD_US: u64 = 600 * SECOND;
const OLD_US_LOW: u64 = 5 * SECOND;
/// Minimum interval between measurements of one child. A guess.
const EACH_US: u64 = 2 * SECOND;
/// Maximum number of children waiting to be measured, and of children measured lately.
const WAITING_MAX: usize = 2 * CHILDREN_MAX as usize;
/// First train number of uplink measurements; candidates' trains have lower numbers.
const NUMBERS: u32 = 1 << 31;

/// Returns the bandwidth for all children that a relay may have, the reserved slot and one more program, in
/// bits per second.
fn needed_bps(roster: &Roster) -> u64 {
    let programs = usize::from(roster.rules.k.min(CHILDREN_MAX)) + RESERVE + 1;
    programs as u64 * u64::from(roster.rules.program.bitrate_bps)
}

/// Returns the maximum rate of a train in bits per second, because media flows: a line wider than this
/// forwards a frame hardly any sooner.
fn rate_bps_max(roster: &Roster) -> u64 {
    16 * needed_bps(roster)
}

/// Measurement of one child by this peer.
#[derive(Debug)]
struct Measuring {
    child: PeerId,
    /// Time of the next train request.
    next_at: Time,
    /// Results of the trains, in bits per second; 0 if too little arrived, because the line is full.
    samples: Vec<u64>,
    /// Trains that didn't arrive.
    missing: u32,
    /// Busy answers in a row.
    busy: u32,
    /// The awaited train.
    awaited: Option<Awaited>,
}

impl Measuring {
    /// Returns the result of the first train that came through.
    fn guess(&self) -> Option<u64> {
        self.samples.iter().copied().find(|bps| *bps > 0)
    }

    /// Returns the number of trains of which too little arrived.
    fn broken(&self) -> u32 {
        self.samples.iter().filter(|bps| **bps == 0).count() as u32
    }

    /// Returns the result to report so far: the median, of two samples the lower one. A stalled radio
    /// releases its queue at once and makes a sample too high; other traffic delays a train and makes it too
    /// low. A median of 0 needs [`FAILURES_MAX`] such trains.
    fn shown(&self) -> Option<u64> {
        let mut samples = self.samples.clone();
        samples.sort_unstable();
        let middle = samples.len().checked_sub(1).map(|last| samples[last / 2]);
        middle.filter(|bps| *bps > 0 || self.broken() >= FAILURES_MAX)
    }
}

/// Train that this peer awaits from a child.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    train: u32,
    rate_bps: u64,
    until: Time,
}

/// Parent that was asked to measure this peer.
#[derive(Debug)]
struct MeasurementRequest {
    peer: PeerId,
    /// Trains that the parent may still request.
    trains: usize,
    /// Trains sent to the parent without a result so far.
    untold: usize,
    until: Time,
}

/// Figure of one parent for this peer's uplink.
#[derive(Clone, Copy, Debug)]
struct Figure {
    bps: u64,
    by: PeerId,
    at: Time,
    /// Number of results from that parent, one per train.
    told: usize,
}

/// State of the measurement of this peer's own uplink and its children's uplinks.
#[derive(Debug)]
pub(crate) struct Uplink {
    figures: Vec<Figure>,
    /// Times of the trains sent lately.
    sent_at: VecDeque<Time>,
    /// When to ask the parent for a measurement again.
    ask_at: Option<Time>,
    again: Backoff,
    /// Parents that measure this peer: the last one asked, and perhaps the parent before it.
    asked: VecDeque<MeasurementRequest>,
    /// Peers below wait for the first figure until this time.
    wait_until: Option<Time>,
    /// If no figure has arrived by `wait_until`, no children are taken until this time.
    none_until: Option<Time>,
    /// Children to be measured.
    queue: VecDeque<Measuring>,
    /// Children measured lately.
    lately: VecDeque<(PeerId, Time)>,
    trains: u32,
    /// Number of children that a page's line carries; `None` without a limit.
    carried: Option<u8>,
}

impl Default for Uplink {
    fn default() -> Uplink {
        Uplink {
            figures: Vec::new(),
            sent_at: VecDeque::new(),
            ask_at: None,
            again: AGAIN,
            asked: VecDeque::new(),
            wait_until: None,
            none_until: None,
            queue: VecDeque::new(),
            lately: VecDeque::new(),
            trains: 0,
            carried: None,
        }
    }
}

impl Uplink {
    pub(crate) fn known(&self) -> UplinkEstimate {
        let late = self.none_until.is_some().then_some(0);
        UplinkEstimate {
            bps: self.measured_bps().or(late),
            is_awaited: self.wait_until.is_some(),
            children_max: self.carried,
        }
    }

    /// Takes the number of children that a page's line carries, as its body sees it.
    pub(crate) fn carries(&mut self, children: Option<u8>) {
        self.carried = children;
    }

    /// Returns the measured uplink in bits per second: the highest figure that a parent has reported more
    /// than once, because one train through a stalled radio can show ten times too much; without such a
    /// figure, the lowest.
    pub(crate) fn measured_bps(&self) -> Option<u64> {
        let seen = |times: usize| self.figures.iter().filter(move |figure| figure.told >= times);
        let most = seen(2).map(|figure| figure.bps).max();
        most.or_else(|| seen(1).map(|figure| figure.bps).min())
    }

    /// Prepares for another feeding parent: asks it to measure this peer as well, if that is useful.
    pub(crate) fn is_to_be_fed(&mut self, view: &mut View<'_>, parent: PeerId) {
        let (config, roster) = (view.config, view.stage.roster());
        let program = roster.map_or(0, |roster| u64::from(roster.rules.program.bitrate_bps));
        let narrow = config.uplink_bps_max.is_some_and(|bps| bps < program * (RESERVE as u64 + 1));
        let low = roster.is_some_and(|roster| self.measured_bps() < Some(needed_bps(roster)));
        let old_us = if low { OLD_US_LOW } else { OLD_US };
        let known = self.figures.iter().any(|figure| {
            let same = figure.bps > 0 && figure.by == parent;
            figure.told >= TRAINS && (same || view.now.since(figure.at) < old_us)
        });
        if config.relays && config.sends_trains && config.children_max > 0 && !narrow && !known {
            if self.figures.is_empty() && self.asked.is_empty() {
                self.wait_until = Some(view.now + WAIT_US_MAX);
            }
            self.again.reset();
            self.request_measurement(view, parent);
        }
    }

    fn request_measurement(&mut self, view: &mut View<'_>, parent: PeerId) {
        // applies if no answer arrives
        self.ask_at = Some(view.now + TOLD_US_MAX + self.again.next_us(view.rng));
        // allows twice the trains of a measurement: each may find this peer or its link busy
        self.asked.retain(|asked| asked.peer != parent);
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(MeasurementRequest {
            peer: parent,
            trains: 2 * TRAINS,
            untold: 0,
            until: view.now + TOLD_US_MAX,
        });
        view.out.send(parent, ProbeMessage::UplinkWanted);
    }

    /// Returns whether a train with that number belongs to an uplink measurement.
    pub(crate) fn is_ours(train: u32) -> bool {
        train >= NUMBERS
    }

    /// Returns whether this peer may send a train that `peer` requests: it asked `peer` for a measurement,
    /// and neither `peer` nor all peers together have had too many trains. Only a train for a guess may be
    /// unpaced.
    pub(crate) fn lets_measure(&mut self, now: Time, peer: &PeerId, bytes: u32, rate_bps: u64) -> bool {
        let lately = self.sent_at.iter().filter(|at| now.since(**at) < SENT_US).count();
        let asked =
            self.asked.iter().any(|asked| asked.peer == *peer && asked.until > now && asked.trains > 0);
        asked && lately < SENT_MAX && (rate_bps > 0 || bytes <= FIRST_TRAIN_BYTES)
    }

    /// Counts a train sent to `peer`.
    pub(crate) fn sent(&mut self, now: Time, peer: &PeerId) {
        if self.sent_at.len() >= SENT_MAX {
            self.sent_at.pop_front();
        }
        self.sent_at.push_back(now);
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.peer == *peer) {
            asked.trains = asked.trains.saturating_sub(1);
            asked.untold += 1;
        }
    }

    /// Takes a result from a measuring parent; one counts for each train sent.
    pub(crate) fn told(&mut self, view: &View<'_>, from: PeerId, bps: u64) {
        let asked = self.asked.iter_mut().find(|asked| asked.peer == from);
        let Some(asked) = asked.filter(|asked| asked.until > view.now && asked.untold > 0) else { return };
        asked.untold -= 1;
        (self.wait_until, self.none_until) = (None, None);
        self.ask_at.take_if(|_| bps > 0);
        let bps = bps.min(BANDWIDTH_BPS_MAX);
        let before = self.figures.iter().find(|figure| figure.by == from).map_or(0, |figure| figure.told);
        self.figures.retain(|figure| figure.by != from && view.now.since(figure.at) < 2 * OLD_US);
        if self.figures.len() >= FIGURES_MAX {
            self.figures.remove(0); // the oldest
        }
        self.figures.push(Figure { bps, by: from, at: view.now, told: before + 1 });
    }

    /// Queues a child that asks to be measured.
    pub(crate) fn wanted(&mut self, view: &View<'_>, child: PeerId) {
        self.lately.retain(|(_, at)| view.now.since(*at) < EACH_US);
        let known = self.queue.iter().any(|measuring| measuring.child == child)
            || self.lately.iter().any(|(lately, _)| *lately == child);
        if !known && self.queue.len() < WAITING_MAX {
            self.queue.push_back(Measuring {
                child,
                next_at: view.now,
                samples: Vec::new(),
                missing: 0,
                busy: 0,
                awaited: None,
            });
        }
    }

    /// Takes the awaited train of that child and number: its index in the queue, and the train.
    fn take_awaited(&mut self, peer: &PeerId, train: u32) -> Option<(usize, Awaited)> {
        let at = self.queue.iter().position(|measuring| measuring.child == *peer)?;
        Some(at).zip(self.queue[at].awaited.take_if(|awaited| awaited.train == train))
    }

    /// Takes the result of a train that has ended. Returns false if the train belongs to no uplink
    /// measurement.
    pub(crate) fn measured(
        &mut self,
        view: &mut View<'_>,
        peer: PeerId,
        train: u32,
        bandwidth_bps: Option<u64>,
    ) -> bool {
        if let Some((at, awaited)) = self.take_awaited(&peer, train) {
            self.queue[at].busy = 0;
            let shown_bps = bandwidth_bps.unwrap_or(0);
            let most_bps = if awaited.rate_bps > 0 { awaited.rate_bps } else { u64::MAX };
            self.queue[at].samples.push(shown_bps.min(most_bps));
            self.tell(view, at);
        }
        Uplink::is_ours(train)
    }

    /// Handles a busy answer: the child sends another train, or one occupies its link. Returns false if the
    /// train belongs to no uplink measurement.
    pub(crate) fn busy(&mut self, view: &mut View<'_>, peer: PeerId, train: u32) -> bool {
        let next_at = view.now + view.rng.jitter(BUSY_RETRY_US);
        if let Some((at, _)) = self.take_awaited(&peer, train) {
            (self.queue[at].next_at, self.queue[at].busy) = (next_at, self.queue[at].busy + 1);
            if self.queue[at].busy >= BUSY_MAX {
                self.queue[at].missing = FAILURES_MAX;
                self.tell(view, at);
            }
        }
        Uplink::is_ours(train)
    }

    /// Reports the result so far to a child, which then waits behind the others or is done.
    fn tell(&mut self, view: &mut View<'_>, at: usize) {
        let Some(first) = self.queue.remove(at) else { return };
        if let Some(bps) = first.shown() {
            view.out.send(first.child, ProbeMessage::Uplink { bps });
        }
        if first.samples.len() < TRAINS && first.broken() + first.missing < FAILURES_MAX {
            self.queue.push_back(first);
            return;
        }
        self.lately.push_back((first.child, view.now));
        if self.lately.len() > WAITING_MAX {
            self.lately.pop_front();
        }
    }

    /// Asks the parent for a measurement, and children for their next trains, when due. `probes`: this peer
    /// awaits a candidate's train, which comes first.
    pub(crate) fn on_time(&mut self, view: &mut View<'_>, tree: &Tree, probes: bool) {
        if self.wait_until.take_if(|until| *until <= view.now).is_some() {
            self.none_until = Some(view.now + TOLD_US_MAX);
        }
        self.none_until.take_if(|until| *until <= view.now);
        if self.ask_at.take_if(|at| *at <= view.now).is_some()
            && let (Some(parent), _) = tree.above()
        {
            self.request_measurement(view, parent);
        }
        let now = view.now;
        let over = |awaited: &mut Awaited| awaited.until <= now;
        while let Some(at) =
            self.queue.iter_mut().position(|measuring| measuring.awaited.take_if(over).is_some())
        {
            self.queue[at].missing += 1;
            self.tell(view, at);
        }
        // children that have left are no longer measured
        self.queue.retain(|measuring| tree.is_below(&measuring.child) && view.links.is_up(&measuring.child));
        while self.ask_for_train(view, probes) {}
    }

    /// Returns the next child and its due time. Trains for a guess come first, because the peers below those
    /// children wait for them.
    fn next(&self) -> Option<(usize, Time)> {
        let awaited = || self.queue.iter().filter(|measuring| measuring.awaited.is_some());
        let (count, guesses) = (awaited().count(), awaited().all(|measuring| measuring.guess().is_none()));
        if count >= GUESSES_MAX || !guesses {
            return None;
        }
        let idle = self.queue.iter().enumerate().filter(|(_, measuring)| measuring.awaited.is_none());
        let may = idle.filter(|(_, measuring)| count == 0 || measuring.guess().is_none());
        let next = may.min_by_key(|(_, measuring)| (measuring.guess().is_some(), measuring.next_at));
        next.map(|(at, measuring)| (at, measuring.next_at))
    }

    /// Requests one train if one is due, and returns whether it did.
    fn ask_for_train(&mut self, view: &mut View<'_>, probes: bool) -> bool {
        let now = view.now;
        let Some((at, _)) = self.next().filter(|(_, due)| *due <= now) else { return false };
        let next = &self.queue[at];
        let (child, guess) = (next.child, next.guess());
        let Some(roster) = view.stage.roster().filter(|_| !probes) else {
            self.queue.iter_mut().for_each(|measuring| measuring.next_at = now + BUSY_RETRY_US);
            return false;
        };
        let most = rate_bps_max(roster);
        let (bytes, rate_bps) = match guess {
            None => (FIRST_TRAIN_BYTES, 0),
            Some(guess) => {
                (train_bytes(guess.min(most), TRAIN_LINE_US), guess.saturating_mul(2).min(most).max(1))
            }
        };
        self.trains = (self.trains + 1) % NUMBERS;
        let train = NUMBERS + self.trains;
        self.queue[at].awaited = Some(Awaited { train, rate_bps, until: now + TRAIN_US_MAX });
        view.out.send(child, ProbeMessage::ProbeWanted { train, bytes, rate_bps });
        true
    }

    pub(crate) fn bounds(&self) -> [Bound; 5] {
        [
            Bound::new("parents that reported this peer's uplink", self.figures.len(), FIGURES_MAX),
            Bound::new("recently sent trains", self.sent_at.len(), SENT_MAX),
            Bound::new("peers that measure this peer's uplink", self.asked.len(), ASKED_MAX),
            Bound::new("children to be measured", self.queue.len(), WAITING_MAX),
            Bound::new("recently measured children", self.lately.len(), WAITING_MAX),
        ]
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let awaited =
            self.queue.iter().filter_map(|measuring| measuring.awaited).map(|awaited| awaited.until);
        let train = awaited.chain(self.next().map(|(_, due)| due)).min();
        self.ask_at.into_iter().chain(self.wait_until).chain(self.none_until).chain(train).min()
    }
}
