//! Peers with bodies: the world calls them, and carries out what they ask for.

use plenary_body::{
    Body, In, MixCommand, Notice, Origin, Out, Outs, Picture, ReceivedFrame, Shell as _, TICK,
};
use plenary_proto::identity::{MediaKind, h264};
use plenary_proto::message::{CodecSource, ElectionMessage, LinkKind, Message};
use plenary_proto::packet::LinkId;
use plenary_proto::time::MS;
use plenary_proto::{Command, Event, Input};

use super::bodies::size_of_message;
use super::correspond::At;
use super::{Happening, World};
use crate::dice::SmallDice;
use crate::shell::pictures::{SOUND_US, is_forged};
use crate::shell::{Leg, Shell, brain_time, clock_us};

/// Interval of a body's tick.
const TICK_US: u64 = TICK.as_micros() as u64;
/// Duration of a benchmark of the codecs, as in `crates/plenary`.
const BENCH_US: u64 = 50 * MS;
/// Time from the order to mix to a mixer's first frame: one frame to compose and encode.
const BEGIN_US: u64 = 30 * MS;
/// Name of the draw of a peer's first tick and first frames.
const PHASE: u64 = 0x70_6861_7365;

/// Kinds of frames, in the order of their lanes.
const KINDS: [MediaKind; 2] = [MediaKind::Video, MediaKind::Sound];

fn lane(kind: MediaKind) -> usize {
    usize::from(kind == MediaKind::Sound)
}

impl World {
    /// Starts a body that has just joined: its ticks, and a speaker's camera.
    pub(super) fn start_shell(&mut self, at: usize) {
        let phase_us = SmallDice::of(&[self.seed, PHASE, at as u64]).between(0, TICK_US - 1);
        if let Some(shell) = self.peers[at].shell_mut() {
            shell.tick_at = self.now + phase_us;
        }
        self.push(self.now + phase_us, Happening::Tick(at));
        if self.peers[at].speaks {
            self.publish_from_now(at);
        }
    }

    /// Calls a body, and carries out everything that it asks for.
    pub(crate) fn with_body(&mut self, at: usize, act: impl FnOnce(&mut Body, u64, &mut Outs)) {
        self.with_shell(at, |shell, now_us, outs| act(&mut shell.body, now_us, outs));
    }

    pub(super) fn with_shell(&mut self, at: usize, act: impl FnOnce(&mut Shell, u64, &mut Outs)) {
        let peer = &mut self.peers[at];
        if !peer.is_there() {
            return;
        }
        let now_us = clock_us(peer.clock(self.now));
        let mut outs = std::mem::take(&mut self.outs);
        let Some(shell) = peer.shell_mut() else { return };
        act(shell, now_us, &mut outs);
        loop {
            self.note_passed(at);
            let mut notices = std::mem::take(&mut outs.notices);
            for notice in &notices {
                if let Notice::Started(spec) = notice {
                    self.makers.insert(spec.id(&self.room), at);
                }
            }
            self.carry_out_all(at, now_us, &mut outs);
            if std::mem::take(&mut outs.bench_wanted) {
                let (encode_us, decode_us) = self.codec_times_us(at);
                let input = Input::CodecTimes { encode_us, decode_us, source: CodecSource::Bench };
                self.push(self.now + BENCH_US, Happening::Input(at, Box::new(input)));
            }
            let wanted = std::mem::take(&mut outs.figures_wanted);
            let Some(shell) = self.peers[at].shell_mut() else { break };
            if wanted {
                shell.body.set_figures(shell.desk.figures(), &mut outs);
            }
            for notice in notices.drain(..) {
                shell.body.handle(now_us, In::Notice(notice), &mut outs);
            }
            if !wanted && shell.hand.get().passed.is_empty() && is_empty(&outs) {
                break;
            }
        }
        self.outs = outs;
        let Some(shell) = self.peers[at].shell_mut() else { return };
        let inputs = shell.hand.get().inputs;
        if std::mem::replace(&mut shell.inputs, inputs) != inputs {
            self.peers[at].inputs = inputs;
            self.wake_when_due(at);
        }
    }

