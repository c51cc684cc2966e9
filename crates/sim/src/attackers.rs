//! Attackers: peers that violate the protocol to gain something. Each is a [`Deviation`].
//!
//! They sign with their own keys and can't with others'; receivers verify their messages as usual.

pub mod flooders;
pub mod loopers;
pub mod outcasts;
pub mod replayers;
pub mod squatters;
pub mod talkers;
pub mod tunnellers;
pub mod usurpers;

use std::collections::BTreeSet;
use std::sync::Arc;

use plenary_proto::message::{Attach, ElectionMessage, FailoverMessage, MediaSeen, Message, TreeMessage};
use plenary_proto::time::SECOND;
use plenary_proto::{CHILDREN_MAX, Input, Output, PeerId, Time, Verdict};
use serde::Deserialize;

use crate::deviation::{Deviation, Forwarding};
use crate::dice::SmallDice;
use crate::plan::{Kind, WorldPlan};
use crate::units::{Share, Span};
use crate::world::World;

/// Purpose of an attacker; written `drop`, `delay 300ms`, `forge`, `climb`, `ride-free`, `lie` or `boast`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Attack {
    /// Accepts children, sends them heads of the program, and forwards nothing.
    Drop,
    /// Forwards the program with this delay, while its heads tell its own, undelayed position.
    Delay(Span),
    /// Forges the pictures that it forwards, which their seals reveal (docs/PROTOCOL.md, 1.3).
    Forge,
    /// Claims more room for children and faster sending than any other peer, and forwards nothing
    /// ([`Climber`]).
    Climb,
    /// Receives the program and forwards nothing, which every peer is entitled to.
    RideFree,
    /// Lies in favour of the other liars ([`Liar`]).
    Lie,
    /// Claims a faster machine than it has ([`Boaster`]).
    Boast,
}

impl TryFrom<String> for Attack {
    type Error = String;

    fn try_from(text: String) -> Result<Attack, String> {
        match text.split_once(' ').unwrap_or((&text, "")) {
            ("drop", "") => Ok(Attack::Drop),
            ("delay", by) => Ok(Attack::Delay(Span::try_from(by.to_owned())?)),
            ("forge", "") => Ok(Attack::Forge),
            ("climb", "") => Ok(Attack::Climb),
            ("ride-free", "") => Ok(Attack::RideFree),
            ("lie", "") => Ok(Attack::Lie),
            ("boast", "") => Ok(Attack::Boast),
            _ => Err(format!("{text} is none of drop, delay 300ms, forge, climb, ride-free, lie, boast")),
        }
    }
}

/// A relay that harms the peers below it and is honest to all others.
#[derive(Debug)]
pub struct FalseRelay(Forwarding);

impl FalseRelay {
    /// The relay for an attack; `None` if the attack needs no false relay.
    pub fn of(attack: Attack) -> Option<FalseRelay> {
        match attack {
            Attack::Drop => Some(FalseRelay(Forwarding::Never)),
            Attack::Delay(by) => Some(FalseRelay(Forwarding::Later(by.0))),
            Attack::Forge => Some(FalseRelay(Forwarding::Forged)),
            Attack::Climb | Attack::RideFree | Attack::Lie | Attack::Boast => None,
        }
    }
}

impl Deviation for FalseRelay {
    fn forwards(&mut self, _: Time, _: PeerId) -> Forwarding {
        self.0
    }
}

/// The deviation of a peer with this attack; `None` if it has none, or needs to know its group.
pub(crate) fn deviation(attack: Attack) -> Option<Box<dyn Deviation>> {
    match attack {
        Attack::Boast => Some(Box::new(Boaster)),
        Attack::Climb => Some(Box::new(Climber)),
        _ => FalseRelay::of(attack).map(|relay| Box::new(relay) as Box<dyn Deviation>),
    }
}

/// A relay that tries to get as close to the mixer as it can, where most peers are below it, and forwards
/// nothing.
#[derive(Debug)]
pub struct Climber;

