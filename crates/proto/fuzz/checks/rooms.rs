//! Model of a room: brains on a network that loses, duplicates, delays and reorders, with members that send
//! arbitrary messages.
//!
//! [`play`] runs a few brains and performs the drawn [`Op`]s: deliver or lose a packet, let time pass, break
//! a link, inject a forged message. After each op it asserts the guarantees of a brain:
//!
//! - it never panics;
//! - one input leads to a bounded number of outputs;
//! - it requests no timeout in the past, and a bounded number per second;
//! - its lists stay within their bounds.
//!
//! Debug builds also assert the invariants of `RoomState`.

use std::collections::VecDeque;

use plenary_proto::app::{Layout, Solo};
use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{
    Answer, CodecSource, Consent, Description, FailoverMessage, LinkKind, MediaMessage, Message, Offer,
    ProgramFormat, Setup, TreeMessage, VideoRequest,
};
use plenary_proto::{
    Address, Command, Event, HostConfig, Input, MixRole, Output, PeerId, RoomConfig, RoomState, StreamKind,
    StreamSpec, Time, Verdict, Via,
};
use serde::Deserialize;

use super::draw::Draw;
use super::sign::{self, NOW, cast, key, room, root};

/// Brains of a play: the host, a speaker, two candidates, two viewers.
const BRAINS: usize = 6;
/// Maximum packets in flight in the network; further ones are lost.
const UNDER_WAY_MAX: usize = 512;
/// Maximum outputs of one input: some messages to each peer of a full stage and a full table of links.
const OUTPUTS_MAX: usize = 2_000;
/// Maximum timeouts per second of a brain without other inputs. Its fastest timers are a measurement that
/// waits for a link, every 60 ms give or take a quarter, and others of 50 ms and more.
const WAKES_PER_S: u64 = 100;
/// Maximum timeouts that may coincide: one per machine.
const WAKES_AT_ONCE: u64 = 40;
/// Maximum wait of one op, microseconds.
const WAIT_US_MAX: u64 = 20_000_000;
/// Maximum ops of a play.
const OPS_MAX: usize = 600;

/// An operation on the room.
#[derive(Clone, Debug, Deserialize)]
pub(crate) enum Op {
    /// Delivers the oldest few packets in flight, in order.
    Flow(u8),
    /// Delivers a later packet first.
    Overtake(u8),
    /// Loses a packet.
    Lose(u8),
    /// Delivers a packet now, and once more later.
    Double(u8),
    /// Lets time pass; the brains get their timeouts.
    Wait { us: u32 },
    /// Lets time pass without timeouts: the machine stalls.
    Late { us: u32 },
    /// Gives a brain a timeout, due or not.
    Wake(u8),
    /// Reports one end of a link as up or down.
    Link { at: u8, other: PeerId, kind: LinkKind, up: bool },
    /// Delivers a message forged by a member.
    Say(Said),
    /// Gives a brain an input of its body.
    Tell { at: u8, what: Told },
    /// Gives a brain a command of its application.
    Want { at: u8, what: Wanted },
}

/// A forged message.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Said {
    at: u8,
    from: PeerId,
    via: u8,
    message: Box<Message>,
}

/// Inputs of a body, plausible or not.
#[derive(Clone, Debug, Deserialize)]
pub(crate) enum Told {
    SignalUp(bool),
    Undeliverable(Option<PeerId>),
    Verdict(PeerId, u8),
    Heard(PeerId),
    Fed(PeerId),
    Measured { peer: PeerId, train: u32, bandwidth_bps: Option<u64>, rtt_us: u32 },
    Bench { encode_us: u32, decode_us: u32 },
    Warm,
    Started(StreamSpec),
    Misbehaved(PeerId),
    Described(PeerId, LinkKind, Description),
}

/// Commands of an application.
#[derive(Clone, Debug, Deserialize)]
pub(crate) enum Wanted {
    /// Executed one time in eight, since a brain that has left is silent.
    Leave {
        sure: u8,
    },
    Reconnect,
    SetMixers(u8),
    Measure(PeerId),
    /// Sets a layout of this many bytes.
    SetLayout(u16),
    Solo(Option<PeerId>),
}

impl From<Told> for Input {
    fn from(told: Told) -> Input {
        const VERDICTS: [Verdict; 4] = [Verdict::Ok, Verdict::Silent, Verdict::Behind, Verdict::Stalled];
        match told {
            Told::SignalUp(up) => Input::SignalUp(up),
            Told::Undeliverable(peer) => Input::Undeliverable(peer),
            Told::Verdict(peer, verdict) => {
                Input::Verdict { peer, verdict: VERDICTS[usize::from(verdict % 4)] }
            }
            Told::Heard(peer) => Input::Heard(peer),
            Told::Fed(peer) => Input::Fed(peer),
            Told::Measured { peer, train, bandwidth_bps, rtt_us } => Input::Measured {
                peer,
                train,
                bandwidth_bps,
                rtt_us,
                paused_ppm: rtt_us,
                media: None,
                address: None,
            },
            Told::Bench { encode_us, decode_us } => {
                Input::CodecTimes { encode_us, decode_us, source: CodecSource::Bench }
            }
            Told::Warm => Input::Warm,
            Told::Started(spec) => Input::Started(spec),
            Told::Misbehaved(peer) => Input::Misbehaved(peer),
            Told::Described(peer, kind, description) => Input::Described { peer, kind, description },
        }
    }
}

