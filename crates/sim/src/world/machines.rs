//! Processor time: peers of one machine share its cores, and their events wait for these.
//!
//! Each event of a peer, each datagram that it sends and each link that it sets up costs processor time, as measured
//! on real links. A machine handles its events in the order of their arrival, at the speed of all its cores together,
//! so timers fire late on a busy machine. Peers without a machine have all the time that they need.

use std::collections::{BTreeMap, VecDeque};

use plenary_proto::Time;
use plenary_proto::identity::MediaKind;
use plenary_proto::time::SECOND;

use super::{HELD_US_MAX, Happening, World};
use crate::plan::MachinePlan;

/// Time to receive one media packet, microseconds: kernel, task switch, SRTP, body. Measured with the other costs: from
/// 200 to 300 viewers in one process, each with 95 packets a second, processor time grows by 3.3 to 4.8 ms a second for
/// each viewer, by the phase of the machine; with these costs by 4.5.
const RECEIVE_US: u64 = 20;
/// Time to send one media packet, microseconds (`plenary bench relay`: 6 to 8 µs, the receipt at the relay included).
const SEND_US: u64 = 8;
/// Time to receive or to send a message on a data channel, microseconds. A guess between the two above.
const MESSAGE_US: u64 = 15;
/// Time to open an envelope that came through the rendezvous, microseconds: key exchange, decryption, signature.
const ENVELOPE_US: u64 = 200;
/// Time of a body's tick, microseconds. A guess by its share in a profile of 200 viewers.
const TICK_US: u64 = 8;
/// Time to set one end of a link up, microseconds: ICE and DTLS. Measured: 4 ms for both ends.
const LINK_US: u64 = 2_000;
/// What other programs leave of a machine under stress, in thousandths: with twice as many busy threads as cores the
/// system gives each an equal share.
const LEFT_UNDER_STRESS_MILLI: u64 = 333;

/// An event that waits for the processor, and the time at which it came.
type Waiting = (Time, Happening);

/// One machine.
#[derive(Debug)]
struct Machine {
    cores: u8,
    /// End of the stress: other programs take two thirds of the machine before.
    stressed_until: Time,
    /// End of all work begun so far.
    free_at: Time,
    waiting: VecDeque<Waiting>,
    /// Processor time used so far, microseconds.
    used_us: u64,
}

/// All machines, by number.
#[derive(Debug, Default)]
pub(crate) struct Machines(BTreeMap<u32, Machine>);

impl Machines {
    /// Adds the machine of a peer, unless it is known.
    pub(super) fn add(&mut self, plan: MachinePlan) {
        self.0.entry(plan.number).or_insert(Machine {
            cores: plan.cores.max(1),
            stressed_until: Time(0),
            free_at: Time(0),
            waiting: VecDeque::new(),
            used_us: 0,
        });
    }
}

impl Machine {
    /// Uses processor time.
    fn spend(&mut self, now: Time, us: u64) {
        let whole_milli = u64::from(self.cores) * 1_000;
        self.used_us += us;
        self.free_at = self.free_at.max(now) + us * 1_000_000 / (whole_milli * self.left_milli(now));
    }

    /// Share of the processor time that other programs leave, in thousandths.
    fn left_milli(&self, now: Time) -> u64 {
        if now < self.stressed_until { LEFT_UNDER_STRESS_MILLI } else { 1_000 }
    }
}

impl World {
    /// The machine of a peer, if its processor time is limited.
    fn machine(&mut self, at: usize) -> Option<&mut Machine> {
        let plan = self.plan.peers.get(self.peers.get(at)?.planned)?.machine?;
        self.machines.0.get_mut(&plan.number)
    }

    /// Uses processor time of a peer's machine.
    fn spend(&mut self, at: usize, us: u64) {
        let now = self.now;
        if let Some(machine) = self.machine(at) {
            machine.spend(now, us);
        }
    }

    pub(super) fn spend_on_packet(&mut self, at: usize) {
        self.spend(at, SEND_US);
    }

    pub(super) fn spend_on_message(&mut self, at: usize) {
        self.spend(at, MESSAGE_US);
    }

    pub(super) fn spend_on_link(&mut self, at: usize) {
        self.spend(at, LINK_US);
    }

