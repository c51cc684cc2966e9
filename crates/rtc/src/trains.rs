//! Packet trains of a link, by which the ends measure bandwidth: sends them, and takes those of the other end
//! before they count as media.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::message::PayloadTypes;
use rtc::rtp;
use tokio::sync::mpsc;

use crate::sync::lock;
use crate::train::{Gathering, TrainArrivals};
use crate::wire::{TURN_PACKETS_MAX, Wire};

/// The packet trains of a link.
pub(crate) struct Trains {
    wire: Arc<Wire>,
    payload_type: u8,
    next_sequence: u16,
    gathering: Gathering,
    measured: mpsc::Sender<(u32, TrainArrivals)>,
}

impl Trains {
    pub(crate) fn new(
        wire: Arc<Wire>,
        payload_types: PayloadTypes,
        epoch: Instant,
        measured: mpsc::Sender<(u32, TrainArrivals)>,
    ) -> Trains {
        Trains {
            wire,
            payload_type: payload_types.h264,
            next_sequence: 0,
            gathering: Gathering::new(epoch),
            measured,
        }
    }

    /// Hands a finished train to the link's task. When the other end sends trains faster than the task reads
    /// the results, further results are lost.
    fn tell(&self, measured: Option<(u32, TrainArrivals)>) {
        measured.into_iter().for_each(|measured| _ = self.measured.try_send(measured));
    }

    /// Hands the packets of the train being sent that are due to `send`, at most as many as one turn of the link's
    /// task takes.
    pub(crate) fn depart(&mut self, now: Instant, mut send: impl FnMut(rtp::Packet)) {
        for _ in 0..TURN_PACKETS_MAX {
            let Some(payload) = self.next_due(now) else { return };
            let header = rtp::header::Header {
                version: 2,
                payload_type: self.payload_type,
                sequence_number: self.next_sequence,
                ssrc: self.wire.local.train,
                ..Default::default()
            };
            self.next_sequence = self.next_sequence.wrapping_add(1);
            send(rtp::Packet { header, payload });
        }
        if self.departure().is_some_and(|due| due <= now) {
            self.wire.nudge();
        }
    }

    fn next_due(&self, now: Instant) -> Option<Bytes> {
        let mut departures = lock(&self.wire.departures);
        let payload = departures.as_mut().filter(|train| train.due() <= now)?.next(now)?;
        departures.take_if(|departures| departures.is_over());
        Some(payload)
    }

    /// Takes a packet of a train of the other end; `false` for any other packet.
    pub(crate) fn receive(&mut self, now: Instant, packet: &rtp::Packet) -> bool {
        let is_train = self.wire.remote.get().is_some_and(|remote| remote.train == packet.header.ssrc);
        if is_train {
            let measured = self.gathering.arrived(now, &packet.payload);
            self.tell(measured);
        }
        is_train
    }

    /// Ends the trains that are overdue.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let measured = self.gathering.overdue(now);
        self.tell(measured);
    }

    /// Time of the next departure, or of [`Trains::handle_timeout`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.departure().into_iter().chain(self.gathering.deadline()).min()
    }

    fn departure(&self) -> Option<Instant> {
        lock(&self.wire.departures).as_ref().map(|departures| departures.due())
    }
}
