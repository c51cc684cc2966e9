//! A peer's line: an uplink and a downlink, each a rate and the queue before it.

use plenary_proto::Time;
use plenary_proto::time::SECOND;

/// Both directions of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
}

impl Line {
    pub(crate) fn new(up_bps: u64, down_bps: u64) -> Line {
        Line { up: Pipe::new(up_bps), down: Pipe::new(down_bps) }
    }
}

/// One direction: one packet after the other at one rate, the tail dropped when the wait would be too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipe {
    bps: u64,
    /// Since when it has not stood still.
    busy_from: Time,
    /// When it has sent all that it took.
    busy_until: Time,
}

impl Pipe {
    fn new(bps: u64) -> Pipe {
        Pipe { bps: bps.max(1), busy_from: Time(0), busy_until: Time(0) }
    }

    /// What comes from now on goes at another rate.
    pub(crate) fn set_rate(&mut self, bps: u64) {
        self.bps = bps.max(1);
    }

    /// Takes a packet that comes at `at`; it isn't sent before `awake`. Gives when its last bit is through,
    /// `None` if it would wait for longer than `longest_us`.
    ///
    /// Packets that come to a downlink from near overtake those from afar that were told of before. One that
    /// comes before the present busy time began found the pipe free; the little that it delays the others is
    /// left out.
    pub(crate) fn pass(&mut self, at: Time, awake: Time, bytes: usize, longest_us: u64) -> Option<Time> {
        let takes = (bytes as u64).saturating_mul(8 * SECOND).div_ceil(self.bps);
        if at < self.busy_from {
            return Some(awake.max(at) + takes);
        }
        let begins = at.max(awake).max(self.busy_until);
        if begins.since(at) > longest_us {
            return None;
        }
        if self.busy_until <= at {
            self.busy_from = at;
        }
        self.busy_until = begins + takes;
        Some(self.busy_until)
    }
}