    /// Time that a peer needs for an event itself, microseconds; what it sends at the event comes on top.
    fn cost_us(&self, at: usize, happening: &Happening) -> u64 {
        let encode_us = || u64::from(self.plan.peers[self.peers[at].planned].encode_us);
        match happening {
            Happening::Lands(_) => RECEIVE_US,
            Happening::Heartbeat { .. }
            | Happening::Loose { .. }
            | Happening::Control { .. }
            | Happening::PictureWanted { .. } => MESSAGE_US,
            Happening::Signal { .. } => ENVELOPE_US,
            Happening::Tick(_) => TICK_US,
            // figures of `encode_us` are for 720p, pictures of half the width and height cost a quarter, and composing
            // or scaling as much again
            Happening::Compose(_, MediaKind::Video) | Happening::Capture(_, MediaKind::Video) => {
                encode_us() / 2
            }
            _ => 0,
        }
    }

    /// Processes an event at once if its peer's machine is free; otherwise the event waits.
    pub(super) fn work(&mut self, happening: Happening) {
        let now = self.now;
        let Some(at) = happening.whose() else { return self.happen(happening) };
        let cost_us = self.cost_us(at, &happening);
        let Some(number) = self.plan.peers[self.peers[at].planned].machine.map(|plan| plan.number) else {
            return self.happen(happening);
        };
        let Some(machine) = self.machines.0.get_mut(&number) else { return self.happen(happening) };
        if machine.free_at <= now && machine.waiting.is_empty() {
            machine.spend(now, cost_us);
            return self.happen(happening);
        }
        machine.waiting.push_back((now, happening));
        if machine.waiting.len() == 1 {
            let free_at = machine.free_at.max(now);
            self.push(free_at, Happening::Works(number));
        }
    }

    /// Processes the next event that waits for a machine.
    pub(super) fn works(&mut self, number: u32) {
        let now = self.now;
        let Some(machine) = self.machines.0.get_mut(&number) else { return };
        if machine.free_at > now {
            let free_at = machine.free_at;
            return self.push(free_at, Happening::Works(number));
        }
        // what has waited too long was lost in the socket's buffer
        let is_lost = |(came, happening): &Waiting| happening.is_datagram() && now.since(*came) > HELD_US_MAX;
        while machine.waiting.pop_front_if(|waiting| is_lost(waiting)).is_some() {}
        let next = machine.waiting.pop_front();
        if let Some(happening) = next.and_then(|(_, happening)| self.unless_stalled(happening)) {
            let cost = happening.whose().map(|at| (at, self.cost_us(at, &happening)));
            cost.into_iter().for_each(|(at, us)| self.spend(at, us));
            self.happen(happening);
        }
        if let Some(machine) = self.machines.0.get(&number)
            && !machine.waiting.is_empty()
        {
            let free_at = machine.free_at.max(now);
            self.push(free_at, Happening::Works(number));
        }
    }

    /// Wall time that a peer's machine needs at present to encode and to decode one 1280×720 picture, microseconds.
    pub(super) fn codec_times_us(&mut self, at: usize) -> (u32, u32) {
        let now = self.now;
        let plan = &self.plan.peers[self.peers[at].planned];
        let (encode_us, decode_us) = (plan.encode_us, plan.decode_us);
        let left_milli = self.machine(at).map_or(1_000, |machine| machine.left_milli(now));
        let longer = |us: u32| (u64::from(us) * 1_000 / left_milli) as u32;
        (longer(encode_us), longer(decode_us))
    }

    /// Lets other programs take most of a peer's machine for `us` microseconds. Without effect on peers with unlimited
    /// processor time.
    pub fn stress(&mut self, id: plenary_proto::PeerId, us: u64) {
        let (at, until) = (self.at(id), self.now + us);
        if let Some(machine) = self.machine(at) {
            machine.stressed_until = machine.stressed_until.max(until);
        }
    }

    /// Share of the busiest machine's processor time that was used so far; `None` without machines.
    pub fn busiest_machine(&self) -> Option<f64> {
        let elapsed_us = self.now.0.max(SECOND) as f64;
        let used = |machine: &Machine| machine.used_us as f64 / f64::from(machine.cores) / elapsed_us;
        self.machines.0.values().map(used).reduce(f64::max)
    }
}
