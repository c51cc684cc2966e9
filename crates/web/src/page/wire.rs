//! A page's links and rendezvous: outputs that are sent on them, and the shell of the correspondence.

use std::time::Duration;

use bytes::Bytes;
use plenary_body::{Body, Correspondence, In, MaySay, Out, Outs, Shell, Told};
use plenary_proto::PeerId;
use plenary_proto::app::{End, Event};
use plenary_proto::link_layout::{Channel, is_video};
use plenary_proto::message::{IceRestart, Pieces, loose_to_bytes};
use plenary_proto::packet::LinkId;
use plenary_proto::rendezvous::{Address, Ended, Happening, Refusal, Step};
use plenary_proto::sdp::describe;

use super::Joined;
use crate::link::{PageLink, TooMuch};
use crate::network::Act;
use crate::restart::Then;
use crate::wire::Ask;

impl Joined {
    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn send_out(&mut self, now_us: u64, out: Out) {
        match out {
            Out::Control { link, message } => {
                for piece in Pieces::of(&message.to_bytes()) {
                    self.send_on(link, Channel::Control, Bytes::from(piece));
                }
            }
            Out::Loose { link, message } => {
                self.send_on(link, Channel::Heartbeat, Bytes::from(loose_to_bytes(&message)));
            }
            Out::Heartbeat { link, heartbeat } => {
                self.send_on(link, Channel::Heartbeat, Bytes::from(heartbeat.to_bytes()));
            }
            Out::KeyframeWanted { link, slot } => self.asks.push(Ask::KeyframeWanted { link: link.0, slot }),
            // a page can't pace packets of its own
            Out::Train { link, train, .. } => self.input(now_us, In::TrainRefused { link, train }),
            Out::Offer { link, .. } => {
                self.links.open(link, None);
                self.asks.push(Ask::Offer(link.0));
            }
            Out::Answer { link, offer, .. } => {
                self.links.open(link, Some(offer));
                self.ask_with_remote_sdp(link, |link, sdp| Ask::Answer { link, sdp });
            }
            Out::Accept { link, answer } => {
                if let Some(known) = self.links.get_mut(link) {
                    known.answered(answer);
                    self.ask_with_remote_sdp(link, |link, sdp| Ask::Accept { link, sdp });
                }
            }
            Out::Paths { link, ufrag, candidates } => {
                let lines = self.links.get_mut(link).map(|known| known.further(&ufrag, &candidates));
                if let Some(candidates) = lines.filter(|lines| !lines.is_empty()) {
                    self.asks.push(Ask::Paths { link: link.0, candidates });
                }
            }
            Out::IceRestart { link, restart } => self.restart_told(now_us, link, restart),
            // the sockets are the browser's, so a page neither carries nor is carried
            Out::Tunnel(_) => {}
            Out::Close { link } => self.close(link),
            Out::Pause { link, pause_us } => {
                if let Some(known) = self.links.get_mut(link) {
                    known.pause(now_us + pause_us);
                }
            }
            Out::Frame { link, slot, .. } if is_video(slot) && !self.takes_pictures(link) => {}
            Out::Frame { link, slot, at_us, frame } => {
                self.asks.push(Ask::Frame { link: link.0, slot, at_us, data: frame.data });
            }
            // what a page sends leaves it in whole frames, with reports by its browser
            Out::Forward { .. } | Out::SenderReport { .. } => {}
        }
    }

    fn takes_pictures(&mut self, link: LinkId) -> bool {
        self.links.get_mut(link).is_none_or(|known| known.takes_pictures())
    }

    fn send_on(&mut self, link: LinkId, channel: Channel, bytes: Bytes) {
        self.asks.push(Ask::Send { link: link.0, channel: channel.id(), bytes });
    }

    /// Hands the other end's SDP to the browser; without a usable one the link ends.
    fn ask_with_remote_sdp(&mut self, link: LinkId, ask: impl FnOnce(u64, String) -> Ask) {
        match self.links.get_mut(link).and_then(|known| known.remote_sdp()) {
            Some(Ok(sdp)) => self.asks.push(ask(link.0, sdp)),
            _ => self.close(link),
        }
    }

