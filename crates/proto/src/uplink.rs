//! What a viewer's own line carries upward.
//!
//! Candidates are measured when an election opens ([`crate::probe`]); who only watches and relays would have to be told by its
//! user. So whoever is fed asks its parent to measure it: the parent asks for trains, as a measurer does of a candidate, and
//! tells what they showed. A parent awaits the first guesses of several children at once, since those below them wait, and
//! further trains one at a time; a candidate's come before a child's.
//!
//! A train shows the narrower of the child's uplink and the parent's downlink, and a parent may lie. So of what several
//! parents tell the most counts, and who was told less than it needs asks its next parent. Too much does no harm: there
//! are `k` children at most, as for those that know nothing. Nobody is told more often than it has sent trains, and those are
//! few and small, whoever wants them.

use std::collections::VecDeque;

use crate::bounded::Bound;
use crate::config::CHILDREN_MAX;
use crate::id::PeerId;
use crate::message::{Message, Roster};
use crate::outbox::View;
use crate::probe::{BANDWIDTH_BPS_MAX, BUSY_RETRY_US, FIRST_TRAIN_BYTES, train_bytes};
use crate::rng::Backoff;
use crate::time::{MS, SECOND, Time};
use crate::tree::{RESERVE, Tree};

/// So long whoever doesn't know yet keeps those waiting that it is to feed.
const WAIT_US_MAX: u64 = SECOND;
/// Trains of one measurement: one for a guess, and those that count.
const TRAINS: usize = 3;
/// Guesses that a parent awaits at one time: what several lines of viewers send is less than most parents' downlinks carry.
const GUESSES_MAX: usize = 4;
/// A line is idle until it is known: a train may take so much of its time.
const TRAIN_LINE_US: u64 = 80 * MS;
/// A child's train begins within this, and is over; ways and queues included. A guess: twice the longest round trip.
const TRAIN_US_MAX: u64 = SECOND;
/// After so many that didn't come, or came to nothing, what there is counts.
const FAILURES_MAX: u32 = 2;
/// A parent with many children measures one after the other.
const TOLD_US_MAX: u64 = 30 * SECOND;
/// Who changes parents while it is measured may yet be told by the one before.
const ASKED_MAX: usize = 2;
/// Parents whose figures are kept.
const FIGURES_MAX: usize = 3;
/// Trains of ours within a minute, whoever wants them: four measurements.
const SENT_MAX: usize = 4 * TRAINS;
const SENT_US: u64 = 60 * SECOND;
/// Who has so often had no time for a train, or didn't want one, isn't asked again: two seconds.
const BUSY_MAX: u32 = 20;
/// Who wasn't told asks again.
const AGAIN: Backoff = Backoff::new(5 * SECOND, 300 * SECOND);
/// Another parent is asked when what is known is so old, or shows less than all children take and is so old.
const OLD_US: u64 = 600 * SECOND;
const OLD_US_LOW: u64 = 5 * SECOND;
/// A child is measured no more often.
const EACH_US: u64 = 2 * SECOND;
/// Children that wait to be measured, or were lately.
const WAITING_MAX: usize = 2 * CHILDREN_MAX as usize;
/// Numbers of our trains, beside those of candidates.
const NUMBERS: u32 = 1 << 31;

/// What all children that a relay may have take, the slot in reserve and a program more, bits per second.
fn needed_bps(roster: &Roster) -> u64 {
    let programs = usize::from(roster.k.min(CHILDREN_MAX)) + RESERVE + 1;
    programs as u64 * u64::from(roster.program.bitrate_bps)
}

/// No train is faster, since media flows: no faster than lines whose width still tells who sends a frame on sooner.
fn rate_bps_max(roster: &Roster) -> u64 {
    16 * needed_bps(roster)
}

