//! The program as a fluid: who brings how much of it to whom, and nothing in between.
//!
//! What leaves a peer is what comes to it, and no more than its uplink carries, in equal parts for its children;
//! what comes to one is no more than its downlink carries. Where a line is full its queue is, too. Losses cost
//! nothing: nearly all are repaired within a round trip. A flow begins and ceases on each link one way later than at its sender. What a peer gets is reckoned from
//! when it had the program and when not; what stood in the parents' caches comes when the program goes on. No
//! watchdog is driven: what it would say changes only when a flow or a peer's quiet begins or ends, and some
//! fixed times after that, so the verdict is worked out at those moments alone.

use plenary_proto::time::{MS, SECOND};
use plenary_proto::watchdog::{
    AHEAD_US, ASK_US, BACKUP_SILENT_US, CHILD_SILENT_US, DEAD_US, MIXER_BEGIN_US, MIXER_SILENT_US,
    PARENT_SILENT_US, STALLED_US,
};
use plenary_proto::{Input, StreamId, StreamSpec, Time, Verdict};

use super::{FRAME_US, suspect_us};
use crate::arrivals::Arrivals;
use crate::deviation::Forwarding;
use crate::world::{Happening, World};

/// A relay holds a packet for so long.
const HOP_US: u64 = MS;
/// A parent's cache fills what a child missed, up to this.
const CACHED_US: u64 = 2 * SECOND;
/// While its feed stands still, a peer's watch is looked at this often: the backup may come to be ahead.
const STANDING_LOOK_US: u64 = 50 * MS;

/// What flows to one peer.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// The program that is shown.
    shown: Option<(StreamId, StreamSpec)>,
    /// Who brings which program now.
    sources: Vec<Source>,
    /// Frames that came from those before.
    brought: u64,
    /// How much of the program comes, of a million.
    share_ppm: u32,
    /// The shown one is among them, or is made here.
    pub(crate) flows: bool,
    /// Since when it flows, or stands still.
    changed_at: Time,
    /// From capture to here.
    latency_us: u64,
}

/// Somebody who brings a program.
#[derive(Clone, Copy, Debug)]
struct Source {
    from: usize,
    stream: StreamId,
    share_ppm: u32,
    since: Time,
}

impl Source {
    /// How many frames it has brought.
    fn brought(&self, now: Time) -> u64 {
        now.since(self.since) / FRAME_US * u64::from(self.share_ppm) / WHOLE_PPM
    }
}

/// All of a program.
const WHOLE_PPM: u64 = 1_000_000;

impl World {
    /// The program that `at` forwards to a child now, and how much of it.
    fn forwards(&mut self, at: usize, child: usize) -> Option<(StreamId, u32)> {
        let share_ppm = self.share_for(at, child);
        let peer = &self.peers[at];
        let stream = peer.flow.shown.filter(|_| peer.flow.flows && peer.is_there())?.0;
        let serves = peer.served.iter().any(|served| served.child == child && served.media);
        let reaches = serves && self.link_is_up(at, child) && self.unheard_since(at, child).is_none();
        let (now, id) = (self.now, self.peers[child].id);
        let willing = match self.deviations.get_mut(&at) {
            Some(deviation) if reaches => deviation.forwards(now, id) != Forwarding::Never,
            _ => true,
        };
        (reaches && willing).then_some((stream, share_ppm))
    }

    /// How much of the program gets through to a child, of a million.
    fn share_for(&self, at: usize, child: usize) -> u32 {
        let (peer, bps) = (&self.peers[at], u64::from(self.plan.room.program_bps).max(1));
        let children = peer.served.iter().filter(|served| served.media).count().max(1) as u64;
        let [up, down] = [at, child].map(|end| self.plan.peers[self.peers[end].planned].access);
        let through = |line_bps: u64, programs: u64| line_bps.saturating_mul(WHOLE_PPM) / (bps * programs);
        let comes = if peer.is_mixing() { WHOLE_PPM } else { peer.flow.share_ppm.into() };
        comes.min(through(up.up_bps, children)).min(through(down.down_bps, 1)) as u32
    }

    /// Frames that came to peers from anybody so far.
    pub(crate) fn frames_flowed(&self) -> u64 {
        let flowed = self.peers.iter().map(|peer| {
            // whoever is dead is fed until that is noticed
            let gone = peer.gone_since();
            let until = gone.map_or(self.now, |since| self.now.min(since + CHILD_SILENT_US));
            peer.flow.brought + peer.flow.sources.iter().map(|source| source.brought(until)).sum::<u64>()
        });
        flowed.sum()
    }

    /// Begins, changes or ends the flow to a child, where that has become due.
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

    /// The same for every child: they share one uplink.
    pub(super) fn feed_or_cease_all(&mut self, at: usize) {
        for place in 0..self.peers[at].served.len() {
            if let Some(child) = self.peers[at].served.get(place).map(|served| served.child) {
                self.feed_or_cease(at, child);
            }
        }
    }

    /// A flow has begun, changed or ended at its receiver.
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

    /// A link has gone, and what came over it.
    pub(crate) fn ceased(&mut self, at: usize, from: usize) {
        if self.peers[at].flow.sources.iter().any(|source| source.from == from) {
            self.flow_changed(at, from, None);
        }
    }

    /// A link has come up: what was to be served may flow.
    pub(crate) fn flow_on_link(&mut self, a: usize, b: usize) {
        if !self.by_frames() {
            self.feed_or_cease(a, b);
            self.feed_or_cease(b, a);
        }
    }

    /// Which of the programs that come is shown, and whether it flows.
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
                // of those that may be shown a mixer's in force, what whoever feeds us sends, the highest; of equal
                // ones what is shown already
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

    /// Whoever was asked to feed us and brings something that may be taken feeds us.
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

    /// What flows at a peer from now on.
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

    /// Nothing comes from a peer any more.
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

    /// A machine that stood still goes on.
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

    /// A partition has begun or ended.
    pub(crate) fn flows_part(&mut self) {
        if self.by_frames() {
            return;
        }
        for at in 0..self.peers.len() {
            self.feed_or_cease_all(at);
            self.look_soon(at);
        }
    }

    /// Says what the watches would say now, and sees when they would say something else.
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

    /// As `FeedWatch` says it, and when that may change by itself.
    fn verdict_on_parent(&self, at: usize, parent: usize) -> (Verdict, Option<Time>) {
        let (now, peer) = (self.now, &self.peers[at]);
        // while the backup's head shows that it is ahead, less silence does; it is asked for that first
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
        // the backup's head must show that it is ahead, and go on showing it
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

    /// As the standby's `SilenceWatch` says it.
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

    /// A child has been quiet for as long as its watch allows.
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

    /// What came to a peer up to now.
    pub(crate) fn arrivals(&self, at: usize) -> Arrivals {
        let peer = &self.peers[at];
        let mut arrivals = peer.arrivals.clone();
        if peer.flow.flows {
            arrivals.flowed(self.now, peer.flow.latency_us, peer.flow.share_ppm);
        }
        arrivals
    }
}
