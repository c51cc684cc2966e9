//! Carrying out the brain's outputs.

use plenary_proto::bounded::List;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{
    FailoverMessage, Heartbeat, LinkKind, MediaMessage, Message, PATH_LEN_MAX, Paths, PeerRates,
    PictureWanted, ProbeMessage, Sharing, VideoRequest,
};
use plenary_proto::packet::LinkId;
use plenary_proto::{Event, Input, Mode, Output, PeerId, Rank};

use crate::body::Body;
use crate::layout;
use crate::mix::{Requested, Tile};
use crate::outs::{Envelope, Out, Outs, Route};
use crate::oversize::PixelsMax;
use crate::seat::Seat;
use crate::traffic::Throughput;

impl Body {
    /// Hands an input to the brain, and carries out its outputs.
    pub(crate) fn input(&mut self, now_us: u64, input: Input, outs: &mut Outs) {
        let now = self.time(now_us);
        let input = match &mut self.between {
            None => Some(input),
            Some(between) => between.input(now, input),
        };
        let Some(input) = input else { return };
        self.brain.handle(now, input);
        let (mut round_trips_wanted, mut carried_out) = (false, Vec::new());
        while let Some(output) = self.brain.poll_output() {
            match &mut self.between {
                None => carried_out.push(output),
                Some(between) => between.output(now, output, &mut carried_out),
            }
            for output in carried_out.drain(..) {
                round_trips_wanted |= matches!(output, Output::TellRoundTrips);
                self.carry_out(output, now_us, outs);
            }
        }
        if round_trips_wanted {
            self.input(now_us, Input::RoundTrips(self.heartbeats.rtts_us()), outs);
        }
    }

    fn carry_out(&mut self, output: Output, now_us: u64, outs: &mut Outs) {
        match output {
            Output::Control(to, message) => self.control(&to, message, outs),
            Output::Loose(to, message) => {
                if let Some(link) = self.link(&to) {
                    outs.sends.push(Out::Loose { link, message: Box::new(message) });
                }
            }
            Output::Signal(to, message) => {
                outs.envelopes.push(Envelope::Signal { to, message: Box::new(message) });
            }
            Output::Claim => outs.claims = true,
            Output::Relay { next, to, route: peers, message } => {
                if let Some(link) = self.link(&next) {
                    let route = Route { to, from: self.me, link, peers };
                    outs.envelopes.push(Envelope::Relay { route, message: Box::new(message) });
                }
            }
            Output::Offer { peer, kind, is_stranger } => {
                let link = self.open(peer, kind, outs);
                outs.sends.push(Out::Offer { link, kind, is_stranger });
            }
            Output::Answer { peer, offer, is_stranger } => {
                let (kind, link) = (offer.kind, self.open(peer, offer.kind, outs));
                self.media.links.described(link, &offer.description);
                outs.sends.push(Out::Answer { link, kind, offer: offer.description, is_stranger });
            }
            Output::Accept(peer, answer) => {
                if let Some(link) = self.media.links.newest(&peer, answer.kind) {
                    self.media.links.described(link, &answer.description);
                    outs.sends.push(Out::Accept { link, answer: answer.description });
                }
            }
            Output::Paths(peer, Paths { kind, ufrag, candidates }) => {
                if let Some(link) = self.media.links.newest(&peer, kind) {
                    outs.sends.push(Out::Paths { link, ufrag, candidates });
                }
            }
            Output::IceRestart(peer, restart) => {
                if let Some(link) = self.media.links.newest(&peer, restart.kind) {
                    outs.sends.push(Out::IceRestart { link, restart });
                }
            }
            Output::Tunnel(command) => {
                let carried = |(peer, kind): (PeerId, LinkKind)| self.media.links.newest(&peer, kind);
                let command = command.renamed(carried, |peer| self.link(&peer));
                outs.sends.extend(command.map(Out::Tunnel));
            }
            Output::Close(peer, kind) => self.close(&peer, kind, outs),
            Output::Watch { parent, backup } => self.media.watch(parent, backup, now_us),
            Output::WatchMixers(mixers) => {
                self.media.watches.watch_mixers(&mixers, self.media.watch_time(now_us))
            }
            Output::Serve { peer, from, sound } => {
                self.heartbeats.unpromise(&peer);
                self.media.serve(peer, from, sound, now_us, outs);
            }
            Output::ServeHeads(peer) => {
                self.media.watches.watch_child(peer, self.media.watch_time(now_us));
                self.heartbeats.promise(peer);
            }
            Output::Suspect(peer) => {
                let rtt_us = u64::from(self.heartbeats.rtt_us(&peer).unwrap_or(0));
                self.media.watches.suspect(&peer, self.media.watch_time(now_us), rtt_us);
                self.ask_head(&peer, outs);
            }
            Output::Unserve(peer) => {
                self.heartbeats.unpromise(&peer);
                self.media.unserve(&peer);
            }
            Output::Follow { peer, stream, id } => {
                self.know_program_format();
                self.media.follow(peer, stream, id, now_us, outs);
            }
            Output::Senders(sources) => self.media.set_sources(sources),
            Output::Mandate(in_force) => self.media.program.set_in_force(in_force),
            Output::SendOwn(to) => self.send_own(to, now_us, outs),
            Output::SendBeside(to) => self.send_beside(to, now_us, outs),
            Output::EncodeAs(video) => self.encode_as([Some(video), self.requested_beside], outs),
            Output::EncodeBesideAs(video) => self.encode_as([self.requested, Some(video)], outs),
            // tiles have just moved: the speaker is called once their sizes are known
            Output::CallHome { speaker, rank } if outs.figures_wanted => {
                self.called.insert(speaker, (rank, None));
            }
            Output::CallHome { speaker, rank } => self.call_home(speaker, rank, outs),
            Output::TellRoundTrips => {} // answered once all outputs are carried out
            Output::AnswerHeard { to, mixer } => {
                let silent_us = self.silent_us(&mixer, now_us);
                self.control(&to, Message::Failover(FailoverMessage::Heard { mixer, silent_us }), outs);
            }
            Output::AnswerRates { to, above, children } => {
                let Throughput { received_bps, sent_bps, .. } = self.throughput;
                let own = PeerRates { peer: self.me.short(), received_bps, sent_bps, children };
                // those next to this peer, if all can't be named
                let skipped = (above.len() + 1).saturating_sub(PATH_LEN_MAX);
                let rates = above.iter().copied().skip(skipped).chain([own]);
                self.control(&to, Message::Probe(ProbeMessage::Rates(List::truncated(rates))), outs);
            }
            Output::RequestFeed(peer) => self.media.request_feed(peer, now_us, outs),
            Output::Role(role) => {
                self.media.set_role(role, now_us, outs);
                outs.figures_wanted = true;
            }
            Output::Forward(to) => self.media.inflow.set_forwarding_to(&to),
            Output::Solos(solos) => self.media.inflow.set_solos(&solos),
            Output::Voices(routes) => self.media.inflow.apart.set_routes(routes),
            Output::Homes(speakers) => self.media.mix.set_homes(speakers, &mut outs.mix),
            Output::Speakers(speakers) => {
                let peers: Vec<_> = speakers.into_iter().map(|(peer, _)| peer).collect();
                self.media.inflow.set_speakers(peers.clone());
                self.renew_tiles(&peers, outs);
            }
            Output::Train { peer, train, bytes, rate_bps } => {
                if let Some(link) = self.link(&peer) {
                    outs.sends.push(Out::Train { link, train, bytes, rate_bps });
                }
            }
            Output::Key(key) => outs.keys.push(key),
            Output::Event(event) => self.event(event, now_us, outs),
        }
    }

