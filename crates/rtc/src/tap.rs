//! The packet train tap: an interceptor nearest the wire that sends and receives packet trains, invisible to
//! the interceptors above it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use plenary_proto::message::PayloadTypes;
use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtp;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use crate::legs::tagged;
use crate::sync::lock;
use crate::train::{Gathering, TrainArrivals};
use crate::wire::{TURN_PACKETS_MAX, Wire};

/// The interceptor nearest the wire.
pub(crate) struct TrainTap {
    wire: Arc<Wire>,
    payload_type: u8,
    next_sequence: u16,
    /// Number of packets of the train that may still leave in this turn of the link's task.
    left_in_turn: usize,
    gathering: Gathering,
    measured: mpsc::Sender<(u32, TrainArrivals)>,
    reading: VecDeque<TaggedPacket>,
    writing: VecDeque<TaggedPacket>,
}

impl TrainTap {
    pub(crate) fn new(
        wire: Arc<Wire>,
        payload_types: PayloadTypes,
        epoch: Instant,
        measured: mpsc::Sender<(u32, TrainArrivals)>,
    ) -> TrainTap {
        TrainTap {
            wire,
            payload_type: payload_types.h264,
            next_sequence: 0,
            left_in_turn: 0,
            gathering: Gathering::new(epoch),
            measured,
            reading: VecDeque::new(),
            writing: VecDeque::new(),
        }
    }

    /// Hands a finished train to the link's task. When the other end sends trains faster than the task reads
    /// the results, further results are lost.
    fn tell(&self, measured: Option<(u32, TrainArrivals)>) {
        measured.into_iter().for_each(|measured| _ = self.measured.try_send(measured));
    }

    /// The next packet of the train being sent, if it is due and may leave in this turn.
    fn depart(&mut self) -> Option<TaggedPacket> {
        if self.wire.take_train_grant() {
            self.left_in_turn = TURN_PACKETS_MAX;
        }
        let now = Instant::now();
        let mut departures = lock(&self.wire.departures);
        let train = departures.as_mut().filter(|train| train.due() <= now)?;
        let Some(left) = self.left_in_turn.checked_sub(1) else {
            drop(departures);
            self.wire.nudge();
            return None;
        };
        let payload = train.next(now)?;
        departures.take_if(|departures| departures.is_over());
        drop(departures);
        self.left_in_turn = left;
        let header = rtp::header::Header {
            version: 2,
            payload_type: self.payload_type,
            sequence_number: self.next_sequence,
            ssrc: self.wire.local.train,
            ..Default::default()
        };
        self.next_sequence = self.next_sequence.wrapping_add(1);
        Some(tagged(now, Packet::Rtp(rtp::Packet { header, payload })))
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for TrainTap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        match &packet.message.packet {
            Packet::Rtp(rtp)
                if self.wire.remote.get().is_some_and(|remote| remote.train == rtp.header.ssrc) =>
            {
                let measured = self.gathering.arrived(packet.now, &rtp.payload);
                self.tell(measured);
            }
            _ => self.reading.push_back(packet),
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reading.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.writing.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writing.pop_front().or_else(|| self.depart())
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.left_in_turn = TURN_PACKETS_MAX;
        let measured = self.gathering.overdue(now);
        self.tell(measured);
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let departure = lock(&self.wire.departures).as_ref().map(|departures| departures.due());
        departure.into_iter().chain(self.gathering.deadline()).min()
    }
}

impl Interceptor for TrainTap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
