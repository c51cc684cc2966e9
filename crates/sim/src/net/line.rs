//! Access line of a peer: an uplink and a downlink, each with a rate and a queue.

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

/// One direction: a FIFO queue drained at a fixed rate, with tail drop when the wait would be too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipe {
    bps: u64,
    /// Start of the present busy period.
    busy_from: Time,
    /// When everything accepted so far will have been sent.
    busy_until: Time,
}

impl Pipe {
    fn new(bps: u64) -> Pipe {
        Pipe { bps: bps.max(1), busy_from: Time(0), busy_until: Time(0) }
    }

    /// Changes the rate for packets that arrive from now on.
    pub(crate) fn set_rate(&mut self, bps: u64) {
        self.bps = bps.max(1);
    }

    /// Enqueues a packet that arrives at `at` and isn't sent before `awake`. Returns when its last bit has
    /// been sent, or `None` if it would wait longer than `longest_us`.
    ///
    /// Packets are reported out of order: at a downlink one from a near sender may arrive before one from a
    /// distant sender that was reported earlier. A packet that arrives before the present busy period began
    /// found the pipe free; the small delay that it causes to others is neglected.
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