impl Climber {
    /// Replaces what an honest peer would tell of itself: always room for the maximum number of children, and
    /// no time to send a frame.
    fn told(message: Message) -> Message {
        match message {
            Message::Tree(TreeMessage::Attach(honest)) => {
                Message::Tree(TreeMessage::Attach(Attach { room: CHILDREN_MAX, sending_us: 0, ..honest }))
            }
            Message::Tree(TreeMessage::Aggregate(mut told)) => {
                (told.room, told.sending_us, told.free[0]) = (CHILDREN_MAX, 0, CHILDREN_MAX.into());
                Message::Tree(TreeMessage::Aggregate(told))
            }
            honest => honest,
        }
    }
}

impl Deviation for Climber {
    fn output(&mut self, _: Time, output: Output, instead: &mut Vec<Output>) {
        instead.push(match output {
            Output::Control(to, message) => Output::Control(to, Climber::told(message)),
            Output::Signal(to, message) => Output::Signal(to, Climber::told(message)),
            Output::Relay { next, to, route, message } => {
                Output::Relay { next, to, route, message: Climber::told(message) }
            }
            honest => honest,
        });
    }

    fn forwards(&mut self, _: Time, _: PeerId) -> Forwarding {
        Forwarding::Never
    }
}

/// Factor by which a boaster understates its codec times. A machine that makes a third of the pictures then
/// claims less than a quarter of a frame interval, and a faster claim wouldn't score higher.
const BOASTED: u32 = 16;

/// A candidate that claims a faster machine than it has, and is honest in all else.
#[derive(Debug)]
pub struct Boaster;

impl Deviation for Boaster {
    fn input(&mut self, _: Time, input: Input) -> Option<Input> {
        Some(match input {
            Input::CodecTimes { encode_us, decode_us, source } => {
                Input::CodecTimes { encode_us: encode_us / BOASTED, decode_us: decode_us / BOASTED, source }
            }
            honest => honest,
        })
    }
}

/// Factor by which a liar's reports raise a member's measured bandwidth, and lower an outsider's.
const LIE: u64 = 8;
/// Bitrate of media that a liar invents for a member that sent it none, bits per second; reported [`LIE`]fold.
const MEDIA_BPS: u64 = 1_500_000;
/// Divisor of all round-trip times that a liar tells, since candidates near all others are elected. (To
/// report others as far away, which puts the liar far from them too, gained less: 2 of 20 rooms against 4,
/// before others' reports bounded both.)
const NEARER: u32 = 8;
/// Divisor of a liar's claimed codec times; a larger divisor would claim an impossible speed.
const BOAST: u32 = 4;
/// Time after which a liar that is the fallback of an outsider mixer first reports that mixer as silent, in order to
/// fail over from it; also the interval of further attempts.
const USURP_US: u64 = 5 * SECOND;
/// Length of the rehearsal without liars, in which the group learns opener and standby; most elections finish
/// within it.
const SPIED_US: u64 = 20 * SECOND;
/// Silence of the mixer that members report, microseconds.
const DEAF_US: u32 = 60_000_000;

/// Member of a group that wants to mix; all members lie in each other's favour.
///
/// Its reports raise members' bandwidth and bitrate, lower outsiders', and claim that outsiders pause all the time. It
/// claims a faster machine than it has, and short round trips to all peers. It withholds outsiders' reports
/// on members from its own brain, so a ballot that it opens lacks them. As a mixer's heir it declares the
/// living mixer gone, against all reports that the mixer lives, and members confirm it.
#[derive(Debug)]
pub struct Liar {
    group: Arc<BTreeSet<PeerId>>,
    /// The outsider mixer that it could take over from, and the time of the next attempt.
    inherits: Option<(PeerId, Time)>,
}

impl Liar {
    /// A member of this group.
    pub fn of(group: &Arc<BTreeSet<PeerId>>) -> Liar {
        Liar { group: group.clone(), inherits: None }
    }

    /// Whether a member withholds this message from its brain.
    fn hides(&self, message: &Message) -> bool {
        match message {
            Message::Election(ElectionMessage::Report(report)) => {
                self.group.contains(&report.body.candidate) && !self.group.contains(&report.sender)
            }
            Message::Failover(FailoverMessage::Heard { mixer, .. }) => !self.group.contains(mixer),
            Message::Failover(FailoverMessage::Alive(alive)) => !self.group.contains(&alive.sender),
            _ => false,
        }
    }
}

