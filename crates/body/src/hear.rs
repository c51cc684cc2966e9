//! The data channels of a link: pieces are joined to messages, heartbeats are answered, and a link that is over its
//! budget is paused or ended.

use plenary_proto::link_layout::Channel;
use plenary_proto::message::{Heartbeat, LinkKind, Message, loose_from_bytes};
use plenary_proto::packet::LinkId;
use plenary_proto::{Input, PeerId};

use crate::body::{Body, head};
use crate::budget::Charged;
use crate::outs::{Out, Outs};

/// A message that came on a link, undecoded: [`Letters::read`](crate::Letters::read) decodes and verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The peer at the other end of the link.
    pub from: PeerId,
    /// The message.
    pub message: Vec<u8>,
}

impl Body {
    /// Handles bytes on a channel of a link with a proven other end. Returns a message that they complete.
    pub fn received(
        &mut self,
        now_us: u64,
        link: LinkId,
        channel: Channel,
        bytes: &[u8],
        outs: &mut Outs,
    ) -> Option<Heard> {
        let (from, kind) = self.media.links.of(link)?;
        if channel != Channel::Bulk {
            self.media.arrived(from, now_us);
        }
        match channel {
            Channel::Control => self.piece(now_us, (link, from), bytes, outs),
            Channel::Heartbeat if kind == LinkKind::Peer => self.beat(now_us, (link, from), bytes, outs),
            // links between mixers have no heartbeats, and nobody has a use for bulk data yet
            Channel::Heartbeat | Channel::Bulk => {
                self.input(now_us, Input::Misbehaved(from), outs);
                None
            }
        }
    }

    fn piece(
        &mut self,
        now_us: u64,
        (link, from): (LinkId, PeerId),
        bytes: &[u8],
        outs: &mut Outs,
    ) -> Option<Heard> {
        match self.media.links.reassembly(link)?.push(bytes) {
            // the bytes are charged with the last piece
            Ok(None) => {
                self.charge(now_us, link, &[], outs);
                None
            }
            Ok(Some(message)) => {
                self.charge(now_us, link, &message, outs);
                Some(Heard { from, message })
            }
            Err(_) => {
                self.input(now_us, Input::Misbehaved(from), outs);
                None
            }
        }
    }

    /// Handles a message that may be lost, or a heartbeat; one beyond the budget is dropped.
    fn beat(
        &mut self,
        now_us: u64,
        (link, from): (LinkId, PeerId),
        bytes: &[u8],
        outs: &mut Outs,
    ) -> Option<Heard> {
        if let Some(message) = loose_from_bytes(bytes) {
            self.charge(now_us, link, message, outs);
            return Some(Heard { from, message: message.to_vec() });
        }
        let now = self.time(now_us);
        match self.media.links.budget(link)?.beat(now, bytes.len()) {
            Some(charged) => self.hold(now_us, link, charged, outs),
            None => match Heartbeat::from_bytes(bytes) {
                Some(heartbeat) => self.heartbeat(now_us, (link, from), heartbeat, outs),
                None => self.input(now_us, Input::Misbehaved(from), outs),
            },
        }
        None
    }

    /// Charges a message to the budgets of its link.
    fn charge(&mut self, now_us: u64, link: LinkId, message: &[u8], outs: &mut Outs) {
        let Some((peer, _)) = self.media.links.of(link) else { return };
        let (is_on_stage, now) = (self.stage().iter().any(|entry| entry.peer == peer), self.time(now_us));
        let Some(budget) = self.media.links.budget(link) else { return };
        let charged = budget.message(now, Message::budget_of(message), message.len(), is_on_stage);
        self.hold(now_us, link, charged, outs);
    }

    /// Pauses or ends a link that is over its budget.
    fn hold(&mut self, now_us: u64, link: LinkId, charged: Charged, outs: &mut Outs) {
        match charged {
            Charged::Within => {}
            Charged::Pause(pause_us) => outs.sends.push(Out::Pause { link, pause_us }),
            Charged::Over => {
                if let Some((peer, _)) = self.media.links.of(link) {
                    self.input(now_us, Input::LinkAbused(peer), outs);
                }
            }
        }
    }

    fn heartbeat(
        &mut self,
        now_us: u64,
        (link, peer): (LinkId, PeerId),
        heartbeat: Heartbeat,
        outs: &mut Outs,
    ) {
        match heartbeat {
            Heartbeat::Head(head) => {
                self.media.backup_head(&peer, &head, now_us);
                self.media.feeders_head(&peer, &head, now_us, outs);
                self.report_verdicts(now_us, outs); // a backup that is ahead need not wait for the next tick
            }
            Heartbeat::HeadWanted => outs.heartbeat(link, Heartbeat::Head(head(&self.brain, &self.media))),
            Heartbeat::Ping { sent_us } => {
                outs.heartbeat(link, Heartbeat::Pong { sent_us, received_us: now_us, replied_us: now_us });
            }
            Heartbeat::Pong { sent_us, received_us, replied_us } => {
                let times = [sent_us, received_us, replied_us];
                let media = &mut self.media;
                let sample = self.heartbeats.pong(peer, times, now_us, |at_us| media.time(at_us));
                if let Some((offset_us, rtt_us)) = sample {
                    media.mix.set_clock(&peer, offset_us, rtt_us, &mut outs.mix);
                    media.inflow.apart.set_clock(peer, offset_us);
                }
            }
        }
    }
}