    fn carry_out_all(&mut self, at: usize, now_us: u64, outs: &mut Outs) {
        for received in outs.frames.drain(..) {
            self.frame_shown(at, &received);
        }
        for command in outs.mix.drain(..) {
            self.mix(at, now_us, command);
        }
        for command in outs.capture.drain(..) {
            if let Some(shell) = self.peers[at].shell_mut() {
                shell.camera.command(command);
            }
            self.run_camera(at);
        }
        for out in outs.sends.drain(..) {
            self.send_out(at, out);
        }
        for envelope in outs.envelopes.drain(..) {
            At(self, at).post_sealed(envelope);
        }
        outs.events.clear(); // the brain's are noted as they pass
        if std::mem::take(&mut outs.frame_waits) {
            self.hand_over_when_due(at);
        }
    }

    /// Hands an input to the body of a peer, as an event of its shell where there is one.
    pub(super) fn tell_body(&mut self, at: usize, input: Input) {
        self.with_body(at, |body, now_us, outs| {
            let input = match input {
                Input::Timeout => In::Timeout,
                Input::Command(command) => In::Command(command),
                Input::SignalUp(up) => In::SignalUp(up),
                Input::Undeliverable(peer) => In::Undeliverable(peer),
                Input::Misbehaved(peer) => In::Misbehaved(peer),
                Input::Message { from, via, message } => In::Message { from, via, message },
                Input::Described { peer, kind, description } => {
                    let Some(link) = body.link_with(&peer, kind) else { return };
                    In::Described { link, description }
                }
                Input::CodecTimes { encode_us, decode_us, .. } => In::Bench { encode_us, decode_us },
                Input::Measured { peer, train, bandwidth_bps, address, .. } => {
                    let Some(link) = body.link_with(&peer, LinkKind::Peer) else { return };
                    In::Measured { link, train, bandwidth_bps, address }
                }
                other => In::Brain(Box::new(other)),
            };
            body.handle(now_us, input, outs);
        });
    }