    pub(super) fn close(&mut self, link: LinkId) {
        if self.links.close(link) {
            self.asks.push(Ask::Close(link.0));
            self.disconnected(link);
        }
    }

    pub(super) fn described(&mut self, now_us: u64, link: LinkId, sdp: &str) {
        let Some(known) = self.links.get_mut(link) else { return };
        match describe(sdp) {
            Ok(own) if known.is_described() => {
                let part = known.restart_described(Duration::from_micros(now_us), own);
                self.tell_restart(now_us, link, part);
                self.tell_elsewhere(now_us, link);
            }
            Ok(own) => {
                if own.has_no_h264() {
                    self.body.hear_only();
                }
                let description = known.describe_own(own);
                self.input(now_us, In::Described { link, description });
            }
            Err(_) => self.close(link),
        }
    }

    /// The browser has found further candidates of this end.
    pub(super) fn found(&mut self, now_us: u64, link: LinkId, lines: &[String]) {
        let found = self.links.get_mut(link).map(|known| known.found(lines));
        if let Some(candidates) = found.filter(|found| !found.is_empty()) {
            self.input(now_us, In::PathsFound { link, candidates });
        }
        self.tell_elsewhere(now_us, link);
    }

    /// The browser tells that this machine's network has changed.
    pub(super) fn network_changed(&mut self, now_us: u64) {
        self.move_links(now_us);
        self.tell_network_changed(now_us);
    }

    fn tell_network_changed(&mut self, now_us: u64) {
        if self.network.is_told(now_us) {
            self.emit(Event::NetworkChanged);
        }
    }

    /// Tells the application if a link's candidates show that this machine has other addresses.
    fn tell_elsewhere(&mut self, now_us: u64, link: LinkId) {
        if self.links.get_mut(link).is_some_and(PageLink::is_elsewhere) {
            self.tell_network_changed(now_us);
        }
    }

    /// Notices that nothing comes on any link, and gives up links on which nothing has come for long.
    pub(super) fn watch_network(&mut self, now_us: u64) {
        if self.network.is_late(now_us) {
            self.links.forgive(now_us);
        }
        match self.network.judge(now_us, self.links.heard_us(), self.links.rtt_us()) {
            Act::Nothing => {}
            Act::Ping => self.step(now_us, |body, outs| body.ping_all(now_us, outs)),
            Act::Move => self.move_links(now_us),
            Act::MoveAgain => self.links.up().into_iter().for_each(|link| self.restart(now_us, link)),
        }
        for link in self.links.silent(now_us) {
            self.close(link);
        }
    }

    /// The links look for another path, and the rendezvous is dialled anew.
    fn move_links(&mut self, now_us: u64) {
        if self.network.dials(now_us) {
            for step in self.rendezvous.renew(now_us) {
                self.take_step(step);
            }
        }
        self.links.up().into_iter().for_each(|link| self.restart(now_us, link));
    }

    /// Restarts ICE on a link that is made. A restart under way that has found an address of this end goes on: the
    /// browser adds others as it learns of them.
    fn restart(&mut self, now_us: u64, link: LinkId) {
        if self.links.get_mut(link).is_some_and(|known| known.restart(now_us)) {
            self.asks.push(Ask::Restart { link: link.0, offer: None });
        }
    }

    fn restart_told(&mut self, now_us: u64, link: LinkId, told: Box<IceRestart>) {
        let Some(known) = self.links.get_mut(link) else { return };
        match known.restart_told(Duration::from_micros(now_us), told) {
            Ok(Then::Nothing) => {}
            Ok(Then::Describe(offer)) => {
                self.asks.push(Ask::Restart { link: link.0, offer: Some(offer) });
            }
            Ok(Then::Accept(sdp)) => self.asks.push(Ask::Accept { link: link.0, sdp }),
            Ok(Then::Tell(part)) => self.tell_restart(now_us, link, Some(part)),
            // the link keeps its present path
            Err(_) => {}
        }
    }

    fn tell_restart(&mut self, now_us: u64, link: LinkId, part: Option<Box<IceRestart>>) {
        if let Some(restart) = part {
            self.input(now_us, In::IceRestart { link, restart });
        }
    }

