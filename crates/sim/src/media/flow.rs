//! Fluid model of the program: the flow on each link, as a share of the program, without packets or frames.
//!
//! A peer sends on what it receives, up to the rate of its uplink, divided equally among its children; it
//! receives no more than its downlink carries. Where a line is full, so is its queue. Losses cost nothing,
//! since nearly all are repaired within a round trip. A flow starts and stops at the receiver one one-way
//! delay later than at the sender.
//!
//! The frames that a peer received are computed from the times at which it had the program; after an
//! interruption the frames in the parents' caches arrive at once. No watchdog runs: a watchdog's verdict
//! changes only when a flow starts or stops, when a peer falls silent or resumes, and some fixed times after
//! that, so the verdict is computed at those moments alone.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::watchdog::{
    AHEAD_US, ASK_US, BACKUP_SILENT_US, CHILD_SILENT_US, DEAD_US, MIXER_BEGIN_US, MIXER_SILENT_US,
    PARENT_SILENT_US, STALLED_US,
};
use plenary_proto::{Input, StreamId, StreamSpec, Time, Verdict};

use super::{FRAME_US, suspect_us};
use crate::arrivals::Arrivals;
use crate::deviation::Forwarding;
use crate::shell::lock;
use crate::world::{Happening, World};

/// Time for which a relay holds a packet, microseconds.
const HOP_US: u64 = MS;
/// Length of a parent's cache, which fills what a child missed.
const CACHED_US: u64 = 2 * SECOND;
/// Interval of a peer's checks while its feed is interrupted: the backup may get ahead.
const STANDING_LOOK_US: u64 = 50 * MS;

/// The flows to one peer.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The program that is shown.
    shown: Option<(StreamId, StreamSpec)>,
    /// The peers that currently send a program.
    sources: Vec<Source>,
    /// Frames received from former sources.
    brought: u64,
    /// Share of the program that arrives, in millionths.
    share_ppm: u32,
    /// Whether one of the sources, or this peer itself, currently provides the shown program.
    pub(crate) flows: bool,
    /// When the flow last started or stopped.
    changed_at: Time,
    /// Latency from capture to this peer.
    latency_us: u64,
}

/// A peer that sends a program.
#[derive(Clone, Copy, Debug)]
struct Source {
    from: usize,
    stream: StreamId,
    share_ppm: u32,
    since: Time,
}

impl Source {
    /// Frames received from this source so far.
    fn brought(&self, now: Time) -> u64 {
        now.since(self.since) / FRAME_US * u64::from(self.share_ppm) / WHOLE_PPM
    }
}

/// The whole program, in millionths.
const WHOLE_PPM: u64 = 1_000_000;

impl World {
    /// The program that `at` currently forwards to a child, and its share in millionths.
    fn forwards(&mut self, at: usize, child: usize) -> Option<(StreamId, u32)> {
        let share_ppm = self.share_for(at, child);
        let peer = &self.peers[at];
        let stream = peer.flow.shown.filter(|_| peer.flow.flows && peer.is_there())?.0;
        let serves = peer.served.iter().any(|served| served.child == child && served.media);
        let reaches = serves && self.link_is_up(at, child) && self.unheard_since(at, child).is_none();
        let (now, id) = (self.now, self.peers[child].id);
        let willing = match self.deviations.get(&at) {
            Some(deviation) if reaches => lock(deviation).forwards(now, id) != Forwarding::Never,
            _ => true,
        };
        (reaches && willing).then_some((stream, share_ppm))
    }

    /// Share of the program that reaches a child, in millionths.
    fn share_for(&self, at: usize, child: usize) -> u32 {
        let (peer, bps) = (&self.peers[at], u64::from(self.plan.room.program_bps).max(1));
        let children = peer.served.iter().filter(|served| served.media).count().max(1) as u64;
        let [up, down] = [at, child].map(|end| self.plan.peers[self.peers[end].planned].access);
        let through = |line_bps: u64, programs: u64| line_bps.saturating_mul(WHOLE_PPM) / (bps * programs);
        let comes = if peer.is_mixing() { WHOLE_PPM } else { peer.flow.share_ppm.into() };
        comes.min(through(up.up_bps, children)).min(through(down.down_bps, 1)) as u32
    }

    /// Frames that all peers received so far, from any source.
    pub(crate) fn frames_flowed(&self) -> u64 {
        let flowed = self.peers.iter().map(|peer| {
            // a dead peer is fed until its parent notices
            let gone = peer.gone_since();
            let until = gone.map_or(self.now, |since| self.now.min(since + CHILD_SILENT_US));
            peer.flow.brought + peer.flow.sources.iter().map(|source| source.brought(until)).sum::<u64>()
        });
        flowed.sum()
    }

