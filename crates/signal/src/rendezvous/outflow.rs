//! Paces what a rendezvous sends to strangers: pages, and envelopes and tunnels in rooms that other processes have
//! opened.
//!
//! A token bucket sets the common rate, which leaves the rest of the uplink to media. Sites (an IPv4 address or an IPv6
//! /48) get their turns round robin, so that an endless download slows only its own site down.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use crate::limits::{Bucket, Rate};
use crate::owner::site;

/// Maximum length of what is sent in one turn, unless a frame is longer: 64 ms of a line of 2 Mbit/s. A guess.
pub(super) const TURN_LEN_MAX: usize = 16 * 1024;
/// Divisor of the rate that gives the burst: 20 ms, longer than timers are late, and short beside the queue of a home
/// router.
const BURST_PART: u32 = 50;
/// Maximum sleep, so that a changed rate takes effect.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Length of a queue at which cancelled turns are removed, and again each time that the length doubles. A guess.
const LOOK_LEN: usize = 64;

/// Kind of traffic. Of one site, envelopes are sent first, and pages last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Envelope,
    Tunnel,
    Page,
}

/// Shares the rate.
#[derive(Debug)]
pub(super) struct Outflow {
    turns: Mutex<Turns>,
    /// A turn was requested.
    changed: Notify,
}

/// Queued turns. Sans-IO: the caller passes the time.
#[derive(Debug)]
struct Turns {
    bucket: Bucket,
    /// Sites with queued turns, the next one first.
    sites: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, [VecDeque<Turn>; 3]>,
}

/// A queued turn.
#[derive(Debug)]
struct Turn {
    len: u32,
    come: oneshot::Sender<()>,
}

fn rate(bytes_per_s: u32) -> Rate {
    Rate { per_s: bytes_per_s, burst: (bytes_per_s / BURST_PART).max(TURN_LEN_MAX as u32) }
}

impl Outflow {
    pub(super) fn new(bytes_per_s: u32) -> Outflow {
        let bucket = Bucket::new(rate(bytes_per_s), Instant::now());
        let turns = Turns { bucket, sites: VecDeque::new(), waiting: HashMap::new() };
        Outflow { turns: Mutex::new(turns), changed: Notify::new() }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_rate(&self, bytes_per_s: u32) {
        self.turns().bucket.set_rate(rate(bytes_per_s), Instant::now());
    }

    /// Takes a turn to send so many bytes to an address. If it is not due at once, returns a future that waits for it,
    /// and that may be dropped.
    pub(super) fn turn(
        &self,
        ip: IpAddr,
        kind: Kind,
        len: usize,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let come = self.turns().ask(site(ip), kind, len, Instant::now())?;
        self.changed.notify_one();
        Some(async move {
            let _ = come.await; // an error means that the rendezvous closes
        })
    }

    /// Gives turns, as long as the task runs.
    pub(super) async fn serve(&self) {
        loop {
            let next = self.turns().next(Instant::now());
            match next {
                Some(pause) => sleep(pause.min(SLEEP_MAX)).await,
                None => self.changed.notified().await,
            }
        }
    }
}

impl Turns {
    /// Takes the bytes at once if nothing is queued and the bucket has tokens; otherwise queues a turn.
    fn ask(&mut self, site: IpAddr, kind: Kind, len: u32, now: Instant) -> Option<oneshot::Receiver<()>> {
        if self.sites.is_empty() && self.bucket.take(0, now).is_zero() {
            self.bucket.take(len, now);
            return None;
        }
        let (come, comes) = oneshot::channel();
        let sites = &mut self.sites;
        let queues = self.waiting.entry(site).or_insert_with(|| {
            sites.push_back(site);
            Default::default()
        });
        let queue = &mut queues[kind as usize];
        if queue.len() >= LOOK_LEN && queue.len().is_power_of_two() {
            queue.retain(|turn| !turn.come.is_closed());
        }
        queue.push_back(Turn { len, come });
        Some(comes)
    }