impl From<Wanted> for Command {
    fn from(wanted: Wanted) -> Command {
        match wanted {
            Wanted::Leave { sure } if sure % 8 == 1 => Command::Leave,
            Wanted::Leave { .. } | Wanted::Reconnect => Command::ReconnectUpstream,
            Wanted::SetMixers(mixers) => Command::SetMixers(mixers),
            Wanted::Measure(peer) => Command::Measure(peer),
            Wanted::Solo(speaker) => Command::Solo(speaker.map(|speaker| Solo { speaker, instead: false })),
            Wanted::SetLayout(len) => {
                Command::SetLayout(Layout::Custom(List::truncated(vec![7; len.into()])))
            }
        }
    }
}

/// A packet in flight to a brain.
#[derive(Clone, Debug)]
enum Parcel {
    Message { from: PeerId, via: Via, message: Message },
    Input(Input),
}

struct Room {
    brains: Vec<RoomState>,
    now: Time,
    under_way: VecDeque<(usize, Parcel)>,
    /// Hash over all outputs of all brains, in order.
    said: blake3::Hasher,
}

fn config(at: usize) -> RoomConfig {
    RoomConfig {
        room: room(),
        root: root().id(),
        host: (at == 0).then(|| HostConfig {
            root: root().clone(),
            stage_open: true,
            mixing: None,
            program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
            k: 2,
            k1: 1, // the second viewer is fed by the first
            mixers: 0,
            invite_expires_us: None,
            layout: List::new(),
            title: Text::default(),
            lobby: false,
            members: Vec::new(),
            removed: Vec::new(),
            locked: false,
            reign: 0,
        }),
        name: Text::truncated("brain"),
        speaks: at < 2,
        views: at == 1 || at >= 4,
        no_solo: false,
        consent: if at == 2 || at == 3 { Consent::Always } else { Consent::Never },
        relays: true,
        children_max: 8,
        uplink_bps_max: (at == 5).then_some(20_000_000),
        carries: true,
        sends_trains: true,
        key: None,
        unix_us_at_zero: NOW * 1_000_000,
    }
}

fn description(at: usize, peer: &PeerId) -> Description {
    Description {
        ufrag: Text::truncated(&format!("{at}{:02x}", peer.0[0])),
        pwd: Text::truncated("0123456789abcdefghijklmn"),
        fingerprint: [at as u8; 32],
        setup: Setup::ActPass,
        payload_types: None,
        browser: None,
        candidates: List::default(),
        sctp: None,
        hello: None,
    }
}

impl Room {
    /// Creates an established room: all peers have joined, and an election has been decided.
    fn new() -> Room {
        let brains =
            (0..BRAINS).map(|at| RoomState::new(key(at).clone(), config(at), at as u64, Time(0))).collect();
        let mut room = Room { brains, now: Time(0), under_way: VecDeque::new(), said: blake3::Hasher::new() };
        for at in 0..BRAINS {
            room.give(at, Input::SignalUp(true));
            if at == 2 || at == 3 {
                room.give(
                    at,
                    Input::CodecTimes { encode_us: 4_000, decode_us: 1_500, source: CodecSource::Bench },
                );
            }
        }
        for _ in 0..30 {
            room.deliver_all();
            room.pass_time(150_000);
        }
        room
    }

    fn deliver_all(&mut self) {
        for _ in 0..UNDER_WAY_MAX {
            if !self.deliver(0) {
                break;
            }
        }
    }

    /// Delivers the packet at this position of the queue; false when there is none.
    fn deliver(&mut self, at: usize) -> bool {
        let Some((to, parcel)) = self.under_way.remove(at) else { return false };
        let input = match parcel {
            Parcel::Input(input) => Some(input),
            Parcel::Message { from, via, message } => {
                let message = message.verify(&room(), &root().id(), NOW + self.now.0 / 1_000_000);
                message.ok().map(|message| Input::Message { from, via, message })
            }
        };
        if let Some(input) = input {
            self.give(to, input);
        }
        true
    }