    /// Returns the ordinary link with a peer, whether it is up or not.
    fn link(&self, peer: &PeerId) -> Option<LinkId> {
        self.media.links.newest(peer, LinkKind::Peer)
    }

    fn control(&self, to: &PeerId, message: Message, outs: &mut Outs) {
        if let Some(link) = self.link(to) {
            outs.control(link, message);
        }
    }

    fn open(&mut self, peer: PeerId, kind: LinkKind, outs: &mut Outs) -> LinkId {
        self.close(&peer, kind, outs);
        self.media.links.open(peer, kind)
    }

    fn close(&mut self, peer: &PeerId, kind: LinkKind, outs: &mut Outs) {
        if let Some(link) = self.media.link_closed(*peer, kind, outs) {
            if kind == LinkKind::Peer {
                self.heartbeats.forget(peer);
            }
            outs.sends.push(Out::Close { link });
        }
    }

    fn encode_as(&mut self, requests: [Option<VideoRequest>; 2], outs: &mut Outs) {
        [self.requested, self.requested_beside] = requests;
        if self.media.publishes() {
            self.tell_requests(outs);
        }
    }

    /// Requests a speaker's streams at the size of its tiles, from the positions at which this mixer holds them.
    fn call_home(&mut self, speaker: PeerId, rank: Rank, outs: &mut Outs) {
        let requested = self.media.mix.requests_of(&speaker);
        self.called.insert(speaker, (rank, Some(requested)));
        let Requested { own: video, beside } = requested;
        if speaker == self.me {
            self.encode_as([Some(video), beside], outs);
            return;
        }
        let inflow = &self.media.inflow;
        let resume = inflow.have(&speaker);
        let beside = beside.map(|video| PictureWanted { video, resume: inflow.have(Seat::beside(&speaker)) });
        self.control(&speaker, Message::Media(MediaMessage::Home { rank, video, resume, beside }), outs);
    }

