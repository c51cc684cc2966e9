//! Carrying out what the brain wants done, and telling it what came of it.

use bytes::Bytes;
use plenary_proto::bounded::List;
use plenary_proto::message::{Heartbeat, LinkKind, Message, Relay, Resume, loose_from_bytes, loose_to_bytes};
use plenary_proto::{Address, Event, Input, Mode, Output, PeerId, Via};
use plenary_rtc::{Channel, Command, DownReason, Event as LinkEvent, LinkId};
use plenary_signal::{Address as SignalAddress, SignalEvent};

use super::letters::Letter;
use super::{Driver, settles};
use crate::event::RoomEvent;

impl Driver {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Control(to, message) => self.control(&to, &message),
            Output::Loose(to, message) => {
                if let Some(link) = self.peers.link(&to, LinkKind::Peer) {
                    let bytes = Bytes::from(loose_to_bytes(&message));
                    self.submit(Command::Send { link, channel: Channel::Heartbeat, bytes });
                }
            }
            Output::Signal(to, message) => self.send_letter(to, &message),
            Output::Relay { next, to, route, message } => {
                let now_us = self.clock.now_us();
                let sealed = self
                    .letters
                    .seal(Some(to), &message, now_us)
                    .map(|sealed| List::try_from(sealed.to_vec()));
                if let Some(Ok(sealed)) = sealed {
                    self.control(
                        &next,
                        &Message::Relay(Relay { from: self.me, to, route, passed: 0, sealed }),
                    );
                }
            }
            Output::Offer(peer, kind) => {
                let link = self.open(peer, kind);
                self.submit(Command::Offer { link, kind });
            }
            Output::Answer(peer, offer) => {
                let link = self.open(peer, offer.kind);
                self.submit(Command::Answer { link, kind: offer.kind, offer: offer.description });
            }
            Output::Accept(peer, answer) => {
                if let Some(link) = self.peers.link(&peer, answer.kind) {
                    self.submit(Command::Accept { link, answer: answer.description });
                }
            }
            Output::Close(peer, kind) => {
                if let Some(link) = self.peers.forget(&peer, kind) {
                    self.flow.link_down(link);
                    self.submit(Command::Close { link });
                }
            }
            Output::Watch { parent, backup } => self.flow.watch(parent, backup),
            Output::WatchMixers(mixers) => {
                let now = self.now();
                self.flow.state().watches.watch_mixers(&mixers, now);
            }
            Output::Serve { peer, from, sound } => {
                self.heartbeats.unpromise(&peer);
                self.flow.serve(peer, from, sound);
            }
            Output::ServeHeads(peer) => {
                let now = self.now();
                self.flow.state().watches.watch_child(peer, now);
                self.heartbeats.promise(peer);
            }
            Output::Suspect(peer) => {
                let (now, rtt_us) = (self.now(), self.heartbeats.rtt_us(&peer).unwrap_or(0));
                self.flow.state().watches.suspect(&peer, now, rtt_us);
                self.heartbeats.ask_head(&self.flow, &peer);
            }
            Output::Unserve(peer) => {
                self.count_traffic(); // what was sent until now was for a child
                self.heartbeats.unpromise(&peer);
                self.flow.unserve(&peer);
            }
            Output::Follow { peer, stream, id } => self.flow.follow(peer, stream, id),
            Output::Mandate(in_force) => self.flow.set_in_force(in_force),
            Output::SendOwn(to) => self.send_own(to),
            Output::EncodeAs(video) => {
                self.requested_video = Some(video);
                if let Some(publisher) = &self.publisher {
                    publisher.set_video(video);
                }
            }
            Output::CallHome { speaker, rank } => self.call_home(speaker, rank),
            Output::TellRoundTrips => self.round_trips_wanted = true,
            Output::AnswerHeard { to, mixer } => {
                let silent_us = self.silent_us(&mixer);
                self.control(&to, &Message::Heard { mixer, silent_us });
            }
            Output::RequestFeed(peer) => self.flow.request_feed(peer),
            Output::Role(role) => {
                self.desk.set_role(role);
                self.call_home_again();
            }
            Output::Forward(to) => self.flow.state().inflow.set_forwarding_to(&to),
            Output::Solos(solos) => self.flow.state().inflow.set_solos(&solos),
            Output::Homes(speakers) => self.desk.set_homes(speakers),
            Output::Speakers(speakers) => {
                self.flow.state().inflow.set_speakers(speakers.iter().map(|(peer, _)| *peer).collect());
                self.renew_tiles(&speakers);
                self.call_home_again();
            }
            Output::Train { peer, train, bytes, rate_bps } => {
                if let Some(link) = self.peers.link(&peer, LinkKind::Peer) {
                    self.submit(Command::Train { link, train, bytes, rate_bps });
                }
            }
            Output::Event(event) => self.event(event),
        }
    }

    fn open(&mut self, peer: PeerId, kind: LinkKind) -> LinkId {
        if let Some(old) = self.peers.forget(&peer, kind) {
            self.flow.link_down(old);
            self.submit(Command::Close { link: old });
        }
        let link = self.peers.open(peer, kind);
        self.flow.link_opened(peer, kind, link);
        link
    }

    fn send_letter(&mut self, to: Address, message: &Message) {
        let now_us = self.clock.now_us();
        let (recipient, address) = match to {
            Address::Host => (None, SignalAddress::Host),
            Address::Peer(peer) => (Some(peer), SignalAddress::Peer(peer)),
        };
        let Some(signal) = self.signal.clone() else { return };
        if let Some(sealed) = self.letters.seal(recipient, message, now_us)
            && let Err(error) = signal.send(address, sealed)
        {
            tracing::debug!("an envelope was not taken: {error}");
        }
    }

    pub(super) fn send_own(&mut self, to: Vec<(PeerId, Option<Resume>)>) {
        self.peers.sending_to = to.iter().map(|(peer, _)| (*peer, None)).collect();
        if let Some(publisher) = &self.publisher {
            publisher.pause(to.is_empty());
            self.flow.send_own(to);
        }
    }

    /// Asks a speaker for its stream, at the size of its tile, from where we hold it.
    fn call_home(&mut self, speaker: PeerId, rank: plenary_proto::Rank) {
        let video = self.desk.request_of(&speaker);
        self.peers.called.insert(speaker, (rank, video));
        if speaker == self.me {
            self.requested_video = Some(video);
            if let Some(publisher) = &self.publisher {
                publisher.set_video(video);
            }
            return;
        }
        let resume = self.flow.state().inflow.have(&speaker);
        self.control(&speaker, &Message::Home { rank, video, resume });
    }

    /// Tiles have another size: every speaker that is home is asked anew.
    pub(super) fn call_home_again(&mut self) {
        if !self.desk.is_mixing() {
            self.peers.called.clear();
            return;
        }
        let stale: Vec<_> = self
            .peers
            .called
            .iter()
            .filter(|(speaker, (_, asked))| self.desk.request_of(speaker) != *asked)
            .map(|(speaker, (rank, _))| (*speaker, *rank))
            .collect();
        for (speaker, rank) in stale {
            self.call_home(speaker, rank);
        }
    }

    fn event(&mut self, event: Event) {
        match settles(&event) {
            Some(Ok(())) => {
                self.admitted = true;
                self.renew_snapshot(); // whoever has joined sees the stage at once
                self.answer_once_in();
            }
            Some(refused) => self.answer_join(refused),
            None => {}
        }
        match &event {
            Event::Mode(mode) => {
                self.flow.set_mesh(*mode == Mode::Mesh);
                (self.mode, self.mode_since_us) = (*mode, self.clock.now_us());
                self.leave_silence_out();
            }
            Event::Floor(speaks) => self.flow.set_floor(*speaks, self.brain.snapshot().views),
            Event::Roster { .. } => {
                let speakers = self.brain.roster().map(|roster| {
                    let speaking = roster.entries.iter().filter(|entry| entry.speaks && !entry.away);
                    let mut speaking: Vec<_> = speaking.map(|entry| (entry.peer, entry.index)).collect();
                    speaking.sort_by_key(|(_, index)| *index);
                    speaking
                });
                self.renew_tiles(&speakers.unwrap_or_default());
                self.call_home_again();
            }
            Event::Decided { .. } | Event::Failover { .. } => {
                if let Some(own) = &mut self.flow.state().own {
                    own.reset_targets_most();
                }
            }
            Event::Parent(Some(_)) => self.parents_had += 1,
            Event::Left => self.left = true,
            _ => {}
        }
        log(&event);
        if let Some(event) = public(event) {
            self.emit(event);
            self.renew_snapshot();
        }
    }

    // ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Described { link, description } => {
                if let Some((peer, kind)) = self.peers.of(link) {
                    self.input(Input::Described { peer, kind, description });
                }
            }
            LinkEvent::Connected { link } => {
                if let Some((peer, kind)) = self.peers.of(link) {
                    self.peers.set_up(link);
                    self.flow.link_up(peer, kind, link);
                    self.desk.link_up(&peer);
                    self.input(Input::LinkUp(peer, kind));
                }
            }
            LinkEvent::Received { link, channel, bytes } => self.received(link, channel, &bytes),
            LinkEvent::Measured { link, train, arrivals } => {
                if let Some((peer, _)) = self.peers.of(link) {
                    let rtt_us = self.heartbeats.rtt_us(&peer).unwrap_or(0).min(u64::from(u32::MAX)) as u32;
                    let bandwidth_bps = arrivals.bandwidth_bps();
                    let address = self.links.stats(link).and_then(|stats| stats.remote);
                    let paused_ppm = self.heartbeats.paused_ppm(&peer);
                    self.input(Input::Measured { peer, train, bandwidth_bps, rtt_us, paused_ppm, address });
                }
            }
            LinkEvent::TrainRefused { link, train } => {
                if let Some((peer, LinkKind::Peer)) = self.peers.of(link) {
                    self.control(&peer, &Message::ProbeBusy { train });
                }
            }
            LinkEvent::Dropped { link, slot, packets } => {
                let of = self.peers.of(link);
                tracing::debug!(?of, slot, packets, "a link is behind: packets were dropped");
            }
            LinkEvent::Down { link, reason } => self.link_down(link, &reason),
            LinkEvent::BulkDrained { .. } => {}
        }
    }

    fn link_down(&mut self, link: LinkId, reason: &DownReason) {
        self.flow.link_down(link);
        self.settle_traffic(link);
        let Some((peer, kind)) = self.peers.down(link) else { return };
        tracing::debug!(?peer, ?kind, "link down: {reason}");
        if matches!(reason, DownReason::NoPort | DownReason::TooMany) {
            self.emit(RoomEvent::LinkTrouble(reason.to_string()));
        }
        if kind == LinkKind::Peer {
            self.heartbeats.forget(&peer);
        }
        self.input(Input::LinkDown(peer, kind));
    }

    fn received(&mut self, link: LinkId, channel: Channel, bytes: &Bytes) {
        let Some((peer, kind)) = self.peers.of(link) else { return };
        let now = self.now();
        self.flow.state().watches.arrived(peer, now);
        match channel {
            Channel::Control => {
                let Some(reassembly) = self.peers.reassembly(link) else { return };
                match reassembly.push(bytes) {
                    Ok(Some(message)) => {
                        let letter = self.letters.read(peer, &message, self.clock.now_us());
                        self.take_letter(letter, Via::Link);
                    }
                    Ok(None) => {}
                    Err(_) => self.input(Input::Misbehaved(peer)),
                }
            }
            Channel::Heartbeat if kind == LinkKind::Peer => {
                if let Some(message) = loose_from_bytes(bytes) {
                    let letter = self.letters.read(peer, message, self.clock.now_us());
                    self.take_letter(letter, Via::Link);
                } else if let Some(heartbeat) = Heartbeat::from_bytes(bytes) {
                    let clock = self.heartbeats.received(&self.flow, &self.brain, peer, link, heartbeat);
                    if let Some((offset_us, rtt_us)) = clock {
                        self.desk.set_clock(&peer, offset_us, rtt_us);
                    }
                    if let Heartbeat::Head(_) = heartbeat {
                        self.say_verdicts(); // a backup that is ahead isn't waited for until the next tick
                    }
                } else {
                    self.input(Input::Misbehaved(peer));
                }
            }
            // nothing travels there yet
            Channel::Heartbeat | Channel::Bulk => self.input(Input::Misbehaved(peer)),
        }
    }

    fn take_letter(&mut self, letter: Letter, via: Via) {
        match letter {
            Letter::Message(from, message) => {
                // an envelope that linked peers forwarded, for us: what counts is inside
                if let Message::Relay(relay) = &*message
                    && relay.to == self.me
                {
                    let route = relay.route.clone();
                    let inner = self.letters.open(&relay.sealed, self.clock.now_us());
                    match inner {
                        Letter::Message(_, message) if matches!(*message, Message::Relay(_)) => {
                            self.input(Input::Misbehaved(from));
                        }
                        inner => self.take_letter(inner, Via::Mesh(route)),
                    }
                    return;
                }
                self.input(Input::Message { from, via, message });
            }
            Letter::Bad(from) => self.input(Input::Misbehaved(from)),
            Letter::Nothing => {}
        }
    }

    pub(super) fn signal_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Up => {
                self.emit(RoomEvent::Rendezvous { up: true, why: None });
                self.input(Input::SignalUp(true));
                self.reached = true;
                self.answer_once_in();
            }
            SignalEvent::Down { why, retry_in } => {
                let why = format!("{why}; trying again in {retry_in:.0?}");
                self.emit(RoomEvent::Rendezvous { up: false, why: Some(why) });
                self.input(Input::SignalUp(false));
            }
            SignalEvent::Envelope { bytes, .. } => {
                let letter = self.letters.open(&bytes, self.clock.now_us());
                self.take_letter(letter, Via::Signal);
            }
            SignalEvent::Undeliverable { to } => {
                let peer = match to {
                    SignalAddress::Peer(peer) => Some(peer),
                    SignalAddress::Host => None,
                };
                self.input(Input::Undeliverable(peer));
            }
            SignalEvent::Ended(error) => {
                // whoever waits to be let in is told by the error
                if self.joined.is_none() {
                    self.emit(RoomEvent::Rendezvous { up: false, why: Some(error.to_string()) });
                }
                self.input(Input::SignalUp(false));
                self.answer_join(Err(error.into()));
            }
        }
    }
}