/// A child that we measure.
#[derive(Debug)]
struct Measuring {
    child: PeerId,
    /// The next train is asked for then.
    next_at: Time,
    /// What the trains showed, bits per second; 0 where too little came to say anything: the line is full.
    samples: Vec<u64>,
    /// Trains that didn't come.
    missing: u32,
    /// How often it had no time for one, one after the other.
    busy: u32,
    /// The train that we wait for.
    awaited: Option<Awaited>,
}

impl Measuring {
    /// What the first train showed that came through.
    fn guess(&self) -> Option<u64> {
        self.samples.iter().copied().find(|bps| *bps > 0)
    }

    /// How many came to nothing.
    fn broken(&self) -> u32 {
        self.samples.iter().filter(|bps| **bps == 0).count() as u32
    }

    /// What is to be told by now. A radio that pauses lets go of what has waited at once, and something else on the line
    /// holds a train up: the middle one counts, of two the lower.
    fn shown(&self) -> Option<u64> {
        let mut samples = self.samples.clone();
        samples.sort_unstable();
        let middle = samples.len().checked_sub(1).map(|last| samples[last / 2]);
        middle.filter(|bps| *bps > 0 || self.broken() >= FAILURES_MAX)
    }
}

/// A train that we wait for.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    train: u32,
    rate_bps: u64,
    until: Time,
}

/// Who is to measure us.
#[derive(Debug)]
struct MeasurementRequest {
    peer: PeerId,
    /// So many trains it may still ask for.
    trains: usize,
    /// So many were sent that it hasn't told anything of.
    untold: usize,
    until: Time,
}

/// What is known of our uplink.
#[derive(Clone, Copy, Debug)]
struct Figure {
    bps: u64,
    by: PeerId,
    at: Time,
    /// How often that one has told it: once for each train.
    told: usize,
}

/// What the other machines see of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UplinkEstimate {
    /// What we can send, bits per second; 0 when nobody has said for too long.
    pub(crate) bps: Option<u64>,
    /// It will be known soon.
    pub(crate) is_awaited: bool,
}

/// This peer's own uplink, and those of its children.
#[derive(Debug)]
pub(crate) struct Uplink {
    figures: Vec<Figure>,
    /// When we have sent trains.
    sent_at: VecDeque<Time>,
    /// Whoever feeds us is asked then.
    ask_at: Option<Time>,
    again: Backoff,
    /// Who measures us: the last one asked, and perhaps who fed us before.
    asked: VecDeque<MeasurementRequest>,
    /// Those below us wait for the first figure until then.
    wait_until: Option<Time>,
    /// And then until then none are taken.
    none_until: Option<Time>,
    /// Children to be measured.
    queue: VecDeque<Measuring>,
    /// Whom we have measured lately.
    lately: VecDeque<(PeerId, Time)>,
    trains: u32,
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
        }
    }
}

impl Uplink {
    pub(crate) fn known(&self) -> UplinkEstimate {
        let late = self.none_until.is_some().then_some(0);
        UplinkEstimate { bps: self.measured_bps().or(late), is_awaited: self.wait_until.is_some() }
    }

    /// What we can send, as it was measured, bits per second: the most that anybody saw more than once, for a radio that
    /// pauses can make ten times too much of one train; else the least.
    pub(crate) fn measured_bps(&self) -> Option<u64> {
        let seen = |times: usize| self.figures.iter().filter(move |figure| figure.told >= times);
        let most = seen(2).map(|figure| figure.bps).max();
        most.or_else(|| seen(1).map(|figure| figure.bps).min())
    }

    /// Another peer is to feed us: it is to measure us as well, if that is of use.
    pub(crate) fn is_to_be_fed(&mut self, view: &mut View<'_>, parent: PeerId) {
        let (config, roster) = (view.config, view.stage.roster());
        let program = roster.map_or(0, |roster| u64::from(roster.program.bitrate_bps));
        let narrow = config.uplink_bps_max.is_some_and(|bps| bps < program * (RESERVE as u64 + 1));
        let low = roster.is_some_and(|roster| self.measured_bps() < Some(needed_bps(roster)));
        let old_us = if low { OLD_US_LOW } else { OLD_US };
        let known = self.figures.iter().any(|figure| {
            let same = figure.bps > 0 && figure.by == parent;
            figure.told >= TRAINS && (same || view.now.since(figure.at) < old_us)
        });
        if config.relays && config.children_max > 0 && !narrow && !known {
            if self.figures.is_empty() && self.asked.is_empty() {
                self.wait_until = Some(view.now + WAIT_US_MAX);
            }
            self.again.reset();
            self.request_measurement(view, parent);
        }
    }

