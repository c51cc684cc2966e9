//! One direction of a host's access link: loss, a rate with a bounded queue, then delay.
//!
//! A line knows no clock. Its owner says what time it is and calls back when a packet is due,
//! dating it by when it *should* leave, so that a late wake-up does not lower the rate.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::scenario::Link;
use crate::stats::DropReason;
use crate::units::{Nanos, Rate};

pub(crate) type Packet = Box<[u8]>;

/// How much longer a reordered packet travels: enough for later packets of a stream to overtake.
const REORDER_HOLD: Nanos = 20_000_000;

pub(crate) struct Line {
    queue: VecDeque<(Nanos, Packet)>,
    queued_bytes: usize,
    /// When the packet at the head of the queue will have been sent.
    free_at: Nanos,
    latest_arrival: Nanos,
    in_loss_burst: bool,
    /// Apart from `delay_rng`, so that the n-th packet is lost or not whatever the jitter is.
    loss_rng: Rng,
    delay_rng: Rng,
}

impl Line {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        Line {
            queue: VecDeque::new(),
            queued_bytes: 0,
            free_at: 0,
            latest_arrival: 0,
            in_loss_burst: false,
            loss_rng: rng.fork(),
            delay_rng: rng,
        }
    }

    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Takes a packet in. Returns when to call `send_head`, unless a call is already due.
    pub(crate) fn enqueue(
        &mut self,
        packet: Packet,
        now: Nanos,
        rate: Rate,
        link: &Link,
    ) -> Result<Option<Nanos>, DropReason> {
        if self.is_lost(link) {
            return Err(DropReason::Loss);
        }
        let wait = rate.transmit_time(self.queued_bytes);
        if !self.queue.is_empty() && wait > link.queue.nanos() {
            return Err(DropReason::QueueFull);
        }
        self.queued_bytes += packet.len();
        self.queue.push_back((now, packet));
        Ok((self.queue.len() == 1).then(|| self.schedule_head(rate, link)))
    }

    /// Sends the packet at the head. Also returns when the next one will have been sent.
    pub(crate) fn send_head(&mut self, rate: Rate, link: &Link) -> (Packet, Option<Nanos>) {
        let (_, packet) = self.queue.pop_front().expect("a head was scheduled");
        self.queued_bytes -= packet.len();
        let next = (!self.queue.is_empty()).then(|| self.schedule_head(rate, link));
        (packet, next)
    }

    /// The token bucket, kept as the time at which the line is free: an idle line's `free_at`
    /// may lie in the past by up to `burst`, and that much may then be sent at once.
    fn schedule_head(&mut self, rate: Rate, link: &Link) -> Nanos {
        let (arrived, packet) = &self.queue[0];
        let oldest_start = arrived.saturating_sub(link.burst.nanos());
        let start = self.free_at.max(oldest_start);
        self.free_at = start + rate.transmit_time(packet.len());
        self.free_at.max(*arrived)
    }

    /// When a packet that leaves the line at `sent` arrives at the other end.
    pub(crate) fn arrival(&mut self, sent: Nanos, link: &Link) -> Nanos {
        let jitter = link.jitter.nanos() as f64;
        let shift = (self.delay_rng.f64() * 2.0 - 1.0) * jitter;
        let delay = (link.delay.nanos() as f64 + shift).max(0.0) as Nanos;
        if self.delay_rng.f64() < link.reorder.0 {
            return sent + delay + REORDER_HOLD;
        }
        self.latest_arrival = self.latest_arrival.max(sent + delay);
        self.latest_arrival
    }

    /// Draws the same count of random numbers for every packet, whatever the settings, so that
    /// changing them in mid-run does not shift the sequence.
    fn is_lost(&mut self, link: &Link) -> bool {
        let (turn, fall) = (self.loss_rng.f64(), self.loss_rng.f64());
        let turn_chance = if self.in_loss_burst { link.burst_loss.leave.0 } else { link.burst_loss.enter.0 };
        // A burst that is switched off in the middle ends, for its chance to leave is then nil.
        let is_on = link.burst_loss.enter.0 > 0.0;
        self.in_loss_burst = is_on && (self.in_loss_burst != (turn < turn_chance));
        self.in_loss_burst || fall < link.loss.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Chance, Span};
    use std::time::Duration;

    const MEGABIT: Rate = Rate::BitsPerSecond(1_000_000);
    const MILLISECOND: Nanos = 1_000_000;

    fn packet() -> Packet {
        vec![0; 1250].into() // 10 ms at 1 Mbit/s
    }

    #[test]
    fn sends_at_the_rate_and_drops_what_would_wait_too_long() {
        let (mut line, link) = (Line::new(0), Link::default());
        assert_eq!(line.enqueue(packet(), 0, MEGABIT, &link), Ok(Some(10 * MILLISECOND)));
        for _ in 0..10 {
            assert_eq!(line.enqueue(packet(), 0, MEGABIT, &link), Ok(None));
        }
        assert_eq!(line.enqueue(packet(), 0, MEGABIT, &link), Err(DropReason::QueueFull));
        for n in 2..=11 {
            assert_eq!(line.send_head(MEGABIT, &link).1, Some(n * 10 * MILLISECOND));
        }
        assert_eq!(line.send_head(MEGABIT, &link).1, None);
    }

    #[test]
    fn an_idle_line_saves_up_one_burst() {
        let mut line = Line::new(0);
        let link = Link { burst: Span(Duration::from_millis(20)), ..Link::default() };
        let second = 1000 * MILLISECOND;
        assert_eq!(line.enqueue(packet(), second, MEGABIT, &link), Ok(Some(second)));
        line.enqueue(packet(), second, MEGABIT, &link).unwrap();
        line.enqueue(packet(), second, MEGABIT, &link).unwrap();
        assert_eq!(line.send_head(MEGABIT, &link).1, Some(second));
        assert_eq!(line.send_head(MEGABIT, &link).1, Some(second + 10 * MILLISECOND));
    }

    #[test]
    fn losses_are_the_same_for_the_same_seed() {
        let link = Link { loss: Chance(0.3), ..Link::default() };
        let losses = |seed| {
            let mut line = Line::new(seed);
            (0..1000).map(|_| line.is_lost(&link)).collect::<Vec<_>>()
        };
        assert_eq!(losses(5), losses(5));
        assert_ne!(losses(5), losses(6));
        let lost = losses(5).into_iter().filter(|lost| *lost).count();
        assert!((250..350).contains(&lost), "{lost} of 1000 lost");
    }

    #[test]
    fn loss_bursts_have_the_length_asked_for() {
        let link = Link { burst_loss: "1%/25%".parse().unwrap(), ..Link::default() };
        let mut line = Line::new(1);
        let losses: Vec<_> = (0..200_000).map(|_| line.is_lost(&link)).collect();
        let lost = losses.iter().filter(|lost| **lost).count() as f64;
        let bursts = losses.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((3.6..4.4).contains(&(lost / bursts)), "mean burst {}", lost / bursts);
    }

    #[test]
    fn jitter_keeps_the_order_and_reorder_does_not() {
        let mut link = Link {
            delay: Span(Duration::from_millis(30)),
            jitter: Span(Duration::from_millis(5)),
            ..Link::default()
        };
        let mut line = Line::new(3);
        let mut arrivals =
            |link: &Link| (0..1000).map(|n| line.arrival(n * 100_000, link)).collect::<Vec<_>>();
        assert!(arrivals(&link).is_sorted());
        link.reorder = Chance(0.1);
        assert!(!arrivals(&link).is_sorted());
    }
}