/// What changes for everyone is worth a line in any log; what happens to one peer is not.
fn log(event: &Event) {
    match event {
        Event::PeerMisbehaved { peer, count, dropped } => {
            tracing::warn!(?peer, count, dropped, "a peer violated the protocol");
        }
        Event::NotesDropped { notes } => {
            tracing::error!(notes, "state machines notified each other in a cycle");
        }
        Event::Mode(mode) => tracing::info!("mode: {mode:?}"),
        Event::NoMixer => tracing::info!("nobody mixes"),
        Event::ElectionOpened { term, reason } => tracing::info!("election {term} opens: {reason:?}"),
        Event::Decided { term, signatures, roster, mixers, standbys, .. } => {
            tracing::info!(?mixers, ?standbys, "election {term} is decided: {signatures} of {roster} signed");
        }
        Event::BallotRejected { term, opener } => tracing::info!(?opener, "ballot of {term} is not signed"),
        Event::Failover { rank, peer, polite } => {
            let why = if *polite { "the mixer left" } else { "the mixer is silent" };
            tracing::info!(?peer, "{rank} takes over: {why}");
        }
        Event::Withdrawn { rank, peer } => tracing::info!(?peer, "{rank} is withdrawn: the mixer lives"),
        _ => tracing::debug!("{event:?}"),
    }
}