    /// Requests the stream of each speaker with a tile of another size than requested before, or not requested yet.
    pub(crate) fn call_home_again(&mut self, outs: &mut Outs) {
        if !self.media.mix.is_mixing() {
            self.called.clear();
            return;
        }
        let is_stale = |(speaker, (_, requested)): &(&PeerId, &(Rank, Option<_>))| {
            *requested != Some(self.media.mix.requests_of(speaker))
        };
        let stale: Vec<_> =
            self.called.iter().filter(is_stale).map(|(speaker, (rank, _))| (*speaker, *rank)).collect();
        for (speaker, rank) in stale {
            self.call_home(speaker, rank, outs);
        }
    }

    /// Takes the program's format from the roster, which limits the size of pictures.
    pub(crate) fn know_program_format(&mut self) {
        if let Some(roster) = self.brain.roster() {
            self.media.pixels_max = PixelsMax::of(roster.rules.program);
        }
    }

    /// Sets names, format and layout of the program by the roster.
    fn renew_tiles(&mut self, speakers: &[PeerId], outs: &mut Outs) {
        let Some(roster) = self.brain.roster() else { return };
        let entry = |peer: &PeerId| roster.entries.iter().find(|entry| entry.peer == *peer);
        let tile = |seat: Seat| {
            let name = entry(&seat.peer).map(|entry| entry.name.to_string()).unwrap_or_default();
            Tile { seat, name }
        };
        let sends_two = |peer: &&PeerId| entry(peer).is_some_and(|entry| entry.shares == Sharing::Beside);
        // a mixer takes a limited number of inputs: none lacks its sound because of another's second picture
        let beside = speakers.iter().filter(sends_two).map(Seat::beside);
        let tiles = speakers.iter().map(Seat::from).chain(beside).map(tile).collect();
        let (format, layout) = (roster.rules.program, layout::from_roster(&roster.rules.layout));
        self.media.set_tiles(tiles, format, layout, outs);
        outs.figures_wanted = true;
    }

    /// Sets the picture that this peer sends in a mesh. A mesh of two keeps the application's own format, unless a
    /// mixer or a larger mesh has changed it before.
    fn format_for_mesh(&mut self, outs: &mut Outs) {
        let others = self.brain.meshed();
        if others == 0 || (others == 1 && self.requested.is_none()) {
            return;
        }
        let video = self.media.mix.mesh_request(others, self.brain.uplink_bps());
        if self.requested != Some(video) {
            self.encode_as([Some(video), self.requested_beside], outs);
        }
    }

    pub(crate) fn ask_head(&self, peer: &PeerId, outs: &mut Outs) {
        if let Some(link) = self.media.links.up(peer, LinkKind::Peer) {
            outs.heartbeat(link, Heartbeat::HeadWanted);
        }
    }

    fn event(&mut self, event: Event, now_us: u64, outs: &mut Outs) {
        match &event {
            Event::Mode { mode } => {
                self.media.set_mesh(*mode == Mode::Mesh);
                if *mode == Mode::Mesh && self.mode != Mode::Mesh {
                    self.media.show_speakers(now_us, outs);
                }
                (self.mode, self.mode_since_us) = (*mode, now_us);
                self.leave_silence_out(now_us, outs);
                self.format_for_mesh(outs);
            }
            Event::Floor { speaks } => self.media.set_floor(*speaks, self.brain.views(), now_us),
            Event::Stage { .. } => {
                let refusing = self.stage().iter().filter(|entry| entry.no_solo).map(|entry| entry.peer);
                let refusing = refusing.collect();
                self.media.set_refusing_solo(refusing, outs);
                let present = self.stage().iter().filter(|entry| entry.speaks && !entry.away);
                let mut speakers: Vec<_> = present.map(|entry| (entry.index, entry.peer)).collect();
                speakers.sort_by_key(|(index, _)| *index);
                let peers: Vec<_> = speakers.into_iter().map(|(_, peer)| peer).collect();
                self.renew_tiles(&peers, outs);
                self.format_for_mesh(outs);
            }
            Event::Solo { speaker, comes } => self.media.set_solo_coming(*speaker, *comes),
            Event::MutedByHost(wanted) => {
                let kinds = [(MediaKind::Video, wanted.picture), (MediaKind::Sound, wanted.sound)];
                kinds.into_iter().filter(|(_, mutes)| *mutes).for_each(|(kind, _)| self.mute(kind, true));
            }
            Event::Elected { .. } | Event::Failover { .. } => self.media.reset_targets_most(),
            Event::Parent { peer: Some(_) } => self.parents_had += 1,
            _ => {}
        }
        if let Event::Elected { tallies, .. } = &event {
            self.scores = tallies.as_slice().into();
        }
        let is_roster = matches!(event, Event::Stage { .. });
        outs.events.push(event);
        if let Some(roster) = self.brain.roster().filter(|_| is_roster) {
            outs.events.extend(self.members.follow(roster));
        }
    }
}