    fn give(&mut self, at: usize, input: Input) {
        let brain = &mut self.brains[at];
        brain.handle(self.now, input);
        for count in 0.. {
            assert!(count < OUTPUTS_MAX, "one input leads to {count} outputs and more");
            let Some(output) = self.brains[at].poll_output() else { break };
            self.said.update(format!("{at} {output:?}").as_bytes());
            self.carry_out(at, output);
        }
        let brain = &self.brains[at];
        assert!(brain.next_timeout().is_none_or(|due| due > self.now), "a time that has passed is asked for");
        for bound in brain.bounds() {
            assert!(bound.len <= bound.max, "{} of at most {} {}", bound.len, bound.max, bound.of);
        }
    }

    fn send(&mut self, to: PeerId, parcel: Parcel) {
        let to = cast().iter().take(BRAINS).position(|id| *id == to);
        if let Some(to) = to
            && self.under_way.len() < UNDER_WAY_MAX
        {
            self.under_way.push_back((to, parcel));
        }
    }

    /// Carries out an output like a body would, over a network with delays.
    fn carry_out(&mut self, at: usize, output: Output) {
        let me = cast()[at];
        let by_link = |message| Parcel::Message { from: me, via: Via::Link, message };
        match output {
            Output::Event(Event::NotesDropped { notes }) => panic!("{notes} notes without an end"),
            Output::Control(to, message) => self.send(to, by_link(message)),
            Output::Signal(to, message) => {
                let to = if let Address::Peer(to) = to { to } else { cast()[0] };
                self.send(to, Parcel::Message { from: me, via: Via::Signal, message });
            }
            Output::Relay { to, route, message, .. } => {
                self.send(to, Parcel::Message { from: me, via: Via::Mesh(route), message });
            }
            Output::Offer { peer, kind, .. } | Output::Answer { peer, offer: Offer { kind, .. }, .. } => {
                let description = description(at, &peer);
                self.send(me, Parcel::Input(Input::Described { peer, kind, description }));
            }
            Output::Accept(peer, Answer { kind, .. }) => {
                self.send(me, Parcel::Input(Input::LinkUp(peer, kind)));
                self.send(peer, Parcel::Input(Input::LinkUp(me, kind)));
            }
            Output::Close(peer, kind) => {
                self.send(me, Parcel::Input(Input::LinkDown(peer, kind)));
                self.send(peer, Parcel::Input(Input::LinkDown(me, kind)));
            }
            Output::RequestFeed(peer) => {
                self.send(peer, by_link(Message::Tree(TreeMessage::Feed { from: None })))
            }
            Output::Serve { peer, .. } => self.send(peer, Parcel::Input(Input::Fed(me))),
            Output::CallHome { speaker, rank } => {
                let video = VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
                self.send(
                    speaker,
                    by_link(Message::Media(MediaMessage::Home { rank, video, resume: None, beside: None })),
                );
            }
            Output::TellRoundTrips => {
                let rtts_us = cast().iter().map(|peer| (*peer, 30_000)).collect();
                self.send(me, Parcel::Input(Input::RoundTrips(rtts_us)));
            }
            Output::AnswerHeard { to, mixer } => {
                self.send(
                    to,
                    by_link(Message::Failover(FailoverMessage::Heard { mixer, silent_us: Some(20_000) })),
                );
            }
            Output::Train { peer, train, .. } => {
                let measured = Input::Measured {
                    peer: me,
                    train,
                    bandwidth_bps: Some(90_000_000),
                    rtt_us: 30_000,
                    paused_ppm: 0,
                    media: None,
                    address: None,
                };
                self.send(peer, Parcel::Input(measured));
            }
            Output::Role(MixRole::Mix { rank, .. }) => {
                let spec =
                    StreamSpec { maker: me, kind: StreamKind::Program, rank, rung: 0, start: [at as u8; 8] };
                self.send(me, Parcel::Input(Input::Started(spec)));
            }
            Output::Role(MixRole::Warm { .. }) => self.send(me, Parcel::Input(Input::Warm)),
            _ => {}
        }
    }

    /// Lets time pass; each brain gets its timeouts when they are due.
    fn pass_time(&mut self, us: u64) {
        let end = self.now + us;
        let most = WAKES_AT_ONCE + us * WAKES_PER_S / 1_000_000;
        let mut wakes = [0; BRAINS];
        let next = |room: &Room| {
            let due =
                room.brains.iter().enumerate().filter_map(|(at, brain)| Some((brain.next_timeout()?, at)));
            due.min().filter(|(due, _)| *due <= end)
        };
        while let Some((due, at)) = next(self) {
            self.now = self.now.max(due);
            wakes[at] += 1;
            assert!(wakes[at] <= most, "brain {at} is woken {} times in {us} µs", wakes[at]);
            self.give(at, Input::Timeout);
        }
        self.now = end;
    }

