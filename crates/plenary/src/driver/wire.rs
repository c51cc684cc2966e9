//! Events of links and rendezvous, and the shell of the correspondence.

use bytes::Bytes;
use plenary_body::{Body, Correspondence, In, MaySay, Out, Outs, Shell, Told};
use plenary_proto::PeerId;
use plenary_proto::app::{End, Event};
use plenary_proto::message::LinkKind;
use plenary_rtc::{DownReason, Event as LinkEvent, LinkId};
use plenary_signal::{Address, Refusal, SignalError, SignalEvent};

use super::Driver;
use crate::tunnels;

impl Driver {
    pub(super) fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Described { link, description } => self.input(In::Described { link, description }),
            LinkEvent::PathsFound { link, candidates } => self.input(In::PathsFound { link, candidates }),
            LinkEvent::PathWanted { link } => self.input(In::PathWanted(link)),
            LinkEvent::Carried { link, is_carried } => self.input(In::LinkCarried(link, is_carried)),
            LinkEvent::IceRestart { link, restart } => self.input(In::IceRestart { link, restart }),
            LinkEvent::Connected { link, fingerprints } => self.connected(link, fingerprints),
            LinkEvent::Received { link, channel, bytes } => self.received(link, channel, &bytes),
            LinkEvent::Measured { link, train, arrivals } => {
                let bandwidth_bps = arrivals.bandwidth_bps();
                let address = self.links.stats(link).and_then(|stats| stats.remote);
                self.input(In::Measured { link, train, bandwidth_bps, address });
            }
            LinkEvent::TrainRefused { link, train } => self.input(In::TrainRefused { link, train }),
            LinkEvent::Dropped { link, slot, packets } => {
                let of = self.flow.read(|body| body.link_of(link));
                tracing::debug!(?of, slot, packets, "a link is behind: packets were dropped");
            }
            LinkEvent::Down { link, reason } => {
                let of = self.flow.read(|body| body.link_of(link));
                tracing::debug!(?of, "link down: {reason}");
                if of.is_some()
                    && matches!(reason, DownReason::NoPort | DownReason::NoSocket(_) | DownReason::TooMany)
                {
                    self.emit(Event::LinkTrouble { text: reason.to_string() });
                }
                self.disconnected(link);
                let is_abused = matches!(reason, DownReason::Hostile(_) | DownReason::Panicked);
                if let Some((peer, _)) = of.filter(|_| is_abused) {
                    self.input(In::LinkAbused(peer));
                }
            }
            LinkEvent::BulkDrained { .. } => {}
        }
    }

    pub(super) fn signal_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Clock { unix_s } => self.told_time(unix_s),
            SignalEvent::Turn(access) => self.turn.told(&access, &self.links),
            SignalEvent::Opens => self.signal_opens(),
            SignalEvent::Up => {
                self.stun.look_up(&self.links);
                self.turn.up(&self.links);
                self.signal_changed(Ok(()));
                self.links.ask_again();
            }
            SignalEvent::Carries => self.input(In::RendezvousCarries(true)),
            SignalEvent::Tunnel { from, batch } => {
                let link = self.flow.read(|body| body.link_with(&from, LinkKind::Peer));
                link.iter().for_each(|link| tunnels::arrived(&self.links, *link, from, &batch));
            }
            SignalEvent::Down { why, .. } => {
                self.input(In::RendezvousCarries(false));
                tracing::debug!("the rendezvous: {why}; trying again");
                self.signal_changed(Err(why));
            }
            SignalEvent::Envelope { from, bytes } => self.delivered(from, &bytes),
            SignalEvent::Undeliverable { to } => self.undelivered(to),
            SignalEvent::Ended(SignalError::Refused(Refusal::Replaced)) if self.joined.is_none() => {
                // no good-bye: the later session goes on under the same identity
                (self.left, self.end) = (true, End::Replaced);
            }
            SignalEvent::Ended(error) => {
                // a peer that waits to join gets the error as its answer
                if self.joined.is_none() {
                    let why = Some(error.to_string());
                    self.emit(Event::Rendezvous { up: false, reason: error.reason(), why });
                }
                self.signal_ended();
                self.answer_join(Err(error.into()));
            }
        }
    }
}

impl Shell for Driver {
    fn with_body<T: Default>(&mut self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        self.step(act)
    }

    fn correspond<T: Default>(&mut self, act: impl FnOnce(&mut Correspondence, u64, MaySay<'_>) -> T) -> T {
        let Driver { correspondence, clock, flow, .. } = self;
        // verification takes its time outside the lock
        act(correspondence, clock.now_us(), &|from, via, message| flow.may_say(from, via, message))
    }

    fn peer_of(&self, link: LinkId) -> Option<PeerId> {
        self.flow.read(|body| body.link_of(link)).map(|(peer, _)| peer)
    }

    fn send(&mut self, out: Out) {
        self.flow.send(out);
    }

    fn post(&mut self, to: Address, envelope: Vec<u8>) {
        let Some(signal) = &self.signal else { return };
        if let Err(error) = signal.send(to, Bytes::from(envelope)) {
            tracing::debug!("an envelope was not taken: {error}");
        }
    }

    fn tell(&mut self, told: Told) {
        self.told(told);
    }
}