    /// Starts, changes or stops the flow to a child, if that is due.
    pub(super) fn feed_or_cease(&mut self, at: usize, child: usize) {
        let flows = self.forwards(at, child);
        let Some(served) = self.peers[at].served_mut(child) else { return };
        if served.flows == flows {
            return;
        }
        served.flows = flows;
        let spec = flows.and_then(|(stream, share_ppm)| Some((self.spec_of(at, stream)?, stream, share_ppm)));
        if let Some((spec, stream, _)) = spec {
            self.announce(at, child, spec, stream);
        }
        let there = self.now + self.net.one_way_us(at, child) + HOP_US;
        let stream = spec.map(|(spec, _, share_ppm)| Box::new((spec, share_ppm)));
        self.push(there, Happening::Flows { to: child, from: at, stream });
    }

    /// Updates the flows to all children, since they share one uplink.
    pub(super) fn feed_or_cease_all(&mut self, at: usize) {
        for place in 0..self.peers[at].served.len() {
            if let Some(child) = self.peers[at].served.get(place).map(|served| served.child) {
                self.feed_or_cease(at, child);
            }
        }
    }

    /// Handles a flow that starts, changes or stops at its receiver.
    pub(super) fn flow_changed(&mut self, to: usize, from: usize, stream: Option<(StreamSpec, u32)>) {
        let (now, room) = (self.now, self.room);
        let flow = &mut self.peers[to].flow;
        if let Some(place) = flow.sources.iter().position(|source| source.from == from) {
            flow.brought += flow.sources.remove(place).brought(now);
        }
        flow.sources.extend(stream.map(|(spec, share_ppm)| Source {
            from,
            stream: spec.id(&room),
            share_ppm,
            since: now,
        }));
        if self.peers[to].is_there() {
            self.choose_flow(to);
        }
    }

    /// Stops the flow over a link that is gone.
    pub(crate) fn ceased(&mut self, at: usize, from: usize) {
        if self.peers[at].flow.sources.iter().any(|source| source.from == from) {
            self.flow_changed(at, from, None);
        }
    }

    /// Starts flows on a link that has come up.
    pub(crate) fn flow_on_link(&mut self, a: usize, b: usize) {
        if !self.by_frames() {
            self.feed_or_cease(a, b);
            self.feed_or_cease(b, a);
        }
    }

    /// Chooses the shown program among those that arrive, and whether it flows.
    pub(super) fn choose_flow(&mut self, at: usize) {
        let own = self.peers[at].own.filter(|_| self.peers[at].is_mixing() && self.peers[at].own_frames > 0);
        let peer = &self.peers[at];
        let (shown, share_ppm, latency_us) = match own {
            Some(own) => (Some((own.id(&self.room), own)), WHOLE_PPM as u32, 0),
            None => {
                let proven = peer.flow.sources.iter().filter_map(|source| {
                    let known = peer.followed.iter().find(|known| known.id == source.stream)?;
                    Some((source, known.spec))
                });
                let fed = |source: &Source, spec: &StreamSpec| peer.is_fed_by(source.from, spec.maker);
                let takes = |(source, spec): &(&Source, StreamSpec)| match &peer.flow.shown {
                    Some((shown, before)) => {
                        source.stream == *shown || spec.supersedes(before, &peer.in_force, fed(source, spec))
                    }
                    None => true,
                };
                // order of preference: a program by a mixer in force first, then, with several mixers in
                // force, one from this peer's feeder, then the highest rank; on a tie the program that is
                // shown already
                let best = proven.filter(takes).max_by_key(|(source, spec)| {
                    let same = peer.flow.shown.is_some_and(|(shown, _)| shown == source.stream);
                    (
                        peer.in_force.makes(spec),
                        peer.in_force.mixers.len() > 1 && fed(source, spec),
                        spec.rank,
                        same,
                    )
                });
                match best {
                    Some((source, spec)) => {
                        let way_us = self.net.one_way_us(source.from, at) + HOP_US;
                        let parent = &self.peers[source.from];
                        let comes = if parent.is_mixing() { WHOLE_PPM as u32 } else { parent.flow.share_ppm };
                        let queue_us = if source.share_ppm < comes { self.plan.net.queue_us_max } else { 0 };
                        let latency_us = parent.flow.latency_us + way_us + queue_us;
                        (Some((source.stream, spec)), source.share_ppm, latency_us)
                    }
                    None => (None, 0, 0),
                }
            }
        };
        self.flow_is(at, shown, share_ppm, latency_us);
        self.tell_fed(at);
    }