    fn request_measurement(&mut self, view: &mut View<'_>, parent: PeerId) {
        // should no answer come
        self.ask_at = Some(view.now + TOLD_US_MAX + self.again.next_us(view.rng));
        // each may find us busy
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
        view.out.send(parent, Message::UplinkWanted);
    }

    /// Whether a train of that number is asked for by a parent.
    pub(crate) fn is_ours(train: u32) -> bool {
        train >= NUMBERS
    }

    /// A peer wants a train of us: true if we have asked it to measure us, and neither it nor all together have had too many.
    /// Only a guess may go as fast as it will.
    pub(crate) fn lets_measure(&mut self, now: Time, peer: &PeerId, bytes: u32, rate_bps: u64) -> bool {
        let lately = self.sent_at.iter().filter(|at| now.since(**at) < SENT_US).count();
        let asked =
            self.asked.iter().any(|asked| asked.peer == *peer && asked.until > now && asked.trains > 0);
        asked && lately < SENT_MAX && (rate_bps > 0 || bytes <= FIRST_TRAIN_BYTES)
    }

    /// It is sent.
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

    /// Who measures us tells what it has seen so far: once for each train.
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

    /// A child wants to be measured.
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

    /// Where in the queue the child is whose train that is, if we wait for it.
    fn take_awaited(&mut self, peer: &PeerId, train: u32) -> Option<(usize, Awaited)> {
        let at = self.queue.iter().position(|measuring| measuring.child == *peer)?;
        Some(at).zip(self.queue[at].awaited.take_if(|awaited| awaited.train == train))
    }

    /// A train has ended. False: it wasn't for us.
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

    /// The child sends another train, or there is one on its link. False: it wasn't for us.
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

    /// Tells a child what was seen of it; then others have their turn.
    fn tell(&mut self, view: &mut View<'_>, at: usize) {
        let Some(first) = self.queue.remove(at) else { return };
        if let Some(bps) = first.shown() {
            view.out.send(first.child, Message::Uplink { bps });
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

    /// Asks whoever feeds us, or a child for its next train, where it is time. `probes`: we measure a candidate, whose
    /// trains come first.
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
        // who has gone is measured no more
        self.queue.retain(|measuring| tree.is_below(&measuring.child) && view.links.is_up(&measuring.child));
        while self.ask_for_train(view, probes) {}
    }

    /// Who is next, and when: a guess for everyone comes first, for those below them wait for that.
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

    /// Asks for one train, if one is due; gives whether it did.
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
        view.out.send(child, Message::ProbeWanted { train, bytes, rate_bps });
        true
    }

    pub(crate) fn bounds(&self) -> [Bound; 5] {
        [
            Bound::new("parents that told what we can send", self.figures.len(), FIGURES_MAX),
            Bound::new("trains sent lately", self.sent_at.len(), SENT_MAX),
            Bound::new("peers that measure our uplink", self.asked.len(), ASKED_MAX),
            Bound::new("children to be measured", self.queue.len(), WAITING_MAX),
            Bound::new("children that were measured lately", self.lately.len(), WAITING_MAX),
        ]
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let awaited =
            self.queue.iter().filter_map(|measuring| measuring.awaited).map(|awaited| awaited.until);
        let train = awaited.chain(self.next().map(|(_, due)| due)).min();
        self.ask_at.into_iter().chain(self.wait_until).chain(self.none_until).chain(train).min()
    }
}