    /// Sends the requests for restarts that are due.
    pub(super) fn ask_for_restarts(&mut self, now_us: u64) {
        for link in self.links.all() {
            let part =
                self.links.get_mut(link).and_then(|known| known.restart_due(Duration::from_micros(now_us)));
            self.tell_restart(now_us, link, part);
        }
    }

    /// Sends the proof that this peer is at its end of a link, once both descriptions are known.
    pub(super) fn prove(&mut self, link: LinkId) {
        if let Some(fingerprints) = self.links.get_mut(link).and_then(|known| known.fingerprints()) {
            self.connected(link, fingerprints);
        }
    }

    /// Bytes have come on a channel of a link; those of a paused link wait.
    pub(super) fn arrived(&mut self, now_us: u64, link: LinkId, channel: u8, bytes: Vec<u8>) {
        let Some(channel) = Channel::of_id(channel) else { return };
        // the other end's proof may come before the browser says that the link is up
        self.prove(link);
        self.links.heard(now_us, link);
        let Some(known) = self.links.get_mut(link) else { return };
        match known.hold(now_us, channel, bytes) {
            Ok(Some(bytes)) => self.received(link, channel, &bytes),
            Ok(None) => {}
            Err(TooMuch) => self.close(link),
        }
    }

    // ── the rendezvous ───────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn socket(&mut self, now_us: u64, happening: Happening<'_>) {
        for step in self.rendezvous.handle(now_us, happening) {
            self.take_step(step);
        }
    }

    pub(super) fn take_step(&mut self, step: Step) {
        match step {
            Step::Dial => self.asks.push(Ask::Dial(self.url.clone())),
            Step::HangUp => self.asks.push(Ask::HangUp),
            Step::Clock { unix_s } => self.told_time(unix_s),
            Step::Turn(access) => {
                let urls = access.urls(host_of(&self.url)).to_vec();
                let (username, password) = (access.username.to_string(), access.password.to_string());
                self.asks.push(Ask::Turn { urls, username, password });
            }
            Step::Opens => self.signal_opens(),
            Step::Up => {
                self.signal_changed(Ok(()));
                self.links.ask_again(Duration::from_micros(self.called_us));
            }
            Step::Down { why, .. } => {
                self.signal_changed(Err(why));
            }
            Step::Envelope { from, bytes } => self.delivered(from, &bytes),
            Step::Undeliverable(to) => self.undelivered(to),
            Step::Carries | Step::Tunnel { .. } => {}
            Step::Ended(ended) => {
                let reason = ended.reason();
                match self.correspondence.is_in() {
                    true if ended == Ended::Refused(Refusal::Replaced) => self.end(Some(End::Replaced)),
                    true => self.emit(Event::Rendezvous { up: false, reason: Some(reason), why: None }),
                    false => self.emit(Event::Refused(reason.into())),
                }
                self.signal_ended();
            }
        }
    }
}

/// Returns the host of a websocket's URL; an IPv6 address stands in brackets.
fn host_of(url: &str) -> &str {
    let authority = url.split("://").nth(1).unwrap_or(url);
    let authority = authority.split('/').next().unwrap_or(authority);
    match authority.rsplit_once(':') {
        Some((host, _)) if !authority.ends_with(']') => host,
        _ => authority,
    }
}

impl Shell for Joined {
    fn with_body<T: Default>(&mut self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        let now_us = self.called_us;
        self.step(now_us, |body, outs| act(body, now_us, outs))
    }

    fn correspond<T: Default>(&mut self, act: impl FnOnce(&mut Correspondence, u64, MaySay<'_>) -> T) -> T {
        let Joined { correspondence, body, called_us, .. } = self;
        act(correspondence, *called_us, &|from, via, message| body.brain().may_say(from, via, message))
    }

    fn peer_of(&self, link: LinkId) -> Option<PeerId> {
        self.body.link_of(link).map(|(peer, _)| peer)
    }

    fn send(&mut self, out: Out) {
        self.send_out(self.called_us, out);
    }

    fn post(&mut self, to: Address, envelope: Vec<u8>) {
        // what finds no place among 256 others is repeated by its sender
        let _ = self.rendezvous.send(self.called_us, to, Bytes::from(envelope));
    }

    fn tell(&mut self, told: Told) {
        self.told(told);
    }
}