    /// Reports to the brain which of the peers that it asked to feed it now do.
    fn tell_fed(&mut self, at: usize) {
        let peer = &self.peers[at];
        let feeds = |asked: &&usize| {
            let brings = |source: &Source| {
                source.from == **asked && peer.followed.iter().any(|known| known.id == source.stream)
            };
            peer.flow.sources.iter().any(brings)
        };
        let feeding: Vec<usize> = peer.asked.iter().filter(feeds).copied().collect();
        for from in feeding {
            self.is_fed(at, from);
        }
    }

    /// Sets the flow at a peer from now on.
    fn flow_is(&mut self, at: usize, shown: Option<(StreamId, StreamSpec)>, share_ppm: u32, latency_us: u64) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let flows = shown.is_some();
        let another = flows && (shown != peer.flow.shown || share_ppm != peer.flow.share_ppm);
        if peer.flow.flows {
            peer.arrivals.flowed(now, peer.flow.latency_us, peer.flow.share_ppm);
        } else if flows {
            peer.arrivals.resumed(now, CACHED_US);
        }
        if flows {
            (peer.flow.latency_us, peer.flow.share_ppm) = (latency_us, share_ppm);
        }
        peer.flow.shown = shown.or(peer.flow.shown);
        if peer.flow.flows != flows {
            (peer.flow.flows, peer.flow.changed_at) = (flows, now);
        } else if !another {
            return;
        }
        self.feed_or_cease_all(at);
        self.look_soon(at);
    }

    /// Handles a peer that falls silent: it is dead, or its machine has stalled.
    pub(crate) fn falls_quiet(&mut self, at: usize) {
        self.peers[at].quiet_since = Some(self.now);
        if self.by_frames() {
            return;
        }
        self.flow_is(at, None, 0, 0);
        self.feed_or_cease_all(at);
        for link in self.peers[at].links.clone() {
            let there = self.now + self.net.one_way_us(at, link.other);
            let other = &self.peers[link.other];
            let (parent, mixer) =
                (other.parent == Some(at), other.mixers.iter().any(|watched| watched.mixer == at));
            let backup = other.backup == Some(at);
            let serves = other.served.iter().any(|served| served.child == at);
            if parent {
                self.look_at(link.other, there + DEAD_US);
            }
            if backup {
                self.look_at(link.other, there + BACKUP_SILENT_US);
            }
            if mixer {
                self.look_at(link.other, there + MIXER_SILENT_US / 2);
            }
            if serves {
                self.push(there + CHILD_SILENT_US, Happening::ChildLook { at: link.other, child: at });
            }
        }
    }

    /// Handles a machine that resumes after a stall.
    pub(crate) fn resumes(&mut self, at: usize) {
        self.peers[at].quiet_since = None;
        if self.by_frames() {
            return;
        }
        self.choose_flow(at);
        self.feed_or_cease_all(at);
        for link in self.peers[at].links.clone() {
            self.look_at(link.other, self.now + self.net.one_way_us(at, link.other));
        }
    }

    /// Updates all flows after a partition has begun or ended.
    pub(crate) fn flows_part(&mut self) {
        if self.by_frames() {
            return;
        }
        for at in 0..self.peers.len() {
            self.feed_or_cease_all(at);
            self.look_soon(at);
        }
    }

    /// Reports what the watchdogs would report now, and schedules the next time at which that may change.
    pub(super) fn judge(&mut self, at: usize) {
        self.peers[at].looks_at = None;
        if !self.peers[at].is_there() {
            return;
        }
        if let Some(parent) = self.peers[at].parent {
            let (verdict, next) = self.verdict_on_parent(at, parent);
            let said = std::mem::replace(&mut self.peers[at].parent_verdict, verdict);
            if let Some(next) = next {
                self.look_at(at, next);
            }
            if said != verdict {
                self.say(at, parent, verdict);
            }
        }
        self.judge_backup(at);
        let watched: Vec<_> =
            self.peers[at].mixers.iter().map(|watched| (watched.mixer, watched.since)).collect();
        for (mixer, since) in watched {
            let (verdict, next) = self.verdict_on_mixer(at, mixer, since);
            let known = self.peers[at].mixers.iter_mut().find(|watched| watched.mixer == mixer);
            let Some(known) = known else { continue };
            let said = std::mem::replace(&mut known.verdict, verdict);
            if let Some(next) = next {
                self.look_at(at, next);
            }
            if said != verdict {
                self.say(at, mixer, verdict);
            }
        }
    }

    fn judge_backup(&mut self, at: usize) {
        let peer = &self.peers[at];
        let Some(backup) = peer.backup.filter(|_| peer.backup_verdict == Verdict::Ok) else { return };
        let Some(since) = self.unheard_since(backup, at) else { return };
        let silent_at = since.max(peer.backup_since) + BACKUP_SILENT_US;
        if silent_at > self.now {
            self.look_at(at, silent_at);
        } else {
            self.peers[at].backup_verdict = Verdict::Silent;
            self.say(at, backup, Verdict::Silent);
        }
    }

    fn say(&mut self, at: usize, of: usize, verdict: Verdict) {
        let peer = self.peers[of].id;
        self.input(at, Input::Verdict { peer, verdict });
    }

    /// Verdict on the parent as [`FeedWatch`](plenary_proto::watchdog::FeedWatch) gives it, and when it may
    /// change by itself.
    fn verdict_on_parent(&self, at: usize, parent: usize) -> (Verdict, Option<Time>) {
        let (now, peer) = (self.now, &self.peers[at]);
        // while the backup's head shows that the backup is ahead, less silence suffices; its head is
        // requested first
        let backup = peer.backup.filter(|backup| self.peers[*backup].flow.flows);
        let shown_us = backup.map(|backup| ASK_US + 2 * self.net.one_way_us(backup, at));
        let silent_us = shown_us.map_or(PARENT_SILENT_US, |us| us.clamp(DEAD_US, PARENT_SILENT_US));
        let silent_at = self.unheard_since(parent, at).map(|since| since.max(peer.watched_at) + silent_us);
        if silent_at.is_some_and(|due| due <= now) {
            return (Verdict::Silent, None);
        }
        if peer.flow.flows || peer.flow.shown.is_none() {
            return (Verdict::Ok, silent_at);
        }
        let stalled_at = peer.flow.changed_at.max(peer.watched_at) + STALLED_US;
        // the backup's head must show that it is ahead, and keep showing it
        let ahead_at = backup.map(|backup| {
            let since = peer.flow.changed_at.max(self.peers[backup].flow.changed_at).max(peer.watched_at);
            since + self.net.one_way_us(backup, at) + 2 * AHEAD_US
        });
        if ahead_at.is_some_and(|due| due <= now) {
            (Verdict::Behind, silent_at)
        } else if stalled_at <= now {
            (Verdict::Stalled, silent_at)
        } else {
            let look_again = stalled_at.min(now + STANDING_LOOK_US);
            (Verdict::Ok, Some([silent_at, ahead_at].into_iter().flatten().fold(look_again, Time::min)))
        }
    }

    /// Verdict on a mixer as the standby's [`SilenceWatch`](plenary_proto::watchdog::SilenceWatch) gives it,
    /// and when it may change by itself.
    fn verdict_on_mixer(&self, at: usize, mixer: usize, watched: Time) -> (Verdict, Option<Time>) {
        let Some(since) = self.unheard_since(mixer, at) else { return (Verdict::Ok, None) };
        let begun = self.peers[mixer].own_frames > 0;
        let limit_us = if begun { MIXER_SILENT_US } else { MIXER_BEGIN_US };
        let last = since.max(watched);
        match self.now.since(last) {
            silent if silent >= limit_us => (Verdict::Silent, None),
            silent if silent >= limit_us / 2 => (Verdict::Behind, Some(last + limit_us)),
            _ => (Verdict::Ok, Some(last + limit_us / 2)),
        }
    }

    /// Handles a child that has been silent for as long as its watchdog allows.
    pub(super) fn judge_child(&mut self, at: usize, child: usize) {
        let (now, since) = (self.now, self.unheard_since(child, at));
        let suspect_us = suspect_us(&self.net, at, child);
        let Some(served) = self.peers[at].served_mut(child) else { return };
        let Some(since) = since else {
            served.suspected = None;
            return;
        };
        let suspected = served.suspected.is_some_and(|suspected| now.since(suspected) >= suspect_us);
        if !suspected && now.since(since) < CHILD_SILENT_US {
            return;
        }
        if let Some(served) = self.peers[at].served_mut(child).filter(|served| !served.silent) {
            served.silent = true;
            self.say(at, child, Verdict::Silent);
        }
    }

    /// Arrivals at a peer up to now.
    pub(crate) fn arrivals(&self, at: usize) -> Arrivals {
        let peer = &self.peers[at];
        let mut arrivals = peer.arrivals.clone();
        if peer.flow.flows {
            arrivals.flowed(self.now, peer.flow.latency_us, peer.flow.share_ppm);
        }
        arrivals
    }
}