    // ── time ─────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn tick(&mut self, at: usize) {
        if !self.peers[at].is_there() {
            return;
        }
        let now = self.now;
        if let Some(shell) = self.peers[at].shell_mut() {
            // as a timer that skips missed ticks and keeps its phase
            let missed = now.since(shell.tick_at) / TICK_US;
            shell.tick_at = shell.tick_at + (missed + 1) * TICK_US;
            let next = shell.tick_at;
            self.push(next, Happening::Tick(at));
        }
        self.with_shell(at, |shell, now_us, outs| {
            let Shell { body, legs, desk, .. } = shell;
            body.set_figures(desk.figures(), outs);
            body.tick(now_us, |link| legs.get(&link).map(|leg| leg.stats), outs);
        });
        self.beat_instead_of_forwarding(at);
        self.say_of_its_own(at);
    }

    /// Schedules the hand-over of held frames.
    fn hand_over_when_due(&mut self, at: usize) {
        let peer = &self.peers[at];
        let Some(due_us) = peer.shell().and_then(|shell| shell.body.next_due_us()) else { return };
        let due = peer.clock_shows(brain_time(due_us)).max(self.now);
        let Some(shell) = self.peers[at].shell_mut() else { return };
        if shell.due_at.is_none_or(|known| due < known) {
            shell.due_at = Some(due);
            self.push(due, Happening::Due(at));
        }
    }

    pub(super) fn hand_over(&mut self, at: usize) {
        if let Some(shell) = self.peers[at].shell_mut() {
            shell.due_at = None;
        }
        if !self.peers[at].is_there() {
            return;
        }
        self.with_body(at, |body, now_us, outs| body.hand_over_due(now_us, outs));
        self.hand_over_when_due(at);
    }

    // ── frames ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Counts a picture of the program that an application shows.
    fn frame_shown(&mut self, at: usize, received: &ReceivedFrame) {
        let identity = &received.frame.identity;
        self.trace.note_frame(self.now, at, &identity.stream.0, identity.number);
        if received.origin != Origin::Program
            || received.frame.kind != MediaKind::Video
            || received.catches_up
            || self.is_page(at)
        {
            return;
        }
        let Some(maker) = self.makers.get(&identity.stream) else { return };
        let captured = self.peers[*maker].clock_shows(brain_time(identity.captured_us));
        let forged = self.note_forged(&received.frame.data);
        let came = self.peers[at].clock_shows(brain_time(received.came_us)).min(self.now);
        let captured = captured.min(came);
        self.peers[at].arrivals.shown(self.now, came, captured, forged);
        self.note_shown(at, captured, self.now);
    }

    /// Returns whether a picture that is shown was forged, and counts it if others refer to it.
    pub(super) fn note_forged(&mut self, data: &[u8]) -> bool {
        let is_forged = self.forges && is_forged(data);
        self.base_forged += u64::from(is_forged && !h264::is_spare(data));
        is_forged
    }

    /// Carries out a command to the mixer.
    fn mix(&mut self, at: usize, now_us: u64, command: MixCommand) {
        let Some(shell) = self.peers[at].shell_mut() else { return };
        if let Some(asks) = shell.desk.command(command, now_us) {
            self.push(self.now, Happening::Mixed(at, Box::new(asks)));
        }
        self.run_mixer(at);
    }

    fn run_mixer(&mut self, at: usize) {
        let Some(shell) = self.peers[at].shell_mut() else { return };
        for kind in KINDS {
            if shell.desk.mixes() && !std::mem::replace(&mut shell.mixes[lane(kind)], true) {
                self.queue.push(self.now + BEGIN_US, Happening::Compose(at, kind));
            }
        }
    }

    /// Outputs the mixer's next picture or sound.
    pub(super) fn compose(&mut self, at: usize, kind: MediaKind) {
        let every_us = match kind {
            MediaKind::Video => self.picture_us(at),
            MediaKind::Sound => SOUND_US,
        };
        let now = self.now;
        let codec_times_us = self.codec_times_us(at);
        let peer = &mut self.peers[at];
        let now_us = clock_us(peer.clock(now));
        let there = peer.is_there();
        let Some(shell) = peer.shell_mut() else { return };
        if !there || !shell.desk.mixes() {
            shell.mixes[lane(kind)] = false;
            return;
        }
        let outputs: Vec<_> = match kind {
            MediaKind::Video => shell.desk.picture(now_us, every_us, codec_times_us).into_iter().collect(),
            MediaKind::Sound => shell.desk.sound(now_us),
        };
        self.push(now + every_us, Happening::Compose(at, kind));
        self.with_body(at, |body, now_us, outs| {
            outputs.into_iter().for_each(|output| body.mixed(now_us, output, outs));
        });
    }

    fn run_camera(&mut self, at: usize) {
        let Some(shell) = self.peers[at].shell_mut() else { return };
        for kind in KINDS {
            if shell.camera.is_on() && !std::mem::replace(&mut shell.camera.runs[lane(kind)], true) {
                let every_us = shell.camera.every_us(kind);
                let phase_us =
                    SmallDice::of(&[self.seed, PHASE, at as u64, self.now.0]).between(0, every_us - 1);
                self.queue.push(self.now + phase_us, Happening::Capture(at, kind));
            }
        }
    }

    /// Publishes the next picture or sound of a speaker.
    pub(super) fn capture(&mut self, at: usize, kind: MediaKind) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let (now_us, there) = (clock_us(peer.clock(now)), peer.is_there());
        let Some(shell) = peer.shell_mut() else { return };
        if !there || !shell.camera.is_on() {
            shell.camera.runs[lane(kind)] = false;
            return;
        }
        let frame = shell.camera.frame(kind, now_us);
        let every_us = shell.camera.every_us(kind);
        self.push(now + every_us, Happening::Capture(at, kind));
        self.with_body(at, |body, now_us, outs| body.publish(now_us, &frame, Picture::Camera, outs));
    }

    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn send_out(&mut self, at: usize, out: Out) {
        if let Out::Control { .. } | Out::Loose { .. } | Out::Heartbeat { .. } | Out::KeyframeWanted { .. } =
            out
        {
            self.spend_on_message(at);
        }
        match out {
            Out::Forward { to, packet } => {
                for (link, slot) in to {
                    self.forward(at, link, slot, &packet);
                }
            }
            Out::Frame { link, slot, at_us, frame } => self.send_frame(at, (link, slot), &frame, at_us),
            Out::SenderReport { .. } => {} // simulated browsers do without
            Out::Control { link, message } => {
                if let Message::Election(ElectionMessage::Ballot(_)) = &*message {
                    self.ballot_by = Some(self.peers[at].id);
                }
                if let Some((to, LinkKind::Peer)) = self.other_end(at, link) {
                    self.control_to(at, to, *message);
                }
            }
            Out::Loose { link, message } => {
                if let Some((to, _)) = self.other_end(at, link)
                    && let Some(arrives) = self.net.send(self.now, at, to, size_of_message(&message))
                {
                    self.push(arrives, Happening::Loose { to, from: at, message });
                }
            }
            Out::Heartbeat { link, heartbeat } => {
                if let Some((to, _)) = self.other_end(at, link) {
                    self.datagram(at, to, Happening::Heartbeat { to, from: at, heartbeat });
                }
            }
            Out::KeyframeWanted { link, slot } => {
                if let Some((to, kind)) = self.other_end(at, link) {
                    self.datagram(at, to, Happening::PictureWanted { to, from: at, kind, slot });
                }
            }
            Out::Train { .. } if self.is_page(at) => {} // a page can't pace packets of its own
            Out::Train { link, train, bytes, rate_bps } => {
                if let Some((to, _)) = self.other_end(at, link) {
                    self.train(at, &self.peers[to].id.clone(), train, bytes, rate_bps);
                }
            }
            Out::Offer { link, .. } | Out::Answer { link, .. } => self.open_leg(at, link),
            // simulated links have no flow control, and their ends know each other's addresses
            Out::Pause { .. } | Out::Paths { .. } | Out::IceRestart { .. } => {}
            Out::Tunnel(command) => self.tunnel_of_links(at, command),
            Out::Accept { link, .. } => {
                if let Some((to, kind)) = self.other_end(at, link) {
                    self.accept(at, &self.peers[to].id.clone(), kind);
                }
            }
            Out::Close { link } => {
                if let Some((to, kind)) = self.other_end(at, link) {
                    self.close(at, &self.peers[to].id.clone(), kind);
                }
                self.push(self.now + MS, Happening::LinkEnded(at, link));
            }
        }
    }

    /// Peer and kind of a link of a body.
    pub(super) fn other_end(&self, at: usize, link: LinkId) -> Option<(usize, LinkKind)> {
        let leg = self.peers[at].shell()?.legs.get(&link)?;
        Some((leg.other, leg.kind))
    }

    fn open_leg(&mut self, at: usize, link: LinkId) {
        let of = self.peers[at].shell().and_then(|shell| shell.body.link_of(link));
        // a link that was replaced at once never opens
        let Some((peer, kind)) = of else { return };
        let Some(other) = self.directory.find(&peer) else { return };
        if let Some(shell) = self.peers[at].shell_mut() {
            let (stats, budgets, numbers, received) = Default::default();
            shell.legs.insert(link, Leg { other, kind, stats, budgets, numbers, received });
        }
        self.describe(at, peer, kind);
    }

    /// Handles the events of a brain that concern the world.
    pub(super) fn follow_event(&mut self, at: usize, event: Event) {
        self.note_no_place(at, &event);
        match event {
            Event::HandedOver => self.left(at),
            Event::Stage { .. } => self.note_host(at),
            Event::Floor { speaks } => {
                self.peers[at].takes_the_floor(self.now, speaks);
                if speaks && self.peers[at].shell().is_some() {
                    self.push(self.now, Happening::Publish(at));
                }
            }
            // simulated peers accept each offer of the floor
            Event::FloorOffered => {
                let take = Input::Command(Command::Speak(true));
                self.push(self.now + MS, Happening::Input(at, Box::new(take)));
            }
            _ => {}
        }
        self.remember(at, event);
    }

    /// Starts the stream of a peer that has come on stage, unless it has one.
    pub(super) fn publish_from_now(&mut self, at: usize) {
        let Some(shell) = self.peers[at].shell_mut() else { return };
        if std::mem::replace(&mut shell.publishes, true) {
            return;
        }
        self.with_body(at, |body, now_us, outs| body.handle(now_us, In::Publish { shares: false }, outs));
    }
}

fn is_empty(outs: &Outs) -> bool {
    outs.sends.is_empty()
        && outs.envelopes.is_empty()
        && outs.frames.is_empty()
        && outs.mix.is_empty()
        && outs.capture.is_empty()
        && outs.notices.is_empty()
}