impl Deviation for Liar {
    fn output(&mut self, now: Time, output: Output, instead: &mut Vec<Output>) {
        instead.push(match output {
            Output::WatchMixers(mixers) => {
                let prey = mixers.iter().find(|mixer| !self.group.contains(mixer));
                self.inherits = prey.map(|mixer| (*mixer, now + USURP_US));
                Output::WatchMixers(mixers)
            }
            Output::AnswerHeard { to, mixer } if !self.group.contains(&mixer) => Output::Control(
                to,
                Message::Failover(FailoverMessage::Heard { mixer, silent_us: Some(DEAF_US) }),
            ),
            honest => honest,
        });
    }

    fn input(&mut self, now: Time, input: Input) -> Option<Input> {
        Some(match input {
            Input::CodecTimes { encode_us, decode_us, source } => {
                Input::CodecTimes { encode_us: encode_us / BOAST, decode_us: decode_us / BOAST, source }
            }
            // a member's own narrow line is not told
            Input::RatePercent(_) => Input::RatePercent(100),
            Input::Measured { peer, train, bandwidth_bps, rtt_us, media, address, .. } => {
                let member = self.group.contains(&peer);
                let wide = |bps: u64| if member { bps.saturating_mul(LIE) } else { bps / LIE };
                let bandwidth_bps = bandwidth_bps.map(wide);
                // all outsiders are reported to pause all the time
                let paused_ppm = if member { 0 } else { 1_000_000 };
                let received_bps = media.map_or(0, |media| media.bitrate_bps);
                let media = Some(if member {
                    MediaSeen { bitrate_bps: received_bps.max(MEDIA_BPS) * LIE, arrived_percent: Some(100) }
                } else {
                    MediaSeen { bitrate_bps: 0, arrived_percent: Some(0) }
                });
                let rtt_us = rtt_us / NEARER;
                Input::Measured { peer, train, bandwidth_bps, rtt_us, paused_ppm, media, address }
            }
            Input::RoundTrips(rtts_us) => {
                let told = |(peer, rtt_us)| (peer, rtt_us / NEARER);
                Input::RoundTrips(rtts_us.into_iter().map(told).collect())
            }
            Input::Message { message, .. } if self.hides(&message) => return None,
            Input::Timeout => match &mut self.inherits {
                Some((mixer, tries_at)) if *tries_at <= now => {
                    *tries_at = now + USURP_US;
                    Input::Verdict { peer: *mixer, verdict: Verdict::Silent }
                }
                _ => Input::Timeout,
            },
            honest => honest,
        })
    }
}

/// Chooses a group of liars of this share of the stage: the peers that would open the election and be the
/// standby without liars, and others drawn. Never the host, since its signature counts anyway.
pub(crate) fn group(plan: &WorldPlan, seed: u64, of_stage: Share) -> Vec<usize> {
    let on_stage = |at: &usize| plan.peers[*at].kind != Kind::Viewer && plan.peers[*at].attack.is_none();
    let stage: Vec<usize> = (0..plan.peers.len()).filter(on_stage).collect();
    let count = of_stage.of(stage.len());
    if count == 0 {
        return Vec::new();
    }
    let mut honest = World::new(plan.clone(), seed);
    honest.run_for(SPIED_US);
    let host = honest.snapshot(honest.planned(0));
    let wanted = honest.ballot_by().into_iter().chain(host.standbys.first().copied());
    let mut group: Vec<usize> = wanted.filter_map(|peer| honest.planned_at(&peer)).collect();
    let mut dice = SmallDice::of(&[seed, 0x11a5]);
    let mut others: Vec<usize> = stage;
    while group.len() < count && !others.is_empty() {
        group.push(others.swap_remove(dice.between(0, others.len() as u64 - 1) as usize));
        group.sort_unstable();
        group.dedup();
        group.retain(|at| *at != 0);
    }
    group
}

/// Peers that the plan itself makes liars, by index.
pub(crate) fn planned(plan: &WorldPlan) -> impl Iterator<Item = usize> {
    let lies = |at: &usize| plan.peers[*at].attack == Some(Attack::Lie);
    (0..plan.peers.len()).filter(lies)
}

/// Makes these peers lie as one group, from the moment they join.
pub fn set_on(world: &mut World, liars: &[usize]) {
    let group: Arc<BTreeSet<PeerId>> = Arc::new(liars.iter().map(|at| world.planned(*at)).collect());
    for at in liars {
        world.deviate_from_the_start(*at, Box::new(Liar::of(&group)));
    }
}