    fn happen(&mut self, op: Op) {
        let which = |number: u8| usize::from(number) % BRAINS;
        let place = |number: u8, len: usize| usize::from(number) % len.max(1);
        match op {
            Op::Flow(count) => (0..count).for_each(|_| {
                self.deliver(0);
            }),
            Op::Overtake(number) => {
                self.deliver(place(number, self.under_way.len()));
            }
            Op::Lose(number) => {
                self.under_way.remove(place(number, self.under_way.len()));
            }
            Op::Double(number) => {
                let at = place(number, self.under_way.len());
                if let Some(parcel) = self.under_way.get(at).cloned()
                    && self.deliver(at)
                {
                    self.under_way.push_back(parcel);
                }
            }
            Op::Wait { us } => self.pass_time(u64::from(us) % WAIT_US_MAX),
            Op::Late { us } => self.now = self.now + u64::from(us) % WAIT_US_MAX,
            Op::Wake(at) => self.give(which(at), Input::Timeout),
            Op::Link { at, other, kind, up: true } => self.give(which(at), Input::LinkUp(other, kind)),
            Op::Link { at, other, kind, up: false } => self.give(which(at), Input::LinkDown(other, kind)),
            Op::Say(Said { at, from, via, message }) => {
                let via = match via % 3 {
                    0 => Via::Link,
                    1 => Via::Signal,
                    _ => Via::Mesh(List::truncated([cast()[usize::from(via) % cast().len()].short()])),
                };
                let message = sign::sign_again(*message);
                self.under_way.push_front((which(at), Parcel::Message { from, via, message }));
                self.deliver(0);
            }
            Op::Tell { at, what } => self.give(which(at), what.into()),
            Op::Want { at, what } => self.give(which(at), Input::Command(what.into())),
        }
    }
}

/// Decodes the ops from these bytes, at most [`OPS_MAX`].
pub(crate) fn ops(bytes: &[u8]) -> Vec<Op> {
    let mut draw = Draw::new(bytes, cast());
    let mut ops = Vec::new();
    while !draw.is_over() && ops.len() < OPS_MAX {
        // half of the ops are forged messages
        let said = draw.value() == Some(true);
        ops.extend(if said { draw.value().map(Op::Say) } else { draw.value() });
    }
    ops
}

/// Plays these ops in an established room, then lets it settle; returns a hash over all outputs.
pub(crate) fn play(ops: Vec<Op>) -> blake3::Hash {
    let mut room = Room::new();
    for op in ops {
        room.happen(op);
    }
    for _ in 0..3 {
        room.deliver_all();
        room.pass_time(2_000_000);
    }
    room.said.finalize()
}

#[cfg(test)]
mod tests {
    use plenary_proto::message::{Access, Admit, MemberMessage, MixPolicy, Roster};
    use plenary_proto::seal::Signed;

    use super::*;

    #[test]
    fn the_room_is_in_operation_before_anything_happens_to_it() {
        let room = Room::new();
        let seen: Vec<_> = room.brains.iter().map(RoomState::snapshot).collect();
        assert!(seen.iter().all(|seen| seen.rank.term > 0), "{seen:#?}");
        assert_eq!(seen.iter().filter(|seen| seen.mixing).count(), 1, "{seen:#?}");
        assert!(seen[4..].iter().all(|viewer| viewer.parent.is_some()), "{seen:#?}");
    }

    /// A viewer with a child loses its parent by a roster without speakers, so it schedules the end of that
    /// child's feed. The child leaves before that time.
    #[test]
    fn nobody_is_woken_for_a_child_that_was_to_go_and_has_gone() {
        let mut room = Room::new();
        let (viewer, child) = (4_u8, 5);
        let nobody = Roster {
            host: cast()[0],
            entries: List::default(),
            acting: None,
            audience: false,
            heirs: List::default(),
            recorders: 0,
            rules: plenary_proto::message::Rules {
                program: ProgramFormat { width: 0, height: 0, fps: 0, bitrate_bps: 0 },
                k: 0,
                k1: 0,
                mixers: 0,
                stage_open: false,
                mixing: MixPolicy::Anyone,
                expires_unix_s: None,
                layout: List::new(),
                title: Text::default(),
                access: Access::default(),
            },
        };
        let roster = Signed::addressed(root(), &super::room(), None, 6, 0, u64::MAX, nobody).into();
        let admit = Admit {
            roster,
            under: None,
            decided: None,
            confirmed: None,
            failovers: List::default(),
            ticket: None,
            key: None,
        };
        room.happen(Op::Late { us: 15_000_000 });
        let message = Box::new(Message::Member(MemberMessage::Admit(Box::new(admit))));
        room.happen(Op::Say(Said { at: viewer, from: cast()[0], via: 0, message }));
        let from = cast()[child];
        room.happen(Op::Say(Said {
            at: viewer,
            from,
            via: 0,
            message: Box::new(Message::Tree(TreeMessage::StopFeed)),
        }));
        room.pass_time(10_000_000);
    }
}
