//! Failure detection for the parent, the backup, the mixers and the children of this peer.

use plenary_proto::ordered::OrderedMap;

use plenary_proto::watchdog::{
    BACKUP_SILENT_US, CHILD_SILENT_US, FeedWatch, MIXER_BEGIN_US, MIXER_SILENT_US, SilenceWatch,
};
use plenary_proto::{PeerId, Time, Verdict};

/// Watches, each with the last reported verdict.
#[derive(Default)]
pub(crate) struct Watches {
    feed: Option<(PeerId, FeedWatch, Verdict)>,
    backup: Option<(PeerId, SilenceWatch, Verdict)>,
    mixers: OrderedMap<PeerId, (SilenceWatch, Verdict)>,
    children: OrderedMap<PeerId, (SilenceWatch, Verdict)>,
    /// Time of the last arrival, by peer.
    last: OrderedMap<PeerId, Time>,
}

impl Watches {
    /// Records a media packet from a peer, on any link.
    pub(crate) fn fed(&mut self, peer: PeerId, now: Time) {
        if let Some((_, watch, _)) = self.feed.as_mut().filter(|(parent, ..)| *parent == peer) {
            watch.fed(now);
        }
        if let Some((watch, _)) = self.mixers.get_mut(&peer) {
            watch.fed(now);
        }
        self.arrived(peer, now);
    }

    /// Records an arrival other than media from a peer, on any link.
    pub(crate) fn arrived(&mut self, peer: PeerId, now: Time) {
        self.last.insert(peer, now);
        if let Some((_, watch, _)) = self.feed.as_mut().filter(|(parent, ..)| *parent == peer) {
            watch.arrived(now);
        }
        if let Some((_, watch, _)) = self.backup.as_mut().filter(|(backup, ..)| *backup == peer) {
            watch.arrived(now);
        }
        if let Some((watch, _)) = self.mixers.get_mut(&peer) {
            watch.arrived(now);
        }
        if let Some((watch, _)) = self.children.get_mut(&peer) {
            watch.arrived(now);
        }
    }

    /// Returns the time of the last arrival from a peer.
    pub(crate) fn last(&self, peer: &PeerId) -> Option<Time> {
        self.last.get(peer).copied()
    }

    /// Returns the number of peers that something arrived from.
    pub(crate) fn peers(&self) -> usize {
        self.last.len()
    }

    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.last.remove(peer);
    }

    /// Records a complete frame of the program.
    pub(crate) fn progressed(&mut self, now: Time, captured_us: u64) {
        if let Some((_, watch, _)) = &mut self.feed {
            watch.progressed(now, captured_us);
        }
    }

    /// Records whether the newest picture that the parent brought could be shown.
    pub(crate) fn judged(&mut self, is_shown: bool) {
        if let Some((_, watch, _)) = &mut self.feed {
            watch.judged(is_shown);
        }
    }

    /// Takes a peer's head; only the backup's head is used.
    pub(crate) fn head(&mut self, from: &PeerId, now: Time, captured_us: u64) {
        if self.backup.as_ref().is_some_and(|(backup, ..)| backup == from)
            && let Some((_, watch, _)) = &mut self.feed
        {
            watch.backup_head(now, captured_us);
        }
    }

    /// Sets the parent to watch, and the backup to compare it with. `newest_us` is the capture time of the
    /// newest frame that this peer already has.
    pub(crate) fn watch_feed(
        &mut self,
        parent: Option<PeerId>,
        backup: Option<PeerId>,
        newest_us: u64,
        now: Time,
    ) {
        if self.backup.as_ref().map(|(peer, ..)| *peer) != backup {
            let watch = SilenceWatch::new(now, BACKUP_SILENT_US);
            self.backup = backup.map(|backup| (backup, watch, Verdict::Ok));
            if let Some((_, watch, _)) = self.feed.as_mut().filter(|_| backup.is_some()) {
                watch.another_backup();
            }
        }
        if self.feed.as_ref().map(|(peer, ..)| *peer) != parent {
            self.feed = parent.map(|parent| {
                let mut watch = FeedWatch::new(now);
                watch.held(newest_us);
                (parent, watch, Verdict::Ok)
            });
        }
    }

    /// Sets the mixers to watch; no others are watched.
    pub(crate) fn watch_mixers(&mut self, mixers: &[PeerId], now: Time) {
        let watch = SilenceWatch::new(now, MIXER_SILENT_US).unfed(MIXER_BEGIN_US);
        self.mixers.retain(|mixer, _| mixers.contains(mixer));
        for mixer in mixers {
            self.mixers.entry(*mixer).or_insert_with(|| (watch.clone(), Verdict::Ok));
        }
    }

    pub(crate) fn watch_child(&mut self, child: PeerId, now: Time) {
        self.children.insert(child, (SilenceWatch::new(now, CHILD_SILENT_US), Verdict::Ok));
    }

    pub(crate) fn unwatch_child(&mut self, child: &PeerId) {
        self.children.remove(child);
    }

    /// Suspects that a child is dead: the child has to show that it lives.
    pub(crate) fn suspect(&mut self, child: &PeerId, now: Time, rtt_us: u64) {
        if let Some((watch, _)) = self.children.get_mut(child) {
            watch.suspect(now, rtt_us);
        }
    }

    fn set_slack_us(&mut self, slack_us: u64) {
        if let Some((_, watch, _)) = &mut self.feed {
            watch.set_slack_us(slack_us);
        }
        let backup = self.backup.iter_mut().map(|(_, watch, _)| watch);
        let mixers = self.mixers.values_mut().map(|(watch, _)| watch);
        let children = self.children.values_mut().map(|(watch, _)| watch);
        backup.chain(mixers).chain(children).for_each(|watch| watch.set_slack_us(slack_us));
    }

    /// Returns the peers to request a head from: the backup if the feed stands still, and suspected children.
    pub(crate) fn asks(&mut self, now: Time) -> Vec<PeerId> {
        let asks = self.feed.as_mut().is_some_and(|(_, watch, _)| watch.asks_backup(now));
        let backup = self.backup.as_ref().filter(|_| asks).map(|(backup, ..)| *backup);
        let suspected = self.children.iter().filter(|(_, (watch, _))| watch.is_suspected());
        backup.into_iter().chain(suspected.map(|(child, _)| *child)).collect()
    }

    /// Returns the verdicts that have changed since the last call, on a machine that is late by `slack_us`.
    pub(crate) fn verdicts(&mut self, now: Time, slack_us: u64) -> Vec<(PeerId, Verdict)> {
        self.set_slack_us(slack_us);
        let mut changed = Vec::new();
        let mut say = |peer: &PeerId, said: &mut Verdict, verdict: Verdict| {
            if *said != verdict {
                *said = verdict;
                changed.push((*peer, verdict));
            }
        };
        if let Some((parent, watch, said)) = &mut self.feed {
            say(parent, said, watch.verdict(now));
        }
        for (mixer, (watch, said)) in &mut self.mixers {
            say(mixer, said, watch.verdict(now));
        }
        // `Verdict::Behind`, at half of the limit, means nothing for a child or a backup
        let backup = self.backup.iter_mut().map(|(backup, watch, said)| (&*backup, watch, said));
        let children = self.children.iter_mut().map(|(child, (watch, said))| (child, watch, said));
        for (peer, watch, said) in backup.chain(children) {
            let silent = watch.verdict(now) == Verdict::Silent;
            say(peer, said, if silent { Verdict::Silent } else { Verdict::Ok });
        }
        changed
    }
}