    /// Gives all turns that are due. Returns the time until the next one; `None` if none is queued.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        while let Some(&site) = self.sites.front() {
            let pause = self.bucket.take(0, now);
            if !pause.is_zero() {
                return Some(pause);
            }
            let queues = self.waiting.get_mut(&site);
            let turn = queues.and_then(|queues| queues.iter_mut().find_map(VecDeque::pop_front));
            let Some(Turn { len, come }) = turn else {
                self.waiting.remove(&site);
                self.sites.pop_front();
                continue;
            };
            // a cancelled turn costs nothing, and the site keeps its place
            if come.send(()).is_ok() {
                self.bucket.take(len, now);
                self.sites.rotate_left(1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u32 = TURN_LEN_MAX as u32;

    fn turns(bytes_per_s: u32, now: Instant) -> Turns {
        let bucket = Bucket::new(rate(bytes_per_s), now);
        Turns { bucket, sites: VecDeque::new(), waiting: HashMap::new() }
    }

    /// Turns that a site has asked for, and that haven't come.
    struct Asker(Vec<oneshot::Receiver<()>>);

    impl Asker {
        fn ask(turns: &mut Turns, ip: &str, kind: Kind, times: usize, now: Instant) -> Asker {
            let site = site(ip.parse().unwrap());
            Asker((0..times).filter_map(|_| turns.ask(site, kind, LEN, now)).collect())
        }

        fn came(&mut self) -> usize {
            self.0.extract_if(.., |turn| turn.try_recv().is_ok()).count()
        }
    }

    /// Gives turns for so many seconds.
    fn run(turns: &mut Turns, from: Instant, s: u64) {
        let mut now = from;
        while let Some(pause) = turns.next(now).filter(|_| now < from + Duration::from_secs(s)) {
            now += pause.max(Duration::from_millis(1));
        }
    }

    #[test]
    fn all_together_get_the_rate_and_no_more() {
        let now = Instant::now();
        let mut turns = turns(10 * LEN, now);
        let mut askers: Vec<_> = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
            .map(|ip| Asker::ask(&mut turns, ip, Kind::Page, 1000, now))
            .into();
        run(&mut turns, now, 30);
        let came: Vec<_> = askers.iter_mut().map(Asker::came).collect();
        let sum: usize = came.iter().sum();
        assert!((299..=302).contains(&sum) && came.iter().all(|came| (99..=101).contains(came)), "{came:?}");
    }

    #[test]
    fn one_that_asks_without_end_slows_only_itself_down() {
        let now = Instant::now();
        let mut turns = turns(10 * LEN, now);
        let mut flood = Asker::ask(&mut turns, "192.0.2.1", Kind::Page, 10_000, now);
        // all addresses of an IPv6 /48 are one site
        let mut subnets: Vec<_> = (0..1000)
            .map(|subnet| Asker::ask(&mut turns, &format!("2001:db8:7:{subnet:x}::1"), Kind::Page, 10, now))
            .collect();
        let mut visitor = Asker::ask(&mut turns, "198.51.100.1", Kind::Page, 30, now);
        run(&mut turns, now, 10);
        assert_eq!(visitor.came(), 30, "a third of the rate");
        assert!(flood.came() <= 36 && subnets.iter_mut().map(Asker::came).sum::<usize>() <= 36);
    }

    #[test]
    fn within_a_site_envelopes_go_before_pages() {
        let now = Instant::now();
        let mut turns = turns(10 * LEN, now);
        let mut page = Asker::ask(&mut turns, "192.0.2.1", Kind::Page, 100, now);
        let mut envelopes = Asker::ask(&mut turns, "192.0.2.1", Kind::Envelope, 10, now);
        run(&mut turns, now, 1);
        assert_eq!(envelopes.came(), 10);
        assert!(page.came() <= 1);
    }

    #[test]
    fn turns_that_nobody_waits_for_cost_nothing_and_are_forgotten() {
        let now = Instant::now();
        let mut turns = turns(LEN, now);
        let _busy = Asker::ask(&mut turns, "192.0.2.1", Kind::Page, 10, now);
        for _ in 0..10_000 {
            drop(Asker::ask(&mut turns, "192.0.2.2", Kind::Page, 1, now));
        }
        let gone = &turns.waiting[&site("192.0.2.2".parse().unwrap())];
        assert!(gone[Kind::Page as usize].len() <= LOOK_LEN);
        let mut last = Asker::ask(&mut turns, "192.0.2.2", Kind::Page, 1, now);
        run(&mut turns, now, 4);
        assert_eq!(last.came(), 1);
        run(&mut turns, now, 20);
        assert!(turns.sites.is_empty() && turns.waiting.is_empty());
    }

    #[test]
    fn a_rate_that_changes_counts_from_then_on() {
        let now = Instant::now();
        let mut turns = turns(LEN, now);
        let mut page = Asker::ask(&mut turns, "192.0.2.1", Kind::Page, 1000, now);
        run(&mut turns, now, 5);
        assert!(page.came() <= 6);
        let now = now + Duration::from_secs(6);
        turns.bucket.set_rate(rate(20 * LEN), now);
        run(&mut turns, now, 5);
        assert!((99..=103).contains(&page.came()));
    }
}