/// The application's word for an event of the brain.
fn public(event: Event) -> Option<RoomEvent> {
    Some(match event {
        Event::Admitted => RoomEvent::Admitted,
        Event::Refused(_) | Event::BallotRejected { .. } | Event::Left | Event::NotesDropped { .. } => {
            return None;
        }
        Event::Waiting { tries } => RoomEvent::Waiting { tries },
        Event::Roster { epoch } => RoomEvent::Stage { epoch },
        Event::Host(host) => RoomEvent::Host(host),
        Event::Floor(speaks) => RoomEvent::Floor(speaks),
        Event::FloorOffered => RoomEvent::FloorOffered,
        Event::FloorDenied => RoomEvent::FloorDenied,
        Event::FloorWanted { peer, name } => RoomEvent::FloorWanted { peer, name },
        Event::Mode(mode) => RoomEvent::Mode(mode),
        Event::NoMixer => RoomEvent::NoMixer,
        Event::ElectionOpened { term, reason } => RoomEvent::ElectionOpened { term, reason },
        Event::Decided { term, reason, signatures, roster, mixers, standbys, tallies } => {
            RoomEvent::Elected { term, reason, signatures, roster, mixers, standbys, tallies }
        }
        Event::Failover { rank, peer, polite } => RoomEvent::Failover { rank, peer, polite },
        Event::Withdrawn { rank, peer } => RoomEvent::Withdrawn { rank, peer },
        Event::Measured { peer, samples_bps, rtt_us } => RoomEvent::Measured { peer, samples_bps, rtt_us },
        Event::Data { from, delivery, bytes } => RoomEvent::Data { from, delivery, bytes: bytes.into() },
        Event::DataMissed { from, pieces } => RoomEvent::DataMissed { from, pieces },
        Event::Solo { speaker, comes } => RoomEvent::Solo { speaker, comes },
        Event::Parent(parent) => RoomEvent::Parent(parent),
        Event::Backup(backup) => RoomEvent::Backup(backup),
        Event::PeerMisbehaved { peer, count, dropped } => RoomEvent::PeerMisbehaved { peer, count, dropped },
    })
}
