//! Watchdogs of a body where the program is followed frame by frame: heads, pings, verdicts.

use plenary_proto::message::{Head, Heartbeat};
use plenary_proto::time::MS;
use plenary_proto::watchdog::{
    BACKUP_SILENT_US, CHILD_SILENT_US, FeedWatch, MIXER_BEGIN_US, MIXER_SILENT_US, PING_US, SilenceWatch,
};
use plenary_proto::{Input, Rank, StreamId, Time, Verdict};

use super::suspect_us;
use crate::peer::Peer;
use crate::world::{Happening, World};

/// Interval at which the watchdogs are checked.
pub(super) const LOOK_US: u64 = 25 * MS;
/// Time without media after which a feeding link sends heads (PROTOCOL.md, 12.4).
const FEED_HEAD_US: u64 = 100 * MS;
/// Interval of heads on a backup link (PROTOCOL.md, 12.4).
const BACKUP_HEAD_US: u64 = 500 * MS;

pub(super) fn new_mixer_watch(now: Time) -> Box<SilenceWatch> {
    Box::new(SilenceWatch::new(now, MIXER_SILENT_US).unfed(MIXER_BEGIN_US))
}

impl Peer {
    pub(super) fn new_feed_watch(&self, now: Time) -> Box<FeedWatch> {
        let mut feed = FeedWatch::new(now);
        if let Some(last) = self.cache.back() {
            feed.held(last.captured.0);
        }
        Box::new(feed)
    }

    fn head(&self) -> Head {
        let last = self.cache.back();
        Head {
            rank: last.map_or(Rank::default(), |last| last.spec.rank),
            stream: last.map_or(StreamId::default(), |last| last.stream),
            captured_us: last.map_or(0, |last| last.captured.0),
            ..Head::default()
        }
    }
}

impl World {
    pub(super) fn heartbeat_arrived(&mut self, to: usize, from: usize, heartbeat: Heartbeat) {
        let now = self.now;
        self.heard(to, from, false);
        match heartbeat {
            Heartbeat::Head(head) => {
                let peer = &mut self.peers[to];
                // the head of another program says nothing about this peer's program: the clocks differ
                let tells = peer
                    .cache
                    .back()
                    .is_none_or(|last| last.stream == head.stream || head.rank > last.spec.rank);
                if let Some(feed) = peer.feed.as_mut().filter(|_| tells && peer.backup == Some(from)) {
                    feed.backup_head(now, head.captured_us);
                    self.say_verdicts(to);
                }
            }
            Heartbeat::HeadWanted => {
                let head = self.peers[to].head();
                self.datagram(
                    to,
                    from,
                    Happening::Heartbeat { to: from, from: to, heartbeat: Heartbeat::Head(head) },
                );
            }
            _ => {}
        }
    }

    /// Checks a peer's watchdogs, and sends the heads that are due.
    pub(super) fn update_watches(&mut self, at: usize) {
        let now = self.now;
        self.peers[at].looks_at = None;
        if !self.peers[at].is_there() {
            return;
        }
        let asks = self.peers[at].feed.as_mut().is_some_and(|feed| feed.asks_backup(now));
        let suspected = self.peers[at].served.iter().filter(|served| served.suspected.is_some());
        let asked: Vec<usize> = suspected.map(|served| served.child).collect();
        for peer in self.peers[at].backup.filter(|_| asks).into_iter().chain(asked) {
            self.ask_head(at, peer);
        }
        self.ping(at);
        self.send_heads(at);
        self.say_verdicts(at);
        let peer = &self.peers[at];
        if peer.feed.is_some() || !peer.mixers.is_empty() || !peer.served.is_empty() {
            self.look_soon(at);
        }
    }

    /// Reports the watchdogs' new verdicts to the brain.
    fn say_verdicts(&mut self, at: usize) {
        for (peer, verdict) in self.verdicts(at) {
            let peer = self.peers[peer].id;
            self.input(at, Input::Verdict { peer, verdict });
        }
    }

    /// The verdicts that haven't been reported yet.
    fn verdicts(&mut self, at: usize) -> Vec<(usize, Verdict)> {
        let now = self.now;
        let peer = &mut self.peers[at];
        let mut said = Vec::new();
        let feed = peer.feed.as_mut().map(|feed| feed.verdict(now));
        if let (Some(parent), Some(verdict)) = (peer.parent, feed)
            && verdict != peer.parent_verdict
        {
            peer.parent_verdict = verdict;
            said.push((parent, verdict));
        }
        if let Some(backup) = peer.backup.filter(|_| peer.backup_verdict == Verdict::Ok) {
            let heard = peer.link(backup).map_or(peer.backup_since, |link| link.heard_at);
            if now.since(heard.max(peer.backup_since)) >= BACKUP_SILENT_US {
                peer.backup_verdict = Verdict::Silent;
                said.push((backup, Verdict::Silent));
            }
        }
        for watched in &mut peer.mixers {
            let verdict = watched.watch.as_ref().map_or(Verdict::Ok, |watch| watch.verdict(now));
            if std::mem::replace(&mut watched.verdict, verdict) != verdict {
                said.push((watched.mixer, verdict));
            }
        }
        for place in 0..peer.served.len() {
            let mut served = peer.served[place];
            let heard = peer.link(served.child).map_or(served.since, |link| link.heard_at).max(served.since);
            served.suspected.take_if(|suspected| heard > *suspected);
            peer.served[place].suspected = served.suspected;
            let suspect_us = suspect_us(&self.net, at, served.child);
            let silent = now.since(heard) >= CHILD_SILENT_US
                || served.suspected.is_some_and(|suspected| now.since(suspected) >= suspect_us);
            if !served.silent && silent {
                peer.served[place].silent = true;
                said.push((served.child, Verdict::Silent));
            }
        }
        said
    }

    /// Requests a peer's head.
    pub(super) fn ask_head(&mut self, at: usize, of: usize) {
        self.datagram(at, of, Happening::Heartbeat { to: of, from: at, heartbeat: Heartbeat::HeadWanted });
    }

    /// Pings the parent and the backup.
    fn ping(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if peer.next_ping <= self.now {
            peer.next_ping = self.now + PING_US;
            for above in peer.parent.into_iter().chain(peer.backup) {
                self.datagram(at, above, Happening::Arrival { to: above, from: at, media: false });
            }
        }
    }

    fn send_heads(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let mut heads = Vec::new();
        for served in &mut peer.served {
            let each = if served.media { FEED_HEAD_US } else { BACKUP_HEAD_US };
            let quiet = !served.media || now.since(served.last_media) >= FEED_HEAD_US;
            if quiet && served.next_head <= now {
                served.next_head = now + each;
                heads.push(served.child);
            }
        }
        if peer.next_passed <= now {
            peer.next_passed = now + FEED_HEAD_US;
            heads.extend(peer.forwarding_to.iter().copied());
        }
        let head = peer.head();
        for to in heads {
            self.datagram(at, to, Happening::Heartbeat { to, from: at, heartbeat: Heartbeat::Head(head) });
        }
    }
}
